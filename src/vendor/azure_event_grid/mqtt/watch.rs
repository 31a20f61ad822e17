//! Ends what must end while nobody sends anything: connections whose token, certificate or
//! decision has expired, whose client was disabled or deleted, and sessions whose queue has
//! overflowed. [`Watch::run`] looks several times a second, since nobody tells when the
//! emulator's clock is moved. It holds the broker, so nothing that the broker holds may hold it;
//! `sessions.rs` sends it orders.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::super::access;
use super::super::limits;
use super::super::resources::Permission;
use super::sessions::{Session, Sessions, UNAUTHORIZED};
use super::{NOT_AUTHORIZED, QUOTA_EXCEEDED, Who};
use crate::app::App;
use crate::broker::Broker;
use crate::broker::message::{DeliveryOutcome, Message};
use crate::exchange::{Head, Headers, Receipt, Surface, Version};
use crate::journal::{Draft, Ring};

/// How often the clock is looked at, in real time.
const INTERVAL: Duration = Duration::from_millis(250);
/// After how many looks the sessions that have ended are forgotten.
const SWEEP: u32 = 20;

/// What only the holder of the broker can do.
#[derive(Debug)]
pub(super) enum Order {
    /// Lists the sessions that the broker has.
    Alive(oneshot::Sender<HashSet<String>>),
    /// Ends a session, and its connection if there is one.
    End(String, oneshot::Sender<()>),
}

/// What waits for a session that nobody is connected to, counted from the journal of messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlog {
    seen: u64,
    messages: usize,
    bytes: usize,
}

impl Backlog {
    /// Nothing so far: messages up to the cursor `seen` do not count.
    pub(super) fn from(seen: u64) -> Self {
        Self {
            seen,
            ..Self::default()
        }
    }

    /// Counts what has come since; tells why if it is too much.
    fn overflow(&mut self, client_id: &str, ring: &Ring<Message>) -> Option<String> {
        for (at, message) in ring.since(self.seen) {
            self.seen = at;
            let waits = message.deliveries.lock().iter().any(|delivery| {
                delivery.client_id == client_id && delivery.outcome == DeliveryOutcome::Queued
            });
            if waits {
                self.messages += 1;
                self.bytes += message.payload.len();
            }
        }
        let over =
            self.messages > limits::QUEUED_MESSAGES || self.bytes > limits::QUEUED_MESSAGE_BYTES;
        over.then(|| {
            format!(
                "SessionOverflow: {} messages with {} bytes wait for the session, the limits are {} and {}",
                self.messages,
                self.bytes,
                limits::QUEUED_MESSAGES,
                limits::QUEUED_MESSAGE_BYTES
            )
        })
    }
}

/// What looks after the sessions.
pub(in crate::vendor::azure_event_grid) struct Watch {
    sessions: Arc<Sessions>,
    broker: Broker,
    orders: mpsc::UnboundedReceiver<Order>,
}

/// The sessions of an emulator, and what looks after them once it is run.
pub(super) fn open(app: &App, limited: bool) -> (Arc<Sessions>, Watch) {
    let (sender, orders) = mpsc::unbounded_channel();
    let sessions = Arc::new(Sessions::new(app, limited, sender));
    let watch = Watch {
        sessions: sessions.clone(),
        broker: app.broker.clone(),
        orders,
    };
    (sessions, watch)
}

