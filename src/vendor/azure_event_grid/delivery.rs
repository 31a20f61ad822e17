//! Events on their way to custom topics over HTTP, with the retry schedule of the mqtt-routing
//! page on the emulator's clock: an advanced clock makes a retry due at once. What waits is
//! bounded twice: publishers wait while too much has not been tried once, and the oldest of what
//! has failed already makes room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::outbound::Outbound;
use crate::clock::Clock;
use crate::secret::Secret;

/// Seconds from each failed attempt to the next; the last repeats.
const SCHEDULE: [i64; 10] = [
    10,
    30,
    60,
    5 * 60,
    10 * 60,
    30 * 60,
    3600,
    3 * 3600,
    6 * 3600,
    12 * 3600,
];
/// Events that have not been tried once; publishers wait when there are more.
const FRESH: usize = 1_000;
/// Events that wait in all.
const CAPACITY: usize = 10_000;
/// The same in bytes.
const CAPACITY_BYTES: usize = 64 << 20;
/// How long a publisher waits for room.
const PUBLISHER_PATIENCE: Duration = Duration::from_secs(5);
/// Attempts under way at a time.
const CONCURRENT: usize = 16;
/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that waits to be sent.
#[derive(Debug)]
pub(super) struct Deliveries {
    outbound: Arc<Outbound>,
    waiting: Mutex<Waiting>,
    news: Notify,
    room: Notify,
}

/// What waits, by the time when it is due and the order in which it came.
#[derive(Debug, Default)]
struct Waiting {
    events: BTreeMap<(Timestamp, u64), Delivery>,
    next: u64,
    /// How many were never tried.
    fresh: usize,
    bytes: usize,
    /// Counts how often everything was forgotten.
    era: u64,
}

#[derive(Debug)]
struct Delivery {
    url: String,
    key: Option<Secret>,
    /// The request's body.
    body: String,
    attempts: usize,
    era: u64,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Worth another attempt; why.
    Retry(String),
    /// Not worth one; why.
    Drop(String),
}

impl Waiting {
    fn insert(&mut self, due: Timestamp, delivery: Delivery) {
        self.fresh += usize::from(delivery.attempts == 0);
        self.bytes += delivery.body.len();
        self.events.insert((due, self.next), delivery);
        self.next += 1;
    }

    fn remove(&mut self, key: (Timestamp, u64)) -> Option<Delivery> {
        let delivery = self.events.remove(&key)?;
        self.fresh -= usize::from(delivery.attempts == 0);
        self.bytes -= delivery.body.len();
        Some(delivery)
    }

    fn is_full(&self, more: usize) -> bool {
        self.events.len() >= CAPACITY || self.bytes + more > CAPACITY_BYTES
    }

    /// Drops what has failed already, that longest in line first, until there is room; tells
    /// whether there is.
    fn make_room(&mut self, more: usize) -> bool {
        while self.is_full(more) {
            let failed = self.events.iter().find(|(_, one)| one.attempts > 0);
            let Some(key) = failed.map(|(key, _)| *key) else {
                return false;
            };
            if let Some(dropped) = self.remove(key) {
                tracing::warn!(target: "mqttstack::azure", url = dropped.shown(), attempts = dropped.attempts, "event dropped: too many wait for another attempt");
            }
        }
        true
    }
}

impl Deliveries {
    /// Nothing waits yet.
    pub(super) fn new(outbound: Arc<Outbound>) -> Self {
        Self {
            outbound,
            waiting: Mutex::default(),
            news: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Waits while too many events have not been tried once, at most [`PUBLISHER_PATIENCE`].
    pub(super) fn has_room(&self) -> bool {
        self.waiting.lock().fresh < FRESH
    }

    /// Waits for room, no longer than a publisher should.
    pub(super) async fn room(&self) {
        let wait = async {
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                // Registered before looking, so that nothing slips in between.
                room.as_mut().enable();
                if self.waiting.lock().fresh < FRESH {
                    return;
                }
                room.await;
            }
        };
        // Who has waited that long goes on: `push` decides.
        let _ = tokio::time::timeout(PUBLISHER_PATIENCE, wait).await;
    }

    /// Sends an event to a custom topic as soon as possible; refuses it if nothing that waits
    /// can make room.
    pub(super) fn push(
        &self,
        url: &str,
        key: Option<&Secret>,
        event: &Value,
    ) -> Result<(), &'static str> {
        let body = json!([event]).to_string();
        let mut waiting = self.waiting.lock();
        if !waiting.make_room(body.len()) {
            return Err("too many events wait for the custom topic");
        }
        let delivery = Delivery {
            url: url.to_owned(),
            key: key.cloned(),
            body,
            attempts: 0,
            era: waiting.era,
        };
        // Due whatever becomes of the clock.
        waiting.insert(Timestamp::MIN, delivery);
        drop(waiting);
        self.news.notify_one();
        Ok(())
    }

