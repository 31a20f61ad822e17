//! What the cloud API tells of messages, whatever the journal still has.

use mqttstack_base::exchange::Surface;
use serde_json::{Value, json};

use crate::bench::{BASIC, Bench, request};
use crate::mqtt::{Device, Options};
use crate::shared::publication;

const OTHER: &str = "mqtt-other";
const OTHER_HOST: (&str, &str) = ("Host", "mqtt-other-gz-public.mqtt.tencenttdmq.com");

/// The topics of the messages that an instance has, the newest first.
async fn topics(bench: &Bench, instance: &str) -> Vec<String> {
    let asked = json!({"InstanceId": instance, "Topic": "#", "StartTime": 0});
    let found = bench.cloud("DescribeMessageByTopic", asked).await;
    let rows = found["Data"].as_array().unwrap();
    let topic = |row: &Value| row["OriginTopic"].as_str().unwrap().to_owned();
    rows.iter().map(topic).collect()
}

/// What the three queries answer.
async fn told(bench: &Bench, id: &str) -> [Value; 3] {
    let list = json!({
        "Topic": "home", "StartTime": 0, "EndTime": 1_900_000_000_000_i64, "TaskRequestId": "t",
    });
    let mut answers = [
        bench.cloud("DescribeMessageList", list).await,
        bench
            .cloud(
                "DescribeMessageByTopic",
                json!({"Topic": "home/#", "StartTime": 0}),
            )
            .await,
        bench
            .cloud("DescribeMessageDetails", json!({"MessageId": id}))
            .await,
    ];
    for answer in &mut answers {
        answer["RequestId"].take();
    }
    answers
}

async fn publish_as_user(bench: &Bench, topic: &str) {
    let login = Options::login("dev", "user0", "secret0");
    let mut device = Device::connect_v4(bench.mqtt(), login).await;
    device.publish(topic, 1, false, "over MQTT").await;
}

#[tokio::test]
async fn messages_are_told_of_when_the_journal_has_forgotten_them() {
    let bench = Bench::unsigned().await;
    bench.post("/topics/home%2Fhttp", "over HTTP").await;
    let id = bench.message().id.clone();
    publish_as_user(&bench, "home/mqtt").await;
    let cloud = json!({"TargetTopic": "home/cloud", "Payload": "x"});
    bench.cloud("PublishMessage", cloud).await;
    let before = told(&bench, &id).await;
    assert_eq!(before[0]["TotalCount"], 3);
    assert_eq!(before[1]["Data"][0]["OriginTopic"], "home/cloud");
    assert_eq!(before[2]["Body"], "over HTTP");
    bench.app.journal.forget_messages().await;
    assert_eq!(told(&bench, &id).await, before);
    bench.tdmq.reset();
    assert!(topics(&bench, "mqtt-test0001").await.is_empty());
}

#[tokio::test]
async fn an_instance_tells_of_its_own_messages_and_open_clients() {
    let bench = Bench::unsigned().await;
    bench.post("/topics/main%2Fhttp", "x").await;
    publish_as_user(&bench, "main/mqtt").await;
    let headers = [BASIC, OTHER_HOST];
    bench
        .run(&request("POST", "/topics/other%2Fhttp", &headers, "x"))
        .await;
    let id = bench.message().id.clone();
    let cloud = json!({"InstanceId": OTHER, "TargetTopic": "other/cloud", "Payload": "x"});
    bench.cloud("PublishMessage", cloud).await;
    let mut open = Device::v4(bench.mqtt(), "open").await;
    open.publish("open", 1, false, "x").await;
    let of_another_vendor = publication("another/vendor", "x", Some(Surface::Aliyun));
    let broker = &bench.app.broker;
    broker.publish_in(OTHER, of_another_vendor).await.unwrap();
    let all = |topics: Vec<String>| {
        // The service's own events are beside the point.
        let own = topics.into_iter().filter(|topic| !topic.starts_with('$'));
        own.collect::<Vec<_>>()
    };
    let own = all(topics(&bench, "mqtt-test0001").await);
    assert_eq!(own, ["open", "main/mqtt", "main/http"]);
    let others = all(topics(&bench, OTHER).await);
    assert_eq!(others, ["open", "other/cloud", "other/http"]);
    let details = json!({"MessageId": id});
    let details = bench.try_cloud("DescribeMessageDetails", details).await;
    assert!(details.is_err(), "{details:?}");
}
