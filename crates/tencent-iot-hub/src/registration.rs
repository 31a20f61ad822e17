//! Dynamic registration, the new one (`/device/register`) and the older one (`/register/dev`):
//! whether a device may register, and the encrypted payload that hands it its key.

use mqttstack_base::exchange::Answer;
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline::Walk;
use mqttstack_tencent_cloud_api as cloud_api;
use serde_json::{Map, json};

use super::TencentIot;
use super::auth::{self, Algorithm, Key, Owner, Signature};
use super::error::Error;
use super::fields::{Asked, Fields, check_name, wrong_value};
use super::gateway::{Asks, Call, Operation, body};
use super::keys::{self, Identity, PublicKey};
use super::settings::{Encryption, RegisterType, auth_off};
use super::store::{Device, Product};

fn product_of(vendor: &TencentIot, product: &str, device: &str) -> Result<Product, Error> {
    let missing = || Error::ProductOrDeviceNotExist {
        product: product.to_owned(),
        device: device.to_owned(),
    };
    vendor.store.product(product).ok_or_else(missing)
}

/// The new registration: signed with the product's secret.
pub(super) fn admit_registration(
    vendor: &TencentIot,
    walk: &Walk<'_>,
    signature: Option<&Signature<'_>>,
    fields: &Fields,
) -> Result<Call, Error> {
    let product = fields.filled("ProductId")?.to_owned();
    let device = fields.filled("DeviceName")?.to_owned();
    let owner = product_of(vendor, &product, &device)?;
    if let Some(signature) = signature {
        if signature.algorithm == Algorithm::RsaSha256 {
            return Err(Error::Signature(Some(
                "registration is signed with the product's secret, not with a device's certificate"
                    .to_owned(),
            )));
        }
        let psk = vendor.store.device(&product, &device);
        let psk = psk.and_then(|(_, device)| device.psk);
        auth::verify(
            walk.request,
            signature,
            Key::Text(owner.secret.expose()),
            Operation::Register.path(),
            &vendor.settings.host_aliases,
            Owner {
                name: &format!("the ProductSecret of {product}"),
                other_secret: psk.as_ref().map_or("", |psk| psk.expose()),
                others: &vendor.store.psks(&product),
            },
        )?;
    }
    let certificate = own_certificate(&owner, fields)?;
    check_registration(vendor, &owner, &device)?;
    Ok(Call {
        operation: Operation::Register,
        product,
        device,
        request: Asks::Register { certificate },
    })
}

/// `EncryptionType` and `ClientCert`, which a device sends whose certificate is of its maker's
/// own authority. That another kind of product refuses them so is assumed.
fn own_certificate(product: &Product, fields: &Fields) -> Result<Option<String>, Error> {
    let kind = fields.optional_number("EncryptionType")?;
    if kind.is_some_and(|kind| kind != 1 && kind != 2) {
        return Err(wrong_value("EncryptionType", "is neither 1 nor 2"));
    }
    let pem = fields.optional_text("ClientCert")?;
    let pem = pem.filter(|pem| !pem.is_empty());
    let other_kind = kind.is_some_and(|kind| kind != i64::from(product.encryption.number()));
    if other_kind || (pem.is_some() && product.encryption == Encryption::Psk) {
        return Err(Error::WrongProductAuthType);
    }
    if let Some(pem) = pem {
        PublicKey::of_certificate(pem).map_err(|why| wrong_value("ClientCert", why))?;
    }
    Ok(pem.map(ToOwned::to_owned))
}

/// Whether a device may register: the product's `RegisterType`, and its limit for new ones.
fn check_registration(vendor: &TencentIot, product: &Product, device: &str) -> Result<(), Error> {
    check_name("DeviceName", device, 48)?;
    if !product.enabled {
        return Err(Error::ProductIsForbidden);
    }
    let known = vendor.store.device(&product.id, device);
    match (product.register_type, known) {
        (RegisterType::Off, _) => Err(Error::RegistrationOff),
        (_, Some((_, known))) if !known.enabled => Err(Error::DeviceIsNotEnabled),
        (_, Some(_)) => Ok(()),
        (RegisterType::PreCreated, None) => Err(Error::ProductOrDeviceNotExist {
            product: product.id.clone(),
            device: device.to_owned(),
        }),
        (RegisterType::AutoCreate, None) => {
            let devices = vendor.store.devices(&product.id);
            let count = devices.iter().filter(|device| device.registered).count();
            if count >= product.register_limit {
                return Err(Error::DeviceExceedLimit(count));
            }
            Ok(())
        }
    }
}

