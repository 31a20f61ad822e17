//! Tencent IoT Hub from both ends: devices over MQTT, byte by byte, and the cloud API and the
//! device gateway beside them. The exchanges over HTTP alone are in `fixtures/tencent-iot`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack::vendor::tencent_tc3::Auth;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::mqtt::{Device as Open, PATIENCE};
use crate::raw::{ask, get};

const CLIENT_ID: &str = "ABCDE12345dev01";
const OWN: &str = "ABCDE12345/dev01";

#[derive(serde::Deserialize)]
struct Vectors {
    cases: Vec<Login>,
}

#[derive(Clone, serde::Deserialize)]
struct Login {
    client_id: String,
    username: String,
    password: String,
}

fn logins() -> Vec<Login> {
    let text = include_str!("../../fixtures/tencent-iot/recorded/tencent-iothub-mqtt.json");
    serde_json::from_str::<Vectors>(text).unwrap().cases
}

async fn started(change: impl FnOnce(&mut Config)) -> Emulator {
    let mut config = Config::free_ports();
    // The signatures of cloud API calls are looked at elsewhere.
    config.tencent_cloud.auth = Auth::Off;
    change(&mut config);
    Emulator::builder()
        .config(config)
        .clock("2023-11-14T22:13:20Z".parse().unwrap())
        .seed(1)
        .start()
        .await
        .unwrap()
}

/// What a client is attached by.
trait Line: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// An MQTT 3.x client that sees every packet.
struct Wire {
    stream: Box<dyn Line>,
    buffer: BytesMut,
}

