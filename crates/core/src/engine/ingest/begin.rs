//! Before all Signals are read: is the ledger there, and does it still know what it was told?

use super::super::call::Task;
use super::super::effect::{Delay, Effect, Fact, GateId, Part, Timer};
use super::super::resync::{RereadReason, ResyncReason};
use super::reread::Rereads;
use super::{Ingest, IngestPhase, LONGEST_WAIT};
use crate::engine::Engine;
use crate::ledger::{Begun, Durability, LedgerCall, LedgerError, LedgerReply};
use crate::rules::Rule;

impl Engine {
    /// All Signals are read from here on. What was under way is let go: the list brings it again.
    pub(super) fn begin(&mut self, reason: ResyncReason) {
        self.resync.begin();
        let Ingest { held_back, look_runs, mut successors, placements, .. } = std::mem::take(&mut self.ingest);
        successors.list_begins();
        self.ingest.successors = successors;
        self.ingest.placements = placements;
        // What is held back has no receipt, and the list brings it; the timer finds nothing then.
        drop(held_back);
        self.ingest.look_runs = look_runs;
        self.ingest.phase = IngestPhase::Begin;
        self.ingest.reason = Some(reason);
        let of_ingest = |task: &Task| match task {
            Task::Begin
            | Task::Dirty
            | Task::Holder(_)
            | Task::Hold
            | Task::Merge
            | Task::Open(_)
            | Task::Reread(_) => true,
            Task::Run(_) | Task::Receipt(_) => false,
        };
        self.calls.retain(|task, _| !of_ingest(task));
        self.merges_are_over(of_ingest);
        // Whoever waits for room is read again with all others.
        self.crowds_changed();
        self.ask_ledger(Task::Begin, LedgerCall::Begin);
    }

    /// The ledger did not answer, and its back-off is over.
    pub(in crate::engine) fn begin_again(&mut self) {
        if self.ingest.phase == IngestPhase::Begin && !self.calls.contains_key(&Task::Begin) {
            // Whoever asked by now asked for the list that begins. Who asks once the ledger is asked has found something newer.
            self.resync.begins_now();
            self.ingest.rereads = Rereads::default();
            self.ask_ledger(Task::Begin, LedgerCall::Begin);
        }
    }

    pub(in crate::engine) fn begun(&mut self, reply: Result<LedgerReply, LedgerError>) {
        let Begun { key, durability } = match reply {
            Ok(LedgerReply::Begun(begun)) => begun,
            Ok(_) => {
                return self.not_begun(&LedgerError::Refused("it gave another answer than was asked for".to_owned()));
            }
            Err(error) => return self.not_begun(&error),
        };
        self.ingest.failures = 0;
        self.tell_durability(durability);
        if durability != Durability::Intact {
            self.resync.suspect = true;
            if self.settings.rules.keep(Rule::ReceiptsEndWithLedger) {
                self.receipts.forget_unpublished();
            }
        }
        self.ingest.phase = IngestPhase::Read;
        self.ingest.began = self.now;
        if self.digests.replace(key).is_none_or(|before| before != key) {
            self.ingest.placements.clear();
        }
        self.ingest.incomplete = self.settings.parts().collect();
        if let Some(reason) = self.ingest.reason.take() {
            self.fact(Fact::ListBegins(reason));
        }
        let groupings = self.store.open_groupings();
        self.effect(Effect::ReadSignals { digests: key, groupings });
    }

    fn not_begun(&mut self, error: &LedgerError) {
        self.ingest.failures = self.ingest.failures.saturating_add(1);
        self.effect(Effect::Gate(GateId::Ledger, Some(error.to_string())));
        let (part, disposition) = (Part::Ingest, error.disposition());
        let message = format!("the Signals are not read before the ledger answers: {error}");
        self.fact(Fact::Failed { part, disposition, object: None, message });
        self.timer(Timer::Begin, Delay::Backoff { failures: self.ingest.failures, at_most: LONGEST_WAIT });
    }

    /// Says what became of the ledger, where it matters: in readiness, and on the storms that it is rebuilt for.
    fn tell_durability(&mut self, durability: Durability) {
        let open: Vec<_> = self.store.open_objects().cloned().collect();
        let gate = match durability {
            Durability::Lost if !open.is_empty() => "the ledger was empty: it is being rebuilt from the Signals",
            Durability::Suspect => "the ledger was restarted: all Signals are being read again",
            Durability::Intact | Durability::Lost => return self.effect(Effect::Gate(GateId::Ledger, None)),
        };
        self.effect(Effect::Gate(GateId::Ledger, Some(gate.to_owned())));
        self.fact(Fact::LedgerBegun(durability, open));
    }

    /// All Signals were read since the ledger began.
    pub(super) fn list_is_complete(&mut self) {
        let waited = self.resync.complete();
        self.ingest.placements.listed();
        for gate in [GateId::Signals, GateId::Ledger] {
            self.effect(Effect::Gate(gate, None));
        }
        // Runs that waited for the list. A ledger that fell back may hold storms open that are over.
        let all = std::mem::take(&mut self.resync.suspect) && self.settings.rules.keep(Rule::ClosedAreLookedAt);
        let storms = if all { self.store.all() } else { self.store.open() };
        storms.into_iter().chain(waited).for_each(|id| self.request(id));
        for namespace in self.ingest.successors.namespaces() {
            self.reread(Some(namespace), RereadReason::TakenOver);
        }
        self.ask_ledger(Task::Dirty, LedgerCall::Dirty);
    }

    pub(in crate::engine) fn dirty_heard(&mut self, reply: Result<LedgerReply, LedgerError>) {
        match reply {
            Ok(LedgerReply::Dirty(dirty)) => {
                for id in dirty {
                    self.request(id);
                }
                // What is open there and known to nobody was a namespace's that is gone. Storms that others have opened meanwhile are younger.
                let known = self.store.all().into_iter().chain(self.openings.ids()).collect();
                self.ask_ledger(Task::Dirty, LedgerCall::DropUnknown { known, before: self.ingest.began });
            }
            Ok(_) => {}
            // The merges that made them dirty have asked for their runs, too.
            Err(error) => {
                let (part, disposition) = (Part::Ingest, error.disposition());
                let message = format!("the dirty storms are not known: {error}");
                self.fact(Fact::Failed { part, disposition, object: None, message });
            }
        }
    }

    /// Begins when the lists that come first are complete.
    pub(super) fn lists_may_be_complete(&mut self) {
        if self.ingest.phase == IngestPhase::AwaitLists && self.listing.is_empty() && self.policies_listed {
            self.begin(ResyncReason::Start);
        }
    }
}
