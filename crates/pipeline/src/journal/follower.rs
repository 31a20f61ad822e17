//! Going along a ring: whoever looks through the journal or waits for something in it sees each
//! entry once, when it is complete, in the order in which entries became complete.

use std::sync::Arc;

use mqttstack_base::message::Message;
use tokio::sync::watch;

use super::entry::{Entry, Outcome};
use super::ring::{Cursor, Ring};

/// An entry of a ring, as far as a follower must know it.
pub trait Record: Send + Sync + 'static {
    /// The cursor of the event that completed the entry, given that of its arrival; `None`
    /// while it is incomplete.
    fn completed(&self, arrived: Cursor) -> Option<Cursor>;

    /// About how many bytes the entry occupies.
    fn weight(&self) -> usize;
}

impl Record for Message {
    fn completed(&self, arrived: Cursor) -> Option<Cursor> {
        Some(arrived)
    }

    fn weight(&self) -> usize {
        Self::weight(self)
    }
}

impl Record for Entry {
    fn completed(&self, _arrived: Cursor) -> Option<Cursor> {
        self.outcome().map(|outcome| outcome.cursor)
    }

    fn weight(&self) -> usize {
        Self::weight(self) + self.outcome().map_or(0, Outcome::weight)
    }
}

/// What became complete since a follower last looked.
#[derive(Debug)]
pub struct Batch<T> {
    /// The entries with the cursors of their completion, in that order.
    pub entries: Vec<(Cursor, Arc<T>)>,
    /// How many entries left the ring before they were looked at.
    pub lost: u64,
}

/// A reader's place in a ring.
#[derive(Debug)]
pub struct Follower<T> {
    ring: Arc<Ring<T>>,
    news: watch::Receiver<u64>,
    /// Completions up to here have been told.
    cursor: Cursor,
    /// Arrivals up to here have been looked at; `None` before the first look.
    seen: Option<Seen>,
    incomplete: Vec<(Cursor, Arc<T>)>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    last: Cursor,
    arrivals: u64,
}

impl<T: Record> Follower<T> {
    /// A follower that will tell of every entry in the ring completed after `since` (0: all).
    pub fn new(ring: &Arc<Ring<T>>, since: Cursor) -> Self {
        Self {
            news: ring.subscribe(),
            ring: ring.clone(),
            cursor: since,
            seen: None,
            incomplete: Vec::new(),
        }
    }

    /// What became complete since the last call.
    pub fn take(&mut self) -> Batch<T> {
        self.news.mark_unchanged();
        let snapshot = self
            .ring
            .arrived_since(self.seen.map_or(0, |seen| seen.last));
        let lost = self.seen.map_or(0, |seen| {
            (snapshot.arrivals - seen.arrivals).saturating_sub(snapshot.entries.len() as u64)
        });
        let mut entries = Vec::new();
        let known = std::mem::take(&mut self.incomplete);
        for (arrived, entry) in known.into_iter().chain(snapshot.entries) {
            match entry.completed(arrived) {
                // A completion behind the snapshot belongs to the next look, or the cursor
                // given out with this one would tell it twice.
                Some(cursor) if cursor <= snapshot.last => {
                    if cursor > self.cursor {
                        entries.push((cursor, entry));
                    }
                }
                _ => self.incomplete.push((arrived, entry)),
            }
        }
        entries.sort_unstable_by_key(|(cursor, _)| *cursor);
        // A cursor from the future (of another run) stays: nothing is told twice.
        self.cursor = self.cursor.max(snapshot.last);
        self.seen = Some(Seen {
            last: snapshot.last,
            arrivals: snapshot.arrivals,
        });
        Batch { entries, lost }
    }

    /// Waits until the ring has changed since the last [`Follower::take`].
    pub async fn changed(&mut self) {
        // The sender lives in the ring that this follower holds, so it is never gone.
        let _ = self.news.changed().await;
    }

    /// Where this follower stands: a new one started with `since` at this cursor goes on
    /// exactly here.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many of the entries looked at are not complete yet.
    pub fn incomplete(&self) -> usize {
        self.incomplete.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// An entry that completes when a test says so.
    #[derive(Debug, Default)]
    struct Slow(Mutex<Option<Cursor>>);

    impl Record for Slow {
        fn completed(&self, _arrived: Cursor) -> Option<Cursor> {
            *self.0.lock()
        }

        fn weight(&self) -> usize {
            1
        }
    }

    fn ring() -> Arc<Ring<Slow>> {
        Arc::new(Ring::new(4, Arc::default()))
    }

    fn push(ring: &Ring<Slow>) -> Arc<Slow> {
        let entry = Arc::new(Slow::default());
        ring.push(entry.clone(), 1);
        entry
    }

    fn complete(ring: &Ring<Slow>, entry: &Slow) {
        ring.change(1, |cursor| *entry.0.lock() = Some(cursor));
    }

    fn cursors(batch: &Batch<Slow>) -> Vec<Cursor> {
        batch.entries.iter().map(|(cursor, _)| *cursor).collect()
    }

    #[test]
    fn entries_are_told_in_the_order_of_their_completion_and_once() {
        let ring = ring();
        let mut follower = Follower::new(&ring, 0);
        let (a, b) = (push(&ring), push(&ring));
        assert!(follower.take().entries.is_empty());
        assert_eq!(follower.incomplete(), 2);
        complete(&ring, &b);
        complete(&ring, &a);
        let batch = follower.take();
        assert_eq!(cursors(&batch), [3, 4]);
        assert!(Arc::ptr_eq(&batch.entries[0].1, &b));
        assert!(follower.take().entries.is_empty());
    }

    #[test]
    fn an_entry_that_was_in_flight_when_a_cursor_was_given_is_found_behind_that_cursor() {
        let ring = ring();
        let (a, b) = (push(&ring), push(&ring));
        complete(&ring, &b);
        let mut first = Follower::new(&ring, 0);
        assert_eq!(cursors(&first.take()), [3]);
        complete(&ring, &a);
        let mut second = Follower::new(&ring, first.cursor());
        assert_eq!(cursors(&second.take()), [4]);
    }

    #[test]
    fn entries_that_left_the_ring_unseen_are_counted() {
        let ring = ring();
        let mut follower = Follower::new(&ring, 0);
        push(&ring);
        assert_eq!(follower.take().lost, 0);
        for _ in 0..6 {
            push(&ring);
        }
        assert_eq!(follower.take().lost, 2);
        push(&ring);
        ring.clear();
        assert_eq!(follower.take().lost, 1);
    }

    #[tokio::test]
    async fn a_follower_is_woken_by_what_came_between_a_look_and_the_wait() {
        let ring = ring();
        let mut follower = Follower::new(&ring, 0);
        follower.take();
        let entry = push(&ring);
        follower.changed().await;
        follower.take();
        complete(&ring, &entry);
        follower.changed().await;
        assert_eq!(follower.take().entries.len(), 1);
    }
}
