//! The exchanges of `fixtures/azure`, written by its `generate.py`, which signs every token by
//! itself as an issuer outside. Filled in here: the address of that issuer's key set, the
//! surface's own key, the request id, and lock tokens of earlier answers. A token in an answer
//! is verified with the published key's file and stands as `{jwt}`; its claims are compared with
//! the fixture's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use bytestring::ByteString;
use libtest_mimic::{Failed, Trial};
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_azure_event_grid::{AzureEventGrid, Settings};
use mqttstack_base::exchange::{Head, Headers, Request, Scheme, Surface, Version};
use mqttstack_pipeline as pipeline;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Journal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::fixture::{self, Answered};
use crate::{router, runtime, socket};

/// Refusals that no exchange here can cause: they need a connection that goes wrong
/// (`tests/azure/connections.rs`), ten thousand messages (`tests/azure/rates.rs`), a full
/// namespace (`tests/azure/bounds.rs`), a slow subscriber
/// or an emulator that ends.
const ELSEWHERE: [&str; 11] = [
    "RetainedQuota",
    "Quota",
    "TargetTooLong",
    "HeadTooLarge",
    "HeadTimeout",
    "BodyTimeout",
    "Version",
    "Chunk",
    "Overloaded",
    "Unavailable",
    "Internal",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    source: String,
    checked: String,
    standing: String,
    given: Given,
    request: Sent,
    answer: Answered,
    /// The claims of the token in the answer, without `uti`.
    claims: Option<Value>,
    published: Vec<Value>,
    /// The row of `errors.json`.
    error: Option<String>,
    /// A part of what the journal must say.
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    clock: jiff::Timestamp,
    seed: u64,
    settings: Value,
    before: Vec<Sent>,
    /// The ways in which it can be walked, if not all.
    #[serde(default)]
    ways: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    method: String,
    path: String,
    raw_query: String,
    headers: Vec<(String, String)>,
    body: String,
    /// The body, where it is no text.
    body_base64: Option<String>,
    /// How often the body is repeated.
    times: Option<usize>,
    /// Seconds by which the clock is moved on before it is sent.
    after_s: Option<i64>,
}

impl Sent {
    fn target(&self) -> String {
        match &*self.raw_query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        }
    }

    fn body(&self, tokens: &[String]) -> Vec<u8> {
        match &self.body_base64 {
            Some(text) => BASE64_STANDARD.decode(text).unwrap_or_default(),
            None => with_tokens(&self.body, tokens)
                .repeat(self.times.unwrap_or(1))
                .into_bytes(),
        }
    }

    fn request(&self, tokens: &[String]) -> Request {
        let loopback = ([127, 0, 0, 1], 4580).into();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (ByteString::from(&**name), Bytes::from(value.clone())));
        Request {
            head: Head {
                method: self.method.as_str().into(),
                target: self.target().into(),
                version: Version::Http11,
                headers: Headers(headers.collect()),
                size: 0,
            },
            body: self.body(tokens).into(),
            malformed: None,
            peer: loopback,
            local: loopback,
            scheme: Scheme::Http,
            certificates: [].into(),
        }
    }

    fn bytes(&self, tokens: &[String]) -> Vec<u8> {
        let body = self.body(tokens);
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target());
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
        let mut bytes = head.into_bytes();
        bytes.extend(body);
        bytes
    }
}

fn with_tokens(text: &str, tokens: &[String]) -> String {
    let mut text = text.to_owned();
    for (place, token) in tokens.iter().enumerate() {
        text = text.replace(&format!("{{LockToken{}}}", place + 1), token);
    }
    text
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/azure")
}

