//! Where MQTT packets begin and end in a stream of bytes (MQTT 5.0 section 2.1). `fields.rs` looks
//! into them.

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
}
