//! The limits of the MQTT broker and of namespace topics, as the vendor's quota pages give them
//! (newest page after July 2025, else the table of November 2023). One line corrects one. Numbers
//! that no page names bound what one caller can make the emulator keep: they say `assumed`.

use super::resources::Namespace;
use super::settings::Settings;
use crate::broker::dialect::{Feature, Limits, Publish, SessionOverflow};
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
/// Hours that a session may last (mqtt-support page, `TopicSpacesConfiguration` reference).
pub(super) const SESSION_EXPIRY_HOURS: std::ops::RangeInclusive<u32> = 1..=8;
/// Sessions of one authentication name (`TopicSpacesConfiguration` reference).
pub(super) const SESSIONS_PER_NAME: std::ops::RangeInclusive<u32> = 1..=100;
/// Clients of a namespace of one throughput unit (`includes/limits.md`, 2023-11-15).
pub(super) const CLIENTS: usize = 10_000;
/// Characters of a client group's or topic space's name (mqtt-client-groups, mqtt-topic-spaces).
pub(super) const NAME: std::ops::RangeInclusive<usize> = 3..=50;
/// Characters of a client's name (mqtt-clients page).
pub(super) const CLIENT_NAME: std::ops::RangeInclusive<usize> = 1..=128;
/// Characters of the names of permission bindings, CA certificates and topics (assumed: the
/// longest that the others may have).
pub(super) const OTHER_NAME: std::ops::RangeInclusive<usize> = 1..=50;
/// Characters of an event subscription's name (resource naming rules).
pub(super) const SUBSCRIPTION_NAME: std::ops::RangeInclusive<usize> = 1..=64;
/// Bytes of a client group's query (assumed).
pub(super) const QUERY: usize = 8 * 1024;
/// Bytes of a topic template (assumed: a topic has 256, a variable may be longer than its value).
pub(super) const TEMPLATE: usize = 1024;
/// Topics of a namespace of the most throughput units that it can have (quotas-limits page: 100 for
/// each of 40).
pub(super) const TOPICS: usize = 100 * 40;
/// Event subscriptions of a topic (assumed).
pub(super) const EVENT_SUBSCRIPTIONS: usize = 500;
/// Advanced filters of an event subscription, and values of one (event-filtering page).
pub(super) const FILTERS_OF_EVENTS: usize = 25;
/// Characters of a filter's key or value (event-filtering page).
pub(super) const FILTER_TEXT: usize = 512;
/// Host names of `customDomains` (assumed).
pub(super) const CUSTOM_DOMAINS: usize = 10;
/// Namespaces of the emulator (assumed).
pub(super) const NAMESPACES: usize = 50;
/// Tags of a namespace, and the characters of a name and a value (resource manager).
pub(super) const TAGS: (usize, usize, usize) = (50, 512, 256);
/// Resources of one template (resource manager).
pub(super) const RESOURCES: usize = 800;
/// Messages that a client may have under way (`includes/limits.md`, 2025-07-30).
pub(super) const RECEIVE_MAXIMUM: u16 = 1_000;
/// Retained messages per throughput unit (`includes/limits.md`, 2025-07-30). At 64 KB each these
/// are also the 640 MB of the same row.
pub(super) const RETAINED_MESSAGES: usize = 10_000;
/// The longest life of a retained message in seconds: 365 days (`includes/limits.md`, 2025-07-30).
pub(super) const RETAINED_EXPIRY: u32 = 365 * 24 * 3600;
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

/// What the broker does without (mqtt-support page). Shared subscriptions it has
/// (mqtt-shared-subscriptions, 2026-05-07).
const UNAVAILABLE: &[Feature] = &[Feature::UserPropertyOutsidePublish];
/// The same where the support page is followed to the letter.
const WITHOUT_IDENTIFIERS: &[Feature] = &[
    Feature::SubscriptionIdentifier,
    Feature::UserPropertyOutsidePublish,
];

/// What one client of the namespace is limited to; sizes and numbers only if they apply.
pub(super) fn of_client(namespace: &Namespace, settings: &Settings) -> Limits {
    let configuration = &namespace.topic_spaces_configuration;
    let apply = settings.limits;
    Limits {
        max_qos: Some(Qos::AtLeastOnce),
        unavailable: if settings.subscription_identifiers {
            UNAVAILABLE
        } else {
            WITHOUT_IDENTIFIERS
        },
        max_packet_size: apply.then(|| u32::try_from(MESSAGE).unwrap_or(u32::MAX)),
        topic_alias_maximum: Some(TOPIC_ALIASES),
        receive_maximum: apply.then_some(RECEIVE_MAXIMUM),
        deliveries_in_flight: Some(settings.outbound_in_flight),
        retained_messages: retained_messages(settings),
        max_retained_expiry: apply.then_some(RETAINED_EXPIRY),
        filters_per_subscribe: apply.then_some(FILTERS),
        filters_per_client: apply.then_some(SUBSCRIPTIONS),
        max_session_expiry: Some(
            configuration
                .maximum_session_expiry_in_hours
                .saturating_mul(3600),
        ),
        session_overflow: apply.then_some(SessionOverflow {
            messages: Some(QUEUED_MESSAGES),
            bytes: Some(QUEUED_MESSAGE_BYTES),
        }),
        zero_expiry_is_never: true,
        refused_delivery_ends: true,
        ..Limits::default()
    }
}

/// How many retained messages a namespace may have, if that is limited.
pub(super) fn retained_messages(settings: &Settings) -> Option<usize> {
    let units = usize::try_from(settings.throughput_units).unwrap_or(usize::MAX);
    (units > 0).then(|| RETAINED_MESSAGES.saturating_mul(units))
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
