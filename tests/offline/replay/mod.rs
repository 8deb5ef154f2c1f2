//! The operator on a virtual clock: histories that no cluster would live through in a day.

mod diffs;
mod policy_tests;
pub mod recordings;
mod shown;
mod stays;

use jiff::{SignedDuration, Timestamp};
use stormfold::api::{StormState, StormStatus};
use stormfold::replay::Replay;

/// When every history begins.
pub fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The storms that are open.
pub fn open(replay: &Replay) -> Vec<&StormStatus> {
    let storms = replay.cluster().requests().filter_map(|object| object.status.as_ref()?.storm.as_ref());
    storms.filter(|storm| storm.state == StormState::Open).collect()
}

/// So many milliseconds.
pub fn millis(millis: i64) -> SignedDuration {
    SignedDuration::from_millis(millis)
}
