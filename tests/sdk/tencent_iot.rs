//! Tencent's unmodified cloud SDKs for Python and Node, its device SDK for Python, and a paho
//! device against IoT Hub, on the real clock. What is expected stands in the scripts, which end
//! with `ok`: a device registered dynamically, publishing, receiving, disabled and refused is one
//! conversation.

use std::process::Stdio;

use mqttstack::Emulator;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::install::Runtime;
use crate::script::{PATIENCE, converse};
use crate::shared;

/// Runs a script against an emulator of its own, until it has said `ok`.
pub async fn plays(runtime: Runtime, script: &'static str) {
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

/// The Python blocks of the page on IoT Hub.
fn printed() -> Vec<&'static str> {
    let page = include_str!("../../docs/tencent-iot-hub.md");
    page.split("```python\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect()
}

/// Runs a script that the page prints, but for host and port.
fn run(name: &str, script: &str, emulator: &Emulator) -> Command {
    let http = emulator.http_url().unwrap().trim_start_matches("http://");
    let mqtt = emulator.mqtt_addr().unwrap().port().to_string();
    let script = script
        .replace("127.0.0.1:4580", http)
        .replace("\"127.0.0.1\", 1883", &format!("\"127.0.0.1\", {mqtt}"));
    let file = format!("{}/page-iot-{name}.py", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, script).unwrap();
    let mut command = Command::from(Runtime::Python.command(&file));
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_scripts_of_the_page_work_as_printed() {
    let scripts = printed();
    let [publish, send, listen] = &scripts[..] else {
        panic!("{} scripts", scripts.len());
    };
    let emulator = Emulator::builder().start().await.unwrap();
    let mut device = run("listen", listen, &emulator).spawn().unwrap();
    let broker = &emulator.app().broker;
    shared::until(broker, async || {
        let subscriptions = broker.subscriptions().await;
        (subscriptions.len() == 2).then_some(())
    })
    .await;
    for (name, script) in [("publish", publish), ("send", send)] {
        let output = run(name, script, &emulator).output().await.unwrap();
        let problems = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{problems}");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(!told.contains("Error") && !told.is_empty(), "{told}");
    }
    let mut heard = BufReader::new(device.stdout.take().unwrap()).lines();
    for line in [
        "ABCDE12345/dev01/data 21 degrees",
        "ABCDE12345/dev01/control lamp on",
    ] {
        let next = tokio::time::timeout(PATIENCE, heard.next_line());
        assert_eq!(next.await.unwrap().unwrap().as_deref(), Some(line));
    }
}
