//! A chunk of what the watch on Signals brought, in its order.

use std::collections::BTreeMap;

use super::super::effect::{Effect, Fact};
use super::super::input::Arrival;
use super::super::receipts::Receipt;
use super::super::resync::{RereadReason, ResyncReason};
use super::reread::Pass;
use super::{Awaiter, IngestPhase, Work};
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
                        self.await_openings(Awaiter::List);
                    }
                }
                Some(Work::RoomIsTried(namespace)) => self.room_is_tried(namespace),
                Some(Work::KeyIsMerged(key)) => self.key_has_returned(key),
                Some(Work::PageIsMerged(reader, next)) => self.page_is_merged(reader, next),
                Some(Work::RereadIsMerged(namespace)) => self.await_openings(Awaiter::Reread(namespace)),
                None => {
                    self.open_keys();
                    if self.ingest.work.is_empty() {
                        return self.is_idle();
                    }
                }
            }
        }
    }

    fn list_ends(&mut self, part: usize) {
        self.ingest.incomplete.remove(&part);
        let (waited, let_go) = self.ingest.waiting.remove(&part).unwrap_or_default().into_parts();
        for namespace in let_go {
            self.ingest.rereads.ask(namespace, RereadReason::ListOverflow, Pass::Plain);
        }
        self.ingest.work.push_front(Work::ListIsMerged);
        self.ingest.work.push_front(Work::Merge(part, waited));
    }

    /// Why all Signals are to be read again now. A list that is being read is what was asked for; begun again and again, it would never
    /// end.
    pub(super) fn list_is_due(&self) -> Option<ResyncReason> {
        let ingest = &self.ingest;
        let is_listing =
            !ingest.incomplete.is_empty() || ingest.awaiting.iter().any(|(awaiter, _)| *awaiter == Awaiter::List);
        self.resync.wanted().filter(|_| !is_listing && self.settings.rules.keep(Rule::ResyncAfterLoss))
    }

    /// Between two chunks: the moment for what asks for a list, and for what is held back.
    fn is_idle(&mut self) {
        if let Some(reason) = self.list_is_due() {
            // What is being opened comes to its end first, and nothing else begins: a call that is let go may still have its effect, which
            // nobody would know of.
            if !self.ingest.pool.is_busy() {
                self.begin(reason);
            }
            return;
        }
        self.start_rereads();
        if std::mem::take(&mut self.ingest.look_due) {
            self.look_at_held_back();
            if self.ingest.merging.is_some() {
                return;
            }
        }
        self.open_successors();
        self.open_keys();
        if !self.ingest.asked && self.ingest.pool.has_room() {
            self.ingest.asked = true;
            self.effect(Effect::NextChunk);
        }
    }

    pub(super) fn reject(&mut self, signal: SignalRef, rejection: Rejection) {
        self.fact(Fact::Rejected(signal.clone(), rejection.clone()));
        self.receipts.write_now(Receipt::of_rejected(signal, rejection));
    }
}
