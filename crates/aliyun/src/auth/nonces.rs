//! The nonces that are used up: remembered for a window of the emulator's time, and never more
//! of them than the capacity. Kept as fingerprints, so that an entry has a fixed size.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// A nonce and whose it is, in 16 bytes of SHA-256.
type Fingerprint = [u8; 16];

fn fingerprint(caller: &str, nonce: &str) -> Fingerprint {
    let digest = Sha256::new()
        .chain_update(caller)
        .chain_update([0])
        .chain_update(nonce)
        .finalize();
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&digest[..16]);
    fingerprint
}

/// A nonce that came before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) seconds_ago: i64,
    pub(super) window_s: u32,
}

#[derive(Debug, Default)]
struct State {
    seen_at: HashMap<Fingerprint, i64>,
    order: VecDeque<(i64, Fingerprint)>,
}

impl State {
    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.seen_at.remove(&oldest);
        }
    }
}

#[derive(Debug)]
pub(super) struct Nonces {
    window_s: u32,
    capacity: usize,
    state: Mutex<State>,
}

impl Nonces {
    pub(super) fn new(window_s: u32, capacity: usize) -> Self {
        Self {
            window_s,
            capacity: capacity.max(1),
            state: Mutex::default(),
        }
    }

    /// Uses up `nonce` of `caller` unless it was used within the window.
    pub(super) fn take(&self, caller: &str, nonce: &str, now: Timestamp) -> Result<(), Used> {
        let now = now.as_second();
        let window = i64::from(self.window_s);
        let fingerprint = fingerprint(caller, nonce);
        let mut state = self.state.lock();
        // A clock that was set back leaves entries of the future: outside the window, too.
        while state
            .order
            .front()
            .is_some_and(|(at, _)| (now - at).abs() >= window)
        {
            state.forget_oldest();
        }
        match state.seen_at.get(&fingerprint) {
            Some(at) if (now - at).abs() < window => {
                return Err(Used {
                    seconds_ago: now - at,
                    window_s: self.window_s,
                });
            }
            // Behind an entry that has not run out, after the clock was moved about.
            Some(_) => state.order.retain(|(_, other)| *other != fingerprint),
            None => {}
        }
        if state.order.len() >= self.capacity {
            state.forget_oldest();
        }
        state.seen_at.insert(fingerprint, now);
        state.order.push_back((now, fingerprint));
        Ok(())
    }

    pub(super) fn clear(&self) {
        *self.state.lock() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_nonce_may_come_again_only_after_the_window() {
        let nonces = Nonces::new(900, 100);
        nonces.take("testid", "n", at(1000)).unwrap();
        assert_eq!(
            nonces.take("testid", "n", at(1899)),
            Err(Used {
                seconds_ago: 899,
                window_s: 900
            })
        );
        nonces.take("testid", "n", at(1900)).unwrap();
    }

    #[test]
    fn callers_have_nonces_of_their_own() {
        let nonces = Nonces::new(900, 100);
        nonces.take("a", "n", at(0)).unwrap();
        nonces.take("b", "n", at(0)).unwrap();
        assert!(nonces.take("a", "n", at(0)).is_err());
        nonces.clear();
        nonces.take("a", "n", at(0)).unwrap();
    }

    #[test]
    fn over_the_capacity_the_oldest_is_forgotten() {
        let nonces = Nonces::new(900, 2);
        for nonce in ["1", "2", "3"] {
            nonces.take("a", nonce, at(0)).unwrap();
        }
        assert!(nonces.take("a", "3", at(0)).is_err());
        nonces.take("a", "1", at(0)).unwrap();
        assert_eq!(nonces.state.lock().seen_at.len(), 2);
    }

    #[test]
    fn setting_the_clock_back_neither_leaks_nor_blocks() {
        let nonces = Nonces::new(900, 100);
        nonces.take("a", "n", at(10_000)).unwrap();
        nonces.take("a", "n", at(10)).unwrap();
        nonces.take("a", "m", at(11)).unwrap();
        assert_eq!(nonces.state.lock().order.len(), 2);
        assert!(nonces.take("a", "n", at(12)).is_err());
    }
}
