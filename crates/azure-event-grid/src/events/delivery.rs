//! Events on their way to custom topics over HTTP, with the retry schedule of the mqtt-routing
//! page on the emulator's clock: an advanced clock makes a retry due at once. Every topic has a
//! queue of its own, so that one that never answers holds up no other. What waits is bounded twice:
//! publishers wait while too much has not been tried once and the topic takes some of it, and the
//! oldest of what has failed already makes room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::clock::Clock;
use mqttstack_base::secret::Secret;
use mqttstack_kit::outbound::Outbound;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::failures::{Failures, Source};

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
/// Events of a topic that have not been tried once; publishers wait when there are more.
const FRESH: usize = 1_000;
/// Events of a topic that wait.
const CAPACITY: usize = 10_000;
/// The same in bytes.
const CAPACITY_BYTES: usize = 64 << 20;
/// Topics for which something waits; more than anybody configures.
const TOPICS: usize = 100;
/// How long a publisher waits for room.
const PUBLISHER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a topic may take nothing before nobody waits for it any more.
const STANDSTILL: Duration = Duration::from_secs(1);
/// Attempts under way at a time for one topic.
const CONCURRENT: usize = 16;
/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an event is not taken.
const TOO_MANY_EVENTS: &str = "too many events wait for the custom topic";
const TOO_MANY_TOPICS: &str = "events wait for too many custom topics";

/// Everything that waits to be sent.
#[derive(Debug)]
pub(crate) struct Deliveries {
    outbound: Arc<Outbound>,
    waiting: Mutex<Waiting>,
    news: Notify,
    room: Notify,
}

/// What waits, by the address of the topic.
#[derive(Debug, Default)]
struct Waiting {
    topics: BTreeMap<String, Backlog>,
    next: u64,
    /// Counts how often everything was forgotten.
    era: u64,
}

/// What waits for one topic, by the time when it is due and the order in which it came.
#[derive(Debug, Default)]
struct Backlog {
    events: BTreeMap<(Timestamp, u64), Delivery>,
    /// How many were never tried.
    fresh: usize,
    bytes: usize,
    under_way: usize,
    /// When it last took something, or got something while nothing waited.
    moved: Option<Instant>,
}

#[derive(Debug)]
struct Delivery {
    url: String,
    /// The message that it is about.
    source: Source,
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
    /// The backlog of a topic, begun if there is room for another.
    fn of(&mut self, url: &str) -> Option<&mut Backlog> {
        if !self.topics.contains_key(url) && self.topics.len() >= TOPICS {
            self.topics.retain(|_, topic| !topic.is_idle());
            if self.topics.len() >= TOPICS {
                return None;
            }
        }
        Some(self.topics.entry(url.to_owned()).or_default())
    }

    fn insert(&mut self, due: Timestamp, delivery: Delivery) {
        let number = self.next;
        self.next += 1;
        if let Some(topic) = self.of(&delivery.url.clone()) {
            topic.insert((due, number), delivery);
        }
    }
}

impl Backlog {
    fn insert(&mut self, key: (Timestamp, u64), delivery: Delivery) {
        if self.events.is_empty() && self.under_way == 0 {
            self.moved = Some(Instant::now());
        }
        self.fresh += usize::from(delivery.attempts == 0);
        self.bytes += delivery.body.len();
        self.events.insert(key, delivery);
    }

    fn remove(&mut self, key: (Timestamp, u64)) -> Option<Delivery> {
        let delivery = self.events.remove(&key)?;
        self.fresh -= usize::from(delivery.attempts == 0);
        self.bytes -= delivery.body.len();
        Some(delivery)
    }

    fn is_idle(&self) -> bool {
        self.events.is_empty() && self.under_way == 0
    }

    fn is_full(&self, more: usize) -> bool {
        self.events.len() >= CAPACITY || self.bytes + more > CAPACITY_BYTES
    }

    /// Whether there is room, or what has failed already could make some.
    fn accepts(&self, more: usize) -> bool {
        !self.is_full(more) || self.events.len() > self.fresh
    }

    /// Takes out what has failed already, that longest in line first, until there is room; tells
    /// whether there is.
    fn make_room(&mut self, more: usize, dropped: &mut Vec<Delivery>) -> bool {
        while self.is_full(more) {
            let failed = self.events.iter().find(|(_, one)| one.attempts > 0);
            let key = failed.map(|(key, _)| *key);
            let Some(one) = key.and_then(|key| self.remove(key)) else {
                return false;
            };
            dropped.push(one);
        }
        true
    }

    /// The first that is due, if another attempt may be made.
    fn take_due(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.under_way >= CONCURRENT {
            return None;
        }
        let key = *self.events.first_key_value()?.0;
        let due = (key.0 <= now).then(|| self.remove(key)).flatten()?;
        self.under_way += 1;
        Some(due)
    }

    /// Until when a publisher waits for it; `None` where there is room.
    fn wait_until(&self) -> Option<Instant> {
        let behind = self.fresh >= FRESH;
        behind.then(|| {
            self.moved
                .map_or_else(Instant::now, |moved| moved + STANDSTILL)
        })
    }
}

