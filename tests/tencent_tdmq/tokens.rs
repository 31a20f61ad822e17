//! Tokens in the user name or the password: who takes which, the key sets, the access lists.
//! The tokens are those of `fixtures/tencent-tdmq/tokens.json`, signed elsewhere.

use std::sync::LazyLock;

use mqttstack_tencent_tdmq::Settings;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bare::Bare;
use crate::bench::Bench;
use crate::mqtt::Device;

static FIXTURE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../fixtures/tencent-tdmq/tokens.json")).unwrap()
});

fn token(name: &str) -> &'static str {
    FIXTURE["tokens"][name].as_str().unwrap()
}

fn settings(json: Value) -> Settings {
    serde_json::from_value(json).unwrap()
}

/// One authenticator that reads the password.
async fn with(authenticator: Value) -> Bench {
    with_policies(authenticator, json!([{}])).await
}

async fn with_policies(mut authenticator: Value, policies: Value) -> Bench {
    authenticator["from"] = json!("password");
    Bench::with(settings(
        json!({"authenticators": [authenticator], "policies": policies}),
    ))
    .await
}

fn hmac() -> Value {
    json!({"secret": FIXTURE["secret"]})
}

fn key_set() -> Value {
    json!({"algorithm": "jwks", "text": FIXTURE["key_set"].to_string()})
}

/// The CONNACK's code and the journal's reason.
async fn connect(bench: &Bench, name: &str) -> (u8, String) {
    let (_, code) = Bare::connect(bench.mqtt(), "dev", "anyone", token(name)).await;
    let reason = match code {
        0 => String::new(),
        _ => bench.refusal(),
    };
    (code, reason)
}

