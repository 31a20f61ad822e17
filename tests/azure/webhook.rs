//! Webhook authentication: what the webhook is asked, and what becomes of its answers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use mqttstack_broker::dialect::{Connect, ConnectCode, ConnectRefusal};
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::bench::{Bench, bench, claims};
use crate::mqtt::{admitted, listening, question};
use crate::wire::{Connect as Packet, Wire};

fn settings(url: &str) -> Value {
    json!({
        "webhook_timeout_ms": 300,
        "namespaces": [{
            "topic_spaces_configuration": {"clientAuthentication": {"webHookAuthentication": {
                "identity": {"type": "UserAssigned", "userAssignedIdentity": "/subscriptions/x"},
                "endpointUrl": url,
                "azureActiveDirectoryApplicationIdOrUri": "api://hook/.default",
                "azureActiveDirectoryTenantId": "55555555-5555-5555-5555-555555555555",
            }}},
            "client_groups": [{"name": "g", "properties": {"query": "attributes.floor = 7"}}],
            "topic_spaces": [{"name": "own", "properties": {"topicTemplates": ["dev/${client.authenticationName}/#"]}}],
            "permission_bindings": [{"name": "b", "properties": {"clientGroupName": "g", "topicSpaceName": "own", "permission": "Publisher"}}],
        }],
    })
}

async fn answering(template: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/hook"))
        .and(header("content-type", "application/json"))
        .respond_with(template)
        .mount(&server)
        .await;
    server
}

fn ask() -> Connect {
    Connect {
        username: Some("user".to_owned()),
        password: Some(vec![0, 255, 7].into()),
        authentication_method: None,
        authentication_data: None,
        ..question("", "")
    }
}

async fn refusal(server: &MockServer) -> ConnectRefusal {
    let bench = bench(settings(&format!("{}/hook", server.uri()))).await;
    let dialect = bench.azure.dialect(&bench.app);
    assert!(dialect.claims(&ask()));
    dialect.connect(&ask()).await.unwrap_err()
}

#[tokio::test]
async fn the_webhook_gets_the_documented_body_and_a_token_and_its_client_has_the_attributes() {
    let allow = json!({
        "decision": "allow", "clientAuthenticationName": "Dev-1",
        "attributes": {"floor": 7, "odd": {"not": "an attribute"}},
    });
    let server = answering(ResponseTemplate::new(200).set_body_json(allow)).await;
    let bench = bench(settings(&format!("{}/hook", server.uri()))).await;
    let dialect = bench.azure.dialect(&bench.app);
    let mut connect = ask();
    connect.authentication_method = Some("SAS".to_owned());
    connect.authentication_data = Some("data".into());
    connect.tls.certificates = [b"leaf".as_slice().into(), b"issuer".as_slice().into()].into();
    let grant = dialect.connect(&connect).await.unwrap();
    assert_eq!(grant.identity, "Dev-1");
    let peer = admitted(&*dialect, grant);
    assert_eq!(crate::mqtt::published(&*dialect, &peer, "dev/Dev-1/t"), 0);
    assert_eq!(
        crate::mqtt::published(&*dialect, &peer, "dev/other/t"),
        0x87
    );
    let request = server.received_requests().await.unwrap().remove(0);
    let body: Value = request.body_json().unwrap();
    let pem = |der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    assert_eq!(
        body,
        json!({
            "clientId": "session",
            "userName": "user",
            "password": "AP8H",
            "authenticationMethod": "SAS",
            "authenticationData": "ZGF0YQ==",
            "clientCertificate": pem(b"leaf"),
            "clientCertificateChain": pem(b"issuer"),
        })
    );
    let bearer = request.headers["authorization"].to_str().unwrap();
    let told = claims(bearer.strip_prefix("Bearer ").unwrap());
    assert_eq!(told["aud"], "api://hook");
    assert_eq!(
        told["iss"],
        "https://sts.windows.net/55555555-5555-5555-5555-555555555555/"
    );
}

#[tokio::test]
async fn a_denial_is_not_authorized_with_the_webhooks_reason() {
    let deny = json!({"decision": "deny", "errorReason": "the signature is stale"});
    let server = answering(ResponseTemplate::new(200).set_body_json(deny)).await;
    let refusal = refusal(&server).await;
    assert_eq!(refusal.code, ConnectCode::NotAuthorized);
    assert_eq!(
        refusal.reason,
        "the webhook denied it: the signature is stale"
    );
}

