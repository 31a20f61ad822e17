//! The values that go through the broker: topic names and filters, publications, the message
//! record with its deliveries, and what the broker tells of its clients. No engine types here;
//! `broker/mod.rs` takes these and gives these.

mod topic;

use std::net::SocketAddr;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use crate::exchange::Surface;

pub use topic::{MAX_TOPIC_BYTES, TopicError, TopicFilter, TopicName, check_depth};

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2
    ExactlyOnce,
}

impl Qos {
    /// The level as the standard numbers it, 0 to 2.
    pub const fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// The level from its number; `None` above 2.
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

impl Serialize for Qos {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.level())
    }
}

/// The MQTT 5 properties of a publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Message Expiry Interval in seconds; `None` never expires. With `Some(0)` the message may be
    /// delivered only at once, and its property is sent as it is.
    pub message_expiry_interval: Option<u32>,
    /// Payload Format Indicator: `Some(true)` is 1, UTF-8 text.
    pub payload_format_indicator: Option<bool>,
    /// User Properties, in order, names may repeat.
    pub user_properties: Vec<(String, String)>,
}

/// By which way a message came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    /// A vendor's HTTP surface.
    Http,
    /// An MQTT client's PUBLISH.
    Mqtt,
    /// An MQTT client's will.
    Will,
    /// The emulator itself.
    System,
    /// Another broker, over the bridge.
    Bridge,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// By which way.
    pub kind: OriginKind,
    /// Whose surface or dialect; `None` for the open dialect.
    pub vendor: Option<Surface>,
    /// The publishing client id, real or (over HTTP) as the vendor defines it.
    pub client_id: Option<String>,
    /// The id of the HTTP request in the journal.
    pub request: Option<String>,
}

/// What a vendor asks the broker to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where to.
    pub topic: TopicName,
    /// The bytes.
    pub payload: Bytes,
    /// The quality of service of the publish; a delivery gets the lower of this and the
    /// subscription's.
    pub qos: Qos,
    /// The retain flag.
    pub retain: bool,
    /// MQTT 5 properties.
    pub properties: Properties,
    /// Where it comes from.
    pub origin: Origin,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryOutcome {
    /// In the subscriber's queue: not written yet, or the subscriber is offline.
    Queued,
    /// Written to the subscriber's connection.
    Sent,
    /// Acknowledged by the subscriber (QoS 1 and 2 only).
    Acknowledged,
    /// Given up; `reason` says why.
    Dropped,
    /// Its message expiry interval ran out first.
    Expired,
}

/// One message on its way to one subscriber.
#[derive(Debug, Clone, Serialize)]
pub struct Delivery {
    /// The subscriber.
    pub client_id: String,
    /// The topic name as the subscriber sees it.
    pub topic: String,
    /// The quality of service of this delivery.
    pub qos: Qos,
    /// How far it has come.
    pub outcome: DeliveryOutcome,
    /// Why it was dropped.
    pub reason: Option<String>,
    /// The emulator's time of the last change.
    pub time: Timestamp,
}

/// A message that the broker took, and what became of it. The journal keeps these.
#[derive(Debug)]
pub struct Message {
    /// The message id: 32 upper-case hexadecimal digits.
    pub id: String,
    /// The emulator's time at which it was taken.
    pub time: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// Where it went.
    pub topic: String,
    /// The publish's quality of service.
    pub qos: Qos,
    /// The publish's retain flag.
    pub retain: bool,
    /// The bytes.
    pub payload: Bytes,
    /// MQTT 5 properties.
    pub properties: Properties,
    /// One row for each subscriber that it was meant for. Never held over an await.
    pub deliveries: Mutex<Vec<Delivery>>,
}

impl Message {
    /// About how many bytes this record occupies.
    pub fn weight(&self) -> usize {
        let properties = &self.properties;
        let user: usize = properties
            .user_properties
            .iter()
            .map(|(name, value)| name.len() + value.len() + 64)
            .sum();
        let correlation = properties.correlation_data.as_ref().map_or(0, Bytes::len);
        let rows = self.deliveries.lock().len() * (160 + self.topic.len());
        512 + 2 * self.topic.len() + self.payload.len() + user + correlation + rows
    }
}

/// What a publish did.
#[derive(Debug, Clone)]
pub struct Published {
    /// The record of the message.
    pub message: std::sync::Arc<Message>,
    /// How many subscribers (a shared subscription counts once) it was meant for.
    pub matched: usize,
}

/// How a client is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

/// A client with a session, connected or not.
#[derive(Debug, Clone, Serialize)]
pub struct Client {
    /// The client id.
    pub client_id: String,
    /// The user name of its CONNECT.
    pub username: Option<String>,
    /// Whose dialect it speaks; `None` for an open client.
    pub dialect: Option<Surface>,
    /// The vendor's tenant it belongs to.
    pub tenant: Option<String>,
    /// Who it is in the vendor's words.
    pub identity: Option<String>,
    /// Whether it is connected now.
    pub connected: bool,
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub protocol_version: u8,
    /// Keep-alive in seconds, as in force.
    pub keep_alive: u16,
    /// Clean session (3.x) or Clean Start (5).
    pub clean_start: bool,
    /// How it is attached.
    pub transport: Transport,
    /// The peer's address.
    pub peer: Option<SocketAddr>,
    /// The emulator's time of its last CONNECT.
    pub connected_at: Option<Timestamp>,
    /// Topic and payload of its will, if it has one.
    pub will: Option<Will>,
    /// How many subscriptions it holds.
    pub subscriptions: usize,
    /// Deliveries that wait to be written.
    pub queued: usize,
    /// Deliveries that wait to be acknowledged.
    pub inflight: usize,
    /// PUBLISH packets taken from it.
    pub messages_in: u64,
    /// PUBLISH packets written to it.
    pub messages_out: u64,
    /// Deliveries to it that were given up.
    pub messages_dropped: u64,
}

/// A will as it stands in a CONNECT.
#[derive(Debug, Clone, Serialize)]
pub struct Will {
    /// The will topic.
    pub topic: String,
    /// The will payload.
    #[serde(skip)]
    pub payload: Bytes,
    /// The will's quality of service.
    pub qos: Qos,
    /// The will's retain flag.
    pub retain: bool,
    /// Will Delay Interval in seconds; 0 in 3.x.
    #[serde(skip)]
    pub delay: u32,
    /// MQTT 5 properties.
    #[serde(skip)]
    pub properties: Properties,
}

/// One subscription of one client.
#[derive(Debug, Clone, Serialize)]
pub struct Subscription {
    /// Who holds it.
    pub client_id: String,
    /// The filter, without `$share/group/`.
    pub topic_filter: String,
    /// The group of a shared subscription.
    pub share_group: Option<String>,
    /// The granted maximum quality of service.
    pub qos: Qos,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling, 0 to 2.
    pub retain_handling: u8,
    /// Subscription Identifier.
    pub subscription_identifier: Option<u32>,
    /// Its place in the order in which all subscriptions were made.
    #[serde(skip)]
    pub order: u64,
}

/// A retained message.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The message as it was published.
    pub message: std::sync::Arc<Message>,
    /// How many seconds it still has, if it expires.
    pub expires_in: Option<u32>,
}

/// Totals since the broker started or was last reset.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counters {
    /// Connections accepted with CONNACK success.
    pub connects: u64,
    /// Connections that ended.
    pub disconnects: u64,
    /// Messages taken, from everywhere.
    pub messages_in: u64,
    /// Deliveries written.
    pub messages_out: u64,
    /// Deliveries given up, and messages that nobody was subscribed to.
    pub messages_dropped: u64,
}
