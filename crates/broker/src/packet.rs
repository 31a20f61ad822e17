//! Packets that a client sends once it is connected: `mqtt-protocol-core` reads them; here stands
//! what the standard forbids and the library lets pass, and the words for what is wrong. The
//! CONNECT is read in `opening.rs`; what the broker sends is written in `encode.rs`.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    Properties as Properties5, PropertiesParse, Property, Qos as WireQos, SubEntry,
    VariableByteInteger, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use mqttstack_base::message::{Properties, Qos};

/// The packet types in the high half of the first byte (MQTT 5.0 section 2.1.2).
pub(crate) const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x60;
pub(crate) const PUBCOMP: u8 = 0x70;
const SUBSCRIBE: u8 = 0x80;
const SUBACK: u8 = 0x90;
const UNSUBSCRIBE: u8 = 0xa0;
const UNSUBACK: u8 = 0xb0;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
const DISCONNECT: u8 = 0xe0;
const AUTH: u8 = 0xf0;

/// The longest fixed header: the first byte and a Remaining Length of four.
pub(crate) const MAX_HEADER: usize = 5;

/// Reason codes of DISCONNECT (MQTT 5.0 section 3.14.2.1) and of what else can refuse.
pub(crate) mod code {
    pub(crate) const NORMAL: u8 = 0x00;
    pub(crate) const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub(crate) const UNSPECIFIED: u8 = 0x80;
    pub(crate) const MALFORMED: u8 = 0x81;
    pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
    pub(crate) const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
    pub(crate) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(crate) const NOT_AUTHORIZED: u8 = 0x87;
    pub(crate) const SHUTTING_DOWN: u8 = 0x8b;
    pub(crate) const BAD_AUTHENTICATION_METHOD: u8 = 0x8c;
    pub(crate) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
    pub(crate) const SESSION_TAKEN_OVER: u8 = 0x8e;
    pub(crate) const TOPIC_FILTER_INVALID: u8 = 0x8f;
    pub(crate) const TOPIC_NAME_INVALID: u8 = 0x90;
    pub(crate) const PACKET_ID_NOT_FOUND: u8 = 0x92;
    pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    pub(crate) const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub(crate) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(crate) const ADMINISTRATIVE_ACTION: u8 = 0x98;
    pub(crate) const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
    pub(crate) const QOS_NOT_SUPPORTED: u8 = 0x9b;
    pub(crate) const SHARED_NOT_SUPPORTED: u8 = 0x9e;
    pub(crate) const IDENTIFIERS_NOT_SUPPORTED: u8 = 0xa1;
}

/// A packet that breaks a rule: the connection ends with the code (MQTT 5) and the reason.
#[derive(Debug)]
pub(crate) struct Violation {
    /// The topic name or filter, for the journal.
    pub(crate) topic: Option<String>,
    pub(crate) code: u8,
    pub(crate) reason: String,
}

impl Violation {
    pub(crate) fn new(code: u8, reason: impl Into<String>) -> Self {
        Self {
            topic: None,
            code,
            reason: reason.into(),
        }
    }

    pub(crate) fn about(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }
}

fn malformed<T>(reason: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(code::MALFORMED, reason))
}

fn protocol_error<T>(reason: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(code::PROTOCOL_ERROR, reason))
}

/// What lies at the head of the bytes that have come.
pub(crate) enum Frame {
    /// Not even a whole fixed header.
    Unknown,
    /// A packet with a fixed header of so many bytes, so many bytes in all; maybe not all here.
    Packet { header: usize, total: usize },
    /// A Remaining Length of more than four bytes.
    Malformed,
}

/// Looks at the fixed header at the head of `bytes`.
pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let mut length = 0_usize;
    for at in 1..MAX_HEADER {
        let Some(&byte) = bytes.get(at) else {
            return Frame::Unknown;
        };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Frame::Packet {
                header: at + 1,
                total: at + 1 + length,
            };
        }
    }
    Frame::Malformed
}

