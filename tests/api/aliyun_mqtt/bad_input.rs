//! What a broken or hostile client does, byte by byte: each gets the vendor's reaction and a reason
//! in the journal, and a bystander of the same instance notices nothing.

use tokio::io::AsyncWriteExt;

use super::*;

/// A client that minds its own business.
struct Bystander(Device);

impl Bystander {
    async fn of(bench: &Bench) -> Self {
        let mut device = bench.device("GID_test@@@bystander").await;
        assert_eq!(device.subscribe("TopicA/#", 1).await, [1]);
        Self(device)
    }

    /// That it is connected as before, and that the first message it sees since is its own.
    async fn is_undisturbed(&mut self) {
        self.0.publish("TopicA/own", 0, false, "mine").await;
        let received = self.0.receive().await;
        assert_eq!(
            (&*received.topic, &received.payload[..]),
            ("TopicA/own", &b"mine"[..])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_revoked_tokens_are_refused() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    let expired = bench.token("TopicA", "R,W", 60).await;
    let revoked = bench.token("TopicA", "R,W", 3_600).await;
    let good = bench.token("TopicA", "R", 3_600).await;
    bench.ok("RevokeToken", &[("Token", &revoked)]).await;
    let clock = bench.emulator.clock();
    clock.advance(SignedDuration::from_secs(60)).unwrap();
    for (password, reason) in [
        (
            format!("RW|{expired}"),
            "the RW token is not good: it expired at 2026-11-21T22:52:00Z",
        ),
        (
            format!("RW|{revoked}"),
            "the RW token is not good: it was revoked",
        ),
        // Every token must be good.
        (
            format!("R|{good}|RW|{revoked}"),
            "the RW token is not good: it was revoked",
        ),
        (format!("W|{good}"), "it is presented as W and allows R"),
        (good.clone(), "not pairs of type and token"),
        (format!("R|{good}|"), "not pairs of type and token"),
        (format!("|R|{good}|W"), "is none of R, W and RW"),
        (String::new(), "not pairs of type and token"),
    ] {
        let login = ("Token|testid|post-cn-test0001", &*password);
        for (version, code) in [(4, 4), (5, 0x86)] {
            let (mut wire, connack) = bench.knock(version, CLIENT, login).await;
            assert_eq!(connack.code, code, "{password}");
            wire.ended().await;
            let last = bench.last_reason();
            assert!(last.contains(reason), "{last}");
            assert!(!last.contains(&good));
        }
        bystander.is_undisturbed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_user_names_are_refused() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    for username in [
        "Signature|",
        "Signature||",
        "Signature|testid",
        "Signature|testid|",
        "Signature||post-cn-test0001",
        "Signature|testid|post-cn-test0001|",
        "SIGNATURE|testid|post-cn-test0001",
        "Token|testid",
        "DeviceCredential|x",
        "Signature|testid|post cn test0001",
        "Signature|testid|../etc",
        &format!("Signature|testid|{}", "i".repeat(65)),
    ] {
        for (version, code) in [(4, 4), (5, 0x86)] {
            let (mut wire, connack) = bench.knock(version, CLIENT, (username, PASSWORD)).await;
            assert_eq!(connack.code, code, "{username}");
            wire.ended().await;
        }
        assert!(!bench.last_reason().is_empty());
        bystander.is_undisturbed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_ids_too_long_or_without_the_separator_are_refused() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    for client in [
        "dev1",
        "GID_test@@dev1",
        "GID_test@@@",
        "@@@dev1",
        &format!("GID_test@@@{}", "d".repeat(54)),
        &format!("GID_test@@@{}", "\u{8bbe}".repeat(54)),
        &"x".repeat(60_000),
    ] {
        let password = sign("testsecret", client);
        for (version, code) in [(4, 2), (5, 0x85)] {
            let (mut wire, connack) = bench.knock(version, client, (USERNAME, &password)).await;
            assert_eq!(connack.code, code, "{client:.80}");
            wire.ended().await;
        }
        assert!(bench.last_reason().contains("client id"));
        bystander.is_undisturbed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_of_one_instance_are_no_good_in_another() {
    let mut settings = strict();
    settings.instances.push(Instance {
        groups: vec!["GID_test".to_owned()],
        topics: vec!["TopicA".to_owned()],
        device_credentials: vec![DeviceCredential {
            client_id: CLIENT.to_owned(),
            access_key_id: "DC.other".to_owned(),
            access_key_secret: Secret::new("DC.othersecret"),
        }],
        ..Instance::empty("post-cn-other")
    });
    let bench = bench(settings).await;
    let mut bystander = Bystander::of(&bench).await;
    let token = bench.token("TopicA", "R", 3_600).await;
    let of_device = sign("DC.othersecret", CLIENT);
    let of_token = format!("R|{token}");
    for (username, password, code, reason) in [
        (
            "Signature|testid|nosuch",
            PASSWORD,
            5,
            "instance \"nosuch\" is not configured",
        ),
        (
            "Token|testid|post-cn-other",
            &of_token,
            4,
            "applied for with instance \"post-cn-test0001\"",
        ),
        (
            "DeviceCredential|DC.other|post-cn-test0001",
            &of_device,
            4,
            "has no device credential in instance",
        ),
    ] {
        let (mut wire, connack) = bench.knock(4, CLIENT, (username, password)).await;
        assert_eq!(connack.code, code, "{username}");
        wire.ended().await;
        let last = bench.last_reason();
        assert!(last.contains(reason), "{last}");
        bystander.is_undisturbed().await;
    }
    let other = "DeviceCredential|DC.other|post-cn-other";
    bench.visit(CLIENT, other, &of_device).await;
}

/// A PUBLISH with these bytes as its topic.
fn publish(version: u8, first: u8, topic: &[u8], payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if first & 0x06 == 0 { &[] } else { &[0, 7] };
    let own: &[u8] = if version == 5 { &[0] } else { &[] };
    wire::packet(first, &[&wire::text(topic), id, own, payload])
}

fn subscribe(version: u8, filter: &[u8], options: u8) -> Vec<u8> {
    let own: &[u8] = if version == 5 { &[0] } else { &[] };
    wire::packet(0x82, &[&[0, 9], own, &wire::text(filter), &[options]])
}

/// Sends this in the middle of a session, which must end it.
async fn ends(bench: &Bench, version: u8, bytes: &[u8]) {
    let mut wire = bench.wire(version, CLIENT).await;
    wire.send(bytes).await;
    wire.ended().await;
    bench.offline(CLIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_no_utf_8_end_the_connection() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    for version in [3, 4, 5] {
        for topic in [
            &b"TopicA/\xff"[..],
            b"TopicA/\xc0\x80",
            b"TopicA/\xed\xa0\x80",
            b"TopicA/\xe4\xbd",
        ] {
            for first in [0x30, 0x32, 0x34] {
                ends(&bench, version, &publish(version, first, topic, b"x")).await;
            }
            ends(&bench, version, &subscribe(version, topic, 1)).await;
            bystander.is_undisturbed().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quality_of_service_that_does_not_exist_ends_the_connection() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    for version in [3, 4, 5] {
        ends(&bench, version, &publish(version, 0x36, b"TopicA/x", b"x")).await;
        ends(&bench, version, &subscribe(version, b"TopicA/x", 3)).await;
        bystander.is_undisturbed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_the_product_does_not_have_end_the_connection() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    let parent = "P".repeat(65);
    let long = format!("TopicA/{}", "x".repeat(122));
    for version in [4, 5] {
        for topic in [
            "", "/x", "TopicB", "Topic A", "$SYS/x", "$share", "TopicA/+", "TopicA/#", &parent,
            &long,
        ] {
            for first in [0x30, 0x32, 0x34] {
                let bytes = publish(version, first, topic.as_bytes(), b"x");
                ends(&bench, version, &bytes).await;
            }
            bystander.is_undisturbed().await;
        }
        for filter in [
            "#",
            "+",
            "+/x",
            "/x",
            "TopicB",
            "TopicA#",
            "TopicA/#/x",
            "TopicA/x+",
            "$SYS/#",
            &parent,
            &long,
        ] {
            let bytes = subscribe(version, filter.as_bytes(), 1);
            ends(&bench, version, &bytes).await;
            bystander.is_undisturbed().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_64_kib_is_discarded_and_acknowledged() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    // 3.1.1 knows no longest packet.
    for (version, lengths) in [
        (3, &[65_537, 131_072][..]),
        (4, &[65_537, 900_000]),
        (5, &[65_537]),
    ] {
        let mut wire = bench.wire(version, CLIENT).await;
        for length in lengths {
            for flags in [0, 0x02, 0x04] {
                let payload = "x".repeat(*length);
                wire.publish("TopicA/x", &payload, flags, &[]).await;
                // QoS 0 is not acknowledged, this is.
                wire.send(&[0xc0, 0]).await;
                assert_eq!(wire.answer().await.0, 0xd0);
                bystander.is_undisturbed().await;
                let reason = format!("the payload has {length} bytes, 65536 are allowed");
                assert!(bench.last_reason().contains(&reason));
            }
        }
        let puback = wire.publish_bytes("TopicA/x", &"x".repeat(65_537), 0x02, &[]);
        wire.send(&puback).await;
        let (_, body) = wire.answer().await;
        assert!(body == [0, 7] || body == [0, 7, 0, 0], "{body:?}");
        let longest = "x".repeat(65_536);
        wire.publish("TopicA/x", &longest, 0x02, &[]).await;
        assert_eq!(bystander.0.receive().await.payload, longest);
        wire.leave().await;
        bench.offline(CLIENT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_nobody_may_send_end_the_connection() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    // Over what MQTT 5 clients are told, over what the broker takes of anybody.
    for (version, bytes) in [(5, 131_072), (5, 2_000_000), (4, 2_000_000)] {
        let mut wire = bench.wire(version, CLIENT).await;
        let publish = publish(version, 0x32, b"TopicA/x", &vec![b'x'; bytes]);
        // The broker may close before it has read all.
        let _ = wire.stream.write_all(&publish).await;
        wire.ended().await;
        bench.offline(CLIENT).await;
        bystander.is_undisturbed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connect_leaves_a_connected_client_alone() {
    let bench = bench(strict()).await;
    let mut device = bench.device(CLIENT).await;
    assert_eq!(device.subscribe("TopicA/#", 1).await, [1]);
    let connect = wire::Connect {
        username: Some(USERNAME.to_owned()),
        password: Some(PASSWORD.into()),
        will: Some((0x20, vec![], "TopicA/will".to_owned(), "gone".to_owned())),
        ..wire::Connect::new(5, CLIENT)
    };
    let (mut wire, connack) = Wire::connect(bench.mqtt, &connect).await;
    assert_eq!(connack.code, 0x9a);
    wire.ended().await;
    assert!(bench.last_reason().contains("the will is retained"));
    device.publish("TopicA/x", 1, false, "mine").await;
    assert_eq!(device.receive().await.payload, "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_violations_in_the_middle_of_a_session_end_it() {
    let bench = bench(strict()).await;
    let mut bystander = Bystander::of(&bench).await;
    let again = wire::Connect::new(4, CLIENT).bytes();
    for bytes in [
        &again[..],
        // Reserved packet types and flags, a packet that only a server sends.
        &[0x00, 0x00],
        &[0x31 | 0x06, 0x00],
        &[0x80, 0x00],
        &[0x83, 0x00],
        &[0x20, 0x02, 0, 0],
        &[0xd0, 0x01, 0],
        // A length that does not end, a string that is longer than its packet.
        &[0x30, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x02, 0xff, 0xff],
        // A SUBSCRIBE without a filter, a PUBLISH of QoS 1 with packet id 0.
        &[0x82, 0x02, 0, 9],
        &[0x32, 0x0a, 0, 6, b'T', b'o', b'p', b'i', b'c', b'A', 0, 0],
    ] {
        ends(&bench, 4, bytes).await;
        bystander.is_undisturbed().await;
    }
}
