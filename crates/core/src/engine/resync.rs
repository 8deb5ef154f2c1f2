//! When all Signals are read again, and which storms wait for that. A list of all Signals is the most expensive thing that the
//! operator does, so each one has a reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::Snapshot;
use crate::storm::StormId;
use crate::storm::decide::{Doubt, LedgerView, Reread};

/// Why all Signals are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResyncReason {
    /// The operator starts, or begins to lead.
    Start,
    /// The ledger's server was restarted, or another one took its place: it may have fallen back.
    LedgerReplaced,
    /// The ledger was emptied.
    LedgerWiped,
    /// The ledger said that it may have lost what it was told.
    LedgerLost,
    /// The ledger knows fewer alerts of a storm than it did.
    LedgerBehind,
    /// A storm is over in the cluster and open in the ledger.
    ClosedInCluster,
    /// The Signal that opened a storm is not known, and its object cannot be named without it.
    OpeningUnknown,
    /// More Signals are held back than are kept in memory, and some of them may open a storm now.
    HeldBackOverflow,
}

/// Why the Signals of one namespace are read again: those of a key are all in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RereadReason {
    /// A storm was dropped from the ledger: its Signals belong elsewhere.
    StormDropped,
    /// A RemediationRequest was deleted by hand: what came after its last publish is merged anew.
    RequestDeleted,
    /// A storm ended while receipts were owed that nobody can vouch for.
    ReceiptsDropped,
    /// More storms were to be opened in it at once than are kept in memory.
    OpeningsOverflow,
    /// A storm has taken over what others left: its Signals say what that is about.
    TakenOver,
    /// More of its Signals waited for the end of a list than are kept in memory.
    ListOverflow,
    /// The ledger had no room for more of it, and has again.
    LedgerFull,
}

impl From<Doubt> for ResyncReason {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::LedgerBehind => Self::LedgerBehind,
            Doubt::ClosedInCluster => Self::ClosedInCluster,
        }
    }
}

/// Lists of Signals: whether one is complete, what asks for the next one, and what waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resync {
    /// Somebody has asked for a list that has not begun.
    wanted: Option<ResyncReason>,
    /// The list of this ledger is complete.
    listed: bool,
    /// The ledger may hold storms open that are over, and nobody has looked since.
    pub(super) suspect: bool,
    /// The most alerts that were seen of each storm in the ledger, and whether all Signals are read again since it had fewer.
    ///
    /// Measured against what this process has seen in the ledger, not against what the cluster shows: a storm whose Signals were
    /// deleted would be behind for ever.
    seen: BTreeMap<StormId, Seen>,
    /// Storms that are over in the cluster and open in the ledger: a ledger that was emptied was told of them again before their
    /// end was written. What such a storm holds is known by the receipts of its Signals alone, so all Signals are read before it
    /// is dropped: dropped at once, a repeat would open a successor that counts it a second time (decision 0012).
    over: BTreeMap<StormId, Since>,
    /// Storms whose run waits for the end of a list.
    waiting: BTreeSet<StormId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    alerts: usize,
    behind: Option<Since>,
}

/// Whether a list has begun since something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Since {
    Asked,
    Begun,
}

impl Resync {
    /// Asks for all Signals again. The first reason stays.
    pub(super) fn ask(&mut self, reason: ResyncReason) {
        self.wanted.get_or_insert(reason);
    }

    /// Whether somebody has asked.
    pub(super) fn wanted(&self) -> Option<ResyncReason> {
        self.wanted
    }

    /// A list is about to begin: it is what everybody asked for who asked before.
    pub(super) fn begin(&mut self) {
        self.wanted = None;
        self.listed = false;
        for since in self.seen.values_mut().filter_map(|seen| seen.behind.as_mut()).chain(self.over.values_mut()) {
            *since = Since::Begun;
        }
    }

    /// Whoever asked before the ledger answered asked for the list that begins now.
    pub(super) fn begins_now(&mut self) {
        self.wanted = None;
    }

    /// The list is complete; the storms that waited for it.
    pub(super) fn complete(&mut self) -> BTreeSet<StormId> {
        self.listed = true;
        std::mem::take(&mut self.waiting)
    }

    /// Whether the list is complete.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// This storm's run waits for the end of a list.
    pub(super) fn wait(&mut self, id: StormId) {
        self.waiting.insert(id);
    }

    /// The storms that wait for the end of a list.
    pub(super) fn waiting(&self) -> Vec<StormId> {
        self.waiting.iter().copied().collect()
    }

    /// This one does not wait any more.
    pub(super) fn waits_no_longer(&mut self, id: StormId) {
        self.waiting.remove(&id);
    }

    /// Whether the ledger knows as much of a storm as it did, or as there is; `listed`: all Signals of its key were read.
    pub(super) fn behind(&self, id: StormId, snapshot: &Snapshot, listed: bool) -> Reread {
        let (LedgerView::Open { metadata, .. }, true) = (&snapshot.view, listed) else { return Reread::Done };
        let alerts = metadata.as_ref().map_or(0, |metadata| metadata.alert_count);
        match self.seen.get(&id) {
            Some(seen) if alerts < seen.alerts => reread(seen.behind),
            _ => Reread::Done,
        }
    }

    /// Notes what the ledger knows of a storm that is not behind.
    pub(super) fn note(&mut self, id: StormId, snapshot: &Snapshot, listed: bool) {
        if let (LedgerView::Open { metadata, .. }, true) = (&snapshot.view, listed) {
            let alerts = metadata.as_ref().map_or(0, |metadata| metadata.alert_count);
            self.seen.insert(id, Seen { alerts, behind: None });
        }
    }

    /// Whether all Signals were read since this storm was found to be over in the cluster.
    pub(super) fn over(&self, id: StormId) -> Reread {
        reread(self.over.get(&id).copied())
    }

    /// All Signals must be read before this storm goes on.
    pub(super) fn ask_for(&mut self, id: StormId, doubt: Doubt) {
        match doubt {
            Doubt::ClosedInCluster => drop(self.over.insert(id, Since::Asked)),
            Doubt::LedgerBehind => {
                if let Some(seen) = self.seen.get_mut(&id) {
                    seen.behind = Some(Since::Asked);
                }
            }
        }
        self.wait(id);
        self.ask(doubt.into());
    }

    /// The storm is over, and out of the ledger.
    pub(super) fn forget(&mut self, id: StormId) {
        self.seen.remove(&id);
        self.over.remove(&id);
        self.waiting.remove(&id);
    }
}

fn reread(since: Option<Since>) -> Reread {
    match since {
        None => Reread::Needed,
        Some(Since::Asked) => Reread::UnderWay,
        Some(Since::Begun) => Reread::Done,
    }
}
