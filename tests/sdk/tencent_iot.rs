//! Tencent's unmodified Python and Node SDKs and a paho device against IoT Hub, on the real
//! clock. What is expected stands in the scripts, which end with `ok`: a device registered
//! dynamically, publishing, receiving, disabled and refused is one conversation.

use std::process::Stdio;

use mqttstack::Emulator;
use tokio::process::Command;

use crate::install::{Runtime, skipped};
use crate::script::PATIENCE;

/// Runs a script against an emulator of its own, until it has said `ok`.
pub async fn plays(runtime: Runtime, script: &'static str) {
    if skipped() {
        return;
    }
    let command = tokio::task::spawn_blocking(move || runtime.command(script))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let emulator = Emulator::builder().start().await.unwrap();
    let mqtt = emulator.mqtt_addr().unwrap();
    let child = Command::from(command)
        .arg(emulator.http_url().unwrap())
        .arg(mqtt.ip().to_string())
        .arg(mqtt.port().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the script never ended")
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "ok", "{problems}");
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_python_sdk_and_a_paho_device_live_through_a_devices_life() {
    plays(Runtime::Python, "tencent_iot.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_node_sdk_calls_both_versions_of_the_cloud_api() {
    plays(Runtime::Node, "tencent_iot.js").await;
}
