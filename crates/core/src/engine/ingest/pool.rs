//! The keys whose storm is to be opened. They hold up nobody: chunks are merged meanwhile, and what those bring of these keys waits
//! here. Namespaces take turns, so that 1,500 alert names of one tenant leave the first one of another waiting for one turn.
//!
//! Memory is bounded twice. A namespace has [`SHARE`] here at most; what it brings beyond is let go, and its Signals, which have no
//! receipt, are read again when all of it that waits is opened: the watch is one stream, and to leave it unread for the sake of
//! one tenant would make all others wait. Each such reading finds the storms of the one before open, so it comes to an end. And
//! while all together have [`ROOM`], which takes four tenants at their share, no chunk is asked for: the API server is the
//! buffer. Both are exceeded by no more than one chunk brings, or one list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::call::Reply;
use super::super::effect::{Delay, Effect, Fact, GateId, Part, Timer};
use super::super::fair::{FairQueue, Place};
use super::super::resync::{RereadReason, ResyncReason};
use super::open::{OpeningKey, OpeningOutcome};
use super::reread::Pass;
use super::{Awaiter, IngestError, LONGEST_WAIT, Work};
use crate::engine::Engine;
use crate::ledger::LedgerError;
use crate::storm::{Observation, Severity, StormId, StormKey};

/// Storms opened at once. Each asks the API server for a consistent list, and of those it answers one round in 100 ms: one after
/// the other, 200 alert names would take 20 s. Each holds a connection of its own (HTTP/1.1).
const OPENINGS: usize = 16;
/// What one namespace may have here, in reports of some 100 bytes.
const SHARE: usize = 50_000;
/// What all may have here together: 20 MB.
const ROOM: usize = 200_000;
/// What a Signal costs beside its reports, as so many of those.
const OVERHEAD: usize = 5;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct OpeningPool {
    /// All keys that are here.
    keys: BTreeMap<StormKey, PoolKey>,
    /// Those that wait for their turn, and the turns.
    waiting: BTreeMap<StormKey, OpeningKey>,
    turns: FairQueue<StormKey>,
    /// Those that have a call under way.
    under_way: BTreeMap<StormKey, OpeningKey>,
    /// Those that failed, and wait for a back-off.
    failed: Vec<OpeningKey>,
    failures: u32,
    /// One of them failed for want of the ledger, which everybody needs.
    ledger_failed: bool,
    /// These are merged again, which is among the work to do.
    returning: BTreeSet<StormKey>,
    lanes: BTreeMap<Arc<str>, PoolLane>,
    cost: usize,
}

/// A key that is here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    namespace: Arc<str>,
    severity: Severity,
    cost: usize,
    /// What came of it since.
    more: Vec<Observation>,
}

/// What one namespace has here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct PoolLane {
    cost: usize,
    keys: usize,
    /// Keys that failed.
    failed: usize,
    /// Something was let go.
    let_go: bool,
}

/// What is left of a key that is not here any more.
pub(super) struct Left {
    /// What came of it since it was taken in.
    pub(super) more: Vec<Observation>,
    /// Its namespace, if something of it was let go and nothing waits any more.
    pub(super) to_read_again: Option<Arc<str>>,
}

fn cost(observations: &[Observation]) -> usize {
    observations.iter().map(|observation| observation.weight() + OVERHEAD).sum()
}

