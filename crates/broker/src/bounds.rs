//! What one client may send: the limits of its grant (`dialect::Limits`) over the broker's own
//! settings. What the CONNECT itself may have is checked in `admission.rs`, each filter and topic
//! by the client's vendor.

use mqttstack_base::message::{Qos, check_depth};

use super::Settings;
use super::dialect::{Feature, Limits};
use super::encode::Told;
use super::packet::{self, Packet, Publish, Subscribe, Violation, code};

/// What one client may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whether it speaks MQTT 5.
    five: bool,
    pub(crate) max_qos: Qos,
    unavailable: &'static [Feature],
    pub(crate) max_packet_size: u32,
    topic_alias_maximum: u16,
    pub(crate) receive_maximum: u16,
    filters_per_subscribe: usize,
    max_topic_levels: usize,
    refused_delivery_ends: bool,
}

impl Bounds {
    pub(crate) fn new(settings: &Settings, limits: &Limits, version: u8) -> Self {
        let own = limits.max_packet_size.unwrap_or(u32::MAX);
        Self {
            five: version >= 5,
            max_qos: limits.max_qos.unwrap_or(Qos::ExactlyOnce),
            unavailable: limits.unavailable,
            max_packet_size: settings.max_packet_size.min(own),
            topic_alias_maximum: limits
                .topic_alias_maximum
                .unwrap_or(settings.topic_alias_maximum),
            receive_maximum: limits
                .receive_maximum
                .unwrap_or(settings.receive_maximum)
                .max(1),
            filters_per_subscribe: limits.filters_per_subscribe.unwrap_or(usize::MAX),
            max_topic_levels: settings.max_topic_levels,
            refused_delivery_ends: limits.refused_delivery_ends,
        }
    }

    fn lacks(&self, feature: Feature) -> bool {
        self.unavailable.contains(&feature)
    }

    /// MQTT 5.0 section 3.2.2.3: what the client is told of its limits.
    pub(crate) fn announce(&self, told: &mut Told) {
        told.max_qos = Some(self.max_qos);
        told.receive_maximum = self.receive_maximum;
        told.max_packet_size = self.max_packet_size;
        told.topic_alias_maximum = self.topic_alias_maximum;
        told.retain_unavailable = self.lacks(Feature::Retain);
        told.shared_unavailable = self.lacks(Feature::SharedSubscription);
        told.identifiers_unavailable = self.lacks(Feature::SubscriptionIdentifier);
    }

    /// A packet of so many bytes, of which not all need have arrived.
    pub(crate) fn size(&self, length: usize) -> Result<(), Violation> {
        let longest = self.max_packet_size;
        if u32::try_from(length).is_ok_and(|length| length <= longest) {
            return Ok(());
        }
        Err(Violation::new(
            code::PACKET_TOO_LARGE,
            format!("the packet has {length} bytes, the longest allowed has {longest}"),
        ))
    }

    /// Whether a filter is of a shared subscription where there are none.
    pub(crate) fn lacks_shared(&self) -> bool {
        self.lacks(Feature::SharedSubscription)
    }

    /// A packet that has been read.
    pub(crate) fn check(&self, packet: &Packet) -> Result<(), Violation> {
        match packet {
            Packet::Publish(publish) => self
                .publish(publish)
                .map_err(|violation| violation.about(&*publish.topic)),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe).map_err(|violation| {
                let filters = subscribe.filters.iter().map(|asked| &*asked.filter);
                violation.about(filters.collect::<Vec<_>>().join(" "))
            }),
            Packet::Acknowledgement {
                kind,
                code,
                user_property,
                ..
            } => {
                self.user_property(packet::name(*kind), *user_property)?;
                if *kind == packet::PUBACK && self.refused_delivery_ends && *code >= 0x80 {
                    return Err(Violation::new(
                        code::IMPLEMENTATION_SPECIFIC,
                        format!("the client refused a delivery with the reason code {code:#04x}"),
                    ));
                }
                Ok(())
            }
            Packet::Unsubscribe {
                user_property,
                filters,
                ..
            } => {
                self.user_property("UNSUBSCRIBE", *user_property)?;
                self.depths(filters.iter().map(String::as_str))
            }
            Packet::Disconnect { user_property, .. } => {
                self.user_property("DISCONNECT", *user_property)
            }
            Packet::Auth { user_property, .. } => self.user_property("AUTH", *user_property),
            Packet::Pingreq => Ok(()),
        }
    }

    /// Whether a topic has no more levels than it may have. As mosquitto does, the connection of
    /// who sends more is ended.
    fn depth(&self, topic: &str, what: &str) -> Result<(), Violation> {
        check_depth(topic, self.max_topic_levels).map_err(|reason| {
            let reason = format!("the {what} is refused: {reason}");
            Violation::new(code::MALFORMED, reason).about(topic)
        })
    }

    fn depths<'a>(&self, mut filters: impl Iterator<Item = &'a str>) -> Result<(), Violation> {
        filters.try_for_each(|filter| self.depth(filter, "topic filter"))
    }

    fn publish(&self, publish: &Publish) -> Result<(), Violation> {
        self.depth(&publish.topic, "topic name")?;
        let (qos, highest) = (publish.qos.level(), self.max_qos.level());
        if qos > highest {
            return Err(Violation::new(
                code::QOS_NOT_SUPPORTED,
                format!("the PUBLISH has QoS {qos}, the highest allowed is {highest}"),
            ));
        }
        if self.five && publish.retain && self.lacks(Feature::Retain) {
            return Err(Violation::new(
                code::RETAIN_NOT_SUPPORTED,
                "the PUBLISH is retained, and retained messages are not available",
            ));
        }
        let highest = self.topic_alias_maximum;
        match publish.alias {
            Some(alias) if alias == 0 || alias > highest => Err(Violation::new(
                code::TOPIC_ALIAS_INVALID,
                format!("the topic alias is {alias}, the highest allowed is {highest}"),
            )),
            _ => Ok(()),
        }
    }

    fn user_property(&self, name: &str, has_one: bool) -> Result<(), Violation> {
        if !has_one || !self.lacks(Feature::UserPropertyOutsidePublish) {
            return Ok(());
        }
        Err(Violation::new(
            code::IMPLEMENTATION_SPECIFIC,
            format!("the {name} has a user property, which only a PUBLISH may have"),
        ))
    }

    fn subscribe(&self, subscribe: &Subscribe) -> Result<(), Violation> {
        self.user_property("SUBSCRIBE", !subscribe.user_properties.is_empty())?;
        self.depths(subscribe.filters.iter().map(|asked| &*asked.filter))?;
        if subscribe.identifier.is_some() && self.lacks(Feature::SubscriptionIdentifier) {
            return Err(Violation::new(
                code::IDENTIFIERS_NOT_SUPPORTED,
                "the SUBSCRIBE has a subscription identifier, which are not available",
            ));
        }
        Ok(())
    }

    /// Why a SUBSCRIBE is refused whole, if it has too many filters.
    pub(crate) fn too_many(&self, filters: usize) -> Option<String> {
        let most = self.filters_per_subscribe;
        (filters > most)
            .then(|| format!("the SUBSCRIBE has {filters} filters, the most allowed is {most}"))
    }
}