/// A packet type in the standard's words.
pub(crate) const fn name(first: u8) -> &'static str {
    match first & 0xf0 {
        CONNECT => "CONNECT",
        CONNACK => "CONNACK",
        PUBLISH => "PUBLISH",
        PUBACK => "PUBACK",
        PUBREC => "PUBREC",
        PUBREL => "PUBREL",
        PUBCOMP => "PUBCOMP",
        SUBSCRIBE => "SUBSCRIBE",
        SUBACK => "SUBACK",
        UNSUBSCRIBE => "UNSUBSCRIBE",
        UNSUBACK => "UNSUBACK",
        PINGREQ => "PINGREQ",
        PINGRESP => "PINGRESP",
        DISCONNECT => "DISCONNECT",
        AUTH => "AUTH",
        _ => "RESERVED",
    }
}

/// A PUBLISH of a client.
#[derive(Debug)]
pub(crate) struct Publish {
    /// Empty where only the alias names the topic.
    pub(crate) topic: String,
    pub(crate) alias: Option<u16>,
    /// 0 with QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) qos: Qos,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) payload: Bytes,
    pub(crate) properties: Properties,
}

/// One filter of a SUBSCRIBE with its options.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: u8,
}

/// A SUBSCRIBE of a client.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<Asked>,
    pub(crate) identifier: Option<u32>,
    pub(crate) user_properties: Vec<(String, String)>,
}

/// What a connected client can send.
#[derive(Debug)]
pub(crate) enum Packet {
    Publish(Box<Publish>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP (the packet type), with its reason code.
    Acknowledgement {
        kind: u8,
        packet_id: u16,
        code: u8,
        user_property: bool,
    },
    Subscribe(Subscribe),
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
        user_property: bool,
    },
    Pingreq,
    Disconnect {
        code: u8,
        session_expiry: Option<u32>,
        user_property: bool,
    },
    Auth {
        code: u8,
        method: Option<String>,
        data: Option<Bytes>,
        user_property: bool,
    },
}

/// Reads a whole packet. `first` is its first byte, `body` what follows the fixed header.
pub(crate) fn read(first: u8, body: &[u8], five: bool) -> Result<Packet, Violation> {
    if first & 0xf0 == PUBLISH {
        return publish(first, body, five).map(|publish| Packet::Publish(Box::new(publish)));
    }
    head(first, body.len(), five)?;
    match first & 0xf0 {
        SUBSCRIBE => subscribe(body, five).map(Packet::Subscribe),
        UNSUBSCRIBE => unsubscribe(body, five),
        PINGREQ => Ok(Packet::Pingreq),
        DISCONNECT => disconnect(body, five),
        AUTH => auth(body),
        kind => acknowledgement(kind, body, five),
    }
}

/// The first byte and the length of any packet but a PUBLISH (MQTT 5.0 section 2.1).
fn head(first: u8, length: usize, five: bool) -> Result<(), Violation> {
    let (kind, flags, name) = (first & 0xf0, first & 0x0f, name(first));
    let expected = match kind {
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => 0b10,
        PUBACK | PUBREC | PUBCOMP | PINGREQ | DISCONNECT => 0,
        AUTH if five => 0,
        AUTH | 0 => return malformed("the packet's type is reserved"),
        CONNECT => return protocol_error("this is the second CONNECT"),
        _ => return protocol_error(format!("a {name} comes from a server only")),
    };
    if flags != expected {
        return malformed(format!(
            "the {name} has the flags {flags:04b}, expected {expected:04b}"
        ));
    }
    if kind == PINGREQ && length != 0 {
        return malformed("the PINGREQ has a payload");
    }
    Ok(())
}

/// What the library finds wrong, in words.
pub(crate) fn wrong(name: &str, error: MqttError) -> Violation {
    match error {
        MqttError::ProtocolError => Violation::new(
            code::PROTOCOL_ERROR,
            format!("the {name} has a property twice, or one that it may not have or not so"),
        ),
        _ => Violation::new(code::MALFORMED, format!("the {name} is malformed")),
    }
}

