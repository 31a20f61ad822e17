//! Messages that wait for their turn: what a vendor's broker limits of how its clients get their
//! messages (`Limits::on_delivery`). Such a client's messages all lie here, in `crossing.rs`,
//! while it is offline and until the rate lets them through; a task of its own hands them to its
//! session. Rates and lives follow the emulator's clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rmqtt::types::ClientId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::dialect::Limits;
use super::super::outbox::Outbox;
use super::Core;

/// The line of one client that is limited. Its task ends with it.
pub(super) struct Turns {
    stirred: Arc<Notify>,
    task: AbortHandle,
    paces: Mutex<Paces>,
}

/// What has been let through lately.
#[derive(Default)]
struct Paces {
    live: Pace,
    replay: Pace,
    /// How many of the messages at the head of the line have waited for the offline client.
    replaying: usize,
}

/// When the newest ones went.
#[derive(Default)]
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

impl Turns {
    /// Begins a line and its task.
    pub(super) fn begin(core: &Arc<Core>, client_id: &ClientId) -> Self {
        let stirred = Arc::new(Notify::new());
        let task = tokio::spawn(pass(core.clone(), client_id.clone(), stirred.clone()));
        Self {
            stirred,
            task: task.abort_handle(),
            paces: Mutex::default(),
        }
    }

    /// Something has changed: the task looks again.
    pub(super) fn stir(&self) {
        self.stirred.notify_one();
    }

    /// The client is there again; so many messages have waited for it.
    pub(super) fn replay(&self, waiting: usize) {
        self.paces.lock().replaying = waiting;
    }

    /// When the message at the head of the line may go, if it may not go now.
    pub(super) fn next(&self, limits: &Limits, now: Timestamp) -> Option<Timestamp> {
        let mut paces = self.paces.lock();
        let live = limits.deliveries_per_second.and_then(|rate| {
            let batch = usize::try_from(rate).unwrap_or(usize::MAX);
            paces.live.next(batch, SignedDuration::from_secs(1), now)
        });
        let replay = limits
            .offline_replay
            .filter(|_| paces.replaying > 0)
            .and_then(|replay| {
                let millis = i64::try_from(replay.interval_ms).unwrap_or(i64::MAX);
                let interval = SignedDuration::from_millis(millis);
                paces.replay.next(replay.batch, interval, now)
            });
        live.max(replay)
    }

    /// The message at the head of the line has left it, to be written or not.
    pub(super) fn left(&self, limits: &Limits, written: Option<Timestamp>) {
        let mut paces = self.paces.lock();
        let replayed = paces.replaying > 0;
        paces.replaying = paces.replaying.saturating_sub(1);
        let Some(now) = written else {
            return;
        };
        if limits.deliveries_per_second.is_some() {
            paces.live.0.push_back(now);
        }
        if replayed && limits.offline_replay.is_some() {
            paces.replay.0.push_back(now);
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a line's task does next.
pub(super) enum Step {
    /// Nothing, until something changes.
    Rest,
    /// Looks again at this time.
    At(Timestamp),
}

async fn pass(core: Arc<Core>, client_id: ClientId, stirred: Arc<Notify>) {
    loop {
        let Some(crossing) = core.crossing.get() else {
            return;
        };
        match crossing.pass(&core, &client_id) {
            None => return,
            Some(Step::Rest) => stirred.notified().await,
            Some(Step::At(at)) => tokio::select! {
                () = stirred.notified() => {}
                () = core.clock.reached_or_moved(at) => {}
            },
        }
    }
}

/// What a client's vendor limits; nothing for an open client.
pub(super) fn limits(core: &Core, client_id: &str) -> Limits {
    core.doors
        .peer(client_id)
        .map(|peer| peer.grant.limits.clone())
        .unwrap_or_default()
}

/// Gives up what an offline client may not keep any longer; when that is next due.
pub(super) fn trim(core: &Core, outbox: &Outbox, limits: &Limits) -> Option<Timestamp> {
    let dropped = limits.offline_queue.map(|limit| outbox.keep_newest(limit));
    let expired = limits
        .offline_expiry_s
        .map(|life| outbox.expire_older(life));
    let (expired, next) = expired.unwrap_or_default();
    let count = dropped.unwrap_or_default() + expired;
    core.totals
        .messages_dropped
        .fetch_add(count as u64, Ordering::Relaxed);
    next
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
