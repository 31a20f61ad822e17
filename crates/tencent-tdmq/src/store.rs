//! The resources of TDMQ for MQTT: instances, each with its users, its token authenticators, its
//! authorization policies and its first-level topics. Data plane, cloud API and MQTT share them. Everything is kept in
//! memory and goes back to the configuration on reset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Client, Message};
use mqttstack_base::secret::Secret;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::jwt::Authenticator;
use super::messages::{MOST_BYTES_TOGETHER, Messages};
use super::policy::Policy;

/// A user of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Up to 32 characters of `[0-9A-Za-z_-]`.
    pub name: String,
    /// Up to 64 characters.
    pub password: Secret,
    /// Up to 128 characters.
    #[serde(default)]
    pub remark: String,
    /// Unix milliseconds of its making.
    #[serde(skip)]
    pub created_ms: i64,
    /// Unix milliseconds of its last change.
    #[serde(skip)]
    pub modified_ms: i64,
}

/// A first-level topic that was made through the cloud API or the configuration. Publishing
/// needs none: topics come into being on first use, as in the cloud.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Up to 128 characters.
    pub remark: String,
    /// Unix seconds of its making.
    pub created_s: i64,
}

/// What one instance has.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Users in the order in which they were made.
    pub users: Vec<User>,
    /// Policies in the order in which they were made.
    pub policies: Vec<Policy>,
    /// Topics in the order in which they were made.
    pub topics: Vec<Topic>,
    /// Token authenticators in the order in which they are asked.
    pub authenticators: Vec<Authenticator>,
    last_policy: i64,
}

impl Resources {
    /// Adds a policy under a new id, which it returns.
    pub(crate) fn add_policy(&mut self, mut policy: Policy) -> i64 {
        self.last_policy += 1;
        policy.id = self.last_policy;
        self.policies.push(policy);
        self.last_policy
    }

    /// Whether the first level of a topic name is there; the service's own counts as there.
    fn has_topic(&self, topic: &str) -> bool {
        let name = first_level(topic);
        name.is_empty()
            || name.starts_with('$')
            || self.topics.iter().any(|topic| topic.name == name)
    }

    /// Adds the first level of a topic name, unless it is there or the limit is reached.
    fn add_topic(&mut self, topic: &str, created_s: i64, limit: usize) {
        if self.topics.len() >= limit || self.has_topic(topic) {
            return;
        }
        let name = first_level(topic);
        self.topics.push(Topic {
            name: name.to_owned(),
            remark: String::new(),
            created_s,
        });
    }
}

fn first_level(topic: &str) -> &str {
    topic.split('/').next().unwrap_or_default()
}

/// One instance. Its lock is never held over an await.
#[derive(Debug)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// What it has.
    pub resources: RwLock<Resources>,
    /// What was published in it.
    pub(super) messages: Messages,
}

impl Instance {
    /// Whether an MQTT client is one of this instance's. Open clients are everybody's, those of
    /// another vendor or instance are not.
    pub(crate) fn has_client(&self, client: &Client) -> bool {
        match client.dialect {
            None => true,
            Some(surface) => {
                surface == Surface::TencentTdmq && client.tenant.as_deref() == Some(&*self.id)
            }
        }
    }

    /// A topic name was published to: its first level comes into being with it.
    pub(crate) fn note_topic(&self, topic: &str, created_s: i64, limit: usize) {
        if !self.resources.read().has_topic(topic) {
            self.resources.write().add_topic(topic, created_s, limit);
        }
    }
}

/// What every instance starts with.
#[derive(Debug, Clone, Default)]
pub(super) struct Seed {
    /// Its users.
    pub users: Vec<User>,
    /// Its policies.
    pub policies: Vec<Policy>,
    /// Its topics.
    pub topics: Vec<String>,
    /// Its token authenticators.
    pub authenticators: Vec<Authenticator>,
}

impl Seed {
    fn instance(&self, id: &str, messages: Messages) -> Arc<Instance> {
        let mut resources = Resources {
            users: self.users.clone(),
            authenticators: self.authenticators.clone(),
            ..Resources::default()
        };
        for policy in &self.policies {
            resources.add_policy(policy.clone());
        }
        for topic in &self.topics {
            resources.add_topic(topic, 0, usize::MAX);
        }
        Arc::new(Instance {
            id: id.to_owned(),
            resources: RwLock::new(resources),
            messages,
        })
    }
}

/// All instances.
#[derive(Debug)]
pub(super) struct Store {
    main: String,
    seed: Seed,
    auto_create: bool,
    instances: RwLock<BTreeMap<String, Arc<Instance>>>,
    /// What open clients published: every instance has it.
    everybodys: Messages,
    /// The bytes of all messages.
    bytes: Arc<AtomicUsize>,
    /// How many messages there ever were.
    places: AtomicU64,
}

