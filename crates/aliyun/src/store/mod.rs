//! The resources of the product: instances with their groups and parent topics. Seeded from the
//! settings; with `auto_create` what is missing comes into being on first use. What belongs to
//! them has files of its own: `token.rs`, `credential.rs`, `custom.rs`; `session.rs` knows who is
//! connected and what connections went through, `trace.rs` which messages there were.

pub(crate) mod credential;
pub(crate) mod custom;
pub(crate) mod session;
pub(crate) mod token;
pub(super) mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use parking_lot::RwLock;

use self::credential::Credentials;
use self::custom::CustomAuth;
use self::session::Sessions;
use self::token::Tokens;
use self::trace::Traces;
use super::settings::{Instance as InstanceSettings, Settings, SettingsError, default_region};

/// How many instances are remembered, and how many groups, deleted ones and parent topics in all
/// of them together. Beyond it `auto_create` still lets calls through and remembers nothing, so
/// that memory stays bounded.
const MAX_INSTANCES: usize = 10_000;
const MAX_NAMES: usize = 100_000;

/// When seeded resources were created, in milliseconds since 1970: the date of the API version,
/// so that answers do not depend on when the program was started.
pub(super) const SEEDED_MS: i64 = 1_587_340_800_000;

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Its tags, key and value.
    pub tags: Vec<(String, String)>,
}

impl Group {
    fn seeded() -> Self {
        Self {
            created_ms: SEEDED_MS,
            tags: Vec::new(),
        }
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Its region.
    pub region: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Its groups by id.
    pub groups: BTreeMap<String, Group>,
    /// Groups that were deleted: these do not come into being on first use.
    deleted_groups: HashSet<String>,
    /// Its parent topics.
    pub topics: BTreeSet<String>,
}

impl Instance {
    fn seeded(settings: &InstanceSettings) -> Self {
        Self {
            region: settings.region.clone(),
            created_ms: SEEDED_MS,
            groups: settings
                .groups
                .iter()
                .map(|id| (id.clone(), Group::seeded()))
                .collect(),
            deleted_groups: HashSet::new(),
            topics: settings.topics.iter().cloned().collect(),
        }
    }

    fn made(now: Timestamp) -> Self {
        Self {
            region: default_region(),
            created_ms: now.as_millisecond(),
            groups: BTreeMap::new(),
            deleted_groups: HashSet::new(),
            topics: BTreeSet::new(),
        }
    }

    fn names(&self) -> usize {
        self.groups.len() + self.deleted_groups.len() + self.topics.len()
    }
}

/// Instances by id, and how many names all of them hold together.
#[derive(Debug, Default, Clone)]
struct Known {
    by_id: HashMap<String, Instance>,
    names: usize,
}

impl Known {
    /// Changes an instance that is there; `None` if there is none.
    fn change<T>(&mut self, id: &str, change: impl FnOnce(&mut Instance) -> T) -> Option<T> {
        let instance = self.by_id.get_mut(id)?;
        let before = instance.names();
        let changed = change(instance);
        self.names = self.names - before + instance.names();
        Some(changed)
    }

    fn is_full(&self) -> bool {
        self.names >= MAX_NAMES
    }
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Instance,
    Topic,
    Group,
    DeletedGroup,
}

/// Why a group was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupProblem {
    Exists,
    TooMany,
}

/// What is wrong with an instance id, if anything (assumed: the vendor's ids are of this form).
pub(super) fn instance_problem(id: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let sound = id.len() <= 64 && id.bytes().all(allowed);
    (!sound).then_some("an InstanceId has at most 64 letters, digits, - and _")
}

/// All instances by id, and what belongs to them.
#[derive(Debug)]
pub(crate) struct Store {
    auto_create: bool,
    seeds: Known,
    instances: RwLock<Known>,
    pub(super) tokens: Tokens,
    pub(super) credentials: Credentials,
    pub(super) custom: CustomAuth,
    pub(super) sessions: Sessions,
    pub(super) traces: Traces,
}

