//! What the limits of the model mean to the broker: what a client is granted, and what is wrong
//! with a PUBLISH.

use mqttstack_base::message::Qos;
use mqttstack_broker::dialect::{Feature, Limits, Publish, SessionOverflow};

use crate::model::limits;
use crate::model::resources::Namespace;
use crate::settings::Settings;

/// What the broker does without (mqtt-support page). Shared subscriptions it has
/// (mqtt-shared-subscriptions, 2026-05-07).
const UNAVAILABLE: &[Feature] = &[Feature::UserPropertyOutsidePublish];
/// The same where the support page is followed to the letter.
const WITHOUT_IDENTIFIERS: &[Feature] = &[
    Feature::SubscriptionIdentifier,
    Feature::UserPropertyOutsidePublish,
];

/// What one client of the namespace is limited to; sizes and numbers only if they apply.
pub(crate) fn of_client(namespace: &Namespace, settings: &Settings) -> Limits {
    let configuration = &namespace.topic_spaces_configuration;
    let apply = settings.limits;
    Limits {
        max_qos: Some(Qos::AtLeastOnce),
        unavailable: if settings.subscription_identifiers {
            UNAVAILABLE
        } else {
            WITHOUT_IDENTIFIERS
        },
        max_packet_size: apply.then(|| u32::try_from(limits::MESSAGE).unwrap_or(u32::MAX)),
        topic_alias_maximum: Some(limits::TOPIC_ALIASES),
        receive_maximum: apply.then_some(limits::RECEIVE_MAXIMUM),
        deliveries_in_flight: Some(settings.outbound_in_flight),
        retained_messages: settings.retained_messages(),
        max_retained_expiry: apply.then_some(limits::RETAINED_EXPIRY),
        filters_per_subscribe: apply.then_some(limits::FILTERS),
        filters_per_client: apply.then_some(limits::SUBSCRIPTIONS),
        max_session_expiry: Some(
            configuration
                .maximum_session_expiry_in_hours
                .saturating_mul(3600),
        ),
        session_overflow: apply.then_some(SessionOverflow {
            messages: Some(limits::QUEUED_MESSAGES),
            bytes: Some(limits::QUEUED_MESSAGE_BYTES),
        }),
        zero_expiry_is_never: true,
        refused_delivery_ends: true,
        ..Limits::default()
    }
}

/// What is wrong with a PUBLISH of a client, with the reason code that says so.
pub(crate) fn check_publish(publish: &Publish<'_>) -> Result<(), (u8, String)> {
    let properties = publish.properties;
    limits::check_topic(publish.topic).map_err(|why| {
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
    let sizes = fields.map(|(what, size)| (what, size, limits::FIELD));
    let user = properties.user_properties.iter();
    let user = user.map(|(key, value)| key.len() + value.len()).sum();
    let (message, most) = if publish.retain {
        ("retained message", limits::RETAINED_MESSAGE)
    } else {
        ("message", limits::MESSAGE)
    };
    let rest = [
        ("user properties", user, limits::USER_PROPERTIES),
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
