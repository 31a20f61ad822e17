//! What outlives a connection and what does not: packet ids of QoS 2, clean sessions, takeovers,
//! shared subscriptions whose member dies, wills with a delay, lives on the emulator's clock. Each
//! was wrong once, seen with somebody else's client.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use mqttstack_base::clock::Clock;
use mqttstack_base::message::{DeliveryOutcome, Transport};
use mqttstack_broker::{Broker, Ending, Event, FellDue, Isolation, Settings};

use crate::bench::{Bench, bench};
use crate::wire::{
    Connect, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, Wire, packet, properties, text,
};

/// Session Expiry Interval: an hour.
const AN_HOUR: [u8; 5] = [0x11, 0, 0, 0x0e, 0x10];
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn lasting(version: u8, client_id: &str) -> Connect {
    let mut connect = Connect::new(version, client_id);
    connect.clean = false;
    if version == 5 {
        connect.properties = AN_HOUR.to_vec();
    }
    connect
}

impl Bench {
    async fn lasting(&self, version: u8, client_id: &str) -> Wire {
        Wire::connect(self.address, &lasting(version, client_id))
            .await
            .0
    }

    /// A client leaves in a way, and the broker has seen it go.
    async fn goes(&self, how: impl AsyncFnOnce()) -> Ending {
        let mut events = self.broker.events();
        how().await;
        loop {
            if let Event::Disconnected { ending, .. } = events.recv().await.unwrap() {
                return ending;
            }
        }
    }

    /// The connection of a client is lost without a DISCONNECT.
    async fn loses(&self, client: Wire) {
        let ending = self.goes(async || drop(client)).await;
        assert_eq!(ending, Ending::ConnectionLost);
    }

    fn forward(&self, by: SignedDuration) -> Vec<FellDue> {
        self.broker.at_new_time(|| {
            self.clock.advance(by).unwrap();
        })
    }
}

#[tokio::test]
async fn a_qos_2_publish_sent_again_after_a_reconnect_is_delivered_once() {
    for version in [4, 5] {
        let bench = bench(Settings::default()).await;
        let mut reader = Wire::open(bench.address, 4, "reader").await;
        reader.subscribe("t", 2).await;
        let mut sender = bench.lasting(version, "sender").await;
        let first = sender.publish_with_id("t", "once", 4, &[], 3);
        sender.send(&first).await;
        assert_eq!(sender.answer().await.0, PUBREC);
        bench.loses(sender).await;
        let mut sender = bench.lasting(version, "sender").await;
        let again = sender.publish_with_id("t", "once", 4 | 8, &[], 3);
        sender.send(&again).await;
        assert_eq!(sender.answer().await.0, PUBREC);
        sender.send(&packet(PUBREL, &[&[0, 3]])).await;
        assert_eq!(sender.answer().await.0, PUBCOMP);
        sender.publish("t", "last", 4, &[]).await;
        assert_eq!(reader.receive().await.payload, "once");
        assert_eq!(reader.receive().await.payload, "last");
    }
}

#[tokio::test]
async fn a_clean_session_is_gone_the_moment_its_connection_is() {
    let bench = bench(Settings::default()).await;
    for version in [4, 5] {
        for _ in 0..50 {
            let mut client = Wire::open(bench.address, version, "c").await;
            client.subscribe("t", 1).await;
            client.send(&[DISCONNECT, 0]).await;
            let mut back = Connect::new(version, "c");
            back.clean = false;
            let (client, connack) = Wire::connect(bench.address, &back).await;
            assert!(!connack.session_present);
            assert!(bench.broker.subscriptions().await.is_empty());
            bench.broker.kick("c").await;
            drop(client);
        }
    }
}

#[tokio::test]
async fn a_3_1_1_client_has_no_receive_maximum() {
    let bench = bench(Settings {
        receive_maximum: 5,
        ..Settings::default()
    })
    .await;
    let mut client = Wire::open(bench.address, 4, "c").await;
    for id in 1..=40 {
        let bytes = client.publish_with_id("t", "x", 4, &[], id);
        client.send(&bytes).await;
        assert_eq!(client.answer().await.0, PUBREC);
    }
}

