//! The routes that change something: clock, reset, deleting journal entries, disconnecting a client.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use mqttstack_base::clock::Mode;
use mqttstack_broker::FellDue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Panel;
use super::input::{Answered, Id, JsonBody, NoParameters, Parameters};
use super::problem::Problem;
use super::render::Kind;

/// What a reset takes back to the seeded state. Each part is independent of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetPart {
    /// The requests of the journal.
    Requests,
    /// The messages of the journal.
    Messages,
    /// The clock, as it was started.
    Clock,
    /// The calls counted so far.
    Quotas,
    /// The retained messages.
    Retained,
    /// The MQTT sessions, connected or not.
    Sessions,
    /// The vendors' resources.
    Resources,
}

impl ResetPart {
    /// All parts, each with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("requests", Self::Requests),
        ("messages", Self::Messages),
        ("clock", Self::Clock),
        ("quotas", Self::Quotas),
        ("retained", Self::Retained),
        ("sessions", Self::Sessions),
        ("resources", Self::Resources),
    ];
}

/// Which parts a reset takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetScope(BTreeSet<ResetPart>);

impl ResetScope {
    /// Every part.
    pub fn all() -> Self {
        Self(ResetPart::ALL.into_iter().map(|(_, part)| part).collect())
    }

    /// The parts named in a comma-separated list.
    pub fn parse(only: &str) -> Result<Self, Problem> {
        only.split(',')
            .map(|name| {
                let found = ResetPart::ALL
                    .iter()
                    .find(|(known, _)| *known == name.trim());
                found.map(|(_, part)| *part).ok_or_else(|| {
                    let known = ResetPart::ALL.map(|(known, _)| known).join(", ");
                    Problem::parameter("only", format!("expected one of {known}, got {name:?}"))
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a part is taken back.
    pub fn contains(&self, part: ResetPart) -> bool {
        self.0.contains(&part)
    }

    /// The parts that are taken back.
    pub fn parts(&self) -> impl Iterator<Item = ResetPart> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<ResetPart> for ResetScope {
    fn from_iter<I: IntoIterator<Item = ResetPart>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

/// Takes parts of the emulator back to the seeded state; resolves when that is done.
pub type Reset = std::sync::Arc<dyn Fn(ResetScope) -> BoxFuture<'static, ()> + Send + Sync>;

/// `POST reset`
pub(super) async fn reset(
    State(panel): State<Panel>,
    parameters: Parameters,
) -> Answered<Json<Value>> {
    let parameters = parameters.only(&["only"])?;
    let scope = parameters
        .text("only")
        .map_or_else(|| Ok(ResetScope::all()), ResetScope::parse)?;
    let connected = if scope.contains(ResetPart::Sessions) {
        let clients = panel.app.broker.clients().await;
        clients.iter().filter(|client| client.connected).count()
    } else {
        0
    };
    (panel.reset)(scope.clone()).await;
    if scope.contains(ResetPart::Clock) {
        // Calls counted in another time mean nothing in this one.
        panel.app.quotas.clear();
    }
    let parts: Vec<_> = scope.parts().collect();
    panel.tell_of_reset(&parts);
    Ok(Json(json!({ "reset": parts, "disconnected": connected })))
}

/// `DELETE requests` and `DELETE messages`
pub(super) async fn forget<T: Kind>(_: NoParameters, State(panel): State<Panel>) -> StatusCode {
    T::forget(&panel.app.journal).await;
    StatusCode::NO_CONTENT
}

/// `DELETE clients/{id}`
pub(super) async fn kick(
    _: NoParameters,
    State(panel): State<Panel>,
    Id(id): Id,
) -> Answered<StatusCode> {
    if panel.app.broker.kick(&id).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::NotFound { what: "client", id })
    }
}

/// The clock as the admin API shows it.
pub(super) fn clock_state(panel: &Panel) -> Value {
    let clock = &panel.app.clock;
    json!({ "mode": clock.mode(), "now": clock.now() })
}

/// `GET clock`
pub(super) async fn clock(_: NoParameters, State(panel): State<Panel>) -> Json<Value> {
    Json(clock_state(&panel))
}

/// The body of `PUT clock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    mode: Mode,
    now: Option<Timestamp>,
}

/// `PUT clock`
pub(super) async fn set_clock(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(setting): JsonBody<Setting>,
) -> Answered<Json<Value>> {
    let clock = &panel.app.clock;
    if (setting.mode, setting.now.is_some()) == (Mode::Real, true) {
        return Err(Problem::BadBody(
            "now: expected none with mode real, which follows the machine's clock".to_owned(),
        ));
    }
    let at = || setting.now.unwrap_or_else(|| clock.now());
    let fell_due = panel.app.broker.at_new_time(|| match setting.mode {
        Mode::Real => clock.follow(),
        Mode::Frozen => clock.freeze(at()),
        Mode::Offset => clock.run_from(at()),
    });
    panel.app.quotas.clear();
    Ok(moved(&panel, &fell_due))
}

/// The body of `POST clock/advance`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    seconds: f64,
}

/// `POST clock/advance`
pub(super) async fn advance(
    _: NoParameters,
    State(panel): State<Panel>,
    JsonBody(step): JsonBody<Step>,
) -> Answered<Json<Value>> {
    let by = SignedDuration::try_from_secs_f64(step.seconds)
        .map_err(|why| Problem::BadBody(format!("seconds: {why}")))?;
    let clock = &panel.app.clock;
    let mut stepped = Ok(());
    let fell_due = panel.app.broker.at_new_time(|| {
        stepped = clock.advance(by).map(drop);
    });
    stepped.map_err(|why| Problem::BadBody(format!("seconds: {why}")))?;
    if by.is_negative() {
        // Rates count towards the future; set back, they would refuse until time caught up.
        panel.app.quotas.clear();
    }
    Ok(moved(&panel, &fell_due))
}

/// The clock after it was moved, with what fell due by that and has happened.
fn moved(panel: &Panel, fell_due: &[FellDue]) -> Json<Value> {
    let mut state = clock_state(panel);
    state["fell_due"] = json!(fell_due);
    Json(state)
}
