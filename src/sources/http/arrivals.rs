//! When requests come: reports are in order by it.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// A clock that is set back by less than this, in microseconds, turns no two requests around.
const CORRECTION: i64 = 1_000_000;

/// Gives each request a time of its own.
pub(super) struct Arrivals(AtomicI64);

impl Default for Arrivals {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Arrivals {
    /// The time of a request that comes at `now`, to the microsecond, in which Signals tell it.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        let clock = now.as_microsecond();
        let next = |last: i64| if (clock..clock + CORRECTION).contains(&last) { last + 1 } else { clock };
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        Timestamp::from_microsecond(last.map_or(clock, next)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_requests_come_at_one_time_and_a_corrected_clock_turns_none_around() {
        let arrivals = Arrivals::default();
        let at = |microsecond| arrivals.at(Timestamp::from_microsecond(microsecond).unwrap()).as_microsecond();
        assert_eq!([at(10), at(10), at(12), at(5), at(14)], [10, 11, 12, 13, 14]);
        assert_eq!([at(2_000_000), at(1_000_001), at(3_000_000)], [2_000_000, 2_000_001, 3_000_000]);
        // Set back for good: what is reported from now on is not taken for what is to come.
        assert_eq!([at(1_000_000), at(1_000_001)], [1_000_000, 1_000_001]);
    }
}
