//! Packets that the standard allows nobody to send, each beside its nearest neighbour that it
//! does: MQTT 5 is told why the connection ends, 3.1.1 closes it, the journal has it in words.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mqttstack_base::clock::Clock;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Transport;
use mqttstack_broker::dialect::Refused;
use mqttstack_broker::{Broker, Settings};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{Connect, Wire, packet, properties, text};

struct Bench {
    _broker: Broker,
    address: SocketAddr,
    refused: Arc<Mutex<Vec<Refused>>>,
}

async fn bench() -> Bench {
    let sink = Arc::new(|_| {});
    let broker = Broker::start(Settings::default(), Clock::real(), Ids::new(Some(1)), sink).await;
    let refused: Arc<Mutex<Vec<_>>> = Arc::default();
    let tell = refused.clone();
    broker.on_refused(Arc::new(move |packet| tell.lock().push(packet)));
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = broker.listen(Transport::Tcp, anywhere).unwrap();
    Bench {
        _broker: broker,
        address,
        refused,
    }
}

const ID: &[u8] = &[0, 1];

fn publish(version: u8, first: u8, topic: impl AsRef<[u8]>, own: &[u8]) -> Vec<u8> {
    let id = if first & 6 == 0 { &[] } else { ID };
    let own = if version == 5 {
        properties(own)
    } else {
        vec![]
    };
    packet(first, &[&text(topic), id, &own, b"x"])
}

fn subscribe(version: u8, first: u8, filter: &str, options: u8) -> Vec<u8> {
    let own: &[u8] = if version == 5 { &[0] } else { &[] };
    packet(first, &[ID, own, &text(filter), &[options]])
}

/// What ends the connection in both versions: the packet's name, its bytes, the code in 5.
fn forbidden(version: u8) -> Vec<(&'static str, Vec<u8>, u8)> {
    let own: &[u8] = if version == 5 { &[0] } else { &[] };
    let connect = Connect::new(version, "c");
    vec![
        ("PUBLISH", publish(version, 0x32, "a/#", &[]), 0x90),
        ("PUBLISH", publish(version, 0x30, "a/+/b", &[]), 0x90),
        ("PUBLISH", publish(version, 0x32, "a\0b", &[]), 0x81),
        ("PUBLISH", publish(version, 0x32, b"a\xff", &[]), 0x81),
        ("PUBLISH", publish(version, 0x36, "a", &[]), 0x81),
        ("PUBLISH", publish(version, 0x38, "a", &[]), 0x81),
        ("SUBSCRIBE", subscribe(version, 0x80, "a", 1), 0x81),
        ("SUBSCRIBE", subscribe(version, 0x82, "a\0", 1), 0x81),
        ("SUBSCRIBE", subscribe(version, 0x82, "a", 3), 0x81),
        ("SUBSCRIBE", subscribe(version, 0x82, "a", 0x41), 0x81),
        ("SUBSCRIBE", packet(0x82, &[ID, own]), 0x82),
        ("UNSUBSCRIBE", packet(0xa0, &[ID, own, &text("a")]), 0x81),
        ("PUBREL", packet(0x60, &[ID]), 0x81),
        ("PINGREQ", packet(0xc0, &[&[1]]), 0x81),
        ("PINGREQ", packet(0xc1, &[]), 0x81),
        ("DISCONNECT", packet(0xe1, &[]), 0x81),
        ("RESERVED", packet(0x00, &[]), 0x81),
        ("CONNECT", connect.bytes(), 0x82),
        ("CONNACK", packet(0x20, &[&[0, 0], own]), 0x82),
        ("SUBACK", packet(0x90, &[ID, own, &[0]]), 0x82),
        ("UNSUBACK", packet(0xb0, &[ID, own]), 0x82),
        ("PINGRESP", packet(0xd0, &[]), 0x82),
    ]
}

async fn ends(bench: &Bench, version: u8, name: &str, bytes: &[u8], code: u8) {
    let mut client = Wire::open(bench.address, version, "c").await;
    client.send(bytes).await;
    if version == 5 {
        assert_eq!(client.disconnected().await, code, "{bytes:02x?}");
    } else {
        client.ended().await;
    }
    let refusal = bench.refused.lock().pop().expect("the journal is told");
    assert_eq!((refusal.packet, refusal.code), (name, code), "{bytes:02x?}");
    assert!(!refusal.reason.is_empty());
    assert_eq!(refusal.client_id, "c");
}

#[tokio::test]
async fn a_packet_that_nobody_may_send_ends_the_connection_with_the_reason() {
    let bench = bench().await;
    for version in [4, 5] {
        for (name, bytes, code) in forbidden(version) {
            ends(&bench, version, name, &bytes, code).await;
        }
    }
    ends(&bench, 4, "AUTH", &packet(0xf0, &[]), 0x81).await;
    for (name, bytes, code) in [
        ("PUBLISH", publish(5, 0x32, "a", &[0x0b, 1]), 0x82),
        ("PUBLISH", publish(5, 0x32, "a", &[0x08, 0, 1, b'#']), 0x82),
        ("SUBSCRIBE", subscribe(5, 0x82, "$share/g/a", 5), 0x82),
    ] {
        ends(&bench, 5, name, &bytes, code).await;
    }
}

