//! How each vendor's MQTT side differs from plain MQTT: who may connect, publish and subscribe.
//! A dialect is chosen at CONNECT, by the first that [`Dialect::claims`] it; a client that none
//! claims is an open one. The broker asks these questions; a vendor answers them in its `mqtt.rs`.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mqttstack_base::exchange::Surface;

use super::ending::Ending;
use super::message::{Properties, Publication, Qos, Transport, Will};

/// A CONNECT, before anything is decided about it.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The client id; made by the broker where the client sent none.
    pub client_id: String,
    /// The user name.
    pub username: Option<String>,
    /// The password; any bytes.
    pub password: Option<Bytes>,
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub protocol_version: u8,
    /// Clean Session (3.x) or Clean Start (5).
    pub clean_start: bool,
    /// Keep-alive in seconds, as asked for.
    pub keep_alive: u16,
    /// The will.
    pub will: Option<Will>,
    /// What the connection came through.
    pub transport: Transport,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// What the TLS handshake told; empty without TLS.
    pub tls: Visitor,
    /// Authentication Method of MQTT 5.
    pub authentication_method: Option<String>,
    /// Authentication Data of MQTT 5.
    pub authentication_data: Option<Bytes>,
}

/// What a TLS handshake told of a client.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// The certificate chain in DER, leaf first; empty without one.
    pub certificates: Arc<[Bytes]>,
    /// The server name that the client asked for.
    pub server_name: Option<String>,
}

/// What an accepted client is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Whose client it is; `None` for an open client.
    pub surface: Option<Surface>,
    /// The vendor's tenant: an instance, a product, a namespace.
    pub tenant: Option<String>,
    /// Who it is in the vendor's words: an access key id, a device, a user. Never a secret.
    pub identity: String,
    /// The longest keep-alive in seconds; a longer one is lowered.
    pub max_keep_alive: Option<u16>,
    /// What else its vendor's broker limits.
    pub limits: Limits,
    /// What was lenient about letting it in, in words: the journal gets an entry with them.
    pub hints: Vec<String>,
    /// What the vendor has found out and wants again once the client is connected.
    pub admitted: Admitted,
}

/// What a vendor has found out about a client that it admits. The broker does not look into it;
/// the vendor has it back in [`Peer::grant`].
#[derive(Clone, Default)]
pub struct Admitted(Option<Arc<dyn Any + Send + Sync>>);

impl Admitted {
    /// Keeps a value.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Admitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admitted")
    }
}

impl PartialEq for Admitted {
    /// Two are equal if they are the same, or nothing.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (own, other) => own.is_none() && other.is_none(),
        }
    }
}

impl Eq for Admitted {}

