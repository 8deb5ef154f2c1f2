//! One run of one storm, answer by answer: snapshot → projection → decide → carry out.

use super::super::call::{ApiCall, ApiFaultKind, ApiReply, Reply, Task};
use super::super::effect::{Effect, Fact, GateId, Next, Part, Timer};
use super::super::resync::ResyncReason;
use super::{LEDGER_RETRY, MAX_STEPS, PublishError, Run, RunPhase, SHORTLY};
use crate::disposition::Disposition;
use crate::engine::Engine;
use crate::ledger::{LedgerCall, LedgerReply, Snapshot};
use crate::rules::Rule;
use crate::storm::StormId;
use crate::storm::decide::{LedgerView, Projection, Reread, Situation, decide};

/// Where an answer leads.
pub(super) enum Turn {
    /// A call is under way.
    Waits(Run),
    /// Decide again: the state is another now.
    Again(Run),
    /// The run is over.
    End(Run, Next),
}

pub(super) type Turned = Result<Turn, PublishError>;

impl Engine {
    pub(in crate::engine) fn start_run(&mut self, id: StormId) {
        self.next_step(id, &Run::default());
    }

    /// Takes the state of the storm anew.
    fn next_step(&mut self, id: StormId, run: &Run) {
        if run.steps == MAX_STEPS {
            return self.run_fails(id, &PublishError::Endless);
        }
        if self.settings.rules.keep(Rule::ClaimBeforeSnapshot) {
            self.receipts.claim(id);
        }
        let Run { wrote, retried, steps, .. } = *run;
        self.runs.insert(id, Run { wrote, retried, steps: steps + 1, ..Run::default() });
        let which = self.examples.ask(id);
        self.ask_ledger(Task::Run(id), LedgerCall::Snapshot { id, which });
    }

    /// The run of a storm has an answer.
    pub(in crate::engine) fn run_heard(&mut self, id: StormId, reply: Reply) {
        let Some(run) = self.runs.remove(&id) else { return };
        let (retried, turned) = (run.retried, self.answered(id, run, reply));
        self.turn(id, retried, turned);
    }

    pub(super) fn turn(&mut self, id: StormId, retried: bool, turned: Turned) {
        match turned {
            Ok(Turn::Waits(run)) => drop(self.runs.insert(id, run)),
            Ok(Turn::Again(run)) => self.next_step(id, &run),
            Ok(Turn::End(run, next)) => self.run_ends(id, &run, next),
            Err(PublishError::Api(fault)) if fault.disposition == Disposition::Conflict && !retried => {
                // Decided on an old object. Read it, and decide once more at once.
                let (part, disposition) = (Part::Publish, fault.disposition);
                let object = self.name_of(id);
                self.fact(Fact::Failed { part, disposition, object, message: fault.message });
                let run = Run { retried: true, ..Run::default() };
                match self.read(id, run, RunPhase::ReadAfterConflict) {
                    Ok(Turn::Waits(run)) => drop(self.runs.insert(id, run)),
                    Ok(_) => {}
                    Err(error) => self.run_fails(id, &error),
                }
            }
            Err(error) => self.run_fails(id, &error),
        }
    }

    fn answered(&mut self, id: StormId, run: Run, reply: Reply) -> Turned {
        match (run.phase.clone(), reply) {
            (RunPhase::Snapshot, Reply::Ledger(reply)) => match reply? {
                LedgerReply::Snapshot(snapshot) => {
                    if matches!(snapshot.view, LedgerView::Open { .. }) {
                        self.examples.answered(id, &snapshot.firing);
                    }
                    self.look(id, Run { snapshot: Some(snapshot), ..run })
                }
                _ => Err(PublishError::Unexpected),
            },
            (RunPhase::Read, Reply::Api(reply)) => {
                self.take_read(id, reply?)?;
                self.look_at_older(id, run)
            }
            (RunPhase::ReadAfterConflict, Reply::Api(reply)) => {
                self.take_read(id, reply?)?;
                Ok(Turn::Again(run))
            }
            (RunPhase::Older(older), Reply::Ledger(reply)) => match reply? {
                LedgerReply::Snapshot(Snapshot { view: LedgerView::Closed { .. }, .. }) => {
                    // Its end is not written yet, and comes first.
                    self.request(older);
                    Ok(Turn::End(run, Next::After(SHORTLY)))
                }
                LedgerReply::Snapshot(_) => self.decide(id, run, true),
                _ => Err(PublishError::Unexpected),
            },
            (_, reply) => self.carried_out(id, run, reply),
        }
    }

    fn look(&mut self, id: StormId, run: Run) -> Turned {
        if !self.settings.rules.keep(Rule::ClaimBeforeSnapshot) {
            self.receipts.claim(id);
        }
        let was_there = matches!(
            run.snapshot.as_ref().map(|snapshot| &snapshot.view),
            Some(LedgerView::Open { published: true, .. } | LedgerView::Closed { metadata: Some(_), .. })
        );
        if was_there && self.store.get(id).is_none() {
            // Gone from the store is a hint; gone by an uncached read is a fact.
            return self.read(id, run, RunPhase::Read);
        }
        self.look_at_older(id, run)
    }

