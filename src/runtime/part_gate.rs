//! Whether all parts of something work, told by one gate: the watches of one resource, the storms that are published.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::{ListParams, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::backoff::delay;
use super::error::{ApiError, call};
use super::readiness::Gate;

/// One gate for several parts: open while all of them work. Clones share their state.
#[derive(Clone)]
pub struct PartGate<Part = usize> {
    gate: Gate,
    /// The parts that fail, and why.
    failing: Arc<Mutex<BTreeMap<Part, String>>>,
}

impl<Part: Ord> PartGate<Part> {
    /// All parts work, as far as is known; `gate` is open.
    pub fn new(gate: Gate) -> Self {
        Self { gate, failing: Arc::default() }
    }

    /// This part fails.
    pub fn failed(&self, part: Part, why: String) {
        let mut failing = self.lock();
        failing.insert(part, why);
        self.tell(&failing);
    }

    /// This part works.
    pub fn works(&self, part: &Part) {
        let mut failing = self.lock();
        if failing.remove(part).is_some() {
            self.tell(&failing);
        }
    }

    /// Whether no part is known to fail.
    pub fn all_work(&self) -> bool {
        self.lock().is_empty()
    }

    fn is_failing(&self, part: &Part) -> bool {
        self.lock().contains_key(part)
    }

    fn tell(&self, failing: &BTreeMap<Part, String>) {
        match failing.values().next() {
            Some(why) => self.gate.close(why),
            None => self.gate.open(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartGate {
    /// Tries, after each `wake` and until this part works, whether a watch would start. A watch that goes on after a failure says
    /// nothing before something happens in the cluster: without this, a quiet cluster would never be ready again.
    pub async fn probe<K>(self, part: usize, api: Api<K>, wake: Arc<Notify>)
    where
        K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
    {
        loop {
            wake.notified().await;
            let mut failures = 0;
            while self.is_failing(&part) {
                failures += 1;
                tokio::time::sleep(delay(failures)).await;
                if watch_starts(&api).await.is_ok() {
                    self.works(&part);
                }
            }
        }
    }
}

async fn watch_starts<K>(api: &Api<K>) -> Result<(), ApiError>
where
    K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    let what = || format!("try to watch {}", K::plural(&()));
    let list = call(what, api.list_metadata(&ListParams::default().limit(1))).await?;
    let version = list.metadata.resource_version.unwrap_or_default();
    call(what, api.watch_metadata(&WatchParams::default().timeout(1), &version)).await.map(drop)
}
