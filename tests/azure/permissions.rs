//! What a client may do: it follows the namespace's resources while they are changed, and
//! resources that make no sense are refused when they are put.

use std::net::SocketAddr;

use bytes::Bytes;
use mqttstack_broker::dialect::Connect as Question;
use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench, tokens};
use crate::mqtt::{admitted, listening, published, question};
use crate::shared;
use crate::wire::{Connack, Connect, Wire, text};

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";

fn binding(group: &str, permission: &str) -> Value {
    let name = format!("{group}{permission}").replace('$', "");
    json!({"name": name, "properties": {"clientGroupName": group, "topicSpaceName": "OWN", "permission": permission}})
}

/// Clients `a` and `b`; `ok/#` is open to all, for `a` by a group of its own.
async fn guarded() -> (Bench, SocketAddr) {
    let group = "attributes.kind IN ['a'] and authenticationName <> 'B'";
    listening(json!({"auth": "lenient", "namespaces": [{
        "clients": [
            {"name": "a", "properties": {"attributes": {"kind": "a"}}},
            {"name": "b"},
        ],
        "clientGroups": [{"name": "Mine", "properties": {"query": group}}],
        "topicSpaces": [{"name": "own", "properties": {"topicTemplates": ["ok/#"]}}],
        "permissionBindings": [
            binding("mine", "Subscriber"),
            binding("mine", "Publisher"),
            {"name": "all", "properties": {"clientGroupName": "$ALL", "topicSpaceName": "own", "permission": "publisher"}},
        ],
    }]}))
    .await
}

async fn open(address: SocketAddr, name: &str, lasting: bool) -> (Wire, Connack) {
    let connect = Connect {
        clean: !lasting,
        properties: if lasting {
            vec![0x11, 0, 0, 0, 60]
        } else {
            Vec::new()
        },
        username: Some(name.to_owned()),
        ..Connect::new(5, name)
    };
    Wire::connect(address, &connect).await
}

async fn put(bench: &Bench, path: &str, properties: Value) -> u16 {
    let body = json!({"properties": properties}).to_string();
    let ask = Ask::new("PUT", &format!("{NAMESPACE}{path}")).body(body);
    bench.ask(ask).await.status
}

#[tokio::test]
async fn names_of_resources_and_the_built_in_group_have_no_case() {
    let (_bench, address) = guarded().await;
    let (mut a, _) = open(address, "a", false).await;
    assert_eq!(a.subscribe("ok/+", 1).await, 1);
    let (mut b, _) = open(address, "b", false).await;
    assert_eq!(b.subscribe("ok/+", 1).await, 0x87);
    b.publish("ok/t", "x", 2, &[]).await;
    assert_eq!(a.take().await.topic, "ok/t");
}

#[tokio::test]
async fn a_subscription_that_is_not_permitted_any_more_ends_the_session() {
    let (bench, address) = guarded().await;
    let (mut a, _) = open(address, "a", true).await;
    assert_eq!(a.subscribe("ok/+", 1).await, 1);
    let (b, _) = open(address, "b", false).await;
    let ask = Ask::new(
        "DELETE",
        &format!("{NAMESPACE}/permissionBindings/mineSubscriber"),
    );
    assert_eq!(bench.ask(ask).await.status, 204);
    assert_eq!(a.disconnected().await, 0x87);
    let reason = "Topic filter 'ok/+' does not match any topicspaces";
    assert_eq!(bench.reasons(), reason);
    // Of the session nothing is left; who has no such subscription stays.
    shared::forgotten(&bench.app.broker, "a").await;
    let (mut a, connack) = open(address, "a", true).await;
    assert!(!connack.session_present);
    assert_eq!(a.subscribe("ok/+", 1).await, 0x87);
    b.leave().await;
}

#[tokio::test]
async fn the_attributes_of_a_connected_client_may_change() {
    let (bench, address) = guarded().await;
    let (mut b, _) = open(address, "b", false).await;
    let query = json!({"query": "attributes.kind = 'a'"});
    assert_eq!(put(&bench, "/clientGroups/Mine", query).await, 200);
    assert_eq!(b.subscribe("ok/+", 1).await, 0x87);
    let client = json!({"attributes": {"kind": "a"}, "clientCertificateAuthentication": {}});
    assert_eq!(put(&bench, "/clients/b", client).await, 200);
    assert_eq!(b.subscribe("ok/+", 1).await, 1);
}

