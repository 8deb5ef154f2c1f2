//! The timers of the engine.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use stormfold_core::engine::effect::{Delay, Timer};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::runtime::backoff;

/// Longer timers are of no use: the queue holds no more than two years.
const LONGEST: Duration = Duration::from_hours(24);

/// The timers that run.
#[derive(Default)]
pub struct Timers {
    queue: DelayQueue<Timer>,
    keys: HashMap<Timer, Key>,
}

impl Timers {
    /// Sets a timer, in place of an earlier one.
    pub fn set(&mut self, timer: Timer, delay: Delay) {
        let delay = match delay {
            Delay::After(delay) => delay,
            Delay::Backoff { failures, at_most } => backoff::delay(failures).min(at_most),
        };
        let delay = delay.min(LONGEST);
        match self.keys.get(&timer) {
            Some(key) => self.queue.reset(key, delay),
            None => drop(self.keys.insert(timer, self.queue.insert(timer, delay))),
        }
    }

    /// Stops a timer.
    pub fn cancel(&mut self, timer: Timer) {
        if let Some(key) = self.keys.remove(&timer) {
            self.queue.remove(&key);
        }
    }

    /// The next timer that runs off. `None`: none runs.
    pub async fn next(&mut self) -> Option<Timer> {
        let timer = self.queue.next().await?.into_inner();
        self.keys.remove(&timer);
        Some(timer)
    }
}
