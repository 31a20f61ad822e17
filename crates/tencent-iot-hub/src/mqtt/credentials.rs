//! User name and password of a device's CONNECT: reading the one, verifying the other. The PSK is
//! base64-decoded here and the digest hexadecimal, both unlike over HTTP (`auth.rs`).
//!
//! Sources: MQTT access page 634/32546, the device SDKs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::secret::Secret;
use mqttstack_broker::dialect::{ConnectCode, ConnectRefusal};
use mqttstack_kit::hex;

use crate::auth::{hmac_sha1, hmac_sha256};
use crate::keys::PublicKey;
use crate::store::Device;

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

/// Keys that are taken by mistake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others<'a> {
    pub(super) product_secret: &'a str,
    /// The PSKs of the product's devices, by name.
    pub(super) psks: &'a [(String, Secret)],
}

/// What a password ends with.
pub(super) const ALGORITHMS: [&str; 3] = ["hmacsha256", "hmacsha1", "rsa-sha256"];

/// Verifies `{hexadecimal digest};{algorithm}` over the user name. The PSK is base64-decoded
/// here, unlike over HTTP.
pub(super) fn check_password(
    password: &str,
    user_name: &str,
    device: &Device,
    others: Others<'_>,
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
    let expected = hash(algorithm, &key, user_name).ok_or_else(|| unknown_algorithm(algorithm))?;
    if hex::lower(&expected).eq_ignore_ascii_case(digest) {
        return Ok(());
    }
    let sent = Sent {
        digest,
        algorithm,
        user_name,
    };
    Err(bad(sent.mistake(psk, &key, others).unwrap_or_else(|| {
        format!(
            "the password does not verify: it is not the one under the PSK of the device {:?}, nor \
             that of any known mistake: {algorithm} of {user_name:?}, key the base64-decoded PSK, \
             in hexadecimal",
            device.name
        )
    })))
}

fn hash(algorithm: &str, key: &[u8], text: &str) -> Option<Vec<u8>> {
    match algorithm {
        "hmacsha256" => Some(hmac_sha256(key, text.as_bytes()).to_vec()),
        "hmacsha1" => Some(hmac_sha1(key, text.as_bytes()).to_vec()),
        _ => None,
    }
}

/// A password that does not verify.
struct Sent<'a> {
    digest: &'a str,
    algorithm: &'a str,
    user_name: &'a str,
}

impl Sent<'_> {
    fn is(&self, algorithm: &str, key: &[u8], text: &str) -> bool {
        hash(algorithm, key, text).is_some_and(|hash| {
            hex::lower(&hash).eq_ignore_ascii_case(self.digest)
                || STANDARD.encode(&hash) == self.digest
        })
    }

    /// The known mistake that leads to it.
    fn mistake(&self, psk: &Secret, key: &[u8], others: Others<'_>) -> Option<String> {
        let under = |key: &[u8]| self.is(self.algorithm, key, self.user_name);
        if under(key) {
            return Some("the password's digest is base64; over MQTT it is hexadecimal".to_owned());
        }
        if under(psk.expose().as_bytes()) {
            return Some(
                "the PSK was used as text, as HTTP wants it; over MQTT it is base64-decoded first"
                    .to_owned(),
            );
        }
        let mut hashes = ["hmacsha256", "hmacsha1"].into_iter();
        if let Some(other) = hashes.find(|other| self.is(other, key, self.user_name)) {
            let algorithm = self.algorithm;
            return Some(format!(
                "the password's digest is of {other}, its suffix says {algorithm}"
            ));
        }
        let client_id = self.user_name.split(';').next().unwrap_or_default();
        if self.is(self.algorithm, key, client_id) {
            return Some("the client id was signed; it must be the whole user name".to_owned());
        }
        if !others.product_secret.is_empty() && under(others.product_secret.as_bytes()) {
            return Some("the product secret was used; it must be the device's PSK".to_owned());
        }
        let of_another = others.psks.iter().find(|(_, other)| {
            let decoded = STANDARD.decode(other.expose());
            other != psk && decoded.is_ok_and(|key| under(&key))
        });
        of_another.map(|(name, _)| format!("the PSK of the device {name:?} was used"))
    }
}

fn unknown_algorithm(algorithm: &str) -> ConnectRefusal {
    let known = ALGORITHMS;
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
    let verified = hex::bytes(digest).is_some_and(|signature| key.verifies(user_name, &signature));
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
