//! What the vendor's broker does without and limits, as a client sees it on the wire, and what the
//! journal says of each refusal.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use mqttstack_broker::dialect::Refused;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::mqtt::listening;
use crate::wire::{AUTH, Connack, Connect, DISCONNECT, PUBACK, Wire, packet, properties, text};

const KIB: usize = 1024;

/// An emulator with two clients that need no certificate.
struct Field {
    bench: Bench,
    address: SocketAddr,
    refused: Arc<Mutex<Vec<Refused>>>,
}

async fn field(more: Value) -> Field {
    let mut namespace = json!({"clients": [{"name": "a"}, {"name": "b"}]});
    for (key, value) in more.as_object().unwrap() {
        namespace[key] = value.clone();
    }
    let (bench, address) = listening(json!({"auth": "lenient", "namespaces": [namespace]})).await;
    let refused: Arc<Mutex<Vec<_>>> = Arc::default();
    let told = refused.clone();
    let tell = Arc::new(move |packet| told.lock().push(packet));
    bench.app.broker.on_refused(tell);
    Field {
        bench,
        address,
        refused,
    }
}

/// A namespace whose clients may use `ok/#`.
async fn guarded() -> Field {
    field(json!({
        "topic_spaces": [{"name": "own", "properties": {"topicTemplates": ["ok/#"]}}],
        "permission_bindings": [
            {"name": "p", "properties": {"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Publisher"}},
            {"name": "s", "properties": {"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Subscriber"}},
        ],
    }))
    .await
}

fn connect(version: u8, name: &str) -> Connect {
    Connect {
        username: Some(name.to_owned()),
        ..Connect::new(version, name)
    }
}

fn user_property() -> Vec<u8> {
    [vec![0x26], text("k"), text("v")].concat()
}

impl Field {
    async fn client(&self, version: u8) -> Wire {
        let (wire, connack) = self.connect(&connect(version, "a")).await;
        assert_eq!(connack.code, 0);
        wire
    }

    async fn connect(&self, connect: &Connect) -> (Wire, Connack) {
        Wire::connect(self.address, connect).await
    }

    /// What the journal is told of the newest refusal.
    fn refusal(&self, packet: &str, code: u8, reason: &str) {
        let refused = self.refused.lock().pop().expect("nothing was refused");
        assert_eq!(
            (refused.packet, refused.code),
            (packet, code),
            "{}",
            refused.reason
        );
        assert!(refused.reason.contains(reason), "{}", refused.reason);
    }

    /// The client must be disconnected with this code; over 3.x it sees only the end.
    async fn ends(&self, mut wire: Wire, version: u8, code: u8) {
        if version == 5 {
            assert_eq!(wire.disconnected().await, code);
        } else {
            wire.ended().await;
        }
    }
}

/// Publishes with QoS 1 and returns the reason code of the PUBACK.
async fn acknowledged(wire: &mut Wire, bytes: Vec<u8>) -> u8 {
    wire.send(&bytes).await;
    let (first, body) = wire.answer().await;
    assert_eq!(first, PUBACK, "{body:?}");
    body.get(2).copied().unwrap_or(0)
}

#[tokio::test]
async fn the_connack_tells_what_the_broker_does_without() {
    let field = field(json!({})).await;
    let mut asked = connect(5, "");
    asked.username = Some("a".to_owned());
    asked.keep_alive = 2000;
    // Request Response Information: there is none.
    asked.properties = vec![0x19, 1];
    let (_wire, connack) = field.connect(&asked).await;
    assert_eq!(connack.code, 0);
    for (what, property) in [
        ("Maximum QoS", &[0x24, 1][..]),
        ("Receive Maximum", &[0x21, 0x03, 0xe8]),
        ("Topic Alias Maximum", &[0x22, 0, 10]),
        ("Maximum Packet Size", &[0x27, 0, 8, 0, 0]),
        ("Server Keep Alive", &[0x13, 0x04, 0x88]),
        ("Assigned Client Identifier", &[0x12, 0]),
    ] {
        assert!(connack.has(property), "{what}: {connack:?}");
    }
    for (what, property) in [
        ("Shared Subscription Available", &[0x2a, 0][..]),
        ("Subscription Identifiers Available", &[0x29, 0]),
    ] {
        assert!(!connack.has(property), "{what}: {connack:?}");
    }
    let assigned = &field.bench.app.broker.clients().await[0];
    assert!(!assigned.client_id.is_empty());
    assert_eq!(assigned.keep_alive, 1160);
}

