//! The one broker under all five vendors: publish, list, kick, count. [`Broker`] is a cheap
//! handle; what goes in and comes out are the values of `message/`; the engine behind it is
//! named only in `engine/`.

pub mod dialect;
mod engine;
mod gate;
pub mod message;
mod outbox;
pub mod outlet;
mod visitors;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use self::dialect::{Dialect, Refused};
use self::engine::Engine;
use self::message::{
    Client, Counters, Message, Publication, Published, Qos, Retained, Subscription, TopicFilter,
    Transport,
};
use self::outlet::Outlet;
use crate::clock::Clock;
use crate::exchange::page::Home;
use crate::exchange::{Refusal, Surface};
use crate::ids::Ids;

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
    /// How many unacknowledged deliveries one client may have (default 16).
    pub receive_maximum: u16,
    /// How many topic aliases are used in each direction (default 32).
    pub topic_alias_maximum: u16,
    /// Topic filters that the open dialect may not subscribe to.
    pub deny_subscribe: Vec<String>,
    /// Topic filters that the open dialect may not publish to.
    pub deny_publish: Vec<String>,
    /// Deliveries that may wait for one client before publishes wait (default 1,000).
    pub queue_limit: usize,
    /// How long a publish waits for a full queue, in milliseconds (default 5,000).
    pub publish_wait_ms: u64,
    /// Whether tenants share one topic tree (default) or have one each.
    pub isolation: Isolation,
    /// How often the figures of `$SYS` are published to who is subscribed, in seconds (default
    /// 10); 0 is never.
    pub sys_interval_s: u32,
    /// Whose web pages may open a WebSocket: `admin.hosts`, and the loopback ones.
    #[serde(skip)]
    pub home: Home,
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

/// How often it is looked whether everything has been delivered.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What the topics of the broker's own figures begin with.
const SYSTEM_PREFIX: &str = "$SYS/";

impl Default for Settings {
    fn default() -> Self {
        Self {
            open_clients: true,
            max_keep_alive: u16::MAX,
            max_packet_size: 1 << 20,
            receive_maximum: 16,
            topic_alias_maximum: 32,
            deny_subscribe: Vec::new(),
            deny_publish: Vec::new(),
            queue_limit: 1_000,
            publish_wait_ms: 5_000,
            isolation: Isolation::Shared,
            sys_interval_s: 10,
            home: Home::default(),
        }
    }
}

/// Takes every message that the broker took, at once and without waiting: the journal.
pub type Sink = Arc<dyn Fn(Arc<Message>) + Send + Sync>;

/// Takes every MQTT packet that was refused, at once and without waiting: the journal.
pub type RefusedSink = Arc<dyn Fn(Refused) + Send + Sync>;

