//! `POST /mqtt/messages`: the vendor page's example, recordings, rates. Each parameter and each
//! refusal is an exchange in `fixtures/azure`.

use bytes::Bytes;
use jiff::SignedDuration;
use mqttstack_base::message::Qos;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, OBJECT_ID, bench, recording};

const VERSION: &str = "api-version=2025-02-15-preview";

async fn open() -> Bench {
    bench(json!({"auth": "off"})).await
}

fn publish(query: &str) -> Ask {
    Ask::post(&format!("/mqtt/messages?{query}&{VERSION}"))
}

#[tokio::test]
async fn the_vendor_pages_example_becomes_the_message_that_it_describes() {
    let example = &recording("azure-http-publish.json")["documented_example"];
    let bench = bench(json!({})).await;
    let token = bench.token().await;
    let mut ask = Ask::post(example["target"].as_str().unwrap())
        .header("authorization", &format!("Bearer {token}"))
        .header("x-ms-client-request-id", "abc")
        .body(example["body"].as_str().unwrap());
    for (name, value) in example["headers"].as_object().unwrap() {
        ask = ask.header(name, value.as_str().unwrap());
    }
    let answer = bench.ask(ask).await;
    assert_eq!((answer.status, answer.body.bytes().len()), (204, 0));
    assert_eq!(answer.header_value("x-ms-client-request-id"), Some("abc"));
    let id = &bench.entry().id;
    assert_eq!(
        answer.header_value("x-ms-request-id"),
        Some(&*id.to_ascii_lowercase())
    );
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    let expected = &example["expect_publish"];
    assert_eq!(message.topic, expected["topic"].as_str().unwrap());
    assert_eq!((message.qos, message.retain), (Qos::AtLeastOnce, false));
    let properties = &message.properties;
    assert_eq!(
        properties.response_topic.as_deref(),
        expected["response_topic"].as_str()
    );
    assert_eq!(
        properties.content_type.as_deref(),
        expected["content_type"].as_str()
    );
    assert_eq!(
        properties.correlation_data,
        Some(Bytes::from_static(
            b"\x3e\x55\xc2\xb1\xc2\xb6\xc2\xb6\xc2\xbb\x2f"
        ))
    );
    assert_eq!(
        json!(properties.user_properties),
        expected["user_properties"]
    );
    assert_eq!(message.payload, example["body"].as_str().unwrap());
    // The object id becomes the MQTT client id, and no session comes into being.
    assert_eq!(message.origin.client_id.as_deref(), Some(OBJECT_ID));
    assert!(bench.app.broker.clients().await.is_empty());
    let entry = bench.entry();
    let draft = &entry.outcome().unwrap().draft;
    assert_eq!(draft.operation.as_deref(), Some("HttpPublish"));
    assert_eq!(draft.messages, std::slice::from_ref(&message.id));
}

#[tokio::test]
async fn requests_recorded_from_azure_core_are_taken() {
    let bench = open().await;
    for exchange in recording("azure-http-publish.json")["azure_core_requests"]
        .as_array()
        .unwrap()
    {
        assert_eq!(
            bench.ask(Ask::recorded(&exchange["request"])).await.status,
            204
        );
    }
    assert_eq!(bench.app.journal.messages().len(), 2);
}

#[tokio::test]
async fn an_empty_retained_publish_removes_the_retained_message() {
    let bench = open().await;
    bench.ask(publish("topic=r&retain=1").body("kept")).await;
    assert_eq!(bench.app.broker.retained().len(), 1);
    bench.ask(publish("topic=r&retain=1")).await;
    assert!(bench.app.broker.retained().is_empty());
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let bench = bench(json!({"auth": "off", "limits": false})).await;
    let topic = format!("topic=a{}", "/a".repeat(150));
    assert_eq!(
        bench
            .ask(publish(&topic).body(vec![0; 600 * 1024]))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn the_call_over_the_configured_rate_is_told_when_to_come_back() {
    let bench = bench(json!({"auth": "off", "quotas": {"HttpPublish": 2}})).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
    }
    let answer = bench.ask(publish("topic=t")).await;
    assert_eq!(
        (answer.status, answer.header_value("Retry-After")),
        (429, Some("1"))
    );
    let body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap();
    assert_eq!(body["error"]["code"], "TooManyRequests");
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
}

#[tokio::test]
async fn a_retained_publish_counts_twice() {
    let bench = bench(json!({"auth": "off", "quotas": {"HttpPublish": 3}})).await;
    assert_eq!(bench.ask(publish("topic=t&retain=1")).await.status, 204);
    assert_eq!(bench.ask(publish("topic=t")).await.status, 204);
    assert_eq!(bench.ask(publish("topic=t")).await.status, 429);
}
