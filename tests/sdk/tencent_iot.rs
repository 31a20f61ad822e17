//! Tencent's unmodified cloud SDKs for Python and Node, its device SDK for Python, and a paho
//! device against IoT Hub, on the real clock. What is expected stands in the scripts, which end with `ok`: a device registered
//! dynamically, publishing, receiving, disabled and refused is one conversation.

use mqttstack::Emulator;

use crate::install::{Runtime, skipped};
use crate::script::converse;

/// Runs a script against an emulator of its own, until it has said `ok`.
pub async fn plays(runtime: Runtime, script: &'static str) {
    if skipped() {
        return;
    }
    let emulator = Emulator::builder().start().await.unwrap();
    let mqtt = emulator.mqtt_addr().unwrap();
    let (host, port) = (mqtt.ip().to_string(), mqtt.port().to_string());
    converse(
        runtime,
        script,
        &[emulator.http_url().unwrap(), &host, &port],
    )
    .await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_python_sdk_and_a_paho_device_live_through_a_devices_life() {
    plays(Runtime::Python, "tencent_iot.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_python_device_sdk_is_registered_told_asked_and_disabled() {
    plays(Runtime::PythonTencentDevice, "tencent_device.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_node_sdk_calls_both_versions_of_the_cloud_api() {
    plays(Runtime::Node, "tencent_iot.js").await;
}
