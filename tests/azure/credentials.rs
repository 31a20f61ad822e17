//! Credentials of Azure's shape that are wrong: each part of them is refused in Azure's words, and
//! none lets its client in as an open one.

use std::sync::Arc;

use bytes::Bytes;
use mqttstack_base::exchange::Surface;
use mqttstack_broker::dialect::{ConnectCode, Refused};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bench::{Bench, bench, tokens};
use crate::mqtt::{admitted, listening, published, question};
use crate::wire::{Connect, Wire, text};

/// A namespace that takes tokens of an issuer with two named certificates.
fn named() -> Value {
    let custom = &tokens()["custom"];
    let certificate = |kid: &str, key: &Value| json!({"kid": kid, "encodedCertificate": key});
    json!({
        "topic_spaces_configuration": {"clientAuthentication": {"customJwtAuthentication": {
            "tokenIssuer": "https://issuer.example",
            "encodedIssuerCertificates": [
                certificate("one", &custom["public_key"]),
                certificate("two", &custom["second_key"]),
            ],
        }}},
    })
}

#[tokio::test]
async fn a_kid_names_the_only_certificate_that_counts() {
    let bench = bench(json!({"namespaces": [named()]})).await;
    let dialect = bench.azure.dialect(&bench.app);
    for case in tokens()["custom"]["named"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let mut connect = question("CUSTOM-JWT", case["token"].as_str().unwrap());
        connect.client_id = "session".to_owned();
        match (dialect.connect(&connect).await, case["refused"].as_str()) {
            (Ok(grant), None) => assert_eq!(grant.identity, "Sensor-1", "{name}"),
            (Err(refusal), Some(reason)) => {
                assert_eq!(refusal.code, ConnectCode::NotAuthorized, "{name}");
                let said = refusal.reason;
                assert!(said.contains(reason), "{name}: {said}");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn registered_claims_are_no_attributes() {
    let token = &tokens()["custom"]["cases"];
    let token = token.as_array().unwrap().iter();
    let mut token = token.filter(|case| case["name"] == "registered-claims");
    let token = token.next().unwrap()["token"].as_str().unwrap();
    for (query, code) in [
        ("attributes.type = 'sensor'", 0),
        ("attributes.jti = 'abc'", 0x87),
        ("attributes.iat > 0", 0x87),
        ("attributes.exp > 0", 0x87),
        ("attributes.sub = 'Sensor-1'", 0x87),
    ] {
        let mut namespace = named();
        namespace["client_groups"] = json!([{"name": "g", "properties": {"query": query}}]);
        namespace["topic_spaces"] =
            json!([{"name": "own", "properties": {"topicTemplates": ["t"]}}]);
        namespace["permission_bindings"] = json!([{"name": "b", "properties": {"clientGroupName": "g", "topicSpaceName": "own", "permission": "Publisher"}}]);
        let bench = bench(json!({"namespaces": [namespace]})).await;
        let dialect = bench.azure.dialect(&bench.app);
        let grant = dialect.connect(&question("CUSTOM-JWT", token)).await;
        let peer = admitted(&*dialect, grant.unwrap());
        assert_eq!(published(&*dialect, &peer, "t"), code, "{query}");
    }
}

fn certificate(name: &str) -> Bytes {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    Bytes::from(leaf.self_signed(&key).unwrap().der().to_vec())
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused_where_clients_have_certificates() {
    let client = json!({"name": "device-1", "properties": {"clientCertificateAuthentication": {}}});
    for (namespace, is_ours) in [(json!({"clients": [client]}), true), (json!({}), false)] {
        let bench = bench(json!({"namespaces": [namespace]})).await;
        let dialect = bench.azure.dialect(&bench.app);
        for username in [Some("device-2"), Some(""), None] {
            let mut connect = question("", "");
            connect.authentication_method = None;
            connect.authentication_data = None;
            connect.username = username.map(str::to_owned);
            assert!(
                !dialect.resembles(&connect),
                "without a certificate it is anybody's"
            );
            connect.tls.certificates = [certificate("device-2")].into();
            assert!(!dialect.claims(&connect));
            assert_eq!(dialect.resembles(&connect), is_ours, "{username:?}");
            if is_ours {
                let refusal = dialect.connect(&connect).await.unwrap_err();
                assert_eq!(refusal.code, ConnectCode::NotAuthorized);
                let said = refusal.reason;
                assert!(said.starts_with("Client could not be found"), "{said}");
            }
        }
    }
}

/// Connects, and tells the code and what the journal is told.
async fn refused(bench: &Bench, address: std::net::SocketAddr, connect: &Connect) -> (u8, Refused) {
    let refused: Arc<Mutex<Vec<Refused>>> = Arc::default();
    let told = refused.clone();
    let tell = Arc::new(move |packet| told.lock().push(packet));
    bench.app.broker.on_refused(tell);
    let (_wire, connack) = Wire::connect(address, connect).await;
    let told = refused.lock().pop().expect("nothing was refused");
    (connack.code, told)
}

#[tokio::test]
async fn wrong_credentials_of_every_shape_are_refused_in_azures_words() {
    let good = |kind: &str| tokens()[kind]["cases"][0]["token"].as_str().unwrap();
    let entra = tokens()["entra"].as_array().unwrap();
    let of_entra = entra[0]["token"].as_str().unwrap();
    let authentication = |method: &str, data: Option<&str>| {
        let data = data.map_or_else(Vec::new, |data| [vec![0x16], text(data)].concat());
        [vec![0x15], text(method), data].concat()
    };
    let plain = |properties: Vec<u8>, username: Option<&str>, password: Option<&str>| Connect {
        properties,
        username: username.map(str::to_owned),
        password: password.map(|text| text.as_bytes().to_vec()),
        ..Connect::new(5, "session")
    };
    for (connect, code, why) in [
        (
            plain(authentication("OAUTH2-JWT", Some("garbage")), None, None),
            0x87,
            "three parts",
        ),
        (
            plain(authentication("OAUTH2-JWT", None), None, None),
            0x87,
            "there is no Authentication Data",
        ),
        (
            plain(
                authentication("OAUTH2-JWT", Some(good("custom"))),
                None,
                None,
            ),
            0x87,
            "invalid issuer",
        ),
        (
            plain(authentication("CUSTOM-JWT", Some(of_entra)), None, None),
            0x87,
            "customJwtAuthentication is not configured",
        ),
        (
            plain(authentication("oauth2-jwt", Some(of_entra)), None, None),
            0x8c,
            "the authentication method is \"oauth2-jwt\", expected is \"OAUTH2-JWT\" or \"CUSTOM-JWT\"",
        ),
        (
            plain(authentication("SCRAM-SHA-1", Some("n,,n=a")), None, None),
            0x8c,
            "the authentication method is \"SCRAM-SHA-1\"",
        ),
        (
            plain(vec![], Some("device-1"), None),
            0x87,
            "the client showed no certificate",
        ),
        (
            plain(vec![], Some("DEVICE-1"), Some("x")),
            0x87,
            "the client showed no certificate",
        ),
        (plain(vec![], Some("off"), None), 0x87, "is disabled"),
        (
            plain(vec![], Some("anybody"), Some(of_entra)),
            0x87,
            "the password is a token",
        ),
    ] {
        let (bench, address) = listening(json!({"namespaces": [{"clients": [
            {"name": "device-1"},
            {"name": "off", "properties": {"state": "Disabled"}},
        ]}]}))
        .await;
        let (answered, told) = refused(&bench, address, &connect).await;
        assert_eq!((answered, told.code), (code, code), "{why}");
        assert_eq!(told.surface, Some(Surface::Azure), "{why}");
        assert!(told.reason.contains(why), "{}", told.reason);
    }
}

#[tokio::test]
async fn a_will_that_no_topic_space_permits_is_refused_with_its_connect() {
    let (bench, address) = listening(json!({"auth": "lenient", "namespaces": [{
        "clients": [{"name": "a"}],
        "topic_spaces": [{"name": "own", "properties": {"topicTemplates": ["ok/#"]}}],
        "permission_bindings": [{"name": "p", "properties": {"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Publisher"}}],
    }]}))
    .await;
    let with_will = |version: u8, topic: &str| Connect {
        will: Some((0, vec![], topic.to_owned(), "gone".to_owned())),
        username: Some("a".to_owned()),
        ..Connect::new(version, "a")
    };
    let (code, told) = refused(&bench, address, &with_will(5, "no/t")).await;
    assert_eq!(code, 0x87);
    let why = "the will is not permitted: Topic name 'no/t' does not match any topicspaces";
    assert_eq!(told.reason, why);
    for (version, topic, code) in [(4, "no/t", 5), (4, "ok/t", 0), (5, "ok/t", 0)] {
        let (_wire, connack) = Wire::connect(address, &with_will(version, topic)).await;
        assert_eq!(connack.code, code, "{topic}");
    }
}
