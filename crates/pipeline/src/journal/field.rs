//! What an entry shows under which name: the one table that matchers, list filters and the
//! explanations of near misses read. Secrets are masked here (`masking.rs`), so a matcher sees
//! exactly what a reader of the admin API sees.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::message::Message;
use serde::Serialize;
use serde_json::{Value, json};

use super::entry::{Entry, Outcome};
use super::masking;

/// How the value of a field is found.
pub enum Getter<T> {
    /// One value; `null` where the entry has none.
    One(fn(&T) -> Value),
    /// One topic name: a matcher may be a topic filter.
    Topic(fn(&T) -> Value),
    /// Any number of texts; one that passes is enough.
    Many(fn(&T) -> Vec<String>),
    /// The ids that an entry goes by, its own first: a matcher may spell them otherwise.
    Ids(fn(&T) -> Vec<String>),
    /// The values that go by a name of the sender's choice (a header field, a user property).
    Named(fn(&T, &str) -> Vec<Value>),
}

impl<T> Clone for Getter<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Getter<T> {}

/// An entry whose fields have names.
pub trait Shown: Sized + 'static {
    /// Every field, by its dotted name; `.*` stands for a name of the sender's choice.
    const FIELDS: &'static [(&'static str, Getter<Self>)];
}

/// Bytes as the admin API shows them: text if they are UTF-8, else an object with `base64`.
pub fn bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes)
        .map_or_else(|_| json!({ "base64": STANDARD.encode(bytes) }), Value::from)
}

/// The value that `T` serializes to; `null` for what cannot be JSON.
fn value<T: Serialize>(value: T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl Shown for Message {
    const FIELDS: &'static [(&'static str, Getter<Self>)] = &[
        ("id", Getter::Ids(|m| vec![m.id.clone()])),
        ("topic", Getter::Topic(|m| value(&m.topic))),
        ("qos", Getter::One(|m| value(m.qos))),
        ("retain", Getter::One(|m| value(m.retain))),
        ("payload", Getter::One(shown_payload)),
        ("size", Getter::One(|m| value(m.payload.len()))),
        ("vendor", Getter::One(|m| value(m.origin.vendor))),
        ("client_id", Getter::One(|m| value(&m.origin.client_id))),
        ("origin.kind", Getter::One(|m| value(m.origin.kind))),
        ("origin.vendor", Getter::One(|m| value(m.origin.vendor))),
        (
            "origin.client_id",
            Getter::One(|m| value(&m.origin.client_id)),
        ),
        ("origin.request", Getter::One(|m| value(&m.origin.request))),
        (
            "properties.response_topic",
            Getter::One(|m| value(&m.properties.response_topic)),
        ),
        (
            "properties.correlation_data",
            Getter::One(|m| {
                value(
                    m.properties
                        .correlation_data
                        .as_ref()
                        .map(|data| STANDARD.encode(data)),
                )
            }),
        ),
        (
            "properties.content_type",
            Getter::One(|m| value(&m.properties.content_type)),
        ),
        (
            "properties.message_expiry_interval",
            Getter::One(|m| value(m.properties.message_expiry_interval)),
        ),
        (
            "properties.payload_format_indicator",
            Getter::One(|m| value(m.properties.payload_format_indicator.map(u8::from))),
        ),
        (
            "properties.user_properties.*",
            Getter::Named(|m, name| {
                let all = m.properties.user_properties.iter();
                all.filter(|(key, _)| key == name)
                    .map(|(_, text)| value(text))
                    .collect()
            }),
        ),
    ];
}

/// A message's payload as text or base64. What goes to a vendor's own service (topics that begin
/// with `$`) may carry tokens and signatures, which are cut; all else is the user's.
pub fn shown_payload(message: &Message) -> Value {
    if !message.topic.starts_with('$') {
        return bytes(&message.payload);
    }
    std::str::from_utf8(&message.payload).map_or_else(
        |_| bytes(&message.payload),
        |text| Value::from(masking::body(None, text)),
    )
}

