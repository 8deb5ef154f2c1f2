//! The protocol as a state machine: opening, merging, publishing, receipts and closing. It makes no call, reads no clock and
//! holds no lock: `step` takes what happened and gives what is to be done.
//!
//! Each call belongs to a task with at most one call under way; its answer may come late, twice or never. `ingest` and
//! `publish` meet only in what they share: the store, the work queue, the receipts, and the wish for a resync.

pub mod call;
pub mod effect;
mod examples;
pub mod fair;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod ingest;
pub mod input;
pub mod lineage;
mod openings;
mod publish;
pub mod queue;
pub mod receipts;
pub mod resync;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;

use call::{ApiCall, Call, CallId, ListSignals, ObjectName, Reply, Task};
use effect::{Delay, Effect, Fact, GateId, Timer};
use examples::Examples;
use fair::Place;
use ingest::Ingest;
use input::{Input, RequestEvent};
use openings::Openings;
use publish::Run;
use queue::StormQueue;
use receipts::Receipts;
use resync::Resync;
use store::Store;

use crate::ledger::LedgerCall;
use crate::rules::Rules;
use crate::storm::{DigestKey, Opening, PolicySet, StormId, StormKey};

/// What does not change while an engine lives.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The watched namespaces, one part of each watch for each; empty: all of them, in one part.
    pub namespaces: Vec<String>,
    /// The rules of the protocol.
    pub rules: Rules,
}

impl Settings {
    /// The parts of a watch.
    fn parts(&self) -> std::ops::Range<usize> {
        0..self.namespaces.len().max(1)
    }

    /// The part that a namespace belongs to.
    fn part_of(&self, namespace: &str) -> usize {
        self.namespaces.iter().position(|watched| watched == namespace).unwrap_or_default()
    }
}

/// The protocol, and all that it remembers. One owner steps it.
#[derive(Clone)]
pub struct Engine {
    settings: Settings,
    policies: Arc<PolicySet>,
    /// Whether the first lists of policies and namespaces are complete.
    policies_listed: bool,
    /// Nothing new begins.
    stopping: bool,
    /// The time of the step under way.
    now: Timestamp,
    /// Of the step under way.
    effects: Vec<Effect>,
    /// The calls under way, by task, with their numbers.
    calls: BTreeMap<Task, u64>,
    last_call: u64,
    store: Store,
    /// Parts of the watch on RemediationRequests whose list is not complete, and what each has listed.
    listing: BTreeMap<usize, BTreeSet<StormId>>,
    openings: Openings,
    /// Decides nothing, and tells no state from another.
    examples: Examples,
    receipts: Receipts,
    queue: StormQueue,
    runs: BTreeMap<StormId, Run>,
    /// Storms whose RemediationRequest the API server refuses for a reason of their namespace.
    refused: BTreeSet<StormId>,
    resync: Resync,
    ingest: Ingest,
    /// Key of the digests, of the last `begin`.
    digests: Option<DigestKey>,
    /// What the facts said last.
    reported: Reported,
}

/// Numbers that were told, so that only changes are.
#[derive(Clone, Debug, Default)]
struct Reported {
    owed: usize,
    held_back: usize,
    crowded: usize,
    refused: usize,
    totals: store::Totals,
}

