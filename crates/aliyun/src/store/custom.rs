//! Custom authentication: identities with their passwords, permissions on topics, and the
//! blacklist of client ids that may not connect.

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_base::secret::Secret;
use parking_lot::RwLock;

use crate::topic;

/// How many entries each of the three lists has at most; the vendor's figure is not documented.
/// What an entry is made of has bounds of its own in `api/`.
const MAX_ENTRIES: usize = 100_000;

/// How many user names a refusal lists at most.
const MAX_LISTED: usize = 20;

/// Whom an identity or a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityType {
    User,
    Client,
}

/// How a password proves an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignMode {
    /// It is the secret.
    Origin,
    /// It is the Base64 of the HMAC-SHA1 of the client id under the secret.
    Signed,
}

/// Who may connect with a password of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdentityKey {
    pub instance: String,
    pub kind: IdentityType,
    pub username: String,
    /// Empty for a user.
    pub client_id: String,
}

/// How an identity proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub secret: Secret,
    pub mode: SignMode,
}

/// What a permission is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PermissionKey {
    pub instance: String,
    pub kind: IdentityType,
    /// The user name or client id.
    pub identity: String,
    /// A topic name or filter.
    pub topic: String,
}

/// What a permission says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permission {
    pub publish: bool,
    pub subscribe: bool,
    pub allow: bool,
}

/// What is to be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Publish,
    Subscribe,
}

/// Why a list was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListProblem {
    Exists,
    Missing,
    Full,
}

/// One of the lists, with the rules that are the same for all.
#[derive(Debug)]
pub(crate) struct List<K, V>(RwLock<BTreeMap<K, V>>);

impl<K, V> Default for List<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Ord + Clone, V: Clone> List<K, V> {
    pub(crate) fn add(&self, key: K, value: V) -> Result<(), ListProblem> {
        let mut list = self.0.write();
        if list.contains_key(&key) {
            return Err(ListProblem::Exists);
        }
        if list.len() >= MAX_ENTRIES {
            return Err(ListProblem::Full);
        }
        list.insert(key, value);
        Ok(())
    }

    pub(crate) fn update(&self, key: &K, value: V) -> Result<(), ListProblem> {
        let mut list = self.0.write();
        let old = list.get_mut(key).ok_or(ListProblem::Missing)?;
        *old = value;
        Ok(())
    }

    /// False if it was not there.
    pub(crate) fn remove(&self, key: &K) -> bool {
        self.0.write().remove(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0.read().get(key).cloned()
    }

    /// Those that are wanted, in order.
    pub(crate) fn select(&self, wanted: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let list = self.0.read();
        list.iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Those from a key on for as long as they are wanted, in order.
    fn run(&self, first: &K, wanted: impl Fn(&K) -> bool) -> Vec<(K, V)> {
        let list = self.0.read();
        list.range(first..)
            .take_while(|(key, _)| wanted(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn clear(&self) {
        self.0.write().clear();
    }
}

/// The three lists of all instances.
#[derive(Debug, Default)]
pub(crate) struct CustomAuth {
    pub identities: List<IdentityKey, Proof>,
    pub permissions: List<PermissionKey, Permission>,
    /// Instance and client id.
    pub black: List<(String, String), ()>,
}

impl CustomAuth {
    /// The identity of a client, and the instance that knows it: the client's own before the
    /// user's. `instance` narrows the search where it is known from elsewhere.
    pub(crate) fn identity(
        &self,
        instance: Option<&str>,
        username: &str,
        client_id: &str,
    ) -> Option<(IdentityKey, Proof)> {
        let known = self.identities.select(|key| {
            instance.is_none_or(|id| id == key.instance)
                && key.username == username
                && (key.kind == IdentityType::User || key.client_id == client_id)
        });
        known
            .into_iter()
            .max_by_key(|(key, _)| (key.kind, key.instance.clone()))
    }

    /// Whether a client may; the error says why not. A denial is stronger than a permission, and
    /// what nobody permitted is denied (assumed). Of a P2P topic a permission on the parent topic
    /// is enough (documented).
    pub(crate) fn permits(
        &self,
        instance: &str,
        username: &str,
        client_id: &str,
        access: Access,
        filter: &str,
    ) -> Result<(), String> {
        let parent = topic::p2p_parent(filter);
        let about = |permission: &Permission| match access {
            Access::Publish => permission.publish,
            Access::Subscribe => permission.subscribe,
        };
        let rules: Vec<_> = [
            (IdentityType::User, username),
            (IdentityType::Client, client_id),
        ]
        .into_iter()
        .flat_map(|(kind, identity)| self.permissions_of(instance, kind, identity))
        .filter(|(key, rule)| {
            let meets = |filter| topic::meet(&key.topic, filter);
            about(rule) && (meets(filter) || parent.is_some_and(meets))
        })
        .collect();
        if let Some((key, _)) = rules.iter().find(|(_, rule)| !rule.allow) {
            return Err(format!("a permission on {:?} denies it", key.topic));
        }
        let allowed = |(key, rule): &(PermissionKey, Permission)| {
            let covers = |filter| topic::covers(&key.topic, filter);
            rule.allow && (covers(filter) || parent.is_some_and(covers))
        };
        if rules.iter().any(allowed) {
            return Ok(());
        }
        Err(format!(
            "no permission of user {username:?} or client {client_id:?} allows it; \
             AddCustomAuthPermission makes one"
        ))
    }

    /// The permissions of one identity.
    fn permissions_of(
        &self,
        instance: &str,
        kind: IdentityType,
        identity: &str,
    ) -> Vec<(PermissionKey, Permission)> {
        let first = PermissionKey {
            instance: instance.to_owned(),
            kind,
            identity: identity.to_owned(),
            topic: String::new(),
        };
        self.permissions.run(&first, |key| {
            key.instance == instance && key.kind == kind && key.identity == identity
        })
    }

    /// The first of the user names that identities have, those of one instance where it is known.
    pub(crate) fn usernames(&self, instance: Option<&str>) -> BTreeSet<String> {
        let list = self.identities.0.read();
        let mut names = BTreeSet::new();
        for key in list.keys() {
            if instance.is_none_or(|id| id == key.instance) && names.len() < MAX_LISTED {
                names.insert(key.username.clone());
            }
        }
        names
    }

    pub(super) fn clear(&self) {
        self.identities.clear();
        self.permissions.clear();
        self.black.clear();
    }
}
