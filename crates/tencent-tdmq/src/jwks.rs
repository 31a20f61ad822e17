//! Key sets (RFC 7517) of the JWKS authenticators: a text of the configuration, or what an
//! address answers, kept for the authenticator's refresh interval on the emulator's clock. Which
//! token a key is asked about is in `jwt.rs`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde_json::Value;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The keys of one set.
pub(super) type KeySet = Arc<Vec<Jwk>>;

/// The sets that were fetched, and the HTTP client that fetches them, made on first use.
#[derive(Debug, Default)]
pub(super) struct KeySets {
    client: OnceLock<Result<reqwest::Client, String>>,
    fetched: Mutex<HashMap<String, (Timestamp, KeySet)>>,
}

/// Reads a set; a key of a kind that nobody here knows is passed over.
pub(super) fn parse(text: &[u8]) -> Result<KeySet, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let keys = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or("it has no list \"keys\"")?;
    let known = |key: &Value| {
        let key: Jwk = serde_json::from_value(key.clone()).ok()?;
        DecodingKey::from_jwk(&key).is_ok().then_some(key)
    };
    Ok(Arc::new(keys.iter().filter_map(known).collect()))
}

/// Whether a set has the key that a token names; any set has what a token does not name.
fn has(set: &KeySet, key_id: Option<&str>) -> bool {
    key_id.is_none_or(|id| {
        set.iter()
            .any(|key| key.common.key_id.as_deref() == Some(id))
    })
}

impl KeySets {
    /// The set at `url`. It is fetched when it is older than `refresh_s`, and when it lacks the
    /// key (assumed: an issuer that has just changed its key is not shut out).
    pub(super) async fn at(
        &self,
        url: &str,
        refresh_s: u32,
        key_id: Option<&str>,
        now: Timestamp,
    ) -> Result<KeySet, String> {
        let known = self.fetched.lock().get(url).cloned();
        if let Some((at, set)) = known
            && now.as_second().saturating_sub(at.as_second()) < i64::from(refresh_s)
            && has(&set, key_id)
        {
            return Ok(set);
        }
        let set = self.fetch(url).await?;
        let entry = (now, set.clone());
        self.fetched.lock().insert(url.to_owned(), entry);
        Ok(set)
    }

    /// Forgets what was fetched.
    pub(super) fn clear(&self) {
        self.fetched.lock().clear();
    }

    async fn fetch(&self, url: &str) -> Result<KeySet, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the key set at {url}: {error}");
        let client = self.client.get_or_init(client).as_ref();
        let response = client
            .map_err(|error| failed(error))?
            .get(url)
            .timeout(PATIENCE)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| failed(&error))?;
        let body = response.bytes().await.map_err(|error| failed(&error))?;
        parse(&body).map_err(|error| failed(&error))
    }
}

/// A client that trusts the system's authorities.
fn client() -> Result<reqwest::Client, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_unknown_kind_does_not_spoil_its_set() {
        let text = br#"{"keys": [
            {"kty": "XYZ", "kid": "new"},
            {"kty": "oct", "kid": "old", "k": "c2VjcmV0"}
        ]}"#;
        let set = parse(text).unwrap();
        assert!(has(&set, Some("old")) && has(&set, None) && !has(&set, Some("new")));
    }

    #[test]
    fn what_is_no_set_says_so() {
        assert!(parse(b"{}").unwrap_err().contains("keys"));
        assert!(parse(b"<html>").is_err());
    }
}
