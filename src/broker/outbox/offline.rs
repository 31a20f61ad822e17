//! What a vendor's broker gives up of what waits for an offline client: the oldest of too many,
//! and what is too old. The packets themselves lie elsewhere, in `engine/turns.rs` or with the
//! engine, which ask [`Outbox::gave_up`] before they write one.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::super::message::DeliveryOutcome;
use super::{Outbox, Tag};

impl Outbox {
    /// Gives up the oldest of QoS 1 and 2 until no more than `limit` wait; returns how many.
    pub(in crate::broker) fn keep_newest(&self, limit: usize) -> usize {
        let reason = format!("more than {limit} messages wait for the offline client");
        let mut count = 0;
        let mut state = self.state.lock();
        while state.waiting.counted() > limit
            && let Some(tag) = state.waiting.oldest_counted()
            && let Some(row) = state.waiting.remove(tag)
        {
            state.given_up.insert(tag);
            self.write(&row, DeliveryOutcome::Dropped, Some(&reason));
            count += 1;
        }
        drop(state);
        self.count_dropped(count);
        count
    }

    /// Gives up what was published `life` seconds ago or earlier. Returns how many, and when the
    /// next one is due.
    pub(in crate::broker) fn expire_older(&self, life: u64) -> (usize, Option<Timestamp>) {
        let reason = format!("it has waited for the offline client for {life} seconds");
        let life = SignedDuration::from_secs(i64::try_from(life).unwrap_or(i64::MAX));
        let now = self.clock.now();
        let mut count = 0;
        let mut next = None;
        let mut state = self.state.lock();
        while let Some((tag, row)) = state.waiting.oldest() {
            let due = row.message.time.checked_add(life).unwrap_or(Timestamp::MAX);
            if due > now {
                next = Some(due);
                break;
            }
            if let Some(row) = state.waiting.remove(tag) {
                state.given_up.insert(tag);
                self.write(&row, DeliveryOutcome::Expired, Some(&reason));
                count += 1;
            }
        }
        drop(state);
        self.count_dropped(count);
        (count, next)
    }

    /// Whether a delivery was given up here; who asks drops its packet.
    pub(in crate::broker) fn gave_up(&self, tag: Tag) -> bool {
        self.state.lock().given_up.remove(&tag)
    }

    /// How old the message of a delivery is, on the emulator's clock.
    pub(in crate::broker) fn age(&self, tag: Tag) -> Option<SignedDuration> {
        let state = self.state.lock();
        let waiting = state.waiting.get(tag);
        let row = waiting.or_else(|| state.unacknowledged.get(&tag))?;
        let age = self.clock.now().duration_since(row.message.time);
        Some(age.max(SignedDuration::ZERO))
    }

    fn count_dropped(&self, count: usize) {
        let tally = &self.tally.dropped;
        tally.fetch_add(count as u64, Ordering::Relaxed);
        self.room.notify_waiters();
    }
}
