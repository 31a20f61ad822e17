//! What the cloud might have refused of a request that is let in, as hints for the journal.

use super::AzureEventGrid;
use super::api::parameters::Parameters;
use super::api::{Route, publish, topics};
use super::settings::Auth;
use mqttstack_pipeline::Walk;

/// Of a CONNECT.
pub(super) fn of_connect(auth: Auth) -> Vec<String> {
    unchecked(auth).into_iter().collect()
}

fn unchecked(auth: Auth) -> Option<String> {
    match auth {
        Auth::Strict => None,
        Auth::Lenient => {
            Some("azure.auth is lenient: signature, issuer and role were not checked".to_owned())
        }
        Auth::Off => Some("azure.auth is off: the credentials were not checked".to_owned()),
    }
}

impl AzureEventGrid {
    /// Says what was lenient about a request that is let in.
    pub(super) fn hint_leniency(&self, route: &Route, walk: &mut Walk<'_>) {
        let mut hints = Vec::new();
        match route {
            Route::Publish | Route::GetRetained | Route::ListRetained => {
                hints.extend(self.version(walk, &publish::VERSIONS));
            }
            Route::PublishEvents { topic } => {
                hints.extend(self.version(walk, &topics::VERSIONS));
                hints.extend(self.creates(topic, None, walk));
            }
            Route::Subscription {
                topic,
                subscription,
                ..
            } => {
                hints.extend(self.version(walk, &topics::VERSIONS));
                hints.extend(self.creates(topic, Some(subscription), walk));
            }
            Route::Token { tenant }
            | Route::Keys { tenant }
            | Route::OpenIdConfiguration { tenant, .. } => {
                hints.extend(self.foreign_tenant(tenant));
            }
            Route::ManagedIdentity | Route::Instance | Route::Resource(_) => {}
        }
        let data_plane = matches!(
            route,
            Route::Publish
                | Route::GetRetained
                | Route::ListRetained
                | Route::PublishEvents { .. }
                | Route::Subscription { .. }
        );
        if data_plane {
            hints.extend(unchecked(self.settings.auth));
            hints.extend(self.other_namespace(walk));
        }
        walk.draft.hints.extend(hints);
    }

    /// A host name of the vendor's whose namespace is not configured: the first one answers.
    fn other_namespace(&self, walk: &Walk<'_>) -> Option<String> {
        let host = walk.request.head.host()?.to_ascii_lowercase();
        let host = host.split(':').next().unwrap_or_default();
        let label = host.strip_suffix(".azure.net")?.split('.').next()?;
        let answers = self.store.namespace(Some(host))?;
        self.store.find(label).is_none().then(|| {
            format!(
                "the host names namespace {label:?}, which is not configured; {:?} answers",
                answers.name()
            )
        })
    }

    fn version(&self, walk: &Walk<'_>, known: &[&str]) -> Option<String> {
        let query = Parameters::parse(walk.request.head.raw_query()).ok()?;
        let got = query.get("api-version").ok()??;
        (!self.settings.strict_parameters && !known.contains(&got)).then(|| {
            format!(
                "the api-version {got:?} is not known; known are {}, and azure.strict_parameters \
                 = true refuses others",
                known.join(", ")
            )
        })
    }

    fn creates(&self, topic: &str, subscription: Option<&str>, walk: &Walk<'_>) -> Option<String> {
        let namespace = self.store.namespace(walk.request.head.host())?;
        let (what, name) = namespace.creates(topic, subscription)?;
        Some(format!(
            "{what} {name:?} was created by this request: azure.auto_create is on"
        ))
    }

    fn foreign_tenant(&self, named: &str) -> Option<String> {
        let own = &self.settings.tenant;
        let foreign = uuid::Uuid::try_parse(named).is_ok() && !named.eq_ignore_ascii_case(own);
        (foreign && self.settings.auto_create)
            .then(|| format!("tenant {named:?} is not the configured one: azure.auto_create is on"))
    }
}