#[tokio::test]
async fn a_token_is_good_for_its_time_alone() {
    let bench = with(hmac()).await;
    for (name, code, reason) in [
        ("good", 0, ""),
        ("expired", 4, "expired"),
        ("not_yet", 4, "good from"),
        ("issued_later", 4, "issued at"),
        ("expiry_in_words", 4, "exp is not a number"),
        ("unsigned", 4, "token is refused"),
        ("rsa", 4, "RS256 is not this authenticator's"),
    ] {
        let seen = connect(&bench, name).await;
        assert!(
            seen.0 == code && seen.1.contains(reason),
            "{name}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_where_they_are_configured() {
    for (more, name, code) in [
        (json!({}), "good", 0),
        (json!({"issuer": "https://issuer"}), "good", 4),
        (json!({"audience": "mqtt"}), "good", 4),
        (
            json!({"issuer": "https://issuer", "audience": "mqtt"}),
            "issuer_and_audiences",
            0,
        ),
        (json!({"audience": "third"}), "issuer_and_audiences", 4),
    ] {
        let mut authenticator = hmac();
        for (field, value) in more.as_object().unwrap() {
            authenticator[field] = value.clone();
        }
        let bench = with(authenticator).await;
        assert_eq!(connect(&bench, name).await.0, code, "{more} {name}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let bench = with(json!({"algorithm": "public-key", "public_key": FIXTURE["public_key"]})).await;
    assert_eq!(connect(&bench, "rsa").await.0, 0);
    let (code, reason) = connect(&bench, "public_key_as_secret").await;
    assert_eq!(code, 4);
    assert!(reason.contains("HS256"), "{reason}");
}

#[tokio::test]
async fn a_key_set_has_the_key_that_the_token_names() {
    let bench = with(key_set()).await;
    for (name, code) in [
        ("rsa", 0),
        ("ec", 0),
        ("ed", 0),
        ("rsa_without_key_id", 0),
        ("rsa_of_another_key_id", 4),
        ("rsa_of_an_unknown_key_id", 4),
        ("good", 4),
    ] {
        let seen = connect(&bench, name).await;
        assert_eq!(seen.0, code, "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_key_set_is_fetched_once_in_its_interval_and_again_for_an_unknown_key() {
    let server = MockServer::start().await;
    let keys = ResponseTemplate::new(200).set_body_json(&FIXTURE["key_set"]);
    Mock::given(path("/keys"))
        .respond_with(keys)
        .mount(&server)
        .await;
    let endpoint = format!("{}/keys", server.uri());
    let bench = with(json!({"algorithm": "jwks", "endpoint": endpoint})).await;
    let asked = async || server.received_requests().await.unwrap().len();
    assert_eq!(connect(&bench, "rsa").await.0, 0);
    assert_eq!(connect(&bench, "ec").await.0, 0);
    assert_eq!(asked().await, 1);
    assert_eq!(connect(&bench, "rsa_of_an_unknown_key_id").await.0, 4);
    assert_eq!(asked().await, 2);
    bench
        .app
        .clock
        .advance(jiff::SignedDuration::from_secs(60))
        .unwrap();
    assert_eq!(connect(&bench, "rsa").await.0, 0);
    assert_eq!(asked().await, 3);
    bench.tdmq.reset();
    assert_eq!(connect(&bench, "rsa").await.0, 0);
    assert_eq!(asked().await, 4);
}

#[tokio::test]
async fn a_key_set_that_cannot_be_had_says_so() {
    let server = MockServer::start().await;
    for (answer, part) in [
        (ResponseTemplate::new(500), "500"),
        (
            ResponseTemplate::new(200).set_body_string("<html>"),
            "key set at",
        ),
    ] {
        server.reset().await;
        Mock::given(path("/keys"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let endpoint = format!("{}/keys", server.uri());
        let bench = with(json!({"algorithm": "jwks", "endpoint": endpoint})).await;
        let (code, reason) = connect(&bench, "rsa").await;
        assert!(code == 4 && reason.contains(part), "{code} {reason}");
    }
}

#[tokio::test]
async fn where_no_policy_matches_the_tokens_access_list_decides() {
    let bench = with_policies(hmac(), json!([])).await;
    let at = bench.mqtt();
    let (code, reason) = connect(&bench, "good").await;
    assert_eq!(code, 5);
    assert!(
        reason.contains("no authorization policy matches"),
        "{reason}"
    );
    let (mut device, code) = Bare::connect(at, "dev", "anyone", token("own_topics")).await;
    assert_eq!(code, 0);
    assert_eq!(device.subscribe("own/dev/#").await, 1);
    assert_eq!(device.subscribe("own/other/#").await, 0x80);
    let mut watcher = Device::v4(at, "watcher").await;
    watcher.subscribe("own/#", 1).await;
    device.publish("own/other/x", "no").await;
    device.publish("own/dev/x", "yes").await;
    assert_eq!(watcher.receive().await.payload, "yes");
}

#[tokio::test]
async fn the_first_statement_of_the_list_that_matches_decides() {
    let bench = with_policies(hmac(), json!([])).await;
    let (mut device, code) =
        Bare::connect_v5(bench.mqtt(), "dev", "anyone", token("no_secrets")).await;
    assert_eq!(code, 0);
    assert_eq!(device.publish("own/dev/secret", "x").await, 0x87);
    assert!(
        bench.refusal().contains("policy \"acl[0]\" denies"),
        "{}",
        bench.refusal()
    );
    assert_eq!(device.publish("own/dev/other", "x").await, 0);
}

#[tokio::test]
async fn the_policies_are_asked_before_the_access_list() {
    let deny = json!([{"name": "quiet", "effect": "deny", "actions": ["pub"], "resources": ["own/dev/quiet"]}]);
    let bench = with_policies(hmac(), deny).await;
    let (mut device, code) =
        Bare::connect_v5(bench.mqtt(), "dev", "anyone", token("own_topics")).await;
    assert_eq!(code, 0);
    assert_eq!(device.publish("own/dev/quiet", "x").await, 0x87);
    assert_eq!(device.publish("own/dev/loud", "x").await, 0);
}

#[tokio::test]
async fn a_statements_conditions_count() {
    let bench = with_policies(hmac(), json!([])).await;
    assert_eq!(connect(&bench, "only_from_elsewhere").await.0, 5);
}

#[tokio::test]
async fn the_claim_of_the_access_list_can_be_another() {
    let mut authenticator = hmac();
    authenticator["acl_claim"] = json!("permissions");
    let bench = with_policies(authenticator, json!([])).await;
    assert_eq!(connect(&bench, "another_claim").await.0, 0);
    assert_eq!(connect(&bench, "own_topics").await.0, 5);
}

#[tokio::test]
async fn an_access_list_that_cannot_be_read_is_refused_and_named() {
    let bench = with(hmac()).await;
    let (code, reason) = connect(&bench, "broken_list").await;
    assert!(
        code == 4 && reason.contains("acl is no list of statements"),
        "{code} {reason}"
    );
}

#[tokio::test]
async fn a_closed_authenticator_takes_no_token() {
    let mut authenticator = hmac();
    authenticator["open"] = json!(false);
    let bench = with(authenticator).await;
    let (_, code) = Bare::connect(bench.mqtt(), "dev", "user0", token("good")).await;
    assert_eq!(code, 4);
    let reason = bench.refusal();
    assert!(
        reason.contains("the password of user \"user0\""),
        "{reason}"
    );
}
