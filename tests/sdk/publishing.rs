//! Every SDK's SendMessage reaches real MQTT clients byte for byte.

use mqttstack::Emulator;
use serde_json::json;

use crate::peers::{Library, Peers};
use crate::sdks::{
    ALIYUN_PYTHON, ALIYUN_PYTHON_COMMON, ONSMQTT_V1, ONSMQTT_V3, OPENAPI_CLIENT, POP_CORE_GET,
    POP_CORE_POST, Sdk,
};

/// What is published: plain, in Chinese, everything that some encoding treats specially, and the
/// longest payloads.
fn payloads() -> Vec<String> {
    vec![
        "hello".to_owned(),
        "你好,世界:温度 21.5 ℃ 😀".to_owned(),
        " +%20%2B*~!'()&=;:@$,<>\"\\/?#[]{}|^`\r\n\t\u{0}\u{7f}\u{feff} ".to_owned(),
        r#"{"a":[1,2],"b":"x&y=z"}"#.to_owned(),
        // 64 KB, one byte less (in the newest SDK a request line of 196,654 bytes).
        "字".repeat(65_535 / 3),
        // 64 KB and not one byte more.
        "x".repeat(65_536),
    ]
}

async fn publishes(sdk: &Sdk) {
    let mut script = sdk.start().await;
    let mut paho = Peers::start(Library::Paho).await;
    let mut mqtt_js = Peers::start(Library::MqttJs).await;
    let emulator = Emulator::builder().start().await.unwrap();
    let ready = emulator.ready();
    let over_tcp = |version: u8| json!({"url": ready.mqtt, "version": version});
    paho.connect("3.1.1", over_tcp(4)).await;
    paho.connect("5", over_tcp(5)).await;
    mqtt_js
        .connect("ws", json!({"url": ready.ws, "version": 4}))
        .await;
    paho.subscribe("3.1.1", "demo/#", 1).await;
    paho.subscribe("5", "demo/+", 1).await;
    mqtt_js.subscribe("ws", "demo/a", 1).await;
    for payload in payloads() {
        let mut call = sdk.call(&emulator);
        call["payload"] = payload.clone().into();
        let answer = script.ask(&call).await.unwrap();
        let id = answer["MsgId"].as_str().unwrap();
        for message in [
            paho.message("3.1.1").await,
            paho.message("5").await,
            mqtt_js.message("ws").await,
        ] {
            assert_eq!(message.topic, "demo/a");
            assert_eq!((message.qos, message.retain), (1, false));
            assert!(message.payload == payload.as_bytes(), "{payload:.40}");
        }
        let (_, kept) = emulator.messages().since(0).pop().unwrap();
        assert_eq!(kept.id, id);
        assert_eq!(
            kept.origin.request.as_deref(),
            answer["RequestId"].as_str(),
            "the message names its request"
        );
    }
    assert_eq!(emulator.messages().len(), payloads().len());
    emulator.stop().await;
}

#[tokio::test]
async fn the_old_python_sdks_request_class_publishes() {
    publishes(&ALIYUN_PYTHON).await;
}

#[tokio::test]
async fn the_old_python_sdks_common_request_publishes() {
    publishes(&ALIYUN_PYTHON_COMMON).await;
}

#[tokio::test]
async fn the_python_package_with_signature_1_publishes() {
    publishes(&ONSMQTT_V1).await;
}

#[tokio::test]
async fn the_newest_python_package_publishes() {
    publishes(&ONSMQTT_V3).await;
}

#[tokio::test]
async fn pop_core_publishes_by_get() {
    publishes(&POP_CORE_GET).await;
}

#[tokio::test]
async fn pop_core_publishes_by_post() {
    publishes(&POP_CORE_POST).await;
}

#[tokio::test]
async fn the_openapi_client_publishes() {
    publishes(&OPENAPI_CLIENT).await;
}
