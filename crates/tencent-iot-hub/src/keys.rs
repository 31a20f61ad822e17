//! Keys of devices: reading public keys and certificates, making new ones, and the encrypted
//! payload in which dynamic registration hands them out. New keys are made with the `rsa` crate:
//! `ring` makes none, and `Ids` must be able to make the same key again.

use aes::Aes128;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use mqttstack_base::ids::Ids;
use mqttstack_base::secret::Secret;
use mqttstack_kit::key::Key;
use mqttstack_kit::token::Algorithm;
use mqttstack_kit::x509;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::{CryptoRng, Error as RandError, RngCore};

/// An RSA public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey(Key);

impl PublicKey {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub(super) fn of_pem(pem: &str) -> Result<Self, String> {
        let key = Key::of_rsa_pem(pem);
        key.map(Self)
            .ok_or_else(|| "public_key is not an RSA public key in PEM".to_owned())
    }

    /// Reads the public key of an X.509 certificate in PEM.
    pub(super) fn of_certificate(pem: &str) -> Result<Self, String> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|error| format!("certificate is not PEM: {error}"))?;
        Self::of_certificate_der(&block.contents)
    }

    /// Reads the public key of an X.509 certificate in DER.
    pub(super) fn of_certificate_der(der: &[u8]) -> Result<Self, String> {
        let certificate =
            x509::read(der).map_err(|error| format!("certificate is not X.509: {error}"))?;
        let key = Key::of_rsa_spki(certificate.public_key().raw);
        key.map(Self)
            .ok_or_else(|| "certificate has no RSA key of 1024 to 8192 bits".to_owned())
    }

    /// Whether this key made an RSASSA-PKCS1-v1_5 signature with SHA-256.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        self.0
            .verifies(Algorithm::RS256, text.as_bytes(), signature)
    }
}

/// A new device certificate with its key.
#[derive(Debug)]
pub(super) struct Identity {
    /// The certificate in PEM.
    pub(super) certificate: String,
    /// The private key in PEM (PKCS#8, which the Java SDK asks for).
    pub(super) private_key: Secret,
    /// The public key of both.
    pub(super) public_key: PublicKey,
}

impl Identity {
    /// Makes a 2048-bit RSA key and a certificate for `{ProductId}{DeviceName}`. Takes up to
    /// seconds: to be called where blocking is allowed.
    pub(super) fn make(ids: &Ids, common_name: &str) -> Result<Self, String> {
        let key = RsaPrivateKey::new(&mut Seeded(ids), 2048).map_err(|error| error.to_string())?;
        let pem = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| error.to_string())?;
        let signer = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256)
            .map_err(|error| error.to_string())?;
        let mut params =
            CertificateParams::new(Vec::<String>::new()).map_err(|error| error.to_string())?;
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let certificate = params
            .self_signed(&signer)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            certificate: certificate.pem(),
            private_key: Secret::new(pem.as_str()),
            public_key: PublicKey::of_certificate_der(certificate.der())?,
        })
    }
}

/// The emulator's generator, as the RSA library wants one.
struct Seeded<'a>(&'a Ids);

impl CryptoRng for Seeded<'_> {}

impl RngCore for Seeded<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.0.bytes())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.0.bytes())
    }

    fn fill_bytes(&mut self, place: &mut [u8]) {
        for chunk in place.chunks_mut(32) {
            let bytes: [u8; 32] = self.0.bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, place: &mut [u8]) -> Result<(), RandError> {
        self.fill_bytes(place);
        Ok(())
    }
}

/// A new PSK: base64 of 16 bytes.
pub(super) fn new_psk(ids: &Ids) -> Secret {
    Secret::new(STANDARD.encode(ids.bytes::<16>()))
}

/// `N` characters out of `alphabet`, which has at most 256.
pub(super) fn pick<const N: usize>(ids: &Ids, alphabet: &[u8]) -> String {
    ids.bytes::<N>()
        .iter()
        .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
        .collect()
}

/// Encrypts what dynamic registration hands out: AES-128-CBC, the key the first 16 bytes of the
/// product secret's text, the initialisation vector sixteen ASCII zeros, padded with zero bytes
/// (documented; the page's sample comes out byte for byte). `None` for a shorter secret.
pub(super) fn seal(product_secret: &Secret, plain: &str) -> Option<String> {
    let key = product_secret.expose().as_bytes().get(..16)?;
    let cipher = cbc::Encryptor::<Aes128>::new_from_slices(key, &[b'0'; 16]).ok()?;
    let mut buffer = plain.as_bytes().to_vec();
    buffer.resize(plain.len().next_multiple_of(16), 0);
    let length = buffer.len();
    let sealed = cipher
        .encrypt_padded::<cbc::cipher::block_padding::NoPadding>(&mut buffer, length)
        .ok()?;
    Some(STANDARD.encode(sealed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_registration_sample_comes_out_byte_for_byte() {
        let text =
            include_str!("../../../fixtures/tencent-iot/recorded/tencent-iothub-register.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in vectors["v2_response_payload"].as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let secret = Secret::new(text("product_secret"));
            let plain = text("plaintext");
            assert_eq!(seal(&secret, plain).as_deref(), Some(text("Payload")));
            assert_eq!(case["Len"], plain.len());
        }
    }

    #[test]
    fn a_new_certificate_has_the_key_that_comes_with_it_and_a_seed_repeats_it() {
        let make = || Identity::make(&Ids::new(Some(1)), "ABCDE12345dev01").unwrap();
        let identity = make();
        let shown = PublicKey::of_certificate(&identity.certificate).unwrap();
        assert_eq!(shown, identity.public_key);
        assert_eq!(make().public_key, shown);
    }

    #[test]
    fn a_secret_too_short_for_a_key_seals_nothing() {
        assert_eq!(seal(&Secret::new("short"), "x"), None);
    }

    #[test]
    fn what_is_no_key_is_named_and_not_printed() {
        assert!(PublicKey::of_pem("x").unwrap_err().contains("public_key"));
        let error = PublicKey::of_certificate("x").unwrap_err();
        assert!(error.contains("certificate"));
        assert!(PublicKey::of_certificate_der(b"\x30\x00").is_err());
    }
}
