//! The first packet of a connection: a CONNECT that can be put to a vendor, or the answer to one
//! that cannot. Reads the CONNECT of MQTT 3.1 and a bridge's as the standard's own, and what the
//! library refuses although MQTT 5 allows it: a password without a user name.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use mqttstack_base::message::{Properties, Qos, Will, check_depth};

use super::dialect::ConnectCode;
use super::encode::{refused_3x, refused_5};
use super::packet::{self, Violation, code};

/// The flags of a CONNECT (MQTT 5.0 section 3.1.2.3).
const USER_NAME: u8 = 0b1000_0000;
const PASSWORD: u8 = 0b0100_0000;
const WILL_OPTIONS: u8 = 0b0011_1000;
const WILL_QOS: u8 = 0b0001_1000;
const WILL: u8 = 0b0000_0100;
const RESERVED: u8 = 0b0000_0001;
/// Set in the protocol level by mosquitto's bridges: no echo of their own messages, and the
/// retain flag as it was published.
const BRIDGE: u8 = 0x80;
/// "Unacceptable protocol version" of 3.x (MQTT 3.1.1 section 3.2.2.3).
const UNACCEPTABLE_PROTOCOL_VERSION: u8 = 1;
/// The shortest Maximum Packet Size of a client that is sent a reason in words.
const ROOM_FOR_WORDS: u32 = 512;

/// A CONNECT that is well formed.
#[derive(Debug)]
pub(crate) struct Opening {
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    pub(crate) version: u8,
    pub(crate) bridge: bool,
    /// Empty if the client sent none.
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<Will>,
    /// The size of the whole packet in bytes.
    pub(crate) size: usize,
    /// What only MQTT 5 can say; its defaults for the others.
    pub(crate) five: Five,
}

/// The properties of a CONNECT of MQTT 5.
#[derive(Debug)]
pub(crate) struct Five {
    pub(crate) session_expiry: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) max_packet_size: u32,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) wants_response_information: bool,
    pub(crate) wants_problem_information: bool,
    pub(crate) has_user_property: bool,
    pub(crate) authentication_method: Option<String>,
    pub(crate) authentication_data: Option<Bytes>,
}

impl Default for Five {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: u16::MAX,
            max_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            wants_response_information: false,
            wants_problem_information: true,
            has_user_property: false,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

impl Opening {
    /// Whether the client takes a Reason String (MQTT 5.0 sections 3.1.2.11.7 and 3.2.2.3.9).
    pub(crate) fn takes_words(&self) -> bool {
        self.version >= 5
            && self.five.wants_problem_information
            && self.five.max_packet_size >= ROOM_FOR_WORDS
    }
}

/// Why a CONNECT is not put to any vendor.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What the client is told; nothing where it does not speak MQTT.
    pub(crate) answer: Vec<u8>,
    /// The reason code, for the journal.
    pub(crate) code: u8,
    /// The reason in words.
    pub(crate) reason: String,
}

/// MQTT 3.1.1 section 4.8: the connection is closed without a CONNACK.
pub(crate) fn closed(code: u8, reason: impl Into<String>) -> Unreadable {
    Unreadable {
        answer: Vec::new(),
        code,
        reason: reason.into(),
    }
}

/// The CONNACK of MQTT 5 that says what is wrong.
fn told(violation: Violation) -> Unreadable {
    Unreadable {
        answer: refused_5(violation.code, Some(&violation.reason)),
        code: violation.code,
        reason: violation.reason,
    }
}

/// Name, level and flags of the protocol at the head of a CONNECT's body.
fn protocol(body: &[u8]) -> Option<(&[u8], u8, u8)> {
    let length = usize::from(u16::from_be_bytes(*body.first_chunk()?));
    let name = body.get(2..2 + length)?;
    Some((name, *body.get(2 + length)?, *body.get(3 + length)?))
}

/// Reads a first packet whose type is CONNECT. `size`: of the whole packet.
pub(crate) fn read(
    first: u8,
    body: &[u8],
    size: usize,
    levels: usize,
) -> Result<Opening, Unreadable> {
    if first & 0x0f != 0 {
        let reason = "the CONNECT has flags in its first byte, expected none";
        return Err(closed(code::MALFORMED, reason));
    }
    let Some((name, level, flags)) = protocol(body) else {
        let reason = "the CONNECT is too short for its protocol's name and level";
        return Err(closed(code::MALFORMED, reason));
    };
    let bridge = level & BRIDGE != 0;
    let opening = match (name, level & !BRIDGE) {
        (b"MQIsdp", 3) => old(3, &standard(body), flags, size),
        (b"MQTT", 4) => old(4, &standard(body), flags, size),
        (b"MQTT", 5) if !bridge => five(body, flags, size),
        (b"MQTT" | b"MQIsdp", _) => Err(unsupported(name, level)),
        (name, _) => Err(closed(
            code::UNSUPPORTED_VERSION,
            format!(
                "the protocol is called \"{}\"",
                name[..name.len().min(16)].escape_ascii()
            ),
        )),
    };
    let opening = opening?;
    if let Some(will) = &opening.will
        && let Err(reason) = check_depth(&will.topic, levels)
    {
        let reason = format!("the will topic is refused: {reason}");
        return Err(if opening.version < 5 {
            closed(code::TOPIC_NAME_INVALID, reason)
        } else {
            told(Violation::new(code::TOPIC_NAME_INVALID, reason))
        });
    }
    Ok(Opening { bridge, ..opening })
}

