//! `POST /mqtt/messages`: an MQTT PUBLISH in a query, headers and a body (mqtt-http-publish
//! page). The query beats a header where both give the same part.

use bytes::Bytes;
use serde_json::Value;

use super::parameters::{self, Parameters, invalid};
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::exchange::{Answer, Request, Surface};
use crate::pipeline::Walk;
use crate::vendor::azure_event_grid::AzureEventGrid;
use crate::vendor::azure_event_grid::access;
use crate::vendor::azure_event_grid::auth::{Accept, Caller};
use crate::vendor::azure_event_grid::error::Error;
use crate::vendor::azure_event_grid::limits;
use crate::vendor::azure_event_grid::resources::Permission;
use crate::vendor::azure_event_grid::store::NamespaceState;

/// The headers that carry parts of a PUBLISH.
const HEADERS: [&str; 7] = [
    "mqtt-qos",
    "mqtt-retain",
    "mqtt-response-topic",
    "mqtt-correlation-data",
    "mqtt-user-properties",
    "mqtt-message-expiry",
    "mqtt-payload-format-indicator",
];

/// The api-versions that the vendor's pages name for the MQTT broker over HTTP.
pub(in crate::vendor::azure_event_grid) const VERSIONS: [&str; 3] = [
    "2025-02-15-preview",
    "2025-08-01-preview",
    "2025-11-16-preview",
];

/// An allowed publish.
#[derive(Debug)]
pub(in crate::vendor::azure_event_grid) struct Publish {
    namespace: std::sync::Arc<NamespaceState>,
    /// Whose rate it counts against.
    pub caller: String,
    publication: Publication,
}

impl AzureEventGrid {
    /// Authenticates, reads and authorizes a publish.
    pub(in crate::vendor::azure_event_grid) async fn admit_publish(
        &self,
        walk: &mut Walk<'_>,
    ) -> Result<Publish, Error> {
        let request = walk.request;
        let namespace = self.store.namespace(request.head.host());
        let resources = namespace.resources();
        let caller = self
            .authenticator
            .authenticate(request, &resources, Accept::Token, walk.receipt.now)
            .await?;
        walk.draft.caller = Some(caller.name.clone());
        let publication = self.read_publish(&caller, walk)?;
        access::identity_may(
            &resources,
            &caller.object_id,
            caller.roles.as_deref(),
            Permission::Publisher,
            publication.topic.as_str(),
        )
        .map_err(Error::Forbidden)?;
        Ok(Publish {
            namespace,
            caller: caller.object_id,
            publication,
        })
    }

    /// Publishes; routes; answers 204, or 202 where there is a routing topic.
    pub(in crate::vendor::azure_event_grid) async fn perform_publish(
        &self,
        call: Publish,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        // mqtt-retain page: a retained publish counts as two operations.
        if let (true, Some(rate)) = (
            call.publication.retain,
            self.settings.quotas.get("HttpPublish"),
        ) {
            walk.app.quotas.take("HttpPublish", &call.caller, *rate)?;
        }
        let namespace = call.namespace.resources();
        self.router.room(&namespace).await;
        let published = walk
            .app
            .broker
            .publish_in(&namespace.name, call.publication)
            .await?;
        walk.draft.messages.push(published.message.id.clone());
        let routed = self.router.route(
            &call.namespace,
            &published.message,
            &call.caller,
            &walk.app.ids,
        )?;
        let status = match self.settings.publish_status {
            Some(status) => status,
            None if routed => 202,
            None => 204,
        };
        Ok(super::answer(status, walk))
    }

    /// Checks `api-version`: required, and in strict mode known.
    pub(in crate::vendor::azure_event_grid) fn check_version(
        &self,
        query: &Parameters,
        known: &[&str],
    ) -> Result<(), Error> {
        match query.get("api-version")? {
            None | Some("") => Err(Error::MissingParameter("api-version")),
            Some(got) if self.settings.strict_parameters && !known.contains(&got) => {
                Err(Error::ApiVersion {
                    got: got.to_owned(),
                    known: known.join(", "),
                })
            }
            Some(_) => Ok(()),
        }
    }

