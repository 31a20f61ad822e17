//! What must not bring the broker down or make it grow: malformed packets, connections that never
//! speak, floods of connections, subscribers that never read.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::join_all;
use mqttstack_base::clock::Clock;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::{Publication, Qos, Transport};
use mqttstack_broker::{Broker, Settings};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::shared;
use crate::wire::{Connect, Wire, packet, properties, text};

/// How many packets are sent in all, random and mutated.
const PACKETS: usize = 20_000;
/// How many connections send them side by side.
const LANES: u64 = 8;

async fn broker(settings: Settings) -> (Broker, SocketAddr) {
    let sink = Arc::new(|_| {});
    let broker = Broker::start(settings, Clock::real(), Ids::new(Some(1)), sink).await;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = broker.listen(Transport::Tcp, anywhere).unwrap();
    (broker, address)
}

/// A fresh client must hear its own message.
async fn serves(address: SocketAddr, version: u8, client_id: &str) {
    let mut client = Wire::open(address, version, client_id).await;
    let topic = format!("own/{client_id}");
    client.subscribe(&topic, 1).await;
    client.publish(&topic, "heard", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "heard");
    client.leave().await;
}

/// A repeatable source of numbers (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn noise(&mut self) -> Vec<u8> {
        (0..self.below(60)).map(|_| self.byte()).collect()
    }

    /// The packet with one to four bytes changed, added or cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.byte(),
                2 => bytes.insert(at, self.byte()),
                _ => bytes.truncate(bytes.len().saturating_sub(1 + self.below(3))),
            }
        }
        bytes
    }

    /// A packet as a client may send it.
    fn valid(&mut self, version: u8) -> Vec<u8> {
        let five = version == 5;
        let none: &[u8] = if five { &[0] } else { &[] };
        let id = [0, 1 + self.byte() % 20];
        let own = [&[0x26][..], &text("k"), &text("v"), &[0x23, 0, 3]].concat();
        let own = if five { properties(&own) } else { vec![] };
        match self.below(13) {
            0 => packet(0x30, &[&text("f/t"), &own, b"x"]),
            1 => packet(0x33, &[&text("f/t"), &id, &own, b"x"]),
            2 => packet(0x34, &[&text("f/u"), &id, &own, b"x"]),
            3 => packet(0x82, &[&id, none, &text("f/#"), &[2]]),
            4 => packet(0x82, &[&id, none, &text("$share/g/f/t"), &[1]]),
            5 => packet(0xa2, &[&id, none, &text("f/#")]),
            6 => packet(0x40, &[&id]),
            7 => packet(0x50, &[&id]),
            8 => packet(0x62, &[&id]),
            9 => packet(0x70, &[&id]),
            10 => packet(0xc0, &[]),
            11 => packet(0xf0, &[]),
            _ => Connect::new(version, "again").bytes(),
        }
    }
}

/// Sends these bytes on a connection of their own and waits until the broker has closed it.
async fn throw(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The broker may close, or reset, before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answers = vec![];
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answers))
        .await
        .expect("the broker kept a dead connection");
}

async fn lane(address: SocketAddr, lane: u64) {
    let mut dice = Dice(lane);
    let mut sent = 0;
    let mut checked = 0;
    while sent < PACKETS / usize::try_from(LANES).unwrap() {
        let version = if dice.below(2) == 0 { 4 } else { 5 };
        let mut connect = Connect::new(version, &format!("f-{lane}-{sent}"));
        connect.will = Some((0x08, vec![], "f/will".into(), "gone".into()));
        let mut bytes = connect.bytes();
        match dice.below(10) {
            0 => bytes = dice.noise(),
            1 => bytes = dice.mutated(bytes),
            _ => {
                for _ in 0..=dice.below(6) {
                    let next = dice.valid(version);
                    let next = if dice.below(2) == 0 {
                        next
                    } else {
                        dice.mutated(next)
                    };
                    bytes.extend(next);
                    sent += 1;
                }
            }
        }
        sent += 1;
        throw(address, &bytes).await;
        if sent / 500 > checked {
            checked = sent / 500;
            serves(address, version, &format!("fresh-{lane}-{sent}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_malformed_packets_leave_the_broker_serving_and_empty() {
    let (broker, address) = broker(Settings::default()).await;
    let lanes = (0..LANES).map(|number| tokio::spawn(lane(address, number)));
    for lane in join_all(lanes).await {
        lane.unwrap();
    }
    // A flipped bit may have asked for a session that lasts.
    broker.clear_sessions().await;
    assert_eq!(broker.clients().await.len(), 0);
    assert_eq!(broker.subscriptions().await.len(), 0);
    serves(address, 4, "last").await;
    serves(address, 5, "last").await;
}

#[tokio::test]
async fn connections_that_say_nothing_or_half_a_packet_hold_nobody_up() {
    let (broker, address) = broker(Settings::default()).await;
    let connect = Connect::new(5, "half").bytes();
    let mut open = vec![];
    for n in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(&connect[..n % connect.len()])
            .await
            .unwrap();
        open.push(stream);
    }
    serves(address, 4, "between").await;
    serves(address, 5, "between").await;
    assert_eq!(broker.counters().connects, 2);
}

#[tokio::test]
async fn five_hundred_connects_at_once_are_all_accepted() {
    // Four open files a connection; many shells allow 1,024 unless asked.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let (broker, address) = broker(Settings::default()).await;
    let clients = join_all((0..500).map(async |n| {
        let version = if n % 2 == 0 { 4 } else { 5 };
        Wire::open(address, version, &format!("flood-{n}")).await
    }))
    .await;
    assert_eq!(broker.clients().await.len(), 500);
    serves(address, 5, "beside").await;
    drop(clients);
    shared::all_offline(&broker).await;
    serves(address, 5, "after").await;
}

fn publication(topic: &str, qos: Qos) -> Publication {
    Publication {
        qos,
        ..shared::publication(topic, &"x".repeat(4096), None)
    }
}

#[tokio::test]
async fn a_subscriber_that_never_reads_or_is_away_keeps_no_more_than_its_queue() {
    const LIMIT: usize = 50;
    let (broker, address) = broker(Settings {
        queue_limit: LIMIT,
        ..Settings::default()
    })
    .await;
    let mut away = Connect::new(4, "away");
    away.clean = false;
    let (mut client, _) = Wire::connect(address, &away).await;
    client.subscribe("slow", 1).await;
    client.leave().await;
    let mut slow = Wire::open(address, 4, "slow").await;
    slow.subscribe("slow", 0).await;
    shared::offline(&broker, "away").await;
    for _ in 0..3_000 {
        broker
            .publish(publication("slow", Qos::AtLeastOnce))
            .await
            .unwrap();
    }
    for client in broker.clients().await {
        assert!(client.queued <= LIMIT, "{client:?}");
        let handed = client.messages_out + client.messages_dropped;
        assert_eq!(handed + client.queued as u64, 3_000, "{client:?}");
    }
    serves(address, 5, "beside").await;
}
