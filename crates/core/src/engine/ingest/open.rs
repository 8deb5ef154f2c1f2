//! Keys without an open storm in the ledger: one is adopted or opened, unless nothing fires anew or the policy holds it back.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::call::{ApiReply, Reply, Task};
use super::super::lineage::{Choice, choose, open_epoch, why_held_back};
use super::IngestError;
use super::holders::Holder;
use super::merge::dedup_window;
use crate::engine::Engine;
use crate::ledger::{Batch, LedgerCall, LedgerReply, Merge, TakenOver, namespace_made};
use crate::rules::Rule;
use crate::storm::holding::HeldBack;
use crate::storm::{Epoch, HeldReports, Observation, Opening, StormId, StormKey};

/// A key whose storm is being opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OpeningKey {
    part: usize,
    batch: Arc<Vec<Batch>>,
    key: StormKey,
    /// For each observation whether it opens a storm.
    opens: Vec<bool>,
    /// For each observation its reports that no storm takes in.
    held: Vec<HeldReports>,
    /// The last storm that the ledger closed.
    last: Option<Epoch>,
    /// What a storm begins with that opens for what closed ones left, without a Signal.
    successor: Option<Arc<Opening>>,
    step: Step,
}

/// What the opening of a storm waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Its turn.
    Turn,
    /// The objects of the key, uncached.
    Find(Arc<Opening>),
    /// The ledger opens the storm of this epoch; the epochs that the cluster has.
    Open(Arc<Opening>, Epoch, Vec<Epoch>),
    /// The ledger is told that the object of this storm exists.
    Mark(Arc<Opening>, Epoch),
    /// The storm takes over what closed ones left; whether it opens for that.
    TakeOver(Arc<Opening>, Epoch, bool),
    /// It was opened for nothing.
    Drop,
    /// The batch is merged into the storm.
    Merge,
    /// Nothing opens; what no storm takes in is remembered.
    Note,
}

/// What became of a key.
pub(super) enum OpeningOutcome {
    /// A call is under way.
    Waits(OpeningKey),
    /// All of it is done.
    Done,
    /// It may not open a storm.
    HeldBack(HeldBack, Vec<Observation>),
    /// It goes through the merge again: what a receipt names has changed since it was looked at.
    Again(Vec<Observation>),
    /// It failed.
    Failed(IngestError, OpeningKey),
    /// The ledger is full.
    Full(StormId, OpeningKey, String),
}

impl OpeningKey {
    pub(super) fn new(
        part: usize,
        key: StormKey,
        observations: Vec<Observation>,
        (opens, held): (Vec<bool>, Vec<HeldReports>),
        last: Option<Epoch>,
    ) -> Self {
        let batch = Arc::new(vec![(key, observations)]);
        Self { part, batch, key, opens, held, last, successor: None, step: Step::Turn }
    }

    /// For what closed storms left, the last of them this one.
    pub(super) fn successor(part: usize, key: StormKey, opening: Arc<Opening>, last: Option<Epoch>) -> Self {
        Self { successor: Some(opening), ..Self::new(part, key, Vec::new(), (Vec::new(), Vec::new()), last) }
    }

    pub(super) fn part(&self) -> usize {
        self.part
    }

    pub(super) fn key(&self) -> StormKey {
        self.key
    }

    /// The namespace of all Signals of the key.
    pub(super) fn namespace(&self) -> Arc<str> {
        let opening = self.observations().first().map(|first| &first.opening).or(self.successor.as_ref());
        opening.map_or("", |opening| opening.object_namespace.as_str()).into()
    }

    pub(super) fn merges(&self) -> bool {
        self.step == Step::Merge
    }

    /// Whether a storm opens with it, if one may.
    pub(super) fn may_open(&self) -> bool {
        self.opens.contains(&true) || self.successor.is_some()
    }

    pub(super) fn observations(&self) -> &[Observation] {
        self.batch.first().map_or(&[], |(_, observations)| observations)
    }

    pub(super) fn into_observations(self) -> Vec<Observation> {
        Arc::unwrap_or_clone(self.batch).into_iter().flat_map(|(_, observations)| observations).collect()
    }
}

