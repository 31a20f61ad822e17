//! Compact signed tokens (JWS, RFC 7515; JWT, RFC 7519): taking them apart, verifying their
//! signature, and remembering which were verified. What a claim means, and whether its times are
//! right, each vendor says by itself.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
pub use jsonwebtoken::{Algorithm, AlgorithmFamily};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::key::Key;

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not three parts.
    #[error("it does not have three parts divided by dots")]
    Parts,
    /// The header.
    #[error("its header is not a base64url JSON object")]
    Header,
    /// The claims.
    #[error("its claims are not a base64url JSON object")]
    Claims,
    /// The signature.
    #[error("its signature is not base64url")]
    Signature,
}

/// A token taken apart.
#[derive(Debug)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    text: String,
    /// How much of the text is signed.
    signed: usize,
    signature: Vec<u8>,
    /// The algorithm and the key that made the signature, once that was verified.
    proof: OnceLock<(Algorithm, Key)>,
}

impl Token {
    /// Takes a compact token apart; verifies nothing.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts);
        };
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        let object = |part| serde_json::from_slice(&decode(part)?).ok();
        Ok(Self {
            header: object(header).ok_or(Malformed::Header)?,
            claims: object(claims).ok_or(Malformed::Claims)?,
            signed: header.len() + 1 + claims.len(),
            signature: decode(signature).ok_or(Malformed::Signature)?,
            text: text.to_owned(),
            proof: OnceLock::new(),
        })
    }

    /// A member of the header that is a string: `alg`, `kid`, `typ`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    /// The claims.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// A claim that is a string.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// A claim that is a time, in seconds since 1970; a fraction is dropped.
    pub fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.claims.get(claim)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a saturating cast is meant"
        )]
        value
            .as_i64()
            .or_else(|| value.as_f64().map(|at| at as i64))
    }

    /// `aud`, which is a text or a list of them (RFC 7519 section 4.1.3).
    pub fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether `key` made the signature with this algorithm. What `alg` of the header says is the
    /// vendor's to compare.
    pub fn is_signed_by(&self, algorithm: Algorithm, key: &Key) -> bool {
        let signed = &self.text.as_bytes()[..self.signed];
        key.verifies(algorithm, signed, &self.signature)
    }

    /// Whether the token can still be good: it says when it expires, and that is not yet over.
    fn is_current(&self, now: Timestamp) -> bool {
        self.seconds("exp").is_some_and(|exp| now.as_second() < exp)
    }
}

/// How many tokens are remembered.
const REMEMBERED: usize = 512;
/// How long a remembered token is at most, in bytes: with [`REMEMBERED`] some 4 MiB of text.
const LONGEST: usize = 8 << 10;

/// Verifies tokens, and remembers those whose signature it verified, so that a caller that sends
/// the same token with every request costs one verification.
///
/// What is remembered is that one key made one signature, which stays true. A token is forgotten
/// when it is presented at or after its expiry, whichever way the clock got there; when it is asked
/// about another key, because its issuer changed it; and by [`Verifier::clear`]. Who the token is
/// for and whether its times fit the clock is not remembered: the vendor compares that each time.
#[derive(Debug, Default)]
pub struct Verifier {
    known: Mutex<HashMap<String, Arc<Token>>>,
}

impl Verifier {
    /// The token of this text: as it is remembered, else taken apart and not verified.
    pub fn read(&self, text: &str, now: Timestamp) -> Result<Arc<Token>, Malformed> {
        let mut known = self.known.lock();
        if let Some(token) = known.get(text) {
            if token.is_current(now) {
                return Ok(token.clone());
            }
            known.remove(text);
        }
        drop(known);
        Token::parse(text).map(Arc::new)
    }

    /// Whether `key` made the signature of this token with this algorithm.
    pub fn is_signed_by(
        &self,
        token: &Arc<Token>,
        algorithm: Algorithm,
        key: &Key,
        now: Timestamp,
    ) -> bool {
        match token.proof.get() {
            Some((of, by)) if *of == algorithm && by == key => return true,
            Some(_) => self.forget(token),
            None => {}
        }
        let signed = token.is_signed_by(algorithm, key);
        if signed && token.proof.set((algorithm, key.clone())).is_ok() {
            self.remember(token, now);
        }
        signed
    }

