//! The metrics: their form, and that they tell what happened.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use mqttstack::Emulator;
use mqttstack_base::message::Transport;

use crate::panel::Panel;
use crate::wire::Wire;

/// The value of every series, by its name and labels as they are written.
type Series = BTreeMap<String, String>;

/// Reads the text form, version 0.0.4, and refuses what a scraper may refuse.
fn parse(text: &str) -> Series {
    assert!(text.ends_with('\n'));
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut series = Series::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{line}");
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
            check_labels(labels);
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| {
                    name.strip_suffix(end)
                        .filter(|name| kinds.contains_key(name))
                })
                .unwrap_or(name);
            assert!(name.starts_with("mqttstack_"), "{line}");
            let kind = kinds
                .get(family)
                .unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(key.into(), value.into()).is_none(), "{line}");
        }
    }
    series
}

/// Labels with the brace that closes them, or that brace alone.
fn check_labels(labels: &str) {
    let mut rest = labels.strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").unwrap();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(!name.is_empty() && name.bytes().all(is_name), "{labels}");
        let end = behind.find('"').unwrap();
        assert!(!behind[..end].contains('\\'), "{labels}");
        rest = &behind[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

impl Panel {
    async fn metrics(&self) -> Series {
        let request = Request::get("/_mqttstack/metrics");
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        parse(std::str::from_utf8(&body).unwrap())
    }
}

#[tokio::test]
async fn requests_count_by_vendor_operation_status_and_code() {
    let panel = Panel::new().await;
    panel.refuse("R1");
    let mut opened = panel.open("R2", "/", &[]);
    opened.draft.asks("SendMessage");
    opened.close(&mqttstack_base::exchange::Answer::new(200));
    drop(panel.open("R3", "/", &[]));
    let series = panel.metrics().await;
    for (labels, expected) in [
        ("operation=\"SendMessage\",status=\"200\",code=\"\"", "1"),
        (
            "operation=\"unknown\",status=\"400\",code=\"SignatureDoesNotMatch\"",
            "1",
        ),
        ("operation=\"unknown\",status=\"aborted\",code=\"\"", "1"),
    ] {
        let key = format!("mqttstack_requests_total{{vendor=\"aliyun\",{labels}}}");
        assert_eq!(
            series.get(&key).map(String::as_str),
            Some(expected),
            "{key}"
        );
    }
    let took = "mqttstack_request_duration_seconds";
    let aliyun = "vendor=\"aliyun\"";
    assert_eq!(series[&format!("{took}_count{{{aliyun}}}")], "3");
    let last = series
        .keys()
        .find(|key| key.starts_with(took) && key.contains("+Inf"));
    assert_eq!(series[last.unwrap()], "3");
    assert_eq!(
        series["mqttstack_journal_entries{journal=\"requests\"}"],
        "3"
    );
}

#[tokio::test]
async fn messages_and_deliveries_count_by_origin_outcome_and_reason() {
    let panel = Panel::new().await;
    let broker = &panel.app.broker;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let address = broker.listen(Transport::Tcp, anywhere).unwrap();
    let mut wire = Wire::open(address, 5, "c").await;
    wire.subscribe("a/#", 1).await;
    panel.publish("a/1", "heard").await;
    assert_eq!(wire.receive().await.payload, "heard");
    // The answer comes behind the acknowledgement of the delivery.
    wire.publish("b/1", "unheard", 2, &[]).await;
    let series = panel.metrics().await;
    for (key, expected) in [
        ("messages_in_total{origin=\"http\",vendor=\"aliyun\"}", "1"),
        ("messages_in_total{origin=\"mqtt\",vendor=\"none\"}", "1"),
        ("deliveries_total{outcome=\"sent\"}", "1"),
        ("deliveries_total{outcome=\"acknowledged\"}", "1"),
        ("deliveries_total{outcome=\"dropped\"}", "0"),
        ("messages_dropped_total{reason=\"no_subscriber\"}", "1"),
        ("messages_dropped_total{reason=\"queue_full\"}", "0"),
        ("connects_total", "1"),
        ("clients_connected", "1"),
        ("sessions", "1"),
        ("subscriptions", "1"),
        ("deliveries_queued", "0"),
        ("retained_messages", "0"),
    ] {
        assert_eq!(series[&format!("mqttstack_{key}")], expected, "{key}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn every_message_given_up_has_a_reason_in_the_metrics() {
    let panel = Panel::new().await;
    let broker = &panel.app.broker;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let address = broker.listen(Transport::Tcp, anywhere).unwrap();
    let mut wire = Wire::open(address, 5, "c").await;
    wire.subscribe("a", 1).await;
    panel.publish("a", "never acknowledged").await;
    panel.publish("nobody", "").await;
    broker.kick("c").await;
    let series = panel.metrics().await;
    let reason = |reason: &str| {
        let key = format!("mqttstack_messages_dropped_total{{reason=\"{reason}\"}}");
        series[&key].as_str()
    };
    assert_eq!(
        (reason("session_ended"), reason("no_subscriber")),
        ("1", "1")
    );
    assert_eq!(
        series["mqttstack_deliveries_total{outcome=\"dropped\"}"],
        "1"
    );
    let all = series
        .iter()
        .filter(|(key, _)| key.starts_with("mqttstack_messages_dropped_total"));
    let sum: u64 = all.map(|(_, value)| value.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, broker.counters().messages_dropped);
}

#[tokio::test]
async fn an_operation_that_its_vendor_does_not_have_is_unknown() {
    let emulator = Emulator::builder().start().await.unwrap();
    let other = Emulator::builder().start().await.unwrap();
    let client = reqwest::Client::new();
    for action in ["PublishMessage", "MadeUpByACaller"] {
        let url = emulator.http_url().unwrap();
        let asked = client
            .post(url)
            .header("Host", "iotcloud.tencentcloudapi.com")
            .header("X-TC-Action", action);
        asked.body("{}").send().await.unwrap();
    }
    let read = async |emulator: &Emulator| {
        let url = format!("{}/_mqttstack/metrics", emulator.http_url().unwrap());
        let answer = client.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let text = read(&emulator).await;
    let series = parse(&text);
    let of_tencent = |key: &&String| key.contains("vendor=\"tencent-iot\",operation");
    let operations: Vec<_> = series.keys().filter(of_tencent).collect();
    assert_eq!(operations.len(), 2, "{operations:?}");
    assert!(operations[0].contains("operation=\"PublishMessage\""));
    assert!(operations[1].contains("operation=\"unknown\""));
    assert!(!text.contains("MadeUp"));
    let text = read(&other).await;
    assert!(!text.contains("mqttstack_requests_total{"), "{text}");
}
