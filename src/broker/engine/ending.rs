//! Why a connection ends, in the standard's reason codes (MQTT 5.0 section 3.14.2.1).

use rmqtt::codec::error::DecodeError;
use rmqtt::codec::v5::{DisconnectReasonCode, ToReasonCode};
use rmqtt::net::MqttError;
use rmqtt::types::Reason;

use super::super::visitors::Ending;

/// What a codec can say of a packet.
const MALFORMED: [DecodeError; 8] = [
    DecodeError::InvalidLength,
    DecodeError::InvalidProtocol,
    DecodeError::InvalidTopicFilter,
    DecodeError::InvalidTopicName,
    DecodeError::MalformedPacket,
    DecodeError::PacketIdRequired,
    DecodeError::UnsupportedPacketType,
    DecodeError::Utf8Error,
];

/// What the client is told; `None` if it has gone by itself.
pub(super) fn of(reason: &Reason) -> Option<Ending> {
    if matches!(reason, Reason::ConnectRemoteClose) {
        return None;
    }
    Some(Ending::new(code(reason), reason.to_string()))
}

/// The reason code, where the engine's own choice is not the standard's.
fn code(reason: &Reason) -> u8 {
    match reason {
        Reason::ConnectKicked(false) => DisconnectReasonCode::SessionTakenOver.into(),
        // MQTT 5.0 section 3.3.2.3.4: an alias that stands for no topic.
        Reason::MqttError(MqttError::PublishAckReason(_, words)) if words.contains("alias") => {
            DisconnectReasonCode::ProtocolError.into()
        }
        Reason::MqttError(MqttError::PublishAckReason(code, _)) => (*code).into(),
        // What the codec finds wrong comes in words.
        Reason::Error(words) => MALFORMED
            .iter()
            .find(|error| error.to_string() == **words)
            .map_or(
                DisconnectReasonCode::UnspecifiedError,
                |error| match error {
                    // No filter at all, in an UNSUBSCRIBE.
                    DecodeError::InvalidTopicFilter => DisconnectReasonCode::ProtocolError,
                    _ => DisconnectReasonCode::MalformedPacket,
                },
            )
            .into(),
        other => other.to_reason_code().into(),
    }
}
