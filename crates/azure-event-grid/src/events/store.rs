//! The namespaces with their topics and event subscriptions as they are now. `queue.rs` holds
//! what a single subscription does with its events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde_json::Value;
use tokio::sync::Notify;

use super::queue::{Queue, Received, Settlement, TokenError};
use crate::model::resources::Namespace;
use crate::model::topic::EventSubscription;
use crate::settings::Settings;

/// All namespaces.
#[derive(Debug)]
pub(crate) struct Store {
    configured: Vec<Arc<NamespaceState>>,
    /// Those that there are: configured or put, and not removed.
    namespaces: RwLock<Vec<Arc<NamespaceState>>>,
    auto_create: bool,
    /// Held while resources are changed, so that no change is lost to another.
    editing: Mutex<()>,
    changed: Arc<Notify>,
}

/// One namespace.
#[derive(Debug)]
pub(crate) struct NamespaceState {
    configured: Namespace,
    auto_create: bool,
    resources: RwLock<Arc<Namespace>>,
    topics: Mutex<BTreeMap<String, Topic>>,
    /// When clients were put, by name.
    created: Mutex<BTreeMap<String, Timestamp>>,
    news: Notify,
    removed: AtomicBool,
    /// The store's: told of every change.
    changed: Arc<Notify>,
}

/// The most topics that come into being by their use, and the most subscriptions of one: a caller
/// that makes up names must not fill the memory.
const TOPICS_BY_USE: usize = 10_000;

#[derive(Debug, Default)]
struct Topic {
    subscriptions: BTreeMap<String, Queue>,
    /// Events from before the first subscription, for it; only where subscriptions come into
    /// being by use.
    unclaimed: Option<Queue>,
}

/// What does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The namespace topic.
    Topic,
    /// The event subscription.
    Subscription,
}

impl Store {
    /// The configured namespaces.
    pub(crate) fn new(settings: &Settings) -> Self {
        let auto_create = settings.auto_create;
        let changed = Arc::new(Notify::new());
        let namespaces = settings.namespaces.iter();
        let configured: Vec<_> = namespaces
            .map(|one| {
                Arc::new(NamespaceState::new(
                    one.clone(),
                    auto_create,
                    changed.clone(),
                ))
            })
            .collect();
        Self {
            namespaces: RwLock::new(configured.clone()),
            configured,
            auto_create,
            editing: Mutex::default(),
            changed,
        }
    }

    /// Told whenever what is in a namespace changes, or a namespace goes.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// The namespace whose name is the first label of the host name, else the first one; `None` if
    /// there is no namespace at all.
    pub(crate) fn namespace(&self, host: Option<&str>) -> Option<Arc<NamespaceState>> {
        let label = host
            .and_then(|host| host.split(['.', ':']).next())
            .unwrap_or("");
        self.find(label)
            .or_else(|| self.namespaces.read().first().cloned())
    }

