//! The key that signs the identity platform's tokens (RS256). It is made, and it signs, with the
//! `rsa` crate: `ring` makes no RSA keys, and `Ids` must be able to make the same key again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mqttstack_kit::key::Key;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::sha2::{Digest, Sha256};
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};

/// A private key with its id.
pub(crate) struct SigningKey {
    key_id: String,
    public: RsaPublicKey,
    verifier: Key,
    signer: rsa::pkcs1v15::SigningKey<Sha256>,
}

impl SigningKey {
    /// Reads a PEM private key, PKCS#8 or PKCS#1.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem).map_err(|_| ()))
            .map_err(|()| "it is not an RSA private key in PEM, PKCS#8 or PKCS#1")?;
        Self::new(key).ok_or("it does not have 1024 to 8192 bits")
    }

    /// Makes a key of 2048 bits from a seed. Takes its time: never call it on an async thread.
    pub(crate) fn generate(seed: [u8; 32]) -> Result<Self, String> {
        let key = RsaPrivateKey::new(&mut SeededRng::new(seed), 2048);
        let key = key.map_err(|error| error.to_string())?;
        Self::new(key).ok_or_else(|| "it cannot be verified with".to_owned())
    }

    fn new(key: RsaPrivateKey) -> Option<Self> {
        let public = key.to_public_key();
        Some(Self {
            key_id: thumbprint(&public),
            verifier: Key::of_rsa(&public.n().to_bytes_be(), &public.e().to_bytes_be())?,
            public,
            signer: rsa::pkcs1v15::SigningKey::new(key),
        })
    }

    /// The id that tokens and the key set name it by.
    pub(crate) fn id(&self) -> &str {
        &self.key_id
    }

    /// The public half, to verify with.
    pub(crate) fn public(&self) -> &Key {
        &self.verifier
    }

    /// A signed compact token.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "RS256", "x5t": self.key_id, "kid": self.key_id});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.signer.sign(signed.as_bytes()).to_vec();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public half as the vendor's key set lists it.
    pub(crate) fn to_jwk(&self, issuer: &str) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.key_id,
            "x5t": self.key_id,
            "n": number(self.public.n()),
            "e": number(self.public.e()),
            "issuer": issuer,
        })
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.key_id)
    }
}

fn number(value: &BigUint) -> String {
    URL_SAFE_NO_PAD.encode(value.to_bytes_be())
}

/// RFC 7638.
fn thumbprint(key: &RsaPublicKey) -> String {
    let members = format!(
        "{{\"e\":\"{}\",\"kty\":\"RSA\",\"n\":\"{}\"}}",
        number(key.e()),
        number(key.n())
    );
    URL_SAFE_NO_PAD.encode(Sha256::digest(members))
}

/// The generator of the emulator, spoken to in the older dialect that the `rsa` crate knows.
struct SeededRng(rand::rngs::StdRng);

impl SeededRng {
    fn new(seed: [u8; 32]) -> Self {
        Self(rand::SeedableRng::from_seed(seed))
    }
}

impl rsa::rand_core::RngCore for SeededRng {
    fn next_u32(&mut self) -> u32 {
        rand::Rng::next_u32(&mut self.0)
    }

    fn next_u64(&mut self) -> u64 {
        rand::Rng::next_u64(&mut self.0)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut self.0, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for SeededRng {}
