//! Enhanced authentication over a real connection: the recorded CONNECT, tokens that are renewed
//! with AUTH (reason code 0x19), and connections that end when theirs has expired.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::bench::{Bench, OBJECT_ID, claims, recording, tokens};
use crate::mqtt::{Client, listening};
use crate::wire::{AUTH, Connack, Connect, Wire, packet, properties, text};

/// The reason codes and the property identifiers that matter here.
const NOT_AUTHORIZED: u8 = 0x87;
const REAUTHENTICATE: u8 = 0x19;
const METHOD: u8 = 0x15;
const DATA: u8 = 0x16;
const REASON: u8 = 0x1f;

fn authentication(method: &str, data: &str) -> Vec<u8> {
    [vec![METHOD], text(method), vec![DATA], text(data)].concat()
}

fn connect(method: &str, data: &str, session: &str) -> Connect {
    Connect {
        properties: authentication(method, data),
        ..Connect::new(5, session)
    }
}

async fn open(bench_address: std::net::SocketAddr, method: &str, data: &str) -> (Wire, Connack) {
    Wire::connect(bench_address, &connect(method, data, "session")).await
}

async fn renew(wire: &mut Wire, method: &str, data: &str) {
    let own = properties(&authentication(method, data));
    wire.send(&packet(AUTH, &[&[REAUTHENTICATE], &own])).await;
}

/// The reason code of the AUTH that answers.
async fn renewed(wire: &mut Wire) -> u8 {
    let (first, body) = wire.answer().await;
    assert_eq!(first, AUTH, "{body:?}");
    body.first().copied().unwrap_or(0)
}

/// Code and words of the DISCONNECT that must be next.
async fn ended(wire: &mut Wire) -> (u8, String) {
    let (first, body) = wire.answer().await;
    assert_eq!(first, crate::wire::DISCONNECT, "{body:?}");
    let mut words = String::new();
    if let Some(at) = body.iter().position(|&byte| byte == REASON) {
        let length: usize = u16::from_be_bytes([body[at + 1], body[at + 2]]).into();
        words = String::from_utf8(body[at + 3..at + 3 + length].to_vec()).unwrap();
    }
    wire.ended().await;
    (body[0], words)
}

/// A token of the independent signer.
fn token(kind: &str, name: &str) -> String {
    let list = if kind == "custom" {
        &tokens()["custom"]["cases"]
    } else {
        &tokens()[kind]
    };
    let cases = list.as_array().unwrap().iter();
    let case = cases.clone().find(|case| case["name"] == name);
    case.unwrap_or_else(|| panic!("no token {name}"))["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the journal says of the newest thing that ended.
fn last_reason(bench: &Bench) -> String {
    let entry = bench.entry();
    assert_eq!(entry.head.method, "DISCONNECT");
    entry.outcome().unwrap().draft.reasons.join("\n")
}

fn custom_settings() -> Value {
    json!({"namespaces": [{"topic_spaces_configuration": {"clientAuthentication": {
        "customJwtAuthentication": {
            "tokenIssuer": "https://issuer.example",
            "issuerCertificates": [tokens()["custom"]["public_key"]],
        },
    }}}]})
}

#[tokio::test]
async fn the_recorded_connect_is_understood_and_its_placeholder_token_refused() {
    let (_bench, address) = listening(json!({})).await;
    let vector = recording("azure-mqtt-oauth2-jwt-connect.json");
    let hex = vector["connect_hex"].as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&bytes).await, NOT_AUTHORIZED);
    // The same bytes with a real token in the place of the placeholder are accepted. Everything
    // before the properties has ten bytes.
    let at = bytes
        .windows(11)
        .position(|part| part == b"aaa.bbb.ccc")
        .unwrap();
    let body = &bytes[2..12];
    let own = properties(&authentication("OAUTH2-JWT", &token("entra", "good")));
    let rest = &bytes[at + 11..];
    let changed = packet(0x10, &[body, &own, rest]);
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&changed).await, 0);
}

#[tokio::test]
async fn a_connection_ends_when_its_token_expires() {
    let (bench, address) = listening(json!({"namespaces": [{"life_cycle_topic": "life"}]})).await;
    let good = token("entra", "good");
    let (mut wire, connack) = open(address, "OAUTH2-JWT", &good).await;
    assert_eq!(connack.code, 0);
    wire.publish("a/b", "x", 2, &[]).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(3600))
        .unwrap();
    let (code, words) = ended(&mut wire).await;
    assert_eq!(code, NOT_AUTHORIZED);
    assert!(
        words.contains("the token expired at 2026-11-21T23:51:00Z"),
        "{words}"
    );
    assert!(last_reason(&bench).contains("the token expired at"));
    let target = "/topics/life/eventsubscriptions/s:receive?api-version=x&maxEvents=9";
    let ask =
        crate::bench::Ask::post(target).header("Authorization", "SharedAccessKey dGVzdGtleQ==");
    let told = bench.json(200, ask).await;
    let data = &told["value"][1]["event"]["data"];
    assert_eq!(
        data["disconnectionReason"], "ClientAuthenticationError",
        "{told}"
    );
}

