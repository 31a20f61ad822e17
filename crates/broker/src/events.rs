//! What happens in the broker, as one stream: the admin API, vendors, metrics and tests read it
//! instead of asking again and again. Nobody is waited for: a reader that falls behind is told how
//! many events it has missed.

use std::sync::Arc;

use mqttstack_base::message::{Delivery, Message};
use tokio::sync::broadcast;

use super::core::Core;
use super::dialect::{Peer, SessionEnd};
use super::ending::Ending;

/// How many events a reader may be behind.
pub(crate) const BEHIND: usize = 4_096;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A client was accepted.
    Connected {
        /// Who it is.
        peer: Arc<Peer>,
        /// Whether it has an earlier session.
        session_present: bool,
    },
    /// A client's connection has ended.
    Disconnected {
        /// Who it was.
        peer: Arc<Peer>,
        /// Why.
        ending: Ending,
    },
    /// A session has ended.
    SessionEnded {
        /// Whose.
        client_id: Arc<str>,
        /// Why.
        end: SessionEnd,
    },
    /// A filter was granted.
    Subscribed {
        /// Who asked.
        client_id: Arc<str>,
        /// The filter as the client wrote it.
        filter: Arc<str>,
    },
    /// A subscription was taken back.
    Unsubscribed {
        /// Who asked.
        client_id: Arc<str>,
        /// The filter as the client wrote it.
        filter: Arc<str>,
    },
    /// A message was taken; its deliveries are in it.
    Published {
        /// The message.
        message: Arc<Message>,
    },
    /// A delivery has come further: sent, acknowledged, dropped, expired.
    Delivery {
        /// The message.
        message: Arc<Message>,
        /// The delivery as it is now.
        delivery: Delivery,
    },
}

impl Core {
    /// Tells of something, if anybody wants to know.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.events.receiver_count() > 0 {
            // Only an event that nobody receives is an error.
            let _ = self.events.send(event());
        }
    }
}

/// A new stream of events.
pub(crate) fn stream() -> broadcast::Sender<Event> {
    broadcast::Sender::new(BEHIND)
}
