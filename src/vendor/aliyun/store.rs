//! The resources of the product: instances with their groups and parent topics. Seeded from the
//! settings; with `auto_create` what is missing comes into being on first use.

use std::collections::{BTreeSet, HashMap};

use parking_lot::RwLock;

use super::settings::{Instance as InstanceSettings, Settings, SettingsError, default_region};

/// How many instances, and parent topics of an instance, are remembered. Beyond it `auto_create`
/// still lets calls through and remembers nothing, so that memory stays bounded.
const MAX_REMEMBERED: usize = 10_000;

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its region.
    pub region: String,
    /// Its group ids.
    pub groups: BTreeSet<String>,
    /// Its parent topics.
    pub topics: BTreeSet<String>,
}

impl Instance {
    fn seeded(settings: &InstanceSettings) -> Self {
        Self {
            region: settings.region.clone(),
            groups: settings.groups.iter().cloned().collect(),
            topics: settings.topics.iter().cloned().collect(),
        }
    }
}

/// Why a topic may not be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Instance,
    Topic,
}

/// All instances by id.
#[derive(Debug)]
pub struct Store {
    auto_create: bool,
    seeds: HashMap<String, Instance>,
    instances: RwLock<HashMap<String, Instance>>,
}

impl Store {
    /// The seeded state.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut seeds = HashMap::new();
        for (index, instance) in settings.instances.iter().enumerate() {
            let problem = if instance.id.is_empty() {
                "it is empty"
            } else if seeds
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
        Ok(Self {
            auto_create: settings.auto_create,
            instances: RwLock::new(seeds.clone()),
            seeds,
        })
    }

    /// Back to the seeded state.
    pub fn reset(&self) {
        self.instances.write().clone_from(&self.seeds);
    }

    /// The instance of this id as it is now.
    pub fn instance(&self, id: &str) -> Option<Instance> {
        self.instances.read().get(id).cloned()
    }

    /// Whether a parent topic may be published to; makes it where `auto_create` is on.
    pub(super) fn use_topic(&self, instance: &str, parent: &str) -> Result<(), Unknown> {
        let missing = match self.instances.read().get(instance) {
            None => Unknown::Instance,
            Some(known) if known.topics.contains(parent) => return Ok(()),
            Some(_) => Unknown::Topic,
        };
        if !self.auto_create {
            return Err(missing);
        }
        self.create_topic(instance, parent);
        Ok(())
    }

    fn create_topic(&self, instance: &str, parent: &str) {
        let mut instances = self.instances.write();
        if instances.len() >= MAX_REMEMBERED && !instances.contains_key(instance) {
            return;
        }
        let instance = instances
            .entry(instance.to_owned())
            .or_insert_with(|| Instance {
                region: default_region(),
                groups: BTreeSet::new(),
                topics: BTreeSet::new(),
            });
        if instance.topics.len() < MAX_REMEMBERED {
            instance.topics.insert(parent.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(store.use_topic("post-cn-test0001", "TopicA"), Ok(()));
        assert_eq!(
            store.use_topic("post-cn-test0001", "TopicB"),
            Err(Unknown::Topic)
        );
        assert_eq!(store.use_topic("nosuch", "TopicA"), Err(Unknown::Instance));
    }

    #[test]
    fn with_auto_create_they_come_into_being_until_the_next_reset() {
        let store = store(true);
        assert_eq!(store.use_topic("new", "TopicA"), Ok(()));
        assert!(store.instance("new").unwrap().topics.contains("TopicA"));
        store.reset();
        assert_eq!(store.instance("new"), None);
        assert!(store.instance("post-cn-test0001").is_some());
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
}
