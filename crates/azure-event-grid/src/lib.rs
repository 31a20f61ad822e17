//! Azure Event Grid: the MQTT broker's HTTP publish, Entra tokens, routing and pull delivery.
//!
//! `model/` is what a namespace is, `arm/` how the resource manager changes it, `identity/` who
//! calls, `events/` what becomes of events, `mqtt/` the MQTT side, `api/` the HTTP surface with one
//! file per noun. Refusals stand in `error.rs` and are written in `render.rs`; what no document says
//! is in `choices.rs`. Each of these uses only what stands before it in this list:
//! `error`, `model`, `settings`, `identity`, `events`, `arm`, `render`, `mqtt`, `api`.

mod api;
mod arm;
pub mod choices;
mod error;
mod events;
mod identity;
mod model;
mod mqtt;
mod render;
mod settings;

use std::sync::Arc;

use mqttstack_kit::outbound::Outbound;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use self::api::identity::Identity;
use self::api::publish::Publish;
use self::api::resources::ResourceCall;
use self::api::retained::Read;
use self::api::rooms::Rooms;
use self::api::route::{OPERATIONS, Route};
use self::api::topics::TopicCall;
use self::arm::rules;
pub use self::error::Error;
use self::events::delivery::Deliveries;
use self::events::failures::Failures;
use self::events::routing::{Router, RoutingOutlet};
use self::events::store::Store;
use self::identity::auth::Authenticator;
use self::identity::entra::Keys;
use self::model::limits;
pub use self::settings::{Settings, SettingsError};
use mqttstack_base::exchange::{Answer, BodyPolicy, Head, Receipt, Refusal, Request, Surface};
use mqttstack_broker::dialect::Dialect;
use mqttstack_pipeline::App;
use mqttstack_pipeline::{Charge, Vendor, Walk};

/// The Azure surface.
#[derive(Debug)]
pub struct AzureEventGrid {
    rooms: Rooms,
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
        check(&settings)?;
        let settings = Arc::new(settings);
        let outbound = Arc::new(Outbound::new(settings.trusted_ca.clone()));
        let store = Arc::new(Store::new(&settings));
        Ok(Self {
            rooms: Rooms {
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
            },
            tasks: Mutex::default(),
        })
    }

    /// Registers the MQTT side and the routing with the broker, and begins to send events to
    /// custom topics, until this is dropped. Must be called inside a tokio runtime, once.
    pub fn started(&self, app: &App) {
        let (dialect, watch) = self.mqtt_side(app);
        let failures = Failures::of(app);
        app.broker.add_dialect(dialect);
        app.broker.add_outlet(Arc::new(RoutingOutlet {
            router: self.rooms.router.clone(),
            failures: failures.clone(),
        }));
        let (deliveries, clock) = (self.rooms.router.deliveries.clone(), app.clock.clone());
        let task = tokio::spawn(async move {
            tokio::join!(deliveries.run(&clock, &failures), watch.run());
        });
        *self.tasks.lock() = Some(AbortOnDropHandle::new(task));
    }

    /// The MQTT side over the rooms of an emulator, for whoever wants to ask it without a broker.
    pub fn dialect(&self, app: &App) -> Arc<dyn Dialect> {
        self.mqtt_side(app).0
    }

    fn mqtt_side(&self, app: &App) -> (Arc<dyn Dialect>, mqtt::Watch) {
        let Rooms {
            authenticator,
            store,
            ..
        } = &self.rooms;
        let rates = self.rooms.rates(app);
        mqtt::open(authenticator.clone(), store.clone(), rates, app)
    }

    /// Back to the configured state. The signing key stays, so tokens stay good.
    pub fn reset(&self) {
        self.rooms.store.reset();
        self.rooms.router.deliveries.clear();
        self.rooms.authenticator.keys.forget_outside();
        self.rooms.authenticator.verifier.clear();
    }

    /// Whether a path belongs to this surface.
    pub fn knows_path(path: &str) -> bool {
        Route::knows(path)
    }
}

/// Checks what types alone do not say.
fn check(settings: &Settings) -> Result<(), SettingsError> {
    settings.check()?;
    for name in settings.quotas.keys() {
        if !OPERATIONS.contains(&name.as_str()) {
            return Err(SettingsError::new(
                format!("azure.quotas.{name}"),
                format!("no such operation; there are {}", OPERATIONS.join(", ")),
            ));
        }
    }
    for namespace in &settings.namespaces {
        rules::check(namespace).map_err(|broken| {
            let place = format!("azure.namespaces.{}.{}", namespace.name, broken.place);
            SettingsError::new(place, broken.why)
        })?;
    }
    Ok(())
}

impl Vendor for AzureEventGrid {
    const SURFACE: Surface = Surface::Azure;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, head: &Head) -> BodyPolicy {
        let limited = self.rooms.settings.limits;
        let max_body = match head.path() {
            "/mqtt/messages" if limited => limits::MESSAGE,
            path if path.starts_with("/topics/") && limited => limits::EVENTS,
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
        let rooms = &self.rooms;
        let route = Route::of(&walk.request.head)?;
        let operation = route.operation();
        walk.draft.asks(operation);
        let kind = match route.clone() {
            Route::Publish => Kind::Publish(Box::new(rooms.admit_publish(walk).await?)),
            Route::GetRetained => Kind::Retained(rooms.admit_retained(true, walk).await?),
            Route::ListRetained => Kind::Retained(rooms.admit_retained(false, walk).await?),
            Route::PublishEvents { topic } => Kind::Topic(rooms.admit_events(topic, walk).await?),
            Route::Subscription {
                topic,
                subscription,
                action,
            } => Kind::Topic(
                rooms
                    .admit_subscription(topic, subscription, action, walk)
                    .await?,
            ),
            Route::ManagedIdentity => {
                Kind::Identity(rooms.admit_managed(walk).map_err(Error::of_identity)?)
            }
            Route::Token { tenant } => Kind::Identity(
                rooms
                    .admit_token(&tenant, walk)
                    .map_err(Error::of_identity)?,
            ),
            Route::OpenIdConfiguration { tenant, version } => {
                Kind::Identity(rooms.admit_configuration(tenant, version)?)
            }
            Route::Keys { tenant } => Kind::Identity(rooms.admit_keys(&tenant)?),
            Route::Resource(id) => Kind::Resource(ResourceCall::read(id, walk.request)?),
            Route::Instance => {
                Kind::Identity(Rooms::admit_instance(walk.request).map_err(Error::of_identity)?)
            }
        };
        rooms.hint_leniency(&route, walk);
        Ok(Call { operation, kind })
    }

    fn charge(&self, call: &Call) -> Option<Charge> {
        let per_second = *self.rooms.settings.quotas.get(call.operation)?;
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
        let rooms = &self.rooms;
        match call.kind {
            Kind::Publish(publish) => rooms.perform_publish(*publish, walk).await,
            Kind::Retained(read) => Rooms::perform_retained(read, walk),
            Kind::Topic(topic) => rooms.perform_topic(topic, walk).await,
            Kind::Identity(identity) => rooms.perform_identity(identity, walk).await,
            Kind::Resource(call) => rooms.perform_resource(call, walk),
        }
    }

    fn error_code(&self, error: &Error) -> String {
        error.row().code.to_owned()
    }

    fn is_over_rate(&self, error: &Error) -> bool {
        matches!(error, Error::Refused(Refusal::TooManyRequests { .. }))
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        render::render(error, request, receipt)
    }
}
