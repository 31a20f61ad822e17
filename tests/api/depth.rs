//! Topics with very many levels: refused wherever one comes in, and nothing ends by them.

use mqttstack::Emulator;
use mqttstack::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::{Device, Options};
use crate::raw::ask;

fn text(bytes: &str) -> Vec<u8> {
    let mut text = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    text.extend_from_slice(bytes.as_bytes());
    text
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(low | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn connect(version: u8, will: Option<&str>) -> Vec<u8> {
    let flags = if will.is_some() { 0x06 } else { 0x02 };
    let mut body = [&text("MQTT")[..], &[version, flags, 0, 60]].concat();
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    body.extend_from_slice(properties);
    body.extend(text("deep"));
    if let Some(will) = will {
        body.extend_from_slice(properties);
        body.extend(text(will));
        body.extend(text("gone"));
    }
    packet(0x10, &body)
}

fn deep(levels: usize) -> String {
    vec!["a"; levels].join("/")
}

/// Every packet that carries a topic, and the packet's name in the journal.
fn packets(version: u8, topic: &str) -> Vec<(&'static str, Vec<u8>)> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let id = [&[0, 1][..], properties].concat();
    let shared = format!("$share/g/{topic}");
    vec![
        (
            "SUBSCRIBE",
            packet(0x82, &[&id[..], &text(topic), &[0]].concat()),
        ),
        (
            "SUBSCRIBE",
            packet(0x82, &[&id[..], &text(&shared), &[0]].concat()),
        ),
        (
            "UNSUBSCRIBE",
            packet(0xa2, &[&id[..], &text(topic)].concat()),
        ),
        (
            "PUBLISH",
            packet(0x30, &[&text(topic)[..], properties, b"x"].concat()),
        ),
        (
            "PUBLISH",
            packet(0x32, &[&text(topic)[..], &id, b"x"].concat()),
        ),
    ]
}

#[tokio::test]
async fn a_client_that_goes_too_deep_is_disconnected_and_told() {
    let emulator = Emulator::builder().seed(1).start().await.unwrap();
    let address = emulator.mqtt_addr().unwrap();
    for version in [4, 5] {
        for levels in [201, 5_000, 32_000] {
            for (name, bytes) in packets(version, &deep(levels)) {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&connect(version, None)).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer[0], 0x20, "{name}");
                let entries = emulator.requests().since(0);
                let entry = &entries.last().unwrap().1;
                assert_eq!(&*entry.head.method, name);
                let reason = entry.outcome().unwrap().reason().unwrap();
                let said = format!("{levels} levels, and mqtt.max_topic_levels allows 200");
                assert!(reason.contains(&said), "{reason}");
            }
        }
    }
    let mut device = Device::v5(address, "well").await;
    device.subscribe(&deep(200), 1).await;
    device.publish(&deep(200), 1, false, "x").await;
    assert_eq!(device.receive().await.topic, deep(200));
}

#[tokio::test]
async fn a_will_that_goes_too_deep_is_refused() {
    let emulator = Emulator::builder().seed(1).start().await.unwrap();
    for version in [4, 5] {
        let mut stream = TcpStream::connect(emulator.mqtt_addr().unwrap())
            .await
            .unwrap();
        let deep = deep(5_000);
        stream
            .write_all(&connect(version, Some(&deep)))
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.get(3).is_none_or(|code| *code >= 0x80), "{answer:?}");
        let entries = emulator.requests().since(0);
        let reason = entries.last().unwrap().1.outcome().unwrap().reason();
        assert!(reason.unwrap().contains("mqtt.max_topic_levels"));
    }
}

#[tokio::test]
async fn every_surface_refuses_a_topic_that_goes_too_deep_in_its_words() {
    let text = "[mqtt]\nmax_topic_levels = 3\n[azure]\nauth = \"off\"\n[nanomq]\nauth = \"off\"\n\
                [tencent_iot]\nauth = \"off\"\nauto_create = true\n[aliyun]\nauth = \"off\"\n\
                [tencent_tdmq]\nauth = \"off\"\n";
    let parsed = Config::from_toml(text).unwrap();
    let config = Config {
        mqtt: parsed.mqtt,
        aliyun: parsed.aliyun,
        azure: parsed.azure,
        nanomq: parsed.nanomq,
        tencent_iot: parsed.tencent_iot,
        tencent_tdmq: parsed.tencent_tdmq,
        ..Config::free_ports()
    };
    let at = "2026-11-21T22:51:00Z".parse().unwrap();
    let started = Emulator::builder().config(config).clock(at).start();
    let emulator = started.await.unwrap();
    for (line, body, words) in [
        (
            "POST /?Action=SendMessage&Version=2020-04-20&Format=JSON&InstanceId=post-cn-test0001&MqttTopic=a/b/c/d&Payload=x&AccessKeyId=testid&Signature=x&SignatureMethod=HMAC-SHA1&SignatureVersion=1.0&SignatureNonce=1&Timestamp=2026-11-21T22:51:00Z",
            "",
            "ParameterCheckFailed",
        ),
        ("POST /topics/a%2Fb%2Fc%2Fd?qos=1", "x", "levels"),
        (
            "POST /mqtt/messages?topic=a%2Fb%2Fc%2Fd&api-version=2025-02-15-preview",
            "x",
            "BadRequest",
        ),
        (
            "POST /device/publish",
            r#"{"ProductId":"ABCDE12345","DeviceName":"dev01","TopicName":"ABCDE12345/dev01/c/d","Payload":"x","Qos":1}"#,
            "InvalidTopicName",
        ),
        (
            "POST /api/v4/mqtt/publish",
            r#"{"topic":"a/b/c/d","payload":"x","clientid":"c","qos":0}"#,
            "108",
        ),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (_, answer) = ask(emulator.http_url().unwrap(), &request).await;
        assert!(answer.contains(words), "{line}: {answer}");
        assert!(emulator.messages().is_empty());
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        let reason = entry.outcome().unwrap().reason().unwrap_or_default();
        assert!(reason.contains("mqtt.max_topic_levels"), "{line}: {reason}");
    }
}

#[tokio::test]
async fn a_login_is_not_kept_from_a_deep_subscription_of_another() {
    let emulator = Emulator::builder().seed(1).start().await.unwrap();
    let address = emulator.mqtt_addr().unwrap();
    let mut other = Device::connect_v5(address, Options::new("other")).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&connect(5, None)).await.unwrap();
    let (_, subscribe) = packets(5, &deep(32_000)).remove(0);
    stream.write_all(&subscribe).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    other.subscribe("b", 0).await;
    other.publish("b", 0, false, "x").await;
    assert_eq!(other.receive().await.topic, "b");
}
