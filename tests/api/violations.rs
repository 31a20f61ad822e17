//! What the MQTT standards forbid: each packet ends its connection, in MQTT 5 with the reason code,
//! and the journal has the reason in words. Nobody else notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mqttstack::broker::dialect::Refused;
use mqttstack::broker::message::Transport;
use mqttstack::broker::{Broker, Settings};
use mqttstack::clock::Clock;
use mqttstack::ids::Ids;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::wire::{Connect, Wire, packet, properties, text};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_FILTER_INVALID: u8 = 0x8f;
const TOPIC_NAME_INVALID: u8 = 0x90;

struct Bench {
    // Its listeners close with it.
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

impl Bench {
    /// A client that sends this packet must be disconnected, and the journal must say why.
    async fn ends(&self, version: u8, bytes: &[u8], code: u8, words: &str) {
        let mut client = Wire::open(self.address, version, "violator").await;
        client.send(bytes).await;
        if version == 5 {
            assert_eq!(client.disconnected().await, code, "{words}: {bytes:x?}");
        } else {
            client.ended().await;
        }
        let refused = self.refused.lock().pop().expect("the journal has it");
        assert_eq!(refused.client_id, "violator");
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.reason.contains(words), "{refused:?}");
    }

    /// What the broker answers to these first bytes.
    async fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = vec![];
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection stays open");
        answer
    }
}

const ID: [u8; 2] = [0, 7];

fn none(version: u8) -> &'static [u8] {
    if version == 5 { &[0] } else { &[] }
}

#[tokio::test]
async fn a_publish_to_what_is_no_topic_name_ends_the_connection() {
    let bench = bench().await;
    let mut other = Wire::open(bench.address, 5, "other").await;
    other.subscribe("#", 0).await;
    for version in [3, 4, 5] {
        let none = none(version);
        let topics = [
            ("a/+/b", TOPIC_NAME_INVALID, "wildcards"),
            ("#", TOPIC_NAME_INVALID, "wildcards"),
            ("a\0b", MALFORMED, "null"),
        ];
        for (topic, code, words) in topics {
            let bytes = packet(0x30, &[&text(topic), none, b"x"]);
            bench.ends(version, &bytes, code, words).await;
            let bytes = packet(0x32, &[&text(topic), &ID, none, b"x"]);
            bench.ends(version, &bytes, code, words).await;
        }
        let bytes = packet(0x30, &[&text(b"a\xff"), none, b"x"]);
        bench.ends(version, &bytes, MALFORMED, "UTF-8").await;
    }
    let bytes = packet(0x30, &[&text(""), b"x"]);
    bench.ends(4, &bytes, TOPIC_NAME_INVALID, "empty").await;
    other.publish("own", "heard", 0, &[]).await;
    assert_eq!(other.receive().await.payload, "heard");
}

#[tokio::test]
async fn a_publish_with_what_only_others_have_ends_the_connection() {
    let bench = bench().await;
    for version in [4, 5] {
        let none = none(version);
        let third = packet(0x36, &[&text("a"), &ID, none]);
        bench.ends(version, &third, MALFORMED, "QoS 3").await;
        let duplicate = packet(0x38, &[&text("a"), none]);
        bench
            .ends(version, &duplicate, MALFORMED, "duplicate")
            .await;
    }
    let identified = packet(0x30, &[&text("a"), &properties(&[0x0b, 1])]);
    let words = "subscription identifier";
    bench.ends(5, &identified, PROTOCOL_ERROR, words).await;
    let respond = properties(&[&[0x08][..], &text("a/#")].concat());
    let respond = packet(0x30, &[&text("a"), &respond]);
    bench
        .ends(5, &respond, TOPIC_NAME_INVALID, "response topic")
        .await;
}

