//! One exchange with a started emulator: what is sent, what must come back, what the journal must
//! hold. An exchange is walked over the vendor's own port, in bytes.
//!
//! In what is expected, `{Name}` stands for a text that is drawn at the time. The same name is the
//! same text everywhere in the exchange, and has the form that `drawn` knows for it; a name that
//! `drawn` does not know stands for itself.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Message;
use mqttstack_pipeline::REQUEST_ID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How sure a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// A page or API description of the vendor says it.
    Documented,
    /// It was seen from the real service, or is quoted from it in public.
    Captured,
    /// Neither.
    Assumed,
}

/// A request as it is sent. `Content-Length` is added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Without it 1.1.
    pub(crate) version: Option<&'static str>,
    /// Seconds by which the clock is moved on before it is sent.
    pub(crate) after_s: i64,
}

impl Sent {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    fn bytes(&self, texts: &BTreeMap<String, String>) -> Vec<u8> {
        let version = self.version.unwrap_or("1.1");
        let target = filled(&self.target, texts);
        let mut head = format!("{} {target} HTTP/{version}\r\n", self.method);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) => filled(text, texts).into_bytes(),
            Err(_) => self.body.clone(),
        };
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
        [head.into_bytes(), body].concat()
    }
}

/// An answer, without the emulator's own header field and without `Content-Length`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// The error code that the journal must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Code {
    None,
    /// One, whatever it is.
    Some,
    /// This one.
    Is(String),
}

/// One exchange.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// `<operation>__<rule>`, and where a rule is walked in several ways, the way.
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) clock: Timestamp,
    /// Requests before the one that is looked at; each must succeed.
    pub(crate) before: Vec<Sent>,
    pub(crate) request: Sent,
    pub(crate) answer: Answered,
    /// The messages: of each the fields that are given, and no other property.
    pub(crate) published: Vec<Value>,
    pub(crate) code: Code,
    /// A part of what the journal must say.
    pub(crate) reason: Option<String>,
    /// The claims of a token in the answer.
    pub(crate) claims: Option<Value>,
}

/// What a vendor's exchanges have in common.
#[derive(Clone, Copy)]
pub(crate) struct Site {
    pub(crate) surface: Surface,
    /// Takes out of an answer's body what no text can stand for, and says what is wrong with it.
    pub(crate) look: fn(&Exchange, &mut String) -> Result<(), String>,
    /// What later requests name of an answer.
    pub(crate) learn: fn(&Answered, &mut BTreeMap<String, String>),
}

impl Site {
    pub(crate) fn plain(surface: Surface) -> Self {
        Self {
            surface,
            look: |_, _| Ok(()),
            learn: |_, _| (),
        }
    }

    /// Walks an exchange and says what differs.
    pub(crate) async fn walk(&self, exchange: &Exchange) -> Result<(), String> {
        let emulator = Emulator::builder()
            .config(exchange.config.clone())
            .clock(exchange.clock)
            .seed(1)
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let compared = self.compare(exchange, &emulator).await;
        emulator.stop().await;
        compared
    }

