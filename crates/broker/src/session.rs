//! A session: what the broker keeps for one client id (and tenant), from its first CONNECT until
//! it expires, whether a connection has it or not (MQTT 5.0 section 4.1). Subscriptions, the
//! messages that wait, those that were sent and not acknowledged, the packet ids of QoS 2 that were
//! received and not released, the will, and the paces at which its vendor lets messages through.
//!
//! One lock holds all of it. Nothing here waits, writes or asks a vendor: the connection that
//! has the session (`connection.rs`) takes deliveries out and writes them.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::task::AtomicWaker;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::message::{Message, Qos, Transport, Will};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::counts::{GivenUp, Step};
use super::dialect::{Dialect, Limits, Peer, SessionEnd};
use super::encode::Envelope;
use super::ending::Ending;
use super::events::Event;
use super::pace::Paces;
use super::router::{GroupName, Options};
use super::tenant::Tenant;
use super::timers::Due;

/// "No row of the journal": a delivery that is not written down.
pub(crate) const NO_ROW: u32 = u32::MAX;
/// "Never", as a Session Expiry Interval (MQTT 5.0 section 3.1.2.11.2).
pub(crate) const NEVER: u32 = u32::MAX;
/// How many times the usual limit a client's queue may hold while its own publish waits.
const PUBLISHING_SLACK: usize = 4;

/// Why a delivery is given up that comes too late.
pub(crate) const SESSION_OVER: &str = "the client's session has ended";

/// One message on its way to one client.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) envelope: Arc<Envelope>,
    /// Which of the message's deliveries in the journal this is.
    pub(crate) row: u32,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// Subscription Identifiers.
    pub(crate) identifiers: Box<[u32]>,
    /// The shared subscription through which it came.
    pub(crate) group: Option<Arc<GroupName>>,
}

impl Delivery {
    pub(crate) fn message(&self) -> &Message {
        &self.envelope.message
    }

    /// Counts and writes down how far it has come.
    pub(crate) fn tell(&self, step: Step<'_>, now: Timestamp) {
        if let Some(counts) = &self.envelope.counts {
            counts.step(step);
        }
        if self.row == NO_ROW {
            return;
        }
        let mut rows = self.message().deliveries.lock();
        let Some(row) = rows.get_mut(self.row as usize) else {
            return;
        };
        row.outcome = step.outcome();
        row.reason = match step {
            Step::GivenUp(_, reason) => Some(reason.to_owned()),
            _ => None,
        };
        row.time = now;
        if let Some(events) = &self.envelope.events {
            // Only an event that nobody receives is an error.
            let _ = events.send(Event::Delivery {
                message: self.envelope.message.clone(),
                delivery: row.clone(),
            });
        }
    }

    /// About how many bytes it keeps in memory while it waits.
    fn weight(&self) -> usize {
        let message = self.message();
        128 + message.topic.len() + message.payload.len()
    }

    /// When its Message Expiry Interval runs out.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        expiry(self.message())
    }
}

/// When a message's Message Expiry Interval runs out. An interval of 0 is over at once, but the
/// message may still be delivered to who is there.
pub(crate) fn expiry(message: &Message) -> Option<Timestamp> {
    let seconds = message.properties.message_expiry_interval?;
    let life = SignedDuration::from_secs(seconds.into());
    Some(message.time.checked_add(life).unwrap_or(Timestamp::MAX))
}

/// How far a QoS 1 or 2 delivery has come at the client (MQTT 5.0 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The PUBLISH was sent, PUBACK or PUBREC is awaited.
    Published,
    /// PUBREL was sent, PUBCOMP is awaited.
    Released,
}

/// A delivery that was sent and not acknowledged.
#[derive(Debug)]
pub(crate) struct Inflight {
    pub(crate) delivery: Delivery,
    pub(crate) stage: Stage,
    /// Its place in the order in which they were sent.
    order: u64,
}

