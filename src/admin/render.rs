//! Entries of the journal and values of the broker as JSON, in the shapes of `openapi/admin.yaml`.
//! What of an entry may be shown is `journal/field.rs`'s.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::message::{Message, Properties, Retained};
use mqttstack_pipeline::journal::field::{Shown, shown_payload};
use mqttstack_pipeline::journal::{Cursor, Entry, Follower, Journal, Outcome, Record, Ring};
use serde_json::{Map, Value, json};

/// A kind of journal entry that the admin API lists, finds, counts and waits for.
pub(super) trait Kind: Record + Shown {
    /// The member that holds a list of them, and their path.
    const PLURAL: &'static str;
    /// One of them, in words.
    const SINGULAR: &'static str;

    /// Their ring.
    fn ring(journal: &Journal) -> &Arc<Ring<Self>>;
    /// The id.
    fn id(&self) -> &str;
    /// Every id that it goes by.
    fn ids(&self) -> Vec<String>;
    /// Forgets them all.
    fn forget(journal: &Journal) -> impl Future<Output = ()> + Send;
    /// The whole entry as JSON.
    fn render(&self, cursor: Cursor) -> Value;

    /// A follower of their ring.
    fn follow(journal: &Journal, since: Cursor) -> Follower<Self> {
        Follower::new(Self::ring(journal), since)
    }
}

impl Kind for Entry {
    const PLURAL: &'static str = "requests";
    const SINGULAR: &'static str = "request";

    fn ring(journal: &Journal) -> &Arc<Ring<Self>> {
        journal.requests()
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn ids(&self) -> Vec<String> {
        Self::ids(self)
    }

    fn forget(journal: &Journal) -> impl Future<Output = ()> + Send {
        journal.forget_requests()
    }

    fn render(&self, cursor: Cursor) -> Value {
        let outcome = self.outcome();
        let draft = outcome.map(|outcome| &outcome.draft);
        json!({
            "id": self.id,
            "cursor": cursor,
            "time": self.time,
            "vendor": self.surface,
            "operation": draft.map(|draft| &draft.operation),
            "method": &*self.head.method,
            "target": mqttstack_pipeline::journal::masking::target(&self.head.target),
            "headers": self.shown_headers(),
            "body": content(self.shown_body()),
            "caller": self.shown_caller(),
            "status": outcome.map(|outcome| outcome.status),
            "error_code": draft.map(|draft| &draft.error_code),
            "reason": outcome.and_then(Outcome::reason),
            "hints": self.hints(),
            "response": outcome.filter(|outcome| outcome.status.is_some()).map(|outcome| json!({
                "headers": outcome.shown_headers(),
                "body": content(self.shown_answer()),
            })),
            "messages": draft.map_or(&[][..], |draft| &draft.messages),
            "duration_us": outcome.map(|outcome| outcome.duration.as_micros()),
            "fault": null,
        })
    }
}

impl Kind for Message {
    const PLURAL: &'static str = "messages";
    const SINGULAR: &'static str = "message";

    fn ring(journal: &Journal) -> &Arc<Ring<Self>> {
        journal.messages()
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn ids(&self) -> Vec<String> {
        vec![self.id.clone()]
    }

    fn forget(journal: &Journal) -> impl Future<Output = ()> + Send {
        journal.forget_messages()
    }

    fn render(&self, cursor: Cursor) -> Value {
        let mut object = message(self);
        object.insert("cursor".to_owned(), json!(cursor));
        // Copied, since the broker changes them: rendering takes longer than copying.
        let deliveries = self.deliveries.lock().clone();
        object.insert("deliveries".to_owned(), json!(deliveries));
        Value::Object(object)
    }
}

/// A retained message as JSON.
pub(super) fn retained(retained: &Retained) -> Value {
    let mut object = message(&retained.message);
    object.insert("expires_in".to_owned(), json!(retained.expires_in));
    Value::Object(object)
}

fn message(message: &Message) -> Map<String, Value> {
    let fields = [
        ("id", json!(message.id)),
        ("time", json!(message.time)),
        ("origin", json!(message.origin)),
        ("topic", json!(message.topic)),
        ("qos", json!(message.qos)),
        ("retain", json!(message.retain)),
        ("payload", content(shown_payload(message))),
        ("size", json!(message.payload.len())),
        ("properties", properties(&message.properties)),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn properties(properties: &Properties) -> Value {
    json!({
        "response_topic": properties.response_topic,
        "correlation_data": properties.correlation_data.as_ref().map(|data| STANDARD.encode(data)),
        "content_type": properties.content_type,
        "message_expiry_interval": properties.message_expiry_interval,
        "payload_format_indicator": properties.payload_format_indicator.map(u8::from),
        "user_properties": properties.user_properties,
    })
}

/// `{"text": ...}` or `{"base64": ...}`.
fn content(shown: Value) -> Value {
    match shown {
        Value::String(text) => json!({ "text": text }),
        other => other,
    }
}
