//! Which receipts are owed, by storm, and how far each is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::fair::FairQueue;
use super::{Receipt, Verdict};
use crate::storm::{Epoch, SignalRef, StormId, StormKey};

/// A receipt that waits for its next try.
pub type ReceiptKey = u32;

/// All receipts that are owed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Receipts {
    /// Those of storms: they wait for a publish, or the end of their storm waits for them.
    storms: BTreeMap<StormId, Owed>,
    /// The Signals of all of them: one that is delivered again before its receipt is written is owed one receipt.
    signals: BTreeSet<(Arc<SignalRef>, StormId)>,
    /// To be written first: rejections, and what the end of a storm waits for.
    urgent: FairQueue<ReceiptTask>,
    /// To be written when the burst is over.
    ready: FairQueue<ReceiptTask>,
    /// Refused, until their back-off is over.
    pub(super) retrying: BTreeMap<ReceiptKey, ReceiptTask>,
    /// By writer: enough to use the API server's idle time, few enough to leave it to the Signals.
    pub(super) writing: BTreeMap<u8, ReceiptTask>,
    /// A burst is under way: something was merged a moment ago.
    pub(super) bursting: bool,
    /// So many of those that are ready have waited for the end of the burst long enough.
    pub(super) overdue: usize,
    /// A timer runs for those that wait for the end of the burst.
    pub(super) patience_runs: bool,
    /// The last write was refused.
    pub(super) failing: bool,
    /// How many are owed in all.
    count: usize,
}

/// The receipts of one storm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Owed {
    /// Of Signals that were merged.
    merged: Vec<Receipt>,
    /// Of Signals that the next publish includes.
    claimed: Vec<Receipt>,
    /// May be written, or are being written.
    released: usize,
}

impl Owed {
    fn count(&self) -> usize {
        self.merged.len() + self.claimed.len() + self.released
    }

    /// The oldest that waits for a publish.
    fn first_unpublished(&self) -> Option<&Receipt> {
        self.claimed.iter().chain(&self.merged).next()
    }
}

/// A receipt that may be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReceiptTask {
    pub(super) receipt: Receipt,
    /// The storm whose end waits for it.
    pub(super) storm: Option<StormId>,
    pub(super) failures: u32,
}

impl Receipts {
    /// Takes those whose Signals are merged: any snapshot taken after this includes them.
    pub(crate) fn claim(&mut self, id: StormId) {
        if let Some(owed) = self.storms.get_mut(&id) {
            owed.claimed.append(&mut owed.merged);
        }
    }

    /// The claimed ones may be written.
    pub(crate) fn release(&mut self, id: StormId) {
        let Some(owed) = self.storms.get_mut(&id) else { return };
        let claimed = std::mem::take(&mut owed.claimed);
        owed.released += claimed.len();
        for receipt in claimed {
            self.ready.push(receipt.place(), ReceiptTask { receipt, storm: Some(id), failures: 0 });
        }
    }

    /// The end of this storm waits for those that may be written: they go first.
    pub(crate) fn hurry(&mut self, id: StormId) {
        for task in self.ready.extract(|task| task.storm == Some(id)) {
            self.urgent.push(task.receipt.place(), task);
        }
        self.overdue = self.overdue.min(self.ready.len());
    }

    /// What the Signals of a storm are told whose RemediationRequest is refused: those that were not told just that. The first of them.
    pub(crate) fn tell_refused(&mut self, id: StormId, why: &str) -> Option<Arc<SignalRef>> {
        let owed = self.storms.get_mut(&id)?;
        let verdict = Verdict::RequestRefused(why.to_owned());
        let mut told = Vec::new();
        for receipt in owed.merged.iter_mut().chain(&mut owed.claimed) {
            let notice = Receipt { storm: None, verdict: verdict.clone(), ..receipt.clone() };
            let message = Some(notice.message());
            if receipt.pending != message {
                receipt.pending = message;
                told.push(notice);
            }
        }
        let first = told.first().map(|notice| notice.signal.clone());
        for notice in told {
            self.write_now(notice);
        }
        first
    }

    /// The storm is gone: its Signals come again, or count as handled. True when there were some that may not be written.
    pub(crate) fn abandon(&mut self, id: StormId) -> bool {
        let Some(owed) = self.storms.get_mut(&id) else { return false };
        let mut abandoned = std::mem::take(&mut owed.merged);
        abandoned.append(&mut owed.claimed);
        if owed.released == 0 {
            self.storms.remove(&id);
        }
        self.count -= abandoned.len();
        for receipt in &abandoned {
            self.signals.remove(&(receipt.signal.clone(), id));
        }
        !abandoned.is_empty()
    }

