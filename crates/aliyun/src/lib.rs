//! Aliyun ApsaraMQ for MQTT: the `OnsMqtt` OpenAPI, version 2020-04-20, as its SDKs call it.
//!
//! A request is read into `parameters.rs` and `envelope.rs`, its sender proven in `auth/`, its
//! action found in `actions.rs` and performed in `api/`; answers are written by `wire.rs`,
//! refusals by `error.rs`. What is remembered is in `store/`; MQTT clients meet `mqtt/`. The order of the checks is in [`Aliyun::admit`] below.

mod actions;
mod api;
mod auth;
mod client_id;
mod envelope;
mod error;
mod host;
mod mqtt;
mod parameters;
pub mod settings;
mod spelling;
mod status_change;
mod store;
mod topic;
mod wire;

use std::sync::Arc;

use mqttstack_base::exchange::{
    Answer, BodyPolicy, Head, Receipt, Refusal, Request, Scheme, Surface,
};
use mqttstack_base::message::Qos;
use mqttstack_pipeline::App;
use mqttstack_pipeline::{Charge, Vendor, Walk};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use self::actions::Action;
use self::api::Call;
use self::auth::{Authenticator, Caller};
use self::envelope::Envelope;
use self::error::Rendering;
use self::mqtt::{ApsaraMqtt, Guard, Watch};
use self::parameters::Parameters;
use self::store::Store;
use self::store::trace::Tracer;
use self::wire::Field;

pub use self::error::Error;
pub use self::settings::{Settings, SettingsError};
pub use self::wire::Format;

/// The API version that is emulated.
const VERSION: &str = "2020-04-20";

/// The Aliyun surface.
#[derive(Debug)]
pub struct Aliyun {
    settings: Arc<Settings>,
    qos: Qos,
    authenticator: Arc<Authenticator>,
    store: Arc<Store>,
    watching: Mutex<Option<Guard>>,
}

/// A call that was let in.
#[derive(Debug)]
pub struct Admitted {
    action: &'static Action,
    caller: Caller,
    format: Format,
    call: Call,
}

impl Aliyun {
    /// Builds the surface in its seeded state.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let qos = Qos::from_level(settings.qos)
            .ok_or_else(|| SettingsError::new("aliyun.qos", "it must be 0, 1 or 2"))?;
        if let Some(name) = settings
            .quotas
            .keys()
            .find(|name| Action::find(name).is_err())
        {
            return Err(SettingsError::new(
                format!("aliyun.quotas.{name}"),
                actions::unknown(name),
            ));
        }
        Ok(Self {
            qos,
            authenticator: Arc::new(Authenticator::new(&settings)?),
            store: Arc::new(Store::new(&settings)?),
            settings: Arc::new(settings),
            watching: Mutex::new(None),
        })
    }

    /// Opens the MQTT side. Must be called inside a tokio runtime.
    pub fn started(&self, app: &App) {
        let (orders, ordered) = mpsc::unbounded_channel();
        app.broker.add_dialect(Arc::new(ApsaraMqtt {
            settings: self.settings.clone(),
            authenticator: self.authenticator.clone(),
            store: self.store.clone(),
            clock: app.clock.clone(),
            ids: app.ids.clone(),
            orders,
        }));
        app.broker.add_outlet(Arc::new(Tracer {
            store: self.store.clone(),
            isolation: app.broker.isolation(),
        }));
        let watch = Watch::new(self.store.clone(), app);
        *self.watching.lock() = Some(mqtt::start(watch, ordered));
    }

    /// Has clients whose tokens are no good any more told and disconnected, without waiting.
    fn look_at_tokens(&self) {
        if let Some(watching) = &*self.watching.lock() {
            watching.look();
        }
    }

    /// Back to the seeded state: resources and nonces.
    pub fn reset(&self) {
        self.store.reset();
        self.authenticator.reset();
    }

    /// The order of the gateway's checks, as far as known: assumed where the fact is not
    /// documented, but every caller sees it, so it stands in one place.
    fn check(&self, parameters: &Parameters<'_>, walk: &mut Walk<'_>) -> Result<Admitted, Error> {
        parameters.check(walk.draft)?;
        let envelope = Envelope::read(walk.request, parameters);
        let action = self.check_action(&envelope, walk)?;
        let format = Format::wanted(&envelope, parameters, &self.settings).map_err(|_| {
            walk.draft.note(format!(
                "Format {:?} is neither XML nor JSON",
                parameters.get("Format")
            ));
            Error::FormatInvalid
        })?;
        let caller = self.authenticator.verify(&envelope, parameters, walk)?;
        let call = Call::parse(action, parameters, walk.draft)?;
        Ok(Admitted {
            action,
            caller,
            format,
            call,
        })
    }

    /// Whether the action exists and may be called this way.
    fn check_action(
        &self,
        envelope: &Envelope<'_>,
        walk: &mut Walk<'_>,
    ) -> Result<&'static Action, Error> {
        let head = &walk.request.head;
        if !host::is_ours(head.host(), &self.settings.hosts) {
            walk.draft.note(format!(
                "host {:?} is neither an endpoint of OnsMqtt nor a local name; aliyun.hosts may \
                 list more",
                head.host().unwrap_or_default()
            ));
            return Err(Error::ProductNotFound);
        }
        if head.path() != "/" {
            walk.draft
                .note(format!("the path is {:?}, it must be /", head.path()));
            return Err(Error::ActionNotFound);
        }
        let action = Action::find(envelope.action).inspect_err(|error| {
            if *error == Error::ActionNotFound {
                walk.draft.note(actions::unknown(envelope.action));
            }
        })?;
        walk.draft.asks(action.name);
        match envelope.version {
            "" => return Err(Error::Missing("Version")),
            VERSION => {}
            other => {
                walk.draft
                    .note(format!("version {other:?} is not {VERSION}"));
                return Err(Error::VersionInvalid);
            }
        }
        self.check_method(action, walk)?;
        Ok(action)
    }

    fn check_method(&self, action: &Action, walk: &mut Walk<'_>) -> Result<(), Error> {
        let method: &str = &walk.request.head.method;
        if !action.takes(method) {
            let lenient = method == "GET" && self.settings.allow_get;
            if !lenient {
                walk.draft
                    .note(format!("{} does not take {method}", action.name));
                return Err(Error::MethodUnsupported);
            }
            walk.draft.note(format!(
                "hint: the vendor's metadata lists only POST for {}; the cloud may refuse this \
                 GET, as aliyun.allow_get = false does here",
                action.name
            ));
        }
        if !action.plain_http && walk.request.scheme == Scheme::Http && !self.settings.allow_http {
            walk.draft
                .note(format!("{} is offered over HTTPS only", action.name));
            return Err(Error::SslRequired);
        }
        if !action.plain_http && walk.request.scheme == Scheme::Http {
            walk.draft.hint(format!(
                "the vendor offers {} over HTTPS only; aliyun.allow_http = false refuses HTTP here",
                action.name
            ));
        }
        Ok(())
    }
}

