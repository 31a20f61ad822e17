//! The messages that traces tell of. What the journal still has decides nothing here. How long the
//! vendor keeps traces was not found; here the oldest go.

use std::sync::Arc;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Message;
use mqttstack_broker::Isolation;
use mqttstack_broker::Owner;
use mqttstack_broker::dialect::Peer;
use mqttstack_broker::outlet::Outlet;
use mqttstack_pipeline::journal::{Cursor, Ring};

use crate::client_id::ClientId;
use crate::store::Store;

/// How many messages of all instances together are kept (assumed).
const MAX_MESSAGES: usize = 10_000;

/// How many bytes they occupy at most, about; the newest is kept whatever it has
/// (assumed).
const MAX_BYTES: usize = 32 << 20;

/// A message that traces tell of.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The instance in which it was published; `None` is any.
    instance: Option<String>,
    pub message: Arc<Message>,
}

/// The latest messages, each with its place among all.
#[derive(Debug)]
pub(crate) struct Traces(Ring<Traced>);

impl Default for Traces {
    fn default() -> Self {
        Self(Ring::new(MAX_MESSAGES, Arc::default()))
    }
}

impl Traces {
    /// Keeps a message; the oldest go for it where there are too many.
    fn keep(&self, instance: Option<&str>, message: &Arc<Message>) {
        let weight = message.weight();
        let traced = Traced {
            instance: instance.map(ToOwned::to_owned),
            message: message.clone(),
        };
        self.0.push(Arc::new(traced), weight);
        while self.0.bytes() > MAX_BYTES && self.0.len() > 1 && self.0.evict_oldest() {}
    }

    /// Those of an instance, the oldest first.
    pub(crate) fn of(&self, instance: &str) -> Vec<(Cursor, Arc<Traced>)> {
        let mut all = self.0.since(0);
        all.retain(|(_, traced)| {
            let own = traced.instance.as_deref();
            own.is_none_or(|own| own == instance)
        });
        all
    }

    /// The place of the newest one; 0 before the first.
    pub(crate) fn last(&self) -> Cursor {
        self.0.last()
    }

    /// Forgets them all. Places go on from where they were.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// Sees every message of the broker and keeps what traces tell of.
pub(crate) struct Tracer {
    pub store: Arc<Store>,
    pub isolation: Isolation,
}

impl Outlet for Tracer {
    fn take(&self, message: &Arc<Message>, _peer: Option<&Peer>, tenant: Option<&str>) {
        let traces = &self.store.traces;
        match Owner::of(Surface::Aliyun, self.isolation, message, tenant) {
            Owner::Tenant(instance) => traces.keep(Some(instance), message),
            Owner::Everybody => traces.keep(None, message),
            // With one topic tree for all, a client of the product may get it.
            Owner::Others if is_for_client(message) => traces.keep(None, message),
            Owner::Others => {}
        }
    }
}

/// Whether a message goes to a client whose id has the product's form.
fn is_for_client(message: &Message) -> bool {
    let deliveries = message.deliveries.lock();
    let mut clients = deliveries.iter().map(|row| &row.client_id);
    clients.any(|client_id| ClientId::parse(client_id).is_ok())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use mqttstack_base::message::{Origin, OriginKind, Properties, Qos};

    fn message(number: usize, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: number.to_string(),
            time: Timestamp::UNIX_EPOCH,
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Aliyun),
                client_id: None,
                request: None,
            },
            topic: "t".to_owned(),
            qos: Qos::AtLeastOnce,
            retain: false,
            payload: Bytes::from(vec![0; bytes]),
            properties: Properties::default(),
            deliveries: parking_lot::Mutex::default(),
        })
    }

    fn ids(traces: &Traces, instance: &str) -> Vec<String> {
        let all = traces.of(instance);
        all.iter()
            .map(|(_, traced)| traced.message.id.clone())
            .collect()
    }

    #[test]
    fn the_newest_messages_are_traced_and_the_oldest_go() {
        let traces = Traces::default();
        for number in 0..=MAX_MESSAGES {
            traces.keep(Some("i"), &message(number, 0));
        }
        let kept = ids(&traces, "i");
        assert_eq!(kept.len(), MAX_MESSAGES);
        assert_eq!(kept[0], "1");
        assert_eq!(kept.last(), Some(&MAX_MESSAGES.to_string()));
        for number in 0..40 {
            traces.keep(None, &message(number, 1 << 20));
        }
        let kept = ids(&traces, "i");
        assert_eq!((kept.len(), &*kept[0], &*kept[30]), (31, "9", "39"));
        assert_eq!(traces.last(), 10_041);
    }

    #[test]
    fn a_message_is_traced_in_the_instance_that_published_it() {
        let traces = Traces::default();
        traces.keep(Some("one"), &message(1, 0));
        traces.keep(None, &message(2, 0));
        traces.keep(Some("two"), &message(3, 0));
        assert_eq!(ids(&traces, "one"), ["1", "2"]);
        assert_eq!(ids(&traces, "two"), ["2", "3"]);
    }
}
