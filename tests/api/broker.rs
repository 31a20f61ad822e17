//! The broker core: what it promises to the vendors above it and to MQTT clients beside it.

use std::net::SocketAddr;

use bytes::Bytes;
use jiff::SignedDuration;
use mqttstack_base::exchange::{Refusal, Surface};
use mqttstack_base::message::{
    DeliveryOutcome, Origin, OriginKind, Properties, Publication, Qos, TopicFilter, TopicName,
    Transport,
};
use mqttstack_broker::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, bench};
use crate::mqtt::{Device, Options};
use crate::shared;
use crate::wire::Wire;

fn publication(topic: &str, payload: impl Into<Bytes>) -> Publication {
    Publication {
        topic: TopicName::parse(topic).unwrap(),
        payload: payload.into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: Some(Surface::Aliyun),
            client_id: None,
            request: Some("R".into()),
        },
    }
}

impl Bench {
    /// Waits until the journal's newest message has this outcome for `client_id`.
    async fn outcome(&self, client_id: &str, outcome: DeliveryOutcome) -> Option<String> {
        shared::until(&self.broker, async || {
            let (_, message) = self.journal.messages().since(0).pop().expect("a message");
            let rows = message.deliveries.lock();
            let mut rows = rows.iter();
            let row = rows.find(|row| row.client_id == client_id && row.outcome == outcome);
            row.map(|row| row.reason.clone())
        })
        .await
    }

