//! What can be configured of TDMQ for MQTT: the tables `[tencent_tdmq]`, with the well-known test
//! instance, user and policy as the defaults.

use std::collections::{BTreeMap, BTreeSet};

use mqttstack_base::secret::Secret;
use mqttstack_kit::auth::AuthMode;
use serde::{Deserialize, Serialize};

use super::api::{CLIENT_STATUS, KEEP_ALIVE, PUBLISH};
use super::certificate::Authority;
use super::cloud::Action;
use super::jwt::Authenticator;
use super::mqtt::{CONNECT, CONNECT_WITH_WILL, MESSAGE_RATE, SUBSCRIBE, UNSUBSCRIBE};
use super::policy::{Policy, is_address};
use super::store::User;

/// The hint of everything that is let in unchecked.
pub(super) const AUTH_OFF: &str = "tencent_tdmq.auth is off: the credentials were not checked";

/// What becomes of an MQTT client with a user name and password that look like a user's and are
/// nobody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownUsers {
    /// It is refused, as the cloud refuses it.
    #[default]
    Refuse,
    /// It is an open client (`mqtt.open_clients`), whose password nobody checks.
    Open,
}

/// What the instance is called and what `DescribeInstance` tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceSettings {
    /// Its id (default `mqtt-test0001`).
    pub id: String,
    /// Its name (default `test`).
    pub name: String,
    /// How many first-level topics it may have (default 50; no page found has the figure).
    pub topic_limit: usize,
    /// How many MQTT clients may be connected, 0 for any number (default 10,000, the example of
    /// the page on quotas; what was bought decides in the cloud).
    pub client_limit: usize,
    /// How many filters one MQTT client may be subscribed to, 0 for any number (default 30,
    /// documented).
    pub filters_per_client: usize,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            id: "mqtt-test0001".to_owned(),
            name: "test".to_owned(),
            topic_limit: 50,
            client_limit: 10_000,
            filters_per_client: 30,
        }
    }
}

/// The table `[tencent_tdmq]`. Lists replace the seeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether credentials are checked (default `strict`).
    pub auth: AuthMode,
    /// What becomes of an MQTT client whose user name and password look like a user's (up to 32
    /// letters, digits, `-` and `_`) or are a token, and are nobody's (default `refuse`).
    pub unknown_users: UnknownUsers,
    /// Whether other instances come into being when they are named (default true).
    pub auto_create: bool,
    /// The regions that cloud API calls may name (default none: any that is spelled as one; every
    /// call must name a region, documented).
    pub regions: Vec<String>,
    /// The instance.
    pub instance: InstanceSettings,
    /// Its users (default `user0` with `secret0`).
    pub users: Vec<User>,
    /// Its authorization policies (default one that allows everything).
    pub policies: Vec<Policy>,
    /// Its first-level topics (default none; publishing makes them).
    pub topics: Vec<String>,
    /// The certificate authorities of the BYOC mode, each as PEM text or the path of a PEM file
    /// (default none: the mode is off).
    pub ca_certificates: Vec<Authority>,
    /// The token authenticators of the MQTT side, asked in this order (default none).
    pub authenticators: Vec<Authenticator>,
    /// The longest payload in bytes (default 1 MiB; the vendor's figure was not found).
    pub max_payload_bytes: usize,
    /// The longest topic name in bytes (default 65,535; the vendor's figure was not found).
    pub max_topic_bytes: usize,
    /// The longest client id in bytes (default 65,535; the vendor's figure was not found).
    pub max_client_id_bytes: usize,
    /// Calls per second, 0 for no limit: `Publish` (HTTP and MQTT), `ClientStatus` and `KeepAlive`
    /// per instance (default 0), `MessageRate` per MQTT client (default 0), `Connect`, `Subscribe`
    /// and `Unsubscribe` (packets) per instance (default 100 or a hundredth of `client_limit`,
    /// documented),
    /// `ConnectWithWill` per instance (default 100, documented), cloud API actions per secret id
    /// (default 20, documented).
    pub quotas: BTreeMap<String, u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: AuthMode::Strict,
            unknown_users: UnknownUsers::Refuse,
            auto_create: true,
            regions: Vec::new(),
            instance: InstanceSettings::default(),
            users: vec![User {
                name: "user0".to_owned(),
                password: Secret::new("secret0"),
                remark: String::new(),
                created_ms: 0,
                modified_ms: 0,
            }],
            policies: vec![Policy::default()],
            topics: Vec::new(),
            ca_certificates: Vec::new(),
            authenticators: Vec::new(),
            max_payload_bytes: 1 << 20,
            max_topic_bytes: 65_535,
            max_client_id_bytes: 65_535,
            quotas: BTreeMap::new(),
        }
    }
}

