//! Messages from the application to devices: one, all of a product, or one that is answered.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_pipeline::Walk;
use serde_json::{Map, json};

use super::{Answered, Call, fields};
use crate::error::Error;
use crate::gateway::check_enabled;
use crate::store::{Device, Product, Store};
use crate::{MAX_PAYLOAD, TencentIot};

/// The longest broadcast payload in bytes (limits page).
const MAX_BROADCAST: usize = 8 << 10;

/// `PublishMessage`: to one device, whatever it may publish itself.
pub(super) async fn publish(vendor: &TencentIot, call: &Call, walk: &mut Walk<'_>) -> Answered {
    let (product, device) = target(vendor, call)?;
    let name = call.fields.filled("Topic")?;
    check_topic(name, &product.id, &device.name)?;
    let payload = call.fields.payload()?;
    let qos = call.fields.optional_qos()?;
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::InvalidMsgLen {
            size: payload.len(),
            limit: MAX_PAYLOAD,
        });
    }
    if vendor.settings.fail_undelivered {
        check_reachable(walk, &line_of(&product, &device), name).await?;
    }
    send(walk, &product.id, name, payload, qos).await?;
    Ok(Map::new())
}

/// `PublishBroadcastMessage`: to every device of a product that is there now.
pub(super) async fn broadcast(vendor: &TencentIot, call: &Call, walk: &mut Walk<'_>) -> Answered {
    let id = call.product_id()?;
    let product = vendor
        .store
        .product(id)
        .ok_or_else(|| Error::ProductNotExist(id.to_owned()))?;
    let payload = call.fields.payload()?;
    let qos = call.fields.optional_qos()?;
    if payload.len() > MAX_BROADCAST {
        return Err(Error::PayloadOverLimit {
            size: payload.len(),
            limit: MAX_BROADCAST,
        });
    }
    for device in vendor.store.devices(&product.id) {
        let topic = format!("$broadcast/rxd/{}/{}", product.id, device.name);
        send(walk, &product.id, &topic, payload.clone(), qos).await?;
    }
    let task = message_id(walk);
    Ok(fields([("TaskId", json!(task))]))
}

/// `PublishRRPCMessage`: to one device, and waits for its answer.
pub(super) async fn rrpc(vendor: &TencentIot, call: &Call, walk: &mut Walk<'_>) -> Answered {
    let (product, device) = target(vendor, call)?;
    let payload = Bytes::copy_from_slice(call.fields.text("Payload")?.as_bytes());
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::PayloadOverLimit {
            size: payload.len(),
            limit: MAX_PAYLOAD,
        });
    }
    if !is_connected(walk, &line_of(&product, &device)).await {
        return Err(Error::DeviceOffline);
    }
    let client_id = format!("{}{}", product.id, device.name);
    let message = message_id(walk);
    let reply = vendor.store.expect_reply(&client_id, message);
    let _waiting = Waiting {
        store: &vendor.store,
        client_id: &client_id,
        message,
    };
    let topic = format!("$rrpc/rxd/{}/{}/{message}", product.id, device.name);
    let sent = send(walk, &product.id, &topic, payload, Qos::AtMostOnce).await;
    let wait = Duration::from_millis(vendor.settings.rrpc_timeout_ms);
    sent?;
    let reply = tokio::time::timeout(wait, reply).await;
    let Ok(Ok(reply)) = reply else {
        return Err(Error::RrpcTimeout(vendor.settings.rrpc_timeout_ms));
    };
    Ok(fields([
        ("MessageId", json!(message)),
        ("PayloadBase64", json!(STANDARD.encode(reply))),
    ]))
}

/// A call that waits for a device's answer, until it has it or its caller has left.
struct Waiting<'a> {
    store: &'a Store,
    client_id: &'a str,
    message: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.store.forget_reply(self.client_id, self.message);
    }
}

fn target(vendor: &TencentIot, call: &Call) -> Result<(Product, Device), Error> {
    let product = call.product_id()?;
    let device = call.fields.filled("DeviceName")?;
    let found = vendor.store.device(product, device);
    let (product, device) = found.ok_or_else(|| Error::ProductOrDeviceNotExist {
        product: product.to_owned(),
        device: device.to_owned(),
    })?;
    check_enabled(&product, &device)?;
    Ok((product, device))
}

/// `${ProductId}/${DeviceName}/[a-zA-Z0-9:_-]{1,128}` (documented).
fn check_topic(topic: &str, product: &str, device: &str) -> Result<(), Error> {
    let Some(rest) = topic.strip_prefix(&format!("{product}/{device}/")) else {
        return Err(Error::TopicName(format!(
            "it does not begin with {product}/{device}/"
        )));
    };
    let fine = (1..=128).contains(&rest.len())
        && rest
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-'));
    if fine {
        return Ok(());
    }
    Err(Error::TopicName(
        "what follows the device is not 1 to 128 letters, digits, colons, underscores and hyphens"
            .to_owned(),
    ))
}

/// The client id of the connection that a device is reached over: its own, or that of the
/// gateway that has it online.
fn line_of(product: &Product, device: &Device) -> String {
    let place = device.place.as_ref().filter(|place| place.online);
    place.map_or_else(
        || format!("{}{}", product.id, device.name),
        |place| format!("{}{}", place.gateway.product, place.gateway.device),
    )
}

async fn is_connected(walk: &Walk<'_>, client_id: &str) -> bool {
    let clients = walk.app.broker.clients().await;
    clients
        .iter()
        .any(|client| client.client_id == client_id && client.connected)
}

async fn check_reachable(walk: &Walk<'_>, client_id: &str, topic: &str) -> Result<(), Error> {
    if !is_connected(walk, client_id).await {
        return Err(Error::DeviceOffline);
    }
    let subscriptions = walk.app.broker.subscriptions().await;
    let subscribed = subscriptions.iter().any(|subscription| {
        subscription.client_id == client_id
            && mqttstack_base::message::TopicFilter::parse(subscription.topic_filter.clone())
                .is_ok_and(|filter| filter.matches(topic))
    });
    if subscribed {
        return Ok(());
    }
    Err(Error::DeviceNoSubscription(topic.to_owned()))
}

/// Publishes a message of the application's.
pub(super) async fn send(
    walk: &mut Walk<'_>,
    product: &str,
    topic: &str,
    payload: Bytes,
    qos: Qos,
) -> Result<(), Error> {
    let topic = TopicName::parse(topic).map_err(|error| Error::TopicName(error.to_string()))?;
    let publication = Publication {
        topic,
        payload,
        qos,
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: Some(Surface::TencentIot),
            client_id: None,
            request: Some(walk.receipt.id.clone()),
        },
    };
    let published = walk.app.broker.publish_in(product, publication).await?;
    walk.draft.published(&published.message);
    Ok(())
}

/// A positive number, as task and message ids are.
fn message_id(walk: &Walk<'_>) -> u32 {
    (u32::from_le_bytes(walk.app.ids.bytes()) >> 1).max(1)
}