/// The body with the name and level of MQTT 3.1.1, which MQTT 3.1 and bridges say otherwise.
fn standard(body: &[u8]) -> Vec<u8> {
    let name = body
        .first_chunk()
        .map_or(0, |&size| u16::from_be_bytes(size));
    let rest = body.get(3 + usize::from(name)..).unwrap_or_default();
    [b"\x00\x04MQTT\x04", rest].concat()
}

/// MQTT 5.0 section 3.1.2.2. Levels above 5 are told in the words of MQTT 5, the nearest to
/// theirs.
fn unsupported(name: &[u8], level: u8) -> Unreadable {
    let reason = format!(
        "the protocol level is {level} of \"{}\", expected 3 of MQIsdp, 4 or 5 of MQTT",
        name.escape_ascii()
    );
    let newer = (6..0x80).contains(&level);
    Unreadable {
        answer: if newer {
            refused_5(code::UNSUPPORTED_VERSION, Some(&reason))
        } else {
            refused_3x(UNACCEPTABLE_PROTOCOL_VERSION)
        },
        code: code::UNSUPPORTED_VERSION,
        reason,
    }
}

/// What the flags of a CONNECT of any version may not say.
fn check_flags(flags: u8) -> Result<(), Violation> {
    let refuse = |reason| Err(Violation::new(code::MALFORMED, reason));
    if flags & RESERVED != 0 {
        return refuse("the CONNECT is malformed: its reserved flag is set");
    }
    if flags & WILL == 0 && flags & WILL_OPTIONS != 0 {
        return refuse("the CONNECT has Will QoS or Will Retain without a will");
    }
    if flags & WILL_QOS == WILL_QOS {
        return refuse("the will has QoS 3");
    }
    Ok(())
}

/// What the text fields of a CONNECT may not have (MQTT 5.0 sections 1.5.4 and 4.7.1).
fn check_texts(opening: &Opening) -> Result<(), Violation> {
    packet::text(&opening.client_id, "client id")?;
    if let Some(username) = &opening.username {
        packet::text(username, "user name")?;
    }
    let Some(will) = &opening.will else {
        return Ok(());
    };
    packet::text(&will.topic, "will topic")?;
    if will.topic.is_empty() || packet::has_wildcard(&will.topic) {
        let reason = "the will topic is empty or has a wildcard in it";
        return Err(Violation::new(code::TOPIC_NAME_INVALID, reason));
    }
    Ok(())
}

fn will_of(
    topic: Option<&str>,
    payload: Option<&[u8]>,
    qos: Qos,
    retain: bool,
    delay: u32,
    properties: Properties,
) -> Option<Will> {
    Some(Will {
        topic: topic?.to_owned(),
        payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
        qos,
        retain,
        delay,
        properties,
    })
}

/// The library has a type of its own for the CONNECT of each version; they share no trait, but say
/// most things by the same names.
macro_rules! opening {
    ($connect:expr, $version:expr, clean_start: $clean:expr, will: ($delay:expr, $properties:expr), $size:expr, $five:expr) => {
        Opening {
            version: $version,
            bridge: false,
            client_id: $connect.client_id().to_owned(),
            username: $connect.user_name().map(ToOwned::to_owned),
            password: $connect.password().map(Bytes::copy_from_slice),
            clean_start: $clean,
            keep_alive: $connect.keep_alive(),
            will: will_of(
                $connect.will_topic(),
                $connect.will_payload(),
                packet::qos($connect.will_qos()),
                $connect.will_retain(),
                $delay,
                $properties,
            ),
            size: $size,
            five: $five,
        }
    };
}

