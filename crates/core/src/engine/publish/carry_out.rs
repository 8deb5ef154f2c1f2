//! What a decision does: one function for each, no rules.

use std::sync::Arc;
use std::time::Duration;

use super::super::call::{ApiCall, ApiFault, ApiFaultKind, ApiReply, NewRequest, ObjectName, Reply, StatusApply, Task};
use super::super::effect::{Fact, Next};
use super::super::lineage::previous;
use super::super::resync::{RereadReason, ResyncReason};
use super::run::{Turn, Turned};
use super::{Applying, PublishError, Run, RunPhase, SHORTLY, What, Written};
use crate::engine::Engine;
use crate::ledger::{Closing, DedupWindow, LedgerCall, LedgerReply, Snapshot};
use crate::rules::Rule;
use crate::storm::decide::{CloseReason, Decision, DropReason, LedgerView};
use crate::storm::{Policy, StormId, StormMetadata};

#[allow(clippy::unnecessary_wraps, reason = "a step has one type, whether or not it can fail")]
impl Engine {
    pub(super) fn carry_out(&mut self, id: StormId, run: Run, decision: Decision, snapshot: &Snapshot) -> Turned {
        match decision {
            Decision::Create => self.create(id, run, snapshot),
            Decision::Adopt => self.adopt(id, run),
            Decision::Write(reason, facts) => self.apply(id, run, facts, What::Facts(reason)),
            Decision::Keep(until) => {
                // Endings are due strictly after their time.
                let delay = Duration::try_from(until.duration_since(self.now)).unwrap_or_default();
                let phase = RunPhase::AckUnchanged(delay + Duration::from_millis(1));
                self.ledger_then(id, run, phase, LedgerCall::Ack(id, snapshot.clone()))
            }
            Decision::Close(reason) => {
                let at = self.dedup_window(id);
                let call = LedgerCall::Close { id, snapshot: snapshot.clone(), reason, at };
                self.ledger_then(id, run, RunPhase::Close(reason), call)
            }
            Decision::WriteClosed(reason, facts) => self.await_merges(id, run, reason, facts),
            Decision::Forget => {
                let call = LedgerCall::Forget(id, self.dedup_window(id));
                self.ledger_then(id, run, RunPhase::Forget, call)
            }
            Decision::Drop(reason) => self.drop_storm(id, run, reason),
            Decision::Settled => self.ledger_then(id, run, RunPhase::Settle, LedgerCall::Settle(id)),
            Decision::NextRun => Ok(Turn::End(run, Next::After(Duration::ZERO))),
            Decision::AwaitList => {
                self.resync.wait(id);
                Ok(Turn::End(run, Next::Done))
            }
            Decision::Resync(doubt) => {
                self.resync.ask_for(id, doubt);
                Ok(Turn::End(run, Next::Done))
            }
        }
    }

    /// What the calls of a decision answer.
    pub(super) fn carried_out(&mut self, id: StormId, run: Run, reply: Reply) -> Turned {
        match (run.phase.clone(), reply) {
            (RunPhase::Create, Reply::Api(reply)) => self.created(id, run, reply),
            (RunPhase::Apply(applying), Reply::Api(reply)) => self.applied(id, run, *applying, reply),
            (RunPhase::Forget, Reply::Ledger(reply)) => {
                // An error may have come after the effect, and the next run would find nothing left to forget.
                if !matches!(reply, Ok(LedgerReply::Forgotten(false))) {
                    // What came after the last publish was shown to nobody: its Signals, which have no receipt, are read again.
                    let namespace = self.namespace_of(id);
                    self.receipts.abandon(id);
                    self.reread(namespace, RereadReason::RequestDeleted);
                }
                reply?;
                self.tell(id, Fact::Forgotten);
                self.receipts.release(id);
                Ok(self.settled(id, run))
            }
            (RunPhase::Drop, Reply::Ledger(reply)) => {
                let namespace = self.namespace_of(id);
                self.receipts.abandon(id);
                if let Some(older) = self.store.older_open(id).map(|object| object.id) {
                    self.request(older);
                }
                // Also after an error, which may have come after the effect.
                self.reread(namespace, RereadReason::StormDropped);
                reply?;
                Ok(Turn::Again(run))
            }
            (phase, Reply::Ledger(reply)) => {
                let reply = reply?;
                self.ledger_did(id, run, phase, &reply)
            }
            (_, Reply::Api(_) | Reply::Signals(_)) => Err(PublishError::Unexpected),
        }
    }

