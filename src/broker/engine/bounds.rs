//! What one client may send, packet by packet: the limits of its dialect (`dialect::Limits`) over
//! the broker's own settings, and what the standard allows nobody (`validity.rs`). What the CONNECT
//! itself may have is checked in `admission.rs`, each filter and topic in `verdicts.rs`.

use std::num::NonZeroU16;

use bytes::Bytes;
use rmqtt::codec::v5::{
    ConnectAck, DisconnectReasonCode, SubscribeAckReason, UnsubscribeAckReason,
};
use rmqtt::codec::{v3, v5};

use super::super::Settings;
use super::super::dialect::{Feature, Limits, PacketRefusal};
use super::super::message::Qos;
use super::{convert, fields, packets, validity, zero_expiry};

/// A packet that breaks a rule.
pub(super) struct Violation {
    /// The topic name or filter, for the journal.
    pub(super) topic: Option<String>,
    /// The reason code.
    pub(super) code: u8,
    /// The reason in words.
    pub(super) reason: String,
    /// The packet that answers it; without one the connection ends.
    pub(super) answer: Option<Bytes>,
}

impl Violation {
    pub(super) fn ending(code: DisconnectReasonCode, reason: impl Into<String>) -> Self {
        Self {
            topic: None,
            code: code.into(),
            reason: reason.into(),
            answer: None,
        }
    }

    fn about(mut self, topics: &[u8]) -> Self {
        self.topic = Some(String::from_utf8_lossy(topics).into_owned());
        self
    }
}

/// What one client may send.
pub(super) struct Bounds {
    /// Whether it speaks MQTT 5.
    five: bool,
    max_qos: Qos,
    unavailable: &'static [Feature],
    max_packet_size: u32,
    topic_alias_maximum: u16,
    receive_maximum: Option<NonZeroU16>,
    max_topic_levels: usize,
    filters_per_subscribe: usize,
    zero_expiry_is_never: bool,
    refused_delivery_ends: bool,
}

impl Bounds {
    pub(super) fn new(settings: &Settings, limits: &Limits, protocol_version: u8) -> Self {
        let own = limits.max_packet_size.unwrap_or(u32::MAX);
        Self {
            five: protocol_version >= 5,
            max_qos: limits.max_qos.unwrap_or(Qos::ExactlyOnce),
            unavailable: limits.unavailable,
            max_packet_size: settings.max_packet_size.min(own),
            topic_alias_maximum: limits
                .topic_alias_maximum
                .unwrap_or(settings.topic_alias_maximum),
            receive_maximum: limits.receive_maximum.and_then(NonZeroU16::new),
            max_topic_levels: settings.max_topic_levels,
            filters_per_subscribe: limits.filters_per_subscribe.unwrap_or(usize::MAX),
            zero_expiry_is_never: limits.zero_expiry_is_never,
            refused_delivery_ends: limits.refused_delivery_ends,
        }
    }

    fn lacks(&self, feature: Feature) -> bool {
        self.unavailable.contains(&feature)
    }

    /// MQTT 5.0 section 3.2.2.3: what the client is told of its limits.
    pub(super) fn announce(&self, connack: &mut ConnectAck) {
        connack.max_qos = convert::engine_qos(self.max_qos);
        connack.max_packet_size = Some(self.max_packet_size);
        connack.topic_alias_max = self.topic_alias_maximum;
        if let Some(own) = self.receive_maximum {
            connack.receive_max = own;
        }
        connack.retain_available &= !self.lacks(Feature::Retain);
        connack.shared_subscription_available &= !self.lacks(Feature::SharedSubscription);
        connack.subscription_identifiers_available &= !self.lacks(Feature::SubscriptionIdentifier);
    }

    /// A packet of so many bytes, of which not all need have arrived.
    pub(super) fn size(&self, length: usize) -> Result<(), Violation> {
        let longest = self.max_packet_size;
        if u32::try_from(length).is_ok_and(|length| length <= longest) {
            return Ok(());
        }
        Err(Violation::ending(
            DisconnectReasonCode::PacketTooLarge,
            format!("the packet has {length} bytes, the longest allowed has {longest}"),
        ))
    }

