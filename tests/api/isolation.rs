//! `isolation = "tenant"`: two tenants use the same topics and nothing crosses.

use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_broker::{Isolation, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::Bench;
use crate::mqtt::{Device, Options};
use crate::shared;
use crate::wire::{Connect, Wire};

async fn bench(isolation: Isolation) -> Bench {
    let settings = Settings {
        isolation,
        ..Settings::default()
    };
    Bench::start(settings, Clock::real()).await
}

const ONE: &str = "tenant:aliyun/one";
const TWO: &str = "tenant:aliyun/two";

impl Bench {
    async fn open(&self, client_id: &str, username: &str) -> Wire {
        let mut connect = Connect::new(5, client_id);
        connect.username = Some(username.into());
        let (wire, connack) = Wire::connect(self.address, &connect).await;
        assert_eq!(connack.code, 0);
        wire
    }
}

fn publication(topic: &str, payload: &'static str, retain: bool) -> Publication {
    Publication {
        topic: TopicName::parse(topic).unwrap(),
        payload: payload.into(),
        qos: Qos::AtLeastOnce,
        retain,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: Some(Surface::Aliyun),
            client_id: None,
            request: None,
        },
    }
}

#[tokio::test]
async fn two_tenants_use_one_topic_over_mqtt_and_http_and_nothing_crosses() {
    let bench = bench(Isolation::Tenant).await;
    let mut one = bench.open("1", ONE).await;
    let mut two = bench.open("2", TWO).await;
    let mut none = bench.open("3", "anybody").await;
    for client in [&mut one, &mut two, &mut none] {
        client.subscribe("#", 1).await;
        client.subscribe("$own/t", 1).await;
    }
    one.publish("t", "one", 2, &[]).await;
    one.publish("$own/t", "one's own", 2, &[]).await;
    let published = bench
        .broker
        .publish_in("one", publication("t", "one over http", false))
        .await
        .unwrap();
    assert_eq!(published.matched, 1);
    two.publish("t", "two", 2, &[]).await;
    none.publish("t", "none", 2, &[]).await;
    for (topic, payload) in [
        ("t", "one"),
        ("$own/t", "one's own"),
        ("t", "one over http"),
    ] {
        let arrived = one.receive().await;
        assert_eq!(
            (arrived.topic.as_str(), arrived.payload.as_str()),
            (topic, payload)
        );
    }
    assert_eq!(two.receive().await.payload, "two");
    assert_eq!(none.receive().await.payload, "none");
    let journal = bench.journal.messages().since(0);
    for (_, message) in &journal {
        assert!(["t", "$own/t"].contains(&message.topic.as_str()));
        let deliveries = message.deliveries.lock();
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].topic, message.topic);
    }
    let filters = bench.broker.subscriptions().await;
    assert!(
        filters
            .iter()
            .all(|s| ["#", "$own/t"].contains(&s.topic_filter.as_str()))
    );
    one.unsubscribe("#").await;
    assert_eq!(bench.broker.subscriptions().await.len(), 5);
}

#[tokio::test]
async fn retained_messages_wills_and_shared_subscriptions_stay_with_their_tenant() {
    let bench = bench(Isolation::Tenant).await;
    let retained = publication("r", "one's", true);
    bench.broker.publish_in("one", retained).await.unwrap();
    let retained = publication("r", "two's", true);
    bench.broker.publish_in("two", retained).await.unwrap();
    let topics: Vec<_> = bench
        .broker
        .retained()
        .iter()
        .map(|kept| kept.message.topic.clone())
        .collect();
    assert_eq!(topics, ["r", "r"]);
    let mut one = bench.open("1", ONE).await;
    one.subscribe("r", 1).await;
    let arrived = one.receive().await;
    assert_eq!(
        (arrived.topic.as_str(), arrived.payload.as_str()),
        ("r", "one's")
    );
    let mut two = bench.open("2", TWO).await;
    one.subscribe("$share/g/s", 1).await;
    two.subscribe("$share/g/s", 1).await;
    for payload in ["1", "2"] {
        let shared = publication("s", payload, false);
        bench.broker.publish_in("two", shared).await.unwrap();
        assert_eq!(two.receive().await.payload, payload);
    }
    two.subscribe("will", 1).await;
    one.subscribe("will", 1).await;
    for (id, username) in [("w1", ONE), ("w2", TWO)] {
        let mut connect = Connect::new(4, id);
        connect.username = Some(username.into());
        connect.will = Some((0x08, vec![], "will".into(), id.into()));
        drop(Wire::connect(bench.address, &connect).await);
    }
    assert_eq!(one.receive().await.payload, "w1");
    assert_eq!(two.receive().await.payload, "w2");
}

