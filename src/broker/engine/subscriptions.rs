//! Who holds which subscription. The engine's own table knows a client's subscription by its
//! filter alone, so that a shared one takes the place of a plain one of the same filter, and it
//! loses one that is made just when the last other one of its filter goes. In this one both are
//! kept apart, inside the engine by the filter of a shared one ([`marked`]), and every change is
//! one step.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use parking_lot::RwLock;
use rmqtt::context::ServerContext;
use rmqtt::router::Router;
use rmqtt::topic::Topic;
use rmqtt::trie::TopicTree;
use rmqtt::types::{
    AllRelationsMap, ClientId, HashMap as EngineMap, Id, NodeId, Route, SharedGroup,
    SubRelationsMap, SubsSearchParams, SubsSearchResult, SubscriptionOptions, TopicFilter,
    TopicName,
};
use rmqtt::utils::Counter;

use super::Core;

/// Begins the filter of a shared subscription inside the engine. No client can send it.
const MARK: char = '\0';

/// A filter as the engine is to know it: a shared subscription's has its group in front.
pub(super) fn marked(group: Option<&SharedGroup>, filter: ByteString) -> ByteString {
    match group {
        Some(group) => format!("{MARK}{group}/{filter}").into(),
        None => filter,
    }
}

/// The group and the filter that [`marked`] put together.
pub(super) fn parts(marked: &str) -> (Option<&str>, &str) {
    marked
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('/'))
        .map_or((None, marked), |(group, filter)| (Some(group), filter))
}

/// One subscription of a filter.
#[derive(Clone)]
pub(super) struct Held {
    pub client_id: ClientId,
    pub id: Id,
    pub options: SubscriptionOptions,
}

/// Who holds a subscription of one filter: the group of a shared one, and the client.
type Holders = HashMap<(Option<String>, ClientId), Held>;

#[derive(Default)]
struct Table {
    /// Each filter stands at its own place, so that a topic name finds it.
    tree: TopicTree<TopicFilter>,
    holders: HashMap<TopicFilter, Holders>,
}

/// All subscriptions.
#[derive(Default)]
pub(super) struct Subscriptions(RwLock<Table>);

impl Subscriptions {
    fn add(&self, filter: &str, id: Id, options: SubscriptionOptions) -> rmqtt::Result<()> {
        let (group, filter) = parts(filter);
        let place = Topic::from_str(filter)?;
        let key = (group.map(ToOwned::to_owned), id.client_id.clone());
        let filter = TopicFilter::from(filter);
        let mut table = self.0.write();
        table.tree.insert(&place, filter.clone());
        let held = Held {
            client_id: id.client_id.clone(),
            id,
            options,
        };
        table.holders.entry(filter).or_default().insert(key, held);
        Ok(())
    }

    /// Removes a subscription, unless a newer session of the same client holds it.
    fn remove(&self, filter: &str, id: &Id) -> rmqtt::Result<bool> {
        let (group, filter) = parts(filter);
        let place = Topic::from_str(filter)?;
        let key = (group.map(ToOwned::to_owned), id.client_id.clone());
        let mut table = self.0.write();
        let Some(holders) = table.holders.get_mut(filter) else {
            return Ok(false);
        };
        if holders.get(&key).is_none_or(|held| held.id != *id) {
            return Ok(false);
        }
        holders.remove(&key);
        if holders.is_empty() {
            table.holders.remove(filter);
            table.tree.remove(&place, &TopicFilter::from(filter));
        }
        Ok(true)
    }

    /// Whose subscriptions a topic name matches, by filter.
    pub(super) fn of(&self, topic: &str) -> rmqtt::Result<Vec<(TopicFilter, Vec<Held>)>> {
        let topic = Topic::from_str(topic)?;
        let table = self.0.read();
        let mut found: Vec<_> = table
            .tree
            .matches(&topic)
            .iter()
            .flat_map(|(_, filters)| filters)
            .filter_map(|filter| {
                let holders = table.holders.get(filter)?;
                Some((filter.clone(), holders.values().cloned().collect()))
            })
            .collect();
        // The tree can lead to one place in two ways.
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        found.dedup_by(|(one, _), (other, _)| one == other);
        Ok(found)
    }
}

