//! The limits of the MQTT broker and of namespace topics, as the vendor's quota pages give them
//! (newest page after July 2025, else the table of November 2023). One line corrects one. Numbers
//! that no page names bound what one caller can make the emulator keep: they say `assumed`.

/// A message, in bytes. Whether the body or the whole packet is meant is not said.
pub(crate) const MESSAGE: usize = 512 * 1024;
/// A retained message, in bytes.
pub(crate) const RETAINED_MESSAGE: usize = 64 * 1024;
/// Levels of a topic name or filter (8 before May 2025).
pub(crate) const SEGMENTS: usize = 15;
/// A topic, response topic, content type or correlation data, in bytes each.
pub(crate) const FIELD: usize = 256;
/// All user properties of a message together, in bytes.
pub(crate) const USER_PROPERTIES: usize = 32 * 1024;
/// Authentication data of a CONNECT or AUTH, in bytes.
pub(crate) const AUTHENTICATION_DATA: usize = 8 * 1024;
/// Filters of one SUBSCRIBE.
pub(crate) const FILTERS: usize = 10;
/// Filters that one session may be subscribed to.
pub(crate) const SUBSCRIPTIONS: usize = 50;
/// CA certificates, client groups or topic spaces of a namespace, each.
pub(crate) const CHILDREN: usize = 10;
/// Templates of a topic space.
pub(crate) const TEMPLATES: usize = 10;
/// Permission bindings of a namespace.
pub(crate) const BINDINGS: usize = 100;
/// An authentication name, in characters (mqtt-clients page).
pub(crate) const AUTHENTICATION_NAME: usize = 128;
/// All attributes of a client, in bytes (mqtt-clients page).
pub(crate) const ATTRIBUTES: usize = 4 * 1024;
/// Thumbprints of a client: the primary and the secondary one.
pub(crate) const THUMBPRINTS: usize = 2;
/// Hours that a session may last (mqtt-support page, `TopicSpacesConfiguration` reference).
pub(crate) const SESSION_EXPIRY_HOURS: std::ops::RangeInclusive<u32> = 1..=8;
/// Sessions of one authentication name (`TopicSpacesConfiguration` reference).
pub(crate) const SESSIONS_PER_NAME: std::ops::RangeInclusive<u32> = 1..=100;
/// Clients of a namespace of one throughput unit (`includes/limits.md`, 2023-11-15).
pub(crate) const CLIENTS: usize = 10_000;
/// Characters of a client group's or topic space's name (mqtt-client-groups, mqtt-topic-spaces).
pub(crate) const NAME: std::ops::RangeInclusive<usize> = 3..=50;
/// Characters of a client's name (mqtt-clients page).
pub(crate) const CLIENT_NAME: std::ops::RangeInclusive<usize> = 1..=128;
/// Characters of the names of permission bindings, CA certificates and topics (assumed: the
/// longest that the others may have).
pub(crate) const OTHER_NAME: std::ops::RangeInclusive<usize> = 1..=50;
/// Characters of an event subscription's name (resource naming rules).
pub(crate) const SUBSCRIPTION_NAME: std::ops::RangeInclusive<usize> = 1..=64;
/// Bytes of a client group's query (assumed).
pub(crate) const QUERY: usize = 8 * 1024;
/// Bytes of a topic template (assumed: a topic has 256, a variable may be longer than its value).
pub(crate) const TEMPLATE: usize = 1024;
/// Topics of a namespace of the most throughput units that it can have (quotas-limits page: 100 for
/// each of 40).
pub(crate) const TOPICS: usize = 100 * 40;
/// Event subscriptions of a topic (assumed).
pub(crate) const EVENT_SUBSCRIPTIONS: usize = 500;
/// Advanced filters of an event subscription, and values of one (event-filtering page).
pub(crate) const FILTERS_OF_EVENTS: usize = 25;
/// Characters of a filter's key or value (event-filtering page).
pub(crate) const FILTER_TEXT: usize = 512;
/// Host names of `customDomains` (assumed).
pub(crate) const CUSTOM_DOMAINS: usize = 10;
/// Namespaces of the emulator (assumed).
pub(crate) const NAMESPACES: usize = 50;
/// Tags of a namespace, and the characters of a name and a value (resource manager).
pub(crate) const TAGS: (usize, usize, usize) = (50, 512, 256);
/// Resources of one template (resource manager).
pub(crate) const RESOURCES: usize = 800;
/// Messages that a client may have under way (`includes/limits.md`, 2025-07-30).
pub(crate) const RECEIVE_MAXIMUM: u16 = 1_000;
/// Retained messages per throughput unit (`includes/limits.md`, 2025-07-30). At 64 KB each these
/// are also the 640 MB of the same row.
pub(crate) const RETAINED_MESSAGES: usize = 10_000;
/// The longest life of a retained message in seconds: 365 days (`includes/limits.md`, 2025-07-30).
pub(crate) const RETAINED_EXPIRY: u32 = 365 * 24 * 3600;
/// Topic aliases from the client (mqtt-support page).
pub(crate) const TOPIC_ALIASES: u16 = 10;
/// The longest keep-alive in seconds (mqtt-support page).
pub(crate) const KEEP_ALIVE: u16 = 1160;
/// The longest Will Delay Interval in seconds (mqtt-support page).
pub(crate) const WILL_DELAY: u32 = 300;
/// Messages that wait for a session while its client is offline; with more it is terminated.
pub(crate) const QUEUED_MESSAGES: usize = 100;
/// The same in bytes.
pub(crate) const QUEUED_MESSAGE_BYTES: usize = 1024 * 1024;
/// A request that publishes events, and one event, in bytes.
pub(crate) const EVENTS: usize = 1024 * 1024;
/// Events of one request.
pub(crate) const EVENTS_PER_REQUEST: usize = 1_000;

/// What is wrong with a topic beyond MQTT's own rules.
pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
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
