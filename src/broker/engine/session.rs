//! One session of the engine, with two repairs. It ends a connection when its client sends
//! DISCONNECT: the engine itself waits for the client to close (MQTT 5.0 section 3.14.4: the
//! server should close it), so a client that does not would stay connected. And it keeps a
//! delivery whose write failed. It also tells the gate why a connection ends (`ending.rs`).
//! Everything else is the engine's own session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytestring::ByteString;
use parking_lot::Mutex;
use rmqtt::context::ServerContext;
use rmqtt::inflight::OutInflightMessage;
use rmqtt::session::{DefaultSessionManager, SessionLike, SessionManager};
use rmqtt::types::{
    ConnectInfo, ConnectInfoType, Disconnect, DisconnectInfo, FitterType, From as Sender, Id,
    ListenerConfig, MessageQueueType, OutInflightType, Password, Publish, Reason, SessionSubs,
    SubscriptionOptions, Subscriptions, TimestampMillis, TopicFilter, UserName,
};

use super::super::outbox::ConnectionKey;
use super::{Core, admission, ending, verdicts};

type Result<T> = rmqtt::Result<T>;

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.session_mgr_mut().await = Box::new(Sessions(core.clone()));
}

struct Sessions(Arc<Core>);

/// The delivery that is being written to each client. The engine takes it out of the queue
/// before it writes and knows it as unacknowledged only afterwards, so that a write that fails
/// would lose it.
#[derive(Default)]
pub(super) struct Writing(Mutex<HashMap<ByteString, (ConnectionKey, Sender, Publish)>>);

impl Writing {
    /// A delivery is about to be written.
    pub(super) fn begin(&self, id: &Id, sender: &Sender, packet: &Publish) {
        let entry = (verdicts::connection_key(id), sender.clone(), packet.clone());
        self.0.lock().insert(id.client_id.clone(), entry);
    }

    /// Forgets a client whose session is over.
    pub(super) fn forget(&self, id: &Id) {
        self.take(id);
    }

    /// Takes what this connection has written last; another one's stays.
    fn take(&self, id: &Id) -> Option<(Sender, Publish)> {
        let mut writing = self.0.lock();
        let (key, ..) = writing.get(&id.client_id)?;
        if *key != verdicts::connection_key(id) {
            return None;
        }
        let (_, sender, packet) = writing.remove(&id.client_id)?;
        Some((sender, packet))
    }
}

#[async_trait]
impl SessionManager for Sessions {
    async fn create(
        &self,
        id: Id,
        context: ServerContext,
        listener: ListenerConfig,
        fitter: FitterType,
        subscriptions: SessionSubs,
        queue: MessageQueueType,
        inflight: OutInflightType,
        connect: ConnectInfoType,
        created_at: TimestampMillis,
        connected_at: TimestampMillis,
        session_present: bool,
        superuser: bool,
        connected: bool,
        disconnect: Option<DisconnectInfo>,
        last_id: Option<Id>,
    ) -> Result<Arc<dyn SessionLike>> {
        let connect = without_will_delay(&self.0, connect);
        let session = DefaultSessionManager
            .create(
                id,
                context,
                listener,
                fitter,
                subscriptions,
                queue,
                inflight,
                connect,
                created_at,
                connected_at,
                session_present,
                superuser,
                connected,
                disconnect,
                last_id,
            )
            .await?;
        Ok(Arc::new(ClosingSession {
            session,
            core: self.0.clone(),
            kicked: AtomicBool::new(false),
        }))
    }
}

/// A CONNECT whose will waits for nothing, where the client's grant says so.
fn without_will_delay(core: &Core, connect: ConnectInfoType) -> ConnectInfoType {
    let ignored = core
        .doors
        .peer(&connect.id().client_id)
        .is_some_and(|peer| peer.grant.limits.will_delay_ignored);
    match &*connect {
        ConnectInfo::V5(id, packet) if ignored => {
            let mut packet = packet.clone();
            if let Some(will) = &mut packet.last_will {
                will.will_delay_interval_sec = None;
            }
            Arc::new(ConnectInfo::V5(id.clone(), packet))
        }
        _ => connect,
    }
}

struct ClosingSession {
    session: Arc<dyn SessionLike>,
    core: Arc<Core>,
    /// Whether the session goes to a newer connection, which takes everything over at once.
    kicked: AtomicBool,
}

impl ClosingSession {
    /// A connection that the gate has ended looks to the engine as if its client had.
    fn ended_outside(&self, reason: Reason) -> Reason {
        if !matches!(reason, Reason::ConnectRemoteClose) {
            return reason;
        }
        let visit = admission::visit(&self.core, self.session.id());
        let ending = visit.and_then(|visit| visit.ending());
        ending.map_or(reason, |ending| Reason::Error(ending.reason.into()))
    }

    /// Tells the gate why the connection ends. The engine closes it right after this; what it
    /// writes behind that never arrives.
    async fn tell(&self, reason: &Reason) {
        let id = self.session.id();
        let left = matches!(self.session.disconnect().await, Ok(Some(_)));
        let Some(peer) = id.remote_addr.filter(|_| !left) else {
            return;
        };
        if let Some(ending) = ending::of(reason) {
            self.core.visitors.end((id.lid(), peer), ending);
        }
    }