    /// Waits until the broker's list of clients says so.
    async fn connected(&self, client_id: &str, wanted: bool) {
        shared::until(&self.broker, async || {
            let client = self.broker.client(client_id);
            let connected = client.is_some_and(|client| client.connected);
            (connected == wanted).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_in_process_publish_reaches_both_protocol_versions_with_all_properties() {
    let bench = bench(Settings::default()).await;
    let mut old = Device::v4(bench.address, "old").await;
    let mut new = Device::v5(bench.address, "new").await;
    assert_eq!(old.subscribe("a/#", 1).await, [1]);
    assert_eq!(new.subscribe("a/+", 2).await, [2]);
    let mut publication = publication("a/b", "你好");
    publication.properties = Properties {
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(b"\0\xff")),
        content_type: Some("text/plain".into()),
        message_expiry_interval: Some(600),
        payload_format_indicator: Some(true),
        user_properties: vec![("k".into(), "1".into()), ("k".into(), "2".into())],
    };
    let published = bench.broker.publish(publication).await.unwrap();
    assert_eq!(published.matched, 2);
    let received = old.receive().await;
    assert_eq!(
        (received.topic.as_str(), received.qos, received.retain),
        ("a/b", 1, false)
    );
    assert_eq!(received.payload, "你好".as_bytes());
    let received = new.receive().await;
    assert_eq!(received.qos, 1);
    let properties = received.properties.unwrap();
    assert_eq!(properties.response_topic.as_deref(), Some("r"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"\0\xff"[..]));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.payload_format_indicator, Some(1));
    assert!(
        properties
            .message_expiry_interval
            .is_some_and(|left| left > 590)
    );
    let expected = [("k".into(), "1".into()), ("k".into(), "2".into())];
    assert_eq!(properties.user_properties, expected);
    assert_eq!(
        bench.outcome("old", DeliveryOutcome::Acknowledged).await,
        None
    );
    assert_eq!(
        bench.outcome("new", DeliveryOutcome::Acknowledged).await,
        None
    );
}

#[tokio::test]
async fn a_message_that_nobody_wants_is_still_in_the_journal() {
    let bench = bench(Settings::default()).await;
    let published = bench
        .broker
        .publish(publication("lonely", "x"))
        .await
        .unwrap();
    assert_eq!(published.matched, 0);
    let (_, message) = bench.journal.messages().since(0).pop().unwrap();
    assert_eq!(message.id, published.message.id);
    assert_eq!(message.id.len(), 32);
    assert!(message.deliveries.lock().is_empty());
}

#[tokio::test]
async fn what_a_client_publishes_is_journalled_with_its_client_id_and_reaches_others() {
    let bench = bench(Settings::default()).await;
    let mut subscriber = Device::v5(bench.address, "subscriber").await;
    subscriber.subscribe("t", 1).await;
    let mut publisher = Device::v4(bench.address, "publisher").await;
    publisher.publish("t", 2, false, "hello").await;
    assert_eq!(subscriber.receive().await.payload, "hello");
    let (_, message) = bench.journal.messages().since(0).pop().unwrap();
    assert_eq!(message.origin.kind, OriginKind::Mqtt);
    assert_eq!(message.origin.client_id.as_deref(), Some("publisher"));
    assert_eq!(message.qos, Qos::ExactlyOnce);
    bench
        .outcome("subscriber", DeliveryOutcome::Acknowledged)
        .await;
    let clients = bench.broker.clients().await;
    let counts: Vec<_> = clients
        .iter()
        .map(|c| (c.messages_in, c.messages_out))
        .collect();
    assert_eq!(counts, [(1, 0), (0, 1)]);
}

#[tokio::test]
async fn a_retained_message_greets_late_subscribers_until_an_empty_one_removes_it() {
    let bench = bench(Settings::default()).await;
    let mut retained = publication("r/1", "kept");
    retained.retain = true;
    bench.broker.publish(retained).await.unwrap();
    let mut late = Device::v4(bench.address, "late").await;
    late.subscribe("r/+", 1).await;
    let received = late.receive().await;
    assert_eq!(
        (received.payload.as_ref(), received.retain),
        (&b"kept"[..], true)
    );
    bench.outcome("late", DeliveryOutcome::Acknowledged).await;
    let mut removal = publication("r/1", "");
    removal.retain = true;
    bench.broker.publish(removal).await.unwrap();
    assert!(bench.broker.retained().is_empty());
}

#[tokio::test]
async fn a_retained_message_lives_as_long_as_the_emulators_clock_says() {
    let bench = bench(Settings::default()).await;
    let mut retained = publication("r", "kept");
    retained.retain = true;
    retained.properties.message_expiry_interval = Some(100);
    bench.broker.publish(retained).await.unwrap();
    bench.clock.advance(SignedDuration::from_secs(60)).unwrap();
    let left = bench.broker.retained()[0].expires_in.unwrap();
    assert!((35..=40).contains(&left), "{left}");
    let mut late = Device::v5(bench.address, "late").await;
    late.subscribe("r", 1).await;
    let properties = late.receive().await.properties.unwrap();
    assert!(
        properties
            .message_expiry_interval
            .is_some_and(|left| left <= 40)
    );
    bench.clock.advance(SignedDuration::from_secs(60)).unwrap();
    assert!(bench.broker.retained().is_empty());
}

#[tokio::test]
async fn a_will_is_published_when_a_client_vanishes_and_not_when_it_leaves() {
    let bench = bench(Settings::default()).await;
    let mut watcher = Device::v4(bench.address, "watcher").await;
    watcher.subscribe("will/#", 1).await;
    let mut options = Options::new("polite");
    options.will = Some(("will/polite".into(), "gone".into()));
    Device::connect_v4(bench.address, options)
        .await
        .leave()
        .await;
    let mut options = Options::new("rude");
    options.will = Some(("will/rude".into(), "gone".into()));
    let mut rude = Device::connect_v4(bench.address, options).await;
    assert!(bench.broker.kick("rude").await);
    rude.ended().await;
    assert_eq!(watcher.receive().await.topic, "will/rude");
    let (_, message) = bench.journal.messages().since(0).pop().unwrap();
    assert_eq!(message.origin.kind, OriginKind::Will);
}

#[tokio::test]
async fn members_of_a_shared_subscription_take_turns_and_each_message_comes_once() {
    let bench = bench(Settings::default()).await;
    let mut one = Device::v4(bench.address, "one").await;
    let mut two = Device::v5(bench.address, "two").await;
    one.subscribe("$share/g/s/+", 1).await;
    two.subscribe("$share/g/s/+", 1).await;
    for n in 0..4 {
        let published = bench
            .broker
            .publish(publication("s/t", n.to_string()))
            .await
            .unwrap();
        assert_eq!(published.matched, 1);
    }
    let mut all = vec![];
    for _ in 0..2 {
        all.push(one.receive().await.payload);
        all.push(two.receive().await.payload);
    }
    all.sort();
    assert_eq!(all, ["0", "1", "2", "3"]);
    let groups: Vec<_> = bench
        .broker
        .subscriptions()
        .await
        .into_iter()
        .map(|s| s.share_group)
        .collect();
    assert_eq!(groups, [Some("g".to_owned()), Some("g".to_owned())]);
}

#[tokio::test]
async fn a_client_holds_a_plain_and_a_shared_subscription_of_one_filter_side_by_side() {
    let bench = bench(Settings::default()).await;
    let mut device = Wire::open(bench.address, 4, "dev").await;
    for filter in ["t", "$share/g/t", "$share/h/t"] {
        assert_eq!(device.subscribe(filter, 1).await, 1);
    }
    let listed = bench.broker.subscriptions().await;
    let listed: Vec<_> = listed
        .iter()
        .map(|held| (held.topic_filter.as_str(), held.share_group.as_deref()))
        .collect();
    assert_eq!(listed, [("t", None), ("t", Some("g")), ("t", Some("h"))]);
    let published = bench.broker.publish(publication("t", "x")).await.unwrap();
    assert_eq!(published.matched, 3);
    for _ in 0..3 {
        assert_eq!(device.receive().await.payload, "x");
    }
    device.unsubscribe("$share/g/t").await;
    device.unsubscribe("t").await;
    let published = bench.broker.publish(publication("t", "y")).await.unwrap();
    assert_eq!(published.matched, 1);
    assert_eq!(device.receive().await.payload, "y");
    let group = bench.broker.subscriptions().await.remove(0).share_group;
    assert_eq!(group.as_deref(), Some("h"));
}

#[tokio::test]
async fn a_shared_subscription_gets_no_retained_messages() {
    let bench = bench(Settings::default()).await;
    let mut retained = publication("r/1", "kept");
    retained.retain = true;
    bench.broker.publish(retained).await.unwrap();
    let mut device = Wire::open(bench.address, 5, "dev").await;
    device.subscribe("$share/g/r/+", 1).await;
    // What is subscribed to afterwards is answered afterwards.
    device.subscribe("r/1", 1).await;
    let first = device.receive().await;
    assert_eq!((first.payload.as_str(), first.retain), ("kept", true));
    bench
        .broker
        .publish(publication("r/2", "live"))
        .await
        .unwrap();
    assert_eq!(device.receive().await.payload, "live");
}

#[tokio::test]
async fn members_of_a_shared_subscription_take_turns_with_what_a_client_publishes_too() {
    let bench = bench(Settings::default()).await;
    let mut one = Device::v4(bench.address, "one").await;
    let mut two = Device::v5(bench.address, "two").await;
    one.subscribe("$share/g/s/+", 1).await;
    two.subscribe("$share/g/s/+", 1).await;
    let mut publisher = Device::v4(bench.address, "publisher").await;
    for n in ["0", "1", "2", "3"] {
        publisher.publish("s/t", 1, false, n).await;
    }
    for n in ["0", "2"] {
        assert_eq!(one.receive().await.payload, n);
    }
    for n in ["1", "3"] {
        assert_eq!(two.receive().await.payload, n);
    }
}

#[tokio::test]
async fn an_offline_session_gets_what_it_missed_and_the_journal_follows_it() {
    let bench = bench(Settings::default()).await;
    let persistent = || {
        let mut options = Options::new("dev");
        options.clean = false;
        options
    };
    let mut device = Device::connect_v4(bench.address, persistent()).await;
    device.subscribe("t", 1).await;
    device.leave().await;
    bench.connected("dev", false).await;
    bench
        .broker
        .publish(publication("t", "missed"))
        .await
        .unwrap();
    bench.outcome("dev", DeliveryOutcome::Queued).await;
    let mut device = Device::connect_v4(bench.address, persistent()).await;
    assert!(device.session_present);
    assert_eq!(device.receive().await.payload, "missed");
    bench.outcome("dev", DeliveryOutcome::Acknowledged).await;
}

#[tokio::test]
async fn a_queued_message_expires_on_the_emulators_clock() {
    let bench = bench(Settings::default()).await;
    let persistent = || {
        let mut options = Options::new("dev");
        options.clean = false;
        options.session_expiry = Some(3600);
        options
    };
    let mut device = Device::connect_v5(bench.address, persistent()).await;
    device.subscribe("t", 1).await;
    device.leave().await;
    bench.connected("dev", false).await;
    let mut mortal = publication("t", "mortal");
    mortal.properties.message_expiry_interval = Some(100);
    bench.broker.publish(mortal).await.unwrap();
    bench.clock.advance(SignedDuration::from_secs(101)).unwrap();
    let _device = Device::connect_v5(bench.address, persistent()).await;
    bench.outcome("dev", DeliveryOutcome::Expired).await;
}

#[tokio::test]
async fn a_queued_message_tells_the_life_it_still_has_on_the_emulators_clock() {
    let bench = bench(Settings::default()).await;
    bench.clock.freeze(bench.clock.now());
    let persistent = || {
        let mut options = Options::new("dev");
        options.clean = false;
        options.session_expiry = Some(100_000);
        options
    };
    let mut device = Device::connect_v5(bench.address, persistent()).await;
    device.subscribe("t", 1).await;
    device.leave().await;
    bench.connected("dev", false).await;
    let mut mortal = publication("t", "mortal");
    mortal.properties.message_expiry_interval = Some(100_000);
    bench.broker.publish(mortal).await.unwrap();
    let by = SignedDuration::from_secs(60_000);
    bench.clock.advance(by).unwrap();
    let mut device = Device::connect_v5(bench.address, persistent()).await;
    let properties = device.receive().await.properties.unwrap();
    let left = properties.message_expiry_interval.unwrap();
    assert!((39_000..=40_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_new_clean_session_marks_what_the_old_one_left_as_dropped() {
    let bench = bench(Settings::default()).await;
    let mut options = Options::new("dev");
    options.clean = false;
    let mut device = Device::connect_v4(bench.address, options).await;
    device.subscribe("t", 1).await;
    device.leave().await;
    bench.connected("dev", false).await;
    bench
        .broker
        .publish(publication("t", "lost"))
        .await
        .unwrap();
    let _device = Device::v4(bench.address, "dev").await;
    let reason = bench
        .outcome("dev", DeliveryOutcome::Dropped)
        .await
        .unwrap();
    assert!(reason.contains("Clean Start"), "{reason}");
    assert!(bench.broker.subscriptions().await.is_empty());
}

#[tokio::test]
async fn a_message_can_be_sent_to_one_client_that_is_not_subscribed() {
    let bench = bench(Settings::default()).await;
    let mut device = Device::v4(bench.address, "GID@@@1").await;
    let sent = bench
        .broker
        .send_to_client("GID@@@1", publication("p/p2p/GID@@@1", "x"))
        .await
        .unwrap();
    assert_eq!(sent.matched, 1);
    let received = device.receive().await;
    assert_eq!(
        (received.topic.as_str(), received.qos),
        ("p/p2p/GID@@@1", 1)
    );
    let nobody = bench
        .broker
        .send_to_client("nobody", publication("t", "x"))
        .await
        .unwrap();
    assert_eq!(nobody.matched, 0);
}

#[tokio::test]
async fn a_kicked_client_loses_connection_and_session() {
    let bench = bench(Settings::default()).await;
    let mut device = Device::v5(bench.address, "dev").await;
    device.subscribe("t", 0).await;
    assert!(bench.broker.kick("dev").await);
    device.ended().await;
    bench.connected("dev", false).await;
    assert!(bench.broker.subscriptions().await.is_empty());
    assert!(!bench.broker.kick("dev").await);
}

#[tokio::test]
async fn clients_and_subscriptions_are_listed_as_they_are() {
    let bench = bench(Settings::default()).await;
    let mut b = Device::v5(bench.address, "b").await;
    b.subscribe("z", 2).await;
    let mut a = Device::v4(bench.address, "a").await;
    a.subscribe("y", 0).await;
    b.subscribe("x", 1).await;
    assert!(
        bench
            .broker
            .subscribe("a", &TopicFilter::parse("w").unwrap(), Qos::AtLeastOnce)
            .await
    );
    let clients = bench.broker.clients().await;
    let seen: Vec<_> = clients
        .iter()
        .map(|c| {
            (
                c.client_id.as_str(),
                c.protocol_version,
                c.connected,
                c.subscriptions,
            )
        })
        .collect();
    assert_eq!(seen, [("a", 4, true, 2), ("b", 5, true, 2)]);
    let subscriptions = bench.broker.subscriptions().await;
    let seen: Vec<_> = subscriptions
        .iter()
        .map(|s| (s.topic_filter.as_str(), s.qos.level()))
        .collect();
    assert_eq!(seen, [("z", 2), ("y", 0), ("x", 1), ("w", 1)]);
    assert!(
        bench
            .broker
            .unsubscribe("a", &TopicFilter::parse("w").unwrap())
            .await
    );
    assert_eq!(bench.broker.subscriptions().await.len(), 3);
}

#[tokio::test]
async fn a_denied_filter_is_refused_in_the_suback() {
    let bench = bench(Settings {
        deny_subscribe: vec!["test/nosubscribe".into()],
        ..Settings::default()
    })
    .await;
    let mut device = Device::v4(bench.address, "dev").await;
    assert_eq!(device.subscribe("test/nosubscribe", 1).await, [0x80]);
    assert_eq!(device.subscribe("test/ok", 1).await, [1]);
}

#[tokio::test]
async fn without_open_clients_an_anonymous_connect_is_refused_with_not_authorized() {
    let bench = bench(Settings {
        open_clients: false,
        ..Settings::default()
    })
    .await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream
        .write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab")
        .await
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 5]);
}

/// A subscriber that takes SUBACK and then never reads or acknowledges anything.
async fn stalled(address: SocketAddr, topic: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04slow")
        .await
        .unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    let length = u8::try_from(topic.len()).unwrap();
    let mut subscribe = vec![0x82, 5 + length, 0, 1, 0, length];
    subscribe.extend_from_slice(topic.as_bytes());
    subscribe.push(1);
    stream.write_all(&subscribe).await.unwrap();
    let mut suback = [0; 5];
    stream.read_exact(&mut suback).await.unwrap();
    stream
}

#[tokio::test]
async fn a_stalled_subscriber_makes_publishes_to_it_fail_by_name_and_no_others() {
    let bench = bench(Settings {
        queue_limit: 20,
        publish_wait_ms: 50,
        ..Settings::default()
    })
    .await;
    let _slow = stalled(bench.address, "slow").await;
    let mut quick = Device::v4(bench.address, "quick").await;
    quick.subscribe("quick", 1).await;
    let mut accepted = 0;
    let refusal = loop {
        match bench
            .broker
            .publish(publication("slow", vec![b'x'; 1000]))
            .await
        {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
    };
    // The inflight window of 16 and the queue of 20, and nothing beyond.
    assert_eq!(accepted, 36);
    assert_eq!(
        refusal,
        Refusal::Overloaded {
            client_id: "slow".into(),
            waited_ms: 50
        }
    );
    bench
        .broker
        .publish(publication("quick", "x"))
        .await
        .unwrap();
    assert_eq!(quick.receive().await.payload, "x");
    let slow = bench
        .broker
        .clients()
        .await
        .into_iter()
        .find(|c| c.client_id == "slow")
        .unwrap();
    assert_eq!((slow.queued, slow.inflight), (20, 16));
}

#[tokio::test]
async fn a_stalled_subscriber_costs_an_mqtt_publisher_neither_its_connection_nor_its_other_readers()
{
    let bench = bench(Settings {
        queue_limit: 5,
        publish_wait_ms: 50,
        ..Settings::default()
    })
    .await;
    let slow = stalled(bench.address, "t").await;
    let mut quick = Device::v4(bench.address, "quick").await;
    quick.subscribe("t", 1).await;
    let mut publisher = Device::v4(bench.address, "publisher").await;
    // The inflight window of 16, the queue of 5, and then many more than one wait each allows.
    for n in 0..200 {
        publisher.publish("t", 1, false, &n.to_string()).await;
        assert_eq!(quick.receive().await.payload, n.to_string());
    }
    let reason = bench
        .outcome("slow", DeliveryOutcome::Dropped)
        .await
        .unwrap();
    assert!(reason.contains("takes nothing"), "{reason}");
    drop(slow);
}

#[tokio::test]
async fn no_acknowledged_publish_is_lost_or_doubled_for_a_slow_subscriber() {
    let bench = bench(Settings {
        queue_limit: 8,
        ..Settings::default()
    })
    .await;
    let mut device = Device::v4(bench.address, "dev").await;
    device.subscribe("t", 1).await;
    let publishers = (0..20).map(|n| {
        let broker = bench.broker.clone();
        tokio::spawn(async move {
            for i in 0..50 {
                broker
                    .publish(publication("t", format!("{n}/{i}")))
                    .await
                    .unwrap();
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let received = device.receive().await;
        assert!(seen.insert(received.payload), "delivered twice");
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(seen.len(), 1000);
}

#[tokio::test]
async fn two_brokers_in_one_process_do_not_hear_each_other_and_one_can_start_again() {
    let (first, second) = (
        bench(Settings::default()).await,
        bench(Settings::default()).await,
    );
    let mut here = Device::v4(first.address, "same").await;
    let mut there = Device::v4(second.address, "same").await;
    here.subscribe("t", 1).await;
    there.subscribe("t", 1).await;
    first
        .broker
        .publish(publication("t", "first"))
        .await
        .unwrap();
    second
        .broker
        .publish(publication("t", "second"))
        .await
        .unwrap();
    assert_eq!(here.receive().await.payload, "first");
    assert_eq!(there.receive().await.payload, "second");
    first.broker.stop().await;
    here.ended().await;
    let refusal = first.broker.publish(publication("t", "late")).await;
    assert!(
        matches!(refusal, Err(Refusal::Unavailable(_))),
        "{refusal:?}"
    );
    let again = bench(Settings::default()).await;
    let address = again.broker.listen(Transport::Tcp, first.address).unwrap();
    let mut back = Device::v4(address, "same").await;
    back.subscribe("t", 1).await;
    again
        .broker
        .publish(publication("t", "again"))
        .await
        .unwrap();
    assert_eq!(back.receive().await.payload, "again");
}
