//! Who calls the device gateway: the signature of `/device/*` and the older one of
//! `/register/dev`. Eight lines over the raw bytes of the body, tried against the hosts that
//! the vendor's SDKs really sign. Which known mistake leads to a wrong one: `hints.rs`.
//!
//! Sources: signature page 1105/41501, requests captured from the Python SDK, the vendor's C
//! signing tool, the Java SDK's source.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::{FixedOutput, KeyInit, Update};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use mqttstack_base::exchange::Request;
use mqttstack_base::secret::Secret;
use mqttstack_kit::hex;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::hints;
use super::keys::PublicKey;

/// The regional gateways, which some SDKs sign whatever host they call.
pub(super) const GATEWAYS: [&str; 4] = [
    "ap-guangzhou.gateway.tencentdevices.com",
    "us-east.gateway.tencentdevices.com",
    "europe.gateway.tencentdevices.com",
    "ap-bangkok.gateway.tencentdevices.com",
];

/// The algorithms of `X-TC-Algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// `hmacsha256` (SDKs), `HmacSha256` (signature page).
    HmacSha256,
    /// `hmacsha1` (SDKs), `HmacSha1` (signature page).
    HmacSha1,
    /// `rsa-sha256`.
    RsaSha256,
}

/// The signature header fields of a gateway request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature<'a> {
    /// What `spelling` means.
    pub(super) algorithm: Algorithm,
    /// `X-TC-Algorithm` as it came.
    pub(super) spelling: &'a str,
    /// `X-TC-Timestamp` as it came.
    pub(super) timestamp: &'a str,
    /// `X-TC-Nonce` as it came; any text.
    pub(super) nonce: &'a str,
    /// `X-TC-Signature`.
    pub(super) value: &'a str,
}

impl<'a> Signature<'a> {
    /// Reads the header fields and checks the time. The nonce is not remembered: no page says
    /// that it is.
    pub(super) fn read(request: &'a Request, now: Timestamp, window_s: u32) -> Result<Self, Error> {
        let field = |name: &'static str| {
            let text = request.head.headers.text(name);
            text.filter(|text| !text.is_empty())
                .ok_or(Error::MissingHeader(name))
        };
        let spelling = field("X-TC-Algorithm")?;
        let timestamp = field("X-TC-Timestamp")?;
        let nonce = field("X-TC-Nonce")?;
        let value = field("X-TC-Signature")?;
        let algorithm = match spelling {
            "hmacsha256" | "HmacSha256" => Algorithm::HmacSha256,
            "hmacsha1" | "HmacSha1" => Algorithm::HmacSha1,
            "rsa-sha256" => Algorithm::RsaSha256,
            _ => return Err(Error::Algorithm(spelling.to_owned())),
        };
        check_time(timestamp, now, window_s)?;
        Ok(Self {
            algorithm,
            spelling,
            timestamp,
            nonce,
            value,
        })
    }
}

fn check_time(timestamp: &str, now: Timestamp, window_s: u32) -> Result<(), Error> {
    let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let second: Option<i64> = timestamp.parse().ok().filter(|_| digits);
    let Some(second) = second else {
        return Err(Error::Timestamp(format!(
            "X-TC-Timestamp {timestamp:?} is not a number of Unix seconds"
        )));
    };
    let apart = now.as_second().saturating_sub(second);
    if window_s == 0 || apart.unsigned_abs() <= u64::from(window_s) {
        return Ok(());
    }
    let milliseconds = (second / 1_000).abs_diff(now.as_second()) <= u64::from(window_s);
    let slip = if milliseconds {
        ": it is in milliseconds"
    } else {
        ""
    };
    Err(Error::Timestamp(format!(
        "X-TC-Timestamp {second} is {apart} s behind the emulator's time; {window_s} s are allowed{slip}"
    )))
}

/// What proves a signature.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    /// A PSK or product secret: its text, not what it decodes to.
    Text(&'a str),
    /// The public key of a certificate.
    Public(&'a PublicKey),
}

/// The eight lines; the query line is always empty.
pub(super) fn string_to_sign(
    host: &str,
    path: &str,
    algorithm: &str,
    timestamp: &str,
    nonce: &str,
    body_hash: &str,
) -> String {
    format!("POST\n{host}\n{path}\n\n{algorithm}\n{timestamp}\n{nonce}\n{body_hash}")
}

/// The hosts that a caller may have signed: `Host` as it came and without its port, the
/// configured aliases, the regional gateways.
pub(super) fn hosts(request: &Request, aliases: &[String]) -> Vec<String> {
    let mut hosts = Vec::new();
    if let Some(host) = request.head.host() {
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            hosts.push(host.to_owned());
        }
        hosts.push(host.to_ascii_lowercase());
        if let Some((bare, _)) = host.rsplit_once(':') {
            hosts.push(bare.to_ascii_lowercase());
        }
    }
    hosts.extend(aliases.iter().map(|alias| alias.to_ascii_lowercase()));
    hosts.extend(GATEWAYS.map(ToOwned::to_owned));
    hosts
}

