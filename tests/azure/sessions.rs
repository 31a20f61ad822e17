//! Sessions: whose a name is, how many a client has, how long they last, and what waits in them.

use std::net::SocketAddr;

use jiff::SignedDuration;
use mqttstack_broker::dialect::{ConnectCode, Dialect};
use serde_json::{Value, json};

use crate::bench::{Ask, Bench};
use crate::mqtt::{admitted, listening, question};
use crate::shared;
use crate::wire::{Connack, Connect, Wire};

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";

async fn namespace(more: Value) -> (Bench, SocketAddr) {
    let mut namespace = json!({"clients": [{"name": "a"}, {"name": "b"}]});
    for (key, value) in more.as_object().unwrap() {
        namespace[key] = value.clone();
    }
    listening(json!({"auth": "lenient", "namespaces": [namespace]})).await
}

fn connect(version: u8, name: &str, session: &str, expiry: Option<u32>) -> Connect {
    Connect {
        clean: expiry.is_none(),
        properties: match expiry {
            Some(seconds) if version == 5 => [&[0x11_u8][..], &seconds.to_be_bytes()].concat(),
            _ => Vec::new(),
        },
        username: Some(name.to_owned()),
        ..Connect::new(version, session)
    }
}

async fn open(
    address: SocketAddr,
    name: &str,
    session: &str,
    expiry: Option<u32>,
) -> (Wire, Connack) {
    Wire::connect(address, &connect(5, name, session, expiry)).await
}

/// Leaves and waits until the broker has seen it.
async fn leave(bench: &Bench, wire: Wire, session: &str) {
    wire.leave().await;
    shared::offline(&bench.app.broker, session).await;
}

/// What the dialect itself answers to a client with this name and session name.
async fn refusal(
    bench: &Bench,
    dialect: &dyn Dialect,
    name: &str,
    session: &str,
) -> (ConnectCode, String) {
    let _ = bench;
    let mut connect = question("", "");
    connect.authentication_method = None;
    connect.authentication_data = None;
    connect.username = Some(name.to_owned());
    connect.client_id = session.to_owned();
    let refusal = dialect.connect(&connect).await.unwrap_err();
    (refusal.code, refusal.reason)
}

#[tokio::test]
async fn a_session_name_belongs_to_one_authentication_name_online_and_offline() {
    let (bench, address) = namespace(json!({})).await;
    let (wire, connack) = open(address, "a", "123", Some(600)).await;
    assert_eq!(connack.code, 0);
    assert_eq!(open(address, "b", "123", None).await.1.code, 0x87);
    leave(&bench, wire, "123").await;
    assert_eq!(open(address, "b", "123", None).await.1.code, 0x87);
    // The same pair takes it over, with what is in it.
    let (_wire, connack) = open(address, "a", "123", Some(600)).await;
    assert_eq!((connack.code, connack.session_present), (0, true));
}

