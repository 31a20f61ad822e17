//! Packets that the broker sends, written by `mqtt-protocol-core`. A PUBLISH is written once for
//! each version and kind of quality of service, however many clients get it: what differs from
//! one delivery to the next (flags, packet id, remaining life) has a fixed place and is put in.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, AuthenticationData, AuthenticationMethod, ContentType,
    CorrelationData, MaximumPacketSize, MaximumQos, MessageExpiryInterval, PayloadFormat,
    PayloadFormatIndicator, Property, Qos as WireQos, ReasonString, ReceiveMaximum,
    ResponseInformation, ResponseTopic, RetainAvailable, ServerKeepAlive, SessionExpiryInterval,
    SharedSubscriptionAvailable, SubscriptionIdentifier, SubscriptionIdentifierAvailable,
    TopicAlias, TopicAliasMaximum, UserProperty, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    AuthReasonCode, ConnectReasonCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubrecReasonCode, SubackReasonCode, UnsubackReasonCode,
};
use mqttstack_base::message::{Message, Qos};
use tokio::sync::broadcast;

use super::counts::Counts;
use super::events::Event;
use super::packet::{Frame, PUBACK, PUBREC, PUBREL, frame};

/// A PINGRESP of any version.
pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];
/// The flags of a PUBLISH.
const DUP: u8 = 0b1000;
const RETAIN: u8 = 0b0001;

/// The packet, or nothing where the library cannot write it. It can write all that is sent here;
/// a text longer than a packet can carry is the one thing that could stand in its way.
fn written<T>(packet: Result<T, MqttError>, bytes: impl FnOnce(T) -> Vec<u8>) -> Vec<u8> {
    match packet {
        Ok(packet) => bytes(packet),
        Err(error) => {
            tracing::error!(%error, "a packet could not be written");
            Vec::new()
        }
    }
}

/// A property, left out where its value cannot be written.
fn push<T: Into<Property>>(properties: &mut Vec<Property>, property: Result<T, MqttError>) {
    properties.extend(property.ok().map(Into::into));
}

fn reason_string(reason: Option<&str>) -> Vec<Property> {
    let mut properties = Vec::new();
    if let Some(reason) = reason {
        push(&mut properties, ReasonString::new(reason));
    }
    properties
}

/// What a CONNACK of MQTT 5 tells (section 3.2.2.3).
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) max_qos: Option<Qos>,
    pub(crate) retain_unavailable: bool,
    pub(crate) max_packet_size: u32,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) identifiers_unavailable: bool,
    pub(crate) shared_unavailable: bool,
    pub(crate) keep_alive: Option<u16>,
    pub(crate) response_information: Option<String>,
    pub(crate) authentication_method: Option<String>,
    pub(crate) authentication_data: Option<Bytes>,
}

impl Told {
    fn properties(&self) -> Vec<Property> {
        let mut all = Vec::with_capacity(8);
        if let Some(seconds) = self.session_expiry {
            push(&mut all, SessionExpiryInterval::new(seconds));
        }
        if self.receive_maximum < u16::MAX {
            push(&mut all, ReceiveMaximum::new(self.receive_maximum.max(1)));
        }
        if let Some(qos) = self.max_qos.filter(|qos| *qos != Qos::ExactlyOnce) {
            push(&mut all, MaximumQos::new(qos.level()));
        }
        if self.retain_unavailable {
            push(&mut all, RetainAvailable::new(0));
        }
        push(
            &mut all,
            MaximumPacketSize::new(self.max_packet_size.max(1)),
        );
        if let Some(id) = &self.assigned_client_id {
            push(&mut all, AssignedClientIdentifier::new(id));
        }
        if self.topic_alias_maximum > 0 {
            push(&mut all, TopicAliasMaximum::new(self.topic_alias_maximum));
        }
        if self.identifiers_unavailable {
            push(&mut all, SubscriptionIdentifierAvailable::new(0));
        }
        if self.shared_unavailable {
            push(&mut all, SharedSubscriptionAvailable::new(0));
        }
        if let Some(seconds) = self.keep_alive {
            push(&mut all, ServerKeepAlive::new(seconds));
        }
        if let Some(information) = &self.response_information {
            push(&mut all, ResponseInformation::new(information));
        }
        if let Some(method) = &self.authentication_method {
            push(&mut all, AuthenticationMethod::new(method));
        }
        if let Some(data) = &self.authentication_data {
            push(&mut all, AuthenticationData::new(data.to_vec()));
        }
        all
    }
}