fn file(name: &str) -> Result<String, String> {
    let path = folder().join(name);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(name: &str) -> Result<Fixture, String> {
    serde_json::from_str(&file(&format!("{name}.json"))?)
        .map_err(|error| format!("{name}: {error}"))
}

/// One test for each file and way, and one over all.
pub(crate) fn trials() -> Vec<Trial> {
    let names = fixture::names(&folder());
    let mut trials = Vec::new();
    for name in &names {
        match read(name) {
            Err(problem) => {
                trials.push(Trial::test(format!("azure::{name}"), move || {
                    Err(problem.into())
                }));
            }
            Ok(fixture) => {
                let fixture = Arc::new(fixture);
                for way in ["router", "socket"] {
                    let ways = &fixture.given.ways;
                    if ways.is_empty() || ways.iter().any(|known| known == way) {
                        let fixture = fixture.clone();
                        let test = move || {
                            let walked = runtime()?.block_on(walk(&fixture, way));
                            walked.map_err(Failed::from)
                        };
                        trials.push(Trial::test(format!("azure::{name}::{way}"), test));
                    }
                }
            }
        }
    }
    let all = move || complete(&names).map_err(Failed::from);
    trials.push(Trial::test("azure::every_refusal_has_an_exchange", all));
    trials
}

/// Every row of the table is the answer of an exchange, and every exchange of a row has it.
fn complete(names: &[String]) -> Result<(), String> {
    let table: Vec<Value> =
        serde_json::from_str(&file("errors.json")?).map_err(|error| error.to_string())?;
    let row = |name: &str| table.iter().find(|row| row["error"] == name);
    let mut seen = BTreeSet::new();
    for name in names {
        let fixture = read(name)?;
        let known = ["documented", "captured", "assumed"].contains(&&*fixture.standing);
        if !known || fixture.source.is_empty() || fixture.checked.is_empty() {
            return Err(format!("{name}: its standing, source or date"));
        }
        let Some(error) = fixture.error else { continue };
        let row = row(&error).ok_or_else(|| format!("{name}: no row {error:?}"))?;
        let code = row["code"].as_str().unwrap_or_default();
        let body = &fixture.answer.body;
        // App Service's shape has no code.
        let says = body.contains(code) || body.contains("statusCode");
        if row["status"] != fixture.answer.status || !says {
            return Err(format!("{name} is not answered as the row {error:?}"));
        }
        seen.insert(error);
    }
    let missing: Vec<_> = table
        .iter()
        .filter_map(|row| row["error"].as_str())
        .filter(|name| !ELSEWHERE.contains(name) && !seen.contains(*name))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no exchange is refused with {missing:?}"))
    }
}

/// What an exchange is walked in.
enum Room {
    Router(App, Box<AzureEventGrid>),
    Socket(Box<Emulator>, String),
}

impl Room {
    async fn open(fixture: &Fixture, way: &str, settings: Settings) -> Result<Self, String> {
        let Given { clock, seed, .. } = fixture.given;
        if way == "router" {
            let azure = AzureEventGrid::new(settings).map_err(|error| error.to_string())?;
            let app = router::app(clock, seed).await;
            azure.started(&app);
            return Ok(Self::Router(app, Box::new(azure)));
        }
        let mut config = Config::free_ports();
        config.azure = settings;
        let emulator = Emulator::builder()
            .config(config)
            .clock(clock)
            .seed(seed)
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let url = emulator.vendor_url(Surface::Azure).ok_or("no port")?;
        let address = url.trim_start_matches("http://").to_owned();
        Ok(Self::Socket(Box::new(emulator), address))
    }

    fn app(&self) -> &App {
        match self {
            Self::Router(app, _) => app,
            Self::Socket(emulator, _) => emulator.app(),
        }
    }

    async fn send(&self, sent: &Sent, tokens: &[String]) -> Result<Answered, String> {
        if let Some(seconds) = sent.after_s {
            let step = jiff::SignedDuration::from_secs(seconds);
            let clock = &self.app().clock;
            clock.advance(step).map_err(|error| error.to_string())?;
        }
        match self {
            Self::Router(app, azure) => {
                let answer = pipeline::run(app, &**azure, &sent.request(tokens)).await;
                Ok(router::answered(&answer))
            }
            Self::Socket(_, address) => socket::raw(address, &sent.bytes(tokens))
                .await
                .map_err(|error| error.to_string()),
        }
    }

    async fn close(self) {
        match self {
            Self::Router(app, _) => app.broker.stop().await,
            Self::Socket(emulator, _) => emulator.stop().await,
        }
    }
}

/// Walks an exchange and compares it.
async fn walk(fixture: &Fixture, way: &str) -> Result<(), String> {
    let issuer = MockServer::start().await;
    let keys: Value =
        serde_json::from_str(&file("jwks.json")?).map_err(|error| error.to_string())?;
    Mock::given(matchers::path("/keys"))
        .respond_with(ResponseTemplate::new(200).set_body_json(keys))
        .mount(&issuer)
        .await;
    let key = json!(file("keys/own.pem")?).to_string();
    let settings = fixture
        .given
        .settings
        .to_string()
        .replace("\"{own.pem}\"", &key)
        .replace("{jwks}", &format!("{}/keys", issuer.uri()));
    let settings =
        serde_json::from_str(&settings).map_err(|error| format!("given.settings: {error}"))?;
    let room = Room::open(fixture, way, settings).await?;
    let compared = compare(fixture, &room).await;
    room.close().await;
    compared
}

