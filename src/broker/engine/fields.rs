//! The few fields of whole packets that are looked at before the engine gets them. Whatever is not
//! well formed has none of them: the engine finds that too.

use bytes::Buf;

/// The high four bits of a packet's first byte.
pub(super) const CONNECT: u8 = 0x10;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBREC: u8 = 0x50;
pub(super) const PUBREL: u8 = 0x60;
pub(super) const PUBCOMP: u8 = 0x70;
pub(super) const SUBSCRIBE: u8 = 0x80;
pub(super) const SUBACK: u8 = 0x90;
pub(super) const UNSUBSCRIBE: u8 = 0xa0;
pub(super) const PINGREQ: u8 = 0xc0;
pub(super) const PINGRESP: u8 = 0xd0;
pub(super) const DISCONNECT: u8 = 0xe0;
pub(super) const AUTH: u8 = 0xf0;
pub(super) fn variable(bytes: &mut &[u8]) -> Option<usize> {
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

pub(super) fn skip(bytes: &mut &[u8], length: usize) -> Option<()> {
    *bytes = bytes.get(length..)?;
    Some(())
}

pub(super) fn skip_text(bytes: &mut &[u8]) -> Option<()> {
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
pub(super) fn body(packet: &[u8]) -> Option<&[u8]> {
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
    let (properties, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(properties)
}

/// The reason code of a whole MQTT 5 PUBACK; 0 where it is left out.
pub(super) fn acknowledged_with(packet: &[u8]) -> Option<u8> {
    let mut rest = body(packet)?;
    skip(&mut rest, 2)?;
    Some(rest.first().copied().unwrap_or(0))
}

/// What a whole PUBLISH says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub(super) topic: &'a [u8],
    pub(super) alias: Option<u16>,
    pub(super) response_topic: Option<&'a [u8]>,
    /// Whether it has a subscription identifier.
    pub(super) identified: bool,
}

pub(super) fn publish(packet: &[u8], five: bool) -> Option<Publish<'_>> {
    let mut rest = body(packet)?;
    let mut publish = Publish {
        topic: take_text(&mut rest)?,
        ..Publish::default()
    };
    if !five {
        return Some(publish);
    }
    if qos(*packet.first()?) != 0 {
        skip(&mut rest, 2)?;
    }
    let mut properties = properties(&mut rest)?;
    while let Ok(property) = properties.try_get_u8() {
        // MQTT 5.0 section 2.2.2.2: the properties that a PUBLISH can have.
        match property {
            0x23 => publish.alias = Some(properties.try_get_u16().ok()?),
            0x08 => publish.response_topic = Some(take_text(&mut properties)?),
            SUBSCRIPTION_IDENTIFIER => {
                variable(&mut properties)?;
                publish.identified = true;
            }
            0x01 => skip(&mut properties, 1)?,
            0x02 => skip(&mut properties, 4)?,
            0x03 | 0x09 => skip_text(&mut properties)?,
            USER_PROPERTY => skip_pair(&mut properties)?,
            _ => return None,
        }
    }
    Some(publish)
}

/// What a whole SUBSCRIBE asks for: each filter with its options byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subscribe<'a> {
    pub(super) filters: Vec<(&'a [u8], u8)>,
    /// Whether it has a subscription identifier.
    pub(super) identified: bool,
}

pub(super) fn subscribe(packet: &[u8], five: bool) -> Option<Subscribe<'_>> {
    let mut rest = body(packet)?;
    skip(&mut rest, 2)?;
    let mut identified = false;
    if five {
        let mut own = properties(&mut rest)?;
        while let Ok(property) = own.try_get_u8() {
            match property {
                SUBSCRIPTION_IDENTIFIER => {
                    variable(&mut own)?;
                    identified = true;
                }
                USER_PROPERTY => skip_pair(&mut own)?,
                _ => return None,
            }
        }
    }
    let mut filters = Vec::new();
    while rest.has_remaining() {
        filters.push((take_text(&mut rest)?, rest.try_get_u8().ok()?));
    }
    Some(Subscribe {
        filters,
        identified,
    })
}

/// The filters of an UNSUBSCRIBE.
pub(super) fn unsubscribe(packet: &[u8], five: bool) -> Option<Vec<&[u8]>> {
    let mut rest = body(packet)?;
    skip(&mut rest, 2)?;
    if five {
        properties(&mut rest)?;
    }
    let mut filters = Vec::new();
    while rest.has_remaining() {
        filters.push(take_text(&mut rest)?);
    }
    Some(filters)
}

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
pub(super) const USER_PROPERTY: u8 = 0x26;

pub(super) fn skip_pair(bytes: &mut &[u8]) -> Option<()> {
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
                SUBSCRIPTION_IDENTIFIER => {
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
    fn a_publish_is_read_behind_all_its_properties() {
        // QoS 0, topic "t", user property a=b, response topic "r", identifier 3, alias 7.
        let packet =
            b"\x30\x14\x00\x01t\x10\x26\x00\x01a\x00\x01b\x08\x00\x01r\x0b\x03\x23\x00\x07";
        let read = Publish {
            topic: b"t",
            alias: Some(7),
            response_topic: Some(b"r"),
            identified: true,
        };
        assert_eq!(publish(packet, true), Some(read));
        for cut in 0..packet.len() {
            assert_eq!(publish(&packet[..cut], true), None);
        }
        // QoS 1, alias 0; without properties; of 3.x.
        let alias = |packet| publish(packet, true).unwrap().alias;
        assert_eq!(alias(b"\x32\x09\x00\x01t\x00\x01\x03\x23\x00\x00"), Some(0));
        assert_eq!(alias(b"\x30\x04\x00\x01t\x00"), None);
        assert_eq!(publish(b"\x30\x03\x00\x01t", false).unwrap().topic, b"t");
    }

    #[test]
    fn a_subscribe_is_read_with_its_options() {
        let packet = b"\x82\x0b\x00\x09\x02\x0b\x03\x00\x01t\x05\x00\x00";
        assert_eq!(
            subscribe(packet, true),
            None,
            "the second filter has no options"
        );
        let whole = b"\x82\x0d\x00\x09\x02\x0b\x03\x00\x01t\x05\x00\x01u\x01";
        let read = subscribe(whole, true).unwrap();
        assert_eq!(read.filters, [(&b"t"[..], 5), (b"u", 1)]);
        assert!(read.identified);
        let old = subscribe(b"\x82\x06\x00\x09\x00\x01t\x02", false).unwrap();
        assert_eq!(old.filters, [(&b"t"[..], 2)]);
        assert!(!old.identified);
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