#[tokio::test]
async fn qos_2_ends_the_connection() {
    let field = field(json!({})).await;
    for version in [4, 5] {
        let mut wire = field.client(version).await;
        let bytes = wire.publish_bytes("t", "x", 4, &[]);
        wire.send(&bytes).await;
        field.ends(wire, version, 0x9b).await;
        field.refusal("PUBLISH", 0x9b, "QoS 2");
    }
    let mut will = connect(5, "a");
    will.will = Some((0x10, vec![], "t".into(), "gone".into()));
    assert_eq!(field.connect(&will).await.1.code, 0x9b);
}

#[tokio::test]
async fn one_member_of_a_group_gets_each_message() {
    let field = guarded().await;
    let mut members = Vec::new();
    for name in ["a", "b"] {
        let (mut wire, _) = field.connect(&connect(5, name)).await;
        assert_eq!(wire.subscribe("$share/g/ok/#", 1).await, 1);
        assert_eq!(wire.subscribe("$share/no/no/#", 1).await, 0x87);
        members.push(wire);
    }
    let mut own = Wire::open(field.address, 5, "publisher").await;
    for n in 0..4 {
        own.publish("ok/t", &n.to_string(), 2, &[]).await;
    }
    let messages = field.bench.app.journal.messages().since(0);
    for (_, message) in messages {
        assert_eq!(message.deliveries.lock().len(), 1, "{}", message.topic);
    }
}

#[tokio::test]
async fn a_session_shares_and_subscribes_plainly() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    for filter in ["$share/g/t/+", "$share/h/t/+", "t/#"] {
        assert_eq!(wire.subscribe(filter, 1).await, 1, "{filter}");
    }
    let deep = format!("$share/g/a{}", "/a".repeat(15));
    assert_eq!(wire.subscribe(&deep, 1).await, 0x8f);
}

#[tokio::test]
async fn a_client_of_3_1_1_that_wants_to_share_is_disconnected() {
    let field = field(json!({})).await;
    let mut wire = field.client(4).await;
    wire.send(&packet(0x82, &[&[0, 9], &text("$share/g/t"), &[1]]))
        .await;
    wire.ended().await;
    field.refusal(
        "SUBSCRIBE",
        0x87,
        "shared subscriptions are for MQTT 5 clients alone",
    );
}

#[tokio::test]
async fn subscription_identifiers_are_a_setting() {
    let own = properties(&[0x0b, 7]);
    let subscribe = packet(0x82, &[&[0, 9], &own, &text("t"), &[1]]);
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    wire.send(&subscribe).await;
    assert_eq!(wire.answer().await.1[3..], [1]);
    let settings = json!({"auth": "lenient", "subscription_identifiers": false, "namespaces": [{"clients": [{"name": "a"}]}]});
    let (_bench, address) = listening(settings).await;
    let (mut wire, connack) = Wire::connect(address, &connect(5, "a")).await;
    assert!(connack.has(&[0x29, 0]));
    wire.send(&subscribe).await;
    assert_eq!(wire.disconnected().await, 0xa1);
}

#[tokio::test]
async fn a_subscription_of_qos_2_is_granted_qos_1() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    assert_eq!(wire.subscribe("t", 2).await, 1);
}

#[tokio::test]
async fn user_properties_belong_to_publish_alone() {
    let field = field(json!({})).await;
    let mut bad = connect(5, "a");
    bad.properties = user_property();
    assert_eq!(field.connect(&bad).await.1.code, 0x83);
    field.refusal("CONNECT", 0x83, "user propert");
    let own = properties(&user_property());
    for (name, bytes) in [
        (
            "SUBSCRIBE",
            packet(0x82, &[&[0, 9], &own, &text("t"), &[1]]),
        ),
        ("PUBACK", packet(PUBACK, &[&[0, 9, 0], &own])),
        ("DISCONNECT", packet(DISCONNECT, &[&[0], &own])),
        ("AUTH", packet(AUTH, &[&[0x19], &own])),
    ] {
        let mut wire = field.client(5).await;
        wire.send(&bytes).await;
        field.ends(wire, 5, 0x83).await;
        field.refusal(name, 0x83, "user propert");
    }
    let mut wire = field.client(5).await;
    let publish = wire.publish_bytes("t", "x", 2, &user_property());
    assert_eq!(acknowledged(&mut wire, publish).await & 0x80, 0);
}

