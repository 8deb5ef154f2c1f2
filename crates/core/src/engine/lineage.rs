//! Which storm of a key Signals belong to that has no open one in the ledger, and which one came before. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use crate::request::Request;
use crate::storm::holding::{HeldBack, Predecessor, held_back};
use crate::storm::{Epoch, Policy};

/// What is done for Signals of a key without an open storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The storm of this epoch is open in the cluster (invariant 9).
    Adopt(Epoch),
    /// A storm opens with this epoch: later than any that the cluster or the ledger knows (invariant 4).
    Open(Epoch),
    /// None may open.
    HeldBack(HeldBack),
}

/// What is done for such Signals now. `objects`: those of the key, the oldest first; `last`: the last storm that the ledger closed.
pub fn choose(objects: &[Arc<Request>], last: Option<Epoch>, policy: &Policy, now: Timestamp) -> Choice {
    if let Some(open) = open_epoch(objects, last) {
        return Choice::Adopt(open);
    }
    if let Some(why) = why_held_back(objects, policy, now) {
        return Choice::HeldBack(why);
    }
    let latest = objects.iter().map(|object| object.epoch()).max().max(last);
    Choice::Open(now.as_second().max(latest.map_or(0, |latest| latest.saturating_add(1))))
}

/// The oldest open storm of the cluster that the ledger has not closed.
pub(super) fn open_epoch(objects: &[Arc<Request>], last: Option<Epoch>) -> Option<Epoch> {
    let open = objects.iter().filter(|object| object.is_open()).map(|object| object.epoch());
    open.into_iter().find(|epoch| last.is_none_or(|last| *epoch > last))
}

/// Why no storm may open, if none is open.
pub(super) fn why_held_back(objects: &[Arc<Request>], policy: &Policy, now: Timestamp) -> Option<HeldBack> {
    let last = objects.iter().rfind(|object| !object.is_superseded());
    held_back(policy, last.and_then(|object| predecessor(object, now)).as_ref(), now)
}

/// The storm of this key that came before.
pub(super) fn previous(objects: &[Arc<Request>], epoch: Epoch) -> Option<String> {
    objects.iter().rfind(|object| object.epoch() < epoch).map(|object| object.name.clone())
}

/// What an object says of its remediation. One that the ledger has closed and whose end is not written yet ends now.
fn predecessor(object: &Request, now: Timestamp) -> Option<Predecessor> {
    let remediation = object.remediation?;
    Some(Predecessor {
        name: object.name.clone(),
        outcome: remediation.outcome?,
        finished: remediation.finished,
        closed: object.end().and_then(|end| end.at).unwrap_or(now),
        acknowledged: object.acknowledged,
    })
}
