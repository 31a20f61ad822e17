//! What a client is told that may not connect: every code in every version, and what no dialect
//! gets to see.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::exchange::Surface;
use mqttstack_broker::dialect::{Connect, ConnectCode, ConnectRefusal, Dialect, Grant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{bench, bench_of};
use crate::mqtt::PATIENCE;
use crate::wire::{self, Wire, packet, text};

/// Each code with what it is in 3.x and in 5 (MQTT 3.1.1 section 3.2.2.3, MQTT 5.0 section
/// 3.2.2.2).
const CODES: [(ConnectCode, u8, u8); 12] = [
    (ConnectCode::BadUserNameOrPassword, 4, 0x86),
    (ConnectCode::NotAuthorized, 5, 0x87),
    (ConnectCode::ClientIdentifierNotValid, 2, 0x85),
    (ConnectCode::ServerUnavailable, 3, 0x88),
    (ConnectCode::QuotaExceeded, 3, 0x97),
    (ConnectCode::ConnectionRateExceeded, 3, 0x9f),
    (ConnectCode::Banned, 5, 0x8a),
    (ConnectCode::BadAuthenticationMethod, 5, 0x8c),
    (ConnectCode::ImplementationSpecific, 5, 0x83),
    (ConnectCode::PacketTooLarge, 5, 0x95),
    (ConnectCode::RetainNotSupported, 5, 0x9a),
    (ConnectCode::QosNotSupported, 5, 0x9b),
];

/// Refuses everybody; the client id is the code's place in `CODES`.
struct Refusing;

#[async_trait]
impl Dialect for Refusing {
    fn surface(&self) -> Surface {
        Surface::Aliyun
    }

    fn claims(&self, _connect: &Connect) -> bool {
        true
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let place: usize = connect.client_id.parse().unwrap();
        Err(ConnectRefusal {
            code: CODES[place].0,
            reason: "the words of the dialect".into(),
        })
    }
}

#[tokio::test]
async fn every_code_is_on_the_wire_as_each_version_has_it_and_in_the_journal() {
    let bench = bench_of(Arc::new(Refusing)).await;
    for (place, (_, old, new)) in CODES.into_iter().enumerate() {
        for (version, code) in [(3, old), (4, old), (5, new)] {
            let connect = wire::Connect::new(version, &place.to_string());
            let (mut client, connack) = Wire::connect(bench.address, &connect).await;
            assert_eq!((connack.code, connack.session_present), (code, false));
            if version < 5 {
                assert!(connack.properties.is_empty());
            }
            client.ended().await;
            let refusal = bench.refusal();
            assert_eq!((refusal.packet, refusal.code), ("CONNECT", code));
            assert_eq!(refusal.surface, Some(Surface::Aliyun));
        }
    }
}

#[tokio::test]
async fn in_5_the_reason_comes_in_words_to_a_client_that_takes_them() {
    let bench = bench_of(Arc::new(Refusing)).await;
    let words = [&[0x1f][..], &text("the words of the dialect")].concat();
    // Request Problem Information 0; a Maximum Packet Size of 100 bytes.
    for (own, told) in [
        (vec![], true),
        (vec![0x17, 0], false),
        (vec![0x27, 0, 0, 0, 100], false),
    ] {
        let mut connect = wire::Connect::new(5, "1");
        connect.properties = own;
        let (_, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.has(&words), told, "{connack:?}");
    }
}

/// What the broker answers to these bytes before it closes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![];
    let read = stream.read_to_end(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

fn connect(name: &str, level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[&text(name), &[level, flags, 0, 60], rest])
}

#[tokio::test]
async fn a_protocol_level_that_is_not_spoken_is_refused_as_such() {
    let bench = bench().await;
    for (name, level) in [("MQTT", 3), ("MQTT", 0), ("MQIsdp", 4), ("MQTT", 0x85)] {
        let bytes = connect(name, level, 2, &text("c"));
        assert_eq!(answer(bench.address, &bytes).await, [0x20, 2, 0, 1]);
        let refusal = bench.refusal();
        assert_eq!(refusal.code, 0x84);
        assert!(refusal.reason.contains(&level.to_string()), "{refusal:?}");
    }
    let bytes = connect("MQTT", 6, 2, &[&[0][..], &text("c")].concat());
    let told = answer(bench.address, &bytes).await;
    assert_eq!((told[0], told[2], told[3]), (0x20, 0, 0x84));
}

#[tokio::test]
async fn another_protocol_is_closed_without_an_answer() {
    let bench = bench().await;
    let bytes = connect("AMQP", 4, 2, &text("c"));
    assert!(answer(bench.address, &bytes).await.is_empty());
    assert!(bench.refusal().reason.contains("AMQP"));
    assert!(
        answer(bench.address, b"GET / HTTP/1.1\r\n\r\n")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_malformed_connect_is_told_in_5_and_closed_without_an_answer_in_3_1_1() {
    let bench = bench().await;
    // The reserved flag is set.
    let bytes = connect("MQTT", 4, 3, &text("c"));
    assert!(answer(bench.address, &bytes).await.is_empty());
    assert!(bench.refusal().reason.contains("malformed"));
    let bytes = connect("MQTT", 5, 3, &[&[0][..], &text("c")].concat());
    let told = answer(bench.address, &bytes).await;
    assert_eq!((told[0], told[2], told[3]), (0x20, 0, 0x81));
    assert_eq!(bench.refusal().code, 0x81);
}

#[tokio::test]
async fn an_empty_client_id_is_for_each_version_what_its_standard_says() {
    let bench = bench().await;
    for (version, clean, code) in [
        (3, true, 2),
        (3, false, 2),
        (4, true, 0),
        (4, false, 2),
        (5, true, 0),
        (5, false, 0),
    ] {
        let mut connect = wire::Connect::new(version, "");
        connect.clean = clean;
        let (_client, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.code, code, "{version} {clean}");
        assert!(!connack.session_present);
        if code != 0 {
            assert_eq!((bench.refusal().code), 2);
        }
        // Assigned Client Identifier.
        assert_eq!(connack.has(&[0x12]), version == 5);
    }
}
