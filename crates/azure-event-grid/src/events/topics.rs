//! The namespace topics of one namespace with their event subscriptions, those of the resource
//! manager and those that came into being by their use. Whoever works with a subscription holds it;
//! the directory is locked only to find it, to add it or to take it out.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use super::budget::{Budget, Event};
use super::queue::{Queue, Received, Settlement, Terms, TokenError};
use super::subscription::{Dead, Subscription};
use crate::model::limits;
use crate::model::topic::{self, EventSubscription};
use crate::settings::Settings;

/// Why a topic or an event subscription cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// There is no such topic.
    #[error("the topic was not found")]
    NoTopic,
    /// There is no such event subscription.
    #[error("the event subscription was not found")]
    NoSubscription,
    /// So many topics are there, and no other may come into being by its use.
    #[error("there are {0} namespace topics, as many as the namespace may have (azure.max_topics)")]
    Topics(usize),
    /// The same of the event subscriptions of the namespace.
    #[error(
        "there are {0} event subscriptions, as many as the namespace may have (azure.max_event_subscriptions)"
    )]
    Subscriptions(usize),
    /// The events that wait in the namespace occupy as many bytes as they may.
    #[error(
        "the events that wait in the namespace occupy the {0} bytes that they may (azure.max_event_bytes)"
    )]
    Bytes(usize),
}

/// What may come into being by its use, and how much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    auto_create: bool,
    topics: usize,
    subscriptions: usize,
    bytes: usize,
}

impl Bounds {
    /// As they are configured.
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            auto_create: settings.auto_create,
            topics: settings.max_topics,
            subscriptions: settings.max_event_subscriptions,
            bytes: settings.max_event_bytes,
        }
    }
}

/// The topics of a namespace.
#[derive(Debug)]
pub(crate) struct Topics {
    bounds: Bounds,
    budget: Arc<Budget>,
    /// Of subscriptions that come into being by their use.
    terms: Arc<Terms>,
    directory: RwLock<Directory>,
}

#[derive(Debug, Default)]
struct Directory {
    topics: HashMap<Box<str>, Topic>,
    /// How many subscriptions they have together.
    subscriptions: usize,
    /// The namespace has been taken out.
    closed: bool,
}

#[derive(Debug, Default)]
struct Topic {
    /// By name. Shared, so that a publisher can look through them without holding the directory.
    subscriptions: Arc<[Arc<Subscription>]>,
    /// Events from before the first subscription, for it; only where subscriptions come into
    /// being by use.
    unclaimed: Mutex<Vec<Unclaimed>>,
}

/// An event that waits for the first subscription. There can be many topics with one of them, so
/// it is less than a queue.
#[derive(Debug)]
struct Unclaimed {
    event: Arc<Event>,
    published: Timestamp,
}

impl Topics {
    /// Those that are configured.
    pub(crate) fn new(configured: &[topic::Topic], bounds: Bounds) -> Self {
        let topics = Self {
            bounds,
            budget: Budget::new(bounds.bytes),
            terms: Arc::new(Terms::of(&EventSubscription::default())),
            directory: RwLock::default(),
        };
        topics.replace(&[], configured);
        topics
    }

    /// Replaces those of the resource manager; what stays keeps its events, and so does what came
    /// into being by its use. Who waits at something that is gone is told so.
    pub(crate) fn replace(&self, before: &[topic::Topic], next: &[topic::Topic]) {
        // Dropped last: the events of a subscription can be many.
        let mut gone = Vec::new();
        let mut directory = self.directory.write();
        for old in before {
            let stays = next.iter().find(|topic| topic.name == old.name);
            let Some(stays) = stays else {
                gone.extend(directory.remove(&old.name));
                continue;
            };
            for one in &old.subscriptions {
                if !stays.subscriptions.iter().any(|new| new.name == one.name) {
                    gone.extend(directory.remove_subscription(&old.name, &one.name));
                }
            }
        }
        for topic in next {
            directory.declare(topic);
        }
        drop(directory);
    }

    /// Takes all of them out; none comes into being any more.
    pub(crate) fn close(&self) {
        let all = self.directory.write().clear(true);
        drop(all);
    }

    /// Back to those that are configured, without events.
    pub(crate) fn reset(&self, configured: &[topic::Topic]) {
        let all = self.directory.write().clear(false);
        drop(all);
        self.replace(&[], configured);
    }

