//! Which key a Signal goes to: that of the storm which has its alerts, and only then the one that its policy groups it by.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::receipts::Receipt;
use super::Ingest;
use crate::engine::Engine;
use crate::rules::Rule;
use crate::storm::name::storm_name;
use crate::storm::{Observation, Opening, OtherShare, Past, StormKey};

/// Storms that the alerts of one Signal may be in, beside its own: what is in further ones goes to its own. Its receipt names them all.
const MOST_OTHERS: usize = 16;

/// Reports of one Signal that go to one storm.
struct ToStorm {
    opening: Arc<Opening>,
    /// Their indexes.
    reports: Vec<usize>,
    /// The storm that the receipt names for them.
    receipt: Option<String>,
}

impl Engine {
    /// Sends each alert of a Signal to the storm that has it, and the rest to the storm that the Signal belongs to. A storm that was opened when
    /// policies grouped otherwise keeps its alerts until it ends (invariant 19): a change of policies must not make a second storm of what one
    /// holds (decisions 0013 and 0045).
    pub(super) fn route(&mut self, observation: Observation) -> Vec<Observation> {
        let own = || observation.own_grouping().clone();
        let base = self.of_receipt(&observation).or_else(|| self.of_former_grouping(&observation)).unwrap_or_else(own);
        let others = self.elsewhere(&observation, &base);
        let parts =
            if others.is_empty() { regrouped(observation, base) } else { self.divide(&observation, base, others) };
        if let Some(digests) = &self.digests {
            for part in &parts {
                // A list is not in order of time: what a closed storm had may be in another one by now.
                let is_past = part.has_receipt && !self.is_in_open(part);
                self.ingest.placements.place(part, digests, !is_past);
            }
        }
        parts
    }

    /// The reports whose alerts are in another storm than the one that the Signal belongs to.
    fn elsewhere(&self, observation: &Observation, base: &Arc<Opening>) -> Vec<ToStorm> {
        let of_receipt = || {
            let storms = observation.receipt_others.iter();
            let known = |(name, reports): &(String, Vec<u16>)| {
                let object = self.store.by_name(&observation.signal.namespace, name)?;
                let reports = reports.iter().map(|report| usize::from(*report)).collect();
                Some(ToStorm { opening: object.opening.clone(), reports, receipt: Some(name.clone()) })
            };
            storms.filter_map(known).take(MOST_OTHERS).collect()
        };
        // What a receipt says is so, also where a later Signal says otherwise.
        if observation.receipt.is_some() || !observation.receipt_others.is_empty() {
            return of_receipt();
        }
        let Some(digests) = self.digests.as_ref().filter(|_| self.settings.rules.keep(Rule::AlertsStay)) else {
            return Vec::new();
        };
        let (key, mut others) = (base.key(), Vec::<ToStorm>::new());
        for (index, place) in self.ingest.placements.of(observation, digests).enumerate() {
            let Some(place) = place.filter(|place| !Arc::ptr_eq(place, base) && place.key() != key) else { continue };
            match others.iter().position(|other| Arc::ptr_eq(&other.opening, place)) {
                Some(at) => others[at].reports.push(index),
                None if others.len() < MOST_OTHERS && self.lives(place.key()) => {
                    others.push(ToStorm { opening: place.clone(), reports: vec![index], receipt: None });
                }
                None => {}
            }
        }
        others
    }

    /// One part for each storm. The receipt is that of a storm that is still to open, if there is one: the others are open, and wait for nothing.
    fn divide(&self, observation: &Observation, base: Arc<Opening>, mut shares: Vec<ToStorm>) -> Vec<Observation> {
        let taken: BTreeSet<usize> = shares.iter().flat_map(|share| share.reports.iter().copied()).collect();
        let rest: Vec<usize> = (0..observation.reports.len()).filter(|report| !taken.contains(report)).collect();
        if !rest.is_empty() {
            shares.insert(0, ToStorm { opening: base, reports: rest, receipt: observation.receipt.clone() });
        }
        if let [whole] = &mut shares[..] {
            let whole = Observation { receipt: whole.receipt.take(), ..observation.clone() };
            return regrouped(whole, shares.remove(0).opening);
        }
        let is_open = |opening: &Opening| self.openings.has(opening.key()) || self.store.has_open(opening.key());
        let speaker = shares.iter().position(|share| !is_open(&share.opening)).unwrap_or_default();
        let part = |(index, ToStorm { opening, reports, receipt }): (usize, ToStorm)| {
            let mut part = observation.part(&reports, receipt, index != speaker);
            part.group_as(Some(opening));
            part
        };
        let mut parts: Vec<Observation> = shares.into_iter().enumerate().map(part).collect();
        // The one that the receipt is about comes first among the others of each.
        parts.swap(0, speaker);
        let all: Vec<OtherShare> = parts.iter().map(Observation::as_other).collect();
        for (index, part) in parts.iter_mut().enumerate() {
            if let Some(share) = &mut part.share {
                share.others =
                    all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, of)| of.clone()).collect();
            }
        }
        parts
    }

    /// What the receipt of a Signal says when this part of it is in the storm of this name.
    pub(super) fn receipt_of(
        &self,
        observation: &Observation,
        name: Option<String>,
        new: usize,
        held: &[(u16, Past)],
    ) -> Receipt {
        let mut receipt = Receipt::of(observation, name, new).with_held(observation, held);
        let Some(share) = &observation.share else { return receipt };
        // One that has moved to another storm says so in a receipt of its own.
        let named = |other: &OtherShare| {
            let name = other.receipt.clone().or_else(|| self.open_name(other.key))?;
            Some((name, other.places.clone()))
        };
        let mut others: Vec<_> = share.others.iter().filter_map(named).collect();
        if share.silent && !others.is_empty() {
            let (storm, _) = others.remove(0);
            others.extend(receipt.storm.replace(storm).map(|own| (own, share.places.clone())));
        }
        receipt.held.extend(share.others.iter().flat_map(|other| other.held.iter().copied()));
        receipt.held.sort_unstable_by_key(|(place, _)| *place);
        Receipt { others, ..receipt }
    }

    /// The name of the open storm of a key.
    fn open_name(&self, key: StormKey) -> Option<String> {
        let objects = self.store.of_key(key);
        let shown = objects.iter().find(|object| object.is_open()).map(|object| object.name.clone());
        shown.or_else(|| self.openings.of_key(key).map(|(id, opening)| storm_name(&opening.pattern, id.epoch)))
    }

    /// Whether its receipt names an open storm.
    fn is_in_open(&self, part: &Observation) -> bool {
        let name = part.receipt.as_deref();
        let object = name.and_then(|name| self.store.by_name(&part.signal.namespace, name));
        object.is_some_and(|object| object.is_open())
    }

    /// The storm that its receipt names, however it was grouped.
    fn of_receipt(&self, observation: &Observation) -> Option<Arc<Opening>> {
        let object = self.store.by_name(&observation.signal.namespace, observation.receipt.as_ref()?)?;
        (!object.is_superseded()).then(|| object.opening.clone())
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

    /// Whether a storm of this key is open or its end is not written yet, or alerts of it wait for one.
    pub(super) fn lives(&self, key: StormKey) -> bool {
        let Ingest { pool, successors, held_back, .. } = &self.ingest;
        let waits = pool.has(key) || successors.has(key) || held_back.has(key);
        waits || self.openings.has(key) || self.store.has_open(key)
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
}

/// All of it, in the storm of this opening.
fn regrouped(mut observation: Observation, opening: Arc<Opening>) -> Vec<Observation> {
    observation.group_as(Some(opening));
    vec![observation]
}
