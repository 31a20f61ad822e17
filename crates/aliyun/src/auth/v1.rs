//! Signature version 1.0: signed parameters. Base64 of HMAC-SHA1 under the secret with `&` behind
//! it, or of RSASSA-PKCS1-v1_5 with SHA-256 for key pairs. Pure functions, checked with the
//! recordings of three SDKs.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mqttstack_kit::form::encode_into;
use mqttstack_kit::token::Algorithm;
use mqttstack_pipeline::journal::Draft;
use sha1::Sha1;

use super::keys::Key;
use super::{Claim, Proof as AnyProof};
use crate::error::Error;
use crate::parameters::{Parameters, canonical_query};

/// How a V1 request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    HmacSha1,
    Sha256WithRsa,
}

/// A V1 signature as it came.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    pub(super) method: Method,
    pub(super) signature: &'a str,
}

/// Reads what a V1 request claims. The checks are in the order in which they are answered.
pub(super) fn claim<'a>(
    parameters: &'a Parameters<'_>,
    draft: &mut Draft,
) -> Result<Claim<'a>, Error> {
    let key_id = parameters.required("AccessKeyId")?;
    let signature = parameters.required("Signature")?;
    let method = parameters.required("SignatureMethod")?;
    let version = parameters.required("SignatureVersion")?;
    parameters.required("SignatureNonce")?;
    parameters.required("Timestamp")?;
    // The vendor's own sample writes `Hmac-SHA1`, its SDKs `HMAC-SHA1`.
    let method = if method.eq_ignore_ascii_case("HMAC-SHA1") {
        Method::HmacSha1
    } else if method.eq_ignore_ascii_case("SHA256withRSA") {
        Method::Sha256WithRsa
    } else {
        draft.note(format!(
            "SignatureMethod {method:?} is neither HMAC-SHA1 nor SHA256withRSA"
        ));
        return Err(Error::SignatureMethodInvalid);
    };
    if version != "1.0" {
        draft.note(format!("SignatureVersion {version:?} is not \"1.0\""));
        return Err(Error::parameter_invalid("SignatureVersion"));
    }
    Ok(Claim {
        key_id,
        security_token: parameters.get("SecurityToken"),
        proof: AnyProof::V1(Proof { method, signature }),
    })
}

/// The canonical query of every parameter but the signature itself.
pub(super) fn canonical_parameters(parameters: &Parameters<'_>) -> String {
    canonical_query(signed(parameters))
}

/// The parameters that are signed, in the order in which they came.
pub(super) fn signed<'p>(
    parameters: &'p Parameters<'_>,
) -> impl Iterator<Item = (&'p str, &'p str)> + Clone {
    parameters
        .all()
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .filter(|(name, _)| *name != "Signature")
}

/// `METHOD&%2F&` and the canonical query, encoded once more.
pub(super) fn string_to_sign(method: &str, canonical_query: &str) -> String {
    let mut text = String::with_capacity(16 + canonical_query.len() * 3 / 2);
    text.push_str(method);
    text.push_str("&%2F&");
    encode_into(canonical_query, &mut text);
    text
}

/// HMAC under a key given in two parts. Keys of any length are allowed.
pub(super) fn mac<M: Mac + KeyInit>(key: &[u8], suffix: &[u8], text: &str) -> Option<M> {
    let key = [key, suffix].concat();
    M::new_from_slice(&key)
        .ok()
        .map(|mac| mac.chain_update(text))
}

impl Proof<'_> {
    /// Whether this is the signature of `string_to_sign` under the key.
    pub(super) fn holds(&self, key: &Key, string_to_sign: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(self.signature) else {
            return false;
        };
        match self.method {
            Method::HmacSha1 => key
                .secret()
                .and_then(|secret| mac::<Hmac<Sha1>>(secret, b"&", string_to_sign))
                .is_some_and(|mac| mac.verify_slice(&signature).is_ok()),
            Method::Sha256WithRsa => rsa_holds(key, string_to_sign, &signature),
        }
    }
}

/// Whether an RSASSA-PKCS1-v1_5 signature with SHA-256 holds under the key's public key.
pub(super) fn rsa_holds(key: &Key, text: &str, signature: &[u8]) -> bool {
    key.verifier
        .as_ref()
        .is_some_and(|key| key.verifies(Algorithm::RS256, text.as_bytes(), signature))
}