fn text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap());
    out.put_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut rest = body.len();
    loop {
        let more = if rest > 127 { 0x80 } else { 0 };
        out.push(u8::try_from(rest % 128).unwrap() | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// How a CONNECT differs from the usual one.
#[derive(Clone, Copy)]
struct Form {
    name: &'static str,
    level: u8,
    will: bool,
}

const USUAL: Form = Form {
    name: "MQTT",
    level: 4,
    will: false,
};

impl Wire {
    /// Connects; the CONNACK's return code.
    async fn open(address: SocketAddr, login: &Login, form: Form) -> (Self, u8) {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::open_over(Box::new(stream), login, form).await
    }

    async fn open_over(stream: Box<dyn Line>, login: &Login, form: Form) -> (Self, u8) {
        let mut body = BytesMut::new();
        text(&mut body, form.name);
        body.put_u8(form.level);
        body.put_u8(0xC2 | if form.will { 0x04 } else { 0 });
        body.put_u16(60);
        if form.level == 5 {
            body.put_u8(0);
        }
        text(&mut body, &login.client_id);
        if form.will {
            text(&mut body, "ABCDE12345/dev01/event");
            text(&mut body, "gone");
        }
        text(&mut body, &login.username);
        text(&mut body, &login.password);
        let mut wire = Self {
            stream,
            buffer: BytesMut::new(),
        };
        wire.send(packet(0x10, &body)).await;
        let (kind, body) = wire.next().await.expect("a CONNACK");
        assert_eq!(kind, 0x20);
        (wire, body[1])
    }

    async fn device(address: SocketAddr) -> Self {
        let (wire, code) = Self::open(address, &logins()[0], USUAL).await;
        assert_eq!(code, 0);
        wire
    }

    async fn send(&mut self, bytes: Vec<u8>) {
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet; `None` once the connection has ended.
    async fn next(&mut self) -> Option<(u8, Bytes)> {
        let wanted = async {
            loop {
                if let Some(packet) = self.parse() {
                    return Some(packet);
                }
                let read = self.stream.read_buf(&mut self.buffer).await;
                if !read.is_ok_and(|count| count > 0) {
                    return None;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wanted)
            .await
            .expect("no packet came")
    }

    fn parse(&mut self) -> Option<(u8, Bytes)> {
        let kind = *self.buffer.first()?;
        let (mut length, mut at) = (0, 1);
        loop {
            let byte = *self.buffer.get(at)?;
            length |= usize::from(byte & 0x7F) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if self.buffer.len() < at + length {
            return None;
        }
        self.buffer.advance(at);
        Some((kind, self.buffer.split_to(length).freeze()))
    }

    async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        let mut body = BytesMut::new();
        body.put_u16(7);
        text(&mut body, filter);
        body.put_u8(qos);
        self.send(packet(0x82, &body)).await;
        let (kind, body) = self.next().await.expect("a SUBACK");
        assert_eq!(kind, 0x90);
        body[2]
    }

    async fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        let mut body = BytesMut::new();
        text(&mut body, topic);
        if qos > 0 {
            body.put_u16(9);
        }
        body.put_slice(payload.as_bytes());
        self.send(packet(0x30 | qos << 1, &body)).await;
    }

    /// The next message: its topic and payload.
    async fn received(&mut self) -> (String, String) {
        loop {
            let (kind, mut body) = self.next().await.expect("a PUBLISH");
            if kind >> 4 != 3 {
                continue;
            }
            let length = usize::from(body.get_u16());
            let topic = String::from_utf8(body.split_to(length).to_vec()).unwrap();
            if kind & 6 != 0 {
                body.get_u16();
            }
            return (topic, String::from_utf8(body.to_vec()).unwrap());
        }
    }
}

/// Calls the cloud API.
async fn cloud(emulator: &Emulator, action: &str, parameters: Value) -> Value {
    let body = parameters.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-TC-Action: {action}\r\nX-TC-Version: 2021-04-08\r\nX-TC-Timestamp: 1700000000\r\n\
         X-TC-Region: ap-guangzhou\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = ask(emulator.http_url().unwrap(), &request).await;
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&body).unwrap()["Response"].take()
}

/// The reason for which the newest MQTT packet was refused.
fn refusal(emulator: &Emulator) -> String {
    let (_, entry) = emulator.requests().since(0).pop().expect("an entry");
    entry.outcome().unwrap().draft.reasons.join("\n")
}

#[tokio::test]
async fn every_recorded_login_connects_over_both_old_versions() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let older = Form {
        name: "MQIsdp",
        level: 3,
        will: false,
    };
    for login in logins() {
        for form in [USUAL, older] {
            let (_wire, code) = Wire::open(address, &login, form).await;
            assert_eq!(code, 0, "{} {}", login.username, form.name);
        }
    }
}

#[tokio::test]
async fn a_wrong_login_is_refused_and_the_journal_names_the_mistake() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let right = &logins()[0];
    let with = |username: &str, password: &str| Login {
        client_id: CLIENT_ID.into(),
        username: username.into(),
        password: password.into(),
    };
    // Computed with Python's hmac over the same user name.
    let user = "ABCDE12345dev01;12010126;X1Y2Z;1700003600";
    let as_text = "97187359fcdcd1e0fc2d98ecd4d732d2fcf88b1a05a63037b350c93d5ad97813;hmacsha256";
    let in_base64 = "yHfW4/EznyPm6gzLXknd6Li8iwbGuW54VSpqhz29Ce4=;hmacsha256";
    for (login, phrase) in [
        (with(user, as_text), "base64-decoded first"),
        (with(user, in_base64), "it is hexadecimal"),
        (with(user, "00;hmacsha256"), "does not verify"),
        (with(user, "00;md5"), "\"md5\""),
        (with(user, "00"), "{digest};{algorithm}"),
        (with(user, "00;rsa-sha256"), "rsa-sha256 password"),
        (with("ABCDE12345dev01;1;2", "x"), "the user name is not"),
        (
            with("ABCDE12345dev01;12010126;X1Y2Z;1699999999", "x"),
            "expired",
        ),
        (
            with("ABCDE12345dev02;12010126;X1Y2Z;1700003600", "x"),
            "is not the user name's",
        ),
        (
            Login {
                client_id: "ABCDE12345dev02".into(),
                username: "ABCDE12345dev02;12010126;X1Y2Z;1700003600".into(),
                password: right.password.clone(),
            },
            "no device",
        ),
    ] {
        let (_wire, code) = Wire::open(address, &login, USUAL).await;
        assert_eq!(code, 4, "{phrase}");
        let reason = refusal(&emulator);
        assert!(reason.contains(phrase), "{phrase}: {reason}");
    }
}

#[tokio::test]
async fn a_will_and_mqtt_5_are_refused() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let will = Form {
        will: true,
        ..USUAL
    };
    let (_wire, code) = Wire::open(address, &logins()[0], will).await;
    assert_eq!(code, 5);
    let five = Form { level: 5, ..USUAL };
    let (_wire, code) = Wire::open(address, &logins()[0], five).await;
    assert_eq!(code, 0x87);
    assert!(refusal(&emulator).contains("not 5"));
}

