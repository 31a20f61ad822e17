//! What a connected client may publish and subscribe to, and what the product does without.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_closes_the_connection() {
    let bench = bench(strict()).await;
    let mut device = bench.device(CLIENT).await;
    assert_eq!(device.subscribe("TopicA/+", 1).await, [1]);
    device.publish("TopicA/x", 0, false, "in").await;
    assert_eq!(device.receive().await.payload, "in");
    assert!(!device.try_publish("TopicB/x", 1, false, "no").await);
    assert!(bench.last_reason().contains("parent topic \"TopicB\""));
    for filter in ["TopicB/#", "#", "+/x", "$SYS/x"] {
        let mut device = bench.device(&format!("{CLIENT}{}", filter.len())).await;
        let answer = device.try_subscribe(filter, 1).await;
        assert_eq!(
            answer, None,
            "{filter}: the connection ends without a SUBACK"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_retained_messages_and_shared_subscriptions_are_not_supported() {
    let bench = bench(Settings::default()).await;
    let mut reader = bench.device("GID_test@@@reader").await;
    reader.subscribe("TopicA/#", 1).await;
    let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
    options.will = Some(("TopicA/will".to_owned(), "gone".to_owned()));
    let mut device = Device::connect_v4(bench.mqtt, options).await;
    device.publish("TopicA/kept", 1, true, "kept").await;
    assert!(!reader.receive().await.retain);
    assert!(bench.emulator.app().broker.retained().is_empty());
    assert_eq!(device.subscribe("$share/g/TopicA", 1).await, [0x80]);
    // The connection is closed, not left: this is when a will would be sent.
    bench.ok("CloseConnection", &[("ClientId", CLIENT)]).await;
    device.ended().await;
    bench
        .ok(
            "SendMessage",
            &[("MqttTopic", "TopicA/last"), ("Payload", "last")],
        )
        .await;
    assert_eq!(reader.receive().await.payload, "last");
    let other = "GID_test@@@new";
    let options = Options::login(other, USERNAME, &sign("testsecret", other));
    let mut new = Device::connect_v5(bench.mqtt, options).await;
    assert_eq!(new.subscribe("$share/g/TopicA", 1).await, [0x80]);
    new.publish("TopicA/x", 1, false, "still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p2p_publish_reaches_its_client_alone_and_the_journal_shows_one_delivery() {
    let bench = bench(Settings::default()).await;
    let mut target = bench.device("GID_test@@@target").await;
    let mut other = bench.device("GID_test@@@other").await;
    other.subscribe("TopicA/#", 1).await;
    let mut sender = bench.device(CLIENT).await;
    let topic = "TopicA/p2p/GID_test@@@target";
    sender.publish(topic, 1, false, "for one").await;
    let received = target.receive().await;
    assert_eq!(
        (&*received.topic, &received.payload[..]),
        (topic, &b"for one"[..])
    );
    sender.publish("TopicA/all", 1, false, "for all").await;
    assert_eq!(other.receive().await.payload, "for all");
    let messages = bench.emulator.messages().since(0);
    assert_eq!(messages.len(), 2);
    let deliveries = messages[0].1.deliveries.lock();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].client_id, "GID_test@@@target");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_qos_1_waits_for_an_offline_client_with_a_persistent_session() {
    let bench = bench(Settings::default()).await;
    let options = || {
        let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
        options.clean = false;
        options
    };
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    device.subscribe("TopicA/#", 2).await;
    device.leave().await;
    bench.offline(CLIENT).await;
    let mut sender = bench.device("GID_test@@@sender").await;
    for qos in [0, 2, 1] {
        let payload = format!("qos {qos}");
        sender.publish("TopicA/x", qos, false, &payload).await;
    }
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    assert!(device.session_present);
    assert_eq!(device.receive().await.payload, "qos 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keep_alive_is_at_most_eight_minutes() {
    let bench = bench(Settings::default()).await;
    let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
    options.keep_alive = Some(600);
    let _device = Device::connect_v5(bench.mqtt, options).await;
    let _short = bench.device("GID_test@@@short").await;
    let clients = bench.emulator.app().broker.clients().await;
    assert_eq!(clients[0].tenant.as_deref(), Some(INSTANCE));
    assert_eq!(clients[0].identity.as_deref(), Some("testid"));
    let ceilings: Vec<_> = clients
        .iter()
        .map(|client| client.keep_alive <= 480)
        .collect();
    assert_eq!(ceilings, [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_names_what_is_not_supported() {
    let bench = bench(Settings::default()).await;
    let mut wire = bench.wire(5, CLIENT).await;
    assert_eq!(wire.subscribe("$share/g/TopicA", 1).await, 0x9e);
    assert_eq!(wire.subscribe("TopicA", 2).await, 2);
    let retained = wire.publish_bytes("TopicA", "kept", 0x03, &[]);
    wire.send(&retained).await;
    assert_eq!(wire.disconnected().await, 0x9a);
}

/// A persistent client that has subscribed and left.
async fn away(bench: &Bench) {
    let mut device = Device::connect_v4(bench.mqtt, persistent()).await;
    device.subscribe("TopicA", 1).await;
    device.leave().await;
    bench.offline(CLIENT).await;
}

fn persistent() -> Options {
    let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
    options.clean = false;
    options
}

async fn send(bench: &Bench, payload: &str) {
    let message = [("MqttTopic", "TopicA"), ("Payload", payload)];
    bench.ok("SendMessage", &message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_back_gets_30_messages_every_5_seconds() {
    let bench = bench(Settings::default()).await;
    away(&bench).await;
    for number in 0..65 {
        send(&bench, &number.to_string()).await;
    }
    let mut device = Device::connect_v4(bench.mqtt, persistent()).await;
    let mut next = 0..65;
    for batch in [30, 30, 5] {
        for _ in 0..batch {
            let expected = next.next().unwrap().to_string();
            assert_eq!(device.receive().await.payload, expected);
        }
        let left = bench.waiting(next.len()).await;
        assert_eq!(left, next.len());
        let clock = bench.emulator.clock();
        clock.advance(SignedDuration::from_secs(5)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_three_days_for_an_offline_client() {
    let bench = bench(Settings::default()).await;
    away(&bench).await;
    send(&bench, "too old").await;
    let clock = bench.emulator.clock();
    clock.advance(SignedDuration::from_secs(1)).unwrap();
    send(&bench, "just in time").await;
    let days = SignedDuration::from_hours(3 * 24);
    clock.advance(days - SignedDuration::from_secs(1)).unwrap();
    assert_eq!(bench.waiting(1).await, 1);
    let mut device = Device::connect_v4(bench.mqtt, persistent()).await;
    assert_eq!(device.receive().await.payload, "just in time");
}
