//! The admin API under `/_mqttstack`, with which tests look at and control one emulator. Ordinary
//! axum, because nothing here imitates a vendor. `inspect.rs` reads, `seek.rs` finds and waits,
//! `control.rs` changes, `events.rs` streams, `metrics.rs` gives the figures, `listing.rs` writes long
//! answers, `problem.rs` has the errors, `guard.rs` refuses web pages. `openapi/admin.yaml` describes
//! all of it.

mod control;
mod events;
mod guard;
mod input;
mod inspect;
mod listing;
mod metrics;
mod problem;
mod render;
mod seek;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, delete, get, post};
use serde_json::Value;
use tokio::sync::{broadcast, watch};

pub use control::{Reset, ResetPart, ResetScope};
pub use guard::{Guard, Settings};
pub use problem::Problem;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Message;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Entry;

/// Where all admin routes are.
pub const PREFIX: &str = "/_mqttstack";

/// The longest body of an admin request in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// The `OpenAPI` description of these routes, in YAML.
pub const DESCRIPTION: &str = include_str!("../../openapi/admin.yaml");

/// Resets that a slow reader of `events` may fall behind.
const RESET_BACKLOG: usize = 64;

/// What the admin API must know beside the shared rooms.
pub struct Surroundings {
    /// The certificate of the local authority, if there is one.
    pub ca_pem: Option<String>,
    /// The surfaces that are emulated.
    pub surfaces: Vec<Surface>,
    /// `shared` or `tenant`.
    pub isolation: String,
    /// The ready object (the listeners' addresses); `None` until everything listens.
    pub ready: watch::Receiver<Option<Arc<Value>>>,
    /// Takes parts back to the seeded state.
    pub reset: Reset,
}

/// The state of all handlers.
#[derive(Clone)]
struct Panel {
    app: App,
    ca_pem: Option<Arc<str>>,
    surfaces: Arc<[Surface]>,
    isolation: Arc<str>,
    ready: watch::Receiver<Option<Arc<Value>>>,
    reset: Reset,
    resets: broadcast::Sender<Value>,
    started: Instant,
}

impl Panel {
    fn tell_of_reset(&self, parts: &[ResetPart]) {
        // An error says that nobody listens.
        let _ = self.resets.send(events::reset_event(parts));
    }
}

/// All admin routes, below [`PREFIX`].
pub fn router(app: App, surroundings: Surroundings) -> Router {
    let panel = Panel {
        app,
        ca_pem: surroundings.ca_pem.map(Arc::from),
        surfaces: surroundings.surfaces.into(),
        isolation: surroundings.isolation.into(),
        ready: surroundings.ready,
        reset: surroundings.reset,
        resets: broadcast::Sender::new(RESET_BACKLOG),
        started: Instant::now(),
    };
    let mut router = Router::new();
    for (path, methods) in routes() {
        router = router.route(&format!("{PREFIX}{path}"), methods);
    }
    router
        .method_not_allowed_fallback(input::method_not_allowed)
        .fallback(input::unknown_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(panel)
}

/// Every path with its methods, in the order of the description.
fn routes() -> Vec<(&'static str, MethodRouter<Panel>)> {
    vec![
        ("/livez", get(inspect::livez)),
        ("/readyz", get(inspect::readyz)),
        ("/health", get(inspect::health)),
        ("/info", get(inspect::info)),
        ("/metrics", get(metrics::metrics)),
        (
            "/requests",
            get(inspect::requests).delete(control::forget::<Entry>),
        ),
        ("/requests/{id}", get(inspect::entry::<Entry>)),
        ("/requests/count", post(seek::count::<Entry>)),
        ("/requests/find", post(seek::find::<Entry>)),
        ("/requests/wait", post(seek::wait_for::<Entry>)),
        (
            "/messages",
            get(inspect::messages).delete(control::forget::<Message>),
        ),
        ("/messages/{id}", get(inspect::entry::<Message>)),
        ("/messages/count", post(seek::count::<Message>)),
        ("/messages/find", post(seek::find::<Message>)),
        ("/messages/wait", post(seek::wait_for::<Message>)),
        ("/clients", get(inspect::clients)),
        ("/clients/{id}", delete(control::kick)),
        ("/subscriptions", get(inspect::subscriptions)),
        ("/retained", get(inspect::retained)),
        ("/clock", get(control::clock).put(control::set_clock)),
        ("/clock/advance", post(control::advance)),
        ("/reset", post(control::reset)),
        ("/events", get(events::events)),
        ("/ca.pem", get(inspect::ca)),
        ("/openapi.json", get(inspect::openapi)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_is_described_and_every_described_path_exists() {
        let description: Value = serde_saphyr::from_str(DESCRIPTION).unwrap();
        let described: BTreeSet<_> = description["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let routed: BTreeSet<_> = routes().into_iter().map(|(path, _)| path).collect();
        assert_eq!(routed, described);
    }
}
