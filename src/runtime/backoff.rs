//! How long to wait after a failure: 0.5 s, doubling to 60 s, with jitter.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// The delay after the `failures`-th failure in a row (1 is the first): within ±10 %, so that what failed together does not
/// come back together (case E1).
pub fn delay(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1u32 << failures.saturating_sub(1).min(10)).min(LONGEST);
    // RandomState draws new keys each time: the hash of anything is a random number.
    let jitter = u32::try_from(RandomState::new().hash_one(failures) % 21).unwrap_or_default();
    doubled * (90 + jitter) / 100
}

/// Failures in a row, by thing that fails. A success forgets them.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: HashMap<K, u32>,
}

impl<K: Hash + Eq> Default for Backoff<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Hash + Eq> Backoff<K> {
    /// Notes a failure; how long to wait now.
    pub fn failed(&mut self, key: K) -> Duration {
        let failures = self.failures.entry(key).or_default();
        *failures = failures.saturating_add(1);
        delay(*failures)
    }

    /// Notes a success.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // E1: doubling with a cap and ±10 % jitter; forgotten by a success.
    #[test]
    fn delays_double_up_to_a_minute_and_start_again_after_a_success() {
        let within = |delay: Duration, around: Duration| delay >= around * 9 / 10 && delay <= around * 11 / 10;
        let mut backoff = Backoff::default();
        for millis in [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let delay = backoff.failed("storm");
            assert!(within(delay, Duration::from_millis(millis)), "{delay:?} for {millis}");
        }
        backoff.succeeded(&"storm");
        assert!(within(backoff.failed("storm"), FIRST));
        assert!(within(delay(u32::MAX), LONGEST));
    }
}
