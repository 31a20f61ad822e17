//! Tencent IoT Hub from both ends: devices over MQTT, byte by byte, and the cloud API and the
//! device gateway beside them. The exchanges over HTTP alone are in `fixtures/tencent-iot`.

mod limits;
mod platform;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_kit::auth::AuthMode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::wire::{Form, Line, Login, USUAL, Wire, logins};
use crate::mqtt::Device as Open;
use crate::raw::{ask, get};

const CLIENT_ID: &str = "ABCDE12345dev01";
const OWN: &str = "ABCDE12345/dev01";

async fn started(change: impl FnOnce(&mut Config)) -> Emulator {
    let mut config = Config::free_ports();
    // The signatures of cloud API calls are looked at elsewhere.
    config.tencent_cloud.auth = AuthMode::Off;
    change(&mut config);
    Emulator::builder()
        .config(config)
        .clock("2023-11-14T22:13:20Z".parse().unwrap())
        .seed(1)
        .start()
        .await
        .unwrap()
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
        ..USUAL
    };
    for login in logins() {
        for form in [USUAL, older] {
            let (_wire, code) = Wire::open(address, &login, form).await;
            assert_eq!(code, 0, "{} {}", login.username, form.name);
        }
    }
}

fn with(username: &str, password: &str) -> Login {
    Login {
        client_id: CLIENT_ID.into(),
        username: username.into(),
        password: password.into(),
    }
}

async fn refused(emulator: &Emulator, address: SocketAddr, login: &Login, phrase: &str) {
    let (_wire, code) = Wire::open(address, login, USUAL).await;
    assert_eq!(code, 4, "{phrase}");
    let reason = refusal(emulator);
    assert!(reason.contains(phrase), "{phrase}: {reason}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_the_journal_names_the_mistake() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    // Computed with Python's hmac over the same user name.
    let user = "ABCDE12345dev01;12010126;X1Y2Z;1700003600";
    let as_text = "97187359fcdcd1e0fc2d98ecd4d732d2fcf88b1a05a63037b350c93d5ad97813;hmacsha256";
    let in_base64 = "yHfW4/EznyPm6gzLXknd6Li8iwbGuW54VSpqhz29Ce4=;hmacsha256";
    let of_client_id =
        "43de21e52749368de16db6b4fb3f721746d6ca75847b3f79d263e15c419f7260;hmacsha256";
    let of_secret = "0e1ffca074aa5f05138a49bbfc689d27f86967318007677c3dbb9598d77bb3ec;hmacsha256";
    let of_other = "c7613d0753a40070d5b1464b10ed895ea51f98c3;hmacsha256";
    for (login, phrase) in [
        (with(user, as_text), "base64-decoded first"),
        (with(user, in_base64), "it is hexadecimal"),
        (
            with(user, "00;hmacsha256"),
            "under the PSK of the device \"dev01\"",
        ),
        (with(user, of_client_id), "the client id was signed"),
        (with(user, of_secret), "the product secret was used"),
        (
            with(user, of_other),
            "of hmacsha1, its suffix says hmacsha256",
        ),
        (with(user, "00;md5"), "\"md5\""),
        (with(user, "00;HmacSha256"), "to be spelled \"hmacsha256\""),
        (with(user, "00"), "{digest};{algorithm}"),
        (with(user, "00;rsa-sha256"), "rsa-sha256 password"),
    ] {
        refused(&emulator, address, &login, phrase).await;
    }
}

#[tokio::test]
async fn a_wrong_user_name_is_refused_and_the_journal_names_the_mistake() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let right = &logins()[0];
    for (login, phrase) in [
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
        (
            Login {
                client_id: "FGHIJ67890dev01".into(),
                username: "FGHIJ67890dev01;12010126;X1Y2Z;1700003600".into(),
                password: String::new(),
            },
            "the connection brought none",
        ),
    ] {
        refused(&emulator, address, &login, phrase).await;
    }
}

