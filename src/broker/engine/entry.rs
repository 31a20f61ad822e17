//! The engine's entry of one session. When a session is taken over, the engine sends what was
//! not acknowledged in the reverse order; MQTT 5.0 section 4.6 demands the order in which it was
//! sent. Everything else is the engine's own.

use async_trait::async_trait;
use rmqtt::session::Session;
use rmqtt::shared::Entry;
use rmqtt::types::{
    From as Sender, Id, IsAdmin, OfflineSession, Publish, Reason, SubsSearchResult, Subscribe,
    SubscribeReturn, Tx, Unsubscribe,
};

type Result<T> = rmqtt::Result<T>;

pub(super) struct Ordered(pub Box<dyn Entry>);

#[async_trait]
impl Entry for Ordered {
    async fn kick(
        &mut self,
        clean_start: bool,
        clear_subscriptions: bool,
        is_admin: IsAdmin,
    ) -> Result<OfflineSession> {
        let left = self.0.kick(clean_start, clear_subscriptions, is_admin);
        let mut left = left.await?;
        if let OfflineSession::Exist(Some(left)) = &mut left {
            // The engine takes them from the end.
            left.inflight_messages.reverse();
        }
        Ok(left)
    }

    async fn try_lock(&self) -> Result<Box<dyn Entry>> {
        Ok(Box::new(Self(self.0.try_lock().await?)))
    }

    fn id(&self) -> Id {
        self.0.id()
    }

    fn id_same(&self) -> Option<bool> {
        self.0.id_same()
    }

    async fn set(&mut self, session: Session, tx: Tx) -> Result<()> {
        self.0.set(session, tx).await
    }

    async fn remove(&mut self) -> Result<Option<(Session, Tx)>> {
        self.0.remove().await
    }

    async fn remove_with(&mut self, id: &Id) -> Result<Option<(Session, Tx)>> {
        self.0.remove_with(id).await
    }

    async fn online(&self) -> bool {
        self.0.online().await
    }

    async fn is_connected(&self) -> bool {
        self.0.is_connected().await
    }

    fn session(&self) -> Option<Session> {
        self.0.session()
    }

    fn exist(&self) -> bool {
        self.0.exist()
    }

    fn tx(&self) -> Option<Tx> {
        self.0.tx()
    }

    async fn subscribe(&self, subscribe: &Subscribe) -> Result<SubscribeReturn> {
        self.0.subscribe(subscribe).await
    }

    async fn unsubscribe(&self, unsubscribe: &Unsubscribe) -> Result<bool> {
        self.0.unsubscribe(unsubscribe).await
    }

    async fn publish(
        &self,
        sender: Sender,
        packet: Publish,
    ) -> std::result::Result<(), (Sender, Publish, Reason)> {
        self.0.publish(sender, packet).await
    }

    async fn subscriptions(&self) -> Option<Vec<SubsSearchResult>> {
        self.0.subscriptions().await
    }
}
