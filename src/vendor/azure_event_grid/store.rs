//! The namespaces with their topics and event subscriptions as they are now. `queue.rs` holds
//! what a single subscription does with its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde_json::Value;
use tokio::sync::Notify;

use super::queue::{Queue, Received, Settlement, TokenError};
use super::resources::Namespace;
use super::settings::Settings;
use super::topic::EventSubscription;
use crate::ids::Ids;

/// All namespaces.
#[derive(Debug)]
pub(super) struct Store {
    namespaces: Vec<Arc<NamespaceState>>,
    /// Held while resources are changed, so that no change is lost to another.
    editing: Mutex<()>,
}

/// One namespace.
#[derive(Debug)]
pub(super) struct NamespaceState {
    configured: Namespace,
    auto_create: bool,
    resources: RwLock<Arc<Namespace>>,
    topics: Mutex<BTreeMap<String, Topic>>,
    /// When clients were put, by name.
    created: Mutex<BTreeMap<String, Timestamp>>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Topic {
    subscriptions: BTreeMap<String, Queue>,
    /// Events from before the first subscription, for it; only where subscriptions come into
    /// being by use.
    unclaimed: Option<Queue>,
}

/// What does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The namespace topic.
    Topic,
    /// The event subscription.
    Subscription,
}

impl Store {
    /// The configured namespaces.
    pub(super) fn new(settings: &Settings) -> Self {
        let namespaces = settings.namespaces.iter().map(|configured| {
            Arc::new(NamespaceState {
                configured: configured.clone(),
                auto_create: settings.auto_create,
                resources: RwLock::new(Arc::new(configured.clone())),
                topics: Mutex::new(topics(configured)),
                created: Mutex::default(),
                news: Notify::new(),
            })
        });
        Self {
            namespaces: namespaces.collect(),
            editing: Mutex::default(),
        }
    }

    /// The namespace whose name is the first label of the host name, else the first one.
    pub(super) fn namespace(&self, host: Option<&str>) -> Arc<NamespaceState> {
        let label = host
            .and_then(|host| host.split(['.', ':']).next())
            .unwrap_or("");
        self.find(label)
            .unwrap_or_else(|| self.namespaces[0].clone())
    }

    /// The namespace of this name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.namespaces
            .iter()
            .find(|namespace| namespace.configured.name.eq_ignore_ascii_case(name))
            .cloned()
    }

    /// Keeps other changes of resources out until it is dropped.
    pub(super) fn editing(&self) -> MutexGuard<'_, ()> {
        self.editing.lock()
    }

    /// Back to the configured state.
    pub(super) fn reset(&self) {
        let _editing = self.editing();
        for namespace in &self.namespaces {
            *namespace.resources.write() = Arc::new(namespace.configured.clone());
            *namespace.topics.lock() = topics(&namespace.configured);
            namespace.created.lock().clear();
        }
    }
}

fn topics(configured: &Namespace) -> BTreeMap<String, Topic> {
    let mut topics = BTreeMap::new();
    for topic in &configured.topics {
        let state: &mut Topic = topics.entry(topic.name.clone()).or_default();
        state.configure(&topic.subscriptions);
    }
    topics
}

impl NamespaceState {
    /// What is in the namespace now.
    pub(super) fn resources(&self) -> Arc<Namespace> {
        self.resources.read().clone()
    }

    /// Replaces what is in the namespace. Topics and subscriptions that stay keep their events.
    pub(super) fn replace(&self, resources: Namespace) {
        let next = Arc::new(resources);
        let before = std::mem::replace(&mut *self.resources.write(), next.clone());
        let mut topics = self.topics.lock();
        for old in &before.topics {
            match next.topics.iter().find(|topic| topic.name == old.name) {
                None => {
                    topics.remove(&old.name);
                }
                Some(stays) => {
                    let gone = old.subscriptions.iter().filter(|old| {
                        let mut stay = stays.subscriptions.iter();
                        !stay.any(|one| one.name == old.name)
                    });
                    if let Some(state) = topics.get_mut(&old.name) {
                        gone.for_each(|old| drop(state.subscriptions.remove(&old.name)));
                    }
                }
            }
        }
        for topic in &next.topics {
            let state = topics.entry(topic.name.clone()).or_default();
            state.configure(&topic.subscriptions);
        }
        drop(topics);
        // Who waits at something that is gone is told so.
        self.news.notify_waiters();
    }

    /// When a client was first put; now, if it is the first time.
    pub(super) fn created(&self, client: &str, now: Timestamp) -> Timestamp {
        *self.created.lock().entry(client.to_owned()).or_insert(now)
    }