/// The CONNACK that accepts.
pub(crate) fn connack(version: u8, session_present: bool, told: &Told) -> Vec<u8> {
    if version < 5 {
        // MQTT 3.1 reserves the byte in which 3.1.1 has Session Present: its clients do not look.
        return vec![0x20, 2, u8::from(session_present), 0];
    }
    let packet = v5_0::Connack::builder()
        .session_present(session_present)
        .reason_code(ConnectReasonCode::Success)
        .props(told.properties())
        .build();
    written(packet, |packet| packet.to_continuous_buffer())
}

/// The CONNACK that refuses, in MQTT 3.x.
pub(crate) fn refused_3x(code: u8) -> Vec<u8> {
    vec![0x20, 2, 0, code]
}

/// The CONNACK that refuses, in MQTT 5.
pub(crate) fn refused_5(code: u8, reason: Option<&str>) -> Vec<u8> {
    let code = ConnectReasonCode::try_from(code).unwrap_or(ConnectReasonCode::UnspecifiedError);
    let packet = v5_0::Connack::builder()
        .session_present(false)
        .reason_code(code)
        .props(reason_string(reason))
        .build();
    written(packet, |packet| packet.to_continuous_buffer())
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP (`kind`, with its flags) that says nothing but the id.
pub(crate) fn acknowledge(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    let flags = if kind == PUBREL { 0b10 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[kind | flags, 2, high, low]);
}

/// The same with a reason code, which only MQTT 5 can say.
pub(crate) fn acknowledge_with(
    out: &mut Vec<u8>,
    kind: u8,
    packet_id: u16,
    code: u8,
    reason: Option<&str>,
) {
    let bytes = match kind {
        PUBACK => written(
            v5_0::Puback::builder()
                .packet_id(packet_id)
                .reason_code(
                    PubackReasonCode::try_from(code).unwrap_or(PubackReasonCode::UnspecifiedError),
                )
                .props(reason_string(reason))
                .build(),
            |packet| packet.to_continuous_buffer(),
        ),
        PUBREC => written(
            v5_0::Pubrec::builder()
                .packet_id(packet_id)
                .reason_code(
                    PubrecReasonCode::try_from(code).unwrap_or(PubrecReasonCode::UnspecifiedError),
                )
                .props(reason_string(reason))
                .build(),
            |packet| packet.to_continuous_buffer(),
        ),
        // PUBREL and PUBCOMP know one code beside success: the id was not found.
        _ => {
            let flags = if kind == PUBREL { 0b10 } else { 0 };
            let [high, low] = packet_id.to_be_bytes();
            vec![kind | flags, 3, high, low, code]
        }
    };
    out.extend_from_slice(&bytes);
}

/// A SUBACK.
pub(crate) fn suback(version: u8, packet_id: u16, codes: &[u8]) -> Vec<u8> {
    if version < 5 {
        let codes = codes.iter().map(|&code| if code > 2 { 0x80 } else { code });
        return listed(0x90, packet_id, codes);
    }
    let codes = codes
        .iter()
        .map(|&code| SubackReasonCode::try_from(code).unwrap_or(SubackReasonCode::UnspecifiedError))
        .collect();
    let packet = v5_0::Suback::builder()
        .packet_id(packet_id)
        .reason_codes(codes)
        .build();
    written(packet, |packet| packet.to_continuous_buffer())
}

/// A packet of 3.x that is an id and one byte for each filter.
fn listed(first: u8, packet_id: u16, codes: impl Iterator<Item = u8>) -> Vec<u8> {
    use mqtt_protocol_core::mqtt::packet::VariableByteInteger;
    let mut body = packet_id.to_be_bytes().to_vec();
    body.extend(codes);
    let length = u32::try_from(body.len()).ok();
    let mut bytes = vec![first];
    if let Some(length) = length.and_then(VariableByteInteger::from_u32) {
        bytes.extend_from_slice(length.as_bytes());
    }
    bytes.extend(body);
    bytes
}

/// An UNSUBACK.
pub(crate) fn unsuback(version: u8, packet_id: u16, codes: &[u8]) -> Vec<u8> {
    if version < 5 {
        return listed(0xb0, packet_id, std::iter::empty());
    }
    let codes = codes
        .iter()
        .map(|&code| {
            UnsubackReasonCode::try_from(code).unwrap_or(UnsubackReasonCode::UnspecifiedError)
        })
        .collect();
    let packet = v5_0::Unsuback::builder()
        .packet_id(packet_id)
        .reason_codes(codes)
        .build();
    written(packet, |packet| packet.to_continuous_buffer())
}

/// A DISCONNECT of MQTT 5.
pub(crate) fn disconnect(code: u8, reason: Option<&str>) -> Vec<u8> {
    let known =
        DisconnectReasonCode::try_from(code).unwrap_or(DisconnectReasonCode::UnspecifiedError);
    let packet = v5_0::Disconnect::builder()
        .reason_code(known)
        .props(reason_string(reason))
        .build();
    let mut bytes = written(packet, |packet| packet.to_continuous_buffer());
    // The library does not know 0x8C in a DISCONNECT, which MQTT 5.0 section 2.4 allows.
    if let Frame::Packet { header, .. } = frame(&bytes)
        && let Some(place) = bytes.get_mut(header)
    {
        *place = code;
    }
    bytes
}

/// The AUTH that ends a re-authentication well.
pub(crate) fn authenticated(method: &str, data: Option<&Bytes>) -> Vec<u8> {
    let mut properties = Vec::new();
    push(&mut properties, AuthenticationMethod::new(method));
    if let Some(data) = data {
        push(&mut properties, AuthenticationData::new(data.to_vec()));
    }
    let packet = v5_0::Auth::builder()
        .reason_code(AuthReasonCode::Success)
        .props(properties)
        .build();
    written(packet, |packet| packet.to_continuous_buffer())
}

/// A PUBLISH as written, with the places of what differs from one delivery to the next.
#[derive(Debug)]
struct Template {
    bytes: Box<[u8]>,
    /// Where the packet id stands; 0 with QoS 0.
    packet_id_at: usize,
    /// Where the Message Expiry Interval stands; 0 without one.
    expiry_at: usize,
}

/// A message on its way to its subscribers, with its PUBLISH once it has been written.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) message: Arc<Message>,
    /// Who is told how its deliveries fare, if anybody wanted to know when it was routed.
    pub(crate) events: Option<broadcast::Sender<Event>>,
    /// Where its deliveries are counted; the broker's own figures are no messages.
    pub(crate) counts: Option<Arc<Counts>>,
    /// MQTT 3.x with QoS 0 and above, MQTT 5 with QoS 0 and above.
    templates: [OnceLock<Template>; 4],
}

