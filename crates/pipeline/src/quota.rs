//! How often a caller may call: rates per key and operation, on the emulator's clock, so that a
//! frozen clock never refills and an advanced one does.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use mqttstack_base::clock::{Clock, Mode};
use mqttstack_base::exchange::Refusal;
use parking_lot::RwLock;

/// The emulator's clock as the limiter reads it.
#[derive(Debug, Clone)]
struct LimiterClock(Clock);

impl governor::clock::Clock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        // Before 1970 every instant is the same to the limiter.
        let nanos = u64::try_from(self.0.now().as_nanosecond().max(0)).unwrap_or(u64::MAX);
        Nanos::from(nanos)
    }
}

type Limiter =
    RateLimiter<String, DefaultKeyedStateStore<String>, LimiterClock, NoOpMiddleware<Nanos>>;

/// One limiter for each operation and rate; its keys are the callers.
type Limiters = HashMap<(&'static str, u32), Arc<Limiter>>;

/// A shared handle on all rates of one emulator.
#[derive(Clone)]
pub struct Quotas {
    clock: Clock,
    limiters: Arc<RwLock<Limiters>>,
}

impl std::fmt::Debug for Quotas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Quotas")
    }
}

impl Quotas {
    /// No call counted yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            limiters: Arc::default(),
        }
    }

    /// Counts one call of `operation` by `key`; refuses it when `key` has made more than
    /// `per_second` calls within a second. Zero means no limit.
    pub fn take(&self, operation: &'static str, key: &str, per_second: u32) -> Result<(), Refusal> {
        self.take_many(operation, key, per_second, 1)
    }

    /// The same for an amount at once, such as bytes; more than a second's worth is never taken.
    pub fn take_many(
        &self,
        operation: &'static str,
        key: &str,
        per_second: u32,
        amount: usize,
    ) -> Result<(), Refusal> {
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let (Some(rate), Some(amount)) = (NonZeroU32::new(per_second), NonZeroU32::new(amount))
        else {
            return Ok(());
        };
        let limiter = self.limiter(operation, rate);
        match limiter.check_key_n(&key.to_owned(), amount) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Refusal::TooManyRequests {
                operation,
                key: key.to_owned(),
                per_second,
            }),
        }
    }

    /// What is to be added to the reason of a refusal: why waiting does not help.
    pub fn hint(&self) -> &'static str {
        if self.clock.mode() == Mode::Frozen {
            "; the emulator's clock stands still, and so does this count until the clock is moved"
        } else {
            ""
        }
    }

    /// Forgets every call counted so far. Also needed after the clock was set back.
    pub fn clear(&self) {
        self.limiters.write().clear();
    }

    fn limiter(&self, operation: &'static str, rate: NonZeroU32) -> Arc<Limiter> {
        let key = (operation, rate.get());
        if let Some(limiter) = self.limiters.read().get(&key) {
            return limiter.clone();
        }
        self.limiters
            .write()
            .entry(key)
            .or_insert_with(|| {
                Arc::new(RateLimiter::new(
                    Quota::per_second(rate),
                    DefaultKeyedStateStore::default(),
                    LimiterClock(self.clock.clone()),
                ))
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn frozen() -> (Clock, Quotas) {
        let clock = Clock::frozen("2026-11-21T22:51:00Z".parse().unwrap());
        (clock.clone(), Quotas::new(clock))
    }

    #[test]
    fn the_call_over_the_quota_is_refused_and_only_the_clock_refills_it() {
        let (clock, quotas) = frozen();
        for _ in 0..3 {
            quotas.take("SendMessage", "testid", 3).unwrap();
        }
        let refused = quotas.take("SendMessage", "testid", 3).unwrap_err();
        assert!(matches!(
            refused,
            Refusal::TooManyRequests { per_second: 3, .. }
        ));
        assert!(quotas.hint().contains("clock stands still"));
        clock.advance(SignedDuration::from_secs(1)).unwrap();
        quotas.take("SendMessage", "testid", 3).unwrap();
        clock.follow();
        assert_eq!(quotas.hint(), "");
    }

    #[test]
    fn keys_and_operations_have_quotas_of_their_own() {
        let (_, quotas) = frozen();
        quotas.take("SendMessage", "a", 1).unwrap();
        quotas.take("SendMessage", "b", 1).unwrap();
        quotas.take("ApplyToken", "a", 1).unwrap();
        assert!(quotas.take("SendMessage", "a", 1).is_err());
        quotas.clear();
        quotas.take("SendMessage", "a", 1).unwrap();
    }

    #[test]
    fn an_amount_counts_as_so_many() {
        let (_, quotas) = frozen();
        quotas.take_many("bytes", "a", 100, 60).unwrap();
        assert!(quotas.take_many("bytes", "a", 100, 41).is_err());
        quotas.take_many("bytes", "a", 100, 40).unwrap();
        quotas.take_many("bytes", "a", 100, 0).unwrap();
        assert!(quotas.take_many("bytes", "b", 100, 101).is_err());
    }

    #[test]
    fn zero_means_no_limit() {
        let (_, quotas) = frozen();
        for _ in 0..10_000 {
            quotas.take("SendMessage", "a", 0).unwrap();
        }
    }
}
