//! What the MQTT standards demand and the Paho interoperability suite tests, name by name, with
//! packets written by hand (`wire.rs`). The name of the suite's test stands above each of ours;
//! the suite itself is not ours to ship.

use std::net::SocketAddr;

use jiff::SignedDuration;
use mqttstack_base::clock::Clock;
use mqttstack_broker::{Broker, Settings};
use mqttstack_pipeline::App;

use crate::shared::{self, Rooms};
use crate::wire::{
    AUTH, Arrived, Connect, PUBCOMP, PUBREC, PUBREL, Wire, packet, properties, text,
};

struct Bench {
    broker: Broker,
    clock: Clock,
    address: SocketAddr,
}

/// A broker with the settings that the suite assumes.
async fn bench() -> Bench {
    bench_with(Settings {
        deny_subscribe: vec!["test/nosubscribe".into()],
        max_keep_alive: 60,
        ..Settings::default()
    })
    .await
}

async fn bench_with(settings: Settings) -> Bench {
    let rooms = Rooms {
        broker: settings,
        ..Rooms::new(Clock::real())
    };
    let App { broker, clock, .. } = rooms.open().await;
    Bench {
        address: shared::listen(&broker),
        broker,
        clock,
    }
}

impl Bench {
    async fn open(&self, version: u8, client_id: &str) -> Wire {
        Wire::open(self.address, version, client_id).await
    }

    /// Waits until the broker knows that a client is gone, with or without a session left.
    async fn gone(&self, client_id: &str) {
        shared::offline(&self.broker, client_id).await;
    }
}

fn summary(arrived: &Arrived) -> (&str, &str, u8, bool) {
    (
        &arrived.topic,
        &arrived.payload,
        arrived.qos,
        arrived.retain,
    )
}

const VERSIONS: [u8; 3] = [3, 4, 5];

// v311 testBasic, v5 basic
#[tokio::test]
async fn every_quality_of_service_passes_in_every_version() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut client = bench.open(version, &format!("basic-{version}")).await;
        assert_eq!(client.subscribe("basic", 2).await, 2);
        for (flags, qos) in [(0, 0), (2, 1), (4, 2)] {
            let mut other = bench.open(version, "other").await;
            other.publish("basic", "x", flags, &[]).await;
            let arrived = client.receive().await;
            assert_eq!(summary(&arrived), ("basic", "x", qos, false));
            other.leave().await;
        }
        client.leave().await;
    }
}

// v311 testBasic: a second CONNECT on one connection
#[tokio::test]
async fn a_second_connect_ends_the_connection() {
    let bench = bench().await;
    for version in [4, 5] {
        let mut client = bench.open(version, "twice").await;
        client.send(&Connect::new(version, "twice").bytes()).await;
        client.ended().await;
    }
}

// v311 retained_messages, v5 retained_message
#[tokio::test]
async fn retained_messages_come_at_once_with_the_flag_and_go_with_an_empty_one() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut client = bench.open(version, "retained").await;
        for (flags, topic) in [(1, "r/0"), (3, "r/1"), (5, "r/2")] {
            client.publish(topic, "kept", flags, &[]).await;
        }
        client.subscribe("r/+", 2).await;
        let mut seen = vec![];
        for _ in 0..3 {
            let arrived = client.receive().await;
            assert!(arrived.retain && arrived.payload == "kept");
            seen.push((arrived.topic, arrived.qos));
        }
        seen.sort();
        assert_eq!(
            seen,
            [("r/0".into(), 0), ("r/1".into(), 1), ("r/2".into(), 2)]
        );
        client.unsubscribe("r/+").await;
        for topic in ["r/0", "r/1", "r/2"] {
            client.publish(topic, "", 3, &[]).await;
        }
        assert!(bench.broker.retained().is_empty());
        client.leave().await;
    }
}