    /// Forgets everything that waits or is tried now.
    pub(super) fn clear(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting {
            era: waiting.era + 1,
            next: waiting.next,
            ..Waiting::default()
        };
        drop(waiting);
        self.room.notify_waiters();
    }

    /// Sends what is due, for ever.
    pub(super) async fn run(&self, clock: &Clock) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < CONCURRENT
                && let Some(delivery) = self.take_due(clock.now())
            {
                under_way.push(self.attempt(delivery, clock));
            }
            let takes_more = under_way.len() < CONCURRENT;
            tokio::select! {
                Some(()) = under_way.next() => {}
                () = self.news.notified() => {}
                () = clock.reached_or_moved(self.next_due()), if takes_more => {}
            }
        }
    }

    /// When the first of what waits is due; never, if nothing does.
    fn next_due(&self) -> Timestamp {
        let waiting = self.waiting.lock();
        let first = waiting.events.first_key_value();
        first.map_or(Timestamp::MAX, |((due, _), _)| *due)
    }

    fn take_due(&self, now: Timestamp) -> Option<Delivery> {
        let mut waiting = self.waiting.lock();
        let (key, _) = waiting.events.first_key_value()?;
        let key = *key;
        let due = (key.0 <= now).then(|| waiting.remove(key)).flatten()?;
        drop(waiting);
        self.room.notify_waiters();
        Some(due)
    }

    async fn attempt(&self, mut delivery: Delivery, clock: &Clock) {
        let outcome = delivery.send(&self.outbound).await;
        let url = delivery.shown();
        match outcome {
            Outcome::Done => {}
            Outcome::Drop(why) => {
                tracing::warn!(target: "mqttstack::azure", url, why, "event dropped");
            }
            Outcome::Retry(why) => {
                let wait = SCHEDULE[delivery.attempts.min(SCHEDULE.len() - 1)];
                tracing::warn!(target: "mqttstack::azure", url, why, wait, "event not delivered, retried later");
                delivery.attempts += 1;
                let due = clock
                    .now()
                    .checked_add(SignedDuration::from_secs(wait))
                    .unwrap_or(Timestamp::MAX);
                let mut waiting = self.waiting.lock();
                if delivery.era == waiting.era && waiting.make_room(delivery.body.len()) {
                    waiting.insert(due, delivery);
                }
            }
        }
    }
}

impl Delivery {
    async fn send(&self, outbound: &Outbound) -> Outcome {
        let client = match outbound.client() {
            Ok(client) => client,
            Err(why) => return Outcome::Drop(why),
        };
        let mut request = client
            .post(self.address())
            .timeout(PATIENCE)
            .header(
                "Content-Type",
                "application/cloudevents-batch+json; charset=utf-8",
            )
            .body(self.body.clone());
        if let Some(key) = &self.key {
            request = request.header("aeg-sas-key", key.expose());
        }
        match request.send().await {
            Ok(response) => judge(response.status().as_u16()),
            // The error's text would carry the address again, and with it perhaps a key.
            Err(error) => Outcome::Retry(error.without_url().to_string()),
        }
    }

    /// The address without what may be secret in it.
    fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    /// The topic's address, with the api-version that the SDKs send.
    fn address(&self) -> String {
        if self.url.contains("api-version=") {
            return self.url.clone();
        }
        let joint = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{joint}api-version=2018-01-01", self.url)
    }
}

/// `TopicNotFoundError` and `AuthenticationError` drop, `TooManyRequests` and `ServiceError`
/// retry (mqtt-routing page); what else a client did wrong is dropped too.
fn judge(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Done,
        404 => Outcome::Drop("TopicNotFoundError: 404".to_owned()),
        401 | 403 => Outcome::Drop(format!("AuthenticationError: {status}")),
        408 | 429 => Outcome::Retry(format!("TooManyRequests: {status}")),
        500..=599 => Outcome::Retry(format!("ServiceError: {status}")),
        other => Outcome::Drop(format!("ClientError: {other}")),
    }
}

#[cfg(test)]
mod tests;