    /// A whole packet.
    pub(super) fn check(&self, packet: &[u8]) -> Result<(), Violation> {
        let first = packet.first().copied().unwrap_or_default();
        match first & 0xf0 {
            fields::PUBLISH => {
                let publish = fields::publish(packet, self.five).unwrap_or_default();
                validity::publish(first, &publish)
                    .and_then(|()| self.depth(publish.topic, "topic name"))
                    .and_then(|()| self.publish(first, &publish))
                    .map_err(|violation| violation.about(publish.topic))
            }
            fields::SUBSCRIBE => {
                validity::head(first, packet.len(), self.five)?;
                self.user_property(packet)?;
                let Some(subscribe) = fields::subscribe(packet, self.five) else {
                    return Ok(());
                };
                validity::subscribe(&subscribe, self.five)
                    .and_then(|()| self.depths(subscribe.filters.iter().map(|(filter, _)| *filter)))
                    .and_then(|()| self.subscribe(packet, &subscribe))
                    .map_err(|violation| violation.about(&filters(&subscribe)))
            }
            fields::UNSUBSCRIBE => {
                validity::head(first, packet.len(), self.five)?;
                self.user_property(packet)?;
                let filters = fields::unsubscribe(packet, self.five).unwrap_or_default();
                self.depths(filters.into_iter())
            }
            fields::PUBACK => {
                validity::head(first, packet.len(), self.five)?;
                self.user_property(packet)?;
                self.acknowledgement(packet)
            }
            _ => {
                validity::head(first, packet.len(), self.five)?;
                self.user_property(packet)
            }
        }
    }

    /// A PUBLISH of MQTT 5 as the engine can read it, if it is another.
    pub(super) fn readable(&self, packet: &[u8]) -> Option<Bytes> {
        if self.zero_expiry_is_never {
            zero_expiry::never(packet)
        } else {
            zero_expiry::at_once(packet)
        }
    }

    fn depth(&self, topic: &[u8], what: &str) -> Result<(), Violation> {
        validity::depth(topic, self.max_topic_levels).map_err(|reason| {
            let code = DisconnectReasonCode::MalformedPacket;
            Violation::ending(code, format!("the {what} is refused: {reason}"))
        })
    }

    fn depths<'a>(&self, mut filters: impl Iterator<Item = &'a [u8]>) -> Result<(), Violation> {
        filters.try_for_each(|filter| self.depth(filter, "topic filter"))
    }

    fn acknowledgement(&self, packet: &[u8]) -> Result<(), Violation> {
        match fields::acknowledged_with(packet) {
            Some(code) if self.five && self.refused_delivery_ends && code >= 0x80 => {
                Err(Violation::ending(
                    DisconnectReasonCode::ImplementationSpecificError,
                    format!("the client refused a delivery with the reason code {code:#04x}"),
                ))
            }
            _ => Ok(()),
        }
    }

    fn publish(&self, first: u8, publish: &fields::Publish<'_>) -> Result<(), Violation> {
        let (qos, highest) = (fields::qos(first), self.max_qos.level());
        if qos > highest {
            return Err(Violation::ending(
                DisconnectReasonCode::QosNotSupported,
                format!("the PUBLISH has QoS {qos}, the highest allowed is {highest}"),
            ));
        }
        if self.five && first & 1 == 1 && self.lacks(Feature::Retain) {
            return Err(Violation::ending(
                DisconnectReasonCode::RetainNotSupported,
                "the PUBLISH is retained, and retained messages are not available",
            ));
        }
        let highest = self.topic_alias_maximum;
        match publish.alias {
            Some(alias) if alias == 0 || alias > highest => Err(Violation::ending(
                DisconnectReasonCode::TopicAliasInvalid,
                format!("the topic alias is {alias}, the highest allowed is {highest}"),
            )),
            _ => Ok(()),
        }
    }

    fn user_property(&self, packet: &[u8]) -> Result<(), Violation> {
        if !self.five
            || !self.lacks(Feature::UserPropertyOutsidePublish)
            || !fields::has_user_property(packet)
        {
            return Ok(());
        }
        let name = fields::name(packet[0]);
        Err(Violation::ending(
            DisconnectReasonCode::ImplementationSpecificError,
            format!("the {name} has a user property, which only a PUBLISH may have"),
        ))
    }

    fn subscribe(&self, packet: &[u8], subscribe: &fields::Subscribe<'_>) -> Result<(), Violation> {
        if subscribe.identified && self.lacks(Feature::SubscriptionIdentifier) {
            return Err(Violation::ending(
                DisconnectReasonCode::SubscriptionIdentifiersNotSupported,
                "the SUBSCRIBE has a subscription identifier, which are not available",
            ));
        }
        let (count, most) = (subscribe.filters.len(), self.filters_per_subscribe);
        let packet_id = fields::packet_id(packet).and_then(NonZeroU16::new);
        let Some(packet_id) = packet_id.filter(|_| count > most) else {
            return Ok(());
        };
        Err(Violation {
            topic: None,
            code: SubscribeAckReason::QuotaExceeded.into(),
            reason: format!("the SUBSCRIBE has {count} filters, the most allowed is {most}"),
            answer: Some(refused(
                packet_id,
                count,
                self.five,
                SubscribeAckReason::QuotaExceeded.into(),
            )),
        })
    }
}