// v5 retained_message, user_properties, payload_format: properties survive being retained
#[tokio::test]
async fn a_retained_message_keeps_its_properties() {
    let bench = bench().await;
    let mut client = bench.open(5, "c").await;
    let own = [
        &[0x01, 1][..],
        &[0x03],
        &text("text/x"),
        &[0x26],
        &text("a"),
        &text("2"),
        &[0x26],
        &text("a"),
        &text("1"),
    ]
    .concat();
    client.publish("r", "x", 3, &own).await;
    client.subscribe("r", 2).await;
    let arrived = client.receive().await;
    for property in [&own[..2], &own[2..11], &own[11..]] {
        let found = arrived
            .properties
            .windows(property.len())
            .any(|window| window == property);
        assert!(found, "{property:?} in {:?}", arrived.properties);
    }
    assert_eq!(arrived.properties.len(), own.len(), "and nothing was added");
}

// v311 zero_length_clientid
#[tokio::test]
async fn in_3_1_1_an_empty_client_id_needs_a_clean_session() {
    let bench = bench().await;
    let mut connect = Connect::new(4, "");
    connect.clean = false;
    let (mut refused, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 2);
    refused.ended().await;
    connect.clean = true;
    let (client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0);
    client.leave().await;
}

// v5 zero_length_clientid, assigned_clientid
#[tokio::test]
async fn in_5_an_empty_client_id_is_replaced_by_one_that_can_be_used_again() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "");
    connect.properties = vec![0x11, 0, 0, 1, 0];
    let (client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0);
    let assigned = bench.broker.clients().await[0].client_id.clone();
    let mut property = vec![0x12];
    property.extend(text(&assigned));
    assert!(connack.has(&property), "{connack:?}");
    client.leave().await;
    bench.gone(&assigned).await;
    connect.client_id = assigned;
    connect.clean = false;
    let (_client, connack) = Wire::connect(bench.address, &connect).await;
    assert!(connack.session_present);
    assert!(!connack.has(&property));
}

// v311 and v5 offline_message_queueing
#[tokio::test]
async fn what_was_missed_offline_comes_in_order() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut connect = Connect::new(version, "offline");
        connect.clean = false;
        if version == 5 {
            connect.properties = vec![0x11, 0, 0, 1, 0];
        }
        let (mut client, _) = Wire::connect(bench.address, &connect).await;
        client.subscribe("missed/+", 2).await;
        client.leave().await;
        bench.gone("offline").await;
        let mut other = bench.open(4, "other").await;
        other.publish("missed/1", "1", 2, &[]).await;
        other.publish("missed/2", "2", 4, &[]).await;
        other.leave().await;
        let (mut client, connack) = Wire::connect(bench.address, &connect).await;
        assert!(connack.session_present);
        assert_eq!(client.receive().await.payload, "1");
        assert_eq!(client.receive().await.payload, "2");
        client.leave().await;
        bench.gone("offline").await;
        assert!(bench.broker.kick("offline").await);
    }
}

// v311 overlapping_subscriptions: one copy with the highest granted QoS
#[tokio::test]
async fn overlapping_subscriptions_of_3_1_1_deliver_once_with_the_highest_qos() {
    let bench = bench().await;
    let mut client = bench.open(4, "overlap").await;
    client.subscribe("o/#", 2).await;
    client.subscribe("o/+", 1).await;
    client.publish("o/t", "once", 4, &[]).await;
    assert_eq!(summary(&client.receive().await), ("o/t", "once", 2, false));
    client.publish("o/t", "end", 4, &[]).await;
    assert_eq!(client.receive().await.payload, "end");
}