#[tokio::test]
async fn a_session_has_at_most_fifty_subscriptions() {
    let (bench, address) =
        listening(json!({"auth": "lenient", "namespaces": [{"clients": [{"name": "a"}]}]})).await;
    let (mut wire, _) = open(address, "a", false).await;
    for n in 0..50 {
        assert_eq!(wire.subscribe(&format!("t/{n}"), 1).await, 1);
    }
    assert_eq!(wire.subscribe("t/50", 1).await, 0x97);
    assert_eq!(wire.subscribe("t/0", 1).await, 1, "it has this one");
    wire.unsubscribe("t/1").await;
    assert_eq!(wire.subscribe("t/50", 1).await, 1);
    assert_eq!(bench.app.broker.subscriptions().await.len(), 50);
}

#[tokio::test]
async fn a_publish_of_qos_0_over_a_limit_ends_the_connection_with_its_code() {
    let (_bench, address) =
        listening(json!({"auth": "lenient", "namespaces": [{"clients": [{"name": "a"}]}]})).await;
    let long = [vec![0x08], text("x".repeat(257))].concat();
    for (topic, own, code) in [
        ("a/".repeat(15), vec![], 0x90),
        ("t".to_owned(), long, 0x97),
    ] {
        let (mut wire, _) = open(address, "a", false).await;
        let publish = wire.publish_bytes(&topic, "x", 0, &own);
        wire.send(&publish).await;
        assert_eq!(wire.disconnected().await, code, "{topic}");
    }
}

#[tokio::test]
async fn resources_that_make_no_sense_are_refused_and_the_answer_says_why() {
    let bench = bench(json!({"namespaces": [{
        "clients": [{"name": "dev", "properties": {"authenticationName": "Device-1"}}],
        "topic_spaces": [{"name": "own", "properties": {"topicTemplates": ["a"]}}],
    }]}))
    .await;
    let by_subject = || json!({"validationScheme": "SubjectMatchesAuthenticationName"});
    let client = |name: &str, value: Value| json!({name: value, "clientCertificateAuthentication": by_subject()});
    let attributes = |value: Value| client("attributes", json!({"x": value}));
    let scheme = |value: &str, more: Value| json!({"clientCertificateAuthentication": {"validationScheme": value, "allowedThumbprints": more}});
    let templates = |all: Value| json!({"topicTemplates": all});
    let space = "/topicSpaces/new";
    for (path, properties, why) in [
        (
            "/clients/x",
            attributes(json!(true)),
            "a string, an integer or an array of strings",
        ),
        (
            "/clients/x",
            attributes(json!(1.5)),
            "a string, an integer or an array of strings",
        ),
        (
            "/clients/x",
            attributes(json!([1])),
            "a string, an integer or an array of strings",
        ),
        (
            "/clients/x",
            attributes(json!("x".repeat(4096))),
            "the limit is 4096",
        ),
        (
            "/clients/x",
            client("attributes", json!({"a-b": 1})),
            "letters, digits and _",
        ),
        (
            "/clients/x",
            client("authenticationName", json!("x".repeat(129))),
            "must be 1 to 128",
        ),
        (
            "/clients/x",
            client("authenticationName", json!("DEVICE-1")),
            "two clients have the authenticationName",
        ),
        (
            "/clients/x",
            client("state", json!("Off")),
            "neither Enabled nor Disabled",
        ),
        (
            "/clients/x",
            scheme("SubjectMatches", json!([])),
            "the validationScheme \\\"SubjectMatches\\\" is not",
        ),
        (
            "/clients/x",
            scheme("ThumbprintMatch", json!([])),
            "1 to 2 allowedThumbprints",
        ),
        (
            "/clients/x",
            scheme("ThumbprintMatch", json!(["a", "b", "c"])),
            "1 to 2 allowedThumbprints",
        ),
        (
            "/clientGroups/group",
            json!({"query": "attributes.a ="}),
            "it ends too early",
        ),
        (space, templates(json!(["a/#/b"])), "the topic template"),
        (
            space,
            templates(json!(["+${client.authenticationName}"])),
            "the topic template",
        ),
        (
            space,
            templates(json!(["${client.authenticationName|#}"])),
            "the literal text of a variable",
        ),
        (
            space,
            templates(json!(["${client.attributes.a-b}"])),
            "client.attributes.x",
        ),
        (
            space,
            templates(json!(vec!["a"; 11])),
            "11 topic templates, the limit is 10",
        ),
        (
            "/permissionBindings/b",
            json!({"clientGroupName": "none", "topicSpaceName": "own", "permission": "Publisher"}),
            "there is no client group",
        ),
        (
            "/permissionBindings/b",
            json!({"clientGroupName": "$all", "topicSpaceName": "none", "permission": "Publisher"}),
            "there is no topic space",
        ),
        (
            "/permissionBindings/b",
            json!({"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Owner"}),
            "permission: expected",
        ),
        (
            "/caCertificates/c",
            json!({"encodedCertificate": "bm9uZQ=="}),
            "no certificate in PEM",
        ),
        (
            "",
            json!({"topicSpacesConfiguration": {"maximumSessionExpiryInHours": 9}}),
            "is 9, it must be 1 to 8",
        ),
        (
            "",
            json!({"topicSpacesConfiguration": {"maximumClientSessionsPerAuthenticationName": 0}}),
            "is 0, it must be 1 to 100",
        ),
    ] {
        let body = json!({"properties": properties}).to_string();
        let ask = Ask::new("PUT", &format!("{NAMESPACE}{path}")).body(body);
        let answer = bench.json(400, ask).await;
        let said = answer["error"]["message"].to_string();
        assert!(said.contains(why), "{path}: {said}");
    }
}

