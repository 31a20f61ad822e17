//! The rates and numbers of the vendor's limits page, which `throughput_units` turns on: over MQTT,
//! and how many messages may be retained for how long. Those over HTTP are exchanges in
//! `fixtures/azure`.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_broker::dialect::Refused;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};
use crate::mqtt::listening;
use crate::wire::{Connack, Connect, PUBACK, Wire, packet, text};

const RETAINED: &str = "/mqtt/retainedMessages/message?api-version=2025-11-16-preview&topic=";
const QUOTA: u8 = 0x97;

async fn limited(units: u32, more: Value) -> (Bench, SocketAddr) {
    let mut settings = json!({"auth": "lenient", "throughput_units": units, "namespaces": [{
        "clients": [{"name": "a"}, {"name": "b"}],
        "life_cycle_topic": "life",
    }]});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    listening(settings).await
}

async fn connect(address: SocketAddr, version: u8, name: &str) -> (Wire, Connack) {
    let connect = Connect {
        username: Some(name.to_owned()),
        ..Connect::new(version, name)
    };
    Wire::connect(address, &connect).await
}

async fn client(address: SocketAddr, version: u8, name: &str) -> Wire {
    let (wire, connack) = connect(address, version, name).await;
    assert_eq!(connack.code, 0, "{connack:?}");
    wire
}

async fn acknowledged(wire: &mut Wire, topic: &str, flags: u8, payload: &str) -> u8 {
    let bytes = wire.publish_bytes(topic, payload, flags, &[]);
    wire.send(&bytes).await;
    let (first, body) = wire.answer().await;
    assert_eq!(first, PUBACK);
    body.get(2).copied().unwrap_or(0)
}

fn a_second_later(bench: &Bench) {
    let second = SignedDuration::from_secs(1);
    bench.app.clock.advance(second).unwrap();
}

/// The reason code of the acknowledgement, and how many were taken before it.
async fn until_refused(wire: &mut Wire, flags: u8) -> usize {
    for count in 0..2_000 {
        let code = acknowledged(wire, "t", flags, "x").await;
        if code >= 0x80 {
            assert_eq!(code, QUOTA);
            return count;
        }
    }
    panic!("nothing was refused");
}

#[tokio::test]
async fn a_session_publishes_a_thousand_messages_a_second() {
    let (bench, address) = limited(2, json!({})).await;
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = refused.clone();
    let tell = Arc::new(move |packet: Refused| told.lock().push(packet.reason));
    bench.app.broker.on_refused(tell);
    let (mut one, mut other) = (client(address, 5, "a").await, client(address, 5, "b").await);
    assert_eq!(until_refused(&mut one, 2).await, 1_000);
    let reason = "The rate of 1000 PUBLISH per session per second is exceeded by nsname/a";
    assert!(refused.lock()[0].starts_with(reason), "{refused:?}");
    assert_eq!(acknowledged(&mut other, "t", 2, "x").await & 0x80, 0);
    a_second_later(&bench);
    assert_eq!(acknowledged(&mut one, "t", 2, "x").await & 0x80, 0);
}

#[tokio::test]
async fn a_retained_publish_counts_as_two() {
    let (_bench, address) = limited(2, json!({})).await;
    let mut wire = client(address, 5, "a").await;
    assert_eq!(until_refused(&mut wire, 3).await, 500);
}

#[tokio::test]
async fn publishes_over_http_count_toward_those_over_mqtt() {
    let (bench, address) = limited(1, json!({"auth": "off"})).await;
    let mut wire = client(address, 5, "a").await;
    for _ in 0..400 {
        let ask = Ask::post("/mqtt/messages?topic=t&api-version=x").body("x");
        assert_eq!(bench.ask(ask).await.status, 204);
    }
    assert_eq!(until_refused(&mut wire, 2).await, 600);
}

#[tokio::test]
async fn a_megabyte_a_second_is_what_a_session_may_send() {
    let (_bench, address) = limited(2, json!({})).await;
    let mut wire = client(address, 5, "a").await;
    let half = "x".repeat(500 * 1024);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(acknowledged(&mut wire, "t", 2, &half).await & 0x97);
    }
    assert_eq!(codes[2], QUOTA);
    assert!(codes[..2].iter().all(|code| code & 0x80 == 0), "{codes:?}");
}