/// All filters of a SUBSCRIBE in one line.
fn filters(subscribe: &fields::Subscribe<'_>) -> Vec<u8> {
    let filters: Vec<_> = subscribe
        .filters
        .iter()
        .map(|(filter, _)| *filter)
        .collect();
    filters.join(&b' ')
}

/// The SUBACK that refuses a SUBSCRIBE whole.
fn refused(packet_id: NonZeroU16, filters: usize, five: bool, code: u8) -> Bytes {
    if five {
        let code =
            SubscribeAckReason::try_from(code).unwrap_or(SubscribeAckReason::UnspecifiedError);
        return packets::encode(v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: vec![code; filters],
        }));
    }
    packets::encode_3x(v3::Packet::SubscribeAck {
        packet_id,
        status: vec![v3::SubscribeReturnCode::Failure; filters],
    })
}

/// A SUBSCRIBE that the client's dialect refuses whole.
pub(super) fn refused_subscribe(
    packet: &[u8],
    subscribe: &fields::Subscribe<'_>,
    five: bool,
    refusal: PacketRefusal,
) -> Violation {
    let packet_id = fields::packet_id(packet).and_then(NonZeroU16::new);
    let count = subscribe.filters.len();
    Violation {
        topic: None,
        code: refusal.code,
        reason: refusal.reason,
        // Without a packet id there is nothing to answer, and the engine has not seen it.
        answer: Some(packet_id.map_or_else(Bytes::new, |packet_id| {
            refused(packet_id, count, five, refusal.code)
        })),
    }
    .about(&filters(subscribe))
}

/// The same of an UNSUBSCRIBE. MQTT 3.x has no answer that refuses it.
pub(super) fn refused_unsubscribe(
    packet: &[u8],
    filters: &[&[u8]],
    five: bool,
    refusal: PacketRefusal,
) -> Violation {
    let packet_id = fields::packet_id(packet).and_then(NonZeroU16::new);
    let code = UnsubscribeAckReason::try_from(refusal.code)
        .unwrap_or(UnsubscribeAckReason::UnspecifiedError);
    let answer = packet_id
        .filter(|_| five)
        .map_or_else(Bytes::new, |packet_id| {
            packets::encode(v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                packet_id,
                properties: Vec::new(),
                reason_string: None,
                status: vec![code; filters.len()],
            }))
        });
    Violation {
        topic: None,
        code: refusal.code,
        reason: refusal.reason,
        answer: Some(answer),
    }
    .about(&filters.join(&b' '))
}