/// What a vendor's broker limits for one client. Whatever is `None` or left at its default is as
/// `broker::Settings` has it; an MQTT 5 client learns what differs from its CONNACK (MQTT 5.0
/// section 3.2.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Maximum QoS. A PUBLISH above it ends the connection: with 0x9B in MQTT 5. A CONNECT whose
    /// will is above it is refused; a subscription above it is granted up to it.
    pub max_qos: Option<Qos>,
    /// What the client may not use.
    pub unavailable: &'static [Feature],
    /// The longest packet in bytes that the client may send, its fixed header included; a longer
    /// one ends the connection, with 0x95 in MQTT 5. Never above that of `broker::Settings`.
    pub max_packet_size: Option<u32>,
    /// Receive Maximum: how many PUBLISH packets of QoS 1 and 2 the client may have under way; one
    /// more ends the connection with 0x93. MQTT 3.x has no such limit.
    pub receive_maximum: Option<u16>,
    /// How much may wait in the session before it ends.
    pub session_overflow: Option<SessionOverflow>,
    /// Topic Alias Maximum; a higher alias ends the connection with 0x94.
    pub topic_alias_maximum: Option<u16>,
    /// How many deliveries of QoS 1 and 2 the client may leave unacknowledged; never above its
    /// own Receive Maximum.
    pub deliveries_in_flight: Option<u16>,
    /// How many filters one SUBSCRIBE may have; a longer one is refused whole (3.x: 0x80 each,
    /// 5: 0x97 each).
    pub filters_per_subscribe: Option<usize>,
    /// How many filters the client may be subscribed to at once; one more is refused with 0x97.
    pub filters_per_client: Option<usize>,
    /// Whether the will is published at once when the connection ends, whatever the Will Delay
    /// Interval.
    pub will_delay_ignored: bool,
    /// How many messages of QoS 1 and 2 wait for the client while it is offline; the oldest go.
    pub offline_queue: Option<usize>,
    /// How long a message waits for the client while it is offline, in seconds of the emulator's
    /// clock, from the moment it was published.
    pub offline_expiry_s: Option<u64>,
    /// How what has waited is delivered once the client is there again.
    pub offline_replay: Option<Replay>,
    /// How many messages are delivered to the client in a second; the others wait their turn.
    pub deliveries_per_second: Option<u32>,
    /// The longest Session Expiry Interval in seconds; a longer one is lowered, and a session of
    /// 3.x without Clean Session has this one.
    pub max_session_expiry: Option<u32>,
    /// How many retained messages there may be in the client's part of the topic tree. A message
    /// that would be one more is refused with 0x97; without an acknowledgement that could say so
    /// the connection ends.
    pub retained_messages: Option<usize>,
    /// The longest life of a retained message in seconds: a longer Message Expiry Interval is
    /// lowered, and a message of 3.x, which has none, gets this one.
    pub max_retained_expiry: Option<u32>,
    /// Whether a Message Expiry Interval of 0 means that the message never expires; else it
    /// counts as 1, since the message may be delivered only at once.
    pub zero_expiry_is_never: bool,
    /// Whether a PUBACK of the client with a failure code ends the connection, with 0x83.
    pub refused_delivery_ends: bool,
}

/// What may wait in a session; with more of it the session ends, and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOverflow {
    /// How many messages.
    pub messages: Option<usize>,
    /// How many bytes of payload.
    pub bytes: Option<usize>,
}

/// At what pace the messages are delivered that have waited for an offline client: no more than
/// `batch` of them in any `interval_ms` of the emulator's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// How many at once; never less than 1.
    pub batch: usize,
    /// Milliseconds from one batch to the next.
    pub interval_ms: u64,
}

/// A part of MQTT that a vendor's broker does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Retained messages: a retained PUBLISH of MQTT 5 ends the connection with 0x9A, a CONNECT
    /// with a retained will is refused. 3.x cannot be told; [`Dialect::publish`] decides there.
    Retain,
    /// Shared subscriptions: refused with 0x9E (3.x: 0x80).
    SharedSubscription,
    /// Subscription identifiers: one ends the connection with 0xA1.
    SubscriptionIdentifier,
    /// User properties of other packets than PUBLISH (and of the will): a CONNECT is refused with
    /// 0x83, any other ends the connection with it.
    UserPropertyOutsidePublish,
}

/// CONNACK codes that a refusal can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectCode {
    /// 3.x: 4; 5: 0x86.
    BadUserNameOrPassword,
    /// 3.x: 5; 5: 0x87.
    NotAuthorized,
    /// 3.x: 2; 5: 0x85.
    ClientIdentifierNotValid,
    /// 3.x: 3; 5: 0x88.
    ServerUnavailable,
    /// 3.x: 3; 5: 0x97.
    QuotaExceeded,
    /// 3.x: 3; 5: 0x9F.
    ConnectionRateExceeded,
    /// 3.x: 5; 5: 0x8A.
    Banned,
    /// 3.x: 5; 5: 0x8C.
    BadAuthenticationMethod,
    /// 3.x: 5; 5: 0x83.
    ImplementationSpecific,
    /// 3.x: 5; 5: 0x95.
    PacketTooLarge,
    /// 3.x: 5; 5: 0x9A.
    RetainNotSupported,
    /// 3.x: 5; 5: 0x9B.
    QosNotSupported,
}

