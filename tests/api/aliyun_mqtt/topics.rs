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
async fn a_pull_of_offline_messages_is_taken_without_effect() {
    let bench = bench(strict()).await;
    let mut reader = bench.device("GID_test@@@reader").await;
    reader.subscribe("TopicA/#", 1).await;
    let token = bench.token("TopicA", "R", 3_600).await;
    let of_token = format!("R|{token}");
    let login = ("Token|testid|post-cn-test0001", &*of_token);
    let pull = r#"{"maxPushNum":30,"pushOrder":"DESC"}"#;
    for version in [3, 4, 5] {
        for mut wire in [
            bench.wire(version, CLIENT).await,
            bench.knock(version, "GID_test@@@token", login).await.0,
        ] {
            // Whatever is in it, and though no topic of the product begins so.
            for payload in [pull, "", "not JSON", &"x".repeat(70_000)] {
                for flags in [0, 0x02, 0x04] {
                    wire.publish("$SYS/getOfflineMsg", payload, flags, &[])
                        .await;
                }
            }
            wire.leave().await;
        }
        bench.offline(CLIENT).await;
        bench.offline("GID_test@@@token").await;
    }
    let mut wire = bench.wire(4, CLIENT).await;
    let other = wire.publish_bytes("$SYS/getOfflineMsgs", pull, 0x02, &[]);
    wire.send(&other).await;
    wire.ended().await;
    bench
        .device("GID_test@@@last")
        .await
        .publish("TopicA/x", 1, false, "first")
        .await;
    assert_eq!(reader.receive().await.payload, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_30_subscriptions_and_the_next_is_not_granted() {
    let bench = bench(Settings::default()).await;
    for (version, refused) in [(4, 0x80), (5, 0x97)] {
        let mut wire = bench.wire(version, CLIENT).await;
        for number in 0..30 {
            assert_eq!(wire.subscribe(&format!("TopicA/{number}"), 1).await, 1);
        }
        assert_eq!(wire.subscribe("TopicA/30", 1).await, refused);
        assert!(bench.last_reason().contains("as many filters as it may be"));
        // One that is there may be asked for again, and one that is given up makes room.
        assert_eq!(wire.subscribe("TopicA/7", 0).await, 0);
        wire.unsubscribe("TopicA/8").await;
        assert_eq!(wire.subscribe("TopicA/31", 1).await, 1);
        assert_eq!(wire.subscribe("TopicA/32", 1).await, refused);
        // Another client has 30 of its own.
        let mut other = bench.wire(version, "GID_test@@@other").await;
        assert_eq!(other.subscribe("TopicA/0", 1).await, 1);
        other.leave().await;
        wire.leave().await;
        bench.offline(CLIENT).await;
        bench.offline("GID_test@@@other").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subscribe_of_31_filters_is_granted_up_to_the_limit() {
    let bench = bench(Settings::default()).await;
    let mut wire = bench.wire(4, CLIENT).await;
    let filters: Vec<u8> = (0..31)
        .flat_map(|number| [wire::text(format!("TopicA/{number}")), vec![1]].concat())
        .collect();
    wire.send(&wire::packet(0x82, &[&[0, 9], &filters])).await;
    let (_, body) = wire.answer().await;
    let granted = [&[0, 9][..], &[1; 30], &[0x80]].concat();
    assert_eq!(body, granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_subscriptions_is_a_setting() {
    for (most, granted) in [(2, 2), (0, 40)] {
        let bench = bench(Settings {
            max_subscriptions: most,
            ..Settings::default()
        })
        .await;
        let mut wire = bench.wire(4, CLIENT).await;
        for number in 0..40 {
            let code = wire.subscribe(&format!("TopicA/{number}"), 1).await;
            assert_eq!(code == 1, number < granted, "{most}: {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p2p_topic_is_counted_without_its_client_id() {
    let bench = bench(Settings::default()).await;
    let target = format!("GID_test@@@{}", "d".repeat(53));
    let mut device = bench.device(&target).await;
    let topic = format!("{}/p2p/{target}", "P".repeat(64));
    assert_eq!(topic.len(), 133);
    let mut sender = bench.device(CLIENT).await;
    assert_eq!(sender.subscribe(&topic, 1).await, [1]);
    sender.publish(&topic, 1, false, "from a device").await;
    assert_eq!(device.receive().await.payload, "from a device");
    let message = [("MqttTopic", &*topic), ("Payload", "from a server")];
    bench.ok("SendMessage", &message).await;
    assert_eq!(device.receive().await.topic, topic);
    assert!(
        !sender
            .try_publish(&format!("{topic}x"), 1, false, "no")
            .await
    );
    assert!(
        bench
            .last_reason()
            .contains("the client id of its P2P topic")
    );
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
