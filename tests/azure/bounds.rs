//! What a caller can make a namespace keep, and the answer when that is as much as it may be.

use jiff::SignedDuration;
use mqttstack_broker::dialect::ConnectCode;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};
use crate::mqtt::{admitted, question};

fn ask(path: &str) -> Ask {
    let joint = if path.contains('?') { '&' } else { '?' };
    Ask::post(&format!("{path}{joint}api-version=2024-06-01"))
        .header("Authorization", "SharedAccessKey dGVzdGtleQ==")
}

fn publish(topic: &str, size: usize) -> Ask {
    let event = json!({"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "data": "x".repeat(size)});
    ask(&format!("/topics/{topic}:publish"))
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
}

fn receive(topic: &str, subscription: &str) -> Ask {
    ask(&format!(
        "/topics/{topic}/eventsubscriptions/{subscription}:receive?maxWaitTime=10"
    ))
}

/// That a request is refused as the SDKs' reference of send says of a quota; gives the message.
async fn over_quota(bench: &Bench, ask: Ask) -> String {
    let answer = bench.json(403, ask).await;
    assert_eq!(answer["error"]["code"], "QuotaExceeded");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

fn only_token(answer: &Value) -> &str {
    assert_eq!(answer["value"].as_array().unwrap().len(), 1);
    answer["value"][0]["brokerProperties"]["lockToken"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn a_topic_more_than_there_may_be_is_over_the_quota() {
    let bench = bench(json!({"max_topics": 2})).await;
    for topic in ["a", "b", "a"] {
        bench.json(200, publish(topic, 1)).await;
    }
    let message = over_quota(&bench, publish("c", 1)).await;
    assert!(
        message.contains("there are 2 namespace topics"),
        "{message}"
    );
    over_quota(&bench, receive("c", "s")).await;
    bench.json(200, receive("a", "s")).await;
}

#[tokio::test]
async fn the_resource_manager_puts_topics_beyond_those_of_use() {
    let bench = bench(json!({"max_topics": 0})).await;
    over_quota(&bench, publish("own", 1)).await;
    let id = "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname/topics/own";
    let put = Ask::new("PUT", id).body(json!({"properties": {}}).to_string());
    bench.json(201, put).await;
    bench.json(200, publish("own", 1)).await;
}

#[tokio::test]
async fn an_event_subscription_more_than_there_may_be_is_over_the_quota() {
    let bench = bench(json!({"max_event_subscriptions": 2})).await;
    bench.json(200, publish("a", 1)).await;
    bench.json(200, publish("b", 1)).await;
    bench.json(200, receive("a", "s")).await;
    bench.json(200, receive("b", "s")).await;
    let message = over_quota(&bench, receive("a", "other")).await;
    assert!(message.contains("2 event subscriptions"), "{message}");
}

#[tokio::test]
async fn a_name_that_no_topic_can_have_makes_no_topic() {
    let bench = bench(json!({})).await;
    bench.json(200, publish(&"t".repeat(50), 1)).await;
    bench.json(410, publish(&"t".repeat(51), 1)).await;
    bench.json(404, receive(&"t".repeat(51), "s")).await;
    bench.json(404, receive("t", &"s".repeat(65))).await;
}

#[tokio::test]
async fn events_beyond_the_bytes_of_a_namespace_are_over_the_quota() {
    let bench = bench(json!({"max_event_bytes": 10_000})).await;
    bench.json(200, publish("a", 8_000)).await;
    let message = over_quota(&bench, publish("a", 8_000)).await;
    assert!(message.contains("10000 bytes"), "{message}");
    over_quota(&bench, publish("b", 8_000)).await;
    // What is acknowledged makes room.
    let received = bench.json(200, receive("a", "s")).await;
    over_quota(&bench, publish("b", 8_000)).await;
    let body = json!({"lockTokens": [only_token(&received)]});
    let acknowledge = ask("/topics/a/eventsubscriptions/s:acknowledge").body(body.to_string());
    bench.json(200, acknowledge).await;
    bench.json(200, publish("b", 8_000)).await;
    // And so does what has expired, although nobody asks for it.
    over_quota(&bench, publish("a", 8_000)).await;
    let week = SignedDuration::from_hours(7 * 24);
    bench.app.clock.advance(week).unwrap();
    bench.json(200, publish("a", 8_000)).await;
}

#[tokio::test]
async fn a_batch_over_the_quota_is_refused_as_a_whole() {
    let bench = bench(json!({"max_event_bytes": 10_000})).await;
    let event = json!({"id": "1", "source": "/s", "type": "t", "specversion": "1.0", "data": "x".repeat(4_000)});
    let batch = ask("/topics/a:publish")
        .header("content-type", "application/cloudevents-batch+json")
        .body(json!([event, event, event]).to_string());
    over_quota(&bench, batch).await;
    bench.json(200, publish("a", 1)).await;
    let target = "/topics/a/eventsubscriptions/s:receive?maxEvents=9&maxWaitTime=10";
    only_token(&bench.json(200, ask(target)).await);
}

#[tokio::test]
async fn without_creation_by_use_a_topic_without_subscription_keeps_nothing() {
    let topics = json!([{"name": "a"}]);
    let bench = bench(json!({
        "auto_create": false,
        "max_event_bytes": 10_000,
        "namespaces": [{"topics": topics}],
    }))
    .await;
    for _ in 0..3 {
        bench.json(200, publish("a", 8_000)).await;
    }
}

#[tokio::test]
async fn a_session_more_than_there_may_be_is_over_the_quota() {
    let clients = json!([{"name": "a"}, {"name": "b"}]);
    let bench = bench(json!({
        "auth": "lenient",
        "max_sessions": 1,
        "namespaces": [{"clients": clients}],
    }))
    .await;
    let dialect = bench.azure.dialect(&bench.app);
    let connect = |name: &str| {
        let mut connect = question("", "");
        connect.authentication_method = None;
        connect.authentication_data = None;
        connect.username = Some(name.to_owned());
        connect.client_id = name.to_owned();
        connect
    };
    let grant = dialect.connect(&connect("a")).await.unwrap();
    admitted(&*dialect, grant);
    let mut again = connect("a");
    again.client_id = "session".to_owned();
    dialect.connect(&again).await.unwrap();
    let refusal = dialect.connect(&connect("b")).await.unwrap_err();
    assert_eq!(refusal.code, ConnectCode::QuotaExceeded);
    assert!(
        refusal
            .reason
            .starts_with("QuotaExceeded: the namespace has 1 sessions"),
        "{}",
        refusal.reason
    );
}

#[tokio::test]
async fn what_nobody_has_claimed_in_time_makes_room() {
    let bench = bench(json!({"max_event_bytes": 10_000})).await;
    bench.json(200, publish("a", 8_000)).await;
    over_quota(&bench, publish("b", 8_000)).await;
    let week = SignedDuration::from_hours(7 * 24);
    bench.app.clock.advance(week).unwrap();
    bench.json(200, publish("b", 8_000)).await;
    only_token(&bench.json(200, receive("b", "s")).await);
}
