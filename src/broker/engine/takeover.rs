//! A new connection takes a session over. The engine moves what waits from the old session to the
//! new one and loses whatever is sent in between; so from before the old one is asked to go until
//! the new one has taken over, messages for that client wait in `crossing.rs`.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rmqtt::inflight::MomentStatus;
use rmqtt::session::{OfflineInfo, Session};
use rmqtt::shared::Entry;
use rmqtt::types::{
    ClientId, From as Sender, Id, IsAdmin, OfflineSession, Publish, Reason, SubsSearchResult,
    Subscribe, SubscribeReturn, Subscriptions, Tx, Unsubscribe,
};
use tokio::time::Instant;

use super::super::outbox::Outbox;
use super::{Core, routing, turns};

type Result<T> = rmqtt::Result<T>;

/// How long a connection waits for another one of its client id that is being accepted.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it pauses before it tries again.
const PAUSE: Duration = Duration::from_millis(2);
/// How often it asks an old session again to go.
const KICKS: u32 = 5;

/// The engine's entry of a session, through which a connection takes it over. The engine keeps
/// it from before it asks the old session to go until the new one has got what the old one left.
pub(super) struct Takeover {
    core: Arc<Core>,
    entry: Box<dyn Entry>,
    client_id: ClientId,
    begun: bool,
    estate: Option<Estate>,
}

/// What an old session left to the new one. The engine would hand it over in a message to the
/// new session's task, and lose all of it if that connection ends first; so it is put into the
/// new session before its task begins.
struct Estate {
    subscriptions: Subscriptions,
    /// Written before, and to be written again.
    unacknowledged: Vec<(Sender, Publish)>,
    /// Never written.
    waiting: Vec<(Sender, Publish)>,
}

impl Estate {
    fn take(left: &mut OfflineInfo) -> Self {
        let mut unacknowledged = Vec::new();
        let mut released = Vec::new();
        // In the order in which they were sent (MQTT 5.0 section 4.6), before what never was.
        for message in left.inflight_messages.drain(..) {
            if matches!(message.status, MomentStatus::UnComplete) {
                // Owes a PUBREL, which only the engine can send.
                released.push(message);
            } else {
                let mut packet = message.publish;
                packet.dup = true;
                unacknowledged.push((message.from, packet));
            }
        }
        // The engine takes these from the last to the first.
        released.reverse();
        left.inflight_messages = released;
        Self {
            subscriptions: std::mem::take(&mut left.subscriptions),
            unacknowledged,
            waiting: left.offline_messages.drain(..).collect(),
        }
    }

    /// What waited follows the emulator's clock, not the machine's as the engine does.
    fn set_ages(&mut self, outbox: &Outbox) {
        let all = self.unacknowledged.iter_mut().chain(&mut self.waiting);
        for (_, packet) in all {
            routing::set_age(outbox, packet);
        }
    }

    async fn settle(self, session: &Session) -> Result<()> {
        for (filter, options) in &self.subscriptions {
            let router = session.scx.extends.router().await;
            router
                .add(filter, session.id.clone(), options.clone())
                .await?;
        }
        session.subscriptions_extend(self.subscriptions).await?;
        let ids = self
            .unacknowledged
            .iter()
            .filter_map(|(_, packet)| packet.packet_id);
        if let Some(last) = ids.map(NonZeroU16::get).max() {
            session.out_inflight().write().await.advance_next_id(last);
        }
        for delivery in self.unacknowledged.into_iter().chain(self.waiting) {
            if session.deliver_queue().push(delivery).is_err() {
                tracing::warn!(id = %session.id, "the engine's queue is full");
            }
        }
        Ok(())
    }
}

impl Takeover {
    pub(super) fn new(core: Arc<Core>, entry: Box<dyn Entry>) -> Self {
        Self {
            client_id: entry.id().client_id.clone(),
            core,
            entry,
            begun: false,
            estate: None,
        }
    }
}

