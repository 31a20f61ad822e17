//! Where MQTT packets begin and end in a stream of bytes (MQTT 5.0 section 2.1), and the few
//! fields that `exchange.rs`, `grammar.rs` and `bounds.rs` look for in every one. Whatever is not well formed
//! has none of them: the engine finds that too.

use bytes::Buf;

/// The first byte of a CONNECT.
pub(super) const CONNECT_TYPE: u8 = 0x10;
/// The high four bits of a packet's first byte.
pub(super) const CONNECT: u8 = 0x10;
pub(super) const CONNACK: u8 = 0x20;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x60;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const SUBSCRIBE: u8 = 0x80;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const UNSUBSCRIBE: u8 = 0xa0;
pub(super) const UNSUBACK: u8 = 0xb0;
pub(super) const PINGREQ: u8 = 0xc0;
pub(super) const PINGRESP: u8 = 0xd0;
pub(super) const DISCONNECT: u8 = 0xe0;
pub(super) const AUTH: u8 = 0xf0;
/// The longest fixed header in bytes.
pub(super) const MAX_HEADER: usize = 5;

/// What is known of the packet at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Its length in bytes, the fixed header included. Not all of it need be there.
    Packet(usize),
    /// Its length has not arrived yet.
    Unknown,
    /// Its Remaining Length is not one.
    Malformed,
}

/// What is known of the packet at the start of `bytes`.
pub(super) fn next(bytes: &[u8]) -> Next {
    let mut length = 0;
    for (index, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Next::Packet(2 + index + length);
        }
    }
    if bytes.len() > 4 {
        Next::Malformed
    } else {
        Next::Unknown
    }
}

/// How many of these bytes are whole packets.
pub(super) fn whole(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Next::Packet(length) = next(&bytes[end..])
        && end + length <= bytes.len()
    {
        end += length;
    }
    end
}

fn variable(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for index in 0..4 {
        let byte = bytes.try_get_u8().ok()?;
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn skip(bytes: &mut &[u8], length: usize) -> Option<()> {
    *bytes = bytes.get(length..)?;
    Some(())
}

fn skip_text(bytes: &mut &[u8]) -> Option<()> {
    let length = bytes.try_get_u16().ok()?;
    skip(bytes, length.into())
}

/// What a packet is called (MQTT 5.0 section 2.1.2).
pub(super) fn name(first: u8) -> &'static str {
    const NAMES: [&str; 16] = [
        "RESERVED",
        "CONNECT",
        "CONNACK",
        "PUBLISH",
        "PUBACK",
        "PUBREC",
        "PUBREL",
        "PUBCOMP",
        "SUBSCRIBE",
        "SUBACK",
        "UNSUBSCRIBE",
        "UNSUBACK",
        "PINGREQ",
        "PINGRESP",
        "DISCONNECT",
        "AUTH",
    ];
    NAMES[usize::from(first >> 4)]
}

/// What stands behind a packet's fixed header.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let mut rest = packet.get(1..)?;
    variable(&mut rest)?;
    Some(rest)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.try_get_u16().ok()?;
    let (text, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    Some(text)
}

/// The protocol's name and level in a whole CONNECT, and its flags.
pub(super) fn protocol(packet: &[u8]) -> Option<(&[u8], u8, u8)> {
    let mut rest = body(packet)?;
    let name = take_text(&mut rest)?;
    Some((name, rest.try_get_u8().ok()?, rest.try_get_u8().ok()?))
}

/// The topic name of a whole PUBLISH.
pub(super) fn topic(packet: &[u8]) -> Option<&str> {
    std::str::from_utf8(topic_bytes(packet)?).ok()
}

/// The packet id of a whole PUBACK, PUBREC, SUBSCRIBE ...
pub(super) fn packet_id(packet: &[u8]) -> Option<u16> {
    body(packet)?.try_get_u16().ok()
}

/// The quality of service in a PUBLISH's first byte; 3 is malformed.
pub(super) const fn qos(first: u8) -> u8 {
    first >> 1 & 0b11
}

fn properties<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = variable(bytes)?;
    bytes.get(..length)
}

/// The value of one property of a whole MQTT 5 PUBLISH, and what follows it.
fn publish_property(packet: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = body(packet)?;
    skip_text(&mut rest)?;
    if qos(*packet.first()?) != 0 {
        skip(&mut rest, 2)?;
    }
    let mut properties = properties(&mut rest)?;
    while let Ok(property) = properties.try_get_u8() {
        if property == wanted {
            return Some(properties);
        }
        // MQTT 5.0 section 2.2.2.2: the properties that a PUBLISH can have.
        match property {
            0x23 => skip(&mut properties, 2)?,
            0x01 => skip(&mut properties, 1)?,
            0x02 => skip(&mut properties, 4)?,
            0x03 | 0x08 | 0x09 => skip_text(&mut properties)?,
            0x0b => {
                variable(&mut properties)?;
            }
            USER_PROPERTY => skip_pair(&mut properties)?,
            _ => return None,
        }
    }
    None
}

/// The topic alias of a whole MQTT 5 PUBLISH.
pub(super) fn topic_alias(packet: &[u8]) -> Option<u16> {
    publish_property(packet, 0x23)?.try_get_u16().ok()
}

/// The response topic of a whole MQTT 5 PUBLISH.
pub(super) fn response_topic(packet: &[u8]) -> Option<&[u8]> {
    take_text(&mut publish_property(packet, 0x08)?)
}