// v5 overlapping_subscriptions, subscribe_identifiers
#[tokio::test]
async fn overlapping_subscriptions_of_5_deliver_all_their_identifiers() {
    let bench = bench().await;
    let mut client = bench.open(5, "overlap").await;
    client.subscribe_as("o/+", 1, &[0x0b, 3]).await;
    client.subscribe_as("o/#", 2, &[0x0b, 2]).await;
    for version in VERSIONS {
        let mut other = bench.open(version, "other").await;
        other.publish("o/t", "once", 4, &[]).await;
        let arrived = client.receive().await;
        assert_eq!(summary(&arrived), ("o/t", "once", 2, false));
        assert_eq!(arrived.identifiers(), [2, 3]);
        other.leave().await;
    }
    let mut plain = bench.open(5, "plain").await;
    plain.subscribe_as("o/t", 1, &[0x0b, 5]).await;
    client.publish("o/t/u", "x", 2, &[]).await;
    assert_eq!(client.receive().await.identifiers(), [2]);
}

// v311 keepalive, v5 keepalive: the will tells that the broker gave the client up
#[tokio::test]
async fn a_silent_client_is_given_up_and_one_without_keep_alive_is_not() {
    let bench = bench_with(Settings::default()).await;
    let mut watcher = bench.open(4, "watcher").await;
    watcher.subscribe("silent/+", 1).await;
    let _for_ever = bench.open(4, "for ever").await;
    let mut clients = vec![];
    for version in [4, 5] {
        let mut connect = Connect::new(version, &format!("silent-{version}"));
        connect.keep_alive = 1;
        connect.will = Some((0x08, vec![], format!("silent/{version}"), "gone".into()));
        clients.push(Wire::connect(bench.address, &connect).await.0);
    }
    let mut topics = [watcher.receive().await.topic, watcher.receive().await.topic];
    topics.sort();
    assert_eq!(topics, ["silent/4", "silent/5"]);
    assert_eq!(clients[1].disconnected().await, 0x8d);
    let listed = bench.broker.clients().await;
    assert!(
        listed
            .iter()
            .any(|c| c.client_id == "for ever" && c.connected)
    );
}

// v311 and v5 redelivery_on_reconnect
#[tokio::test]
async fn what_was_not_acknowledged_comes_again_marked_as_duplicate() {
    let bench = bench().await;
    for version in [4, 5] {
        let mut connect = Connect::new(version, "again");
        connect.clean = false;
        if version == 5 {
            connect.properties = vec![0x11, 0, 0, 1, 0];
        }
        let (mut client, _) = Wire::connect(bench.address, &connect).await;
        client.subscribe("again", 2).await;
        let mut other = bench.open(4, "other").await;
        other.publish("again", "one", 2, &[]).await;
        other.publish("again", "two", 4, &[]).await;
        other.leave().await;
        let (first, second) = (client.take().await, client.take().await);
        assert!(!first.dup && !second.dup);
        drop(client);
        bench.gone("again").await;
        let (mut client, _) = Wire::connect(bench.address, &connect).await;
        let (one, two) = (client.receive().await, client.receive().await);
        assert_eq!((one.payload.as_str(), one.dup), ("one", true));
        assert_eq!((two.payload.as_str(), two.dup), ("two", true));
        assert_eq!((one.id, two.id), (first.id, second.id));
        client.leave().await;
        bench.gone("again").await;
        assert!(bench.broker.kick("again").await);
    }
}

// v5 redelivery_on_reconnect: the release of a QoS 2 message is sent again
#[tokio::test]
async fn a_release_that_was_not_completed_comes_again() {
    let bench = bench().await;
    let mut connect = Connect::new(4, "release");
    connect.clean = false;
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.subscribe("t", 2).await;
    let mut other = bench.open(4, "other").await;
    other.publish("t", "x", 4, &[]).await;
    let arrived = client.take().await;
    let id = arrived.id.to_be_bytes();
    client.send(&packet(PUBREC, &[&id])).await;
    assert_eq!(client.read().await.unwrap(), (PUBREL, id.to_vec()));
    drop(client);
    bench.gone("release").await;
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    assert_eq!(client.read().await.unwrap(), (PUBREL, id.to_vec()));
}

// v311 and v5 subscribe_failure
#[tokio::test]
async fn a_denied_filter_is_answered_with_0x80_in_every_version() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut client = bench.open(version, "c").await;
        assert_eq!(client.subscribe("test/nosubscribe", 2).await, 0x80);
        assert_eq!(client.subscribe("test/yes", 2).await, 2);
        client.leave().await;
    }
}