/// The whole of a packet's body, read by the library.
fn parsed<T>(
    name: &str,
    body: &[u8],
    read: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
) -> Result<T, Violation> {
    match read(body) {
        Ok((packet, used)) if used == body.len() => Ok(packet),
        Ok(_) => malformed(format!("the {name} has bytes behind its end")),
        Err(error) => Err(wrong(name, error)),
    }
}

/// Text of any kind (MQTT 5.0 section 1.5.4).
pub(crate) fn text(text: &str, what: &str) -> Result<(), Violation> {
    if text.contains('\0') {
        return malformed(format!("the {what} has U+0000 in it"));
    }
    Ok(())
}

/// Whether text has a wildcard in it, which no topic name may have (MQTT 5.0 section 4.7.1).
pub(crate) fn has_wildcard(text: &str) -> bool {
    text.contains(['+', '#'])
}

/// Every text among properties (MQTT 5.0 section 1.5.4).
pub(crate) fn texts(properties: &[Property]) -> Result<(), Violation> {
    for property in properties {
        match property {
            Property::ContentType(own) => text(own.val(), "content type")?,
            Property::ResponseTopic(own) => text(own.val(), "response topic")?,
            Property::ReasonString(own) => text(own.val(), "reason string")?,
            Property::AuthenticationMethod(own) => text(own.val(), "authentication method")?,
            Property::UserProperty(own) => {
                text(own.key(), "name of a user property")?;
                text(own.val(), "value of a user property")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A response topic (MQTT 5.0 section 3.3.2.3.5).
pub(crate) fn response_topic(topic: Option<&str>) -> Result<(), Violation> {
    match topic {
        Some("") => protocol_error("the response topic is empty"),
        Some(topic) if has_wildcard(topic) => {
            protocol_error("the response topic has a wildcard in it")
        }
        _ => Ok(()),
    }
}

/// The properties of a PUBLISH or of a will, as values of ours.
pub(crate) fn properties(all: &[Property]) -> Properties {
    let mut properties = Properties::default();
    for property in all {
        match property {
            Property::ContentType(own) => properties.content_type = Some(own.val().to_owned()),
            Property::ResponseTopic(own) => properties.response_topic = Some(own.val().to_owned()),
            Property::CorrelationData(own) => {
                properties.correlation_data = Some(Bytes::copy_from_slice(own.val()));
            }
            Property::MessageExpiryInterval(own) => {
                properties.message_expiry_interval = Some(own.val());
            }
            Property::PayloadFormatIndicator(own) => {
                properties.payload_format_indicator = Some(own.val() == 1);
            }
            Property::UserProperty(own) => {
                let pair = (own.key().to_owned(), own.val().to_owned());
                properties.user_properties.push(pair);
            }
            _ => {}
        }
    }
    properties
}

pub(crate) fn qos(qos: WireQos) -> Qos {
    match qos {
        WireQos::AtMostOnce => Qos::AtMostOnce,
        WireQos::AtLeastOnce => Qos::AtLeastOnce,
        WireQos::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// The topic name of a PUBLISH that the library may not be able to read: text, for the journal.
fn named(body: &[u8]) -> String {
    let length = body
        .first_chunk()
        .map_or(0, |&size| u16::from_be_bytes(size));
    let topic = body.get(2..2 + usize::from(length)).unwrap_or_default();
    String::from_utf8_lossy(topic).into_owned()
}

fn publish(first: u8, body: &[u8], five: bool) -> Result<Publish, Violation> {
    read_publish(first, body, five).map_err(|violation| violation.about(named(body)))
}

fn read_publish(first: u8, body: &[u8], five: bool) -> Result<Publish, Violation> {
    if first & 0b110 == 0b110 {
        return malformed("the PUBLISH has QoS 3");
    }
    if first & 0b1110 == 0b1000 {
        return malformed("the PUBLISH has DUP set with QoS 0");
    }
    let shared: Arc<[u8]> = body.into();
    let publish = if five {
        let (publish, _) = v5_0::Publish::parse(first & 0x0f, shared).map_err(|error| {
            if has_alias_zero(first, body) {
                let reason = "the topic alias is 0";
                return Violation::new(code::TOPIC_ALIAS_INVALID, reason);
            }
            wrong("PUBLISH", error)
        })?;
        five_publish(&publish, body)?
    } else {
        let (publish, _) = v3_1_1::Publish::parse(first & 0x0f, shared)
            .map_err(|error| wrong("PUBLISH", error))?;
        Publish {
            topic: publish.topic_name().to_owned(),
            alias: None,
            packet_id: publish.packet_id().unwrap_or_default(),
            qos: qos(publish.qos()),
            dup: publish.dup(),
            retain: publish.retain(),
            payload: Bytes::copy_from_slice(publish.payload().as_slice()),
            properties: Properties::default(),
        }
    };
    text(&publish.topic, "topic name")?;
    if has_wildcard(&publish.topic) {
        return Err(Violation::new(
            code::TOPIC_NAME_INVALID,
            "the topic name has a wildcard in it",
        ));
    }
    if publish.qos != Qos::AtMostOnce && publish.packet_id == 0 {
        return protocol_error("the PUBLISH has the packet id 0");
    }
    if publish.topic.is_empty() && publish.alias.is_none() {
        let code = if five {
            code::PROTOCOL_ERROR
        } else {
            code::MALFORMED
        };
        return Err(Violation::new(
            code,
            "the topic name is empty, and no topic alias stands for it",
        ));
    }
    Ok(publish)
}

/// Whether a PUBLISH that the library refuses has the topic alias 0, which has a reason code of
/// its own (MQTT 5.0 section 3.3.2.3.4).
fn has_alias_zero(first: u8, body: &[u8]) -> bool {
    const TOPIC_ALIAS: u8 = 0x23;
    let topic = body
        .first_chunk()
        .map_or(0, |&size| u16::from_be_bytes(size));
    let id = if first & 0b110 == 0 { 0 } else { 2 };
    let rest = body.get(2 + usize::from(topic) + id..).unwrap_or_default();
    let Some((length, used)) = variable(rest) else {
        return false;
    };
    let mut rest = rest.get(used..used + length).unwrap_or_default();
    while let Some((&id, value)) = rest.split_first() {
        if id == TOPIC_ALIAS {
            return value.starts_with(&[0, 0]);
        }
        let Ok((_, used)) = Property::parse(rest) else {
            return false;
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    false
}

fn five_publish(publish: &v5_0::Publish, body: &[u8]) -> Result<Publish, Violation> {
    let id = if publish.packet_id().is_some() { 2 } else { 0 };
    // The library takes a PUBLISH that ends before its Property Length.
    if body.len() < 2 + publish.topic_name().len() + id + 1 {
        return malformed("the PUBLISH has no Property Length");
    }
    texts(&publish.props)?;
    let mut alias = None;
    for property in &publish.props {
        match property {
            Property::TopicAlias(own) => alias = Some(own.val()),
            Property::SubscriptionIdentifier(_) => {
                return protocol_error(
                    "the PUBLISH has a subscription identifier, which comes from a server only",
                );
            }
            _ => {}
        }
    }
    let properties = properties(&publish.props);
    response_topic(properties.response_topic.as_deref())?;
    Ok(Publish {
        topic: publish.topic_name().to_owned(),
        alias,
        packet_id: publish.packet_id().unwrap_or_default(),
        qos: qos(publish.qos()),
        dup: publish.dup(),
        retain: publish.retain(),
        payload: Bytes::copy_from_slice(publish.payload().as_slice()),
        properties,
    })
}

fn has_user_property(all: &[Property]) -> bool {
    all.iter()
        .any(|property| matches!(property, Property::UserProperty(_)))
}

/// Every filter of a SUBSCRIBE in one line, for the journal; reads what the library may refuse.
fn filters_of(body: &[u8], five: bool) -> String {
    let mut rest = body.get(2..).unwrap_or_default();
    if five {
        let Some((length, used)) = variable(rest) else {
            return String::new();
        };
        rest = rest.get(used + length..).unwrap_or_default();
    }
    let mut filters = Vec::new();
    while let Some(&size) = rest.first_chunk() {
        let end = 2 + usize::from(u16::from_be_bytes(size));
        let Some(filter) = rest.get(2..end) else {
            break;
        };
        filters.push(String::from_utf8_lossy(filter));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    filters.join(" ")
}

/// A Variable Byte Integer and its length in bytes (MQTT 5.0 section 1.5.5).
pub(crate) fn variable(bytes: &[u8]) -> Option<(usize, usize)> {
    use mqtt_protocol_core::mqtt::packet::DecodeResult;
    match VariableByteInteger::decode_stream(bytes) {
        DecodeResult::Ok(value, used) => Some((value.to_u32() as usize, used)),
        _ => None,
    }
}

fn subscribe(body: &[u8], five: bool) -> Result<Subscribe, Violation> {
    read_subscribe(body, five).map_err(|violation| {
        let filters = filters_of(body, five);
        violation.about(filters)
    })
}

/// The library's own reading refuses a whole SUBSCRIBE for one share name; its parts do not.
fn read_subscribe(body: &[u8], five: bool) -> Result<Subscribe, Violation> {
    let wrong = |error| wrong("SUBSCRIBE", error);
    let Some((&id, mut rest)) = body.split_first_chunk() else {
        return malformed("the SUBSCRIBE is malformed");
    };
    let packet_id = u16::from_be_bytes(id);
    if packet_id == 0 {
        return protocol_error("the SUBSCRIBE has the packet id 0");
    }
    let mut identifier = None;
    let mut user_properties = Vec::new();
    if five {
        let (properties, used) = Properties5::parse(rest).map_err(wrong)?;
        rest = &rest[used..];
        texts(&properties)?;
        for property in &properties {
            match property {
                Property::SubscriptionIdentifier(own) if identifier.is_none() => {
                    identifier = Some(own.val());
                }
                Property::UserProperty(own) => {
                    user_properties.push((own.key().to_owned(), own.val().to_owned()));
                }
                _ => return Err(wrong(MqttError::ProtocolError)),
            }
        }
    }
    if identifier == Some(0) {
        return protocol_error("the subscription identifier is 0");
    }
    let mut filters = Vec::new();
    while !rest.is_empty() {
        let (entry, used) = SubEntry::parse(rest).map_err(|error| match error {
            MqttError::ProtocolError => wrong(MqttError::MalformedPacket),
            error => wrong(error),
        })?;
        rest = &rest[used..];
        filters.push(asked(&entry, five)?);
    }
    if filters.is_empty() {
        return protocol_error("the SUBSCRIBE has no filter");
    }
    Ok(Subscribe {
        packet_id,
        filters,
        identifier,
        user_properties,
    })
}

fn asked(entry: &SubEntry, five: bool) -> Result<Asked, Violation> {
    let (filter, options) = (entry.topic_filter(), entry.sub_opts());
    text(filter, "topic filter")?;
    let bits = options.to_buffer()[0];
    if !five && bits & 0b1111_1100 != 0 {
        return malformed(format!(
            "the SUBSCRIBE has the options {bits:08b}, which are reserved"
        ));
    }
    if five && filter.starts_with("$share/") && options.nl() {
        return protocol_error("a shared subscription has the option No Local");
    }
    Ok(Asked {
        filter: filter.to_owned(),
        qos: qos(options.qos()),
        no_local: options.nl(),
        retain_as_published: options.rap(),
        retain_handling: (bits >> 4) & 0b11,
    })
}

fn unsubscribe(body: &[u8], five: bool) -> Result<Packet, Violation> {
    let name = "UNSUBSCRIBE";
    let (packet_id, entries, user_property) = if five {
        let packet = parsed(name, body, v5_0::Unsubscribe::parse)?;
        texts(&packet.props)?;
        let user = has_user_property(&packet.props);
        (packet.packet_id(), packet.entries().clone(), user)
    } else {
        let packet = parsed(name, body, v3_1_1::Unsubscribe::parse)?;
        (packet.packet_id(), packet.entries().clone(), false)
    };
    if packet_id == 0 {
        return protocol_error("the UNSUBSCRIBE has the packet id 0");
    }
    let mut filters = Vec::with_capacity(entries.len());
    for entry in &entries {
        text(entry.as_str(), "topic filter").map_err(|error| error.about(entry.as_str()))?;
        filters.push(entry.as_str().to_owned());
    }
    Ok(Packet::Unsubscribe {
        packet_id,
        filters,
        user_property,
    })
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP: an id, and in MQTT 5 maybe a reason code and properties.
fn acknowledgement(kind: u8, body: &[u8], five: bool) -> Result<Packet, Violation> {
    let name = name(kind);
    let (code, properties) = match (five, body.len()) {
        // By far the most: nothing but the id, which the two versions spell alike.
        (_, 2) => (0, None),
        (false, _) => return malformed(format!("the {name} is malformed")),
        (true, _) => match kind {
            PUBACK => {
                let packet = parsed(name, body, v5_0::Puback::parse)?;
                let code = packet.reason_code().map_or(0, |code| code as u8);
                (code, packet.props)
            }
            PUBREC => {
                let packet = parsed(name, body, v5_0::Pubrec::parse)?;
                let code = packet.reason_code().map_or(0, |code| code as u8);
                (code, packet.props)
            }
            PUBREL => {
                let packet = parsed(name, body, v5_0::Pubrel::parse)?;
                let code = packet.reason_code().map_or(0, |code| code as u8);
                (code, packet.props)
            }
            _ => {
                let packet = parsed(name, body, v5_0::Pubcomp::parse)?;
                let code = packet.reason_code().map_or(0, |code| code as u8);
                (code, packet.props)
            }
        },
    };
    let properties = properties.unwrap_or_default();
    texts(&properties)?;
    let packet_id = body.first_chunk().map_or(0, |&id| u16::from_be_bytes(id));
    if packet_id == 0 {
        return malformed(format!("the {name} has the packet id 0"));
    }
    Ok(Packet::Acknowledgement {
        kind,
        packet_id,
        code,
        user_property: has_user_property(&properties),
    })
}

fn disconnect(body: &[u8], five: bool) -> Result<Packet, Violation> {
    if !five && !body.is_empty() {
        return malformed("the DISCONNECT has a payload");
    }
    if body.is_empty() {
        return Ok(Packet::Disconnect {
            code: code::NORMAL,
            session_expiry: None,
            user_property: false,
        });
    }
    let packet = parsed("DISCONNECT", body, v5_0::Disconnect::parse)?;
    let properties = packet.props.as_deref().unwrap_or_default();
    texts(properties)?;
    let session_expiry = properties.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(own) => Some(own.val()),
        _ => None,
    });
    Ok(Packet::Disconnect {
        code: packet.reason_code().map_or(0, |code| code as u8),
        session_expiry,
        user_property: has_user_property(properties),
    })
}

/// The library refuses an AUTH without a method, of which the reason code may say more.
fn auth(body: &[u8]) -> Result<Packet, Violation> {
    let wrong = |error| wrong("AUTH", error);
    let (code, properties) = match body {
        [] => (0, Properties5::new()),
        [code] => (*code, Properties5::new()),
        [code, rest @ ..] => {
            let (properties, used) = Properties5::parse(rest).map_err(wrong)?;
            if used != rest.len() {
                return malformed("the AUTH has bytes behind its end");
            }
            (*code, properties)
        }
    };
    if !matches!(code, 0x00 | 0x18 | 0x19) {
        return malformed(format!("the AUTH has the reason code {code:#04x}"));
    }
    texts(&properties)?;
    let mut method = None;
    let mut data = None;
    for property in &properties {
        match property {
            Property::AuthenticationMethod(own) if method.is_none() => {
                method = Some(own.val().to_owned());
            }
            Property::AuthenticationData(own) if data.is_none() => {
                data = Some(Bytes::copy_from_slice(own.val()));
            }
            Property::ReasonString(_) | Property::UserProperty(_) => {}
            _ => return Err(wrong(MqttError::ProtocolError)),
        }
    }
    Ok(Packet::Auth {
        code,
        method,
        data,
        user_property: has_user_property(&properties),
    })
}
