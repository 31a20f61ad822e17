//! Devices: make, show, list, take away, change the key, disable and enable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use mqttstack_base::message::Client;
use mqttstack_base::secret::Secret;
use mqttstack_pipeline::Walk;
use serde_json::{Map, Value, json};

use super::products::product;
use super::{Answered, Call, Version, fields};
use crate::TencentIot;
use crate::error::Error;
use crate::fields::{check_name, wrong_value};
use crate::keys::{PublicKey, new_psk};
use crate::registration::new_identity;
use crate::settings::Encryption;
use crate::store::{Device, Product};

/// `CreateDevice`: with a PSK, the caller's or a new one, or with a certificate.
pub(super) async fn create(vendor: &TencentIot, call: &Call, walk: &mut Walk<'_>) -> Answered {
    let product = product(vendor, call)?;
    let name = call.fields.filled("DeviceName")?;
    check_name("DeviceName", name, 48)?;
    let exists = || Error::DeviceAlreadyExist(name.to_owned());
    if vendor.store.device(&product.id, name).is_some() {
        return Err(exists());
    }
    let mut device = Device::new(name, walk.receipt.now);
    let mut answer = fields([("DeviceName", json!(name))]);
    let defined = call.fields.optional_text("DefinedPsk")?;
    match product.encryption {
        Encryption::Psk => {
            let psk = match defined.filter(|psk| !psk.is_empty()) {
                Some(psk) => checked_psk(psk)?,
                None => new_psk(&walk.app.ids),
            };
            answer.insert("DevicePsk".to_owned(), json!(psk.expose()));
            device.psk = Some(psk);
        }
        Encryption::Certificate => {
            if defined.is_some_and(|psk| !psk.is_empty()) {
                return Err(Error::ProductNotSupportPsk);
            }
            certify(&mut device, &mut answer, &product, call, walk).await?;
        }
    }
    if !vendor.store.add_device(&product.id, device) {
        return Err(exists());
    }
    Ok(answer)
}

/// Gives a device the certificate that the caller brought, or a new one.
async fn certify(
    device: &mut Device,
    answer: &mut Map<String, Value>,
    product: &Product,
    call: &Call,
    walk: &Walk<'_>,
) -> Result<(), Error> {
    if let Some(pem) = call.fields.optional_text("TlsCrt")? {
        let key = PublicKey::of_certificate(pem).map_err(|why| wrong_value("TlsCrt", why))?;
        device.public_key = Some(key);
        device.certificate = Some(pem.to_owned());
        answer.insert("DeviceCert".to_owned(), json!(pem));
        return Ok(());
    }
    let identity = new_identity(walk, &product.id, &device.name).await?;
    answer.insert("DeviceCert".to_owned(), json!(identity.certificate));
    let private_key = json!(identity.private_key.expose());
    answer.insert("DevicePrivateKey".to_owned(), private_key);
    device.public_key = Some(identity.public_key);
    device.certificate = Some(identity.certificate);
    Ok(())
}

fn checked_psk(psk: &str) -> Result<Secret, Error> {
    match STANDARD.decode(psk) {
        Ok(_) => Ok(Secret::new(psk)),
        Err(_) => Err(Error::PskNotBase64),
    }
}

/// The device that the call names.
pub(super) fn named(vendor: &TencentIot, call: &Call) -> Result<(Product, Device), Error> {
    let product = product(vendor, call)?;
    let name = call.fields.filled("DeviceName")?;
    vendor
        .store
        .device(&product.id, name)
        .ok_or_else(|| Error::DeviceNotExist(name.to_owned()))
}

/// `DescribeDevice`.
pub(super) async fn describe(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let (product, device) = named(vendor, call)?;
    let clients = walk.app.broker.clients().await;
    Ok(described(call, &product, &device, &clients))
}

/// `DescribeDevices`: a page of 10 to 250.
pub(super) async fn list(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let product = product(vendor, call)?;
    let offset = usize::try_from(call.fields.number("Offset")?)
        .map_err(|_| wrong_value("Offset", "is negative"))?;
    let limit = usize::try_from(call.fields.number("Limit")?)
        .ok()
        .filter(|limit| (10..=250).contains(limit))
        .ok_or_else(|| wrong_value("Limit", "is not 10 to 250"))?;
    let name = call.fields.optional_text("DeviceName")?.unwrap_or("");
    let enabled = call.fields.optional_number("EnableState")?;
    let firmware = match call.fields.optional_text("FirmwareVersion")? {
        Some("None-FirmwareVersion") => Some(""),
        Some("") | None => None,
        version => version,
    };
    let mut devices = vendor.store.devices(&product.id);
    devices.retain(|device| {
        device.name.contains(name)
            && firmware.is_none_or(|version| version == device.firmware)
            && enabled.is_none_or(|enabled| enabled == i64::from(device.enabled))
    });
    let clients = walk.app.broker.clients().await;
    let page: Vec<Value> = devices
        .iter()
        .skip(offset)
        .take(limit)
        .map(|device| described(call, &product, device, &clients).into())
        .collect();
    Ok(fields([
        ("TotalCount", json!(devices.len())),
        ("Devices", json!(page)),
    ]))
}

