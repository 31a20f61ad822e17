//! One connection: one task, one socket. It reads packets, lets the standard and the client's
//! vendor decide, takes deliveries out of its session and writes what has gathered in one write.
//! The session outlives it; when the connection ends it lets the session go, and whoever waits to
//! take it over has it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use mqttstack_base::exchange::Refusal;
use mqttstack_base::message::{Origin, OriginKind, Qos, Transport};
use mqttstack_base::secret::shown_user;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, timeout};

use super::SYSTEM_PREFIX;
use super::bounds::Bounds;
use super::core::{Core, limit_life};
use super::counts::{GivenUp, Step};
use super::dialect::{
    Connect, ConnectRefusal, Dialect, Grant, MessageFilter, Packet as Whole, Peer, PublishVerdict,
    SubscribeVerdict, Visitor,
};
use super::encode::{self, Shape, Told};
use super::ending::Ending;
use super::events::Event;
use super::message::{Publication, TopicFilter};
use super::opening::{self, Opening, Unreadable};
use super::packet::{self, Asked, Frame, Packet, Publish, Subscribe, Violation, code};
use super::router::{self, Options, Target};
use super::routing::Draft;
use super::session::{About, Delivery, Key, NEVER, Next, Owner, Session};
use super::sessions::{self, Claim};
use super::system;
use super::tenant::Tenant;

/// How long a CONNECT may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the client may take nothing of what is written to it.
const WRITE: Duration = Duration::from_secs(10);
/// How long what a client still sends is read after its connection has ended. Closing a socket
/// that holds unread bytes resets it, and the DISCONNECT that it carries is lost.
const LINGER: Duration = Duration::from_secs(1);
/// How long a connection may go on writing what waits when the broker stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// How many bytes may gather before they are written, and nothing more is read.
const HIGH_WATER: usize = 64 * 1024;
/// How many packets, and how many bytes, are put off while the client's own publish waits.
const MOST_DEFERRED: usize = 64;
/// How many hints the journal is told about one connection, CONNECT apart.
const MOST_HINTS: usize = 64;
const MOST_DEFERRED_BYTES: usize = 256 * 1024;

/// What the listener knows of a connection.
pub(crate) struct Arrival {
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
    pub(crate) tls: Visitor,
}

/// A delivery in the write buffer.
struct Writing {
    delivery: Delivery,
    packet_id: u16,
    /// Where its bytes begin and end, counted as `Wire::written` is.
    from: u64,
    to: u64,
    dup: bool,
}

/// Which of a subscription's messages its client gets.
type Filter = Option<Arc<dyn MessageFilter>>;

/// The packet id of a PUBLISH, and a digest of its message.
#[derive(Debug, Clone, Copy)]
struct PacketId(u16, u64);

/// Tells one message of QoS 2 from another; 0 for the others, which nobody asks.
fn digest(publish: &Publish) -> u64 {
    if publish.qos != Qos::ExactlyOnce {
        return 0;
    }
    let mut hasher = std::hash::DefaultHasher::new();
    publish.topic.hash(&mut hasher);
    publish.payload.hash(&mut hasher);
    hasher.finish()
}

/// A PUBLISH that waits for room at its subscribers.
struct Waiting {
    draft: Draft,
    targets: Vec<Target>,
    packet_id: PacketId,
    result: Result<(), Refusal>,
}

/// What something that the client waits for has come to.
enum Done {
    Published(Box<Waiting>),
    Authenticated(Box<Result<Grant, ConnectRefusal>>),
}

type Pending = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Why the task goes on.
enum Wake {
    Read,
    Closed,
    Written,
    Woken,
    Done(Done),
    Timer,
    Paced,
}

/// A connection whose client has been accepted.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of the CONNECT or of the connection, and they are independent"
)]
struct Connection<S> {
    core: Arc<Core>,
    wire: super::wire::Wire<S>,
    /// Whether the stream is the socket itself, which needs no word before it is closed.
    plain: bool,
    session: Arc<Session>,
    owner: Arc<Owner>,
    peer: Arc<Peer>,
    dialect: Option<Arc<dyn Dialect>>,
    tenant: Tenant,
    bounds: Bounds,
    five: bool,
    bridge: bool,
    /// Whether the client takes a Reason String.
    words: bool,
    /// Whether the CONNECT asked for a session that outlives the connection.
    lasting: bool,
    /// The client's Maximum Packet Size.
    longest: u32,
    /// The CONNECT, for a re-authentication; only of a client with an Authentication Method.
    connect: Option<Box<Connect>>,
    /// Topic aliases of the client, and those that the broker has given.
    aliases_in: HashMap<u16, String>,
    aliases_out: HashMap<String, u16>,
    alias_out_maximum: u16,
    writing: VecDeque<Writing>,
    pending: Option<Pending>,
    deferred: VecDeque<Packet>,
    deferred_bytes: usize,
    subacks_withheld: bool,
    /// Whether something waits for the client, or an order for the connection, that others' turn
    /// comes before.
    woken: bool,
    /// The hints that the journal has been told of.
    hinted: HashSet<String>,
    /// Set once the client has closed its side.
    closed: bool,
    /// Set once the broker or a vendor ends the connection: why, and until when what waits is
    /// still written.
    leaving: Option<(Ending, Instant)>,
    keep_alive: Option<Duration>,
    heard: Instant,
    /// Since when the client has taken nothing.
    blocked: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Carries one connection until either side ends it.
pub(crate) async fn serve<S>(core: Arc<Core>, stream: S, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut wire = super::wire::Wire::new(stream);
    let opening = match timeout(HANDSHAKE, first(&mut wire, &core)).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(Some(unreadable))) => {
            core.turned_away("CONNECT", unreadable.code, unreadable.reason);
            wire.out = unreadable.answer;
            return leave(&mut wire).await;
        }
        Ok(Err(None)) | Err(_) => return,
    };
    // Boxed: a connection that is idle holds nothing of what its beginning needed.
    let Some(mut connection) = Box::pin(accept(core, wire, opening, arrival)).await else {
        return;
    };
    let ending = connection.carry().await;
    Box::pin(connection.finish(ending)).await;
}

