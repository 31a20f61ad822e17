//! Namespace topics and pull delivery, with the requests that the vendor's SDK was seen to send.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench, recording};
use crate::shared;

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";
const KEY: &str = "SharedAccessKey dGVzdGtleQ==";

fn ask(path: &str) -> Ask {
    let joint = if path.contains('?') { '&' } else { '?' };
    Ask::post(&format!("{path}{joint}api-version=2024-06-01")).header("Authorization", KEY)
}

fn event(id: &str) -> Value {
    json!({"id": id, "source": "/s", "type": "t", "specversion": "1.0", "data": {"k": id}})
}

fn publish(events: &Value) -> Ask {
    ask("/topics/t1:publish")
        .header(
            "content-type",
            "application/cloudevents-batch+json; charset=utf-8",
        )
        .body(events.to_string())
}

async fn receive(bench: &Bench, max: usize) -> Vec<(String, u64, String)> {
    let target = format!("/topics/t1/eventsubscriptions/s1:receive?maxEvents={max}&maxWaitTime=10");
    let answer = bench.json(200, ask(&target)).await;
    let rows = answer["value"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            (
                row["event"]["id"].as_str().unwrap().to_owned(),
                row["brokerProperties"]["deliveryCount"].as_u64().unwrap(),
                row["brokerProperties"]["lockToken"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            )
        })
        .collect()
}

async fn settle(bench: &Bench, action: &str, tokens: &[&str]) -> Value {
    let target = format!("/topics/t1/eventsubscriptions/s1:{action}");
    bench
        .json(
            200,
            ask(&target).body(json!({"lockTokens": tokens}).to_string()),
        )
        .await
}

#[tokio::test]
async fn every_recorded_sdk_request_is_answered_in_the_sdks_shape() {
    let bench = bench(json!({"namespaces": [{"key": "key=="}]})).await;
    let recording = recording("azure-eventgrid-python.json");
    let mut answered = 0;
    for (name, case) in recording["cases"].as_object().unwrap() {
        for exchange in case["exchanges"].as_array().unwrap() {
            let request = Ask::recorded(&exchange["request"]);
            let is_namespace = request.target.starts_with("/topics/");
            let is_key = request
                .headers
                .iter()
                .any(|(_, value)| value.starts_with("SharedAccessKey"));
            if !is_namespace || !is_key {
                continue;
            }
            let answer = bench.json(200, request).await;
            answered += 1;
            for member in exchange["response"]["body"].as_object().unwrap().keys() {
                assert!(answer.get(member).is_some(), "{name}: {answer}");
            }
        }
    }
    assert_eq!(answered, 8);
}

#[tokio::test]
async fn the_recorded_sdk_request_with_a_token_is_answered_where_tokens_are_not_checked() {
    let bench = bench(json!({"auth": "off"})).await;
    let recording = recording("azure-eventgrid-python.json");
    let exchange = &recording["cases"]["ns-publish-token-https"]["exchanges"][0];
    let request = Ask::recorded(&exchange["request"]);
    assert_eq!(bench.json(200, request).await, exchange["response"]["body"]);
}

#[tokio::test]
async fn an_event_is_received_once_acknowledged_and_gone() {
    let bench = bench(json!({})).await;
    assert_eq!(
        bench
            .json(200, publish(&json!([event("1"), event("2")])))
            .await,
        json!({})
    );
    let received = receive(&bench, 10).await;
    assert_eq!(
        received
            .iter()
            .map(|(id, ..)| id.as_str())
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    let answer = settle(&bench, "acknowledge", &[&received[0].2, "L1"]).await;
    assert_eq!(answer["succeededLockTokens"], json!([received[0].2]));
    assert_eq!(answer["failedLockTokens"][0]["lockToken"], "L1");
    assert_eq!(answer["failedLockTokens"][0]["error"]["code"], "BadToken");
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(60))
        .unwrap();
    let again = receive(&bench, 10).await;
    assert_eq!((again[0].0.as_str(), again[0].1, again.len()), ("2", 2, 1));
    let late = settle(&bench, "acknowledge", &[&received[1].2]).await;
    assert_eq!(late["failedLockTokens"][0]["error"]["code"], "TokenLost");
}

#[tokio::test]
async fn release_gives_back_after_its_delay_reject_never() {
    let bench = bench(json!({})).await;
    bench
        .json(200, publish(&json!([event("1"), event("2")])))
        .await;
    let received = receive(&bench, 10).await;
    let target = "/topics/t1/eventsubscriptions/s1:release?releaseDelayInSeconds=60";
    let body = json!({"lockTokens": [received[0].2]}).to_string();
    bench.json(200, ask(target).body(body.clone())).await;
    settle(&bench, "reject", &[&received[1].2]).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(60))
        .unwrap();
    let again = receive(&bench, 10).await;
    assert_eq!((again.len(), again[0].0.as_str()), (1, "1"));
    let target = "/topics/t1/eventsubscriptions/s1:release?releaseDelayInSeconds=7";
    bench.json(400, ask(target).body(body)).await;
}

#[tokio::test]
async fn a_lock_is_kept_by_renewing_it() {
    let bench = bench(json!({})).await;
    bench.json(200, publish(&json!([event("1")]))).await;
    let received = receive(&bench, 1).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(50))
        .unwrap();
    let renewed = settle(&bench, "renewLock", &[&received[0].2]).await;
    assert_eq!(renewed["succeededLockTokens"], json!([received[0].2]));
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(50))
        .unwrap();
    let acknowledged = settle(&bench, "acknowledge", &[&received[0].2]).await;
    assert_eq!(acknowledged["failedLockTokens"], json!([]));
}

