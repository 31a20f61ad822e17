//! What the standard allows in no packet, and the engine lets pass or ends with a code of its own
//! (MQTT 5.0 sections 2.1, 3 and 4.13; 3.1.1 closes the connection, section 4.8).

use rmqtt::codec::v5::DisconnectReasonCode as Code;
use rmqtt::types::SharedGroup;

use super::super::message::{TopicError, TopicFilter, check_depth};
use super::bounds::Violation;
use super::fields::{self, Publish, Subscribe};

/// What a topic filter of a shared subscription begins with.
const SHARE: &[u8] = b"$share/";
/// The No Local option of a subscription.
const NO_LOCAL: u8 = 0b100;

fn refuse<T>(code: Code, reason: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::ending(code, reason))
}

/// The first byte and the length of any packet but a PUBLISH.
pub(super) fn head(first: u8, length: usize, five: bool) -> Result<(), Violation> {
    let (kind, flags, name) = (first & 0xf0, first & 0x0f, fields::name(first));
    let expected = match kind {
        fields::PUBREL | fields::SUBSCRIBE | fields::UNSUBSCRIBE => 0b10,
        fields::PUBACK
        | fields::PUBREC
        | fields::PUBCOMP
        | fields::PINGREQ
        | fields::DISCONNECT => 0,
        fields::AUTH if five => 0,
        fields::AUTH | 0 => return refuse(Code::MalformedPacket, "the packet's type is reserved"),
        fields::CONNECT => return refuse(Code::ProtocolError, "this is the second CONNECT"),
        _ => {
            return refuse(
                Code::ProtocolError,
                format!("a {name} comes from a server only"),
            );
        }
    };
    if flags != expected {
        let reason = format!("the {name} has the flags {flags:04b}, not {expected:04b}");
        return refuse(Code::MalformedPacket, reason);
    }
    if kind == fields::PINGREQ && length != 2 {
        return refuse(Code::MalformedPacket, "the PINGREQ has a payload");
    }
    Ok(())
}

/// Text of any kind (MQTT 5.0 section 1.5.4).
fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Violation> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        Ok(_) => refuse(
            Code::MalformedPacket,
            format!("the {what} has U+0000 in it"),
        ),
        Err(_) => refuse(Code::MalformedPacket, format!("the {what} is not UTF-8")),
    }
}

/// Whether text has a wildcard in it, which no topic name may have (MQTT 5.0 section 4.7.1).
pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['+', '#'])
}

pub(super) fn publish(first: u8, publish: &Publish<'_>) -> Result<(), Violation> {
    let qos = fields::qos(first);
    if qos > 2 {
        return refuse(Code::MalformedPacket, "the PUBLISH has QoS 3");
    }
    if qos == 0 && first & 0b1000 != 0 {
        return refuse(Code::MalformedPacket, "the PUBLISH has DUP set with QoS 0");
    }
    if has_wildcard(text(publish.topic, "topic name")?) {
        return refuse(
            Code::TopicNameInvalid,
            "the topic name has a wildcard in it",
        );
    }
    if has_wildcard(text(
        publish.response_topic.unwrap_or_default(),
        "response topic",
    )?) {
        return refuse(
            Code::ProtocolError,
            "the response topic has a wildcard in it",
        );
    }
    if publish.identified {
        let reason = "the PUBLISH has a subscription identifier, which comes from a server only";
        return refuse(Code::ProtocolError, reason);
    }
    Ok(())
}

pub(super) fn subscribe(subscribe: &Subscribe<'_>, five: bool) -> Result<(), Violation> {
    if subscribe.filters.is_empty() {
        return refuse(Code::ProtocolError, "the SUBSCRIBE has no filter");
    }
    for &(filter, options) in &subscribe.filters {
        let filter = text(filter, "topic filter")?.as_bytes();
        let reserved = if five { 0b1100_0000 } else { 0b1111_1100 };
        if options & reserved != 0 || options & 0b11 == 0b11 {
            let reason = format!("the SUBSCRIBE has the options {options:08b}, which are reserved");
            return refuse(Code::MalformedPacket, reason);
        }
        if five && filter.starts_with(SHARE) && options & NO_LOCAL != 0 {
            let reason = "a shared subscription has the option No Local";
            return refuse(Code::ProtocolError, reason);
        }
    }
    Ok(())
}

/// Whether a topic name or filter has no more levels than it may have. The engine walks along
/// them by recursion. As mosquitto does, the connection of who sends more is ended.
pub(super) fn depth(topic: &[u8], limit: usize) -> Result<(), TopicError> {
    check_depth(&String::from_utf8_lossy(topic), limit)
}

/// Why the engine refuses a filter of its own accord, before it asks about it.
pub(super) fn unreadable(filter: &[u8]) -> Option<&'static str> {
    let mut levels = filter.splitn(3, |&byte| byte == b'/');
    match (levels.next()?, levels.nth(1)) {
        (b"", None) if filter.is_empty() => Some("the topic filter is empty"),
        (b"$share", None | Some(b"")) => Some("a shared subscription is $share/{name}/{filter}"),
        (b"$limit" | b"$exclusive", _) => {
            Some("filters below $limit and $exclusive are the engine's own")
        }
        _ => None,
    }
}

/// A filter behind the name of its shared subscription, if it is one (MQTT 5.0 sections 4.7.1
/// and 4.8.2).
pub(super) fn filter(share: Option<&SharedGroup>, filter: &str) -> Result<(), String> {
    if share.is_some_and(|name| name.is_empty() || has_wildcard(name)) {
        return Err("the share name is empty or has a wildcard in it".to_owned());
    }
    TopicFilter::parse(filter)
        .map(drop)
        .map_err(|error| format!("the topic filter is none: {error}"))
}