#[tokio::test]
async fn a_bridge_hears_no_echo_and_sees_the_retain_flag() {
    let bench = bench(Settings::default()).await;
    let mut connect = Connect::new(4, "bridge");
    connect.version = 4;
    let mut bytes = connect.bytes();
    // The protocol level, behind the fixed header and the name.
    bytes[8] = 0x84;
    let (mut bridge, connack) = Wire::connect(bench.address, &Connect::new(4, "other")).await;
    assert_eq!(connack.code, 0);
    drop(bridge);
    let stream = tokio::net::TcpStream::connect(bench.address).await.unwrap();
    bridge = Wire::connect_over(Opened::new(stream, bytes), &connect)
        .await
        .0;
    bridge.subscribe("t", 1).await;
    bridge.publish("t", "own", 2, &[]).await;
    let mut other = Wire::open(bench.address, 4, "other").await;
    other.publish("t", "theirs", 3, &[]).await;
    let arrived = bridge.receive().await;
    assert_eq!((&*arrived.payload, arrived.retain), ("theirs", true));
}

/// A stream on which the first packet that is written is another one.
struct Opened {
    stream: tokio::net::TcpStream,
    first: Option<Vec<u8>>,
}

impl Opened {
    fn new(stream: tokio::net::TcpStream, first: Vec<u8>) -> Self {
        Self {
            stream,
            first: Some(first),
        }
    }
}

