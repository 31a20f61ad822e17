//! TDMQ's MQTT side, seen from MQTT clients: who gets in, what they may, and the event topics.

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack::tls::Authority;
use mqttstack_base::message::Transport;
use mqttstack_tencent_tdmq::{Action, Effect, Policy, Settings};
use rcgen::DnType;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bare::{Bare, Opening};
use crate::bench::Bench;
use crate::certificates::{TestCa, TestLeaf};
use crate::mqtt::Device;
use crate::shared::anywhere;

/// Made with Python's hmac and hashlib: {"alg":"HS256","typ":"JWT"} over
/// {"sub":"dev-jwt","iat":1699999000,"exp":1700003600}, secret `jwt-secret`.
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZXYtand0IiwiaWF0IjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDB9.EYgn2BkGGOuRGkVs90Km-6XlXD8oOVcfsDHu85QjSv8";
/// The same claims, RS256, by the key of which `PUBLIC_KEY` is the public half.
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZXYtand0IiwiaWF0IjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDB9.U2vFfKmS9SpyUEz3rQEsixlawnRSDUP8UZ8liN0_Fczi4LW0uSoJnh8bsDVB0jXlxKAz3IdszRuYAEOGOPLKYcN3LlJgzQMJIh586YCyjZAm2fn1tY_3A8X-Mt8Pm65v0YWHWQhlFTJ0HCJMeYrBkyzl01Ko0EmznKx49dB8obYpNB5lownuLOWgqLmhTjqRcBgOMQXjYlJjLVBmJIIMzg1UrAmi2ejJsP5ugWXwI_lyfuHh4mgyX-ODbnzi1PN-8-NfC6atrMBpRLDCDg3FnqTCaZg1dCrGjL2apqncULfAkz_bjcVwjwlDwvMqgxQRwTM2qev9kyE6aIuT_Tfc_g";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0d5zRgB3Kq1FGY82S+yN\n\
/n13F4kEytqHs7Lf99RnS2WGCLEbjkg+Dfy4NkVboqcX0FFY7wpFOWrTm3Tn0ZdQ\n\
yXiANP4c5k6nGactOLQwpL+TcVmM8isj81TvWb8O8btJFnHfN4/+mnal6IYUHR/j\n\
4x9oZzs/dN3mdcJNT0iCplyqHAsrQDuPtIn3WV99ETDbAO2CRLFY9RMFFMxevKqO\n\
jriyIPfEP3Rwna9/vf8TVKxWR4hrrTiLuRqqdslmvErWvn8zk+1YK0FeM940TmFI\n\
8M8gs2UcBx/0nLQjbxY6/I0Bbs8+kBj+C5uTb/O7ludB1ygwqt4byEbWOw2d2PF9\n\
xwIDAQAB\n\
-----END PUBLIC KEY-----\n";

