//! Routing that misses nothing: to a custom topic over HTTP with the vendor's retries, and past
//! a journal that forgets at once. The schedule itself is tested beside the code.

use std::time::Duration;

use jiff::SignedDuration;
use mqttstack::Emulator;
use mqttstack::config::Config;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
use serde_json::{Value, json};
use tokio::sync::watch;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::bench::{Ask, Bench, bench};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_mins(1);

fn publish(topic: &str) -> Ask {
    Ask::post(&format!(
        "/mqtt/messages?topic={topic}&api-version=2025-02-15-preview"
    ))
}

/// A custom topic's endpoint, and how many requests have come to it.
struct Endpoint {
    server: MockServer,
    came: watch::Sender<usize>,
}

/// An endpoint that answers `status` as often as `times` says, then 200.
async fn endpoint(status: u16, times: u64) -> Endpoint {
    let server = MockServer::start().await;
    let came = watch::Sender::new(0);
    let answer = |status: u16| {
        let came = came.clone();
        Mock::given(method("POST"))
            .and(path("/api/events"))
            .and(query_param("api-version", "2018-01-01"))
            .and(header("aeg-sas-key", "topickey"))
            .and(header(
                "content-type",
                "application/cloudevents-batch+json; charset=utf-8",
            ))
            .respond_with(move |_: &Request| {
                came.send_modify(|count| *count += 1);
                ResponseTemplate::new(status)
            })
    };
    answer(status).up_to_n_times(times).mount(&server).await;
    answer(200).mount(&server).await;
    Endpoint { server, came }
}

async fn routed_to(endpoint: &Endpoint) -> Bench {
    let route = format!("{}/api/events", endpoint.server.uri());
    let namespace = json!({"route_topic": route, "route_key": "topickey"});
    let bench = bench(json!({"auth": "off", "namespaces": [namespace]})).await;
    bench.azure.started(&bench.app);
    bench
}

/// The requests, once there are so many.
async fn arrived(endpoint: &Endpoint, count: usize) -> Vec<Request> {
    let mut came = endpoint.came.subscribe();
    let enough = came.wait_for(|came| *came >= count);
    let enough = tokio::time::timeout(PATIENCE, enough).await;
    enough.expect("the delivery never came").unwrap();
    endpoint.server.received_requests().await.unwrap()
}