#[tokio::test]
async fn who_cannot_be_told_of_a_rate_is_disconnected_for_it() {
    let (bench, address) = limited(2, json!({})).await;
    for (version, flags, name) in [(4, 2, "a"), (5, 0, "b")] {
        let mut wire = client(address, version, name).await;
        let bytes = wire.publish_bytes("t", "x", flags, &[]);
        wire.send(&bytes.repeat(1_001)).await;
        if version == 5 {
            assert_eq!(wire.disconnected().await, QUOTA);
        } else {
            wire.ended().await;
        }
    }
    let target =
        "/topics/life/eventsubscriptions/s:receive?api-version=x&maxEvents=9&maxWaitTime=10";
    let ask = Ask::post(target).header("aeg-sas-key", "dGVzdGtleQ==");
    let mut reasons = Vec::new();
    while reasons.len() < 2 {
        let told = bench.json(200, ask.clone()).await;
        let told = told["value"].as_array().unwrap().iter();
        let ended = told.filter_map(|one| one["event"]["data"]["disconnectionReason"].as_str());
        reasons.extend(ended.map(str::to_owned));
    }
    assert_eq!(reasons, ["QuotaExceeded", "QuotaExceeded"]);
}

#[tokio::test]
async fn a_session_subscribes_and_unsubscribes_five_times_a_second() {
    let (bench, address) = limited(1, json!({})).await;
    let mut wire = client(address, 5, "a").await;
    for n in 0..3 {
        // How many filters a packet has does not count.
        let filter = text(format!("s/{n}"));
        wire.send(&packet(0x82, &[&[0, 9, 0], &filter, &[1], &filter, &[1]]))
            .await;
        assert_eq!(wire.answer().await.1[3..], [1, 1]);
    }
    wire.unsubscribe("s/0").await;
    wire.unsubscribe("s/1").await;
    assert_eq!(wire.subscribe("s/9", 1).await, QUOTA);
    assert_eq!(bench.app.broker.subscriptions().await.len(), 1);
    a_second_later(&bench);
    assert_eq!(wire.subscribe("s/9", 1).await, 1);
    for _ in 0..4 {
        assert_eq!(wire.subscribe("s/9", 1).await, 1);
    }
    wire.send(&packet(0xa2, &[&[0, 8, 0], &text("s/9")])).await;
    let (first, body) = wire.answer().await;
    assert_eq!((first, body.last()), (0xb0, Some(&0x83)));
    let mut old = client(address, 4, "b").await;
    for _ in 0..5 {
        assert_eq!(old.subscribe("s", 1).await, 1);
    }
    assert_eq!(old.subscribe("s", 1).await, 0x80);
    // 3.1.1 has no answer that refuses an UNSUBSCRIBE: none comes before that of the ping.
    old.send(&packet(0xa2, &[&[0, 8], &text("s")])).await;
    old.send(&[0xc0, 0]).await;
    assert_eq!(old.answer().await.0, 0xd0);
}

#[tokio::test]
async fn a_session_connects_once_a_second() {
    let (bench, address) = limited(1, json!({})).await;
    let first = client(address, 5, "a").await;
    for (version, code) in [(5, 0x9f), (4, 3)] {
        assert_eq!(connect(address, version, "a").await.1.code, code);
    }
    let _other = client(address, 5, "b").await;
    a_second_later(&bench);
    let _again = client(address, 5, "a").await;
    first.leave().await;
}

#[tokio::test]
async fn without_throughput_units_there_is_no_rate() {
    let (_bench, address) = limited(0, json!({})).await;
    let mut wire = client(address, 5, "a").await;
    for _ in 0..6 {
        assert_eq!(wire.subscribe("s", 1).await, 1);
        wire.unsubscribe("s").await;
        wire = client(address, 5, "a").await;
    }
}

/// Retains messages on `r/0` to `r/{count - 1}` without anybody's rate.
async fn retain(bench: &Bench, count: usize, expiry: Option<u32>) {
    for n in 0..count {
        let publication = Publication {
            topic: TopicName::parse(format!("r/{n}")).unwrap(),
            payload: "x".into(),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: Properties {
                message_expiry_interval: expiry,
                ..Properties::default()
            },
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Azure),
                client_id: None,
                request: None,
            },
        };
        let published = bench.app.broker.publish_in("nsname", publication).await;
        published.unwrap();
    }
}

fn over_http(topic: &str, body: &str) -> Ask {
    Ask::post(&format!(
        "/mqtt/messages?topic={topic}&retain=1&api-version=x"
    ))
    .body(body)
}

#[tokio::test]
async fn ten_thousand_messages_are_retained_and_no_more() {
    let (bench, address) = limited(1, json!({"auth": "off"})).await;
    retain(&bench, 10_000, None).await;
    let mut wire = client(address, 5, "a").await;
    assert_eq!(acknowledged(&mut wire, "r/new", 3, "x").await, QUOTA);
    let refused = bench.json(403, over_http("r/new", "x")).await;
    assert_eq!(refused["error"]["code"], "QuotaExceeded");
    let mut old = client(address, 4, "b").await;
    let bytes = old.publish_bytes("r/new", "x", 3, &[]);
    old.send(&bytes).await;
    old.ended().await;
    // One that is there is replaced, and one that goes makes room.
    assert_eq!(acknowledged(&mut wire, "r/7", 3, "y").await & 0x80, 0);
    assert_eq!(bench.ask(over_http("r/7", "z")).await.status, 204);
    assert_eq!(acknowledged(&mut wire, "r/8", 3, "").await & 0x80, 0);
    assert_eq!(acknowledged(&mut wire, "r/new", 3, "x").await & 0x80, 0);
    assert_eq!(bench.app.broker.retained().len(), 10_000);
    assert_eq!(acknowledged(&mut wire, "r/newer", 2, "x").await & 0x80, 0);
}

