//! The SQL filter of a subscription, as subscribers see it.

use mqttstack_tencent_tdmq::{Action, Effect, Policy, Settings};

use crate::bare::{Bare, Opening};
use crate::bench::Bench;
use crate::mqtt::Device;

const WANTED: (&str, &str) = ("$where", "kind = 'wanted'");
const LAST: &[(&str, &str)] = &[("kind", "wanted")];

async fn five(bench: &Bench, client_id: &str) -> Bare<tokio::net::TcpStream> {
    let (device, code) = Bare::connect_v5(bench.mqtt(), client_id, "user0", "secret0").await;
    assert_eq!(code, 0);
    device
}

/// Publishes one message that the filter wants not and one that it wants.
async fn both(writer: &mut Bare<tokio::net::TcpStream>, topic: &str) {
    writer
        .publish_with(topic, "other", false, &[("kind", "other")])
        .await;
    writer.publish_with(topic, "none", false, &[]).await;
    writer.publish_with(topic, "last", false, LAST).await;
}

#[tokio::test]
async fn a_subscription_gets_the_messages_for_which_its_clause_holds() {
    let bench = Bench::frozen().await;
    let mut reader = five(&bench, "reader").await;
    assert_eq!(
        reader
            .subscribe_with(&["sensor/#", "room"], &[WANTED])
            .await,
        [1, 1]
    );
    let mut all = Device::v4(bench.mqtt(), "all").await;
    all.subscribe("sensor/#", 1).await;
    let mut writer = five(&bench, "writer").await;
    both(&mut writer, "sensor/a").await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
    both(&mut writer, "room").await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
    for expected in ["other", "none", "last"] {
        assert_eq!(all.receive().await.payload, expected);
    }
    let target = "/topics/sensor%2Fa?UserProp.1.Key=kind&UserProp.1.Value=";
    bench.post(&format!("{target}other"), "by HTTP").await;
    bench.post(&format!("{target}wanted"), "last").await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
    let deliveries = bench.message().deliveries.lock().len();
    assert_eq!(deliveries, 2, "reader and all");
}

#[tokio::test]
async fn a_new_subscribe_takes_the_place_of_the_clause() {
    let bench = Bench::frozen().await;
    let mut reader = five(&bench, "reader").await;
    let mut writer = five(&bench, "writer").await;
    reader.subscribe_with(&["t"], &[WANTED]).await;
    reader
        .subscribe_with(&["t"], &[("$where", "kind != 'wanted'")])
        .await;
    both(&mut writer, "t").await;
    writer
        .publish_with("t", "end", false, &[("kind", "end")])
        .await;
    assert_eq!(reader.payloads_until("end").await, ["other", "end"]);
    reader.subscribe_with(&["t"], &[]).await;
    gets_everything(&mut reader, &mut writer).await;
    reader.subscribe_with(&["t"], &[WANTED]).await;
    assert!(reader.unsubscribe(&["t"]).await.is_some());
    assert_eq!(reader.subscribe("t").await, 1);
    gets_everything(&mut reader, &mut writer).await;
}

/// The reader has no clause that keeps anything from it.
async fn gets_everything(
    reader: &mut Bare<tokio::net::TcpStream>,
    writer: &mut Bare<tokio::net::TcpStream>,
) {
    both(writer, "t").await;
    let payloads = reader.payloads_until("last").await;
    assert_eq!(payloads, ["other", "none", "last"]);
}

#[tokio::test]
async fn filters_sent_without_waiting_keep_their_own_clauses() {
    let bench = Bench::frozen().await;
    let mut reader = five(&bench, "reader").await;
    let mut packets = Vec::new();
    for (id, clause) in [(1, None), (2, Some("$where")), (3, None)] {
        let properties = clause.map_or(vec![0], |name| {
            let mut list = vec![0x26, 0, 6];
            list.extend_from_slice(name.as_bytes());
            list.extend_from_slice(&[0, 8]);
            list.extend_from_slice(b"kind='a'");
            [vec![u8::try_from(list.len()).unwrap()], list].concat()
        });
        packets.push([&[0, id][..], &properties, &[0, 2, b't', b'0' + id, 1]].concat());
    }
    for packet in &packets {
        reader.send(0x82, packet).await;
    }
    for _ in &packets {
        assert_eq!(reader.receive().await.unwrap().0, 0x90);
    }
    let mut writer = five(&bench, "writer").await;
    for topic in ["t1", "t2", "t3"] {
        writer
            .publish_with(topic, topic, false, &[("kind", "b")])
            .await;
    }
    assert_eq!(reader.payloads_until("t3").await, ["t1", "t3"]);
}

