//! One session of the engine, with two repairs. It ends a connection when its client sends
//! DISCONNECT: the engine itself waits for the client to close (MQTT 5.0 section 3.14.4: the
//! server should close it), so a client that does not would stay connected. And it keeps a
//! delivery whose write failed. Everything else is the engine's own session.

use std::collections::HashMap;
use std::sync::Arc;

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

use super::Core;

type Result<T> = rmqtt::Result<T>;

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.session_mgr_mut().await = Box::new(Sessions(core.clone()));
}

struct Sessions(Arc<Core>);

/// The delivery that is being written to each client. The engine takes it out of the queue
/// before it writes and knows it as unacknowledged only afterwards, so that a write that fails
/// would lose it.
#[derive(Default)]
pub(super) struct Writing(Mutex<HashMap<ByteString, (Sender, Publish)>>);

impl Writing {
    /// A delivery is about to be written.
    pub(super) fn begin(&self, client_id: &ByteString, sender: &Sender, packet: &Publish) {
        let entry = (sender.clone(), packet.clone());
        self.0.lock().insert(client_id.clone(), entry);
    }

    /// Forgets a client whose session is over.
    pub(super) fn forget(&self, client_id: &str) {
        self.take(client_id);
    }

    fn take(&self, client_id: &str) -> Option<(Sender, Publish)> {
        self.0.lock().remove(client_id)
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
        Ok(Arc::new(ClosingSession(session, self.0.clone())))
    }
}

struct ClosingSession(Arc<dyn SessionLike>, Arc<Core>);

impl ClosingSession {
    /// Puts the delivery whose write failed back to the head of the queue.
    async fn keep_unwritten(&self) {
        let client_id = &self.0.id().client_id;
        let Some((sender, mut packet)) = self.1.writing.take(client_id) else {
            return;
        };
        let Some((tag, outbox)) = packet.delay_interval.zip(self.1.outboxes.find(client_id)) else {
            return;
        };
        let inflight = self
            .0
            .out_inflight()
            .write()
            .await
            .clone_inflight_messages();
        let written = |message: &OutInflightMessage| message.publish.delay_interval == Some(tag);
        if inflight.iter().any(written) || !outbox.unsent(tag) {
            return;
        }
        packet.packet_id = None;
        let queue = self.0.deliver_queue();
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
        self.0.disconnected_set(packet, reason).await?;
        if left {
            // An error ends the session's loop; the will was discarded before.
            return Err(rmqtt::net::Error::msg("the client sent DISCONNECT"));
        }
        Ok(())
    }

    fn id(&self) -> &Id {
        self.0.id()
    }

    fn context(&self) -> &ServerContext {
        self.0.context()
    }

    fn listen_cfg(&self) -> &ListenerConfig {
        self.0.listen_cfg()
    }

    fn deliver_queue(&self) -> &MessageQueueType {
        self.0.deliver_queue()
    }

    fn out_inflight(&self) -> &OutInflightType {
        self.0.out_inflight()
    }

    async fn subscriptions(&self) -> Result<SessionSubs> {
        self.0.subscriptions().await
    }

    async fn subscriptions_add(
        &self,
        filter: TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<Option<SubscriptionOptions>> {
        self.0.subscriptions_add(filter, options).await
    }

    async fn subscriptions_remove(
        &self,
        filter: &str,
    ) -> Result<Option<(TopicFilter, SubscriptionOptions)>> {
        self.0.subscriptions_remove(filter).await
    }

    async fn subscriptions_drain(&self) -> Result<Subscriptions> {
        self.0.subscriptions_drain().await
    }

    async fn subscriptions_extend(&self, other: Subscriptions) -> Result<()> {
        self.0.subscriptions_extend(other).await
    }

    async fn created_at(&self) -> Result<TimestampMillis> {
        self.0.created_at().await
    }

    async fn session_present(&self) -> Result<bool> {
        self.0.session_present().await
    }

    async fn connect_info(&self) -> Result<Arc<ConnectInfo>> {
        self.0.connect_info().await
    }

    fn username(&self) -> Option<&UserName> {
        self.0.username()
    }

    fn password(&self) -> Option<&Password> {
        self.0.password()
    }

    async fn protocol(&self) -> Result<u8> {
        self.0.protocol().await
    }

    async fn superuser(&self) -> Result<bool> {
        self.0.superuser().await
    }

    async fn connected(&self) -> Result<bool> {
        self.0.connected().await
    }

    async fn connected_at(&self) -> Result<TimestampMillis> {
        self.0.connected_at().await
    }

    async fn disconnected_at(&self) -> Result<TimestampMillis> {
        self.0.disconnected_at().await
    }

    async fn disconnected_reasons(&self) -> Result<Vec<Reason>> {
        self.0.disconnected_reasons().await
    }

    async fn disconnected_reason(&self) -> Result<Reason> {
        self.0.disconnected_reason().await
    }

    async fn disconnected_reason_has(&self) -> bool {
        self.0.disconnected_reason_has().await
    }

    async fn disconnected_reason_add(&self, reason: Reason) -> Result<()> {
        self.0.disconnected_reason_add(reason).await
    }

    async fn disconnected_reason_take(&self) -> Result<Reason> {
        self.0.disconnected_reason_take().await
    }

    async fn disconnect(&self) -> Result<Option<Disconnect>> {
        self.0.disconnect().await
    }

    async fn on_drop(&self) -> Result<()> {
        self.0.on_drop().await
    }

    async fn keepalive(&self, ping: bool) {
        self.0.keepalive(ping).await;
    }
}