#[tokio::test]
async fn a_retained_message_that_has_expired_makes_room() {
    let (bench, address) = limited(1, json!({"auth": "off"})).await;
    retain(&bench, 10_000, Some(5)).await;
    let mut wire = client(address, 5, "a").await;
    assert_eq!(acknowledged(&mut wire, "r/new", 3, "x").await, QUOTA);
    let later = SignedDuration::from_secs(5);
    bench.app.clock.advance(later).unwrap();
    assert_eq!(acknowledged(&mut wire, "r/new", 3, "x").await & 0x80, 0);
    assert_eq!(bench.ask(over_http("r/newer", "x")).await.status, 204);
}

#[tokio::test]
async fn a_retained_message_of_3_1_1_lives_for_a_year() {
    let (bench, address) = limited(0, json!({"auth": "off"})).await;
    let mut old = client(address, 4, "a").await;
    old.publish("r/old", "x", 3, &[]).await;
    let mut new = client(address, 5, "b").await;
    let expiry = |seconds: u32| [&[0x02][..], &seconds.to_be_bytes()].concat();
    new.publish("r/never", "x", 3, &[]).await;
    new.publish("r/longest", "x", 3, &expiry(u32::MAX)).await;
    new.publish("r/soon", "x", 3, &expiry(100)).await;
    let year = SignedDuration::from_hours(24 * 365);
    for (topic, wanted) in [
        ("r/old", Some("2027-11-21T22:51:00Z")),
        ("r/longest", Some("2027-11-21T22:51:00Z")),
        ("r/soon", Some("2026-11-21T22:52:40Z")),
        ("r/never", None),
    ] {
        let answer = bench.ask(Ask::get(&format!("{RETAINED}{topic}"))).await;
        assert_eq!(answer.header_value("x-ms-mqtt-expiry"), wanted, "{topic}");
    }
    bench.app.clock.advance(year).unwrap();
    for (topic, status) in [("r/old", 404), ("r/longest", 404), ("r/never", 200)] {
        let answer = bench.ask(Ask::get(&format!("{RETAINED}{topic}"))).await;
        assert_eq!(answer.status, status, "{topic}");
    }
}

#[tokio::test]
async fn times_of_an_unchanged_message_stay_and_are_whole_seconds() {
    let bench = bench(json!({"auth": "off"})).await;
    let ask = over_http("r", "x").header("mqtt-message-expiry", "100");
    let half = SignedDuration::from_millis(1_500);
    bench.app.clock.advance(half).unwrap();
    assert_eq!(bench.ask(ask).await.status, 204);
    for _ in 0..4 {
        let list = "/mqtt/retainedMessages?topicFilter=%23&api-version=x";
        let page = bench.json(200, Ask::get(list)).await;
        let row = &page["retainedMessages"][0];
        assert_eq!(row["lastModifiedTime"], "2026-11-21T22:51:01Z");
        assert_eq!(row["expiry"], "2026-11-21T22:52:41Z");
        let answer = bench.ask(Ask::get(&format!("{RETAINED}r"))).await;
        for (name, wanted) in [
            ("x-ms-mqtt-last-modified", "2026-11-21T22:51:01Z"),
            ("x-ms-mqtt-expiry", "2026-11-21T22:52:41Z"),
        ] {
            assert_eq!(answer.header_value(name), Some(wanted));
        }
        let little = SignedDuration::from_millis(700);
        bench.app.clock.advance(little).unwrap();
    }
}

#[tokio::test]
async fn unacknowledged_deliveries_are_as_many_as_is_set() {
    let (_bench, address) = limited(0, json!({"outbound_in_flight": 20})).await;
    let mut reader = client(address, 5, "a").await;
    assert_eq!(reader.subscribe("t", 1).await, 1);
    let mut writer = client(address, 5, "b").await;
    for n in 0..30 {
        writer.publish("t", &n.to_string(), 2, &[]).await;
    }
    let mut last = 0;
    for n in 0..20 {
        let arrived = reader.take().await;
        assert_eq!(arrived.payload, n.to_string());
        last = arrived.id;
    }
    // Nothing more comes before an acknowledgement: the answer to a ping is next.
    reader.send(&[0xc0, 0]).await;
    assert_eq!(reader.read().await.unwrap().0, 0xd0);
    reader.send(&packet(PUBACK, &[&last.to_be_bytes()])).await;
    assert_eq!(reader.take().await.payload, "20");
}
