//! What one broker's parts share, and how sessions and wills end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use mqttstack_base::clock::Clock;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::{Origin, OriginKind, Properties, Qos, TopicFilter, Will};
use parking_lot::{MutexGuard, RwLock};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::dialect::{Dialect, Grant, Noted, Peer, Publish, PublishVerdict, Refused, SessionEnd};
use super::ending::Ending;
use super::events::{self, Event};
use super::outlet::Outlet;
use super::packet::code;
use super::retained::RetainedStore;
use super::router::Router;
use super::routing::Draft;
use super::session::{NEVER, Owner, Session, State};
use super::sessions::Sessions;
use super::tenant::Tenant;
use super::timers::{FellDue, Timers, What};
use super::{NotedSink, RefusedSink, Settings, Sink};

/// What the parts of one broker share.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) denied: Denied,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) sink: Sink,
    pub(crate) on_refused: OnceLock<RefusedSink>,
    pub(crate) on_noted: OnceLock<NotedSink>,
    pub(crate) dialects: RwLock<Vec<Arc<dyn Dialect>>>,
    pub(crate) outlets: RwLock<Vec<Arc<dyn Outlet>>>,
    pub(crate) sessions: Sessions,
    pub(crate) router: Router,
    pub(crate) retained: RetainedStore,
    pub(crate) timers: Arc<Timers>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) totals: Totals,
    pub(crate) counts: Arc<Counts>,
    pub(crate) next_order: AtomicU64,
    pub(crate) started: Instant,
    /// Whether a task publishes the figures of `$SYS`.
    pub(crate) watched: AtomicBool,
    pub(crate) stopped: AtomicBool,
    /// Cancelled when the broker stops: its tasks end.
    pub(crate) closing: CancellationToken,
    /// Whether no client's PUBLISH is taken any more.
    pub(crate) draining: AtomicBool,
}

/// The filters that open clients are refused.
pub(crate) struct Denied {
    pub(crate) subscribe: Vec<TopicFilter>,
    pub(crate) publish: Vec<TopicFilter>,
}

fn filters(texts: &[String]) -> Vec<TopicFilter> {
    texts
        .iter()
        .filter_map(|text| TopicFilter::parse(text.clone()).ok())
        .collect()
}

/// Totals since the start.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) connects: AtomicU64,
    pub(crate) disconnects: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) messages_out: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
}

impl Core {
    pub(crate) fn new(settings: Settings, clock: Clock, ids: Ids, sink: Sink) -> Self {
        Self {
            denied: Denied {
                subscribe: filters(&settings.deny_subscribe),
                publish: filters(&settings.deny_publish),
            },
            settings,
            clock,
            ids,
            sink,
            on_refused: OnceLock::new(),
            on_noted: OnceLock::new(),
            dialects: RwLock::default(),
            outlets: RwLock::default(),
            sessions: Sessions::default(),
            router: Router::default(),
            retained: RetainedStore::default(),
            timers: Arc::default(),
            events: events::stream(),
            totals: Totals::default(),
            counts: Arc::default(),
            next_order: AtomicU64::new(1),
            started: Instant::now(),
            watched: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            closing: CancellationToken::new(),
            draining: AtomicBool::new(false),
        }
    }

    /// Tells of a packet that was refused.
    pub(crate) fn refused(&self, refused: Refused) {
        if let Some(tell) = self.on_refused.get() {
            tell(refused);
        }
    }

    /// Tells of a connection that was refused before its CONNECT could be put to a vendor.
    pub(crate) fn turned_away(&self, packet: &'static str, code: u8, reason: String) {
        self.refused(Refused {
            surface: None,
            packet,
            client_id: String::new(),
            identity: None,
            topic: None,
            code,
            reason,
        });
    }

