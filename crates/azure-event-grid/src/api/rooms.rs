//! What the calls of the HTTP surface work with.

use std::sync::Arc;

use mqttstack_base::exchange::Request;
use mqttstack_pipeline::App;

use crate::error::Error;
use crate::events::routing::Router;
use crate::events::store::{NamespaceState, Store};
use crate::identity::auth::Authenticator;
use crate::model::rates::Rates;
use crate::settings::Settings;

/// Settings, identities, namespaces and the way of events.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// What is configured.
    pub settings: Arc<Settings>,
    /// Who finds out who calls.
    pub authenticator: Authenticator,
    /// The namespaces.
    pub store: Arc<Store>,
    /// Where messages go as events.
    pub router: Router,
}

impl Rooms {
    /// The vendor's rates, as far as they were asked for.
    pub(crate) fn rates(&self, app: &App) -> Rates {
        Rates {
            units: self.settings.throughput_units,
            quotas: app.quotas.clone(),
        }
    }

    /// The namespace that a request is for.
    pub(crate) fn namespace_of(&self, request: &Request) -> Result<Arc<NamespaceState>, Error> {
        let found = self.store.namespace(request.head.host());
        found.ok_or_else(no_namespace)
    }
}

/// There is nothing that a request without a namespace's name could mean.
pub(crate) fn no_namespace() -> Error {
    Error::NotFound("There is no namespace.".to_owned())
}
