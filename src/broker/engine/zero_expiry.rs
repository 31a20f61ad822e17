//! A PUBLISH with a Message Expiry Interval of 0, which MQTT 5.0 section 3.3.2.3.3 allows and the
//! engine takes for malformed: it gets the packet with 1 there, or without the property.

use std::ops::Range;

use bytes::{Buf, Bytes};

use super::fields::{self, USER_PROPERTY, body, skip, skip_pair, skip_text, variable};

/// The property's id.
const MESSAGE_EXPIRY: u8 = 0x02;

/// The properties of a whole MQTT 5 PUBLISH, where their length stands and where they begin.
fn properties(packet: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut rest = body(packet)?;
    skip_text(&mut rest)?;
    if fields::qos(*packet.first()?) != 0 {
        skip(&mut rest, 2)?;
    }
    let length_at = packet.len() - rest.len();
    let length = variable(&mut rest)?;
    let start = packet.len() - rest.len();
    Some((length_at, start, rest.get(..length)?))
}

/// Where an interval of 0 stands in a whole MQTT 5 PUBLISH, id and value.
fn find(packet: &[u8]) -> Option<Range<usize>> {
    let (_, start, all) = properties(packet)?;
    let mut properties = all;
    while let Ok(property) = properties.try_get_u8() {
        // MQTT 5.0 section 2.2.2.2: the properties that a PUBLISH can have.
        match property {
            MESSAGE_EXPIRY => {
                let at = start + all.len() - properties.len();
                return (properties.try_get_u32().ok()? == 0).then_some(at - 1..at + 4);
            }
            0x01 => skip(&mut properties, 1)?,
            0x23 => skip(&mut properties, 2)?,
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

/// The packet with an interval of 1 instead: the message may be delivered only at once. `None`
/// if it has no interval of 0.
pub(super) fn at_once(packet: &[u8]) -> Option<Bytes> {
    let property = find(packet)?;
    let mut changed = packet.to_vec();
    *changed.get_mut(property.end - 1)? = 1;
    Some(changed.into())
}

/// The packet without the interval: the message never expires. `None` if it has no interval of 0.
pub(super) fn never(packet: &[u8]) -> Option<Bytes> {
    let property = find(packet)?;
    let (length_at, start, all) = properties(packet)?;
    let length = all.len().checked_sub(property.len())?;
    let head = packet.len() - body(packet)?.len();
    let body = [
        packet.get(head..length_at)?,
        &written(length),
        packet.get(start..property.start)?,
        packet.get(property.end..)?,
    ]
    .concat();
    Some([&packet[..1], &written(body.len()), &body].concat().into())
}

/// A Variable Byte Integer (MQTT 5.0 section 1.5.5).
fn written(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4);
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_zero_is_found_and_changed_or_taken_out() {
        let with =
            b"\x32\x16\x00\x01t\x00\x01\x0e\x23\x00\x07\x02\x00\x00\x00\x00\x03\x00\x03a/bxy";
        let one = b"\x32\x16\x00\x01t\x00\x01\x0e\x23\x00\x07\x02\x00\x00\x00\x01\x03\x00\x03a/bxy";
        let without = b"\x32\x11\x00\x01t\x00\x01\x09\x23\x00\x07\x03\x00\x03a/bxy";
        assert_eq!(find(with), Some(11..16));
        assert_eq!(at_once(with).as_deref(), Some(&one[..]));
        assert_eq!(never(with).as_deref(), Some(&without[..]));
        assert_eq!((find(one), find(without)), (None, None));
        for cut in 0..22 {
            assert_eq!(never(&with[..cut]), None);
        }
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0, 127, 128, 16_383, 16_384, 2_097_152] {
            assert_eq!(variable(&mut &*written(length)), Some(length));
        }
    }
}
