//! `GET metrics`: what one emulator has counted and what it holds, in Prometheus' text form. The
//! registry is made for each answer: nothing is global, and what the broker holds is asked then.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use mqttstack_broker::{Counted, Held};
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::{Ring, vendor};
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Panel;
use super::input::{Answered, NoParameters};
use super::problem::Problem;

/// The media type of the text form.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The label sets of these metrics; each with one label but for the origin.
type Labels = Vec<(&'static str, &'static str)>;

/// `GET metrics`
pub(super) async fn metrics(_: NoParameters, State(panel): State<Panel>) -> Answered<Response> {
    let registry = registry(&panel.app, panel.started.elapsed().as_secs());
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)
        .map_err(|why| Problem::Internal(why.to_string()))?;
    Ok(([(header::CONTENT_TYPE, TEXT)], text).into_response())
}

fn registry(app: &App, uptime_s: u64) -> Registry {
    let mut registry = Registry::with_prefix("mqttstack");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What runs here", build);
    gauge(&mut registry, "uptime_seconds", "Since the start", uptime_s);
    app.journal.tally().register(&mut registry);
    counted(&mut registry, app);
    held(&mut registry, app.broker.held());
    journal(&mut registry, app);
    registry
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: impl TryInto<i64>) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn counters(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

fn counted(registry: &mut Registry, app: &App) {
    let Counted {
        taken,
        deliveries,
        given_up,
    } = app.broker.counted();
    let taken = taken.into_iter().map(|(origin, whose, count)| {
        let labels = vec![("origin", origin), ("vendor", vendor(whose))];
        (labels, count)
    });
    // Most pairs of an origin and a vendor cannot be.
    let taken = taken.filter(|(_, count)| *count > 0);
    counters(
        registry,
        "messages_in",
        "Messages that the broker took",
        taken,
    );
    let deliveries = deliveries
        .into_iter()
        .map(|(outcome, count)| (vec![("outcome", outcome)], count));
    let help = "How deliveries fared; one that is sent again counts again as sent";
    counters(registry, "deliveries", help, deliveries);
    let given_up = given_up
        .into_iter()
        .map(|(why, count)| (vec![("reason", why)], count));
    let help = "Deliveries that were given up, and messages that nobody was subscribed to";
    counters(registry, "messages_dropped", help, given_up);
    let totals = app.broker.counters();
    let help = "MQTT connections that were accepted";
    counter(registry, "connects", help, totals.connects);
    let help = "MQTT connections that ended";
    counter(registry, "disconnects", help, totals.disconnects);
}

fn held(registry: &mut Registry, held: Held) {
    for (name, help, value) in [
        (
            "clients_connected",
            "Connected MQTT clients",
            held.connected,
        ),
        ("sessions", "MQTT sessions, connected or not", held.sessions),
        ("subscriptions", "Subscriptions", held.subscriptions),
        (
            "deliveries_queued",
            "Deliveries that wait to be written",
            held.queued,
        ),
        (
            "deliveries_inflight",
            "Deliveries that wait to be acknowledged",
            held.inflight,
        ),
        ("retained_messages", "Retained messages", held.retained),
    ] {
        gauge(registry, name, help, value);
    }
}

/// The figures of one ring.
struct Figures {
    ring: &'static str,
    entries: usize,
    bytes: usize,
    evicted: u64,
}

impl Figures {
    fn of<T>(name: &'static str, ring: &Ring<T>) -> Self {
        Self {
            ring: name,
            entries: ring.len(),
            bytes: ring.bytes(),
            evicted: ring.evicted(),
        }
    }
}

fn journal(registry: &mut Registry, app: &App) {
    let rings = [
        Figures::of("requests", app.journal.requests()),
        Figures::of("messages", app.journal.messages()),
    ];
    let (entries, bytes) = (
        Family::<Labels, Gauge>::default(),
        Family::<Labels, Gauge>::default(),
    );
    for figures in &rings {
        let labels = vec![("journal", figures.ring)];
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        entries.get_or_create(&labels).set(number(figures.entries));
        bytes.get_or_create(&labels).set(number(figures.bytes));
    }
    registry.register("journal_entries", "Entries in the journal", entries);
    registry.register("journal_bytes", "About how many bytes they take", bytes);
    let evicted = rings
        .iter()
        .map(|figures| (vec![("journal", figures.ring)], figures.evicted));
    let help = "Entries that had to make room";
    counters(registry, "journal_evicted", help, evicted);
}