fn old(version: u8, body: &[u8], flags: u8, size: usize) -> Result<Opening, Unreadable> {
    let close = |violation: Violation| closed(code::MALFORMED, violation.reason);
    check_flags(flags).map_err(close)?;
    if flags & (USER_NAME | PASSWORD) == PASSWORD {
        let reason = "the CONNECT has a password without a user name";
        return Err(closed(code::MALFORMED, reason));
    }
    let connect = match v3_1_1::Connect::parse(body) {
        Ok((connect, used)) if used == body.len() => connect,
        _ => return Err(closed(code::MALFORMED, "the CONNECT is malformed")),
    };
    let opening = opening!(
        connect,
        version,
        clean_start: connect.clean_session(),
        will: (0, Properties::default()),
        size,
        Five::default()
    );
    check_texts(&opening).map_err(close)?;
    // MQTT 3.1.1 section 3.1.3.1. MQTT 3.1 section 3.1: between 1 and 23 characters, of which
    // nobody keeps to the 23.
    if opening.client_id.is_empty() && (version == 3 || !opening.clean_start) {
        let code = ConnectCode::ClientIdentifierNotValid.code(version);
        let reason = if version == 3 {
            "the client id is empty, which MQTT 3.1 does not allow"
        } else {
            "the client id is empty, which needs Clean Session"
        };
        return Err(Unreadable {
            answer: refused_3x(code),
            code,
            reason: reason.to_owned(),
        });
    }
    Ok(opening)
}

fn five(body: &[u8], flags: u8, size: usize) -> Result<Opening, Unreadable> {
    check_flags(flags).map_err(told)?;
    let named;
    let mut nameless = false;
    let body = if flags & (USER_NAME | PASSWORD) == PASSWORD {
        named = with_user_name(body, flags);
        nameless = true;
        named.as_deref().unwrap_or(body)
    } else {
        body
    };
    let connect = match v5_0::Connect::parse(body) {
        Ok((connect, used)) if used == body.len() => connect,
        Ok(_) => {
            let reason = "the CONNECT has bytes behind its end";
            return Err(told(Violation::new(code::MALFORMED, reason)));
        }
        Err(error) => return Err(told(packet::wrong("CONNECT", error))),
    };
    let mut opening = five_opening(&connect, size).map_err(told)?;
    if nameless {
        opening.username = None;
    }
    check_texts(&opening).map_err(told)?;
    Ok(opening)
}

fn five_opening(connect: &v5_0::Connect, size: usize) -> Result<Opening, Violation> {
    packet::texts(&connect.props)?;
    packet::texts(&connect.will_props)?;
    let mut five = Five::default();
    for property in &connect.props {
        match property {
            Property::SessionExpiryInterval(own) => five.session_expiry = own.val(),
            Property::ReceiveMaximum(own) => five.receive_maximum = own.val(),
            Property::MaximumPacketSize(own) => five.max_packet_size = own.val(),
            Property::TopicAliasMaximum(own) => five.topic_alias_maximum = own.val(),
            Property::RequestResponseInformation(own) => {
                five.wants_response_information = own.val() == 1;
            }
            Property::RequestProblemInformation(own) => {
                five.wants_problem_information = own.val() == 1;
            }
            Property::UserProperty(_) => five.has_user_property = true,
            Property::AuthenticationMethod(own) => {
                five.authentication_method = Some(own.val().to_owned());
            }
            Property::AuthenticationData(own) => {
                five.authentication_data = Some(Bytes::copy_from_slice(own.val()));
            }
            _ => {}
        }
    }
    if five.authentication_data.is_some() && five.authentication_method.is_none() {
        let reason = "the CONNECT has authentication data without a method";
        return Err(Violation::new(code::PROTOCOL_ERROR, reason));
    }
    let properties = packet::properties(&connect.will_props);
    packet::response_topic(properties.response_topic.as_deref())?;
    let delay = connect
        .will_props
        .iter()
        .find_map(|property| match property {
            Property::WillDelayInterval(own) => Some(own.val()),
            _ => None,
        });
    Ok(opening!(
        connect,
        5,
        clean_start: connect.clean_start(),
        will: (delay.unwrap_or_default(), properties),
        size,
        five
    ))
}

/// The body of a CONNECT of MQTT 5 that has a password and no user name (allowed by section
/// 3.1.2.9, refused by the library) with an empty user name put in. `None` if it is malformed.
fn with_user_name(body: &[u8], flags: u8) -> Option<Vec<u8>> {
    /// Where the field of text or bytes that begins at `at` ends.
    fn behind(body: &[u8], at: usize) -> Option<usize> {
        let size = u16::from_be_bytes(*body.get(at..)?.first_chunk()?);
        Some(at + 2 + usize::from(size))
    }
    fn behind_properties(body: &[u8], at: usize) -> Option<usize> {
        let (length, used) = packet::variable(body.get(at..)?)?;
        Some(at + used + length)
    }
    // Name, level, flags, keep-alive.
    let flags_at = 7;
    let mut at = behind_properties(body, 10)?;
    at = behind(body, at)?;
    if flags & WILL != 0 {
        at = behind_properties(body, at)?;
        at = behind(body, at)?;
        at = behind(body, at)?;
    }
    let mut named = body.get(..at)?.to_vec();
    *named.get_mut(flags_at)? |= USER_NAME;
    named.extend_from_slice(&[0, 0]);
    named.extend_from_slice(body.get(at..)?);
    Some(named)
}