/// What the connection must do next for its session.
pub(crate) enum Next {
    /// Write this PUBLISH.
    Publish {
        delivery: Delivery,
        packet_id: u16,
        dup: bool,
    },
    /// Write the PUBREL of this packet id.
    Release { packet_id: u16 },
    /// Nothing until this time of the emulator's clock.
    At(Timestamp),
    /// Nothing until something changes.
    Nothing,
}

/// What a session's owner is asked to do from outside.
#[derive(Debug, Default)]
struct Orders {
    ending: Option<Ending>,
    keep_alive: Option<u16>,
}

/// The connection that has a session, as others see it.
#[derive(Debug)]
pub(crate) struct Owner {
    /// Tells a client's connections apart.
    pub(crate) id: u64,
    waker: AtomicWaker,
    woken: AtomicBool,
    orders: Mutex<Orders>,
    /// Told once the connection has let the session go.
    released: Notify,
}

impl Owner {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            waker: AtomicWaker::new(),
            woken: AtomicBool::new(false),
            orders: Mutex::default(),
            released: Notify::new(),
        }
    }

    /// Lets the connection look at its session and its orders.
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Asks the connection to end. The first order holds.
    pub(crate) fn end(&self, ending: Ending) {
        self.orders.lock().ending.get_or_insert(ending);
        self.wake();
    }

    /// Gives the connection another keep-alive, in seconds.
    pub(crate) fn keep_alive(&self, seconds: u16) {
        self.orders.lock().keep_alive = Some(seconds);
        self.wake();
    }

    /// Whether the connection has been woken since it last asked; registers who is to be woken.
    pub(crate) fn poll_woken(&self, cx: &std::task::Context<'_>) -> bool {
        if self.woken.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.waker.register(cx.waker());
        self.woken.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn take_ending(&self) -> Option<Ending> {
        self.orders.lock().ending.take()
    }

    pub(crate) fn take_keep_alive(&self) -> Option<u16> {
        self.orders.lock().keep_alive.take()
    }

    /// Who waits for the connection to let the session go.
    pub(crate) fn released(&self) -> &Notify {
        &self.released
    }
}

/// What the last CONNECT said, for the listings.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) username: Option<String>,
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    pub(crate) transport: Transport,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) connected_at: Timestamp,
    pub(crate) will: Option<Will>,
}

/// Counters of one client.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) taken: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// Names a session: the client id within its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) tenant: Tenant,
    pub(crate) client_id: Arc<str>,
}

/// One session.
pub(crate) struct Session {
    /// Tells it from all others, of the same client id too.
    pub(crate) id: u64,
    pub(crate) key: Key,
    pub(crate) tally: Tally,
    state: Mutex<State>,
    room: Notify,
}

/// What a session's lock holds.
pub(crate) struct State {
    pub(crate) owner: Option<Arc<Owner>>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) dialect: Option<Arc<dyn Dialect>>,
    pub(crate) about: About,
    /// By the filter as the client wrote it, `$share/` and all.
    pub(crate) subscriptions: HashMap<Box<str>, Options>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    inflight: HashMap<u16, Inflight>,
    next_order: u64,
    last_packet_id: u16,
    /// What this connection must send once more, in order.
    again: VecDeque<u16>,
    /// How many deliveries of QoS 1 and 2 may be under way at once, and how many are.
    window: u16,
    used: u16,
    /// Packet ids of QoS 2 that were received and not released, each with a digest of its message.
    pub(crate) received: HashMap<u16, u64>,
    pub(crate) will: Option<Box<Will>>,
    /// Seconds that it outlives its connection; [`NEVER`] for one that does not expire.
    pub(crate) expiry: u32,
    paces: Option<Box<Paces>>,
    /// Set while this client's own publish waits for others: nobody waits for it then, so that
    /// two clients that publish to each other cannot block each other.
    pub(crate) publishing: bool,
    /// Set once a publish has waited for this client in vain, until it takes something again:
    /// nobody waits for it meanwhile.
    pub(crate) stalled: bool,
    pub(crate) closed: bool,
    pub(crate) expires: Option<Due>,
    pub(crate) will_due: Option<Due>,
    pub(crate) sweep: Option<Due>,
}