impl Engine {
    /// A key without an open storm: what needs no call is done at once and takes no place, the rest is opened in its turn.
    pub(super) fn open_in_turn(&mut self, opening: OpeningKey) {
        let held_back = match self.opens_with(&opening) {
            Some(first) => self.held_back_by_store(&opening, &first),
            None if opening.observations().iter().flat_map(|o| &o.reports).all(|report| report.firing) => {
                return self.all_known(opening);
            }
            None => None,
        };
        match held_back {
            Some(why) => self.hold_back(opening.part, opening.key, why, opening.into_observations()),
            None => self.ingest.pool.add(opening),
        }
    }

    /// What is to be merged again of a key that does not open now. What closed storms left waits for another moment.
    pub(super) fn let_go(&mut self, opening: OpeningKey) -> Vec<Observation> {
        if let Some(first) = &opening.successor {
            self.ingest.successors.add(opening.key, first, opening.last);
        }
        opening.into_observations()
    }

    /// What a storm takes that this key opens or adopts, if it does.
    fn opens_with(&self, opening: &OpeningKey) -> Option<Arc<Opening>> {
        let candidates = opening.observations().iter().zip(&opening.opens).filter(|(_, opens)| **opens);
        let first = self.opening_signal(candidates.map(|(observation, _)| observation));
        // Ends are for the storm that is open in the cluster, also where the ledger has lost it.
        let is_open = || open_epoch(&self.store.of_key(opening.key), opening.last).is_some();
        let first = first.or_else(|| opening.observations().first().filter(|_| is_open()));
        first.map(|first| first.opening.clone()).or_else(|| opening.successor.clone())
    }

    /// What holds back by the store is looked at again each second: no call for each Signal that waits.
    fn held_back_by_store(&self, opening: &OpeningKey, first: &Opening) -> Option<HeldBack> {
        let objects = self.store.of_key(opening.key);
        let none_open = open_epoch(&objects, opening.last).is_none() && self.settings.rules.keep(Rule::OpenAfterLook);
        none_open.then(|| why_held_back(&objects, self.policies.named(&first.policy), self.now)).flatten()
    }

    pub(super) fn open(&mut self, mut opening: OpeningKey) -> OpeningOutcome {
        let Some(first) = self.opens_with(&opening) else { return self.nothing_opens(opening) };
        if let Some(why) = self.held_back_by_store(&opening, &first) {
            return OpeningOutcome::HeldBack(why, self.let_go(opening));
        }
        let known = open_epoch(&self.store.of_key(opening.key), opening.last).is_some();
        if !known && self.settings.rules.keep(Rule::OpenAfterLook) {
            // The store may lag: nothing is opened on its word alone (case C10).
            self.find(Task::Open(opening.key), opening.key, &first);
            opening.step = Step::Find(first);
            return OpeningOutcome::Waits(opening);
        }
        self.choose_epoch(opening, first)
    }

    fn choose_epoch(&mut self, mut opening: OpeningKey, first: Arc<Opening>) -> OpeningOutcome {
        let objects = self.store.of_key(opening.key);
        let there = objects.iter().map(|object| object.epoch()).collect();
        match choose(&objects, opening.last, self.policies.named(&first.policy), self.now) {
            Choice::HeldBack(why) => OpeningOutcome::HeldBack(why, self.let_go(opening)),
            Choice::Adopt(epoch) => {
                for observation in
                    Arc::make_mut(&mut opening.batch).iter_mut().flat_map(|(_, observations)| observations)
                {
                    self.spare_older_storms(observation);
                }
                self.open_in_ledger(opening, first, epoch, there)
            }
            Choice::Open(epoch) => {
                // Not before its namespace was made, whatever our clock says: it would be that of another one.
                let made = namespace_made(opening.observations()).map_or(epoch, Timestamp::as_second);
                self.open_in_ledger(opening, first, epoch.max(made), there)
            }
        }
    }