fn subjects(requests: &[Request]) -> Vec<String> {
    requests
        .iter()
        .map(|request| {
            let events: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(events.as_array().unwrap().len(), 1);
            events[0]["subject"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Moves the clock on until so many requests have come: a failure is booked a moment after its
/// answer was sent, and a step before that is lost on it, so the steps do not end before.
async fn step_until(bench: &Bench, server: &Endpoint, count: usize) -> Vec<Request> {
    let stepping = async {
        loop {
            bench
                .app
                .clock
                .advance(SignedDuration::from_mins(1))
                .unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        requests = arrived(server, count) => requests,
        () = stepping => unreachable!("stepping never ends"),
    }
}

#[tokio::test]
async fn a_custom_topic_gets_the_event_with_its_key() {
    let server = endpoint(200, 1).await;
    let bench = routed_to(&server).await;
    assert_eq!(bench.ask(publish("t").body("x")).await.status, 202);
    assert_eq!(subjects(&arrived(&server, 1).await), ["t"]);
}

#[tokio::test]
async fn what_the_service_says_is_its_own_fault_is_tried_again() {
    for status in [408, 429, 500, 502, 503] {
        let server = endpoint(status, 3).await;
        let bench = routed_to(&server).await;
        assert_eq!(bench.ask(publish("again").body("x")).await.status, 202);
        let requests = step_until(&bench, &server, 4).await;
        assert_eq!(subjects(&requests), ["again"; 4], "{status}");
        // It stays the same event, so that a receiver can tell.
        assert!(requests.iter().all(|one| one.body == requests[0].body));
    }
}

/// Everything that has arrived once a day has gone by and two more events have come.
async fn a_day_later(bench: &Bench, server: &Endpoint) -> Vec<String> {
    let clock = &bench.app.clock;
    clock.advance(SignedDuration::from_hours(24)).unwrap();
    for (count, marker) in [(2, "one"), (3, "two")] {
        bench.ask(publish(marker).body("x")).await;
        arrived(server, count).await;
    }
    subjects(&arrived(server, 3).await)
}

#[tokio::test]
async fn what_the_service_refuses_is_dropped() {
    for status in [400, 401, 403, 404, 413] {
        let server = endpoint(status, 1).await;
        let bench = routed_to(&server).await;
        bench.ask(publish("refused").body("x")).await;
        arrived(&server, 1).await;
        let later = a_day_later(&bench, &server).await;
        assert_eq!(later, ["refused", "one", "two"], "{status}");
    }
}

#[tokio::test]
async fn a_reset_forgets_what_waits() {
    let server = endpoint(503, 1).await;
    let bench = routed_to(&server).await;
    bench.ask(publish("forgotten").body("x")).await;
    arrived(&server, 1).await;
    bench.azure.reset();
    let later = a_day_later(&bench, &server).await;
    assert_eq!(later, ["forgotten", "one", "two"]);
}

/// An emulator whose journal keeps one entry.
async fn forgetful(namespace: Value) -> Emulator {
    let mut config = Config::free_ports();
    config.journal.max_entries = 1;
    config.azure =
        serde_json::from_value(json!({"auth": "off", "namespaces": [namespace]})).unwrap();
    Emulator::builder().config(config).start().await.unwrap()
}

/// Publishes `m/0`, `m/1`, ... as fast as they are taken.
async fn burst(emulator: &Emulator, count: usize) {
    let address = emulator.mqtt_addr().unwrap();
    let mut options = MqttOptions::new("burst", address.ip().to_string(), address.port());
    options.set_keep_alive(Duration::from_mins(1));
    let (client, mut events) = AsyncClient::new(options, 64);
    let sending = async {
        for n in 0..count {
            let topic = format!("m/{n}");
            client
                .publish(topic, QoS::AtLeastOnce, false, "x")
                .await
                .unwrap();
        }
    };
    let acknowledged = async {
        let mut left = count;
        while left > 0 {
            if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await.unwrap() {
                left -= 1;
            }
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(sending, acknowledged) })
        .await
        .expect("a publish was never acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_of_a_burst_is_missed_by_a_namespace_topic() {
    const COUNT: usize = 2_000;
    let emulator = forgetful(json!({
        "route_topic": "events",
        "topics": [{"name": "events", "subscriptions": [{"name": "s"}]}],
    }))
    .await;
    burst(&emulator, COUNT).await;
    assert_eq!(emulator.messages().len(), 1);
    let url = format!(
        "{}/topics/events/eventsubscriptions/s:receive?api-version=x&maxEvents=100&maxWaitTime=10",
        emulator.http_url().unwrap()
    );
    // reqwest wants one even for plain HTTP; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        let answer = client.post(&url).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let rows = answer["value"].as_array().unwrap();
        assert!(!rows.is_empty(), "{} events came", seen.len());
        seen.extend(
            rows.iter()
                .map(|row| row["event"]["subject"].as_str().unwrap().to_owned()),
        );
    }
    let sent: Vec<_> = (0..COUNT).map(|n| format!("m/{n}")).collect();
    assert_eq!(seen, sent);
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_of_a_burst_is_missed_by_a_custom_topic() {
    // More than may wait, so that the publisher has to.
    const COUNT: usize = 3_000;
    let server = endpoint(200, 1).await;
    let route = format!("{}/api/events", server.server.uri());
    let emulator = forgetful(json!({"route_topic": route, "route_key": "topickey"})).await;
    burst(&emulator, COUNT).await;
    let mut seen = subjects(&arrived(&server, COUNT).await);
    seen.sort();
    let mut sent: Vec<_> = (0..COUNT).map(|n| format!("m/{n}")).collect();
    sent.sort();
    assert_eq!(seen, sent);
    emulator.stop().await;
}

/// Publishes one message as an open client of this tenant.
async fn publish_as(emulator: &Emulator, tenant: &str, topic: &str) {
    let address = emulator.mqtt_addr().unwrap();
    let mut options = MqttOptions::new("open", address.ip().to_string(), address.port());
    options.set_credentials(format!("tenant:{tenant}"), "");
    let (client, mut events) = AsyncClient::new(options, 64);
    let publishing = async {
        client
            .publish(topic, QoS::AtLeastOnce, true, "x")
            .await
            .unwrap();
        while !matches!(
            events.poll().await.unwrap(),
            Event::Incoming(Incoming::PubAck(_))
        ) {}
        client.disconnect().await.unwrap();
        while events.poll().await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, publishing)
        .await
        .expect("the publish was never acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_tree_for_each_tenant_a_namespace_routes_and_lists_its_own_messages_alone() {
    let mut config = Config::free_ports();
    config.mqtt.isolation = mqttstack_broker::Isolation::Tenant;
    config.azure = serde_json::from_value(json!({"auth": "off", "namespaces": [
        {"name": "first", "route_topic": "events"},
        {"name": "second", "route_topic": "events"},
    ]}))
    .unwrap();
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    publish_as(&emulator, "azure/second", "own/2").await;
    publish_as(&emulator, "aliyun/instance", "none/of/azure").await;
    publish_as(&emulator, "azure/first", "own/1").await;
    let url = emulator.http_url().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    for (namespace, topic) in [("first", "own/1"), ("second", "own/2")] {
        let host = format!("{namespace}.westus3-1.ts.eventgrid.azure.net");
        let ask = async |request: reqwest::RequestBuilder| -> Value {
            let answer = request.header("Host", &host).send().await.unwrap();
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
        };
        let target =
            "topics/events/eventsubscriptions/s:receive?api-version=x&maxEvents=9&maxWaitTime=10";
        let received = ask(client.post(format!("{url}/{target}"))).await;
        let events = received["value"].as_array().unwrap();
        assert_eq!(events.len(), 1, "{received}");
        assert_eq!(events[0]["event"]["subject"], topic);
        assert_eq!(events[0]["event"]["source"], namespace);
        let target = "mqtt/retainedMessages?topicFilter=%23&api-version=x%26";
        let listed = ask(client.get(format!("{url}/{target}"))).await;
        let rows = listed["retainedMessages"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{listed}");
        assert_eq!(rows[0]["topic"], topic);
    }
    emulator.stop().await;
}
