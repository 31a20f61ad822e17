//! The limits page over MQTT: how much, how often, how long.

use std::net::SocketAddr;

use jiff::SignedDuration;
use mqttstack::Emulator;
use serde_json::json;

use super::wire::{Form, USUAL, Wire, logins};
use super::{cloud, refusal, started};
use crate::shared;

const DATA: &str = "ABCDE12345/dev01/data";
const CONTROL: &str = "ABCDE12345/dev01/control";

/// A client whose session stays.
const KEPT: Form = Form {
    clean: false,
    ..USUAL
};

async fn device(address: SocketAddr, form: Form) -> Wire {
    let (wire, code) = Wire::open(address, &logins()[0], form).await;
    assert_eq!(code, 0);
    wire
}

/// Sends a message from the application.
async fn send(emulator: &Emulator, payload: impl ToString, qos: u8) {
    let message = json!({"ProductId": "ABCDE12345", "DeviceName": "dev01", "Topic": CONTROL,
        "Payload": payload.to_string(), "Qos": qos});
    let answer = cloud(emulator, "PublishMessage", message).await;
    assert!(answer["Error"].is_null(), "{answer}");
}

/// A device that has subscribed and gone, its session left behind.
async fn away(emulator: &Emulator) {
    let mut wire = device(emulator.mqtt_addr().unwrap(), KEPT).await;
    assert_eq!(wire.subscribe(CONTROL, 1).await, 1);
    drop(wire);
    shared::all_offline(&emulator.app().broker).await;
}

fn advance(emulator: &Emulator, milliseconds: i64) {
    let by = SignedDuration::from_millis(milliseconds);
    emulator.clock().advance(by).unwrap();
}

#[tokio::test]
async fn qos_2_and_an_oversize_payload_end_the_connection() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    for (payload, qos, phrase) in [
        ("x".to_owned(), 2, "QoS"),
        ("x".repeat(16_385), 0, "16385 bytes"),
        ("x".repeat(16_385), 1, "16385 bytes"),
    ] {
        let mut device = Wire::device(address).await;
        device.publish(DATA, &payload, qos).await;
        while device.next().await.is_some() {}
        assert!(refusal(&emulator).contains(phrase), "{phrase}");
    }
    assert_eq!(emulator.messages().since(0).len(), 0);
}

#[tokio::test]
async fn sixteen_kilobytes_are_a_message() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    device.publish(DATA, &"x".repeat(16_384), 1).await;
    assert_eq!(device.next().await.unwrap().0, 0x40);
}

#[tokio::test]
async fn the_thirty_first_message_in_a_second_goes_to_nobody_and_is_not_acknowledged() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    for number in 0..30 {
        device.publish(DATA, &number.to_string(), 1).await;
        assert_eq!(device.next().await.unwrap().0, 0x40);
    }
    device.publish(DATA, "one too many", 1).await;
    assert!(device.ping().await.is_empty());
    assert_eq!(emulator.messages().since(0).len(), 30);
    assert!(refusal(&emulator).contains("more than 30"));
    advance(&emulator, 1_000);
    device.publish(DATA, "a second later", 1).await;
    assert_eq!(device.next().await.unwrap().0, 0x40);
}

#[tokio::test]
async fn a_publish_that_is_not_allowed_is_never_acknowledged_and_the_connection_stays() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    for topic in [
        "ABCDE12345/dev01/control",
        "ABCDE12345/dev02/data",
        "$shadow/operation/ABCDE12345/dev02",
        "free",
    ] {
        device.publish(topic, "no", 1).await;
        assert!(device.ping().await.is_empty(), "{topic}");
        assert!(refusal(&emulator).contains("topic"), "{topic}");
    }
    device.publish(DATA, "yes", 1).await;
    assert_eq!(device.next().await.unwrap().0, 0x40);
}

#[tokio::test]
async fn names_over_the_limits_end_the_connection() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    for (topic, phrase) in [
        (format!("{DATA}/{}", "a".repeat(256)), "255"),
        (format!("{DATA}{}", "/a".repeat(9)), "10 slashes"),
    ] {
        let mut device = Wire::device(address).await;
        device.publish(&topic, "x", 1).await;
        while device.next().await.is_some() {}
        assert!(refusal(&emulator).contains(phrase), "{phrase}");
    }
}

#[tokio::test]
async fn a_retained_publish_is_delivered_and_not_retained() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    assert_eq!(device.subscribe(DATA, 0).await, 0);
    device.publish_retained(DATA, "x").await;
    assert_eq!(device.received().await, (DATA.into(), "x".into()));
    assert!(emulator.app().broker.retained().is_empty());
}