#[tokio::test]
async fn the_other_spellings_of_a_pasted_client_are_taken() {
    let bench = bench(json!({})).await;
    for properties in [
        json!({"state": "enabled", "clientCertificateAuthentication": {"validationScheme": "subjectMatchesAuthenticationName", "allowedThumbprints": null}}),
        json!({"authenticationName": null, "attributes": null, "clientCertificateAuthentication": {}}),
        json!({"attributes": {"a": -1, "b": "x", "c": ["y", "z"], "d": []}, "clientCertificateAuthentication": {}}),
    ] {
        let status = put(&bench, "/clients/x", properties.clone()).await;
        assert!(matches!(status, 200 | 201), "{properties}: {status}");
    }
}

#[tokio::test]
async fn the_audience_of_a_custom_token_is_one_of_the_namespaces_hosts() {
    let custom = &tokens()["custom"];
    let token = custom["cases"][0]["token"].as_str().unwrap();
    let host = "NSNAME.westus3-1.ts.eventgrid.azure.net";
    for (name, more, taken) in [
        ("nsname", json!({}), true),
        ("other", json!({}), false),
        // Its host is only a part of the audience.
        ("sname", json!({}), false),
        ("other", json!({"hostname": host}), true),
        (
            "other",
            json!({"customDomains": [{"fullyQualifiedDomainName": host}]}),
            true,
        ),
    ] {
        let mut configuration = more.clone();
        configuration["clientAuthentication"] = json!({"customJwtAuthentication": {
            "tokenIssuer": "https://issuer.example",
            "encodedIssuerCertificates": [{"kid": "k", "encodedCertificate": custom["public_key"]}],
        }});
        let bench = bench(
            json!({"namespaces": [{"name": name, "topicSpacesConfiguration": configuration}]}),
        )
        .await;
        let dialect = bench.azure.dialect(&bench.app);
        match dialect.connect(&question("CUSTOM-JWT", token)).await {
            Ok(_) => assert!(taken, "{name} {more}"),
            Err(refusal) => {
                assert!(!taken, "{name} {more}: {}", refusal.reason);
                assert!(
                    refusal.reason.starts_with("the audience is"),
                    "{}",
                    refusal.reason
                );
            }
        }
    }
}

/// A certificate with several names of a kind.
fn certificate() -> Bytes {
    use rcgen::{CertificateParams, KeyPair, SanType};
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![
        SanType::DnsName("one.example".try_into().unwrap()),
        SanType::DnsName("Two.example".try_into().unwrap()),
        SanType::IpAddress("10.0.0.7".parse().unwrap()),
        SanType::IpAddress("2001:db8::7".parse().unwrap()),
    ];
    let key = KeyPair::generate().unwrap();
    Bytes::from(leaf.self_signed(&key).unwrap().der().to_vec())
}

fn shown(username: Option<&str>, leaf: &Bytes) -> Question {
    let mut connect = question("", "");
    connect.authentication_method = None;
    connect.authentication_data = None;
    connect.username = username.map(str::to_owned);
    connect.tls.certificates = [leaf.clone()].into();
    connect
}