    fn open_in_ledger(
        &mut self,
        mut opening: OpeningKey,
        first: Arc<Opening>,
        epoch: Epoch,
        there: Vec<Epoch>,
    ) -> OpeningOutcome {
        let id = StormId { key: opening.key, epoch };
        let call = LedgerCall::Open { id, pattern: first.pattern.clone(), now: self.now };
        self.ask_ledger(Task::Open(opening.key), call);
        opening.step = Step::Open(first, epoch, there);
        OpeningOutcome::Waits(opening)
    }

    pub(super) fn open_answered(&mut self, mut opening: OpeningKey, reply: Reply) -> OpeningOutcome {
        let step = std::mem::replace(&mut opening.step, Step::Turn);
        let reply = match reply {
            Reply::Api(Ok(ApiReply::Found(objects))) => {
                for object in objects {
                    self.store.put(object);
                }
                return match step {
                    Step::Find(first) => self.choose_epoch(opening, first),
                    _ => OpeningOutcome::Failed(IngestError::Unexpected, opening),
                };
            }
            Reply::Api(Err(fault)) => return OpeningOutcome::Failed(fault.into(), opening),
            Reply::Ledger(Err(error)) => return OpeningOutcome::Failed(error.into(), opening),
            Reply::Api(Ok(_)) | Reply::Signals(_) => return OpeningOutcome::Failed(IngestError::Unexpected, opening),
            Reply::Ledger(Ok(reply)) => reply,
        };
        match (step, reply) {
            (Step::Open(first, _, there), LedgerReply::Opened(Some(open))) => {
                if there.contains(&open) {
                    // Its object is there: should it be missing later, somebody deleted it.
                    let id = StormId { key: opening.key, epoch: open };
                    self.ask_ledger(Task::Open(opening.key), LedgerCall::MarkPublished(id));
                    opening.step = Step::Mark(first, open);
                    return OpeningOutcome::Waits(opening);
                }
                self.take_over(opening, first, open)
            }
            // Closed in the ledger a moment ago.
            (Step::Open(first, epoch, there), LedgerReply::Opened(None)) => match epoch.checked_add(1) {
                Some(next) => self.open_in_ledger(opening, first, next, there),
                None => OpeningOutcome::Failed(IngestError::NoEpoch, opening),
            },
            (Step::Mark(first, open), _) => self.take_over(opening, first, open),
            (Step::TakeOver(first, open, for_that), LedgerReply::TakenOver(taken)) => {
                opening.successor.take_if(|_| !for_that);
                self.has_taken_over(opening, &first, open, taken)
            }
            (Step::Drop, _) => OpeningOutcome::Done,
            (Step::Merge, LedgerReply::Merged(mut merges)) => self.opening_merged(opening, merges.pop()),
            (Step::Note, _) => {
                self.all_known(opening);
                OpeningOutcome::Done
            }
            _ => OpeningOutcome::Failed(IngestError::Unexpected, opening),
        }
    }

    /// Where storms of the key are known to have ended, some may have left alerts.
    fn take_over(&mut self, mut opening: OpeningKey, first: Arc<Opening>, epoch: Epoch) -> OpeningOutcome {
        let for_that = opening.successor.is_some();
        if opening.last.is_none() && !for_that && !self.store.has_closed(opening.key) {
            return self.opened(opening, &first, epoch);
        }
        let id = StormId { key: opening.key, epoch };
        self.ask_ledger(Task::Open(opening.key), LedgerCall::TakeOver(id, self.now));
        // Whether it has done so nobody knows without the answer: then it is asked again.
        opening.successor.get_or_insert_with(|| first.clone());
        opening.step = Step::TakeOver(first, epoch, for_that);
        OpeningOutcome::Waits(opening)
    }

