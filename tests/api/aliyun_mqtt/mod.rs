//! Aliyun's MQTT side: who may connect, publish and subscribe, each rule with an allowed and a
//! refused case, and what the OpenAPI does to connected clients. Passwords are the recorded
//! vectors or come from the signer below, which shares no line with the program. `connect.rs`,
//! `tokens.rs`, `topics.rs`, `traces.rs`; `bad_input.rs` is what a broken client does.

mod bad_input;
mod connect;
mod tokens;
mod topics;
mod traces;

use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_aliyun::Settings;
use mqttstack_aliyun::settings::{AccessKey, DeviceCredential, Instance, Token};
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::DeliveryOutcome;
use mqttstack_base::secret::Secret;
use mqttstack_broker::Event;
use mqttstack_pipeline::journal::masking;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::broadcast::Receiver;

use crate::mqtt::{Device, Options};
use crate::raw;
use crate::shared;
use crate::wire::{self, Connack, Wire};

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
    /// While somebody listens, the broker tells how far each delivery comes.
    _events: Receiver<Event>,
}

async fn bench(settings: Settings) -> Bench {
    let mut config = Config::free_ports();
    config.aliyun = settings;
    start(config).await
}

async fn start(config: Config) -> Bench {
    let emulator = Emulator::builder()
        .config(config)
        .clock("2026-11-21T22:51:00Z".parse().unwrap())
        .start()
        .await
        .unwrap();
    Bench {
        mqtt: emulator.mqtt_addr().unwrap(),
        url: emulator.vendor_url(Surface::Aliyun).unwrap().to_owned(),
        _events: emulator.app().broker.events(),
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

    /// Calls an action with an access key, signed with version 1.0.
    async fn signed(&self, key: (&str, &str), action: &str, parameters: &[(&str, &str)]) -> Value {
        const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~');
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let nonce = self.emulator.app().ids.request_id();
        let time = self.emulator.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let time = time.to_string();
        let common = [
            ("Action", action),
            ("Version", "2020-04-20"),
            ("Format", "JSON"),
            ("AccessKeyId", key.0),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &nonce),
            ("Timestamp", &time),
            ("InstanceId", INSTANCE),
        ];
        let mut pairs: Vec<_> = common
            .iter()
            .chain(parameters)
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        pairs.sort_unstable();
        let query = pairs.join("&");
        let signature = sign(
            &format!("{}&", key.1),
            &format!("POST&%2F&{}", encoded(&query)),
        );
        let request = format!(
            "POST /?{query}&Signature={} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            encoded(&signature)
        );
        let (status, body) = raw::ask(&self.url, &request).await;
        assert_eq!(status, 200, "{action}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn code(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let (_, body) = self.call(action, parameters).await;
        body["Code"].as_str().unwrap_or_default().to_owned()
    }

    async fn connect(&self, client_id: &str, username: &str, password: &str) -> Option<Device> {
        Device::try_v4(self.mqtt, Options::login(client_id, username, password)).await
    }

    /// Waits until the broker has seen a client go.
    async fn offline(&self, client_id: &str) {
        let broker = &self.emulator.app().broker;
        shared::until(broker, async || {
            // A session that does not outlive its connection must be gone as well.
            let client = broker.client(client_id);
            let here = client.is_some_and(|client| client.connected || client.clean_start);
            (!here).then_some(())
        })
        .await;
    }

    /// How many deliveries wait for their clients, once they are so many.
    async fn waiting(&self, wanted: usize) -> usize {
        let count = || {
            let messages = self.emulator.messages().since(0);
            let rows = messages.iter().flat_map(|(_, message)| {
                let rows = message.deliveries.lock().clone();
                rows.into_iter().map(|row| row.outcome)
            });
            rows.filter(|outcome| *outcome == DeliveryOutcome::Queued)
                .count()
        };
        let broker = &self.emulator.app().broker;
        shared::until(broker, async || (count() == wanted).then_some(wanted)).await
    }

    /// Good credentials: connects and leaves again.
    async fn visit(&self, client_id: &str, username: &str, password: &str) {
        let device = self.connect(client_id, username, password).await;
        device.expect("good credentials are let in").leave().await;
        self.offline(client_id).await;
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

    /// A CONNECT byte by byte, and what it is answered.
    async fn knock(&self, version: u8, client_id: &str, login: (&str, &str)) -> (Wire, Connack) {
        let connect = wire::Connect {
            username: Some(login.0.to_owned()),
            password: Some(login.1.into()),
            ..wire::Connect::new(version, client_id)
        };
        Wire::connect(self.mqtt, &connect).await
    }

    /// A client with the access key that writes packets byte by byte.
    async fn wire(&self, version: u8, client_id: &str) -> Wire {
        let password = sign("testsecret", client_id);
        let (wire, connack) = self.knock(version, client_id, (USERNAME, &password)).await;
        assert_eq!(connack.code, 0);
        wire
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
    let text = include_str!("../../../fixtures/aliyun/mqtt-connect-auth.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all["examples"].as_array().unwrap().clone()
}
