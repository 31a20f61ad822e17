//! Aliyun's unmodified Python SDKs and paho devices that use what they return: tokens, device
//! credentials, groups, sessions, traces. What is expected stands in `python/aliyun_devices.py`,
//! which ends with `ok`.

use mqttstack::Emulator;

use crate::install::{Runtime, skipped};
use crate::script::converse;

async fn plays(runtime: Runtime, sdk: &str) {
    if skipped() {
        return;
    }
    let emulator = Emulator::builder().start().await.unwrap();
    let url = emulator.http_url().unwrap();
    let endpoint = url.strip_prefix("http://").unwrap();
    let broker = emulator.mqtt_addr().unwrap().to_string();
    converse(runtime, "aliyun_devices.py", &[sdk, endpoint, &broker]).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_live_by_what_the_old_python_sdk_returns() {
    plays(Runtime::Python, "request-classes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_live_by_what_the_python_package_with_signature_1_returns() {
    plays(Runtime::Python, "product-client").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_live_by_what_the_newest_python_package_returns() {
    plays(Runtime::PythonNewest, "product-client").await;
}
