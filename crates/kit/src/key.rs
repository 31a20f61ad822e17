//! Keys that signatures are verified with: reading them, and verifying.
//!
//! `jsonwebtoken` reads JSON Web Keys and PEM, `x509-parser` certificates and DER, `ring` verifies.
//! `jsonwebtoken` would verify by itself too, but only with a crypto provider that is set once for
//! the whole process.
//!
//! `ring` takes RSA keys of 1024 to 8192 bits for RS256 and RS512, and of 2048 bits or more for the
//! other RSA algorithms. Shorter keys are refused when they are read.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaParameters,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::Value;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::x509;

/// The shortest RSA modulus in bytes: 1024 bits.
const SHORTEST: usize = 128;
/// The longest: 8192 bits.
const LONGEST: usize = 1024;

/// A shared secret or a public key. A clone is the same key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Arc<Material>);

#[derive(PartialEq, Eq)]
enum Material {
    Secret(Vec<u8>),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point of P-256 or P-384.
    Point(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &*self.0 {
            Material::Secret(_) => "Key(secret)",
            Material::Rsa { .. } => "Key(RSA)",
            Material::Point(_) => "Key(EC)",
            Material::Ed25519(_) => "Key(Ed25519)",
        })
    }
}

impl Key {
    /// A shared secret.
    pub fn of_secret(secret: &[u8]) -> Self {
        Self(Arc::new(Material::Secret(secret.to_vec())))
    }

    /// An RSA key of its modulus and exponent, big-endian.
    pub fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let n = without_zeros(modulus);
        let e = without_zeros(exponent);
        if !(SHORTEST..=LONGEST).contains(&n.len()) || e.is_empty() {
            return None;
        }
        let (n, e) = (n.to_vec(), e.to_vec());
        Some(Self(Arc::new(Material::Rsa { n, e })))
    }

    /// An RSA key in DER, SPKI or PKCS#1.
    pub fn of_rsa_der(der: &[u8]) -> Option<Self> {
        Self::of_rsa_spki(der).or_else(|| Self::of_pkcs1(der))
    }

    /// An RSA key in DER, SPKI, such as the subject's key of a certificate.
    pub fn of_rsa_spki(der: &[u8]) -> Option<Self> {
        let (_, spki) = SubjectPublicKeyInfo::from_der(der).ok()?;
        match spki.parsed().ok()? {
            PublicKey::RSA(key) => Self::of_rsa(key.modulus, key.exponent),
            _ => None,
        }
    }

    fn of_pkcs1(der: &[u8]) -> Option<Self> {
        let (rest, key) = RSAPublicKey::from_der(der).ok()?;
        rest.is_empty().then_some(())?;
        Self::of_rsa(key.modulus, key.exponent)
    }

    /// The RSA key of a PEM text, SPKI or PKCS#1; the first block counts.
    pub fn of_rsa_pem(pem: &str) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::of_rsa_spki(&block.contents),
            "RSA PUBLIC KEY" => Self::of_pkcs1(&block.contents),
            _ => None,
        }
    }

    /// The RSA key of a certificate's subject; the first block of the PEM text counts.
    pub fn of_rsa_certificate(pem: &str) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = x509::read(&block.contents).ok()?;
        Self::of_rsa_spki(certificate.public_key().raw)
    }

    /// The key of a PEM text: RSA alone or in a certificate, or SPKI of P-256, P-384 or Ed25519.
    pub fn of_pem(pem: &str) -> Option<Self> {
        let rsa = Self::of_rsa_pem(pem).or_else(|| Self::of_rsa_certificate(pem));
        rsa.or_else(|| {
            let bytes = pem.as_bytes();
            let key = DecodingKey::from_ec_pem(bytes).or_else(|_| DecodingKey::from_ed_pem(bytes));
            Self::of_decoding(&key.ok()?)
        })
    }

    /// A JSON Web Key, with or without padding of its numbers. `None` for a kind that nobody here
    /// knows.
    pub fn of_jwk(jwk: &Value) -> Option<Self> {
        let mut jwk = jwk.clone();
        for name in ["n", "e", "x", "y", "k"] {
            if let Some(Value::String(number)) = jwk.get_mut(name) {
                number.truncate(number.trim_end_matches('=').len());
            }
        }
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        Self::of_decoding(&DecodingKey::from_jwk(&jwk).ok()?)
    }

    fn of_decoding(key: &DecodingKey) -> Option<Self> {
        let bytes = match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => return Self::of_rsa(n, e),
            DecodingKeyKind::SecretOrDer(bytes) => bytes,
        };
        let material = match key.family() {
            AlgorithmFamily::Hmac => Material::Secret(bytes.clone()),
            AlgorithmFamily::Rsa => return Self::of_rsa_der(bytes),
            AlgorithmFamily::Ec => Material::Point(bytes.clone()),
            AlgorithmFamily::Ed => Material::Ed25519(bytes.clone()),
        };
        Some(Self(Arc::new(material)))
    }

    /// Which algorithms the key is for.
    pub fn family(&self) -> AlgorithmFamily {
        match &*self.0 {
            Material::Secret(_) => AlgorithmFamily::Hmac,
            Material::Rsa { .. } => AlgorithmFamily::Rsa,
            Material::Point(_) => AlgorithmFamily::Ec,
            Material::Ed25519(_) => AlgorithmFamily::Ed,
        }
    }

    /// Whether this key made the signature with this algorithm. A key of another family made none.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &*self.0 {
            Material::Secret(secret) => hash(algorithm).is_some_and(|hash| {
                hmac::verify(&hmac::Key::new(hash, secret), message, signature).is_ok()
            }),
            Material::Rsa { n, e } => rsa(algorithm).is_some_and(|rules| {
                PublicKeyComponents { n, e }
                    .verify(rules, message, signature)
                    .is_ok()
            }),
            Material::Point(point) => {
                curve(algorithm).is_some_and(|curve| holds(curve, point, message, signature))
            }
            Material::Ed25519(key) => {
                algorithm == Algorithm::EdDSA && holds(&ED25519, key, message, signature)
            }
        }
    }
}