#[tokio::test]
async fn a_subscribe_has_one_filter_unless_the_setting_says_otherwise() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    assert_eq!(
        device.subscribe_all(&[DATA, CONTROL], 1).await,
        [0x80, 0x80]
    );
    assert_eq!(device.subscribe_all(&[DATA], 1).await, [1]);
    let emulator = started(|config| config.tencent_iot.filters_per_subscribe = 0).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    assert_eq!(device.subscribe_all(&[DATA, CONTROL], 1).await, [1, 1]);
}

#[tokio::test]
async fn a_keep_alive_of_more_than_900_seconds_is_refused_and_none_is_not() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    for (keep_alive, accepted) in [(0, true), (900, true), (901, false)] {
        let form = Form {
            keep_alive,
            ..USUAL
        };
        let (_wire, code) = Wire::open(address, &logins()[0], form).await;
        assert_eq!(code == 0, accepted, "{keep_alive}");
    }
    assert!(refusal(&emulator).contains("901 s"));
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
async fn with_an_interval_set_a_device_that_connects_too_soon_is_refused() {
    let emulator = started(|config| config.tencent_iot.connect_interval_s = 5).await;
    let address = emulator.mqtt_addr().unwrap();
    let _first = Wire::device(address).await;
    advance(&emulator, 4_000);
    let (_wire, code) = Wire::open(address, &logins()[0], USUAL).await;
    assert_eq!(code, 3);
    assert!(refusal(&emulator).contains("within the last 5 s"));
    advance(&emulator, 1_000);
    let _third = Wire::device(address).await;
}

#[tokio::test]
async fn the_newest_150_messages_of_qos_1_wait_for_a_device_and_come_half_a_second_apart() {
    let emulator = started(|_| ()).await;
    away(&emulator).await;
    send(&emulator, "of QoS 0", 0).await;
    for number in 0..152 {
        send(&emulator, number, 1).await;
    }
    let mut device = device(emulator.mqtt_addr().unwrap(), KEPT).await;
    for number in 2..152 {
        assert_eq!(device.received().await.1, number.to_string());
        assert!(device.ping().await.is_empty(), "the next one came at once");
        advance(&emulator, 500);
    }
    send(&emulator, "live", 1).await;
    assert_eq!(device.received().await.1, "live");
}

#[tokio::test]
async fn a_broadcast_waits_for_nobody() {
    let emulator = started(|_| ()).await;
    let address = emulator.mqtt_addr().unwrap();
    let topic = "$broadcast/rxd/ABCDE12345/dev01";
    let mut wire = device(address, KEPT).await;
    assert_eq!(wire.subscribe(topic, 1).await, 1);
    // Takes the session over, and goes.
    away(&emulator).await;
    let broadcast = async |payload: &str| {
        let message = json!({"ProductId": "ABCDE12345", "Payload": payload, "Qos": 1});
        let answer = cloud(&emulator, "PublishBroadcastMessage", message).await;
        assert!(answer["Error"].is_null(), "{answer}");
    };
    broadcast("while it is away").await;
    let mut wire = device(address, KEPT).await;
    broadcast("while it is there").await;
    let heard = (topic.to_owned(), "while it is there".to_owned());
    assert_eq!(wire.received().await, heard);
}

#[tokio::test]
async fn after_24_hours_nothing_waits_any_more() {
    let emulator = started(|config| config.tencent_iot.offline_replay_ms = 0).await;
    away(&emulator).await;
    send(&emulator, "old", 1).await;
    advance(&emulator, 86_399_000);
    send(&emulator, "young", 1).await;
    advance(&emulator, 2_000);
    // The one login whose user name is still good by then.
    let login = logins()
        .into_iter()
        .find(|login| login.username.ends_with(";2147483647"))
        .unwrap();
    let (mut device, code) = Wire::open(emulator.mqtt_addr().unwrap(), &login, KEPT).await;
    assert_eq!(code, 0);
    assert_eq!(device.received().await.1, "young");
}

#[tokio::test]
async fn a_device_gets_50_messages_in_a_second_and_the_rest_in_the_next() {
    let emulator = started(|_| ()).await;
    let mut device = Wire::device(emulator.mqtt_addr().unwrap()).await;
    assert_eq!(device.subscribe(CONTROL, 1).await, 1);
    for number in 0..51 {
        send(&emulator, number, 1).await;
    }
    for number in 0..50 {
        assert_eq!(device.received().await.1, number.to_string());
    }
    assert!(device.ping().await.is_empty());
    advance(&emulator, 1_000);
    assert_eq!(device.received().await.1, "50");
}