impl Watch {
    /// Looks after the sessions until it is dropped.
    pub(in crate::vendor::azure_event_grid) async fn run(mut self) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks: u32 = 0;
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    self.end_expired().await;
                    self.end_unauthorized().await;
                    for name in self.sessions.names_offline() {
                        self.end_if_overflowed(&name).await;
                    }
                    looks = looks.wrapping_add(1);
                    if looks.is_multiple_of(SWEEP) {
                        self.sessions.keep(&self.alive().await);
                    }
                }
                order = self.orders.recv() => match order {
                    Some(Order::Alive(reply)) => {
                        // Whoever asked may have gone.
                        let _ = reply.send(self.alive().await);
                    }
                    Some(Order::End(name, reply)) => {
                        self.end_if_overflowed(&name).await;
                        let _ = reply.send(());
                    }
                    None => return,
                },
            }
        }
    }

    async fn alive(&self) -> HashSet<String> {
        let clients = self.broker.clients().await.into_iter();
        clients
            .filter(|client| client.dialect == Some(Surface::Azure))
            .map(|client| client.client_id)
            .collect()
    }

    /// Closes the connections whose credentials are not good any more.
    async fn end_expired(&self) {
        let now = self.sessions.clock.now();
        let ended = self.sessions.each(|name, session| {
            let why = session.in_use().then(|| session.invalid(now)).flatten()?;
            Some((name.to_owned(), session.who.clone(), why))
        });
        for (name, who, why) in ended {
            self.sessions.ending(&name, "ClientAuthenticationError");
            self.sessions
                .journal_end(&name, who.authentication_name(), NOT_AUTHORIZED, &why);
            self.broker.close(&name, &why).await;
        }
    }

    /// Ends the sessions with a subscription that the namespace's resources, changed meanwhile, do
    /// not permit any more (METRICS: sessions are dropped for an `AuthorizationError`).
    async fn end_unauthorized(&self) {
        let changed = self.sessions.each(|name, session| {
            let resources = session.unchecked()?;
            Some((name.to_owned(), (session.clone(), resources)))
        });
        if changed.is_empty() {
            return;
        }
        let mut changed: HashMap<_, _> = changed.into_iter().collect();
        for subscription in self.broker.subscriptions().await {
            let name = &subscription.client_id;
            let refused = changed.get(name).and_then(|(session, resources)| {
                let filter = &subscription.topic_filter;
                let may = session.who.may(resources, Permission::Subscriber, filter);
                may.err()
            });
            if let Some(why) = refused
                && let Some((session, _)) = changed.remove(name)
            {
                self.end_session(name, &session, &why).await;
            }
        }
        for (name, (_, resources)) in changed {
            self.sessions
                .change(&name, |session| session.checked = resources);
        }
    }

    /// Ends a session without permission: first its connection, and once that is gone the rest.
    async fn end_session(&self, name: &str, session: &Session, why: &str) {
        if !session.is_unauthorized() {
            let identity = session.who.authentication_name();
            self.sessions
                .journal_end(name, identity, NOT_AUTHORIZED, why);
        }
        if session.offline() {
            self.broker.kick(name).await;
            self.sessions.forget(name);
        } else {
            self.sessions.ending(name, UNAUTHORIZED);
            self.broker.close(name, why).await;
        }
    }

    async fn end_if_overflowed(&self, name: &str) {
        let Some((who, why)) = self.sessions.overflowed(name) else {
            return;
        };
        self.sessions
            .journal_end(name, who.authentication_name(), QUOTA_EXCEEDED, &why);
        self.broker.kick(name).await;
        self.sessions.forget(name);
    }
}

impl Session {
    /// Why its client may not stay.
    fn invalid(&self, now: Timestamp) -> Option<String> {
        if let Some(why) = self.expires.as_ref().and_then(|expiry| expiry.reason(now)) {
            return Some(why);
        }
        if self.namespace.is_removed() {
            let name = self.namespace.name();
            return Some(format!("the namespace {name:?} was deleted"));
        }
        let Who::Client {
            authentication_name,
            registered: true,
            ..
        } = &self.who
        else {
            return None;
        };
        match access::find_client(&self.namespace.resources(), authentication_name) {
            None => Some("Client could not be found: it was deleted".to_owned()),
            Some(client) if client.properties.is_disabled() => {
                Some(format!("the client {authentication_name:?} was disabled"))
            }
            Some(_) => None,
        }
    }
}

impl Sessions {
    fn names_offline(&self) -> Vec<String> {
        self.each(|name, session| session.offline().then(|| name.to_owned()))
    }

    /// Whose session it is and why, if nobody is connected and too much waits.
    fn overflowed(&self, name: &str) -> Option<(Who, String)> {
        if !self.limited {
            return None;
        }
        let ring = self.journal.messages();
        self.change(name, |session| {
            let over = session
                .offline()
                .then(|| session.backlog.overflow(name, ring));
            Some((session.who.clone(), over.flatten()?))
        })?
    }

    /// Ends the session that a client comes back to, if too much has come for it meanwhile.
    pub(super) async fn end_overflowed(&self, name: &str) {
        if self.find(name).is_some_and(|session| session.offline()) {
            let order = |reply| Order::End(name.to_owned(), reply);
            self.ask::<()>(order).await;
        }
    }

    /// Tells the journal of a connection or session that is ended.
    pub(super) fn journal_end(&self, client_id: &str, identity: &str, code: u8, reason: &str) {
        let receipt = Receipt {
            id: self.ids.request_id(),
            now: self.clock.now(),
        };
        tracing::info!(
            target: "mqttstack::request",
            vendor = Surface::Azure.as_str(),
            id = receipt.id,
            packet = "DISCONNECT",
            client_id,
            code,
            reason,
        );
        let head = Head {
            method: ByteString::from_static("DISCONNECT"),
            target: ByteString::new(),
            version: Version::Http11,
            headers: Headers::default(),
            size: 0,
        };
        let draft = Draft {
            operation: Some("DISCONNECT".to_owned()),
            caller: Some(identity.to_owned()),
            reasons: vec![reason.to_owned()],
            ..Draft::default()
        };
        self.journal
            .refused(Some(Surface::Azure), &receipt, head, draft, code.into());
    }
}