/// Our table in the place of the engine's.
struct EngineTable {
    core: Arc<Core>,
    context: ServerContext,
    /// What the engine would count and list; nothing here asks for it.
    counter: Counter,
    relations: AllRelationsMap,
}

#[async_trait]
impl Router for EngineTable {
    async fn add(
        &self,
        topic_filter: &str,
        id: Id,
        opts: SubscriptionOptions,
    ) -> rmqtt::Result<()> {
        self.core.subscriptions.add(topic_filter, id, opts)
    }

    async fn remove(&self, topic_filter: &str, id: Id) -> rmqtt::Result<bool> {
        self.core.subscriptions.remove(topic_filter, &id)
    }

    async fn is_online(&self, node_id: NodeId, client_id: &str) -> bool {
        let id = Id::from(node_id, ClientId::from(client_id));
        let shared = self.context.extends.shared().await;
        shared.entry(id).is_connected().await
    }

    async fn matches(&self, _id: Id, _topic: &TopicName) -> rmqtt::Result<SubRelationsMap> {
        Ok(SubRelationsMap::default())
    }

    async fn gets(&self, _limit: usize) -> Vec<Route> {
        Vec::new()
    }

    async fn get(&self, _topic: &str) -> rmqtt::Result<Vec<Route>> {
        Ok(Vec::new())
    }

    async fn query_subscriptions(&self, _query: &SubsSearchParams) -> Vec<SubsSearchResult> {
        Vec::new()
    }

    async fn topics_tree(&self) -> usize {
        0
    }

    fn topics(&self) -> Counter {
        self.counter.clone()
    }

    fn routes(&self) -> Counter {
        self.counter.clone()
    }

    fn merge_topics(&self, _topics: &EngineMap<NodeId, Counter>) -> Counter {
        self.counter.clone()
    }

    fn merge_routes(&self, _routes: &EngineMap<NodeId, Counter>) -> Counter {
        self.counter.clone()
    }

    async fn list_topics(&self, _top: usize) -> Vec<String> {
        Vec::new()
    }

    async fn list_relations(&self, _top: usize) -> Vec<serde_json::Value> {
        Vec::new()
    }

    fn relations(&self) -> &AllRelationsMap {
        &self.relations
    }
}

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.router_mut().await = Box::new(EngineTable {
        core: core.clone(),
        context: context.clone(),
        counter: Counter::new(),
        relations: AllRelationsMap::default(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmqtt::types::Subscribe;

    fn holders(all: &Subscriptions, topic: &str) -> Vec<(String, usize)> {
        let found = all.of(topic).unwrap().into_iter();
        found.map(|(f, held)| (f.to_string(), held.len())).collect()
    }

    #[test]
    fn a_plain_and_a_shared_subscription_of_one_filter_are_two() {
        let all = Subscriptions::default();
        let id = Id::from(1, ClientId::from_static("c"));
        for filter in ["t/+", "$share/g/t/+", "$share/h/t/+", "#"] {
            let asked =
                Subscribe::from_v3(&filter.into(), rmqtt::types::QoS::AtLeastOnce, true, false);
            let asked = asked.unwrap();
            let filter = marked(asked.opts.shared_group(), asked.topic_filter.clone());
            all.add(&filter, id.clone(), asked.opts).unwrap();
        }
        assert_eq!(holders(&all, "t/1"), [("#".into(), 1), ("t/+".into(), 3)]);
        assert!(all.remove("\0g/t/+", &id).unwrap());
        assert!(!all.remove("\0g/t/+", &id).unwrap());
        assert!(all.remove("t/+", &id).unwrap());
        assert_eq!(holders(&all, "t/1"), [("#".into(), 1), ("t/+".into(), 1)]);
        assert!(all.remove("\0h/t/+", &id).unwrap());
        assert!(all.remove("#", &id).unwrap());
        assert_eq!(holders(&all, "t/1"), []);
    }

    #[test]
    fn an_earlier_session_cannot_remove_what_a_newer_one_holds() {
        let all = Subscriptions::default();
        let client = ClientId::from_static("c");
        let old = Id::new(1, 1, None, None, client.clone(), None);
        let new = Id::new(1, 2, None, None, client, None);
        all.add("t", new, SubscriptionOptions::default()).unwrap();
        assert!(!all.remove("t", &old).unwrap());
        assert_eq!(holders(&all, "t"), [("t".into(), 1)]);
    }
}
