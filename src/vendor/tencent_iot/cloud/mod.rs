//! The cloud API `iotcloud`, versions 2018-06-14 and 2021-04-08: what an application can ask.
//! One table of actions; `messages.rs`, `products.rs`, `devices.rs` and `shadows.rs` perform them.
//!
//! Source: the API pages and the request models of the vendor's Python SDK 3.0.1459.

mod devices;
mod messages;
mod products;
mod shadows;

use serde_json::{Map, Value};

use super::TencentIot;
use super::error::Error;
use super::fields::{Asked, Fields};
use crate::exchange::Answer;
use crate::pipeline::Walk;
use crate::vendor::tencent_tc3::{self, Tc3Error};

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// 2018-06-14
    V2018,
    /// 2021-04-08
    V2021,
}

/// The actions that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    PublishMessage,
    PublishBroadcastMessage,
    PublishRrpcMessage,
    CreateProduct,
    DeleteProduct,
    CreateDevice,
    DescribeDevice,
    DescribeDevices,
    DeleteDevice,
    CreateTopicPolicy,
    UpdateTopicPolicy,
    UpdateProductDynamicRegister,
    UpdateDevicePsk,
    UpdateDevicesEnableState,
    DescribeDeviceShadow,
    UpdateDeviceShadow,
}

/// One row of the table of actions.
#[derive(Clone, Copy)]
struct Entry {
    action: Action,
    name: &'static str,
    /// Whether the 2018 version has it.
    in_2018: bool,
    /// Whether the 2018 version spells `ProductId` as `ProductID`.
    spelled_id: bool,
    /// Its parameters beside the product's id.
    fields: &'static [&'static str],
    /// Those that the 2018 version alone has.
    fields_of_2018: &'static [&'static str],
}

