//! One connection packet by packet, and what the engine leaves out of it: the CONNACK with the
//! code and the properties that the dialect decided, enhanced authentication (MQTT 5.0 section
//! 4.12) in one step, re-authentication, limits (`bounds.rs`), acknowledgements that are withheld,
//! and the DISCONNECT at the end. `door.rs` moves the bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt::codec::v5::{
    Auth, AuthReasonCode, Connect, ConnectAck, ConnectAckReason, Disconnect, DisconnectReasonCode,
    Packet,
};

use super::super::dialect::{ConnectRefusal, Limits, Refused};
use super::super::visitors::{Authentication, Ending, Visit};
use super::bounds::{Bounds, Violation};
use super::opening::Opening;
use super::packets::{decode, encode};
use super::{Core, admission, fields, frame, validity};

/// The shortest Maximum Packet Size of a client that is sent a reason in words.
const ROOM_FOR_WORDS: u32 = 512;

/// One connection.
pub(super) struct Exchange {
    core: Arc<Core>,
    visit: Arc<Visit>,
    /// 3 (MQTT 3.1), 4 (3.1.1) or 5.
    version: u8,
    /// The Authentication Method of its CONNECT.
    method: Option<ByteString>,
    /// Whether the client takes a Reason String.
    words: bool,
    /// Whether the CONNECT asks for a session that outlives the connection.
    lasting: bool,
    bounds: Bounds,
}

/// What becomes of a packet of the client.
pub(super) enum Passage {
    /// The engine gets it as it is.
    On,
    /// The engine gets this instead.
    Changed(Bytes),
    /// It is answered with this.
    Answered(Bytes),
    /// It ends the connection.
    Ended,
}

impl Exchange {
    /// Begins with a CONNECT that `opening.rs` has found well formed. Returns it as the
    /// engine may see it.
    pub(super) fn begin(core: Arc<Core>, visit: Arc<Visit>, opening: Opening) -> (Bytes, Self) {
        let (version, packet, connect) = match opening {
            Opening::Old(version, packet) => (version, packet, None),
            Opening::Five(packet, connect) => (5, packet, Some(connect)),
        };
        let mut exchange = Self {
            bounds: Bounds::new(&core.settings, &Limits::default(), version),
            core,
            visit,
            version,
            method: None,
            words: connect.as_deref().is_some_and(words),
            lasting: connect
                .as_deref()
                .is_some_and(|connect| connect.session_expiry_interval_secs > 0),
        };
        exchange.visit.arrived(packet.len());
        let Some(mut connect) = connect.filter(|connect| connect.auth_method.is_some()) else {
            return (packet, exchange);
        };
        exchange.method = connect.auth_method.take();
        exchange.visit.authenticating(Authentication {
            method: exchange.method.as_deref().unwrap_or_default().to_owned(),
            data: connect.auth_data.take(),
        });
        (encode(Packet::Connect(connect)), exchange)
    }

    /// Whether a packet of so many bytes is taken; if not, the connection must be ended.
    pub(super) fn takes(&self, first: u8, length: usize) -> bool {
        match self.bounds.size(length) {
            Ok(()) => true,
            Err(violation) => {
                self.refuse(first, violation);
                false
            }
        }
    }

    /// A whole packet of the client.
    pub(super) async fn packet(&self, packet: &[u8]) -> Passage {
        let first = packet.first().copied().unwrap_or_default();
        if first & 0xf0 == fields::PUBLISH && self.core.draining.load(Ordering::Acquire) {
            return Passage::Changed(Bytes::new());
        }
        if let Err(violation) = self.bounds.check(packet) {
            return self.refuse(first, violation);
        }
        if first & 0xf0 == fields::SUBSCRIBE {
            self.unreadable(packet);
        }
        if self.version < 5 {
            return Passage::On;
        }
        match first & 0xf0 {
            fields::PUBLISH => match self.bounds.readable(packet) {
                Some(changed) => Passage::Changed(changed),
                None => Passage::On,
            },
            fields::DISCONNECT => self.leave(packet),
            fields::AUTH if self.method.is_some() => match self.reauthenticate(packet).await {
                Ok(answer) => Passage::Answered(answer),
                Err(passage) => passage,
            },
            _ => Passage::On,
        }
    }