// v311 and v5 subscribe_failure: beside filters that are granted
#[tokio::test]
async fn a_filter_that_is_none_is_refused_and_the_connection_stays() {
    let bench = bench().await;
    for version in [4, 5] {
        let mut client = bench.open(version, "c").await;
        let refused = if version == 5 { 0x8f } else { 0x80 };
        for filter in ["a/#/b", "#/a", "a+", "+a/b", "$share/g/a#"] {
            assert_eq!(client.subscribe(filter, 1).await, refused, "{filter}");
        }
        assert_eq!(client.subscribe("+/a/#", 1).await, 1);
        assert_eq!(client.subscribe("$share/g/+/a/#", 1).await, 1);
        client.leave().await;
    }
}

// v311 and v5 dollar_topics
#[tokio::test]
async fn wildcards_at_the_start_do_not_match_topics_that_begin_with_a_dollar() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut client = bench.open(version, "c").await;
        client.subscribe("#", 2).await;
        client.subscribe("+/t", 2).await;
        client.publish("$own/t", "hidden", 2, &[]).await;
        client.publish("seen/t", "seen", 4, &[]).await;
        assert_eq!(client.receive().await.payload, "seen");
        assert_eq!(client.subscribe("$own/#", 1).await, 1);
        client.publish("$own/t", "named", 4, &[]).await;
        assert_eq!(client.receive().await.payload, "named");
        client.leave().await;
    }
}

// v311 and v5 unsubscribe
#[tokio::test]
async fn after_an_unsubscribe_nothing_more_comes() {
    let bench = bench().await;
    for version in VERSIONS {
        let mut client = bench.open(version, "c").await;
        for filter in ["u/a", "u/b", "u/c"] {
            client.subscribe(filter, 2).await;
        }
        client.unsubscribe("u/a").await;
        client.unsubscribe("u/never").await;
        for topic in ["u/a", "u/b", "u/c"] {
            client.publish(topic, topic, 0, &[]).await;
        }
        assert_eq!(client.receive().await.topic, "u/b");
        assert_eq!(client.receive().await.topic, "u/c");
        client.leave().await;
    }
}

// v5 session_expiry
#[tokio::test]
async fn a_session_lives_as_long_as_asked_at_connect_or_at_disconnect() {
    let bench = bench().await;
    let lasting = vec![0x11, 0, 0, 1, 0];
    let mut connect = Connect::new(5, "session");
    connect.clean = false;
    let present = async |connect: &Connect| {
        let (client, connack) = Wire::connect(bench.address, connect).await;
        (client, connack.session_present)
    };
    let (client, found) = present(&connect).await;
    assert!(!found);
    client.leave().await;
    bench.gone("session").await;
    connect.properties.clone_from(&lasting);
    let (client, found) = present(&connect).await;
    assert!(!found, "without an expiry interval nothing is kept");
    client.leave().await;
    bench.gone("session").await;
    let (mut client, found) = present(&connect).await;
    assert!(found);
    // DISCONNECT with a Session Expiry Interval of 0.
    client
        .send(&packet(0xe0, &[&[0], &properties(&[0x11, 0, 0, 0, 0])]))
        .await;
    client.ended().await;
    bench.gone("session").await;
    let (_client, found) = present(&connect).await;
    assert!(!found, "the DISCONNECT ended the session");
}