/// Whose key it is, and those that are taken by mistake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    /// What the key is called: never the key itself.
    pub(super) name: &'a str,
    /// The product secret beside a PSK and the other way round; empty where there is none.
    pub(super) other_secret: &'a str,
    /// The PSKs of the product's devices, by name.
    pub(super) others: &'a [(String, Secret)],
}

/// Verifies a gateway request. `canonical` is the path without any prefix of a proxy.
pub(super) fn verify(
    request: &Request,
    signature: &Signature<'_>,
    key: Key<'_>,
    canonical: &str,
    aliases: &[String],
    owner: Owner<'_>,
) -> Result<(), Error> {
    let hosts = hosts(request, aliases);
    let mut paths = vec![request.head.path()];
    if paths[0] != canonical {
        paths.push(canonical);
    }
    let lower = signature.spelling.to_ascii_lowercase();
    let mut spellings = vec![signature.spelling];
    if lower != signature.spelling {
        spellings.push(&lower);
    }
    let mut hashes = vec![hex::lower(Sha256::digest(&request.body))];
    if signature.algorithm == Algorithm::HmacSha1 {
        // The vendor's tools hash the body with SHA-1 here; its page says SHA-256.
        hashes.push(hex::lower(Sha1::digest(&request.body)));
    }
    for host in &hosts {
        for path in &paths {
            for spelling in &spellings {
                for hash in &hashes {
                    let text = string_to_sign(
                        host,
                        path,
                        spelling,
                        signature.timestamp,
                        signature.nonce,
                        hash,
                    );
                    if fits(signature, key, &text) {
                        return Ok(());
                    }
                }
            }
        }
    }
    let why = hints::explain(request, signature, key, owner, &hosts, canonical);
    Err(Error::Signature(Some(why)))
}

/// Whether this text was signed.
pub(super) fn fits(signature: &Signature<'_>, key: Key<'_>, text: &str) -> bool {
    match (signature.algorithm, key) {
        (Algorithm::RsaSha256, Key::Public(key)) => {
            let bytes = STANDARD.decode(signature.value);
            bytes.is_ok_and(|signed| key.verifies(text, &signed))
        }
        (Algorithm::RsaSha256, Key::Text(_)) | (_, Key::Public(_)) => false,
        (algorithm, Key::Text(key)) => {
            STANDARD.encode(digest(algorithm, key.as_bytes(), text.as_bytes())) == signature.value
        }
    }
}

/// The raw HMAC; SHA-1 for `hmacsha1`, else SHA-256.
pub(super) fn digest(algorithm: Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::HmacSha1 => hmac_sha1(key, text).to_vec(),
        Algorithm::HmacSha256 | Algorithm::RsaSha256 => hmac_sha256(key, text).to_vec(),
    }
}

pub(super) fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac::<Hmac<Sha256>>(key, text).into()
}

pub(super) fn hmac_sha1(key: &[u8], text: &[u8]) -> [u8; 20] {
    mac::<Hmac<Sha1>>(key, text).into()
}

fn mac<M: Mac + KeyInit + Update + FixedOutput>(
    key: &[u8],
    text: &[u8],
) -> hmac::digest::Output<M> {
    // HMAC takes a key of any length, so the error branch is never taken.
    <M as KeyInit>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes())
        .unwrap_or_default()
}

/// The older registration's signature: base64 of the hexadecimal text of the digest, which is
/// what the SDKs send; the page reads as base64 of the raw digest, which the cloud refuses.
pub(super) fn verify_legacy(text: &str, secret: &str, signature: &str) -> Result<(), Error> {
    let digest = hmac_sha1(secret.as_bytes(), text.as_bytes());
    let hexadecimal = hex::lower(digest);
    if STANDARD.encode(&hexadecimal) == signature {
        return Ok(());
    }
    let why = if STANDARD.encode(digest) == signature {
        "it is base64 of the raw digest; it must be base64 of its hexadecimal text".to_owned()
    } else if hexadecimal.eq_ignore_ascii_case(signature) {
        "it is the hexadecimal text of the digest without the base64 around it".to_owned()
    } else {
        hints::unknown("the ProductSecret", text)
    };
    Err(Error::Signature(Some(why)))
}
