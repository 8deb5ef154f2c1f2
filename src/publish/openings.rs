//! What each storm takes from the Signal that opened it, for as long as it is open: it names the object, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storm::{Epoch, Opening, StormId, StormKey};

/// Openings by storm. Lost by a restart, and found again by watching again: a storm without an object has Signals without a receipt.
#[derive(Default)]
pub struct Openings {
    by_storm: Mutex<BTreeMap<StormId, Arc<Opening>>>,
}

impl Openings {
    /// The first one stays.
    pub fn offer(&self, id: StormId, opening: &Arc<Opening>) {
        self.lock().entry(id).or_insert_with(|| opening.clone());
    }

    /// The opening of a storm.
    pub fn get(&self, id: StormId) -> Option<Arc<Opening>> {
        self.lock().get(&id).cloned()
    }

    /// Whether some storm of this key is open.
    pub fn has(&self, key: StormKey) -> bool {
        let of_key = StormId { key, epoch: Epoch::MIN }..=StormId { key, epoch: Epoch::MAX };
        self.lock().range(of_key).next().is_some()
    }

    /// The storm is over.
    pub fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StormId, Arc<Opening>>> {
        self.by_storm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
