//! Who is let in: tokens made by an independent signer, keys, roles and topic spaces.

use jiff::SignedDuration;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bench::{Ask, OBJECT_ID, bench, tokens};

fn publish(token: &str) -> Ask {
    Ask::post("/mqtt/messages?topic=a/b&api-version=2025-02-15-preview")
        .header("Authorization", &format!("Bearer {token}"))
        .header("Content-Type", "text/plain")
        .body("hello")
}

/// A surface whose own signing key the independent signer's tokens were made with.
async fn warm(settings: Value) -> crate::bench::Bench {
    let bench = bench(settings).await;
    assert_eq!(
        tokens()["own_key_id"],
        "WiqnrIcQXA9jvRdReUgEvY9NmP7H3nXvLh5y9omh4no"
    );
    bench
}

#[tokio::test]
async fn every_bad_token_is_refused_with_what_was_got_and_expected() {
    let bench = warm(json!({})).await;
    for case in tokens()["entra"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let answer = bench.ask(publish(case["token"].as_str().unwrap())).await;
        let Some(reason) = case["refused"].as_str() else {
            assert_eq!(answer.status, 204, "{name}: {}", bench.reasons());
            continue;
        };
        let (status, code) = match name {
            "no-role" => (403, "Forbidden"),
            _ => (401, "Unauthorized"),
        };
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.header_value("x-ms-error-code"), Some(code));
        let body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap();
        assert_eq!(body["error"]["code"], code);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{name}: {message}");
        assert!(bench.reasons().contains(reason), "{name}");
    }
    assert_eq!(bench.app.journal.messages().len(), 5);
}

#[tokio::test]
async fn a_token_expires_on_the_emulators_clock() {
    let bench = warm(json!({})).await;
    let token = bench.token().await;
    assert_eq!(bench.ask(publish(&token)).await.status, 204);
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(3598))
        .unwrap();
    assert_eq!(bench.ask(publish(&token)).await.status, 204);
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    assert_eq!(bench.ask(publish(&token)).await.status, 401);
}

#[tokio::test]
async fn lenient_looks_at_shape_times_audience_and_object_id_alone() {
    let bench = warm(json!({"auth": "lenient"})).await;
    for case in tokens()["entra"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let refused = [
            "expired",
            "not-yet-valid",
            "no-exp",
            "wrong-audience",
            "no-audience",
            "no-oid",
            "two-parts",
            "garbage",
            "not-json",
        ];
        let status = if refused.contains(&name) { 401 } else { 204 };
        let answer = bench.ask(publish(case["token"].as_str().unwrap())).await;
        assert_eq!(answer.status, status, "{name}");
    }
}

#[tokio::test]
async fn without_authentication_nothing_is_needed_and_a_token_still_names_the_caller() {
    let bench = warm(json!({"auth": "off"})).await;
    let ask = publish("").without("authorization");
    assert_eq!(bench.ask(ask).await.status, 204);
    let good = tokens()["entra"][0]["token"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(publish(&good)).await.status, 204);
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    assert_eq!(message.origin.client_id.as_deref(), Some(OBJECT_ID));
}