    /// Tells of hints about a packet that was let through.
    pub(crate) fn noted(
        &self,
        (client_id, grant): (&str, &Grant),
        (packet, topic): (&'static str, Option<&str>),
        hints: Vec<String>,
    ) {
        if let Some(tell) = self.on_noted.get()
            && !hints.is_empty()
        {
            tell(Noted {
                surface: grant.surface,
                packet,
                topic: topic.map(str::to_owned),
                client_id: client_id.to_owned(),
                identity: grant.identity.clone(),
                hints,
            });
        }
    }

    /// The verdict on a retained message, unless it would be one more than there may be.
    pub(crate) fn retainable(
        &self,
        peer: &Peer,
        publish: &Publish<'_>,
        verdict: PublishVerdict,
    ) -> PublishVerdict {
        let most = peer.grant.limits.retained_messages;
        let Some(most) = most.filter(|_| publish.retain && !publish.payload.is_empty()) else {
            return verdict;
        };
        let tenant = Tenant::of_client(&self.settings, &peer.grant);
        let now = self.clock.now();
        if !matches!(verdict, PublishVerdict::Allow)
            || !self.retained.is_full(&tenant, publish.topic, most, now)
        {
            return verdict;
        }
        let code = code::QUOTA_EXCEEDED;
        let reason =
            format!("there are {most} retained messages, which are as many as there may be");
        if peer.protocol_version >= 5 && publish.qos != Qos::AtMostOnce {
            PublishVerdict::Refuse { code, reason }
        } else {
            PublishVerdict::Disconnect { code, reason }
        }
    }

    /// Ends a session: its subscriptions, all that waits, its will if it is still to be
    /// published. Returns the will's topic then.
    pub(crate) fn end_session(&self, session: &Arc<Session>, end: SessionEnd) -> Option<String> {
        let now = self.clock.now();
        let (filters, will, peer, dialect) = {
            let mut state = session.lock();
            if state.closed {
                return None;
            }
            state.closed = true;
            state.owner = None;
            self.timers.cancel(state.expires.take());
            self.timers.cancel(state.will_due.take());
            self.timers.cancel(state.sweep.take());
            (
                std::mem::take(&mut state.subscriptions),
                state.will.take(),
                state.peer.clone(),
                state.dialect.clone(),
            )
        };
        self.router.forget(session, filters.into_keys());
        self.sessions.remove(session);
        let (others, dropped) = session.abandon(&end.to_string(), now);
        self.dropped(dropped);
        self.hand_on(session, others);
        if let Some(dialect) = &dialect {
            dialect.session_ended(&peer, end);
        }
        self.tell(|| Event::SessionEnded {
            client_id: session.key.client_id.clone(),
            end,
        });
        let will = will?;
        let topic = will.topic.clone();
        self.publish_will(session, &will).then_some(topic)
    }

    /// A connection lets its session go: the will, the Session Expiry Interval, and whoever waits
    /// to take it over. `event` is told as soon as the client counts as gone.
    pub(crate) fn release(
        self: &Arc<Self>,
        session: &Arc<Session>,
        owner: &Owner,
        ending: &Ending,
        event: impl FnOnce() -> Event,
    ) {
        let now = self.clock.now();
        let mut state = session.lock();
        if state.owner.as_ref().is_none_or(|own| own.id != owner.id) {
            drop(state);
            self.tell(event);
            return;
        }
        if ending.forgets_will() {
            state.will = None;
        }
        let end = match ending {
            Ending::Kicked => Some(SessionEnd::Kicked),
            Ending::QueueOverflow => Some(state.overflow()),
            _ => (state.expiry == 0).then_some(SessionEnd::WithConnection),
        };
        if let Some(end) = end {
            drop(state);
            self.tell(event);
            self.end_session(session, end);
        } else {
            let will = self.outlive(session, state);
            self.tell(event);
            if let Some(will) = will {
                self.publish_will(session, &will);
            }
            let (dropped, next) = session.sweep(now);
            self.dropped(dropped);
            if let Some(at) = next {
                self.plan_sweep(session, at);
            }
            session.room().notify_waiters();
        }
        // Not before everything is in its place: who waits takes it over at once.
        owner.released().notify_waiters();
    }

    /// A session outlives its connection. Returns the will that is to be published now.
    fn outlive(
        &self,
        session: &Arc<Session>,
        mut state: MutexGuard<'_, State>,
    ) -> Option<Box<Will>> {
        let now = self.clock.now();
        let after = |seconds: u32| {
            let life = jiff::SignedDuration::from_secs(seconds.into());
            now.checked_add(life).unwrap_or(jiff::Timestamp::MAX)
        };
        state.owner = None;
        if state.expiry != NEVER {
            let at = after(state.expiry);
            state.expires = Some(self.timers.set(at, What::Session(session.into())));
        }
        let ignored = state.limits().will_delay_ignored;
        // MQTT 5.0 section 3.1.3.2.2: at the latest when the session ends.
        let delay = match &state.will {
            Some(will) if !ignored => will.delay.min(state.expiry),
            _ => 0,
        };
        if delay == 0 {
            return state.will.take();
        }
        state.will_due = Some(self.timers.set(after(delay), What::Will(session.into())));
        None
    }

    /// Publishes a will, if its client may; whether it did.
    #[expect(
        clippy::too_many_lines,
        reason = "one straight walk: ask the vendor, find the receivers, route"
    )]
    pub(crate) fn publish_will(&self, session: &Session, will: &Will) -> bool {
        let (peer, dialect) = {
            let state = session.lock();
            (state.peer.clone(), state.dialect.clone())
        };
        let mut draft = Draft {
            topic: will.topic.clone(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.clone(),
            origin: Origin {
                kind: OriginKind::Will,
                vendor: peer.grant.surface,
                client_id: Some(peer.client_id.clone()),
                request: None,
            },
            tenant: None,
        };
        limit_life(&peer, draft.retain, &mut draft.properties);
        let question = Publish {
            client_id: Some(&peer.client_id),
            topic: &draft.topic,
            payload: &draft.payload,
            qos: draft.qos,
            retain: draft.retain,
            properties: &draft.properties,
            will: true,
        };
        let verdict = match &dialect {
            Some(dialect) => dialect.publish(&peer, &question),
            None => self.open_publish(&question),
        };
        let verdict = self.retainable(&peer, &question, verdict);
        let tenant = Tenant::of_client(&self.settings, &peer.grant);
        let targets = match verdict {
            PublishVerdict::Allow => self.targets(&tenant, &draft.question(), Some(session.id)),
            PublishVerdict::AllowUnretained => {
                draft.retain = false;
                self.targets(&tenant, &draft.question(), Some(session.id))
            }
            PublishVerdict::DeliverTo(client_id) => {
                draft.retain = false;
                let found = self.sessions.get(&tenant, &client_id);
                found.map_or_else(Vec::new, |session| Self::only(session, draft.qos))
            }
            PublishVerdict::Consume(_) | PublishVerdict::ConsumeSecret => return false,
            PublishVerdict::Discard { reason } => {
                self.refused_publish(&peer, &draft.topic, code::NORMAL, &reason);
                return false;
            }
            PublishVerdict::Refuse { code, reason }
            | PublishVerdict::Disconnect { code, reason } => {
                self.refused_publish(&peer, &draft.topic, code, &reason);
                return false;
            }
            PublishVerdict::Withhold { reason } => {
                self.refused_publish(&peer, &draft.topic, code::UNSPECIFIED, &reason);
                return false;
            }
            PublishVerdict::Close { reason } => {
                self.refused_publish(&peer, &draft.topic, code::NOT_AUTHORIZED, &reason);
                return false;
            }
        };
        self.route(&tenant, draft, targets, Some(&peer));
        true
    }

    /// A session has more than its vendor allows: it ends, with its connection.
    pub(crate) fn end_overflowing(&self, session: &Arc<Session>) {
        let owner = session.lock().owner.clone();
        if let Some(owner) = owner {
            owner.end(Ending::QueueOverflow);
        } else {
            let end = session.lock().overflow();
            self.end_session(session, end);
        }
    }

    /// Does what is due.
    pub(crate) fn fell_due(&self, what: What, happened: &mut Vec<FellDue>) {
        match what {
            What::Session(session) => {
                let Some(session) = session.0.upgrade() else {
                    return;
                };
                {
                    let mut state = session.lock();
                    state.expires = None;
                    if state.owner.is_some() {
                        return;
                    }
                }
                let client_id = session.key.client_id.to_string();
                let will = self.end_session(&session, SessionEnd::Expired);
                happened.push(FellDue::SessionExpired {
                    client_id: client_id.clone(),
                });
                happened.extend(will.map(|topic| FellDue::WillPublished { client_id, topic }));
            }
            What::Will(session) => {
                let Some(session) = session.0.upgrade() else {
                    return;
                };
                let will = {
                    let mut state = session.lock();
                    state.will_due = None;
                    if state.owner.is_some() {
                        return;
                    }
                    state.will.take()
                };
                if let Some(will) = will.filter(|will| self.publish_will(&session, will)) {
                    happened.push(FellDue::WillPublished {
                        client_id: session.key.client_id.to_string(),
                        topic: will.topic.clone(),
                    });
                }
            }
            What::Queue(session) => {
                let Some(session) = session.0.upgrade() else {
                    return;
                };
                let (count, next) = session.sweep(self.clock.now());
                self.dropped(count);
                if let Some(at) = next {
                    self.plan_sweep(&session, at);
                }
                if count > 0 {
                    let client_id = session.key.client_id.to_string();
                    happened.push(FellDue::MessagesExpired { client_id, count });
                }
            }
            What::Retained(tenant, topic) => {
                if self.retained.expire(&tenant, &topic, self.clock.now()) {
                    let topic = topic.into();
                    happened.push(FellDue::RetainedExpired { topic });
                }
            }
        }
    }

    /// Lets everything go that could keep this broker, or what it serves, in memory.
    pub(crate) fn clear(&self) {
        self.stopped.store(true, Ordering::Release);
        self.timers.clear();
        self.router.clear();
        self.retained.clear();
        self.dialects.write().clear();
        self.outlets.write().clear();
    }
}

/// Gives a retained message the life that its client's vendor allows: a longer one is lowered, and
/// a message of 3.x, which has none, gets it.
pub(crate) fn limit_life(peer: &Peer, retain: bool, properties: &mut Properties) {
    let Some(longest) = peer.grant.limits.max_retained_expiry.filter(|_| retain) else {
        return;
    };
    properties.message_expiry_interval = match properties.message_expiry_interval {
        Some(own) => Some(own.min(longest)),
        None if peer.protocol_version < 5 => Some(longest),
        None => None,
    };
}