#[tokio::test]
async fn a_device_subscribes_to_its_own_topics_alone() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    for (filter, qos, granted) in [
        ("ABCDE12345/dev01/control", 0, 0),
        ("ABCDE12345/dev01/data", 1, 1),
        ("ABCDE12345/dev01/data", 2, 1),
        ("$broadcast/rxd/ABCDE12345/dev01", 1, 1),
        ("$rrpc/rxd/ABCDE12345/dev01/+", 1, 1),
        ("ABCDE12345/dev01/event", 1, 0x80),
        ("ABCDE12345/dev01/unknown", 1, 0x80),
        ("ABCDE12345/dev02/data", 1, 0x80),
        ("ABCDE12345/+/data", 1, 0x80),
        ("#", 1, 0x80),
    ] {
        assert_eq!(device.subscribe(filter, qos).await, granted, "{filter}");
    }
}

#[tokio::test]
async fn what_a_device_publishes_arrives_and_what_it_may_not_publish_does_not() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let mut open = Open::v4(address, "observer").await;
    open.subscribe("#", 1).await;
    let mut device = Wire::device(address).await;
    for topic in ["ABCDE12345/dev01/control", "ABCDE12345/dev02/data", "free"] {
        device.publish(topic, "no", 0).await;
    }
    device.publish("ABCDE12345/dev01/event", "yes", 1).await;
    let (kind, _) = device.next().await.unwrap();
    assert_eq!(kind, 0x40, "a PUBACK");
    let received = open.receive().await;
    assert_eq!(received.topic, "ABCDE12345/dev01/event");
    assert_eq!(&received.payload[..], b"yes");
}

#[tokio::test]
async fn qos_2_and_an_oversize_payload_end_the_connection() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    for (payload, qos, phrase) in [
        ("x".to_owned(), 2, "QoS 2"),
        ("x".repeat(16_385), 0, "16385 bytes"),
    ] {
        let mut device = Wire::device(address).await;
        device.publish("ABCDE12345/dev01/data", &payload, qos).await;
        while device.next().await.is_some() {}
        assert!(refusal(&emulator).contains(phrase), "{phrase}");
    }
}

#[tokio::test]
async fn the_thirty_first_message_in_a_second_goes_to_nobody() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let mut device = Wire::device(address).await;
    for number in 0..31 {
        let payload = number.to_string();
        device.publish("ABCDE12345/dev01/data", &payload, 1).await;
        assert_eq!(device.next().await.unwrap().0, 0x40);
    }
    assert_eq!(emulator.messages().since(0).len(), 30);
    assert!(refusal(&emulator).contains("more than 30"));
}

#[tokio::test]
async fn a_second_connection_of_a_device_ends_the_first() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let mut first = Wire::device(address).await;
    let _second = Wire::device(address).await;
    while first.next().await.is_some() {}
}

