//! Messages that the broker took and that no topic got. The publisher is not told of them (mqtt-routing
//! page), so the journal is.

use bytestring::ByteString;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Head, Headers, Receipt, Surface, Version};
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Message;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::{Draft, Journal};

/// What the journal calls it.
const OPERATION: &str = "RouteMessage";

/// The way to the journal.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

/// The message that an event was made of.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    id: String,
    topic: String,
}

impl From<&Message> for Source {
    fn from(message: &Message) -> Self {
        Self {
            id: message.id.clone(),
            topic: message.topic.clone(),
        }
    }
}

#[cfg(test)]
impl Source {
    pub(super) fn new(id: &str, topic: &str) -> Self {
        Self {
            id: id.to_owned(),
            topic: topic.to_owned(),
        }
    }
}

impl Failures {
    /// Those of an emulator.
    pub(crate) fn of(app: &App) -> Self {
        Self {
            journal: app.journal.clone(),
            clock: app.clock.clone(),
            ids: app.ids.clone(),
        }
    }

    /// Keeps a PUBLISH that was accepted and not routed.
    pub(crate) fn tell(&self, source: &Source, why: &str) {
        let receipt = Receipt {
            id: self.ids.request_id(),
            now: self.clock.now(),
        };
        let topic = source.topic.as_str();
        tracing::warn!(target: "mqttstack::azure", id = receipt.id, topic, why, "not routed");
        let head = Head {
            method: ByteString::from_static("PUBLISH"),
            target: topic.into(),
            version: Version::Http11,
            headers: Headers::default(),
            size: 0,
        };
        let draft = Draft {
            operation: Some(OPERATION.to_owned()),
            reasons: vec![format!(
                "the message was accepted and could not be routed: {why}"
            )],
            messages: vec![source.id.clone()],
            topic: Some(topic.to_owned()),
            ..Draft::default()
        };
        self.journal
            .noted(Some(Surface::Azure), &receipt, head, draft);
    }
}