/// The older registration: everything is in the body, the content type is not looked at (the C
/// SDK sends JSON as a form).
pub(super) fn admit_legacy(vendor: &TencentIot, walk: &mut Walk<'_>) -> Result<Call, Error> {
    let fields = Fields::new(body(walk)?, Asked::Gateway);
    let product = fields.filled("productId")?.to_owned();
    let device = fields.filled("deviceName")?.to_owned();
    walk.draft.caller = Some(format!("{product}/{device}"));
    let owner = product_of(vendor, &product, &device)?;
    walk.draft.hints.extend(auth_off(vendor.settings.auth));
    if vendor.settings.auth == AuthMode::Strict {
        let nonce = fields.number("nonce")?;
        let timestamp = fields.number("timestamp")?;
        let window = vendor.settings.timestamp_window_s;
        let apart = walk.receipt.now.as_second().saturating_sub(timestamp);
        if window != 0 && apart.unsigned_abs() > u64::from(window) {
            return Err(Error::Timestamp(format!(
                "timestamp {timestamp} is {apart} s behind the emulator's time; {window} s are allowed"
            )));
        }
        let text =
            format!("deviceName={device}&nonce={nonce}&productId={product}&timestamp={timestamp}");
        auth::verify_legacy(&text, owner.secret.expose(), fields.text("signature")?)?;
    }
    check_registration(vendor, &owner, &device)?;
    Ok(Call {
        operation: Operation::LegacyRegister,
        product,
        device,
        request: Asks::Register { certificate: None },
    })
}

pub(super) async fn register(
    vendor: &TencentIot,
    call: &Call,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    let product = product_of(vendor, &call.product, &call.device)?;
    let known = vendor.store.device(&call.product, &call.device).is_some();
    if !known {
        let new = Device::new(call.device.clone(), walk.receipt.now);
        let registered = true;
        vendor
            .store
            .add_device(&call.product, Device { registered, ..new });
    }
    let plain = match &call.request {
        Asks::Register {
            certificate: Some(pem),
        } => keep_certificate(vendor, &product, &call.device, pem)?,
        _ => credentials(vendor, &product, &call.device, walk).await?,
    };
    let sealed = keys::seal(&product.secret, &plain).ok_or_else(|| {
        Error::Internal("the product secret is shorter than the 16 bytes of a key".to_owned())
    })?;
    if call.operation == Operation::LegacyRegister {
        let body = json!({
            "code": 0,
            "message": "",
            "len": plain.len(),
            "payload": sealed,
            "requestId": cloud_api::request_id(walk.receipt),
        });
        return Ok(Answer::new(200)
            .header("Content-Type", "application/json")
            .body(body.to_string()));
    }
    let mut fields = Map::new();
    fields.insert("Len".to_owned(), json!(plain.len()));
    fields.insert("Payload".to_owned(), json!(sealed));
    fields.insert("State".to_owned(), json!(u8::from(known)));
    Ok(cloud_api::success(walk.receipt, fields))
}

/// Keeps the certificate that a device brought; it is handed back without a key, which nobody
/// but the device has (assumed).
fn keep_certificate(
    vendor: &TencentIot,
    product: &Product,
    device: &str,
    pem: &str,
) -> Result<String, Error> {
    let key = PublicKey::of_certificate(pem).map_err(|why| wrong_value("ClientCert", why))?;
    vendor
        .store
        .with_device(&product.id, device, |device| {
            device.certificate = Some(pem.to_owned());
            device.public_key = Some(key);
        })
        .ok_or_else(|| Error::DeviceNotExist(device.to_owned()))?;
    Ok(json!({"encryptionType": 1, "clientCert": pem}).to_string())
}

/// What the device is handed: its PSK (made where it has none), or a new certificate and key
/// (a private key is not kept, so a second registration makes another).
async fn credentials(
    vendor: &TencentIot,
    product: &Product,
    device: &str,
    walk: &Walk<'_>,
) -> Result<String, Error> {
    let gone = || Error::DeviceNotExist(device.to_owned());
    if product.encryption == Encryption::Psk {
        let psk = vendor
            .store
            .with_device(&product.id, device, |device| {
                let make = || keys::new_psk(&walk.app.ids);
                device.psk.get_or_insert_with(make).clone()
            })
            .ok_or_else(gone)?;
        return Ok(json!({"encryptionType": 2, "psk": psk.expose()}).to_string());
    }
    let identity = new_identity(walk, &product.id, device).await?;
    vendor
        .store
        .with_device(&product.id, device, |device| {
            device.certificate = Some(identity.certificate.clone());
            device.public_key = Some(identity.public_key.clone());
        })
        .ok_or_else(gone)?;
    Ok(json!({
        "encryptionType": 1,
        "clientCert": identity.certificate,
        "clientKey": identity.private_key.expose(),
    })
    .to_string())
}

/// A new certificate for a device, made where it does not hold up others.
pub(super) async fn new_identity(
    walk: &Walk<'_>,
    product: &str,
    device: &str,
) -> Result<Identity, Error> {
    let ids = walk.app.ids.clone();
    let name = format!("{product}{device}");
    tokio::task::spawn_blocking(move || Identity::make(&ids, &name))
        .await
        .map_err(|error| Error::Internal(error.to_string()))?
        .map_err(Error::Internal)
}
