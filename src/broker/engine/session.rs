//! Ends a connection when its client sends DISCONNECT: the engine itself waits for the client
//! to close (MQTT 5.0 section 3.14.4: the server should close it), so a client that does not
//! would stay connected. Tells the gate why a connection ends. Everything else is the engine's
//! own session.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::codec::error::DecodeError;
use rmqtt::codec::v5::{DisconnectReasonCode, ToReasonCode};
use rmqtt::context::ServerContext;
use rmqtt::net::MqttError;
use rmqtt::session::{DefaultSessionManager, SessionLike, SessionManager};
use rmqtt::types::{
    ConnectInfo, ConnectInfoType, Disconnect, DisconnectInfo, FitterType, Id, ListenerConfig,
    MessageQueueType, OutInflightType, Password, Reason, SessionSubs, SubscriptionOptions,
    Subscriptions, TimestampMillis, TopicFilter, UserName,
};

use super::super::gate::{Ending, Visitors};
use super::Core;

type Result<T> = rmqtt::Result<T>;

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.session_mgr_mut().await = Box::new(Sessions(core.visitors.clone()));
}

struct Sessions(Arc<Visitors>);

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
        Ok(Arc::new(ClosingSession {
            session,
            visitors: self.0.clone(),
        }))
    }
}

struct ClosingSession {
    session: Arc<dyn SessionLike>,
    visitors: Arc<Visitors>,
}

impl ClosingSession {
    /// Tells the gate why the connection ends. The engine closes it right after this; what it
    /// writes behind that never arrives.
    async fn tell(&self, reason: &Reason) {
        let id = self.session.id();
        let left = matches!(self.session.disconnect().await, Ok(Some(_)));
        let Some(peer) = id.remote_addr.filter(|_| !left) else {
            return;
        };
        if matches!(reason, Reason::ConnectRemoteClose) {
            return;
        }
        let ending = Ending::new(disconnect_code(reason), reason.to_string());
        self.visitors.end((id.lid(), peer), ending);
    }
}

/// What a codec can say of a packet.
const MALFORMED: [DecodeError; 7] = [
    DecodeError::InvalidLength,
    DecodeError::InvalidProtocol,
    DecodeError::InvalidTopicFilter,
    DecodeError::InvalidTopicName,
    DecodeError::MalformedPacket,
    DecodeError::PacketIdRequired,
    DecodeError::Utf8Error,
];

/// The reason code of the DISCONNECT, where the engine's own choice is not the standard's.
fn disconnect_code(reason: &Reason) -> u8 {
    match reason {
        Reason::ConnectKicked(false) => DisconnectReasonCode::SessionTakenOver.into(),
        Reason::MqttError(MqttError::PublishAckReason(code, words)) => {
            // MQTT 5.0 section 3.3.2.3.4: an alias that stands for no topic.
            if words.contains("alias") {
                DisconnectReasonCode::ProtocolError.into()
            } else {
                (*code).into()
            }
        }
        // What the codec finds wrong comes in words.
        Reason::Error(words) => MALFORMED
            .iter()
            .find(|error| error.to_string() == **words)
            .map_or(
                DisconnectReasonCode::UnspecifiedError,
                ToReasonCode::to_reason_code,
            )
            .into(),
        other => other.to_reason_code().into(),
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