fn settings(json: Value) -> Settings {
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn a_user_gets_in_with_the_right_password_alone() {
    let bench = Bench::frozen().await;
    let at = bench.mqtt();
    let (_device, code) = Bare::connect(at, "dev", "user0", "secret0").await;
    assert_eq!(code, 0);
    assert_eq!(Bare::connect(at, "dev2", "user0", "wrong").await.1, 4);
    let clients = bench.app.broker.clients().await;
    assert_eq!(clients[0].tenant.as_deref(), Some("mqtt-test0001"));
    assert_eq!(clients[0].identity.as_deref(), Some("user0"));
}

#[tokio::test]
async fn policies_decide_over_connect_publish_and_subscribe() {
    let own = Policy {
        actions: vec![Action::Connect, Action::Pub, Action::Sub],
        client_id: Some("dev*".to_owned()),
        resources: vec!["home/${ClientId}/*".to_owned()],
        ..Policy::default()
    };
    let quiet = Policy {
        name: "quiet".to_owned(),
        priority: 0,
        effect: Effect::Deny,
        actions: vec![Action::Pub],
        resources: vec!["home/*/quiet".to_owned()],
        ..Policy::default()
    };
    let bench = Bench::with(Settings {
        policies: vec![own, quiet],
        ..Settings::default()
    })
    .await;
    let at = bench.mqtt();
    assert_eq!(Bare::connect(at, "other", "user0", "secret0").await.1, 5);
    let (mut device, code) = Bare::connect(at, "dev1", "user0", "secret0").await;
    assert_eq!(code, 0);
    assert_eq!(device.subscribe("home/dev1/#").await, 1);
    assert_eq!(device.subscribe("$share/g/home/dev1/x").await, 1);
    assert_eq!(device.subscribe("home/dev2/#").await, 0x80);
    assert_eq!(device.subscribe("#").await, 0x80);
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("home/#", 1).await;
    device.publish("home/dev2/x", "x").await;
    device.publish("home/dev1/quiet", "x").await;
    device.publish("home/dev1/loud", "x").await;
    assert_eq!(watcher.receive().await.topic, "home/dev1/loud");
}

#[tokio::test]
async fn a_token_in_the_user_name_is_checked_with_the_public_key() {
    let bench = Bench::with(settings(json!({
        "authenticators": [{"algorithm": "public-key", "public_key": PUBLIC_KEY}],
    })))
    .await;
    let at = bench.mqtt();
    assert_eq!(Bare::connect(at, "a", RS256, "").await.1, 0);
    let clients = bench.app.broker.clients().await;
    assert_eq!(clients[0].identity.as_deref(), Some("dev-jwt"));
    assert_eq!(Bare::connect(at, "b", HS256, "").await.1, 4);
}

/// The reason of the next event, which must be a client's end.
async fn end_of(watcher: &mut Device) -> Value {
    let received = watcher.receive().await;
    assert_eq!(received.topic, "$events/client_disconnected");
    let mut event: Value = serde_json::from_slice(&received.payload).unwrap();
    event["reason"].take()
}

#[tokio::test]
async fn connecting_subscribing_and_leaving_are_told_on_the_event_topics() {
    let bench = Bench::frozen().await;
    let at = bench.mqtt();
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("$events/#", 0).await;
    let (mut device, _) = Bare::connect(at, "dev", "user0", "secret0").await;
    let received = watcher.receive().await;
    assert_eq!(
        (received.topic.as_str(), received.qos),
        ("$events/client_connected", 0)
    );
    let event: Value = serde_json::from_slice(&received.payload).unwrap();
    assert_eq!(event["clientid"], "dev");
    assert_eq!(event["username"], "user0");
    assert_eq!(event["event"], "client.connected");
    assert_eq!(event["connected_at"], 1_700_000_000_000_i64);
    assert_eq!(event["timestamp"], 1_700_000_000_000_i64);
    assert_eq!(event["proto_ver"], 4);
    assert!(event["clean_start"].is_boolean() && event["keepalive"].is_u64());
    let peername = event["peername"].clone();
    assert!(peername.as_str().unwrap().starts_with("127.0.0.1:"));
    device.subscribe("home").await;
    let received = watcher.receive().await;
    assert_eq!(received.topic, "$events/session_subscribed");
    let event: Value = serde_json::from_slice(&received.payload).unwrap();
    assert_eq!(
        (&event["topic"], &event["qos"]),
        (&json!("home"), &json!(1))
    );
    drop(device);
    let received = watcher.receive().await;
    assert_eq!(received.topic, "$events/client_disconnected");
    let event: Value = serde_json::from_slice(&received.payload).unwrap();
    assert_eq!(event["event"], "client.disconnected");
    assert_eq!(event["disconnected_at"], 1_700_000_000_000_i64);
    assert_eq!(event["peername"], peername);
    assert_eq!(event["reason"], "tcp_closed");
    let (mut leaving, _) = Bare::connect(at, "leaving", "user0", "secret0").await;
    watcher.receive().await;
    leaving.send(0xe0, &[]).await;
    assert_eq!(end_of(&mut watcher).await, "normal");
}

/// A TLS connection with a client certificate.
async fn secure(
    at: SocketAddr,
    host: &'static str,
    authority: &Authority,
    leaf: &TestLeaf,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from(leaf.der.to_vec())];
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let name = ServerName::try_from(host).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn a_device_certificate_gets_in_alone_and_its_subject_decides() {
    let ca = TestCa::new();
    let own = Policy {
        resources: vec!["home/${Certificate.Subject.CommonName}".to_owned()],
        ..Policy::default()
    };
    let bench = Bench::with(Settings {
        policies: vec![own],
        ..ca.settings()
    })
    .await;
    let authority = Authority::open(&mqttstack::tls::Settings::default(), None).unwrap();
    let broker = &bench.app.broker;
    let at = broker
        .listen_tls(Transport::Tls, anywhere(), authority.mqtt())
        .unwrap();
    let leaf = ca.leaf(&[(DnType::CommonName, "VIN1")]);
    let stream = secure(at, "localhost", &authority, &leaf).await;
    let (mut device, code) = Bare::over(stream, &Opening::of(4), &["car"]).await;
    assert_eq!(code, 0);
    assert_eq!(device.subscribe("home/VIN1").await, 1);
    assert_eq!(device.subscribe("home/VIN2").await, 0x80);
    let foreign = TestCa::named("other CA").leaf(&[(DnType::CommonName, "VIN1")]);
    let stream = secure(at, "localhost", &authority, &foreign).await;
    assert_eq!(Bare::over(stream, &Opening::of(4), &["thief"]).await.1, 4);
}

#[tokio::test]
async fn without_a_configured_authority_a_certificate_lets_nobody_in_and_the_journal_says_why() {
    let bench = Bench::frozen().await;
    let authority = Authority::open(&mqttstack::tls::Settings::default(), None).unwrap();
    let broker = &bench.app.broker;
    let at = broker
        .listen_tls(Transport::Tls, anywhere(), authority.mqtt())
        .unwrap();
    let leaf = TestCa::new().leaf(&[(DnType::CommonName, "VIN1")]);
    let host = "mqtt-test0001-gz-public.mqtt.tencenttdmq.com";
    let stream = secure(at, host, &authority, &leaf).await;
    assert_eq!(Bare::over(stream, &Opening::of(4), &["car"]).await.1, 4);
    let reason = bench.refusal();
    assert!(reason.contains("certificate does not count"), "{reason}");
}

#[tokio::test]
async fn a_point_to_point_publish_over_mqtt_reaches_its_client_alone() {
    let bench = Bench::frozen().await;
    let at = bench.mqtt();
    let mut target = Device::v4(at, "dev/2").await;
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("home/#", 1).await;
    let (mut device, _) = Bare::connect(at, "dev1", "user0", "secret0").await;
    device.publish("home/p2p/dev/2", "for you").await;
    device.publish("home/all", "for all").await;
    let received = target.receive().await;
    assert_eq!(received.topic, "home/p2p/dev/2");
    assert_eq!(received.payload, "for you");
    assert_eq!(watcher.receive().await.topic, "home/all");
}

#[tokio::test]
async fn publishing_over_mqtt_brings_its_first_level_into_being() {
    let bench = Bench::unsigned().await;
    let (mut device, _) = Bare::connect(bench.mqtt(), "dev", "user0", "secret0").await;
    device.publish("garden/door", "x").await;
    let topics = bench.cloud("DescribeTopicList", json!({})).await;
    assert_eq!(topics["Data"][0]["Topic"], "garden");
}

async fn kicked(bench: &Bench, fields: Value) -> bool {
    let opening = Opening {
        clean: false,
        ..Opening::of(4)
    };
    let at = bench.mqtt();
    let connect = || Bare::open(at, &opening, "dev", "user0", "secret0");
    let (mut device, _) = connect().await;
    device.subscribe("home/#").await;
    bench.cloud("KickOutClient", fields).await;
    while device.receive().await.is_some() {}
    let (mut again, _) = connect().await;
    bench.post("/topics/home%2Fx", "x").await;
    // A session that was kept brings its subscription along.
    again.send(0xc0, &[]).await;
    let (kind, _) = again.receive().await.unwrap();
    let present = kind & 0xf0 == 0x30;
    bench
        .cloud(
            "KickOutClient",
            json!({"ClientId": "dev", "DeleteSession": true}),
        )
        .await;
    present
}

#[tokio::test]
async fn who_is_kicked_out_is_said_to_be() {
    let bench = Bench::unsigned().await;
    let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    for deleted in [false, true] {
        let (_device, _) = Bare::connect(bench.mqtt(), "dev", "user0", "secret0").await;
        let fields = json!({"ClientId": "dev", "DeleteSession": deleted});
        bench.cloud("KickOutClient", fields).await;
        assert_eq!(end_of(&mut watcher).await, "kicked");
    }
}

#[tokio::test]
async fn who_is_kicked_out_keeps_the_session_unless_it_is_deleted() {
    let bench = Bench::unsigned().await;
    assert!(kicked(&bench, json!({"ClientId": "dev"})).await);
    let bench = Bench::unsigned().await;
    assert!(!kicked(&bench, json!({"ClientId": "dev", "DeleteSession": true})).await);
}

#[tokio::test]
async fn an_offline_client_is_listed_by_the_time_at_which_it_left() {
    let bench = Bench::unsigned().await;
    let opening = Opening {
        clean: false,
        ..Opening::of(4)
    };
    let (device, _) = Bare::open(bench.mqtt(), &opening, "dev", "user0", "secret0").await;
    let listed = async |asked: Value| {
        let mut answer = bench.cloud("DescribeClientList", asked).await;
        answer["Clients"].take()
    };
    let online = listed(json!({"OnlineStatus": 1})).await;
    assert_eq!(online[0]["ConnectTime"], 1_700_000_000_000_i64);
    assert!(online[0]["DisconnectTime"].is_null());
    let minute = jiff::SignedDuration::from_mins(1);
    bench.app.clock.advance(minute).unwrap();
    let mut watcher = Device::v4(bench.mqtt(), "watcher").await;
    watcher.subscribe("$events/client_disconnected", 0).await;
    drop(device);
    watcher.receive().await;
    let left = 1_700_000_060_000_i64;
    let offline = listed(json!({"OnlineStatus": 2, "MaxTimestamp": left})).await;
    assert_eq!(offline[0]["DisconnectTime"], left);
    assert_eq!(offline[0]["ConnectTime"], 1_700_000_000_000_i64);
    let earlier = listed(json!({"OnlineStatus": 2, "MaxTimestamp": left - 1})).await;
    assert_eq!(earlier, json!([]));
}
