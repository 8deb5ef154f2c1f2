//! Which epoch: the storm that Signals of a key without an open storm belong to.

use std::sync::Arc;

use jiff::Timestamp;

use crate::ledger::Ledger;
use crate::publish::{Apply, Openings, Projections};
use crate::storm::{Epoch, Opening, StormId, StormKey};

use super::IngestError;
use crate::api::RemediationRequest;

/// Opens storms.
pub(super) struct Opener {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) projections: Arc<Projections>,
    pub(super) openings: Arc<Openings>,
    pub(super) apply: Apply,
}

impl Opener {
    /// Opens a storm of `key` in the ledger: the one that is open in the cluster, if there is one (invariant 9), else a new
    /// one, later than any that the cluster or the ledger knows (invariant 4). `last`: the last that the ledger closed.
    pub(super) async fn open(
        &self,
        key: StormKey,
        opening: &Arc<Opening>,
        last: Option<Epoch>,
        now: Timestamp,
    ) -> Result<Epoch, IngestError> {
        let mut objects = self.projections.of_key(key);
        if open_epoch(&objects, last).is_none() {
            // The cache may lag: nothing is opened on its word alone (case C10).
            for object in self.apply.find(opening, key).await? {
                self.projections.put(object);
            }
            objects = self.projections.of_key(key);
        }
        let latest = objects.iter().map(|object| object.spec.epoch).max().max(last);
        let mut epoch = open_epoch(&objects, last)
            .unwrap_or_else(|| now.as_second().max(latest.map_or(0, |latest| latest.saturating_add(1))));
        loop {
            let id = StormId { key, epoch };
            match self.ledger.open(id, &opening.pattern, now).await? {
                Some(open) => {
                    if objects.iter().any(|object| object.spec.epoch == open) {
                        // Its object is there: should it be missing later, somebody deleted it.
                        self.ledger.mark_published(StormId { key, epoch: open }).await?;
                    }
                    self.openings.offer(StormId { key, epoch: open }, opening);
                    return Ok(open);
                }
                // Closed in the ledger a moment ago.
                None => epoch = epoch.checked_add(1).ok_or(IngestError::NoEpoch)?,
            }
        }
    }
}

/// The oldest open storm of the cluster that the ledger has not closed.
fn open_epoch(objects: &[Arc<RemediationRequest>], last: Option<Epoch>) -> Option<Epoch> {
    objects
        .iter()
        .filter(|object| crate::publish::is_open(object))
        .map(|object| object.spec.epoch)
        .find(|epoch| last.is_none_or(|last| *epoch > last))
}
