//! Every SDK tells the emulator's refusals by its own types, as it tells the cloud's, and the
//! journal says why.

use jiff::SignedDuration;
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_aliyun::settings::Overflow;
use serde_json::Value;

use crate::http_clients::admin_post;
use crate::script::Script;
use crate::sdks::{
    ALIYUN_PYTHON, ALIYUN_PYTHON_COMMON, ONSMQTT_V1, ONSMQTT_V3, OPENAPI_CLIENT, POP_CORE_GET,
    POP_CORE_POST, Sdk,
};

/// An SDK and what it calls.
struct Caller<'a> {
    sdk: &'a Sdk,
    script: Script,
}

impl Caller<'_> {
    /// Calls, which must fail by this type (`None`: `<Code>Error`) and code.
    async fn fails(&mut self, call: &Value, kind: Option<&str>, code: &str) -> Value {
        let error = self.script.ask(call).await.unwrap_err();
        assert_eq!(error["code"], code, "{error}");
        let expected = kind.map_or_else(|| format!("{code}Error"), ToOwned::to_owned);
        assert_eq!(error["type"], expected, "{error}");
        error
    }

    /// Calls, which must be refused with a status of 4xx; the journal must have the reason.
    async fn is_refused(&mut self, emulator: &Emulator, call: &Value, code: &str, reason: &str) {
        let kind = self.sdk.errors.refused;
        let told = match code {
            "SignatureDoesNotMatch" => self.sdk.errors.wrong_secret,
            other => other,
        };
        let error = self.fails(call, kind, told).await;
        is_explained(emulator, &error, code, reason);
    }
}

/// That the journal's newest request failed by this code, for a reason with this text, and is
/// the one that the error names, if the SDK tells.
#[track_caller]
fn is_explained(emulator: &Emulator, error: &Value, code: &str, reason: &str) {
    let (_, entry) = emulator.requests().since(0).pop().unwrap();
    if let Some(id) = error["request_id"].as_str() {
        assert_eq!(id, entry.id);
    }
    let draft = &entry.outcome().unwrap().draft;
    assert_eq!(draft.error_code.as_deref(), Some(code));
    let reasons = draft.reasons.join("\n");
    assert!(reasons.contains(reason), "{reasons}");
}

fn config() -> Config {
    let mut config = Config::free_ports();
    config.aliyun.auto_create = false;
    config.aliyun.instances[0].topics = vec!["demo".to_owned()];
    config
}

async fn start(config: Config) -> Emulator {
    Emulator::builder().config(config).start().await.unwrap()
}

async fn sees_refusals(sdk: &Sdk) {
    let script = sdk.start().await;
    let mut caller = Caller { sdk, script };
    let emulator = start(config()).await;
    let good = sdk.call(&emulator);
    for (field, value, code, reason) in [
        ("secret", "wrong", "SignatureDoesNotMatch", "secret"),
        ("key", "nobody", "InvalidAccessKeyId.NotFound", "nobody"),
        (
            "instance",
            "other",
            "InstancePermissionCheckFailed",
            "other",
        ),
        ("topic", "elsewhere/a", "PermissionCheckFailed", "elsewhere"),
        ("topic", "demo/+", "ParameterCheckFailed", "demo/+"),
        (
            "payload",
            &"x".repeat(65_537),
            "ParameterCheckFailed",
            "65536",
        ),
    ] {
        let mut call = good.clone();
        call[field] = value.into();
        caller.is_refused(&emulator, &call, code, reason).await;
    }
    for (field, name) in [("instance", "InstanceId"), ("topic", "MqttTopic")] {
        let mut call = good.clone();
        call.as_object_mut().unwrap().remove(field);
        let code = format!("Missing{name}");
        caller.is_refused(&emulator, &call, &code, name).await;
    }
    caller.script.ask(&good).await.unwrap();
    admin_post(&emulator, "/clock/advance", r#"{"seconds":901}"#).await;
    let expired = "InvalidTimeStamp.Expired";
    caller
        .is_refused(&emulator, &good, expired, "the emulator's")
        .await;
    emulator.stop().await;
    let (kind, code) = sdk.errors.unreachable;
    let mut call = good;
    // Where nobody ever listens.
    call["endpoint"] = "127.0.0.1:1".into();
    let error = caller.script.ask(&call).await.unwrap_err();
    assert_eq!(error["type"], kind, "{error}");
    assert_eq!(error["code"].as_str(), code, "{error}");
}

/// Over the quota by one call, refused as this says.
async fn sees_throttling(sdk: &Sdk, overflow: Overflow) {
    let script = sdk.start().await;
    let mut caller = Caller { sdk, script };
    let mut config = config();
    config.aliyun.overflow = overflow;
    config.aliyun.retry_after_s = 7;
    config.aliyun.quotas.insert("SendMessage".to_owned(), 1);
    let emulator = start(config).await;
    // Standing still, so that nothing is refilled however long the calls take.
    emulator.clock().freeze(emulator.clock().now());
    let call = sdk.call(&emulator);
    caller.script.ask(&call).await.unwrap();
    match overflow {
        Overflow::Gateway => {
            let code = "Throttling.User";
            let error = caller.fails(&call, sdk.errors.throttled, code).await;
            if sdk.errors.throttled == Some("ThrottlingException") {
                assert_eq!(error["retry_after"], 7, "{error}");
            }
            is_explained(&emulator, &error, code, "SendMessage");
        }
        Overflow::Product => {
            let code = "SystemOverFlow";
            let error = caller.fails(&call, sdk.errors.failed, code).await;
            is_explained(&emulator, &error, code, "SendMessage");
        }
    }
    // A second later there is room again.
    emulator
        .clock()
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    caller.script.ask(&call).await.unwrap();
    emulator.stop().await;
}

async fn sees_both_overflows(sdk: &Sdk) {
    sees_throttling(sdk, Overflow::Gateway).await;
    sees_throttling(sdk, Overflow::Product).await;
}

#[tokio::test]
async fn the_old_python_sdks_request_class_sees_refusals() {
    sees_refusals(&ALIYUN_PYTHON).await;
    sees_both_overflows(&ALIYUN_PYTHON).await;
}

#[tokio::test]
async fn the_old_python_sdks_common_request_sees_refusals() {
    sees_refusals(&ALIYUN_PYTHON_COMMON).await;
}

#[tokio::test]
async fn the_python_package_with_signature_1_sees_refusals() {
    sees_refusals(&ONSMQTT_V1).await;
    sees_both_overflows(&ONSMQTT_V1).await;
}

#[tokio::test]
async fn the_newest_python_package_sees_refusals() {
    sees_refusals(&ONSMQTT_V3).await;
    sees_both_overflows(&ONSMQTT_V3).await;
}

#[tokio::test]
async fn pop_core_sees_refusals_by_get() {
    sees_refusals(&POP_CORE_GET).await;
}

#[tokio::test]
async fn pop_core_sees_refusals_by_post() {
    sees_refusals(&POP_CORE_POST).await;
    sees_both_overflows(&POP_CORE_POST).await;
}

#[tokio::test]
async fn the_openapi_client_sees_refusals() {
    sees_refusals(&OPENAPI_CLIENT).await;
    sees_both_overflows(&OPENAPI_CLIENT).await;
}