impl Store {
    /// The seeded state.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut seeds = Known::default();
        for (index, instance) in settings.instances.iter().enumerate() {
            let problem = if instance.id.is_empty() {
                "it is empty"
            } else if seeds
                .by_id
                .insert(instance.id.clone(), Instance::seeded(instance))
                .is_some()
            {
                "it is there twice"
            } else {
                continue;
            };
            return Err(SettingsError::new(
                format!("aliyun.instances[{index}].id"),
                problem,
            ));
        }
        seeds.names = seeds.by_id.values().map(Instance::names).sum();
        Ok(Self {
            auto_create: settings.auto_create,
            instances: RwLock::new(seeds.clone()),
            seeds,
            tokens: Tokens::new(settings)?,
            credentials: Credentials::new(settings),
            custom: CustomAuth::default(),
            sessions: Sessions::default(),
            traces: Traces::default(),
        })
    }

    /// Back to the seeded state. Who is connected stays connected.
    pub(crate) fn reset(&self) {
        self.instances.write().clone_from(&self.seeds);
        self.tokens.reset();
        self.credentials.reset();
        self.custom.clear();
        self.sessions.forget_events();
        self.traces.clear();
    }

    /// The instance of this id as it is now.
    pub(crate) fn instance(&self, id: &str) -> Option<Instance> {
        self.instances.read().by_id.get(id).cloned()
    }

    /// The region of an instance.
    pub(super) fn region(&self, id: &str) -> Option<String> {
        let instances = self.instances.read();
        instances.by_id.get(id).map(|known| known.region.clone())
    }

    /// Looks at every instance, by id.
    pub(super) fn each<T>(&self, look: impl Fn(&str, &Instance) -> T) -> Vec<T> {
        let instances = self.instances.read();
        let mut all: Vec<_> = instances.by_id.iter().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter()
            .map(|(id, instance)| look(id, instance))
            .collect()
    }

    /// The instance that has a group; of several, the first by id.
    pub(super) fn instance_of_group(&self, group: &str) -> Option<String> {
        let instances = self.instances.read();
        let with_group = instances
            .by_id
            .iter()
            .filter(|(_, instance)| instance.groups.contains_key(group));
        with_group.map(|(id, _)| id.clone()).min()
    }

    /// What the use of an instance, and of a topic or group in it, brings into being, in words.
    pub(super) fn creates(
        &self,
        instance: &str,
        parent: Option<&str>,
        group: Option<&str>,
    ) -> Option<String> {
        let instances = self.instances.read();
        let known = instances.by_id.get(instance);
        let new = |what: &str, name: &str| {
            let new = format!("{what} {name:?} was created by this request");
            Some(format!("{new}: aliyun.auto_create is on"))
        };
        match (known, parent, group) {
            _ if !self.auto_create => None,
            (None, ..) => new("instance", instance),
            (Some(known), Some(parent), _) if !known.topics.contains(parent) => {
                new("parent topic", parent)
            }
            (Some(known), _, Some(group)) if !known.groups.contains_key(group) => {
                new("group", group)
            }
            _ => None,
        }
    }

    /// Whether an instance may be used; makes it where `auto_create` is on.
    pub(super) fn use_instance(&self, id: &str, now: Timestamp) -> Result<(), Unknown> {
        if self.instances.read().by_id.contains_key(id) {
            return Ok(());
        }
        if !self.auto_create {
            return Err(Unknown::Instance);
        }
        self.change(id, now, |_, _| ());
        Ok(())
    }

    /// Whether a parent topic may be used; makes it where `auto_create` is on.
    pub(super) fn use_topic(
        &self,
        instance: &str,
        parent: &str,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        let missing = match self.instances.read().by_id.get(instance) {
            None => Unknown::Instance,
            Some(known) if known.topics.contains(parent) => return Ok(()),
            Some(_) => Unknown::Topic,
        };
        if !self.auto_create {
            return Err(missing);
        }
        self.change(instance, now, |instance, full| {
            if !full {
                instance.topics.insert(parent.to_owned());
            }
        });
        Ok(())
    }

    /// Whether a client of this group may connect; makes the group where `auto_create` is on and
    /// it was not deleted.
    pub(super) fn use_group(
        &self,
        instance: &str,
        group: &str,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        let missing = match self.instances.read().by_id.get(instance) {
            None => Unknown::Instance,
            Some(known) if known.groups.contains_key(group) => return Ok(()),
            Some(known) if known.deleted_groups.contains(group) => {
                return Err(Unknown::DeletedGroup);
            }
            Some(_) => Unknown::Group,
        };
        if !self.auto_create {
            return Err(missing);
        }
        self.change(instance, now, |instance, full| {
            if !full {
                let made = Group {
                    created_ms: now.as_millisecond(),
                    tags: Vec::new(),
                };
                instance.groups.insert(group.to_owned(), made);
            }
        });
        Ok(())
    }

    /// Makes a group in an instance that is there.
    pub(super) fn create_group(
        &self,
        instance: &str,
        id: &str,
        group: Group,
    ) -> Result<(), GroupProblem> {
        let mut instances = self.instances.write();
        let full = instances.is_full();
        let made = instances.change(instance, |instance| {
            if instance.groups.contains_key(id) {
                return Err(GroupProblem::Exists);
            }
            // A deleted one that comes back takes the place it had.
            if full && !instance.deleted_groups.contains(id) {
                return Err(GroupProblem::TooMany);
            }
            instance.deleted_groups.remove(id);
            instance.groups.insert(id.to_owned(), group);
            Ok(())
        });
        made.unwrap_or(Err(GroupProblem::TooMany))
    }

    /// Deletes a group; false if there is none.
    pub(super) fn delete_group(&self, instance: &str, id: &str) -> bool {
        let mut instances = self.instances.write();
        let deleted = instances.change(instance, |instance| {
            let was_there = instance.groups.remove(id).is_some();
            if was_there {
                instance.deleted_groups.insert(id.to_owned());
            }
            was_there
        });
        deleted.unwrap_or(false)
    }

    /// Changes an instance, which is made if need be; `change` is told whether there is no room
    /// for another name.
    fn change(&self, id: &str, now: Timestamp, change: impl FnOnce(&mut Instance, bool)) {
        let mut instances = self.instances.write();
        let full = instances.is_full();
        if !instances.by_id.contains_key(id) {
            if instances.by_id.len() >= MAX_INSTANCES {
                return;
            }
            instances.by_id.insert(id.to_owned(), Instance::made(now));
        }
        instances.change(id, |instance| change(instance, full));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn store(auto_create: bool) -> Store {
        let mut settings = Settings {
            auto_create,
            ..Settings::default()
        };
        settings.instances[0].topics = vec!["TopicA".to_owned()];
        Store::new(&settings).unwrap()
    }

    #[test]
    fn without_auto_create_unknown_instances_and_topics_are_refused() {
        let store = store(false);
        assert_eq!(store.use_topic("post-cn-test0001", "TopicA", NOW), Ok(()));
        assert_eq!(
            store.use_topic("post-cn-test0001", "TopicB", NOW),
            Err(Unknown::Topic)
        );
        assert_eq!(
            store.use_topic("nosuch", "TopicA", NOW),
            Err(Unknown::Instance)
        );
    }

    #[test]
    fn with_auto_create_they_come_into_being_until_the_next_reset() {
        let store = store(true);
        assert_eq!(store.use_topic("new", "TopicA", NOW), Ok(()));
        assert!(store.instance("new").unwrap().topics.contains("TopicA"));
        store.reset();
        assert_eq!(store.instance("new"), None);
        assert!(store.instance("post-cn-test0001").is_some());
    }

    #[test]
    fn the_names_of_all_instances_together_are_bounded() {
        let store = store(true);
        for number in 0..MAX_NAMES {
            let instance = format!("i{}", number % 500);
            store
                .use_topic(&instance, &format!("t{number}"), NOW)
                .unwrap();
            store
                .use_group(&instance, &format!("g{number}"), NOW)
                .unwrap();
        }
        let names = |store: &Store| {
            let names = store.each(|_, instance| instance.names());
            names.into_iter().sum::<usize>()
        };
        assert_eq!(names(&store), MAX_NAMES);
        assert_eq!(store.use_topic("i0", "one more", NOW), Ok(()));
        let group = || Group::seeded();
        let more = store.create_group("i0", "GID_more", group());
        assert_eq!(more, Err(GroupProblem::TooMany));
        assert!(store.delete_group("i0", "g0"));
        assert_eq!(store.create_group("i0", "g0", group()), Ok(()));
        assert_eq!(names(&store), MAX_NAMES);
        store.reset();
        assert_eq!(names(&store), store.instances.read().names);
    }

    #[test]
    fn an_instance_may_not_be_configured_twice() {
        let mut settings = Settings::default();
        settings.instances.push(settings.instances[0].clone());
        assert_eq!(
            Store::new(&settings).unwrap_err().to_string(),
            "aliyun.instances[1].id: it is there twice"
        );
    }

    #[test]
    fn a_deleted_group_does_not_come_back_by_being_used() {
        let store = store(true);
        let use_group = |group| store.use_group("post-cn-test0001", group, NOW);
        assert_eq!(use_group("GID_new"), Ok(()));
        assert!(store.delete_group("post-cn-test0001", "GID_new"));
        assert_eq!(use_group("GID_new"), Err(Unknown::DeletedGroup));
        let group = Group::seeded();
        assert_eq!(
            store.create_group("post-cn-test0001", "GID_new", group),
            Ok(())
        );
        assert_eq!(use_group("GID_new"), Ok(()));
    }
}
