//! Who may call: access keys with a secret, an STS token or an RSA public key, and bearer
//! tokens. Built once from the settings, with an error that names the key of a bad value.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use mqttstack_kit::key::Key as PublicKey;
use mqttstack_pipeline::journal::Draft;

use super::same;
use crate::error::Error;
use crate::settings::{AccessKey, BearerToken, SettingsError, Status};

/// One access key, ready to verify with.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: Option<Secret>,
    pub(super) verifier: Option<PublicKey>,
    security_token: Option<Secret>,
    expires: Option<Timestamp>,
    active: bool,
}

impl Key {
    /// Whether it is one of STS, which comes with a token.
    pub(super) fn is_temporary(&self) -> bool {
        self.security_token.is_some()
    }

    /// The secret's bytes; `None` for a key that has only a public key.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        self.secret
            .as_ref()
            .map(|secret| secret.expose().as_bytes())
    }
}

#[derive(Debug)]
pub(super) struct Keys {
    by_id: HashMap<String, Key>,
    bearers: Vec<BearerToken>,
}

impl Keys {
    pub(super) fn new(
        access_keys: &[AccessKey],
        bearers: &[BearerToken],
    ) -> Result<Self, SettingsError> {
        let mut by_id = HashMap::with_capacity(access_keys.len());
        for (index, settings) in access_keys.iter().enumerate() {
            let at = format!("aliyun.access_keys[{index}]");
            let key = key(settings, &at)?;
            if by_id.insert(key.id.clone(), key).is_some() {
                return Err(SettingsError::new(
                    format!("{at}.id"),
                    format!("{:?} is there twice", settings.id),
                ));
            }
        }
        if let Some(index) = bearers.iter().position(|b| b.token.expose().is_empty()) {
            return Err(SettingsError::new(
                format!("aliyun.bearer_tokens[{index}].token"),
                "it is empty",
            ));
        }
        Ok(Self {
            by_id,
            bearers: bearers.to_vec(),
        })
    }

    /// Every key but `except`, by id.
    pub(super) fn others(&self, except: &Key) -> Vec<&Key> {
        let mut others: Vec<_> = self
            .by_id
            .values()
            .filter(|key| key.id != except.id)
            .collect();
        others.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        others
    }

