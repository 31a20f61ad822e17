//! An event subscription as it runs: its queue behind a lock of its own, and a wake-up for those
//! who wait at it, so that no subscription is slowed by another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::budget::Event;
use super::queue::{Queue, Received, Settlement, Terms, TokenError};

/// An event subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    name: Box<str>,
    queue: Mutex<Queue>,
    /// It has been taken out.
    gone: AtomicBool,
    news: Notify,
}

/// Events that were given up, and the topic that they go to.
#[derive(Debug)]
pub(crate) struct Dead {
    /// The topic.
    pub topic: String,
    /// The events.
    pub events: Vec<Value>,
}

impl Subscription {
    /// A subscription with these events.
    pub(crate) fn new(name: &str, queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            queue: Mutex::new(queue),
            gone: AtomicBool::new(false),
            news: Notify::new(),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells when there may be something to receive, or the subscription is gone.
    pub(crate) const fn news(&self) -> &Notify {
        &self.news
    }

    /// What its resource says now.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.queue.lock().terms().clone()
    }

    /// The same events under other terms.
    pub(crate) fn configure(&self, terms: Arc<Terms>) {
        self.queue.lock().configure(terms);
        self.news.notify_waiters();
    }

    /// Whether it has been taken out. Whoever has registered for its news before asking is told
    /// when it is taken out later.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Tells those who wait that it is taken out.
    pub(crate) fn go(&self) {
        self.gone.store(true, Ordering::Release);
        self.news.notify_waiters();
    }

    /// Takes events that its filters have let through, in order.
    pub(crate) fn push<'a>(&self, events: impl Iterator<Item = &'a Arc<Event>>, now: Timestamp) {
        let mut queue = self.queue.lock();
        for event in events {
            queue.push(event, now);
        }
        drop(queue);
        self.news.notify_waiters();
    }

    /// Hands out what is there now.
    pub(crate) fn receive(
        &self,
        max: usize,
        now: Timestamp,
        ids: &Ids,
    ) -> (Vec<Received>, Option<Dead>) {
        self.with(|queue| queue.receive(max, now, ids))
    }

    /// Settles events by their lock tokens, in order.
    pub(crate) fn settle(
        &self,
        tokens: &[String],
        settlement: Settlement,
        now: Timestamp,
    ) -> (Vec<Result<(), TokenError>>, Option<Dead>) {
        let settled = self.with(|queue| {
            let tokens = tokens.iter();
            tokens
                .map(|token| queue.settle(token, settlement, now))
                .collect()
        });
        if matches!(settlement, Settlement::Release(_)) {
            self.news.notify_waiters();
        }
        settled
    }

    /// Takes back events whose receiver did not get them.
    pub(crate) fn give_back(&self, tokens: &[String], now: Timestamp) {
        let mut queue = self.queue.lock();
        for token in tokens {
            queue.give_back(token, now);
        }
        drop(queue);
        self.news.notify_waiters();
    }

    /// Ends locks, delays and lives that have run out.
    pub(crate) fn sweep(&self, now: Timestamp) -> Option<Dead> {
        self.with(|queue| queue.sweep(now)).1
    }

    /// When time alone next makes an event available that is locked or delayed now.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        self.queue.lock().next_change()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> (T, Option<Dead>) {
        let mut queue = self.queue.lock();
        let result = act(&mut queue);
        let events = queue.take_dead();
        let dead = match queue.terms().dead_letter_topic() {
            Some(topic) if !events.is_empty() => Some(Dead {
                topic: topic.to_owned(),
                events,
            }),
            _ => None,
        };
        (result, dead)
    }
}