// MQTT 5.0 section 3.14.2.2.2: the DISCONNECT's interval counts, with a will or without
#[tokio::test]
async fn a_disconnect_changes_how_long_the_session_lives_whatever_becomes_of_the_will() {
    let bench = bench().await;
    let mut watcher = bench.open(5, "watcher").await;
    watcher.subscribe("will/+", 0).await;
    let expiry = |seconds: u8| properties(&[0x11, 0, 0, seconds, 0]);
    let leave = async |id: &str, asked: u8, reason: u8, own: Vec<u8>| {
        let mut connect = Connect::new(5, id);
        connect.properties = vec![0x11, 0, 0, 0, asked];
        connect.will = Some((0, vec![], format!("will/{id}"), "gone".into()));
        let (mut client, _) = Wire::connect(bench.address, &connect).await;
        client.send(&packet(0xe0, &[&[reason], &own])).await;
        client.ended().await;
        bench.gone(id).await;
    };
    leave("ended", 200, 0x04, expiry(0)).await;
    assert_eq!(watcher.receive().await.topic, "will/ended");
    leave("kept", 1, 0x04, expiry(1)).await;
    assert_eq!(watcher.receive().await.topic, "will/kept");
    // Every reason but the normal one leaves the will.
    leave("failed", 1, 0x80, expiry(1)).await;
    assert_eq!(watcher.receive().await.topic, "will/failed");
    leave("normal", 1, 0x00, expiry(1)).await;
    leave("short", 1, 0x00, vec![]).await;
    let names = async || {
        let clients = bench.broker.clients().await;
        let names = clients.into_iter().map(|client| client.client_id);
        names.collect::<Vec<_>>()
    };
    shared::forgotten(&bench.broker, "short").await;
    assert_eq!(names().await, ["failed", "kept", "normal", "watcher"]);
    watcher.publish("will/end", "", 0, &[]).await;
    assert_eq!(watcher.receive().await.topic, "will/end");
}

// MQTT 5.0 section 3.14.2.2.2
#[tokio::test]
async fn a_disconnect_cannot_ask_for_a_session_that_the_connect_did_not() {
    let bench = bench().await;
    let mut client = bench.open(5, "c").await;
    let own = properties(&[0x11, 0, 0, 0, 1]);
    client.send(&packet(0xe0, &[&[0], &own])).await;
    assert_eq!(client.disconnected().await, 0x82);
    let mut client = bench.open(5, "c").await;
    let own = properties(&[0x11, 0, 0, 0, 0]);
    client.send(&packet(0xe0, &[&[0], &own])).await;
    client.ended().await;
}

// v5 publication_expiry
#[tokio::test]
async fn a_waiting_message_arrives_with_what_is_left_of_its_life_or_not_at_all() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "late");
    connect.clean = false;
    connect.properties = vec![0x11, 0, 0, 0xff, 0];
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.subscribe("e", 2).await;
    client.leave().await;
    bench.gone("late").await;
    let mut other = bench.open(5, "other").await;
    other.publish("e", "short", 2, &[0x02, 0, 0, 0, 50]).await;
    other.publish("e", "long", 2, &[0x02, 0, 0, 0, 200]).await;
    bench.clock.advance(SignedDuration::from_secs(100)).unwrap();
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    let arrived = client.receive().await;
    assert_eq!(arrived.payload, "long");
    assert_eq!(arrived.properties[..4], [0x02, 0, 0, 0]);
    let left = arrived.properties[4];
    assert!((1..=200).contains(&left), "{left}");
}

// v5 subscribe_options: No Local
#[tokio::test]
async fn with_no_local_a_client_does_not_hear_itself() {
    let bench = bench().await;
    let mut client = bench.open(5, "c").await;
    client.subscribe("n", 0x04 | 2).await;
    let mut other = bench.open(5, "other").await;
    client.publish("n", "own", 2, &[]).await;
    other.publish("n", "other", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "other");
}

// v5 subscribe_options: Retain As Published
#[tokio::test]
async fn retain_as_published_keeps_the_flag_and_its_absence_clears_it() {
    let bench = bench().await;
    let mut keeps = bench.open(5, "keeps").await;
    keeps.subscribe("k", 0x08 | 2).await;
    let mut clears = bench.open(5, "clears").await;
    clears.subscribe("k", 2).await;
    let mut other = bench.open(5, "other").await;
    other.publish("k", "1", 3, &[]).await;
    assert!(keeps.receive().await.retain);
    assert!(!clears.receive().await.retain);
    other.publish("k", "2", 2, &[]).await;
    assert!(!keeps.receive().await.retain);
}

