//! The cloud API `iotcloud`, versions 2018-06-14 and 2021-04-08: what an application can ask.
//! One table of actions; `messages.rs`, `products.rs`, `devices.rs` and `shadows.rs` perform them.
//!
//! Source: the API pages and the request models of the vendor's Python SDK 3.0.1459.

mod devices;
mod messages;
mod products;
mod shadows;

use mqttstack_base::exchange::Answer;
use mqttstack_pipeline::Walk;
use mqttstack_tencent_cloud_api::{self as cloud_api, Tc3Error};
use serde_json::{Map, Value};

use super::TencentIot;
use super::error::Error;
use super::fields::{Asked, Fields, Kind};

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

/// The names of all actions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|entry| entry.name)
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
    fields: &'static [Parameter],
    /// Those that the 2018 version alone has.
    fields_of_2018: &'static [Parameter],
    /// Those that the 2021 version alone has.
    fields_of_2021: &'static [Parameter],
}

/// A parameter and its type.
type Parameter = (&'static str, Kind);

const fn entry(action: Action, name: &'static str, fields: &'static [Parameter]) -> Entry {
    Entry {
        action,
        name,
        in_2018: true,
        spelled_id: false,
        fields,
        fields_of_2018: &[],
        fields_of_2021: &[],
    }
}

const fn spelled(entry: Entry) -> Entry {
    Entry {
        spelled_id: true,
        ..entry
    }
}

const DEVICE: Parameter = ("DeviceName", Kind::Text);
const PAYLOAD: Parameter = ("Payload", Kind::Text);
const QOS: Parameter = ("Qos", Kind::Integer);
const ENCODING: Parameter = ("PayloadEncoding", Kind::Text);
const SKEY: Parameter = ("Skey", Kind::Text);
const TOPIC: Parameter = ("TopicName", Kind::Text);
const PRIVILEGE: Parameter = ("Privilege", Kind::Integer);
const BROKER: Parameter = ("BrokerSubscribe", Kind::Object);

#[rustfmt::skip]
const ACTIONS: [Entry; 16] = [
    entry(Action::PublishMessage, "PublishMessage", &[DEVICE, ("Topic", Kind::Text), PAYLOAD, QOS, ENCODING]),
    entry(Action::PublishBroadcastMessage, "PublishBroadcastMessage", &[PAYLOAD, QOS, ENCODING]),
    entry(Action::PublishRrpcMessage, "PublishRRPCMessage", &[DEVICE, PAYLOAD]),
    entry(Action::CreateProduct, "CreateProduct", &[("ProductName", Kind::Text), ("ProductProperties", Kind::Object), SKEY]),
    entry(Action::DeleteProduct, "DeleteProduct", &[SKEY]),
    Entry {
        fields_of_2021: &[("TlsCrt", Kind::Text)],
        ..entry(Action::CreateDevice, "CreateDevice", &[
            DEVICE, ("Attribute", Kind::Object), ("DefinedPsk", Kind::Text), ("Isp", Kind::Integer), ("Imei", Kind::Text),
            ("LoraDevEui", Kind::Text), ("LoraMoteType", Kind::Integer), SKEY, ("LoraAppKey", Kind::Text),
        ])
    },
    spelled(entry(Action::DescribeDevice, "DescribeDevice", &[DEVICE])),
    entry(Action::DescribeDevices, "DescribeDevices", &[
        ("Offset", Kind::Integer), ("Limit", Kind::Integer), ("FirmwareVersion", Kind::Text), DEVICE, ("EnableState", Kind::Integer),
    ]),
    entry(Action::DeleteDevice, "DeleteDevice", &[DEVICE, SKEY]),
    spelled(entry(Action::CreateTopicPolicy, "CreateTopicPolicy", &[TOPIC, PRIVILEGE, BROKER])),
    spelled(entry(Action::UpdateTopicPolicy, "UpdateTopicPolicy", &[TOPIC, ("NewTopicName", Kind::Text), PRIVILEGE, BROKER])),
    entry(Action::UpdateProductDynamicRegister, "UpdateProductDynamicRegister", &[("RegisterType", Kind::Integer), ("RegisterLimit", Kind::Integer)]),
    Entry { in_2018: false, ..entry(Action::UpdateDevicePsk, "UpdateDevicePSK", &[DEVICE, ("Psk", Kind::Text)]) },
    spelled(entry(Action::UpdateDevicesEnableState, "UpdateDevicesEnableState", &[("DeviceNames", Kind::Texts), ("Status", Kind::Integer)])),
    entry(Action::DescribeDeviceShadow, "DescribeDeviceShadow", &[DEVICE]),
    Entry {
        fields_of_2018: &[("Prefix", Kind::Text)],
        ..entry(Action::UpdateDeviceShadow, "UpdateDeviceShadow", &[DEVICE, ("State", Kind::Text), ("ShadowVersion", Kind::Integer)])
    },
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
pub(super) fn admit(vendor: &TencentIot, walk: &mut Walk<'_>) -> Result<Call, Error> {
    let (settings, regions) = (&vendor.cloud, &vendor.settings.regions);
    let request = walk.request;
    walk.draft.operation = cloud_api::action(request);
    let asked = walk.draft.operation.as_deref();
    walk.draft.known = names().find(|name| Some(*name) == asked);
    let caller = cloud_api::verify(request, settings, walk.receipt.now, "iotcloud")?;
    walk.draft.caller = Some(caller.secret_id.clone());
    walk.draft.hints.extend(cloud_api::hint(settings));
    let version = match caller.invocation.version.as_str() {
        "2018-06-14" => Version::V2018,
        "2021-04-08" => Version::V2021,
        other => return Err(Tc3Error::NoSuchVersion(other.to_owned()).into()),
    };
    let entry = ACTIONS
        .iter()
        .find(|entry| entry.name == caller.invocation.action)
        .filter(|entry| entry.in_2018 || version == Version::V2021)
        .ok_or_else(|| Tc3Error::InvalidAction(caller.invocation.action.clone()))?;
    caller.invocation.check_region(regions)?;
    let asked = if cloud_api::are_text(request) {
        Asked::CloudQuery
    } else {
        Asked::Cloud
    };
    let product_field = if entry.spelled_id && version == Version::V2018 {
        "ProductID"
    } else {
        "ProductId"
    };
    let fields = Fields::new(cloud_api::parameters(request)?, asked);
    let mut known = entry.fields.to_vec();
    if entry.action != Action::CreateProduct {
        known.push((product_field, Kind::Text));
    }
    known.extend(match version {
        Version::V2018 => entry.fields_of_2018,
        Version::V2021 => entry.fields_of_2021,
    });
    fields.conform(&known)?;
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
    Ok(cloud_api::success(walk.receipt, fields))
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
