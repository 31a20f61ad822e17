//! Aliyun's unmodified Python SDKs and paho devices that use what they return: tokens, device
//! credentials, groups, sessions, traces; and paho with every recorded credential. What is expected
//! stands in `python/aliyun_devices.py` and `python/aliyun_logins.py`, which end with `ok`.

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_aliyun::settings::{AccessKey, DeviceCredential, Instance, Token};
use mqttstack_base::secret::Secret;

use crate::install::Runtime;
use crate::script::converse;

async fn plays(runtime: Runtime, sdk: &str) {
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

/// What the recorded credentials are the right ones for.
fn recorded() -> Config {
    let token = |text: &str, actions: &str| Token {
        token: Secret::new(text),
        resources: vec!["demo/#".to_owned()],
        actions: actions.to_owned(),
        expires: None,
    };
    let mut config = Config::free_ports();
    let aliyun = &mut config.aliyun;
    aliyun
        .access_keys
        .push(AccessKey::with_secret("YYYYY", "XXXXX"));
    aliyun.instances[0].tokens = vec![token("tok+en/==", "R,W")];
    aliyun.instances.push(Instance {
        device_credentials: vec![DeviceCredential {
            client_id: "GID_Test@@@0001".to_owned(),
            access_key_id: "YYYYY".to_owned(),
            access_key_secret: Secret::new("XXXXX"),
        }],
        tokens: vec![token("123", "R"), token("abcd", "W")],
        ..Instance::empty("mqtt-xxxxx")
    });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_connects_with_every_recorded_credential_and_is_told_its_mistakes() {
    let emulator = Emulator::builder()
        .config(recorded())
        .start()
        .await
        .unwrap();
    let url = emulator.http_url().unwrap();
    let broker = emulator.mqtt_addr().unwrap().to_string();
    let vectors = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/aliyun/mqtt-connect-auth.json"
    );
    converse(
        Runtime::Python,
        "aliyun_logins.py",
        &[url, &broker, vectors],
    )
    .await;
    emulator.stop().await;
}