#[tokio::test]
async fn ten_topic_aliases_are_taken_and_the_eleventh_is_not() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    let publish = wire.publish_bytes("t", "x", 2, &[0x23, 0, 10]);
    assert_eq!(acknowledged(&mut wire, publish).await & 0x80, 0);
    let publish = wire.publish_bytes("t", "x", 2, &[0x23, 0, 11]);
    wire.send(&publish).await;
    field.ends(wire, 5, 0x94).await;
}

#[tokio::test]
async fn a_packet_has_at_most_512_kib() {
    let field = field(json!({})).await;
    for version in [4, 5] {
        let mut wire = field.client(version).await;
        wire.publish("t", &"x".repeat(512 * KIB - 20), 2, &[]).await;
        let over = wire.publish_bytes("t", &"x".repeat(512 * KIB), 2, &[]);
        wire.send(&over).await;
        field.ends(wire, version, 0x95).await;
    }
}

#[tokio::test]
async fn a_subscribe_has_at_most_ten_filters() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    let filters = |count: u8| -> Vec<u8> {
        let one = |at: u8| [text([b't', b'0' + at]), vec![1]].concat();
        (0..count).flat_map(one).collect()
    };
    wire.send(&packet(0x82, &[&[0, 9, 0], &filters(10)])).await;
    assert_eq!(wire.answer().await.1[3..], [1; 10]);
    wire.send(&packet(0x82, &[&[0, 9, 0], &filters(11)])).await;
    assert_eq!(wire.answer().await.1[3..], [0x97; 11]);
}

#[tokio::test]
async fn a_will_may_wait_five_minutes() {
    let field = field(json!({})).await;
    for (delay, code) in [(300_u32, 0), (301, 0x83)] {
        let mut asked = connect(5, "a");
        let own = [&[0x18][..], &delay.to_be_bytes()].concat();
        asked.will = Some((0, own, "t".into(), "gone".into()));
        assert_eq!(field.connect(&asked).await.1.code, code);
    }
    field.refusal(
        "CONNECT",
        0x83,
        "the Will Delay Interval is 301 s, the limit is 300 s",
    );
}

#[tokio::test]
async fn sizes_of_topics_and_properties_are_limited() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    let long = |size: usize| "x".repeat(size);
    let property = |id: u8, size: usize| [vec![id], text(long(size))].concat();
    let mut many = Vec::new();
    for _ in 0..33 {
        many.extend([vec![0x26], text("k"), text(long(KIB - 1))].concat());
    }
    for (topic, payload, flags, own, code, reason) in [
        (
            format!("a{}", "/a".repeat(15)),
            1,
            2,
            vec![],
            0x90,
            "16 segments, the limit is 15",
        ),
        (long(257), 1, 2, vec![], 0x90, "257 bytes, the limit is 256"),
        (
            "t".into(),
            1,
            2,
            property(0x08, 257),
            0x97,
            "the size of the response topic is 257 bytes",
        ),
        (
            "t".into(),
            1,
            2,
            property(0x03, 257),
            0x97,
            "the size of the content type is 257 bytes",
        ),
        (
            "t".into(),
            1,
            2,
            property(0x09, 257),
            0x97,
            "the size of the correlation data is 257 bytes",
        ),
        (
            "t".into(),
            1,
            2,
            many,
            0x97,
            "the size of the user properties is 33792 bytes",
        ),
        (
            "t".into(),
            64 * KIB + 1,
            3,
            vec![],
            0x97,
            "the size of the retained message is 65537 bytes, the limit is 65536",
        ),
    ] {
        let publish = wire.publish_bytes(&topic, &long(payload), flags, &own);
        assert_eq!(acknowledged(&mut wire, publish).await, code, "{reason}");
        field.refusal("PUBLISH", code, reason);
    }
    let deep = format!("a{}", "/a".repeat(15));
    assert_eq!(wire.subscribe(&deep, 1).await, 0x8f);
    field.refusal("SUBSCRIBE", 0x8f, "16 segments");
    for (topic, own) in [
        (format!("a{}", "/a".repeat(14)), vec![]),
        ("t".into(), property(0x08, 256)),
    ] {
        let publish = wire.publish_bytes(&topic, "x", 2, &own);
        assert_eq!(acknowledged(&mut wire, publish).await & 0x80, 0, "{topic}");
    }
    assert!(field.bench.app.broker.retained().is_empty());
}

