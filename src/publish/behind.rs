//! Storms of which the ledger knows less than it did: it has lost something without a word, and reading all Signals again brings it back.
//!
//! Measured against what this process has seen in the ledger, not against what the cluster shows: a storm whose Signals were deleted
//! would be behind for ever.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Snapshot;
use crate::storm::StormId;
use crate::storm::decide::LedgerView;

/// The most alerts that were seen of each storm.
#[derive(Default)]
pub struct Behind {
    seen: Mutex<HashMap<StormId, Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    alerts: usize,
    /// How many lists of Signals were complete when less was seen.
    behind_since: Option<u64>,
}

/// What to do with a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// The ledger has what it had, or what there is: all Signals were read since.
    None,
    /// Seen first now: all Signals must be read again.
    New,
    /// They are being read.
    Waiting,
}

impl Behind {
    /// Compares; `lists`: how many lists of Signals were complete.
    pub(super) fn look(&self, id: StormId, snapshot: &Snapshot, lists: u64) -> Lag {
        let LedgerView::Open { metadata, .. } = &snapshot.view else { return Lag::None };
        let alerts = metadata.as_ref().map_or(0, |metadata| metadata.alert_count);
        let mut map = self.lock();
        let seen = map.entry(id).or_insert(Seen { alerts, behind_since: None });
        match seen.behind_since {
            None if alerts < seen.alerts => {
                seen.behind_since = Some(lists);
                Lag::New
            }
            Some(since) if alerts < seen.alerts && since == lists => Lag::Waiting,
            None | Some(_) => {
                *seen = Seen { alerts, behind_since: None };
                Lag::None
            }
        }
    }

    /// The storm is over.
    pub(super) fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StormId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
