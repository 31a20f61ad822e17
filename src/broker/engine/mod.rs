//! The MQTT engine: rmqtt as a library. This folder alone names its types, so that it can be
//! exchanged. `hooks.rs` is what the engine asks us, `routing.rs` how a message finds its
//! subscribers and its journal row, `subscriptions.rs` and `matching.rs` who they are,
//! `crossing.rs` how it gets to their sessions, `turns.rs` how some wait for that, `takeover.rs`
//! how a session changes hands, `registry.rs` the engine's sessions, `session.rs` one of them,
//! `retained.rs` the retained store, `listeners.rs` the ports, `door.rs` a connection on its way
//! to one, `opening.rs` its CONNECT, `exchange.rs`, `frame.rs`, `fields.rs` and `packets.rs` its
//! packets, `bounds.rs` what is too much in them, `validity.rs` and `zero_expiry.rs` what the engine
//! gets wrong in them, `ending.rs` why it ends, `admission.rs` who may connect, `doors.rs` who is
//! connected as what, `verdicts.rs` who may what, `tenant.rs` which part of the topic tree is whose,
//! `system.rs` the figures of `$SYS`, `grants.rs` what a CONNECT is granted, `convert.rs` our values
//! from and to the engine's.

mod admission;
mod bounds;
mod convert;
mod crossing;
mod door;
mod doors;
mod ending;
mod exchange;
mod fields;
mod frame;
mod grants;
mod hooks;
mod listeners;
mod matching;
mod opening;
mod packets;
mod registry;
mod retained;
mod routing;
mod session;
mod subscriptions;
mod system;
mod takeover;
mod tenant;
mod turns;
mod validity;
mod verdicts;
mod zero_expiry;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::{Mutex, RwLock};
use rmqtt::context::ServerContext;
use rmqtt::shared::Entry;
use rmqtt::types::{Id, Message as SessionMessage, Subscribe, Unsubscribe};
use tokio::sync::oneshot;

use self::crossing::Crossing;
pub(super) use self::door::Door;
use self::doors::Doors;
use self::listeners::Listeners;
use self::retained::RetainedStore;
use self::routing::To;
use self::session::Writing;
use self::subscriptions::Subscriptions;
use self::tenant::Scope;
use super::dialect::{Dialect, Refused};
use super::message::{
    Client, Counters, Message, Publication, Published, Qos, Retained, Subscription, TopicFilter,
    Transport,
};
use super::outbox::{Outboxes, RETAINED, Tag};
use super::outlet::Outlet;
use super::visitors::Visitors;
use super::{RefusedSink, Settings, Sink};
use crate::clock::Clock;
use crate::exchange::{Refusal, Surface};
use crate::ids::Ids;

/// What the hooks, the routing and the handle share.
struct Core {
    settings: Settings,
    denied: Denied,
    clock: Clock,
    ids: Ids,
    sink: Sink,
    outboxes: Outboxes,
    retained: RetainedStore,
    totals: Totals,
    next_tag: AtomicU32,
    /// When each subscription was made, as a running number: the engine does not keep the order.
    order: Mutex<HashMap<(ByteString, ByteString), u64>>,
    next_order: AtomicU64,
    listeners: Listeners,
    doors: Doors,
    writing: Writing,
    /// Set when the engine is there, before anything can be published.
    crossing: OnceLock<Crossing>,
    subscriptions: Subscriptions,
    visitors: Arc<Visitors>,
    outlets: RwLock<Vec<Arc<dyn Outlet>>>,
    on_refused: OnceLock<RefusedSink>,
    started: Instant,
    /// Whether a task publishes the figures of `$SYS`.
    watched: AtomicBool,
    /// Whether no client's PUBLISH is taken any more.
    draining: AtomicBool,
}

/// The filters that the open dialect refuses.
struct Denied {
    subscribe: Vec<TopicFilter>,
    publish: Vec<TopicFilter>,
}

#[derive(Default)]
struct Totals {
    connects: AtomicU64,
    disconnects: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    messages_dropped: AtomicU64,
}