#[tokio::test]
async fn the_platform_tells_the_time_and_keeps_the_shadow() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    let filter = format!("$sys/operation/result/{OWN}");
    assert_eq!(device.subscribe(&filter, 0).await, 0);
    let ask = r#"{"type":"get","resource":["time"]}"#;
    device
        .publish(&format!("$sys/operation/{OWN}"), ask, 0)
        .await;
    let (topic, answer) = device.received().await;
    assert_eq!(topic, filter);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        answer,
        json!({"type": "get", "time": 1_700_000_000, "ntptime1": 1_700_000_000_000_i64,
            "ntptime2": 1_700_000_000_000_i64})
    );
    let filter = format!("$shadow/operation/result/{OWN}");
    assert_eq!(device.subscribe(&filter, 0).await, 0);
    let shadow = format!("$shadow/operation/{OWN}");
    let update = r#"{"type":"update","state":{"reported":{"t":21}},"clientToken":"a"}"#;
    device.publish(&shadow, update, 0).await;
    let (_, answer) = device.received().await;
    assert!(answer.contains("\"version\":1"), "{answer}");
    device.publish(&shadow, r#"{"type":"get"}"#, 0).await;
    let (_, answer) = device.received().await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["payload"]["state"]["reported"]["t"], 21);
}

#[tokio::test]
async fn the_cloud_api_reaches_a_device_by_message_broadcast_and_rrpc() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    for filter in [
        "ABCDE12345/dev01/control",
        "$broadcast/rxd/ABCDE12345/dev01",
    ] {
        assert_eq!(device.subscribe(filter, 1).await, 1);
    }
    assert_eq!(device.subscribe(&format!("$rrpc/rxd/{OWN}/+"), 1).await, 1);
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01",
        "Topic": "ABCDE12345/dev01/control", "Payload": "on", "Qos": 1});
    let answer = cloud(&emulator, "PublishMessage", message).await;
    assert!(answer["Error"].is_null(), "{answer}");
    assert_eq!(
        device.received().await,
        ("ABCDE12345/dev01/control".into(), "on".into())
    );
    let message = json!({"ProductId": "ABCDE12345", "Payload": "all", "Qos": 1});
    let answer = cloud(&emulator, "PublishBroadcastMessage", message).await;
    assert!(answer["TaskId"].as_u64().unwrap() > 0);
    assert_eq!(
        device.received().await,
        ("$broadcast/rxd/ABCDE12345/dev01".into(), "all".into())
    );
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01", "Payload": "ask"});
    let call = cloud(&emulator, "PublishRRPCMessage", message);
    let reply = async {
        let (topic, payload) = device.received().await;
        assert_eq!(payload, "ask");
        let id = topic.rsplit('/').next().unwrap().to_owned();
        device
            .publish(&format!("$rrpc/txd/{OWN}/{id}"), "told", 0)
            .await;
        id
    };
    let (answer, id) = tokio::join!(call, reply);
    assert_eq!(answer["PayloadBase64"], "dG9sZA==");
    assert_eq!(answer["MessageId"].to_string(), id);
}

#[tokio::test]
async fn a_device_that_does_not_answer_or_subscribe_is_told_apart() {
    let emulator = started(|config| {
        config.tencent_iot.rrpc_timeout_ms = 1;
        config.tencent_iot.fail_undelivered = true;
    })
    .await;
    let _device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01", "Payload": "ask"});
    let answer = cloud(&emulator, "PublishRRPCMessage", message).await;
    assert_eq!(answer["Error"]["Code"], "FailedOperation.RRPCTimeout");
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01",
        "Topic": "ABCDE12345/dev01/control", "Payload": "on"});
    let answer = cloud(&emulator, "PublishMessage", message).await;
    assert_eq!(
        answer["Error"]["Code"],
        "FailedOperation.DeviceNoSubscription"
    );
}