#[tokio::test]
async fn a_certificate_may_have_several_names_of_a_kind() {
    let leaf = certificate();
    let client = |name: &str, authentication: &str, scheme: &str| json!({"name": name, "properties": {"authenticationName": authentication, "clientCertificateAuthentication": {"validationScheme": scheme}}});
    let bench = bench(json!({"namespaces": [{
        "clients": [
            client("dns", "two.example", "dnsMatchesAuthenticationName"),
            client("ip", "2001:0DB8:0:0::7", "IpMatchesAuthenticationName"),
        ],
        "topic_spaces_configuration": {"clientAuthentication": {"alternativeAuthenticationNameSources": ["ClientCertificateEmail", "clientCertificateDns"]}},
    }]}))
    .await;
    let dialect = bench.azure.dialect(&bench.app);
    for (username, identity) in [(Some("TWO.example"), "two.example"), (None, "two.example")] {
        let grant = dialect.connect(&shown(username, &leaf)).await.unwrap();
        assert_eq!(grant.identity, identity);
        let peer = admitted(&*dialect, grant);
        assert_eq!(published(&*dialect, &peer, "t"), 0);
    }
    let mut other = shown(Some("2001:0db8:0:0::7"), &leaf);
    other.client_id = "another".to_owned();
    assert!(dialect.connect(&other).await.is_ok());
}

/// A token that nobody has signed.
fn unsigned(claims: &Value) -> String {
    use base64::Engine;
    let encode =
        |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"typ": "JWT", "alg": "RS256"});
    format!("{}.{}.AAAA", encode(&header), encode(claims))
}

#[tokio::test]
async fn one_of_several_audiences_is_enough() {
    let bench = bench(json!({"auth": "lenient"})).await;
    let dialect = bench.azure.dialect(&bench.app);
    for (audience, taken) in [
        (json!("https://eventgrid.azure.net"), true),
        (json!(["elsewhere", "https://eventgrid.azure.net/"]), true),
        (json!(["elsewhere", 1]), false),
        (json!([]), false),
    ] {
        let token = unsigned(&json!({"aud": audience, "oid": "o", "exp": 4_000_000_000_u32}));
        let connected = dialect.connect(&question("OAUTH2-JWT", &token)).await;
        assert_eq!(connected.is_ok(), taken, "{audience}: {connected:?}");
    }
}

#[tokio::test]
async fn a_custom_token_under_the_method_of_entra_is_an_invalid_issuer() {
    let bench = bench(json!({})).await;
    let dialect = bench.azure.dialect(&bench.app);
    let token = tokens()["custom"]["cases"][0]["token"].as_str().unwrap();
    let connected = dialect.connect(&question("OAUTH2-JWT", token)).await;
    let reason = connected.unwrap_err().reason;
    assert!(
        reason.starts_with(
            "invalid issuer \"https://issuer.example\" (the method of a custom token is CUSTOM-JWT)"
        ),
        "{reason}"
    );
}

#[tokio::test]
async fn a_filter_must_be_a_part_of_a_template_and_not_merely_overlap() {
    let (_bench, address) = listening(json!({"auth": "lenient", "namespaces": [{
        "clients": [{"name": "a", "properties": {"authenticationName": "Dev.A", "attributes": {"area": "west", "floor": 7}}}],
        "topic_spaces": [{"name": "own", "properties": {"topicTemplates": [
            "x-${client.authenticationName}-y/+",
            "${client.attributes.area|.1}/${client.attributes.floor}/#",
            "deep/+/c",
        ]}}],
        "permission_bindings": [{"name": "b", "properties": {"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Subscriber"}}],
    }]}))
    .await;
    // The name that connects has another case than the client's own, which fills the templates.
    let (mut wire, _) = open(address, "dev.a", false).await;
    for (filter, code) in [
        ("x-Dev.A-y/+", 1),
        ("x-Dev.A-y/t", 1),
        ("x-dev.a-y/t", 0x87),
        ("x-Dev.A-y/#", 0x87),
        ("x-Dev.A-y", 0x87),
        ("west.1/7/#", 1),
        ("west.1/7", 1),
        ("west.1/7/a/+/b", 1),
        ("west.1/+/a", 0x87),
        ("west/7/a", 0x87),
        ("deep/+/c", 1),
        ("deep/b/c", 1),
        ("deep/b/+", 0x87),
        ("deep/#", 0x87),
        ("+/b/c", 0x87),
        ("#", 0x87),
    ] {
        assert_eq!(wire.subscribe(filter, 1).await, code, "{filter}");
    }
}