#[tokio::test]
async fn no_credentials_and_credentials_of_another_kind_are_refused() {
    let bench = warm(json!({})).await;
    for (header, reason) in [
        (None, "there is no Authorization header"),
        (Some("Basic YTpi"), "scheme is \"Basic\""),
        (Some("Bearer "), "scheme is \"Bearer\""),
        (
            Some("SharedAccessKey dGVzdGtleQ=="),
            "scheme is \"SharedAccessKey\"",
        ),
    ] {
        let mut ask = publish("").without("authorization");
        if let Some(header) = header {
            ask = ask.header("Authorization", header);
        }
        let answer = bench.json(401, ask).await;
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains(reason),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn tokens_of_a_configured_issuer_are_verified_with_its_key_set() {
    let server = MockServer::start().await;
    let outside = &tokens()["outside"];
    Mock::given(method("GET"))
        .and(path("/keys"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&outside["jwks"]))
        .expect(2)
        .mount(&server)
        .await;
    let issuer = json!({
        "issuer": "https://idp.example/",
        "jwks_url": format!("{}/keys", server.uri()),
        "roles": ["EventGrid TopicSpaces Publisher"],
    });
    let bench = warm(json!({"issuers": [issuer]})).await;
    let token = |name: &str| outside[name].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(bench.ask(publish(&token("good"))).await.status, 204);
    }
    assert_eq!(bench.ask(publish(&token("wrong_key"))).await.status, 401);
    // An unknown key id makes the set be fetched once more.
    assert_eq!(
        bench.ask(publish(&token("unknown_key_id"))).await.status,
        401
    );
    assert!(
        bench.reasons().contains("has no RSA key"),
        "{}",
        bench.reasons()
    );
}

/// Answers with this key set from now on.
async fn serve_keys(server: &MockServer, set: &Value) {
    server.reset().await;
    Mock::given(method("GET"))
        .and(path("/keys"))
        .respond_with(ResponseTemplate::new(200).set_body_json(set))
        .mount(server)
        .await;
}

#[tokio::test]
async fn a_token_that_was_good_ends_with_the_key_of_its_issuer() {
    let server = MockServer::start().await;
    let outside = &tokens()["outside"];
    serve_keys(&server, &outside["jwks"]).await;
    let issuer = json!({
        "issuer": "https://idp.example/",
        "jwks_url": format!("{}/keys", server.uri()),
        "roles": ["EventGrid TopicSpaces Publisher"],
    });
    let bench = warm(json!({"issuers": [issuer]})).await;
    let status = async |name: &str| {
        let token = outside[name].as_str().unwrap();
        bench.ask(publish(token)).await.status
    };
    assert_eq!(
        (status("good").await, status("wrong_key").await),
        (204, 401)
    );
    // The issuer gives its key id to another key; an unknown id makes the set be fetched again.
    let own = bench
        .json(200, Ask::get("/common/discovery/v2.0/keys"))
        .await;
    let mut key = own["keys"][0].clone();
    key["kid"] = json!("outside-1");
    serve_keys(&server, &json!({"keys": [key]})).await;
    assert_eq!(status("good").await, 204);
    assert_eq!(status("unknown_key_id").await, 401);
    assert_eq!(status("good").await, 401);
    assert!(
        bench.reasons().contains("the signature does not match"),
        "{}",
        bench.reasons()
    );
    assert_eq!(status("wrong_key").await, 204);
}

#[tokio::test]
async fn a_token_that_was_good_ends_when_the_clock_passes_it() {
    let bench = warm(json!({})).await;
    let good = tokens()["entra"][0]["token"].as_str().unwrap().to_owned();
    let status = async || bench.ask(publish(&good)).await.status;
    assert_eq!((status().await, status().await), (204, 204));
    let before = bench.app.clock.now();
    let year = SignedDuration::from_hours(24 * 365);
    bench.app.clock.advance(year).unwrap();
    assert_eq!(status().await, 401);
    assert!(
        bench.reasons().contains("it expired"),
        "{}",
        bench.reasons()
    );
    bench.app.clock.freeze(before);
    assert_eq!(status().await, 204);
}

#[tokio::test]
async fn key_ids_that_an_issuer_lacks_do_not_ask_it_each_time() {
    let server = MockServer::start().await;
    let outside = &tokens()["outside"];
    Mock::given(method("GET"))
        .and(path("/keys"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&outside["jwks"]))
        .expect(10)
        .mount(&server)
        .await;
    let issuer =
        json!({"issuer": "https://idp.example/", "jwks_url": format!("{}/keys", server.uri())});
    let bench = warm(json!({"issuers": [issuer]})).await;
    let token = outside["unknown_key_id"].as_str().unwrap().to_owned();
    for _ in 0..20 {
        assert_eq!(bench.ask(publish(&token)).await.status, 401);
        assert!(bench.reasons().contains("has no RSA key"));
    }
}

#[tokio::test]
async fn a_key_set_without_end_is_not_read_to_its_end() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/keys"))
        .respond_with(ResponseTemplate::new(200).set_body_string("x".repeat(2 << 20)))
        .mount(&server)
        .await;
    let issuer =
        json!({"issuer": "https://idp.example/", "jwks_url": format!("{}/keys", server.uri())});
    let bench = warm(json!({"issuers": [issuer]})).await;
    let token = tokens()["outside"]["good"].as_str().unwrap().to_owned();
    assert_eq!(bench.ask(publish(&token)).await.status, 401);
    let reasons = bench.reasons();
    assert!(reasons.contains("longer than 1048576 bytes"), "{reasons}");
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_named() {
    let issuer = json!({"issuer": "https://idp.example/", "jwks_url": "http://127.0.0.1:1/keys"});
    let bench = warm(json!({"issuers": [issuer]})).await;
    let token = tokens()["outside"]["good"].as_str().unwrap().to_owned();
    let answer = bench.json(401, publish(&token)).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("the key set at http://127.0.0.1:1/keys cannot be read"),
        "{message}"
    );
}

#[tokio::test]
async fn client_assertions_are_checked_where_a_key_is_configured() {
    let assertions = &tokens()["assertions"];
    let bench = bench(json!({"principals": [{
        "object_id": OBJECT_ID, "client_id": "app", "assertion_key": assertions["public_key"],
    }]}))
    .await;
    for (name, refusal) in [
        ("good", None),
        ("good_pss", None),
        ("wrong_key", Some(700_027)),
        ("expired", Some(700_024)),
    ] {
        let status = refusal.map_or(200, |_| 401);
        let body = format!(
            "grant_type=client_credentials&client_id=app&scope=r%2F.default&client_assertion={}",
            assertions[name].as_str().unwrap()
        );
        let answer = bench
            .json(status, Ask::post("/t/oauth2/v2.0/token").body(body))
            .await;
        if let Some(code) = refusal {
            assert_eq!(answer["error_codes"], json!([code]), "{name}");
        }
    }
}

#[tokio::test]
async fn topic_spaces_limit_what_an_identity_may_publish() {
    let bench = bench(json!({
        "principals": [{
            "object_id": OBJECT_ID,
            "client_id": "app",
            "roles": [{"role": "EventGrid TopicSpaces Publisher", "topic_space": "own"}],
        }],
        "namespaces": [{"topic_spaces": [
            {"name": "own", "properties": {"topicTemplates": ["dev/${client.authenticationName}/#"]}},
            {"name": "other", "properties": {"topicTemplates": ["other/#"]}},
        ]}],
    }))
    .await;
    let token = bench.token().await;
    for (topic, status, reason) in [
        (format!("dev/{OBJECT_ID}/t"), 204, ""),
        ("other/t".to_owned(), 403, "has no role assignment"),
        (
            "none/t".to_owned(),
            403,
            "Topic name 'none/t' does not match any topicspaces",
        ),
    ] {
        let ask = Ask::post(&format!("/mqtt/messages?topic={topic}&api-version=x"))
            .header("Authorization", &format!("Bearer {token}"));
        assert_eq!(bench.ask(ask).await.status, status, "{topic}");
        assert!(bench.reasons().contains(reason), "{}", bench.reasons());
    }
}
