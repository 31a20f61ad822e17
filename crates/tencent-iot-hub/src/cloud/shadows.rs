//! The device shadow, as the application sees it: read, and wished into. What a wish does is in
//! `shadow.rs`.

use mqttstack_base::message::Qos;
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::devices::named;
use super::messages::send;
use super::{Answered, Call, fields};
use crate::TencentIot;
use crate::error::Error;
use crate::fields::wrong_value;
use crate::shadow::{Desire, MAX_STATE, state_fault};

/// `DescribeDeviceShadow`.
pub(super) fn describe(vendor: &TencentIot, call: &Call, walk: &Walk<'_>) -> Answered {
    let (_, device) = named(vendor, call)?;
    let document = device.shadow.described(walk.receipt.now.as_millisecond());
    Ok(fields([("Data", json!(document.to_string()))]))
}

/// `UpdateDeviceShadow`: the device hears of it by a delta message.
pub(super) async fn update(vendor: &TencentIot, call: &Call, walk: &mut Walk<'_>) -> Answered {
    let (product, device) = named(vendor, call)?;
    let state = state(call.fields.text("State")?)?;
    let version = u64::try_from(call.fields.number("ShadowVersion")?)
        .map_err(|_| wrong_value("ShadowVersion", "is negative"))?;
    let prefix = match call.fields.optional_text("Prefix")? {
        None | Some("") => "$shadow",
        Some(prefix @ ("$shadow" | "$template")) => prefix,
        Some(other) => return Err(Error::PrefixInvalid(other.to_owned())),
    };
    let now = walk.receipt.now.as_millisecond();
    let desired = vendor
        .store
        .with_device(&product.id, &device.name, |device| {
            device.shadow.desire(&state, version, now)
        })
        .ok_or_else(|| Error::DeviceNotExist(device.name.clone()))?;
    let desired = match desired {
        Desire::Done(desired) => desired,
        Desire::OtherVersion => return Err(Error::UpdateVersionNotMatch(version)),
        Desire::TooLarge(bytes) => return Err(Error::JsonSizeExceedLimit(bytes)),
    };
    if let Some(delta) = desired.delta {
        let topic = format!("{prefix}/operation/result/{}/{}", product.id, device.name);
        let payload = delta.to_string().into();
        send(walk, &product.id, &topic, payload, Qos::AtMostOnce).await?;
    }
    Ok(fields([("Data", json!(desired.answer.to_string()))]))
}

/// `State`, a JSON text.
fn state(text: &str) -> Result<Value, Error> {
    if text.len() > MAX_STATE {
        return Err(Error::JsonSizeExceedLimit(text.len()));
    }
    let state =
        serde_json::from_str(text).map_err(|error| Error::InvalidJson(error.to_string()))?;
    match state_fault(&state) {
        Some(fault) => Err(Error::JsonHasInvalidNode(fault)),
        None => Ok(state),
    }
}
