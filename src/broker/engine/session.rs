//! Ends a connection when its client sends DISCONNECT. The engine itself waits for the client
//! to close (MQTT 5.0 section 3.14.4: the server should close it), so a client that does not
//! would stay connected. Everything else is the engine's own session.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::session::{DefaultSessionManager, SessionLike, SessionManager};
use rmqtt::types::{
    ConnectInfo, ConnectInfoType, Disconnect, DisconnectInfo, FitterType, Id, ListenerConfig,
    MessageQueueType, OutInflightType, Password, Reason, SessionSubs, SubscriptionOptions,
    Subscriptions, TimestampMillis, TopicFilter, UserName,
};

type Result<T> = rmqtt::Result<T>;

pub(super) async fn install(context: &ServerContext) {
    *context.extends.session_mgr_mut().await = Box::new(Sessions);
}

struct Sessions;

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
        Ok(Arc::new(ClosingSession(session)))
    }
}

struct ClosingSession(Arc<dyn SessionLike>);

#[async_trait]
impl SessionLike for ClosingSession {
    async fn disconnected_set(
        &self,
        packet: Option<Disconnect>,
        reason: Option<Reason>,
    ) -> Result<()> {
        let left = packet.is_some();
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