impl tokio::io::AsyncRead for Opened {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl tokio::io::AsyncWrite for Opened {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let Some(first) = self.first.clone() else {
            return std::pin::Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        assert_eq!(first.len(), bytes.len());
        let written = std::pin::Pin::new(&mut self.stream).poll_write(cx, &first);
        if written.is_ready() {
            self.first = None;
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn one_client_id_in_two_tenants_is_two_sessions() {
    let settings = Settings {
        isolation: Isolation::Tenant,
        ..Settings::default()
    };
    let bench = bench(settings).await;
    let named = |tenant: &str| {
        let mut connect = lasting(5, "same");
        connect.username = Some(format!("tenant:aliyun/{tenant}"));
        connect
    };
    let (mut one, _) = Wire::connect(bench.address, &named("one")).await;
    one.subscribe("t", 1).await;
    let (mut two, connack) = Wire::connect(bench.address, &named("two")).await;
    assert!(!connack.session_present);
    two.publish("t", "to nobody", 2, &[]).await;
    one.publish("t", "own", 2, &[]).await;
    assert_eq!(one.receive().await.payload, "own");
    assert_eq!(bench.broker.clients().await.len(), 2);
}

#[tokio::test]
async fn what_a_dead_member_of_a_group_held_goes_to_the_others() {
    let bench = bench(Settings::default()).await;
    let mut dying = Wire::open(bench.address, 5, "dying").await;
    dying.subscribe("$share/g/t", 1).await;
    let mut sender = Wire::open(bench.address, 5, "sender").await;
    for n in 0..3 {
        sender.publish("t", &n.to_string(), 2, &[]).await;
    }
    // Taken and not acknowledged.
    dying.take().await;
    let mut living = Wire::open(bench.address, 5, "living").await;
    living.subscribe("$share/g/t", 1).await;
    bench.loses(dying).await;
    for n in 0..3 {
        let arrived = living.receive().await;
        assert_eq!((arrived.payload, arrived.dup), (n.to_string(), false));
    }
}

fn willing(client_id: &str, delay: u8, expiry: u8) -> Connect {
    let mut connect = Connect::new(5, client_id);
    connect.properties = vec![0x11, 0, 0, 0, expiry];
    let own = vec![0x18, 0, 0, 0, delay];
    connect.will = Some((0, own, "will".into(), client_id.into()));
    connect
}

#[tokio::test]
async fn a_delayed_will_is_sent_when_its_time_or_its_session_is_over() {
    let bench = Bench::start(Settings::default(), Clock::frozen(now())).await;
    let mut reader = Wire::open(bench.address, 5, "reader").await;
    reader.subscribe("will", 1).await;
    let seconds = SignedDuration::from_secs;

    // The delay is over first.
    let (client, _) = Wire::connect(bench.address, &willing("a", 10, 60)).await;
    bench.loses(client).await;
    assert_eq!(bench.forward(seconds(9)), []);
    let (client_id, topic) = ("a".to_owned(), "will".to_owned());
    let published = FellDue::WillPublished { client_id, topic };
    assert_eq!(bench.forward(seconds(1)), [published]);
    assert_eq!(reader.receive().await.payload, "a");

    // The session is over first.
    let (client, _) = Wire::connect(bench.address, &willing("b", 60, 10)).await;
    bench.loses(client).await;
    let due = bench.forward(seconds(10));
    assert_eq!(due.len(), 2, "{due:?}");
    assert_eq!(reader.receive().await.payload, "b");

    // A new session begins (Clean Start).
    let (client, _) = Wire::connect(bench.address, &willing("c", 60, 60)).await;
    bench.loses(client).await;
    let _client = Wire::open(bench.address, 5, "c").await;
    assert_eq!(reader.receive().await.payload, "c");

    // The client is back in time: nothing is sent.
    let (client, _) = Wire::connect(bench.address, &willing("d", 60, 60)).await;
    bench.loses(client).await;
    let mut back = willing("d", 60, 60);
    back.clean = false;
    let (client, connack) = Wire::connect(bench.address, &back).await;
    assert!(connack.session_present);
    bench.forward(HOUR);
    drop(client);
    let (client, _) = Wire::connect(bench.address, &willing("e", 0, 0)).await;
    bench.loses(client).await;
    assert_eq!(reader.receive().await.payload, "e");
}

fn now() -> jiff::Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn an_hour_ends_what_is_due_and_leaves_live_connections_alone() {
    let bench = Bench::start(Settings::default(), Clock::frozen(now())).await;
    let mut live = Wire::open(bench.address, 5, "live").await;
    live.subscribe("t", 1).await;
    let mut away = bench.lasting(5, "away").await;
    away.subscribe("t", 1).await;
    bench.loses(away).await;
    let mut mortal = bench.lasting(5, "waiting").await;
    mortal.subscribe("short", 1).await;
    bench.loses(mortal).await;
    let mut sender = Wire::open(bench.address, 5, "sender").await;
    // Message Expiry Interval: a minute.
    let minute = [0x02, 0, 0, 0, 60];
    sender.publish("short", "x", 2, &minute).await;
    sender.publish("kept", "x", 3, &minute).await;
    let due = bench.forward(SignedDuration::from_mins(1));
    let expired = FellDue::MessagesExpired {
        client_id: "waiting".into(),
        count: 1,
    };
    assert!(due.contains(&expired), "{due:?}");
    let topic = "kept".into();
    assert!(due.contains(&FellDue::RetainedExpired { topic }), "{due:?}");
    let due = bench.forward(HOUR);
    let client_id = "away".to_owned();
    assert!(
        due.contains(&FellDue::SessionExpired { client_id }),
        "{due:?}"
    );
    assert!(bench.broker.retained().is_empty());
    sender.publish("t", "still here", 2, &[]).await;
    assert_eq!(live.receive().await.payload, "still here");
    assert_eq!(bench.broker.clients().await.len(), 2);
}

#[tokio::test]
async fn a_message_that_waits_less_than_a_second_keeps_its_expiry() {
    let bench = Bench::start(Settings::default(), Clock::frozen(now())).await;
    let mut reader = bench.lasting(5, "reader").await;
    reader.subscribe("t", 1).await;
    bench.loses(reader).await;
    let mut sender = Wire::open(bench.address, 5, "sender").await;
    sender.publish("t", "x", 2, &[0x02, 0, 0, 0, 1]).await;
    bench.forward(SignedDuration::from_millis(999));
    let mut reader = bench.lasting(5, "reader").await;
    assert_eq!(reader.receive().await.properties, [0x02, 0, 0, 0, 1]);
    bench.loses(reader).await;
    sender.publish("t", "y", 2, &[0x02, 0, 0, 0, 3]).await;
    bench.forward(SignedDuration::from_millis(1_500));
    let mut reader = bench.lasting(5, "reader").await;
    assert_eq!(reader.receive().await.properties, [0x02, 0, 0, 0, 2]);
}

#[tokio::test]
async fn a_message_above_the_clients_packet_size_is_dropped_for_it_alone() {
    let bench = bench(Settings::default()).await;
    let mut small = lasting(5, "small");
    small.properties.extend([0x27, 0, 0, 0, 100]);
    let (mut client, _) = Wire::connect(bench.address, &small).await;
    client.subscribe("t", 1).await;
    bench.loses(client).await;
    let mut sender = Wire::open(bench.address, 5, "sender").await;
    sender.publish("t", &"x".repeat(200), 2, &[]).await;
    sender.publish("t", "small enough", 2, &[]).await;
    let (mut client, connack) = Wire::connect(bench.address, &small).await;
    assert!(connack.session_present);
    assert_eq!(client.receive().await.payload, "small enough");
    let messages = bench.journal.messages().since(0);
    let row = messages[0].1.deliveries.lock()[0].clone();
    assert_eq!(row.outcome, DeliveryOutcome::Dropped);
    assert!(row.reason.unwrap().contains("Maximum Packet Size is 100"));
}

#[tokio::test]
async fn a_retained_message_carries_the_subscription_identifier() {
    let bench = bench(Settings::default()).await;
    let mut sender = Wire::open(bench.address, 4, "sender").await;
    sender.publish("t/kept", "x", 3, &[]).await;
    let mut reader = Wire::open(bench.address, 5, "reader").await;
    reader.subscribe_as("t/#", 1, &[0x0b, 42]).await;
    let arrived = reader.receive().await;
    assert_eq!(arrived.properties, [0x0b, 42]);
    assert!(arrived.retain);
}

#[tokio::test]
async fn a_refusing_pubrec_is_the_end_of_a_delivery() {
    let bench = bench(Settings {
        max_inflight: 2,
        ..Settings::default()
    })
    .await;
    let mut reader = Wire::open(bench.address, 5, "reader").await;
    reader.subscribe("t", 2).await;
    let mut sender = Wire::open(bench.address, 5, "sender").await;
    for n in 0..10 {
        sender.publish("t", &n.to_string(), 4, &[]).await;
    }
    for n in 0..10 {
        let arrived = reader.take().await;
        assert_eq!(arrived.payload, n.to_string());
        let id = arrived.id.to_be_bytes();
        reader.send(&packet(PUBREC, &[&id, &[0x97]])).await;
    }
    // No PUBREL came in between: this is the next packet.
    reader.send(&[0xc0, 0]).await;
    assert_eq!(reader.answer().await.0, 0xd0);
}

#[tokio::test]
async fn u_0000_ends_the_connection_wherever_it_stands() {
    let bench = bench(Settings::default()).await;
    let pair = |name: &[u8], value: &[u8]| [&[0x26][..], &text(name), &text(value)].concat();
    for own in [
        pair(b"a\0", b"b"),
        pair(b"a", b"\0b"),
        [&[0x03][..], &text(b"\0")].concat(),
        [&[0x08][..], &text(b"r\0")].concat(),
    ] {
        let mut client = Wire::open(bench.address, 5, "c").await;
        let bytes = client.publish_bytes("t", "x", 2, &own);
        client.send(&bytes).await;
        assert_eq!(client.disconnected().await, 0x81, "{own:02x?}");
        let mut connect = Connect::new(5, "c");
        connect.will = Some((0, own.clone(), "will".into(), "x".into()));
        let (_, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.code, 0x81, "{own:02x?}");
    }
    for version in [4, 5] {
        let mut connect = Connect::new(version, "c");
        connect.username = Some("u\0".into());
        let mut stream = tokio::net::TcpStream::connect(bench.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &connect.bytes())
            .await
            .unwrap();
        let mut answer = vec![];
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer)
            .await
            .unwrap();
        assert_ne!(answer.get(3), Some(&0), "MQTT level {version}");
    }
}

#[tokio::test]
async fn a_response_topic_is_a_topic_name_in_wills_too() {
    let bench = bench(Settings::default()).await;
    for topic in ["", "a/+", "#"] {
        let own = [&[0x08][..], &text(topic)].concat();
        let mut client = Wire::open(bench.address, 5, "c").await;
        let bytes = client.publish_bytes("t", "x", 2, &own);
        client.send(&bytes).await;
        assert_eq!(client.disconnected().await, 0x82, "{topic}");
        let mut connect = Connect::new(5, "c");
        connect.will = Some((0, own, "will".into(), "x".into()));
        let (_, connack) = Wire::connect(bench.address, &connect).await;
        assert_eq!(connack.code, 0x82, "{topic}");
    }
}

#[tokio::test]
async fn an_unsuback_says_which_filter_was_not_there() {
    let bench = bench(Settings::default()).await;
    let mut client = Wire::open(bench.address, 5, "c").await;
    client.subscribe("here", 1).await;
    client.subscribe("$share/g/here", 1).await;
    let filters = [text("here"), text("not here"), text("$share/g/here")].concat();
    let unsubscribe = packet(0xa2, &[&[0, 8], &[0], &filters]);
    client.send(&unsubscribe).await;
    assert_eq!(client.answer().await, (0xb0, vec![0, 8, 0, 0, 0x11, 0]));
    assert!(bench.broker.subscriptions().await.is_empty());
}

#[tokio::test]
async fn response_information_is_offered_to_who_asks() {
    let bench = bench(Settings::default()).await;
    let mut connect = Connect::new(5, "c");
    let (_, connack) = Wire::connect(bench.address, &connect).await;
    let information = [&[0x1a][..], &text("response/c")].concat();
    assert!(!connack.has(&information));
    connect.properties = vec![0x19, 1];
    let (_, connack) = Wire::connect(bench.address, &connect).await;
    assert!(connack.has(&information), "{connack:?}");
}

#[tokio::test]
async fn a_takeover_hands_on_what_was_not_acknowledged_in_order() {
    let bench = bench(Settings::default()).await;
    for qos in [1, 2] {
        let mut first = bench.lasting(5, "c").await;
        first.subscribe("t", qos).await;
        let mut sender = Wire::open(bench.address, 5, "sender").await;
        for n in 0..5 {
            sender.publish("t", &n.to_string(), qos << 1, &[]).await;
        }
        let taken = first.take().await;
        let acknowledgement = if qos == 1 { PUBACK } else { PUBREC };
        first
            .send(&packet(acknowledgement, &[&taken.id.to_be_bytes()]))
            .await;
        first.send(&[0xc0, 0]).await;
        while first.answer().await.0 != 0xd0 {}
        let mut second = bench.lasting(5, "c").await;
        assert_eq!(first.disconnected().await, 0x8e);
        if qos == 2 {
            // Received before, released now.
            let (kind, body) = second.answer().await;
            assert_eq!((kind, &body[..2]), (PUBREL, &taken.id.to_be_bytes()[..]));
            second.send(&packet(PUBCOMP, &[&body[..2]])).await;
        }
        for n in 1..5 {
            let arrived = second.receive().await;
            assert_eq!((arrived.payload, arrived.dup), (n.to_string(), true));
        }
        bench.broker.kick("c").await;
    }
}

/// A broker with one port, and a sink that keeps a sender for as long as anything keeps the broker.
async fn kept_by(sender: &tokio::sync::mpsc::UnboundedSender<()>) -> (Broker, SocketAddr) {
    let sender = sender.clone();
    let sink = Arc::new(move |_| _ = sender.is_closed());
    let ids = mqttstack_base::ids::Ids::new(Some(1));
    let broker = Broker::start(Settings::default(), Clock::real(), ids, sink).await;
    let address = broker
        .listen(Transport::Tcp, SocketAddr::from(([127, 0, 0, 1], 0)))
        .unwrap();
    (broker, address)
}

/// Waits until nothing keeps any broker any more.
async fn all_gone(mut brokers: tokio::sync::mpsc::UnboundedReceiver<()>) {
    let gone = tokio::time::timeout(std::time::Duration::from_secs(30), brokers.recv()).await;
    assert_eq!(gone.expect("something still keeps a broker"), None);
}

#[tokio::test]
async fn stopped_brokers_leave_nothing_behind() {
    let (sender, brokers) = tokio::sync::mpsc::unbounded_channel();
    let lanes = (0..30).map(|_| async {
        for _ in 0..10 {
            let (broker, address) = kept_by(&sender).await;
            let mut client = Wire::connect(address, &lasting(5, "c")).await.0;
            client.subscribe("$SYS/#", 0).await;
            client.subscribe("t", 1).await;
            client.publish("t", "x", 3, &[]).await;
            let leaves = async move { client.disconnected().await };
            assert_eq!(tokio::join!(broker.stop(), leaves).1, 0x8b);
        }
    });
    futures_util::future::join_all(lanes).await;
    drop(sender);
    all_gone(brokers).await;
}

#[tokio::test]
async fn a_stop_cuts_off_who_does_not_close() {
    let (sender, brokers) = tokio::sync::mpsc::unbounded_channel();
    let (broker, address) = kept_by(&sender).await;
    let mut deaf = Wire::connect(address, &lasting(5, "deaf")).await.0;
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    deaf.subscribe("t", 1).await;
    broker.stop().await;
    drop((broker, sender));
    all_gone(brokers).await;
    assert_eq!(deaf.disconnected().await, 0x8b);
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut [0]).await;
    assert!(read.is_ok_and(|count| count == 0));
}

#[tokio::test]
async fn a_property_list_that_ends_early_is_malformed() {
    let bench = bench(Settings::default()).await;
    let mut client = Wire::open(bench.address, 5, "c").await;
    // A PUBLISH of QoS 0 that ends behind its topic name.
    client.send(&packet(0x30, &[&text("t")])).await;
    assert_eq!(client.disconnected().await, 0x81);
    let mut client = Wire::open(bench.address, 5, "c").await;
    let cut = packet(0x82, &[&[0, 9], &properties(&[0x0b])]);
    client.send(&cut).await;
    assert_eq!(client.disconnected().await, 0x81);
}