/// What differs from one delivery of a message to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) five: bool,
    pub(crate) qos: Qos,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) packet_id: u16,
    /// What is left of the Message Expiry Interval, in seconds.
    pub(crate) expiry: Option<u32>,
    /// Subscription Identifiers.
    pub(crate) identifiers: &'a [u32],
    /// The Topic Alias, and whether it stands alone for the topic name.
    pub(crate) alias: Option<(u16, bool)>,
}

impl Envelope {
    pub(crate) fn new(
        message: Arc<Message>,
        events: Option<broadcast::Sender<Event>>,
        counts: Option<Arc<Counts>>,
    ) -> Self {
        Self {
            message,
            events,
            counts,
            templates: Default::default(),
        }
    }

    fn template(&self, is_five: bool, qos: Qos) -> &Template {
        let at = usize::from(is_five) * 2 + usize::from(qos != Qos::AtMostOnce);
        self.templates[at].get_or_init(|| {
            if is_five {
                five(&self.message, qos, &[], None)
            } else {
                old(&self.message, qos)
            }
        })
    }

    /// How many bytes the PUBLISH of a delivery has, without a topic alias.
    pub(crate) fn size(&self, is_five: bool, qos: Qos, identifiers: &[u32]) -> usize {
        if is_five && !identifiers.is_empty() {
            return five(&self.message, qos, identifiers, None).bytes.len();
        }
        self.template(is_five, qos).bytes.len()
    }

    /// Writes the PUBLISH of one delivery behind `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, shape: &Shape<'_>) {
        if shape.five && (!shape.identifiers.is_empty() || shape.alias.is_some()) {
            let template = five(&self.message, shape.qos, shape.identifiers, shape.alias);
            return template.put(out, shape);
        }
        self.template(shape.five, shape.qos).put(out, shape);
    }
}

impl Template {
    fn new(bytes: Vec<u8>, packet_id_at: usize, expiry_at: usize) -> Self {
        Self {
            bytes: bytes.into_boxed_slice(),
            packet_id_at,
            expiry_at,
        }
    }

