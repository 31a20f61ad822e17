//! The one broker under all five vendors: MQTT 3.1, 3.1.1 and 5 over TCP, TLS and WebSocket.
//! [`Broker`] is a cheap handle: publish, list, kick, count. What goes in and comes out are the
//! values of [`message`]; what a vendor decides is asked through [`dialect::Dialect`].
//!
//! A PUBLISH of a client: `listener` accepted its connection, `connection` reads the packet
//! (`packet`), keeps it to the client's limits (`bounds`) and asks the vendor; `router` knows who is
//! subscribed; `routing` gives the message its row in the journal and enters it in the `session` of
//! each subscriber, whose connection writes it (`encode`). `sessions` finds and takes over sessions,
//! `core` ends them, `timers` does what falls due on the emulator's clock.

mod admission;
mod bounds;
mod connection;
mod core;
mod counts;
pub mod dialect;
mod encode;
mod ending;
mod events;
mod listener;
mod opening;
pub mod outlet;
mod owner;
mod pace;
mod packet;
mod retained;
mod router;
mod routing;
mod session;
mod sessions;
mod system;
mod tenant;
mod timers;
mod tree;
mod websocket;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::page::Home;
use mqttstack_base::exchange::{Refusal, Surface};
use mqttstack_base::ids::Ids;
pub use mqttstack_base::message;
use mqttstack_tls::handshake::Terms;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use self::core::Core;
pub use self::counts::{Counted, Held};
use self::dialect::{Dialect, Noted, Refused, SessionEnd, SubscribeVerdict};
pub use self::ending::Ending;
pub use self::events::Event;
use self::message::{
    Client, Counters, Message, Publication, Published, Qos, Retained, Subscription, TopicFilter,
    Transport,
};
use self::outlet::Outlet;
pub use self::owner::Owner;
use self::router::{Options, Target};
use self::routing::Draft;
use self::session::Session;
use self::tenant::Tenant;
pub use self::timers::FellDue;

/// What the broker grants and refuses.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether clients without any vendor's credentials may connect (default true).
    pub open_clients: bool,
    /// The longest keep-alive in seconds that is granted (default 65,535).
    pub max_keep_alive: u16,
    /// The longest packet in bytes that is taken (default 1 MiB).
    pub max_packet_size: u32,
    /// How many PUBLISH packets of QoS 1 and 2 an MQTT 5 client may have under way, its Receive
    /// Maximum (default 65,535). MQTT 3.x has no such limit.
    pub receive_maximum: u16,
    /// How many deliveries of QoS 1 and 2 may be under way to one client (default 16); an MQTT 5
    /// client can ask for fewer.
    pub max_inflight: u16,
    /// How many topic aliases are used in each direction (default 32).
    pub topic_alias_maximum: u16,
    /// How many levels a topic name or filter may have (default 200, as mosquitto has it).
    pub max_topic_levels: usize,
    /// Topic filters that the open dialect may not subscribe to.
    pub deny_subscribe: Vec<String>,
    /// Topic filters that the open dialect may not publish to.
    pub deny_publish: Vec<String>,
    /// Deliveries that may wait for one client before publishes wait (default 1,000).
    pub queue_limit: usize,
    /// Bytes that may wait for one client before publishes wait (default 64 MiB).
    pub queue_bytes: usize,
    /// How long a publish waits for a full queue, in milliseconds (default 5,000).
    pub publish_wait_ms: u64,
    /// Whether tenants share one topic tree (default) or have one each.
    pub isolation: Isolation,
    /// Whose web pages may open a WebSocket: `admin.hosts`, and the loopback ones.
    #[serde(skip)]
    pub home: Home,
    /// How often the figures of `$SYS` are published to who is subscribed, in seconds (default
    /// 10); 0 is never.
    pub sys_interval_s: u32,
}