    async fn compare(&self, exchange: &Exchange, emulator: &Emulator) -> Result<(), String> {
        let mut texts = BTreeMap::new();
        for before in &exchange.before {
            let answer = self.send(emulator, before, &texts).await?;
            if !(200..300).contains(&answer.status) || answer.body.contains("\"Error\"") {
                return Err(format!("a request before was answered {answer:?}"));
            }
            (self.learn)(&answer, &mut texts);
        }
        let earlier = emulator.messages().last();
        let mut answer = self.send(emulator, &exchange.request, &texts).await?;
        (self.learn)(&answer, &mut texts);
        (self.look)(exchange, &mut answer.body)?;
        let entries = emulator.requests().since(0);
        let (_, entry) = entries.last().ok_or("nothing in the journal")?;
        let outcome = entry.outcome().ok_or("the journal's entry is open")?;
        texts.insert("RequestId".to_owned(), entry.id.clone());
        let small = entry.id.to_ascii_lowercase();
        texts.insert("TraceId".to_owned(), small.replace('-', ""));
        texts.insert("request-id".to_owned(), small);
        if let Some((_, newest)) = emulator.messages().since(0).last() {
            texts.insert("MsgId".to_owned(), newest.id.clone());
        }
        same_answer(&exchange.answer, &answer, &mut texts)?;
        let messages = emulator.messages().since(earlier);
        let messages: Vec<Value> = messages.iter().map(|(_, one)| message(one)).collect();
        same_messages(&exchange.published, &messages, &mut texts)?;
        let code = &outcome.draft.error_code;
        let right = match &exchange.code {
            Code::None => code.is_none(),
            Code::Some => code.is_some(),
            Code::Is(wanted) => code.as_ref() == Some(wanted),
        };
        if !right {
            let wanted = &exchange.code;
            return Err(format!(
                "error code in the journal: {code:?}, expected {wanted:?}"
            ));
        }
        let reasons = &outcome.draft.reasons;
        match exchange.reason.as_ref().map(|part| filled(part, &texts)) {
            Some(part) if !reasons.iter().any(|reason| reason.contains(&part)) => Err(format!(
                "the journal does not say {part:?} but {reasons:#?}"
            )),
            _ => Ok(()),
        }
    }

    async fn send(
        &self,
        emulator: &Emulator,
        sent: &Sent,
        texts: &BTreeMap<String, String>,
    ) -> Result<Answered, String> {
        let step = SignedDuration::from_secs(sent.after_s);
        let advanced = emulator.clock().advance(step);
        advanced.map_err(|error| error.to_string())?;
        let url = emulator.vendor_url(self.surface).ok_or("no port")?;
        let address = url.trim_start_matches("http://");
        let bodiless = sent.method == "HEAD";
        talk(address, &sent.bytes(texts), bodiless)
            .await
            .map_err(|error| error.to_string())
    }
}

/// Sends these bytes and reads one answer, which may have a length and no body.
async fn talk(
    address: &str,
    bytes: &[u8],
    bodiless: bool,
) -> Result<Answered, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut received = Vec::new();
    let (head, mut body) = loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec())?;
            break (head, received.split_off(end + 4));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err("the connection ended within the head".into());
        }
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let own = headers.iter().position(|(name, _)| name == REQUEST_ID);
    headers.remove(own.ok_or("no request id of the emulator's own")?);
    let status: u16 = status.ok_or("no status")?.parse()?;
    if status != 204 {
        let close = headers.pop_if(|(name, _)| name == "Connection");
        // The loop's own field, behind the vendor's.
        let (name, length) = headers.pop().ok_or("no header field")?;
        if name != "Content-Length" {
            return Err(format!("the last header field is {name}").into());
        }
        headers.extend(close);
        while !bodiless && body.len() < length.parse()? {
            if stream.read_buf(&mut body).await? == 0 {
                return Err("the connection ended within the body".into());
            }
        }
    }
    Ok(Answered {
        status,
        headers,
        body: String::from_utf8(body)?,
    })
}

/// A message with every field that an exchange can ask for.
fn message(message: &Message) -> Value {
    let payload = match message.payload.len() {
        0..=100_000 => String::from_utf8_lossy(&message.payload).into_owned(),
        length => format!("({length} bytes)"),
    };
    let given = &message.properties;
    let mut all = json!({
        "id": message.id,
        "client_id": message.origin.client_id,
        "topic": message.topic,
        "payload": payload,
        "payload_base64": BASE64_STANDARD.encode(&message.payload),
        "qos": message.qos,
        "retain": message.retain,
        "response_topic": given.response_topic,
        "correlation_data": given.correlation_data.as_deref().map(String::from_utf8_lossy),
        "correlation_data_base64": given.correlation_data.as_deref().map(|data| BASE64_STANDARD.encode(data)),
        "content_type": given.content_type,
        "message_expiry_interval": given.message_expiry_interval,
        "payload_format_indicator": given.payload_format_indicator,
    });
    if !given.user_properties.is_empty() {
        all["user_properties"] = json!(given.user_properties);
    }
    all
}

/// Properties that must not be there unless an exchange says so.
const PROPERTIES: [&str; 6] = [
    "response_topic",
    "correlation_data",
    "content_type",
    "message_expiry_interval",
    "payload_format_indicator",
    "user_properties",
];

