//! What can be configured about the Aliyun surface, with the well-known seeds as the default,
//! and the one kind of error that bad settings cause. `mod.rs` builds the surface from these.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use mqttstack_kit::auth::AuthMode;
use serde::{Deserialize, Serialize};

use super::wire::Format;

/// The hint of everything that is let in unchecked.
pub(super) const AUTH_OFF: &str = "aliyun.auth is off: the credentials were not checked";

/// The settings of the Aliyun surface: table `aliyun` of the configuration file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each switch is a setting of its own"
)]
pub struct Settings {
    /// Whether unknown instances and topics come into being on first use (default true).
    pub auto_create: bool,
    /// Whether signatures, times and nonces are checked (default `"strict"`).
    pub auth: AuthMode,
    /// How far a request's time may be off, either way, in seconds (default 900; 0 is any).
    pub timestamp_window_s: u32,
    /// For how long a nonce may not come again, in seconds (default 900).
    pub nonce_window_s: u32,
    /// How many nonces are remembered; the oldest make room (default 262,144).
    pub nonce_capacity: usize,
    /// Whether GET is taken where the vendor's metadata lists POST only (default true).
    pub allow_get: bool,
    /// Whether actions that the vendor offers over HTTPS only are taken over HTTP (default true).
    pub allow_http: bool,
    /// The format of a V1 answer where `Format` is missing (default `"xml"`).
    pub default_format_v1: Format,
    /// The format of a V3 answer where `Accept` names neither XML nor JSON (default `"json"`).
    pub default_format_v3: Format,
    /// Whether an MQTT client may connect without user name and password and bring its tokens to
    /// `$SYS/uploadToken` then, as older clients do (default false: such a client is an open one).
    pub token_after_connect: bool,
    /// The quality of service of a published message, 0 to 2 (default 1).
    pub qos: u8,
    /// How a call over the quota is refused (default `"product"`).
    pub overflow: Overflow,
    /// Whether the HTTP statuses that the vendor's notice of changed status codes names are
    /// answered by it, instead of by the page of the action (default false; the pages disagree).
    pub status_change: bool,
    /// The `x-acs-retry-after` of a `"gateway"` refusal, in seconds (default 1).
    pub retry_after_s: u32,
    /// The longest payload in bytes of UTF-8 (default 65,536). A longer one is refused over HTTP;
    /// of an MQTT client it is discarded (documented: Limits) and acknowledged (assumed).
    pub max_payload_bytes: usize,
    /// The longest MQTT packet in bytes that an MQTT 5 client may send and is told of (default
    /// 131,072, documented: MQTT 5.0 overview).
    pub max_packet_bytes: u32,
    /// How many topic filters an MQTT client may be subscribed to at once (default 30,
    /// documented: Limits; 0 is no limit).
    pub max_subscriptions: usize,
    /// For how long a message waits for an offline client, in seconds (default 259,200, three
    /// days, documented: Limits).
    pub offline_expiry_s: u64,
    /// How many of them a client that is back gets at once (default 30, documented: Receive
    /// offline messages).
    pub offline_batch: usize,
    /// Milliseconds from one such batch to the next (default 5,000, the same page; 0: no pause).
    pub offline_interval_ms: u64,
    /// The longest parent topic, the first level, in characters (default 64, documented).
    pub max_parent_topic_chars: usize,
    /// The longest topic in characters, of a P2P topic without its client id (default 128, the
    /// vendor's demo; an older page allows 64 in all).
    pub max_topic_chars: usize,
    /// The longest request body in bytes (default 1 MiB).
    pub max_body_bytes: usize,
    /// Host names taken besides the vendor's, IP addresses and local names: exact, `*.suffix`
    /// or `*` (default none).
    pub hosts: Vec<String>,
    /// Calls per second and caller of an action, instead of the vendor's figure; 0 is no limit.
    pub quotas: BTreeMap<String, u32>,
    /// Who may call with a signature.
    pub access_keys: Vec<AccessKey>,
    /// Who may call with a bearer token.
    pub bearer_tokens: Vec<BearerToken>,
    /// The instances that exist from the start.
    pub instances: Vec<Instance>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create: true,
            auth: AuthMode::Strict,
            timestamp_window_s: 900,
            nonce_window_s: 900,
            nonce_capacity: 1 << 18,
            allow_get: true,
            allow_http: true,
            default_format_v1: Format::Xml,
            default_format_v3: Format::Json,
            token_after_connect: false,
            qos: 1,
            overflow: Overflow::Product,
            status_change: false,
            retry_after_s: 1,
            max_payload_bytes: 64 << 10,
            max_packet_bytes: 128 << 10,
            max_subscriptions: 30,
            offline_expiry_s: 3 * 24 * 3_600,
            offline_batch: 30,
            offline_interval_ms: 5_000,
            max_parent_topic_chars: 64,
            max_topic_chars: 128,
            max_body_bytes: 1 << 20,
            hosts: Vec::new(),
            quotas: BTreeMap::new(),
            access_keys: vec![
                AccessKey::with_secret("testid", "testsecret"),
                AccessKey {
                    security_token: Some(Secret::new("CAIS+sts/token==")),
                    ..AccessKey::with_secret("STS.testid", "testsecret")
                },
            ],
            bearer_tokens: vec![BearerToken {
                token: Secret::new("testbearer"),
                expires: None,
            }],
            instances: vec![Instance {
                groups: vec!["GID_test".to_owned()],
                ..Instance::empty("post-cn-test0001")
            }],
        }
    }
}

