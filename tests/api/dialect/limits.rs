//! What a dialect limits for one client, each limit with what it allows and what it refuses.

use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Qos;
use mqttstack_broker::dialect::{Connect, ConnectRefusal, Dialect, Feature, Grant, Limits};

use super::{Bench, bench, bench_of};
use crate::wire::{
    self, AUTH, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, Wire, packet, properties, text,
};

/// Grants the same limits to every client whose id begins with `v-`.
struct Bounded(Limits);

#[async_trait]
impl Dialect for Bounded {
    fn surface(&self) -> Surface {
        Surface::Azure
    }

    fn claims(&self, connect: &Connect) -> bool {
        connect.client_id.starts_with("v-")
    }

    async fn connect(&self, _connect: &Connect) -> Result<Grant, ConnectRefusal> {
        Ok(Grant {
            surface: Some(Surface::Azure),
            tenant: None,
            identity: "somebody".into(),
            max_keep_alive: None,
            limits: self.0.clone(),

            ..Grant::default()
        })
    }
}

async fn bounded(limits: Limits) -> Bench {
    bench_of(Arc::new(Bounded(limits))).await
}

async fn without(feature: Feature) -> Bench {
    bounded(Limits {
        unavailable: match feature {
            Feature::Retain => &[Feature::Retain],
            Feature::SharedSubscription => &[Feature::SharedSubscription],
            Feature::SubscriptionIdentifier => &[Feature::SubscriptionIdentifier],
            Feature::UserPropertyOutsidePublish => &[Feature::UserPropertyOutsidePublish],
        },
        ..Limits::default()
    })
    .await
}

impl Bench {
    async fn client(&self, version: u8) -> Wire {
        Wire::open(self.address, version, "v-1").await
    }

    /// A client of MQTT 5 that must have been told these properties, beside one that was not.
    async fn told(&self, property: &[u8]) -> Wire {
        let (client, connack) = Wire::connect(self.address, &wire::Connect::new(5, "v-1")).await;
        assert!(connack.has(property), "{connack:?}");
        let (_, connack) = Wire::connect(self.address, &wire::Connect::new(5, "open")).await;
        assert!(!connack.has(property), "{connack:?}");
        client
    }

    /// The client must be disconnected with this code, in 3.x without words, and the journal has
    /// these.
    async fn ends(&self, mut client: Wire, packet: &str, code: u8, words: &str) {
        if client.version == 5 {
            assert_eq!(client.disconnected().await, code);
        } else {
            client.ended().await;
        }
        self.journalled(packet, code, words);
    }

    fn journalled(&self, packet: &str, code: u8, words: &str) {
        let refusal = self.refusal();
        assert_eq!((refusal.packet, refusal.code), (packet, code));
        assert_eq!(refusal.surface, Some(Surface::Azure));
        assert_eq!(refusal.client_id, "v-1");
        assert!(refusal.reason.contains(words), "{}", refusal.reason);
    }
}

#[tokio::test]
async fn a_publish_above_the_highest_qos_ends_the_connection() {
    let bench = bounded(Limits {
        max_qos: Some(Qos::AtLeastOnce),
        ..Limits::default()
    })
    .await;
    bench.told(&[0x24, 1]).await;
    for version in [4, 5] {
        let mut client = bench.client(version).await;
        client.publish("t", "x", 2, &[]).await;
        assert_eq!(client.subscribe("t", 2).await, 1);
        let above = client.publish_bytes("t", "x", 4, &[]);
        client.send(&above).await;
        bench
            .ends(client, "PUBLISH", 0x9b, "QoS 2, the highest allowed is 1")
            .await;
        let mut open = Wire::open(bench.address, version, "open").await;
        open.publish("t", "x", 4, &[]).await;
    }
}

