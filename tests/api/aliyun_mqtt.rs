//! Aliyun's MQTT side: who may connect, publish and subscribe, each rule with an allowed and a
//! refused case, and what the OpenAPI does to connected clients. Passwords are the recorded
//! vectors or come from the signer below, which shares no line with the program.

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack::exchange::Surface;
use mqttstack::vendor::aliyun::Settings;
use mqttstack::vendor::aliyun::settings::{AccessKey, DeviceCredential, Instance};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::mqtt::{Device, Options};
use crate::raw;

const INSTANCE: &str = "post-cn-test0001";
const CLIENT: &str = "GID_test@@@dev1";
const USERNAME: &str = "Signature|testid|post-cn-test0001";
/// The recorded password of `CLIENT` under `testsecret`.
const PASSWORD: &str = "7qikDiRjk+chmM8O44Krb/pXj4c=";

/// Base64 of RFC 2104's HMAC with SHA-1, by its definition.
fn sign(key: &str, text: &str) -> String {
    use sha1::{Digest, Sha1};
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key.as_bytes());
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha1::new()
        .chain_update(padded(0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha1::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize();
    BASE64_STANDARD.encode(outer)
}

struct Bench {
    emulator: Emulator,
    mqtt: SocketAddr,
    url: String,
}

async fn bench(settings: Settings) -> Bench {
    let mut config = Config::free_ports();
    config.aliyun = settings;
    let emulator = Emulator::builder()
        .config(config)
        .clock("2026-11-21T22:51:00Z".parse().unwrap())
        .start()
        .await
        .unwrap();
    Bench {
        mqtt: emulator.mqtt_addr().unwrap(),
        url: emulator.vendor_url(Surface::Aliyun).unwrap().to_owned(),
        emulator,
    }
}

fn strict() -> Settings {
    let mut settings = Settings {
        auto_create: false,
        ..Settings::default()
    };
    settings.instances[0].topics = vec!["TopicA".to_owned()];
    settings
}

impl Bench {
    /// Calls an action with a bearer token, which needs no signature.
    async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let nonce = self.emulator.app().ids.request_id();
        let time = self.emulator.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let time = time.to_string();
        let common = [
            ("Action", action),
            ("Version", "2020-04-20"),
            ("Format", "JSON"),
            ("SignatureType", "BEARERTOKEN"),
            ("BearerToken", "testbearer"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &time),
            ("InstanceId", INSTANCE),
        ];
        let query: Vec<_> = common
            .iter()
            .chain(parameters)
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let method = match action {
            "QueryCustomAuthIdentity"
            | "QueryCustomAuthPermission"
            | "QueryCustomAuthConnectBlack" => "GET",
            _ => "POST",
        };
        let request = format!(
            "{method} /?{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            query.join("&")
        );
        let (status, body) = raw::ask(&self.url, &request).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// The same, which must succeed.
    async fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let (status, body) = self.call(action, parameters).await;
        assert_eq!(status, 200, "{action}: {body}");
        body
    }

    async fn code(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let (_, body) = self.call(action, parameters).await;
        body["Code"].as_str().unwrap_or_default().to_owned()
    }

    async fn connect(&self, client_id: &str, username: &str, password: &str) -> Option<Device> {
        Device::try_v4(self.mqtt, Options::login(client_id, username, password)).await
    }

    /// A client with the access key.
    async fn device(&self, client_id: &str) -> Device {
        let password = sign("testsecret", client_id);
        let device = self.connect(client_id, USERNAME, &password).await;
        device.expect("good credentials are let in")
    }

    async fn refused(&self, client_id: &str, username: &str, password: &str, reason: &str) {
        let device = self.connect(client_id, username, password).await;
        assert!(device.is_none(), "{client_id} {username} was let in");
        let last = self.last_reason();
        assert!(last.contains(reason), "{reason:?} is not in {last:?}");
    }

    fn last_reason(&self) -> String {
        let (_, entry) = self.emulator.requests().since(0).pop().unwrap();
        entry.outcome().unwrap().draft.reasons.join("\n")
    }

    async fn token(&self, resources: &str, actions: &str, seconds: i64) -> String {
        let now = self.emulator.clock().now().as_millisecond();
        let expires = (now + seconds * 1_000).to_string();
        let parameters = [
            ("Resources", resources),
            ("Actions", actions),
            ("ExpireTime", &*expires),
        ];
        let answer = self.ok("ApplyToken", &parameters).await;
        answer["Token"].as_str().unwrap().to_owned()
    }

    async fn with_token(&self, client_id: &str, password: &str) -> Option<Device> {
        self.connect(client_id, "Token|testid|post-cn-test0001", password)
            .await
    }
}

