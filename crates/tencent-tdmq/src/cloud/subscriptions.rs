//! The subscriptions of a client, changed from outside and at once: `AddClientSubscription`,
//! `DeleteClientSubscription`. Sources: tencentcloud.com/document/product/1294/76528, 76526 (both
//! 2026-01-08) and 76757 (2026-04-01).
//!
//! Assumed: that the policies are asked as for a SUBSCRIBE of the client, that QoS is 1 where it is
//! not given, and all the refusals. The page adds to sessions; one that is offline is refused here.

use mqttstack_base::message::{Qos, Subscription, TopicFilter};
use mqttstack_pipeline::Walk;

use super::clients::{client_id, find};
use super::parameters::{Parameters, value};
use super::{Fields, nothing};
use crate::error::Error;
use crate::store::Instance;

fn topic_filter(parameters: &Parameters) -> Result<TopicFilter, Error> {
    let text = parameters.needed_text("TopicFilter")?;
    TopicFilter::parse(text).map_err(|error| value("TopicFilter", error.to_string()))
}

/// A text, as the data type has it.
fn qos(parameters: &Parameters) -> Result<Qos, Error> {
    match parameters.text("Qos")?.unwrap_or_default() {
        "0" => Ok(Qos::AtMostOnce),
        "" | "1" => Ok(Qos::AtLeastOnce),
        "2" => Ok(Qos::ExactlyOnce),
        other => Err(value("Qos", format!("{other:?} is none of 0, 1 and 2"))),
    }
}

pub(super) async fn add_client_subscription(
    instance: &Instance,
    parameters: &Parameters,
    walk: &Walk<'_>,
) -> Result<Fields, Error> {
    let client_id = client_id(parameters)?;
    let filter = topic_filter(parameters)?;
    let qos = qos(parameters)?;
    find(instance, client_id, walk).await?;
    if walk.app.broker.subscribe(client_id, &filter, qos).await {
        return Ok(nothing());
    }
    Err(Error::SubscriptionRefused {
        client_id: client_id.to_owned(),
        filter: filter.as_str().to_owned(),
    })
}

pub(super) async fn delete_client_subscription(
    instance: &Instance,
    parameters: &Parameters,
    walk: &Walk<'_>,
) -> Result<Fields, Error> {
    let client_id = client_id(parameters)?;
    let filter = topic_filter(parameters)?;
    find(instance, client_id, walk).await?;
    let broker = &walk.app.broker;
    let all = broker.subscriptions().await;
    let there = all
        .iter()
        .any(|held| held.client_id == client_id && whole_filter(held) == filter.as_str());
    if there && broker.unsubscribe(client_id, &filter).await {
        return Ok(nothing());
    }
    Err(Error::NotSubscribed {
        client_id: client_id.to_owned(),
        filter: filter.as_str().to_owned(),
    })
}

/// A subscription's filter as the client wrote it.
pub(super) fn whole_filter(subscription: &Subscription) -> String {
    match &subscription.share_group {
        Some(group) => format!("$share/{group}/{}", subscription.topic_filter),
        None => subscription.topic_filter.clone(),
    }
}
