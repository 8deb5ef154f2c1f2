//! Storms that are over in the cluster and open in the ledger: a ledger that was emptied was told of them again before their end was written.
//!
//! What such a storm holds is known by its Signals' receipts alone. So all Signals are read first, which tells the ledger, and the storm is
//! dropped then: dropped at once, a repeat would open a successor that counts it a second time, whichever replica brings it (decision 0012).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::behind::Lag;
use crate::storm::StormId;

/// How many lists of Signals were complete when each storm was found.
#[derive(Default)]
pub struct Drops(Mutex<HashMap<StormId, Option<u64>>>);

impl Drops {
    /// Whether all Signals were read since this storm was found; `lists`: how many lists of them were complete.
    pub(super) fn look(&self, id: StormId, lists: u64) -> Lag {
        Lag::since(self.lock().entry(id).or_default(), lists)
    }

    /// The storm is out of the ledger.
    pub(super) fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StormId, Option<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