#[tokio::test]
async fn a_will_above_the_highest_qos_is_refused() {
    let bench = bounded(Limits {
        max_qos: Some(Qos::AtLeastOnce),
        ..Limits::default()
    })
    .await;
    for (version, flags, code) in [(4, 0x08, 0), (4, 0x10, 5), (5, 0x08, 0), (5, 0x10, 0x9b)] {
        let mut connect = wire::Connect::new(version, "v-1");
        connect.will = Some((flags, vec![], "will".into(), "gone".into()));
        let (_, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.code, code);
        if code != 0 {
            bench.journalled("CONNECT", code, "the will has QoS 2");
        }
    }
}

#[tokio::test]
async fn without_retained_messages_5_is_told_and_ended_and_3_1_1_is_the_dialects_affair() {
    let bench = without(Feature::Retain).await;
    bench.told(&[0x25, 0]).await;
    let mut old = bench.client(4).await;
    old.publish("t", "x", 3, &[]).await;
    old.leave().await;
    let mut client = bench.client(5).await;
    client.publish("t", "x", 2, &[]).await;
    let retained = client.publish_bytes("t", "x", 3, &[]);
    client.send(&retained).await;
    bench.ends(client, "PUBLISH", 0x9a, "retained").await;
    let mut connect = wire::Connect::new(5, "v-1");
    connect.will = Some((0x20, vec![], "will".into(), "gone".into()));
    let (_, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0x9a);
}

#[tokio::test]
async fn without_shared_subscriptions_only_they_are_refused() {
    let bench = without(Feature::SharedSubscription).await;
    bench.told(&[0x2a, 0]).await;
    for (version, code) in [(4, 0x80), (5, 0x9e)] {
        let mut client = bench.client(version).await;
        assert_eq!(client.subscribe("$share/g/t", 1).await, code);
        bench.journalled("SUBSCRIBE", 0x9e, "shared subscriptions");
        assert_eq!(client.subscribe("t", 1).await, 1);
        let mut open = Wire::open(bench.address, version, "open").await;
        assert_eq!(open.subscribe("$share/g/t", 1).await, 1);
    }
}

#[tokio::test]
async fn without_subscription_identifiers_one_ends_the_connection() {
    let bench = without(Feature::SubscriptionIdentifier).await;
    let mut client = bench.told(&[0x29, 0]).await;
    assert_eq!(client.subscribe("t", 1).await, 1);
    let subscribe = [&[0, 9][..], &[2, 0x0b, 3], &text("t"), &[1]].concat();
    client.send(&packet(0x82, &[&subscribe])).await;
    bench
        .ends(client, "SUBSCRIBE", 0xa1, "subscription identifier")
        .await;
}

#[tokio::test]
async fn a_user_property_outside_a_publish_is_refused_at_connect_and_ends_the_connection_later() {
    let bench = without(Feature::UserPropertyOutsidePublish).await;
    let own = [&[0x26][..], &text("a"), &text("b")].concat();
    let mut connect = wire::Connect::new(5, "v-1");
    connect.properties.clone_from(&own);
    let (_, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0x83);
    bench.journalled("CONNECT", 0x83, "user property");
    let own = &properties(&own);
    for (name, bytes) in [
        ("SUBSCRIBE", packet(0x82, &[&[0, 9], own, &text("t"), &[1]])),
        ("UNSUBSCRIBE", packet(0xa2, &[&[0, 9], own, &text("t")])),
        ("PUBACK", packet(PUBACK, &[&[0, 9, 0], own])),
        ("PUBREC", packet(PUBREC, &[&[0, 9, 0], own])),
        ("PUBREL", packet(PUBREL, &[&[0, 9, 0], own])),
        ("PUBCOMP", packet(PUBCOMP, &[&[0, 9, 0], own])),
        ("DISCONNECT", packet(DISCONNECT, &[&[0], own])),
        ("AUTH", packet(AUTH, &[&[0x19], own])),
    ] {
        let mut client = bench.client(5).await;
        client.send(&bytes).await;
        bench.ends(client, name, 0x83, "user property").await;
    }
}

#[tokio::test]
async fn a_user_property_of_a_publish_or_a_will_is_always_taken() {
    let bench = without(Feature::UserPropertyOutsidePublish).await;
    let own = [&[0x26][..], &text("a"), &text("b")].concat();
    let mut connect = wire::Connect::new(5, "v-1");
    connect.will = Some((0, own.clone(), "will".into(), "gone".into()));
    let (mut client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0);
    client.subscribe("t", 1).await;
    client.publish("t", "x", 2, &own).await;
    assert_eq!(client.receive().await.properties, own);
}

