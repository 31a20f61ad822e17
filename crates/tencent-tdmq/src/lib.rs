//! Tencent TDMQ for MQTT: the HTTP data plane, the `mqtt` cloud API and the MQTT side, all over
//! the same users, policies and topics.
//!
//! | file | what it answers |
//! |---|---|
//! | `api.rs`, `query.rs` | `POST /topics/{topic}`, `GET /client-id/{id}/status`, `POST /keep-alive` |
//! | `cloud/` | the cloud API at `/` with `X-TC-Action`, version 2024-05-16 |
//! | `auth.rs`, `certificate.rs`, `jwt.rs`, `jwks.rs` | who calls |
//! | `mqtt.rs`, `shape.rs` | the MQTT side: who is its client, who gets in, quotas |
//! | `events.rs`, `history.rs` | what is told of MQTT clients |
//! | `messages.rs` | the messages that the cloud API tells of |
//! | `sql.rs`, `sql/` | the SQL filter of a subscription |
//! | `policy.rs`, `pattern.rs`, `claims.rs` | who may connect, publish, subscribe |
//! | `settings.rs` | what can be configured |
//! | `store.rs`, `subjects.rs` | instances with what they have; who each MQTT client is |
//! | `error/` | how it refuses |

mod api;
mod auth;
mod certificate;
mod claims;
mod cloud;
mod error;
mod events;
mod history;
mod jwt;
mod messages;
mod mqtt;
mod pattern;
mod policy;
mod query;
mod settings;
mod shape;
mod sql;
mod store;
mod subjects;

use std::sync::Arc;

pub use self::certificate::Authority;
pub use self::cloud::Action as CloudAction;
pub use self::error::{Error, Plane, Row};
use self::history::History;
pub use self::jwt::Authenticator;
use self::jwt::Issuers;
pub use self::policy::{Action, Effect, Policy};
pub use self::settings::{Settings, SettingsError, UnknownUsers};
pub use self::store::User;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, Head, Malformed, Receipt, Refusal, Request, Surface,
};
use mqttstack_pipeline::{Charge, Vendor, Walk};
use mqttstack_tencent_cloud_api as cloud_api;

use self::store::{Seed, Store};
use self::subjects::Subjects;

/// The service's name in cloud API signatures.
pub(crate) const SERVICE: &str = "mqtt";
/// The one version of its cloud API.
pub const VERSION: &str = "2024-05-16";
/// How often a cloud API action may be called, per second (documented on every action's page).
const CLOUD_RATE: u32 = 20;

/// The actions of its cloud API that are emulated.
pub const ACTIONS: &[CloudAction] = CloudAction::ALL;

/// A shared handle on TDMQ for MQTT.
#[derive(Debug, Clone)]
pub struct TencentTdmq {
    settings: Arc<Settings>,
    cloud: Arc<cloud_api::Settings>,
    store: Arc<Store>,
    subjects: Arc<Subjects>,
    issuers: Arc<Issuers>,
    history: Arc<History>,
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
    pub fn new(settings: Settings, cloud: cloud_api::Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let seed = Seed {
            users: settings.users.clone(),
            policies: settings.policies.clone(),
            topics: settings.topics.clone(),
            authenticators: settings.authenticators.clone(),
        };
        let store = Store::new(&settings.instance.id, seed, settings.auto_create);
        Ok(Self {
            settings: Arc::new(settings),
            cloud: Arc::new(cloud),
            store: Arc::new(store),
            subjects: Arc::default(),
            issuers: Arc::default(),
            history: Arc::default(),
        })
    }

    /// Back to the seeded resources.
    pub fn reset(&self) {
        self.store.reset();
        self.subjects.forget_absent();
        self.issuers.clear();
        self.history.clear();
    }

    fn rate(&self, operation: &'static str, documented: u32) -> u32 {
        self.settings
            .quotas
            .get(operation)
            .copied()
            .unwrap_or(documented)
    }
}

/// The cloud API is at the root, where the data plane has nothing.
fn plane(request: &Request) -> Plane {
    match request.head.path() {
        "" | "/" => Plane::Cloud,
        _ => Plane::Data,
    }
}

impl Vendor for TencentTdmq {
    const SURFACE: Surface = Surface::TencentTdmq;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, head: &Head) -> BodyPolicy {
        // Base64 in JSON takes more room than the payload itself.
        let payload = self.settings.max_payload_bytes.saturating_mul(2) + 4_096;
        let max_body = match head.path() {
            "" | "/" => cloud_api::longest_body(head),
            _ => payload,
        };
        BodyPolicy {
            max_body,
            ..BodyPolicy::default()
        }
    }

    fn unreadable(&self, problem: Malformed, request: &Request) -> Error {
        match problem {
            Malformed::BodyTooLarge { .. } if plane(request) == Plane::Cloud => {
                cloud_api::too_large(&request.head).into()
            }
            problem => Refusal::Malformed(problem).into(),
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
            Call::Data(api::DataCall::KeepAlive(call)) => {
                (api::KEEP_ALIVE, call.instance.id.clone(), 0)
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
            Call::Data(api::DataCall::ClientStatus(call)) => {
                Ok(api::perform_status(call, walk).await)
            }
            Call::Data(api::DataCall::KeepAlive(call)) => api::perform_keep_alive(call, walk).await,
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

    fn is_over_rate(&self, error: &Error) -> bool {
        matches!(error, Error::Shared(Refusal::TooManyRequests { .. }))
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        error::render(error, plane(request), receipt)
    }
}