    /// Tells journal and client of a packet that breaks a rule.
    fn refuse(&self, first: u8, violation: Violation) -> Passage {
        let (code, reason) = (violation.code, violation.reason);
        self.tell(fields::name(first), violation.topic, code, reason.clone());
        match violation.answer {
            Some(answer) => Passage::Answered(answer),
            None => self.end(code, reason),
        }
    }

    fn tell(&self, packet: &'static str, topic: Option<String>, code: u8, reason: String) {
        let peer = self.visit.peer();
        let grant = peer.as_ref().map(|peer| &peer.grant);
        self.core.refused(Refused {
            surface: grant.and_then(|grant| grant.surface),
            packet,
            client_id: peer
                .as_ref()
                .map(|peer| peer.client_id.clone())
                .unwrap_or_default(),
            identity: grant.map(|grant| grant.identity.clone()),
            topic,
            code,
            reason,
        });
    }

    /// Tells the journal of the filters that the engine refuses (MQTT 5) or closes the connection
    /// for (3.x) without asking.
    fn unreadable(&self, packet: &[u8]) {
        let subscribe = fields::subscribe(packet, self.version >= 5);
        let filters = subscribe
            .into_iter()
            .flat_map(|subscribe| subscribe.filters);
        for (filter, _) in filters {
            if let Some(reason) = validity::unreadable(filter) {
                let topic = String::from_utf8_lossy(filter).into_owned();
                let code = DisconnectReasonCode::TopicFilterInvalid.into();
                self.tell("SUBSCRIBE", Some(topic), code, reason.to_owned());
            }
        }
    }

    /// The client has sent a WebSocket frame that carries no packet.
    pub(super) fn broken(&self, ending: Ending) {
        self.tell("WEBSOCKET", None, ending.code, ending.reason.clone());
        self.visit.end(ending);
    }

    fn end(&self, code: u8, reason: String) -> Passage {
        self.visit.end(Ending::new(code, reason));
        Passage::Ended
    }

    /// A DISCONNECT. The engine forgets the will with every one of them, which only a normal one
    /// asks for (MQTT 5.0 section 3.14.4): of the others it sees the connection end.
    fn leave(&self, packet: &[u8]) -> Passage {
        let Ok(Packet::Disconnect(disconnect)) = decode(packet) else {
            return Passage::On;
        };
        let expiry = disconnect.session_expiry_interval_secs;
        // MQTT 5.0 section 3.14.2.2.2.
        if !self.lasting && expiry.is_some_and(|seconds| seconds > 0) {
            let violation = Violation::ending(
                DisconnectReasonCode::ProtocolError,
                "the DISCONNECT asks for a Session Expiry Interval, which the CONNECT set to 0",
            );
            return self.refuse(fields::DISCONNECT, violation);
        }
        if disconnect.reason_code == DisconnectReasonCode::NormalDisconnection {
            return Passage::On;
        }
        if let Some(seconds) = expiry {
            self.visit.outlived(seconds);
        }
        Passage::Ended
    }

    /// MQTT 5.0 section 4.12.1. Returns the AUTH that answers.
    async fn reauthenticate(&self, packet: &[u8]) -> Result<Bytes, Passage> {
        let refuse = |code, reason| self.refuse(fields::AUTH, Violation::ending(code, reason));
        let Ok(Packet::Auth(auth)) = decode(packet) else {
            let code = DisconnectReasonCode::MalformedPacket;
            return Err(refuse(code, "the AUTH is malformed"));
        };
        if auth.reason_code != AuthReasonCode::ReAuth {
            return Err(refuse(
                DisconnectReasonCode::ProtocolError,
                "no authentication exchange is under way that this AUTH could continue",
            ));
        }
        if auth.auth_method != self.method {
            return Err(refuse(
                DisconnectReasonCode::BadAuthenticationMethod,
                "the authentication method is not the one of the CONNECT",
            ));
        }
        let granted = admission::reauthenticate(&self.core, &self.visit, auth.auth_data).await;
        if let Err(refusal) = granted {
            return Err(self.end(refusal.code.disconnect(), refusal.reason));
        }
        Ok(encode(Packet::Auth(Auth {
            reason_code: AuthReasonCode::Success,
            auth_method: self.method.clone(),
            ..Auth::default()
        })))
    }