#[tokio::test]
async fn a_packet_above_the_clients_own_size_ends_the_connection() {
    let bench = bounded(Limits {
        max_packet_size: Some(100),
        ..Limits::default()
    })
    .await;
    bench.told(&[0x27, 0, 0, 0, 100]).await;
    for version in [4, 5] {
        let mut client = bench.client(version).await;
        let mut length = 80;
        let exact = loop {
            let bytes = client.publish_bytes("t", &"x".repeat(length), 2, &[]);
            if bytes.len() == 100 {
                break bytes;
            }
            length += 1;
        };
        client.send(&exact).await;
        assert_eq!(client.answer().await.0, PUBACK);
        let above = client.publish_bytes("t", &"x".repeat(length + 1), 2, &[]);
        // Its length says enough: the rest never comes.
        client.send(&above[..10]).await;
        bench
            .ends(
                client,
                "PUBLISH",
                0x95,
                "has 101 bytes, the longest allowed has 100",
            )
            .await;
    }
}

#[tokio::test]
async fn a_connect_above_the_clients_own_packet_size_is_refused() {
    let bench = bounded(Limits {
        max_packet_size: Some(100),
        ..Limits::default()
    })
    .await;
    for (version, code) in [(4, 5), (5, 0x95)] {
        let mut connect = wire::Connect::new(version, "v-1");
        connect.username = Some("x".repeat(100));
        let (_, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.code, code);
        bench.journalled("CONNECT", code, "the longest packet allowed has 100");
    }
}

#[tokio::test]
async fn the_broker_s_own_packet_size_is_never_exceeded_and_a_refusal_is_in_the_journal() {
    let bench = bounded(Limits {
        max_packet_size: Some(u32::MAX),
        ..Limits::default()
    })
    .await;
    let (client, connack) = Wire::connect(bench.address, &wire::Connect::new(5, "v-1")).await;
    assert!(connack.has(&[0x27, 0, 0x10, 0, 0]), "{connack:?}");
    let mut client = client;
    client.send(&[0x32, 0xff, 0xff, 0xff, 0x7f]).await;
    bench.ends(client, "PUBLISH", 0x95, "1048576").await;
}

#[tokio::test]
async fn a_topic_alias_above_the_clients_own_maximum_ends_the_connection() {
    // Below the broker's own of 32, and above it.
    for most in [3, 40] {
        let bench = bounded(Limits {
            topic_alias_maximum: Some(most),
            ..Limits::default()
        })
        .await;
        let [high, low] = most.to_be_bytes();
        let mut client = bench.told(&[0x22, high, low]).await;
        client.publish("t", "x", 2, &[0x23, high, low]).await;
        let above = client.publish_bytes("t", "x", 2, &[0x23, high, low + 1]);
        client.send(&above).await;
        bench.ends(client, "PUBLISH", 0x94, "topic alias").await;
    }
}

#[tokio::test]
async fn a_client_without_topic_aliases_is_told_none() {
    let bench = bounded(Limits {
        topic_alias_maximum: Some(0),
        ..Limits::default()
    })
    .await;
    let (mut client, connack) = Wire::connect(bench.address, &wire::Connect::new(5, "v-1")).await;
    assert!(!connack.has(&[0x22]), "{connack:?}");
    let bytes = client.publish_bytes("t", "x", 2, &[0x23, 0, 1]);
    client.send(&bytes).await;
    bench
        .ends(client, "PUBLISH", 0x94, "topic alias is 1")
        .await;
}

fn subscribe(version: u8, filters: &[&str]) -> Vec<u8> {
    let five: &[u8] = if version == 5 { &[0] } else { &[] };
    let filters: Vec<u8> = filters
        .iter()
        .flat_map(|filter| [text(filter), vec![1]].concat())
        .collect();
    packet(0x82, &[&[0, 9], five, &filters])
}

