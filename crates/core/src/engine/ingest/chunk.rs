//! A chunk of what the watch on Signals brought, in its order.

use std::collections::BTreeMap;

use super::super::effect::{Effect, Fact};
use super::super::input::Arrival;
use super::super::receipts::Receipt;
use super::{IngestPhase, Work};
use crate::engine::Engine;
use crate::rules::Rule;
use crate::storm::{Observation, Rejection, SignalRef};

impl Engine {
    pub(in crate::engine) fn chunk_came(&mut self, arrivals: Vec<Arrival>) {
        self.ingest.asked = false;
        // A chunk of the list before: the list that begins brings it again.
        if self.ingest.phase != IngestPhase::Read {
            return;
        }
        let mut pending: BTreeMap<usize, Vec<Observation>> = BTreeMap::new();
        for arrival in arrivals {
            match arrival {
                Arrival::ListBegins(part) => self.ingest.work.push_back(Work::ListBegins(part)),
                Arrival::Observed(part, observation) => pending.entry(part).or_default().push(*observation),
                Arrival::Rejected(signal, rejection) => self.reject(signal, rejection),
                Arrival::ListEnds(part) => {
                    let listed = pending.remove(&part).unwrap_or_default();
                    self.ingest.work.push_back(Work::Merge(part, listed));
                    self.ingest.work.push_back(Work::ListEnds(part));
                }
            }
        }
        self.ingest.work.extend(pending.into_iter().map(|(part, observations)| Work::Merge(part, observations)));
    }

    /// Goes on where nothing is under way.
    pub(in crate::engine) fn ingest_goes_on(&mut self) {
        self.lists_may_be_complete();
        if self.ingest.phase != IngestPhase::Read {
            return;
        }
        while self.ingest.merging.is_none() && self.ingest.phase == IngestPhase::Read {
            match self.ingest.work.pop_front() {
                Some(Work::ListBegins(part)) => drop(self.ingest.incomplete.insert(part)),
                Some(Work::Merge(part, observations)) => self.merge_all(part, observations),
                Some(Work::ListEnds(part)) => self.list_ends(part),
                Some(Work::ListIsMerged) => {
                    if self.ingest.incomplete.is_empty() {
                        self.list_is_complete();
                    }
                }
                None => return self.is_idle(),
            }
        }
    }

    fn list_ends(&mut self, part: usize) {
        self.ingest.incomplete.remove(&part);
        let waited = self.ingest.waiting.remove(&part).unwrap_or_default().into_values().collect();
        self.ingest.work.push_front(Work::ListIsMerged);
        self.ingest.work.push_front(Work::Merge(part, waited));
    }

    /// Between two chunks: the moment for what asks for a list, and for what is held back.
    fn is_idle(&mut self) {
        // A list that is being read is what was asked for; begun again and again, it would never end.
        if let Some(reason) = self.resync.wanted()
            && self.ingest.incomplete.is_empty()
            && self.settings.rules.keep(Rule::ResyncAfterLoss)
        {
            return self.begin(reason);
        }
        if std::mem::take(&mut self.ingest.look_due) {
            self.look_at_held_back();
            if self.ingest.merging.is_some() {
                return;
            }
        }
        if !self.ingest.asked {
            self.ingest.asked = true;
            self.effect(Effect::NextChunk);
        }
    }

    fn reject(&mut self, signal: SignalRef, rejection: Rejection) {
        self.fact(Fact::Rejected(signal.clone(), rejection.clone()));
        self.receipts.write_now(Receipt::of_rejected(signal, rejection));
    }
}
