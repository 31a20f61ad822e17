//! MQTT messages as `CloudEvents` (mqtt-routing-event-schema and -enrichment pages). Where they
//! go is decided in `router.rs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::events::check_types;
use super::resources::{Attribute, Namespace};
use super::template::Identity;
use crate::broker::message::Message;
use crate::ids::Ids;

/// `type` of a routed message.
pub const EVENT_TYPE: &str = "MQTT.EventPublished";
/// Enrichments of one namespace; one page says 10, the portal's steps 20.
const MAX_ENRICHMENTS: usize = 20;
/// Names that an enrichment cannot have.
const RESERVED: [&str; 10] = [
    "id",
    "source",
    "type",
    "specversion",
    "time",
    "subject",
    "data",
    "datacontenttype",
    "dataschema",
    "data_base64",
];

/// `routingEnrichments`: attributes that routed events carry in addition.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrichments {
    /// With a fixed value.
    #[serde(rename = "static")]
    pub fixed: Vec<Enrichment>,
    /// With a value from the message or its publisher.
    pub dynamic: Vec<Enrichment>,
}

/// One enrichment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Enrichment {
    /// The attribute.
    pub key: String,
    /// Its value, or `${...}`.
    pub value: String,
    /// `String` (of static ones).
    pub value_type: String,
}

impl Enrichments {
    /// Checks what the vendor's page demands; the error says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let all: Vec<_> = self.fixed.iter().chain(&self.dynamic).collect();
        if all.len() > MAX_ENRICHMENTS {
            return Err(format!(
                "there are {} enrichments, the limit is {MAX_ENRICHMENTS}",
                all.len()
            ));
        }
        for (place, enrichment) in all.iter().enumerate() {
            let key = enrichment.key.as_str();
            let letters = key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let why = if key.is_empty() || key.len() > 20 || !letters {
                "it must be 1 to 20 lower-case letters and digits"
            } else if RESERVED.contains(&key) || key.starts_with("azsp") {
                "it is reserved"
            } else if all[..place].iter().any(|other| other.key == key) {
                "it is given twice"
            } else if enrichment.value.len() > 128 {
                "its value has more than 128 bytes"
            } else {
                continue;
            };
            return Err(format!("the enrichment {key:?} is invalid: {why}"));
        }
        for enrichment in &self.dynamic {
            Source::parse(&enrichment.value).ok_or_else(|| {
                format!("the enrichment value {:?} is not known", enrichment.value)
            })?;
        }
        Ok(())
    }

    fn apply(&self, event: &mut Map<String, Value>, message: &Message, publisher: Identity<'_>) {
        for enrichment in &self.fixed {
            event.insert(enrichment.key.clone(), json!(enrichment.value));
        }
        for enrichment in &self.dynamic {
            if let Some(source) = Source::parse(&enrichment.value) {
                event.insert(enrichment.key.clone(), source.value(message, publisher));
            }
        }
    }
}

/// Where a dynamic enrichment takes its value from.
enum Source<'a> {
    AuthenticationName,
    Attribute(&'a str),
    UserProperty(&'a str),
    TopicName,
    ResponseTopic,
    CorrelationData,
    PayloadFormatIndicator,
}

impl<'a> Source<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let inner = text.strip_prefix("${")?.strip_suffix('}')?;
        Some(match inner {
            "client.authenticationName" => Self::AuthenticationName,
            "mqtt.message.topicName" => Self::TopicName,
            "mqtt.message.responseTopic" => Self::ResponseTopic,
            "mqtt.message.correlationData" => Self::CorrelationData,
            "mqtt.message.pfi" => Self::PayloadFormatIndicator,
            other => {
                if let Some(key) = other.strip_prefix("client.attributes.") {
                    return Some(Self::Attribute(key));
                }
                let rest = other.strip_prefix("mqtt.message.userProperties")?;
                let quoted = rest
                    .strip_prefix("['")
                    .and_then(|rest| rest.strip_suffix("']"));
                Self::UserProperty(quoted.or_else(|| rest.strip_prefix('.'))?)
            }
        })
    }

    /// A missing source gives an empty string; several values are joined with commas.
    fn value(&self, message: &Message, publisher: Identity<'_>) -> Value {
        let properties = &message.properties;
        match self {
            Self::AuthenticationName => json!(publisher.authentication_name),
            Self::Attribute(key) => match publisher.attributes.and_then(|all| all.get(*key)) {
                Some(Attribute::Integer(number)) => json!(number),
                Some(Attribute::Text(text)) => json!(text),
                Some(Attribute::List(values)) => json!(values.join(",")),
                None => json!(""),
            },
            Self::UserProperty(key) => {
                let values = properties.user_properties.iter();
                let values: Vec<_> = values
                    .filter(|(name, _)| name == key)
                    .map(|(_, value)| value.as_str())
                    .collect();
                json!(values.join(","))
            }
            Self::TopicName => json!(message.topic),
            Self::ResponseTopic => json!(properties.response_topic.as_deref().unwrap_or("")),
            Self::CorrelationData => {
                json!(STANDARD.encode(properties.correlation_data.as_deref().unwrap_or(&[])))
            }
            Self::PayloadFormatIndicator => {
                json!(u8::from(properties.payload_format_indicator == Some(true)))
            }
        }
    }
}

/// The `CloudEvent` of a message.
pub(super) fn cloud_event(
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
