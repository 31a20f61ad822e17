//! Signed tokens (RFC 7515, 7519) with the one algorithm that matters here, RS256 (and PS256 for
//! client assertions). Written over the `rsa` crate that already signs elsewhere: the usual
//! token library brings three elliptic curves along and reads the machine's clock. What a valid
//! token means is decided in `auth.rs`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::sha2::{Digest, Sha256};
use rsa::signature::{SignatureEncoding, Signer, Verifier};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};

/// A token taken apart, not verified.
#[derive(Debug)]
pub(crate) struct Token {
    /// `alg` of the header.
    pub algorithm: String,
    /// `kid` of the header.
    pub key_id: Option<String>,
    /// `typ` of the header.
    pub kind: Option<String>,
    /// The claims.
    pub claims: serde_json::Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

impl Token {
    /// Takes a compact token apart. The error says which part is broken.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("it does not have three parts divided by dots");
        };
        let signed = format!("{header}.{claims}");
        let object = |part: &str| -> Option<serde_json::Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let header = object(header).ok_or("its header is not a base64url JSON object")?;
        let claims = object(claims).ok_or("its claims are not a base64url JSON object")?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "its signature is not base64url")?;
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            algorithm: text("alg").ok_or("its header has no alg")?,
            key_id: text("kid"),
            kind: text("typ"),
            claims,
            signed,
            signature,
        })
    }

    /// A claim that is a string.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// `aud`, which is a text or a list of them (RFC 7519 section 4.1.3).
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// A claim that is a time in whole seconds since 1970.
    pub(crate) fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a saturating cast is meant"
        )]
        value
            .as_i64()
            .or_else(|| value.as_f64().map(|at| at as i64))
    }

    /// Whether `key` made the signature.
    pub(crate) fn is_signed_by(&self, key: &RsaPublicKey) -> bool {
        let signed = self.signed.as_bytes();
        match self.algorithm.as_str() {
            "RS256" => rsa::pkcs1v15::Signature::try_from(self.signature.as_slice()).is_ok_and(
                |signature| {
                    rsa::pkcs1v15::VerifyingKey::<Sha256>::new(key.clone())
                        .verify(signed, &signature)
                        .is_ok()
                },
            ),
            "PS256" => {
                rsa::pss::Signature::try_from(self.signature.as_slice()).is_ok_and(|signature| {
                    rsa::pss::VerifyingKey::<Sha256>::new(key.clone())
                        .verify(signed, &signature)
                        .is_ok()
                })
            }
            _ => false,
        }
    }
}

/// A private key with its id.
pub(crate) struct SigningKey {
    key_id: String,
    public: RsaPublicKey,
    signer: rsa::pkcs1v15::SigningKey<Sha256>,
}

impl SigningKey {
    /// Reads a PEM private key, PKCS#8 or PKCS#1.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, &'static str> {
        RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|_| RsaPrivateKey::from_pkcs1_pem(pem).map_err(|_| ()))
            .map(Self::new)
            .map_err(|()| "it is not an RSA private key in PEM, PKCS#8 or PKCS#1")
    }

    /// Makes a key of 2048 bits from a seed. Takes its time: never call it on an async thread.
    pub(crate) fn generate(seed: [u8; 32]) -> Result<Self, rsa::Error> {
        RsaPrivateKey::new(&mut SeededRng::new(seed), 2048).map(Self::new)
    }

    fn new(key: RsaPrivateKey) -> Self {
        let public = key.to_public_key();
        Self {
            key_id: thumbprint(&public),
            public,
            signer: rsa::pkcs1v15::SigningKey::new(key),
        }
    }

    /// The id that tokens and the key set name it by.
    pub(crate) fn id(&self) -> &str {
        &self.key_id
    }

    /// The public half.
    pub(crate) fn public(&self) -> &RsaPublicKey {
        &self.public
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

/// Reads an RSA key of a JSON Web Key; `None` for other kinds.
pub(crate) fn key_from_jwk(jwk: &Value) -> Option<RsaPublicKey> {
    if jwk.get("kty")?.as_str()? != "RSA" {
        return None;
    }
    let part = |name: &str| {
        let text = jwk.get(name)?.as_str()?.trim_end_matches('=');
        Some(BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(text).ok()?))
    };
    RsaPublicKey::new(part("n")?, part("e")?).ok()
}

/// Reads a PEM public key (SPKI, PKCS#1) or a PEM certificate.
pub(crate) fn key_from_pem(pem: &str) -> Option<RsaPublicKey> {
    if pem.contains("BEGIN CERTIFICATE") {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        return RsaPublicKey::from_public_key_der(certificate.public_key().raw).ok();
    }
    RsaPublicKey::from_public_key_pem(pem)
        .ok()
        .or_else(|| RsaPublicKey::from_pkcs1_pem(pem).ok())
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