impl Core {
    fn tag(&self) -> Tag {
        self.next_tag.fetch_add(1, Ordering::Relaxed) & !RETAINED
    }

    /// Tells of a packet that was refused.
    fn refused(&self, refused: Refused) {
        if let Some(tell) = self.on_refused.get() {
            tell(refused);
        }
    }

    fn message_id(&self) -> String {
        self.ids.upper_hex::<16>()
    }
}

/// The running engine.
pub(super) struct Engine {
    core: Arc<Core>,
    context: ServerContext,
    stopped: AtomicBool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

fn filters(texts: &[String]) -> Vec<TopicFilter> {
    texts
        .iter()
        .filter_map(|text| TopicFilter::parse(text.clone()).ok())
        .collect()
}

impl Engine {
    pub(super) async fn start(settings: Settings, clock: Clock, ids: Ids, sink: Sink) -> Self {
        let core = Arc::new(Core {
            denied: Denied {
                subscribe: filters(&settings.deny_subscribe),
                publish: filters(&settings.deny_publish),
            },
            outboxes: Outboxes::new(
                clock.clone(),
                settings.queue_limit,
                Duration::from_millis(settings.publish_wait_ms),
            ),
            retained: RetainedStore::new(clock.clone()),
            settings,
            clock,
            ids,
            sink,
            totals: Totals::default(),
            next_tag: AtomicU32::new(1),
            order: Mutex::default(),
            next_order: AtomicU64::new(1),
            listeners: Listeners::default(),
            doors: Doors::default(),
            writing: Writing::default(),
            crossing: OnceLock::new(),
            subscriptions: Subscriptions::default(),
            visitors: Arc::default(),
            outlets: RwLock::default(),
            on_refused: OnceLock::new(),
            started: Instant::now(),
            watched: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        });
        // The engine's load check would refuse connections on a busy CI machine.
        let context = ServerContext::new().busy_check_enable(false).build().await;
        retained::install(&context, &core).await;
        registry::install(&context, &core).await;
        subscriptions::install(&context, &core).await;
        grants::install(&context, &core).await;
        session::install(&context, &core).await;
        hooks::install(&context, &core).await;
        Self {
            core,
            context,
            stopped: AtomicBool::new(false),
        }
    }

    pub(super) fn add_dialect(&self, dialect: Arc<dyn Dialect>) {
        self.core.doors.dialects.write().push(dialect);
    }

    pub(super) fn add_outlet(&self, outlet: Arc<dyn Outlet>) {
        self.core.outlets.write().push(outlet);
    }

    pub(super) fn on_refused(&self, tell: RefusedSink) {
        // Whoever comes second is not told; the emulator registers once.
        let _ = self.core.on_refused.set(tell);
    }

    /// Opens a listener for what comes through this transport and returns the way to it.
    pub(super) fn door(&self, transport: Transport) -> std::io::Result<Door> {
        let listeners = &self.core.listeners;
        let settings = &self.core.settings;
        let (listener, inner) = listeners.open(&self.context, settings, transport)?;
        Ok(Door {
            core: self.core.clone(),
            listener,
            inner,
            transport,
        })
    }