    fn remember(&self, token: &Arc<Token>, now: Timestamp) {
        if token.text.len() > LONGEST || !token.is_current(now) {
            return;
        }
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.retain(|_, token| token.is_current(now));
        }
        if known.len() >= REMEMBERED {
            // Any of them: it costs its owner one verification.
            let one = known.keys().next().cloned();
            one.and_then(|text| known.remove(&text));
        }
        known.insert(token.text.clone(), token.clone());
    }

    fn forget(&self, token: &Token) {
        self.known.lock().remove(&token.text);
    }

    /// Forgets every token: they are revoked, or everything goes back to its beginning.
    pub fn clear(&self) {
        self.known.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use ring::hmac;
    use serde_json::json;

    use super::*;

    fn signed(claims: &Value, secret: &str) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    struct Bench {
        verifier: Verifier,
        key: Key,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                verifier: Verifier::default(),
                key: Key::of_secret(b"secret"),
            }
        }

        /// Presents a token: whether the signature holds.
        fn present(&self, text: &str, key: &Key, now: i64) -> bool {
            let token = self.verifier.read(text, at(now)).unwrap();
            self.verifier
                .is_signed_by(&token, Algorithm::HS256, key, at(now))
        }

        fn remembers(&self, text: &str) -> bool {
            self.verifier.known.lock().contains_key(text)
        }
    }

    #[test]
    fn a_verified_token_is_remembered_as_it_was_taken_apart() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        let first = bench.verifier.read(&text, at(50)).unwrap();
        let second = bench.verifier.read(&text, at(99)).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert!(bench.present(&text, &bench.key, 99));
    }

    #[test]
    fn a_token_with_a_wrong_signature_is_not_remembered() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "other");
        assert!(!bench.present(&text, &bench.key, 0));
        assert!(!bench.remembers(&text));
        let right = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&right, &bench.key, 0));
        let (signed, _) = right.rsplit_once('.').unwrap();
        assert!(!bench.present(&format!("{signed}.AAAA"), &bench.key, 0));
    }

    #[test]
    fn a_token_is_forgotten_when_it_expires() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 99));
        assert!(bench.remembers(&text));
        bench.verifier.read(&text, at(100)).unwrap();
        assert!(!bench.remembers(&text));
    }

    #[test]
    fn a_clock_that_jumps_past_the_expiry_and_back_verifies_anew() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        let before = bench.verifier.read(&text, at(0)).unwrap();
        bench.present(&text, &bench.key, 1_000_000);
        assert!(!bench.remembers(&text));
        assert!(bench.present(&text, &bench.key, 0));
        let after = bench.verifier.read(&text, at(0)).unwrap();
        assert!(!Arc::ptr_eq(&before, &after));
    }

    #[test]
    fn another_key_of_the_issuer_ends_the_memory() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        assert!(!bench.present(&text, &Key::of_secret(b"new"), 0));
        assert!(!bench.remembers(&text));
        assert!(bench.present(&text, &Key::of_secret(b"secret"), 0));
    }

    #[test]
    fn another_algorithm_is_verified_for_itself() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        let token = bench.verifier.read(&text, at(0)).unwrap();
        assert!(
            !bench
                .verifier
                .is_signed_by(&token, Algorithm::HS384, &bench.key, at(0))
        );
    }

    #[test]
    fn revoked_tokens_are_forgotten() {
        let bench = Bench::new();
        let text = signed(&json!({"exp": 100}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        bench.verifier.clear();
        assert!(!bench.remembers(&text));
    }

    #[test]
    fn a_token_without_an_expiry_is_not_remembered() {
        let bench = Bench::new();
        let text = signed(&json!({}), "secret");
        assert!(bench.present(&text, &bench.key, 0));
        assert!(!bench.remembers(&text));
    }

    #[test]
    fn the_memory_is_bounded_in_number_and_length() {
        let bench = Bench::new();
        for number in 0..2 * REMEMBERED {
            let exp = if number % 2 == 0 { 10 } else { 100 };
            let text = signed(&json!({"exp": exp, "jti": number}), "secret");
            assert!(bench.present(&text, &bench.key, i64::from(number > REMEMBERED) * 20));
            assert!(bench.verifier.known.lock().len() <= REMEMBERED);
        }
        let long = signed(&json!({"exp": 100, "x": "x".repeat(LONGEST)}), "secret");
        assert!(bench.present(&long, &bench.key, 20));
        assert!(!bench.remembers(&long));
    }

    #[test]
    fn a_broken_token_says_which_part_is_broken() {
        let header = "e30";
        for (text, why) in [
            ("", Malformed::Parts),
            ("a.b.c.d", Malformed::Parts),
            ("a.e30.", Malformed::Header),
            ("IiI.e30.", Malformed::Header),
            (&*format!("{header}.e30=."), Malformed::Claims),
            (&*format!("{header}.e30.%"), Malformed::Signature),
        ] {
            assert_eq!(Token::parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn claims_are_read_by_their_kind() {
        let text = signed(
            &json!({"sub": "me", "exp": 12.9, "nbf": -1, "aud": ["a", 1, "b"]}),
            "secret",
        );
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.header("alg"), Some("HS256"));
        assert_eq!(token.text("sub"), Some("me"));
        assert_eq!(token.seconds("exp"), Some(12));
        assert_eq!(token.seconds("nbf"), Some(-1));
        assert_eq!(token.seconds("sub"), None);
        assert_eq!(token.audiences(), ["a", "b"]);
    }
}
