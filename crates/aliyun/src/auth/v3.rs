//! The ACS3 signatures: signed header fields. Hex of an HMAC under the secret itself, or of
//! RSASSA-PKCS1-v1_5, over the hash of a canonical request. Which fields are signed differs by
//! SDK, so the list that came decides. Pure functions, checked with recordings.

use hmac::{Hmac, KeyInit, Mac};
use mqttstack_base::exchange::Request;
use mqttstack_kit::hex;
use mqttstack_pipeline::journal::Draft;
use sha2::{Digest, Sha256};
use sm3::Sm3;

use super::keys::Key;
use super::v1::{mac, rsa_holds};
use super::{Claim, Proof as AnyProof, same};
use crate::error::Error;
use crate::parameters::{Parameters, canonical_query};

/// How a V3 request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    HmacSha256,
    HmacSm3,
    RsaSha256,
}

impl Algorithm {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ACS3-HMAC-SHA256" => Some(Self::HmacSha256),
            "ACS3-HMAC-SM3" => Some(Self::HmacSm3),
            "ACS3-RSA-SHA256" => Some(Self::RsaSha256),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "ACS3-HMAC-SHA256",
            Self::HmacSm3 => "ACS3-HMAC-SM3",
            Self::RsaSha256 => "ACS3-RSA-SHA256",
        }
    }

    /// The lower-case hex of the algorithm's hash.
    pub(super) fn hash(self, bytes: &[u8]) -> String {
        match self {
            Self::HmacSha256 | Self::RsaSha256 => hex::lower(Sha256::digest(bytes)),
            Self::HmacSm3 => hex::lower(Sm3::digest(bytes)),
        }
    }
}

/// A V3 signature as it came.
#[derive(Debug)]
pub(super) struct Proof<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
}

/// The fields that must be signed where they are present: without them a request could be
/// altered or sent again elsewhere. The vendor demands more, its SDKs sign less; assumed.
const MUST_BE_SIGNED: [&str; 7] = [
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
    "x-acs-security-token",
];

/// Reads what a V3 request claims.
pub(super) fn claim<'a>(
    authorization: &'a str,
    request: &'a Request,
    draft: &mut Draft,
) -> Result<Claim<'a>, Error> {
    let header = |name| request.head.headers.text(name).unwrap_or("").trim();
    let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let Some(algorithm) = Algorithm::parse(algorithm) else {
        draft.note(format!(
            "{algorithm:?} is none of ACS3-HMAC-SHA256, ACS3-HMAC-SM3, ACS3-RSA-SHA256"
        ));
        return Err(Error::SignatureMethodInvalid);
    };
    let part = |name: &str| {
        rest.split(',')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    };
    let proof = Proof {
        algorithm,
        signed_headers: part("SignedHeaders"),
        signature: part("Signature"),
    };
    for (name, value) in [
        ("Credential", part("Credential")),
        ("SignedHeaders", proof.signed_headers),
        ("Signature", proof.signature),
    ] {
        if value.is_empty() {
            draft.note(format!("the Authorization header field has no {name}"));
            return Err(Error::SignatureIncomplete);
        }
    }
    if header("x-acs-date").is_empty() {
        draft.note("the header field x-acs-date is missing");
        return Err(Error::Missing("Timestamp"));
    }
    if header("x-acs-signature-nonce").is_empty() {
        draft.note("the header field x-acs-signature-nonce is missing");
        return Err(Error::Missing("SignatureNonce"));
    }
    let unsigned = MUST_BE_SIGNED
        .into_iter()
        .find(|name| request.head.headers.get(name).is_some() && !proof.signs(name));
    if let Some(name) = unsigned {
        draft.note(format!(
            "{name} was sent but is not among the SignedHeaders"
        ));
        return Err(Error::SignatureIncomplete);
    }
    Ok(Claim {
        key_id: part("Credential"),
        security_token: header("x-acs-security-token"),
        proof: AnyProof::V3(proof),
    })
}

