//! The MQTT side over a real connection: packets are written by hand, byte for byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::message::{Properties, Qos, Transport};
use mqttstack_broker::dialect::{
    Connect, ConnectCode, Dialect, Grant, Peer, Publish, PublishVerdict, SubscribeVerdict, Visitor,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Ask, Bench, OBJECT_ID, bench, tokens};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client(TcpStream);

fn text(value: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut rest = body.len();
    loop {
        let low = u8::try_from(rest % 128).unwrap();
        rest /= 128;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// An MQTT 5 CONNECT with a user name.
pub fn connect(client_id: &str, username: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([5, 0x82, 0, 60, 0]);
    body.extend(text(client_id));
    body.extend(text(username));
    packet(0x10, &body)
}

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next packet: its first byte and its body.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let kind = self.0.read_u8().await.ok()?;
            let (mut size, mut shift) = (0_usize, 0);
            loop {
                let byte = self.0.read_u8().await.ok()?;
                size |= usize::from(byte & 0x7F) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            let mut body = vec![0; size];
            self.0.read_exact(&mut body).await.ok()?;
            Some((kind, body))
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("no packet came")
    }

    /// Connects and tells the CONNACK reason code.
    pub async fn connect(&mut self, bytes: &[u8]) -> u8 {
        self.send(bytes).await;
        let (kind, body) = self.next().await.unwrap();
        assert_eq!(kind, 0x20);
        body[1]
    }

    /// Publishes with QoS 1 and tells the PUBACK reason code.
    pub async fn publish(&mut self, topic: &str) -> u8 {
        let mut body = text(topic);
        body.extend([0, 2, 0]);
        body.extend(b"x");
        self.send(&packet(0x32, &body)).await;
        let (kind, body) = self.next().await.unwrap();
        assert_eq!(kind, 0x40);
        body.get(2).copied().unwrap_or(0)
    }
}

pub async fn listening(settings: Value) -> (Bench, SocketAddr) {
    let bench = bench(settings).await;
    bench.azure.started(&bench.app);
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = bench.app.broker.listen(Transport::Tcp, anywhere).unwrap();
    (bench, address)
}

/// A CONNECT with enhanced authentication, as the broker puts it to the dialect.
pub fn question(method: &str, data: &str) -> Connect {
    Connect {
        client_id: "session".to_owned(),
        username: None,
        password: None,
        protocol_version: 5,
        clean_start: true,
        keep_alive: 60,
        will: None,
        transport: Transport::Tcp,
        peer: None,
        tls: Visitor::default(),
        authentication_method: Some(method.to_owned()),
        authentication_data: Some(data.to_owned().into()),
    }
}

/// The client that a grant admits: its connection stands.
pub fn admitted(dialect: &dyn Dialect, grant: Grant) -> Peer {
    admitted_as(dialect, "session", grant)
}

fn admitted_as(dialect: &dyn Dialect, client_id: &str, grant: Grant) -> Peer {
    let peer = Peer {
        client_id: client_id.to_owned(),
        grant: Arc::new(grant),
        protocol_version: 5,
    };
    dialect.connected(&peer);
    peer
}

/// The reason code of a PUBACK, 0 for success.
pub fn published(dialect: &dyn Dialect, peer: &Peer, topic: &str) -> u8 {
    let publish = Publish {
        client_id: None,
        topic,
        payload: &Bytes::from_static(b"x"),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: &Properties::default(),
        will: false,
    };
    match dialect.publish(peer, &publish) {
        PublishVerdict::Refuse { code, .. } => code,
        PublishVerdict::Allow => 0,
        other => panic!("{other:?}"),
    }
}

/// The reason code of a SUBACK.
fn subscribed(dialect: &dyn Dialect, peer: &Peer, filter: &str, qos: Qos) -> u8 {
    match dialect.subscribe(peer, filter, qos, &[]) {
        SubscribeVerdict::Refuse { code, .. } => code,
        SubscribeVerdict::Allow(qos) => qos.level(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_token_of_the_independent_signer_is_taken_or_refused() {
    let bench = bench(json!({})).await;
    let dialect = bench.azure.dialect(&bench.app);
    for case in tokens()["entra"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let mut connect = question("OAUTH2-JWT", case["token"].as_str().unwrap());
        // The one without a role is of another identity.
        connect.client_id = format!("session-{}", name == "no-role");
        assert!(dialect.claims(&connect));
        match (dialect.connect(&connect).await, case["refused"].as_str()) {
            (Ok(grant), None) => assert_eq!(grant.identity, OBJECT_ID, "{name}"),
            // Whether it has a role shows only when it publishes.
            (Ok(grant), Some(_)) => {
                assert_eq!(name, "no-role");
                let peer = admitted_as(&*dialect, &connect.client_id, grant);
                assert_eq!(published(&*dialect, &peer, "t"), 0x87);
            }
            (Err(refusal), Some(reason)) => {
                assert_eq!(refusal.code, ConnectCode::NotAuthorized);
                assert!(
                    refusal.reason.contains(reason),
                    "{name}: {}",
                    refusal.reason
                );
            }
            (Err(refusal), None) => panic!("{name}: {}", refusal.reason),
        }
    }
}

#[tokio::test]
async fn custom_tokens_become_clients_with_attributes() {
    let custom = &tokens()["custom"];
    let bench = bench(json!({"namespaces": [{
        "topic_spaces_configuration": {"clientAuthentication": {"customJwtAuthentication": {
            "tokenIssuer": "https://issuer.example",
            "issuerCertificates": [custom["public_key"]],
        }}},
        "client_groups": [{"name": "g", "properties": {"query": "attributes.type = 'sensor' and attributes.floor = 7 and attributes.tags IN ['b']"}}],
        "topic_spaces": [{"name": "own", "properties": {"topicTemplates": ["dev/${client.authenticationName}/#"]}}],
        "permission_bindings": [{"name": "b", "properties": {"clientGroupName": "g", "topicSpaceName": "own", "permission": "Publisher"}}],
    }]}))
    .await;
    let dialect = bench.azure.dialect(&bench.app);
    for case in custom["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let connect = question("CUSTOM-JWT", case["token"].as_str().unwrap());
        match (dialect.connect(&connect).await, case["refused"].as_str()) {
            (Ok(grant), None) => {
                let peer = admitted(&*dialect, grant);
                assert_eq!(published(&*dialect, &peer, "dev/Sensor-1/t"), 0, "{name}");
                assert_eq!(published(&*dialect, &peer, "dev/other/t"), 0x87);
                assert_eq!(
                    subscribed(&*dialect, &peer, "dev/Sensor-1/#", Qos::AtLeastOnce),
                    0x87
                );
            }
            (Err(refusal), Some(reason)) => {
                assert!(
                    refusal.reason.contains(reason),
                    "{name}: {}",
                    refusal.reason
                );
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn limits_and_missing_features_have_their_reason_codes() {
    let bench = bench(json!({})).await;
    let dialect = bench.azure.dialect(&bench.app);
    let token = bench.token().await;
    let grant = dialect
        .connect(&question("OAUTH2-JWT", &token))
        .await
        .unwrap();
    assert_eq!(grant.max_keep_alive, Some(1160));
    let peer = admitted(&*dialect, grant);
    let deep = format!("a{}", "/a".repeat(15));
    assert_eq!(
        subscribed(&*dialect, &peer, "$share/g/a", Qos::AtLeastOnce),
        1
    );
    assert_eq!(subscribed(&*dialect, &peer, &deep, Qos::AtLeastOnce), 0x8F);
    assert_eq!(subscribed(&*dialect, &peer, "a/#", Qos::ExactlyOnce), 1);
    assert_eq!(published(&*dialect, &peer, &deep), 0x90);
    let big = Publish {
        client_id: None,
        topic: "t",
        payload: &vec![0; 512 * 1024 + 1].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: &Properties::default(),
        will: false,
    };
    assert!(matches!(
        dialect.publish(&peer, &big),
        PublishVerdict::Refuse { code: 0x97, .. }
    ));
    let exactly_once = Publish {
        client_id: None,
        qos: Qos::ExactlyOnce,
        payload: &Bytes::new(),
        ..big
    };
    assert!(matches!(
        dialect.publish(&peer, &exactly_once),
        PublishVerdict::Close { .. }
    ));
    let data = "x".repeat(8 * 1024 + 1);
    let refusal = dialect
        .connect(&question("OAUTH2-JWT", &data))
        .await
        .unwrap_err();
    assert!(
        refusal.reason.contains("the limit is 8192"),
        "{}",
        refusal.reason
    );
}

#[tokio::test]
async fn a_registered_client_needs_its_certificate_and_lenient_needs_only_its_name() {
    let clients = json!([{"name": "dev1", "properties": {"authenticationName": "Dev-1"}}]);
    let (_bench, address) = listening(json!({"namespaces": [{"clients": clients}]})).await;
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&connect("s", "dev-1")).await, 0x87);
    let (bench, address) =
        listening(json!({"auth": "lenient", "namespaces": [{"clients": clients}]})).await;
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&connect("s", "dev-1")).await, 0);
    let mut second = Client::open(address).await;
    let code = second.connect(&connect("other", "dev-1")).await;
    assert_eq!(code, 0x97, "one session for each authentication name");
    assert_eq!(bench.app.broker.clients().await.len(), 1);
}

#[tokio::test]
async fn an_mqtt_publish_is_routed_and_sessions_tell_of_themselves() {
    let (bench, address) = listening(json!({"auth": "lenient", "namespaces": [{
        "route_topic": "events",
        "life_cycle_topic": "life",
        "clients": [{"name": "dev1"}],
    }]}))
    .await;
    let receive = async |topic: &str| {
        let target = format!("/topics/{topic}/eventsubscriptions/s:receive?api-version=x");
        let key = "SharedAccessKey dGVzdGtleQ==";
        let answer = bench
            .json(200, Ask::post(&target).header("Authorization", key))
            .await;
        answer["value"][0]["event"].clone()
    };
    let mut client = Client::open(address).await;
    assert_eq!(client.connect(&connect("session-1", "dev1")).await, 0);
    client.publish("a/b").await;
    let event = receive("events").await;
    assert_eq!(
        (&event["subject"], &event["data_base64"]),
        (&json!("a/b"), &json!("eA=="))
    );
    let connected = receive("life").await;
    assert_eq!(
        connected["type"],
        "Microsoft.EventGrid.MQTTClientSessionConnected"
    );
    assert_eq!(connected["subject"], "clients/dev1/sessions/session-1");
    client.send(&[0xE0, 0]).await;
    let disconnected = receive("life").await;
    assert_eq!(
        disconnected["type"],
        "Microsoft.EventGrid.MQTTClientSessionDisconnected"
    );
    assert_eq!(
        disconnected["data"]["disconnectionReason"],
        "ClientInitiatedDisconnect"
    );
    assert_eq!(
        disconnected["data"]["sequenceNumber"],
        connected["data"]["sequenceNumber"]
    );
}

/// A leaf with one name of each kind, signed by its authority: the chain in DER, the
/// authority in PEM.
fn certified(common_name: &str) -> (Vec<Bytes>, String) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name
        .push(DnType::CommonName, common_name);
    leaf.subject_alt_names = vec![
        SanType::DnsName("dev.example".try_into().unwrap()),
        SanType::URI("urn:dev".try_into().unwrap()),
        SanType::IpAddress(Ipv4Addr::new(10, 0, 0, 7).into()),
        SanType::Rfc822Name("dev@example.org".try_into().unwrap()),
    ];
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    (vec![Bytes::from(leaf.der().to_vec())], pem)
}

#[tokio::test]
async fn each_validation_scheme_reads_its_names_of_the_certificate() {
    use sha1::Digest;
    let (chain, authority) = certified("device-1");
    let (stranger, _) = certified("device-1");
    let thumbprint = sha1::Sha1::digest(&chain[0])
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02X}"));
    let scheme = |name: &str| json!({"validationScheme": name});
    let client = |name: &str, check: Value| json!({"name": name.replace(['@', ':', '.'], "-"), "properties": {"authenticationName": name, "clientCertificateAuthentication": check}});
    let bench = bench(json!({"namespaces": [{
        "ca_certificates": [{"name": "ca", "properties": {"encodedCertificate": authority}}],
        "clients": [
            client("device-1", scheme("SubjectMatchesAuthenticationName")),
            client("dev.example", scheme("DnsMatchesAuthenticationName")),
            client("urn:dev", scheme("UriMatchesAuthenticationName")),
            client("10.0.0.7", scheme("IpMatchesAuthenticationName")),
            client("dev@example.org", scheme("EmailMatchesAuthenticationName")),
            client("thumb", json!({"validationScheme": "ThumbprintMatch", "allowedThumbprints": [thumbprint]})),
            client("other", scheme("SubjectMatchesAuthenticationName")),
            {"name": "off", "properties": {"authenticationName": "off", "state": "Disabled"}},
        ],
        "topic_spaces_configuration": {
            "maximumClientSessionsPerAuthenticationName": 2,
            "clientAuthentication": {"alternativeAuthenticationNameSources": ["ClientCertificateEmail"]},
        },
    }]}))
    .await;
    let dialect = bench.azure.dialect(&bench.app);
    let ask = |name: Option<&str>, chain: &[Bytes]| {
        let mut connect = question("", "");
        connect.authentication_method = None;
        connect.authentication_data = None;
        connect.client_id = format!("{name:?}-session");
        connect.username = name.map(str::to_owned);
        connect.tls.certificates = chain.into();
        connect
    };
    for name in [
        "device-1",
        "DEVICE-1",
        "dev.example",
        "urn:dev",
        "10.0.0.7",
        "thumb",
    ] {
        let connect = ask(Some(name), &chain);
        assert!(dialect.claims(&connect), "{name}");
        let grant = dialect.connect(&connect).await.unwrap();
        assert!(grant.identity.eq_ignore_ascii_case(name));
    }
    // Without a user name the configured source names the client.
    let grant = dialect.connect(&ask(None, &chain)).await.unwrap();
    assert_eq!(grant.identity, "dev@example.org");
    for (name, chain, reason) in [
        ("other", &chain, "Subject names are"),
        (
            "device-1",
            &stranger,
            "no registered CA certificate signed it",
        ),
        ("thumb", &stranger, "is not allowed"),
        ("device-1", &Vec::new(), "showed no certificate"),
        ("off", &chain, "is disabled"),
    ] {
        let refusal = dialect.connect(&ask(Some(name), chain)).await.unwrap_err();
        assert!(
            refusal.reason.contains(reason),
            "{name}: {}",
            refusal.reason
        );
    }
    let mut unknown = ask(Some("nobody"), &chain);
    assert!(!dialect.claims(&unknown), "an open client");
    unknown.tls.server_name = Some("nsname.westus3-1.ts.eventgrid.azure.net".to_owned());
    assert!(dialect.claims(&unknown));
    unknown.password = Some(
        tokens()["entra"][0]["token"]
            .as_str()
            .unwrap()
            .to_owned()
            .into(),
    );
    let refusal = dialect.connect(&unknown).await.unwrap_err();
    assert!(
        refusal
            .reason
            .starts_with("Client could not be found: \"nobody\"; the password is a token")
    );
}
