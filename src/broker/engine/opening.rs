//! The first packet of a connection: a CONNECT that the engine may see, or the answer to one that
//! is none. The engine itself answers every CONNECT that it cannot read with "server
//! unavailable", or not at all.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use rmqtt::codec::error::DecodeError;
use rmqtt::codec::v5;
use rmqtt::codec::v5::ConnectAckReason;

use super::super::dialect::ConnectCode;
use super::super::visitors::Ending;
use super::exchange::{refused_3x, refused_5};
use super::{fields, packets, validity};

/// The flags of a CONNECT (MQTT 5.0 section 3.1.2.3).
const USER_NAME: u8 = 0b1000_0000;
const PASSWORD: u8 = 0b0100_0000;
const WILL_OPTIONS: u8 = 0b0011_1000;
const WILL: u8 = 0b0000_0100;
const CLEAN_START: u8 = 0b0000_0010;
/// "Unacceptable protocol version" of 3.x (MQTT 3.1.1 section 3.2.2.3).
const UNACCEPTABLE_PROTOCOL_VERSION: u8 = 1;

/// A CONNECT that is well formed.
pub(super) enum Opening {
    /// Of MQTT 3.1 or 3.1.1: the protocol level and the packet.
    Old(u8, Bytes),
    /// Of MQTT 5: the packet, and what it says.
    Five(Bytes, Box<v5::Connect>),
}

/// Why a CONNECT is not put to any dialect.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// What the client is told; nothing where it does not speak MQTT.
    pub(super) answer: Bytes,
    /// The reason code, for the journal.
    pub(super) code: u8,
    /// The reason in words.
    pub(super) reason: String,
}

impl From<Ending> for Unreadable {
    fn from(ending: Ending) -> Self {
        Self {
            answer: Bytes::new(),
            code: ending.code,
            reason: ending.reason,
        }
    }
}

impl Opening {
    /// Reads a first packet whose fixed header is a CONNECT's.
    pub(super) fn read(packet: BytesMut, levels: usize) -> Result<Self, Unreadable> {
        match fields::protocol(&packet) {
            Some((b"MQIsdp", 3, flags)) => old(3, packet, flags, levels),
            Some((b"MQTT", 4, flags)) => old(4, packet, flags, levels),
            Some((b"MQTT", 5, flags)) => five(packet, flags, levels),
            Some((name @ (b"MQTT" | b"MQIsdp"), level, _)) => Err(unsupported(name, level)),
            Some((name, _, _)) => Err(Unreadable {
                answer: Bytes::new(),
                code: ConnectAckReason::UnsupportedProtocolVersion.into(),
                reason: format!(
                    "the protocol is called \"{}\"",
                    name[..name.len().min(16)].escape_ascii()
                ),
            }),
            None => Err(Unreadable {
                answer: Bytes::new(),
                code: ConnectAckReason::MalformedPacket.into(),
                reason: "the CONNECT is too short for its protocol's name and level".into(),
            }),
        }
    }
}

/// MQTT 5.0 section 3.1.2.2. Levels above 5 are told in the words of MQTT 5, the nearest to
/// theirs; bridges set the highest bit of an older one.
fn unsupported(name: &[u8], level: u8) -> Unreadable {
    let code = ConnectAckReason::UnsupportedProtocolVersion;
    let reason = format!(
        "the protocol level is {level} of \"{}\", known are 3 of MQIsdp, 4 and 5 of MQTT",
        name.escape_ascii()
    );
    let newer = (6..0x80).contains(&level);
    Unreadable {
        answer: if newer {
            refused_5(code.into(), Some(&reason))
        } else {
            refused_3x(UNACCEPTABLE_PROTOCOL_VERSION)
        },
        code: code.into(),
        reason,
    }
}