/// Whether a session's queue takes another delivery of QoS 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// There is room.
    Yes,
    /// Its client is away: its vendor's rules, and the limit, say what is kept.
    Offline,
    /// It is full, and its client takes what waits: whoever can wait should.
    Wait,
    /// It is full, and somebody has waited for its client in vain.
    Stalled,
}

/// What entering a delivery did.
pub(crate) struct Entered {
    /// Deliveries that were given up, this one among them or older ones.
    pub(crate) dropped: usize,
    /// When the queue must be looked through, if that is sooner than planned.
    pub(crate) sweep_at: Option<Timestamp>,
    /// The session has more than its vendor allows, and must end.
    pub(crate) overflow: bool,
}

impl Session {
    pub(crate) fn new(id: u64, key: Key, owner: Arc<Owner>, peer: Arc<Peer>, about: About) -> Self {
        Self {
            id,
            key,
            tally: Tally::default(),
            state: Mutex::new(State {
                owner: Some(owner),
                peer,
                dialect: None,
                about,
                subscriptions: HashMap::new(),
                queue: VecDeque::new(),
                queued_bytes: 0,
                inflight: HashMap::new(),
                next_order: 0,
                last_packet_id: 0,
                again: VecDeque::new(),
                window: u16::MAX,
                used: 0,
                received: HashMap::new(),
                will: None,
                expiry: 0,
                paces: None,
                publishing: false,
                stalled: false,
                closed: false,
                expires: None,
                will_due: None,
                sweep: None,
            }),
            room: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Who waits for room in the queue.
    pub(crate) fn room(&self) -> &Notify {
        &self.room
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state.lock().owner.is_some()
    }

    /// Whether a delivery of QoS 1 or 2 finds room.
    pub(crate) fn has_room(&self, limit: usize, bytes: usize) -> Room {
        let state = self.state.lock();
        if state.owner.is_none() {
            return Room::Offline;
        }
        let slack = if state.publishing {
            PUBLISHING_SLACK
        } else {
            1
        };
        if state.queue.len() < limit * slack && state.queued_bytes < bytes * slack {
            Room::Yes
        } else if state.stalled {
            Room::Stalled
        } else {
            Room::Wait
        }
    }

    /// Whether the client has as many filters as it may have, and this is a new one.
    pub(crate) fn has_its_filters(&self, filter: &str) -> bool {
        let state = self.state.lock();
        let limit = state.limits().filters_per_client;
        limit.is_some_and(|limit| state.subscriptions.len() >= limit)
            && !state.subscriptions.contains_key(filter)
    }

    fn count_dropped(&self, count: usize) {
        self.tally
            .dropped
            .fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Enters a delivery behind all that wait, or gives it up with the reason in its row.
    pub(crate) fn enter(
        &self,
        delivery: Delivery,
        limits: (usize, usize),
        now: Timestamp,
    ) -> Entered {
        let mut entered = Entered {
            dropped: 0,
            sweep_at: None,
            overflow: false,
        };
        let mut state = self.state.lock();
        if let Some((why, reason)) = state.refuses(&delivery, limits) {
            drop(state);
            delivery.tell(Step::GivenUp(why, reason), now);
            self.count_dropped(1);
            entered.dropped = 1;
            return entered;
        }
        let expires = delivery.expires();
        state.queued_bytes += delivery.weight();
        state.queue.push_back(delivery);
        if let Some(owner) = state.owner.clone() {
            // A connected client that takes its messages at once needs no clock.
            if let Some(at) = expires.filter(|_| state.queue.len() > 1) {
                entered.sweep_at = state.sooner(at);
            }
            drop(state);
            owner.wake();
        } else {
            entered.dropped = state.trim(now);
            entered.overflow = state.overflows();
            let kept = state.limits().offline_expiry_s.map(|life| {
                let life = SignedDuration::from_secs(i64::try_from(life).unwrap_or(i64::MAX));
                now.checked_add(life).unwrap_or(Timestamp::MAX)
            });
            let soonest = expires.into_iter().chain(kept).min();
            entered.sweep_at = soonest.and_then(|at| state.sooner(at));
            drop(state);
            self.count_dropped(entered.dropped);
        }
        entered
    }

    /// What the connection must write next.
    pub(crate) fn next(&self, now: Timestamp, longest: u32) -> Next {
        let mut state = self.state.lock();
        if let Some(next) = state.next_again() {
            return next;
        }
        loop {
            let State {
                queue, paces, peer, ..
            } = &mut *state;
            let Some(qos) = queue.front().map(|head| head.qos) else {
                return Next::Nothing;
            };
            if let Some(at) = paces
                .as_mut()
                .and_then(|paces| paces.next(&peer.grant.limits, now))
            {
                return Next::At(at);
            }
            if qos != Qos::AtMostOnce && state.used >= state.window {
                return Next::Nothing;
            }
            let Some(delivery) = state.pop() else {
                return Next::Nothing;
            };
            let given_up = state.unfit(&delivery, now, longest);
            let State { paces, peer, .. } = &mut *state;
            if let Some(paces) = paces {
                paces.left(&peer.grant.limits, given_up.is_none().then_some(now));
            }
            if let Some((why, reason)) = given_up {
                delivery.tell(Step::GivenUp(why, &reason), now);
                self.count_dropped(1);
                self.room.notify_waiters();
                continue;
            }
            let packet_id = match delivery.qos {
                Qos::AtMostOnce => 0,
                _ => state.send(&delivery),
            };
            return Next::Publish {
                delivery,
                packet_id,
                dup: false,
            };
        }
    }

    /// Something was written to the client: there is room again, and it is not stalled.
    pub(crate) fn took(&self, count: usize) {
        self.tally
            .written
            .fetch_add(count as u64, Ordering::Relaxed);
        self.state.lock().stalled = false;
        self.room.notify_waiters();
    }

    /// Deliveries that were taken out and never written go back, the newest first. Those that
    /// were to be sent again stay where they are: among the unacknowledged.
    pub(crate) fn put_back(
        &self,
        unsent: impl DoubleEndedIterator<Item = (Delivery, u16, bool)>,
        now: Timestamp,
    ) {
        let mut state = self.state.lock();
        for (delivery, packet_id, dup) in unsent.rev() {
            if dup || (packet_id != 0 && state.inflight.remove(&packet_id).is_none()) {
                continue;
            }
            delivery.tell(Step::Queued, now);
            state.queued_bytes += delivery.weight();
            state.queue.push_front(delivery);
        }
    }

    /// Gives up what is too old, or too much for an offline client. Returns how many were given
    /// up, and when to look again.
    pub(crate) fn sweep(&self, now: Timestamp) -> (usize, Option<Timestamp>) {
        let mut state = self.state.lock();
        state.sweep = None;
        let mut dropped = if state.owner.is_none() {
            state.trim(now)
        } else {
            0
        };
        let before = state.queue.len();
        let mut next: Option<Timestamp> = None;
        let mut freed = 0;
        state.queue.retain(|delivery| match delivery.expires() {
            Some(at) if at <= now => {
                delivery.tell(Step::GivenUp(GivenUp::Expired, EXPIRED), now);
                freed += delivery.weight();
                false
            }
            Some(at) => {
                next = Some(next.map_or(at, |next| next.min(at)));
                true
            }
            None => true,
        });
        state.queued_bytes -= freed.min(state.queued_bytes);
        dropped += before - state.queue.len();
        if state.owner.is_none() {
            next = next.into_iter().chain(state.offline_due()).min();
        }
        drop(state);
        self.count_dropped(dropped);
        self.room.notify_waiters();
        (dropped, next)
    }

    /// How many deliveries wait, and how many are sent and not acknowledged.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.len(), state.inflight.len())
    }

    /// Gives up every delivery. Returns those that another member of their shared group should
    /// have, and how many were given up.
    pub(crate) fn abandon(&self, reason: &str, now: Timestamp) -> (Vec<Delivery>, usize) {
        let mut state = self.state.lock();
        let mut sent: Vec<_> = state.inflight.drain().map(|(_, sent)| sent).collect();
        sent.sort_by_key(|sent| sent.order);
        let queue = std::mem::take(&mut state.queue);
        state.queued_bytes = 0;
        state.again.clear();
        state.received.clear();
        drop(state);
        let count = sent.len() + queue.len();
        let mut others = Vec::new();
        let sent = sent.into_iter().map(|sent| (sent.stage, sent.delivery));
        let waiting = queue
            .into_iter()
            .map(|delivery| (Stage::Published, delivery));
        for (stage, delivery) in sent.chain(waiting) {
            delivery.tell(Step::GivenUp(GivenUp::SessionEnded, reason), now);
            // MQTT 5.0 section 4.8.2: what was not acknowledged is another member's.
            if stage == Stage::Published
                && delivery.group.is_some()
                && delivery.qos != Qos::AtMostOnce
            {
                others.push(delivery);
            }
        }
        self.count_dropped(count);
        self.room.notify_waiters();
        (others, count)
    }
}

/// Why a delivery is given up whose Message Expiry Interval is over.
pub(crate) const EXPIRED: &str = "its Message Expiry Interval is over";

impl State {
    pub(crate) fn limits(&self) -> &Limits {
        &self.peer.grant.limits
    }

    fn sooner(&self, at: Timestamp) -> Option<Timestamp> {
        self.sweep
            .as_ref()
            .is_none_or(|due| due.at > at)
            .then_some(at)
    }

    /// Why a delivery must be given up at once.
    fn refuses(
        &self,
        delivery: &Delivery,
        (count, bytes): (usize, usize),
    ) -> Option<(GivenUp, &'static str)> {
        if self.closed {
            return Some((GivenUp::SessionEnded, SESSION_OVER));
        }
        let kept_newest = self.limits().offline_queue.is_some();
        let full = self.queue.len() >= count || self.queued_bytes >= bytes;
        if self.owner.is_none() {
            if let Some(dialect) = &self.dialect
                && !dialect.keeps_offline(&self.peer, &delivery.message().topic, delivery.qos)
            {
                let reason = "the client is offline, and its vendor keeps no such message for it";
                return Some((GivenUp::NotKept, reason));
            }
            let bounded = full && !(kept_newest && delivery.qos != Qos::AtMostOnce);
            return bounded.then_some((
                GivenUp::QueueFull,
                "the queue of the offline client is full",
            ));
        }
        if !full {
            return None;
        }
        if delivery.qos == Qos::AtMostOnce {
            let reason = "the queue of the client is full and the delivery is QoS 0";
            return Some((GivenUp::QueueFull, reason));
        }
        let reason = "the queue of the client is full and it takes nothing";
        self.stalled.then_some((GivenUp::QueueFull, reason))
    }

    /// Takes the delivery at the head of the queue.
    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        self.queued_bytes -= delivery.weight().min(self.queued_bytes);
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
        Some(delivery)
    }

    /// Why a delivery must not be written to this client.
    fn unfit(
        &self,
        delivery: &Delivery,
        now: Timestamp,
        longest: u32,
    ) -> Option<(GivenUp, String)> {
        // What comes the moment it was published is delivered, whatever its interval.
        let waited = delivery.message().time < now;
        if waited && delivery.expires().is_some_and(|at| at <= now) {
            let zero = delivery.message().properties.message_expiry_interval == Some(0);
            if !zero {
                return Some((GivenUp::Expired, EXPIRED.to_owned()));
            }
        }
        if longest == u32::MAX {
            return None;
        }
        let five = self.peer.protocol_version >= 5;
        let size = delivery
            .envelope
            .size(five, delivery.qos, &delivery.identifiers);
        (size > longest as usize).then(|| {
            let reason = format!(
                "the PUBLISH has {size} bytes, the client's Maximum Packet Size is {longest}"
            );
            (GivenUp::TooLarge, reason)
        })
    }

    /// Gives a delivery a packet id and a place among those that are under way.
    fn send(&mut self, delivery: &Delivery) -> u16 {
        let mut packet_id = self.last_packet_id;
        loop {
            packet_id = packet_id.checked_add(1).unwrap_or(1);
            if !self.inflight.contains_key(&packet_id) {
                break;
            }
        }
        self.last_packet_id = packet_id;
        self.used += 1;
        let inflight = Inflight {
            delivery: delivery.clone(),
            stage: Stage::Published,
            order: self.next_order,
        };
        self.next_order += 1;
        self.inflight.insert(packet_id, inflight);
        packet_id
    }

    /// What an earlier connection sent and the client did not acknowledge.
    fn next_again(&mut self) -> Option<Next> {
        while let Some(&packet_id) = self.again.front() {
            let Some(sent) = self.inflight.get(&packet_id) else {
                self.again.pop_front();
                continue;
            };
            if sent.stage == Stage::Released {
                self.again.pop_front();
                self.used = self.used.saturating_add(1);
                return Some(Next::Release { packet_id });
            }
            if self.used >= self.window {
                return Some(Next::Nothing);
            }
            let delivery = sent.delivery.clone();
            self.again.pop_front();
            self.used += 1;
            return Some(Next::Publish {
                delivery,
                packet_id,
                dup: true,
            });
        }
        None
    }

    /// A delivery is acknowledged for good.
    fn complete(&mut self, packet_id: u16) -> Option<Delivery> {
        let sent = self.inflight.remove(&packet_id)?;
        self.used = self.used.saturating_sub(1);
        if self.inflight.is_empty() && self.inflight.capacity() > 64 {
            self.inflight = HashMap::new();
        }
        Some(sent.delivery)
    }

    /// PUBACK. The delivery, if one of QoS 1 was under way with this id.
    pub(crate) fn puback(&mut self, packet_id: u16) -> Option<Delivery> {
        let known = self.inflight.get(&packet_id)?;
        if known.delivery.qos != Qos::AtLeastOnce {
            return None;
        }
        self.complete(packet_id)
    }

    /// PUBREC of success; whether a PUBREL follows.
    pub(crate) fn pubrec(&mut self, packet_id: u16) -> bool {
        match self.inflight.get_mut(&packet_id) {
            Some(sent) if sent.delivery.qos == Qos::ExactlyOnce => {
                sent.stage = Stage::Released;
                true
            }
            _ => false,
        }
    }

    /// PUBREC with a reason code of 0x80 or more: the client does not take the message.
    pub(crate) fn pubrec_refused(&mut self, packet_id: u16) -> Option<Delivery> {
        let sent = self.inflight.get(&packet_id)?;
        if sent.delivery.qos != Qos::ExactlyOnce || sent.stage != Stage::Published {
            return None;
        }
        self.complete(packet_id)
    }

    /// PUBCOMP. The delivery, if it had been released.
    pub(crate) fn pubcomp(&mut self, packet_id: u16) -> Option<Delivery> {
        let sent = self.inflight.get(&packet_id)?;
        if sent.stage != Stage::Released {
            return None;
        }
        self.complete(packet_id)
    }

    /// A connection has the session from now on: its window, and what must be sent again.
    pub(crate) fn resume(&mut self, window: u16) {
        self.window = window.max(1);
        self.used = 0;
        self.stalled = false;
        let mut again: Vec<_> = self
            .inflight
            .iter()
            .map(|(&packet_id, sent)| (sent.order, packet_id))
            .collect();
        again.sort_unstable();
        self.again = again.into_iter().map(|(_, packet_id)| packet_id).collect();
        let waiting = self.queue.len();
        let limits = &self.peer.grant.limits;
        let paced = limits.deliveries_per_second.is_some() || limits.offline_replay.is_some();
        self.paces = paced.then(|| Box::new(Paces::new(waiting)));
    }

    /// Whether nothing waits and nothing is unwritten.
    pub(crate) fn is_idle(&self) -> bool {
        self.owner.is_some() && self.queue.is_empty()
    }

    /// How many messages of QoS 1 and 2 wait.
    fn counted(&self) -> usize {
        let counted = self
            .queue
            .iter()
            .filter(|delivery| delivery.qos != Qos::AtMostOnce);
        counted.count()
    }

    /// The end of a session in which too much waits.
    pub(crate) fn overflow(&self) -> SessionEnd {
        let payloads = self
            .queue
            .iter()
            .map(|waiting| waiting.message().payload.len());
        SessionEnd::Overflow {
            messages: self.queue.len(),
            bytes: payloads.sum(),
        }
    }

    fn overflows(&self) -> bool {
        let Some(overflow) = self.limits().session_overflow else {
            return false;
        };
        overflow
            .messages
            .is_some_and(|most| self.queue.len() > most)
            || overflow.bytes.is_some_and(|most| {
                let payloads = self
                    .queue
                    .iter()
                    .map(|waiting| waiting.message().payload.len());
                payloads.sum::<usize>() > most
            })
    }

    /// When the oldest message has waited for the offline client for too long.
    fn offline_due(&self) -> Option<Timestamp> {
        let life = self.limits().offline_expiry_s?;
        let life = SignedDuration::from_secs(i64::try_from(life).unwrap_or(i64::MAX));
        let oldest = self
            .queue
            .iter()
            .map(|waiting| waiting.message().time)
            .min()?;
        Some(oldest.checked_add(life).unwrap_or(Timestamp::MAX))
    }

    /// Gives up what an offline client may not keep: the oldest of too many, and what has waited
    /// for too long. Returns how many.
    pub(crate) fn trim(&mut self, now: Timestamp) -> usize {
        let (most, life) = (self.limits().offline_queue, self.limits().offline_expiry_s);
        let mut count = 0;
        if let Some(life) = life {
            let limit = SignedDuration::from_secs(i64::try_from(life).unwrap_or(i64::MAX));
            let reason = format!("it has waited for the offline client for {life} seconds");
            count += self.give_up(now, GivenUp::Expired, &reason, |waiting| {
                let due = waiting.message().time.checked_add(limit);
                due.unwrap_or(Timestamp::MAX) <= now
            });
        }
        if let Some(most) = most {
            let mut excess = self.counted().saturating_sub(most);
            if excess > 0 {
                let reason = format!("more than {most} messages wait for the offline client");
                count += self.give_up(now, GivenUp::QueueFull, &reason, |waiting| {
                    let goes = excess > 0 && waiting.qos != Qos::AtMostOnce;
                    excess -= usize::from(goes);
                    goes
                });
            }
        }
        count
    }

    fn give_up(
        &mut self,
        now: Timestamp,
        why: GivenUp,
        reason: &str,
        mut goes: impl FnMut(&Delivery) -> bool,
    ) -> usize {
        let before = self.queue.len();
        let mut freed = 0;
        self.queue.retain(|waiting| {
            let goes = goes(waiting);
            if goes {
                waiting.tell(Step::GivenUp(why, reason), now);
                freed += waiting.weight();
            }
            !goes
        });
        self.queued_bytes -= freed.min(self.queued_bytes);
        before - self.queue.len()
    }
}

/// Marks a client as waiting in its own publish for as long as this lives.
pub(crate) struct Publishing(Arc<Session>);

impl Publishing {
    pub(crate) fn begin(session: &Arc<Session>) -> Self {
        session.lock().publishing = true;
        // Whoever waits for this client need not any more.
        session.room.notify_waiters();
        Self(session.clone())
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.lock().publishing = false;
    }
}