    fn read_publish(&self, caller: &Caller, walk: &mut Walk<'_>) -> Result<Publication, Error> {
        let request = walk.request;
        let query = Parameters::parse(request.head.raw_query())?;
        self.check_version(&query, &VERSIONS)?;
        check_names(request, &query, walk)?;
        let topic = self.read_topic(
            query
                .get("topic")?
                .ok_or(Error::MissingParameter("topic"))?,
        )?;
        let either = |name: &str, header: &'static str| -> Result<Option<bool>, Error> {
            match query.get(name)? {
                Some(text) => flag(text, name).map(Some),
                None => self
                    .header(request, header)?
                    .map(|text| flag(text, header))
                    .transpose(),
            }
        };
        let qos = either("qos", "mqtt-qos")?.unwrap_or(true);
        let retain = either("retain", "mqtt-retain")?.unwrap_or(false);
        let properties = self.read_properties(walk)?;
        let payload = request.body.clone();
        self.check_size(&payload, retain)?;
        hints(&properties, &payload, walk);
        Ok(Publication {
            topic,
            payload,
            qos: if qos {
                Qos::AtLeastOnce
            } else {
                Qos::AtMostOnce
            },
            retain,
            properties,
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Azure),
                client_id: Some(caller.object_id.clone()),
                request: Some(walk.receipt.id.clone()),
            },
        })
    }

    fn read_topic(&self, topic: &str) -> Result<TopicName, Error> {
        let broken = |why: String| Error::InvalidTopic {
            topic: topic.to_owned(),
            why,
        };
        if self.settings.limits {
            limits::check_topic(topic).map_err(broken)?;
        }
        TopicName::parse(topic).map_err(|why| broken(why.to_string()))
    }

    fn check_size(&self, payload: &Bytes, retain: bool) -> Result<(), Error> {
        let (what, limit) = if retain {
            ("retained message", limits::RETAINED_MESSAGE)
        } else {
            ("message", limits::MESSAGE)
        };
        if self.settings.limits && payload.len() > limit {
            return Err(Error::TooLarge {
                what,
                got: payload.len(),
                limit,
            });
        }
        Ok(())
    }

    /// A header as text; one that is not UTF-8 or comes twice is refused.
    fn header<'a>(
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

    fn read_properties(&self, walk: &mut Walk<'_>) -> Result<Properties, Error> {
        let request = walk.request;
        let response_topic = self
            .header(request, "mqtt-response-topic")?
            .map(|text| self.read_response_topic(text))
            .transpose()?;
        let correlation_data = self
            .header(request, "mqtt-correlation-data")?
            .map(|text| parameters::base64(text, "mqtt-correlation-data"))
            .transpose()?;
        let content_type = self.header(request, "content-type")?.map(str::to_owned);
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
        match size {
            Some(size) if self.settings.limits && size > limits::FIELD => Err(invalid(
                name,
                format!("it has {size} bytes, the limit is {}", limits::FIELD),
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
        let Ok(Value::Array(items)) = serde_json::from_slice::<Value>(&json) else {
            return Err(invalid(name, shape));
        };
        let mut properties = Vec::with_capacity(items.len());
        for item in items {
            let Value::Object(members) = item else {
                return Err(invalid(name, shape));
            };
            let mut members = members.into_iter();
            match (members.next(), members.next()) {
                (Some((key, Value::String(value))), None) => properties.push((key, value)),
                _ => return Err(invalid(name, shape)),
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

/// `0` or `1`.
fn flag(text: &str, name: &str) -> Result<bool, Error> {
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

/// Refuses `mqtt-` headers that carry nothing, and hints at query parameters that do not.
fn check_names(request: &Request, query: &Parameters, walk: &mut Walk<'_>) -> Result<(), Error> {
    for (name, _) in request.head.headers.iter() {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("mqtt-") && !HEADERS.contains(&lower.as_str()) {
            return Err(invalid(
                name,
                format!("there is no such header; there are {}", HEADERS.join(", ")),
            ));
        }
    }
    for name in query.names() {
        if !["topic", "qos", "retain", "api-version"].contains(&name) {
            walk.draft
                .note(format!("the query parameter {name:?} has no meaning here"));
        }
    }
    Ok(())
}

fn hints(properties: &Properties, payload: &Bytes, walk: &mut Walk<'_>) {
    let form = "application/x-www-form-urlencoded";
    if properties
        .content_type
        .as_deref()
        .is_some_and(|kind| kind.starts_with(form))
    {
        walk.draft.note(format!(
            "the MQTT content type is {form}: the HTTP client set it by itself; give a Content-Type"
        ));
    }
    let utf8 = properties.payload_format_indicator == Some(true);
    if utf8 && std::str::from_utf8(payload).is_err() {
        walk.draft
            .note("mqtt-payload-format-indicator is 1, but the payload is not UTF-8");
    }
}