fn old(version: u8, packet: BytesMut, flags: u8, levels: usize) -> Result<Opening, Unreadable> {
    let code = ConnectCode::ClientIdentifierNotValid;
    let connect = match packets::decode_3x(&packet) {
        Ok(rmqtt::codec::v3::Packet::Connect(connect)) => connect,
        Err(DecodeError::InvalidClientId) => {
            return Err(Unreadable {
                answer: refused_3x(code.code(version)),
                code: code.code(version),
                reason: "the client id is empty, which needs Clean Session".into(),
            });
        }
        other => return Err(closed(&malformed(other.err()))),
    };
    let will = connect.last_will.as_ref().map(|will| &*will.topic);
    if flags & (USER_NAME | PASSWORD) == PASSWORD {
        return Err(closed("the CONNECT has a password without a user name"));
    }
    if let Some((_, reason)) = forbidden(&connect.client_id, will, levels) {
        return Err(closed(&reason));
    }
    // MQTT 3.1 section 3.1: between 1 and 23 characters. Nobody keeps to the 23.
    if version == 3 && connect.client_id.is_empty() {
        return Err(Unreadable {
            answer: refused_3x(code.code(version)),
            code: code.code(version),
            reason: "the client id is empty, which MQTT 3.1 does not allow".into(),
        });
    }
    Ok(Opening::Old(version, packet.freeze()))
}

fn five(mut packet: BytesMut, flags: u8, levels: usize) -> Result<Opening, Unreadable> {
    let mut decoded = packets::decode(&packet);
    // MQTT 5.0 section 3.1.3.1: a client without an id gets one, whatever Clean Start says. Its
    // session is new in any case.
    if matches!(decoded, Err(DecodeError::InvalidClientId)) && flags & CLEAN_START == 0 {
        clean_start(&mut packet);
        decoded = packets::decode(&packet);
    }
    let (code, reason) = match decoded {
        Ok(v5::Packet::Connect(connect)) => match five_forbidden(&connect, flags, levels) {
            Some((code, reason)) => (code, reason.into_owned()),
            None => return Ok(Opening::Five(packet.freeze(), connect)),
        },
        other => (ConnectAckReason::MalformedPacket, malformed(other.err())),
    };
    Err(Unreadable {
        answer: refused_5(code.into(), Some(&reason)),
        code: code.into(),
        reason,
    })
}

/// MQTT 3.1.1 section 4.8: the connection is closed without a CONNACK.
fn closed(reason: &str) -> Unreadable {
    Unreadable {
        answer: Bytes::new(),
        code: ConnectAckReason::MalformedPacket.into(),
        reason: reason.to_owned(),
    }
}

type Forbidden = Option<(ConnectAckReason, Cow<'static, str>)>;

/// What a codec lets pass in the CONNECT of any version.
fn forbidden(client_id: &str, will: Option<&str>, levels: usize) -> Forbidden {
    if client_id.contains('\0') {
        let reason = "the client id has U+0000 in it";
        return Some((ConnectAckReason::MalformedPacket, reason.into()));
    }
    if let Some(topic) = will
        && (topic.is_empty() || topic.contains('\0') || validity::has_wildcard(topic))
    {
        let reason = "the will topic is not a topic name";
        return Some((ConnectAckReason::TopicNameInvalid, reason.into()));
    }
    if let Some(Err(reason)) = will.map(|topic| validity::depth(topic.as_bytes(), levels)) {
        let reason = format!("the will topic is refused: {reason}");
        return Some((ConnectAckReason::TopicNameInvalid, reason.into()));
    }
    None
}

fn five_forbidden(connect: &v5::Connect, flags: u8, levels: usize) -> Forbidden {
    if flags & WILL == 0 && flags & WILL_OPTIONS != 0 {
        let reason = "the CONNECT has Will QoS or Will Retain without a will";
        return Some((ConnectAckReason::MalformedPacket, reason.into()));
    }
    if connect.auth_data.is_some() && connect.auth_method.is_none() {
        let reason = "the CONNECT has authentication data without a method";
        return Some((ConnectAckReason::ProtocolError, reason.into()));
    }
    let will = connect.last_will.as_ref().map(|will| &*will.topic);
    forbidden(&connect.client_id, will, levels)
}

/// Sets Clean Start in a CONNECT of MQTT 5.
fn clean_start(packet: &mut BytesMut) {
    let header = packet.iter().skip(1).take_while(|&byte| byte & 0x80 != 0);
    // First byte, length, name with its length, level.
    let at = 1 + header.count() + 1 + 6 + 1;
    if let Some(flags) = packet.get_mut(at) {
        *flags |= CLEAN_START;
    }
}

fn malformed(error: Option<DecodeError>) -> String {
    let error = error.unwrap_or(DecodeError::MalformedPacket);
    format!("the CONNECT is malformed: {error}")
}