impl Store {
    /// One instance `main`; with `auto_create` any other one comes into being when it is named.
    pub(super) fn new(main: &str, seed: Seed, auto_create: bool) -> Self {
        let bytes = Arc::<AtomicUsize>::default();
        let store = Self {
            main: main.to_owned(),
            seed,
            auto_create,
            instances: RwLock::default(),
            everybodys: Messages::new(bytes.clone()),
            bytes,
            places: AtomicU64::default(),
        };
        store.reset();
        store
    }

    /// Back to the seed.
    pub(super) fn reset(&self) {
        let first = self.seed(&self.main);
        *self.instances.write() = BTreeMap::from([(self.main.clone(), first)]);
        self.everybodys.clear();
    }

    fn seed(&self, id: &str) -> Arc<Instance> {
        self.seed.instance(id, Messages::new(self.bytes.clone()))
    }

    /// Keeps a message of an instance, or of an open client.
    pub(super) fn keep(&self, instance: Option<&str>, message: &Arc<Message>) {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        match instance {
            None => self.everybodys.keep(place, message.clone()),
            Some(id) => {
                if let Some(instance) = self.find(id) {
                    instance.messages.keep(place, message.clone());
                }
            }
        }
        if self.bytes.load(Ordering::Relaxed) > MOST_BYTES_TOGETHER {
            self.make_room();
        }
    }

    /// Takes from whoever has the most messages.
    fn make_room(&self) {
        let instances = self.instances.read();
        let all = instances.values().map(|instance| &instance.messages);
        let most = all.chain([&self.everybodys]).max_by_key(|it| it.bytes());
        if let Some(most) = most {
            most.halve();
        }
    }

    /// The messages of an instance and of open clients, the newest first.
    pub(super) fn newest_first(&self, instance: &Instance) -> Vec<Arc<Message>> {
        instance.messages.newest_first(&self.everybodys)
    }

    /// The instance that serves whoever names none.
    pub(super) fn main(&self) -> Arc<Instance> {
        self.ensure(&self.main)
    }

    /// What naming an instance brings into being, in words.
    pub(super) fn creates(&self, id: &str) -> Option<String> {
        let new = self.auto_create && is_instance_id(id) && !self.instances.read().contains_key(id);
        new.then(|| {
            format!("instance {id:?} was created by this request: tencent_tdmq.auto_create is on")
        })
    }

    /// What naming an instance by its access point brings into being, in words.
    pub(super) fn creates_by_host(&self, host: Option<&str>) -> Option<String> {
        self.creates(&access_point_instance(host?)?)
    }

    /// The named instance.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Instance>> {
        if let Some(instance) = self.instances.read().get(id) {
            return Some(instance.clone());
        }
        (self.auto_create && is_instance_id(id)).then(|| self.ensure(id))
    }

    /// The instance whose access point this host is (`mqtt-xxx-{region}-public.mqtt.tencenttdmq.com`),
    /// else the main one.
    pub(super) fn by_host(&self, host: Option<&str>) -> Arc<Instance> {
        host.and_then(access_point_instance)
            .and_then(|id| self.find(&id))
            .unwrap_or_else(|| self.main())
    }

    /// All of them, by id.
    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.instances.read().values().cloned().collect()
    }

    fn ensure(&self, id: &str) -> Arc<Instance> {
        self.instances
            .write()
            .entry(id.to_owned())
            .or_insert_with(|| self.seed(id))
            .clone()
    }
}

/// Instance ids are `mqtt-` and some letters and digits in every example.
fn is_instance_id(id: &str) -> bool {
    id.strip_prefix("mqtt-").is_some_and(|rest| {
        (1..=59).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

fn access_point_instance(host: &str) -> Option<String> {
    let name = host.split(':').next()?.strip_suffix(".tencenttdmq.com")?;
    let mut parts = name.split('.').next()?.split('-');
    let id = format!("{}-{}", parts.next()?, parts.next()?);
    is_instance_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_point_names_its_instance() {
        let store = Store::new("mqtt-test0001", Seed::default(), true);
        let host = "mqtt-example-sh-public.mqtt.tencenttdmq.com:443";
        assert_eq!(store.by_host(Some(host)).id, "mqtt-example");
        assert_eq!(store.by_host(Some("127.0.0.1:4580")).id, "mqtt-test0001");
        assert_eq!(store.by_host(None).id, "mqtt-test0001");
        store.reset();
        assert_eq!(store.all().len(), 1);
    }

    #[test]
    fn without_auto_create_an_unknown_instance_is_unknown() {
        let store = Store::new("mqtt-test0001", Seed::default(), false);
        assert!(store.find("mqtt-x1").is_none());
        assert!(store.find("mqtt-test0001").is_some());
    }
}
