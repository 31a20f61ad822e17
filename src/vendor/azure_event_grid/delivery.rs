//! Events on their way to custom topics over HTTP, with the retry schedule of the mqtt-routing
//! page on the emulator's clock: an advanced clock makes a retry due at once.

use std::time::Duration;

use futures_util::StreamExt;
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
/// Events that wait; more are dropped.
const CAPACITY: usize = 10_000;
/// Attempts under way at a time.
const CONCURRENT: usize = 16;
/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the emulator's clock is looked at while something waits.
const LOOK: Duration = Duration::from_millis(50);

/// Everything that waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    waiting: Mutex<Vec<Delivery>>,
    news: Notify,
}

#[derive(Debug)]
struct Delivery {
    url: String,
    key: Option<Secret>,
    event: Value,
    attempts: usize,
    due: Timestamp,
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

impl Deliveries {
    /// Sends an event to a custom topic as soon as possible.
    pub(super) fn push(&self, url: &str, key: Option<&Secret>, event: Value, now: Timestamp) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= CAPACITY {
            tracing::warn!(target: "mqttstack::azure", url, "event dropped: {CAPACITY} events wait already");
            return;
        }
        waiting.push(Delivery {
            url: url.to_owned(),
            key: key.cloned(),
            event,
            attempts: 0,
            due: now,
        });
        drop(waiting);
        self.news.notify_one();
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&self) {
        self.waiting.lock().clear();
    }

    /// Sends what is due, for ever.
    pub(super) async fn run(&self, outbound: &Outbound, clock: &Clock) {
        loop {
            let due = self.take_due(clock.now());
            futures_util::stream::iter(due)
                .for_each_concurrent(CONCURRENT, |delivery| {
                    self.attempt(delivery, outbound, clock)
                })
                .await;
            if self.waiting.lock().is_empty() {
                self.news.notified().await;
            } else {
                tokio::select! {
                    () = self.news.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }

    fn take_due(&self, now: Timestamp) -> Vec<Delivery> {
        self.waiting
            .lock()
            .extract_if(.., |delivery| delivery.due <= now)
            .collect()
    }

    async fn attempt(&self, mut delivery: Delivery, outbound: &Outbound, clock: &Clock) {
        let outcome = delivery.send(outbound).await;
        let url = delivery.url.clone();
        match outcome {
            Outcome::Done => {}
            Outcome::Drop(why) => {
                tracing::warn!(target: "mqttstack::azure", url, why, "event dropped");
            }
            Outcome::Retry(why) => {
                let wait = SCHEDULE[delivery.attempts.min(SCHEDULE.len() - 1)];
                delivery.attempts += 1;
                let now = clock.now();
                delivery.due = now
                    .checked_add(SignedDuration::from_secs(wait))
                    .unwrap_or(Timestamp::MAX);
                tracing::warn!(target: "mqttstack::azure", url, why, wait, "event not delivered, retried later");
                self.waiting.lock().push(delivery);
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
            .body(json!([self.event]).to_string());
        if let Some(key) = &self.key {
            request = request.header("aeg-sas-key", key.expose());
        }
        match request.send().await {
            Ok(response) => judge(response.status().as_u16()),
            // The error's text would carry the address again, and with it perhaps a key.
            Err(error) => Outcome::Retry(error.without_url().to_string()),
        }
    }
}

impl Delivery {
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