#[tokio::test]
async fn a_disabled_device_loses_its_connection_and_gets_no_other() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let mut device = Wire::device(address).await;
    let described = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    let seen = cloud(&emulator, "DescribeDevice", described.clone()).await;
    assert_eq!(
        (&seen["Online"], &seen["EnableState"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(seen["LoginTime"], 1_700_000_000);
    let disable = json!({"ProductId": "ABCDE12345", "DeviceNames": ["dev01"], "Status": 0});
    let answer = cloud(&emulator, "UpdateDevicesEnableState", disable).await;
    assert!(answer["Error"].is_null(), "{answer}");
    while device.next().await.is_some() {}
    let (_wire, code) = Wire::open(address, &logins()[0], USUAL).await;
    assert_eq!(code, 5);
    let seen = cloud(&emulator, "DescribeDevice", described).await;
    assert_eq!(seen["EnableState"], 0);
}

#[tokio::test]
async fn a_product_made_without_an_encryption_type_gives_its_devices_certificates() {
    let emulator = started(|_| ()).await;
    let product = cloud(&emulator, "CreateProduct", json!({"ProductName": "lamps"})).await;
    assert_eq!(product["ProductProperties"]["EncryptionType"], "1");
    let id = product["ProductId"].as_str().unwrap();
    assert_eq!(id.len(), 10);
    let new = json!({"ProductId": id, "DeviceName": "lamp1"});
    let device = cloud(&emulator, "CreateDevice", new).await;
    let certificate = device["DeviceCert"].as_str().unwrap();
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    let key = device["DevicePrivateKey"].as_str().unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(device["DevicePsk"].is_null());
    let page = json!({"ProductId": id, "Offset": 0, "Limit": 10});
    let listed = cloud(&emulator, "DescribeDevices", page).await;
    assert_eq!(listed["TotalCount"], 1);
    assert_eq!(listed["Devices"][0]["DeviceName"], "lamp1");
    assert_eq!(listed["Devices"][0]["Online"], 3);
}

/// A TLS connection that shows this certificate.
async fn shown(emulator: &Emulator, device: &Value) -> Box<dyn Line> {
    let pem = |name: &str| device[name].as_str().unwrap().as_bytes().to_vec();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(emulator.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&pem("DeviceCert")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("DevicePrivateKey")).unwrap(),
        )
        .unwrap();
    let stream = TcpStream::connect(emulator.mqtts_addr().unwrap())
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    Box::new(connector.connect(name, stream).await.unwrap())
}

#[tokio::test]
async fn a_certificate_device_is_who_its_certificate_says() {
    let emulator = started(|_| ()).await;
    let mut made = Vec::new();
    for name in ["lamp1", "lamp2"] {
        let new = json!({"ProductId": "FGHIJ67890", "DeviceName": name});
        made.push(cloud(&emulator, "CreateDevice", new).await);
    }
    let login = Login {
        client_id: "FGHIJ67890lamp1".into(),
        username: "FGHIJ67890lamp1;12010126;X1Y2Z;1700003600".into(),
        password: "anything".into(),
    };
    let line = shown(&emulator, &made[0]).await;
    let (mut device, code) = Wire::open_over(line, &login, USUAL).await;
    assert_eq!(code, 0);
    assert_eq!(device.subscribe("FGHIJ67890/lamp1/data", 1).await, 1);
    let line = shown(&emulator, &made[1]).await;
    let (_wire, code) = Wire::open_over(line, &login, USUAL).await;
    assert_eq!(code, 4);
    assert!(refusal(&emulator).contains("another device's"));
    let address = emulator.mqtt_addr().unwrap();
    let (_wire, code) = Wire::open(address, &login, USUAL).await;
    assert_eq!(code, 4, "without a certificate");
}

#[tokio::test]
async fn a_reset_brings_the_seeded_devices_back() {
    let emulator = started(|_| ()).await;
    let gone = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    cloud(&emulator, "DeleteDevice", gone.clone()).await;
    let answer = cloud(&emulator, "DescribeDevice", gone.clone()).await;
    assert_eq!(answer["Error"]["Code"], "ResourceNotFound.DeviceNotExist");
    emulator.reset().await;
    let answer = cloud(&emulator, "DescribeDevice", gone).await;
    assert_eq!(answer["DeviceName"], "dev01");
    // What the journal shows of an answer hides the key.
    let gone = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01"});
    cloud(&emulator, "DescribeDevice", gone).await;
    let url = emulator.http_url().unwrap();
    let (_, shown) = ask(url, &get("/_mqttstack/requests", "localhost")).await;
    assert!(shown.contains("DevicePsk"), "{shown}");
    assert!(!shown.contains("MDEyMzQ1Njc4OWFiY2RlZg"), "{shown}");
}