impl Shown for Entry {
    const FIELDS: &'static [(&'static str, Getter<Self>)] = &[
        ("id", Getter::Ids(Entry::ids)),
        ("vendor", Getter::One(|e| value(e.surface))),
        (
            "operation",
            Getter::One(|e| draft(e, |o| value(&o.draft.operation))),
        ),
        ("method", Getter::One(|e| value(&*e.head.method))),
        (
            "target",
            Getter::One(|e| value(masking::target(&e.head.target))),
        ),
        ("body", Getter::One(Entry::shown_body)),
        ("caller", Getter::One(|e| value(e.shown_caller()))),
        ("status", Getter::One(|e| draft(e, |o| value(o.status)))),
        (
            "error_code",
            Getter::One(|e| draft(e, |o| value(&o.draft.error_code))),
        ),
        ("reason", Getter::One(|e| draft(e, |o| value(o.reason())))),
        ("hints", Getter::Many(Entry::hints)),
        ("response.body", Getter::One(Entry::shown_answer)),
        (
            "response.headers.*",
            Getter::Named(|e, name| named(e.outcome().map(Outcome::shown_headers), name)),
        ),
        (
            "headers.*",
            Getter::Named(|e, name| named(Some(e.shown_headers()), name)),
        ),
    ];
}

fn draft(entry: &Entry, get: impl FnOnce(&Outcome) -> Value) -> Value {
    entry.outcome().map_or(Value::Null, get)
}

fn named(headers: Option<Vec<(String, String)>>, name: &str) -> Vec<Value> {
    let headers = headers.unwrap_or_default().into_iter();
    headers
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, text)| Value::from(text))
        .collect()
}

impl Entry {
    /// The ids that a client may know it by: the request id, those of the messages it published,
    /// and whatever else the answer's header fields call an id.
    pub fn ids(&self) -> Vec<String> {
        let mut ids = vec![self.id.clone()];
        if let Some(outcome) = self.outcome() {
            ids.extend(outcome.draft.messages.iter().cloned());
            // The client's own id stands in some answers' bodies.
            let own = self.head.headers.iter();
            ids.extend(
                own.filter(|(name, _)| masking::ends_with(name, "-request-id"))
                    .map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
            );
            let fields = outcome.headers.iter();
            ids.extend(
                fields
                    .filter(|(name, _)| masking::ends_with(name, "-id"))
                    .map(|(_, value)| value.clone()),
            );
        }
        ids
    }

    /// What was lenient, in words.
    pub fn hints(&self) -> Vec<String> {
        let outcome = self.outcome();
        let hints = outcome.map_or(&[][..], |outcome| &outcome.draft.hints);
        hints
            .iter()
            .map(|hint| masking::words(hint).into_owned())
            .collect()
    }

    /// Who calls, without what a name may carry of a secret.
    pub fn shown_caller(&self) -> Option<String> {
        let caller = self.outcome()?.draft.caller.as_deref()?;
        Some(masking::words(caller).into_owned())
    }

    /// The header fields in order and spelling, secrets cut.
    pub fn shown_headers(&self) -> Vec<(String, String)> {
        let headers = self.head.headers.iter();
        headers
            .map(|(name, value)| (name.to_owned(), masking::header(name, value)))
            .collect()
    }

    /// The body as text (secrets cut) or base64. What is published as it is, is the user's: of its
    /// content type depends what it is.
    pub fn shown_body(&self) -> Value {
        let path = self.head.path();
        let is_payload = path.starts_with("/topics/") || path.starts_with("/mqtt/");
        let content_type = self.head.headers.text("content-type");
        shown_body(content_type.filter(|_| is_payload), &self.body)
    }

    /// The answer's body as text (secrets cut) or base64.
    pub fn shown_answer(&self) -> Value {
        let Some(outcome) = self.outcome() else {
            return Value::Null;
        };
        let shown = outcome.shown_body();
        let path = self.head.path().to_ascii_lowercase();
        let lists_keys = path.ends_with("/listkeys") || path.ends_with("/regeneratekey");
        match shown {
            Value::String(text) if lists_keys => Value::from(masking::keys(&text)),
            shown => shown,
        }
    }
}

impl Outcome {
    /// The reasons, and the notes of an answer that is no refusal, in one text.
    pub fn reason(&self) -> Option<String> {
        let reasons = &self.draft.reasons;
        (!reasons.is_empty()).then(|| masking::words(&reasons.join("; ")).into_owned())
    }

    /// The answer's header fields, secrets cut.
    pub fn shown_headers(&self) -> Vec<(String, String)> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.to_string(), masking::header(name, value.as_bytes())))
            .collect()
    }

    /// The answer's body as text (secrets cut) or base64.
    pub fn shown_body(&self) -> Value {
        let content_type = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map(|(_, value)| value.as_str());
        shown_body(content_type, &self.body)
    }
}

fn shown_body(content_type: Option<&str>, body: &[u8]) -> Value {
    std::str::from_utf8(body).map_or_else(
        |_| bytes(body),
        |text| Value::from(masking::body(content_type, text)),
    )
}
