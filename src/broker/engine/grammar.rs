//! What the standard forbids in a packet, where the engine lets it pass or says another reason
//! code. `exchange.rs` asks for every packet behind the CONNECT, `opening.rs` for the CONNECT and
//! `verdicts.rs` for every filter; the rest of what is malformed is found by the engine's codecs.

use rmqtt::codec::v5::DisconnectReasonCode;

use super::super::message::{Qos, TopicFilter, TopicName};
use super::bounds::Violation;
use super::frame;

/// The flags of the fixed header that PUBREL, SUBSCRIBE and UNSUBSCRIBE must have.
const FLAGS: u8 = 0b0010;
/// DUP in the first byte of a PUBLISH.
const DUP: u8 = 0b1000;
/// No Local in the options of a subscription.
const NO_LOCAL: u8 = 0b100;
/// What a share is written with.
const SHARE: &str = "$share/";

fn malformed(reason: impl Into<String>) -> Violation {
    Violation::ending(DisconnectReasonCode::MalformedPacket, reason)
}

fn protocol_error(reason: impl Into<String>) -> Violation {
    Violation::ending(DisconnectReasonCode::ProtocolError, reason)
}

/// A whole packet of a client that is connected.
pub(super) fn check(packet: &[u8], five: bool) -> Result<(), Violation> {
    let first = packet.first().copied().unwrap_or_default();
    let kind = first & 0xf0;
    let name = frame::name(first);
    match kind {
        0 => return Err(malformed("there is no packet of type 0")),
        frame::AUTH if !five => return Err(malformed("there is no AUTH before MQTT 5")),
        // MQTT 5.0 section 3.1: a client sends one CONNECT.
        frame::CONNECT => return Err(protocol_error("it is the second CONNECT")),
        frame::CONNACK | frame::SUBACK | frame::UNSUBACK | frame::PINGRESP => {
            return Err(protocol_error(format!("only a server sends a {name}")));
        }
        frame::PUBLISH => return publish(packet, five),
        _ => {}
    }
    let flags = match kind {
        frame::PUBREL | frame::SUBSCRIBE | frame::UNSUBSCRIBE => FLAGS,
        _ => 0,
    };
    // MQTT 5.0 section 2.1.3.
    if first & 0x0f != flags {
        return Err(malformed(format!(
            "the flags of the {name} are {:#06b}, not {flags:#06b}",
            first & 0x0f
        )));
    }
    match kind {
        frame::PINGREQ if packet.len() > 2 => Err(malformed("the PINGREQ has a body")),
        frame::SUBSCRIBE => subscribe(packet, five),
        _ => Ok(()),
    }
}

/// MQTT 5.0 section 3.3.
fn publish(packet: &[u8], five: bool) -> Result<(), Violation> {
    let first = packet.first().copied().unwrap_or_default();
    let qos = frame::qos(first);
    if qos > Qos::ExactlyOnce.level() {
        return Err(malformed("the PUBLISH has QoS 3"));
    }
    if qos == 0 && first & DUP != 0 {
        return Err(malformed(
            "the PUBLISH has QoS 0 and is marked as duplicate",
        ));
    }
    let Some(topic) = frame::topic_bytes(packet) else {
        return Err(malformed("the PUBLISH ends within its topic name"));
    };
    // A topic alias may stand for it, which the engine knows.
    if !(five && topic.is_empty()) {
        name(topic, "topic name")?;
    }
    if !five {
        return Ok(());
    }
    if let Some(topic) = frame::response_topic(packet) {
        name(topic, "response topic")?;
    }
    // MQTT 5.0 section 3.3.4.
    if frame::is_identified(packet) {
        return Err(protocol_error(
            "the PUBLISH has a subscription identifier, which only a server sends",
        ));
    }
    Ok(())
}

/// A topic name of any packet.
fn name(topic: &[u8], what: &str) -> Result<(), Violation> {
    let Ok(topic) = std::str::from_utf8(topic) else {
        return Err(malformed(format!("the {what} is not UTF-8")));
    };
    let Err(error) = TopicName::parse(topic) else {
        return Ok(());
    };
    // MQTT 5.0 section 1.5.4.
    let code = if topic.contains('\0') {
        DisconnectReasonCode::MalformedPacket
    } else {
        DisconnectReasonCode::TopicNameInvalid
    };
    Err(Violation {
        topic: Some(topic.to_owned()),
        ..Violation::ending(code, format!("the {what} is none: {error}"))
    })
}

/// MQTT 5.0 section 3.8, MQTT 3.1.1 section 3.8.
fn subscribe(packet: &[u8], five: bool) -> Result<(), Violation> {
    let Some(subscriptions) = frame::subscriptions(packet, five) else {
        return Err(malformed("the SUBSCRIBE ends within a filter"));
    };
    if subscriptions.is_empty() {
        return Err(protocol_error("the SUBSCRIBE has no filter"));
    }
    for (filter, options) in subscriptions {
        let Ok(filter) = std::str::from_utf8(filter) else {
            return Err(malformed("a filter of the SUBSCRIBE is not UTF-8"));
        };
        let violation = |violation| Violation {
            topic: Some(filter.to_owned()),
            ..violation
        };
        if filter.contains('\0') {
            return Err(violation(malformed("the filter has the null character")));
        }
        let reserved = if five { 0b1100_0000 } else { 0b1111_1100 };
        if options & reserved != 0 || options & 0b11 == 0b11 || options & 0b11_0000 == 0b11_0000 {
            return Err(violation(malformed(format!(
                "the options of the subscription are {options:#010b}"
            ))));
        }
        if options & NO_LOCAL != 0 && filter.starts_with(SHARE) {
            return Err(violation(protocol_error(
                "a shared subscription cannot be without local messages",
            )));
        }
    }
    Ok(())
}

/// What is wrong with a filter, or with the name of its share (MQTT 5.0 section 4.8.2).
pub(super) fn filter(share: Option<&str>, filter: &str) -> Result<(), String> {
    if share.is_some_and(|share| share.is_empty() || share.contains(['+', '#'])) {
        return Err("the name of the share is empty or has a wildcard".into());
    }
    TopicFilter::parse(filter)
        .map(|_| ())
        .map_err(|error| format!("the filter is none: {error}"))
}

/// The topic name of a will.
pub(super) fn will(topic: &str) -> Result<(), Violation> {
    name(topic.as_bytes(), "will topic")
}