#[tokio::test]
async fn a_clause_lasts_as_long_as_the_session() {
    let bench = Bench::frozen().await;
    let at = bench.mqtt();
    let lasting = Opening {
        clean: false,
        // Session Expiry Interval: an hour.
        properties: &[0x11, 0, 0, 0x0e, 0x10],
        ..Opening::of(5)
    };
    let (mut reader, _) = Bare::open(at, &lasting, "reader", "user0", "secret0").await;
    reader.subscribe_with(&["t"], &[WANTED]).await;
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    drop(reader);
    watcher.receive().await;
    let mut writer = five(&bench, "writer").await;
    both(&mut writer, "t").await;
    let (mut reader, _) = Bare::open(at, &lasting, "reader", "user0", "secret0").await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
    both(&mut writer, "t").await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
    let (mut reader, _) = Bare::connect_v5(at, "reader", "user0", "secret0").await;
    assert_eq!(reader.subscribe("t").await, 1);
    gets_everything(&mut reader, &mut writer).await;
}

#[tokio::test]
async fn retained_messages_are_asked_about_as_well() {
    let bench = Bench::frozen().await;
    let mut writer = five(&bench, "writer").await;
    writer
        .publish_with("r/1", "other", true, &[("kind", "other")])
        .await;
    writer.publish_with("r/2", "last", true, LAST).await;
    let mut reader = five(&bench, "reader").await;
    reader.subscribe_with(&["r/#"], &[WANTED]).await;
    assert_eq!(reader.payloads_until("last").await, ["last"]);
}

#[tokio::test]
async fn no_member_of_a_shared_group_takes_what_it_does_not_want() {
    let bench = Bench::frozen().await;
    let (mut one, mut two) = (five(&bench, "one").await, five(&bench, "two").await);
    one.subscribe_with(&["$share/g/t"], &[WANTED]).await;
    two.subscribe_with(&["$share/g/t"], &[("$where", "kind = 'other'")])
        .await;
    let mut writer = five(&bench, "writer").await;
    for _ in 0..3 {
        both(&mut writer, "t").await;
    }
    writer
        .publish_with("t", "end", false, &[("kind", "other")])
        .await;
    assert_eq!(
        two.payloads_until("end").await,
        ["other", "other", "other", "end"]
    );
    for _ in 0..3 {
        assert_eq!(one.payloads_until("last").await, ["last"]);
    }
}

#[tokio::test]
async fn the_publishers_client_id_can_be_asked_for() {
    let bench = Bench::frozen().await;
    let mut reader = five(&bench, "reader").await;
    let clause = "clientid IN ('writer', 'http-client') AND topic LIKE 't/%' AND qos > 0";
    reader.subscribe_with(&["t/#"], &[("$where", clause)]).await;
    let mut other = five(&bench, "other").await;
    other.publish_with("t/1", "other", false, &[]).await;
    bench
        .post("/topics/t%2F1?client_id=http-client", "by HTTP")
        .await;
    let mut writer = five(&bench, "writer").await;
    writer.publish_with("t/1", "last", false, &[]).await;
    assert_eq!(reader.payloads_until("last").await, ["by HTTP", "last"]);
}

#[tokio::test]
async fn a_clause_that_is_not_understood_is_refused_with_a_reason() {
    let bench = Bench::frozen().await;
    let mut reader = five(&bench, "reader").await;
    for clause in [
        "",
        "kind =",
        "kind = \"a\"",
        "a BETWEEN 1 AND 2",
        "DROP TABLE t",
    ] {
        let codes = reader
            .subscribe_with(&["a", "b"], &[("$where", clause)])
            .await;
        assert_eq!(codes, [0x83, 0x83], "{clause}");
        let reason = bench.refusal();
        assert!(reason.contains("$where is not understood"), "{reason}");
    }
    assert!(bench.app.broker.subscriptions().await.is_empty());
}

#[tokio::test]
async fn the_policies_are_asked_before_the_clause() {
    let deny = Policy {
        name: "deny-sub".to_owned(),
        priority: 0,
        effect: Effect::Deny,
        actions: vec![Action::Sub],
        ..Policy::default()
    };
    let bench = Bench::with(Settings {
        policies: vec![deny, Policy::default()],
        ..Settings::default()
    })
    .await;
    let mut reader = five(&bench, "reader").await;
    let codes = reader.subscribe_with(&["a"], &[("$where", "?")]).await;
    assert_eq!(codes, [0x87]);
}
