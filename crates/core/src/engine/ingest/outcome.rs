//! What each Signal is told and how it counts, once it is merged.

use super::super::effect::{Counted, Fact};
use crate::engine::Engine;
use crate::ledger::Merge;
use crate::rules::Rule;
use crate::storm::example::Example;
use crate::storm::name::storm_name;
use crate::storm::{Epoch, Observation, Past, StormId, StormKey};

impl Engine {
    /// These observations joined the open storm of their key.
    pub(super) fn joined(&mut self, key: StormKey, observations: &[Observation], joined: Merge) {
        let Merge::Joined { epoch, new, held, last } = joined else { return };
        let id = StormId { key, epoch };
        let mut receipts = Vec::with_capacity(observations.len());
        for (index, (observation, new)) in observations.iter().zip(&new).enumerate() {
            self.openings.offer(id, &observation.opening);
            if !observation.has_receipt && !observation.is_silent() {
                self.fact(Fact::Matched(observation.opening.policy.clone()));
            }
            let held = held.get(index).map(Vec::as_slice).unwrap_or_default();
            let whole = !held.is_empty() && held.len() == observation.reports.len();
            if whole && self.settings.rules.keep(Rule::HeldNamesItsHolder) {
                self.known(observation, held, last);
                continue;
            }
            self.count(observation, *new);
            self.offer_examples(id, observation);
            let name = storm_name(&observation.opening.pattern, epoch);
            // Where the receipt of the whole is still to come, another part brings it.
            let told_by_another = observation.is_silent() && observation.receipt.is_none();
            if observation.receipt.as_deref() != Some(name.as_str()) && !told_by_another {
                receipts.push(self.receipt_of(observation, Some(name), *new, held));
            }
        }
        self.receipts.owe(id, receipts);
        if !self.settings.rules.keep(Rule::ReceiptAfterPublish) {
            self.receipts.claim(id);
            self.receipts.release(id);
        }
        self.request(id);
    }

    /// What it says of a few of its alerts may be shown, as far as the alert that opened the storm has not said it.
    fn offer_examples(&mut self, id: StormId, observation: &Observation) {
        let shown = self.store.get(id).map(|object| &object.opening);
        let Some(opening) = shown.or_else(|| self.openings.get(id)).filter(|_| !observation.told.is_empty()) else {
            return;
        };
        let opening = opening.clone();
        for example in Example::all_of(observation, &opening.said.labels) {
            self.examples.offer(id, example);
        }
    }

    /// Nothing of this Signal joins a storm. `held`: its reports that closed storms hold, or a person has handled; `last`: of the storms that hold it, the last.
    pub(super) fn known(&mut self, observation: &Observation, held: &[(u16, Past)], last: Option<Epoch>) {
        self.count(observation, 0);
        // Listed again, it has what it would be told.
        if observation.has_receipt || observation.is_silent() {
            return;
        }
        let receipt = |name| self.receipt_of(observation, name, 0, held);
        match last {
            Some(epoch) => {
                let receipt = receipt(Some(storm_name(&observation.opening.pattern, epoch)));
                if self.settings.rules.keep(Rule::EndAfterHeldReceipts) {
                    self.receipts.write_for(StormId { key: observation.key, epoch }, receipt);
                } else {
                    self.receipts.write_now(receipt);
                }
            }
            None => self.receipts.write_now(receipt(None)),
        }
    }

    pub(super) fn count(&mut self, observation: &Observation, new: usize) {
        self.fact(Fact::Counted(Counted {
            new,
            known: observation.reports.len() - new,
            rejected: if observation.is_silent() { 0 } else { observation.refused.count },
            clamped: if observation.is_silent() { 0 } else { observation.clamped },
            lacks_labels: !observation.missing_labels.is_empty(),
        }));
    }
}