    pub(super) async fn publish(
        &self,
        publication: Publication,
        tenant: Option<&str>,
        target: Option<&str>,
    ) -> Result<Published, Refusal> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Refusal::Unavailable("it has stopped".into()));
        }
        let scope = Scope::of_vendor(&self.core, publication.origin.vendor, tenant);
        let to = match target {
            None => To::Everybody(scope),
            Some(target) => To::Client(target, scope.filter(|_| tenant.is_some())),
        };
        routing::publish(&self.core, &self.context, publication, to).await
    }

    pub(super) async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for id in self.ids().await {
            if let Some(client) = convert::client(&self.core, &self.context, id).await {
                clients.push(client);
            }
        }
        clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        clients
    }

    pub(super) async fn subscriptions(&self) -> Vec<Subscription> {
        let mut all = Vec::new();
        for id in self.ids().await {
            let entry = self.context.extends.shared().await.entry(id);
            for found in entry.subscriptions().await.unwrap_or_default() {
                all.push(convert::subscription(&self.core, &found));
            }
        }
        all.sort_by_key(|subscription| subscription.order);
        all
    }

    pub(super) fn retained(&self) -> Vec<Retained> {
        self.core.retained.all()
    }

    pub(super) fn retained_of(&self, vendor: Surface, tenant: &str) -> Vec<Retained> {
        let scope = Scope::of_vendor(&self.core, Some(vendor), Some(tenant));
        self.core.retained.below(scope.as_ref())
    }

    pub(super) fn clear_retained(&self) {
        self.core.retained.clear();
    }

    pub(super) fn counters(&self) -> Counters {
        let totals = &self.core.totals;
        Counters {
            connects: totals.connects.load(Ordering::Relaxed),
            disconnects: totals.disconnects.load(Ordering::Relaxed),
            messages_in: totals.messages_in.load(Ordering::Relaxed),
            messages_out: totals.messages_out.load(Ordering::Relaxed),
            messages_dropped: totals.messages_dropped.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn kick(&self, client_id: &str) -> bool {
        let mut entry = self.entry(client_id).await;
        entry.exist() && entry.kick(true, true, true).await.is_ok()
    }

    pub(super) async fn close(&self, client_id: &str, reason: &str) -> bool {
        verdicts::close(&self.context, &self.id_of(client_id), reason.to_owned()).await
    }

    pub(super) async fn clear_sessions(&self) {
        let kicks = self.ids().await.into_iter().map(|id| async move {
            let client_id = id.client_id.clone();
            self.kick(&client_id).await;
        });
        futures_util::future::join_all(kicks).await;
    }

    pub(super) async fn subscribe(&self, client_id: &str, filter: &TopicFilter, qos: Qos) -> bool {
        let entry = self.entry(client_id).await;
        let text = ByteString::from(filter.as_str());
        let Ok(subscribe) = Subscribe::from_v3(&text, convert::engine_qos(qos), true, false) else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        let Some(sender) = entry.tx() else {
            return false;
        };
        sender
            .unbounded_send(SessionMessage::Subscribe(subscribe, reply))
            .is_ok()
            && matches!(answer.await, Ok(Ok(granted)) if !granted.failure())
    }

    pub(super) async fn unsubscribe(&self, client_id: &str, filter: &TopicFilter) -> bool {
        let entry = self.entry(client_id).await;
        let text = ByteString::from(filter.as_str());
        let Ok(unsubscribe) = Unsubscribe::from(&text, true, false) else {
            return false;
        };
        let (reply, answer) = oneshot::channel();
        let Some(sender) = entry.tx() else {
            return false;
        };
        sender
            .unbounded_send(SessionMessage::Unsubscribe(unsubscribe, reply))
            .is_ok()
            && matches!(answer.await, Ok(Ok(())))
    }

    pub(super) fn take_no_more(&self) {
        self.core.draining.store(true, Ordering::Release);
    }

    /// Whether every connected client has acknowledged all that was published for it.
    pub(super) fn is_drained(&self) -> bool {
        self.core.outboxes.are_drained()
    }

    pub(super) async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.core.listeners.close_all(&self.context).await;
        self.clear_sessions().await;
    }

    async fn entry(&self, client_id: &str) -> Box<dyn Entry> {
        let shared = self.context.extends.shared().await;
        shared.entry(self.id_of(client_id))
    }

    fn id_of(&self, client_id: &str) -> Id {
        Id::from(self.context.node.id(), ByteString::from(client_id))
    }

    /// The ids of all sessions. Collected first: the iterator holds the engine's map.
    async fn ids(&self) -> Vec<Id> {
        let shared = self.context.extends.shared().await;
        shared.iter().map(|entry| entry.id()).collect()
    }
}

/// Keeps a message in the journal.
fn record(core: &Core, message: &Arc<Message>) {
    (core.sink)(message.clone());
}
