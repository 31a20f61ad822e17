//! Retained messages, with the lifetimes they still have on the emulator's clock. The engine
//! asks this store when a client subscribes; messages enter it from `routing.rs`, where they
//! already have their journal row.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use rmqtt::context::ServerContext;
use rmqtt::retain::RetainStorage;
use rmqtt::types::{From as Sender, Publish, Retain, TopicFilter, TopicName};

use super::super::message::{Message, Retained, TopicFilter as Filter};
use super::super::outbox::Tag;
use super::tenant::Scope;
use super::{Core, system};
use crate::clock::Clock;

struct Kept {
    tag: Tag,
    message: Arc<Message>,
    sender: Sender,
    publish: Publish,
}

pub(super) struct RetainedStore {
    clock: Clock,
    kept: RwLock<BTreeMap<String, Kept>>,
}

/// How long a retained message still lives.
enum Life {
    Forever,
    Seconds(NonZeroU32),
    Over,
}

impl RetainedStore {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            kept: RwLock::default(),
        }
    }

    /// Keeps a message whose retain flag is set; an empty payload removes what is kept.
    pub(super) fn set(&self, tag: Tag, message: &Arc<Message>, sender: &Sender, publish: &Publish) {
        // As the engine knows it: each tenant has its own.
        let topic = publish.topic.to_string();
        if message.payload.is_empty() {
            self.kept.write().remove(&topic);
            return;
        }
        let kept = Kept {
            tag,
            message: message.clone(),
            sender: sender.clone(),
            publish: publish.clone(),
        };
        self.kept.write().insert(topic, kept);
    }

    fn life(&self, message: &Message) -> Life {
        let Some(expiry) = message
            .properties
            .message_expiry_interval
            .filter(|&s| s > 0)
        else {
            return Life::Forever;
        };
        let age = self.clock.now().duration_since(message.time).as_secs();
        let left = i64::from(expiry) - age.max(0);
        u32::try_from(left)
            .ok()
            .and_then(NonZeroU32::new)
            .map_or(Life::Over, Life::Seconds)
    }

    pub(super) fn all(&self) -> Vec<Retained> {
        self.below(None)
    }

    /// Those of one tenant, or all.
    pub(super) fn below(&self, scope: Option<&Scope>) -> Vec<Retained> {
        let kept = self.kept.read();
        let kept = kept
            .iter()
            .filter(|(topic, _)| scope.is_none_or(|scope| scope.holds(topic)));
        let live = kept.filter_map(|(_, kept)| {
            let expires_in = match self.life(&kept.message) {
                Life::Forever => None,
                Life::Seconds(left) => Some(left.get()),
                Life::Over => return None,
            };
            Some(Retained {
                message: kept.message.clone(),
                expires_in,
            })
        });
        live.collect()
    }

    /// Whether a message on this topic would be one more than so many of a part of the tree.
    pub(super) fn is_full(&self, topic: &str, scope: Option<&Scope>, most: usize) -> bool {
        let kept = self.kept.read();
        if kept.len() < most || kept.contains_key(topic) {
            return false;
        }
        let own = kept.iter();
        let own = own.filter(|(topic, _)| scope.is_none_or(|scope| scope.holds(topic)));
        own.filter(|(_, kept)| !matches!(self.life(&kept.message), Life::Over))
            .count()
            >= most
    }

    /// How many are kept, those that have expired unseen included.
    pub(super) fn count(&self) -> usize {
        self.kept.read().len()
    }

    pub(super) fn clear(&self) {
        self.kept.write().clear();
    }

    /// The message that a tag names, if it is kept here.
    pub(super) fn by_tag(&self, tag: Tag, topic: &str) -> Option<Arc<Message>> {
        let kept = self.kept.read();
        let found = kept.get(topic).filter(|kept| kept.tag == tag)?;
        Some(found.message.clone())
    }

    /// What a new subscription to `filter` receives.
    fn matching(&self, filter: &str) -> Vec<(TopicName, Retain)> {
        let Ok(filter) = Filter::parse(filter) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut over = Vec::new();
        for (topic, kept) in self.kept.read().iter() {
            if !filter.matches(topic) {
                continue;
            }
            let left = match self.life(&kept.message) {
                Life::Forever => None,
                Life::Seconds(left) => Some(left),
                Life::Over => {
                    over.push(topic.clone());
                    continue;
                }
            };
            let mut publish = kept.publish.clone();
            publish.delay_interval = Some(kept.tag);
            if let Some(properties) = &mut publish.properties {
                properties.message_expiry_interval = left;
            }
            let retain = Retain {
                msg_id: None,
                from: kept.sender.clone(),
                publish,
            };
            found.push((TopicName::from(topic.as_str()), retain));
        }
        if !over.is_empty() {
            let mut kept = self.kept.write();
            for topic in over {
                kept.remove(&topic);
            }
        }
        found
    }
}

struct Storage {
    core: Arc<Core>,
    context: ServerContext,
}

#[async_trait]
impl RetainStorage for Storage {
    fn enable(&self) -> bool {
        true
    }

    async fn set(
        &self,
        _topic: &TopicName,
        _retain: Retain,
        _expiry: Option<Duration>,
    ) -> rmqtt::Result<()> {
        // `routing.rs` has kept it, together with its journal row.
        Ok(())
    }

    async fn get(&self, filter: &TopicFilter) -> rmqtt::Result<Vec<(TopicName, Retain)>> {
        let mut found = self.core.retained.matching(filter);
        found.extend(system::retained(&self.core, &self.context, filter));
        Ok(found)
    }

    async fn count(&self) -> isize {
        isize::try_from(self.core.retained.count()).unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        -1
    }
}

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.retain_mut().await = Box::new(Storage {
        core: core.clone(),
        context: context.clone(),
    });
}
