//! The vendor's unmodified Python SDK and a paho device against a started emulator, on the real
//! clock. The test installs them, pinned, into `target/`; `MQTTSTACK_SKIP_SDK_TESTS=1` skips it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and this one asks the environment whether to run"
)]

use std::path::{Path, PathBuf};

use mqttstack::Emulator;
use tokio::process::Command;

const PACKAGES: [&str; 2] = [
    "tencentcloud-sdk-python-iotcloud==3.0.1459",
    "paho-mqtt==2.1.0",
];

async fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .await
        .unwrap_or_else(|error| panic!("install Python 3 with venv and pip: {error}"));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A virtual environment with the packages; made anew unless an earlier run finished one.
async fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk/tencent-iot");
    let python = folder.join("bin/python");
    let done = folder.join(PACKAGES.join("_"));
    if !done.exists() {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))
        .await;
        let mut pip = Command::new(&python);
        run(pip.args(["-m", "pip", "install", "--quiet"]).args(PACKAGES)).await;
        std::fs::write(done, "").unwrap();
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_and_a_paho_device_live_through_a_devices_life() {
    if std::env::var("MQTTSTACK_SKIP_SDK_TESTS").is_ok_and(|value| value == "1") {
        return;
    }
    let python = python().await;
    let emulator = Emulator::builder().start().await.unwrap();
    let mqtt = emulator.mqtt_addr().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/tencent_iot.py");
    let told = run(Command::new(python)
        .arg(script)
        .arg(emulator.http_url().unwrap())
        .arg(mqtt.ip().to_string())
        .arg(mqtt.port().to_string()))
    .await;
    assert_eq!(told.trim(), "ok");
    emulator.stop().await;
}