#[tokio::test]
async fn a_webhook_that_fails_makes_the_server_unavailable() {
    let late = json!({"decision": "allow", "clientAuthenticationName": "x"});
    for (template, reason) in [
        (ResponseTemplate::new(500), "it answered 500"),
        (
            ResponseTemplate::new(302).insert_header("location", "/hook"),
            "it answered 302",
        ),
        (
            ResponseTemplate::new(200).set_body_string("yes"),
            "expected value",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({"decision": "maybe"})),
            "the decision is \"maybe\"",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({"decision": "allow"})),
            "without a clientAuthenticationName",
        ),
        (
            ResponseTemplate::new(200).set_body_json(
                json!({"decision": "allow", "clientAuthenticationName": "x", "expiration": "soon"}),
            ),
            "is no time in seconds",
        ),
        (
            ResponseTemplate::new(200)
                .set_body_json(&late)
                .set_delay(Duration::from_mins(1)),
            "it did not answer in time",
        ),
    ] {
        let server = answering(template).await;
        let refusal = refusal(&server).await;
        assert_eq!(
            refusal.code,
            ConnectCode::ServerUnavailable,
            "{}",
            refusal.reason
        );
        assert!(refusal.reason.contains(reason), "{}", refusal.reason);
    }
    let bench = bench(settings("http://127.0.0.1:1/hook")).await;
    let dialect = bench.azure.dialect(&bench.app);
    let refusal = dialect.connect(&ask()).await.unwrap_err();
    assert_eq!(refusal.code, ConnectCode::ServerUnavailable);
    assert!(
        refusal.reason.contains("http://127.0.0.1:1/hook"),
        "{}",
        refusal.reason
    );
}

#[tokio::test]
async fn the_answers_of_the_webhook_are_codes_on_the_wire() {
    let deny = json!({"decision": "deny"});
    for (template, five, three) in [
        (ResponseTemplate::new(200).set_body_json(deny), 0x87, 5),
        (ResponseTemplate::new(503), 0x88, 3),
    ] {
        let server = answering(template).await;
        let (_bench, address) = listening(settings(&format!("{}/hook", server.uri()))).await;
        for (version, code) in [(5, five), (4, three)] {
            let mut packet = Packet::new(version, "session");
            packet.username = Some("user".to_owned());
            assert_eq!(Wire::connect(address, &packet).await.1.code, code);
        }
    }
}

async fn with_expiration(expiration: Value) -> (MockServer, Bench, std::net::SocketAddr) {
    let allow =
        json!({"decision": "allow", "clientAuthenticationName": "d", "expiration": expiration});
    let server = answering(ResponseTemplate::new(200).set_body_json(allow)).await;
    let (bench, address) = listening(settings(&format!("{}/hook", server.uri()))).await;
    (server, bench, address)
}

#[tokio::test]
async fn a_decision_ends_at_its_expiration() {
    // 2026-11-21T22:52:00Z, a minute after the tests' time; the page's sample has it as text.
    for expiration in [json!(1_795_301_520), json!("1795301520")] {
        let (_server, bench, address) = with_expiration(expiration).await;
        let mut packet = Packet::new(5, "session");
        packet.username = Some("user".to_owned());
        let (mut wire, connack) = Wire::connect(address, &packet).await;
        assert_eq!(connack.code, 0);
        bench
            .app
            .clock
            .advance(SignedDuration::from_secs(60))
            .unwrap();
        assert_eq!(wire.disconnected().await, 0x87);
    }
}

#[tokio::test]
async fn clients_without_any_credentials_and_registered_ones_are_not_the_webhooks() {
    let server = answering(ResponseTemplate::new(500)).await;
    let mut settings = settings(&format!("{}/hook", server.uri()));
    settings["auth"] = json!("lenient");
    settings["namespaces"][0]["clients"] = json!([{"name": "known"}]);
    let bench = bench(settings).await;
    let dialect = bench.azure.dialect(&bench.app);
    let mut connect = ask();
    connect.username = Some("known".to_owned());
    assert_eq!(dialect.connect(&connect).await.unwrap().identity, "known");
    connect.username = None;
    connect.password = None;
    assert!(!dialect.claims(&connect));
    assert!(server.received_requests().await.unwrap().is_empty());
}