#[tokio::test]
async fn the_same_pair_takes_its_connection_over() {
    let (bench, address) = namespace(json!({"life_cycle_topic": "life"})).await;
    let (mut first, _) = open(address, "a", "123", Some(600)).await;
    let (second, connack) = open(address, "a", "123", Some(600)).await;
    assert_eq!(connack.code, 0);
    assert_eq!(first.disconnected().await, 0x8e);
    leave(&bench, second, "123").await;
    let target = "/topics/life/eventsubscriptions/s:receive?api-version=x&maxEvents=9";
    let ask = Ask::post(target).header("Authorization", "SharedAccessKey dGVzdGtleQ==");
    let told = bench.json(200, ask).await;
    let told: Vec<_> = told["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["event"]["data"])
        .map(|data| {
            (
                data["sequenceNumber"].as_u64().unwrap(),
                data["disconnectionReason"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, None),
            (1, Some("SessionTakenOver")),
            (2, None),
            (2, Some("ClientInitiatedDisconnect")),
        ]
    );
}

#[tokio::test]
async fn offline_sessions_count_until_they_are_over() {
    let (bench, address) = namespace(json!({})).await;
    let (wire, _) = open(address, "a", "123", Some(600)).await;
    let (_, connack) = open(address, "a", "456", None).await;
    assert_eq!(
        connack.code, 0x97,
        "one session for each authentication name"
    );
    leave(&bench, wire, "123").await;
    assert_eq!(open(address, "a", "456", None).await.1.code, 0x97);
    assert_eq!(open(address, "b", "456", None).await.1.code, 0);
    // A clean start without an expiry ends the session with its connection.
    let (wire, connack) = open(address, "a", "123", None).await;
    assert_eq!(connack.code, 0);
    wire.leave().await;
    assert_eq!(open(address, "a", "789", None).await.1.code, 0);
}

#[tokio::test]
async fn the_namespace_says_how_many_sessions_a_name_may_have() {
    let most =
        json!({"topic_spaces_configuration": {"maximumClientSessionsPerAuthenticationName": 2}});
    let (_bench, address) = namespace(most).await;
    let (_first, one) = open(address, "a", "1", None).await;
    let (_second, two) = open(address, "a", "2", None).await;
    let (_, three) = open(address, "a", "3", None).await;
    assert_eq!((one.code, two.code), (0, 0));
    assert_eq!(three.code, 0x97);
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let (bench, _) = namespace(json!({})).await;
    let dialect = bench.azure.dialect(&bench.app);
    let mut first = question("", "");
    first.authentication_method = None;
    first.username = Some("a".to_owned());
    let grant = dialect.connect(&first).await.unwrap();
    admitted(&*dialect, grant);
    let (code, reason) = refusal(&bench, &*dialect, "b", "session").await;
    assert_eq!(code, ConnectCode::NotAuthorized);
    assert!(
        reason.contains("belongs to a session of another authentication name"),
        "{reason}"
    );
    let (code, reason) = refusal(&bench, &*dialect, "a", "other").await;
    assert_eq!(code, ConnectCode::QuotaExceeded);
    assert!(
        reason.starts_with("QuotaExceeded: \"a\" has the sessions [\"session\"]"),
        "{reason}"
    );
    let mut strange = question("SCRAM", "x");
    strange.tls.server_name = Some("nsname.westus3-1.ts.eventgrid.azure.net".to_owned());
    assert!(dialect.claims(&strange));
    let refusal = dialect.connect(&strange).await.unwrap_err();
    assert_eq!(refusal.code, ConnectCode::BadAuthenticationMethod);
}

#[tokio::test]
async fn a_session_to_come_back_to_needs_a_name() {
    let (_bench, address) = namespace(json!({})).await;
    let (_, connack) = Wire::connect(address, &connect(4, "a", "", Some(1))).await;
    assert_eq!(connack.code, 2);
    let (_wire, connack) = Wire::connect(address, &connect(5, "a", "", Some(1))).await;
    assert_eq!(connack.code, 0);
}

#[tokio::test]
async fn a_session_lasts_no_longer_than_the_namespace_allows() {
    let (_bench, address) = namespace(json!({})).await;
    let (_wire, connack) = open(address, "a", "1", Some(86_400)).await;
    assert!(connack.has(&[0x11, 0, 0, 0x0e, 0x10]), "{connack:?}");
    let (_wire, connack) = open(address, "b", "2", Some(600)).await;
    assert!(!connack.has(&[0x11, 0, 0, 0x0e, 0x10]));
}

#[tokio::test]
async fn a_session_of_3_1_1_lasts_as_long_as_the_namespace_says() {
    let most = json!({"topic_spaces_configuration": {"maximumSessionExpiryInHours": 8}});
    let (bench, address) = namespace(most).await;
    let stay = connect(4, "a", "1", Some(1));
    let (wire, _) = Wire::connect(address, &stay).await;
    leave(&bench, wire, "1").await;
    let (_wire, connack) = Wire::connect(address, &stay).await;
    assert!(connack.session_present);
}

#[tokio::test]
async fn a_client_that_is_disabled_or_deleted_has_to_go() {
    let (bench, address) = namespace(json!({})).await;
    let (mut wire, _) = open(address, "a", "1", None).await;
    let (mut other, _) = open(address, "b", "2", None).await;
    let disabled =
        json!({"properties": {"state": "Disabled", "clientCertificateAuthentication": {}}});
    let disabled = disabled.to_string();
    bench
        .json(
            200,
            Ask::new("PUT", &format!("{NAMESPACE}/clients/a")).body(disabled),
        )
        .await;
    assert_eq!(wire.disconnected().await, 0x87);
    assert!(
        bench.reasons().contains("was disabled"),
        "{}",
        bench.reasons()
    );
    let ask = Ask::new("DELETE", &format!("{NAMESPACE}/clients/b"));
    assert_eq!(bench.ask(ask).await.status, 204);
    assert_eq!(other.disconnected().await, 0x87);
    assert!(
        bench.reasons().starts_with("Client could not be found"),
        "{}",
        bench.reasons()
    );
}

async fn publish(address: SocketAddr, count: usize, payload: &str) {
    let (mut wire, _) = open(address, "b", "publisher", None).await;
    for _ in 0..count {
        wire.publish("q", payload, 2, &[]).await;
    }
    wire.leave().await;
}

async fn subscribed_and_gone(bench: &Bench, address: SocketAddr) {
    let (mut wire, _) = open(address, "a", "reader", Some(600)).await;
    assert_eq!(wire.subscribe("q", 1).await, 1);
    leave(bench, wire, "reader").await;
}

#[tokio::test]
async fn a_hundred_messages_wait_and_one_more_ends_the_session() {
    let (bench, address) = namespace(json!({})).await;
    subscribed_and_gone(&bench, address).await;
    publish(address, 100, "x").await;
    let (mut wire, connack) = open(address, "a", "reader", Some(600)).await;
    assert!(connack.session_present);
    for _ in 0..100 {
        assert_eq!(wire.receive().await.payload, "x");
    }
    leave(&bench, wire, "reader").await;
    publish(address, 101, "x").await;
    let (_wire, connack) = open(address, "a", "reader", Some(600)).await;
    assert!(!connack.session_present);
    assert!(
        bench.reasons().starts_with("SessionOverflow: 101 messages"),
        "{}",
        bench.reasons()
    );
}

#[tokio::test]
async fn a_megabyte_waits_and_more_ends_the_session() {
    let (bench, address) = namespace(json!({})).await;
    subscribed_and_gone(&bench, address).await;
    let half = "x".repeat(500 * 1024);
    publish(address, 3, &half).await;
    let (_wire, connack) = open(address, "a", "reader", Some(600)).await;
    assert!(!connack.session_present);
    assert!(
        bench.reasons().contains("1536000 bytes"),
        "{}",
        bench.reasons()
    );
}

#[tokio::test]
async fn messages_of_qos_0_do_not_wait() {
    let (bench, address) = namespace(json!({})).await;
    subscribed_and_gone(&bench, address).await;
    let (mut wire, _) = open(address, "b", "publisher", None).await;
    wire.publish("q", "lost", 0, &[]).await;
    wire.publish("q", "kept", 2, &[]).await;
    let (mut wire, _) = open(address, "a", "reader", Some(600)).await;
    assert_eq!(wire.receive().await.payload, "kept");
}

#[tokio::test]
async fn nobody_is_asked_to_go_while_the_clock_stands() {
    let (bench, address) = namespace(json!({})).await;
    let (mut wire, _) = open(address, "a", "1", None).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_hours(24 * 365))
        .unwrap();
    wire.publish("q", "x", 2, &[]).await;
    assert_eq!(bench.app.broker.clients().await.len(), 1);
}
