//! A gateway device and its sub-devices, over `$gateway/operation/..`: bind and unbind, online
//! and offline, and the list. Any device may be a gateway here; the cloud knows it by the type
//! of its product, which the cloud API's documents do not number.
//!
//! Sources: the IoT Hub pages on topology and on sub-devices going online; the SDKs for the key
//! of a binding's signature, which one takes as text and the others base64-decoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Platform;
use crate::auth::{hmac_sha1, hmac_sha256};
use crate::store::{DeviceId, Place};

/// The results that the pages number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    NotBound = -1,
    BadRequest = 801,
    NoSuchDevice = 802,
    BadSignature = 803,
    UnknownMethod = 804,
    Expired = 805,
    BoundToAnother = 806,
    NotAllowed = 808,
    BoundAlready = 809,
}

/// The answer to a gateway; `None` for what is no request.
pub(super) fn answer(
    platform: Platform<'_>,
    product: &str,
    device: &str,
    request: &Value,
) -> Option<Value> {
    let gateway = DeviceId::new(product, device);
    let kind = request["type"].as_str()?;
    if kind == "describe_sub_devices" {
        let devices: Vec<Value> = platform
            .store
            .sub_devices(&gateway)
            .iter()
            .map(|sub| json!({"product_id": sub.product, "device_name": sub.device}))
            .collect();
        return Some(json!({"type": kind, "payload": {"devices": devices}}));
    }
    let act = match kind {
        "bind" => bind,
        "unbind" => unbind,
        "online" => online,
        "offline" => offline,
        _ => return None,
    };
    let devices: Vec<Value> = request["payload"]["devices"]
        .as_array()?
        .iter()
        .map(|asked| {
            let named = |name: &str| asked[name].as_str().filter(|text| !text.is_empty());
            let outcome = match (named("product_id"), named("device_name")) {
                (Some(product), Some(device)) => {
                    act(platform, &gateway, &DeviceId::new(product, device), asked)
                }
                _ => Outcome::BadRequest,
            };
            json!({
                "product_id": asked["product_id"],
                "device_name": asked["device_name"],
                "result": outcome as i32,
            })
        })
        .collect();
    Some(json!({"type": kind, "payload": {"devices": devices}}))
}

fn bind(platform: Platform<'_>, gateway: &DeviceId, sub: &DeviceId, asked: &Value) -> Outcome {
    let Some((_, device)) = platform.store.device(&sub.product, &sub.device) else {
        return Outcome::NoSuchDevice;
    };
    if gateway == sub {
        return Outcome::NotAllowed;
    }
    let (Some(signature), Some(random), Some(timestamp)) = (
        asked["signature"].as_str(),
        asked["random"].as_i64(),
        asked["timestamp"].as_i64(),
    ) else {
        return Outcome::BadRequest;
    };
    let apart = platform.now.as_second().saturating_sub(timestamp);
    if platform.window_s != 0 && apart.unsigned_abs() > u64::from(platform.window_s) {
        return Outcome::Expired;
    }
    let text = format!("{}{};{random};{timestamp}", sub.product, sub.device);
    let hash = |key: &[u8]| match asked["signmethod"].as_str() {
        Some("hmacsha1") => Some(hmac_sha1(key, text.as_bytes()).to_vec()),
        Some("hmacsha256") => Some(hmac_sha256(key, text.as_bytes()).to_vec()),
        _ => None,
    };
    // A certificate's digest as the key is in no SDK and in no example.
    let Some(psk) = device.psk.filter(|_| asked["authtype"] != "certificate") else {
        return Outcome::UnknownMethod;
    };
    let keys = [
        Some(psk.expose().as_bytes().to_vec()),
        STANDARD.decode(psk.expose()).ok(),
    ];
    let mut digests = Vec::new();
    for key in keys.iter().flatten() {
        match hash(key) {
            Some(digest) => digests.push(STANDARD.encode(digest)),
            None => return Outcome::UnknownMethod,
        }
    }
    if !digests.iter().any(|digest| digest == signature) {
        return Outcome::BadSignature;
    }
    match platform.store.bind(gateway, sub) {
        None => Outcome::Done,
        Some(bound) if bound == *gateway => Outcome::BoundAlready,
        Some(_) => Outcome::BoundToAnother,
    }
}

fn unbind(platform: Platform<'_>, gateway: &DeviceId, sub: &DeviceId, _: &Value) -> Outcome {
    change(platform, gateway, sub, |place| *place = None)
}

fn online(platform: Platform<'_>, gateway: &DeviceId, sub: &DeviceId, _: &Value) -> Outcome {
    change(platform, gateway, sub, |place| {
        if let Some(place) = place {
            place.online = true;
        }
    })
}

fn offline(platform: Platform<'_>, gateway: &DeviceId, sub: &DeviceId, _: &Value) -> Outcome {
    change(platform, gateway, sub, |place| {
        if let Some(place) = place {
            place.online = false;
        }
    })
}

/// Changes the place of a sub-device that is bound to this gateway.
fn change(
    platform: Platform<'_>,
    gateway: &DeviceId,
    sub: &DeviceId,
    change: impl FnOnce(&mut Option<Place>),
) -> Outcome {
    let changed = platform
        .store
        .with_device(&sub.product, &sub.device, |device| {
            let bound = device
                .place
                .as_ref()
                .is_some_and(|place| place.gateway == *gateway);
            if bound {
                change(&mut device.place);
            }
            bound
        });
    match changed {
        None => Outcome::NoSuchDevice,
        Some(false) => Outcome::NotBound,
        Some(true) => Outcome::Done,
    }
}