// v5 subscribe_options: Retain Handling
#[tokio::test]
async fn retain_handling_says_when_retained_messages_come() {
    let bench = bench().await;
    let mut client = bench.open(5, "c").await;
    client.publish("h", "kept", 3, &[]).await;
    // 2: never; 1: only with a new subscription, which the second is not.
    client.subscribe("h", 0x20 | 1).await;
    client.subscribe("h", 0x10 | 1).await;
    client.publish("h", "live", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "live");
    client.unsubscribe("h").await;
    client.subscribe("h", 0x10 | 1).await;
    assert_eq!(client.receive().await.payload, "kept");
    // 0: every time.
    client.subscribe("h", 1).await;
    let arrived = client.receive().await;
    assert!(arrived.retain);
    assert_eq!(arrived.payload, "kept");
}

// v5 request_response
#[tokio::test]
async fn response_topic_and_correlation_data_pass_unchanged() {
    let bench = bench().await;
    let mut service = bench.open(5, "service").await;
    service.subscribe("ask", 2).await;
    let mut client = bench.open(5, "client").await;
    client.subscribe("answers", 2).await;
    let mut own = vec![0x08];
    own.extend(text("answers"));
    own.push(0x09);
    own.extend(text(b"\0\xff"));
    client.publish("ask", "?", 2, &own).await;
    let question = service.receive().await;
    assert_eq!(question.properties.len(), own.len());
    for property in [&own[..10], &own[10..]] {
        let found = question
            .properties
            .windows(property.len())
            .any(|window| window == property);
        assert!(found, "{:?}", question.properties);
    }
    service.publish("answers", "!", 2, &own[10..]).await;
    let answer = client.receive().await;
    assert_eq!(
        (answer.payload.as_str(), &answer.properties[..]),
        ("!", &own[10..])
    );
}

// v5 client_topic_alias
#[tokio::test]
async fn a_topic_alias_stands_for_its_topic_until_it_is_given_another() {
    let bench = bench().await;
    let (mut client, connack) = Wire::connect(bench.address, &Connect::new(5, "c")).await;
    assert!(connack.has(&[0x22, 0, 32]), "{connack:?}");
    client.subscribe("al/+", 1).await;
    client.publish("al/1", "1", 2, &[0x23, 0, 32]).await;
    assert_eq!(client.receive().await.topic, "al/1");
    client.publish("", "2", 2, &[0x23, 0, 32]).await;
    assert_eq!(client.receive().await.topic, "al/1");
    client.publish("al/2", "3", 2, &[0x23, 0, 32]).await;
    assert_eq!(client.receive().await.topic, "al/2");
}

// v5 client_topic_alias: wrong ones
#[tokio::test]
async fn a_topic_alias_that_is_zero_too_large_or_unknown_ends_the_connection_with_the_reason() {
    let bench = bench().await;
    for (topic, alias, code) in [("t", 0, 0x94), ("t", 33, 0x94), ("", 5, 0x82)] {
        let mut client = bench.open(5, "c").await;
        let bytes = client.publish_bytes(topic, "x", 2, &[0x23, 0, alias]);
        client.send(&bytes).await;
        assert_eq!(client.disconnected().await, code, "alias {alias}");
        bench.gone("c").await;
    }
}