fn vectors() -> Vec<Value> {
    let text = include_str!("../../fixtures/aliyun/mqtt-connect-auth.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all["examples"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_credential_is_let_in_and_its_neighbour_is_not() {
    let mut settings = Settings::default();
    settings
        .access_keys
        .push(AccessKey::with_secret("YYYYY", "XXXXX"));
    settings.instances.push(Instance {
        id: "mqtt-xxxxx".to_owned(),
        region: "cn-hangzhou".to_owned(),
        groups: vec!["GID_Test".to_owned()],
        topics: Vec::new(),
        device_credentials: vec![DeviceCredential {
            client_id: "GID_Test@@@0001".to_owned(),
            access_key_id: "YYYYY".to_owned(),
            access_key_secret: mqttstack::secret::Secret::new("XXXXX"),
        }],
    });
    let bench = bench(settings).await;
    for vector in vectors() {
        let text = |key: &str| vector[key].as_str().unwrap();
        let (client, username, password) = (text("client_id"), text("username"), text("password"));
        if text("mode") == "Token" {
            let reason = "none that ApplyToken gave out";
            bench.refused(client, username, password, reason).await;
            continue;
        }
        assert!(
            bench.connect(client, username, password).await.is_some(),
            "{vector}"
        );
        let other = format!("{client}x");
        let reason = match text("mode") {
            "Signature" => "password is not the HMAC of the client id",
            _ => "is that of client \"GID_Test@@@0001\"",
        };
        bench.refused(&other, username, password, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_names_the_mistake_behind_a_wrong_password() {
    let bench = bench(Settings::default()).await;
    assert_eq!(sign("testsecret", CLIENT), PASSWORD);
    let bytes = BASE64_STANDARD.decode(PASSWORD).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for (password, reason) in [
        (
            sign("testsecret", "GID_test"),
            "it is the HMAC of the group id",
        ),
        (
            sign("testsecret", "dev1"),
            "it is the HMAC of the device id",
        ),
        (sign("testsecret&", CLIENT), "the secret with & behind it"),
        (hex, "it is in hexadecimal"),
        ("testsecret".to_owned(), "it is the secret itself"),
        (format!("{PASSWORD}\n"), "there is white space around it"),
        (PASSWORD.trim_end_matches('=').to_owned(), "no = at the end"),
        (sign("other", CLIENT), "it is not the one under the secret"),
        (String::new(), "it is empty"),
    ] {
        bench.refused(CLIENT, USERNAME, &password, reason).await;
        assert!(!bench.last_reason().contains("testsecret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_user_names_and_client_ids_are_refused() {
    let bench = bench(strict()).await;
    for (client, username, reason) in [
        (
            CLIENT,
            "Signature|testid",
            "is not Signature|AccessKeyId|InstanceId",
        ),
        (
            CLIENT,
            "Signature|testid|a|b",
            "is not Signature|AccessKeyId|InstanceId",
        ),
        (
            CLIENT,
            "signature|testid|post-cn-test0001",
            "must be written Signature",
        ),
        (
            CLIENT,
            "Signature|nosuch|post-cn-test0001",
            "no access key \"nosuch\"",
        ),
        (
            CLIENT,
            "Signature|testid|nosuch",
            "instance \"nosuch\" is not configured",
        ),
        ("dev1", USERNAME, "is not of the form GroupID@@@DeviceID"),
        ("GID_none@@@dev1", USERNAME, "has no group \"GID_none\""),
    ] {
        let password = sign("testsecret", client);
        bench.refused(client, username, &password, reason).await;
    }
    let long = format!("GID_test@@@{}", "d".repeat(54));
    let password = sign("testsecret", &long);
    bench
        .refused(&long, USERNAME, &password, "65 characters, 64 are allowed")
        .await;
    bench.device(&long[..64]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_closes_the_connection() {
    let bench = bench(strict()).await;
    let mut device = bench.device(CLIENT).await;
    assert_eq!(device.subscribe("TopicA/+", 1).await, [1]);
    assert!(device.try_publish("TopicA/x", 1, false, "in").await);
    assert_eq!(device.receive().await.payload, "in");
    assert!(!device.try_publish("TopicB/x", 1, false, "no").await);
    assert!(bench.last_reason().contains("parent topic \"TopicB\""));
    for filter in ["TopicB/#", "#", "+/x", "$SYS/x"] {
        let mut device = bench.device(CLIENT).await;
        device.try_subscribe(filter, 1).await;
        device.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_retained_messages_and_shared_subscriptions_are_not_supported() {
    let bench = bench(Settings::default()).await;
    let mut reader = bench.device("GID_test@@@reader").await;
    reader.subscribe("TopicA/#", 1).await;
    let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
    options.will = Some(("TopicA/will".to_owned(), "gone".to_owned()));
    let mut device = Device::connect_v4(bench.mqtt, options).await;
    device.publish("TopicA/kept", 1, true, "kept").await;
    assert!(!reader.receive().await.retain);
    assert!(bench.emulator.app().broker.retained().is_empty());
    // The connection is closed, not left: this is when a will would be sent.
    assert_eq!(
        device.try_subscribe("$share/g/TopicA", 1).await.map(|_| ()),
        Some(())
    );
    device.ended().await;
    bench
        .ok(
            "SendMessage",
            &[("MqttTopic", "TopicA/last"), ("Payload", "last")],
        )
        .await;
    assert_eq!(reader.receive().await.payload, "last");
    let mut new = Device::connect_v5(bench.mqtt, Options::login(CLIENT, USERNAME, PASSWORD)).await;
    assert_eq!(new.subscribe("$share/g/TopicA", 1).await, [0x80]);
    new.publish("TopicA/x", 1, false, "still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p2p_publish_reaches_its_client_alone_and_the_journal_shows_one_delivery() {
    let bench = bench(Settings::default()).await;
    let mut target = bench.device("GID_test@@@target").await;
    let mut other = bench.device("GID_test@@@other").await;
    other.subscribe("TopicA/#", 1).await;
    let mut sender = bench.device(CLIENT).await;
    let topic = "TopicA/p2p/GID_test@@@target";
    sender.publish(topic, 1, false, "for one").await;
    let received = target.receive().await;
    assert_eq!(
        (&*received.topic, &received.payload[..]),
        (topic, &b"for one"[..])
    );
    sender.publish("TopicA/all", 1, false, "for all").await;
    assert_eq!(other.receive().await.payload, "for all");
    let messages = bench.emulator.messages().since(0);
    assert_eq!(messages.len(), 2);
    let deliveries = messages[0].1.deliveries.lock();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].client_id, "GID_test@@@target");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_qos_1_waits_for_an_offline_client_with_a_persistent_session() {
    let bench = bench(Settings::default()).await;
    let options = || {
        let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
        options.clean = false;
        options
    };
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    device.subscribe("TopicA/#", 2).await;
    device.leave().await;
    let mut sender = bench.device("GID_test@@@sender").await;
    for qos in [0, 2, 1] {
        let payload = format!("qos {qos}");
        sender.publish("TopicA/x", qos, false, &payload).await;
    }
    let mut device = Device::connect_v4(bench.mqtt, options()).await;
    assert!(device.session_present);
    assert_eq!(device.receive().await.payload, "qos 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keep_alive_is_at_most_eight_minutes() {
    let bench = bench(Settings::default()).await;
    let mut options = Options::login(CLIENT, USERNAME, PASSWORD);
    options.keep_alive = Some(600);
    let _device = Device::connect_v5(bench.mqtt, options).await;
    let _short = bench.device("GID_test@@@short").await;
    let clients = bench.emulator.app().broker.clients().await;
    assert_eq!(clients[0].tenant.as_deref(), Some(INSTANCE));
    assert_eq!(clients[0].identity.as_deref(), Some("testid"));
    let ceilings: Vec<_> = clients
        .iter()
        .map(|client| client.keep_alive <= 480)
        .collect();
    assert_eq!(ceilings, [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_its_rights_until_it_is_revoked() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA/+,TopicA/p2p/#", "R,W", 3_600).await;
    assert_eq!(token.len(), 344);
    let query = [("Token", &*token)];
    assert_eq!(bench.ok("QueryToken", &query).await["TokenStatus"], true);
    let password = format!("RW|{token}");
    let mut device = bench.with_token(CLIENT, &password).await.unwrap();
    assert_eq!(device.subscribe("TopicA/x", 1).await, [1]);
    device.publish("TopicA/x", 1, false, "allowed").await;
    assert_eq!(device.receive().await.payload, "allowed");
    bench.ok("RevokeToken", &query).await;
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenInvalidNotice");
    assert_eq!(notice.payload, r#"{"code":3,"type":"RW"}"#);
    device.ended().await;
    assert_eq!(bench.ok("QueryToken", &query).await["TokenStatus"], false);
    assert!(bench.with_token(CLIENT, &password).await.is_none());
    assert!(bench.last_reason().contains("it was revoked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_allows_nothing_beyond_its_topics_and_its_type() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA/x", "R", 3_600).await;
    let password = format!("R|{token}");
    let mut device = bench.with_token(CLIENT, &password).await.unwrap();
    assert!(!device.try_publish("TopicA/x", 1, false, "no").await);
    assert!(
        bench
            .last_reason()
            .contains("no token of the client allows Publish")
    );
    let mut device = bench.with_token(CLIENT, &password).await.unwrap();
    device.try_subscribe("TopicA/#", 1).await;
    device.ended().await;
    assert!(
        bench
            .last_reason()
            .contains("the client's R token is for TopicA/x")
    );
    for (password, reason) in [
        (format!("RW|{token}"), "it is presented as RW and allows R"),
        (format!("R|{token}|W"), "not pairs of type and token"),
        (
            format!("R|{token}|W|forged"),
            "the W token is not good: it is none",
        ),
    ] {
        assert!(bench.with_token(CLIENT, &password).await.is_none());
        assert!(
            bench.last_reason().contains(reason),
            "{}",
            bench.last_reason()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_before_its_token_expires_and_when_it_has() {
    let bench = bench(Settings::default()).await;
    let token = bench.token("TopicA", "W", 600).await;
    let mut device = bench
        .with_token(CLIENT, &format!("W|{token}"))
        .await
        .unwrap();
    let clock = bench.emulator.clock();
    clock.advance(SignedDuration::from_secs(301)).unwrap();
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenExpireNotice");
    let told: Value = serde_json::from_slice(&notice.payload).unwrap();
    assert_eq!(told["type"], "W");
    clock.advance(SignedDuration::from_secs(299)).unwrap();
    let notice = device.receive().await;
    assert_eq!(notice.topic, "$SYS/tokenInvalidNotice");
    assert_eq!(notice.payload, r#"{"code":2,"type":"W"}"#);
    device.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_token_replaces_the_one_of_its_type_and_a_forged_one_ends_the_connection() {
    let bench = bench(Settings::default()).await;
    let first = bench.token("TopicA", "W", 3_600).await;
    let second = bench.token("TopicB", "W", 3_600).await;
    let mut device = bench
        .with_token(CLIENT, &format!("W|{first}"))
        .await
        .unwrap();
    let upload = format!(r#"{{"token":"{second}","type":"W"}}"#);
    device.publish("$SYS/uploadToken", 1, false, &upload).await;
    device.publish("TopicB", 1, false, "with the second").await;
    let forged = r#"{"token":"forged","type":"W"}"#;
    device.publish("$SYS/uploadToken", 1, false, forged).await;
    let notice = device.receive().await;
    assert_eq!(notice.payload, r#"{"code":1,"type":"W"}"#);
    device.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_credential_lets_its_client_in_until_it_is_refreshed_or_removed() {
    let bench = bench(Settings::default()).await;
    let client = [("ClientId", CLIENT)];
    assert_eq!(
        bench.code("GetDeviceCredential", &client).await,
        "DeviceCredentialNotFound"
    );
    let registered = bench.ok("RegisterDeviceCredential", &client).await;
    assert_eq!(
        bench.code("RegisterDeviceCredential", &client).await,
        "DeviceCredentialExsit"
    );
    let keys = |answer: &Value| {
        let text = |key: &str| answer["DeviceCredential"][key].as_str().unwrap().to_owned();
        let username = format!("DeviceCredential|{}|{INSTANCE}", text("DeviceAccessKeyId"));
        (username, sign(&text("DeviceAccessKeySecret"), CLIENT))
    };
    let (username, password) = keys(&registered);
    assert!(bench.connect(CLIENT, &username, &password).await.is_some());
    let refreshed = bench.ok("RefreshDeviceCredential", &client).await;
    bench
        .refused(CLIENT, &username, &password, "it may have been refreshed")
        .await;
    let (username, password) = keys(&refreshed);
    assert!(bench.connect(CLIENT, &username, &password).await.is_some());
    let list = [("GroupId", "GID_test"), ("PageSize", "10")];
    let listed = bench.ok("ListDeviceCredentialClientId", &list).await;
    assert_eq!(
        listed["DeviceCredentialClientIdList"]["ClientIdList"][0],
        CLIENT
    );
    bench.ok("UnRegisterDeviceCredential", &client).await;
    bench
        .refused(CLIENT, &username, &password, "has no device credential")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_keeps_its_clients_and_refuses_new_ones() {
    let bench = bench(Settings::default()).await;
    let group = [("GroupId", "GID_test")];
    assert_eq!(
        bench.code("CreateGroupId", &group).await,
        "GroupIdAlreadyExsited"
    );
    let mut device = bench.device(CLIENT).await;
    bench.ok("DeleteGroupId", &group).await;
    device.publish("TopicA", 1, false, "still here").await;
    bench
        .refused(
            "GID_test@@@new",
            USERNAME,
            &sign("testsecret", "GID_test@@@new"),
            "was deleted",
        )
        .await;
    bench.ok("CreateGroupId", &group).await;
    bench.device("GID_test@@@new").await;
    assert_eq!(
        bench.ok("ListGroupId", &[]).await["Data"][0]["GroupId"],
        "GID_test"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_seen_and_closed_from_outside() {
    let bench = bench(Settings::default()).await;
    let client = [("ClientId", CLIENT)];
    let mut device = bench.device(CLIENT).await;
    assert_eq!(
        bench.ok("QuerySessionByClientId", &client).await["OnlineStatus"],
        true
    );
    let two = [
        ("ClientIdList.1", CLIENT),
        ("ClientIdList.2", "GID_test@@@off"),
    ];
    let list = bench.ok("BatchQuerySessionByClientIds", &two).await;
    assert_eq!(list["OnlineStatusList"][0]["OnlineStatus"], true);
    assert_eq!(list["OnlineStatusList"][1]["OnlineStatus"], false);
    bench.ok("CloseConnection", &client).await;
    device.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_identities_have_the_permissions_that_they_were_given_and_no_others() {
    let bench = bench(Settings::default()).await;
    let identity = |mode| {
        [
            ("Username", "alice"),
            ("IdentityType", "USER"),
            ("Secret", "wonder"),
            ("SignMode", mode),
        ]
    };
    bench.ok("AddCustomAuthIdentity", &identity("ORIGIN")).await;
    let rule = [
        ("Identity", "alice"),
        ("IdentityType", "USER"),
        ("Topic", "TopicA/#"),
        ("PermitAction", "SUB"),
        ("Effect", "ALLOW"),
    ];
    bench.ok("AddCustomAuthPermission", &rule).await;
    let mut device = bench.connect(CLIENT, "alice", "wonder").await.unwrap();
    assert_eq!(device.subscribe("TopicA/x", 1).await, [1]);
    assert!(!device.try_publish("TopicA/x", 1, false, "no").await);
    assert!(
        bench
            .last_reason()
            .contains("no permission of user \"alice\"")
    );
    bench
        .refused(CLIENT, "alice", "wrong", "not the identity's secret")
        .await;
    bench
        .ok("UpdateCustomAuthIdentity", &identity("SIGNED"))
        .await;
    let signed = sign("wonder", CLIENT);
    assert!(bench.connect(CLIENT, "alice", &signed).await.is_some());
    bench
        .ok("AddCustomAuthConnectBlack", &[("ClientId", CLIENT)])
        .await;
    bench.refused(CLIENT, "alice", &signed, "blacklist").await;
    let found = bench
        .ok("QueryCustomAuthPermission", &[("Size", "10")])
        .await;
    assert_eq!(found["Data"]["Results"][0]["PermitAction"], "SUB");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_tell_of_messages_and_connections() {
    let bench = bench(Settings::default()).await;
    let mut device = bench.device(CLIENT).await;
    device.subscribe("TopicA", 1).await;
    let message = [("MqttTopic", "TopicA"), ("Payload", "x")];
    let sent = bench.ok("SendMessage", &message).await;
    device.receive().await;
    let id = sent["MsgId"].as_str().unwrap();
    let span = [
        ("MqttRegionId", "cn-hangzhou"),
        ("BeginTime", "0"),
        ("EndTime", "9999999999999"),
    ];
    let page = [("CurrentPage", "1"), ("PageSize", "10")];
    let of_message = [&span[..], &[("MsgId", id)]].concat();
    let published = bench.ok("QueryMqttTraceMessagePublish", &of_message).await;
    assert_eq!(published["MessageTraceLists"][0]["Action"], "pub_mq");
    let delivered = [&of_message[..], &page].concat();
    let delivered = bench.ok("QueryMqttTraceMessageSubscribe", &delivered).await;
    assert_eq!(delivered["MessageTraceLists"][0]["ClientId"], CLIENT);
    let of_client = [&span[..], &page, &[("ClientId", CLIENT)]].concat();
    let of_client_list = bench.ok("QueryMqttTraceMessageOfClient", &of_client).await;
    assert_eq!(of_client_list["Total"], 1);
    bench.ok("CloseConnection", &[("ClientId", CLIENT)]).await;
    device.ended().await;
    let connections = bench.ok("QueryMqttTraceDevice", &of_client).await;
    assert_eq!(connections["DeviceInfoList"][0]["ActionInfo"], "accepted");
}
