//! The namespaces as they are now, and what is in them. What becomes of events is in `topics.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use super::topics::{Bounds, Topics};
use crate::model::resources::Namespace;
use crate::settings::Settings;

/// All namespaces.
#[derive(Debug)]
pub(crate) struct Store {
    configured: Vec<Arc<NamespaceState>>,
    /// Those that there are: configured or put, and not removed.
    namespaces: RwLock<Vec<Arc<NamespaceState>>>,
    /// Of every namespace.
    bounds: Bounds,
    /// Held while resources are changed, so that no change is lost to another.
    editing: Mutex<()>,
    changed: Arc<Notify>,
}

/// One namespace.
#[derive(Debug)]
pub(crate) struct NamespaceState {
    configured: Namespace,
    resources: RwLock<Arc<Namespace>>,
    topics: Topics,
    /// When clients were put, by name.
    created: Mutex<BTreeMap<String, Timestamp>>,
    removed: AtomicBool,
    /// The store's: told of every change.
    changed: Arc<Notify>,
}

impl Store {
    /// The configured namespaces.
    pub(crate) fn new(settings: &Settings) -> Self {
        let bounds = Bounds::of(settings);
        let changed = Arc::new(Notify::new());
        let namespaces = settings.namespaces.iter();
        let configured: Vec<_> = namespaces
            .map(|one| Arc::new(NamespaceState::new(one.clone(), bounds, changed.clone())))
            .collect();
        Self {
            namespaces: RwLock::new(configured.clone()),
            configured,
            bounds,
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
            self.bounds,
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
        // Who waits at one of its topics is told that it is gone.
        state.topics.close();
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
            namespace.topics.reset(&namespace.configured.topics);
            namespace.created.lock().clear();
            namespace.removed.store(false, Ordering::Release);
        }
        self.namespaces.write().clone_from(&self.configured);
        self.changed.notify_waiters();
    }
}

impl NamespaceState {
    fn new(configured: Namespace, bounds: Bounds, changed: Arc<Notify>) -> Self {
        Self {
            changed,
            resources: RwLock::new(Arc::new(configured.clone())),
            topics: Topics::new(&configured.topics, bounds),
            created: Mutex::default(),
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
        self.topics.replace(&before.topics, &next.topics);
        self.changed.notify_waiters();
    }

    /// Its namespace topics.
    pub(crate) const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// When a client was first put; now, if it is the first time.
    pub(crate) fn created(&self, client: &str, now: Timestamp) -> Timestamp {
        *self.created.lock().entry(client.to_owned()).or_insert(now)
    }

    /// Forgets when a client was put.
    pub(crate) fn forget_client(&self, client: &str) {
        self.created.lock().remove(client);
    }
}
