//! Which key a Signal goes to: that of the storm which has its alerts, and only then the one that its policy groups it by.

use std::sync::Arc;

use crate::engine::Engine;
use crate::rules::Rule;
use crate::storm::{Observation, Opening, StormKey};

impl Engine {
    /// A storm that was opened when policies grouped otherwise keeps its alerts until it ends (invariant 19), and takes its Signals in: a change of
    /// policies must not make a second storm of what one holds (decisions 0013 and 0045).
    pub(super) fn route(&mut self, observation: &mut Observation) {
        let chosen = self.of_receipt(observation).or_else(|| self.of_alerts(observation));
        let chosen = chosen.or_else(|| self.of_former_grouping(observation));
        observation.group_as(chosen);
        if let Some(digests) = &self.digests {
            self.ingest.placements.place(observation, digests);
        }
    }

    /// The storm that its receipt names, however it was grouped.
    fn of_receipt(&self, observation: &Observation) -> Option<Arc<Opening>> {
        let object = self.store.by_name(&observation.signal.namespace, observation.receipt.as_ref()?)?;
        (!object.is_superseded()).then(|| object.opening.clone())
    }

    /// The key that its alerts belong to.
    fn of_alerts(&self, observation: &Observation) -> Option<Arc<Opening>> {
        let digests = self.digests.as_ref().filter(|_| self.settings.rules.keep(Rule::AlertsStay))?;
        self.ingest.placements.elsewhere(observation, digests, |key| self.lives(key))
    }

    /// An open storm of a grouping that its policy had before.
    fn of_former_grouping(&self, observation: &Observation) -> Option<Arc<Opening>> {
        let (_, former) = observation.groupings.split_last()?;
        let open = |opening: &&Arc<Opening>| {
            let key = opening.key();
            self.openings.has(key) || self.store.has_open(key)
        };
        former.iter().find(open).cloned()
    }

    /// Whether a storm of this key is open, or alerts of it wait for one.
    fn lives(&self, key: StormKey) -> bool {
        self.openings.has(key) || self.store.has_open(key) || self.waits_to_open(key)
    }

    /// Lets go what was placed for storms that are over.
    pub(super) fn sweep_placements(&mut self) {
        if self.ingest.placements.are_many() {
            let mut placements = std::mem::take(&mut self.ingest.placements);
            placements.sweep(|key| self.lives(key));
            self.ingest.placements = placements;
        }
    }

    /// Whether an alert of this Signal may be in a storm of another key that no Signal has told of yet: after a start its policy may group it
    /// otherwise than the one before, and the receipt that says so is not listed yet.
    pub(super) fn may_be_elsewhere(&self, observation: &Observation) -> bool {
        !self.ingest.placements.are_complete() && !self.policies.is_plain() && observation.receipt.is_none()
    }

    /// Whether alerts of this key wait for the storm that they are to be in.
    pub(super) fn waits_to_open(&self, key: StormKey) -> bool {
        let ingest = &self.ingest;
        ingest.pool.has(key) || ingest.successors.has(key) || ingest.held_back.has(key)
    }
}