/// What is known of a device. `Online`: 1 yes, 0 no, in the 2021 version 3 never yet.
fn described(
    call: &Call,
    product: &Product,
    device: &Device,
    clients: &[Client],
) -> Map<String, Value> {
    let client_id = format!("{}{}", product.id, device.name);
    let client = clients.iter().find(|client| client.client_id == client_id);
    let through_gateway = device.place.as_ref().is_some_and(|place| place.online);
    let connected = through_gateway || client.is_some_and(|client| client.connected);
    let is_2021 = call.version == Version::V2021;
    let online = match (connected, device.first_online) {
        (true, _) => 1,
        (false, None) if is_2021 => 3,
        (false, _) => 0,
    };
    let seconds = |time: Option<Timestamp>| json!(time.map_or(0, Timestamp::as_second));
    let peer = client
        .and_then(|client| client.peer)
        .map(|peer| peer.ip().to_string());
    let psk = device.psk.as_ref().map_or("", |psk| psk.expose());
    let mut known = fields([
        ("DeviceName", json!(device.name)),
        ("Online", json!(online)),
        ("LoginTime", seconds(device.last_online)),
        ("Version", json!(device.firmware)),
        ("LastUpdateTime", json!(0)),
        (
            "DeviceCert",
            json!(device.certificate.as_deref().unwrap_or("")),
        ),
        ("DevicePsk", json!(psk)),
        ("Tags", json!([])),
        ("DeviceType", json!(0)),
        ("Imei", json!("")),
        ("Isp", json!(0)),
        ("ConnIP", json!(0)),
        ("NbiotDeviceID", json!("")),
        ("LoraDevEui", json!("")),
        ("LoraMoteType", json!(0)),
        ("LogLevel", json!(0)),
        ("FirstOnlineTime", seconds(device.first_online)),
        ("LastOfflineTime", seconds(device.last_offline)),
        ("CreateTime", json!(device.created.as_second())),
        ("CertState", json!(u8::from(device.certificate.is_some()))),
        ("EnableState", json!(u8::from(device.enabled))),
        ("Labels", json!([])),
        ("ClientIP", json!(peer.unwrap_or_default())),
        ("FirmwareUpdateTime", json!(0)),
    ]);
    if is_2021 {
        known.extend(fields([
            ("CreateUserId", json!(0)),
            ("NBIoTDeviceID", json!("")),
        ]));
    }
    known
}

/// `DeleteDevice`: its connection ends too.
pub(super) async fn delete(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let (product, device) = named(vendor, call)?;
    vendor.store.remove_device(&product.id, &device.name);
    let client_id = format!("{}{}", product.id, device.name);
    walk.app.broker.kick(&client_id).await;
    Ok(Map::new())
}

/// `UpdateDevicePSK`.
pub(super) fn update_psk(vendor: &TencentIot, call: &Call) -> Answered {
    let (product, device) = named(vendor, call)?;
    if product.encryption != Encryption::Psk {
        return Err(Error::WrongProductAuthType);
    }
    let psk = checked_psk(call.fields.filled("Psk")?)?;
    vendor
        .store
        .with_device(&product.id, &device.name, |device| device.psk = Some(psk))
        .ok_or_else(|| Error::DeviceNotExist(device.name.clone()))?;
    Ok(Map::new())
}

/// `UpdateDevicesEnableState`: all or none; the connections of disabled devices end.
pub(super) async fn enable(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let product = product(vendor, call)?;
    let names = call.fields.texts("DeviceNames")?;
    let enabled = match call.fields.number("Status")? {
        0 => false,
        1 => true,
        _ => return Err(wrong_value("Status", "is neither 0 nor 1")),
    };
    let unknown = names
        .iter()
        .find(|name| vendor.store.device(&product.id, name).is_none());
    if let Some(name) = unknown {
        return Err(Error::DeviceNotExist((*name).to_owned()));
    }
    for name in names {
        vendor
            .store
            .with_device(&product.id, name, |device| device.enabled = enabled);
        if !enabled {
            let client_id = format!("{}{name}", product.id);
            walk.app.broker.kick(&client_id).await;
        }
    }
    Ok(Map::new())
}
