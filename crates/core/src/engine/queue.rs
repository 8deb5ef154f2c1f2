//! The work queue of storms: at most one run per storm, a bounded number of runs, a pause after each publish and failure. Namespaces
//! take turns.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::effect::{Delay, Next};
use super::fair::{FairQueue, Place};
use crate::storm::StormId;

/// Runs at once. A run waits on the API server most of its time, and each one holds a connection of its own there (HTTP/1.1).
const CONCURRENCY: usize = 16;
/// An ending that is further away than this is looked at again in between, in case the clock was set.
const SLOW: Duration = Duration::from_hours(1);

/// Which storms wait for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StormQueue {
    /// Due now.
    ready: FairQueue<StormId>,
    /// The same by storm; with those that are due once they may run.
    wanted: BTreeMap<StormId, Place>,
    running: BTreeSet<StormId>,
    /// Published within the interval, or failed: a request meanwhile is deferred, not lost.
    paused: BTreeSet<StormId>,
    /// Storms with a look ahead.
    scheduled: BTreeSet<StormId>,
    failures: BTreeMap<StormId, u32>,
}

/// What the queue does after a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Runs of this storm pause so long.
    pub pause: Option<Delay>,
    /// Its next look.
    pub look: Option<Delay>,
}

/// How often a storm failed only tells how long it waits.
impl Hash for StormQueue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { ready, wanted, running, paused, scheduled, failures: _ } = self;
        (ready, wanted, running, paused, scheduled).hash(state);
    }
}

impl StormQueue {
    /// A run as soon as the storm's pace allows.
    pub fn request(&mut self, id: StormId, place: Place) {
        if self.wanted.insert(id, place).is_none() && self.may_run(id) {
            self.ready.push(place, id);
        }
    }

    /// The next storm to run, if one may. It runs from now on.
    pub fn start(&mut self) -> Option<StormId> {
        if self.running.len() >= CONCURRENCY {
            return None;
        }
        let id = self.ready.pop()?;
        self.wanted.remove(&id);
        self.running.insert(id);
        Some(id)
    }

    /// Whether a look was scheduled, which this run takes the place of.
    pub fn unschedule(&mut self, id: StormId) -> bool {
        self.scheduled.remove(&id)
    }

    /// The run of a storm is over.
    pub fn ended(&mut self, id: StormId, place: Place, next: Next) -> Schedule {
        self.running.remove(&id);
        let (pause, look) = match next {
            Next::Failed => {
                let failures = self.failures.entry(id).or_default();
                *failures = failures.saturating_add(1);
                let delay = Delay::Backoff { failures: *failures, at_most: Duration::MAX };
                // The pause is the delay: what runs after it has waited long enough.
                self.wanted.insert(id, place);
                (Some(delay), None)
            }
            Next::Published(delay, interval) => {
                self.failures.remove(&id);
                ((!interval.is_zero()).then_some(Delay::After(interval)), Some(delay))
            }
            Next::After(delay) => {
                self.failures.remove(&id);
                (None, Some(delay))
            }
            Next::Done => {
                self.failures.remove(&id);
                (None, None)
            }
        };
        if pause.is_some() {
            self.paused.insert(id);
        }
        let look = match look {
            Some(Duration::ZERO) => {
                self.wanted.insert(id, place);
                None
            }
            Some(delay) => {
                self.scheduled.insert(id);
                Some(Delay::After(delay.min(SLOW)))
            }
            None => None,
        };
        self.make_ready(id);
        Schedule { pause, look }
    }

    /// The pause of a storm is over.
    pub fn pause_ended(&mut self, id: StormId) {
        if self.paused.remove(&id) {
            self.make_ready(id);
        }
    }

    /// Nothing is due, and nothing runs.
    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.running.is_empty()
    }

    fn may_run(&self, id: StormId) -> bool {
        !self.running.contains(&id) && !self.paused.contains(&id)
    }

    fn make_ready(&mut self, id: StormId) {
        if let Some(place) = self.wanted.get(&id).filter(|_| self.may_run(id)) {
            self.ready.push(*place, id);
        }
    }
}
