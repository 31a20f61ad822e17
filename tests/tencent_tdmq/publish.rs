//! What a publish over HTTP is to MQTT subscribers, and what the status query sees of them.

use std::sync::Arc;

use mqttstack_tencent_tdmq::Settings;
use serde_json::json;

use crate::bare::Bare;
use crate::bench::{BASIC, Bench, request};
use crate::mqtt::Device;

const ALL: &str = "/topics/home%2Froom?qos=1&client_id=c&ResponseTopic=answers%2F1&CorrelationData=SN0001\
&ContentType=application%2Fjson&PayloadFormatIndicator=1&MessageExpiryInterval=3600\
&UserProp.2.Key=b&UserProp.2.Value=%E5%80%BC&UserProp.1.Key=a&UserProp.1.Value=1+2";

#[tokio::test]
async fn every_property_of_the_query_reaches_an_mqtt_5_subscriber() {
    let bench = Bench::frozen().await;
    let mut device = Device::v5(bench.mqtt(), "new").await;
    device.subscribe("home/#", 1).await;
    let answer = bench.post(ALL, "{\"a\":1}").await;
    assert_eq!(answer.status, 200);
    let id = answer.header_value("X-Message-Id").unwrap();
    assert_eq!(id, bench.message().id);
    assert!(id.len() == 32 && !id.contains(|c: char| !matches!(c, '0'..='9' | 'A'..='F')));
    let received = device.receive().await;
    assert_eq!((received.topic.as_str(), received.qos), ("home/room", 1));
    assert_eq!(received.payload, "{\"a\":1}");
    let properties = received.properties.unwrap();
    assert_eq!(properties.response_topic.as_deref(), Some("answers/1"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"SN0001"[..]));
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.payload_format_indicator, Some(1));
    // The broker takes off what has passed on the way.
    let left = properties.message_expiry_interval.unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    let kept = bench.message().properties.message_expiry_interval;
    assert_eq!(kept, Some(3600));
    let expected = [
        ("a".to_owned(), "1 2".to_owned()),
        ("b".into(), "值".into()),
    ];
    assert_eq!(properties.user_properties, expected);
}

#[tokio::test]
async fn the_same_publish_reaches_an_mqtt_3_subscriber_without_them() {
    let bench = Bench::frozen().await;
    let mut device = Device::v4(bench.mqtt(), "old").await;
    device.subscribe("home/+", 1).await;
    bench.post(ALL, "x").await;
    assert_eq!(device.receive().await.payload, "x");
}

#[tokio::test]
async fn a_retained_publish_greets_a_late_subscriber() {
    let bench = Bench::frozen().await;
    bench.post("/topics/home?retained=true", "kept").await;
    let mut late = Device::v4(bench.mqtt(), "late").await;
    late.subscribe("home", 1).await;
    let received = late.receive().await;
    assert_eq!(
        (received.payload.as_ref(), received.retain),
        (&b"kept"[..], true)
    );
}

#[tokio::test]
async fn a_point_to_point_topic_reaches_its_client_without_a_subscription() {
    let bench = Bench::frozen().await;
    let mut device = Device::v4(bench.mqtt(), "dev/1").await;
    bench.post("/topics/home%2Fp2p%2Fdev%2F1", "for you").await;
    let received = device.receive().await;
    assert_eq!(received.topic, "home/p2p/dev/1");
    assert_eq!(received.payload, "for you");
}

#[tokio::test]
async fn a_client_is_online_from_its_connect_to_its_end() {
    let bench = Bench::frozen().await;
    let status = async |method| {
        let request = request(method, "/client-id/dev%201/status", &[BASIC], "");
        let answer = bench.run(&request).await;
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.bytes().to_vec()).unwrap()
    };
    let both = async |expected: &str| {
        for method in ["GET", "POST"] {
            assert_eq!(status(method).await, expected, "{method}");
        }
    };
    both(r#"{"online":false}"#).await;
    let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    let (device, _) = Bare::connect(bench.mqtt(), "dev 1", "user0", "secret0").await;
    both(r#"{"online":true}"#).await;
    drop(device);
    watcher.receive().await;
    both(r#"{"online":false}"#).await;
}

#[tokio::test]
async fn the_client_id_defaults_to_one_per_connection_and_is_the_messages_origin() {
    let bench = Bench::frozen().await;
    bench.post("/topics/home", "x").await;
    let origin = bench.message().origin.clone();
    assert_eq!(origin.client_id.as_deref(), Some("http-21000"));
    assert_eq!(origin.request.as_deref(), Some(&*bench.entry().id));
}

#[tokio::test]
async fn without_the_seeded_user_its_password_opens_nothing() {
    let settings = Settings {
        users: Vec::new(),
        ..Settings::default()
    };
    let bench = Bench::with(settings).await;
    assert_eq!(bench.post("/topics/home", "x").await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishes_at_once_are_all_taken_and_have_ids_of_their_own() {
    let bench = Arc::new(Bench::frozen().await);
    let calls = (0..100).map(|n| {
        let bench = bench.clone();
        tokio::spawn(async move {
            let answer = bench.post("/topics/home", &n.to_string()).await;
            answer.header_value("X-Message-Id").unwrap().to_owned()
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        ids.insert(call.await.unwrap());
    }
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn a_reset_brings_a_deleted_user_back() {
    let bench = Bench::unsigned().await;
    bench
        .cloud("DeleteUser", json!({"Username": "user0"}))
        .await;
    assert_eq!(bench.post("/topics/home", "x").await.status, 401);
    bench.tdmq.reset();
    assert_eq!(bench.post("/topics/home", "x").await.status, 200);
}
