//! What the cloud API does with a client's subscriptions, and tells of its will and its past.

use serde_json::{Value, json};

use crate::bare::{Bare, Opening};
use crate::bench::Bench;
use crate::mqtt::Device;

const ADD: &str = "AddClientSubscription";
const DELETE: &str = "DeleteClientSubscription";

fn of(filter: &str) -> Value {
    json!({"ClientId": "dev", "TopicFilter": filter})
}

#[tokio::test]
async fn a_subscription_is_added_and_taken_away_at_once() {
    let bench = Bench::unsigned().await;
    let (mut device, _) = Bare::connect_v5(bench.mqtt(), "dev", "user0", "secret0").await;
    for filter in ["home/#", "$share/g/garden"] {
        bench.cloud(ADD, of(filter)).await;
    }
    bench.post("/topics/home%2Fa", "in the home").await;
    bench.post("/topics/garden", "last").await;
    assert_eq!(device.payloads_until("last").await, ["in the home", "last"]);
    let listed = bench
        .cloud("DescribeClientList", json!({"ClientId": "dev"}))
        .await;
    assert_eq!(
        listed["Clients"][0]["MQTTClientSubscriptions"],
        json!([{"TopicFilter": "home/#", "Qos": 1}, {"TopicFilter": "$share/g/garden", "Qos": 1}])
    );
    bench.cloud(DELETE, of("home/#")).await;
    bench.post("/topics/home%2Fa", "nobody's").await;
    bench.post("/topics/garden", "last").await;
    assert_eq!(device.payloads_until("last").await, ["last"]);
    assert!(bench.try_cloud(DELETE, of("home/#")).await.is_err());
}

#[tokio::test]
async fn the_asked_quality_of_service_is_granted_and_adding_again_changes_it() {
    let bench = Bench::unsigned().await;
    let (_device, _) = Bare::connect_v5(bench.mqtt(), "dev", "user0", "secret0").await;
    for qos in [2, 0, 1] {
        let mut asked = of("home");
        asked["Qos"] = json!(qos.to_string());
        bench.cloud(ADD, asked).await;
        let held = bench.app.broker.subscriptions().await;
        assert_eq!((held.len(), held[0].qos.level()), (1, qos));
    }
}

#[tokio::test]
async fn what_the_client_may_not_have_or_has_not_is_refused() {
    let bench = Bench::unsigned().await;
    let at = bench.mqtt();
    let (mut device, _) = Bare::connect_v5(at, "dev", "user0", "secret0").await;
    let refused = |code: &str| Err(code.to_owned());
    let code = bench.try_cloud(DELETE, of("home")).await;
    assert_eq!(code, refused("ResourceNotFound"));
    for n in 0..30 {
        assert_eq!(device.subscribe(&format!("f/{n}")).await, 1);
    }
    let code = bench.try_cloud(ADD, of("one-more")).await;
    assert_eq!(code, refused("OperationDenied"));
    let deny = json!({"PolicyName": "no-sub", "PolicyVersion": 1, "Priority": 0, "Effect": "deny",
        "Actions": "sub", "Retain": 3, "Qos": "0,1,2", "Resources": "f/*", "Username": "*",
        "ClientId": "*", "Ip": "0.0.0.0/0", "Remark": ""});
    bench.cloud("CreateAuthorizationPolicy", deny).await;
    let code = bench.try_cloud(ADD, of("f/1")).await;
    assert_eq!(code, refused("OperationDenied"));
    assert!(
        bench.refusal().contains("\"no-sub\" denies"),
        "{}",
        bench.refusal()
    );
}

#[tokio::test]
async fn adding_from_outside_counts_against_no_rate_of_packets() {
    let bench = Bench::unsigned().await;
    let (mut device, _) = Bare::connect_v5(bench.mqtt(), "dev", "user0", "secret0").await;
    for _ in 0..99 {
        assert_eq!(device.subscribe("home").await, 1);
    }
    bench.cloud(ADD, of("garden")).await;
    assert_eq!(device.subscribe("home").await, 1, "the hundredth");
    assert_eq!(device.subscribe("home").await, 0x97);
}

