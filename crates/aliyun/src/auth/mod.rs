//! Who calls. [`Authenticator::verify`] goes through time, key, STS token, signature and nonce
//! in that order, for either signature version. The arithmetic is in `v1.rs` and `v3.rs`, pure;
//! `diagnosis.rs` guesses the mistake behind a wrong signature; `keys.rs` holds who may call,
//! `nonces.rs` which nonces are used up.

mod diagnosis;
mod keys;
mod nonces;
mod time;
mod v1;
mod v3;

use jiff::Timestamp;
use mqttstack_base::exchange::Request;
use mqttstack_base::secret::Secret;
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline::Walk;
use mqttstack_pipeline::journal::Draft;
use subtle::ConstantTimeEq;

use self::keys::{Key, Keys};
use self::nonces::Nonces;
use super::envelope::{Envelope, Scheme};
use super::error::Error;
use super::parameters::Parameters;
use super::settings::{AUTH_OFF, Settings, SettingsError};

/// Who calls, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The access key id, or `bearer` for a bearer token.
    pub(super) id: String,
}

/// What a signed request claims about itself, before anything is proven.
struct Claim<'a> {
    key_id: &'a str,
    security_token: &'a str,
    proof: Proof<'a>,
}

enum Proof<'a> {
    V1(v1::Proof<'a>),
    V3(v3::Proof<'a>),
}

/// Whether two texts are the same, in a time that does not depend on where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Checks who calls.
#[derive(Debug)]
pub(super) struct Authenticator {
    keys: Keys,
    nonces: Nonces,
    mode: AuthMode,
    window_s: u32,
}

impl Authenticator {
    /// Takes keys, tokens and windows from the settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            keys: Keys::new(&settings.access_keys, &settings.bearer_tokens)?,
            nonces: Nonces::new(settings.nonce_window_s, settings.nonce_capacity),
            mode: settings.auth,
            window_s: settings.timestamp_window_s,
        })
    }

    /// Forgets every nonce.
    pub(super) fn reset(&self) {
        self.nonces.clear();
    }

    /// The secret with which an access key signs its CONNECT; the error says why there is none.
    pub(super) fn mqtt_secret(&self, id: &str) -> Result<Secret, String> {
        let mut draft = Draft::default();
        match self.keys.find(id, &mut draft) {
            Ok(key) => key
                .secret
                .clone()
                .ok_or_else(|| format!("access key {id:?} has no secret, only a public key")),
            Err(_) => Err(draft.reasons.concat()),
        }
    }

    /// Every access key's id and secret, to find out whose was used by mistake.
    pub(super) fn mqtt_secrets(&self) -> Vec<(String, Secret)> {
        self.keys.secrets()
    }

    /// Whether this is the access key of an account: known, and not a temporary one of STS.
    pub(super) fn is_accounts_own(&self, id: &str) -> bool {
        let key = self.keys.find(id, &mut Draft::default());
        key.is_ok_and(|key| !key.is_temporary())
    }

    /// Proves who calls, or refuses as the gateway does.
    pub(super) fn verify(
        &self,
        envelope: &Envelope<'_>,
        parameters: &Parameters<'_>,
        walk: &mut Walk<'_>,
    ) -> Result<Caller, Error> {
        let (request, now) = (walk.request, walk.receipt.now);
        let draft = &mut *walk.draft;
        if self.mode == AuthMode::Off {
            draft.hint(AUTH_OFF);
            return Ok(claimed(envelope, parameters, draft));
        }
        let claim = match envelope.scheme {
            Scheme::V1Bearer => {
                return self.bearer(parameters.get("BearerToken"), envelope, now, draft);
            }
            Scheme::V3Bearer(token) => return self.bearer(token, envelope, now, draft),
            Scheme::V1 => v1::claim(parameters, draft)?,
            Scheme::V3 { authorization } => v3::claim(authorization, request, draft)?,
        };
        draft.caller = Some(printable(claim.key_id));
        self.check_time(envelope, now, draft)?;
        let key = self.keys.find(claim.key_id, draft)?;
        self.keys
            .check_token(key, claim.security_token, now, draft)?;
        self.check_signature(&claim.proof, key, request, parameters, draft)?;
        self.use_nonce(&key.id, envelope.nonce, now, draft)?;
        Ok(Caller { id: key.id.clone() })
    }

    fn bearer(
        &self,
        token: &str,
        envelope: &Envelope<'_>,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<Caller, Error> {
        const BEARER: &str = "bearer";
        if token.is_empty() {
            return Err(Error::Missing("BearerToken"));
        }
        draft.caller = Some(BEARER.to_owned());
        require(envelope.nonce, "SignatureNonce")?;
        self.check_time(envelope, now, draft)?;
        self.keys.check_bearer(token, now, draft)?;
        self.use_nonce(BEARER, envelope.nonce, now, draft)?;
        Ok(Caller {
            id: BEARER.to_owned(),
        })
    }

    fn check_time(
        &self,
        envelope: &Envelope<'_>,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        require(envelope.timestamp, "Timestamp")?;
        time::check(envelope.timestamp, now, self.window_s).map_err(|problem| {
            draft.note(problem.reason);
            problem.error
        })
    }

    fn check_signature(
        &self,
        proof: &Proof<'_>,
        key: &Key,
        request: &Request,
        parameters: &Parameters<'_>,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        match proof {
            Proof::V1(proof) => {
                let string_to_sign =
                    v1::string_to_sign(&request.head.method, &v1::canonical_parameters(parameters));
                if proof.holds(key, &string_to_sign) {
                    return Ok(());
                }
                let mistake = diagnosis::v1(proof, key, &self.keys, request, parameters);
                draft.note(mistake.unwrap_or_else(|| diagnosis::unknown(&key.id)));
                Err(Error::SignatureMismatchV1 { string_to_sign })
            }
            Proof::V3(proof) => {
                let canonical_request = proof.canonical_request(request, parameters);
                let string_to_sign = proof.string_to_sign(&canonical_request);
                if proof.holds(key, &string_to_sign) {
                    return Ok(());
                }
                let mistake = diagnosis::v3(proof, key, &self.keys, request, parameters);
                draft.note(mistake.unwrap_or_else(|| diagnosis::unknown(&key.id)));
                Err(Error::SignatureMismatchV3 {
                    string_to_sign,
                    canonical_request,
                })
            }
        }
    }

    /// Uses a nonce up. Only a request whose signature is right gets here, so nobody can use up
    /// the nonces of somebody else.
    fn use_nonce(
        &self,
        caller: &str,
        nonce: &str,
        now: Timestamp,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        if let Err(used) = self.nonces.take(caller, nonce, now) {
            draft.note(format!(
                "nonce {nonce:?} of {caller} was used {} s ago; it may come again after {} s",
                used.seconds_ago, used.window_s
            ));
            return Err(Error::NonceUsed);
        }
        Ok(())
    }
}

fn require(value: &str, name: &'static str) -> Result<(), Error> {
    if value.is_empty() {
        return Err(Error::Missing(name));
    }
    Ok(())
}

/// Who a request says it is from, where nobody asks for proof.
fn claimed(envelope: &Envelope<'_>, parameters: &Parameters<'_>, draft: &mut Draft) -> Caller {
    let id = match envelope.scheme {
        Scheme::V1 => parameters.get("AccessKeyId"),
        Scheme::V3 { authorization } => v3::credential(authorization),
        Scheme::V1Bearer | Scheme::V3Bearer(_) => "bearer",
    };
    let id = match id {
        "" => "anonymous".to_owned(),
        id => printable(id),
    };
    draft.caller = Some(id.clone());
    Caller { id }
}

/// A claimed key id as the journal may show it.
fn printable(id: &str) -> String {
    id.chars().take(128).collect()
}

#[cfg(test)]
mod recordings;
