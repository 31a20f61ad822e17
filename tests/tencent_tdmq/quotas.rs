//! What an instance refuses to its MQTT clients beyond its quotas, and what it does without.

use mqttstack_tencent_tdmq::Settings;
use serde_json::{Value, json};

use crate::bare::{Bare, Opening};
use crate::bench::Bench;
use crate::mqtt::Device;

async fn with(json: Value) -> Bench {
    let settings: Settings = serde_json::from_value(json).unwrap();
    Bench::with(settings).await
}

async fn connect(bench: &Bench, version: u8, client_id: &str) -> (Bare<tokio::net::TcpStream>, u8) {
    open(bench, &Opening::of(version), client_id).await
}

async fn open(
    bench: &Bench,
    opening: &Opening<'_>,
    client_id: &str,
) -> (Bare<tokio::net::TcpStream>, u8) {
    Bare::open(bench.mqtt(), opening, client_id, "user0", "secret0").await
}

/// The code with which a CONNECT is refused, the same on the wire and in the journal.
async fn refused(bench: &Bench, opening: &Opening<'_>, client_id: &str) -> u8 {
    let (_, code) = open(bench, opening, client_id).await;
    assert_ne!(code, 0, "{client_id} got in");
    assert_eq!(bench.refused().code, code);
    code
}

fn a_second_later(bench: &Bench) {
    let second = jiff::SignedDuration::from_secs(1);
    bench.app.clock.advance(second).unwrap();
}

#[tokio::test]
async fn connections_over_the_rate_are_refused_until_a_second_later() {
    let bench = with(json!({"quotas": {"Connect": 1}})).await;
    assert_eq!(connect(&bench, 5, "a").await.1, 0);
    assert_eq!(refused(&bench, &Opening::of(5), "b").await, 0x9f);
    assert!(
        bench.refusal().contains("Connect per second"),
        "{}",
        bench.refusal()
    );
    assert_eq!(refused(&bench, &Opening::of(4), "b").await, 3);
    a_second_later(&bench);
    assert_eq!(connect(&bench, 4, "b").await.1, 0);
}

#[tokio::test]
async fn by_default_an_instance_takes_a_hundred_connections_in_a_second() {
    let bench = Bench::frozen().await;
    for n in 0..100 {
        assert_eq!(connect(&bench, 4, &format!("c{n}")).await.1, 0, "{n}");
    }
    assert_eq!(refused(&bench, &Opening::of(5), "one-more").await, 0x9f);
}

#[tokio::test]
async fn connections_with_a_will_have_a_rate_of_their_own() {
    let bench = with(json!({"quotas": {"ConnectWithWill": 1}})).await;
    let opening = Opening {
        will: Some(("wills/x", "gone", &[])),
        ..Opening::of(5)
    };
    assert_eq!(open(&bench, &opening, "a").await.1, 0);
    assert_eq!(refused(&bench, &opening, "b").await, 0x9f);
    assert_eq!(connect(&bench, 5, "b").await.1, 0);
}

#[tokio::test]
async fn one_client_more_than_the_instance_may_have_is_refused() {
    let bench = with(json!({"instance": {"client_limit": 1}})).await;
    let (_first, code) = connect(&bench, 5, "a").await;
    assert_eq!(code, 0);
    assert_eq!(refused(&bench, &Opening::of(5), "b").await, 0x97);
    assert!(
        bench.refusal().contains("limit of 1 clients"),
        "{}",
        bench.refusal()
    );
    let (_again, code) = connect(&bench, 5, "a").await;
    assert_eq!(code, 0, "the same client takes its own place");
}

#[tokio::test]
async fn a_client_id_over_the_limit_is_not_valid() {
    let bench = with(json!({"max_client_id_bytes": 3})).await;
    assert_eq!(refused(&bench, &Opening::of(5), "long").await, 0x85);
    assert_eq!(refused(&bench, &Opening::of(4), "long").await, 2);
    assert_eq!(connect(&bench, 4, "abc").await.1, 0);
    let status = async |query: &str| {
        let target = format!("/topics/home{query}");
        bench.post(&target, "x").await.status
    };
    assert_eq!(status("?client_id=long").await, 400);
    assert!(bench.reasons().concat().contains("client_id"));
    assert_eq!(status("?client_id=abc").await, 200);
    assert_eq!(status("").await, 200);
}