#[tokio::test]
async fn a_waiting_receive_returns_as_soon_as_something_is_published() {
    let bench = bench(json!({})).await;
    let target = "/topics/t1/eventsubscriptions/s1:receive?maxWaitTime=120";
    let later = async {
        shared::more(bench.app.journal.requests(), 0).await;
        bench.json(200, publish(&json!([event("1")]))).await
    };
    let (received, _) = tokio::join!(bench.json(200, ask(target)), later);
    assert_eq!(received["value"][0]["event"], event("1"));
}

#[tokio::test]
async fn a_waiting_receive_sees_a_lock_run_out_when_the_clock_is_advanced() {
    let bench = bench(json!({})).await;
    bench.json(200, publish(&json!([event("1")]))).await;
    receive(&bench, 1).await;
    let before = bench.app.journal.requests().last();
    let later = async {
        shared::more(bench.app.journal.requests(), before).await;
        bench
            .app
            .clock
            .advance(SignedDuration::from_secs(60))
            .unwrap();
    };
    let (received, ()) = tokio::join!(receive(&bench, 1), later);
    assert_eq!(received[0].1, 2);
}

#[tokio::test]
async fn an_event_delivered_too_often_goes_to_the_dead_letter_topic() {
    let subscription = json!({
        "name": "s1",
        "dead_letter_topic": "dead",
        "properties": {"deliveryConfiguration": {"queue": {"maxDeliveryCount": 1}}},
    });
    let bench = bench(json!({"namespaces": [{"topics": [
        {"name": "t1", "subscriptions": [subscription]},
        {"name": "dead", "subscriptions": [{"name": "d"}]},
    ]}]}))
    .await;
    bench.json(200, publish(&json!([event("1")]))).await;
    let received = receive(&bench, 1).await;
    settle(&bench, "release", &[&received[0].2]).await;
    let dead = bench
        .json(
            200,
            ask("/topics/dead/eventsubscriptions/d:receive?maxWaitTime=10"),
        )
        .await;
    let event = &dead["value"][0]["event"];
    assert_eq!(
        event["deadletterreason"],
        "Maximum delivery attempts was exceeded."
    );
    assert_eq!(
        (&event["id"], &event["deliveryattempts"]),
        (&json!("1"), &json!(1))
    );
}

#[tokio::test]
async fn filters_decide_what_a_subscription_gets() {
    let subscription = json!({"name": "s1", "properties": {"filtersConfiguration": {
        "includedEventTypes": ["wanted"],
        "filters": [{"operatorType": "NumberGreaterThan", "key": "data.t", "value": 20}],
    }}});
    let bench = bench(
        json!({"namespaces": [{"topics": [{"name": "t1", "subscriptions": [subscription]}]}]}),
    )
    .await;
    let one = |id: &str, kind: &str, t: i32| json!({"id": id, "source": "s", "type": kind, "specversion": "1.0", "data": {"t": t}});
    bench
        .json(
            200,
            publish(&json!([
                one("1", "wanted", 10),
                one("2", "other", 30),
                one("3", "wanted", 30)
            ])),
        )
        .await;
    let ids: Vec<_> = receive(&bench, 10)
        .await
        .into_iter()
        .map(|(id, ..)| id)
        .collect();
    assert_eq!(ids, ["3"]);
}

#[tokio::test]
async fn a_waiting_receive_ends_when_its_subscription_goes() {
    let topics = json!([{"name": "t1", "subscriptions": [{"name": "s1"}]}]);
    let settings = json!({"auto_create": false, "namespaces": [{"topics": topics}]});
    for path in ["/topics/t1/eventSubscriptions/s1", "/topics/t1", ""] {
        let bench = bench(settings.clone()).await;
        let receive = ask("/topics/t1/eventsubscriptions/s1:receive?maxWaitTime=120");
        let delete = Ask::new("DELETE", &format!("{NAMESPACE}{path}"));
        // The receive waits before the other begins.
        let (received, deleted) = tokio::join!(bench.ask(receive), bench.ask(delete));
        assert_eq!((received.status, deleted.status), (404, 204), "{path:?}");
    }
}

#[tokio::test]
async fn every_subscription_of_a_topic_gets_every_event() {
    let topics = json!([{"name": "t1", "subscriptions": [{"name": "s2"}, {"name": "s1"}]}]);
    let bench = bench(json!({"namespaces": [{"topics": topics}]})).await;
    let other = ask("/topics/t1/eventsubscriptions/s2:receive?maxWaitTime=120");
    let sent = publish(&json!([event("1")]));
    let (received, _) = tokio::join!(bench.json(200, other), bench.json(200, sent));
    assert_eq!(received["value"][0]["event"], event("1"));
    assert_eq!(receive(&bench, 1).await[0].0, "1");
}

#[tokio::test]
async fn what_is_released_is_there_for_who_waits() {
    let bench = bench(json!({})).await;
    bench.json(200, publish(&json!([event("1")]))).await;
    let received = receive(&bench, 1).await;
    let tokens = [received[0].2.as_str()];
    let (again, _) = tokio::join!(receive(&bench, 1), settle(&bench, "release", &tokens));
    assert_eq!((again[0].0.as_str(), again[0].1), ("1", 2));
}