    fn has_taken_over(
        &mut self,
        mut opening: OpeningKey,
        first: &Arc<Opening>,
        epoch: Epoch,
        TakenOver { taken, firing }: TakenOver,
    ) -> OpeningOutcome {
        let id = StormId { key: opening.key, epoch };
        // It may have taken them over before, by a process that died before it read their Signals.
        if taken > 0 || firing > 0 && opening.successor.is_some() {
            self.openings.offer(id, first);
            self.took_over(id, first);
        }
        if !opening.observations().is_empty() {
            return self.opened(opening, first, epoch);
        }
        if firing > 0 || self.store.get(id).is_some() {
            return OpeningOutcome::Done;
        }
        // They have ended since.
        self.ask_ledger(Task::Open(opening.key), LedgerCall::DropStorm(id));
        opening.step = Step::Drop;
        OpeningOutcome::Waits(opening)
    }

    /// The ledger has an open storm of the key: the batch is merged into it. Not if a storm that one of its receipts names has
    /// ended: then what it held is not for another one.
    fn opened(&mut self, mut opening: OpeningKey, first: &Arc<Opening>, epoch: Epoch) -> OpeningOutcome {
        self.openings.offer(StormId { key: opening.key, epoch }, first);
        let ended = opening.observations().iter().any(|o| matches!(self.holder(o), Holder::Closed(..)));
        if ended && self.settings.rules.keep(Rule::HoldersCheckedTwice) {
            return OpeningOutcome::Again(self.let_go(opening));
        }
        let call = LedgerCall::Merge { batches: opening.batch.clone(), now: self.now };
        self.ask_ledger(Task::Open(opening.key), call);
        opening.step = Step::Merge;
        OpeningOutcome::Waits(opening)
    }

    fn opening_merged(&mut self, mut opening: OpeningKey, merge: Option<Merge>) -> OpeningOutcome {
        match merge {
            Some(joined @ Merge::Joined { .. }) => {
                let key = opening.key;
                self.joined(key, &opening.into_observations(), joined);
                OpeningOutcome::Done
            }
            // The storm has closed since: nothing counted, and the next epoch takes it.
            Some(Merge::NotOpen { opens, held, last }) => {
                (opening.opens, opening.held, opening.last) = (opens, held, last);
                self.open(opening)
            }
            Some(Merge::NoRoom { waits, others, why }) => {
                let (part, key) = (opening.part, opening.key);
                let observations = std::mem::take(&mut opening.batch);
                let observations =
                    Arc::unwrap_or_clone(observations).into_iter().flat_map(|(_, observations)| observations);
                let rest = self.merged_in_part(part, (key, observations.collect()), &waits, &others, &why);
                if rest.is_empty() {
                    return OpeningOutcome::Done;
                }
                opening.batch = Arc::new(vec![(key, rest)]);
                self.opening_merged(opening, Some(*others))
            }
            Some(Merge::Full { epoch, why }) => {
                let id = StormId { key: opening.key, epoch };
                OpeningOutcome::Full(id, opening, why)
            }
            None => OpeningOutcome::Failed(IngestError::Unexpected, opening),
        }
    }

    /// Nothing in the batch fires anew.
    fn nothing_opens(&mut self, mut opening: OpeningKey) -> OpeningOutcome {
        let reports: Vec<_> = opening.observations().iter().flat_map(Observation::says).collect();
        let at = dedup_window(opening.observations().iter(), self.now);
        let call = LedgerCall::Note { key: opening.key, reports, at };
        self.ask_ledger(Task::Open(opening.key), call);
        opening.step = Step::Note;
        OpeningOutcome::Waits(opening)
    }

    fn all_known(&mut self, opening: OpeningKey) {
        let (last, all_held) = (opening.last, opening.held.clone());
        for (index, observation) in opening.into_observations().iter().enumerate() {
            let holds = observation.reports.iter().any(|report| report.firing);
            let held = all_held.get(index).map(Vec::as_slice).unwrap_or_default();
            self.known(observation, held, last.filter(|_| holds));
        }
    }

    /// The Signal that opens a storm: the earliest one, whatever the order of delivery, of those whose policy opens storms at all.
    pub(super) fn opening_signal<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Observation>,
    ) -> Option<&'a Observation> {
        candidates.min_by_key(|observation| {
            let suspended = self.policies.named(&observation.opening.policy).suspended;
            (suspended, observation.first_seen, observation.signal.clone())
        })
    }
}
