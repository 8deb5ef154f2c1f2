//! Observations into the ledger, by key. What is done leaves the pending list; what fails stays in it and is merged again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::call::Task;
use super::super::effect::{Delay, Effect, Fact, GateId, Part, Timer};
use super::super::resync::ResyncReason;
use super::open::OpeningKey;
use super::{IngestError, LONGEST_WAIT};
use crate::engine::Engine;
use crate::ledger::{Batch, DedupWindow, LedgerCall, LedgerError, LedgerReply, Merge};
use crate::rules::Rule;
use crate::storm::{Observation, StormId, StormKey};

/// Observations of one part of the watch that are being merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Merging {
    pub(super) part: usize,
    /// What is still to merge and not part of the call under way.
    pub(super) pending: Vec<Observation>,
    pub(super) phase: MergePhase,
    /// What failed of the calls under way.
    pub(super) failed: Option<IngestError>,
    failures: u32,
}

/// What a merge waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum MergePhase {
    /// Nothing: a step of its own is under way.
    #[default]
    Step,
    /// The objects of keys whose receipts name storms that the store does not know.
    LookUp(BTreeSet<StormKey>),
    /// The ledger remembers what closed storms hold of these.
    Hold(Vec<Observation>),
    /// The ledger merges these.
    Merge(Arc<Vec<Batch>>),
    /// A back-off.
    Wait,
}

impl Merging {
    pub(super) fn merges(&self, key: StormKey) -> bool {
        matches!(&self.phase, MergePhase::Merge(batches) if batches.iter().any(|(of, _)| *of == key))
    }
}

impl Engine {
    /// Merges these, and nothing else until they are merged: what is not read, the API server keeps.
    pub(super) fn merge_all(&mut self, part: usize, observations: Vec<Observation>) {
        if observations.is_empty() {
            return;
        }
        self.burst_goes_on();
        self.merge(Merging { part, pending: observations, ..Merging::default() });
    }

    /// Merges all that is pending.
    pub(super) fn merge(&mut self, mut merging: Merging) {
        merging.phase = MergePhase::Step;
        if merging.pending.is_empty() {
            return self.merge_works();
        }
        self.sweep_placements();
        let pending = std::mem::take(&mut merging.pending);
        merging.pending = pending.into_iter().flat_map(|observation| self.route(observation)).collect();
        self.look_up_holders(merging);
    }

    /// The back-off of a merge is over.
    pub(in crate::engine) fn merge_again(&mut self) {
        if let Some(merging) = self.ingest.merging.take_if(|merging| merging.phase == MergePhase::Wait) {
            self.merge(merging);
        }
    }

    /// Merges what is pending into open storms. While a list is read, what closed storms may hold waits for its end: a repeat can
    /// be listed before the Signal whose receipt says that a closed storm holds it.
    pub(super) fn join(&mut self, mut merging: Merging) {
        if self.anything_is_listed(merging.part) && self.settings.rules.keep(Rule::JoinAfterList) {
            let closed = self.keys_with_closed_storms(&merging.pending);
            let waits = |o: &mut Observation| {
                // Who was told to wait gives way once more: those with a receipt had their room before.
                let after_others = closed.contains(&o.key) || self.may_be_elsewhere(o) || o.pending_message.is_some();
                after_others && self.is_being_listed(merging.part, o)
            };
            let waits = merging.pending.extract_if(.., waits).collect();
            self.wait_for_list(merging.part, waits);
        }
        self.without_not_held(merging.part, &mut merging.pending);
        // What is being opened takes the rest of its key in when it is open.
        if !self.ingest.pool.is_empty() {
            let opens = |observation: &mut Observation| self.ingest.pool.has(observation.key);
            let waits: Vec<_> = merging.pending.extract_if(.., opens).collect();
            for observation in waits {
                self.ingest.pool.add_more(observation);
            }
        }
        if merging.pending.is_empty() {
            return self.merge(merging);
        }
        let mut groups: BTreeMap<StormKey, Vec<Observation>> = BTreeMap::new();
        for mut observation in std::mem::take(&mut merging.pending) {
            self.spare_older_storms(&mut observation);
            groups.entry(observation.key).or_default().push(observation);
        }
        let batches = Arc::new(groups.into_iter().collect::<Vec<Batch>>());
        self.ask_ledger(Task::Merge, LedgerCall::Merge { batches: batches.clone(), now: self.now });
        merging.phase = MergePhase::Merge(batches);
        self.ingest.merging = Some(merging);
    }

    /// An object that is older than its namespace, restored from a backup or made by hand, is of this namespace all the same, and so is what the ledger
    /// has of its storm.
    pub(super) fn spare_older_storms(&self, observation: &mut Observation) {
        let oldest = self.store.any_of(observation.key).map(|object| object.epoch());
        observation.namespace_made.take_if(|made| oldest.is_some_and(|epoch| epoch < made.as_second()));
    }

    /// A merge has its answer. A storm that cannot be opened does not hold up what is merged already: merged again, it would be
    /// told as known, and its storm be published late.
    pub(in crate::engine) fn merged(&mut self, reply: Result<LedgerReply, LedgerError>) {
        let Some(mut merging) = self.ingest.merging.take() else { return };
        let MergePhase::Merge(batches) = std::mem::take(&mut merging.phase) else { return };
        let batches = Arc::unwrap_or_clone(batches);
        let merges = match reply {
            Ok(LedgerReply::Merged(merges)) if merges.len() == batches.len() => merges,
            reply => {
                let error = reply.err().map_or(IngestError::Unexpected, IngestError::Ledger);
                merging.pending.extend(batches.into_iter().flat_map(|(_, observations)| observations));
                return self.merge_failed(merging, &error);
            }
        };
        for ((key, observations), merge) in batches.into_iter().zip(merges) {
            self.merge_came_to(&mut merging, key, observations, merge);
        }
        self.open_keys();
        self.merge_goes_on(merging);
    }