    /// Forgets when a client was put.
    pub(super) fn forget_client(&self, client: &str) {
        self.created.lock().remove(client);
    }

    /// Puts events on a topic.
    pub(super) fn publish(
        &self,
        topic: &str,
        events: Vec<Value>,
        now: Timestamp,
    ) -> Result<(), Missing> {
        {
            let mut topics = self.topics.lock();
            if !topics.contains_key(topic) && !self.auto_create {
                return Err(Missing::Topic);
            }
            let topic = topics.entry(topic.to_owned()).or_default();
            for event in events {
                topic.offer(&Arc::new(event), now);
            }
        }
        self.news.notify_waiters();
        Ok(())
    }

    /// Hands out what is there now.
    pub(super) fn receive(
        &self,
        topic: &str,
        subscription: &str,
        max: usize,
        now: Timestamp,
        ids: &Ids,
    ) -> Result<Vec<Received>, Missing> {
        self.with(topic, subscription, now, |queue| {
            queue.receive(max, now, ids)
        })
    }

    /// Settles events by their lock tokens, in order.
    pub(super) fn settle(
        &self,
        topic: &str,
        subscription: &str,
        tokens: &[String],
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<Vec<Result<(), TokenError>>, Missing> {
        let settled = self.with(topic, subscription, now, |queue| {
            tokens
                .iter()
                .map(|token| queue.settle(token, settlement, now))
                .collect()
        });
        self.news.notify_waiters();
        settled
    }

    /// Takes back events whose receiver did not get them.
    pub(super) fn give_back(
        &self,
        topic: &str,
        subscription: &str,
        tokens: &[String],
        now: Timestamp,
    ) {
        // Where topic or subscription are gone, so are the events.
        let _ = self.with(topic, subscription, now, |queue| {
            for token in tokens {
                queue.give_back(token, now);
            }
        });
        self.news.notify_waiters();
    }

    /// When time alone next makes a locked or delayed event available.
    pub(super) fn next_available(
        &self,
        topic: &str,
        subscription: &str,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.topics
            .lock()
            .get(topic)
            .and_then(|topic| topic.subscriptions.get(subscription))
            .and_then(|queue| queue.next_available(now))
    }

    /// Tells when something was published or settled.
    pub(super) fn news(&self) -> &Notify {
        &self.news
    }

    fn with<T>(
        &self,
        topic: &str,
        subscription: &str,
        now: Timestamp,
        act: impl FnOnce(&mut Queue) -> T,
    ) -> Result<T, Missing> {
        let mut topics = self.topics.lock();
        if self.auto_create {
            topics
                .entry(topic.to_owned())
                .or_default()
                .subscribe(subscription);
        }
        let queue = topics
            .get_mut(topic)
            .ok_or(Missing::Topic)?
            .subscriptions
            .get_mut(subscription)
            .ok_or(Missing::Subscription)?;
        let result = act(queue);
        let dead = queue.take_dead();
        let target = queue.dead_letter_topic().map(str::to_owned);
        if let (false, Some(target)) = (dead.is_empty(), target) {
            let target = topics.entry(target).or_default();
            for letter in dead {
                target.offer(&Arc::new(letter.event), now);
            }
            drop(topics);
            self.news.notify_waiters();
        }
        Ok(result)
    }
}

impl Topic {
    fn offer(&mut self, event: &Arc<Value>, now: Timestamp) {
        if self.subscriptions.is_empty() {
            let unclaimed = self.unclaimed.get_or_insert_with(|| named("unclaimed"));
            unclaimed.offer(event, now);
        }
        for queue in self.subscriptions.values_mut() {
            queue.offer(event, now);
        }
    }

    /// Creates a subscription that is not there; the first one gets what came before it.
    fn subscribe(&mut self, name: &str) {
        if self.subscriptions.contains_key(name) {
            return;
        }
        let queue = self.unclaimed.take().unwrap_or_else(|| named(name));
        self.subscriptions.insert(name.to_owned(), queue);
    }

    /// Creates these subscriptions, or gives those that are there their settings.
    fn configure(&mut self, subscriptions: &[EventSubscription]) {
        for one in subscriptions {
            if let Some(queue) = self.subscriptions.get_mut(&one.name) {
                queue.configure(one.clone());
            } else {
                let queue = Queue::new(one.clone());
                self.subscriptions.insert(one.name.clone(), queue);
            }
        }
    }
}

/// A queue with the default settings.
fn named(name: &str) -> Queue {
    Queue::new(EventSubscription {
        name: name.to_owned(),
        ..EventSubscription::default()
    })
}