impl ConnectCode {
    /// The code on the wire for a protocol version.
    pub const fn code(self, protocol_version: u8) -> u8 {
        match (self, protocol_version >= 5) {
            (Self::ClientIdentifierNotValid, false) => 2,
            (
                Self::ServerUnavailable | Self::QuotaExceeded | Self::ConnectionRateExceeded,
                false,
            ) => 3,
            (Self::BadUserNameOrPassword, false) => 4,
            (
                Self::NotAuthorized
                | Self::Banned
                | Self::BadAuthenticationMethod
                | Self::ImplementationSpecific
                | Self::PacketTooLarge
                | Self::RetainNotSupported
                | Self::QosNotSupported,
                false,
            ) => 5,
            (Self::ImplementationSpecific, true) => 0x83,
            (Self::ClientIdentifierNotValid, true) => 0x85,
            (Self::BadUserNameOrPassword, true) => 0x86,
            (Self::NotAuthorized, true) => 0x87,
            (Self::ServerUnavailable, true) => 0x88,
            (Self::Banned, true) => 0x8a,
            (Self::BadAuthenticationMethod, true) => 0x8c,
            (Self::PacketTooLarge, true) => 0x95,
            (Self::QuotaExceeded, true) => 0x97,
            (Self::RetainNotSupported, true) => 0x9a,
            (Self::QosNotSupported, true) => 0x9b,
            (Self::ConnectionRateExceeded, true) => 0x9f,
        }
    }

    /// The nearest code of an MQTT 5 DISCONNECT, which has not all of them.
    pub const fn disconnect(self) -> u8 {
        match self {
            Self::ClientIdentifierNotValid | Self::BadUserNameOrPassword | Self::Banned => 0x87,
            Self::ServerUnavailable => 0x89,
            other => other.code(5),
        }
    }
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRefusal {
    /// The CONNACK code.
    pub code: ConnectCode,
    /// The reason in words, for the journal. Never a secret.
    pub reason: String,
}

/// A connected client, as the later questions see it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client id.
    pub client_id: String,
    /// What it was granted.
    pub grant: Arc<Grant>,
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub protocol_version: u8,
}

/// A PUBLISH (or a will), before anything is decided about it.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The client that publishes, real or (over HTTP) as the vendor defines it; `None` for a
    /// message of nobody's.
    pub client_id: Option<&'a str>,
    /// The topic name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a Bytes,
    /// The quality of service.
    pub qos: Qos,
    /// The retain flag.
    pub retain: bool,
    /// MQTT 5 properties.
    pub properties: &'a Properties,
    /// Whether it is the client's will.
    pub will: bool,
}

/// What becomes of a PUBLISH.
#[derive(Debug, Clone)]
pub enum PublishVerdict {
    /// It is routed.
    Allow,
    /// It is routed with the retain flag cleared.
    AllowUnretained,
    /// It is delivered, unretained, to the client of this id, subscribed or not, and to nobody
    /// else.
    DeliverTo(String),
    /// It is acknowledged and goes to nobody: it was for the vendor's service itself, which
    /// answers with these messages to the same client.
    Consume(Vec<Publication>),
    /// The same without an answer, of a payload that is a secret: the journal does not keep it.
    ConsumeSecret,
    /// It is acknowledged like any other and goes to nobody; the journal tells of it as of a refused
    /// one, with code 0.
    Discard {
        /// The reason in words, for the journal.
        reason: String,
    },
    /// It is not routed. MQTT 5 gets the reason code (0x80, 0x83, 0x87, 0x90, 0x97 or 0x99);
    /// 3.x, which has none, an acknowledgement.
    Refuse {
        /// The PUBACK reason code.
        code: u8,
        /// The reason in words, for the journal.
        reason: String,
    },
    /// It is not routed and, whatever its quality of service, never acknowledged.
    Withhold {
        /// The reason in words, for the journal.
        reason: String,
    },
    /// It is not routed, and the connection is closed.
    Close {
        /// The reason in words, for the journal.
        reason: String,
    },
    /// The same with another reason code of DISCONNECT (0x90, 0x97 or 0x99).
    Disconnect {
        /// The DISCONNECT reason code; 3.x is told nothing.
        code: u8,
        /// The reason in words, for the journal.
        reason: String,
    },
}

impl PublishVerdict {
    /// Whether the message is routed, to whomever.
    pub(crate) const fn lets_through(&self) -> bool {
        matches!(
            self,
            Self::Allow | Self::AllowUnretained | Self::DeliverTo(_)
        )
    }
}