    fn ledger_did(&mut self, id: StormId, run: Run, phase: RunPhase, reply: &LedgerReply) -> Turned {
        match (phase, reply) {
            (RunPhase::DropWithNamespace, _) => {
                self.receipts.abandon(id);
                self.openings.remove(id);
                self.examples.remove(id);
                Ok(Turn::End(run, Next::Done))
            }
            (RunPhase::Adopt, LedgerReply::Opened(open)) => self.adopted(id, run, *open),
            (RunPhase::MarkAdopted, _) => {
                self.tell(id, Fact::Adopted);
                Ok(Turn::Again(run))
            }
            (RunPhase::MarkGone, _) => Ok(Turn::Again(run)),
            (RunPhase::AckWritten(written), _) => self.published(id, run, *written),
            (RunPhase::AckUnchanged(delay), _) => {
                self.receipts.release(id);
                Ok(Turn::End(run, Next::After(delay)))
            }
            (RunPhase::Close(reason), LedgerReply::Closing(Closing::Closed { left })) => {
                self.is_closed(id, *left);
                self.tell(id, |name| Fact::ClosedInLedger(name, reason));
                Ok(Turn::Again(run))
            }
            (RunPhase::Close(_), LedgerReply::Closing(Closing::Changed)) => {
                Ok(Turn::End(run, Next::After(Duration::ZERO)))
            }
            (RunPhase::Settle, _) => {
                let opened_anew =
                    run.snapshot.as_ref().is_some_and(|snapshot| matches!(snapshot.view, LedgerView::Open { .. }));
                if opened_anew { Ok(Turn::End(run, Next::Done)) } else { Ok(self.settled(id, run)) }
            }
            _ => Err(PublishError::Unexpected),
        }
    }

    fn create(&mut self, id: StormId, run: Run, snapshot: &Snapshot) -> Turned {
        let LedgerView::Open { metadata: Some(facts), .. } = &snapshot.view else { return Ok(Turn::Again(run)) };
        let Some(opening) = self.openings.get(id).cloned() else {
            self.resync.ask(ResyncReason::OpeningUnknown);
            return Err(PublishError::OpeningUnknown);
        };
        let previous = previous(&self.store.of_key(id.key), id.epoch);
        let object = NewRequest { id, opening, facts: facts.clone(), previous };
        self.ask_api(Task::Run(id), ApiCall::Create(Box::new(object)));
        Ok(Turn::Waits(Run { phase: RunPhase::Create, ..run }))
    }

    fn created(&mut self, id: StormId, run: Run, reply: Result<ApiReply, ApiFault>) -> Turned {
        match reply {
            Ok(ApiReply::Created(created)) => {
                self.fact(Fact::Opened(Arc::new(created.clone())));
                self.store.put(created);
                Ok(Turn::Again(run))
            }
            Ok(ApiReply::Existed(existing)) if existing.id == id => {
                self.store.put(existing);
                Ok(Turn::Again(run))
            }
            Ok(ApiReply::Existed(existing)) => Err(PublishError::NameTaken(existing.name)),
            // It was there: for the ledger it was published, and a missing object means deleted by hand.
            Ok(ApiReply::Deleting) => self.ledger_then(id, run, RunPhase::MarkGone, LedgerCall::MarkPublished(id)),
            Ok(ApiReply::NameTaken(name)) => Err(PublishError::NameTaken(name)),
            Err(fault) if fault.kind == ApiFaultKind::NamespaceGone => {
                self.tell(id, Fact::NamespaceGone);
                self.ledger_then(id, run, RunPhase::DropWithNamespace, LedgerCall::DropStorm(id))
            }
            Err(fault) => Err(fault.into()),
            Ok(_) => Err(PublishError::Unexpected),
        }
    }