/// A shared handle on the broker.
#[derive(Debug, Clone)]
pub struct Broker {
    engine: Arc<Engine>,
    gates: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Broker {
    /// Starts the engine. No listener is open yet.
    pub async fn start(settings: Settings, clock: Clock, ids: Ids, sink: Sink) -> Self {
        Self {
            engine: Arc::new(Engine::start(settings, clock, ids, sink).await),
            gates: Arc::default(),
        }
    }

    /// Adds a vendor's MQTT side. The first that claims a CONNECT has it.
    pub fn add_dialect(&self, dialect: Arc<dyn Dialect>) {
        self.engine.add_dialect(dialect);
    }

    /// Adds a way out beside the subscribers.
    pub fn add_outlet(&self, outlet: Arc<dyn Outlet>) {
        self.engine.add_outlet(outlet);
    }

    /// Registers who is told of refused packets; only the first one is.
    pub fn on_refused(&self, tell: RefusedSink) {
        self.engine.on_refused(tell);
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
        config: Arc<ServerConfig>,
    ) -> io::Result<SocketAddr> {
        self.open(transport, address, Some(config))
    }

    fn open(
        &self,
        transport: Transport,
        address: SocketAddr,
        config: Option<Arc<ServerConfig>>,
    ) -> io::Result<SocketAddr> {
        let door = self.engine.door(transport)?;
        let (bound, gate) = gate::open(address, door, config)?;
        self.gates.lock().push(gate);
        Ok(bound)
    }

    /// Publishes a message to everybody who is subscribed. Waits while a matching connected
    /// subscriber's queue is full; refuses with [`Refusal::Overloaded`] if it stays so.
    pub async fn publish(&self, publication: Publication) -> Result<Published, Refusal> {
        self.engine.publish(publication, None, None).await
    }

    /// Publishes like [`Broker::publish`] for one tenant of the origin's vendor: with
    /// [`Isolation::Tenant`] only that tenant's clients hear it.
    pub async fn publish_in(
        &self,
        tenant: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.engine.publish(publication, Some(tenant), None).await
    }

    /// Delivers a message to one client, subscribed or not. Nothing is delivered, and
    /// `matched` is 0, where no such client has a session.
    pub async fn send_to_client(
        &self,
        client_id: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.engine
            .publish(publication, None, Some(client_id))
            .await
    }

    /// Delivers like [`Broker::send_to_client`] for one tenant of the origin's vendor: with
    /// [`Isolation::Tenant`] only to a client of that tenant.
    pub async fn send_to_client_in(
        &self,
        tenant: &str,
        client_id: &str,
        publication: Publication,
    ) -> Result<Published, Refusal> {
        self.engine
            .publish(publication, Some(tenant), Some(client_id))
            .await
    }

    /// Every client that has a session, by client id.
    pub async fn clients(&self) -> Vec<Client> {
        self.engine.clients().await
    }

    /// Every subscription, in the order in which they were made.
    pub async fn subscriptions(&self) -> Vec<Subscription> {
        self.engine.subscriptions().await
    }

    /// Subscribes a connected client from outside; false if it is not there or is refused.
    pub async fn subscribe(&self, client_id: &str, filter: &TopicFilter, qos: Qos) -> bool {
        self.engine.subscribe(client_id, filter, qos).await
    }

    /// Unsubscribes a client from outside; false if it is not there.
    pub async fn unsubscribe(&self, client_id: &str, filter: &TopicFilter) -> bool {
        self.engine.unsubscribe(client_id, filter).await
    }

    /// Every retained message that has not expired, by topic.
    pub fn retained(&self) -> Vec<Retained> {
        self.engine.retained()
    }

    /// The same as one tenant of a vendor sees it: with [`Isolation::Tenant`] only its own.
    pub fn retained_of(&self, vendor: Surface, tenant: &str) -> Vec<Retained> {
        self.engine.retained_of(vendor, tenant)
    }

    /// Ends a client's connection and its session; false if there is no such client.
    pub async fn kick(&self, client_id: &str) -> bool {
        self.engine.kick(client_id).await
    }

    /// Closes a client's connection and leaves its session as it is; false if there is no such
    /// client.
    pub async fn close(&self, client_id: &str, reason: &str) -> bool {
        self.engine.close(client_id, reason).await
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// Forgets every retained message.
    pub fn clear_retained(&self) {
        self.engine.clear_retained();
    }

    /// Ends every connection and every session.
    pub async fn clear_sessions(&self) {
        self.engine.clear_sessions().await;
    }

    /// Takes no PUBLISH of a client any more: none is acknowledged that might be lost in a stop.
    pub fn take_no_more(&self) {
        self.engine.take_no_more();
    }

    /// Waits until every connected client has acknowledged what was published for it, at most so
    /// long.
    pub async fn drain(&self, limit: Duration) {
        let drained = async {
            // What the engine has not routed yet is in no queue: it must be seen empty twice.
            let mut seen = 0;
            while seen < 2 {
                seen = if self.engine.is_drained() {
                    seen + 1
                } else {
                    0
                };
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let _ = tokio::time::timeout(limit, drained).await;
    }

    /// Closes every listener, every connection and every session. When this returns, the ports
    /// are free.
    pub async fn stop(&self) {
        let gates = std::mem::take(&mut *self.gates.lock());
        for gate in gates {
            gate.abort();
            // The error says that it was aborted. The socket is closed once the task is gone.
            let _ = gate.await;
        }
        self.engine.stop().await;
    }
}