#[tokio::test]
async fn what_has_happened_to_a_client_is_told_in_its_order() {
    let bench = Bench::unsigned().await;
    let at = bench.mqtt();
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    let (mut device, _) = Bare::connect_v5(at, "dev", "user0", "secret0").await;
    device.subscribe("home/#").await;
    device.unsubscribe(&["home/#"]).await;
    let second = jiff::SignedDuration::from_secs(1);
    bench.app.clock.advance(second).unwrap();
    drop(device);
    watcher.receive().await;
    let now = 1_700_000_000_000_i64;
    let asked = json!({"ClientId": "dev", "StartTime": now, "EndTime": now + 1_000});
    let events = bench.cloud("DescribeClientEvents", asked.clone()).await;
    let events = events["Events"].as_array().unwrap();
    let seen: Vec<(&str, i64)> = events
        .iter()
        .map(|event| {
            (
                event["Event"].as_str().unwrap(),
                event["Timestamp"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("client.connected", now),
            ("client.subscribed", now),
            ("client.unsubscribed", now),
            ("client.disconnected", now + 1_000),
        ]
    );
    let info = events[1]["Info"].as_array().unwrap();
    assert!(
        info.contains(&json!({"Key": "topic", "Value": "home/#"})),
        "{info:?}"
    );
    assert!(
        info.contains(&json!({"Key": "qos", "Value": "1"})),
        "{info:?}"
    );
    let mut earlier = asked.clone();
    earlier["EndTime"] = json!(now + 999);
    let earlier = bench.cloud("DescribeClientEvents", earlier).await;
    assert_eq!(earlier["Events"].as_array().unwrap().len(), 3);
    bench.tdmq.reset();
    let after = bench.cloud("DescribeClientEvents", asked).await;
    assert_eq!(after["Events"], json!([]));
}

#[tokio::test]
async fn giving_up_a_filter_is_told_on_its_event_topic() {
    let bench = Bench::frozen().await;
    let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
    watcher.subscribe("$events/session_unsubscribed", 0).await;
    let (mut device, _) = Bare::connect(bench.mqtt(), "dev", "user0", "secret0").await;
    device.subscribe("home/#").await;
    device.unsubscribe(&["home/#"]).await;
    let told = watcher.receive().await;
    let event: Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(
        (&event["clientid"], &event["topic"]),
        (&json!("dev"), &json!("home/#"))
    );
    assert_eq!(event["event"], "session.unsubscribed");
}

#[tokio::test]
async fn a_will_is_described_with_its_properties_and_none_with_nothing() {
    let bench = Bench::unsigned().await;
    let at = bench.mqtt();
    let opening = Opening {
        // Will Delay Interval 10, Payload Format Indicator 1, Message Expiry Interval 5, Content
        // Type "t", Response Topic "r", Correlation Data "c", user property a = b.
        will: Some((
            "wills/dev",
            "gone",
            b"\x18\0\0\0\x0a\x01\x01\x02\0\0\0\x05\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01a\0\x01b",
        )),
        ..Opening::of(5)
    };
    let (_device, code) = Bare::open(at, &opening, "dev", "user0", "secret0").await;
    assert_eq!(code, 0);
    let mut will = bench
        .cloud("DescribeWillMessage", json!({"ClientId": "dev"}))
        .await;
    will.as_object_mut().unwrap().remove("RequestId");
    assert_eq!(
        will,
        json!({"Topic": "wills/dev", "Qos": 0, "Retained": false, "Payload": "Z29uZQ==",
            "CreateTime": 1_700_000_000_000_i64, "UpdateTime": 1_700_000_000_000_i64,
            "WillDelayInterval": 0, "ContentType": "t", "ResponseTopic": "r",
            "CorrelationData": "Yw==", "MessageExpiryInterval": 5, "PayloadFormatIndicator": 1,
            "UserProperties": [{"Key": "a", "Value": "b"}]})
    );
    let (_other, _) = Bare::connect(at, "other", "user0", "secret0").await;
    let none = bench
        .cloud("DescribeWillMessage", json!({"ClientId": "other"}))
        .await;
    assert_eq!(none.as_object().unwrap().len(), 1, "{none}");
}