fn holds(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .is_ok()
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

fn curve(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Some(&ECDSA_P384_SHA384_FIXED),
        _ => None,
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_none() {
        assert_eq!(Key::of_rsa_der(b"\x30\x00"), None);
        assert_eq!(Key::of_pem("x"), None);
        assert_eq!(Key::of_jwk(&serde_json::json!({"kty": "XYZ"})), None);
    }

    #[test]
    fn an_rsa_key_has_1024_to_8192_bits() {
        let key = |bytes: usize| Key::of_rsa(&[&[0], &*vec![0x81; bytes]].concat(), &[1, 0, 1]);
        assert_eq!(key(127), None);
        assert!(key(128).is_some() && key(1024).is_some());
        assert_eq!(key(1025), None);
    }

    #[test]
    fn a_secret_verifies_its_own_hash_alone() {
        let key = Key::of_secret(b"secret");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), b"text");
        assert!(key.verifies(Algorithm::HS256, b"text", tag.as_ref()));
        assert!(!key.verifies(Algorithm::HS384, b"text", tag.as_ref()));
        assert!(!key.verifies(Algorithm::RS256, b"text", tag.as_ref()));
        assert!(!key.verifies(Algorithm::HS256, b"Text", tag.as_ref()));
        assert!(!format!("{key:?}").contains("115"));
    }

    #[test]
    fn padding_of_a_jwk_counts_for_nothing() {
        let bare = Key::of_jwk(&serde_json::json!({"kty": "oct", "k": "c2VjcmV0cw"}));
        let padded = Key::of_jwk(&serde_json::json!({"kty": "oct", "k": "c2VjcmV0cw=="}));
        assert_eq!(bare, Some(Key::of_secret(b"secrets")));
        assert_eq!(padded, bare);
    }
}