impl Takeover {
    /// Gives up what the client has been away too long for, before it is there again.
    fn trim(&self) {
        let outbox = self.core.outboxes.find(&self.client_id);
        if let Some(outbox) = outbox.filter(|outbox| !outbox.is_connected()) {
            let limits = turns::limits(&self.core, &self.client_id);
            turns::trim(&self.core, &outbox, &limits);
        }
    }

    /// The engine gives up, and refuses the new connection, where the old session ends by itself
    /// just when it is asked to go. Asked again, it finds it gone.
    async fn persistently_kick(
        &mut self,
        clean_start: bool,
        clear_subscriptions: bool,
        is_admin: IsAdmin,
    ) -> Result<OfflineSession> {
        let mut again = KICKS;
        loop {
            let kicked = self
                .entry
                .kick(clean_start, clear_subscriptions, is_admin)
                .await;
            if kicked.is_ok() || again == 0 {
                return kicked;
            }
            again -= 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        if self.begun
            && let Some(crossing) = self.core.crossing.get()
        {
            crossing.end(&self.core, &self.client_id);
        }
    }
}

#[async_trait]
impl Entry for Takeover {
    async fn kick(
        &mut self,
        clean_start: bool,
        clear_subscriptions: bool,
        is_admin: IsAdmin,
    ) -> Result<OfflineSession> {
        if !self.begun
            && let Some(crossing) = self.core.crossing.get()
        {
            crossing.begin(&self.client_id, clean_start);
            self.begun = true;
            self.trim();
        }
        let mut left = self
            .persistently_kick(clean_start, clear_subscriptions, is_admin)
            .await?;
        if let OfflineSession::Exist(Some(left)) = &mut left {
            self.estate = Some(Estate::take(left));
        }
        Ok(left)
    }

    async fn try_lock(&self) -> Result<Box<dyn Entry>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.entry.try_lock().await {
                Ok(locked) => return Ok(Box::new(Self::new(self.core.clone(), locked))),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn id(&self) -> Id {
        self.entry.id()
    }

    fn id_same(&self) -> Option<bool> {
        self.entry.id_same()
    }

    async fn set(&mut self, session: Session, tx: Tx) -> Result<()> {
        if let Some(mut estate) = self.estate.take() {
            if let Some(outbox) = self.core.outboxes.find(&self.client_id) {
                estate.set_ages(&outbox);
            }
            if let Some(crossing) = self.core.crossing.get() {
                let waiting = std::mem::take(&mut estate.waiting);
                estate.waiting = crossing.put_back(&self.core, &self.client_id, waiting);
            }
            estate.settle(&session).await?;
        }
        self.entry.set(session, tx).await
    }

    async fn remove(&mut self) -> Result<Option<(Session, Tx)>> {
        self.entry.remove().await
    }

    async fn remove_with(&mut self, id: &Id) -> Result<Option<(Session, Tx)>> {
        self.entry.remove_with(id).await
    }

    async fn online(&self) -> bool {
        self.entry.online().await
    }

    async fn is_connected(&self) -> bool {
        self.entry.is_connected().await
    }

    fn session(&self) -> Option<Session> {
        self.entry.session()
    }

    fn exist(&self) -> bool {
        self.entry.exist()
    }

    fn tx(&self) -> Option<Tx> {
        self.entry.tx()
    }

    async fn subscribe(&self, subscribe: &Subscribe) -> Result<SubscribeReturn> {
        self.entry.subscribe(subscribe).await
    }

    async fn unsubscribe(&self, unsubscribe: &Unsubscribe) -> Result<bool> {
        self.entry.unsubscribe(unsubscribe).await
    }

    async fn publish(
        &self,
        sender: Sender,
        packet: Publish,
    ) -> std::result::Result<(), (Sender, Publish, Reason)> {
        // Only what the engine itself sends after a subscribe comes this way.
        let refused = match self.core.crossing.get() {
            Some(crossing) => crossing.line_up(&self.client_id, sender, packet),
            None => Some((sender, packet)),
        };
        match refused {
            Some((sender, packet)) => self.entry.publish(sender, packet).await,
            None => Ok(()),
        }
    }

    async fn subscriptions(&self) -> Option<Vec<SubsSearchResult>> {
        self.entry.subscriptions().await
    }
}