#[tokio::test]
async fn a_renewed_token_keeps_the_connection() {
    let (bench, address) = listening(json!({})).await;
    let (mut wire, _) = open(address, "OAUTH2-JWT", &token("entra", "good")).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1800))
        .unwrap();
    let newer = bench.token().await;
    assert_eq!(claims(&newer)["oid"], OBJECT_ID);
    renew(&mut wire, "OAUTH2-JWT", &newer).await;
    assert_eq!(renewed(&mut wire).await, 0);
    // The first token is over, the second is not.
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1801))
        .unwrap();
    wire.publish("a/b", "x", 2, &[]).await;
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1799))
        .unwrap();
    assert_eq!(ended(&mut wire).await.0, NOT_AUTHORIZED);
}

#[tokio::test]
async fn every_bad_token_ends_the_connection_that_renews_with_it() {
    let (bench, address) = listening(json!({})).await;
    for case in tokens()["entra"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let Some(reason) = case["refused"].as_str().filter(|_| name != "no-role") else {
            continue;
        };
        let (mut wire, connack) = open(address, "OAUTH2-JWT", &token("entra", "good")).await;
        assert_eq!(connack.code, 0, "{name}");
        renew(&mut wire, "OAUTH2-JWT", case["token"].as_str().unwrap()).await;
        let (code, words) = ended(&mut wire).await;
        assert_eq!(code, NOT_AUTHORIZED, "{name}");
        assert!(words.contains(reason), "{name}: {words}");
    }
    assert!(bench.app.broker.clients().await.is_empty());
}

#[tokio::test]
async fn another_identity_cannot_renew_a_session() {
    let (_bench, address) = listening(json!({})).await;
    let (mut wire, _) = open(address, "OAUTH2-JWT", &token("entra", "good")).await;
    renew(&mut wire, "OAUTH2-JWT", &token("entra", "no-role")).await;
    let (code, words) = ended(&mut wire).await;
    assert_eq!(code, NOT_AUTHORIZED);
    assert!(words.contains("the session belongs to"), "{words}");
}

#[tokio::test]
async fn a_renewal_with_another_method_is_a_bad_method() {
    let (_bench, address) = listening(json!({})).await;
    let good = token("entra", "good");
    let (mut wire, _) = open(address, "OAUTH2-JWT", &good).await;
    renew(&mut wire, "CUSTOM-JWT", &good).await;
    assert_eq!(ended(&mut wire).await.0, 0x8c);
}

#[tokio::test]
async fn a_custom_token_is_renewed_and_expires_like_any_other() {
    let (bench, address) = listening(custom_settings()).await;
    let good = token("custom", "good");
    let (mut wire, connack) = open(address, "CUSTOM-JWT", &good).await;
    assert_eq!(connack.code, 0);
    assert_eq!(
        bench.app.broker.clients().await[0].identity.as_deref(),
        Some("Sensor-1")
    );
    renew(&mut wire, "CUSTOM-JWT", &good).await;
    assert_eq!(renewed(&mut wire).await, 0);
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(3600))
        .unwrap();
    assert_eq!(ended(&mut wire).await.0, NOT_AUTHORIZED);
    // An Entra method with the custom token is not told apart from a wrong issuer.
    let (_, connack) = open(address, "OAUTH2-JWT", &good).await;
    assert_eq!(connack.code, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_token_in_the_password_is_refused_and_the_journal_says_where_it_belongs() {
    let (bench, address) = listening(json!({})).await;
    let refused = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = refused.clone();
    bench
        .app
        .broker
        .on_refused(std::sync::Arc::new(move |packet| told.lock().push(packet)));
    for version in [4_u8, 5] {
        let own: &[u8] = if version == 5 { &[0] } else { &[] };
        let head = [text("MQTT"), vec![version, 0xc2, 0, 60]].concat();
        let payload = [text("s"), text("user"), text(token("entra", "good"))].concat();
        let mut client = Client::open(address).await;
        let bytes = packet(0x10, &[&head, own, &payload]);
        let code = if version == 5 { NOT_AUTHORIZED } else { 5 };
        assert_eq!(client.connect(&bytes).await, code);
        let reason = refused.lock().pop().unwrap().reason;
        assert!(reason.starts_with("Client could not be found"), "{reason}");
        assert!(
            reason.contains("belongs into the Authentication Data of an MQTT 5 CONNECT with the method OAUTH2-JWT"),
            "{reason}"
        );
    }
}
