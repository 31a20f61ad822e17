//! The tests' own signers: they share no line with the program, and reproduce signatures that were
//! recorded from the vendors' SDKs (`recorded_signatures`).

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use libtest_mimic::Failed;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sm3::Sm3;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Percent-encoding as RFC 3986 has it.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Encoding as HTML forms have it.
pub(crate) fn form_encoded(text: &str) -> String {
    encoded(text).replace("%20", "+")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let pairs = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    pairs.map(digit).collect()
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sm3,
}

impl Hash {
    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sm3 => Sm3::digest(bytes).to_vec(),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        fn made<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha1 => made::<Hmac<Sha1>>(key, text),
            Self::Sha256 => made::<Hmac<Sha256>>(key, text),
            Self::Sm3 => made::<Hmac<Sm3>>(key, text),
        }
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256, under a key in PKCS #8.
pub(crate) fn rsa_sha256(pem: &str, text: &str) -> Vec<u8> {
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(pem).unwrap();
    rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(key)
        .sign(text.as_bytes())
        .to_vec()
}

/// A token signed with RS256.
pub(crate) fn jwt(pem: &str, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = base64url(&rsa_sha256(pem, &signed));
    format!("{signed}.{signature}")
}

/// Tencent's TC3-HMAC-SHA256: the `Authorization` of a cloud API call.
pub(crate) struct Tc3<'a> {
    pub(crate) id: &'a str,
    pub(crate) key: &'a str,
    pub(crate) host: &'a str,
    pub(crate) service: &'a str,
    pub(crate) method: &'a str,
    pub(crate) query: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) timestamp: i64,
}

impl Tc3<'_> {
    pub(crate) fn authorization(&self, body: &str) -> String {
        let at = jiff::Timestamp::from_second(self.timestamp).unwrap();
        let date = at.strftime("%Y-%m-%d").to_string();
        let canonical = format!(
            "{}\n/\n{}\ncontent-type:{}\nhost:{}\n\ncontent-type;host\n{}",
            self.method,
            self.query,
            self.content_type,
            self.host,
            hex(&Hash::Sha256.of(body.as_bytes()))
        );
        let scope = format!("{date}/{}/tc3_request", self.service);
        let text = format!(
            "TC3-HMAC-SHA256\n{}\n{scope}\n{}",
            self.timestamp,
            hex(&Hash::Sha256.of(canonical.as_bytes()))
        );
        let first = format!("TC3{}", self.key).into_bytes();
        let key = [&date, self.service, "tc3_request"]
            .iter()
            .fold(first, |key, part| Hash::Sha256.hmac(&key, part.as_bytes()));
        let signature = hex(&Hash::Sha256.hmac(&key, text.as_bytes()));
        format!(
            "TC3-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=content-type;host, \
             Signature={signature}",
            self.id
        )
    }
}

/// The recorded signatures, made again.
pub(crate) fn recorded_signatures() -> Result<(), Failed> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cloud: Value = serde_json::from_str(&crate::fixture("tencent-tc3/cloudapi.json"))?;
    let mut count = 0;
    for case in cloud["cases"].as_array().into_iter().flatten() {
        let recorded = text(&case["headers"]["Authorization"]);
        let signer = Tc3 {
            id: &text(&cloud["secret_id"]),
            key: &text(&cloud["secret_key"]),
            host: &text(&case["headers"]["Host"]),
            service: recorded.split('/').nth(2).unwrap_or_default(),
            method: "POST",
            query: "",
            content_type: &text(&case["headers"]["Content-Type"]),
            timestamp: text(&case["headers"]["X-TC-Timestamp"]).parse()?,
        };
        let made = signer.authorization(&text(&case["body"]));
        if recorded.contains("SignedHeaders=content-type;host,") {
            count += 1;
            if made != recorded {
                return Err(format!("expected {recorded}, got {made}").into());
            }
        }
    }
    let devices = "tencent-iot/recorded/tencent-iothub-publish-hmac.json";
    let devices: Value = serde_json::from_str(&crate::fixture(devices))?;
    for case in devices["cases"].as_array().into_iter().flatten() {
        let hash = if text(&case["x_tc_algorithm"]) == "hmacsha1" {
            Hash::Sha1
        } else {
            Hash::Sha256
        };
        let key = text(case.get("key").unwrap_or(&devices["psk"]));
        let signed = text(&case["string_to_sign"]);
        let made = base64(&hash.hmac(key.as_bytes(), signed.as_bytes()));
        let recorded = text(&case["x_tc_signature"]);
        count += 1;
        if made != recorded {
            return Err(format!("expected {recorded}, got {made}").into());
        }
    }
    if count < 13 {
        return Err(format!("only {count} signatures were recorded").into());
    }
    Ok(())
}
