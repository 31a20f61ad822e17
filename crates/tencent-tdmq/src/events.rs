//! The event topics: `$events/client_connected`, `$events/client_disconnected`,
//! `$events/session_subscribed` and `$events/session_unsubscribed`, published by the service itself
//! with QoS 0. What is told there is kept for `DescribeClientEvents` too (`history.rs`).
//!
//! Sources: tencentcloud.com/document/product/1294/76432 and cloud.tencent.com/document/product/
//! 1778/116796 (the topics; the fields of `client.connected` and `client.disconnected`; those of
//! the other two are assumed, and so is every `reason` but the page's `authentication_expired`,
//! which nothing here gives); cloud.tencent.com/document/api/1778/139235 (2026-10-13: the name
//! `client.subscribed` in `DescribeClientEvents`, with `topic` and `qos`; the other names there are
//! assumed).

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_base::exchange::{Refusal, Surface};
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_broker::{Ending, WeakBroker};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::history::{History, Item};
use super::policy::Subject;
use super::subjects::Attachment;

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
    /// A filter was given up.
    SessionUnsubscribed {
        /// The filter.
        filter: &'a str,
    },
}

/// An event in the service's words.
struct Written {
    topic: &'static str,
    /// What is said on the topic.
    fields: Value,
    /// What `DescribeClientEvents` answers.
    item: Item,
}

impl Event<'_> {
    /// Its topic, its names on the topic and in `DescribeClientEvents`, and its own fields.
    fn describe(
        self,
        attachment: Attachment,
        at: i64,
    ) -> (&'static str, &'static str, &'static str, Value) {
        match self {
            Self::ClientConnected { protocol_version } => (
                "$events/client_connected",
                "client.connected",
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
                "client.disconnected",
                json!({"reason": reason(ending), "disconnected_at": at}),
            ),
            Self::SessionSubscribed { filter, qos } => (
                "$events/session_subscribed",
                "session.subscribed",
                "client.subscribed",
                json!({"topic": filter, "qos": qos}),
            ),
            Self::SessionUnsubscribed { filter } => (
                "$events/session_unsubscribed",
                "session.unsubscribed",
                "client.unsubscribed",
                json!({"topic": filter}),
            ),
        }
    }

    fn write(self, subject: &Subject, attachment: Attachment, at: i64) -> Written {
        let (topic, name, event, more) = self.describe(attachment, at);
        let peer = attachment.peer.map(|peer| peer.to_string());
        let mut fields = json!({
            "clientid": subject.client_id,
            "username": subject.username,
            "event": name,
            "node": NODE,
            "peername": peer,
            "timestamp": at,
        });
        let mut info = vec![("peername".to_owned(), peer.unwrap_or_default())];
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            let text = |value: &Value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            };
            info.extend(more.iter().map(|(name, value)| (name.clone(), text(value))));
            fields.extend(more);
        }
        Written {
            topic,
            fields,
            item: Item {
                at_ms: at,
                event,
                info,
            },
        }
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

/// Where events go.
pub(super) struct Events {
    /// An instance's id and what is published in it.
    queue: mpsc::UnboundedSender<(String, Publication)>,
    history: Arc<History>,
}

impl Events {
    /// Starts the task that publishes them, one by one and in their order, until the broker has
    /// stopped. The broker holds what this returns, so the task must not hold the broker. Must be
    /// called inside a tokio runtime.
    pub(super) fn start(broker: WeakBroker, history: Arc<History>) -> Self {
        let (sender, mut queue) = mpsc::unbounded_channel::<(String, Publication)>();
        tokio::spawn(async move {
            while let Some((instance, event)) = queue.recv().await {
                let Some(broker) = broker.upgrade() else {
                    return;
                };
                match broker.publish_in(&instance, event).await {
                    Err(Refusal::Unavailable(_)) => return,
                    Err(refusal) => tracing::warn!(%refusal, "an event was not published"),
                    Ok(_) => {}
                }
            }
        });
        Self {
            queue: sender,
            history,
        }
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
        let written = event.write(subject, attachment, now.as_millisecond());
        self.history
            .keep(instance, &subject.client_id, written.item);
        // The topics are constants, so they parse.
        let Ok(topic) = TopicName::parse(written.topic) else {
            return;
        };
        let event = Publication {
            topic,
            payload: Bytes::from(written.fields.to_string()),
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
        if self.queue.send((instance.to_owned(), event)).is_err() {
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
