//! TDMQ's MQTT side, seen from MQTT clients: who gets in, what they may, and the event topics.

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack::broker::message::Transport;
use mqttstack::tls::Authority;
use mqttstack::vendor::tencent_tdmq::{Action, Effect, Policy, Settings};
use rcgen::DnType;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::{Bench, anywhere};
use crate::certificates::{TestCa, TestLeaf};
use crate::mqtt::Device;

/// Made with Python's hmac and hashlib: {"alg":"HS256","typ":"JWT"} over
/// {"sub":"dev-jwt","iat":1699999000,"exp":1700003600}, secret `jwt-secret`.
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZXYtand0IiwiaWF0IjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDB9.EYgn2BkGGOuRGkVs90Km-6XlXD8oOVcfsDHu85QjSv8";
/// The same, expired at 1699999999.
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZXYtand0IiwiaWF0IjoxNjk5OTk5MDAwLCJleHAiOjE2OTk5OTk5OTl9.-WLWyd5_vC4XQ7HSf7mh1Oo-Bbbbwzcufm1b_p_KzME";
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

/// A connection that speaks bare MQTT 3.1.1, so that every code on the wire can be seen.
struct Bare<S>(S);

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut left = body.len();
    loop {
        let digit = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

impl Bare<TcpStream> {
    /// Connects and returns the CONNACK's code.
    async fn connect(at: SocketAddr, client_id: &str, user: &str, password: &str) -> (Self, u8) {
        let stream = TcpStream::connect(at).await.unwrap();
        Self::over(stream, &[client_id, user, password], 0xc2).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bare<S> {
    /// Sends a CONNECT with these fields and flags, and returns the CONNACK's code.
    async fn over(mut stream: S, fields: &[&str], flags: u8) -> (Self, u8) {
        let mut body = [&text("MQTT")[..], &[4, flags, 0, 60]].concat();
        for field in fields {
            body.extend_from_slice(&text(field));
        }
        stream.write_all(&packet(0x10, &body)).await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        (Self(stream), connack[3])
    }

    /// Subscribes and returns the SUBACK's code.
    async fn subscribe(&mut self, filter: &str) -> u8 {
        let body = [&[0, 1][..], &text(filter), &[1]].concat();
        self.0.write_all(&packet(0x82, &body)).await.unwrap();
        let mut suback = [0; 5];
        self.0.read_exact(&mut suback).await.unwrap();
        suback[4]
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    async fn publish(&mut self, topic: &str) {
        let body = [&text(topic)[..], &[0, 2], b"x"].concat();
        self.0.write_all(&packet(0x32, &body)).await.unwrap();
        let mut puback = [0; 4];
        self.0.read_exact(&mut puback).await.unwrap();
    }
}

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
    device.publish("home/dev2/x").await;
    device.publish("home/dev1/quiet").await;
    device.publish("home/dev1/loud").await;
    assert_eq!(watcher.receive().await.topic, "home/dev1/loud");
}

#[tokio::test]
async fn a_token_signed_with_the_secret_gets_in_until_it_expires() {
    let bench = Bench::with(settings(json!({
        "authenticators": [{"algorithm": "hmac-based", "from": "password", "secret": "jwt-secret"}],
    })))
    .await;
    let at = bench.mqtt();
    assert_eq!(Bare::connect(at, "a", "anyone", HS256).await.1, 0);
    assert_eq!(Bare::connect(at, "b", "anyone", EXPIRED).await.1, 4);
    let (head, signature) = HS256.rsplit_once('.').unwrap();
    let forged = format!("{head}.A{}", &signature[1..]);
    assert_eq!(Bare::connect(at, "c", "anyone", &forged).await.1, 4);
    assert_eq!(Bare::connect(at, "d", "anyone", RS256).await.1, 4);
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

#[tokio::test]
async fn issuer_and_audience_are_checked_where_they_are_configured() {
    for (field, code) in [
        (json!({}), 0),
        (json!({"issuer": "x"}), 4),
        (json!({"audience": "x"}), 4),
    ] {
        let mut authenticator = json!({"from": "password", "secret": "jwt-secret"});
        authenticator
            .as_object_mut()
            .unwrap()
            .extend(field.as_object().unwrap().clone());
        let bench = Bench::with(settings(json!({"authenticators": [authenticator]}))).await;
        assert_eq!(
            Bare::connect(bench.mqtt(), "a", "anyone", HS256).await.1,
            code
        );
    }
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
}

/// A TLS connection with a client certificate.
async fn secure(at: SocketAddr, authority: &Authority, leaf: &TestLeaf) -> TlsStream<TcpStream> {
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
    let name = ServerName::try_from("localhost").unwrap();
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
    let stream = secure(at, &authority, &leaf).await;
    let (mut device, code) = Bare::over(stream, &["car"], 0x02).await;
    assert_eq!(code, 0);
    assert_eq!(device.subscribe("home/VIN1").await, 1);
    assert_eq!(device.subscribe("home/VIN2").await, 0x80);
    let foreign = TestCa::named("other CA").leaf(&[(DnType::CommonName, "VIN1")]);
    let stream = secure(at, &authority, &foreign).await;
    assert_eq!(Bare::over(stream, &["thief"], 0x02).await.1, 4);
}