    /// What the use of a topic, and of an event subscription on it, brings into being: its kind
    /// and its name.
    pub(crate) fn creates<'a>(
        &self,
        topic: &'a str,
        subscription: Option<&'a str>,
    ) -> Option<(&'static str, &'a str)> {
        if !self.bounds.auto_create {
            return None;
        }
        let directory = self.directory.read();
        if !directory.topics.contains_key(topic) {
            return Some(("topic", topic));
        }
        let new = subscription.filter(|name| directory.find(topic, name).is_none());
        new.map(|name| ("event subscription", name))
    }

    /// Whether an event could be published to a topic now; the topic comes into being if it may.
    pub(crate) fn check(&self, topic: &str, size: usize, now: Timestamp) -> Result<(), Unusable> {
        let subscriptions = self.subscriptions(topic)?;
        self.make_room(Event::cost(size, subscriptions.len().max(1)), now)
    }

    /// Puts events on a topic: all of them, or none.
    pub(crate) fn publish(
        &self,
        topic: &str,
        events: &[Value],
        now: Timestamp,
    ) -> Result<(), Unusable> {
        let subscriptions = self.subscriptions(topic)?;
        let texts: Vec<_> = events.iter().map(Value::to_string).collect();
        let places = subscriptions.len().max(1);
        let cost = texts.iter().map(|text| Event::cost(text.len(), places));
        self.make_room(cost.sum(), now)?;
        self.enter(topic, &subscriptions, events, texts, now);
        Ok(())
    }

    /// The event subscription of a topic; both come into being if they may.
    pub(crate) fn subscription(
        &self,
        topic: &str,
        name: &str,
    ) -> Result<Arc<Subscription>, Unusable> {
        if let Some(found) = self.directory.read().find(topic, name) {
            return Ok(found);
        }
        let mut directory = self.directory.write();
        self.create(&mut directory, topic)?;
        if let Some(found) = directory.find(topic, name) {
            return Ok(found);
        }
        if !self.may_be_made(&directory) || !limits::SUBSCRIPTION_NAME.contains(&length(name)) {
            return Err(Unusable::NoSubscription);
        }
        if directory.subscriptions >= self.bounds.subscriptions {
            return Err(Unusable::Subscriptions(self.bounds.subscriptions));
        }
        let known = directory.topics.get(topic).ok_or(Unusable::NoTopic)?;
        let mut queue = Queue::new(self.terms.clone());
        for one in std::mem::take(&mut *known.unclaimed.lock()) {
            queue.push(&one.event, one.published);
        }
        let new = Subscription::new(name, queue);
        directory.add(topic, new.clone());
        Ok(new)
    }

    /// Settles events by their lock tokens, in order.
    pub(crate) fn settle(
        &self,
        subscription: &Subscription,
        tokens: &[String],
        settlement: Settlement,
        now: Timestamp,
    ) -> Vec<Result<(), TokenError>> {
        let (results, dead) = subscription.settle(tokens, settlement, now);
        self.bury(dead, now);
        results
    }

    /// Hands out what is there now.
    pub(crate) fn receive(
        &self,
        subscription: &Subscription,
        max: usize,
        now: Timestamp,
        ids: &Ids,
    ) -> Vec<Received> {
        let (received, dead) = subscription.receive(max, now, ids);
        self.bury(dead, now);
        received
    }

    /// The subscriptions of a topic, which comes into being if it may.
    fn subscriptions(&self, topic: &str) -> Result<Arc<[Arc<Subscription>]>, Unusable> {
        if let Some(found) = self.directory.read().topics.get(topic) {
            return Ok(found.subscriptions.clone());
        }
        let mut directory = self.directory.write();
        self.create(&mut directory, topic)?;
        let found = directory.topics.get(topic);
        found
            .map(|found| found.subscriptions.clone())
            .ok_or(Unusable::NoTopic)
    }

    fn create(&self, directory: &mut Directory, topic: &str) -> Result<(), Unusable> {
        if directory.topics.contains_key(topic) {
            return Ok(());
        }
        if !self.may_be_made(directory) || !limits::OTHER_NAME.contains(&length(topic)) {
            return Err(Unusable::NoTopic);
        }
        if directory.topics.len() >= self.bounds.topics {
            return Err(Unusable::Topics(self.bounds.topics));
        }
        directory.topics.insert(topic.into(), Topic::default());
        Ok(())
    }

    const fn may_be_made(&self, directory: &Directory) -> bool {
        self.bounds.auto_create && !directory.closed
    }

    /// Enters events in the queues whose filters let them through.
    fn enter(
        &self,
        topic: &str,
        subscriptions: &[Arc<Subscription>],
        events: &[Value],
        texts: Vec<String>,
        now: Timestamp,
    ) {
        let texts = texts.into_iter();
        let counted: Vec<_> = texts.map(|text| Event::new(text, &self.budget)).collect();
        if subscriptions.is_empty() {
            return self.keep_unclaimed(topic, &counted, now);
        }
        for subscription in subscriptions {
            let terms = subscription.terms();
            let pairs = events.iter().zip(&counted);
            let mut taken = pairs.filter(|(event, _)| terms.take(event)).peekable();
            if taken.peek().is_some() {
                subscription.push(taken.map(|(_, counted)| counted), now);
            }
        }
    }

    /// Keeps events for the first subscription, if it comes into being by its use.
    fn keep_unclaimed(&self, topic: &str, events: &[Arc<Event>], now: Timestamp) {
        if !self.bounds.auto_create {
            return;
        }
        let directory = self.directory.read();
        let Some(found) = directory.topics.get(topic) else {
            return;
        };
        if let Some(first) = found.subscriptions.first() {
            // It has come into being meanwhile.
            return first.push(events.iter(), now);
        }
        let events = events.iter().map(|event| Unclaimed {
            event: event.clone(),
            published: now,
        });
        found.unclaimed.lock().extend(events);
    }

    /// Puts events that were given up on their topic. They were there before, so they find room.
    fn bury(&self, dead: Option<Dead>, now: Timestamp) {
        let Some(Dead { topic, events }) = dead else {
            return;
        };
        let Ok(subscriptions) = self.subscriptions(&topic) else {
            tracing::warn!(target: "mqttstack::azure", topic, "dead-lettered events are lost: their topic was not found");
            return;
        };
        let texts = events.iter().map(Value::to_string).collect();
        self.enter(&topic, &subscriptions, &events, texts, now);
    }

    /// Whether there is room for so many bytes, once what has run out is gone.
    fn make_room(&self, bytes: usize, now: Timestamp) -> Result<(), Unusable> {
        if self.budget.has_room(bytes) {
            return Ok(());
        }
        self.sweep(now);
        if self.budget.has_room(bytes) {
            return Ok(());
        }
        Err(Unusable::Bytes(self.budget.most()))
    }

    fn sweep(&self, now: Timestamp) {
        let directory = self.directory.read();
        let mut all = Vec::with_capacity(directory.subscriptions);
        for topic in directory.topics.values() {
            all.extend(topic.subscriptions.iter().cloned());
            let mut unclaimed = topic.unclaimed.lock();
            unclaimed.retain(|one| self.terms.keep(one.published, now));
            unclaimed.shrink_to_fit();
        }
        drop(directory);
        for subscription in all {
            self.bury(subscription.sweep(now), now);
        }
    }
}

