//! What the cloud might have refused of a request that is let in, as hints for the journal.

use mqttstack_pipeline::Walk;

use super::parameters::Parameters;
use super::rooms::Rooms;
use super::route::Route;
use super::{publish, topics};

impl Rooms {
    /// Says what was lenient about a request that is let in.
    pub(crate) fn hint_leniency(&self, route: &Route, walk: &mut Walk<'_>) {
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
            hints.extend(self.settings.auth.hint());
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
        let (what, name) = namespace.topics().creates(topic, subscription)?;
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
