//! Key sets (RFC 7517): reading one, and the sets that addresses outside answer with, kept until
//! they are to be refreshed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::key::Key;
use crate::outbound::Outbound;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many keys of one set are known.
const KEYS: usize = 100;
/// How many sets are kept. Each is at most [`KEYS`] keys.
const SETS: usize = 100;
/// How often a set is fetched within a span of real time: whoever sends tokens with key ids that
/// the set lacks must not make the emulator ask the issuer, and wait for it, each time.
const FETCHES: u32 = 10;
const SPAN: Duration = Duration::from_secs(10);

/// The keys of one issuer by their ids.
#[derive(Debug)]
pub struct KeySet(Vec<(Option<String>, Key)>);

impl KeySet {
    /// Reads a set; a key of a kind that nobody here knows is passed over.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let keys = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or("it has no list \"keys\"")?;
        let known = keys.iter().filter_map(|jwk| {
            let id = jwk.get("kid").and_then(Value::as_str);
            Some((id.map(str::to_owned), Key::of_jwk(jwk)?))
        });
        Ok(Self(known.take(KEYS).collect()))
    }

    /// The keys of this id, every key where a token names none.
    pub fn keys<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0
            .iter()
            .filter(move |(known, _)| id.is_none() || known.as_deref() == id)
            .map(|(_, key)| key)
    }

    fn has(&self, id: Option<&str>) -> bool {
        id.is_none() || self.keys(id).next().is_some()
    }
}

/// One fetch of a set; whoever needs it while it is under way waits for the same one.
#[derive(Debug)]
struct Fetch {
    set: OnceCell<Result<Arc<KeySet>, String>>,
    /// The emulator's time at its beginning.
    at: Timestamp,
    /// When the span began that it is in, and how many fetches came before it in that.
    since: Instant,
    before: u32,
}

/// The sets that were fetched.
#[derive(Debug, Default)]
pub struct KeySets {
    fetched: Mutex<HashMap<String, Arc<Fetch>>>,
}

impl KeySets {
    /// The set at `url`. It is fetched when it is older than `refresh_s` on the emulator's clock,
    /// and when it lacks the key `id` (assumed: an issuer that has just changed its key is not shut
    /// out). That a set lacks a key, or cannot be had, is believed for a while once it was asked
    /// for too often.
    pub async fn at(
        &self,
        outbound: &Outbound,
        url: &str,
        refresh_s: u32,
        id: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<KeySet>, String> {
        let fetch = self.fetch_of(url, refresh_s, id, now);
        let set = fetch.set.get_or_init(|| fetched(outbound, url)).await;
        set.clone()
    }

    /// The fetch that has the key or may have it, else the next one.
    fn fetch_of(&self, url: &str, refresh_s: u32, id: Option<&str>, now: Timestamp) -> Arc<Fetch> {
        let mut all = self.fetched.lock();
        let (mut since, mut before) = (Instant::now(), 0);
        if let Some(last) = all.get(url) {
            let age = now.as_second().saturating_sub(last.at.as_second());
            let may_have_it = match last.set.get() {
                None => true,
                Some(Ok(set)) => (0..i64::from(refresh_s)).contains(&age) && set.has(id),
                Some(Err(_)) => false,
            };
            let is_over = last.since.elapsed() >= SPAN;
            if may_have_it || (!is_over && last.before + 1 >= FETCHES) {
                return last.clone();
            }
            if !is_over {
                (since, before) = (last.since, last.before + 1);
            }
        } else if all.len() >= SETS {
            let oldest = all.iter().min_by_key(|(_, fetch)| fetch.since);
            let oldest = oldest.map(|(url, _)| url.clone());
            oldest.and_then(|url| all.remove(&url));
        }
        let next = Arc::new(Fetch {
            set: OnceCell::new(),
            at: now,
            since,
            before,
        });
        all.insert(url.to_owned(), next.clone());
        next
    }

    /// Forgets what was fetched.
    pub fn clear(&self) {
        self.fetched.lock().clear();
    }
}

async fn fetched(outbound: &Outbound, url: &str) -> Result<Arc<KeySet>, String> {
    let failed = |why: String| format!("the key set at {url} cannot be read: {why}");
    let body = outbound.get(url, PATIENCE).await.map_err(failed)?;
    KeySet::parse(&body).map(Arc::new).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = r#"{"keys": [
        {"kty": "XYZ", "kid": "new"},
        {"kty": "oct", "kid": "old", "k": "c2VjcmV0"},
        {"kty": "oct", "k": "c2VjcmV0cw"}
    ]}"#;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The fetch that a question leads to, answered with [`SET`] or a failure if it is a new one.
    fn asked(sets: &KeySets, id: Option<&str>, now: i64, good: bool) -> Arc<Fetch> {
        let fetch = sets.fetch_of("http://issuer/keys", 60, id, at(now));
        let answer = if good {
            Ok(Arc::new(KeySet::parse(SET.as_bytes()).unwrap()))
        } else {
            Err("it is away".to_owned())
        };
        let _ = fetch.set.set(answer);
        fetch
    }

    #[test]
    fn a_key_of_an_unknown_kind_does_not_spoil_its_set() {
        let set = KeySet::parse(SET.as_bytes()).unwrap();
        assert_eq!(set.keys(None).count(), 2);
        assert_eq!(set.keys(Some("old")).count(), 1);
        assert!(set.has(None) && !set.has(Some("new")));
    }

    #[test]
    fn what_is_no_set_says_so() {
        assert!(KeySet::parse(b"{}").unwrap_err().contains("keys"));
        assert!(KeySet::parse(b"<html>").is_err());
    }

    #[test]
    fn a_set_is_kept_until_it_is_to_be_refreshed() {
        let sets = KeySets::default();
        let first = asked(&sets, Some("old"), 0, true);
        assert!(Arc::ptr_eq(&first, &asked(&sets, Some("old"), 59, true)));
        let second = asked(&sets, Some("old"), 60, true);
        assert!(!Arc::ptr_eq(&first, &second));
        let back = asked(&sets, Some("old"), 0, true);
        assert!(!Arc::ptr_eq(&second, &back), "the clock was turned back");
    }

    #[test]
    fn a_key_that_is_not_there_is_asked_for_ten_times() {
        let sets = KeySets::default();
        let mut fetches = vec![asked(&sets, None, 0, true)];
        for _ in 0..50 {
            let fetch = asked(&sets, Some("new"), 0, true);
            if !fetches.iter().any(|known| Arc::ptr_eq(known, &fetch)) {
                fetches.push(fetch);
            }
        }
        assert_eq!(fetches.len(), usize::try_from(FETCHES).unwrap());
    }

    #[test]
    fn an_issuer_that_fails_is_asked_ten_times() {
        let sets = KeySets::default();
        let mut last = asked(&sets, None, 0, false);
        for _ in 1..FETCHES {
            let next = asked(&sets, None, 0, false);
            assert!(!Arc::ptr_eq(&last, &next));
            last = next;
        }
        assert!(Arc::ptr_eq(&last, &asked(&sets, None, 0, false)));
    }

    #[test]
    fn the_number_of_sets_is_bounded() {
        let sets = KeySets::default();
        for number in 0..3 * SETS {
            sets.fetch_of(&format!("http://issuer/{number}"), 60, None, at(0));
        }
        assert_eq!(sets.fetched.lock().len(), SETS);
    }
}
