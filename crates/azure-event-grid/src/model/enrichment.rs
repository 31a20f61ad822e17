//! What routed events carry in addition (mqtt-routing-enrichment page).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::message::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::attribute::{Attribute, Identity};

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
    pub(crate) fn check(&self) -> Result<(), String> {
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

    /// Adds them to the event of a message.
    pub(crate) fn apply(
        &self,
        event: &mut Map<String, Value>,
        message: &Message,
        publisher: Identity<'_>,
    ) {
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