/// Quotas that are no action of the cloud API.
const RATES: [&str; 8] = [
    PUBLISH,
    CLIENT_STATUS,
    KEEP_ALIVE,
    CONNECT,
    CONNECT_WITH_WILL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    MESSAGE_RATE,
];

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tencent_tdmq.{key}: {problem}")]
pub struct SettingsError {
    key: &'static str,
    problem: String,
}

impl Settings {
    /// Refuses what would be passed over in silence or could never match.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let wrong = |key, problem: String| Err(SettingsError { key, problem });
        for name in self.quotas.keys() {
            let known = RATES.contains(&name.as_str())
                || Action::ALL.iter().any(|action| action.name() == name);
            if !known {
                let mut known: Vec<_> = RATES.to_vec();
                known.extend(Action::ALL.iter().map(|action| action.name()));
                let problem = format!("no such operation {name:?}; there are {}", known.join(", "));
                return wrong("quotas", problem);
            }
        }
        let mut users = BTreeSet::new();
        if let Some(user) = self.users.iter().find(|user| !users.insert(&user.name)) {
            return wrong("users", format!("{:?} is there twice", user.name));
        }
        for authenticator in &self.authenticators {
            if let Err((field, problem)) = authenticator.check() {
                return wrong("authenticators", format!("{field}: {problem}"));
            }
        }
        let mut priorities = BTreeSet::new();
        for policy in &self.policies {
            if !priorities.insert(policy.priority) {
                let priority = policy.priority;
                return wrong("policies", format!("two have the priority {priority}"));
            }
            if let Some(ip) = policy.ip.as_deref().filter(|ip| !is_address(ip)) {
                let problem = format!("{ip:?} is neither an address nor a network");
                return wrong("policies", problem);
            }
            if !(1..=3).contains(&policy.retain) || policy.qos.iter().any(|qos| *qos > 2) {
                let name = &policy.name;
                return wrong(
                    "policies",
                    format!("{name:?} has a qos or retain out of range"),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: serde_json::Value) -> String {
        let settings: Settings = serde_json::from_value(json).unwrap();
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn a_setting_that_cannot_be_is_named() {
        assert!(Settings::default().check().is_ok());
        let cases = [
            (serde_json::json!({"quotas": {"Pulish": 1}}), "Pulish"),
            (
                serde_json::json!({"users": [{"name": "a", "password": "x"}, {"name": "a", "password": "y"}]}),
                "\"a\"",
            ),
            (serde_json::json!({"authenticators": [{}]}), "Secret"),
            (
                serde_json::json!({"authenticators": [{"algorithm": "public-key", "public_key": "?"}]}),
                "PublicKey",
            ),
            (
                serde_json::json!({"authenticators": [{"algorithm": "jwks"}]}),
                "Endpoint",
            ),
            (
                serde_json::json!({"authenticators": [{"algorithm": "jwks", "endpoint": "keys"}]}),
                "Endpoint",
            ),
            (
                serde_json::json!({"authenticators": [{"algorithm": "jwks", "text": "{}"}]}),
                "Text",
            ),
            (
                serde_json::json!({"authenticators": [
                    {"algorithm": "jwks", "endpoint": "http://k/", "refresh_interval": 59}]}),
                "59",
            ),
            (serde_json::json!({"policies": [{}, {}]}), "priority 1"),
            (
                serde_json::json!({"policies": [{"ip": "10.0.0"}]}),
                "10.0.0",
            ),
            (serde_json::json!({"policies": [{"retain": 0}]}), "retain"),
            (serde_json::json!({"policies": [{"qos": [3]}]}), "qos"),
        ];
        for (json, needle) in cases {
            let text = refusal(json);
            assert!(
                text.starts_with("tencent_tdmq.") && text.contains(needle),
                "{text}"
            );
        }
    }
}
