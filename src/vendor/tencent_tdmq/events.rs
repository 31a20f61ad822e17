//! The event topics: `$events/client_connected`, `$events/client_disconnected` and
//! `$events/session_subscribed`, published by the service itself with QoS 0.
//!
//! Source: tencentcloud.com/document/product/1294/76432 (the fields of `client.connected` and
//! `client.disconnected`; those of `session.subscribed` are assumed, and so is every
//! `reason` but the page's `authentication_expired`, which nothing here gives).

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::policy::Subject;
use super::subjects::Attachment;
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::broker::{Broker, Ending};
use crate::exchange::{Refusal, Surface};

/// The reason for which `KickOutClient` closes a connection.
pub(super) const KICKED_OUT: &str = "kicked out by KickOutClient";
/// The `node` of the events.
const NODE: &str = "mqttstack";

/// What has happened to a client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    /// It has connected.
    ClientConnected {
        /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
        protocol_version: u8,
    },
    /// Its connection has ended.
    ClientDisconnected {
        /// Why.
        ending: &'a Ending,
    },
    /// A filter was granted.
    SessionSubscribed {
        /// The filter.
        filter: &'a str,
        /// What was granted.
        qos: Qos,
    },
}

impl Event<'_> {
    /// Its topic and what is said there.
    fn write(self, subject: &Subject, attachment: Attachment, at: i64) -> (&'static str, Value) {
        let (topic, name, more) = match self {
            Self::ClientConnected { protocol_version } => (
                "$events/client_connected",
                "client.connected",
                json!({
                    "proto_ver": protocol_version,
                    "clean_start": attachment.clean_start,
                    "keepalive": attachment.keep_alive,
                    "connected_at": at,
                }),
            ),
            Self::ClientDisconnected { ending } => (
                "$events/client_disconnected",
                "client.disconnected",
                json!({"reason": reason(ending), "disconnected_at": at}),
            ),
            Self::SessionSubscribed { filter, qos } => (
                "$events/session_subscribed",
                "session.subscribed",
                json!({"topic": filter, "qos": qos}),
            ),
        };
        let mut fields = json!({
            "clientid": subject.client_id,
            "username": subject.username,
            "event": name,
            "node": NODE,
            "peername": attachment.peer.map(|peer| peer.to_string()),
            "timestamp": at,
        });
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        (topic, fields)
    }
}

/// The event's word for the end of a connection, or the reason in words where it has none
/// (assumed).
fn reason(ending: &Ending) -> String {
    let word = match ending {
        Ending::Disconnected { .. } => "normal",
        Ending::ConnectionLost | Ending::Stalled => "tcp_closed",
        Ending::KeepAliveTimeout => "keepalive_timeout",
        Ending::Kicked => "kicked",
        Ending::Closed { reason } if reason == KICKED_OUT => "kicked",
        Ending::TakenOver => "takenover",
        Ending::Closed { .. }
        | Ending::Refused { .. }
        | Ending::QueueOverflow
        | Ending::Stopped => return ending.to_string(),
    };
    word.to_owned()
}

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

    /// Tells an event of a client.
    pub(super) fn tell(
        &self,
        instance: &str,
        subject: &Subject,
        attachment: Attachment,
        event: Event<'_>,
        now: Timestamp,
    ) {
        let (topic, fields) = event.write(subject, attachment, now.as_millisecond());
        // The topics are constants, so they parse.
        let Ok(topic) = TopicName::parse(topic) else {
            return;
        };
        let event = Publication {
            topic,
            payload: Bytes::from(fields.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_end_is_told_in_one_word_and_any_other_in_its_own() {
        let closed = |reason: &str| Ending::Closed {
            reason: reason.to_owned(),
        };
        assert_eq!(reason(&Ending::Disconnected { code: 0 }), "normal");
        assert_eq!(reason(&Ending::ConnectionLost), "tcp_closed");
        assert_eq!(reason(&closed(KICKED_OUT)), "kicked");
        assert_eq!(reason(&closed("the moon fell")), "the moon fell");
    }
}
