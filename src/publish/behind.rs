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

/// Whether all Signals were read since something was found of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// The ledger has what it had, or what there is: all Signals were read since.
    None,
    /// Found now: all Signals must be read again.
    New,
    /// They are being read.
    Waiting,
}

impl Lag {
    /// `found`: how many lists of Signals were complete when it was found; `lists`: how many are now.
    pub(super) fn since(found: &mut Option<u64>, lists: u64) -> Self {
        match *found {
            None => {
                *found = Some(lists);
                Self::New
            }
            Some(since) if since == lists => Self::Waiting,
            Some(_) => Self::None,
        }
    }
}

impl Behind {
    /// Compares; `lists`: how many lists of Signals were complete.
    pub(super) fn look(&self, id: StormId, snapshot: &Snapshot, lists: u64) -> Lag {
        let LedgerView::Open { metadata, .. } = &snapshot.view else { return Lag::None };
        let alerts = metadata.as_ref().map_or(0, |metadata| metadata.alert_count);
        let mut map = self.lock();
        let seen = map.entry(id).or_insert(Seen { alerts, behind_since: None });
        let lag = if alerts < seen.alerts { Lag::since(&mut seen.behind_since, lists) } else { Lag::None };
        if lag == Lag::None {
            *seen = Seen { alerts, behind_since: None };
        }
        lag
    }

    /// The storm is over.
    pub(super) fn remove(&self, id: StormId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StormId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
