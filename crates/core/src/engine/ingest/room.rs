//! Namespaces for which the ledger has no room: their Signals wait in the API server, everybody else is merged.
//!
//! Of each such namespace one Signal is kept, the smallest: it is merged again from time to time, and when it can be, all Signals of the
//! namespace are read again. They are told that they wait, unless a receipt tells more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::effect::{Delay, Effect, GateId, Timer};
use super::super::receipts::{Receipt, Verdict};
use super::super::resync::RereadReason;
use super::Work;
use super::reread::Pass;
use crate::engine::Engine;
use crate::storm::{Observation, StormKey};

/// How often is looked whether there is room.
const LOOK: Duration = Duration::from_secs(2);
/// A reading that found no room for what closed storms hold is tried again after this, and each time after twice as long.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
/// Up to about five minutes.
const DOUBLINGS: u32 = 5;
/// While more receipts are owed, no more Signals are told that they wait: the next reading tells them.
const MAX_OWED: usize = 10_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Crowds {
    by_namespace: BTreeMap<Arc<str>, Crowd>,
    /// A timer runs for the next look.
    look_runs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Crowd {
    part: usize,
    /// What the ledger says.
    why: String,
    /// `None`: nothing waits, or it is being merged.
    smallest: Option<Observation>,
    /// Keys of which the ledger does not remember all that closed storms hold: nothing of them is merged.
    not_held: BTreeSet<StormKey>,
    /// When its Signals are read again for the sake of those, and how often they were in a row.
    due: Timestamp,
    readings: u32,
}

impl Crowds {
    /// How many namespaces wait.
    pub(super) fn len(&self) -> usize {
        self.by_namespace.len()
    }

    pub(super) fn has(&self, namespace: &str) -> bool {
        self.by_namespace.contains_key(namespace)
    }

    /// Whether the ledger does not remember all that closed storms hold of this key.
    pub(super) fn holds_up(&self, namespace: &str, key: StormKey) -> bool {
        self.by_namespace.get(namespace).is_some_and(|crowd| crowd.not_held.contains(&key))
    }

    fn of(&mut self, namespace: &str, part: usize, why: &str, now: Timestamp) -> &mut Crowd {
        let new =
            || Crowd { part, why: String::new(), smallest: None, not_held: BTreeSet::new(), due: now, readings: 0 };
        let crowd = self.by_namespace.entry(namespace.into()).or_insert_with(new);
        why.clone_into(&mut crowd.why);
        crowd
    }

    fn is_not_held(&self, observation: &Observation) -> bool {
        self.holds_up(&observation.opening.object_namespace, observation.key)
    }

    /// Why somebody waits, for people.
    fn why(&self) -> Option<String> {
        let first = self.by_namespace.values().next()?;
        let others = self.by_namespace.len() - 1;
        let others = if others == 0 { String::new() } else { format!(" (and {others} namespaces more)") };
        Some(format!("Signals wait, and others are merged: {}{others}", first.why))
    }

    /// All Signals of this namespace begin to be read again, and with them what closed storms hold.
    pub(super) fn holds_again(&mut self, namespace: &str) {
        if let Some(crowd) = self.by_namespace.get_mut(namespace) {
            crowd.not_held.clear();
        }
    }
}

impl Engine {
    /// The ledger has no room for these, all of one namespace.
    pub(super) fn wait_for_room(&mut self, part: usize, observations: Vec<Observation>, why: &str) {
        let Some(first) = observations.first() else { return };
        let namespace = first.opening.object_namespace.clone();
        let untold = |observation: &&Observation| !observation.has_receipt && !observation.is_silent();
        for observation in observations.iter().filter(untold) {
            let mut told = Receipt::of(observation, None, 0);
            told.verdict = Verdict::NoRoom(why.to_owned());
            if observation.pending_message.as_ref() != Some(&told.message()) && self.receipts.count() < MAX_OWED {
                self.receipts.write_now(told);
            }
        }
        let crowd = self.ingest.crowds.of(&namespace, part, why, self.now);
        let all = observations.into_iter().chain(crowd.smallest.take());
        crowd.smallest = all.min_by_key(|observation| observation.reports.len());
        self.crowds_changed();
    }

    /// Of these keys the ledger did not remember all that closed storms hold.
    pub(super) fn not_held(&mut self, part: usize, held: &[Observation], refused: Vec<(StormKey, String)>) {
        for (key, why) in refused {
            if let Some(observation) = held.iter().find(|observation| observation.key == key) {
                let namespace = &observation.opening.object_namespace;
                self.ingest.crowds.of(namespace, part, &why, self.now).not_held.insert(key);
                self.ingest.successors.not_held(key);
            }
        }
        self.crowds_changed();
    }

    /// Takes out what must not be merged before the ledger remembers what closed storms hold of it. What an open storm has in it by its
    /// receipt is no part of that.
    pub(super) fn without_not_held(&mut self, part: usize, pending: &mut Vec<Observation>) {
        if self.ingest.crowds.len() == 0 {
            return;
        }
        let waits = |o: &mut Observation| o.receipt.is_none() && self.ingest.crowds.is_not_held(o);
        let mut by_namespace: BTreeMap<Arc<str>, Vec<Observation>> = BTreeMap::new();
        for observation in pending.extract_if(.., waits) {
            by_namespace.entry(observation.opening.object_namespace.as_str().into()).or_default().push(observation);
        }
        for (namespace, observations) in by_namespace {
            let why = self.ingest.crowds.by_namespace.get(&namespace).map(|crowd| crowd.why.clone());
            self.wait_for_room(part, observations, &why.unwrap_or_default());
        }
    }

    pub(in crate::engine) fn room_is_due(&mut self) {
        self.ingest.crowds.look_runs = false;
        let now = self.now;
        let mut to_read = Vec::new();
        for (namespace, crowd) in &mut self.ingest.crowds.by_namespace {
            if crowd.smallest.is_none() || crowd.due > now {
                continue;
            }
            let smallest = crowd.smallest.take();
            if crowd.not_held.is_empty() {
                self.ingest.work.push_back(Work::Merge(crowd.part, smallest.into_iter().collect()));
                self.ingest.work.push_back(Work::RoomIsTried(namespace.clone()));
            } else {
                crowd.due = now.saturating_add(FIRST_WAIT * 2_i32.pow(crowd.readings)).unwrap_or(Timestamp::MAX);
                crowd.readings = (crowd.readings + 1).min(DOUBLINGS);
                to_read.push(namespace.clone());
            }
        }
        for namespace in to_read {
            self.ingest.rereads.ask(namespace, RereadReason::LedgerFull, Pass::HoldsUp);
        }
        self.crowds_changed();
    }

    /// The smallest Signal of this namespace was merged, or waits again.
    pub(super) fn room_is_tried(&mut self, namespace: Arc<str>) {
        if self.ingest.crowds.by_namespace.get(&namespace).is_some_and(|crowd| crowd.smallest.is_none()) {
            self.ingest.rereads.ask(namespace, RereadReason::LedgerFull, Pass::Plain);
        }
    }

    /// All Signals of this namespace are read again.
    pub(super) fn crowd_is_read(&mut self, namespace: &str) {
        let crowds = &mut self.ingest.crowds.by_namespace;
        if crowds.get(namespace).is_some_and(|crowd| crowd.smallest.is_none() && crowd.not_held.is_empty()) {
            crowds.remove(namespace);
            self.crowds_changed();
        }
    }

    pub(super) fn crowds_changed(&mut self) {
        self.effect(Effect::Gate(GateId::Room, self.ingest.crowds.why()));
        if !self.ingest.crowds.look_runs && self.ingest.crowds.len() > 0 {
            self.ingest.crowds.look_runs = true;
            self.timer(Timer::Room, Delay::After(LOOK));
        }
    }
}
