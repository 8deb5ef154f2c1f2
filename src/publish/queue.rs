//! The delay queue of storms: at most one run per storm, a bounded number of runs, back-off for those that fail.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use futures::stream::FuturesUnordered;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::reconcile::{Next, Publisher};
use crate::runtime::backoff::Backoff;
use crate::storm::StormId;

/// Runs at once. A run waits on the API server most of its time, and each one holds a connection of its own there (HTTP/1.1).
const CONCURRENCY: usize = 16;
/// An ending that is further away than this is looked at again in between, in case the clock was set.
const SLOW: Duration = Duration::from_hours(1);

/// Asks for runs.
#[derive(Clone)]
pub struct Requests(mpsc::UnboundedSender<ScheduleRequest<StormId>>);

/// The receiving end of [`Requests`].
pub struct PublishQueue(mpsc::UnboundedReceiver<ScheduleRequest<StormId>>);

/// The two ends of the queue of runs. It is not bounded: it holds one entry per storm, because the queue takes each request in at
/// once and keeps the earliest per storm.
pub fn requests() -> (Requests, PublishQueue) {
    let (sender, receiver) = mpsc::unbounded();
    (Requests(sender), PublishQueue(receiver))
}

impl Requests {
    /// A run as soon as the storm's pace allows.
    pub fn now(&self, id: StormId) {
        self.at(id, Instant::now());
    }

    fn at(&self, id: StormId, run_at: Instant) {
        // Closed only when the process stops, and then no run is wanted.
        let _ = self.0.unbounded_send(ScheduleRequest { message: id, run_at });
    }
}

impl PublishQueue {
    /// Runs storms until `stop`, and lets the runs under way end.
    pub async fn run(self, publisher: Arc<Publisher>, requests: Requests, stop: CancellationToken) {
        let mut scheduler = pin!(scheduler(self.0));
        let mut running = HashSet::new();
        let mut runs = FuturesUnordered::new();
        let mut backoff = Backoff::default();
        let mut pauses = Pauses::default();
        loop {
            let full = running.len() >= CONCURRENCY;
            let mut ready = scheduler.as_mut().hold_unless(|id| !full && !running.contains(id));
            tokio::select! {
                () = stop.cancelled() => break,
                Some((id, next)) = runs.next() => {
                    running.remove(&id);
                    let delay = match next {
                        Next::Failed => {
                            let delay = backoff.failed(id);
                            pauses.pause(id, delay);
                            Some(delay)
                        }
                        Next::Published(delay, interval) => {
                            backoff.succeeded(&id);
                            pauses.pause(id, interval);
                            Some(delay)
                        }
                        Next::After(delay) => { backoff.succeeded(&id); Some(delay) }
                        Next::Done => { backoff.succeeded(&id); None }
                    };
                    if let Some(delay) = delay {
                        requests.at(id, Instant::now() + delay.min(SLOW));
                    }
                }
                Some(id) = ready.next() => {
                    if let Some(time) = pauses.until(id) {
                        requests.at(id, time);
                    } else {
                        running.insert(id);
                        let publisher = publisher.clone();
                        runs.push(async move { (id, publisher.reconcile(id).await) });
                    }
                }
            }
        }
        while runs.next().await.is_some() {}
    }
}

/// Storms that may not run yet: published within the interval, or failed. A trigger meanwhile is deferred, not lost.
#[derive(Default)]
struct Pauses(HashMap<StormId, Instant>);

impl Pauses {
    fn pause(&mut self, id: StormId, delay: Duration) {
        let now = Instant::now();
        // Doubles as the clean-up: a pause that is over pauses nothing.
        if self.0.len() >= 1024 {
            self.0.retain(|_, until| *until > now);
        }
        self.0.insert(id, now + delay);
    }

    fn until(&self, id: StormId) -> Option<Instant> {
        self.0.get(&id).copied().filter(|until| *until > Instant::now())
    }
}