/// The access key id of an `Authorization` field; empty if it has none.
pub(super) fn credential(authorization: &str) -> &str {
    authorization
        .split([' ', ','])
        .find_map(|part| part.strip_prefix("Credential="))
        .unwrap_or("")
}

/// The parts of a canonical request, so that a wrong one can be rebuilt with another part.
#[derive(Debug, Clone)]
pub(super) struct Parts<'a> {
    pub(super) method: &'a str,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) signed_headers: &'a str,
    pub(super) payload_hash: String,
}

impl Parts<'_> {
    /// Puts another value where the host stands.
    pub(super) fn change_host(&mut self, change: fn(&str) -> Option<&str>) {
        for (name, value) in &mut self.headers {
            if name == "host"
                && let Some(changed) = change(value).map(ToOwned::to_owned)
            {
                *value = changed;
            }
        }
    }

    pub(super) fn canonical_request(&self) -> String {
        let mut text = String::with_capacity(self.query.len() + 1024);
        text.extend([self.method, "\n/\n", &self.query, "\n"]);
        for (name, value) in &self.headers {
            text.extend([name, ":", value, "\n"]);
        }
        text.extend(["\n", self.signed_headers, "\n", &self.payload_hash]);
        text
    }
}

impl<'a> Proof<'a> {
    fn signs(&self, name: &str) -> bool {
        self.signed_headers
            .split(';')
            .any(|signed| signed.trim().eq_ignore_ascii_case(name))
    }

    /// The parts of the canonical request as they should be. The `Host` is the one received.
    pub(super) fn parts(&self, request: &'a Request, parameters: &Parameters<'_>) -> Parts<'a> {
        let query = parameters
            .query()
            .iter()
            .map(|(name, value)| (&**name, &**value));
        Parts {
            method: &request.head.method,
            query: canonical_query(query),
            headers: self
                .signed_headers
                .split(';')
                .map(|name| header_line(request, name.trim()))
                .collect(),
            signed_headers: self.signed_headers,
            payload_hash: self.algorithm.hash(&request.body),
        }
    }

    /// The canonical request as it should be.
    pub(super) fn canonical_request(
        &self,
        request: &'a Request,
        parameters: &Parameters<'_>,
    ) -> String {
        self.parts(request, parameters).canonical_request()
    }

    /// The algorithm and the hash of the canonical request.
    pub(super) fn string_to_sign(&self, canonical_request: &str) -> String {
        [
            self.algorithm.as_str(),
            &self.algorithm.hash(canonical_request.as_bytes()),
        ]
        .join("\n")
    }

    /// Whether this is the signature of `string_to_sign` under the key.
    pub(super) fn holds(&self, key: &Key, string_to_sign: &str) -> bool {
        match self.algorithm {
            Algorithm::RsaSha256 => hex::bytes_of_lower(self.signature)
                .is_some_and(|signature| rsa_holds(key, string_to_sign, &signature)),
            _ => key.secret().is_some_and(|secret| {
                let signature = hmac_signature(self.algorithm, secret, string_to_sign);
                same(signature.as_bytes(), self.signature.as_bytes())
            }),
        }
    }
}

/// The lower-case hex of the algorithm's HMAC.
pub(super) fn hmac_signature(algorithm: Algorithm, secret: &[u8], text: &str) -> String {
    fn finish<M: Mac + KeyInit>(secret: &[u8], text: &str) -> String {
        mac::<M>(secret, b"", text)
            .map(|mac| hex::lower(mac.finalize().into_bytes()))
            .unwrap_or_default()
    }
    match algorithm {
        Algorithm::HmacSm3 => finish::<Hmac<Sm3>>(secret, text),
        Algorithm::HmacSha256 | Algorithm::RsaSha256 => finish::<Hmac<Sha256>>(secret, text),
    }
}

fn header_line(request: &Request, name: &str) -> (String, String) {
    let values: Vec<_> = request
        .head
        .headers
        .all(name)
        .map(|value| String::from_utf8_lossy(value).trim().to_owned())
        .collect();
    (name.to_ascii_lowercase(), values.join(","))
}
