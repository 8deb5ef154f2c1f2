//! What each storm takes from the Signal that opened it, for as long as it is open: it names the object, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storm::{Opening, StormId};

/// Openings by storm. Lost by a restart, and found again by watching again: a storm without an object has Signals without a receipt.
#[derive(Default)]
pub struct Openings {
    by_storm: Mutex<HashMap<StormId, Arc<Opening>>>,
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

    /// The storm is over.
    pub fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StormId, Arc<Opening>>> {
        self.by_storm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
