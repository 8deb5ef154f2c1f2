//! Who holds the occurrences of a Signal: nobody, a storm that takes more, or a closed storm, as its receipt says.

use std::collections::{BTreeMap, BTreeSet};

use super::super::call::{ApiFault, ApiReply, Task};
use super::IngestError;
use super::merge::{MergePhase, Merging};
use crate::engine::Engine;
use crate::ledger::{Holding, LedgerCall, LedgerError, LedgerReply};
use crate::rules::Rule;
use crate::storm::alerts::StormEnd;
use crate::storm::{Epoch, Micros, Observation, StormKey};

/// Who holds the occurrences of a Signal.
pub(super) enum Holder {
    /// Nobody, or a storm that takes more.
    Open,
    /// A storm that ended so; its epoch, where that is still known.
    Closed(Option<Epoch>, StormEnd),
}

impl Engine {
    pub(super) fn holder(&self, observation: &Observation) -> Holder {
        let Some(name) = &observation.receipt else { return Holder::Open };
        match self.store.named(observation.key, name) {
            Some(object) if object.is_open() || object.is_superseded() => Holder::Open,
            // It has joined the storm after that one, and its receipt is not written yet.
            Some(object) if self.has_joined_since(observation, object.epoch()) => Holder::Open,
            // What it fires on with, the open storm has taken over; what is over, the ledger knows.
            Some(object) if self.ingest.successors.is_taken_over(observation.key) && object.is_handed_on() => {
                Holder::Open
            }
            Some(object) => Holder::Closed(Some(object.epoch()), object.storm_end()),
            // Deleted by hand: what it held counts as handled (invariant 8).
            None => Holder::Closed(None, StormEnd::Handled(Micros::MIN)),
        }
    }

    fn has_joined_since(&self, observation: &Observation, epoch: Epoch) -> bool {
        let owed = self.receipts.owed_to(&observation.signal, observation.key);
        owed.is_some_and(|id| id.epoch > epoch) && self.settings.rules.keep(Rule::OwedAreJoined)
    }

    /// Storms that receipts name and the store does not know are looked up: the store may be older than the receipt.
    pub(super) fn look_up_holders(&mut self, mut merging: Merging) {
        let mut unknown = BTreeMap::new();
        for observation in &merging.pending {
            if observation.receipt.as_ref().is_some_and(|name| self.store.named(observation.key, name).is_none()) {
                unknown.entry(observation.key).or_insert_with(|| observation.opening.clone());
            }
        }
        if unknown.is_empty() {
            return self.restore_dedup_from_receipts(merging);
        }
        merging.phase = MergePhase::LookUp(unknown.keys().copied().collect());
        self.ingest.merging = Some(merging);
        for (key, opening) in unknown {
            self.find(Task::Holder(key), key, &opening);
        }
    }

    pub(in crate::engine) fn holder_found(&mut self, key: StormKey, reply: Result<ApiReply, ApiFault>) {
        let Some(mut merging) = self.ingest.merging.take() else { return };
        match reply {
            Ok(ApiReply::Found(found)) => found.into_iter().for_each(|object| self.store.put(object)),
            Ok(_) => merging.failed = Some(IngestError::Unexpected),
            Err(fault) => merging.failed = Some(fault.into()),
        }
        if let MergePhase::LookUp(missing) = &mut merging.phase {
            missing.remove(&key);
            if !missing.is_empty() {
                self.ingest.merging = Some(merging);
                return;
            }
        }
        match merging.failed.take() {
            Some(error) => self.merge_failed(merging, &error),
            None => self.restore_dedup_from_receipts(merging),
        }
    }

    /// Signals whose receipt names a storm that is over are remembered as held by it, and not merged.
    fn restore_dedup_from_receipts(&mut self, mut merging: Merging) {
        let is_held = |observation: &Observation| matches!(self.holder(observation), Holder::Closed(..));
        let (held, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut merging.pending).into_iter().partition(is_held);
        merging.pending = rest;
        if held.is_empty() {
            return self.join(merging);
        }
        let mut holdings: BTreeMap<(StormKey, Option<Epoch>), Holding> = BTreeMap::new();
        for observation in &held {
            let (key, Holder::Closed(epoch, end)) = (observation.key, self.holder(observation)) else { continue };
            let at = super::merge::dedup_window(std::iter::once(observation), self.now);
            let namespace = || observation.opening.object_namespace.as_str().into();
            let new = || Holding { key, namespace: namespace(), epoch, reports: Vec::new(), end, at };
            let holding = holdings.entry((key, epoch)).or_insert_with(new);
            holding.at.horizon = holding.at.horizon.max(at.horizon);
            holding.reports.extend(observation.says());
        }
        let call = LedgerCall::Hold(holdings.into_values().collect());
        merging.phase = MergePhase::Hold(held);
        self.ingest.merging = Some(merging);
        self.ask_ledger(Task::Hold, call);
    }

    pub(in crate::engine) fn held(&mut self, reply: Result<LedgerReply, LedgerError>) {
        let Some(mut merging) = self.ingest.merging.take() else { return };
        let MergePhase::Hold(held) = std::mem::take(&mut merging.phase) else { return };
        let (fire_on, refused) = match reply {
            Ok(LedgerReply::Held(fire_on)) => (fire_on, Vec::new()),
            Ok(LedgerReply::HeldInPart { left, refused }) => (left, refused),
            reply => {
                let error = reply.err().map_or(IngestError::Unexpected, IngestError::Ledger);
                merging.pending.extend(held);
                return self.merge_failed(merging, &error);
            }
        };
        if !refused.is_empty() {
            self.not_held(merging.part, &held, refused);
        }
        for observation in &held {
            self.count(observation, 0);
        }
        let fire_on = fire_on.into_iter().filter(|(_, alerts)| *alerts > 0).map(|(key, _)| key).collect();
        self.held_fire_on(&fire_on, &held);
        self.join(merging);
    }

    /// The keys of these observations that have closed storms, which hold what their Signals' receipts say.
    pub(super) fn keys_with_closed_storms(&self, observations: &[Observation]) -> BTreeSet<StormKey> {
        let keys: BTreeSet<StormKey> = observations.iter().map(|observation| observation.key).collect();
        keys.into_iter().filter(|key| self.store.has_closed(*key)).collect()
    }
}
