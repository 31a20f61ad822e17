//! Azure Event Grid: the MQTT broker's HTTP publish, Entra tokens, routing and pull delivery.
//!
//! A request's path is read in `api/mod.rs`; `auth.rs` and `sas.rs` say who calls, `access.rs` what
//! the caller may do; `api/` has one file per noun. Tokens are made in `entra.rs`, refusals written
//! in `error.rs`, messages turned into events in `routing.rs` and sent on in `router.rs`, events
//! kept in `store.rs`. What is configured is in `settings.rs` and `resources.rs`; what no document says, in `choices.rs`.

mod access;
mod api;
mod auth;
mod certificate;
mod children;
pub mod choices;
mod delivery;
mod deployment;
mod edit;
mod entra;
pub mod error;
pub mod filter;
mod jwt;
mod leniency;
mod life_cycle;
mod limits;
mod mqtt;
mod query;
mod queue;
mod rates;
pub mod resources;
mod router;
pub mod routing;
mod sas;
pub mod settings;
mod store;
mod template;
pub mod topic;

use std::sync::Arc;

use mqttstack_kit::outbound::Outbound;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use self::api::Route;
use self::api::identity::Identity;
use self::api::publish::Publish;
use self::api::resources::{ResourceCall, no_namespace};
use self::api::retained::Read;
use self::api::topics::TopicCall;
use self::auth::Authenticator;
use self::delivery::Deliveries;
use self::entra::Keys;
pub use self::error::Error;
use self::rates::Rates;
use self::router::{Router, RoutingOutlet};
pub use self::settings::{Settings, SettingsError};
use self::store::{NamespaceState, Store};
use crate::app::App;
use crate::broker::dialect::Dialect;
use crate::exchange::{Answer, BodyPolicy, Head, Receipt, Refusal, Request, Surface};
use crate::pipeline::{Charge, Vendor, Walk};

/// The Azure surface.
#[derive(Debug)]
pub struct AzureEventGrid {
    settings: Arc<Settings>,
    authenticator: Authenticator,
    store: Arc<Store>,
    router: Router,
    tasks: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// An understood and allowed request.
#[derive(Debug)]
pub struct Call {
    operation: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Publish(Box<Publish>),
    Retained(Read),
    Topic(TopicCall),
    Identity(Identity),
    Resource(ResourceCall),
}

impl AzureEventGrid {
    /// A surface with these settings. Makes no key and opens no connection.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let settings = Arc::new(settings);
        let outbound = Arc::new(Outbound::new(settings.trusted_ca.clone()));
        let store = Arc::new(Store::new(&settings));
        Ok(Self {
            authenticator: Authenticator {
                keys: Arc::new(Keys::new(&settings)?),
                verifier: Arc::default(),
                outbound: outbound.clone(),
                settings: settings.clone(),
            },
            router: Router {
                store: store.clone(),
                deliveries: Arc::new(Deliveries::new(outbound)),
            },
            store,
            settings,
            tasks: Mutex::default(),
        })
    }

    /// Registers the MQTT side and the routing with the broker, and begins to send events to
    /// custom topics, until this is dropped. Must be called inside a tokio runtime, once.
    pub fn started(&self, app: &App) {
        let (dialect, watch) = self.mqtt_side(app);
        app.broker.add_dialect(dialect);
        app.broker.add_outlet(Arc::new(RoutingOutlet {
            router: self.router.clone(),
            ids: app.ids.clone(),
        }));
        let (deliveries, clock) = (self.router.deliveries.clone(), app.clock.clone());
        let task = tokio::spawn(async move {
            tokio::join!(deliveries.run(&clock), watch.run());
        });
        *self.tasks.lock() = Some(AbortOnDropHandle::new(task));
    }

    /// The MQTT side over the rooms of an emulator, for whoever wants to ask it without a broker.
    pub fn dialect(&self, app: &App) -> Arc<dyn Dialect> {
        self.mqtt_side(app).0
    }

    fn mqtt_side(&self, app: &App) -> (Arc<dyn Dialect>, mqtt::Watch) {
        let rates = self.rates(app);
        mqtt::open(self.authenticator.clone(), self.store.clone(), rates, app)
    }

