//! Which epoch: the storm that Signals of a key without an open storm belong to, or why none may open.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::ledger::Ledger;
use crate::policies::Policies;
use crate::publish::{Apply, Openings, Projections, is_asked, is_open, is_superseded};
use crate::storm::holding::{HeldBack, Predecessor, held_back};
use crate::storm::{Epoch, Opening, StormId, StormKey};

use super::IngestError;
use crate::api::{self, RemediationRequest};

/// Opens storms.
pub(super) struct Opener {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) projections: Arc<Projections>,
    pub(super) openings: Arc<Openings>,
    pub(super) policies: Arc<Policies>,
    pub(super) apply: Apply,
}

/// What came of it.
pub(super) enum Opened {
    /// A storm is open.
    Open,
    /// None may open.
    HeldBack(HeldBack),
}

impl Opener {
    /// Opens a storm of `key` in the ledger: the one that is open in the cluster, if there is one (invariant 9), else a new
    /// one, later than any that the cluster or the ledger knows (invariant 4), unless the policy holds it back. `last`: the last that the ledger closed.
    pub(super) async fn open(
        &self,
        key: StormKey,
        opening: &Arc<Opening>,
        last: Option<Epoch>,
        now: Timestamp,
    ) -> Result<Opened, IngestError> {
        let mut objects = self.projections.of_key(key);
        if open_epoch(&objects, last).is_none() {
            // What holds back by the cache is looked at again each second: no call for each Signal that waits.
            if let Some(why) = self.held_back(&objects, opening, now) {
                return Ok(Opened::HeldBack(why));
            }
            // The cache may lag: nothing is opened on its word alone (case C10).
            for object in self.apply.find(opening, key).await? {
                self.projections.put(object);
            }
            objects = self.projections.of_key(key);
        }
        let latest = objects.iter().map(|object| object.spec.epoch).max().max(last);
        let mut epoch = match (open_epoch(&objects, last), self.held_back(&objects, opening, now)) {
            (Some(open), _) => open,
            (None, Some(why)) => return Ok(Opened::HeldBack(why)),
            (None, None) => now.as_second().max(latest.map_or(0, |latest| latest.saturating_add(1))),
        };
        loop {
            let id = StormId { key, epoch };
            match self.ledger.open(id, &opening.pattern, now).await? {
                Some(open) => {
                    if objects.iter().any(|object| object.spec.epoch == open) {
                        // Its object is there: should it be missing later, somebody deleted it.
                        self.ledger.mark_published(StormId { key, epoch: open }).await?;
                    }
                    self.openings.offer(StormId { key, epoch: open }, opening);
                    return Ok(Opened::Open);
                }
                // Closed in the ledger a moment ago.
                None => epoch = epoch.checked_add(1).ok_or(IngestError::NoEpoch)?,
            }
        }
    }

    /// Why no storm of `key` may open now, as far as the cache tells. `None`: one may, or one is open.
    pub(super) fn held_back_now(&self, key: StormKey, opening: &Opening, now: Timestamp) -> Option<HeldBack> {
        if self.projections.has_open(key) {
            return None;
        }
        self.held_back(&self.projections.of_key(key), opening, now)
    }

    fn held_back(&self, objects: &[Arc<RemediationRequest>], opening: &Opening, now: Timestamp) -> Option<HeldBack> {
        let last = objects.iter().rfind(|object| !is_superseded(object));
        let predecessor = last.and_then(|object| predecessor(object, now));
        held_back(&self.policies.named(&opening.policy), predecessor.as_ref(), now)
    }
}

/// The oldest open storm of the cluster that the ledger has not closed.
fn open_epoch(objects: &[Arc<RemediationRequest>], last: Option<Epoch>) -> Option<Epoch> {
    objects
        .iter()
        .filter(|object| is_open(object))
        .map(|object| object.spec.epoch)
        .find(|epoch| last.is_none_or(|last| *epoch > last))
}

/// What an object says of its engine's end. One that the ledger has closed and whose end is not written yet ends now.
fn predecessor(object: &RemediationRequest, now: Timestamp) -> Option<Predecessor> {
    let status = object.status.as_ref()?;
    let remediation = status.remediation.as_ref()?;
    let closed = status.storm.as_ref().and_then(|storm| storm.closed_at.as_ref());
    let outcome = remediation.outcome?;
    let acknowledged = is_asked(object, api::ACKNOWLEDGED);
    let finished = remediation.finished_at.as_ref().map(|time| time.0);
    let closed = closed.map_or(now, |time| time.0);
    Some(Predecessor { name: object.name_any(), outcome, finished, closed, acknowledged })
}
