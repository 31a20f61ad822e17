//! The sessions of Azure's clients: whose each is, how many a name has, how long its credentials
//! are good. Sessions that nobody is connected to count as well (mqtt-support page). Life-cycle
//! events are told from here; `watch.rs` ends what must end.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use jiff::Timestamp;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Head, Headers, Receipt, Surface, Version};
use mqttstack_base::ids::Ids;
use mqttstack_broker::Ending;
use mqttstack_broker::dialect::{ConnectCode, ConnectRefusal, Peer, SessionEnd};
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::{Draft, Journal};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::codes::QUOTA_EXCEEDED;
use super::who::{Expiry, Who};
use crate::events::life_cycle::{self, SessionChange};
use crate::events::store::NamespaceState;
use crate::model::limits;
use crate::model::resources::Namespace;

/// `disconnectionReason` of a client whose permission is missing.
pub(crate) const UNAUTHORIZED: &str = "ClientAuthorizationError";
/// `disconnectionReason` of a client that sends too much (mqtt-client-life-cycle-events page).
pub(crate) const OVER_QUOTA: &str = "QuotaExceeded";

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The namespace that it is in.
    pub namespace: Arc<NamespaceState>,
    /// Who is behind it.
    pub who: Who,
    /// Until when.
    pub expires: Option<Expiry>,
    /// The resources that permit its subscriptions.
    pub checked: Arc<Namespace>,
    connected: bool,
    /// Connections so far: `sequenceNumber` of the life-cycle events.
    sequence: u64,
    /// `disconnectionReason`, where the emulator itself ends the connection.
    ending: Option<&'static str>,
}

impl Session {
    /// A session that nobody is connected to yet.
    pub(crate) fn new(namespace: Arc<NamespaceState>, who: Who, expires: Option<Expiry>) -> Self {
        Self {
            checked: namespace.resources(),
            namespace,
            who,
            expires,
            connected: false,
            sequence: 0,
            ending: None,
        }
    }

    /// Whether a client is connected and nobody has told it to go yet.
    pub(crate) const fn in_use(&self) -> bool {
        self.connected && self.ending.is_none()
    }

    /// The namespace's resources, if its subscriptions have not been looked at since they were
    /// changed; while it is told to go, nobody looks.
    pub(crate) fn unchecked(&self) -> Option<Arc<Namespace>> {
        let now = self.namespace.resources();
        let settled = self.in_use() || self.offline();
        (settled && !Arc::ptr_eq(&now, &self.checked)).then_some(now)
    }

    /// Whether it was told to go for a missing permission.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.ending == Some(UNAUTHORIZED)
    }

    /// Whether nobody is connected.
    pub(crate) const fn offline(&self) -> bool {
        !self.connected
    }
}

/// All sessions.
pub(crate) struct Sessions {
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    pub(crate) ids: Ids,
    all: Mutex<HashMap<String, Session>>,
    /// Sessions of one namespace.
    most: usize,
    /// Told when a session may have another end than before.
    pub(crate) news: Notify,
}

impl Sessions {
    /// No session.
    pub(super) fn new(app: &App, most: usize) -> Self {
        Self {
            clock: app.clock.clone(),
            journal: app.journal.clone(),
            ids: app.ids.clone(),
            all: Mutex::default(),
            most,
            news: Notify::new(),
        }
    }