    /// Reads the object uncached. Where its name is not known, nothing can be said of the cluster.
    fn read(&mut self, id: StormId, run: Run, phase: RunPhase) -> Turned {
        let Some(object) = self.name_of(id) else {
            self.resync.ask(ResyncReason::OpeningUnknown);
            return Err(PublishError::OpeningUnknown);
        };
        self.ask_api(Task::Run(id), ApiCall::Get { namespace: object.namespace, name: object.name });
        Ok(Turn::Waits(Run { phase, ..run }))
    }

    fn take_read(&mut self, id: StormId, reply: ApiReply) -> Result<(), PublishError> {
        match reply {
            ApiReply::Object(Some(object)) if object.id == id => self.store.replace(object),
            ApiReply::Object(_) => self.store.remove(id),
            _ => return Err(PublishError::Unexpected),
        }
        Ok(())
    }

    fn look_at_older(&mut self, id: StormId, run: Run) -> Turned {
        let may_be_younger = self.store.get(id).is_none_or(|object| object.is_open());
        let older = self.store.older_open(id).filter(|_| may_be_younger).map(|object| object.id);
        let Some(older) = older else { return self.decide(id, run, false) };
        self.ask_ledger(Task::Run(id), LedgerCall::Snapshot { id: older, which: Vec::new() });
        Ok(Turn::Waits(Run { phase: RunPhase::Older(older), ..run }))
    }

    fn decide(&mut self, id: StormId, run: Run, superseded: bool) -> Turned {
        let Some(snapshot) = run.snapshot.clone() else { return Err(PublishError::Unexpected) };
        let policy = self.policy(id);
        let projection =
            self.store.get(id).map_or(Projection::Absent { superseded }, |object| object.projection(superseded));
        let listed = self.is_listed(id);
        let behind = self.resync.behind(id, &snapshot, listed);
        let decision = decide(&Situation {
            ledger: &snapshot.view,
            projection: &projection,
            policy: &policy,
            epoch: id.epoch,
            now: self.now,
            listed,
            behind,
            over: self.resync.over(id),
            wrote: run.wrote,
            rules: &self.settings.rules,
        });
        if behind == Reread::Done {
            self.resync.note(id, &snapshot, listed);
        }
        self.carry_out(id, run, decision, &snapshot)
    }

    fn run_ends(&mut self, id: StormId, run: &Run, next: Next) {
        let next = match next {
            Next::After(delay) if run.wrote => Next::Published(delay, self.policy(id).publish_interval),
            next => next,
        };
        self.refused.remove(&id);
        self.effect(Effect::Gate(GateId::Publish(id), None));
        self.leave(id, next);
    }

    fn run_fails(&mut self, id: StormId, error: &PublishError) {
        let (part, disposition, object) = (Part::Publish, error.disposition(), self.name_of(id));
        // A quota or an admission policy is one tenant's trouble: readiness is for what concerns everybody (invariant 21).
        let reason = if error.is_of_namespace() {
            self.storm_is_refused(id, &error.to_string());
            None
        } else {
            Some(format!("storms wait: {error}"))
        };
        self.effect(Effect::Gate(GateId::Publish(id), reason));
        self.fact(Fact::Failed { part, disposition, object, message: error.to_string() });
        // An outage of the ledger is everybody's, and is over for everybody at once: no storm waits longer for having failed often.
        let next = if matches!(error, PublishError::Ledger(_)) { Next::After(LEDGER_RETRY) } else { Next::Failed };
        self.leave(id, next);
    }

    /// Tells those whom it concerns: an Event, and the Signals of the storm.
    fn storm_is_refused(&mut self, id: StormId, why: &str) {
        self.refused.insert(id);
        let signal = self.receipts.tell_refused(id, why);
        if let Some(object) = self.name_of(id).filter(|_| signal.is_some()) {
            self.fact(Fact::RequestRefused(object, signal, why.to_owned()));
        }
    }

    fn leave(&mut self, id: StormId, next: Next) {
        let schedule = self.queue.ended(id, self.place_of(id), next);
        if let Some(delay) = schedule.pause {
            self.timer(Timer::Pause(id), delay);
        }
        if let Some(delay) = schedule.look {
            self.timer(Timer::Storm(id), delay);
        }
        self.fact(Fact::RunEnded(id, next));
    }

    /// An object that is gone, or going, where facts were to be written.
    pub(super) fn is_gone(reply: &Result<ApiReply, super::ApiFault>) -> bool {
        match reply {
            Ok(ApiReply::Deleting) => true,
            Ok(_) => false,
            Err(fault) => fault.kind == ApiFaultKind::NotFound,
        }
    }
}