    fn adopt(&mut self, id: StormId, run: Run) -> Turned {
        let Some(object) = self.store.get(id).cloned() else { return Ok(Turn::Again(run)) };
        self.openings.offer(id, &object.opening);
        let call = LedgerCall::Open { id, pattern: object.opening.pattern.clone(), now: self.now };
        self.ledger_then(id, run, RunPhase::Adopt, call)
    }

    fn adopted(&mut self, id: StormId, run: Run, open: Option<i64>) -> Turned {
        match open {
            Some(epoch) if epoch == id.epoch => {
                self.ledger_then(id, run, RunPhase::MarkAdopted, LedgerCall::MarkPublished(id))
            }
            // Another storm of this key is open in the ledger: whichever is younger will see that it is superseded.
            Some(epoch) => {
                self.request(StormId { key: id.key, epoch });
                Ok(Turn::End(run, Next::After(SHORTLY)))
            }
            None => Ok(Turn::Again(run)),
        }
    }

    fn apply(&mut self, id: StormId, run: Run, facts: StormMetadata, what: What) -> Turned {
        let Some(object) = self.store.get(id).cloned() else { return Ok(Turn::Again(run)) };
        let (policy, now) = (self.policy(id), self.now);
        let ending = match what {
            What::End(reason) => Some(reason),
            What::Facts(_) => None,
        };
        let examples = if facts.firing > 0 { self.examples.shown(id) } else { Vec::new() };
        let apply = StatusApply { object: object.clone(), facts: facts.clone(), examples, ending, policy, now };
        self.ask_api(Task::Run(id), ApiCall::Apply(Box::new(apply)));
        Ok(Turn::Waits(Run { phase: RunPhase::Apply(Box::new(Applying { object, facts, what })), ..run }))
    }

    fn applied(&mut self, id: StormId, run: Run, applying: Applying, reply: Result<ApiReply, ApiFault>) -> Turned {
        let Applying { object: before, facts, what } = applying;
        if Self::is_gone(&reply) {
            self.store.remove(id);
            // It was there: if the ledger did not know, it knows now, and a missing object means deleted by hand.
            return self.ledger_then(id, run, RunPhase::MarkGone, LedgerCall::MarkPublished(id));
        }
        let ApiReply::Applied(written) = reply? else { return Err(PublishError::Unexpected) };
        self.store.put(written.clone());
        let object = Arc::new(written);
        match what {
            What::Facts(reason) => {
                let Some(snapshot) = run.snapshot.clone() else { return Err(PublishError::Unexpected) };
                let crossed = object.is_storm() && !before.is_storm();
                let phase = RunPhase::AckWritten(Box::new(Written { object, facts, reason, crossed }));
                self.ledger_then(id, run, phase, LedgerCall::Ack(id, snapshot))
            }
            What::End(reason) => {
                self.fact(Fact::Closed(object, reason));
                self.ledger_then(id, Run { snapshot: None, ..run }, RunPhase::Settle, LedgerCall::Settle(id))
            }
        }
    }

    /// What was written is acknowledged.
    fn published(&mut self, id: StormId, run: Run, written: Written) -> Turned {
        let Written { object, facts, reason, crossed } = written;
        let since = run.snapshot.as_ref().and_then(|snapshot| snapshot.dirty_since);
        let lag = since.map(|since| self.now.duration_since(since));
        self.receipts.release(id);
        if crossed {
            self.fact(Fact::ThresholdReached(object.clone(), Box::new(facts)));
        }
        self.fact(Fact::Published { object, reason, lag });
        Ok(Turn::Again(Run { wrote: true, ..run }))
    }

    /// An end must not pass a merge that is under way: its Signals are not owed their receipts yet.
    fn await_merges(&mut self, id: StormId, run: Run, reason: CloseReason, facts: StormMetadata) -> Turned {
        let merges = self.merges_of(id.key);
        if merges.is_empty() || !self.settings.rules.keep(Rule::EndAfterMerges) {
            return self.write_closed(id, run, reason, facts);
        }
        let Some(object) = self.store.get(id).cloned() else { return Ok(Turn::Again(run)) };
        Ok(Turn::Waits(Run { phase: RunPhase::AwaitMerges(merges, reason, Box::new((facts, object))), ..run }))
    }