/// Whether a whole MQTT 5 PUBLISH has a subscription identifier.
pub(super) fn is_identified(packet: &[u8]) -> bool {
    publish_property(packet, 0x0b).is_some()
}

/// The bytes of the topic name of a whole PUBLISH.
pub(super) fn topic_bytes(packet: &[u8]) -> Option<&[u8]> {
    take_text(&mut body(packet)?)
}

/// The filters of a whole SUBSCRIBE, each with its options.
pub(super) fn subscriptions(packet: &[u8], five: bool) -> Option<Vec<(&[u8], u8)>> {
    let mut rest = body(packet)?;
    skip(&mut rest, 2)?;
    if five {
        let length = variable(&mut rest)?;
        skip(&mut rest, length)?;
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        found.push((take_text(&mut rest)?, rest.try_get_u8().ok()?));
    }
    Some(found)
}

const USER_PROPERTY: u8 = 0x26;

fn skip_pair(bytes: &mut &[u8]) -> Option<()> {
    skip_text(bytes)?;
    skip_text(bytes)
}

/// Whether a whole MQTT 5 packet, other than CONNECT and PUBLISH, has a user property.
pub(super) fn has_user_property(packet: &[u8]) -> bool {
    let found = || {
        let mut rest = body(packet)?;
        // What stands before the properties.
        let before = match packet.first()? & 0xf0 {
            SUBSCRIBE | UNSUBSCRIBE => 2,
            PUBACK | PUBREC | PUBREL | PUBCOMP => 3,
            DISCONNECT | AUTH => 1,
            _ => return None,
        };
        skip(&mut rest, before)?;
        let mut properties = properties(&mut rest)?;
        while let Ok(property) = properties.try_get_u8() {
            // MQTT 5.0 section 2.2.2.2: the properties that these packets can have.
            match property {
                USER_PROPERTY => return Some(()),
                0x11 => skip(&mut properties, 4)?,
                0x15 | 0x16 | 0x1c | 0x1f => skip_text(&mut properties)?,
                0x0b => {
                    variable(&mut properties)?;
                }
                _ => return None,
            }
        }
        None
    };
    found().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packets_length_is_known_as_soon_as_its_header_is() {
        assert_eq!(next(b""), Next::Unknown);
        assert_eq!(next(b"\x30"), Next::Unknown);
        assert_eq!(next(b"\x30\x80"), Next::Unknown);
        assert_eq!(next(b"\xc0\x00"), Next::Packet(2));
        assert_eq!(next(b"\x30\x80\x01"), Next::Packet(131));
        assert_eq!(next(b"\x30\xff\xff\xff\x7f"), Next::Packet(268_435_460));
        assert_eq!(next(b"\x30\xff\xff\xff\xff"), Next::Malformed);
    }

    #[test]
    fn only_whole_packets_are_counted() {
        assert_eq!(whole(b""), 0);
        assert_eq!(whole(b"\xc0\x00\xc0"), 2);
        assert_eq!(whole(b"\xc0\x00\xe0\x01\x04\x30\x05a"), 5);
    }

    #[test]
    fn the_topic_alias_is_found_behind_other_properties() {
        // QoS 0, topic "t", user property a=b, alias 7.
        let packet = b"\x30\x0e\x00\x01t\x0a\x26\x00\x01a\x00\x01b\x23\x00\x07";
        assert_eq!(topic_alias(packet), Some(7));
        // QoS 1, alias 0.
        assert_eq!(
            topic_alias(b"\x32\x09\x00\x01t\x00\x01\x03\x23\x00\x00"),
            Some(0)
        );
        assert_eq!(topic_alias(b"\x30\x04\x00\x01t\x00"), None);
        for cut in 0..packet.len() {
            assert_eq!(topic_alias(&packet[..cut]), None);
        }
    }

    #[test]
    fn a_user_property_is_found_where_each_packet_has_its_properties() {
        let own = b"\x07\x26\x00\x01a\x00\x01b";
        let none = b"\x00";
        for (first, head) in [
            (0x82, &b"\x00\x01"[..]),
            (0xa2, b"\x00\x01"),
            (0x40, b"\x00\x01\x00"),
            (0x62, b"\x00\x01\x00"),
            (0xe0, b"\x00"),
            (0xf0, b"\x18"),
        ] {
            let packet = |own: &[u8]| {
                let length = u8::try_from(head.len() + own.len()).unwrap();
                [&[first, length][..], head, own].concat()
            };
            let with = packet(own);
            assert!(has_user_property(&with), "{first:x}");
            assert!(!has_user_property(&packet(none)), "{first:x}");
            for cut in 0..head.len() + 3 {
                assert!(!has_user_property(&with[..cut]));
            }
        }
        assert!(!has_user_property(b"\xe0\x00"));
        assert!(has_user_property(
            b"\xe0\x0d\x00\x0c\x11\x00\x00\x00\x01\x26\x00\x01a\x00\x01b"
        ));
    }

    #[test]
    fn a_connects_protocol_is_read_and_a_short_one_has_none() {
        let connect = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00";
        assert_eq!(protocol(connect), Some((&b"MQTT"[..], 5, 2)));
        for cut in 0..10 {
            assert_eq!(protocol(&connect[..cut]), None);
        }
    }
}