    /// The session of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Session> {
        self.all.lock().get(name).cloned()
    }

    /// Changes every session; `change` must be short.
    pub(crate) fn each<T>(
        &self,
        mut change: impl FnMut(&str, &mut Session) -> Option<T>,
    ) -> Vec<T> {
        let mut all = self.all.lock();
        all.iter_mut()
            .filter_map(|(name, session)| change(name, session))
            .collect()
    }

    /// Changes one session.
    pub(crate) fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.all.lock().get_mut(name).map(change)
    }

    /// Whether its name and its client's number of sessions allow a session that connects.
    pub(crate) fn check(&self, name: &str, session: &Session) -> Result<(), ConnectRefusal> {
        let client = session.who.authentication_name();
        let all = self.all.lock();
        let known = all.get(name);
        if known.is_some_and(|known| known.who.authentication_name() != client) {
            return Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: format!(
                    "the session name {name:?} belongs to a session of another authentication name"
                ),
            });
        }
        let resources = session.namespace.resources();
        let most = resources
            .topic_spaces_configuration
            .maximum_client_sessions_per_authentication_name;
        let others = all.iter().filter(|(other, known)| {
            other.as_str() != name && Arc::ptr_eq(&known.namespace, &session.namespace)
        });
        let (mut count, mut own) = (0, Vec::new());
        for (other, known) in others {
            count += 1;
            if known.who.authentication_name() == client {
                own.push(other.as_str());
            }
        }
        let reason = if own.len() >= most as usize {
            format!(
                "QuotaExceeded: {client:?} has the sessions {own:?} (those that are offline count), maximumClientSessionsPerAuthenticationName is {most}"
            )
        } else if count >= self.most {
            format!(
                "QuotaExceeded: the namespace has {count} sessions (those that are offline count), the limit is {} (azure.max_sessions)",
                self.most
            )
        } else {
            return Ok(());
        };
        Err(ConnectRefusal {
            code: ConnectCode::QuotaExceeded,
            reason,
        })
    }

    /// A client has been accepted.
    pub(crate) fn connected(&self, peer: &Peer) {
        let Some(mut session) = peer.grant.admitted.get::<Session>().cloned() else {
            return;
        };
        let mut all = self.all.lock();
        if let Some(known) = all.get(&peer.client_id) {
            session.sequence = known.sequence;
            session.checked = known.checked.clone();
        }
        session.connected = true;
        session.sequence += 1;
        all.insert(peer.client_id.clone(), session.clone());
        drop(all);
        self.news.notify_one();
        self.tell(peer, &session, None);
    }

    /// A client's connection has ended.
    pub(crate) fn disconnected(&self, peer: &Peer, ending: &Ending) {
        let session = self.change(&peer.client_id, |session| {
            session.connected = false;
            session.clone()
        });
        if let Some(session) = session {
            let ended = session.ending.unwrap_or_else(|| life_cycle::reason(ending));
            self.tell(peer, &session, Some(ended));
            self.news.notify_one();
        }
    }

    /// A session has ended.
    pub(crate) fn ended(&self, peer: &Peer, end: SessionEnd) {
        self.all.lock().remove(&peer.client_id);
        if let SessionEnd::Overflow { messages, bytes } = end {
            let reason = format!(
                "SessionOverflow: {messages} messages with {bytes} bytes wait for the session, the limits are {} and {}",
                limits::QUEUED_MESSAGES,
                limits::QUEUED_MESSAGE_BYTES
            );
            let identity = &peer.grant.identity;
            self.journal_end(&peer.client_id, identity, QUOTA_EXCEEDED, &reason);
        }
    }

    /// When the first credentials of a connected client run out.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let all = self.all.lock();
        let in_use = all.values().filter(|session| session.in_use());
        in_use
            .filter_map(|session| session.expires.as_ref().map(|expiry| expiry.at))
            .min()
    }

    /// The emulator is about to end a connection, for this `disconnectionReason`.
    pub(crate) fn ending(&self, name: &str, reason: &'static str) {
        self.change(name, |session| session.ending = Some(reason));
    }

    /// Tells the journal of a connection or session that is ended.
    pub(crate) fn journal_end(&self, client_id: &str, identity: &str, code: u8, reason: &str) {
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

    /// Puts a life-cycle event where the namespace wants it.
    fn tell(&self, peer: &Peer, session: &Session, ended: Option<&'static str>) {
        let namespace = session.namespace.resources();
        let Some(topic) = namespace.life_cycle_topic.as_deref() else {
            return;
        };
        let change = SessionChange {
            authentication_name: session.who.authentication_name(),
            session_name: &peer.client_id,
            sequence: session.sequence,
            ended,
        };
        let now = self.clock.now();
        let event = change.event(&namespace, now, &self.ids);
        if let Err(why) = session.namespace.topics().publish(topic, &[event], now) {
            tracing::warn!(target: "mqttstack::azure", topic, %why, "a life-cycle event was lost");
        }
    }
}
