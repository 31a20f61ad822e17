//! The values that go through the broker: topic names and filters, publications, the message
//! record with its deliveries, and what the broker tells of its clients. No engine types here;
//! `broker/mod.rs` takes these and gives these.

use std::net::SocketAddr;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use crate::exchange::Surface;

/// The longest topic name or filter that MQTT can carry, in bytes of UTF-8.
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why a text is not a topic name or topic filter (MQTT 5.0 section 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It has no character.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_TOPIC_BYTES`].
    #[error("it is longer than 65535 bytes")]
    TooLong,
    /// It holds U+0000.
    #[error("it contains the null character")]
    Null,
    /// A topic name holds `+` or `#`.
    #[error("a topic name must not contain the wildcards + and #")]
    Wildcard,
    /// A wildcard of a filter does not stand alone in its level, or `#` is not last.
    #[error("a wildcard must stand alone in its level, and # must be last")]
    MisplacedWildcard,
}

fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::Null);
    }
    Ok(())
}

/// A topic name: what a message is published to. Never holds a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicName(String);

impl TopicName {
    /// Checks and wraps a topic name.
    pub fn parse(text: impl Into<String>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TopicName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic filter: what a client subscribes to. May hold wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Checks and wraps a topic filter.
    pub fn parse(text: impl Into<String>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            if (wild && level.len() > 1) || (level == "#" && levels.peek().is_some()) {
                return Err(TopicError::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic name matches this filter (MQTT 5.0 section 4.7; a leading wildcard
    /// does not match a name that starts with `$`).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        let mut filters = self.0.split('/');
        loop {
            match (filters.next(), names.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(filter), Some(name)) if filter == name => {}
                _ => return false,
            }
        }
    }
}

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
    /// Message Expiry Interval in seconds; `None` never expires. Zero is not sent.
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
        512 + self.topic.len() + self.payload.len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_has_no_wildcard_and_no_null() {
        assert_eq!(TopicName::parse(""), Err(TopicError::Empty));
        assert_eq!(TopicName::parse("a/+"), Err(TopicError::Wildcard));
        assert_eq!(TopicName::parse("a\0"), Err(TopicError::Null));
        assert_eq!(
            TopicName::parse("a".repeat(65_536)),
            Err(TopicError::TooLong)
        );
        assert!(TopicName::parse("/a//子 b/$x").is_ok());
    }

    #[test]
    fn wildcards_of_a_filter_stand_alone() {
        for good in ["#", "+", "a/#", "+/+/b", "/", "$share/g/a", "a//+"] {
            assert!(TopicFilter::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a#", "#/a", "a+/b", "a/##"] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_match_as_the_standard_says() {
        let matches =
            |filter: &str, topic: &str| TopicFilter::parse(filter).unwrap().matches(topic);
        assert!(matches("sport/#", "sport"));
        assert!(matches("sport/#", "sport/a/b"));
        assert!(matches("+/+", "/finance"));
        assert!(matches("sport/+", "sport/"));
        assert!(!matches("sport/+", "sport"));
        assert!(!matches("+", "/finance"));
        assert!(!matches("#", "$SYS/x"));
        assert!(!matches("+/x", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
        assert!(!matches("a/b", "a/b/c"));
    }
}
