//! Tencent IoT Hub: the device gateway over HTTP, the `iotcloud` cloud API, and the MQTT side,
//! over one store of products and devices. `gateway.rs` is what a device can ask over HTTP,
//! `cloud/` what an application can, `mqtt.rs` the MQTT rules; `auth.rs` says who calls the
//! gateway (`tencent-cloud-api` who calls the cloud API), `error.rs` how both refuse.

mod auth;
mod cloud;
mod error;
mod fields;
mod gateway;
mod hints;
mod keys;
mod mqtt;
mod platform;
mod registration;
mod settings;
mod shadow;
mod store;
mod topic;

use std::sync::Arc;

pub use self::error::Error;
pub use self::settings::{Device, Encryption, Product, RegisterType, Settings, TopicClass};
pub use self::store::BadSeed;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, Head, Malformed, Receipt, Refusal, Request, Surface,
};
use mqttstack_broker::dialect::Dialect;
use mqttstack_pipeline::App;
use mqttstack_pipeline::{Charge, Vendor, Walk};
use mqttstack_tencent_cloud_api as cloud_api;

use self::store::Store;

/// The longest payload of a message in bytes after decoding (limits page; that HTTP shares the
/// figure of MQTT is assumed).
const MAX_PAYLOAD: usize = 16 << 10;

/// The path of the older registration, whose answers have a shape of their own.
const LEGACY_REGISTER: &str = "/register/dev";

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A product or a device.
    #[error(transparent)]
    Seed(#[from] BadSeed),
    /// A rate of an operation that there is not.
    #[error("tencent_iot.quotas.{name}: no such operation; there are {}", known.join(", "))]
    Operation {
        /// Its name.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
}

/// The IoT Hub surface.
#[derive(Debug)]
pub struct TencentIot {
    settings: Arc<Settings>,
    cloud: cloud_api::Settings,
    store: Arc<Store>,
}

/// A request that was understood and allowed.
#[derive(Debug)]
pub struct Call(Kind);

#[derive(Debug)]
enum Kind {
    Gateway(gateway::Call),
    Cloud(cloud::Call),
}

impl TencentIot {
    /// The surface with the products and devices of its settings.
    pub fn new(settings: Settings, cloud: cloud_api::Settings) -> Result<Self, SettingsError> {
        let mut known = mqtt::RATES.to_vec();
        known.extend(gateway::Operation::ALL.map(gateway::Operation::name));
        known.extend(cloud::names());
        let mut named = settings.quotas.keys();
        if let Some(name) = named.find(|name| !known.contains(&name.as_str())) {
            let name = name.clone();
            return Err(SettingsError::Operation { name, known });
        }
        Ok(Self {
            store: Arc::new(Store::new(&settings)?),
            settings: Arc::new(settings),
            cloud,
        })
    }

    /// Back to the products and devices of the settings.
    pub fn reset(&self) {
        self.store.reset();
    }

    /// The MQTT side, over the same products and devices.
    pub fn dialect(&self, app: &App) -> Arc<dyn Dialect> {
        Arc::new(mqtt::IotHub::new(
            self.settings.clone(),
            self.store.clone(),
            app.clock.clone(),
            app.quotas.clone(),
        ))
    }

    fn rate(&self, operation: &str, built_in: u32) -> u32 {
        self.settings
            .quotas
            .get(operation)
            .copied()
            .unwrap_or(built_in)
    }
}

impl Vendor for TencentIot {
    const SURFACE: Surface = Surface::TencentIot;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, head: &Head) -> BodyPolicy {
        // The gateway has 16 KB of payload, which JSON escapes can make six times as long.
        let max_body = if gateway::operation(head.path()).is_some() {
            1 << 20
        } else {
            cloud_api::longest_body(head)
        };
        BodyPolicy {
            max_body,
            ..BodyPolicy::default()
        }
    }

    fn unreadable(&self, problem: Malformed, request: &Request) -> Error {
        let cloud = gateway::operation(request.head.path()).is_none();
        match problem {
            Malformed::BodyTooLarge { .. } if cloud => cloud_api::too_large(&request.head).into(),
            problem => Refusal::Malformed(problem).into(),
        }
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Call, Error> {
        let head = &walk.request.head;
        if let Some(operation) = gateway::operation(head.path()) {
            return gateway::admit(self, operation, walk).map(|call| Call(Kind::Gateway(call)));
        }
        let cloud = head.path() == "/" || head.headers.get("X-TC-Action").is_some();
        if !cloud {
            return Err(Error::UnknownPath(head.path().to_owned()));
        }
        cloud::admit(self, walk).map(|call| Call(Kind::Cloud(call)))
    }

    fn charge(&self, call: &Call) -> Option<Charge> {
        let (operation, key, built_in) = match &call.0 {
            Kind::Gateway(call) => call.charge(),
            Kind::Cloud(call) => call.charge(),
        };
        Some(Charge {
            operation,
            key,
            per_second: self.rate(operation, built_in),
        })
    }

    async fn perform(&self, call: Call, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        match call.0 {
            Kind::Gateway(call) => gateway::perform(self, call, walk).await,
            Kind::Cloud(call) => cloud::perform(self, call, walk).await,
        }
    }

    fn error_code(&self, error: &Error) -> String {
        error.row().code.to_owned()
    }

    fn is_over_rate(&self, error: &Error) -> bool {
        matches!(error, Error::RequestLimitExceeded(_))
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        error::render(error, request, receipt)
    }
}