#[tokio::test]
async fn a_client_has_thirty_filters_and_not_one_more() {
    let bench = Bench::frozen().await;
    for (version, code) in [(5, 0x97), (4, 0x80)] {
        let (mut device, _) = connect(&bench, version, &format!("v{version}")).await;
        for n in 0..30 {
            assert_eq!(device.subscribe(&format!("f/{n}")).await, 1, "{n}");
        }
        assert_eq!(device.subscribe("f/0").await, 1, "it has this one");
        assert_eq!(device.subscribe("f/30").await, code);
        assert!(
            bench.refusal().contains("as many filters"),
            "{}",
            bench.refusal()
        );
    }
}

#[tokio::test]
async fn the_number_of_filters_can_be_another() {
    let bench = with(json!({"instance": {"filters_per_client": 1}})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    assert_eq!(device.subscribe("a").await, 1);
    assert_eq!(device.subscribe("b").await, 0x97);
    let bench = with(json!({"instance": {"filters_per_client": 0}})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    for n in 0..40 {
        assert_eq!(device.subscribe(&format!("f/{n}")).await, 1);
    }
}

#[tokio::test]
async fn subscriptions_over_the_rate_are_refused_until_a_second_later() {
    let bench = with(json!({"quotas": {"Subscribe": 1}})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    assert_eq!(device.subscribe("a").await, 1);
    assert_eq!(device.subscribe("b").await, 0x97);
    assert!(
        bench.refusal().contains("Subscribe per second"),
        "{}",
        bench.refusal()
    );
    a_second_later(&bench);
    assert_eq!(device.subscribe("b").await, 1);
}

#[tokio::test]
async fn a_packet_counts_once_however_many_filters_it_has() {
    let bench = with(json!({"quotas": {"Subscribe": 1, "Unsubscribe": 1}})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    assert_eq!(
        device.subscribe_with(&["a", "b", "c"], &[]).await,
        [1, 1, 1]
    );
    assert_eq!(device.subscribe_with(&["d", "e"], &[]).await, [0x97, 0x97]);
    assert_eq!(bench.refused().topic.as_deref(), Some("d e"));
    assert_eq!(device.unsubscribe(&["a", "b"]).await.unwrap(), [0, 0]);
    assert_eq!(device.unsubscribe(&["c", "a"]).await.unwrap(), [0x83, 0x83]);
    assert_eq!(
        (bench.refused().packet, bench.refused().code),
        ("UNSUBSCRIBE", 0x83)
    );
    let held = bench.app.broker.subscriptions().await;
    assert_eq!(held.len(), 1, "a refused packet changes nothing");
    a_second_later(&bench);
    assert_eq!(device.unsubscribe(&["c"]).await.unwrap(), [0]);
    assert_eq!(device.subscribe("d").await, 1);
}

#[tokio::test]
async fn to_mqtt_3_an_unsubscribe_over_the_rate_is_not_answered() {
    let bench = with(json!({"quotas": {"Subscribe": 1, "Unsubscribe": 1}})).await;
    let (mut device, _) = connect(&bench, 4, "dev").await;
    assert_eq!(device.subscribe("a").await, 1);
    assert_eq!(device.subscribe("b").await, 0x80);
    assert!(device.unsubscribe(&["b"]).await.is_some());
    assert_eq!(device.unsubscribe(&["a"]).await, None);
    assert!(bench.refusal().contains("Unsubscribe per second"));
    assert_eq!(bench.app.broker.subscriptions().await.len(), 1);
}

#[tokio::test]
async fn the_rates_of_packets_are_the_whole_instances() {
    let bench = with(json!({"quotas": {"Subscribe": 2, "Unsubscribe": 1}})).await;
    let (mut one, _) = connect(&bench, 5, "one").await;
    let (mut two, _) = connect(&bench, 4, "two").await;
    assert_eq!(one.subscribe("a").await, 1);
    assert_eq!(two.subscribe("a").await, 1);
    assert_eq!(one.subscribe("b").await, 0x97);
    let mut open = Device::v4(bench.mqtt(), "open").await;
    open.subscribe("c", 1).await;
}

#[tokio::test]
async fn over_the_quota_qos_0_is_dropped_and_qos_1_refused_to_who_can_be_told() {
    for quota in ["Publish", "MessageRate"] {
        let bench = with(json!({"quotas": {quota: 1}})).await;
        let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
        watcher.subscribe("home/#", 1).await;
        let (mut device, _) = connect(&bench, 5, "dev").await;
        assert_eq!(device.publish("home/1", "x").await, 0);
        assert_eq!(device.publish("home/2", "x").await, 0x97);
        device.publish_qos_0("home/3", "x").await;
        device.ping().await;
        assert!(bench.refusal().contains(quota), "{}", bench.refusal());
        a_second_later(&bench);
        assert_eq!(device.publish("home/4", "x").await, 0);
        assert_eq!(watcher.receive().await.topic, "home/1");
        assert_eq!(watcher.receive().await.topic, "home/4");
    }
}

#[tokio::test]
async fn over_the_quota_qos_1_of_mqtt_3_is_not_acknowledged() {
    let bench = with(json!({"quotas": {"Publish": 1}})).await;
    let (mut device, _) = connect(&bench, 4, "dev").await;
    assert_eq!(device.publish("home/1", "x").await, 0);
    device.publish_only("home/2", "x").await;
    // The PINGRESP comes where the PUBACK would.
    device.ping().await;
    assert!(
        bench.refusal().contains("Publish per second"),
        "{}",
        bench.refusal()
    );
}

#[tokio::test]
async fn http_and_mqtt_publishes_count_against_the_same_quota() {
    let bench = with(json!({"quotas": {"Publish": 1}})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    assert_eq!(bench.post("/topics/home", "x").await.status, 200);
    assert_eq!(device.publish("home/1", "x").await, 0x97);
    a_second_later(&bench);
    assert_eq!(device.publish("home/1", "x").await, 0);
    assert_eq!(bench.post("/topics/home", "x").await.status, 429);
}

#[tokio::test]
async fn a_payload_or_topic_over_the_limit_is_refused() {
    let bench = with(json!({"max_payload_bytes": 3, "max_topic_bytes": 6})).await;
    let (mut device, _) = connect(&bench, 5, "dev").await;
    assert_eq!(device.publish("home/x", "1234").await, 0x97);
    assert!(
        bench.refusal().contains("payload has 4 bytes"),
        "{}",
        bench.refusal()
    );
    assert_eq!(device.publish("home/xy", "1").await, 0x90);
    assert_eq!(device.publish("$sys/x", "1").await, 0x90);
    assert_eq!(device.publish("home/x", "123").await, 0);
}

#[tokio::test]
async fn an_authentication_method_is_refused() {
    let bench = Bench::frozen().await;
    let opening = Opening {
        // Authentication Method "SCRAM".
        properties: b"\x15\x00\x05SCRAM",
        ..Opening::of(5)
    };
    assert_eq!(refused(&bench, &opening, "dev").await, 0x8c);
    assert!(
        bench.refusal().contains("AUTH is not supported"),
        "{}",
        bench.refusal()
    );
}

#[tokio::test]
async fn a_wills_delay_counts_as_none() {
    let bench = Bench::frozen().await;
    let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
    watcher.subscribe("wills/#", 1).await;
    let opening = Opening {
        clean: false,
        // Session Expiry Interval: an hour.
        properties: &[0x11, 0, 0, 0x0e, 0x10],
        // Will Delay Interval: an hour.
        will: Some(("wills/dev", "gone", &[0x18, 0, 0, 0x0e, 0x10])),
        ..Opening::of(5)
    };
    let (device, code) = open(&bench, &opening, "dev").await;
    assert_eq!(code, 0);
    drop(device);
    assert_eq!(watcher.receive().await.payload, "gone");
}