// v5 server_topic_alias
#[tokio::test]
async fn the_broker_uses_topic_aliases_only_as_far_as_the_client_takes_them() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "aliases");
    connect.properties = vec![0x22, 0, 1];
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.subscribe("al/+", 1).await;
    let mut other = bench.open(5, "other").await;
    let mut known: Option<String> = None;
    for topic in ["al/1", "al/1", "al/2", "al/1"] {
        other.publish(topic, topic, 2, &[]).await;
        let mut arrived = client.receive().await;
        if arrived.properties == [0x23, 0, 1] {
            if arrived.topic.is_empty() {
                arrived.topic = known.clone().expect("the alias was given a topic");
            } else {
                known = Some(arrived.topic.clone());
            }
        } else {
            assert!(arrived.properties.is_empty(), "{:?}", arrived.properties);
        }
        assert_eq!(arrived.topic, topic);
    }
    let mut none = bench.open(5, "none").await;
    none.subscribe("al/+", 1).await;
    other.publish("al/1", "x", 2, &[]).await;
    let arrived = none.receive().await;
    assert_eq!(
        (arrived.topic.as_str(), arrived.properties.len()),
        ("al/1", 0)
    );
}

// v5 maximum_packet_size
#[tokio::test]
async fn a_packet_above_the_announced_size_ends_the_connection_with_packet_too_large() {
    let bench = bench_with(Settings {
        max_packet_size: 1000,
        ..Settings::default()
    })
    .await;
    let (mut client, connack) = Wire::connect(bench.address, &Connect::new(5, "c")).await;
    assert!(connack.has(&[0x27, 0, 0, 0x03, 0xe8]), "{connack:?}");
    let bytes = client.publish_bytes("t", &"x".repeat(1000), 2, &[]);
    client.send(&bytes).await;
    assert_eq!(client.disconnected().await, 0x95);
    let mut old = bench.open(4, "old").await;
    let bytes = old.publish_bytes("t", &"x".repeat(1000), 2, &[]);
    old.send(&bytes).await;
    old.ended().await;
}

// v5 server_keep_alive
#[tokio::test]
async fn a_longer_keep_alive_than_allowed_is_lowered_and_told() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "c");
    connect.keep_alive = 120;
    let (_client, connack) = Wire::connect(bench.address, &connect).await;
    assert!(connack.has(&[0x13, 0, 60]), "{connack:?}");
}

// v5 flow_control1
#[tokio::test]
async fn no_more_than_receive_maximum_deliveries_are_unacknowledged() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "c");
    connect.properties = vec![0x21, 0, 2];
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.subscribe("f", 2).await;
    let mut other = bench.open(5, "other").await;
    for n in 0..5 {
        other.publish("f", &n.to_string(), 4, &[]).await;
    }
    let (first, second) = (client.take().await, client.take().await);
    assert_eq!(
        (first.payload.as_str(), second.payload.as_str()),
        ("0", "1")
    );
    let listed = bench.broker.clients().await;
    let client_now = listed.iter().find(|c| c.client_id == "c").unwrap();
    assert_eq!((client_now.inflight, client_now.queued), (2, 3));
    for arrived in [first, second] {
        let id = arrived.id.to_be_bytes();
        client.send(&packet(PUBREC, &[&id])).await;
        let (first, release) = client.answer().await;
        assert_eq!((first, &release[..2]), (PUBREL, &id[..]));
        client.send(&packet(PUBCOMP, &[&id])).await;
        // The next one may come as soon as there is room.
        let next = client.take().await;
        assert!(["2", "3"].contains(&next.payload.as_str()));
    }
}

// v5 flow_control2
#[tokio::test]
async fn a_client_above_the_receive_maximum_reads_the_reason_before_the_connection_ends() {
    let bench = bench_with(Settings {
        receive_maximum: 16,
        ..Settings::default()
    })
    .await;
    let (mut client, connack) = Wire::connect(bench.address, &Connect::new(5, "c")).await;
    assert!(connack.has(&[0x21, 0, 16]), "{connack:?}");
    let all: Vec<u8> = (1..=17)
        .flat_map(|id| client.publish_with_id("f", "test", 4, &[], id))
        .collect();
    client.send(&all).await;
    assert_eq!(client.disconnected().await, 0x93);
}

