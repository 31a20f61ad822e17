//! Namespace topics and their event subscriptions in the property shapes of the vendor's resource
//! templates, with the limits that the resource manager checks. What a subscription does with
//! its events is in `queue.rs`.

use mqttstack_base::secret::Secret;
use serde::{Deserialize, Serialize};

use super::filter::FiltersConfiguration;
use super::resource::PassedOver;

/// A namespace topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its event subscriptions.
    #[serde(default)]
    pub subscriptions: Vec<EventSubscription>,
    /// An access key for this topic alone; without one it is made when the resource manager is
    /// asked for it.
    #[serde(default)]
    pub key: Option<Secret>,
    /// The second one.
    #[serde(default)]
    pub key2: Option<Secret>,
}

/// An event subscription with pull delivery.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSubscription {
    /// Its name.
    pub name: String,
    /// The namespace topic that dead-lettered events are put on (the vendor writes them to a
    /// blob container).
    #[serde(default)]
    pub dead_letter_topic: Option<String>,
    /// Its template properties.
    #[serde(default)]
    pub properties: EventSubscriptionProperties,
}

impl EventSubscription {
    /// Where events go that are given up: the emulator's own key, else the topic of the name
    /// that the template gives a blob container.
    pub(crate) fn dead_letter_target(&self) -> Option<&str> {
        let queue = &self.properties.delivery_configuration.queue;
        self.dead_letter_topic.as_deref().or_else(|| {
            let destination = queue.dead_letter_destination.as_ref()?;
            destination
                .pointer("/deadLetterDestination/properties/blobContainerName")?
                .as_str()
        })
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let delivery = &self.properties.delivery_configuration;
        if !matches!(delivery.delivery_mode.as_str(), "" | "Queue") {
            return Err(format!(
                "the delivery mode is {:?}, only \"Queue\" (pull delivery) is emulated",
                delivery.delivery_mode
            ));
        }
        let queue = &delivery.queue;
        if !(60..=300).contains(&queue.receive_lock_duration_in_seconds) {
            return Err("receiveLockDurationInSeconds must be 60 to 300".to_owned());
        }
        if !(1..=10).contains(&queue.max_delivery_count) {
            return Err("maxDeliveryCount must be 1 to 10".to_owned());
        }
        self.properties.filters_configuration.check()?;
        match queue.time_to_live() {
            Some(life) if life > jiff::SignedDuration::ZERO => Ok(()),
            _ => Err(format!(
                "eventTimeToLive is {:?}, expected is an ISO 8601 duration such as \"P7D\"",
                queue.event_time_to_live
            )),
        }
    }
}

/// `properties` of an event subscription.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct EventSubscriptionProperties {
    /// How events are delivered.
    pub delivery_configuration: DeliveryConfiguration,
    /// Which events are taken.
    pub filters_configuration: FiltersConfiguration,
    /// `eventDeliverySchema`.
    #[serde(skip_serializing)]
    pub event_delivery_schema: PassedOver,
    /// `expirationTimeUtc`.
    #[serde(skip_serializing)]
    pub expiration_time_utc: PassedOver,
    /// `provisioningState`.
    #[serde(skip_serializing)]
    pub provisioning_state: PassedOver,
    /// `tags`.
    #[serde(skip_serializing)]
    pub tags: PassedOver,
}

/// `deliveryConfiguration`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeliveryConfiguration {
    /// `Queue` or nothing: pull delivery. `Push` is not emulated.
    pub delivery_mode: String,
    /// Pull delivery.
    pub queue: QueueInfo,
    /// `push`.
    #[serde(skip_serializing)]
    pub push: PassedOver,
}

/// `deliveryConfiguration.queue`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct QueueInfo {
    /// How long a received event stays locked, 60 to 300 s (default 60).
    pub receive_lock_duration_in_seconds: u32,
    /// How often an event is handed out before it is dead-lettered, 1 to 10 (default 10).
    pub max_delivery_count: u32,
    /// How long an event is kept, an ISO 8601 duration (default `P7D`).
    pub event_time_to_live: String,
    /// `deadLetterDestinationWithResourceIdentity`, as the template has it.
    #[serde(
        rename = "deadLetterDestinationWithResourceIdentity",
        skip_serializing_if = "Option::is_none"
    )]
    pub dead_letter_destination: Option<serde_json::Value>,
}

impl QueueInfo {
    /// `eventTimeToLive`; `None` if it cannot be read.
    pub(crate) fn time_to_live(&self) -> Option<jiff::SignedDuration> {
        let span = self.event_time_to_live.parse::<jiff::Span>().ok()?;
        span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
            .ok()
    }
}

impl Default for QueueInfo {
    fn default() -> Self {
        Self {
            receive_lock_duration_in_seconds: 60,
            max_delivery_count: 10,
            event_time_to_live: "P7D".to_owned(),
            dead_letter_destination: None,
        }
    }
}
