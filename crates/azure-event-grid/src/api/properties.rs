//! The headers of `POST /mqtt/messages` that carry MQTT 5 properties (mqtt-http-publish page):
//! what is percent-encoded, what is base64, and how long each may be.

use bytes::Bytes;
use mqttstack_base::exchange::Request;
use mqttstack_base::message::{Properties, TopicName};
use mqttstack_pipeline::Walk;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::parameters::{self, invalid};
use super::rooms::Rooms;
use crate::error::Error;
use crate::model::limits;

/// The longest string or binary data of MQTT, in bytes (MQTT 5 sections 1.5.4 and 1.5.6).
const MQTT_FIELD: usize = 65_535;

impl Rooms {
    /// A header as text; one that is not UTF-8 or comes twice is refused.
    pub(crate) fn header<'a>(
        &self,
        request: &'a Request,
        name: &'static str,
    ) -> Result<Option<&'a str>, Error> {
        let mut values = request.head.headers.all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(invalid(name, "it is given more than once"));
        }
        let text = std::str::from_utf8(value).map_err(|_| invalid(name, "it is not UTF-8"))?;
        let is_short = matches!(
            name,
            "mqtt-correlation-data" | "content-type" | "mqtt-response-topic"
        );
        // Encoded, a field takes at most three times its size.
        if self.settings.limits && is_short && text.len() > 3 * limits::FIELD {
            return Err(invalid(
                name,
                format!("it has more than {} bytes", limits::FIELD),
            ));
        }
        Ok(Some(text.trim()))
    }

    /// Reads every property of the PUBLISH.
    pub(crate) fn read_properties(&self, walk: &mut Walk<'_>) -> Result<Properties, Error> {
        let request = walk.request;
        let response_topic = self
            .header(request, "mqtt-response-topic")?
            .map(|text| self.read_response_topic(text))
            .transpose()?;
        let correlation_data = self
            .header(request, "mqtt-correlation-data")?
            .map(|text| parameters::base64(text, "mqtt-correlation-data"))
            .transpose()?;
        let content_type = self
            .header(request, "content-type")?
            .filter(|kind| !kind.is_empty())
            .map(str::to_owned);
        self.check_field(
            "mqtt-correlation-data",
            correlation_data.as_ref().map(Vec::len),
        )?;
        self.check_field("content-type", content_type.as_ref().map(String::len))?;
        let user_properties = match self.header(request, "mqtt-user-properties")? {
            Some(text) => self.read_user_properties(text, walk)?,
            None => Vec::new(),
        };
        let expiry = self
            .header(request, "mqtt-message-expiry")?
            .map(seconds)
            .transpose()?;
        let name = "mqtt-payload-format-indicator";
        Ok(Properties {
            response_topic,
            correlation_data: correlation_data.map(Bytes::from),
            content_type,
            // mqtt-support page: zero means that the message never expires.
            message_expiry_interval: expiry.filter(|seconds| *seconds > 0),
            payload_format_indicator: self
                .header(request, name)?
                .map(|text| flag(text, name))
                .transpose()?,
            user_properties,
        })
    }

    fn check_field(&self, name: &str, size: Option<usize>) -> Result<(), Error> {
        let limit = if self.settings.limits {
            limits::FIELD
        } else {
            MQTT_FIELD
        };
        match size {
            Some(size) if size > limit => Err(invalid(
                name,
                format!("it has {size} bytes, the limit is {limit}"),
            )),
            _ => Ok(()),
        }
    }

    fn read_response_topic(&self, text: &str) -> Result<String, Error> {
        let name = "mqtt-response-topic";
        let topic = parameters::decode(text, name)?;
        if self.settings.limits {
            limits::check_topic(&topic).map_err(|why| invalid(name, why))?;
        }
        let topic = TopicName::parse(topic).map_err(|why| invalid(name, why.to_string()))?;
        Ok(topic.as_str().to_owned())
    }

    /// Base64 of a JSON array of objects with one member each; order and repetition stay.
    fn read_user_properties(
        &self,
        text: &str,
        walk: &mut Walk<'_>,
    ) -> Result<Vec<(String, String)>, Error> {
        let name = "mqtt-user-properties";
        let json = if text.starts_with('[') {
            if self.settings.strict_parameters {
                return Err(invalid(name, "it is raw JSON, base64 of it is expected"));
            }
            walk.draft
                .note("mqtt-user-properties is raw JSON; the documented form is base64 of it");
            text.as_bytes().to_vec()
        } else {
            parameters::base64(text, name)?
        };
        let shape = "it must be a JSON array of objects with one string member each";
        let properties: Vec<_> = serde_json::from_slice::<Vec<UserProperty>>(&json)
            .map_err(|_| invalid(name, shape))?
            .into_iter()
            .map(|UserProperty(key, value)| (key, value))
            .collect();
        for text in properties.iter().flat_map(|(key, value)| [key, value]) {
            if text.contains('\0') {
                return Err(invalid(name, "MQTT strings cannot contain U+0000"));
            }
            if text.len() > MQTT_FIELD {
                return Err(invalid(
                    name,
                    format!(
                        "a string of {} bytes is in it, MQTT's limit is {MQTT_FIELD}",
                        text.len()
                    ),
                ));
            }
        }
        let size: usize = properties
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if self.settings.limits && size > limits::USER_PROPERTIES {
            return Err(invalid(
                name,
                format!(
                    "they have {size} bytes, the limit is {}",
                    limits::USER_PROPERTIES
                ),
            ));
        }
        Ok(properties)
    }
}

/// A JSON object with exactly one member, read so that a repeated name counts as a second one.
struct UserProperty(String, String);

impl<'de> Deserialize<'de> for UserProperty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMember;

        impl<'de> Visitor<'de> for OneMember {
            type Value = UserProperty;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with one string member")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UserProperty, A::Error> {
                let (key, value) = map
                    .next_entry()?
                    .ok_or_else(|| A::Error::custom("it has no member"))?;
                match map.next_entry::<IgnoredAny, IgnoredAny>()? {
                    None => Ok(UserProperty(key, value)),
                    Some(_) => Err(A::Error::custom("it has more than one member")),
                }
            }
        }

        deserializer.deserialize_map(OneMember)
    }
}

/// `0` or `1`.
pub(crate) fn flag(text: &str, name: &str) -> Result<bool, Error> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        "2" if name.ends_with("qos") => {
            Err(invalid(name, "QoS 2 is not supported, it must be 0 or 1"))
        }
        other => Err(invalid(name, format!("it is {other:?}, it must be 0 or 1"))),
    }
}

fn seconds(text: &str) -> Result<u32, Error> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or_else(|| {
        invalid(
            "mqtt-message-expiry",
            format!("it is {text:?}, it must be an unsigned 32-bit number of seconds"),
        )
    })
}