#[tokio::test]
async fn their_nearest_neighbours_are_taken() {
    let bench = bench().await;
    for version in [4, 5] {
        let mut client = Wire::open(bench.address, version, "c").await;
        for (bytes, answer) in [
            (publish(version, 0x3a, "a", &[]), 0x40),
            (publish(version, 0x3c, "a", &[]), 0x50),
            (packet(0x62, &[ID]), 0x70),
            (subscribe(version, 0x82, "a/#", 1), 0x90),
            (subscribe(version, 0x82, "$share/g/a/+", 1), 0x90),
            (packet(0xc0, &[]), 0xd0),
        ] {
            client.send(&bytes).await;
            assert_eq!(client.answer().await.0, answer, "{bytes:02x?}");
        }
    }
    let mut client = Wire::open(bench.address, 5, "c").await;
    for (bytes, answer) in [
        (publish(5, 0x32, "a", &[0x08, 0, 1, b'r']), 0x40),
        (subscribe(5, 0x82, "a", 5), 0x90),
    ] {
        client.send(&bytes).await;
        assert_eq!(client.answer().await.0, answer, "{bytes:02x?}");
    }
    assert!(bench.refused.lock().is_empty());
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_alone_and_the_journal_says_why() {
    let bench = bench().await;
    let wrong = [
        "a#",
        "#/a",
        "a/+b",
        "$share/g/a#",
        "$share//a",
        "$share/g+/a",
        "$share/#/a",
        "",
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
    ];
    for filter in &wrong {
        let both = |own| packet(0x82, &[ID, own, &text("a"), &[1], &text(filter), &[1]]);
        let mut client = Wire::open(bench.address, 5, "c").await;
        client.send(&both(&[0])).await;
        assert_eq!(
            client.answer().await,
            (0x90, vec![0, 1, 0, 1, 0x8f]),
            "{filter}"
        );
        let mut client = Wire::open(bench.address, 4, "c").await;
        client.send(&both(&[])).await;
        assert_eq!(
            client.answer().await,
            (0x90, vec![0, 1, 1, 0x80]),
            "{filter}"
        );
        let refused = std::mem::take(&mut *bench.refused.lock());
        let told: Vec<_> = refused.iter().map(|it| (it.packet, it.code)).collect();
        assert_eq!(told, [("SUBSCRIBE", 0x8f); 2], "{filter}");
        assert!(refused.iter().all(|it| it.topic.as_deref() == Some(filter)));
        assert!(refused.iter().all(|it| !it.reason.is_empty()));
    }
}

#[tokio::test]
async fn a_password_in_a_second_connect_is_told_to_nobody() {
    let bench = bench().await;
    let payload = [text("c"), text("user"), text("hunter2")].concat();
    let again = packet(0x10, &[&text("MQTT"), &[5, 0xc2, 0, 0, 0], &payload]);
    let mut client = Wire::open(bench.address, 5, "c").await;
    client.send(&again).await;
    let (first, words) = client.read().await.unwrap();
    assert_eq!((first, words[0]), (0xe0, 0x82));
    let told = String::from_utf8_lossy(&words).into_owned();
    assert!(told.contains("second CONNECT"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let refusal = bench.refused.lock().pop().unwrap();
    assert!(!format!("{refusal:?}").contains("hunter2"));
}

/// What is answered to a CONNECT with these flags, properties and payload: the code.
async fn connect(bench: &Bench, version: u8, flags: u8, own: &[u8], rest: &[&[u8]]) -> Option<u8> {
    let own = if version == 5 {
        properties(own)
    } else {
        vec![]
    };
    let rest: Vec<u8> = rest.iter().flat_map(text).collect();
    let bytes = packet(
        0x10,
        &[&text("MQTT"), &[version, flags, 0, 60], &own, &rest],
    );
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    answer.get(3).copied()
}

#[tokio::test]
async fn a_connect_that_nobody_may_send_is_refused() {
    let bench = bench().await;
    for (flags, rest, taken) in [
        (0x06, &[&b"c"[..], b"t", b"x"][..], true),
        (0x06, &[b"c", b"t/#", b"x"], false),
        (0x06, &[b"c", b"", b"x"], false),
        (0xc2, &[b"c", b"user", b"password"], true),
        (0x42, &[b"c", b"password"], false),
        (0x0a, &[b"c"], false),
        (0x02, &[b"c\0"], false),
    ] {
        let answer = connect(&bench, 4, flags, &[], rest).await;
        assert_eq!(answer, taken.then_some(0), "{flags:02x} {rest:?}");
        let told = bench.refused.lock().pop();
        assert_eq!(told.is_some_and(|told| told.code != 0), !taken);
    }
    for (flags, own, rest, code) in [
        (0x42, &[][..], &[&b"c"[..], b"password"][..], 0),
        (0x0a, &[], &[b"c"], 0x81),
        (0x02, &[], &[b"c\0"], 0x81),
        (0x02, &[0x16, 0, 1, b'x'], &[b"c"], 0x82),
        (0x02, &[0x21, 0, 0], &[b"c"], 0x82),
    ] {
        let answer = connect(&bench, 5, flags, own, rest).await;
        assert_eq!(answer, Some(code), "{flags:02x} {rest:?}");
        assert_eq!(bench.refused.lock().pop().is_some(), code != 0);
    }
    let mut willing = Connect::new(5, "c");
    willing.will = Some((0, vec![], "t/+".into(), "gone".into()));
    let (_, connack) = Wire::connect(bench.address, &willing).await;
    assert_eq!(connack.code, 0x90);
}