/// Who hears whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// All vendors and tenants, and open clients, share one topic tree.
    #[default]
    Shared,
    /// Each vendor's tenant has its own. An open client chooses one with the user name
    /// `tenant:<vendor>/<name>`; those that choose none share one of their own.
    Tenant,
}

impl Isolation {
    /// The spelling of the configuration and of the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Tenant => "tenant",
        }
    }
}

/// What the topics of the broker's own figures begin with.
const SYSTEM_PREFIX: &str = "$SYS/";

impl Default for Settings {
    fn default() -> Self {
        Self {
            open_clients: true,
            max_keep_alive: u16::MAX,
            max_packet_size: 1 << 20,
            receive_maximum: u16::MAX,
            max_inflight: 16,
            topic_alias_maximum: 32,
            max_topic_levels: 200,
            deny_subscribe: Vec::new(),
            deny_publish: Vec::new(),
            queue_limit: 1_000,
            queue_bytes: 64 << 20,
            publish_wait_ms: 5_000,
            isolation: Isolation::Shared,
            home: Home::default(),
            sys_interval_s: 10,
        }
    }
}

/// Takes every message that the broker took, at once and without waiting: the journal.
pub type Sink = Arc<dyn Fn(Arc<Message>) + Send + Sync>;

/// Takes every MQTT packet that was refused, at once and without waiting: the journal.
pub type RefusedSink = Arc<dyn Fn(Refused) + Send + Sync>;

/// Takes every CONNECT that was accepted with hints, at once and without waiting: the journal.
pub type NotedSink = Arc<dyn Fn(Noted) + Send + Sync>;

/// What became of a change of a client's keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveChange {
    /// It is in force.
    Changed,
    /// No such client is connected.
    NotConnected,
    /// The client connected with keep-alive 0: nothing counts its silence, and nothing begins to.
    Unwatched,
}

/// A handle that does not keep the broker: for what the broker itself holds, and for tasks that
/// such things start.
#[derive(Debug, Clone)]
pub struct WeakBroker {
    core: Weak<Core>,
    tasks: Weak<Mutex<Vec<JoinHandle<()>>>>,
}

impl WeakBroker {
    /// The broker, if somebody else still keeps it.
    pub fn upgrade(&self) -> Option<Broker> {
        Some(Broker {
            core: self.core.upgrade()?,
            tasks: self.tasks.upgrade()?,
        })
    }
}

/// A shared handle on the broker.
#[derive(Clone)]
pub struct Broker {
    core: Arc<Core>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Broker")
    }
}

impl Broker {
    /// A handle that does not keep it.
    pub fn downgrade(&self) -> WeakBroker {
        WeakBroker {
            core: Arc::downgrade(&self.core),
            tasks: Arc::downgrade(&self.tasks),
        }
    }

    /// Starts a broker. No listener is open yet. Must be called inside a tokio runtime.
    #[expect(clippy::unused_async, reason = "it needs a runtime to spawn into")]
    pub async fn start(settings: Settings, clock: Clock, ids: Ids, sink: Sink) -> Self {
        let core = Arc::new(Core::new(settings, clock, ids, sink));
        let timers = timers::watch(
            Arc::downgrade(&core),
            core.timers.clone(),
            core.clock.clone(),
        );
        let closing = core.closing.clone();
        let watch = tokio::spawn(async move {
            closing.run_until_cancelled(timers).await;
        });
        Self {
            core,
            tasks: Arc::new(Mutex::new(vec![watch])),
        }
    }

    /// Adds a vendor's MQTT side. The first that claims a CONNECT has it.
    pub fn add_dialect(&self, dialect: Arc<dyn Dialect>) {
        self.core.dialects.write().push(dialect);
    }

    /// Adds a way out beside the subscribers.
    pub fn add_outlet(&self, outlet: Arc<dyn Outlet>) {
        self.core.outlets.write().push(outlet);
    }

