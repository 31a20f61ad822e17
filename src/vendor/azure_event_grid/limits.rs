//! The limits of the MQTT broker and of namespace topics, as the vendor's quota pages give them
//! (newest page after July 2025, else the table of November 2023). One line corrects one.

use super::resources::Namespace;
use crate::broker::dialect::{Feature, Limits, Publish};
use crate::broker::message::Qos;

/// A message, in bytes. Whether the body or the whole packet is meant is not said.
pub(super) const MESSAGE: usize = 512 * 1024;
/// A retained message, in bytes.
pub(super) const RETAINED_MESSAGE: usize = 64 * 1024;
/// Levels of a topic name or filter (8 before May 2025).
pub(super) const SEGMENTS: usize = 15;
/// A topic, response topic, content type or correlation data, in bytes each.
pub(super) const FIELD: usize = 256;
/// All user properties of a message together, in bytes.
pub(super) const USER_PROPERTIES: usize = 32 * 1024;
/// Authentication data of a CONNECT or AUTH, in bytes.
pub(super) const AUTHENTICATION_DATA: usize = 8 * 1024;
/// Filters of one SUBSCRIBE.
pub(super) const FILTERS: usize = 10;
/// Filters that one session may be subscribed to.
pub(super) const SUBSCRIPTIONS: usize = 50;
/// CA certificates, client groups or topic spaces of a namespace, each.
pub(super) const CHILDREN: usize = 10;
/// Templates of a topic space.
pub(super) const TEMPLATES: usize = 10;
/// Permission bindings of a namespace.
pub(super) const BINDINGS: usize = 100;
/// An authentication name, in characters (mqtt-clients page).
pub(super) const AUTHENTICATION_NAME: usize = 128;
/// All attributes of a client, in bytes (mqtt-clients page).
pub(super) const ATTRIBUTES: usize = 4 * 1024;
/// Thumbprints of a client: the primary and the secondary one.
pub(super) const THUMBPRINTS: usize = 2;
/// Hours that a session may last (mqtt-support page).
pub(super) const SESSION_EXPIRY_HOURS: u32 = 8;
/// Topic aliases from the client (mqtt-support page).
pub(super) const TOPIC_ALIASES: u16 = 10;
/// The longest keep-alive in seconds (mqtt-support page).
pub(super) const KEEP_ALIVE: u16 = 1160;
/// The longest Will Delay Interval in seconds (mqtt-support page).
pub(super) const WILL_DELAY: u32 = 300;
/// Messages that wait for a session while its client is offline; with more it is terminated.
pub(super) const QUEUED_MESSAGES: usize = 100;
/// The same in bytes.
pub(super) const QUEUED_MESSAGE_BYTES: usize = 1024 * 1024;
/// A request that publishes events, and one event, in bytes.
pub(super) const EVENTS: usize = 1024 * 1024;
/// Events of one request.
pub(super) const EVENTS_PER_REQUEST: usize = 1_000;

/// What the broker does without (mqtt-support page).
const UNAVAILABLE: &[Feature] = &[
    Feature::SharedSubscription,
    Feature::SubscriptionIdentifier,
    Feature::UserPropertyOutsidePublish,
];

/// What one client of the namespace is limited to; sizes and numbers only if they apply.
pub(super) fn of_client(namespace: &Namespace, apply: bool) -> Limits {
    let configuration = &namespace.topic_spaces_configuration;
    Limits {
        max_qos: Some(Qos::AtLeastOnce),
        unavailable: UNAVAILABLE,
        max_packet_size: apply.then(|| u32::try_from(MESSAGE).unwrap_or(u32::MAX)),
        topic_alias_maximum: Some(TOPIC_ALIASES),
        filters_per_subscribe: apply.then_some(FILTERS),
        filters_per_client: apply.then_some(SUBSCRIPTIONS),
        max_session_expiry: Some(
            configuration
                .maximum_session_expiry_in_hours
                .saturating_mul(3600),
        ),
        zero_expiry_is_never: true,
        refused_delivery_ends: true,
        ..Limits::default()
    }
}

/// What is wrong with a PUBLISH of a client, with the reason code that says so.
pub(super) fn check_publish(publish: &Publish<'_>) -> Result<(), (u8, String)> {
    let properties = publish.properties;
    check_topic(publish.topic).map_err(|why| {
        (
            0x90,
            format!("the topic '{}' is invalid: {why}", publish.topic),
        )
    })?;
    let fields = [
        (
            "response topic",
            properties.response_topic.as_ref().map_or(0, String::len),
        ),
        (
            "content type",
            properties.content_type.as_ref().map_or(0, String::len),
        ),
        (
            "correlation data",
            properties
                .correlation_data
                .as_ref()
                .map_or(0, bytes::Bytes::len),
        ),
    ];
    let sizes = fields.map(|(what, size)| (what, size, FIELD));
    let user = properties.user_properties.iter();
    let user = user.map(|(key, value)| key.len() + value.len()).sum();
    let (message, most) = if publish.retain {
        ("retained message", RETAINED_MESSAGE)
    } else {
        ("message", MESSAGE)
    };
    let rest = [
        ("user properties", user, USER_PROPERTIES),
        (message, publish.payload.len(), most),
    ];
    match sizes
        .into_iter()
        .chain(rest)
        .find(|(_, size, limit)| size > limit)
    {
        Some((what, size, limit)) => Err((
            0x97,
            format!("the size of the {what} is {size} bytes, the limit is {limit}"),
        )),
        None => Ok(()),
    }
}

/// What is wrong with a topic beyond MQTT's own rules.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    if topic.len() > FIELD {
        return Err(format!(
            "it has {} bytes, the limit is {FIELD}",
            topic.len()
        ));
    }
    let segments = topic.split('/').count();
    if segments > SEGMENTS {
        return Err(format!(
            "it has {segments} segments, the limit is {SEGMENTS}"
        ));
    }
    Ok(())
}