// v5 will_message: properties of the will
#[tokio::test]
async fn a_will_comes_with_its_properties_unless_the_client_says_good_bye() {
    let bench = bench().await;
    let mut watcher = bench.open(5, "watcher").await;
    watcher.subscribe("will", 2).await;
    let own = [&[0x26][..], &text("a"), &text("2")].concat();
    let mut connect = Connect::new(5, "willing");
    connect.will = Some((0x10, own.clone(), "will".into(), "gone".into()));
    let (client, _) = Wire::connect(bench.address, &connect).await;
    client.leave().await;
    bench.gone("willing").await;
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    // DISCONNECT with Will Message.
    client.send(&packet(0xe0, &[&[4]])).await;
    let arrived = watcher.receive().await;
    assert_eq!(summary(&arrived), ("will", "gone", 2, false));
    assert_eq!(arrived.properties, own);
    watcher.publish("will", "end", 2, &[]).await;
    assert_eq!(watcher.receive().await.payload, "end");
}

// v5 will_delay
#[tokio::test]
async fn a_delayed_will_waits_and_is_not_sent_to_a_session_that_comes_back() {
    let bench = bench().await;
    let mut watcher = bench.open(5, "watcher").await;
    watcher.subscribe("will/+", 2).await;
    for (id, delay) in [("back", 1), ("away", 1)] {
        let mut connect = Connect::new(5, id);
        connect.clean = false;
        connect.properties = vec![0x11, 0, 0, 1, 0];
        let own = vec![0x18, 0, 0, 0, delay];
        connect.will = Some((0, own, format!("will/{id}"), "gone".into()));
        drop(Wire::connect(bench.address, &connect).await);
        bench.gone(id).await;
        if id == "back" {
            connect.will = None;
            let (client, connack) = Wire::connect(bench.address, &connect).await;
            assert!(connack.session_present);
            client.leave().await;
        }
    }
    assert_eq!(watcher.receive().await.topic, "will/away");
}

// v5 shared_subscriptions
#[tokio::test]
async fn a_shared_subscription_gets_one_copy_beside_the_own_ones() {
    let bench = bench().await;
    let mut one = bench.open(5, "one").await;
    let mut two = bench.open(5, "two").await;
    for client in [&mut one, &mut two] {
        client.subscribe("$share/g/s", 2).await;
        client.subscribe("own", 2).await;
    }
    let mut other = bench.open(5, "other").await;
    for n in 0..4 {
        other.publish("s", &n.to_string(), 4, &[]).await;
    }
    other.publish("own", "end", 4, &[]).await;
    let mut shared = vec![];
    for client in [&mut one, &mut two] {
        for _ in 0..2 {
            shared.push(client.receive().await.payload);
        }
        assert_eq!(client.receive().await.payload, "end");
    }
    shared.sort();
    assert_eq!(shared, ["0", "1", "2", "3"]);
    one.subscribe("+", 1).await;
    other.publish("s", "both", 4, &[]).await;
    other.publish("s", "both", 4, &[]).await;
    let mut copies = [
        one.receive().await.qos,
        one.receive().await.qos,
        one.receive().await.qos,
    ];
    copies.sort_unstable();
    assert_eq!(copies, [1, 1, 2]);
}

#[tokio::test]
async fn a_connection_that_is_taken_over_is_told() {
    let bench = bench().await;
    let mut old = bench.open(5, "same").await;
    let _new = bench.open(5, "same").await;
    assert_eq!(old.disconnected().await, 0x8e);
}

#[tokio::test]
async fn a_kicked_client_is_told_of_an_administrative_action() {
    let bench = bench().await;
    let mut client = bench.open(5, "c").await;
    assert!(bench.broker.kick("c").await);
    assert_eq!(client.disconnected().await, 0x98);
}

#[tokio::test]
async fn an_authentication_method_that_nobody_knows_is_refused_as_such() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "c");
    connect.properties = [&[0x15][..], &text("SCRAM")].concat();
    let (mut client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0x8c);
    client.ended().await;
    let mut client = bench.open(5, "c").await;
    client.send(&packet(AUTH, &[])).await;
    assert_eq!(client.disconnected().await, 0x82);
}