/// Reads the first packet. `Err(None)` if the client goes before it has sent one.
async fn first<S>(
    wire: &mut super::wire::Wire<S>,
    core: &Core,
) -> Result<Opening, Option<Unreadable>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limit = core.settings.max_packet_size as usize + packet::MAX_HEADER;
    loop {
        let unread = wire.unread();
        if let Some(&first) = unread.first() {
            if first & 0xf0 != packet::CONNECT {
                let reason = "the first packet is not a CONNECT";
                return Err(Some(opening::closed(code::PROTOCOL_ERROR, reason)));
            }
            match packet::frame(unread) {
                Frame::Packet { header, total } if total <= unread.len() => {
                    let levels = core.settings.max_topic_levels;
                    let opening = opening::read(first, &unread[header..total], total, levels);
                    wire.use_up(total);
                    return opening.map_err(Some);
                }
                Frame::Packet { total, .. } if total > limit => {
                    let reason = "the CONNECT is longer than any packet may be";
                    return Err(Some(opening::closed(code::PACKET_TOO_LARGE, reason)));
                }
                Frame::Malformed => {
                    let reason = "the CONNECT's length is malformed";
                    return Err(Some(opening::closed(code::MALFORMED, reason)));
                }
                Frame::Packet { .. } | Frame::Unknown => {}
            }
        }
        match poll_fn(|cx| wire.poll_read(cx)).await {
            Ok(0) => return Err(None),
            Ok(_) => {}
            Err(error) => {
                let broken = error.downcast::<Broken>().ok();
                return Err(broken
                    .map(|Broken(violation)| opening::closed(violation.code, violation.reason)));
            }
        }
    }
}

/// A rule of WebSocket that the client has broken, as the error of a read.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.reason)]
pub(crate) struct Broken(pub(crate) Violation);

/// Puts a CONNECT to its vendor, and gives the connection its session.
#[expect(
    clippy::too_many_lines,
    reason = "one straight walk: ask the vendor, claim the session, tell, answer"
)]
async fn accept<S>(
    core: Arc<Core>,
    mut wire: super::wire::Wire<S>,
    mut opening: Opening,
    arrival: Arrival,
) -> Option<Connection<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let assigned = opening.client_id.is_empty();
    if assigned {
        opening.client_id = core.ids.uuid().simple().to_string();
        // The session is new in any case (MQTT 5.0 section 3.1.3.1).
        opening.clean_start = true;
    }
    let connect = question(&opening, &arrival);
    let (peer, dialect) = match core.admit(&connect, &opening).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            let code = refusal.code.code(opening.version);
            wire.out = if opening.version < 5 {
                encode::refused_3x(code)
            } else {
                let reason = opening.takes_words().then_some(&*refusal.reason);
                encode::refused_5(code, reason)
            };
            leave(&mut wire).await;
            return None;
        }
    };
    let granted = Granted::new(&core, &opening, &peer);
    let tenant = Tenant::of_client(&core.settings, &peer.grant);
    let owner = Arc::new(Owner::new(core.sessions.next_id()));
    let about = About {
        username: opening
            .username
            .as_deref()
            .map(|name| shown_user(name, opening.password.is_some()).into_owned()),
        keep_alive: granted.keep_alive,
        clean_start: opening.clean_start,
        transport: arrival.transport,
        remote: Some(arrival.remote),
        connected_at: core.clock.now(),
        will: opening.will.clone(),
    };
    let claim = Claim {
        key: Key {
            tenant: tenant.clone(),
            client_id: opening.client_id.as_str().into(),
        },
        owner: owner.clone(),
        peer: peer.clone(),
        dialect: dialect.clone(),
        about,
        clean_start: opening.clean_start,
        expiry: granted.expiry,
        window: granted.window,
        will: opening.will.take().map(Box::new),
    };
    let (session, present) = sessions::claim(&core, claim).await;
    core.totals.connects.fetch_add(1, Ordering::Relaxed);
    if let Some(dialect) = &dialect {
        dialect.connected(&peer);
    }
    core.tell(|| Event::Connected {
        peer: peer.clone(),
        session_present: present,
    });
    let bounds = Bounds::new(&core.settings, &peer.grant.limits, opening.version);
    let told = granted.told(&opening, &bounds, assigned);
    wire.out = encode::connack(opening.version, present, &told);
    let method = opening.five.authentication_method.is_some();
    Some(Connection {
        five: opening.version >= 5,
        bridge: opening.bridge,
        words: opening.takes_words(),
        lasting: opening.five.session_expiry > 0,
        longest: opening.five.max_packet_size,
        connect: method.then(|| Box::new(connect)),
        aliases_in: HashMap::new(),
        aliases_out: HashMap::new(),
        alias_out_maximum: opening
            .five
            .topic_alias_maximum
            .min(core.settings.topic_alias_maximum),
        writing: VecDeque::new(),
        pending: None,
        deferred: VecDeque::new(),
        deferred_bytes: 0,
        subacks_withheld: false,
        woken: false,
        hinted: HashSet::new(),
        closed: false,
        leaving: None,
        keep_alive: grace(granted.keep_alive),
        heard: Instant::now(),
        blocked: None,
        timer: None,
        plain: arrival.transport == Transport::Tcp,
        core,
        wire,
        session,
        owner,
        peer,
        dialect,
        tenant,
        bounds,
    })
}

/// What a CONNECT says, in a vendor's terms.
fn question(opening: &Opening, arrival: &Arrival) -> Connect {
    Connect {
        client_id: opening.client_id.clone(),
        username: opening.username.clone(),
        password: opening.password.clone(),
        protocol_version: opening.version,
        clean_start: opening.clean_start,
        keep_alive: opening.keep_alive,
        will: opening.will.clone(),
        transport: arrival.transport,
        peer: Some(arrival.remote),
        tls: arrival.tls.clone(),
        authentication_method: opening.five.authentication_method.clone(),
        authentication_data: opening.five.authentication_data.clone(),
    }
}

/// How long a client may be silent (MQTT 5.0 section 3.1.2.10): one and a half times the
/// keep-alive.
fn grace(keep_alive: u16) -> Option<Duration> {
    (keep_alive > 0).then(|| Duration::from_millis(u64::from(keep_alive) * 1_500))
}

/// What a CONNECT gets of what it asked for.
struct Granted {
    keep_alive: u16,
    expiry: u32,
    window: u16,
}

