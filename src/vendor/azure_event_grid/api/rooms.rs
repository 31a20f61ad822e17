//! What the calls of the HTTP surface work with.

use std::sync::Arc;

use crate::exchange::Request;
use crate::vendor::azure_event_grid::error::Error;
use crate::vendor::azure_event_grid::events::routing::Router;
use crate::vendor::azure_event_grid::events::store::{NamespaceState, Store};
use crate::vendor::azure_event_grid::identity::auth::Authenticator;
use crate::vendor::azure_event_grid::model::rates::Rates;
use crate::vendor::azure_event_grid::settings::Settings;
use mqttstack_pipeline::App;

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