/// Client id, user name and password of `dev01`, each of them wrong while the others are right.
#[tokio::test]
async fn a_device_with_any_part_wrong_is_refused_and_never_an_open_client() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let right = &logins()[0];
    assert_eq!(right.client_id, "ABCDE12345dev01");
    let wrong = |client_id: &str, username: &str, password: &str| Login {
        client_id: client_id.into(),
        username: username.into(),
        password: password.into(),
    };
    let (id, user, password) = (&*right.client_id, &*right.username, &*right.password);
    for login in [
        wrong(id, "ABCDE12345dev01", "hmacsha256"),
        wrong(id, "admin", "public"),
        wrong(id, "", ""),
        wrong(id, user, ""),
        wrong(id, user, "public"),
        wrong(id, user, "00;hmacsha256"),
        wrong(id, "user0", "secret0"),
        wrong("observer", user, password),
        wrong("observer", "ABCDE12345dev01", "x"),
        wrong("observer", "admin", password),
        wrong("ABCDE12345dev99", "admin", "public"),
        wrong("ABCDE12345dev99", user, password),
        wrong("NOPRODUCT1dev01", user, password),
        wrong(
            "NOPRODUCT1dev01",
            "NOPRODUCT1dev01;12010126;X1Y2Z;1700003600",
            password,
        ),
    ] {
        let (_wire, code) = Wire::open(address, &login, USUAL).await;
        assert_eq!(code, 4, "{} {}", login.client_id, login.username);
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(
            entry.surface.unwrap().as_str(),
            "tencent-iot",
            "{}",
            login.username
        );
    }
    let (_wire, code) = Wire::open(address, &wrong("observer", "a.b", "x"), USUAL).await;
    assert_eq!(code, 0, "an open client");
}

#[tokio::test]
async fn another_devices_psk_is_named_over_mqtt() {
    let emulator = started(|_| ()).await;
    let new = json!({"ProductId": "ABCDE12345", "DeviceName": "dev02",
        "DefinedPsk": "YW5vdGhlciBkZXZpY2UncyBrZXk="});
    cloud(&emulator, "CreateDevice", new).await;
    // Computed with Python's hmac under the PSK of dev02.
    let login = Login {
        client_id: CLIENT_ID.into(),
        username: "ABCDE12345dev01;12010126;X1Y2Z;1700003600".into(),
        password: "7dc2aa8e5897b9f7b07d08abb2199cfe4b76ff0e272ed522329c87aac21ca4d6;hmacsha256"
            .into(),
    };
    let (_wire, code) = Wire::open(emulator.mqtt_addr().unwrap(), &login, USUAL).await;
    assert_eq!(code, 4);
    let reason = refusal(&emulator);
    assert!(
        reason.contains("the PSK of the device \"dev02\""),
        "{reason}"
    );
}

#[tokio::test]
async fn a_rate_of_no_operation_is_refused_at_the_start() {
    let mut config = Config::free_ports();
    config.tencent_iot.quotas = [("device/publsh".to_owned(), 1)].into();
    let error = Emulator::builder()
        .config(config)
        .start()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("tencent_iot.quotas") && text.contains("device/publsh"),
        "{text}"
    );
    for name in ["device/publish", "mqtt/deliver", "PublishMessage"] {
        let mut config = Config::free_ports();
        config.tencent_iot.quotas = [(name.to_owned(), 1)].into();
        assert!(Emulator::builder().config(config).start().await.is_ok());
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
async fn a_certificate_device_may_sign_its_user_name_as_the_java_sdk_does() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    // Made with openssl, of the key in recorded/tencent-iothub-publish-rsa.json.
    let password = include_str!("../../fixtures/tencent-iot/websocket-password.txt");
    let mut login = Login {
        client_id: "FGHIJ67890dev01".into(),
        username: "FGHIJ67890dev01;12010126;X1Y2Z;1700003600".into(),
        password: password.trim_end().into(),
    };
    let (_wire, code) = Wire::open(address, &login, USUAL).await;
    assert_eq!(code, 0);
    login.username = "FGHIJ67890dev01;12010126;X1Y2Z;1700003601".into();
    let (_wire, code) = Wire::open(address, &login, USUAL).await;
    assert_eq!(code, 4);
    assert!(refusal(&emulator).contains("rsa-sha256 password"));
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