    /// Puts the delivery whose write failed back to the head of the queue.
    async fn keep_unwritten(&self) {
        // A session is kicked between two writes, never in one.
        let id = self.session.id();
        let unwritten = self.core.writing.take(id);
        let Some((sender, mut packet)) = unwritten.filter(|_| !self.kicked.load(Ordering::Acquire))
        else {
            return;
        };
        let client_id = &id.client_id;
        let Some((tag, outbox)) = packet
            .delay_interval
            .zip(self.core.outboxes.find(client_id))
        else {
            return;
        };
        let inflight = self
            .session
            .out_inflight()
            .write()
            .await
            .clone_inflight_messages();
        let written = |message: &OutInflightMessage| message.publish.delay_interval == Some(tag);
        if inflight.iter().any(written) || !outbox.unsent(tag) {
            return;
        }
        // It may have got through in spite of all: with its id the client knows it again.
        packet.dup = true;
        let queue = self.session.deliver_queue();
        let mut waiting = vec![(sender, packet)];
        waiting.extend(std::iter::from_fn(|| queue.pop()));
        for entry in waiting {
            if queue.push(entry).is_err() {
                tracing::warn!(%client_id, "the engine's queue is full");
            }
        }
    }
}

#[async_trait]
impl SessionLike for ClosingSession {
    async fn disconnected_set(
        &self,
        packet: Option<Disconnect>,
        reason: Option<Reason>,
    ) -> Result<()> {
        let left = packet.is_some();
        if !left {
            self.keep_unwritten().await;
        }
        self.session.disconnected_set(packet, reason).await?;
        if left {
            // An error ends the session's loop; the will was discarded before.
            return Err(rmqtt::net::Error::msg("the client sent DISCONNECT"));
        }
        Ok(())
    }

    fn id(&self) -> &Id {
        self.session.id()
    }

    fn context(&self) -> &ServerContext {
        self.session.context()
    }

    fn listen_cfg(&self) -> &ListenerConfig {
        self.session.listen_cfg()
    }

    fn deliver_queue(&self) -> &MessageQueueType {
        self.session.deliver_queue()
    }

    fn out_inflight(&self) -> &OutInflightType {
        self.session.out_inflight()
    }

    async fn subscriptions(&self) -> Result<SessionSubs> {
        self.session.subscriptions().await
    }

    async fn subscriptions_add(
        &self,
        filter: TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<Option<SubscriptionOptions>> {
        self.session.subscriptions_add(filter, options).await
    }

    async fn subscriptions_remove(
        &self,
        filter: &str,
    ) -> Result<Option<(TopicFilter, SubscriptionOptions)>> {
        self.session.subscriptions_remove(filter).await
    }

    async fn subscriptions_drain(&self) -> Result<Subscriptions> {
        self.session.subscriptions_drain().await
    }

    async fn subscriptions_extend(&self, other: Subscriptions) -> Result<()> {
        self.session.subscriptions_extend(other).await
    }

    async fn created_at(&self) -> Result<TimestampMillis> {
        self.session.created_at().await
    }

    async fn session_present(&self) -> Result<bool> {
        self.session.session_present().await
    }

    async fn connect_info(&self) -> Result<Arc<ConnectInfo>> {
        self.session.connect_info().await
    }

    fn username(&self) -> Option<&UserName> {
        self.session.username()
    }

    fn password(&self) -> Option<&Password> {
        self.session.password()
    }

    async fn protocol(&self) -> Result<u8> {
        self.session.protocol().await
    }

    async fn superuser(&self) -> Result<bool> {
        self.session.superuser().await
    }

    async fn connected(&self) -> Result<bool> {
        self.session.connected().await
    }

    async fn connected_at(&self) -> Result<TimestampMillis> {
        self.session.connected_at().await
    }

    async fn disconnected_at(&self) -> Result<TimestampMillis> {
        self.session.disconnected_at().await
    }

    async fn disconnected_reasons(&self) -> Result<Vec<Reason>> {
        self.session.disconnected_reasons().await
    }

    async fn disconnected_reason(&self) -> Result<Reason> {
        self.session.disconnected_reason().await
    }

    async fn disconnected_reason_has(&self) -> bool {
        self.session.disconnected_reason_has().await
    }

    async fn disconnected_reason_add(&self, reason: Reason) -> Result<()> {
        if matches!(reason, Reason::ConnectKicked(_)) {
            self.kicked.store(true, Ordering::Release);
        }
        let reason = self.ended_outside(reason);
        self.tell(&reason).await;
        self.session.disconnected_reason_add(reason).await
    }

    async fn disconnected_reason_take(&self) -> Result<Reason> {
        self.session.disconnected_reason_take().await
    }

    async fn disconnect(&self) -> Result<Option<Disconnect>> {
        self.session.disconnect().await
    }

    async fn on_drop(&self) -> Result<()> {
        self.session.on_drop().await
    }

    async fn keepalive(&self, ping: bool) {
        self.session.keepalive(ping).await;
    }
}
