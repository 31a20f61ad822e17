//! What `mqtt/publish` and its batch make of properties: what an MQTT 5 subscriber gets, and what
//! nobody gets whatever the answer says. Measured on the real 0.25.5, but for what the table in
//! `api/publish.rs` marks as assumed.

use mqttstack_nanomq::Settings;
use serde_json::{Value, json};

use super::bench::Bench;
use crate::wire::{Wire, text};

/// A publish to `t` with these properties.
fn item(properties: &Value) -> Value {
    json!({"topic": "t", "payload": "x", "properties": properties})
}

async fn publish(bench: &Bench, body: &Value) -> String {
    let body = body.to_string();
    bench
        .ask("POST", "/api/v4/mqtt/publish", &body)
        .await
        .text()
}

async fn batch(bench: &Bench, items: &Value) -> String {
    let body = items.to_string();
    let path = "/api/v4/mqtt/publish_batch";
    bench.ask("POST", path, &body).await.text()
}

/// The properties of all that came to a subscriber since; a message of ours ends it.
async fn came(bench: &Bench, reader: &mut Wire) -> Vec<Vec<u8>> {
    let end = json!({"topic": "t", "payload": "end"});
    assert_eq!(publish(bench, &end).await, "{\"code\":0}");
    let mut all = Vec::new();
    loop {
        let arrived = reader.receive().await;
        if arrived.payload == "end" {
            return all;
        }
        all.push(arrived.properties);
    }
}

async fn reader(bench: &Bench) -> Wire {
    let mut reader = Wire::open(bench.mqtt, 5, "reader").await;
    assert_eq!(reader.subscribe("t", 0).await, 0);
    reader
}

/// A user property as it is on the wire.
fn user(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_user_properties_are_written_with_17_digits() {
    let bench = Bench::new(Settings::default()).await;
    let mut reader = reader(&bench).await;
    for (given, written) in [
        (json!(10010), "10010"),
        (json!(1.5), "1.5"),
        (json!(-0.1), "-0.10000000000000001"),
        (json!(1e20), "1e+20"),
        (json!(true), "true"),
        (json!("1.500"), "1.500"),
    ] {
        let sent = item(&json!({"user_properties": {"v": given}}));
        assert_eq!(publish(&bench, &sent).await, "{\"code\":0}");
        assert_eq!(came(&bench, &mut reader).await, [user("v", written)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_properties_that_are_no_object_publish_nothing() {
    let bench = Bench::new(Settings::default()).await;
    let mut reader = reader(&bench).await;
    for given in [json!([]), json!("text"), Value::Null, json!(7), json!(true)] {
        let sent = item(&json!({"User_Properties": given, "content_type": "a"}));
        assert_eq!(publish(&bench, &sent).await, "{\"code\":108}", "{given}");
        assert!(bench.last_reasons().contains("is not an object"));
        let rows = batch(
            &bench,
            &json!([sent, {"topics": "u,v", "payload": "y", "properties": sent["properties"]}]),
        )
        .await;
        let refused = "{\"data\":[{\"topic\":\"t\",\"code\":108},{\"topic\":\"u,v\",\"code\":108}],\"code\":0}";
        assert_eq!(rows, refused, "{given}");
    }
    assert!(came(&bench, &mut reader).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publish_may_not_have_is_answered_0_and_lost() {
    let bench = Bench::new(Settings::default()).await;
    let mut reader = reader(&bench).await;
    for given in [
        json!({"payload_format_indicator": 2}),
        json!({"payload_format_indicator": 255, "content_type": "a"}),
        json!({"response_topic": "a/#"}),
        json!({"response_topic": "a/+/b"}),
        json!({"subscription_identifier": 1}),
        json!({"content_type": "x".repeat(65_536)}),
    ] {
        let sent = item(&given);
        assert_eq!(publish(&bench, &sent).await, "{\"code\":0}", "{given:.60}");
        assert!(bench.last_reasons().contains("nobody receives it"));
        let rows = batch(&bench, &json!([sent])).await;
        let answered = "{\"data\":[{\"topic\":\"t\",\"code\":0}],\"code\":0}";
        assert_eq!(rows, answered, "{given:.60}");
    }
    assert!(came(&bench, &mut reader).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_of_the_wrong_type_are_passed_over() {
    let bench = Bench::new(Settings::default()).await;
    let mut reader = reader(&bench).await;
    for given in [
        json!("text"),
        json!([1]),
        Value::Null,
        json!({"payload_format_indicator": "2", "response_topic": 1, "topic_alias": 3}),
        json!({"subscription_identifier": "1", "content_type": {}, "other": []}),
        json!({"user_properties": {"a": [], "b": null, "c": {}}}),
    ] {
        let sent = item(&given);
        assert_eq!(publish(&bench, &sent).await, "{\"code\":0}", "{given}");
        let plain = [Vec::<u8>::new()];
        assert_eq!(came(&bench, &mut reader).await, plain, "{given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_of_0_is_delivered_as_a_property() {
    let bench = Bench::new(Settings::default()).await;
    let mut reader = reader(&bench).await;
    let sent = item(&json!({"message_expiry_interval": 0}));
    assert_eq!(publish(&bench, &sent).await, "{\"code\":0}");
    assert_eq!(came(&bench, &mut reader).await, [[2, 0, 0, 0, 0]]);
}