fn same_messages(
    expected: &[Value],
    seen: &[Value],
    texts: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let differ = || {
        Err(format!(
            "published differs\nexpected: {expected:?}\nseen:     {seen:?}"
        ))
    };
    if expected.len() != seen.len() {
        return differ();
    }
    for (expected, seen) in expected.iter().zip(seen) {
        let nothing = Map::new();
        let expected = expected.as_object().unwrap_or(&nothing);
        let fits_all = expected
            .iter()
            .all(|(name, value)| match (value, &seen[name]) {
                (Value::String(pattern), Value::String(text)) => fits(pattern, text, texts),
                (value, seen) => value == seen,
            });
        let no_more = PROPERTIES.iter().all(|name| {
            let base64 = format!("{name}_base64");
            seen[name].is_null() || expected.contains_key(*name) || expected.contains_key(&base64)
        });
        if !fits_all || !no_more {
            return differ();
        }
    }
    Ok(())
}

fn same_answer(
    expected: &Answered,
    seen: &Answered,
    texts: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let fit = expected.status == seen.status
        && fits(&expected.body, &seen.body, texts)
        && expected.headers.len() == seen.headers.len()
        && (expected.headers.iter().zip(&seen.headers))
            .all(|((name, value), seen)| *name == seen.0 && fits(value, &seen.1, texts));
    if fit {
        return Ok(());
    }
    let print = |value| serde_json::to_string_pretty(value).unwrap_or_default();
    Err(format!(
        "answer differs\nexpected: {}\nseen:     {}\nwith {texts:?}",
        print(expected),
        print(seen)
    ))
}

/// Texts in the places of their names.
pub(crate) fn filled(text: &str, texts: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in texts {
        if text.contains('{') {
            text = text.replace(&format!("{{{name}}}"), value);
        }
    }
    text
}

/// What a drawn text looks like: its length, and its characters.
type Form = (std::ops::RangeInclusive<usize>, fn(char) -> bool);

/// The form of the text with this name.
fn drawn(name: &str) -> Option<Form> {
    let hex: fn(char) -> bool = |c| c.is_ascii_digit() || ('A'..='F').contains(&c);
    let url: fn(char) -> bool = |c| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let base64: fn(char) -> bool = |c| c.is_ascii_alphanumeric() || "+/=".contains(c);
    Some(match name {
        "RequestId" | "request-id" => (36..=36, |c| c.is_ascii_hexdigit() || c == '-'),
        "TraceId" => (32..=32, |c| c.is_ascii_hexdigit()),
        "MsgId" => (32..=32, hex),
        "ETag" => (3..=40, base64),
        "Key1" | "Key2" => (22..=22, url),
        "Token" => (344..=344, base64),
        "LockToken1" | "LockToken2" | "LockToken3" => (1..=200, |c| c != '"'),
        "Port" | "Number" => (1..=19, |c| c.is_ascii_digit()),
        "Text" => (1..=10_000, |c| c != '"'),
        _ => return None,
    })
}

/// Whether a text is as expected. What stands for a drawn text is learnt by it.
fn fits(expected: &str, seen: &str, texts: &mut BTreeMap<String, String>) -> bool {
    let next = expected.match_indices('{').find_map(|(start, _)| {
        let end = start + expected[start..].find('}')?;
        let name = &expected[start + 1..end];
        drawn(name).map(|form| (start, end + 1, name, form))
    });
    let Some((start, end, name, (lengths, is_inside))) = next else {
        return expected == seen;
    };
    let Some(rest) = seen.strip_prefix(&expected[..start]) else {
        return false;
    };
    let known = texts.get(name).cloned().filter(|_| name != "Text");
    let text = known.unwrap_or_else(|| {
        let longest = rest.chars().take_while(|c| is_inside(*c));
        longest.take(*lengths.end()).collect()
    });
    let right = lengths.contains(&text.chars().count()) && text.chars().all(is_inside);
    texts.insert(name.to_owned(), text.clone());
    right && (rest.strip_prefix(&*text)).is_some_and(|rest| fits(&expected[end..], rest, texts))
}
