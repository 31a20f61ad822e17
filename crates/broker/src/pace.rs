//! At what pace a vendor lets messages through to a client (`Limits`): so many in a second, and
//! what has waited while it was offline in batches. Both follow the emulator's clock.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::dialect::Limits;

/// What has been let through lately.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    live: Pace,
    replay: Pace,
    /// How many of the messages at the head of the queue have waited for the offline client.
    replaying: usize,
}

impl Paces {
    /// Of a client that is there again, for which so many messages have waited.
    pub(crate) fn new(waiting: usize) -> Self {
        Self {
            replaying: waiting,
            ..Self::default()
        }
    }

    /// When the message at the head of the queue may go, if it may not go now.
    pub(crate) fn next(&mut self, limits: &Limits, now: Timestamp) -> Option<Timestamp> {
        let live = limits.deliveries_per_second.and_then(|rate| {
            let batch = usize::try_from(rate).unwrap_or(usize::MAX);
            self.live.next(batch, SignedDuration::from_secs(1), now)
        });
        let replay = limits
            .offline_replay
            .filter(|_| self.replaying > 0)
            .and_then(|replay| {
                let millis = i64::try_from(replay.interval_ms).unwrap_or(i64::MAX);
                let interval = SignedDuration::from_millis(millis);
                self.replay.next(replay.batch, interval, now)
            });
        live.max(replay)
    }

    /// The message at the head of the queue has left it, at this time if it is to be written.
    pub(crate) fn left(&mut self, limits: &Limits, written: Option<Timestamp>) {
        let replayed = self.replaying > 0;
        self.replaying = self.replaying.saturating_sub(1);
        let Some(now) = written else {
            return;
        };
        if limits.deliveries_per_second.is_some() {
            self.live.0.push_back(now);
        }
        if replayed && limits.offline_replay.is_some() {
            self.replay.0.push_back(now);
        }
    }
}

/// When the newest ones went.
#[derive(Debug, Default)]
struct Pace(VecDeque<Timestamp>);

impl Pace {
    /// When the next one may go, if it may not go now: no more than `batch` in any `interval`.
    fn next(
        &mut self,
        batch: usize,
        interval: SignedDuration,
        now: Timestamp,
    ) -> Option<Timestamp> {
        // The clock may have been set back since.
        self.0.retain(|&gone| gone <= now);
        let batch = batch.max(1);
        while self.0.len() > batch {
            self.0.pop_front();
        }
        let oldest = self.0.front().filter(|_| self.0.len() == batch)?;
        let due = oldest.checked_add(interval).unwrap_or(Timestamp::MAX);
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_batch_goes_in_any_interval() {
        let start: Timestamp = "2026-11-21T22:51:00Z".parse().unwrap();
        let after = |millis| start + SignedDuration::from_millis(millis);
        let interval = SignedDuration::from_secs(1);
        let mut pace = Pace::default();
        for at in [0, 900] {
            assert_eq!(pace.next(2, interval, after(at)), None);
            pace.0.push_back(after(at));
        }
        assert_eq!(pace.next(2, interval, after(950)), Some(after(1_000)));
        assert_eq!(pace.next(2, interval, after(1_000)), None);
        pace.0.push_back(after(1_000));
        assert_eq!(pace.next(2, interval, after(1_000)), Some(after(1_900)));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let start: Timestamp = "2026-11-21T22:51:00Z".parse().unwrap();
        let mut pace = Pace(VecDeque::from([start]));
        let earlier = start - SignedDuration::from_hours(1);
        assert_eq!(pace.next(1, SignedDuration::from_secs(1), earlier), None);
    }
}
