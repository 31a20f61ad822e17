//! The event topics: `$events/client_connected`, `$events/client_disconnected` and
//! `$events/session_subscribed`, published by the service itself with QoS 0.
//!
//! Source: tencentcloud.com/document/product/1294/76432 (the fields of `client.disconnected`;
//! those of the other two are assumed).

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::policy::Subject;
use crate::broker::Broker;
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::exchange::{Refusal, Surface};

/// The `node` of the events.
const NODE: &str = "mqttstack";

/// Where events go: an instance's id and what is published in it.
pub(super) struct Events(mpsc::UnboundedSender<(String, Publication)>);

impl Events {
    /// Starts the task that publishes them, one by one and in their order, until the broker has
    /// stopped. Must be called inside a tokio runtime.
    pub(super) fn start(broker: Broker) -> Self {
        let (sender, mut queue) = mpsc::unbounded_channel::<(String, Publication)>();
        tokio::spawn(async move {
            while let Some((instance, event)) = queue.recv().await {
                match broker.publish_in(&instance, event).await {
                    Err(Refusal::Unavailable(_)) => return,
                    Err(refusal) => tracing::warn!(%refusal, "an event was not published"),
                    Ok(_) => {}
                }
            }
        });
        Self(sender)
    }

    /// Tells an event of a client; `more` are its further fields.
    pub(super) fn tell(
        &self,
        instance: &str,
        topic: &str,
        event: &str,
        subject: &Subject,
        more: Value,
    ) {
        let mut fields = Map::new();
        fields.insert("clientid".to_owned(), json!(subject.client_id));
        fields.insert("username".to_owned(), json!(subject.username));
        fields.insert("event".to_owned(), json!(event));
        fields.insert("node".to_owned(), json!(NODE));
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        // The topics are constants of `mqtt.rs`, so they parse.
        let Ok(topic) = TopicName::parse(topic) else {
            return;
        };
        let event = Publication {
            topic,
            payload: Bytes::from(Value::Object(fields).to_string()),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            origin: Origin {
                kind: OriginKind::System,
                vendor: Some(Surface::TencentTdmq),
                client_id: None,
                request: None,
            },
        };
        if self.0.send((instance.to_owned(), event)).is_err() {
            tracing::debug!("the broker has stopped, an event goes to nobody");
        }
    }
}