#[tokio::test]
async fn a_message_that_is_sent_again_keeps_its_topic() {
    let bench = bench(Isolation::Tenant).await;
    let mut connect = Connect::new(4, "1");
    connect.clean = false;
    connect.username = Some(ONE.into());
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.subscribe("t", 1).await;
    let message = publication("t", "x", false);
    bench.broker.publish_in("one", message).await.unwrap();
    assert_eq!(client.take().await.topic, "t");
    drop(client);
    shared::all_offline(&bench.broker).await;
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    let again = client.receive().await;
    assert_eq!((again.topic.as_str(), again.dup), ("t", true));
}

#[tokio::test]
async fn a_tenant_of_no_vendor_is_refused_and_in_shared_mode_everybody_hears_everything() {
    let isolated = bench(Isolation::Tenant).await;
    let mut connect = Connect::new(4, "1");
    connect.username = Some("tenant:nobody/one".into());
    let (_wire, connack) = Wire::connect(isolated.address, &connect).await;
    assert_eq!(connack.code, 4);
    let shared = bench(Isolation::Shared).await;
    let mut observer = shared.open("o", "anybody").await;
    observer.subscribe("#", 1).await;
    let mut one = shared.open("1", ONE).await;
    one.publish("t", "x", 2, &[]).await;
    assert_eq!(observer.receive().await.topic, "t");
    let message = publication("u", "y", false);
    shared.broker.publish_in("two", message).await.unwrap();
    assert_eq!(observer.receive().await.topic, "u");
}

#[tokio::test]
async fn what_is_published_over_http_for_one_instance_does_not_reach_another_ones_clients() {
    let mut config = mqttstack::config::Config::free_ports();
    config.mqtt.isolation = Isolation::Tenant;
    config.aliyun.auth = mqttstack_kit::auth::AuthMode::Off;
    let emulator = mqttstack::Emulator::builder()
        .config(config)
        .start()
        .await
        .unwrap();
    let address = emulator.mqtt_addr().unwrap();
    let mut readers = Vec::new();
    for (client_id, instance) in [("a", "mqtt-one"), ("b", "mqtt-two")] {
        let mut connect = Connect::new(4, client_id);
        connect.username = Some(format!("tenant:aliyun/{instance}"));
        let (mut wire, connack) = Wire::connect(address, &connect).await;
        assert_eq!(connack.code, 0);
        wire.subscribe("#", 1).await;
        readers.push(wire);
    }
    for (instance, payload) in [("mqtt-two", "for%20b"), ("mqtt-one", "for%20a")] {
        send_message(&emulator, instance, "same", payload).await;
    }
    for (wire, expected) in readers.iter_mut().zip(["for a", "for b"]) {
        let received = wire.receive().await;
        assert_eq!(
            (received.topic.as_str(), &received.payload[..]),
            ("same", expected)
        );
    }
    emulator.stop().await;
}

async fn send_message(emulator: &mqttstack::Emulator, instance: &str, topic: &str, payload: &str) {
    let http = emulator.http_url().unwrap();
    let http = http.strip_prefix("http://").unwrap();
    let request = format!(
        "POST /?Action=SendMessage&Version=2020-04-20&Format=JSON&AccessKeyId=testid\
         &InstanceId={instance}&MqttTopic={topic}&Payload={payload} HTTP/1.1\r\n\
         Host: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn devices_of_two_aliyun_instances_hear_and_reach_nobody_of_the_other() {
    let mut config = mqttstack::config::Config::free_ports();
    config.mqtt.isolation = Isolation::Tenant;
    config.aliyun.auth = mqttstack_kit::auth::AuthMode::Off;
    let builder = mqttstack::Emulator::builder().config(config);
    let emulator = builder.start().await.unwrap();
    let address = emulator.mqtt_addr().unwrap();
    let device = async |name: &str, instance: &str| {
        let client_id = format!("GID_test@@@{name}");
        let username = format!("Signature|testid|{instance}");
        let login = Options::login(&client_id, &username, "any");
        Device::connect_v4(address, login).await
    };
    let mut a = device("a", "mqtt-one").await;
    let mut b = device("b", "mqtt-two").await;
    for device in [&mut a, &mut b] {
        assert_eq!(device.subscribe("same/+", 1).await, [1]);
    }
    let mut one = device("one", "mqtt-one").await;
    let mut two = device("two", "mqtt-two").await;
    // To a subscription and to one client, over MQTT and over HTTP, and the other way round.
    one.publish("same/t", 1, false, "one").await;
    one.publish("same/p2p/GID_test@@@b", 1, false, "stray")
        .await;
    send_message(
        &emulator,
        "mqtt-one",
        "same%2Fp2p%2FGID_test%40%40%40b",
        "stray",
    )
    .await;
    send_message(&emulator, "mqtt-one", "same%2Ft", "one-http").await;
    send_message(
        &emulator,
        "mqtt-two",
        "same%2Fp2p%2FGID_test%40%40%40b",
        "own",
    )
    .await;
    two.publish("same/t", 1, false, "two").await;
    for (device, expected) in [(&mut a, ["one", "one-http"]), (&mut b, ["own", "two"])] {
        for payload in expected {
            assert_eq!(device.receive().await.payload, payload);
        }
    }
    emulator.stop().await;
}
