//! Tencent TDMQ for MQTT: the HTTP data plane, the `mqtt` cloud API and the MQTT side, all over
//! the same users, policies and topics.
//!
//! | file | what it answers |
//! |---|---|
//! | `api.rs`, `query.rs` | `POST /topics/{topic}`, `GET /client-id/{id}/status` |
//! | `cloud/` | the cloud API at `/` with `X-TC-Action`, version 2024-05-16 |
//! | `auth.rs`, `certificate.rs`, `jwt.rs` | who calls |
//! | `mqtt.rs` | the MQTT side: users, tokens, certificates, policies, events |
//! | `policy.rs`, `pattern.rs` | who may connect, publish, subscribe |
//! | `store.rs` | instances, users, policies, topics |
//! | `error.rs` | how it refuses |

mod api;
mod auth;
mod certificate;
mod cloud;
pub mod error;
mod jwt;
mod mqtt;
mod pattern;
mod policy;
mod query;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::certificate::Authority;
pub use self::cloud::Action as CloudAction;
pub use self::error::{Error, Plane, Row};
pub use self::jwt::Authenticator;
pub use self::policy::{Action, Effect, Policy};
pub use self::store::User;
use self::store::{Seed, Store};
use crate::exchange::{Answer, BodyPolicy, Head, Receipt, Request, Surface};
use crate::pipeline::{Charge, Vendor, Walk};
use crate::secret::Secret;
use crate::vendor::tencent_tc3;

/// The service's name in cloud API signatures.
pub const SERVICE: &str = "mqtt";
/// The one version of its cloud API.
pub const VERSION: &str = "2024-05-16";
/// How often a cloud API action may be called, per second (documented on every action's page).
const CLOUD_RATE: u32 = 20;

/// The actions of its cloud API that are emulated.
pub const ACTIONS: &[CloudAction] = CloudAction::ALL;

/// Whether credentials are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// As the cloud checks them.
    #[default]
    Strict,
    /// Not at all: the named user is believed, and none is needed. Policies still apply.
    Off,
}

/// What the instance is called and what `DescribeInstance` tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceSettings {
    /// Its id (default `mqtt-test0001`).
    pub id: String,
    /// Its name (default `test`).
    pub name: String,
    /// How many first-level topics it may have (default 50; no page found has the figure).
    pub topic_limit: usize,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            id: "mqtt-test0001".to_owned(),
            name: "test".to_owned(),
            topic_limit: 50,
        }
    }
}

/// The table `[tencent_tdmq]`. Lists replace the seeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether credentials are checked (default `strict`).
    pub auth: Auth,
    /// Whether other instances come into being when they are named (default true).
    pub auto_create: bool,
    /// The instance.
    pub instance: InstanceSettings,
    /// Its users (default `user0` with `secret0`).
    pub users: Vec<User>,
    /// Its authorization policies (default one that allows everything).
    pub policies: Vec<Policy>,
    /// Its first-level topics (default none; publishing makes them).
    pub topics: Vec<String>,
    /// The certificate authorities of the BYOC mode, each as PEM text or the path of a PEM file
    /// (default none: the mode is off).
    pub ca_certificates: Vec<Authority>,
    /// The JWT authenticators of the MQTT side (default none).
    pub authenticators: Vec<Authenticator>,
    /// The longest payload in bytes (default 1 MiB; the vendor's figure was not found).
    pub max_payload_bytes: usize,
    /// The longest topic name in bytes (default 65,535; the vendor's figure was not found).
    pub max_topic_bytes: usize,
    /// Calls per second: `Publish` and `ClientStatus` per instance (default 0, no limit), cloud
    /// API actions per secret id (default 20, documented).
    pub quotas: BTreeMap<String, u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: Auth::Strict,
            auto_create: true,
            instance: InstanceSettings::default(),
            users: vec![User {
                name: "user0".to_owned(),
                password: Secret::new("secret0"),
                remark: String::new(),
                created_ms: 0,
                modified_ms: 0,
            }],
            policies: vec![Policy::default()],
            topics: Vec::new(),
            ca_certificates: Vec::new(),
            authenticators: Vec::new(),
            max_payload_bytes: 1 << 20,
            max_topic_bytes: 65_535,
            quotas: BTreeMap::new(),
        }
    }
}

/// A shared handle on TDMQ for MQTT.
#[derive(Debug, Clone)]
pub struct TencentTdmq {
    settings: Arc<Settings>,
    cloud: Arc<tencent_tc3::Settings>,
    store: Arc<Store>,
}

/// A request that was understood and allowed.
#[derive(Debug)]
pub enum Call {
    /// On the data plane.
    Data(api::DataCall),
    /// Through the cloud API.
    Cloud(Box<cloud::CloudCall>),
}

impl TencentTdmq {
    /// The service with its seeded resources; `cloud` are the cloud API's key pairs.
    pub fn new(settings: Settings, cloud: tencent_tc3::Settings) -> Self {
        let seed = Seed {
            users: settings.users.clone(),
            policies: settings.policies.clone(),
            topics: settings.topics.clone(),
        };
        let store = Store::new(&settings.instance.id, seed, settings.auto_create);
        Self {
            settings: Arc::new(settings),
            cloud: Arc::new(cloud),
            store: Arc::new(store),
        }
    }

    /// Back to the seeded resources.
    pub fn reset(&self) {
        self.store.reset();
    }

    fn rate(&self, operation: &'static str, documented: u32) -> u32 {
        self.settings
            .quotas
            .get(operation)
            .copied()
            .unwrap_or(documented)
    }
}

fn plane(request: &Request) -> Plane {
    if request.head.headers.get("x-tc-action").is_some() {
        Plane::Cloud
    } else {
        Plane::Data
    }
}

impl Vendor for TencentTdmq {
    const SURFACE: Surface = Surface::TencentTdmq;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, _head: &Head) -> BodyPolicy {
        BodyPolicy {
            // Base64 in JSON takes more room than the payload itself.
            max_body: self.settings.max_payload_bytes.saturating_mul(2) + 4_096,
            ..BodyPolicy::default()
        }
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Call, Error> {
        match plane(walk.request) {
            Plane::Data => api::admit(self, walk).map(Call::Data),
            Plane::Cloud => cloud::admit(self, walk).map(|call| Call::Cloud(Box::new(call))),
        }
    }

    fn charge(&self, call: &Call) -> Option<Charge> {
        let (operation, key, documented) = match call {
            Call::Data(api::DataCall::Publish(call)) => {
                (api::PUBLISH, call.instance().id.clone(), 0)
            }
            Call::Data(api::DataCall::ClientStatus(call)) => {
                (api::CLIENT_STATUS, call.instance.id.clone(), 0)
            }
            Call::Cloud(call) => (call.action.name(), call.secret_id.clone(), CLOUD_RATE),
        };
        Some(Charge {
            operation,
            key,
            per_second: self.rate(operation, documented),
        })
    }

    async fn perform(&self, call: Call, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        match call {
            Call::Data(api::DataCall::Publish(call)) => {
                api::perform_publish(self, *call, walk).await
            }
            Call::Data(api::DataCall::ClientStatus(call)) => api::perform_status(call, walk).await,
            Call::Cloud(call) => cloud::perform(self, *call, walk).await,
        }
    }

    fn error_code(&self, error: &Error) -> String {
        // The same error has one name on both ways but for the shared ones, whose cloud code is
        // the better known.
        match error {
            Error::Shared(_) => error.row(Plane::Cloud).code,
            _ => error.row(Plane::Data).code,
        }
        .to_owned()
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        error::render(error, plane(request), receipt)
    }
}
