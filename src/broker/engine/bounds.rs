//! What one client may send, packet by packet: the limits of its dialect (`dialect::Limits`) over
//! the broker's own settings. What the CONNECT itself may have is checked in `admission.rs`, each
//! filter and topic in `verdicts.rs`.

use std::num::NonZeroU16;

use bytes::Bytes;
use bytestring::ByteString;
use rmqtt::codec::v5::{ConnectAck, DisconnectReasonCode, SubscribeAckReason};
use rmqtt::codec::{v3, v5};

use super::super::Settings;
use super::super::dialect::{Feature, Limits};
use super::super::message::Qos;
use super::{convert, frame, packets};

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

    fn of_topic(mut self, packet: &[u8]) -> Self {
        self.topic = frame::topic(packet).map(ToOwned::to_owned);
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
        match packet.first().map(|first| first & 0xf0) {
            Some(frame::PUBLISH) => self
                .publish(packet)
                .map_err(|violation| violation.of_topic(packet)),
            Some(frame::SUBSCRIBE) => {
                self.user_property(packet)?;
                self.subscribe(packet)
            }
            Some(frame::PUBACK) => {
                self.user_property(packet)?;
                self.acknowledgement(packet)
            }
            Some(_) => self.user_property(packet),
            None => Ok(()),
        }
    }

    /// A PUBLISH as the engine can read it, if it is another: it takes a Message Expiry Interval
    /// of 0 for malformed (MQTT 5.0 section 3.3.2.3.3 allows it).
    pub(super) fn expiry(&self, packet: &[u8]) -> Option<Bytes> {
        let expiry = frame::zero_expiry(packet).filter(|_| self.five)?;
        Some(if self.zero_expiry_is_never {
            frame::without_property(packet, &expiry)?
        } else {
            let mut changed = packet.to_vec();
            *changed.get_mut(expiry.end - 1)? = 1;
            changed.into()
        })
    }

    fn acknowledgement(&self, packet: &[u8]) -> Result<(), Violation> {
        match frame::acknowledged_with(packet) {
            Some(code) if self.five && self.refused_delivery_ends && code >= 0x80 => {
                Err(Violation::ending(
                    DisconnectReasonCode::ImplementationSpecificError,
                    format!("the client refused a delivery with the reason code {code:#04x}"),
                ))
            }
            _ => Ok(()),
        }
    }

    fn publish(&self, packet: &[u8]) -> Result<(), Violation> {
        let first = packet.first().copied().unwrap_or_default();
        let qos = frame::qos(first);
        if qos > self.max_qos.level() && qos <= Qos::ExactlyOnce.level() {
            let highest = self.max_qos.level();
            return Err(Violation::ending(
                DisconnectReasonCode::QosNotSupported,
                format!("the PUBLISH has QoS {qos}, the highest allowed is {highest}"),
            ));
        }
        if !self.five {
            return Ok(());
        }
        if first & 1 == 1 && self.lacks(Feature::Retain) {
            return Err(Violation::ending(
                DisconnectReasonCode::RetainNotSupported,
                "the PUBLISH is retained, and retained messages are not available",
            ));
        }
        let highest = self.topic_alias_maximum;
        match frame::topic_alias(packet) {
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
            || !frame::has_user_property(packet)
        {
            return Ok(());
        }
        let name = frame::name(packet[0]);
        Err(Violation::ending(
            DisconnectReasonCode::ImplementationSpecificError,
            format!("the {name} has a user property, which only a PUBLISH may have"),
        ))
    }

    fn subscribe(&self, packet: &[u8]) -> Result<(), Violation> {
        let counted = self.filters_per_subscribe != usize::MAX;
        let identified = self.five && self.lacks(Feature::SubscriptionIdentifier);
        if !counted && !identified {
            return Ok(());
        }
        let Some(subscribe) = Subscribe::read(packet, self.five) else {
            return Ok(());
        };
        if identified && subscribe.identified {
            return Err(Violation {
                topic: Some(subscribe.filters.join(" ")),
                ..Violation::ending(
                    DisconnectReasonCode::SubscriptionIdentifiersNotSupported,
                    "the SUBSCRIBE has a subscription identifier, which are not available",
                )
            });
        }
        let (count, most) = (subscribe.filters.len(), self.filters_per_subscribe);
        if count <= most {
            return Ok(());
        }
        let reason = format!("the SUBSCRIBE has {count} filters, the most allowed is {most}");
        Err(Violation {
            topic: Some(subscribe.filters.join(" ")),
            code: SubscribeAckReason::QuotaExceeded.into(),
            answer: Some(subscribe.refused(self.five)),
            reason,
        })
    }
}

/// A SUBSCRIBE of any version, as far as bounds are concerned.
struct Subscribe {
    packet_id: NonZeroU16,
    filters: Vec<ByteString>,
    identified: bool,
}

impl Subscribe {
    /// `None` for one that is not well formed, which the engine finds too.
    fn read(packet: &[u8], five: bool) -> Option<Self> {
        if five {
            let v5::Packet::Subscribe(subscribe) = packets::decode(packet).ok()? else {
                return None;
            };
            return Some(Self {
                packet_id: subscribe.packet_id,
                filters: subscribe.topic_filters.into_iter().map(|f| f.0).collect(),
                identified: subscribe.id.is_some(),
            });
        }
        let v3::Packet::Subscribe {
            packet_id,
            topic_filters,
        } = packets::decode_3x(packet).ok()?
        else {
            return None;
        };
        Some(Self {
            packet_id,
            filters: topic_filters.into_iter().map(|f| f.0).collect(),
            identified: false,
        })
    }

    /// The SUBACK that refuses it whole.
    fn refused(&self, five: bool) -> Bytes {
        let (packet_id, count) = (self.packet_id, self.filters.len());
        if five {
            return packets::encode(v5::Packet::SubscribeAck(v5::SubscribeAck {
                packet_id,
                properties: Vec::new(),
                reason_string: None,
                status: vec![SubscribeAckReason::QuotaExceeded; count],
            }));
        }
        packets::encode_3x(v3::Packet::SubscribeAck {
            packet_id,
            status: vec![v3::SubscribeReturnCode::Failure; count],
        })
    }
}