    /// Registers who is told of refused packets; only the first one is.
    pub fn on_refused(&self, tell: RefusedSink) {
        // Whoever comes second is not told; the emulator registers once.
        let _ = self.core.on_refused.set(tell);
    }

    /// Registers who is told of hints; only the first one is.
    pub fn on_noted(&self, tell: NotedSink) {
        // Whoever comes second is not told; the emulator registers once.
        let _ = self.core.on_noted.set(tell);
    }

    /// How many levels a topic name or filter may have.
    pub fn max_topic_levels(&self) -> usize {
        self.core.settings.max_topic_levels
    }

    /// Who hears whom.
    pub fn isolation(&self) -> Isolation {
        self.core.settings.isolation
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.core.events.subscribe()
    }

    /// Runs `change`, which may move the clock, and then everything that is due on it: sessions
    /// that expire, wills, messages that have waited too long. Returns what happened.
    pub fn at_new_time(&self, change: impl FnOnce()) -> Vec<FellDue> {
        timers::run(&self.core, change)
    }

    /// Opens a plain listener (`Tcp` or `Ws`) and returns its address (port 0: a free one).
    /// Must be called inside a tokio runtime.
    pub fn listen(&self, transport: Transport, address: SocketAddr) -> io::Result<SocketAddr> {
        self.open(transport, address, None)
    }

    /// Opens a secure listener (`Tls` or `Wss`) and returns its address (port 0: a free one).
    /// Must be called inside a tokio runtime.
    pub fn listen_tls(
        &self,
        transport: Transport,
        address: SocketAddr,
        terms: impl Into<Terms>,
    ) -> io::Result<SocketAddr> {
        self.open(transport, address, Some(terms.into()))
    }

    fn open(
        &self,
        transport: Transport,
        address: SocketAddr,
        terms: Option<Terms>,
    ) -> io::Result<SocketAddr> {
        let (bound, port) = listener::open(&self.core, transport, address, terms)?;
        self.tasks.lock().push(port);
        Ok(bound)
    }

    /// Publishes a message to everybody who is subscribed. Waits while a matching connected
    /// subscriber's queue is full; refuses with [`Refusal::Overloaded`] if it stays so.
    pub async fn publish(&self, publication: Publication) -> Result<Published, Refusal> {
        self.send(publication, None, None).await
    }

    /// Publishes like [`Broker::publish`] for one tenant of the origin's vendor: with
    /// [`Isolation::Tenant`] only that tenant's clients hear it.
    pub async fn publish_in(
        &self,
        tenant: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.send(publication, Some(tenant), None).await
    }

    /// Delivers a message to one client, subscribed or not. Nothing is delivered, and
    /// `matched` is 0, where no such client has a session.
    pub async fn send_to_client(
        &self,
        client_id: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.send(publication, None, Some(client_id)).await
    }

    /// Delivers like [`Broker::send_to_client`] for one tenant of the origin's vendor: with
    /// [`Isolation::Tenant`] only to a client of that tenant.
    pub async fn send_to_client_in(
        &self,
        tenant: &str,
        client_id: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.send(publication, Some(tenant), Some(client_id)).await
    }

    async fn send(
        &self,
        publication: Publication,
        tenant: Option<&str>,
        client_id: Option<&str>,
    ) -> Result<Published, Refusal> {
        let core = &self.core;
        if core.stopped.load(Ordering::Acquire) {
            return Err(Refusal::Unavailable("it has stopped".into()));
        }
        message::check_depth(publication.topic.as_str(), self.max_topic_levels())
            .map_err(|error| Refusal::Topic(error.to_string()))?;
        let scope = Tenant::of_vendor(&core.settings, publication.origin.vendor, tenant);
        let mut draft = Draft::from(publication);
        draft.tenant = tenant.map(ToOwned::to_owned);
        let targets = match client_id {
            None => core.targets(&scope, &draft.question(), None),
            Some(client_id) => self.one(&scope, tenant, client_id, draft.qos),
        };
        core.publish(&scope, draft, targets).await
    }

