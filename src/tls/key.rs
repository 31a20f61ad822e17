//! Private keys of the local authority and its certificates. Keys are made from the emulator's own
//! randomness and sign without any (RFC 6979), so that with a seed the certificates are the same byte
//! for byte in every run, which keys of rcgen cannot do.

use mqttstack_base::ids::Ids;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};

use super::Error;

/// A private key.
pub(super) enum Key {
    /// On the curve P-256.
    Own {
        secret: SigningKey,
        /// The public key, a point as it stands in a certificate.
        public: Vec<u8>,
    },
    /// A stored one of another kind.
    Other(KeyPair),
}

impl Key {
    /// A new key.
    pub(super) fn make(ids: &Ids) -> Self {
        loop {
            // Fails for zero and for numbers beyond the curve's order: one of 2^32.
            if let Ok(secret) = SigningKey::from_slice(&ids.bytes::<32>()) {
                return Self::own(secret);
            }
        }
    }

    fn own(secret: SigningKey) -> Self {
        let public = VerifyingKey::from(&secret).to_encoded_point(false);
        Self::Own {
            secret,
            public: public.as_bytes().to_vec(),
        }
    }

    /// A key from PEM (PKCS#8).
    pub(super) fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        match SigningKey::from_pkcs8_pem(pem) {
            Ok(secret) => Ok(Self::own(secret)),
            Err(_) => KeyPair::from_pem(pem).map(Self::Other),
        }
    }

    /// The key in PEM (PKCS#8).
    pub(super) fn to_pem(&self) -> Result<String, Error> {
        match self {
            Self::Own { secret, .. } => secret
                .to_pkcs8_pem(LineEnding::LF)
                .map(|pem| pem.to_string())
                .map_err(|error| Error::Issue(error.to_string())),
            Self::Other(pair) => Ok(pair.serialize_pem()),
        }
    }

    /// The key in DER (PKCS#8).
    pub(super) fn to_der(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Own { secret, .. } => secret
                .to_pkcs8_der()
                .map(|der| der.as_bytes().to_vec())
                .map_err(|error| Error::Issue(error.to_string())),
            Self::Other(pair) => Ok(pair.serialize_der()),
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Own { public, .. } => public,
            Self::Other(pair) => pair.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Own { .. } => &PKCS_ECDSA_P256_SHA256,
            Self::Other(pair) => pair.algorithm(),
        }
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::Own { secret, .. } => {
                let signature: Signature = secret.sign(message);
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Other(pair) => pair.sign(message),
        }
    }
}
