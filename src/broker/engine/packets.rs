//! Whole packets from and to bytes, by the engine's codecs.

use bytes::{Bytes, BytesMut};
use rmqtt::codec::error::{DecodeError, EncodeError};
use rmqtt::codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

fn read<C, P>(mut codec: C, packet: &[u8]) -> Result<P, DecodeError>
where
    C: Decoder<Item = (P, u32), Error = DecodeError>,
{
    let decoded = codec.decode(&mut BytesMut::from(packet))?;
    decoded
        .map(|(packet, _)| packet)
        .ok_or(DecodeError::InvalidLength)
}

fn write<C, P>(mut codec: C, packet: P) -> Bytes
where
    C: Encoder<P, Error = EncodeError>,
{
    let mut bytes = BytesMut::new();
    if let Err(error) = codec.encode(packet, &mut bytes) {
        tracing::error!(%error, "a packet could not be written");
    }
    bytes.freeze()
}

/// A whole packet of MQTT 3.1 or 3.1.1.
pub(super) fn decode_3x(packet: &[u8]) -> Result<v3::Packet, DecodeError> {
    read(v3::Codec::default(), packet)
}

pub(super) fn encode_3x(packet: v3::Packet) -> Bytes {
    write(v3::Codec::default(), packet)
}

/// A whole packet of MQTT 5.
pub(super) fn decode(packet: &[u8]) -> Result<v5::Packet, DecodeError> {
    read(v5::Codec::default(), packet)
}

pub(super) fn encode(packet: v5::Packet) -> Bytes {
    write(v5::Codec::default(), packet)
}