    /// Back to the configured state. The signing key stays, so tokens stay good.
    pub fn reset(&self) {
        self.store.reset();
        self.router.deliveries.clear();
        self.authenticator.keys.forget_outside();
        self.authenticator.verifier.clear();
    }

    /// The vendor's rates, as far as they were asked for.
    fn rates(&self, app: &App) -> Rates {
        Rates {
            units: self.settings.throughput_units,
            quotas: app.quotas.clone(),
        }
    }

    /// The namespace that a request is for.
    fn namespace_of(&self, request: &Request) -> Result<Arc<NamespaceState>, Error> {
        let found = self.store.namespace(request.head.host());
        found.ok_or_else(no_namespace)
    }

    /// Whether a path belongs to this surface.
    pub fn knows_path(path: &str) -> bool {
        Route::knows(path)
    }
}

impl Vendor for AzureEventGrid {
    const SURFACE: Surface = Surface::Azure;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, head: &Head) -> BodyPolicy {
        let max_body = match head.path() {
            "/mqtt/messages" if self.settings.limits => limits::MESSAGE,
            path if path.starts_with("/topics/") && self.settings.limits => limits::EVENTS,
            path if path.starts_with("/topics/") || path.starts_with("/mqtt/") => 16 << 20,
            // The resource manager's limit of a template.
            path if path.starts_with("/subscriptions/") => 4 << 20,
            _ => 64 << 10,
        };
        BodyPolicy {
            max_body,
            ..BodyPolicy::default()
        }
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Call, Error> {
        let route = Route::of(&walk.request.head)?;
        let operation = route.operation();
        walk.draft.operation = Some(operation.to_owned());
        let kind = match route.clone() {
            Route::Publish => Kind::Publish(Box::new(self.admit_publish(walk).await?)),
            Route::GetRetained => Kind::Retained(self.admit_retained(true, walk).await?),
            Route::ListRetained => Kind::Retained(self.admit_retained(false, walk).await?),
            Route::PublishEvents { topic } => Kind::Topic(self.admit_events(topic, walk).await?),
            Route::Subscription {
                topic,
                subscription,
                action,
            } => Kind::Topic(
                self.admit_subscription(topic, subscription, action, walk)
                    .await?,
            ),
            Route::ManagedIdentity => {
                Kind::Identity(self.admit_managed(walk).map_err(Error::of_identity)?)
            }
            Route::Token { tenant } => Kind::Identity(
                self.admit_token(&tenant, walk)
                    .map_err(Error::of_identity)?,
            ),
            Route::OpenIdConfiguration { tenant, version } => {
                Kind::Identity(self.admit_configuration(tenant, version)?)
            }
            Route::Keys { tenant } => Kind::Identity(self.admit_keys(&tenant)?),
            Route::Resource(id) => Kind::Resource(ResourceCall::read(id, walk.request)?),
            Route::Instance => {
                Kind::Identity(Self::admit_instance(walk.request).map_err(Error::of_identity)?)
            }
        };
        self.hint_leniency(&route, walk);
        Ok(Call { operation, kind })
    }

    fn charge(&self, call: &Call) -> Option<Charge> {
        let per_second = *self.settings.quotas.get(call.operation)?;
        let key = match &call.kind {
            Kind::Publish(publish) => &publish.caller,
            Kind::Retained(read) => &read.caller,
            Kind::Topic(topic) => &topic.caller,
            Kind::Identity(_) | Kind::Resource(_) => "",
        };
        Some(Charge {
            operation: call.operation,
            key: key.to_owned(),
            per_second,
        })
    }

    async fn perform(&self, call: Call, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        match call.kind {
            Kind::Publish(publish) => self.perform_publish(*publish, walk).await,
            Kind::Retained(read) => Self::perform_retained(read, walk),
            Kind::Topic(topic) => self.perform_topic(topic, walk).await,
            Kind::Identity(identity) => self.perform_identity(identity, walk).await,
            Kind::Resource(call) => self.perform_resource(call, walk),
        }
    }

    fn error_code(&self, error: &Error) -> String {
        error.row().code.to_owned()
    }

    fn is_over_rate(&self, error: &Error) -> bool {
        matches!(error, Error::Refused(Refusal::TooManyRequests { .. }))
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        error::render(error, request, receipt)
    }
}