    /// The ledger may have lost what was merged and not published: those Signals are read again, and owed again.
    pub(crate) fn forget_unpublished(&mut self) {
        let ids: Vec<StormId> = self.storms.keys().copied().collect();
        for id in ids {
            self.abandon(id);
        }
    }

    /// The namespace of the Signals that are owed a receipt of this storm and may not have it yet.
    pub(crate) fn namespace_of(&self, id: StormId) -> Option<Arc<str>> {
        let first = self.storms.get(&id)?.first_unpublished()?;
        Some(first.signal.namespace.as_str().into())
    }

    /// Whether Signals of this key wait, and were told so, for a RemediationRequest that the API server refuses.
    pub fn is_refused(&self, key: StormKey) -> bool {
        let of = |epoch| StormId { key, epoch };
        let mut first =
            self.storms.range(of(Epoch::MIN)..=of(Epoch::MAX)).filter_map(|(_, owed)| owed.first_unpublished());
        first.any(|receipt| receipt.pending.is_some())
    }

    /// The last storm of a key that this Signal is owed a receipt of.
    pub(crate) fn owed_to(&self, signal: &Arc<SignalRef>, key: StormKey) -> Option<StormId> {
        let of = |epoch| (signal.clone(), StormId { key, epoch });
        self.signals.range(of(Epoch::MIN)..=of(Epoch::MAX)).next_back().map(|(_, id)| *id)
    }

    /// How many of a storm are not written yet.
    pub fn owed(&self, id: StormId) -> usize {
        self.storms.get(&id).map_or(0, Owed::count)
    }

    /// How many are owed in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// These Signals were merged into a storm; their receipts wait for its publication.
    pub(crate) fn owe(&mut self, id: StormId, mut receipts: Vec<Receipt>) {
        receipts.retain(|receipt| self.signals.insert((receipt.signal.clone(), id)));
        self.count += receipts.len();
        if !receipts.is_empty() {
            self.storms.entry(id).or_default().merged.extend(receipts);
        }
    }

    /// This Signal adds nothing to a storm that is over; its end waits for the receipt.
    pub(crate) fn write_for(&mut self, id: StormId, receipt: Receipt) {
        if self.signals.insert((receipt.signal.clone(), id)) {
            self.storms.entry(id).or_default().released += 1;
            self.count += 1;
            self.push(ReceiptTask { receipt, storm: Some(id), failures: 0 });
        }
    }

    /// This Signal waits for nothing: it was rejected, or a closed storm holds it.
    pub(crate) fn write_now(&mut self, receipt: Receipt) {
        self.count += 1;
        self.push(ReceiptTask { receipt, storm: None, failures: 0 });
    }

    /// This one is written, or there is nothing left to write it to.
    pub(super) fn done(&mut self, mut task: ReceiptTask) {
        self.count -= 1;
        self.release_storm(&mut task);
    }

    pub(super) fn push(&mut self, task: ReceiptTask) {
        let rejected = matches!(task.receipt.verdict, Verdict::Rejected(_));
        let queue = if rejected { &mut self.urgent } else { &mut self.ready };
        queue.push(task.receipt.place(), task);
    }

    /// The storm of this task need not wait for it any more.
    pub(super) fn release_storm(&mut self, task: &mut ReceiptTask) {
        let Some(id) = task.storm.take() else { return };
        self.signals.remove(&(task.receipt.signal.clone(), id));
        if let Some(owed) = self.storms.get_mut(&id) {
            owed.released -= 1;
            if owed.count() == 0 {
                self.storms.remove(&id);
            }
        }
    }

    /// The next receipt that may be written now.
    pub(super) fn next(&mut self) -> Option<ReceiptTask> {
        if let Some(task) = self.urgent.pop() {
            return Some(task);
        }
        if self.bursting && self.overdue == 0 {
            return None;
        }
        let task = self.ready.pop()?;
        self.overdue = self.overdue.saturating_sub(1);
        Some(task)
    }

    /// Whether receipts wait for the end of the burst.
    pub(super) fn waits(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Those that wait now have waited long enough.
    pub(super) fn all_overdue(&mut self) {
        self.overdue = self.ready.len();
    }
}
