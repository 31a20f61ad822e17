//! A bounded, ordered record with cursors. Pushing never waits; readers take a snapshot of
//! handles; whoever waits for something new watches [`Ring::subscribe`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The place of an entry in its ring's whole history, from 1. It never repeats, not even after
/// the ring is cleared.
pub type Cursor = u64;

struct Slot<T> {
    cursor: Cursor,
    weight: usize,
    entry: Arc<T>,
}

struct State<T> {
    slots: VecDeque<Slot<T>>,
    last: Cursor,
    evicted: u64,
    bytes: usize,
}

/// A ring of entries.
pub struct Ring<T> {
    max_entries: usize,
    shared_bytes: Arc<AtomicUsize>,
    state: Mutex<State<T>>,
    news: watch::Sender<u64>,
}

impl<T> std::fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        write!(
            f,
            "Ring({} entries, last {})",
            state.slots.len(),
            state.last
        )
    }
}

impl<T> Ring<T> {
    /// An empty ring of at most `max_entries`; `shared_bytes` counts over several rings.
    pub fn new(max_entries: usize, shared_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            max_entries: max_entries.max(1),
            shared_bytes,
            state: Mutex::new(State {
                slots: VecDeque::new(),
                last: 0,
                evicted: 0,
                bytes: 0,
            }),
            news: watch::Sender::new(0),
        }
    }

    /// Adds an entry that occupies about `weight` bytes, evicting the oldest if there is no room.
    pub fn push(&self, entry: Arc<T>, weight: usize) -> Cursor {
        let cursor = {
            let mut state = self.state.lock();
            if state.slots.len() >= self.max_entries {
                self.evict(&mut state);
            }
            state.last += 1;
            let cursor = state.last;
            state.slots.push_back(Slot {
                cursor,
                weight,
                entry,
            });
            state.bytes += weight;
            self.shared_bytes.fetch_add(weight, Ordering::Relaxed);
            cursor
        };
        self.notify();
        cursor
    }

    /// Says that an entry that is already here has changed and grown by `more` bytes.
    pub fn changed(&self, more: usize) {
        {
            let mut state = self.state.lock();
            // The growth is booked on the newest slot: the ring needs only the sum, and the
            // entry's own slot may be anywhere or gone.
            if let Some(slot) = state.slots.back_mut() {
                slot.weight += more;
                state.bytes += more;
                self.shared_bytes.fetch_add(more, Ordering::Relaxed);
            }
        }
        self.notify();
    }

    /// Takes the oldest entry out; false if the ring is empty.
    pub fn evict_oldest(&self) -> bool {
        self.evict(&mut self.state.lock())
    }

    fn evict(&self, state: &mut State<T>) -> bool {
        let Some(slot) = state.slots.pop_front() else {
            return false;
        };
        state.evicted += 1;
        state.bytes -= slot.weight;
        self.shared_bytes.fetch_sub(slot.weight, Ordering::Relaxed);
        true
    }

    /// Removes every entry. Cursors go on from where they were.
    pub fn clear(&self) {
        let slots = {
            let mut state = self.state.lock();
            self.shared_bytes.fetch_sub(state.bytes, Ordering::Relaxed);
            state.bytes = 0;
            std::mem::take(&mut state.slots)
        };
        drop(slots);
        self.notify();
    }

    /// The entries behind `since` (0: all), oldest first, each with its cursor.
    pub fn since(&self, since: Cursor) -> Vec<(Cursor, Arc<T>)> {
        let state = self.state.lock();
        let start = state.slots.partition_point(|slot| slot.cursor <= since);
        state
            .slots
            .range(start..)
            .map(|slot| (slot.cursor, slot.entry.clone()))
            .collect()
    }

    /// The cursor of the newest entry ever pushed; 0 before the first.
    pub fn last(&self) -> Cursor {
        self.state.lock().last
    }

    /// How many entries are here.
    pub fn len(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// Whether no entry is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries had to make room so far.
    pub fn evicted(&self) -> u64 {
        self.state.lock().evicted
    }

    /// About how many bytes the entries occupy.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// A receiver that changes whenever an entry is pushed or changed, or the ring is cleared.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn notify(&self) {
        // Without a receiver nobody waits; skipping keeps the hot path free of the wake lock.
        if self.news.receiver_count() > 0 {
            self.news
                .send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(max: usize) -> Ring<u32> {
        Ring::new(max, Arc::default())
    }

    #[test]
    fn a_full_ring_drops_its_oldest_entry_and_counts_it() {
        let ring = ring(2);
        for value in 1..=3 {
            ring.push(Arc::new(value), 10);
        }
        let values: Vec<_> = ring.since(0).into_iter().map(|(c, v)| (c, *v)).collect();
        assert_eq!(values, [(2, 2), (3, 3)]);
        assert_eq!((ring.evicted(), ring.bytes()), (1, 20));
    }

    #[test]
    fn cursors_go_on_after_a_clear() {
        let ring = ring(10);
        ring.push(Arc::new(1), 1);
        ring.clear();
        assert!(ring.is_empty());
        assert_eq!(ring.push(Arc::new(2), 1), 2);
        assert_eq!(ring.since(1).len(), 1);
        assert_eq!(ring.since(2).len(), 0);
    }

    #[test]
    fn a_waiting_reader_is_told_of_a_push_and_of_a_change() {
        let ring = ring(10);
        let mut news = ring.subscribe();
        assert!(!news.has_changed().unwrap());
        ring.push(Arc::new(1), 1);
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        ring.changed(5);
        assert!(news.has_changed().unwrap());
        assert_eq!(ring.bytes(), 6);
    }
}