impl Deliveries {
    /// Nothing waits yet.
    pub(crate) fn new(outbound: Arc<Outbound>) -> Self {
        Self {
            outbound,
            waiting: Mutex::default(),
            news: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Whether a publisher need not wait for a topic.
    pub(crate) fn has_room(&self, url: &str) -> bool {
        let waiting = self.waiting.lock();
        let until = waiting.topics.get(url).and_then(Backlog::wait_until);
        until.is_none_or(|until| until <= Instant::now())
    }

    /// Waits while too many events for a topic have not been tried once, at most
    /// [`PUBLISHER_PATIENCE`], and not at all for one that has stood still for [`STANDSTILL`].
    pub(crate) async fn room(&self, url: &str) {
        let wait = async {
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                // Registered before looking, so that nothing slips in between.
                room.as_mut().enable();
                let until = self
                    .waiting
                    .lock()
                    .topics
                    .get(url)
                    .and_then(Backlog::wait_until);
                match until {
                    Some(until) if until > Instant::now() => {
                        let _ = tokio::time::timeout_at(until, room).await;
                    }
                    _ => return,
                }
            }
        };
        // Who has waited that long goes on: `push` decides.
        let _ = tokio::time::timeout(PUBLISHER_PATIENCE, wait).await;
    }

    /// Whether an event of this size would be taken for a custom topic now.
    pub(crate) fn check(&self, url: &str, size: usize) -> Result<(), &'static str> {
        match self.waiting.lock().of(url) {
            None => Err(TOO_MANY_TOPICS),
            Some(topic) if topic.accepts(size) => Ok(()),
            Some(_) => Err(TOO_MANY_EVENTS),
        }
    }

    /// Sends an event to a custom topic as soon as possible; refuses it if nothing that waits
    /// can make room.
    pub(crate) fn push(
        &self,
        url: &str,
        key: Option<&Secret>,
        event: &Value,
        source: Source,
        failures: &Failures,
    ) -> Result<(), &'static str> {
        let body = json!([event]).to_string();
        let mut dropped = Vec::new();
        let mut waiting = self.waiting.lock();
        let topic = waiting.of(url).ok_or(TOO_MANY_TOPICS)?;
        let has_room = topic.make_room(body.len(), &mut dropped);
        if has_room {
            let delivery = Delivery {
                url: url.to_owned(),
                source,
                key: key.cloned(),
                body,
                attempts: 0,
                era: waiting.era,
            };
            // Due whatever becomes of the clock.
            waiting.insert(Timestamp::MIN, delivery);
        }
        drop(waiting);
        tell_of(&dropped, failures);
        if !has_room {
            return Err(TOO_MANY_EVENTS);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Forgets everything that waits or is tried now.
    pub(crate) fn clear(&self) {
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
    pub(crate) async fn run(&self, clock: &Clock, failures: &Failures) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while let Some(delivery) = self.take_due(clock.now()) {
                under_way.push(self.attempt(delivery, clock, failures));
            }
            tokio::select! {
                Some(()) = under_way.next() => {}
                () = self.news.notified() => {}
                () = clock.reached_or_moved(self.next_due()) => {}
            }
        }
    }

    /// When the first of what waits is due, of the topics that may have another attempt; never,
    /// if nothing is.
    fn next_due(&self) -> Timestamp {
        let waiting = self.waiting.lock();
        let open = waiting
            .topics
            .values()
            .filter(|topic| topic.under_way < CONCURRENT);
        let first = open.filter_map(|topic| topic.events.first_key_value());
        first
            .map(|((due, _), _)| *due)
            .min()
            .unwrap_or(Timestamp::MAX)
    }

    fn take_due(&self, now: Timestamp) -> Option<Delivery> {
        let mut waiting = self.waiting.lock();
        let mut topics = waiting.topics.values_mut();
        let due = topics.find_map(|topic| topic.take_due(now))?;
        drop(waiting);
        self.room.notify_waiters();
        Some(due)
    }

    /// Books an attempt as over; `answered`: the topic took or refused the event.
    fn over(&self, delivery: &Delivery, answered: bool) {
        let mut waiting = self.waiting.lock();
        if waiting.era != delivery.era {
            return;
        }
        if let Some(topic) = waiting.topics.get_mut(&delivery.url) {
            topic.under_way = topic.under_way.saturating_sub(1);
            if answered {
                topic.moved = Some(Instant::now());
            }
        }
    }

    /// Enters an event whose attempt has failed, unless everything was forgotten meanwhile.
    fn try_again(&self, due: Timestamp, delivery: Delivery, dropped: &mut Vec<Delivery>) {
        let mut waiting = self.waiting.lock();
        if delivery.era != waiting.era {
            return;
        }
        let size = delivery.body.len();
        let topic = waiting.of(&delivery.url);
        if topic.is_some_and(|topic| topic.make_room(size, dropped)) {
            waiting.insert(due, delivery);
        } else {
            dropped.push(delivery);
        }
    }

    async fn attempt(&self, mut delivery: Delivery, clock: &Clock, failures: &Failures) {
        let outcome = delivery.send(&self.outbound).await;
        let answered = !matches!(outcome, Outcome::Retry(_));
        self.over(&delivery, answered);
        let url = delivery.shown();
        match outcome {
            Outcome::Done => {}
            Outcome::Drop(why) => {
                failures.tell(&delivery.source, &format!("{url}: {why}"));
            }
            Outcome::Retry(why) => {
                let wait = SCHEDULE[delivery.attempts.min(SCHEDULE.len() - 1)];
                tracing::warn!(target: "mqttstack::azure", url, why, wait, "event not delivered, retried later");
                delivery.attempts += 1;
                let due = clock
                    .now()
                    .checked_add(SignedDuration::from_secs(wait))
                    .unwrap_or(Timestamp::MAX);
                let mut dropped = Vec::new();
                self.try_again(due, delivery, &mut dropped);
                tell_of(&dropped, failures);
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

/// Tells of events that made room for others.
fn tell_of(dropped: &[Delivery], failures: &Failures) {
    for one in dropped {
        let why = format!(
            "{}: {TOO_MANY_EVENTS}, and {} attempts have failed",
            one.shown(),
            one.attempts
        );
        failures.tell(&one.source, &why);
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