    fn put(&self, out: &mut Vec<u8>, shape: &Shape<'_>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let own = &mut out[start..];
        if let Some(first) = own.first_mut() {
            let dup = if shape.dup { DUP } else { 0 };
            let retain = if shape.retain { RETAIN } else { 0 };
            *first = 0x30 | shape.qos.level() << 1 | dup | retain;
        }
        let mut put = |at: usize, bytes: &[u8]| {
            if at > 0
                && let Some(place) = own.get_mut(at..at + bytes.len())
            {
                place.copy_from_slice(bytes);
            }
        };
        put(self.packet_id_at, &shape.packet_id.to_be_bytes());
        if let Some(expiry) = shape.expiry {
            put(self.expiry_at, &expiry.to_be_bytes());
        }
    }
}

fn wire_qos(qos: Qos) -> WireQos {
    match qos {
        Qos::AtMostOnce => WireQos::AtMostOnce,
        Qos::AtLeastOnce => WireQos::AtLeastOnce,
        Qos::ExactlyOnce => WireQos::ExactlyOnce,
    }
}

/// Where the packet id of a written PUBLISH stands.
fn packet_id_at(bytes: &[u8], topic: &str) -> usize {
    let length = bytes.iter().skip(1).take_while(|byte| **byte & 0x80 != 0);
    1 + length.count() + 1 + 2 + topic.len()
}

fn old(message: &Message, qos: Qos) -> Template {
    let mut builder = match v3_1_1::Publish::builder().topic_name(&*message.topic) {
        Ok(builder) => builder.qos(wire_qos(qos)).payload(message.payload.as_ref()),
        Err(error) => return Template::new(written::<()>(Err(error), |()| Vec::new()), 0, 0),
    };
    if qos != Qos::AtMostOnce {
        builder = builder.packet_id(1_u16);
    }
    let bytes = written(builder.build(), |packet| packet.to_continuous_buffer());
    let at = match qos {
        Qos::AtMostOnce => 0,
        _ => packet_id_at(&bytes, &message.topic),
    };
    Template::new(bytes, at, 0)
}

fn five(message: &Message, qos: Qos, identifiers: &[u32], alias: Option<(u16, bool)>) -> Template {
    let alone = alias.is_some_and(|(_, alone)| alone);
    let topic = if alone { "" } else { &*message.topic };
    let mut builder = match v5_0::Publish::builder().topic_name(topic) {
        Ok(builder) => builder
            .qos(wire_qos(qos))
            .props(properties(message, identifiers, alias))
            .payload(message.payload.as_ref()),
        Err(error) => return Template::new(written::<()>(Err(error), |()| Vec::new()), 0, 0),
    };
    if qos != Qos::AtMostOnce {
        builder = builder.packet_id(1_u16);
    }
    let packet = builder.build();
    let length = packet.as_ref().map_or(0, |packet| {
        use mqtt_protocol_core::mqtt::packet::PropertiesSize;
        packet.props.size()
    });
    let bytes = written(packet, |packet| packet.to_continuous_buffer());
    let mut at = packet_id_at(&bytes, topic);
    let packet_id_at = if qos == Qos::AtMostOnce {
        0
    } else {
        at += 2;
        at - 2
    };
    // The Message Expiry Interval is the first property: behind their length and its own id.
    let expiry_at = match message.properties.message_expiry_interval {
        Some(_) => {
            at + 1
                + usize::from(length > 127)
                + usize::from(length > 16_383)
                + usize::from(length > 2_097_151)
                + 1
        }
        None => 0,
    };
    Template::new(bytes, packet_id_at, expiry_at)
}

fn properties(message: &Message, identifiers: &[u32], alias: Option<(u16, bool)>) -> Vec<Property> {
    let own = &message.properties;
    let mut all = Vec::new();
    if let Some(seconds) = own.message_expiry_interval {
        push(&mut all, MessageExpiryInterval::new(seconds));
    }
    if let Some(text) = own.payload_format_indicator {
        let format = if text {
            PayloadFormat::String
        } else {
            PayloadFormat::Binary
        };
        push(&mut all, PayloadFormatIndicator::new(format));
    }
    if let Some((alias, _)) = alias {
        push(&mut all, TopicAlias::new(alias));
    }
    if let Some(topic) = &own.response_topic {
        push(&mut all, ResponseTopic::new(topic));
    }
    if let Some(data) = &own.correlation_data {
        push(&mut all, CorrelationData::new(data.to_vec()));
    }
    if let Some(content_type) = &own.content_type {
        push(&mut all, ContentType::new(content_type));
    }
    for (name, value) in &own.user_properties {
        push(&mut all, UserProperty::new(name, value));
    }
    for &identifier in identifiers {
        push(&mut all, SubscriptionIdentifier::new(identifier));
    }
    all
}