    /// These merges are over, and the receipts of their Signals are owed: runs that waited for them go on. Where the object has
    /// changed meanwhile, or a list has begun, they decide again.
    pub(in crate::engine) fn merges_are_over(&mut self, over: impl Fn(&Task) -> bool) {
        let mut free = Vec::new();
        for (id, run) in &mut self.runs {
            if let RunPhase::AwaitMerges(merges, ..) = &mut run.phase {
                merges.retain(|task| !over(task));
                if merges.is_empty() {
                    free.push(*id);
                }
            }
        }
        for id in free {
            let Some(run) = self.runs.remove(&id) else { continue };
            let RunPhase::AwaitMerges(_, reason, decided) = run.phase.clone() else { continue };
            let (retried, (facts, object)) = (run.retried, *decided);
            let same = self.is_listed(id) && self.store.get(id) == Some(&object);
            let turned = if same { self.write_closed(id, run, reason, facts) } else { Ok(Turn::Again(run)) };
            self.turn(id, retried, turned);
        }
    }

    fn write_closed(&mut self, id: StormId, run: Run, reason: CloseReason, facts: StormMetadata) -> Turned {
        let view = run.snapshot.as_ref().map(|snapshot| &snapshot.view);
        let known = matches!(view, Some(LedgerView::Closed { reason: Some(_), .. }));
        // What has joined is shown by now, if it is known how the storm ended.
        self.receipts.claim(id);
        if known || !self.settings.rules.keep(Rule::UnknownEndsOweNothing) {
            self.receipts.release(id);
        } else {
            self.drop_receipts(id);
        }
        if self.receipts.owed(id) > 0 {
            self.receipts.hurry(id);
            // A Signal without a receipt would open a successor after a restart: receipts come before the end.
            return Ok(Turn::End(run, Next::After(SHORTLY)));
        }
        self.apply(id, run, facts, What::End(reason))
    }

    fn drop_storm(&mut self, id: StormId, run: Run, reason: DropReason) -> Turned {
        self.tell(id, |name| Fact::Dropped(name, reason));
        self.ledger_then(id, run, RunPhase::Drop, LedgerCall::DropStorm(id))
    }

    /// Nobody can say any more whether the storm had what these receipts are about. The ledger can: their Signals are read again.
    fn drop_receipts(&mut self, id: StormId) {
        let namespace = self.namespace_of(id);
        if self.receipts.abandon(id) {
            self.reread(namespace, RereadReason::ReceiptsDropped);
        }
    }

    fn settled(&mut self, id: StormId, run: Run) -> Turn {
        if self.settings.rules.keep(Rule::UnknownEndsOweNothing) {
            self.drop_receipts(id);
        } else {
            self.receipts.release(id);
        }
        if self.openings.get(id).is_some() {
            self.is_over(id);
        }
        self.openings.remove(id);
        self.examples.remove(id);
        self.refused.remove(&id);
        self.resync.forget(id);
        Turn::End(run, Next::Done)
    }

    fn ledger_then(&mut self, id: StormId, run: Run, phase: RunPhase, call: LedgerCall) -> Turned {
        self.ask_ledger(Task::Run(id), call);
        Ok(Turn::Waits(Run { phase, ..run }))
    }

    /// What the policy under which the storm opened says now: thresholds and times of open storms follow its edits.
    pub(super) fn policy(&self, id: StormId) -> Arc<Policy> {
        let opening = self.store.get(id).map(|object| &object.opening).or_else(|| self.openings.get(id));
        self.policies.named(opening.map_or("", |opening| &opening.policy)).clone()
    }

    fn dedup_window(&self, id: StormId) -> DedupWindow {
        DedupWindow { now: self.now, horizon: self.policy(id).dedup_horizon }
    }

    fn tell(&mut self, id: StormId, fact: impl FnOnce(ObjectName) -> Fact) {
        if let Some(name) = self.name_of(id) {
            self.fact(fact(name));
        }
    }
}
