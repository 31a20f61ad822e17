//! Ids and randomness. One generator per emulator, seeded on request (`--seed`), so that a run
//! repeats exactly: the same requests in the same order get the same ids.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// A shared handle on the emulator's generator.
#[derive(Clone)]
pub struct Ids(Arc<Mutex<StdRng>>);

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

impl Ids {
    /// A generator seeded by the machine, or by `seed`.
    pub fn new(seed: Option<u64>) -> Self {
        let rng = seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        Self(Arc::new(Mutex::new(rng)))
    }

    /// A generator for one purpose: what else is drawn, and in which order, does not change what
    /// it gives for a seed.
    pub fn named(seed: Option<u64>, purpose: &str) -> Self {
        let Some(seed) = seed else {
            return Self::new(None);
        };
        let digest = Sha256::new()
            .chain_update(seed.to_le_bytes())
            .chain_update(purpose)
            .finalize();
        Self(Arc::new(Mutex::new(StdRng::from_seed(digest.into()))))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// A random (version 4) UUID.
    pub fn uuid(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// A UUID in upper case with hyphens: Aliyun's `RequestId`, and our request ids.
    pub fn request_id(&self) -> String {
        let mut buffer = uuid::Uuid::encode_buffer();
        self.uuid()
            .hyphenated()
            .encode_upper(&mut buffer)
            .to_owned()
    }

    /// `2 * N` upper-case hexadecimal digits: Aliyun's `MsgId` with `N` = 16.
    pub fn upper_hex<const N: usize>(&self) -> String {
        let mut text = String::with_capacity(2 * N);
        for byte in self.bytes::<N>() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02X}");
        }
        text
    }
}

/// An id without what spellings differ in: case, hyphens, and blanks, quotes and braces around it.
pub fn bare(id: &str) -> String {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '{' | '}');
    id.trim_matches(around)
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_id_are_one() {
        let plain = "4c6fdd797211421786b0ef42395a1109";
        for spelling in [
            "4C6FDD79-7211-4217-86B0-EF42395A1109",
            "4c6fdd79-7211-4217-86b0-ef42395a1109",
            " {4C6FDD797211421786B0EF42395A1109}",
            "\"4c6fdd79-7211-4217-86b0-ef42395a1109\"\n",
        ] {
            assert_eq!(bare(spelling), plain);
        }
        assert_ne!(bare("4c6fdd79"), plain);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_seed_gives_others() {
        let (a, b, c) = (Ids::new(Some(7)), Ids::new(Some(7)), Ids::new(Some(8)));
        let first = a.request_id();
        assert_eq!(first, b.request_id());
        assert_ne!(first, c.request_id());
        assert_ne!(first, a.request_id());
    }

    #[test]
    fn ids_have_the_vendors_form() {
        let ids = Ids::new(None);
        let msg_id = ids.upper_hex::<16>();
        assert_eq!(msg_id.len(), 32);
        assert!(
            msg_id
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
        );
        let request_id = ids.request_id();
        assert_eq!(request_id.len(), 36);
        assert_eq!(request_id, request_id.to_ascii_uppercase());
    }
}
