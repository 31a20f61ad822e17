//! What the platform itself answers when a device publishes to one of its topics: the time, the
//! shadow, and the device's reply to an RRPC. The gateway and the MQTT side both ask here.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::Store;
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::exchange::Surface;

/// The platform's answer to a device's message, if it has one.
pub(super) fn answer(
    store: &Store,
    product: &str,
    device: &str,
    topic: &str,
    payload: &Bytes,
    now: Timestamp,
) -> Option<Publication> {
    let own = format!("{product}/{device}");
    if topic == format!("$sys/operation/{own}") {
        return reply(
            &format!("$sys/operation/result/{own}"),
            &time(payload, now)?,
        );
    }
    if topic == format!("$shadow/operation/{own}") {
        let answer = store.with_device(product, device, |device| {
            device.shadow.take(payload, now.as_millisecond())
        });
        return reply(&format!("$shadow/operation/result/{own}"), &answer??);
    }
    if let Some(message) = topic.strip_prefix(&format!("$rrpc/txd/{own}/"))
        && let Ok(message) = message.parse()
    {
        store.reply(&format!("{product}{device}"), message, payload.clone());
    }
    None
}

/// Whether a topic is for the platform, which keeps what is published to it.
pub(super) fn is_for_platform(topic: &str) -> bool {
    topic.starts_with("$sys/") || topic.starts_with("$shadow/")
}

/// Time synchronisation (NTP service page 1105/41511).
fn time(payload: &[u8], now: Timestamp) -> Option<Value> {
    let request: Value = serde_json::from_slice(payload).ok()?;
    let wants_time = request["type"] == "get"
        && request["resource"]
            .as_array()
            .is_some_and(|resources| resources.iter().any(|resource| resource == "time"));
    wants_time.then(|| {
        json!({
            "type": "get",
            "time": now.as_second(),
            "ntptime1": now.as_millisecond(),
            "ntptime2": now.as_millisecond(),
        })
    })
}

fn reply(topic: &str, payload: &Value) -> Option<Publication> {
    message(topic, payload.to_string().into(), Qos::AtMostOnce)
}

/// A message from the platform; `None` for what is no topic name.
pub(super) fn message(topic: &str, payload: Bytes, qos: Qos) -> Option<Publication> {
    Some(Publication {
        topic: TopicName::parse(topic).ok()?,
        payload,
        qos,
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: Some(Surface::TencentIot),
            client_id: None,
            request: None,
        },
    })
}
