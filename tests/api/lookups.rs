//! From what a client saw back to the journal: ids in every spelling, and hints on what was lenient,
//! for every vendor.

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::{Device, Options};
use crate::raw::get;

/// One request to each kind of answer of each vendor: what it is, and the request without its
/// framing fields.
const ASKED: [(&str, &str, &str, &str); 11] = [
    ("aliyun refused", "POST /?Action=SendMessage", "", ""),
    (
        "aliyun accepted",
        "POST /?Action=SendMessage&Version=2020-04-20&Format=JSON&InstanceId=post-cn-new0001&MqttTopic=demo/a&Payload=x&AccessKeyId=testid&Signature=x&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&SignatureNonce=1&Timestamp=2026-11-21T22:51:00Z",
        "",
        "",
    ),
    (
        "tencent cloud",
        "POST /",
        "Content-Type: application/json\r\nX-TC-Action: DescribeInstance\r\nX-TC-Version: 2024-05-16\r\nX-TC-Timestamp: 1700000000\r\nX-TC-Region: ap-guangzhou\r\n",
        r#"{"InstanceId":"mqtt-new00001"}"#,
    ),
    (
        "iot hub gateway",
        "POST /device/publish",
        "Content-Type: application/json\r\n",
        r#"{"ProductId":"ABCDE12345","DeviceName":"dev01","TopicName":"ABCDE12345/dev01/new","Payload":"x","Qos":1}"#,
    ),
    (
        "iot hub registration",
        "POST /register/dev",
        "",
        r#"{"productId":"x"}"#,
    ),
    ("tdmq publish", "POST /topics/home?qos=1", "", "x"),
    ("tdmq refused", "POST /topics/home?qos=9", "", "x"),
    (
        "azure publish",
        "POST /mqtt/messages?topic=a&api-version=2020-01-01",
        "x-ms-client-request-id: 0a1b2c3d-0000-4000-8000-00000000000A\r\n",
        "x",
    ),
    (
        "azure events",
        "POST /topics/new:publish?api-version=2024-06-01",
        "Content-Type: application/cloudevents+json\r\n",
        r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#,
    ),
    (
        "azure token refused",
        "POST /44444444-4444-4444-4444-444444444444/oauth2/v2.0/token",
        "Content-Type: application/x-www-form-urlencoded\r\nclient-request-id: 0a1b2c3d-0000-4000-8000-00000000000b\r\n",
        "grant_type=nothing",
    ),
    ("nanomq", "GET /api/v4/brokers", "", ""),
];

async fn lenient() -> Emulator {
    let text = "[aliyun]\nauth = \"off\"\n[azure]\nauth = \"off\"\n[tencent_tdmq]\nauth = \"off\"\n\
                [tencent_iot]\nauth = \"off\"\nauto_create = true\n[tencent_cloud]\nauth = \"off\"\n\
                [nanomq]\nauth = \"off\"\n";
    let parsed = Config::from_toml(text).unwrap();
    let free = Config::free_ports();
    let config = Config {
        aliyun: parsed.aliyun,
        azure: parsed.azure,
        nanomq: parsed.nanomq,
        tencent_iot: parsed.tencent_iot,
        tencent_tdmq: parsed.tencent_tdmq,
        tencent_cloud: parsed.tencent_cloud,
        ..free
    };
    let at = "2026-11-21T22:51:00Z".parse().unwrap();
    Emulator::builder()
        .config(config)
        .clock(at)
        .seed(3)
        .start()
        .await
        .unwrap()
}

