//! The engine's registry of sessions with our routing in it: what clients and wills publish goes
//! through `routing.rs`; everything else is the engine's own. Also the choice within a shared
//! subscription's group.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rmqtt::context::ServerContext;
use rmqtt::session::Session;
use rmqtt::shared::{DefaultShared, Entry, MessageLoadCallback, RetainLoadCallback, Shared};
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    ForwardedCount, ForwardedRecipients, From as Sender, Id, IsOnline, MsgID, NodeId, Publish,
    Reason, Retain, SessionStatus, SharedGroup, SubRelations, SubRelationsMap, SubsSearchParams,
    SubsSearchResult, To, TopicFilter, TopicName,
};

use super::crossing::Crossing;
use super::matching::Member;
use super::takeover::Takeover;
use super::{Core, convert, routing, subscriptions, verdicts};

/// Puts our routing in the place of the engine's.
pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    let engine = DefaultShared::new(Some(context.clone()));
    core.crossing.get_or_init(|| Crossing::new(engine.clone()));
    *context.extends.shared_mut().await = Box::new(Registry {
        core: core.clone(),
        context: context.clone(),
        engine,
    });
    *context.extends.shared_subscription_mut().await = Box::new(RoundRobin::default());
}

/// The engine's registry of sessions with our routing in it.
struct Registry {
    core: Arc<Core>,
    context: ServerContext,
    engine: DefaultShared,
}

type Failed = Vec<(To, Sender, Publish, Reason)>;

#[async_trait]
impl Shared for Registry {
    /// Routes what clients and wills publish. Room was waited for in the publish hook.
    async fn forwards(
        &self,
        _id: Option<MsgID>,
        sender: Sender,
        packet: Publish,
    ) -> Result<ForwardedCount, (ForwardedCount, Failed)> {
        if &*packet.topic == verdicts::TO_NOBODY {
            return Ok(0);
        }
        let relations = routing::meant_for(&self.core, &self.context, &sender, &packet).await;
        let origin = convert::origin(&self.core, &sender);
        let (_, matched) = routing::route(&self.core, &sender, packet, origin, relations);
        Ok(matched)
    }

    fn entry(&self, id: Id) -> Box<dyn Entry> {
        Box::new(Takeover::new(self.core.clone(), self.engine.entry(id)))
    }

    fn exist(&self, client_id: &str) -> bool {
        self.engine.exist(client_id)
    }

    async fn forwards_and_get_shareds(
        &self,
        sender: Sender,
        packet: Publish,
    ) -> Result<(SubRelationsMap, ForwardedRecipients), (ForwardedRecipients, Failed)> {
        self.engine.forwards_and_get_shareds(sender, packet).await
    }

    async fn forwards_to(
        &self,
        sender: Sender,
        packet: &Publish,
        relations: SubRelations,
        id: Option<MsgID>,
    ) -> Result<ForwardedRecipients, (ForwardedRecipients, Failed)> {
        self.engine.forwards_to(sender, packet, relations, id).await
    }

    fn iter(&self) -> Box<dyn Iterator<Item = Box<dyn Entry>> + Sync + Send + '_> {
        self.engine.iter()
    }

    fn random_session(&self) -> Option<Session> {
        self.engine.random_session()
    }

    async fn session_status(&self, client_id: &str) -> Option<SessionStatus> {
        self.engine.session_status(client_id).await
    }

    async fn client_states_count(&self) -> usize {
        self.engine.client_states_count().await
    }

    fn sessions_count(&self) -> usize {
        self.engine.sessions_count()
    }

    async fn query_subscriptions(&self, query: &SubsSearchParams) -> Vec<SubsSearchResult> {
        self.engine.query_subscriptions(query).await
    }

    async fn subscriptions_count(&self) -> usize {
        self.engine.subscriptions_count().await
    }

    async fn message_load(
        &self,
        client_id: &str,
        filter: &str,
        group: Option<&SharedGroup>,
    ) -> rmqtt::Result<Vec<(MsgID, Sender, Publish)>> {
        self.engine.message_load(client_id, filter, group).await
    }

    async fn message_load_with(
        &self,
        client_id: &str,
        filter: &str,
        group: Option<&SharedGroup>,
        callback: Arc<dyn MessageLoadCallback>,
    ) -> rmqtt::Result<()> {
        self.engine
            .message_load_with(client_id, filter, group, callback)
            .await
    }

    async fn retain_load_with(
        &self,
        filter: &TopicFilter,
        callback: Arc<dyn RetainLoadCallback>,
    ) -> rmqtt::Result<Vec<(NodeId, MsgID)>> {
        // MQTT 5.0 section 4.8.2: a shared subscription gets no retained messages.
        if subscriptions::parts(filter).0.is_some() {
            return Ok(Vec::new());
        }
        self.engine.retain_load_with(filter, callback).await
    }

    async fn retain_set_broadcast(
        &self,
        _topic: &TopicName,
        _retain: &Retain,
        _expiry: Option<Duration>,
    ) -> rmqtt::Result<()> {
        Ok(())
    }

    async fn message_mark_forwarded(
        &self,
        node: NodeId,
        id: MsgID,
        recipients: ForwardedRecipients,
    ) -> rmqtt::Result<()> {
        self.engine
            .message_mark_forwarded(node, id, recipients)
            .await
    }
}

/// Round robin over the online members of a shared group, over all members if none is online.
#[derive(Default)]
struct RoundRobin {
    turns: Mutex<HashMap<(SharedGroup, TopicName), usize>>,
}

#[async_trait]
impl SharedSubscription for RoundRobin {
    fn is_supported(&self) -> bool {
        true
    }

    async fn choice(
        &self,
        _context: &ServerContext,
        group: &SharedGroup,
        _publisher: &Id,
        topic: &TopicName,
        members: &[Member],
    ) -> Option<(usize, IsOnline)> {
        let online = |member: &Member| member.4.unwrap_or(false);
        let mut candidates: Vec<usize> = (0..members.len())
            .filter(|&i| online(&members[i]))
            .collect();
        let anyone_online = !candidates.is_empty();
        if !anyone_online {
            candidates = (0..members.len()).collect();
        }
        // The engine's order of members changes from call to call; turns need a fixed one.
        candidates.sort_by(|&a, &b| members[a].1.cmp(&members[b].1));
        let mut turns = self.turns.lock();
        if turns.len() > 10_000 {
            turns.clear();
        }
        let turn = turns.entry((group.clone(), topic.clone())).or_default();
        let chosen = *candidates.get(*turn % candidates.len().max(1))?;
        if !routing::only_looking() {
            *turn = turn.wrapping_add(1);
        }
        Some((chosen, anyone_online))
    }
}