    /// The engine's CONNACK as the client gets it, and whether the client is accepted. From here
    /// on its own limits hold.
    pub(super) fn connack(&mut self, packet: Bytes) -> (Bytes, bool) {
        if let Some(refusal) = self.visit.refusal() {
            return (self.refused(&refusal), false);
        }
        if let Some(peer) = self.visit.peer() {
            self.bounds = Bounds::new(&self.core.settings, &peer.grant.limits, self.version);
        }
        if self.version < 5 {
            let accepted = packet.get(3) == Some(&0);
            return (packet, accepted);
        }
        let Ok(Packet::ConnectAck(mut connack)) = decode(&packet) else {
            return (packet, false);
        };
        if connack.reason_code != ConnectAckReason::Success {
            return (packet, false);
        }
        connack.auth_method.clone_from(&self.method);
        self.bounds.announce(&mut connack);
        (encode(Packet::ConnectAck(connack)), true)
    }

    /// The CONNACK of a refusal.
    fn refused(&self, refusal: &ConnectRefusal) -> Bytes {
        let code = refusal.code.code(self.version);
        if self.version < 5 {
            return refused_3x(code);
        }
        let reason = self.words.then_some(&*refusal.reason);
        refused_5(code, reason)
    }

    /// What the engine gets in place of a packet that it does not see: each one begins the
    /// client's keep-alive anew (MQTT 5.0 section 3.1.2.10).
    pub(super) fn sign_of_life(&self) -> &'static [u8] {
        self.visit.pings();
        &[fields::PINGREQ, 0]
    }

    /// What the client gets of what the engine sends: whole packets, without acknowledgements
    /// that are withheld and answers to the gate's own pings.
    pub(super) fn outward(&self, packets: BytesMut) -> BytesMut {
        if !self.visit.withholds() {
            return packets;
        }
        let mut kept = BytesMut::with_capacity(packets.len());
        let mut rest = packets;
        while let frame::Next::Packet(length) = frame::next(&rest) {
            let packet = rest.split_to(length.min(rest.len()));
            let withheld = match packet.first().copied().unwrap_or_default() & 0xf0 {
                fields::PUBACK | fields::PUBREC => {
                    fields::packet_id(&packet).is_some_and(|id| self.visit.is_withheld(id))
                }
                fields::PINGRESP => self.visit.is_pinged(),
                fields::SUBACK => self.visit.withholds_subacks(),
                _ => false,
            };
            if !withheld {
                kept.extend_from_slice(&packet);
            }
        }
        kept
    }

    /// The DISCONNECT that tells why the connection ends; `None` where the version has none.
    pub(super) fn disconnect(&self) -> Option<Bytes> {
        let ending = self.visit.ending().filter(|_| self.version >= 5)?;
        let reason_code = DisconnectReasonCode::try_from(ending.code)
            .unwrap_or(DisconnectReasonCode::UnspecifiedError);
        Some(encode(Packet::Disconnect(Disconnect {
            reason_code,
            session_expiry_interval_secs: None,
            server_reference: None,
            reason_string: self.words.then(|| ending.reason.into()),
            user_properties: Vec::new(),
        })))
    }
}

/// A CONNACK of MQTT 3.1 or 3.1.1 that refuses.
pub(super) fn refused_3x(code: u8) -> Bytes {
    Bytes::copy_from_slice(&[0x20, 2, 0, code])
}

/// A CONNACK of MQTT 5 that refuses.
pub(super) fn refused_5(code: u8, reason: Option<&str>) -> Bytes {
    encode(Packet::ConnectAck(Box::new(ConnectAck {
        reason_code: ConnectAckReason::try_from(code).unwrap_or(ConnectAckReason::UnspecifiedError),
        reason_string: reason.map(Into::into),
        ..ConnectAck::default()
    })))
}

/// MQTT 5.0 sections 3.2.2.3.9 and 3.14.2.2.3: no Reason String that the client did not want or
/// has no room for.
fn words(connect: &Connect) -> bool {
    connect.request_problem_info
        && connect
            .max_packet_size
            .is_none_or(|size| size.get() >= ROOM_FOR_WORDS)
}
