//! Looking: the journal's lists and single entries, what the broker holds, and what the
//! emulator says of itself. Steering is in `control.rs`, waiting in `seek.rs`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Panel;
use super::input::{Answered, Id, NoParameters, Parameters};
use super::problem::Problem;
use super::render::{self, Kind};
use crate::broker::message::{Message, TopicFilter};
use crate::exchange::Surface;
use crate::journal::pattern::Pattern;
use crate::journal::{Cursor, Entry, Journal};

/// How many entries a list gives unless asked otherwise.
const DEFAULT_LIMIT: usize = 1_000;

/// How long the broker may take to answer before it counts as down.
const BROKER_PATIENCE: Duration = Duration::from_secs(1);

/// Which entries a list shows.
pub(super) struct Selection<T> {
    /// Those that match.
    pub(super) pattern: Pattern<T>,
    /// Those that came or changed after this cursor.
    pub(super) since: Cursor,
    /// The newest so many.
    pub(super) limit: usize,
    /// Whether entries that are not complete yet are among them.
    pub(super) incomplete: bool,
}

/// The selected entries, newest first, how many there are in all, and the ring's cursor.
pub(super) fn list<T: Kind>(
    journal: &Journal,
    selection: &Selection<T>,
) -> (Vec<Value>, usize, Cursor) {
    let snapshot = T::ring(journal).arrived_since(0);
    let mut listed = Vec::new();
    let mut total = 0;
    for (arrived, entry) in snapshot.entries.iter().rev() {
        let completed = entry.completed(*arrived);
        if completed.is_none() && !selection.incomplete {
            continue;
        }
        let cursor = completed.unwrap_or(*arrived);
        if cursor > selection.since && selection.pattern.matches(entry) {
            total += 1;
            if listed.len() < selection.limit {
                listed.push(entry.render(cursor));
            }
        }
    }
    (listed, total, snapshot.last)
}

/// The limit to apply where `given` was asked for.
pub(super) fn limit(given: Option<usize>) -> usize {
    given.unwrap_or(DEFAULT_LIMIT)
}

fn selection<T: Kind>(parameters: &Parameters, fields: &[&str]) -> Answered<Selection<T>> {
    let mut pattern = Pattern::default();
    for field in fields {
        let Some(text) = parameters.text(field) else {
            continue;
        };
        let wanted = match *field {
            "vendor" => json!(vendor(text)?),
            "status" => json!(parameters.parsed::<u16>(field)?),
            "topic" => {
                TopicFilter::parse(text).map_err(|why| Problem::parameter("topic", why))?;
                json!(text)
            }
            _ => json!(text),
        };
        pattern.equal(field, &wanted)?;
    }
    Ok(Selection {
        pattern,
        since: parameters.parsed("since")?.unwrap_or(0),
        limit: limit(parameters.parsed("limit")?),
        incomplete: true,
    })
}

fn vendor(text: &str) -> Answered<Surface> {
    Surface::ALL
        .into_iter()
        .find(|surface| surface.as_str() == text)
        .ok_or_else(|| {
            let known = Surface::ALL.map(Surface::as_str).join(", ");
            Problem::parameter("vendor", format!("{text:?} is none of {known}"))
        })
}

fn answer<T: Kind>(panel: &Panel, selection: &Selection<T>) -> Json<Value> {
    let (listed, total, cursor) = list(&panel.app.journal, selection);
    Json(json!({ T::PLURAL: listed, "cursor": cursor, "total": total }))
}

/// `GET requests`
pub(super) async fn requests(
    State(panel): State<Panel>,
    parameters: Parameters,
) -> Answered<Json<Value>> {
    let parameters = parameters.only(&[
        "vendor",
        "operation",
        "status",
        "error_code",
        "since",
        "limit",
    ])?;
    let fields = ["vendor", "operation", "status", "error_code"];
    Ok(answer::<Entry>(&panel, &selection(&parameters, &fields)?))
}

/// `GET messages`
pub(super) async fn messages(
    State(panel): State<Panel>,
    parameters: Parameters,
) -> Answered<Json<Value>> {
    let parameters = parameters.only(&["topic", "vendor", "client_id", "since", "limit"])?;
    let fields = ["topic", "vendor", "client_id"];
    Ok(answer::<Message>(&panel, &selection(&parameters, &fields)?))
}

