//! The timers of the engine on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use stormfold_core::engine::effect::Timer;

/// The timers that run.
#[derive(Default)]
pub(super) struct VirtualTimers {
    /// In the order in which they run off; of two at one instant the one that was set first.
    queue: BTreeSet<(Timestamp, u64, Timer)>,
    running: BTreeMap<Timer, (Timestamp, u64)>,
    /// How many were set.
    set: u64,
}

impl VirtualTimers {
    /// Sets a timer, in place of an earlier one.
    pub(super) fn set(&mut self, timer: Timer, now: Timestamp, delay: Duration) {
        self.cancel(timer);
        self.set += 1;
        let at = now.checked_add(delay).unwrap_or(Timestamp::MAX);
        self.queue.insert((at, self.set, timer));
        self.running.insert(timer, (at, self.set));
    }

    /// Stops a timer.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some((at, number)) = self.running.remove(&timer) {
            self.queue.remove(&(at, number, timer));
        }
    }

    /// When the next timer runs off.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, ..)| *at)
    }

    /// The next timer that runs off until this time, and when it does.
    pub(super) fn next_until(&mut self, end: Timestamp) -> Option<(Timestamp, Timer)> {
        let (at, number, timer) = self.queue.first().copied().filter(|(at, ..)| *at <= end)?;
        self.queue.remove(&(at, number, timer));
        self.running.remove(&timer);
        Some((at, timer))
    }
}