impl Granted {
    fn new(core: &Core, opening: &Opening, peer: &Peer) -> Self {
        let (settings, grant) = (&core.settings, &peer.grant);
        let ceiling = grant.max_keep_alive.map_or(settings.max_keep_alive, |own| {
            own.min(settings.max_keep_alive)
        });
        let asked = opening.keep_alive;
        let too_long = asked > ceiling || (asked == 0 && ceiling < u16::MAX);
        let longest = grant.limits.max_session_expiry.unwrap_or(NEVER);
        let expiry = if opening.version >= 5 {
            opening.five.session_expiry.min(longest)
        } else if opening.clean_start {
            0
        } else {
            longest
        };
        let own = grant.limits.deliveries_in_flight;
        let window = own.unwrap_or(settings.max_inflight);
        Self {
            keep_alive: if too_long { ceiling } else { asked },
            expiry,
            window: window.min(opening.five.receive_maximum),
        }
    }

    /// What the CONNACK tells of it.
    fn told(&self, opening: &Opening, bounds: &Bounds, assigned: bool) -> Told {
        let five = &opening.five;
        let mut told = Told {
            session_expiry: (self.expiry != five.session_expiry).then_some(self.expiry),
            assigned_client_id: assigned.then(|| opening.client_id.clone()),
            keep_alive: (self.keep_alive != opening.keep_alive).then_some(self.keep_alive),
            // MQTT 5.0 section 3.2.2.3.14: what a response topic may be made of.
            response_information: five
                .wants_response_information
                .then(|| format!("response/{}", opening.client_id)),
            authentication_method: five.authentication_method.clone(),
            ..Told::default()
        };
        bounds.announce(&mut told);
        told
    }
}

/// Writes what is left, and closes this side, unless dropping the stream does it. False if the
/// client is gone.
async fn close<S>(wire: &mut super::wire::Wire<S>, by_drop: bool) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let written = timeout(WRITE, poll_fn(|cx| wire.poll_write(cx))).await;
    matches!(written, Ok(Ok(()))) && (by_drop || wire.stream.shutdown().await.is_ok())
}