const fn entry(action: Action, name: &'static str, fields: &'static [&'static str]) -> Entry {
    Entry {
        action,
        name,
        in_2018: true,
        spelled_id: false,
        fields,
        fields_of_2018: &[],
    }
}

const fn spelled(entry: Entry) -> Entry {
    Entry {
        spelled_id: true,
        ..entry
    }
}

#[rustfmt::skip]
const ACTIONS: [Entry; 16] = [
    entry(Action::PublishMessage, "PublishMessage", &["DeviceName", "Topic", "Payload", "Qos", "PayloadEncoding"]),
    entry(Action::PublishBroadcastMessage, "PublishBroadcastMessage", &["Payload", "Qos", "PayloadEncoding"]),
    entry(Action::PublishRrpcMessage, "PublishRRPCMessage", &["DeviceName", "Payload"]),
    entry(Action::CreateProduct, "CreateProduct", &["ProductName", "ProductProperties", "Skey"]),
    entry(Action::DeleteProduct, "DeleteProduct", &["Skey"]),
    entry(Action::CreateDevice, "CreateDevice", &["DeviceName", "Attribute", "DefinedPsk", "Isp", "Imei", "LoraDevEui", "LoraMoteType", "Skey", "LoraAppKey", "TlsCrt"]),
    spelled(entry(Action::DescribeDevice, "DescribeDevice", &["DeviceName"])),
    entry(Action::DescribeDevices, "DescribeDevices", &["Offset", "Limit", "FirmwareVersion", "DeviceName", "EnableState"]),
    entry(Action::DeleteDevice, "DeleteDevice", &["DeviceName", "Skey"]),
    spelled(entry(Action::CreateTopicPolicy, "CreateTopicPolicy", &["TopicName", "Privilege", "BrokerSubscribe"])),
    spelled(entry(Action::UpdateTopicPolicy, "UpdateTopicPolicy", &["TopicName", "NewTopicName", "Privilege", "BrokerSubscribe"])),
    entry(Action::UpdateProductDynamicRegister, "UpdateProductDynamicRegister", &["RegisterType", "RegisterLimit"]),
    Entry { in_2018: false, ..entry(Action::UpdateDevicePsk, "UpdateDevicePSK", &["DeviceName", "Psk"]) },
    spelled(entry(Action::UpdateDevicesEnableState, "UpdateDevicesEnableState", &["DeviceNames", "Status"])),
    entry(Action::DescribeDeviceShadow, "DescribeDeviceShadow", &["DeviceName"]),
    Entry { fields_of_2018: &["Prefix"], ..entry(Action::UpdateDeviceShadow, "UpdateDeviceShadow", &["DeviceName", "State", "ShadowVersion"]) },
];

/// A cloud API call that was understood and allowed.
#[derive(Debug)]
pub(super) struct Call {
    action: Action,
    name: &'static str,
    version: Version,
    secret_id: String,
    /// How this version spells the product's id.
    product_field: &'static str,
    fields: Fields,
}

impl Call {
    /// Operation, key and rate. Only `PublishMessage` has a figure on its page.
    pub(super) fn charge(&self) -> (&'static str, String, u32) {
        let rate = match (self.action, self.version) {
            (Action::PublishMessage, Version::V2018) => 100,
            (Action::PublishMessage, Version::V2021) => 300,
            _ => 0,
        };
        (self.name, self.secret_id.clone(), rate)
    }

    fn product_id(&self) -> Result<&str, Error> {
        self.fields.filled(self.product_field)
    }
}

/// Authenticates and parses; an account may do everything with its own products.
pub(super) fn admit(settings: &tencent_tc3::Settings, walk: &mut Walk<'_>) -> Result<Call, Error> {
    let request = walk.request;
    let asked = request
        .head
        .headers
        .text("X-TC-Action")
        .map(ToOwned::to_owned);
    walk.draft.operation = asked;
    let caller = tencent_tc3::verify(request, settings, walk.receipt.now, "iotcloud")?;
    walk.draft.caller = Some(caller.secret_id.clone());
    let version = match caller.invocation.version.as_str() {
        "2018-06-14" => Version::V2018,
        "2021-04-08" => Version::V2021,
        other => return Err(Tc3Error::NoSuchVersion(other.to_owned()).into()),
    };
    let entry = ACTIONS
        .iter()
        .find(|entry| entry.name == caller.invocation.action)
        .filter(|entry| entry.in_2018 || version == Version::V2021)
        .ok_or(Tc3Error::InvalidAction(caller.invocation.action))?;
    let asked = if request.head.method == "GET" {
        Asked::CloudQuery
    } else {
        Asked::Cloud
    };
    let product_field = if entry.spelled_id && version == Version::V2018 {
        "ProductID"
    } else {
        "ProductId"
    };
    let fields = Fields::new(tencent_tc3::parameters(request)?, asked);
    let mut known = vec![product_field];
    known.extend(entry.fields);
    if version == Version::V2018 {
        known.extend(entry.fields_of_2018);
    }
    fields.only(&known)?;
    Ok(Call {
        action: entry.action,
        name: entry.name,
        version,
        secret_id: caller.secret_id,
        product_field,
        fields,
    })
}

/// Does it and answers.
pub(super) async fn perform(
    vendor: &TencentIot,
    call: Call,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    let fields = match call.action {
        Action::PublishMessage => messages::publish(vendor, &call, walk).await,
        Action::PublishBroadcastMessage => messages::broadcast(vendor, &call, walk).await,
        Action::PublishRrpcMessage => messages::rrpc(vendor, &call, walk).await,
        Action::CreateProduct => products::create(vendor, &call, walk),
        Action::DeleteProduct => products::delete(vendor, &call),
        Action::CreateTopicPolicy => products::create_topic(vendor, &call),
        Action::UpdateTopicPolicy => products::update_topic(vendor, &call),
        Action::UpdateProductDynamicRegister => products::registration(vendor, &call, walk),
        Action::CreateDevice => devices::create(vendor, &call, walk).await,
        Action::DescribeDevice => devices::describe(vendor, &call, walk).await,
        Action::DescribeDevices => devices::list(vendor, &call, walk).await,
        Action::DeleteDevice => devices::delete(vendor, &call, walk).await,
        Action::UpdateDevicePsk => devices::update_psk(vendor, &call),
        Action::UpdateDevicesEnableState => devices::enable(vendor, &call, walk).await,
        Action::DescribeDeviceShadow => shadows::describe(vendor, &call, walk),
        Action::UpdateDeviceShadow => shadows::update(vendor, &call, walk).await,
    }?;
    Ok(tencent_tc3::success(walk.receipt, fields))
}

/// The fields of an answer.
type Answered = Result<Map<String, Value>, Error>;

/// An answer of these fields.
fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
