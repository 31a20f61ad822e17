//! The messages of each instance, for `DescribeMessage*`: what the journal still has decides
//! nothing here. How long the cloud keeps them was not found; here the oldest go.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Message;
use mqttstack_broker::Isolation;
use mqttstack_broker::Owner;
use mqttstack_broker::dialect::Peer;
use mqttstack_broker::outlet::Outlet;
use mqttstack_pipeline::journal::Ring;

use super::TencentTdmq;
use super::store::Store;

/// How many messages of one instance are kept, and of open clients besides (assumed).
pub(super) const MOST: usize = 10_000;
/// How many bytes they occupy at most; the newest is kept whatever it has (assumed).
const MOST_BYTES: usize = 16 << 20;
/// How many bytes the messages of all instances occupy together: beyond it whoever has the most
/// loses the older half of them (assumed).
pub(super) const MOST_BYTES_TOGETHER: usize = 64 << 20;

/// A message with its place among those of all instances.
#[derive(Debug)]
struct Kept {
    place: u64,
    message: Arc<Message>,
}

/// The messages of one instance, or those of open clients.
#[derive(Debug)]
pub(super) struct Messages(Ring<Kept>);

impl Messages {
    /// None; `together` counts the bytes of all instances.
    pub(super) fn new(together: Arc<AtomicUsize>) -> Self {
        Self(Ring::new(MOST, together))
    }

    /// Keeps a message; the oldest go for it where there are too many.
    pub(super) fn keep(&self, place: u64, message: Arc<Message>) {
        let weight = message.weight();
        self.0.push(Arc::new(Kept { place, message }), weight);
        while self.0.bytes() > MOST_BYTES && self.0.len() > 1 && self.0.evict_oldest() {}
    }

    /// These and others, the newest first (assumed).
    pub(super) fn newest_first(&self, others: &Self) -> Vec<Arc<Message>> {
        let mut all = self.0.since(0);
        all.extend(others.0.since(0));
        all.sort_unstable_by_key(|(_, kept)| std::cmp::Reverse(kept.place));
        all.into_iter()
            .map(|(_, kept)| kept.message.clone())
            .collect()
    }

    /// About how many bytes they occupy.
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Forgets the older half of the bytes.
    pub(super) fn halve(&self) {
        let half = self.bytes() / 2;
        while self.bytes() > half && self.0.evict_oldest() {}
    }

    /// Forgets them all.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

impl Drop for Messages {
    /// The count of all bytes goes on without them.
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Sees every message of the broker and keeps the vendor's own.
struct Keeper {
    store: Arc<Store>,
    isolation: Isolation,
}

impl Outlet for Keeper {
    fn take(&self, message: &Arc<Message>, _peer: Option<&Peer>, tenant: Option<&str>) {
        match Owner::of(Surface::TencentTdmq, self.isolation, message, tenant) {
            Owner::Tenant(id) => self.store.keep(Some(id), message),
            Owner::Everybody => self.store.keep(None, message),
            Owner::Others => {}
        }
    }
}

impl TencentTdmq {
    /// What keeps the messages of a broker for the cloud API's queries.
    pub(super) fn keeper(&self, isolation: Isolation) -> Arc<dyn Outlet> {
        Arc::new(Keeper {
            store: self.store.clone(),
            isolation,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::store::Seed;
    use mqttstack_base::message::{Origin, OriginKind, Properties, Qos};

    fn message(number: usize, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: number.to_string(),
            time: Timestamp::UNIX_EPOCH,
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::TencentTdmq),
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

    fn ids(store: &Store, instance: &str) -> Vec<String> {
        let messages = store.newest_first(&store.find(instance).unwrap());
        messages.iter().map(|message| message.id.clone()).collect()
    }

    #[test]
    fn the_newest_messages_of_each_instance_are_kept() {
        let store = Store::new("mqtt-1", Seed::default(), true);
        store.keep(Some("mqtt-2"), &message(0, 0));
        for number in 0..=MOST {
            store.keep(Some("mqtt-1"), &message(number, 0));
        }
        let kept = ids(&store, "mqtt-1");
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept[0], MOST.to_string());
        assert_eq!(kept[MOST - 1], "1");
        assert_eq!(ids(&store, "mqtt-2"), ["0"]);
        store.keep(None, &message(7, 0));
        assert_eq!(ids(&store, "mqtt-2"), ["7", "0"]);
        store.reset();
        assert!(ids(&store, "mqtt-1").is_empty());
    }

    #[test]
    fn large_messages_go_sooner_and_the_newest_stays() {
        let store = Store::new("mqtt-1", Seed::default(), true);
        for number in 0..20 {
            store.keep(Some("mqtt-1"), &message(number, 1 << 20));
        }
        let kept = ids(&store, "mqtt-1");
        assert_eq!((kept.len(), &*kept[0]), (15, "19"));
        store.keep(Some("mqtt-1"), &message(20, MOST_BYTES));
        assert_eq!(ids(&store, "mqtt-1"), ["20"]);
    }

    #[test]
    fn all_instances_together_keep_a_bounded_number_of_bytes() {
        let store = Store::new("mqtt-1", Seed::default(), true);
        for number in 0..200 {
            let instance = format!("mqtt-{}", number % 10);
            store.keep(Some(&instance), &message(number, 1 << 20));
            assert_eq!(ids(&store, &instance)[0], number.to_string());
        }
        let bytes = || {
            let all = store.all();
            all.iter()
                .map(|instance| instance.messages.bytes())
                .sum::<usize>()
        };
        assert!(bytes() <= MOST_BYTES_TOGETHER);
        assert!(bytes() > MOST_BYTES_TOGETHER / 2);
        store.reset();
        assert_eq!(bytes(), 0);
    }
}
