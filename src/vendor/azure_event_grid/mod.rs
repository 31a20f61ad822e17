//! Azure Event Grid: the MQTT broker's HTTP publish, Entra tokens, routing and pull delivery.
//!
//! A request's path is read in `api/mod.rs`; `auth.rs` says who calls, `access.rs` what the
//! caller may do; `api/` has one file per noun. Tokens are made in `entra.rs`, refusals written
//! in `error.rs`. What is configured is in `settings.rs` and `resources.rs`.

mod access;
mod api;
mod auth;
mod entra;
pub mod error;
pub mod filter;
mod jwt;
mod query;
pub mod resources;
pub mod routing;
pub mod settings;
mod template;

use self::api::identity::Identity;
use self::api::Route;
use self::entra::Keys;
pub use self::error::{Error, Standing};
pub use self::settings::{Settings, SettingsError};
use crate::exchange::{Answer, BodyPolicy, Head, Receipt, Request, Surface};
use crate::pipeline::{Charge, Vendor, Walk};

/// The Azure surface.
#[derive(Debug)]
pub struct AzureEventGrid {
    settings: Settings,
    keys: Keys,
    client: reqwest::Client,
}

/// An understood and allowed request.
#[derive(Debug)]
pub struct Call {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Identity(Identity),
}

impl AzureEventGrid {
    /// A surface with these settings. Makes no key and opens no connection.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        Ok(Self {
            keys: Keys::new(&settings)?,
            client: reqwest::Client::new(),
            settings,
        })
    }

    /// Back to the configured state. The signing key stays, so tokens stay good.
    pub fn reset(&self) {}

    /// Whether a path belongs to this surface.
    pub fn knows_path(path: &str) -> bool {
        Route::knows(path)
    }
}

impl Vendor for AzureEventGrid {
    const SURFACE: Surface = Surface::Azure;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Call, Error> {
        let route = Route::of(&walk.request.head)?;
        walk.draft.operation = Some(route.operation().to_owned());
        let kind = match route {
            Route::ManagedIdentity => Kind::Identity(self.admit_managed(walk)?),
            Route::Token { tenant } => Kind::Identity(self.admit_token(&tenant, walk)?),
            Route::OpenIdConfiguration { tenant, version } => {
                Kind::Identity(self.admit_configuration(tenant, version)?)
            }
            Route::Keys { tenant } => Kind::Identity(self.admit_keys(&tenant)?),
            Route::Instance => Kind::Identity(Self::admit_instance(walk.request)?),
            _ => return Err(Error::NotFound("not here yet".into())),
        };
        Ok(Call { kind })
    }

    fn charge(&self, _call: &Call) -> Option<Charge> {
        None
    }

    async fn perform(&self, call: Call, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        match call.kind {
            Kind::Identity(identity) => self.perform_identity(identity, walk).await,
        }
    }

    fn error_code(&self, error: &Error) -> String {
        error.row().code.to_owned()
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        error::render(error, request, receipt)
    }
}
