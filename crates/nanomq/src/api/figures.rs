//! Figures and names: how many clients and messages, since when it runs, which version it is.
//! Clients, subscriptions and messages are counted by our broker; NanoMQ counts every connect
//! and disconnect as a message of its own besides (its `$SYS` notices), and as a dropped one,
//! since nobody listens to them here. Memory and processor figures are configured.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use jiff::Timestamp;
use jiff::tz::Offset;
use mqttstack_base::exchange::Receipt;
use mqttstack_base::message::Counters;
use mqttstack_broker::Broker;

use super::super::Nanomq;
use super::super::cjson::Json;
use super::super::state::Peaks;
use super::clients::{full_filter, known_to_v1};

/// Messages as NanoMQ counts them.
struct Messages {
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Messages {
    fn of(counters: Counters) -> Self {
        let notices = counters.connects + counters.disconnects;
        Self {
            received: counters.messages_in + notices,
            sent: counters.messages_out,
            dropped: counters.messages_dropped + notices,
        }
    }
}

/// The `data` of V1's request 2.
pub(crate) async fn brokers_v1(nanomq: &Nanomq, broker: &Broker) -> Json {
    let messages = Messages::of(nanomq.state.counted(broker.counters()));
    Json::object([
        ("client_size", known_to_v1(broker).await.len().into()),
        ("message_in", messages.received.into()),
        ("message_out", messages.sent.into()),
        ("message_drop", messages.dropped.into()),
    ])
}

fn uptime(nanomq: &Nanomq, receipt: &Receipt) -> Json {
    let seconds = nanomq.state.uptime_s(receipt.now);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours} Hours, {minutes} minutes, {} seconds", seconds % 60).into()
}

fn datetime(now: Timestamp) -> Json {
    let now = Offset::UTC.to_datetime(now);
    now.strftime("%Y-%m-%d %H:%M:%S").to_string().into()
}

/// The `data` of V4's brokers. The time is UTC.
pub(crate) fn brokers(nanomq: &Nanomq, receipt: &Receipt) -> Json {
    Json::Array(vec![Json::object([
        ("datetime", datetime(receipt.now)),
        ("node_status", "Running".into()),
        ("sysdescr", "NanoMQ Broker".into()),
        ("uptime", uptime(nanomq, receipt)),
        ("version", nanomq.settings.version.as_str().into()),
    ])])
}

/// The `data` of V4's nodes.
pub(crate) async fn nodes(nanomq: &Nanomq, broker: &Broker, receipt: &Receipt) -> Json {
    Json::Array(vec![Json::object([
        ("connections", connections(broker).await.into()),
        ("node_status", "Running".into()),
        ("uptime", uptime(nanomq, receipt)),
        ("version", nanomq.settings.version.as_str().into()),
    ])])
}

async fn connections(broker: &Broker) -> usize {
    let clients = broker.clients().await;
    clients.iter().filter(|client| client.connected).count()
}

/// The whole answer of V4's metrics; there are no bridges to tell of.
pub(crate) async fn metrics(nanomq: &Nanomq, broker: &Broker) -> Json {
    Json::object([
        ("metrics", Json::Array(Vec::new())),
        ("cpuinfo", "0.00%".into()),
        ("memory", nanomq.settings.memory_bytes.to_string().into()),
        ("connections", connections(broker).await.into()),
    ])
}

/// V4's figures in Prometheus' text form. A peak is the most that a look at them saw.
pub(crate) async fn prometheus(nanomq: &Nanomq, broker: &Broker) -> String {
    let clients = broker.clients().await;
    let filters: BTreeSet<String> = broker
        .subscriptions()
        .await
        .iter()
        .map(full_filter)
        .collect();
    let now = Peaks {
        connections: clients.iter().filter(|client| client.connected).count(),
        sessions: clients.len(),
        topics: filters.len(),
        subscribers: clients
            .iter()
            .filter(|client| client.subscriptions > 0)
            .count(),
    };
    let most = nanomq.state.peaks(now);
    let messages = Messages::of(nanomq.state.counted(broker.counters()));
    let gauges = [
        ("connections", now.connections, most.connections),
        ("sessions", now.sessions, most.sessions),
        ("topics", now.topics, most.topics),
        ("subscribers", now.subscribers, most.subscribers),
    ];
    let mut text = String::new();
    for (name, now, most) in gauges {
        series(&mut text, &format!("{name}_count"), "gauge", "", now);
        series(&mut text, &format!("{name}_max"), "gauge", "", most);
    }
    series(
        &mut text,
        "messages_received",
        "counter",
        "",
        messages.received,
    );
    series(&mut text, "messages_sent", "counter", "", messages.sent);
    series(
        &mut text,
        "messages_dropped",
        "counter",
        "",
        messages.dropped,
    );
    let memory = nanomq.settings.memory_bytes;
    series(&mut text, "memory_usage", "gauge", " (b)", memory);
    series(&mut text, "memory_usage_max", "gauge", " (b)", memory);
    series(&mut text, "cpu_usage", "gauge", " (%)", "0.00");
    series(&mut text, "cpu_usage_max", "gauge", " (%)", "0.00");
    text
}

fn series(text: &mut String, name: &str, kind: &str, unit: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# TYPE nanomq_{name} {kind}\n# HELP nanomq_{name}{unit}\nnanomq_{name} {value}\n"
    );
}