/// Which of the messages that match a subscription's topic filter the client gets.
pub trait MessageFilter: std::fmt::Debug + Send + Sync {
    /// Whether the client gets this message. Asked while the message is routed, perhaps more than
    /// once, so it must be quick and answer alike each time.
    fn takes(&self, publish: &Publish<'_>) -> bool;
}

/// What becomes of one filter of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub enum SubscribeVerdict {
    /// Granted up to this quality of service.
    Allow(Qos),
    /// The same, for the messages that this filter takes; the others are not the subscription's at
    /// all: they wait for nobody, count against no limit, and choose no member of a shared group.
    /// Retained messages are asked about too. The filter is part of the session, as the topic
    /// filter is, until the client subscribes to that topic filter anew or unsubscribes. What is
    /// delivered past all subscriptions ([`PublishVerdict::DeliverTo`]) is not asked about.
    AllowWhere(Qos, Arc<dyn MessageFilter>),
    /// Refused. MQTT 5 gets the reason code (0x80, 0x83, 0x87, 0x8F, 0x97, 0x9E, 0xA1 or 0xA2);
    /// 3.x gets 0x80.
    Refuse {
        /// The SUBACK reason code.
        code: u8,
        /// The reason in words, for the journal.
        reason: String,
    },
    /// Refused, and the client gets no SUBACK any more.
    Withhold {
        /// Whether the connection is closed now; otherwise the dialect sees to its end.
        close: bool,
        /// The reason in words, for the journal.
        reason: String,
    },
    /// Refused, and the connection is closed behind the SUBACK.
    Close {
        /// The reason in words, for the journal.
        reason: String,
    },
}

/// A packet that is asked about as a whole, before each of its filters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// SUBSCRIBE.
    Subscribe,
    /// UNSUBSCRIBE.
    Unsubscribe,
}

/// Why such a packet is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRefusal {
    /// The reason code of every filter in the SUBACK or UNSUBACK, which must be one that the
    /// packet can have. 3.x gets 0x80 in its SUBACK; it has no UNSUBACK that refuses, and gets
    /// none.
    pub code: u8,
    /// The reason in words, for the journal.
    pub reason: String,
}

/// One vendor's MQTT side. No function may block.
#[async_trait]
pub trait Dialect: Send + Sync {
    /// Whose dialect it is.
    fn surface(&self) -> Surface;

    /// Whether a CONNECT is spoken in this dialect: by the shape of its credentials, the server
    /// name, the certificate. Says nothing about whether they are right.
    fn claims(&self, connect: &Connect) -> bool;

    /// Whether a CONNECT that no dialect claims looks more like this one's than like an open
    /// client's: then it is put to this one, which refuses it in its vendor's words.
    fn resembles(&self, _connect: &Connect) -> bool {
        false
    }

    /// Whether the client may connect. Decides, and changes nothing: the broker may still refuse
    /// the CONNECT; [`Dialect::connected`] tells that the client was accepted.
    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal>;

    /// Whether a connected client may stay, by new Authentication Data (MQTT 5.0 section
    /// 4.12.1). `connect` is the client's CONNECT with that data in it; the grant replaces the
    /// earlier one (except for the limits that the CONNACK has told), a refusal ends the
    /// connection. The method is the one of the CONNECT.
    async fn reauthenticate(
        &self,
        _peer: &Peer,
        connect: &Connect,
    ) -> Result<Grant, ConnectRefusal> {
        self.connect(connect).await
    }

    /// Whether the client may publish this.
    fn publish(&self, _peer: &Peer, _publish: &Publish<'_>) -> PublishVerdict {
        PublishVerdict::Allow
    }

    /// Whether the client may send this packet now: asked once for each, however many filters it
    /// has. A refused packet changes nothing, and none of its filters is asked about. Not asked
    /// about what [`Broker::subscribe`] and [`Broker::unsubscribe`] do.
    ///
    /// [`Broker::subscribe`]: super::Broker::subscribe
    /// [`Broker::unsubscribe`]: super::Broker::unsubscribe
    fn packet(&self, _peer: &Peer, _packet: Packet) -> Result<(), PacketRefusal> {
        Ok(())
    }