/// `GET requests/{id}` and `GET messages/{id}`
pub(super) async fn entry<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    Id(id): Id,
) -> Answered<Json<Value>> {
    let snapshot = T::ring(&panel.app.journal).arrived_since(0);
    let found = snapshot
        .entries
        .iter()
        .rev()
        .find(|(_, entry)| entry.id() == id);
    let (arrived, entry) = found.ok_or(Problem::NotFound {
        what: T::SINGULAR,
        id,
    })?;
    Ok(Json(
        entry.render(entry.completed(*arrived).unwrap_or(*arrived)),
    ))
}

/// `GET clients`
pub(super) async fn clients(_: NoParameters, State(panel): State<Panel>) -> Json<Value> {
    Json(json!({ "clients": panel.app.broker.clients().await }))
}

/// `GET subscriptions`
pub(super) async fn subscriptions(_: NoParameters, State(panel): State<Panel>) -> Json<Value> {
    Json(json!({ "subscriptions": panel.app.broker.subscriptions().await }))
}

/// `GET retained`
pub(super) async fn retained(_: NoParameters, State(panel): State<Panel>) -> Json<Value> {
    let retained: Vec<_> = panel
        .app
        .broker
        .retained()
        .iter()
        .map(render::retained)
        .collect();
    Json(json!({ "retained": retained }))
}

/// `GET livez`: the process answers.
pub(super) async fn livez() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// `GET readyz`: the ready object, once everything listens.
pub(super) async fn readyz(State(panel): State<Panel>) -> Answered<Json<Value>> {
    let ready = panel.ready.borrow().clone();
    Ok(Json(Value::clone(&*ready.ok_or(Problem::NotReady)?)))
}

/// `GET health`: every surface and the broker. The broker is asked, not assumed.
pub(super) async fn health(_: NoParameters, State(panel): State<Panel>) -> Response {
    let ready = panel.ready.borrow().is_some();
    let clients = tokio::time::timeout(BROKER_PATIENCE, panel.app.broker.clients()).await;
    let surface = if ready { "up" } else { "starting" };
    let surfaces: serde_json::Map<_, _> = panel
        .surfaces
        .iter()
        .map(|one| (one.as_str().to_owned(), json!({ "status": surface })))
        .collect();
    let broker = match &clients {
        Ok(clients) => json!({
            "status": "up",
            "clients": clients.len(),
            "connected": clients.iter().filter(|client| client.connected).count(),
            "counters": panel.app.broker.counters(),
        }),
        Err(_) => json!({ "status": "down" }),
    };
    let (status, word) = match (ready, clients.is_ok()) {
        (true, true) => (StatusCode::OK, "up"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        (_, false) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
    };
    let report = json!({ "status": word, "surfaces": surfaces, "broker": broker });
    (status, Json(report)).into_response()
}

/// `GET info`: what runs here.
pub(super) async fn info(_: NoParameters, State(panel): State<Panel>) -> Json<Value> {
    let journal = &panel.app.journal;
    let (requests, messages) = (journal.requests(), journal.messages());
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_s": panel.started.elapsed().as_secs(),
        "surfaces": panel.surfaces,
        "isolation": panel.isolation,
        "listeners": *panel.ready.borrow(),
        "clock": super::control::clock_state(&panel),
        "journal": {
            "requests": {
                "entries": requests.len(), "bytes": requests.bytes(),
                "evicted": requests.evicted(), "cursor": requests.last(),
            },
            "messages": {
                "entries": messages.len(), "bytes": messages.bytes(),
                "evicted": messages.evicted(), "cursor": messages.last(),
            },
        },
    }))
}

/// `GET ca.pem`: the certificate to trust.
pub(super) async fn ca(State(panel): State<Panel>) -> Answered<Response> {
    let pem = panel.ca_pem.as_deref().ok_or_else(|| Problem::NotFound {
        what: "certificate authority",
        id: "ca.pem".to_owned(),
    })?;
    let kind = [(header::CONTENT_TYPE, "application/x-pem-file")];
    Ok((kind, pem.to_owned()).into_response())
}

/// `GET openapi.json`: the description of all this.
pub(super) async fn openapi() -> Answered<Json<Value>> {
    serde_saphyr::from_str(super::DESCRIPTION)
        .map(Json)
        .map_err(|why| Problem::Internal(why.to_string()))
}
