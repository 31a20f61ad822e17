//! Retained messages (MQTT 5.0 section 3.3.1.3), with the lives they still have on the emulator's
//! clock. Messages enter it where they are routed, and have their row in the journal by then.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::message::{Message, Retained};
use parking_lot::RwLock;

use super::encode::Envelope;
use super::session::expiry;
use super::tenant::Tenant;
use super::timers::Due;
use super::tree::{Load, Tree};

/// The message at one topic name.
#[derive(Default)]
struct Kept(Option<(Arc<Envelope>, Option<Due>)>);

impl Load for Kept {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Every retained message.
#[derive(Default)]
pub(crate) struct RetainedStore {
    trees: RwLock<HashMap<Tenant, Tree<Kept>>>,
}

/// How many seconds a message still has at `now`; an error if its life is over.
fn left(message: &Message, now: Timestamp) -> Result<Option<u32>, ()> {
    let Some(at) = expiry(message) else {
        return Ok(None);
    };
    if at <= now {
        return Err(());
    }
    // Only whole seconds of waiting are taken off (MQTT 5.0 section 3.3.2.3.3).
    let waited = now.duration_since(message.time).as_secs().max(0);
    let all = message
        .properties
        .message_expiry_interval
        .unwrap_or_default();
    Ok(Some(
        all.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX)),
    ))
}

impl RetainedStore {
    /// Keeps a message in the place of an earlier one; an empty payload only removes that.
    /// `due` makes the timer of its end. Returns the timer of the earlier one.
    pub(crate) fn set(
        &self,
        tenant: &Tenant,
        envelope: &Arc<Envelope>,
        due: impl FnOnce() -> Option<Due>,
    ) -> Option<Due> {
        let topic = &*envelope.message.topic;
        let mut trees = self.trees.write();
        if envelope.message.payload.is_empty() {
            let gone = trees
                .get_mut(tenant)
                .and_then(|tree| tree.change(topic, |kept| kept.0.take()));
            return gone.flatten().and_then(|(_, due)| due);
        }
        let kept = trees.entry(tenant.clone()).or_default().entry(topic);
        let earlier = kept.0.replace((envelope.clone(), due()));
        earlier.and_then(|(_, due)| due)
    }

    /// The message at a topic is over; whether it was there and had expired.
    pub(crate) fn expire(&self, tenant: &Tenant, topic: &str, now: Timestamp) -> bool {
        let mut trees = self.trees.write();
        let expired = trees.get_mut(tenant).and_then(|tree| {
            tree.change(topic, |kept| {
                let over = kept
                    .0
                    .as_ref()
                    .is_some_and(|(envelope, _)| left(&envelope.message, now).is_err());
                if over {
                    kept.0 = None;
                }
                over
            })
        });
        expired.unwrap_or(false)
    }

    /// What a new subscription to `filter` receives.
    pub(crate) fn matching(
        &self,
        tenant: &Tenant,
        filter: &str,
        now: Timestamp,
    ) -> Vec<Arc<Envelope>> {
        let trees = self.trees.read();
        let mut found = Vec::new();
        if let Some(tree) = trees.get(tenant) {
            tree.names_matching(filter, |kept: &Kept| {
                let live = kept
                    .0
                    .as_ref()
                    .filter(|(envelope, _)| left(&envelope.message, now).is_ok());
                found.extend(live.map(|(envelope, _)| envelope.clone()));
            });
        }
        found.sort_by(|a, b| a.message.topic.cmp(&b.message.topic));
        found
    }

    /// Every one that has not expired, of one tenant or of all, by topic.
    pub(crate) fn all(&self, tenant: Option<&Tenant>, now: Timestamp) -> Vec<Retained> {
        let trees = self.trees.read();
        let own = trees
            .iter()
            .filter(|(own, _)| tenant.is_none_or(|tenant| tenant == *own));
        let mut all: Vec<_> = own
            .flat_map(|(_, tree)| tree.loads())
            .filter_map(|kept| {
                let message = kept.0.as_ref().map(|(envelope, _)| &envelope.message)?;
                let expires_in = left(message, now).ok()?;
                Some(Retained {
                    message: message.clone(),
                    expires_in,
                })
            })
            .collect();
        all.sort_by(|a, b| a.message.topic.cmp(&b.message.topic));
        all
    }

    /// Whether a message on this topic would be one more than so many of a tenant.
    pub(crate) fn is_full(
        &self,
        tenant: &Tenant,
        topic: &str,
        most: usize,
        now: Timestamp,
    ) -> bool {
        let trees = self.trees.read();
        let Some(tree) = trees.get(tenant) else {
            return most == 0;
        };
        if tree.get(topic).is_some_and(|kept| !kept.is_empty()) {
            return false;
        }
        let live = tree.loads().filter(|kept| {
            kept.0
                .as_ref()
                .is_some_and(|(envelope, _)| left(&envelope.message, now).is_ok())
        });
        live.count() >= most
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        let trees = self.trees.read();
        trees.values().flat_map(Tree::loads).count()
    }

    pub(crate) fn clear(&self) {
        self.trees.write().clear();
    }
}
