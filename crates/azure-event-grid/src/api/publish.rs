//! `POST /mqtt/messages`: an MQTT PUBLISH in a query, headers and a body (mqtt-http-publish
//! page). The query beats a header where both give the same part.

use bytes::Bytes;
use mqttstack_base::exchange::{Answer, Request, Surface};
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_pipeline::Walk;

use super::parameters::{Parameters, invalid};
use super::properties::flag;
use super::rooms::Rooms;
use crate::error::Error;
use crate::events::store::NamespaceState;
use crate::identity::auth::{Accept, Caller};
use crate::model::resources::Permission;
use crate::model::{access, limits};
use crate::render::answer;

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
pub(crate) const VERSIONS: [&str; 3] = [
    "2025-02-15-preview",
    "2025-08-01-preview",
    "2025-11-16-preview",
];

/// An allowed publish.
#[derive(Debug)]
pub(crate) struct Publish {
    namespace: std::sync::Arc<NamespaceState>,
    /// Whose rate it counts against.
    pub caller: String,
    publication: Publication,
}

impl Rooms {
    /// Authenticates, reads and authorizes a publish.
    pub(crate) async fn admit_publish(&self, walk: &mut Walk<'_>) -> Result<Publish, Error> {
        let request = walk.request;
        let namespace = self.namespace_of(request)?;
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

    /// Publishes; answers 204, or 202 where there is a routing topic. What could not be routed is
    /// not published.
    pub(crate) async fn perform_publish(
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
        let publication = &call.publication;
        self.rates(walk.app).http_publish(
            &namespace.name,
            &call.caller,
            publication.payload.len(),
            publication.retain,
        )?;
        self.check_retained(publication, &namespace.name, walk)?;
        self.router.room(&namespace).await;
        let routed = self
            .router
            .check(&call.namespace, publication, walk.receipt.now)?;
        let published = walk
            .app
            .broker
            .publish_in(&namespace.name, call.publication)
            .await?;
        walk.draft.published(&published.message);
        let status = match self.settings.publish_status {
            Some(status) => status,
            None if routed => 202,
            None => 204,
        };
        Ok(answer(status, walk))
    }

    /// Refuses a message that would be one more retained message than the namespace may have.
    fn check_retained(
        &self,
        publication: &Publication,
        namespace: &str,
        walk: &Walk<'_>,
    ) -> Result<(), Error> {
        let Some(most) = self.settings.retained_messages() else {
            return Ok(());
        };
        if !publication.retain || publication.payload.is_empty() {
            return Ok(());
        }
        let kept = walk.app.broker.retained_of(Surface::Azure, namespace);
        let topic = publication.topic.as_str();
        if kept.len() < most || kept.iter().any(|one| one.message.topic == topic) {
            return Ok(());
        }
        Err(Error::RetainedQuota(most))
    }

    /// Checks `api-version`: required, and in strict mode known.
    pub(crate) fn check_version(&self, query: &Parameters, known: &[&str]) -> Result<(), Error> {
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
        let mut properties = self.read_properties(walk)?;
        if retain && self.settings.limits {
            let own = properties.message_expiry_interval;
            let own = own.map(|seconds| seconds.min(limits::RETAINED_EXPIRY));
            properties.message_expiry_interval = own;
        }
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