    /// The namespace of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<NamespaceState>> {
        self.namespaces
            .read()
            .iter()
            .find(|namespace| namespace.name().eq_ignore_ascii_case(name))
            .cloned()
    }

    /// Every namespace, in the order in which they came.
    pub(crate) fn all(&self) -> Vec<Arc<NamespaceState>> {
        self.namespaces.read().clone()
    }

    /// A namespace that is not among the others yet.
    pub(crate) fn new_namespace(&self, namespace: Namespace) -> Arc<NamespaceState> {
        Arc::new(NamespaceState::new(
            namespace,
            self.auto_create,
            self.changed.clone(),
        ))
    }

    /// Adds a namespace; whoever holds [`Store::editing`] has looked that there is none of its
    /// name.
    pub(crate) fn add(&self, namespace: Arc<NamespaceState>) {
        self.namespaces.write().push(namespace);
    }

    /// Takes a namespace out with all that is in it; whether it was there.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let Some(state) = self.find(name) else {
            return false;
        };
        let mut namespaces = self.namespaces.write();
        namespaces.retain(|one| !Arc::ptr_eq(one, &state));
        drop(namespaces);
        state.removed.store(true, Ordering::Release);
        state.topics.lock().clear();
        // Who waits at one of its topics is told that it is gone.
        state.news.notify_waiters();
        self.changed.notify_waiters();
        true
    }

    /// Keeps other changes of resources out until it is dropped.
    pub(crate) fn editing(&self) -> MutexGuard<'_, ()> {
        self.editing.lock()
    }

    /// Back to the configured state.
    pub(crate) fn reset(&self) {
        let _editing = self.editing();
        for one in self.all() {
            let is_configured = self.configured.iter().any(|own| Arc::ptr_eq(own, &one));
            if !is_configured {
                self.remove(one.name());
            }
        }
        for namespace in &self.configured {
            *namespace.resources.write() = Arc::new(namespace.configured.clone());
            *namespace.topics.lock() = topics(&namespace.configured);
            namespace.created.lock().clear();
            namespace.removed.store(false, Ordering::Release);
        }
        self.namespaces.write().clone_from(&self.configured);
        self.changed.notify_waiters();
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
    fn new(configured: Namespace, auto_create: bool, changed: Arc<Notify>) -> Self {
        Self {
            changed,
            auto_create,
            resources: RwLock::new(Arc::new(configured.clone())),
            topics: Mutex::new(topics(&configured)),
            created: Mutex::default(),
            news: Notify::new(),
            removed: AtomicBool::new(false),
            configured,
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.configured.name
    }

    /// Whether it has been taken out.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// What is in the namespace now.
    pub(crate) fn resources(&self) -> Arc<Namespace> {
        self.resources.read().clone()
    }

    /// Replaces what is in the namespace. Topics and subscriptions that stay keep their events.
    pub(crate) fn replace(&self, resources: Namespace) {
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
        self.changed.notify_waiters();
        drop(topics);
        // Who waits at something that is gone is told so.
        self.news.notify_waiters();
    }

    /// When a client was first put; now, if it is the first time.
    pub(crate) fn created(&self, client: &str, now: Timestamp) -> Timestamp {
        *self.created.lock().entry(client.to_owned()).or_insert(now)
    }

    /// Forgets when a client was put.
    pub(crate) fn forget_client(&self, client: &str) {
        self.created.lock().remove(client);
    }

    /// What the use of a topic, and of an event subscription on it, brings into being: its kind
    /// and its name.
    pub(crate) fn creates<'a>(
        &self,
        topic: &'a str,
        subscription: Option<&'a str>,
    ) -> Option<(&'static str, &'a str)> {
        if !self.auto_create {
            return None;
        }
        let topics = self.topics.lock();
        let Some(known) = topics.get(topic) else {
            return Some(("topic", topic));
        };
        let new = subscription.filter(|name| !known.subscriptions.contains_key(*name));
        new.map(|name| ("event subscription", name))
    }

    /// Puts events on a topic.
    pub(crate) fn publish(
        &self,
        topic: &str,
        events: Vec<Value>,
        now: Timestamp,
    ) -> Result<(), Missing> {
        {
            let mut topics = self.topics.lock();
            if !topics.contains_key(topic) && !self.may_create(topics.len()) {
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
    pub(crate) fn receive(
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
    pub(crate) fn settle(
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
    pub(crate) fn give_back(
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
    pub(crate) fn next_available(
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
    pub(crate) fn news(&self) -> &Notify {
        &self.news
    }

    /// Whether one more of so many may come into being by its use.
    fn may_create(&self, count: usize) -> bool {
        self.auto_create && count < TOPICS_BY_USE && !self.is_removed()
    }

    fn with<T>(
        &self,
        topic: &str,
        subscription: &str,
        now: Timestamp,
        act: impl FnOnce(&mut Queue) -> T,
    ) -> Result<T, Missing> {
        let mut topics = self.topics.lock();
        if topics.contains_key(topic) || self.may_create(topics.len()) {
            let topic = topics.entry(topic.to_owned()).or_default();
            if self.may_create(topic.subscriptions.len()) {
                topic.subscribe(subscription);
            }
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