    /// Its alerts belong to no storm any more, whatever its receipt says.
    fn as_grouped_now(&mut self, mut observation: Observation) -> Observation {
        if let Some(digests) = &self.digests {
            self.ingest.placements.forget(&observation, digests);
        }
        let own = observation.own_grouping().clone();
        observation.groupings.clear();
        observation.receipt = None;
        observation.regroup(own);
        observation
    }

    fn merge_came_to(&mut self, merging: &mut Merging, key: StormKey, observations: Vec<Observation>, merge: Merge) {
        match merge {
            Merge::Joined { .. } => self.joined(key, &observations, merge),
            // The storm that had its alerts has ended, and left none: what is news is grouped as the policy says now.
            Merge::NotOpen { opens, .. }
                if opens.contains(&true) && observations.iter().any(Observation::is_regrouped) && !self.lives(key) =>
            {
                let again = observations.into_iter().map(|observation| self.as_grouped_now(observation));
                merging.pending.extend(again);
            }
            Merge::NotOpen { .. }
                if !self.store.has_open(key) && observations.iter().any(|o| self.is_being_listed(merging.part, o)) =>
            {
                self.wait_for_list(merging.part, observations);
            }
            Merge::NotOpen { opens, held, last } => {
                self.open_in_turn(OpeningKey::new(merging.part, key, observations, (opens, held), last));
            }
            Merge::Full { epoch, why } => self.full(merging, StormId { key, epoch }, observations, why),
            Merge::NoRoom { waits, others, why } => {
                let rest = self.merged_in_part(merging.part, (key, observations), &waits, &others, &why);
                if !rest.is_empty() {
                    self.merge_came_to(merging, key, rest, *others);
                }
            }
        }
    }

    /// There is no room for some of these, and they wait. Gives the others.
    pub(super) fn merged_in_part(
        &mut self,
        part: usize,
        (key, observations): Batch,
        waits: &[bool],
        others: &Merge,
        why: &str,
    ) -> Vec<Observation> {
        let of_each = observations.into_iter().zip(waits.iter().copied());
        let (waiting, rest): (Vec<_>, Vec<_>) = of_each.partition(|(_, waits)| *waits);
        let waiting: Vec<Observation> = waiting.into_iter().map(|(observation, _)| observation).collect();
        if let Merge::Joined { epoch, .. } = others {
            self.publish_what_joined(StormId { key, epoch: *epoch }, &waiting);
        }
        self.wait_for_room(part, waiting, why);
        rest.into_iter().map(|(observation, _)| observation).collect()
    }

    /// What has joined its storm is published: that is what makes room for the rest.
    fn full(&mut self, merging: &mut Merging, id: StormId, observations: Vec<Observation>, why: String) {
        self.publish_what_joined(id, &observations);
        merging.failed = Some(LedgerError::Full(why).into());
        merging.pending.extend(observations);
    }

    /// Some of these have joined their storm: the ledger is full, and what is published makes room.
    pub(super) fn publish_what_joined(&mut self, id: StormId, observations: &[Observation]) {
        for observation in observations {
            self.openings.offer(id, &observation.opening);
        }
        self.request(id);
    }

    /// All calls of a merge are answered: what is left is merged again, at once or after a back-off.
    fn merge_goes_on(&mut self, mut merging: Merging) {
        match merging.failed.take() {
            None => self.merge(merging),
            Some(error) => self.merge_failed(merging, &error),
        }
    }

    pub(super) fn merge_failed(&mut self, mut merging: Merging, error: &IngestError) {
        let (part, disposition) = (Part::Ingest, error.disposition());
        let message = format!("{} Signals are not merged yet, and are merged again: {error}", merging.pending.len());
        self.fact(Fact::Failed { part, disposition, object: None, message });
        self.effect(Effect::Gate(GateId::Merge, Some(format!("Signals wait: {error}"))));
        if error.is_loss() {
            return self.begin(ResyncReason::LedgerLost);
        }
        merging.failures = merging.failures.saturating_add(1);
        let delay = Delay::Backoff { failures: merging.failures, at_most: LONGEST_WAIT };
        merging.phase = MergePhase::Wait;
        self.ingest.merging = Some(merging);
        self.timer(Timer::Merge, delay);
    }

    /// The merges under way whose Signals, of this key, are not owed their receipts yet.
    pub(in crate::engine) fn merges_of(&self, key: StormKey) -> BTreeSet<Task> {
        let merge = self.ingest.merges(key).then_some(Task::Merge);
        merge.into_iter().chain(self.ingest.opens_and_merges(key).then_some(Task::Open(key))).collect()
    }
}

/// Now, with the longest dedup horizon of these.
pub(super) fn dedup_window<'a>(observations: impl Iterator<Item = &'a Observation>, now: Timestamp) -> DedupWindow {
    let horizon = observations.map(|observation| observation.dedup_horizon).max();
    horizon.map_or(now.into(), |horizon| DedupWindow { now, horizon })
}
