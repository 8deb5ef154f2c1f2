//! Storms that are over in the cluster and open in the ledger: a ledger that was emptied was told of them again before their end was written.
//!
//! What such a storm holds is known by its Signals' receipts alone. So all Signals are read first, which tells the ledger, and the storm is
//! dropped then: dropped at once, a repeat would open a successor that counts it a second time, whichever replica brings it (decision 0012).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::storm::StormId;

/// How many lists of Signals were complete when each storm was found.
#[derive(Default)]
pub struct Drops(Mutex<HashMap<StormId, u64>>);

/// Whether a storm may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// All Signals were read since it was found.
    Drop,
    /// It is found now: all Signals must be read.
    Read,
    /// They are being read.
    Wait,
}

impl Drops {
    /// `lists`: how many lists of Signals were complete; `None` while one is being read, which may have begun before the end of the storm was
    /// known here, and says nothing.
    pub(super) fn look(&self, id: StormId, lists: Option<u64>) -> May {
        let Some(lists) = lists else { return May::Wait };
        let mut found = self.lock();
        match found.get(&id) {
            None => {
                found.insert(id, lists);
                May::Read
            }
            Some(since) if *since == lists => May::Wait,
            Some(_) => May::Drop,
        }
    }

    /// The storm is out of the ledger.
    pub(super) fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StormId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