/// The same, and waits for the client to close its side: bytes that nobody has read would take
/// with them what the client has not read yet.
async fn leave<S>(wire: &mut super::wire::Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !close(wire, false).await {
        return;
    }
    let drained = async {
        while poll_fn(|cx| wire.poll_read(cx))
            .await
            .is_ok_and(|read| read > 0)
        {
            wire.use_up(wire.unread().len());
        }
    };
    // A client that still has not closed is not waited for.
    let _ = timeout(LINGER, drained).await;
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    /// Carries packets in both directions until the connection ends.
    async fn carry(&mut self) -> Ending {
        loop {
            if let Err(ending) = self.read_packets() {
                return ending;
            }
            if self.closed && self.pending.is_none() && self.deferred.is_empty() {
                return Ending::ConnectionLost;
            }
            let paced = self.fill();
            if let Some((ending, _)) = &self.leaving
                && !self.wire.has_output()
                && self.session.lengths() == (0, 0)
            {
                return ending.clone();
            }
            let wake = match self.wait(paced).await {
                Ok(wake) => wake,
                Err(error) => return self.broken(error),
            };
            if let Err(ending) = self.woken(wake) {
                return ending;
            }
        }
    }

    fn woken(&mut self, wake: Wake) -> Result<(), Ending> {
        match wake {
            Wake::Read => self.heard = Instant::now(),
            Wake::Closed => self.closed = true,
            Wake::Written | Wake::Paced => {}
            Wake::Woken => {
                if let Some(seconds) = self.owner.take_keep_alive() {
                    self.keep_alive = grace(seconds);
                    self.heard = Instant::now();
                    self.timer = None;
                    self.session.lock().about.keep_alive = seconds;
                }
                match self.owner.take_ending() {
                    // What waits is written first.
                    Some(ending @ (Ending::Stopped | Ending::Closed { .. })) => {
                        self.leaving = Some((ending, Instant::now() + FAREWELL));
                        self.timer = None;
                    }
                    Some(ending) => return Err(ending),
                    None => {}
                }
            }
            Wake::Done(Done::Published(waiting)) => {
                self.pending = None;
                self.published(*waiting);
            }
            Wake::Done(Done::Authenticated(granted)) => {
                self.pending = None;
                self.reauthenticated(*granted)?;
            }
            Wake::Timer => {
                let now = Instant::now();
                if let Some((ending, until)) = &self.leaving
                    && *until <= now
                {
                    return Err(ending.clone());
                }
                if self.blocked.is_some_and(|since| since + WRITE <= now) {
                    return Err(Ending::Stalled);
                }
                if self
                    .keep_alive
                    .is_some_and(|grace| self.heard + grace <= now)
                {
                    if !self.puts_off() {
                        return Err(Ending::KeepAliveTimeout);
                    }
                    // Nothing is read from it now: its silence is ours.
                    self.heard = now;
                }
                self.timer = None;
            }
        }
        while self.pending.is_none()
            && let Some(packet) = self.deferred.pop_front()
        {
            if self.deferred.is_empty() {
                self.deferred_bytes = 0;
            }
            self.handle(packet)?;
        }
        Ok(())
    }

    /// What an error of the stream means.
    fn broken(&self, error: io::Error) -> Ending {
        match error.downcast::<Broken>() {
            Ok(Broken(violation)) => {
                let (code, reason) = (violation.code, violation.reason);
                self.core
                    .refused_packet(&self.peer, "WEBSOCKET", None, code, &reason);
                Ending::Refused { code, reason }
            }
            Err(_) => Ending::ConnectionLost,
        }
    }

    /// Reads every packet that has come whole.
    fn read_packets(&mut self) -> Result<(), Ending> {
        while !self.puts_off() {
            let unread = self.wire.unread();
            let Some(&first) = unread.first() else {
                return Ok(());
            };
            let (header, total) = match packet::frame(unread) {
                Frame::Unknown => return Ok(()),
                Frame::Malformed => {
                    let reason = "the packet's Remaining Length has more than four bytes";
                    return Err(self.refuse(first, Violation::new(code::MALFORMED, reason)));
                }
                Frame::Packet { header, total } => (header, total),
            };
            if let Err(violation) = self.bounds.size(total) {
                return Err(self.refuse(first, violation));
            }
            let Some(body) = unread.get(header..total) else {
                return Ok(());
            };
            let packet = packet::read(first, body, self.five)
                .and_then(|packet| self.bounds.check(&packet).map(|()| packet));
            self.wire.use_up(total);
            match packet {
                Ok(packet) => self.arrived(packet, total)?,
                Err(violation) => return Err(self.refuse(first, violation)),
            }
            if self.wire.backlog() > HIGH_WATER {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether so much has been put off that nothing more is looked at.
    fn puts_off(&self) -> bool {
        self.deferred.len() >= MOST_DEFERRED || self.deferred_bytes >= MOST_DEFERRED_BYTES
    }

    /// Tells the journal of a packet that breaks a rule, and ends the connection.
    fn refuse(&self, first: u8, violation: Violation) -> Ending {
        let Violation {
            topic,
            code,
            reason,
        } = violation;
        let name = packet::name(first);
        self.core
            .refused_packet(&self.peer, name, topic.as_deref(), code, &reason);
        Ending::Refused { code, reason }
    }

    /// A packet: done now, or put off while the client's own publish waits. Acknowledgements and
    /// pings are never put off.
    fn arrived(&mut self, packet: Packet, size: usize) -> Result<(), Ending> {
        match packet {
            Packet::Acknowledgement {
                kind,
                packet_id,
                code,
                ..
            } => {
                self.acknowledged(kind, packet_id, code);
                Ok(())
            }
            Packet::Pingreq => {
                self.wire.out.extend_from_slice(&encode::PINGRESP);
                Ok(())
            }
            // Its vendor has closed the connection: only what it acknowledges still counts.
            _ if matches!(self.leaving, Some((Ending::Closed { .. }, _))) => Ok(()),
            // None is acknowledged that might be lost in the stop.
            Packet::Publish(_) if self.core.draining.load(Ordering::Acquire) => Ok(()),
            packet if self.pending.is_some() || !self.deferred.is_empty() => {
                self.deferred.push_back(packet);
                self.deferred_bytes += size;
                Ok(())
            }
            packet => self.handle(packet),
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<(), Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(*publish),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe {
                packet_id, filters, ..
            } => {
                self.unsubscribe(packet_id, &filters);
                Ok(())
            }
            Packet::Disconnect {
                code,
                session_expiry,
                ..
            } => Err(self.disconnect(code, session_expiry)),
            Packet::Auth {
                code, method, data, ..
            } => self.authenticate(code, method.as_deref(), data),
            Packet::Acknowledgement { .. } | Packet::Pingreq => Ok(()),
        }
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    fn acknowledged(&mut self, kind: u8, packet_id: u16, reason_code: u8) {
        if kind == packet::PUBREL {
            let known = self.session.lock().received.remove(&packet_id).is_some();
            if known || !self.five {
                encode::acknowledge(&mut self.wire.out, packet::PUBCOMP, packet_id);
            } else {
                let code = code::PACKET_ID_NOT_FOUND;
                let out = &mut self.wire.out;
                encode::acknowledge_with(out, packet::PUBCOMP, packet_id, code, None);
            }
            return;
        }
        let mut state = self.session.lock();
        let refused = reason_code >= 0x80;
        let completed = match kind {
            packet::PUBACK => state.puback(packet_id),
            packet::PUBREC if refused => state.pubrec_refused(packet_id),
            packet::PUBREC => {
                let known = state.pubrec(packet_id);
                drop(state);
                if known || !self.five {
                    encode::acknowledge(&mut self.wire.out, packet::PUBREL, packet_id);
                } else {
                    let code = code::PACKET_ID_NOT_FOUND;
                    let out = &mut self.wire.out;
                    encode::acknowledge_with(out, packet::PUBREL, packet_id, code, None);
                }
                return;
            }
            _ => state.pubcomp(packet_id),
        };
        drop(state);
        let Some(delivery) = completed else {
            return;
        };
        self.session.room().notify_waiters();
        let now = self.core.clock.now();
        if refused {
            let reason = format!("the client refused it with the reason code {reason_code:#04x}");
            delivery.tell(Step::GivenUp(GivenUp::RefusedByClient, &reason), now);
            self.session.tally.dropped.fetch_add(1, Ordering::Relaxed);
            self.core.dropped(1);
        } else {
            delivery.tell(Step::Acknowledged, now);
        }
    }

    /// Puts the topic in the place of an alias (MQTT 5.0 section 3.3.2.3.4).
    fn resolve_alias(&mut self, publish: &mut Publish) -> Result<(), Ending> {
        let Some(alias) = publish.alias else {
            return Ok(());
        };
        if !publish.topic.is_empty() {
            self.aliases_in.insert(alias, publish.topic.clone());
            return Ok(());
        }
        if let Some(topic) = self.aliases_in.get(&alias) {
            publish.topic.clone_from(topic);
            Ok(())
        } else {
            let reason = format!("the topic alias {alias} stands for no topic name");
            let violation = Violation::new(code::PROTOCOL_ERROR, reason);
            Err(self.refuse(packet::PUBLISH, violation))
        }
    }

    /// Whether a PUBLISH of QoS 1 or 2 is one too many (MQTT 5.0 section 3.3.4).
    fn exceeds_receive_maximum(&self) -> bool {
        let most = usize::from(self.bounds.receive_maximum);
        if !self.five {
            return false;
        }
        let waiting = self.deferred.iter().filter(
            |packet| matches!(packet, Packet::Publish(publish) if publish.qos != Qos::AtMostOnce),
        );
        self.session.lock().received.len() + waiting.count() >= most
    }

    fn publish(&mut self, mut publish: Publish) -> Result<(), Ending> {
        self.resolve_alias(&mut publish)?;
        let digest = digest(&publish);
        if publish.qos == Qos::ExactlyOnce
            && let Some(&taken) = self.session.lock().received.get(&publish.packet_id)
            && (publish.dup || taken == digest)
        {
            // Sent again: it has been taken, and its PUBREL is awaited. Another message under the
            // same id comes from a client that has forgotten the first.
            encode::acknowledge(&mut self.wire.out, packet::PUBREC, publish.packet_id);
            return Ok(());
        }
        if publish.qos != Qos::AtMostOnce && self.exceeds_receive_maximum() {
            let most = self.bounds.receive_maximum;
            let violation = Violation::new(
                code::RECEIVE_MAXIMUM_EXCEEDED,
                format!("more than {most} PUBLISH packets are under way, the Receive Maximum"),
            );
            let violation = violation.about(&*publish.topic);
            return Err(self.refuse(packet::PUBLISH, violation));
        }
        let Publish {
            topic,
            packet_id,
            qos,
            retain,
            payload,
            mut properties,
            ..
        } = publish;
        self.session.tally.taken.fetch_add(1, Ordering::Relaxed);
        if properties.message_expiry_interval == Some(0)
            && self.peer.grant.limits.zero_expiry_is_never
        {
            properties.message_expiry_interval = None;
        }
        limit_life(&self.peer, retain, &mut properties);
        let draft = Draft {
            topic,
            payload,
            qos,
            retain,
            properties,
            origin: Origin {
                kind: OriginKind::Mqtt,
                vendor: self.peer.grant.surface,
                client_id: Some(self.peer.client_id.clone()),
                request: None,
            },
            tenant: None,
        };
        let verdict = self.judge(&draft);
        self.judged(verdict, draft, PacketId(packet_id, digest))
    }

    /// The verdict on a PUBLISH, by its vendor and by the limit of retained messages.
    fn judge(&mut self, draft: &Draft) -> PublishVerdict {
        let question = draft.question();
        let dialect = self.dialect.as_ref();
        let hint = dialect.and_then(|own| own.publish_hint(&self.peer, &draft.topic));
        let verdict = match dialect {
            Some(dialect) => dialect.publish(&self.peer, &question),
            None => self.core.open_publish(&question),
        };
        let verdict = self.core.retainable(&self.peer, &question, verdict);
        if let Some(hint) = hint
            && verdict.lets_through()
        {
            self.hint("PUBLISH", &draft.topic, hint);
        }
        verdict
    }

    /// Tells the journal what was lenient about a packet, once.
    fn hint(&mut self, packet: &'static str, topic: &str, hint: String) {
        if self.hinted.len() < MOST_HINTS && self.hinted.insert(hint.clone()) {
            let client = (&*self.peer.client_id, &*self.peer.grant);
            self.core.noted(client, (packet, Some(topic)), vec![hint]);
        }
    }

    fn judged(
        &mut self,
        verdict: PublishVerdict,
        mut draft: Draft,
        packet_id: PacketId,
    ) -> Result<(), Ending> {
        match verdict {
            PublishVerdict::Allow => self.pass_on(draft, packet_id, None),
            PublishVerdict::AllowUnretained => {
                draft.retain = false;
                self.pass_on(draft, packet_id, None);
            }
            PublishVerdict::DeliverTo(client_id) => {
                draft.retain = false;
                self.pass_on(draft, packet_id, Some(&client_id));
            }
            PublishVerdict::Consume(replies) => {
                let qos = draft.qos;
                self.core.keep_consumed(draft);
                self.take(qos, packet_id);
                self.answer(replies);
            }
            PublishVerdict::ConsumeSecret => {
                let qos = draft.qos;
                draft.payload = bytes::Bytes::from_static(b"***");
                self.core.keep_consumed(draft);
                self.take(qos, packet_id);
            }
            PublishVerdict::Discard { reason } => {
                self.core
                    .refused_publish(&self.peer, &draft.topic, code::NORMAL, &reason);
                self.take(draft.qos, packet_id);
            }
            PublishVerdict::Refuse { code, reason } => {
                self.core
                    .refused_publish(&self.peer, &draft.topic, code, &reason);
                self.turn_down(draft.qos, packet_id, code, &reason);
            }
            PublishVerdict::Withhold { reason } => {
                let code = code::UNSPECIFIED;
                self.core
                    .refused_publish(&self.peer, &draft.topic, code, &reason);
            }
            PublishVerdict::Close { reason } => {
                let code = code::NOT_AUTHORIZED;
                self.core
                    .refused_publish(&self.peer, &draft.topic, code, &reason);
                return Err(Ending::Refused { code, reason });
            }
            PublishVerdict::Disconnect { code, reason } => {
                self.core
                    .refused_publish(&self.peer, &draft.topic, code, &reason);
                return Err(Ending::Refused { code, reason });
            }
        }
        Ok(())
    }

    /// Sends a message on to its subscribers, or to one client; waits if they have no room.
    fn pass_on(&mut self, draft: Draft, packet_id: PacketId, only: Option<&str>) {
        let targets = match only {
            None => self
                .core
                .targets(&self.tenant, &draft.question(), Some(self.session.id)),
            Some(client_id) => {
                let found = self.core.sessions.get(&self.tenant, client_id);
                found.map_or_else(Vec::new, |session| Core::only(session, draft.qos))
            }
        };
        let outlets = self.core.outlets.read();
        let rooms: Vec<_> = outlets
            .iter()
            .filter_map(|outlet| outlet.room(&self.peer))
            .collect();
        drop(outlets);
        let own = Some(self.session.id);
        if rooms.is_empty() && self.core.has_room(&targets, draft.qos, own) {
            let qos = draft.qos;
            self.core
                .route(&self.tenant, draft, targets, Some(&self.peer));
            return self.take(qos, packet_id);
        }
        let (core, session) = (self.core.clone(), self.session.clone());
        self.pending = Some(Box::pin(async move {
            for room in rooms {
                room.await;
            }
            let result = core
                .wait_for_room(&targets, draft.qos, Some(&session))
                .await;
            Done::Published(Box::new(Waiting {
                draft,
                targets,
                packet_id,
                result,
            }))
        }));
    }

    /// A PUBLISH has waited for room, or in vain.
    fn published(&mut self, waiting: Waiting) {
        let Waiting {
            draft,
            targets,
            packet_id,
            result,
        } = waiting;
        let qos = draft.qos;
        match result {
            // 3.x cannot refuse a publish. Its publisher must not suffer for a subscriber that
            // takes nothing: everybody else gets the message, the journal says who did not.
            Err(refusal) if self.five => {
                let (code, reason) = (code::QUOTA_EXCEEDED, refusal.to_string());
                self.core
                    .refused_publish(&self.peer, &draft.topic, code, &reason);
                self.turn_down(qos, packet_id, code, &reason);
            }
            _ => {
                self.core
                    .route(&self.tenant, draft, targets, Some(&self.peer));
                self.take(qos, packet_id);
            }
        }
    }

    /// Acknowledges a PUBLISH that has been taken.
    fn take(&mut self, qos: Qos, PacketId(packet_id, digest): PacketId) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => {
                encode::acknowledge(&mut self.wire.out, packet::PUBACK, packet_id);
            }
            Qos::ExactlyOnce => {
                self.session.lock().received.insert(packet_id, digest);
                encode::acknowledge(&mut self.wire.out, packet::PUBREC, packet_id);
            }
        }
    }

    /// Acknowledges a PUBLISH that has been refused: with the reason code in MQTT 5.
    fn turn_down(&mut self, qos: Qos, packet_id: PacketId, code: u8, reason: &str) {
        if !self.five {
            return self.take(qos, packet_id);
        }
        let kind = match qos {
            Qos::AtMostOnce => return,
            Qos::AtLeastOnce => packet::PUBACK,
            Qos::ExactlyOnce => packet::PUBREC,
        };
        let reason = self.words.then_some(reason);
        encode::acknowledge_with(&mut self.wire.out, kind, packet_id.0, code, reason);
    }

    /// Sends the vendor's own answers to this client.
    fn answer(&self, replies: Vec<Publication>) {
        for reply in replies {
            let targets = Core::only(self.session.clone(), reply.qos);
            let mut draft = Draft::from(reply);
            draft.tenant.clone_from(&self.peer.grant.tenant);
            self.core.route(&self.tenant, draft, targets, None);
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), Ending> {
        let packet_id = subscribe.packet_id;
        let version = self.peer.protocol_version;
        let count = subscribe.filters.len();
        let too_many = self.bounds.too_many(count);
        let too_many = too_many.map(|reason| (code::QUOTA_EXCEEDED, reason));
        if let Some((code, reason)) = too_many.or_else(|| self.refuses(Whole::Subscribe)) {
            let filters = subscribe.filters.iter().map(|asked| &*asked.filter);
            let filters = filters.collect::<Vec<_>>().join(" ");
            self.core
                .refused_packet(&self.peer, "SUBSCRIBE", Some(&filters), code, &reason);
            let codes = vec![code; count];
            let suback = encode::suback(version, packet_id, &codes);
            self.wire.out.extend_from_slice(&suback);
            return Ok(());
        }
        let mut codes = Vec::with_capacity(count);
        let mut granted = Vec::new();
        let mut ending = None;
        for asked in &subscribe.filters {
            let dialect = self.dialect.as_ref();
            let hint = dialect.and_then(|own| own.subscribe_hint(&self.peer, &asked.filter));
            match self.grant(asked, &subscribe.user_properties) {
                Ok((qos, filter)) => {
                    if let Some(hint) = hint {
                        self.hint("SUBSCRIBE", &asked.filter, hint);
                    }
                    codes.push(qos.level());
                    granted.extend(self.enter(asked, qos, filter, subscribe.identifier));
                }
                Err((code, end)) => {
                    codes.push(code);
                    ending = ending.or(end);
                }
            }
        }
        if !self.subacks_withheld {
            let suback = encode::suback(version, packet_id, &codes);
            self.wire.out.extend_from_slice(&suback);
        }
        if let Some(ending) = ending {
            return Err(ending);
        }
        for (filter, options) in granted {
            self.core.deliver_retained(&self.session, &filter, &options);
            if filter.starts_with(SYSTEM_PREFIX) {
                system::figures_for(&self.core, &self.session, &filter);
                system::watch(&self.core);
            }
        }
        Ok(())
    }

    /// The verdict on a filter: the quality of service, or the reason code and maybe the end.
    fn grant(
        &mut self,
        asked: &Asked,
        user_properties: &[(String, String)],
    ) -> Result<(Qos, Filter), (u8, Option<Ending>)> {
        let (share, bare) = router::parts(&asked.filter);
        let not_authorized = code::NOT_AUTHORIZED;
        let verdict = if share.is_some() && self.bounds.lacks_shared() {
            SubscribeVerdict::Refuse {
                code: code::SHARED_NOT_SUPPORTED,
                reason: "shared subscriptions are not available".into(),
            }
        } else {
            match &self.dialect {
                Some(dialect) => {
                    dialect.subscribe(&self.peer, &asked.filter, asked.qos, user_properties)
                }
                None => self.core.open_subscribe(bare, asked.qos),
            }
        };
        let (code, reason, ending) = match verdict {
            SubscribeVerdict::Allow(_) | SubscribeVerdict::AllowWhere(..)
                if let Err(reason) = readable(&asked.filter) =>
            {
                (code::TOPIC_FILTER_INVALID, reason, None)
            }
            SubscribeVerdict::Allow(_) | SubscribeVerdict::AllowWhere(..)
                if self.session.has_its_filters(&asked.filter) =>
            {
                (
                    code::QUOTA_EXCEEDED,
                    "the client is subscribed to as many filters as it may be".to_owned(),
                    None,
                )
            }
            SubscribeVerdict::Allow(granted) => {
                return Ok((granted.min(asked.qos).min(self.bounds.max_qos), None));
            }
            SubscribeVerdict::AllowWhere(granted, filter) => {
                let qos = granted.min(asked.qos).min(self.bounds.max_qos);
                return Ok((qos, Some(filter)));
            }
            SubscribeVerdict::Refuse { code, reason } => (code, reason, None),
            SubscribeVerdict::Close { reason } => {
                let ending = Ending::Refused {
                    code: not_authorized,
                    reason: reason.clone(),
                };
                (not_authorized, reason, Some(ending))
            }
            SubscribeVerdict::Withhold { close, reason } => {
                self.subacks_withheld = true;
                let ending = close.then(|| Ending::Refused {
                    code: not_authorized,
                    reason: reason.clone(),
                });
                (not_authorized, reason, ending)
            }
        };
        self.core
            .refused_packet(&self.peer, "SUBSCRIBE", Some(&asked.filter), code, &reason);
        Err((code, ending))
    }

    /// Why the client's vendor refuses a whole packet.
    fn refuses(&self, packet: Whole) -> Option<(u8, String)> {
        let asked = self.dialect.as_ref()?.packet(&self.peer, packet);
        asked.err().map(|refusal| (refusal.code, refusal.reason))
    }

    /// Enters a subscription. Returns the filter whose retained messages the client gets.
    fn enter(
        &self,
        asked: &Asked,
        qos: Qos,
        filter: Filter,
        identifier: Option<u32>,
    ) -> Option<(String, Options)> {
        let options = Options {
            qos,
            no_local: asked.no_local || self.bridge,
            retain_as_published: asked.retain_as_published || self.bridge,
            retain_handling: asked.retain_handling,
            identifier,
            order: self.core.next_order.fetch_add(1, Ordering::Relaxed),
            filter,
        };
        let (share, bare) = router::parts(&asked.filter);
        let new = self
            .core
            .router
            .subscribe(&self.session, &asked.filter, options.clone())?;
        if let Some(dialect) = &self.dialect {
            dialect.subscribed(&self.peer, bare, qos);
        }
        self.core.tell(|| Event::Subscribed {
            client_id: self.session.key.client_id.clone(),
            filter: asked.filter.as_str().into(),
        });
        // MQTT 5.0 section 3.8.3.1; a shared subscription gets none (section 4.8.2).
        let wanted = match asked.retain_handling {
            0 => true,
            1 => new,
            _ => false,
        };
        (wanted && share.is_none()).then(|| (bare.to_owned(), options))
    }

    fn unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        let version = self.peer.protocol_version;
        if let Some((code, reason)) = self.refuses(Whole::Unsubscribe) {
            let name = "UNSUBSCRIBE";
            let all = filters.join(" ");
            self.core
                .refused_packet(&self.peer, name, Some(&all), code, &reason);
            // 3.x has no UNSUBACK that refuses.
            if self.five {
                let codes = vec![code; filters.len()];
                let unsuback = encode::unsuback(version, packet_id, &codes);
                self.wire.out.extend_from_slice(&unsuback);
            }
            return;
        }
        let codes: Vec<_> = filters
            .iter()
            .map(|filter| {
                if !self.core.router.unsubscribe(&self.session, filter) {
                    return code::NO_SUBSCRIPTION_EXISTED;
                }
                if let Some(dialect) = &self.dialect {
                    dialect.unsubscribed(&self.peer, router::parts(filter).1);
                }
                self.core.tell(|| Event::Unsubscribed {
                    client_id: self.session.key.client_id.clone(),
                    filter: filter.as_str().into(),
                });
                code::NORMAL
            })
            .collect();
        let unsuback = encode::unsuback(version, packet_id, &codes);
        self.wire.out.extend_from_slice(&unsuback);
    }

    fn disconnect(&self, code: u8, session_expiry: Option<u32>) -> Ending {
        if let Some(seconds) = session_expiry {
            // MQTT 5.0 section 3.14.2.2.2.
            if !self.lasting && seconds > 0 {
                let reason = "the DISCONNECT asks for a Session Expiry Interval, which the \
                              CONNECT set to 0";
                let violation = Violation::new(code::PROTOCOL_ERROR, reason);
                return self.refuse(0xe0, violation);
            }
            let longest = self.peer.grant.limits.max_session_expiry;
            let seconds = seconds.min(longest.unwrap_or(NEVER));
            self.session.lock().expiry = seconds;
        }
        Ending::Disconnected { code }
    }

    /// MQTT 5.0 section 4.12.1.
    fn authenticate(
        &mut self,
        reason_code: u8,
        method: Option<&str>,
        data: Option<bytes::Bytes>,
    ) -> Result<(), Ending> {
        const RE_AUTHENTICATE: u8 = 0x19;
        let refuse = |code, reason| Err(self.refuse(0xf0, Violation::new(code, reason)));
        let Some(connect) = &self.connect else {
            let reason = "the CONNECT had no authentication method";
            return refuse(code::PROTOCOL_ERROR, reason);
        };
        if reason_code != RE_AUTHENTICATE {
            let reason = "no authentication exchange is under way that this AUTH could continue";
            return refuse(code::PROTOCOL_ERROR, reason);
        }
        if method != connect.authentication_method.as_deref() {
            let reason = "the authentication method is not the one of the CONNECT";
            return refuse(code::BAD_AUTHENTICATION_METHOD, reason);
        }
        let Some(dialect) = self.dialect.clone() else {
            let reason = "no vendor knows the authentication method";
            return refuse(code::BAD_AUTHENTICATION_METHOD, reason);
        };
        let mut connect = connect.clone();
        connect.authentication_data = data;
        let peer = self.peer.clone();
        self.pending = Some(Box::pin(async move {
            let granted = dialect.reauthenticate(&peer, &connect).await;
            Done::Authenticated(Box::new(granted))
        }));
        Ok(())
    }

    fn reauthenticated(&mut self, granted: Result<Grant, ConnectRefusal>) -> Result<(), Ending> {
        match granted {
            Ok(grant) => {
                self.peer = Arc::new(Peer {
                    grant: Arc::new(grant),
                    ..Peer::clone(&self.peer)
                });
                self.session.lock().peer = self.peer.clone();
                let method = self
                    .connect
                    .as_ref()
                    .and_then(|connect| connect.authentication_method.clone());
                let answer = encode::authenticated(&method.unwrap_or_default(), None);
                self.wire.out.extend_from_slice(&answer);
                Ok(())
            }
            Err(refusal) => {
                let version = self.peer.protocol_version;
                let code = refusal.code.code(version);
                self.core
                    .refused_packet(&self.peer, "AUTH", None, code, &refusal.reason);
                Err(Ending::Refused {
                    code: refusal.code.disconnect(),
                    reason: refusal.reason,
                })
            }
        }
    }

    /// Puts deliveries into the write buffer until it is full. Until when nothing more may go, if
    /// that is so.
    fn fill(&mut self) -> Option<Timestamp> {
        let mut now = None;
        while self.wire.backlog() < HIGH_WATER {
            let now = *now.get_or_insert_with(|| self.core.clock.now());
            match self.session.next(now, self.longest) {
                Next::Nothing => return None,
                Next::At(at) => return Some(at),
                Next::Release { packet_id } => {
                    encode::acknowledge(&mut self.wire.out, packet::PUBREL, packet_id);
                }
                Next::Publish {
                    delivery,
                    packet_id,
                    dup,
                } => self.put(delivery, packet_id, dup, now),
            }
        }
        None
    }

    /// Puts the PUBLISH of a delivery into the write buffer.
    fn put(&mut self, delivery: Delivery, packet_id: u16, dup: bool, now: Timestamp) {
        let message = delivery.message();
        // Only whole seconds of waiting are taken off (MQTT 5.0 section 3.3.2.3.3).
        let expiry = message.properties.message_expiry_interval.map(|all| {
            let waited = now.duration_since(message.time).as_secs().max(0);
            all.saturating_sub(u32::try_from(waited).unwrap_or(u32::MAX))
        });
        let alias = if self.alias_out_maximum > 0 {
            self.alias_for(&message.topic)
        } else {
            None
        };
        let from = self.wire.end();
        let shape = Shape {
            five: self.five,
            qos: delivery.qos,
            dup,
            retain: delivery.retain,
            packet_id,
            expiry,
            identifiers: &delivery.identifiers,
            alias,
        };
        delivery.envelope.write(&mut self.wire.out, &shape);
        self.writing.push_back(Writing {
            from,
            to: self.wire.end(),
            delivery,
            packet_id,
            dup,
        });
    }

    /// The alias of a topic name, and whether the client knows it already. The first topics get
    /// those that the client allows.
    fn alias_for(&mut self, topic: &str) -> Option<(u16, bool)> {
        if let Some(&alias) = self.aliases_out.get(topic) {
            return Some((alias, true));
        }
        let alias = u16::try_from(self.aliases_out.len() + 1).ok()?;
        if alias > self.alias_out_maximum {
            return None;
        }
        self.aliases_out.insert(topic.to_owned(), alias);
        Some((alias, false))
    }

    /// Tells of the deliveries whose last byte has been written.
    fn settle(&mut self) {
        let written = self.wire.written();
        let done = self.writing.iter().take_while(|sent| sent.to <= written);
        // The broker's own figures are no messages.
        let own = |sent: &&Writing| !sent.delivery.message().id.is_empty();
        let (done, count) = (done.clone().count(), done.filter(own).count());
        if done > 0 {
            // Who is told of a delivery finds it counted.
            let sent = &self.core.totals.messages_out;
            sent.fetch_add(count as u64, Ordering::Relaxed);
            self.session.took(count);
            let now = self.core.clock.now();
            for sent in self.writing.drain(..done) {
                sent.delivery.tell(Step::Sent, now);
            }
        }
        if self.writing.is_empty() && self.writing.capacity() > 64 {
            self.writing = VecDeque::new();
        }
    }

    /// When the timer must ring next.
    fn deadline(&self) -> Option<Instant> {
        let silent = self.keep_alive.map(|grace| self.heard + grace);
        let blocked = self.blocked.map(|since| since + WRITE);
        let leaving = self.leaving.as_ref().map(|(_, until)| *until);
        [silent, blocked, leaving].into_iter().flatten().min()
    }

    async fn wait(&mut self, paced: Option<Timestamp>) -> io::Result<Wake> {
        let mut pace: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = paced.map(|at| {
            let clock = self.core.clock.clone();
            Box::pin(async move { clock.reached_or_moved(at).await }) as _
        });
        if !self.wire.has_output() {
            self.wire.rest();
        }
        poll_fn(|cx| self.poll_wake(cx, pace.as_mut())).await
    }

    fn poll_wake(
        &mut self,
        cx: &mut Context<'_>,
        pace: Option<&mut Pin<Box<dyn Future<Output = ()> + Send>>>,
    ) -> Poll<io::Result<Wake>> {
        if self.wire.has_output() {
            let before = self.wire.written();
            let written = self.wire.poll_write(cx)?;
            if self.wire.written() > before || written.is_ready() {
                self.blocked = None;
                self.settle();
            }
            if written.is_ready() {
                return Poll::Ready(Ok(Wake::Written));
            }
            if self.blocked.is_none() {
                self.blocked = Some(Instant::now());
                self.timer = None;
            }
        }
        if self.woken || self.owner.poll_woken(cx) {
            // Whoever else can run now may have something for this client too: one turn of theirs
            // makes one write of many.
            self.woken = !self.woken;
            if self.woken {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Ok(Wake::Woken));
        }
        let reads = !self.closed && !self.puts_off() && self.wire.backlog() < HIGH_WATER;
        if reads && let Poll::Ready(read) = self.wire.poll_read(cx)? {
            let wake = if read == 0 { Wake::Closed } else { Wake::Read };
            return Poll::Ready(Ok(wake));
        }
        if let Some(pending) = &mut self.pending
            && let Poll::Ready(done) = pending.as_mut().poll(cx)
        {
            return Poll::Ready(Ok(Wake::Done(done)));
        }
        if let Some(pace) = pace
            && pace.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(Wake::Paced));
        }
        self.poll_timer(cx)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Wake>> {
        if self.timer.is_none() {
            let at = self.deadline();
            self.timer = at.map(|at| Box::pin(tokio::time::sleep_until(at)));
        }
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It was set when the client had been heard of last; it may have been since.
            match self.deadline() {
                Some(at) if at > Instant::now() => {
                    self.timer = Some(Box::pin(tokio::time::sleep_until(at)));
                }
                _ => return Poll::Ready(Ok(Wake::Timer)),
            }
        }
        Poll::Pending
    }

    /// The connection ends: what was not written goes back to the session, which is let go; then
    /// the client is told.
    async fn finish(mut self, ending: Ending) {
        let now = self.core.clock.now();
        self.pending = None;
        let written = self.wire.written();
        let lost = matches!(ending, Ending::ConnectionLost | Ending::Stalled);
        // What has begun is finished where the client is still there.
        let begun = self
            .writing
            .iter()
            .take_while(|writing| writing.from < written && !lost)
            .count();
        let unsent = self.writing.split_off(begun);
        for writing in unsent.iter().rev() {
            self.wire.cut(writing.from, writing.to);
        }
        for writing in &self.writing {
            writing.delivery.tell(Step::Sent, now);
        }
        let unsent = unsent.into_iter();
        self.session.put_back(
            unsent.map(|writing| (writing.delivery, writing.packet_id, writing.dup)),
            now,
        );
        self.core.totals.disconnects.fetch_add(1, Ordering::Relaxed);
        if let Some(dialect) = &self.dialect {
            dialect.disconnected(&self.peer, &ending);
        }
        let event = || Event::Disconnected {
            peer: self.peer.clone(),
            ending: ending.clone(),
        };
        self.core
            .release(&self.session, &self.owner, &ending, event);
        if lost {
            return;
        }
        if self.five
            && let Some(code) = ending.code()
        {
            let reason = self.words.then(|| ending.to_string());
            let last = encode::disconnect(code, reason.as_deref());
            self.wire.out.extend_from_slice(&last);
        }
        if matches!(ending, Ending::Disconnected { .. }) {
            // The client sends nothing any more (MQTT 5.0 section 3.14.4): its close needs no wait.
            close(&mut self.wire, self.plain).await;
        } else {
            leave(&mut self.wire).await;
        }
    }
}

/// Whether a filter is one: its share name and what follows (MQTT 5.0 sections 4.7.1 and 4.8.2).
fn readable(filter: &str) -> Result<(), String> {
    let (share, bare) = router::parts(filter);
    let shared = filter == "$share" || filter.starts_with("$share/");
    if shared && share.is_none() {
        return Err("a shared subscription is $share/{name}/{filter}".to_owned());
    }
    if share.is_some_and(|name| name.is_empty() || packet::has_wildcard(name)) {
        return Err("the share name is empty or has a wildcard in it".to_owned());
    }
    TopicFilter::parse(bare)
        .map(drop)
        .map_err(|error| format!("the topic filter is not valid: {error}"))
}