/// All that tells one state from another: calls by task and not by number, and nothing that was only told.
impl Hash for Engine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { policies_listed, calls, store, listing, openings, receipts, queue, runs, resync, ingest, .. } = self;
        (policies_listed, store, listing, openings, receipts, queue).hash(state);
        (runs, resync, ingest).hash(state);
        state.write_usize(calls.len());
        for task in calls.keys() {
            task.hash(state);
        }
    }
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(settings: Settings, policies: Arc<PolicySet>) -> Self {
        let listing = settings.parts().map(|part| (part, BTreeSet::new())).collect();
        Self {
            settings,
            policies,
            policies_listed: false,
            stopping: false,
            now: Timestamp::UNIX_EPOCH,
            effects: Vec::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            store: Store::default(),
            listing,
            openings: Openings::default(),
            examples: Examples::default(),
            receipts: Receipts::default(),
            queue: StormQueue::default(),
            runs: BTreeMap::new(),
            refused: BTreeSet::new(),
            resync: Resync::default(),
            ingest: Ingest::default(),
            digests: None,
            reported: Reported::default(),
        }
    }

    /// Reacts to what happened.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Signals(arrivals) => self.chunk_came(arrivals),
            Input::Request(event) => self.request_event(event),
            Input::Policies(policies) => self.policies_changed(policies),
            Input::PoliciesListed => self.policies_listed = true,
            Input::Reply(id, reply) => self.heard(id, reply),
            Input::Timer(timer) => self.timer_ended(timer),
            Input::Storm(id) => self.request(id),
            Input::Resync(reason) => self.resync.ask(reason),
            Input::Stop => self.stopping = true,
        }
        if !self.stopping {
            self.ingest_goes_on();
            self.run_storms();
            self.write_receipts();
        }
        self.tell_numbers();
        std::mem::take(&mut self.effects)
    }

    /// What the cluster shows.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What merged Signals are owed.
    pub fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Whether the first list of RemediationRequests is complete.
    pub fn requests_listed(&self) -> bool {
        self.listing.is_empty()
    }

    /// Whether a list of all Signals is complete, and what asks for the next one.
    pub fn resync(&self) -> &Resync {
        &self.resync
    }

    /// The key of the digests of the ledger, once all Signals were read since it began.
    pub fn digests(&self) -> Option<DigestKey> {
        self.digests.filter(|_| self.resync.is_listed())
    }

    fn heard(&mut self, id: CallId, reply: Reply) {
        if self.calls.get(&id.task) != Some(&id.number) {
            return;
        }
        self.calls.remove(&id.task);
        let task = id.task;
        match (task, reply) {
            (Task::Begin, Reply::Ledger(reply)) => self.begun(reply),
            (Task::Dirty, Reply::Ledger(reply)) => self.dirty_heard(reply),
            (Task::Holder(key), Reply::Api(reply)) => self.holder_found(key, reply),
            (Task::Hold, Reply::Ledger(reply)) => self.held(reply),
            (Task::Merge, Reply::Ledger(reply)) => self.merged(reply),
            (Task::Open(key), reply) => self.open_heard(key, reply),
            (Task::Run(storm), reply) => self.run_heard(storm, reply),
            (Task::Receipt(writer), Reply::Api(reply)) => self.receipt_heard(writer, reply),
            (Task::Reread(reader), Reply::Signals(reply)) => self.page_came(reader, reply),
            // An answer of another server: no executor gives one.
            (Task::Begin | Task::Dirty | Task::Hold | Task::Merge, Reply::Api(_) | Reply::Signals(_))
            | (Task::Holder(_) | Task::Receipt(_), Reply::Ledger(_) | Reply::Signals(_))
            | (Task::Reread(_), Reply::Ledger(_) | Reply::Api(_)) => {}
        }
        if matches!(task, Task::Merge | Task::Open(_)) {
            self.merges_are_over(|merge| *merge == task);
        }
    }

    fn timer_ended(&mut self, timer: Timer) {
        match timer {
            Timer::Storm(id) => {
                if self.queue.unschedule(id) {
                    self.request(id);
                }
            }
            Timer::Pause(id) => self.queue.pause_ended(id),
            Timer::Begin => self.begin_again(),
            Timer::Merge => self.merge_again(),
            Timer::Open => self.open_again(),
            Timer::HeldBack => self.held_back_are_due(),
            Timer::Room => self.room_is_due(),
            Timer::Burst => self.burst_ended(),
            Timer::Patience => self.patience_ended(),
            Timer::Receipt(key) => self.receipt_is_due(key),
            Timer::Reread(reader) => self.page_is_due(reader),
        }
    }

    fn policies_changed(&mut self, policies: Arc<PolicySet>) {
        self.policies = policies;
        // Open storms follow the edits of their policies.
        self.store.open().into_iter().for_each(|id| self.request(id));
    }

    /// A run of this storm as soon as its pace and its namespace's turn allow.
    fn request(&mut self, id: StormId) {
        self.queue.request(id, self.place_of(id));
    }

    /// Where a storm stands in a queue: with its namespace, as severe as it is known to be.
    fn place_of(&self, id: StormId) -> Place {
        let object = self.store.get(id);
        let opening = self.openings.get(id).or_else(|| Some(&object?.opening));
        let shown = object.and_then(|object| object.facts()).map(|facts| facts.severity);
        let namespace = opening.map_or("", |opening| opening.object_namespace.as_str());
        Place::of(namespace, opening.map(|opening| opening.severity).max(shown).unwrap_or_default())
    }

    fn request_event(&mut self, event: RequestEvent) {
        match event {
            RequestEvent::ListBegins(part) => drop(self.listing.insert(part, BTreeSet::new())),
            RequestEvent::Listed(part, object) => {
                self.listing.entry(part).or_default().insert(object.id);
                self.request_changed(object);
            }
            RequestEvent::Changed(object) => self.request_changed(object),
            RequestEvent::Deleted(id) => self.request_gone(id),
            RequestEvent::ListEnds(part) => {
                let listed = self.listing.remove(&part).unwrap_or_default();
                let scope = self.settings.namespaces.get(part).map(std::slice::from_ref).unwrap_or_default();
                for gone in self.store.in_namespaces(scope).difference(&listed) {
                    self.request_gone(*gone);
                }
                if self.listing.is_empty() {
                    self.effect(Effect::Gate(GateId::Requests, None));
                }
            }
        }
    }

    fn request_changed(&mut self, object: crate::request::Request) {
        let id = object.id;
        let overwritten = |object: &&Arc<crate::request::Request>| object.overwritten.is_some();
        let was = self.store.get(id).as_ref().is_some_and(overwritten);
        self.store.put(object);
        if let Some(object) = self.store.get(id).filter(overwritten).filter(|_| !was).cloned() {
            self.fact(Fact::Overwritten(object));
        }
        self.request(id);
    }

    fn request_gone(&mut self, id: StormId) {
        self.store.remove(id);
        self.request(id);
    }

    fn run_storms(&mut self) {
        while let Some(id) = self.queue.start() {
            if self.queue.unschedule(id) {
                self.effect(Effect::CancelTimer(Timer::Storm(id)));
            }
            self.start_run(id);
        }
    }

    fn tell_numbers(&mut self) {
        let (owed, held_back, totals) = (self.receipts.count(), self.ingest.held_back(), self.store.totals());
        if std::mem::replace(&mut self.reported.owed, owed) != owed {
            self.fact(Fact::Owed(owed));
        }
        if std::mem::replace(&mut self.reported.held_back, held_back) != held_back {
            self.fact(Fact::HeldBack(held_back));
        }
        let crowded = self.ingest.crowded();
        if std::mem::replace(&mut self.reported.crowded, crowded) != crowded {
            self.fact(Fact::Crowded(crowded));
        }
        let refused = self.refused.len();
        if std::mem::replace(&mut self.reported.refused, refused) != refused {
            self.fact(Fact::RefusedStorms(refused));
        }
        if std::mem::replace(&mut self.reported.totals, totals) != totals {
            self.fact(Fact::Totals(totals));
        }
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn fact(&mut self, fact: Fact) {
        self.effects.push(Effect::Fact(fact));
    }

    fn timer(&mut self, timer: Timer, delay: Delay) {
        self.effects.push(Effect::SetTimer(timer, delay));
    }

    fn ask(&mut self, task: Task, call: Call) {
        self.last_call += 1;
        self.calls.insert(task, self.last_call);
        self.effects.push(Effect::Call(CallId { task, number: self.last_call }, call));
    }

    fn ask_ledger(&mut self, task: Task, call: LedgerCall) {
        self.ask(task, Call::Ledger(call));
    }

    fn ask_api(&mut self, task: Task, call: ApiCall) {
        self.ask(task, Call::Api(call));
    }

    fn ask_signals(&mut self, task: Task, call: ListSignals) {
        self.ask(task, Call::Signals(call));
    }

    /// All objects of a key, uncached.
    fn find(&mut self, task: Task, key: StormKey, opening: &Opening) {
        let (namespace, pattern) = (opening.object_namespace.clone(), opening.pattern.clone());
        self.ask_api(task, ApiCall::Find { key, namespace, pattern });
    }

    /// The namespace of the Signals and objects of a storm's key, as far as the store, an opening or an owed receipt can tell.
    fn namespace_of(&self, id: StormId) -> Option<Arc<str>> {
        let opening = self.openings.get(id).or_else(|| self.store.any_of(id.key).map(|object| &object.opening));
        let known = opening.map(|opening| opening.object_namespace.as_str().into());
        known.or_else(|| self.receipts.namespace_of(id))
    }

    /// The object of a storm by name; `None` while neither the store nor an opening can tell.
    fn name_of(&self, id: StormId) -> Option<ObjectName> {
        let of_opening = || self.openings.get(id).map(|opening| ObjectName::of_storm(opening, id.epoch));
        let of_object = |object: &Arc<crate::request::Request>| ObjectName {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        };
        of_opening().or_else(|| self.store.get(id).map(of_object))
    }
}