impl Vendor for Aliyun {
    const SURFACE: Surface = Surface::Aliyun;
    type Call = Admitted;
    type Error = Error;

    fn body_policy(&self, _head: &Head) -> BodyPolicy {
        BodyPolicy {
            max_body: self.settings.max_body_bytes,
            ..BodyPolicy::default()
        }
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Admitted, Error> {
        let parameters = Parameters::read(walk.request);
        let admitted = self.check(&parameters, walk);
        if let Err(Error::Missing(missing)) = &admitted {
            let given = parameters.all().iter().map(|(name, _)| &**name);
            if let Some(given) = spelling::nearest(missing, given) {
                walk.draft.note(format!(
                    "there is a parameter {given:?}, but it is spelled {missing}"
                ));
            }
        }
        admitted
    }

    fn charge(&self, admitted: &Admitted) -> Option<Charge> {
        let action = admitted.action;
        let configured = self.settings.quotas.get(action.name);
        Some(Charge {
            operation: action.name,
            key: admitted.caller.id.clone(),
            per_second: configured.copied().unwrap_or(action.per_second),
        })
    }

    async fn perform(&self, admitted: Admitted, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        let mut fields = vec![Field::new("RequestId", walk.receipt.id.clone())];
        fields.extend(admitted.call.perform(self, walk).await?);
        let root = format!("{}Response", admitted.action.name);
        Ok(wire::success(admitted.format, &root, &fields, walk.receipt))
    }

    fn error_code(&self, error: &Error) -> String {
        error.row(self.settings.overflow).code.into_owned()
    }

    fn is_over_rate(&self, error: &Error) -> bool {
        matches!(error, Error::Shared(Refusal::TooManyRequests { .. }))
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        let parameters = Parameters::read(request);
        let envelope = Envelope::read(request, &parameters);
        let format = Format::wanted(&envelope, &parameters, &self.settings)
            .unwrap_or_else(|unknown| unknown.0);
        let rendering = Rendering {
            format,
            host: host::host_id(request.head.host()),
            overflow: self.settings.overflow,
            status_change: self.settings.status_change,
            retry_after_s: self.settings.retry_after_s,
        };
        error::render(error, &rendering, receipt)
    }
}

#[cfg(test)]
mod error_tests;
