//! The emulator's time. Vendor time (timestamps, token life, nonce and quota windows) is read
//! here and nowhere else, so that a test can freeze it, shift it and move it on.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// How the clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The machine's time.
    Real,
    /// Stands still until it is moved.
    Frozen,
    /// Runs at the machine's pace, a fixed distance away.
    Offset,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Real,
    Frozen(Timestamp),
    Offset(SignedDuration),
}

/// A shared handle on the emulator's time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Told whenever the time is moved or runs in another way.
    moved: Notify,
}

/// A time outside the years that can be written (-9999 to 9999).
#[derive(Debug, thiserror::Error)]
#[error("the time would leave the range of years -9999 to 9999")]
pub struct OutOfRange;

impl Clock {
    /// A clock that follows the machine's.
    pub fn real() -> Self {
        Self::of(State::Real)
    }

    /// A clock that stands at `at`.
    pub fn frozen(at: Timestamp) -> Self {
        Self::of(State::Frozen(at))
    }

    fn of(state: State) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(state),
            moved: Notify::new(),
        }))
    }

    fn set(&self, state: State) {
        *self.0.state.write() = state;
        self.0.moved.notify_waiters();
    }

    /// The emulator's time.
    pub fn now(&self) -> Timestamp {
        match *self.0.state.read() {
            State::Real => machine_time(),
            State::Frozen(at) => at,
            State::Offset(by) => machine_time().checked_add(by).unwrap_or(Timestamp::MAX),
        }
    }

    /// How the clock runs now.
    pub fn mode(&self) -> Mode {
        match *self.0.state.read() {
            State::Real => Mode::Real,
            State::Frozen(_) => Mode::Frozen,
            State::Offset(_) => Mode::Offset,
        }
    }

    /// Follows the machine's time again.
    pub fn follow(&self) {
        self.set(State::Real);
    }

    /// Stands still at `at`.
    pub fn freeze(&self, at: Timestamp) {
        self.set(State::Frozen(at));
    }

    /// Runs on from `at` at the machine's pace.
    pub fn run_from(&self, at: Timestamp) {
        self.set(State::Offset(at.duration_since(machine_time())));
    }

    /// Moves the time on by `by` (negative: back). A real clock becomes an offset one.
    pub fn advance(&self, by: SignedDuration) -> Result<Timestamp, OutOfRange> {
        let mut state = self.0.state.write();
        let next = match *state {
            State::Real => State::Offset(by),
            State::Frozen(at) => State::Frozen(at.checked_add(by).map_err(|_| OutOfRange)?),
            State::Offset(old) => State::Offset(old.checked_add(by).ok_or(OutOfRange)?),
        };
        let now = match next {
            State::Real => machine_time(),
            State::Frozen(at) => at,
            State::Offset(by) => machine_time().checked_add(by).map_err(|_| OutOfRange)?,
        };
        *state = next;
        drop(state);
        self.0.moved.notify_waiters();
        Ok(now)
    }

    /// Waits until it is `at`, or until the clock has been moved: whoever waits looks again. On a
    /// frozen clock nothing else ends the wait.
    pub async fn reached_or_moved(&self, at: Timestamp) {
        let moved = self.0.moved.notified();
        tokio::pin!(moved);
        // Registered before the look at the time, so that no move between the two is lost.
        moved.as_mut().enable();
        let left = at.duration_since(self.now());
        if left <= SignedDuration::ZERO {
            return;
        }
        let reached = async {
            match self.mode() {
                Mode::Frozen => pending().await,
                Mode::Real | Mode::Offset => {
                    tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::MAX)).await;
                }
            }
        };
        tokio::select! {
            () = moved => {}
            () = reached => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the machine"
)]
fn machine_time() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_frozen_clock_moves_only_when_it_is_moved() {
        let clock = Clock::frozen(at("2026-11-21T22:51:00Z"));
        assert_eq!(clock.now(), at("2026-11-21T22:51:00Z"));
        clock.advance(SignedDuration::from_secs(901)).unwrap();
        assert_eq!(clock.now(), at("2026-11-21T23:06:01Z"));
    }

    #[test]
    fn advancing_a_real_clock_turns_it_into_an_offset_one() {
        let clock = Clock::real();
        let before = clock.now();
        clock.advance(SignedDuration::from_hours(1)).unwrap();
        assert_eq!(clock.mode(), Mode::Offset);
        assert!(clock.now() >= before + SignedDuration::from_hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_instant_wakes_when_the_clock_is_moved_or_gets_there() {
        let clock = Clock::frozen(at("2026-11-21T22:51:00Z"));
        let noon = at("2026-11-22T12:00:00Z");
        let waiting = clock.reached_or_moved(noon);
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_hours(100), &mut waiting);
        assert!(early.await.is_err(), "a frozen clock gets nowhere");
        clock.freeze(noon);
        waiting.await;
        clock.reached_or_moved(noon).await;
        clock.run_from(at("2026-11-22T11:59:00Z"));
        clock.reached_or_moved(noon).await;
    }

    #[test]
    fn a_step_out_of_the_calendar_is_refused_and_changes_nothing() {
        let clock = Clock::frozen(at("2026-11-21T22:51:00Z"));
        assert!(clock.advance(SignedDuration::MAX).is_err());
        assert_eq!(clock.now(), at("2026-11-21T22:51:00Z"));
    }
}