    /// Whether the client may subscribe to this filter (`$share/group/` and all). `properties` are
    /// the user properties of the SUBSCRIBE, in their order; none in 3.x.
    fn subscribe(
        &self,
        _peer: &Peer,
        _filter: &str,
        qos: Qos,
        _properties: &[(String, String)],
    ) -> SubscribeVerdict {
        SubscribeVerdict::Allow(qos)
    }

    /// What a PUBLISH to this topic name would be allowed by leniency alone, in words; asked
    /// before it is judged. If it is let through, the journal gets an entry, once for each
    /// connection and text.
    fn publish_hint(&self, _peer: &Peer, _topic: &str) -> Option<String> {
        None
    }

    /// The same of a SUBSCRIBE to this filter.
    fn subscribe_hint(&self, _peer: &Peer, _filter: &str) -> Option<String> {
        None
    }

    /// The client has been accepted.
    fn connected(&self, _peer: &Peer) {}

    /// Whether a message of this topic name and quality of service waits for the client while it
    /// is offline.
    fn keeps_offline(&self, _peer: &Peer, _topic: &str, _qos: Qos) -> bool {
        true
    }

    /// The client's connection has ended. Told of every client that [`Dialect::connected`] was
    /// told of, and before the next connection of the same client id is accepted.
    fn disconnected(&self, _peer: &Peer, _ending: &Ending) {}

    /// The client's session has ended, with its connection or without one. Told after
    /// [`Dialect::disconnected`].
    fn session_ended(&self, _peer: &Peer, _end: SessionEnd) {}

    /// A filter has been granted.
    fn subscribed(&self, _peer: &Peer, _filter: &str, _qos: Qos) {}

    /// A subscription to this filter has been given up. Not told of those that end with their
    /// session.
    fn unsubscribed(&self, _peer: &Peer, _filter: &str) {}
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// With its connection, which it was not to outlive.
    WithConnection,
    /// Its Session Expiry Interval is over.
    Expired,
    /// Its client asked for a new one (Clean Start).
    CleanStart,
    /// It was told to go: [`Broker::kick`], a reset.
    ///
    /// [`Broker::kick`]: super::Broker::kick
    Kicked,
    /// More waited for it than its [`Limits::session_overflow`] allows.
    Overflow {
        /// How many messages waited.
        messages: usize,
        /// How many bytes of payload they had.
        bytes: usize,
    },
    /// The broker stopped.
    Stopped,
}

impl std::fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WithConnection => "the session ended with its connection",
            Self::Expired => "the session has expired",
            Self::CleanStart => "the client started a new session (Clean Start)",
            Self::Kicked => "the session was ended by an administrative action",
            Self::Overflow { .. } => "more messages waited for the session than its vendor allows",
            Self::Stopped => "the broker stopped",
        })
    }
}

/// A packet that was let through with hints, for the journal.
#[derive(Debug, Clone)]
pub struct Noted {
    /// Whose client it is; `None` for an open one.
    pub surface: Option<Surface>,
    /// `CONNECT`, `PUBLISH` or `SUBSCRIBE`.
    pub packet: &'static str,
    /// The topic name or filter; none of a CONNECT.
    pub topic: Option<String>,
    /// The client id.
    pub client_id: String,
    /// The identity granted.
    pub identity: String,
    /// What was lenient, in words.
    pub hints: Vec<String>,
}

/// An MQTT packet that was refused, for the journal; or one that was taken, with a hint.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Whose client it is; `None` for an open one.
    pub surface: Option<Surface>,
    /// What the client sent, in the standard's words: `CONNECT`, `PUBLISH`, `SUBSCRIBE` ...;
    /// `WEBSOCKET` for a frame that carries no packet.
    pub packet: &'static str,
    /// The client id.
    pub client_id: String,
    /// Who it says it is: the user name of a CONNECT, else the identity granted.
    pub identity: Option<String>,
    /// The topic name or filter.
    pub topic: Option<String>,
    /// The reason code on the wire; 0 where the packet was taken and the reason is a hint.
    pub code: u8,
    /// The reason in words.
    pub reason: String,
}