#[tokio::test]
async fn a_publish_without_permission_is_told_where_the_version_can() {
    let field = guarded().await;
    let reason = "Topic name 'no/t' does not match any topicspaces";
    let mut wire = field.client(5).await;
    let publish = wire.publish_bytes("no/t", "x", 2, &[]);
    assert_eq!(acknowledged(&mut wire, publish).await, 0x87);
    field.refusal("PUBLISH", 0x87, reason);
    let publish = wire.publish_bytes("ok/t", "x", 2, &[]);
    assert_eq!(acknowledged(&mut wire, publish).await & 0x80, 0);
    for (version, flags) in [(5, 0), (4, 0), (4, 2)] {
        let mut wire = field.client(version).await;
        let publish = wire.publish_bytes("no/t", "x", flags, &[]);
        wire.send(&publish).await;
        field.ends(wire, version, 0x87).await;
        field.refusal("PUBLISH", 0x87, reason);
    }
    assert_eq!(field.bench.app.journal.messages().len(), 1);
}

#[tokio::test]
async fn a_subscribe_without_permission_is_refused() {
    let field = guarded().await;
    for (version, code) in [(4, 0x80), (5, 0x87)] {
        let mut wire = field.client(version).await;
        assert_eq!(wire.subscribe("testtopic/#", 1).await, code);
        field.refusal(
            "SUBSCRIBE",
            0x87,
            "Topic filter 'testtopic/#' does not match any topicspaces",
        );
        assert_eq!(
            wire.subscribe("#", 1).await,
            code,
            "wider than the topic space"
        );
        assert_eq!(wire.subscribe("ok/+", 1).await, 1);
    }
}

#[tokio::test]
async fn a_message_with_an_expiry_of_zero_never_expires() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    wire.publish("t/never", "x", 3, &[0x02, 0, 0, 0, 0]).await;
    wire.publish("t/soon", "x", 3, &[0x02, 0, 0, 0, 9]).await;
    field
        .bench
        .app
        .clock
        .advance(SignedDuration::from_hours(24))
        .unwrap();
    assert_eq!(wire.subscribe("t/+", 1).await, 1);
    assert_eq!(wire.receive().await.topic, "t/never");
    let kept = field.bench.app.broker.retained();
    assert_eq!(kept.len(), 1);
    // Anybody else's may be delivered at once and no later.
    let mut open = Wire::open(field.address, 5, "open").await;
    open.publish("t/open", "x", 3, &[0x02, 0, 0, 0, 0]).await;
    assert_eq!(wire.receive().await.topic, "t/open");
    let second = SignedDuration::from_secs(1);
    field.bench.app.clock.advance(second).unwrap();
    assert_eq!(field.bench.app.broker.retained().len(), 1);
}

#[tokio::test]
async fn a_client_that_refuses_a_delivery_is_disconnected() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    assert_eq!(wire.subscribe("t", 1).await, 1);
    for code in [0x10, 0x83] {
        let publish = wire.publish_bytes("t", "x", 2, &[]);
        wire.send(&publish).await;
        assert_eq!(wire.answer().await.0, PUBACK);
        let id = wire.take().await.id.to_be_bytes();
        wire.send(&packet(PUBACK, &[&id, &[code, 0]])).await;
    }
    field.ends(wire, 5, 0x83).await;
    field.refusal(
        "PUBACK",
        0x83,
        "refused a delivery with the reason code 0x83",
    );
}

#[tokio::test]
async fn a_client_that_does_not_acknowledge_gets_sixteen_messages() {
    let field = field(json!({})).await;
    let mut wire = field.client(5).await;
    assert_eq!(wire.subscribe("t", 1).await, 1);
    let (mut publisher, _) = field.connect(&connect(5, "b")).await;
    for _ in 0..17 {
        publisher.publish("t", "x", 2, &[]).await;
    }
    let mut last = 0;
    for _ in 0..16 {
        last = wire.take().await.id;
    }
    wire.send(&[0xc0, 0]).await;
    assert_eq!(
        wire.read().await.unwrap().0,
        0xd0,
        "nothing before the PINGRESP"
    );
    wire.send(&packet(PUBACK, &[&last.to_be_bytes()])).await;
    assert_eq!(wire.take().await.payload, "x");
}

#[tokio::test]
async fn a_silent_client_is_timed_out_in_the_vendors_words() {
    let field = field(json!({})).await;
    let mut asked = connect(5, "a");
    asked.keep_alive = 1;
    let (mut wire, _) = field.connect(&asked).await;
    assert_eq!(wire.disconnected().await, 0x8d);
    let mut news = field.bench.app.journal.requests().subscribe();
    while field.bench.app.journal.requests().is_empty() {
        news.changed().await.unwrap();
    }
    assert_eq!(field.bench.reasons(), "Timed out per negotiated Keep Alive");
}