impl Directory {
    fn find(&self, topic: &str, name: &str) -> Option<Arc<Subscription>> {
        let all = &self.topics.get(topic)?.subscriptions;
        let at = all.binary_search_by(|one| one.name().cmp(name)).ok()?;
        all.get(at).cloned()
    }

    fn add(&mut self, topic: &str, new: Arc<Subscription>) {
        let Some(found) = self.topics.get_mut(topic) else {
            return;
        };
        let mut all = found.subscriptions.to_vec();
        let at = all.partition_point(|one| one.name() < new.name());
        all.insert(at, new);
        found.subscriptions = all.into();
        // Whatever was kept for a first subscription that comes into being by its use.
        found.unclaimed.get_mut().clear();
        self.subscriptions += 1;
    }

    /// Creates a topic of the resource manager with its subscriptions, or gives those that are
    /// there their terms.
    fn declare(&mut self, declared: &topic::Topic) {
        let name = declared.name.as_str();
        self.topics.entry(name.into()).or_default();
        for one in &declared.subscriptions {
            let terms = Arc::new(Terms::of(one));
            match self.find(name, &one.name) {
                Some(known) => known.configure(terms),
                None => self.add(name, Subscription::new(&one.name, Queue::new(terms))),
            }
        }
    }

    /// Takes a topic out and gives its subscriptions.
    fn remove(&mut self, topic: &str) -> Vec<Arc<Subscription>> {
        let Some(found) = self.topics.remove(topic) else {
            return Vec::new();
        };
        self.subscriptions -= found.subscriptions.len();
        for one in &*found.subscriptions {
            one.go();
        }
        found.subscriptions.to_vec()
    }

    /// Takes one subscription out and gives it.
    fn remove_subscription(&mut self, topic: &str, name: &str) -> Vec<Arc<Subscription>> {
        let Some(found) = self.topics.get_mut(topic) else {
            return Vec::new();
        };
        let all = found.subscriptions.iter().cloned();
        let (gone, stay): (Vec<_>, Vec<_>) = all.partition(|one| one.name() == name);
        found.subscriptions = stay.into();
        self.subscriptions -= gone.len();
        for one in &gone {
            one.go();
        }
        gone
    }

    /// Takes everything out and gives it; when `closed`, nothing comes into being any more.
    fn clear(&mut self, closed: bool) -> HashMap<Box<str>, Topic> {
        self.closed = closed;
        self.subscriptions = 0;
        let all = std::mem::take(&mut self.topics);
        for one in all.values().flat_map(|topic| &*topic.subscriptions) {
            one.go();
        }
        all
    }
}

fn length(name: &str) -> usize {
    name.chars().count()
}