#[tokio::test]
async fn a_subscribe_with_reserved_options_or_no_filter_ends_the_connection() {
    let bench = bench().await;
    for version in [4, 5] {
        let none = none(version);
        for options in [3, 0x40, 0x80, 0xff] {
            let bytes = packet(0x82, &[&ID, none, &text("a"), &[options]]);
            bench.ends(version, &bytes, MALFORMED, "options").await;
        }
        let empty = packet(0x82, &[&ID, none]);
        bench
            .ends(version, &empty, PROTOCOL_ERROR, "no filter")
            .await;
        let null = packet(0x82, &[&ID, none, &text("a\0b"), &[0]]);
        bench.ends(version, &null, MALFORMED, "null").await;
    }
    // What MQTT 5 has options for, 3.1.1 reserves.
    let bytes = packet(0x82, &[&ID, &text("a"), &[0x04]]);
    bench.ends(4, &bytes, MALFORMED, "options").await;
    let shared = packet(0x82, &[&ID, &[0], &text("$share/g/a"), &[0x05]]);
    bench.ends(5, &shared, PROTOCOL_ERROR, "shared").await;
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_beside_one_that_is() {
    let bench = bench().await;
    for version in [4, 5] {
        let mut client = Wire::open(bench.address, version, "filters").await;
        let refused = if version == 5 {
            TOPIC_FILTER_INVALID
        } else {
            0x80
        };
        for filter in [
            "a/#/b",
            "a+",
            "#/a",
            "$share//a",
            "$share/g+/a",
            "$share/g/a#",
        ] {
            assert_eq!(client.subscribe(filter, 1).await, refused, "{filter}");
            let told = bench.refused.lock().pop().expect("the journal has it");
            assert_eq!(told.topic.as_deref(), Some(filter));
        }
        assert_eq!(client.subscribe("a/+/#", 1).await, 1);
        assert_eq!(client.subscribe("$share/g/a/#", 1).await, 1);
        client.leave().await;
    }
}

#[tokio::test]
async fn a_packet_that_no_client_sends_ends_the_connection() {
    let bench = bench().await;
    for version in [4, 5] {
        let none = none(version);
        let server = [
            packet(0x20, &[&[0, 0], none]),
            packet(0x90, &[&ID, none, &[0]]),
            packet(0xb0, &[&ID, none]),
            packet(0xd0, &[]),
        ];
        for bytes in server {
            bench
                .ends(version, &bytes, PROTOCOL_ERROR, "only a server")
                .await;
        }
        let again = Connect::new(version, "violator").bytes();
        bench
            .ends(version, &again, PROTOCOL_ERROR, "second CONNECT")
            .await;
        bench
            .ends(version, &packet(0x00, &[]), MALFORMED, "type 0")
            .await;
        let flags = [
            packet(0x60, &[&ID]),
            packet(0x80, &[&ID, none, &text("a"), &[0]]),
            packet(0xa0, &[&ID, none, &text("a")]),
            packet(0xc1, &[]),
            packet(0xe8, &[]),
        ];
        for bytes in flags {
            bench.ends(version, &bytes, MALFORMED, "flags").await;
        }
        let ping = packet(0xc0, &[b"x"]);
        bench.ends(version, &ping, MALFORMED, "body").await;
    }
    bench.ends(4, &packet(0xf0, &[]), MALFORMED, "AUTH").await;
}

#[tokio::test]
async fn a_connect_whose_will_has_no_topic_name_is_refused() {
    let bench = bench().await;
    for (topic, code) in [
        ("a/#", TOPIC_NAME_INVALID),
        ("a\0", MALFORMED),
        ("", TOPIC_NAME_INVALID),
    ] {
        for version in [3, 4, 5] {
            let mut connect = Connect::new(version, "will");
            connect.will = Some((0, vec![], topic.into(), "gone".into()));
            let answer = bench.answer(&connect.bytes()).await;
            if version == 5 {
                assert_eq!((answer[0], answer[3]), (0x20, code), "{answer:x?}");
            } else {
                assert_eq!(answer, b"", "MQTT 3.1.1 section 4.8");
            }
            let told = bench.refused.lock().pop().expect("the journal has it");
            assert!(told.reason.contains("will topic"), "{told:?}");
        }
    }
}

#[tokio::test]
async fn authentication_data_needs_a_method() {
    let bench = bench().await;
    let mut connect = Connect::new(5, "data");
    connect.properties = [&[0x16][..], &text("token")].concat();
    let answer = bench.answer(&connect.bytes()).await;
    assert_eq!((answer[0], answer[3]), (0x20, PROTOCOL_ERROR));
}