impl OpeningPool {
    /// Whether this key is here.
    pub(super) fn has(&self, key: StormKey) -> bool {
        self.keys.contains_key(&key)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a call is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether another chunk may be asked for.
    pub(super) fn has_room(&self) -> bool {
        self.cost < ROOM && !self.ledger_failed
    }

    /// Whether nothing has failed that is not merged by now.
    pub(super) fn works(&self) -> bool {
        self.failed.is_empty()
    }

    /// Whether this key is being opened, and merged into the storm.
    pub(super) fn merges(&self, key: StormKey) -> bool {
        self.under_way.get(&key).is_some_and(OpeningKey::merges)
    }

    /// The keys of which something is not merged: of a namespace, or all.
    pub(super) fn unmerged(&self, namespace: Option<&str>) -> BTreeSet<StormKey> {
        let of = |key: &PoolKey| namespace.is_none_or(|namespace| *key.namespace == *namespace);
        let here = self.keys.iter().filter(|(_, entry)| of(entry)).map(|(key, _)| *key);
        here.chain(self.returning.iter().copied()).collect()
    }

    /// Takes in a key. What opens a storm while its namespace is at its share is let go.
    pub(super) fn add(&mut self, opening: OpeningKey) {
        let (key, namespace, cost) = (opening.key(), opening.namespace(), cost(opening.observations()));
        let severity = opening.observations().iter().map(|observation| observation.severity).max().unwrap_or_default();
        let lane = self.lanes.entry(namespace.clone()).or_default();
        if lane.cost >= SHARE && opening.may_open() {
            lane.let_go = true;
            return;
        }
        lane.cost += cost;
        lane.keys += 1;
        self.cost += cost;
        self.turns.push(Place::of(&namespace, severity), key);
        self.keys.insert(key, PoolKey { namespace, severity, cost, more: Vec::new() });
        self.waiting.insert(key, opening);
    }

    /// Takes in what came of a key that is here.
    pub(super) fn add_more(&mut self, observation: Observation) {
        let Some(key) = self.keys.get_mut(&observation.key) else { return };
        let Some(lane) = self.lanes.get_mut(&key.namespace) else { return };
        if lane.cost >= SHARE {
            lane.let_go = true;
            return;
        }
        let cost = cost(std::slice::from_ref(&observation));
        lane.cost += cost;
        self.cost += cost;
        key.cost += cost;
        if observation.severity > key.severity && self.waiting.contains_key(&observation.key) {
            key.severity = observation.severity;
            self.turns.extract(|other| *other == observation.key);
            self.turns.push(Place::of(&key.namespace, key.severity), observation.key);
        }
        key.more.push(observation);
    }

    /// The next key, if one more may be under way.
    pub(super) fn next(&mut self) -> Option<OpeningKey> {
        if self.under_way.len() >= OPENINGS {
            return None;
        }
        let key = self.turns.pop()?;
        self.waiting.remove(&key)
    }

    /// A call of this key is under way.
    pub(super) fn waits(&mut self, opening: OpeningKey) {
        self.under_way.insert(opening.key(), opening);
    }

    /// Its call has an answer.
    pub(super) fn answered(&mut self, key: StormKey) -> Option<OpeningKey> {
        self.under_way.remove(&key)
    }

    /// It failed, and waits for a back-off, after so many failures in a row.
    pub(super) fn fails(&mut self, opening: OpeningKey, error: &IngestError) -> u32 {
        if let Some(lane) = self.lanes.get_mut(&opening.namespace()) {
            lane.failed += 1;
        }
        self.ledger_failed |= matches!(error, IngestError::Ledger(_));
        self.failed.push(opening);
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// What failed, if its back-off is over.
    pub(super) fn take_failed(&mut self) -> Vec<OpeningKey> {
        self.ledger_failed = false;
        let failed = std::mem::take(&mut self.failed);
        for opening in &failed {
            if let Some(lane) = self.lanes.get_mut(&opening.namespace()) {
                lane.failed -= 1;
            }
        }
        failed
    }

    /// One is merged: what fails next is the first failure.
    pub(super) fn succeeds(&mut self) {
        self.failures = 0;
    }

    /// This key is not here any more.
    pub(super) fn leaves(&mut self, key: StormKey) -> Left {
        let nothing = Left { more: Vec::new(), to_read_again: None };
        let Some(PoolKey { namespace, cost, more, .. }) = self.keys.remove(&key) else { return nothing };
        self.cost -= cost;
        let Some(lane) = self.lanes.get_mut(&namespace) else { return Left { more, ..nothing } };
        lane.cost -= cost;
        lane.keys -= 1;
        let opened = lane.keys == lane.failed;
        let to_read_again = (opened && std::mem::take(&mut lane.let_go)).then(|| namespace.clone());
        if lane.keys == 0 {
            self.lanes.remove(&namespace);
        }
        Left { more, to_read_again }
    }

    /// It is among the work to do.
    pub(super) fn returns(&mut self, key: StormKey) {
        self.returning.insert(key);
    }

    /// That is done. True when nothing of the key is here again.
    pub(super) fn returned(&mut self, key: StormKey) -> bool {
        self.returning.remove(&key) && !self.has(key)
    }
}

impl Engine {
    /// Begins as many openings as may be under way at once.
    pub(super) fn open_keys(&mut self) {
        while self.list_is_due().is_none()
            && let Some(opening) = self.ingest.pool.next()
        {
            let (key, part) = (opening.key(), opening.part());
            // Its namespace is read again since it came here: a closed storm may turn out to hold it.
            let listed = !self.store.has_open(key)
                && opening.observations().iter().any(|observation| self.is_being_listed(part, observation));
            if listed {
                let waits = self.let_go(opening);
                self.wait_for_list(part, waits);
                self.opening_is_over(key, part, Vec::new());
            } else {
                let outcome = self.open(opening);
                self.opening_came_to(key, part, outcome);
            }
        }
    }

    /// The opening of a key has an answer.
    pub(in crate::engine) fn open_heard(&mut self, key: StormKey, reply: Reply) {
        let Some(opening) = self.ingest.pool.answered(key) else { return };
        let part = opening.part();
        let outcome = self.open_answered(opening, reply);
        self.opening_came_to(key, part, outcome);
        self.open_keys();
    }

    fn opening_came_to(&mut self, key: StormKey, part: usize, outcome: OpeningOutcome) {
        match outcome {
            OpeningOutcome::Waits(opening) => self.ingest.pool.waits(opening),
            OpeningOutcome::Done => {
                self.ingest.pool.succeeds();
                self.opening_is_over(key, part, Vec::new());
            }
            OpeningOutcome::HeldBack(_, observations) if observations.is_empty() => {
                self.opening_is_over(key, part, Vec::new());
            }
            OpeningOutcome::HeldBack(why, observations) => {
                self.hold_back(part, key, why, observations);
                self.opening_is_over(key, part, Vec::new());
            }
            OpeningOutcome::Again(observations) => self.opening_is_over(key, part, observations),
            OpeningOutcome::Failed(error, opening) => self.opening_failed(opening, &error),
            OpeningOutcome::Full(id, opening, why) => self.opening_is_full(id, opening, why),
        }
    }

    /// What has joined its storm is published: that is what makes room for the rest.
    fn opening_is_full(&mut self, id: StormId, opening: OpeningKey, why: String) {
        self.publish_what_joined(id, opening.observations());
        self.opening_failed(opening, &LedgerError::Full(why).into());
    }

    fn opening_failed(&mut self, opening: OpeningKey, error: &IngestError) {
        let (part, disposition) = (Part::Ingest, error.disposition());
        let message =
            format!("{} Signals open no storm yet, and are merged again: {error}", opening.observations().len());
        self.fact(Fact::Failed { part, disposition, object: None, message });
        // A key whose epochs are used up is its tenant's trouble.
        if *error != IngestError::NoEpoch {
            self.effect(Effect::Gate(GateId::Merge, Some(format!("Signals wait: {error}"))));
        }
        if error.is_loss() {
            return self.begin(ResyncReason::LedgerLost);
        }
        let failures = self.ingest.pool.fails(opening, error);
        self.timer(Timer::Open, Delay::Backoff { failures, at_most: LONGEST_WAIT });
    }

    /// The back-off is over: what failed is merged again.
    pub(in crate::engine) fn open_again(&mut self) {
        for opening in self.ingest.pool.take_failed() {
            let (key, part) = (opening.key(), opening.part());
            let again = self.let_go(opening);
            self.opening_is_over(key, part, again);
        }
    }

    /// The key leaves the pool. `again`: what of it is merged again, with what came of it meanwhile.
    fn opening_is_over(&mut self, key: StormKey, part: usize, mut again: Vec<Observation>) {
        let Left { more, to_read_again } = self.ingest.pool.leaves(key);
        if let Some(namespace) = to_read_again {
            self.ingest.rereads.ask(namespace, RereadReason::OpeningsOverflow, Pass::HoldsUp);
        }
        again.extend(more);
        if again.is_empty() {
            return self.key_is_merged(key);
        }
        self.ingest.pool.returns(key);
        self.ingest.work.push_front(Work::KeyIsMerged(key));
        self.ingest.work.push_front(Work::Merge(part, again));
    }

    /// What came back from the pool is merged, or is there again.
    pub(super) fn key_has_returned(&mut self, key: StormKey) {
        if self.ingest.pool.returned(key) {
            self.key_is_merged(key);
        }
    }

    fn key_is_merged(&mut self, key: StormKey) {
        self.merge_works();
        for (_, keys) in &mut self.ingest.awaiting {
            keys.remove(&key);
        }
        self.nothing_is_awaited();
    }

    /// This goes on when what is in the pool by now is merged: of a namespace, or all.
    pub(super) fn await_openings(&mut self, awaiter: Awaiter) {
        let namespace = match &awaiter {
            Awaiter::List => None,
            Awaiter::Reread(namespace) => Some(&**namespace),
        };
        let keys = self.ingest.pool.unmerged(namespace);
        self.ingest.awaiting.push((awaiter, keys));
        self.nothing_is_awaited();
    }

    fn nothing_is_awaited(&mut self) {
        let done: Vec<_> = self.ingest.awaiting.extract_if(.., |(_, keys)| keys.is_empty()).collect();
        for (awaiter, _) in done {
            match awaiter {
                // Another list that has begun meanwhile has an end of its own.
                Awaiter::List if self.ingest.incomplete.is_empty() => self.list_is_complete(),
                Awaiter::List => {}
                Awaiter::Reread(namespace) => self.reread_is_merged(&namespace),
            }
        }
    }

    /// Signals can be merged, unless some failed and were not tried again.
    pub(super) fn merge_works(&mut self) {
        if self.ingest.pool.works() {
            self.effect(Effect::Gate(GateId::Merge, None));
        }
    }
}

#[cfg(test)]
mod tests;