    /// Every key that has a secret, by id.
    pub(super) fn secrets(&self) -> Vec<(String, Secret)> {
        let mut all: Vec<_> = self
            .by_id
            .values()
            .filter_map(|key| Some((key.id.clone(), key.secret.clone()?)))
            .collect();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The active key of this id.
    pub(super) fn find(&self, id: &str, draft: &mut Draft) -> Result<&Key, Error> {
        let Some(key) = self.by_id.get(id) else {
            let mut known: Vec<_> = self.by_id.keys().map(String::as_str).collect();
            known.sort_unstable();
            known.truncate(20);
            draft.note(format!(
                "no access key {id:?} is configured; known are {}",
                known.join(", ")
            ));
            return Err(Error::AccessKeyNotFound);
        };
        if !key.active {
            draft.note(format!("access key {id:?} has status \"inactive\""));
            return Err(Error::AccessKeyInactive);
        }
        Ok(key)
    }

    /// Whether the STS token that came along is the one that belongs to the key.
    pub(super) fn check_token(
        &self,
        key: &Key,
        token: &str,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        match (&key.security_token, token) {
            (None, "") => Ok(()),
            (Some(_), "") => {
                draft.note(format!(
                    "{} is an STS key: its token must come along",
                    key.id
                ));
                Err(Error::Missing("SecurityToken"))
            }
            (Some(own), token) if same(own.expose().as_bytes(), token.as_bytes()) => {
                match key.expires {
                    Some(expires) if expires <= now => {
                        draft.note(format!("the STS token expired at {expires}"));
                        Err(Error::SecurityTokenExpired)
                    }
                    _ => Ok(()),
                }
            }
            (own, token) => {
                draft.note(match own {
                    None => format!("{} is not an STS key, but an STS token came along", key.id),
                    Some(_) => format!("the STS token is not the one of {}", key.id),
                });
                if self.knows_token(token) || looks_like_token(token) {
                    return Err(Error::SecurityTokenMismatch);
                }
                Err(Error::SecurityTokenMalformed)
            }
        }
    }

    fn knows_token(&self, token: &str) -> bool {
        self.by_id
            .values()
            .filter_map(|key| key.security_token.as_ref())
            .any(|known| same(known.expose().as_bytes(), token.as_bytes()))
    }

    /// Whether a bearer token is known and alive. Its error codes are assumed: no document
    /// found names any.
    pub(super) fn check_bearer(
        &self,
        token: &str,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        let known = self
            .bearers
            .iter()
            .find(|bearer| same(bearer.token.expose().as_bytes(), token.as_bytes()));
        match known.map(|bearer| bearer.expires) {
            Some(Some(expires)) if expires <= now => {
                draft.note(format!("the bearer token expired at {expires}"));
                Err(Error::parameter_invalid("BearerToken"))
            }
            Some(_) => Ok(()),
            None => {
                draft.note("no such bearer token is configured");
                Err(Error::parameter_invalid("BearerToken"))
            }
        }
    }
}

/// Real STS tokens are Base64 that starts so. Another text could not even be decoded there.
fn looks_like_token(token: &str) -> bool {
    (token.starts_with("CAIS") || token.starts_with("CAES"))
        && token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'))
}

fn key(settings: &AccessKey, at: &str) -> Result<Key, SettingsError> {
    if settings.id.is_empty() {
        return Err(SettingsError::new(format!("{at}.id"), "it is empty"));
    }
    if settings.expires.is_some() && settings.security_token.is_none() {
        return Err(SettingsError::new(
            format!("{at}.expires"),
            "only an STS key expires: security_token is missing",
        ));
    }
    let verifier = settings
        .public_key
        .as_deref()
        .map(|text| {
            public_key(text).ok_or_else(|| {
                SettingsError::new(
                    format!("{at}.public_key"),
                    "it is not an RSA public key in PEM or in Base64 of its DER",
                )
            })
        })
        .transpose()?;
    if settings.secret.is_none() && verifier.is_none() {
        return Err(SettingsError::new(
            format!("{at}.secret"),
            "a key needs a secret or a public_key",
        ));
    }
    Ok(Key {
        id: settings.id.clone(),
        secret: settings.secret.clone(),
        verifier,
        security_token: settings.security_token.clone(),
        expires: settings.expires,
        active: settings.status == Status::Active,
    })
}

fn public_key(text: &str) -> Option<PublicKey> {
    let text = text.trim();
    if text.starts_with("-----") {
        return PublicKey::of_rsa_pem(text);
    }
    let compact: String = text.split_whitespace().collect();
    PublicKey::of_rsa_der(&BASE64_STANDARD.decode(compact).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: AccessKey) -> String {
        Keys::new(&[settings], &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_key() {
        let good = AccessKey::with_secret("id", "secret");
        assert_eq!(
            refusal(AccessKey {
                public_key: Some("nonsense".to_owned()),
                ..good.clone()
            }),
            "aliyun.access_keys[0].public_key: it is not an RSA public key in PEM or in Base64 of its DER"
        );
        assert_eq!(
            refusal(AccessKey {
                secret: None,
                ..good.clone()
            }),
            "aliyun.access_keys[0].secret: a key needs a secret or a public_key"
        );
        assert_eq!(
            refusal(AccessKey {
                expires: Some(Timestamp::UNIX_EPOCH),
                ..good.clone()
            }),
            "aliyun.access_keys[0].expires: only an STS key expires: security_token is missing"
        );
        assert_eq!(
            Keys::new(&[good.clone(), good], &[]).unwrap_err().key,
            "aliyun.access_keys[1].id"
        );
    }
}