/// Sends a request; head and body of the answer.
async fn ask(emulator: &Emulator, line: &str, fields: &str, body: &str) -> (String, String) {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = emulator
        .http_url()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn entry(emulator: &Emulator, path: &str) -> (u16, Value) {
    let target = format!("/_mqttstack/{path}");
    let url = emulator.http_url().unwrap();
    let (status, body) = crate::raw::ask(url, &get(&target, "127.0.0.1")).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Every id in an answer: in header fields, and in members and elements of its body.
fn ids(head: &str, body: &str) -> Vec<String> {
    let mut found: Vec<String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.to_ascii_lowercase().ends_with("-id"))
        .map(|(_, value)| value.to_owned())
        .collect();
    for name in [
        "RequestId",
        "requestId",
        "MsgId",
        "trace_id",
        "correlation_id",
    ] {
        for (before, behind) in [(format!("\"{name}\":\""), '"'), (format!("<{name}>"), '<')] {
            let mut pieces = body.split(&before);
            pieces.next();
            found.extend(
                pieces
                    .filter_map(|rest| rest.split(behind).next())
                    .map(str::to_owned),
            );
        }
    }
    found
}

#[tokio::test]
async fn every_id_of_an_answer_finds_its_request() {
    let emulator = lenient().await;
    for (what, line, fields, body) in ASKED {
        let (head, answer) = ask(&emulator, line, fields, body).await;
        let newest = emulator.requests().since(0).pop().unwrap().1.id.clone();
        let shown = ids(&head, &answer);
        assert!(
            !shown.is_empty() || ["tdmq refused", "nanomq"].contains(&what),
            "{what}: {head}\n{answer}"
        );
        for id in shown {
            for spelling in [
                id.clone(),
                id.to_ascii_lowercase(),
                id.to_ascii_uppercase(),
                id.replace('-', ""),
            ] {
                let (status, found) = entry(&emulator, &format!("requests/{spelling}")).await;
                assert_eq!(
                    (status, &found["id"]),
                    (200, &json!(newest)),
                    "{what} {spelling}"
                );
            }
            let body = json!({"match": {"id": id.to_ascii_lowercase()}}).to_string();
            let (_, counted) = ask(&emulator, "POST /_mqttstack/requests/count", "", &body).await;
            assert!(counted.contains("\"count\":1"), "{what}: {counted}");
        }
    }
}

#[tokio::test]
async fn the_id_of_a_message_finds_message_and_request() {
    let emulator = lenient().await;
    for (what, line, fields, body) in ASKED {
        ask(&emulator, line, fields, body).await;
        let request = emulator.requests().since(0).pop().unwrap().1;
        for id in &request.outcome().unwrap().draft.messages {
            let spelling = id.to_ascii_lowercase();
            let (status, message) = entry(&emulator, &format!("messages/{spelling}")).await;
            assert_eq!((status, &message["id"]), (200, &json!(id)), "{what}");
            let (_, found) = entry(&emulator, &format!("requests/{spelling}")).await;
            assert_eq!(found["id"], json!(request.id), "{what}");
        }
    }
    assert!(emulator.messages().len() >= 4);
}

#[tokio::test]
async fn every_leniency_leaves_a_hint() {
    let emulator = lenient().await;
    for (what, words) in [
        (
            "aliyun accepted",
            "instance \"post-cn-new0001\" was created by this request",
        ),
        ("aliyun accepted", "aliyun.auth is off"),
        (
            "tencent cloud",
            "instance \"mqtt-new00001\" was created by this request",
        ),
        ("tencent cloud", "tencent_cloud.auth is off"),
        ("iot hub gateway", "tencent_iot.auto_create is on"),
        ("iot hub gateway", "tencent_iot.auth is off"),
        ("tdmq publish", "tencent_tdmq.auth is off"),
        ("azure publish", "api-version \"2020-01-01\" is not known"),
        ("azure events", "topic \"new\" was created by this request"),
        ("azure events", "azure.auth is off"),
        ("nanomq", "nanomq.auth is off"),
    ] {
        let (_, line, fields, body) = ASKED.into_iter().find(|row| row.0 == what).unwrap();
        // As if nobody had asked before.
        emulator.reset().await;
        ask(&emulator, line, fields, body).await;
        let request = emulator.requests().since(0).pop().unwrap().1;
        let (_, shown) = entry(&emulator, &format!("requests/{}", request.id)).await;
        let hints = shown["hints"].to_string();
        let words = words.replace('"', "\\\"");
        assert!(hints.contains(&words), "{what}: {hints}");
    }
}

#[tokio::test]
async fn what_a_second_request_finds_leaves_no_hint_of_creation() {
    let emulator = lenient().await;
    let (_, line, fields, body) = ASKED[1];
    for created in [true, false] {
        ask(&emulator, line, fields, body).await;
        let request = emulator.requests().since(0).pop().unwrap().1;
        let hints = request.outcome().unwrap().draft.hints.concat();
        assert_eq!(hints.contains("instance"), created, "{hints}");
    }
}

#[tokio::test]
async fn a_strict_request_leaves_no_hint() {
    let emulator = Emulator::builder().seed(1).start().await.unwrap();
    let fields = "Authorization: Basic dXNlcjA6c2VjcmV0MA==\r\n";
    ask(&emulator, "POST /topics/home?qos=1", fields, "x").await;
    let request = emulator.requests().since(0).pop().unwrap().1;
    assert_eq!(request.outcome().unwrap().status, Some(200));
    assert_eq!(request.hints(), [""; 0]);
}

#[tokio::test]
async fn an_open_client_with_a_user_name_is_noted() {
    let emulator = Emulator::builder().seed(1).start().await.unwrap();
    let address = emulator.mqtt_addr().unwrap();
    Device::v5(address, "plain").await;
    assert!(emulator.requests().is_empty());
    let mut news = emulator.requests().subscribe();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let connect = b"\x10\x1a\0\x04MQTT\x04\xc2\0\x3c\0\x01n\0\x04so e\0\x05right";
    stream.write_all(connect).await.unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    news.wait_for(|version| *version > 0).await.unwrap();
    let (_, noted) = emulator.requests().since(0).pop().unwrap();
    assert_eq!((&*noted.head.method, noted.surface), ("CONNECT", None));
    assert_eq!(noted.outcome().unwrap().status, Some(0));
    let hints = noted.hints().concat();
    assert!(
        hints.contains("taken as an open client: the user name \"so e\""),
        "{hints}"
    );
}

#[tokio::test]
async fn a_client_for_whom_something_was_created_is_noted() {
    let emulator = lenient().await;
    let address = emulator.mqtt_addr().unwrap();
    for (client_id, expected) in [
        (
            "GID_new@@@1",
            "instance \"post-cn-new0002\" was created by this request",
        ),
        (
            "GID_other@@@1",
            "group \"GID_other\" was created by this request",
        ),
    ] {
        let login = Options::login(client_id, "Signature|testid|post-cn-new0002", "x");
        Device::connect_v4(address, login).await;
        let (_, noted) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(noted.surface, Some(Surface::Aliyun));
        let hints = noted.hints().concat();
        assert!(
            hints.contains(expected) && hints.contains("aliyun.auth is off"),
            "{hints}"
        );
    }
}

#[tokio::test]
async fn what_a_publish_or_subscribe_was_let_off_is_noted_once() {
    let emulator = lenient().await;
    let address = emulator.mqtt_addr().unwrap();
    let later = "ABCDE12345dev01;12010126;X1Y2Z;1900003600";
    let clients = [
        (
            Options::login("GID_test@@@1", "Signature|testid|post-cn-test0001", "x"),
            ["new1/a", "new2/a"],
            "parent topic \"new",
        ),
        (
            Options::login("ABCDE12345dev01", later, "x"),
            ["ABCDE12345/dev01/new1", "ABCDE12345/dev01/new2"],
            "is not a topic of product ABCDE12345: tencent_iot.auto_create is on",
        ),
    ];
    for (login, [subscribed, published], expected) in clients {
        let mut device = Device::connect_v4(address, login).await;
        let (before, _) = emulator.requests().since(0).pop().unwrap();
        assert_eq!(device.subscribe(subscribed, 1).await, [1]);
        for _ in 0..3 {
            device.publish(published, 1, false, "x").await;
        }
        let noted = emulator.requests().since(before);
        let noted: Vec<_> = noted
            .iter()
            .map(|(_, entry)| {
                let head = &entry.head;
                assert_eq!(entry.outcome().unwrap().status, Some(0));
                assert!(
                    entry.hints().concat().contains(expected),
                    "{:?}",
                    entry.hints()
                );
                (head.method.to_string(), head.target.to_string())
            })
            .collect();
        let packets = [("SUBSCRIBE", subscribed), ("PUBLISH", published)];
        let packets = packets.map(|(packet, topic)| (packet.to_owned(), topic.to_owned()));
        assert_eq!(noted, packets);
    }
}

#[tokio::test]
async fn a_refusal_by_rate_says_in_the_journal_that_the_clock_stands_still() {
    let parsed =
        Config::from_toml("[tencent_tdmq]\nauth = \"off\"\n[tencent_tdmq.quotas]\nPublish = 1\n");
    let config = Config {
        tencent_tdmq: parsed.unwrap().tencent_tdmq,
        ..Config::free_ports()
    };
    let at = "2026-11-21T22:51:00Z".parse().unwrap();
    let started = Emulator::builder().config(config).clock(at).start();
    let emulator = started.await.unwrap();
    ask(&emulator, "POST /topics/a?qos=1", "", "x").await;
    let (head, body) = ask(&emulator, "POST /topics/a?qos=1", "", "x").await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(!body.contains("stands still"), "{body}");
    let reason = |emulator: &Emulator| {
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        entry.outcome().unwrap().reason().unwrap()
    };
    assert!(reason(&emulator).contains("clock stands still"));
    emulator.clock().follow();
    emulator.app().quotas.clear();
    for _ in 0..5 {
        ask(&emulator, "POST /topics/a?qos=1", "", "x").await;
    }
    assert!(!reason(&emulator).contains("clock stands still"));
}
