//! What has happened to the clients, for `DescribeClientEvents`: the latest events of all
//! instances together.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// How many events are kept.
const MOST: usize = 10_000;

/// One event of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Its name.
    pub event: &'static str,
    /// What else is to say, as names and values.
    pub info: Vec<(String, String)>,
}

#[derive(Debug)]
struct Kept {
    instance: String,
    client_id: String,
    item: Item,
}

/// The events of all clients, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Kept>>);

impl History {
    /// Keeps an event; the oldest one goes for it where there are too many.
    pub(super) fn keep(&self, instance: &str, client_id: &str, item: Item) {
        let mut kept = self.0.lock();
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back(Kept {
            instance: instance.to_owned(),
            client_id: client_id.to_owned(),
            item,
        });
    }

    /// The events of a client between two times (Unix milliseconds, both included), the oldest
    /// first.
    pub(super) fn of(&self, instance: &str, client_id: &str, from: i64, to: i64) -> Vec<Item> {
        let kept = self.0.lock();
        let own = kept.iter().filter(|kept| {
            kept.instance == instance
                && kept.client_id == client_id
                && (from..=to).contains(&kept.item.at_ms)
        });
        own.map(|kept| kept.item.clone()).collect()
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_events_are_kept_and_the_oldest_go() {
        let history = History::default();
        let most = i64::try_from(MOST).unwrap();
        for at_ms in 0..=most {
            let event = "client.connected";
            let info = Vec::new();
            history.keep("mqtt-1", "dev", Item { at_ms, event, info });
        }
        let kept = history.of("mqtt-1", "dev", 0, most);
        assert_eq!((kept.len(), kept[0].at_ms), (MOST, 1));
        assert_eq!(history.of("mqtt-1", "dev", 5, 6).len(), 2);
        assert!(history.of("mqtt-2", "dev", 0, most).is_empty());
        assert!(history.of("mqtt-1", "other", 0, most).is_empty());
    }
}