    /// One client as the only target, if it has a session. Where no tenant is named it may be
    /// of any.
    fn one(&self, scope: &Tenant, tenant: Option<&str>, client_id: &str, qos: Qos) -> Vec<Target> {
        let sessions = &self.core.sessions;
        let session = match tenant {
            Some(_) => sessions.get(scope, client_id),
            None => sessions.any(client_id),
        };
        session.map_or_else(Vec::new, |session| Core::only(session, qos))
    }

    /// Every client that has a session, by client id.
    #[expect(
        clippy::unused_async,
        reason = "asked by callers that may wait one day"
    )]
    pub async fn clients(&self) -> Vec<Client> {
        let sessions = self.core.sessions.all();
        let mut clients: Vec<_> = sessions.iter().map(|session| client(session)).collect();
        clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        clients
    }

    /// One client that has a session.
    pub fn client(&self, client_id: &str) -> Option<Client> {
        self.core
            .sessions
            .any(client_id)
            .map(|session| client(&session))
    }

    /// Every subscription, in the order in which they were made.
    #[expect(
        clippy::unused_async,
        reason = "asked by callers that may wait one day"
    )]
    pub async fn subscriptions(&self) -> Vec<Subscription> {
        let mut all = Vec::new();
        for session in self.core.sessions.all() {
            let state = session.lock();
            let own = state.subscriptions.iter();
            all.extend(
                own.map(|(filter, options)| {
                    router::listed(&session.key.client_id, filter, options)
                }),
            );
        }
        all.sort_by_key(|subscription| subscription.order);
        all
    }

    /// Subscribes a connected client from outside; false if it is not there or is refused.
    #[expect(
        clippy::unused_async,
        clippy::too_many_lines,
        reason = "asked by callers that may wait one day; one straight walk"
    )]
    pub async fn subscribe(&self, client_id: &str, filter: &TopicFilter, qos: Qos) -> bool {
        let core = &self.core;
        if message::check_depth(filter.as_str(), self.max_topic_levels()).is_err() {
            return false;
        }
        let Some(session) = core.sessions.any(client_id) else {
            return false;
        };
        let (connected, peer, dialect) = {
            let state = session.lock();
            (
                state.owner.is_some(),
                state.peer.clone(),
                state.dialect.clone(),
            )
        };
        if !connected {
            return false;
        }
        let verdict = match &dialect {
            Some(dialect) => dialect.subscribe(&peer, filter.as_str(), qos, &[]),
            None => core.open_subscribe(filter.as_str(), qos),
        };
        let (granted, own) = match verdict {
            SubscribeVerdict::Allow(granted) => (granted, None),
            SubscribeVerdict::AllowWhere(granted, own) => (granted, Some(own)),
            SubscribeVerdict::Refuse { code, reason } => {
                core.refused_packet(&peer, "SUBSCRIBE", Some(filter.as_str()), code, &reason);
                return false;
            }
            SubscribeVerdict::Withhold { reason, .. } | SubscribeVerdict::Close { reason } => {
                let code = packet::code::NOT_AUTHORIZED;
                core.refused_packet(&peer, "SUBSCRIBE", Some(filter.as_str()), code, &reason);
                return false;
            }
        };
        if session.has_its_filters(filter.as_str()) {
            return false;
        }
        let qos = granted.min(qos);
        let options = Options {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            identifier: None,
            order: core.next_order.fetch_add(1, Ordering::Relaxed),
            filter: own,
        };
        if core
            .router
            .subscribe(&session, filter.as_str(), options.clone())
            .is_none()
        {
            return false;
        }
        let (share, bare) = router::parts(filter.as_str());
        if let Some(dialect) = &dialect {
            dialect.subscribed(&peer, bare, qos);
        }
        core.tell(|| Event::Subscribed {
            client_id: session.key.client_id.clone(),
            filter: filter.as_str().into(),
        });
        if share.is_none() {
            core.deliver_retained(&session, bare, &options);
        }
        true
    }

    /// Unsubscribes a client from outside; false if it is not there.
    #[expect(
        clippy::unused_async,
        reason = "asked by callers that may wait one day"
    )]
    pub async fn unsubscribe(&self, client_id: &str, filter: &TopicFilter) -> bool {
        let Some(session) = self.core.sessions.any(client_id) else {
            return false;
        };
        if self.core.router.unsubscribe(&session, filter.as_str()) {
            let (peer, dialect) = {
                let state = session.lock();
                (state.peer.clone(), state.dialect.clone())
            };
            if let Some(dialect) = dialect {
                dialect.unsubscribed(&peer, router::parts(filter.as_str()).1);
            }
            self.core.tell(|| Event::Unsubscribed {
                client_id: session.key.client_id.clone(),
                filter: filter.as_str().into(),
            });
        }
        true
    }

    /// Every retained message that has not expired, by topic.
    pub fn retained(&self) -> Vec<Retained> {
        self.core.retained.all(None, self.core.clock.now())
    }

    /// The same as one tenant of a vendor sees it: with [`Isolation::Tenant`] only its own.
    pub fn retained_of(&self, vendor: Surface, tenant: &str) -> Vec<Retained> {
        let scope = Tenant::of_vendor(&self.core.settings, Some(vendor), Some(tenant));
        self.core.retained.all(Some(&scope), self.core.clock.now())
    }

    /// Ends a client's connection and its session; false if there is no such client. When this
    /// returns, both are gone.
    pub async fn kick(&self, client_id: &str) -> bool {
        let Some(session) = self.core.sessions.any(client_id) else {
            return false;
        };
        self.end(&session).await;
        true
    }

    async fn end(&self, session: &Arc<Session>) {
        loop {
            let owner = session.lock().owner.clone();
            let Some(owner) = owner else {
                self.core.end_session(session, SessionEnd::Kicked);
                return;
            };
            let released = owner.released().notified();
            tokio::pin!(released);
            // Registered before the connection is asked, so that its answer is not missed.
            released.as_mut().enable();
            owner.end(Ending::Kicked);
            let still = session.lock().owner.as_ref().map(|own| own.id) == Some(owner.id);
            if still {
                released.await;
            }
            if session.lock().closed {
                return;
            }
        }
    }

    /// Closes a client's connection and leaves its session as it is; false if there is no such
    /// client. Does not wait for it.
    #[expect(
        clippy::unused_async,
        reason = "asked by callers that may wait one day"
    )]
    pub async fn close(&self, client_id: &str, reason: &str) -> bool {
        let owner = self
            .core
            .sessions
            .any(client_id)
            .and_then(|session| session.lock().owner.clone());
        let Some(owner) = owner else {
            return false;
        };
        owner.end(Ending::Closed {
            reason: reason.to_owned(),
        });
        true
    }

    /// Gives a connected client another keep-alive, in seconds and above 0, as if its CONNECT had
    /// asked for it, whatever ceilings there are: from now on its connection ends once nothing has
    /// come from it for one and a half times as long (with 0x8D in MQTT 5). The call itself counts
    /// as a packet of the client. [`Broker::clients`] tells the new value. It holds until the
    /// connection ends; the client is not told.
    #[expect(
        clippy::unused_async,
        reason = "asked by callers that may wait one day"
    )]
    pub async fn keep_alive(&self, client_id: &str, seconds: u16) -> KeepAliveChange {
        let Some(session) = self.core.sessions.any(client_id) else {
            return KeepAliveChange::NotConnected;
        };
        let mut state = session.lock();
        let Some(owner) = state.owner.clone() else {
            return KeepAliveChange::NotConnected;
        };
        if state.about.keep_alive == 0 {
            return KeepAliveChange::Unwatched;
        }
        state.about.keep_alive = seconds;
        owner.keep_alive(seconds);
        KeepAliveChange::Changed
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        let totals = &self.core.totals;
        Counters {
            connects: totals.connects.load(Ordering::Relaxed),
            disconnects: totals.disconnects.load(Ordering::Relaxed),
            messages_in: totals.messages_in.load(Ordering::Relaxed),
            messages_out: totals.messages_out.load(Ordering::Relaxed),
            messages_dropped: totals.messages_dropped.load(Ordering::Relaxed),
        }
    }

    /// What was counted since the start.
    pub fn counted(&self) -> Counted {
        self.core.counts.read()
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        let core = &self.core;
        let mut held = Held {
            sessions: 0,
            connected: 0,
            subscriptions: core.router.count(),
            queued: 0,
            inflight: 0,
            retained: core.retained.count(),
        };
        for session in core.sessions.all() {
            let (queued, inflight) = session.lengths();
            held.sessions += 1;
            held.connected += usize::from(session.is_connected());
            held.queued += queued;
            held.inflight += inflight;
        }
        held
    }

    /// Forgets every retained message.
    pub fn clear_retained(&self) {
        self.core.retained.clear();
    }

    /// Ends every connection and every session.
    pub async fn clear_sessions(&self) {
        let sessions = self.core.sessions.all();
        let ends = sessions.iter().map(|session| self.end(session));
        futures_util::future::join_all(ends).await;
    }

    /// Takes no PUBLISH of a client any more: none is acknowledged that might be lost in a stop.
    pub fn take_no_more(&self) {
        self.core.draining.store(true, Ordering::Release);
    }

    /// Waits until every connected client has got and acknowledged what was published for it, at
    /// most so long.
    pub async fn drain(&self, limit: Duration) {
        let drained = async {
            for session in self.core.sessions.all() {
                loop {
                    let further = session.room().notified();
                    tokio::pin!(further);
                    // Registered before the look, so that nothing slips in between.
                    further.as_mut().enable();
                    if !session.is_connected() || session.lengths() == (0, 0) {
                        break;
                    }
                    further.await;
                }
            }
        };
        // What a client does not take in time is lost with its session.
        let _ = tokio::time::timeout(limit, drained).await;
    }

    /// Closes every listener, every connection and every session. What waits for a connected
    /// client is still written, as far as it takes it at once. When this returns, the ports are
    /// free and nothing of the broker goes on.
    pub async fn stop(&self) {
        self.core.closing.cancel();
        self.core.stopped.store(true, Ordering::Release);
        for session in self.core.sessions.all() {
            let owner = session.lock().owner.clone();
            if let Some(owner) = owner {
                owner.end(Ending::Stopped);
            }
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for ended in futures_util::future::join_all(tasks).await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the MQTT broker did not end well");
            }
        }
        for session in self.core.sessions.all() {
            self.core.end_session(&session, SessionEnd::Stopped);
        }
        self.core.clear();
    }
}

/// A client as the listings show it.
fn client(session: &Session) -> Client {
    let (queued, inflight) = session.lengths();
    let tally = &session.tally;
    let state = session.lock();
    let (about, grant) = (&state.about, &state.peer.grant);
    Client {
        client_id: session.key.client_id.to_string(),
        username: about.username.clone(),
        dialect: grant.surface,
        tenant: grant.tenant.clone(),
        identity: Some(grant.identity.clone()),
        connected: state.owner.is_some(),
        protocol_version: state.peer.protocol_version,
        keep_alive: about.keep_alive,
        clean_start: about.clean_start,
        transport: about.transport,
        peer: about.remote,
        connected_at: Some(about.connected_at),
        will: about.will.clone(),
        subscriptions: state.subscriptions.len(),
        queued,
        inflight,
        messages_in: tally.taken.load(Ordering::Relaxed),
        messages_out: tally.written.load(Ordering::Relaxed),
        messages_dropped: tally.dropped.load(Ordering::Relaxed),
    }
}
