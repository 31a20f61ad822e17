//! A bounded, ordered record with cursors. Pushing never waits; readers take a snapshot of
//! handles; whoever waits for something new watches [`Ring::subscribe`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The place of an event (an entry came, an entry changed) in its ring's whole history, from 1.
/// It never repeats, not even after the ring is cleared.
pub type Cursor = u64;

/// What a ring holds at one moment.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// Entries with the cursor of their arrival, oldest first.
    pub entries: Vec<(Cursor, Arc<T>)>,
    /// The cursor of the newest event. An entry's change with a larger cursor came later.
    pub last: Cursor,
    /// How many entries ever came.
    pub arrivals: u64,
}

struct Slot<T> {
    cursor: Cursor,
    weight: usize,
    entry: Arc<T>,
}

struct State<T> {
    slots: VecDeque<Slot<T>>,
    last: Cursor,
    evicted: u64,
    arrivals: u64,
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
                arrivals: 0,
                bytes: 0,
            }),
            news: watch::Sender::new(0),
        }
    }

    /// Adds an entry that occupies about `weight` bytes, evicting the oldest if there is no room.
    pub fn push(&self, entry: Arc<T>, weight: usize) -> Cursor {
        let (cursor, evicted) = {
            let mut state = self.state.lock();
            let evicted = (state.slots.len() >= self.max_entries).then(|| self.evict(&mut state));
            state.last += 1;
            state.arrivals += 1;
            let cursor = state.last;
            state.slots.push_back(Slot {
                cursor,
                weight,
                entry,
            });
            state.bytes += weight;
            self.shared_bytes.fetch_add(weight, Ordering::Relaxed);
            (cursor, evicted)
        };
        // Freed outside the lock: an entry is a dozen allocations.
        drop(evicted);
        self.notify();
        cursor
    }

    /// Changes an entry that is already here and has grown by `more` bytes. `apply` gets the
    /// cursor of the change and runs under the ring's lock, so that no snapshot can know the
    /// cursor and miss the change; it must be short.
    pub fn change(&self, more: usize, apply: impl FnOnce(Cursor)) {
        {
            let mut state = self.state.lock();
            state.last += 1;
            apply(state.last);
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
        let evicted = self.evict(&mut self.state.lock());
        evicted.is_some()
    }

    fn evict(&self, state: &mut State<T>) -> Option<Arc<T>> {
        let slot = state.slots.pop_front()?;
        state.evicted += 1;
        state.bytes -= slot.weight;
        self.shared_bytes.fetch_sub(slot.weight, Ordering::Relaxed);
        Some(slot.entry)
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

    /// The entries that came after `since` (0: all).
    pub fn arrived_since(&self, since: Cursor) -> Snapshot<T> {
        let state = self.state.lock();
        let start = state.slots.partition_point(|slot| slot.cursor <= since);
        let entries = state
            .slots
            .range(start..)
            .map(|slot| (slot.cursor, slot.entry.clone()))
            .collect();
        Snapshot {
            entries,
            last: state.last,
            arrivals: state.arrivals,
        }
    }

    /// The entries that came after `since` (0: all), oldest first, each with its cursor.
    pub fn since(&self, since: Cursor) -> Vec<(Cursor, Arc<T>)> {
        self.arrived_since(since).entries
    }

    /// The entry that arrived with this cursor, if it is still here.
    pub fn get(&self, arrived: Cursor) -> Option<Arc<T>> {
        let state = self.state.lock();
        let at = state
            .slots
            .binary_search_by_key(&arrived, |slot| slot.cursor);
        at.ok().map(|at| state.slots[at].entry.clone())
    }

    /// The cursor of the newest event; 0 before the first.
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

    fn values(snapshot: Snapshot<u32>) -> Vec<(Cursor, u32)> {
        snapshot
            .entries
            .into_iter()
            .map(|(cursor, value)| (cursor, *value))
            .collect()
    }

    #[test]
    fn a_full_ring_drops_its_oldest_entry_and_counts_it() {
        let ring = ring(2);
        for value in 1..=3 {
            ring.push(Arc::new(value), 10);
        }
        assert_eq!(values(ring.arrived_since(0)), [(2, 2), (3, 3)]);
        assert_eq!((ring.evicted(), ring.bytes()), (1, 20));
    }

    #[test]
    fn an_entry_is_found_by_its_cursor_while_it_is_here() {
        let ring = ring(2);
        for value in 1..=3 {
            ring.push(Arc::new(value), 10);
        }
        assert_eq!(ring.get(1), None);
        assert_eq!(ring.get(3).as_deref(), Some(&3));
        assert_eq!(ring.get(4), None);
    }

    #[test]
    fn cursors_go_on_after_a_clear() {
        let ring = ring(10);
        ring.push(Arc::new(1), 1);
        ring.clear();
        assert!(ring.is_empty());
        assert_eq!(ring.push(Arc::new(2), 1), 2);
        assert_eq!(values(ring.arrived_since(1)), [(2, 2)]);
        assert_eq!(values(ring.arrived_since(2)), []);
        assert_eq!(ring.arrived_since(2).arrivals, 2);
    }

    #[test]
    fn a_change_has_a_cursor_of_its_own_between_two_arrivals() {
        let ring = ring(10);
        ring.push(Arc::new(1), 1);
        let mut of_change = 0;
        ring.change(5, |cursor| of_change = cursor);
        assert_eq!(of_change, 2);
        assert_eq!(ring.push(Arc::new(2), 1), 3);
        assert_eq!((ring.last(), ring.bytes()), (3, 7));
    }

    #[test]
    fn a_waiting_reader_is_told_of_a_push_of_a_change_and_of_a_clear() {
        let ring = ring(10);
        let mut news = ring.subscribe();
        assert!(!news.has_changed().unwrap());
        ring.push(Arc::new(1), 1);
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        ring.change(5, |_| ());
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        ring.clear();
        assert!(news.has_changed().unwrap());
    }
}