#[tokio::test]
async fn a_subscribe_with_too_many_filters_is_refused_whole_and_the_connection_goes_on() {
    let bench = bounded(Limits {
        filters_per_subscribe: Some(2),
        ..Limits::default()
    })
    .await;
    for (version, refused) in [
        (4, [0, 9, 0x80, 0x80, 0x80].to_vec()),
        (5, vec![0, 9, 0, 0x97, 0x97, 0x97]),
    ] {
        let mut client = bench.client(version).await;
        client.send(&subscribe(version, &["a", "b", "c"])).await;
        assert_eq!(client.answer().await, (0x90, refused));
        bench.journalled("SUBSCRIBE", 0x97, "3 filters, the most allowed is 2");
        assert!(bench.broker.subscriptions().await.is_empty());
        client.send(&subscribe(version, &["a", "b"])).await;
        let (first, codes) = client.answer().await;
        assert_eq!((first, &codes[codes.len() - 2..]), (0x90, &[1, 1][..]));
        assert_eq!(bench.broker.subscriptions().await.len(), 2);
        client.leave().await;
    }
}

#[tokio::test]
async fn what_is_sent_behind_the_connect_keeps_to_the_limits_too() {
    let bench = bounded(Limits {
        max_qos: Some(Qos::AtMostOnce),
        ..Limits::default()
    })
    .await;
    let mut client = bench.client(5).await;
    let publish = client.publish_bytes("t", "x", 2, &[]);
    let both = [wire::Connect::new(5, "v-1").bytes(), publish].concat();
    let fresh = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    client.stream = Box::new(fresh);
    client.send(&both).await;
    assert_eq!(client.read().await.unwrap().0, 0x20);
    bench.ends(client, "PUBLISH", 0x9b, "QoS 1").await;
}

#[tokio::test]
async fn a_withheld_publish_is_never_acknowledged_and_the_connection_goes_on() {
    let bench = bench().await;
    let mut watcher = Wire::open(bench.address, 4, "watcher").await;
    watcher.subscribe("#", 0).await;
    for version in [4, 5] {
        let mut client = bench.client(version).await;
        for (flags, acknowledged) in [(2, PUBACK), (4, PUBREC)] {
            // Twice, as a client does that waits for the acknowledgement.
            for dup in [0, 8] {
                let bytes = client.publish_with_id("withheld", "x", flags | dup, &[], 40);
                client.send(&bytes).await;
                client.send(&[0xc0, 0]).await;
                assert_eq!(client.answer().await.0, 0xd0, "the next is the PINGRESP");
                let refusal = bench.refusal();
                assert_eq!(refusal.topic.as_deref(), Some("withheld"));
                assert_eq!(refusal.reason, "only operations are published to");
            }
            // The same packet id is acknowledged for another publish.
            let bytes = client.publish_with_id("fine", "y", flags, &[], 40);
            client.send(&bytes).await;
            let (first, body) = client.answer().await;
            assert_eq!((first, &body[..2]), (acknowledged, &[0, 40][..]));
            assert_eq!(watcher.take().await.topic, "fine");
        }
        client.leave().await;
    }
    let mut client = bench.client(4).await;
    let bytes = client.publish_bytes("withheld", "x", 0, &[]);
    client.send(&bytes).await;
    client.publish("end", "", 2, &[]).await;
    assert_eq!(watcher.take().await.topic, "end");
}

#[tokio::test]
async fn acknowledgements_around_a_withheld_one_all_arrive_in_order() {
    let bench = bench().await;
    let mut client = bench.client(5).await;
    let all: Vec<u8> = (1..=10)
        .flat_map(|id| {
            let topic = if id % 3 == 0 { "withheld" } else { "fine" };
            client.publish_with_id(topic, "x", 2, &[], id)
        })
        .collect();
    client.send(&all).await;
    for id in [1, 2, 4, 5, 7, 8, 10] {
        let (first, body) = client.answer().await;
        assert_eq!((first, &body[..2]), (PUBACK, &[0, id][..]));
    }
}
