//! What of NanoMQ can be configured: the login, which of its generations answers, where it
//! follows the manual instead of the program, and the documents that it shows.

use std::path::PathBuf;

use mqttstack_base::secret::Secret;
use mqttstack_kit::auth::AuthMode;
use mqttstack_kit::key::Key;
use serde::{Deserialize, Serialize};

use super::auth::AuthType;
use super::configuration::Document;

/// Which API is served on `NanoMQ`'s port. No real `NanoMQ` serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Serve {
    /// V1 and V4.
    #[default]
    Both,
    /// V1 alone, as up to 0.8.0.
    V1,
    /// V4 alone, as from 0.8.3 on.
    V4,
}

/// Whose V1 it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Generation {
    /// 0.5.0 to 0.6.7: credentials are judged before the body, unknown requests are code 102,
    /// Basic only, no request 13.
    #[serde(rename = "0.6")]
    V0_6,
    /// 0.7.0 to 0.8.0.
    #[default]
    #[serde(rename = "0.8")]
    V0_8,
}

/// What V1's request 12 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetConfig {
    /// As the manual says: it takes effect at once.
    Documented,
    /// As the program does: it writes the file, a restart reads it.
    #[default]
    Real,
}

/// A setting that cannot be as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingsError {
    /// The key in the configuration.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

impl SettingsError {
    fn new(key: &'static str, problem: impl Into<String>) -> Self {
        Self {
            key,
            problem: problem.into(),
        }
    }
}

/// A configuration document laid over the shipped one, in the shape in which it is shown.
pub type Overlay = serde_json::Map<String, serde_json::Value>;

/// `NanoMQ`'s settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `strict` (default) or `off`: nobody has to prove who they are.
    pub auth: AuthMode,
    /// `basic` (default) or `jwt`.
    pub auth_type: AuthType,
    /// The user name of Basic (default `admin`).
    pub username: String,
    /// The password of Basic (default `public`).
    pub password: Secret,
    /// The file of the RSA public key that tokens are checked with, in PEM. A token's `iss` must
    /// be this file's base name.
    pub jwt_public_keyfile: Option<PathBuf>,
    /// The same key as PEM text, in place of the file's contents.
    pub jwt_public_key: Option<String>,
    /// Which API is served: `both` (default), `v1` or `v4`.
    pub api: Serve,
    /// Whose V1: `0.6` or `0.8` (default).
    pub generation: Generation,
    /// What V1's request 12 does: `real` (default) or `documented`.
    pub set_config: SetConfig,
    /// Whether `mqtt/subscribe` and `unsubscribe` work; the real V4 answers 404 (default false).
    pub subscribe_enabled: bool,
    /// Whether answers name their request id in `x-mqttstack-request-id`, which the real one's do
    /// not (default false).
    pub request_id_header: bool,
    /// Whether `DELETE /clients/{id}` works; 0.25.5 answers 404, later versions kick
    /// (default false).
    pub kick_enabled: bool,
    /// The longest V4 body in bytes (default 1 MiB).
    pub max_body: usize,
    /// The version that V4 tells (default `0.25.5-7`).
    pub version: String,
    /// The memory in bytes that V4 tells (default 3,006,464).
    pub memory_bytes: u64,
    /// What V1's request 11 shows, where it differs from the shipped document.
    pub configuration_v1: Overlay,
    /// What V4's `/configuration` shows, where it differs from the shipped document.
    pub configuration_v4: Overlay,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth: AuthMode::Strict,
            auth_type: AuthType::Basic,
            username: "admin".to_owned(),
            password: Secret::new("public"),
            jwt_public_keyfile: None,
            jwt_public_key: None,
            api: Serve::Both,
            generation: Generation::V0_8,
            set_config: SetConfig::Real,
            subscribe_enabled: false,
            request_id_header: false,
            kick_enabled: false,
            max_body: 1 << 20,
            version: "0.25.5-7".to_owned(),
            memory_bytes: 3_006_464,
            configuration_v1: Overlay::new(),
            configuration_v4: Overlay::new(),
        }
    }
}

impl Settings {
    /// Refuses a key of the configured documents that is most likely misspelt.
    pub(super) fn check_documents(&self) -> Result<(), SettingsError> {
        for (key, shipped, over) in [
            (
                "nanomq.configuration_v1",
                Document::v1(),
                &self.configuration_v1,
            ),
            (
                "nanomq.configuration_v4",
                Document::v4(),
                &self.configuration_v4,
            ),
        ] {
            if let Some((path, near)) = shipped.misspelt(over) {
                let problem = format!("there is no {path:?}; did you mean {near:?}?");
                return Err(SettingsError::new(key, problem));
            }
        }
        Ok(())
    }

    /// The key that tokens are checked with; `None` where none is needed or given.
    pub fn public_key(&self) -> Result<Option<Key>, SettingsError> {
        let (key, pem) = match (&self.jwt_public_key, &self.jwt_public_keyfile) {
            (Some(pem), _) => ("nanomq.jwt_public_key", pem.clone()),
            (None, Some(path)) => {
                let key = "nanomq.jwt_public_keyfile";
                let pem = std::fs::read_to_string(path)
                    .map_err(|why| SettingsError::new(key, format!("{}: {why}", path.display())))?;
                (key, pem)
            }
            (None, None) if self.auth_type == AuthType::Jwt && self.auth == AuthMode::Strict => {
                let problem = "tokens need nanomq.jwt_public_keyfile";
                return Err(SettingsError::new("nanomq.auth_type", problem));
            }
            (None, None) => return Ok(None),
        };
        let problem = "it holds no RSA public key in PEM";
        let read = Key::of_rsa_pem(&pem).ok_or_else(|| SettingsError::new(key, problem))?;
        Ok(Some(read))
    }

    /// The `iss` that tokens must have: the key file's base name.
    pub fn issuer(&self) -> String {
        self.jwt_public_keyfile
            .as_deref()
            .and_then(|path| path.file_name())
            .map_or_else(
                || "jwtRS256.key.pub".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            )
    }
}