async fn compare(fixture: &Fixture, room: &Room) -> Result<(), String> {
    let mut tokens = Vec::new();
    for before in &fixture.given.before {
        let answer = room.send(before, &tokens).await?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("a request before was answered {answer:?}"));
        }
        tokens.extend(lock_tokens(&answer.body));
    }
    let journal = &room.app().journal;
    let earlier = journal.messages().last();
    let mut answer = room.send(&fixture.request, &tokens).await?;
    tokens.extend(lock_tokens(&answer.body));
    let claims = take_token(&mut answer.body)?;
    let entries = journal.requests().since(0);
    let (_, entry) = entries.last().ok_or("nothing in the journal")?;
    let outcome = entry.outcome().ok_or("the journal's entry is open")?;
    let filled = |text: &str| {
        with_tokens(text, &tokens).replace("{request-id}", &entry.id.to_ascii_lowercase())
    };
    let headers = fixture.answer.headers.iter();
    let expected = Answered {
        status: fixture.answer.status,
        headers: headers
            .map(|(name, value)| (name.clone(), filled(value)))
            .collect(),
        body: filled(&fixture.answer.body),
    };
    fixture::same("answer", &expected, &answer)?;
    fixture::same("claims", &fixture.claims, &claims)?;
    let seen = published(journal, earlier);
    fixture::same("published", &fixture.published, &seen)?;
    if fixture.error.is_some() != outcome.draft.error_code.is_some() {
        return Err(format!("error code: {:?}", outcome.draft.error_code));
    }
    let reasons = &outcome.draft.reasons;
    match &fixture.reason {
        Some(part) if !reasons.iter().any(|reason| reason.contains(part)) => Err(format!(
            "the journal does not say {part:?} but {reasons:#?}"
        )),
        _ => Ok(()),
    }
}

fn published(journal: &Journal, earlier: u64) -> Vec<Value> {
    let messages = journal.messages().since(earlier);
    let rows = messages.iter().map(|(_, message)| {
        let given = &message.properties;
        let mut properties = Map::new();
        let mut put = |name: &str, value: Value| {
            if value != Value::Null && value != json!([]) {
                properties.insert(name.to_owned(), value);
            }
        };
        let correlation = given.correlation_data.as_deref();
        put("response_topic", json!(given.response_topic));
        put(
            "correlation_data",
            json!(correlation.map(|data| BASE64_STANDARD.encode(data))),
        );
        put("content_type", json!(given.content_type));
        put(
            "message_expiry_interval",
            json!(given.message_expiry_interval),
        );
        put(
            "payload_format_indicator",
            json!(given.payload_format_indicator),
        );
        put("user_properties", json!(given.user_properties));
        json!({
            "client_id": message.origin.client_id,
            "topic": message.topic,
            "payload": shown(&message.payload),
            "qos": message.qos,
            "retain": message.retain,
            "properties": properties,
        })
    });
    rows.collect()
}

/// A payload as a fixture writes it: a long one as its length.
fn shown(payload: &[u8]) -> String {
    match payload.len() {
        0..=1_000 => String::from_utf8_lossy(payload).into_owned(),
        length => format!("{{{length} bytes}}"),
    }
}

fn lock_tokens(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let rows = body["value"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["brokerProperties"]["lockToken"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Verifies the token in a body, puts `{jwt}` in its place and gives its claims.
fn take_token(body: &mut String) -> Result<Option<Value>, String> {
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::signature::Verifier;
    let Some(start) = body.find("eyJ") else {
        return Ok(None);
    };
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let length = body[start..].find(|c| !is_inside(c)).unwrap_or(0);
    let token = body[start..start + length].to_owned();
    body.replace_range(start..start + length, "{jwt}");
    let broken = |error: &dyn std::fmt::Display| format!("{token}: {error}");
    let (signed, signature) = token.rsplit_once('.').ok_or("no token")?;
    let decode = |part: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|error| broken(&error))
    };
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(&file("keys/own.pem")?)
        .map_err(|error| broken(&error))?;
    let signature =
        rsa::pkcs1v15::Signature::try_from(&*decode(signature)?).map_err(|error| broken(&error))?;
    rsa::pkcs1v15::VerifyingKey::<rsa::sha2::Sha256>::new(key.to_public_key())
        .verify(signed.as_bytes(), &signature)
        .map_err(|error| broken(&error))?;
    let claims = signed.split_once('.').ok_or("no claims")?.1;
    let mut claims: Value =
        serde_json::from_slice(&decode(claims)?).map_err(|error| broken(&error))?;
    // A random id.
    if let Some(claims) = claims.as_object_mut() {
        claims.remove("uti").ok_or("no uti")?;
    }
    Ok(Some(claims))
}
