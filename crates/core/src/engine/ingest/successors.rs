//! What fires is open (invariant 17): the alerts that a closed storm left, because their source has not reported their end, go on in the next
//! one. It opens when the end of the storm before is written and nothing holds it back, and nobody has to report again for it.
//!
//! The ledger knows those alerts; what they are about, their Signals say. So the namespace is read again when a storm has taken them over, and a
//! Signal whose receipt names a closed storm of which something fired on belongs to the open one from then on, if an alert of it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::effect::Fact;
use super::super::lineage::{open_epoch, why_held_back};
use super::super::resync::RereadReason;
use super::open::OpeningKey;
use super::{Awaiter, Ingest};
use crate::engine::Engine;
use crate::storm::holding::HeldBack;
use crate::storm::{Epoch, Observation, Opening, StormId, StormKey};

/// Keys with alerts that fire on and are in no storm, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Successors {
    keys: BTreeMap<StormKey, Succession>,
    /// Those that may open, as soon as nothing of them is listed or under way.
    ready: BTreeSet<StormKey>,
    /// Keys whose storm has taken over what others left, and whose Signals are being read again.
    taken_over: BTreeMap<StormKey, Arc<str>>,
    /// Storms that the ledger has closed, of which nothing fires on, and whose end is not written yet.
    left_nothing: BTreeSet<StormId>,
}

/// What the next storm of a key begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Succession {
    opening: Arc<Opening>,
    /// The storm that left the alerts.
    last: Option<Epoch>,
    /// Why it waited when it was looked at last.
    why: Option<HeldBack>,
}

impl Successors {
    pub(super) fn add(&mut self, key: StormKey, opening: &Arc<Opening>, last: Option<Epoch>) {
        let new = || Succession { opening: opening.clone(), last: None, why: None };
        let succession = self.keys.entry(key).or_insert_with(new);
        succession.last = succession.last.max(last);
        self.ready.insert(key);
    }

    /// Whether alerts of this key wait.
    pub(super) fn has(&self, key: StormKey) -> bool {
        self.keys.contains_key(&key)
    }

    /// Whether some are held back.
    pub(super) fn wait(&self) -> bool {
        self.keys.len() > self.ready.len()
    }

    /// Those that were held back are looked at again.
    pub(super) fn look_again(&mut self) {
        self.ready.extend(self.keys.keys());
    }

    /// Whether Signals of this key that closed storms had may be the open storm's.
    pub(super) fn is_taken_over(&self, key: StormKey) -> bool {
        self.taken_over.contains_key(&key)
    }

    /// The Signals of a namespace were read again.
    pub(super) fn reread(&mut self, namespace: &str) {
        self.taken_over.retain(|_, of| **of != *namespace);
    }

    /// The ledger does not remember all that closed storms hold of this key: what they had is told to it again first.
    pub(super) fn not_held(&mut self, key: StormKey) {
        self.taken_over.remove(&key);
    }

    /// All Signals are listed: who waited for his own are to be read again after that.
    pub(super) fn namespaces(&self) -> BTreeSet<Arc<str>> {
        self.taken_over.values().cloned().collect()
    }

    /// A list begins, which tells what is left anew.
    pub(super) fn list_begins(&mut self) {
        self.keys.clear();
        self.ready.clear();
    }
}

impl Ingest {
    /// Whether all Signals of this namespace are read that are to be.
    fn is_listed(&self, namespace: &str) -> bool {
        let listing = |(awaiter, _): &(Awaiter, _)| *awaiter == Awaiter::List;
        self.incomplete.is_empty() && !self.awaiting.iter().any(listing) && !self.rereads.reads(namespace)
    }
}

impl Engine {
    /// The ledger has closed a storm, and knows how many alerts it left.
    pub(in crate::engine) fn is_closed(&mut self, id: StormId, left: usize) {
        if left == 0 {
            self.ingest.successors.left_nothing.insert(id);
        }
    }

    /// A storm that this process knew is over. Who did not hear what the ledger said of its end must ask, if something fired.
    pub(in crate::engine) fn is_over(&mut self, id: StormId) {
        let Some(object) = self.store.get(id).filter(|object| !object.is_open()) else { return };
        let (handed_on, opening) = (object.is_handed_on(), object.opening.clone());
        if handed_on && !self.ingest.successors.left_nothing.contains(&id) {
            self.ingest.successors.add(id.key, &opening, Some(id.epoch));
        }
        self.ingest.successors.left_nothing.remove(&id);
    }

    /// Signals that closed storms had say alerts that fire on.
    pub(super) fn held_fire_on(&mut self, fire_on: &BTreeSet<StormKey>, held: &[Observation]) {
        for observation in held.iter().filter(|observation| fire_on.contains(&observation.key)) {
            let last = observation.receipt.as_ref().and_then(|name| self.store.named(observation.key, name));
            let last = last.map(|object| object.epoch());
            self.ingest.successors.add(observation.key, &observation.opening, last);
        }
    }

    /// Begins what may open.
    pub(super) fn open_successors(&mut self) {
        // A list tells of thousands, and none of them may open before its end.
        if !self.ingest.incomplete.is_empty() {
            return;
        }
        let ready = std::mem::take(&mut self.ingest.successors.ready);
        for key in ready {
            let Some(succession) = self.ingest.successors.keys.get(&key).cloned() else { continue };
            if self.must_wait(key, &succession) {
                self.ingest.successors.ready.insert(key);
                continue;
            }
            let objects = self.store.of_key(key);
            let Succession { opening, last, why } = succession;
            let none_open = open_epoch(&objects, last).is_none();
            let held_back = why_held_back(&objects, self.policies.named(&opening.policy), self.now);
            if let Some(held_back) = held_back.filter(|_| none_open) {
                self.successor_waits(key, held_back, why.as_ref());
                continue;
            }
            self.ingest.successors.keys.remove(&key);
            let part = self.settings.part_of(&opening.object_namespace);
            self.ingest.pool.add(OpeningKey::successor(part, key, opening, last));
        }
        self.look_later();
    }

    /// Its Signals are being listed, its key is being merged or opened, or the end of the storm before is not written yet.
    fn must_wait(&self, key: StormKey, succession: &Succession) -> bool {
        let ends = |epoch: Epoch| succession.last.is_some_and(|last| epoch <= last);
        let is_ending = self.store.of_key(key).iter().any(|object| object.is_open() && ends(object.epoch()));
        let busy = self.ingest.pool.has(key) || self.ingest.merges(key);
        is_ending || busy || !self.ingest.is_listed(&succession.opening.object_namespace)
    }

    fn successor_waits(&mut self, key: StormKey, why: HeldBack, before: Option<&HeldBack>) {
        if before != Some(&why)
            && let Some(last) = self.store.of_key(key).iter().rfind(|object| !object.is_superseded())
        {
            self.fact(Fact::SuccessorWaits(last.clone(), why.clone()));
        }
        if let Some(succession) = self.ingest.successors.keys.get_mut(&key) {
            succession.why = Some(why);
        }
    }

    /// This storm has taken over what others left: its Signals say what that is about, and belong to it from now on.
    pub(super) fn took_over(&mut self, id: StormId, opening: &Opening) {
        let namespace: Arc<str> = opening.object_namespace.as_str().into();
        if self.ingest.crowds.holds_up(&namespace, id.key) {
            // The namespace is read again for the sake of that, and then it is asked again what fires on.
            return self.request(id);
        }
        self.ingest.successors.taken_over.insert(id.key, namespace.clone());
        self.reread(Some(namespace), RereadReason::TakenOver);
        self.request(id);
    }
}