/// Whose error a call over the quota gets. Which one a user of the cloud meets is not documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overflow {
    /// The product's `SystemOverFlow`, 500.
    Product,
    /// The gateway's `Throttling.User`, 400, with `x-acs-retry-after`.
    Gateway,
}

/// Whether an access key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It may.
    #[default]
    Active,
    /// It is disabled.
    Inactive,
}

/// One access key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// The access key secret, for the HMAC signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// The STS token that must come along; its presence makes this an STS key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<Secret>,
    /// When the STS token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Whether it may be used.
    #[serde(default)]
    pub status: Status,
    /// The RSA public key of a key pair, for `SHA256withRSA` and `ACS3-RSA-SHA256`: PEM, or the
    /// Base64 of its DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl AccessKey {
    /// An active key with a secret.
    pub fn with_secret(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: Some(Secret::new(secret)),
            security_token: None,
            expires: None,
            status: Status::Active,
            public_key: None,
        }
    }
}

/// One bearer token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerToken {
    /// The token.
    pub token: Secret,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// One instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// The instance id.
    pub id: String,
    /// Its region.
    #[serde(default = "default_region")]
    pub region: String,
    /// Its group ids.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Its parent topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Its registered devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_credentials: Vec<DeviceCredential>,
    /// Its tokens that are there without `ApplyToken`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
}

impl Instance {
    /// One that has nothing yet.
    pub fn empty(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            region: default_region(),
            groups: Vec::new(),
            topics: Vec::new(),
            device_credentials: Vec::new(),
            tokens: Vec::new(),
        }
    }
}

/// One token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The token itself, without `|`.
    pub token: Secret,
    /// The topics and filters that it is for.
    pub resources: Vec<String>,
    /// `R`, `W` or `R,W`.
    pub actions: String,
    /// When it expires; never if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// One registered device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCredential {
    /// The client id that the credential is for.
    pub client_id: String,
    /// The device's access key id.
    pub access_key_id: String,
    /// The device's access key secret.
    pub access_key_secret: Secret,
}

pub(super) fn default_region() -> String {
    "cn-hangzhou".to_owned()
}

/// Settings from which no surface can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingsError {
    /// The key in the configuration, such as `aliyun.access_keys[0].public_key`.
    pub key: String,
    /// What is wrong with its value.
    pub problem: String,
}

impl SettingsError {
    pub(super) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}
