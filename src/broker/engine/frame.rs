//! Where MQTT packets begin and end in a stream of bytes (MQTT 5.0 section 2.1), and the one
//! property that `exchange.rs` looks for in a PUBLISH.

use bytes::Buf;

/// The first byte of a CONNECT.
pub(super) const CONNECT_TYPE: u8 = 0x10;
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

/// The topic alias of a whole MQTT 5 PUBLISH; `None` where it has none or is not well formed,
/// which the engine finds too.
pub(super) fn topic_alias(packet: &[u8]) -> Option<u16> {
    let first = *packet.first()?;
    let mut rest = packet.get(1..)?;
    variable(&mut rest)?;
    skip_text(&mut rest)?;
    if first & 0b0110 != 0 {
        skip(&mut rest, 2)?;
    }
    let length = variable(&mut rest)?;
    let mut properties = rest.get(..length)?;
    while let Ok(property) = properties.try_get_u8() {
        // MQTT 5.0 section 2.2.2.2: the properties that a PUBLISH can have.
        match property {
            0x23 => return properties.try_get_u16().ok(),
            0x01 => skip(&mut properties, 1)?,
            0x02 => skip(&mut properties, 4)?,
            0x03 | 0x08 | 0x09 => skip_text(&mut properties)?,
            0x0b => {
                variable(&mut properties)?;
            }
            0x26 => {
                skip_text(&mut properties)?;
                skip_text(&mut properties)?;
            }
            _ => return None,
        }
    }
    None
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
}
