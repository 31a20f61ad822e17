//! MQTT messages as `CloudEvents` (mqtt-routing-event-schema and -enrichment pages). Where they
//! go is decided in `router.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Message;
use serde_json::{Map, Value, json};

use crate::model::attribute::Identity;
use crate::model::resources::Namespace;

/// `type` of a routed message.
const EVENT_TYPE: &str = "MQTT.EventPublished";
/// The `CloudEvent` of a message.
pub(crate) fn cloud_event(
    message: &Message,
    namespace: &Namespace,
    publisher: Identity<'_>,
    ids: &Ids,
) -> Value {
    let mut event = structured(message)
        .or_else(|| binary(message))
        .unwrap_or_else(|| wrapped(message, namespace, ids));
    let enrichments = &namespace.topic_spaces_configuration.routing_enrichments;
    enrichments.apply(&mut event, message, publisher);
    Value::Object(event)
}

/// The types of the attributes (`CloudEvents` 1.0, JSON format sections 2.2 and 3.1): what breaks
/// them would break the receiver's SDK instead. A null is an attribute that is not there.
pub(crate) fn check_types(members: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let fault = match (name.as_str(), value) {
            ("data", _) => None,
            ("time", Value::String(text)) => text
                .parse::<jiff::Timestamp>()
                .is_err()
                .then_some("which is no RFC 3339 timestamp"),
            ("data_base64", Value::String(text)) => STANDARD
                .decode(text)
                .is_err()
                .then_some("which is not base64"),
            ("subject" | "datacontenttype" | "dataschema" | "time" | "data_base64", value) => {
                (!value.is_string()).then_some("which is not a string")
            }
            (_, Value::Object(_) | Value::Array(_)) => Some("which is an object or array"),
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(format!("has the attribute {name:?}, {fault}"));
        }
    }
    Ok(())
}

/// A message that is no `CloudEvent` yet.
fn wrapped(message: &Message, namespace: &Namespace, ids: &Ids) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!("1.0"));
    event.insert("id".to_owned(), json!(ids.uuid().to_string()));
    let time = message.time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    event.insert("time".to_owned(), json!(time));
    event.insert("type".to_owned(), json!(EVENT_TYPE));
    event.insert("source".to_owned(), json!(namespace.name));
    event.insert("subject".to_owned(), json!(message.topic));
    put_data(&mut event, message);
    event
}

/// A message whose user properties are a `CloudEvent`'s attributes (MQTT binding, binary mode).
fn binary(message: &Message) -> Option<Map<String, Value>> {
    // A user property whose name no attribute can have is none of the event's.
    let is_attribute = |name: &str| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !name.is_empty() && name != "data" && name.bytes().all(letter)
    };
    let mut event = Map::new();
    for (key, value) in &message.properties.user_properties {
        if is_attribute(key) {
            event.insert(key.clone(), json!(value));
        }
    }
    if !is_cloud_event(&event) {
        return None;
    }
    if !message.payload.is_empty() {
        put_data(&mut event, message);
    } else if let Some(kind) = &message.properties.content_type {
        event.insert("datacontenttype".to_owned(), json!(kind));
    }
    Some(event)
}

/// Whether the attributes that every `CloudEvent` has are there and of their types; else it is a message
/// like any other.
fn is_cloud_event(event: &Map<String, Value>) -> bool {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
    text("specversion") == "1.0"
        && ["id", "source", "type"]
            .iter()
            .all(|name| !text(name).is_empty())
        && check_types(event).is_ok()
}

/// A message whose payload is a whole `CloudEvent` (MQTT binding, structured mode).
fn structured(message: &Message) -> Option<Map<String, Value>> {
    let kind = message.properties.content_type.as_deref()?;
    if essence(kind) != "application/cloudevents+json" {
        return None;
    }
    match serde_json::from_slice(&message.payload).ok()? {
        Value::Object(event) if is_cloud_event(&event) => Some(event),
        _ => None,
    }
}

/// `data` or `data_base64`, with the content type. The documents want JSON for a payload format
/// indicator of 1; the live service was seen to give text (and `text/plain`) unless the content
/// type says JSON.
fn put_data(event: &mut Map<String, Value>, message: &Message) {
    let kind = message.properties.content_type.as_deref();
    let text = std::str::from_utf8(&message.payload).ok();
    let utf8 = message.properties.payload_format_indicator == Some(true);
    let is_json = kind.map(essence).is_some_and(|essence| {
        essence == "application/json" || (utf8 && essence.ends_with("+json"))
    });
    let (default, name, data) = match text {
        Some(text) if is_json => {
            let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            ("application/json", "data", value)
        }
        Some(text) if utf8 => ("text/plain; charset=utf-8", "data", json!(text)),
        _ => (
            "application/octet-stream",
            "data_base64",
            json!(STANDARD.encode(&message.payload)),
        ),
    };
    event.insert("datacontenttype".to_owned(), json!(kind.unwrap_or(default)));
    event.insert(name.to_owned(), data);
}

fn essence(kind: &str) -> String {
    kind.split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}
