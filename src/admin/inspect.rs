//! The routes that only read: the journal's lists and entries, the broker's clients, subscriptions
//! and retained messages, health and version. `control.rs` changes things, `seek.rs` waits.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mqttstack_base::exchange::Surface;
use mqttstack_base::ids;
use mqttstack_base::message::{Message, TopicFilter};
use mqttstack_pipeline::journal::pattern::Pattern;
use mqttstack_pipeline::journal::{Cursor, Entry, Halt, Looking, Ring};
use serde_json::{Value, json};

use super::Panel;
use super::input::{Answered, Id, NoParameters, Parameters};
use super::listing::Listing;
use super::problem::Problem;
use super::render::{self, Kind};

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

/// What a selection selects.
pub(super) struct Selected {
    /// The cursors with which the entries arrived, newest first, at most as many as asked for. No
    /// more than that is kept of them: the entries may be as large as the journal.
    arrived: Vec<Cursor>,
    /// How many there are in all.
    pub(super) total: usize,
    /// The ring's cursor.
    pub(super) cursor: Cursor,
}

/// Selects entries.
pub(super) fn select<T: Kind>(
    ring: &Ring<T>,
    selection: &Selection<T>,
    looking: &mut Looking,
) -> Result<Selected, Halt> {
    let snapshot = ring.arrived_since(0);
    let mut selected = Selected {
        arrived: Vec::new(),
        total: 0,
        cursor: snapshot.last,
    };
    for (arrived, entry) in snapshot.entries.iter().rev() {
        looking.step()?;
        let completed = entry.completed(*arrived);
        if completed.is_none() && !selection.incomplete {
            continue;
        }
        let cursor = completed.unwrap_or(*arrived);
        if cursor > selection.since && selection.pattern.matches(entry, looking)? {
            selected.total += 1;
            if selected.arrived.len() < selection.limit {
                selected.arrived.push(*arrived);
            }
        }
    }
    Ok(selected)
}

/// The answer that lists a selection. Entries that leave the journal while it is sent are left
/// out.
pub(super) async fn list<T: Kind>(
    panel: &Panel,
    selection: impl FnOnce() -> Answered<Selection<T>> + Send + 'static,
) -> Answered<Response> {
    let journal = &panel.app.journal;
    let ring = T::ring(journal).clone();
    let searched = ring.clone();
    let selected = journal
        .reading()
        .look(move |looking| match selection() {
            Ok(selection) => select(&searched, &selection, looking).map(Ok),
            Err(problem) => Ok(Err(problem)),
        })
        .await??;
    let items = selected.arrived.into_iter().map(move |arrived| {
        let entry = ring.get(arrived)?;
        Some(entry.render(entry.completed(arrived).unwrap_or(arrived)))
    });
    let mut listing = Listing::new(T::PLURAL, Box::new(items));
    listing
        .after
        .insert("cursor".to_owned(), json!(selected.cursor));
    listing
        .after
        .insert("total".to_owned(), json!(selected.total));
    listing.answer(journal.reading()).await
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
            "status" => json!(parameters.number::<u16>(field)?),
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
        since: parameters.number("since")?.unwrap_or(0),
        limit: limit(parameters.number("limit")?),
        incomplete: true,
    })
}

fn vendor(text: &str) -> Answered<Surface> {
    Surface::ALL
        .into_iter()
        .find(|surface| surface.as_str() == text)
        .ok_or_else(|| {
            let known = Surface::ALL.map(Surface::as_str).join(", ");
            Problem::parameter("vendor", format!("expected one of {known}, got {text:?}"))
        })
}

/// `GET requests`
pub(super) async fn requests(
    State(panel): State<Panel>,
    parameters: Parameters,
) -> Answered<Response> {
    let parameters = parameters.only(&[
        "vendor",
        "operation",
        "status",
        "error_code",
        "since",
        "limit",
    ])?;
    let fields = ["vendor", "operation", "status", "error_code"];
    let selection = selection::<Entry>(&parameters, &fields)?;
    list(&panel, || Ok(selection)).await
}

/// `GET messages`
pub(super) async fn messages(
    State(panel): State<Panel>,
    parameters: Parameters,
) -> Answered<Response> {
    let parameters = parameters.only(&["topic", "vendor", "client_id", "since", "limit"])?;
    let fields = ["topic", "vendor", "client_id"];
    let selection = selection::<Message>(&parameters, &fields)?;
    list(&panel, || Ok(selection)).await
}

/// `GET requests/{id}` and `GET messages/{id}`
pub(super) async fn entry<T: Kind>(
    _: NoParameters,
    State(panel): State<Panel>,
    Id(id): Id,
) -> Answered<Json<Value>> {
    let journal = &panel.app.journal;
    let ring = T::ring(journal).clone();
    let wanted = ids::bare(&id);
    let found = journal
        .reading()
        .look(move |looking| {
            for (arrived, entry) in ring.arrived_since(0).entries.iter().rev() {
                looking.step()?;
                if entry.ids().iter().any(|one| ids::bare(one) == wanted) {
                    let cursor = entry.completed(*arrived).unwrap_or(*arrived);
                    return Ok(Some(entry.render(cursor)));
                }
            }
            Ok(None)
        })
        .await?;
    found.map(Json).ok_or(Problem::NotFound {
        what: T::SINGULAR,
        id,
    })
}

/// `GET clients`
pub(super) async fn clients(_: NoParameters, State(panel): State<Panel>) -> Answered<Response> {
    let clients = panel.app.broker.clients().await;
    whole(&panel, "clients", clients, |client| json!(client)).await
}

/// `GET subscriptions`
pub(super) async fn subscriptions(
    _: NoParameters,
    State(panel): State<Panel>,
) -> Answered<Response> {
    let subscriptions = panel.app.broker.subscriptions().await;
    whole(&panel, "subscriptions", subscriptions, |one| json!(one)).await
}

/// `GET retained`
pub(super) async fn retained(_: NoParameters, State(panel): State<Panel>) -> Answered<Response> {
    let retained = panel.app.broker.retained();
    whole(&panel, "retained", retained, render::retained).await
}

async fn whole<T: Send + 'static>(
    panel: &Panel,
    name: &'static str,
    items: Vec<T>,
    render: fn(&T) -> Value,
) -> Answered<Response> {
    let items = items.into_iter().map(move |item| Some(render(&item)));
    let listing = Listing::new(name, Box::new(items));
    listing.answer(panel.app.journal.reading()).await
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

/// The description as JSON.
static DESCRIBED: LazyLock<Result<Value, String>> =
    LazyLock::new(|| serde_saphyr::from_str(super::DESCRIPTION).map_err(|why| why.to_string()));

/// `GET openapi.json`: the description of all this.
pub(super) async fn openapi() -> Answered<Json<&'static Value>> {
    let described = DESCRIBED.as_ref();
    described
        .map(Json)
        .map_err(|why| Problem::Internal(why.clone()))
}
