//! User name and password of a device's CONNECT: reading the one, verifying the other. The PSK is
//! base64-decoded here and the digest hexadecimal, both unlike over HTTP (`auth.rs`).
//!
//! Sources: MQTT access page 634/32546, the device SDKs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1v15;
use rsa::signature::Verifier;

use crate::broker::dialect::{ConnectCode, ConnectRefusal};
use crate::vendor::tencent_iot::auth::{hex, hmac_sha1, hmac_sha256};
use crate::vendor::tencent_iot::hints::unhex;
use crate::vendor::tencent_iot::keys::PublicKey;
use crate::vendor::tencent_iot::store::Device;

/// `{ProductId}{DeviceName};{sdkappid};{connid};{expiry}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserName<'a> {
    /// Product id and device name.
    pub(super) client_id: &'a str,
    /// Until when the user name is good, in Unix seconds.
    pub(super) expiry: i64,
}

impl<'a> UserName<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let (Some(client_id), Some(_app), Some(_connection), Some(expiry), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return None;
        };
        Some(Self {
            client_id,
            expiry: expiry.parse().ok()?,
        })
    }
}

/// Refused as the wrong user name or password.
pub(super) fn bad(reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code: ConnectCode::BadUserNameOrPassword,
        reason: reason.into(),
    }
}

/// Verifies `{hexadecimal digest};{algorithm}` over the user name. The PSK is base64-decoded
/// here, unlike over HTTP.
pub(super) fn check_password(
    password: &str,
    user_name: &str,
    device: &Device,
) -> Result<(), ConnectRefusal> {
    let parts = password.split_once(';');
    if let Some((digest, "rsa-sha256")) = parts {
        return check_rsa(digest, user_name, device.public_key.as_ref());
    }
    let psk = device.psk.as_ref().ok_or_else(|| {
        bad("the device proves itself by certificate, and the connection brought none")
    })?;
    let (digest, algorithm) =
        parts.ok_or_else(|| bad("the password is not {digest};{algorithm}"))?;
    let key = STANDARD
        .decode(psk.expose())
        .map_err(|_| bad("the device's PSK is not base64, so no password can be made of it"))?;
    let hash = |algorithm: &str, key: &[u8]| match algorithm {
        "hmacsha256" => Some(hmac_sha256(key, user_name.as_bytes()).to_vec()),
        "hmacsha1" => Some(hmac_sha1(key, user_name.as_bytes()).to_vec()),
        _ => None,
    };
    let expected = hash(algorithm, &key).ok_or_else(|| unknown_algorithm(algorithm))?;
    if hex(&expected).eq_ignore_ascii_case(digest) {
        return Ok(());
    }
    let text_key = hash(algorithm, psk.expose().as_bytes()).unwrap_or_default();
    let other = if algorithm == "hmacsha1" {
        "hmacsha256"
    } else {
        "hmacsha1"
    };
    let other_hash = hash(other, &key).unwrap_or_default();
    Err(bad(if STANDARD.encode(&expected) == digest {
        "the password's digest is base64; over MQTT it is hexadecimal".to_owned()
    } else if hex(&text_key).eq_ignore_ascii_case(digest) || STANDARD.encode(&text_key) == digest {
        "the PSK was used as text, as HTTP wants it; over MQTT it is base64-decoded first"
            .to_owned()
    } else if hex(&other_hash).eq_ignore_ascii_case(digest) {
        format!("the password's digest is of {other}, its suffix says {algorithm}")
    } else {
        "the password does not verify".to_owned()
    }))
}

fn unknown_algorithm(algorithm: &str) -> ConnectRefusal {
    let known = ["hmacsha256", "hmacsha1", "rsa-sha256"];
    let meant = known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(algorithm));
    bad(match meant {
        Some(meant) => format!("the algorithm {algorithm:?} is to be spelled {meant:?}"),
        None => format!(
            "the algorithm {algorithm:?} is none of {}",
            known.join(", ")
        ),
    })
}

fn check_rsa(digest: &str, user_name: &str, key: Option<&PublicKey>) -> Result<(), ConnectRefusal> {
    let key = key.ok_or_else(|| bad("rsa-sha256 needs a device with a certificate"))?;
    let verified = unhex(digest)
        .and_then(|bytes| pkcs1v15::Signature::try_from(bytes.as_slice()).ok())
        .is_some_and(|signature| {
            pkcs1v15::VerifyingKey::<rsa::sha2::Sha256>::new(key.rsa.clone())
                .verify(user_name.as_bytes(), &signature)
                .is_ok()
        });
    if verified {
        return Ok(());
    }
    Err(bad("the rsa-sha256 password does not verify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_expiry_is_a_number() {
        for (text, expiry) in [
            ("Pd;12010126;X1Y2Z;1700003600", 1_700_003_600),
            ("Pd;21010406;a1B2c;1700000000000", 1_700_000_000_000),
            ("Pd;12010126;a1B2c;2147483647", 2_147_483_647),
            ("Pd;21010406;a;9223372036854775807", i64::MAX),
        ] {
            let parsed = UserName::parse(text).unwrap();
            assert_eq!((parsed.client_id, parsed.expiry), ("Pd", expiry));
        }
        for text in ["", "Pd", "Pd;1;2", "Pd;1;2;soon", "Pd;1;2;3;4", "Pd;1;2;"] {
            assert_eq!(UserName::parse(text), None, "{text}");
        }
    }
}
