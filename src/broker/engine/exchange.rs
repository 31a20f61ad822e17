//! What the engine leaves out of an MQTT 5 connection, packet by packet: enhanced authentication
//! (MQTT 5.0 section 4.12) in one step, re-authentication, topic aliases that are out of range,
//! and the DISCONNECT at the end. `door.rs` moves the bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt::codec::v5::{
    Auth, AuthReasonCode, Codec, Connect, ConnectAckReason, Disconnect, DisconnectReasonCode,
    Packet,
};
use tokio::sync::mpsc;
use tokio_util::codec::{Decoder, Encoder};

use super::super::gate::{Authentication, Ending, Key};
use super::{Core, admission, frame};

/// The high four bits of a packet's first byte.
const PUBLISH: u8 = 0x30;
const DISCONNECT: u8 = 0xe0;
const AUTH: u8 = 0xf0;
/// The reason code of a DISCONNECT with Will Message.
const WITH_WILL: u8 = 4;
/// The shortest Maximum Packet Size of a client that is sent a reason in words.
const ROOM_FOR_WORDS: u32 = 512;

/// An MQTT 5 connection.
pub(super) struct Exchange {
    core: Arc<Core>,
    key: Key,
    /// The Authentication Method of its CONNECT.
    method: Option<ByteString>,
    /// Whether a DISCONNECT may have a Reason String.
    words: bool,
}

fn decode(packet: &[u8]) -> Option<Packet> {
    let decoded = Codec::new(0, 0).decode(&mut BytesMut::from(packet));
    Some(decoded.ok()??.0)
}

fn encode(packet: Packet) -> Bytes {
    let mut bytes = BytesMut::new();
    if let Err(error) = Codec::new(0, 0).encode(packet, &mut bytes) {
        tracing::error!(%error, "a packet could not be written");
    }
    bytes.freeze()
}

impl Exchange {
    /// Reads a CONNECT. Returns it as the engine may see it, and `None` unless it is a
    /// well-formed one of MQTT 5: the engine serves everything else alone.
    pub(super) fn begin(core: Arc<Core>, key: Key, packet: BytesMut) -> (Bytes, Option<Self>) {
        let Some(Packet::Connect(mut connect)) = decode(&packet) else {
            return (packet.freeze(), None);
        };
        let method = connect.auth_method.take();
        let exchange = Self {
            core,
            key,
            words: words(&connect),
            method: method.clone(),
        };
        let Some(method) = method else {
            return (packet.freeze(), Some(exchange));
        };
        let authentication = Authentication {
            method: method.to_string(),
            data: connect.auth_data.take(),
        };
        exchange.core.visitors.authenticating(key, authentication);
        (encode(Packet::Connect(connect)), Some(exchange))
    }

    /// Whether a packet of so many bytes is taken; if not, the connection must be ended.
    pub(super) fn takes(&self, length: usize) -> bool {
        let longest = self.core.settings.max_packet_size as usize;
        if length > longest {
            let reason = format!("the packet has {length} bytes, the longest {longest}");
            let ending = Ending::new(DisconnectReasonCode::PacketTooLarge.into(), reason);
            self.core.visitors.end(self.key, ending);
        }
        length <= longest
    }

    /// A packet of the client. Returns what the engine gets of it; `None` ends the connection.
    pub(super) async fn packet(
        &self,
        packet: Bytes,
        notices: &mpsc::Sender<Bytes>,
    ) -> Option<Bytes> {
        let refuse = |ending| {
            self.core.visitors.end(self.key, ending);
            None
        };
        match packet.first().map(|first| first & 0xf0) {
            Some(PUBLISH) => {
                let largest = self.core.settings.topic_alias_maximum;
                match frame::topic_alias(&packet) {
                    Some(alias) if alias == 0 || alias > largest => refuse(Ending::new(
                        DisconnectReasonCode::TopicAliasInvalid.into(),
                        format!("the topic alias is {alias}, the highest is {largest}"),
                    )),
                    _ => Some(packet),
                }
            }
            // The engine does not publish the will of a client that leaves with its will.
            Some(DISCONNECT) if packet.get(2) == Some(&WITH_WILL) => None,
            Some(AUTH) if self.method.is_some() => {
                match self.reauthenticate(&packet).await {
                    // A client that is not read from any more is about to end.
                    Ok(answer) => {
                        let _ = notices.send(answer).await;
                        Some(Bytes::new())
                    }
                    Err(ending) => refuse(ending),
                }
            }
            _ => Some(packet),
        }
    }

    /// MQTT 5.0 section 4.12.1. Returns the AUTH that answers.
    async fn reauthenticate(&self, packet: &[u8]) -> Result<Bytes, Ending> {
        let Some(Packet::Auth(auth)) = decode(packet) else {
            let code = DisconnectReasonCode::MalformedPacket;
            return Err(Ending::new(code.into(), "the AUTH is malformed"));
        };
        if auth.reason_code != AuthReasonCode::ReAuth {
            let code = DisconnectReasonCode::ProtocolError;
            return Err(Ending::new(
                code.into(),
                "no authentication exchange is under way that this AUTH could continue",
            ));
        }
        if auth.auth_method != self.method {
            let code = DisconnectReasonCode::BadAuthenticationMethod;
            return Err(Ending::new(
                code.into(),
                "the authentication method is not the one of the CONNECT",
            ));
        }
        let granted = admission::reauthenticate(&self.core, self.key, auth.auth_data).await;
        if let Err(refusal) = granted {
            return Err(Ending::new(refusal.code.code(5), refusal.reason));
        }
        Ok(encode(Packet::Auth(Auth {
            reason_code: AuthReasonCode::Success,
            auth_method: self.method.clone(),
            ..Auth::default()
        })))
    }

    /// The engine's CONNACK as the client gets it: with the method, which the engine has not
    /// seen.
    pub(super) fn connack(&self, packet: BytesMut) -> Bytes {
        if self.method.is_none() {
            return packet.freeze();
        }
        let Some(Packet::ConnectAck(mut connack)) = decode(&packet) else {
            return packet.freeze();
        };
        if connack.reason_code == ConnectAckReason::Success {
            connack.auth_method.clone_from(&self.method);
        } else if self.core.visitors.unclaimed(self.key) {
            connack.reason_code = ConnectAckReason::BadAuthenticationMethod;
        }
        encode(Packet::ConnectAck(connack))
    }

    /// The DISCONNECT that tells why the connection ends.
    pub(super) fn disconnect(&self, ending: &Ending) -> Bytes {
        let reason_code = DisconnectReasonCode::try_from(ending.code)
            .unwrap_or(DisconnectReasonCode::UnspecifiedError);
        encode(Packet::Disconnect(Disconnect {
            reason_code,
            session_expiry_interval_secs: None,
            server_reference: None,
            reason_string: self.words.then(|| ending.reason.as_str().into()),
            user_properties: Vec::new(),
        }))
    }
}

/// MQTT 5.0 section 3.14.2.2.3: no Reason String that the client did not want or has no room for.
fn words(connect: &Connect) -> bool {
    connect.request_problem_info
        && connect
            .max_packet_size
            .is_none_or(|size| size.get() >= ROOM_FOR_WORDS)
}
