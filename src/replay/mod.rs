//! The operator without a cluster: the real engine, the memory ledger and the real rules of intake, on a virtual clock. What is put in at one time
//! comes out the same each time, byte by byte.

mod cluster;
pub mod diff;
mod documents;
pub mod output;
mod player;
mod policy_files;
pub mod recording;
mod retention;
mod timeline;
mod timers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use stormfold_core::engine::call::{ApiCall, Call, ListSignals, ObjectName, Reply, SignalsPage};
use stormfold_core::engine::effect::{Delay, Effect, Fact};
use stormfold_core::engine::input::{Input, RequestEvent};
use stormfold_core::engine::{Engine, Settings};

pub use cluster::{ReplayCluster, name_of};
pub(crate) use documents::yaml_fault;
pub use documents::{FilePlace, InputFault};
pub use player::{PlayFault, PlaySettings, Played, Player};
pub use policy_files::PolicyFiles;
pub use timeline::{TimelineEntry, TimelineKind};

use retention::VirtualRetention;
use timers::VirtualTimers;

use crate::api::{RemediationRequest, Signal, StormPolicy};
use crate::cluster::request_of;
use crate::ledger::memory::MemoryLedger;
use crate::ledger::{LedgerCall, LedgerError, LedgerReply, execute};
use crate::policies::{Book, View};
use crate::runtime::guarded::Guarded;
use crate::storm::matching::Labels;
use crate::storm::{DigestKey, Policy, PolicySet, Reach};
use crate::watch::arrive;

/// Events that one chunk has at most, as in the operator.
const CHUNK: usize = 256;
/// The first back-off after a failure, which doubles. Nothing fails in a replay but what the recording makes fail.
const BACKOFF: Duration = Duration::from_millis(500);
/// Digests tell nobody anything here, and must be the same each time.
const DIGESTS: DigestKey = DigestKey::new(*b"stormfold replay");
/// Steps at one instant of the clock, of which a protocol that works takes a few for each object.
const STEPS_FOR_EACH: usize = 100;
const STEPS_BESIDE: usize = 10_000;

/// An operator on a virtual clock.
pub struct Replay {
    engine: Engine,
    ledger: MemoryLedger,
    cluster: ReplayCluster,
    policies: Book,
    view: View,
    namespaces: HashMap<String, Arc<Labels>>,
    now: Timestamp,
    timers: VirtualTimers,
    inputs: VecDeque<Input>,
    /// What the watch on Signals brings, by part: there is one.
    events: VecDeque<Event<Guarded<Signal>>>,
    /// Whether Signals are watched, and with which digests.
    watching: Option<DigestKey>,
    /// The engine wants a chunk.
    wanted: bool,
    facts: Vec<(Timestamp, Fact)>,
    reach: Reach,
    retention: VirtualRetention,
}

/// A replay that goes round in circles: a fault of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine does not come to rest at {0}: please report this with the recording")]
pub struct NeverRests(Timestamp);

impl Replay {
    /// An operator that starts at this time, in a cluster without objects.
    pub fn new(built_in: Policy, start: Timestamp) -> Self {
        let policies = Book::new(built_in);
        let view = View::new(&policies, HashMap::new());
        let mut replay = Self {
            engine: Engine::new(Settings::default(), view.set.clone()),
            ledger: MemoryLedger::with_key(DIGESTS),
            cluster: ReplayCluster::default(),
            policies,
            view,
            namespaces: HashMap::new(),
            now: start,
            timers: VirtualTimers::default(),
            inputs: VecDeque::new(),
            events: VecDeque::new(),
            watching: None,
            wanted: false,
            facts: Vec::new(),
            reach: Reach::everything(),
            retention: VirtualRetention::default(),
        };
        replay.start();
        replay
    }

    /// The same, where Signals of these namespaces alone may speak of others.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Keeps the Signals that are deleted after their retention, for whoever reads their receipts.
    pub fn keep_deleted_signals(&mut self) {
        self.cluster.keep_deleted_signals();
    }

    /// Notes which storms reports are in.
    fn note_storms(&mut self) {
        self.cluster.note_storms();
    }

    /// The policies as of now.
    pub fn policies_in_force(&self) -> &PolicySet {
        &self.view.set
    }

    /// The lists that come before everything else.
    fn start(&mut self) {
        let lists = [Input::Policies(self.view.set.clone()), Input::PoliciesListed];
        let listed = self.cluster.requests().filter_map(request_of).map(|object| RequestEvent::Listed(0, object));
        let events = [RequestEvent::ListBegins(0)].into_iter().chain(listed).chain([RequestEvent::ListEnds(0)]);
        self.inputs.extend(lists.into_iter().chain(events.map(Input::Request)));
    }

    /// The process is killed, and another one starts: with an empty ledger, which is rebuilt from what the cluster has.
    pub fn restart(&mut self) {
        self.engine = Engine::new(Settings::default(), self.view.set.clone());
        self.ledger = MemoryLedger::with_key(DIGESTS);
        self.timers = VirtualTimers::default();
        self.inputs.clear();
        self.events.clear();
        (self.watching, self.wanted) = (None, false);
        drop(self.cluster.take_changed());
        self.start();
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What the cluster has.
    pub fn cluster(&self) -> &ReplayCluster {
        &self.cluster
    }

    /// What happened since this was asked last.
    pub fn take_facts(&mut self) -> Vec<(Timestamp, Fact)> {
        std::mem::take(&mut self.facts)
    }

    /// Somebody creates a Signal. False: one of its name is there.
    pub fn create_signal(&mut self, signal: Signal) -> bool {
        let Some(created) = self.cluster.create_signal(signal, self.now) else { return false };
        self.know_namespace(&created.namespace().unwrap_or_default());
        if self.watching.is_some() {
            self.events.push_back(Event::Apply(Guarded(Ok(created))));
        }
        true
    }

    /// Every namespace has the label that the API server gives it.
    fn know_namespace(&mut self, name: &str) {
        if !self.namespaces.contains_key(name) {
            let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
            self.namespaces.insert(name.to_owned(), Arc::new(labels));
            self.view = View::new(&self.policies, self.namespaces.clone());
        }
    }

    /// A namespace has these labels from now on, and that of its name.
    pub fn label_namespace(&mut self, name: &str, labels: Labels) {
        let of_name = ("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        self.namespaces.insert(name.to_owned(), Arc::new(labels.into_iter().chain([of_name]).collect()));
        self.view = View::new(&self.policies, self.namespaces.clone());
    }

    /// A policy is in force, or not any more if it cannot be.
    pub fn put_policy(&mut self, mut policy: StormPolicy) {
        let now = self.now;
        policy.metadata.creation_timestamp.get_or_insert(Time(now));
        if self.policies.put(policy) {
            self.policies_changed();
        }
    }

    /// A policy is deleted.
    pub fn delete_policy(&mut self, name: &str) {
        if self.policies.remove(name) {
            self.policies_changed();
        }
    }

    fn policies_changed(&mut self) {
        self.view = View::new(&self.policies, self.namespaces.clone());
        self.inputs.push_back(Input::Policies(self.view.set.clone()));
    }

    /// Somebody else changes a RemediationRequest: an engine its outcome, a person an annotation.
    pub fn edit_request(&mut self, name: &ObjectName, edit: impl FnOnce(&mut RemediationRequest)) {
        self.cluster.edit_request(name, edit);
    }

    /// Somebody deletes a RemediationRequest.
    pub fn delete_request(&mut self, name: &ObjectName) {
        if let Some(object) = self.cluster.delete_request(name).as_ref().and_then(request_of) {
            self.inputs.push_back(Input::Request(RequestEvent::Deleted(object.id)));
        }
    }

    /// The clock goes on to this time, and everything happens that happens by then.
    pub fn run_until(&mut self, end: Timestamp) -> Result<(), NeverRests> {
        self.settle()?;
        loop {
            if let Some(due) = self.retention.next().filter(|due| self.timers.next().is_none_or(|at| *due <= at)) {
                let Some((at, storm)) = self.retention.next_until(end) else { break };
                self.now = self.now.max(at).max(due);
                self.retire(&storm);
            } else {
                let Some((at, timer)) = self.timers.next_until(end) else { break };
                self.now = self.now.max(at);
                self.inputs.push_back(Input::Timer(timer));
            }
            self.settle()?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    /// The clock goes on for so long.
    pub fn run_for(&mut self, time: SignedDuration) -> Result<(), NeverRests> {
        self.run_until(self.now.checked_add(time).unwrap_or(Timestamp::MAX))
    }

    /// The clock goes on until nothing is left to happen.
    pub fn run_to_the_end(&mut self) -> Result<(), NeverRests> {
        self.run_until(Timestamp::MAX)
    }

    /// Everything happens that needs no time.
    fn settle(&mut self) -> Result<(), NeverRests> {
        let most = STEPS_BESIDE + STEPS_FOR_EACH * (self.cluster.objects() + self.inputs.len() + self.events.len());
        for _ in 0..most {
            for object in self.cluster.take_changed() {
                self.inputs.push_back(Input::Request(RequestEvent::Changed(object)));
            }
            let Some(input) = self.inputs.pop_front().or_else(|| self.next_chunk()) else { return Ok(()) };
            for effect in self.engine.step(input, self.now) {
                self.carry_out(effect);
            }
        }
        Err(NeverRests(self.now))
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call(id, Call::Ledger(call)) => {
                let reply = self.ask_ledger(call);
                self.inputs.push_back(Input::Reply(id, Reply::Ledger(reply)));
            }
            Effect::Call(id, Call::Api(call)) => {
                let told = if let ApiCall::WriteReceipt(receipt, _) = &call {
                    Some(ObjectName { namespace: receipt.signal.namespace.clone(), name: receipt.signal.name.clone() })
                } else {
                    None
                };
                let reply = self.cluster.execute(call, self.now);
                if let Some(signal) = told {
                    self.note_receipt(&signal);
                }
                self.inputs.push_back(Input::Reply(id, Reply::Api(reply)));
            }
            Effect::Call(id, Call::Signals(list)) => {
                let page = self.page(&list);
                self.inputs.push_back(Input::Reply(id, Reply::Signals(Ok(page))));
            }
            Effect::SetTimer(timer, delay) => self.timers.set(timer, self.now, without_jitter(delay)),
            Effect::CancelTimer(timer) => self.timers.cancel(timer),
            Effect::ReadSignals { digests, groupings } => {
                if self.policies.note_open(groupings) {
                    self.policies_changed();
                }
                self.watching = Some(digests);
                let listed = self.cluster.signals().cloned().map(|signal| Event::InitApply(Guarded(Ok(signal))));
                self.events = [Event::Init].into_iter().chain(listed).chain([Event::InitDone]).collect();
                self.wanted = false;
            }
            Effect::NextChunk => self.wanted = true,
            Effect::Gate(..) => {}
            Effect::Fact(fact) => {
                if let Fact::Closed(object, _) = &fact {
                    self.note_closed(object);
                }
                self.facts.push((self.now, fact));
            }
        }
    }

    /// The memory ledger waits for nobody.
    fn ask_ledger(&self, call: LedgerCall) -> Result<LedgerReply, LedgerError> {
        let pending = || Err(LedgerError::Unavailable("the memory ledger waits for something".to_owned()));
        execute(&self.ledger, call).now_or_never().unwrap_or_else(pending)
    }

    fn next_chunk(&mut self) -> Option<Input> {
        let digests = self.watching.filter(|_| self.wanted)?;
        let mut arrivals = Vec::new();
        while let Some(event) = self.events.pop_front() {
            arrivals.extend(arrive((0, event), &self.view, &self.reach, &digests));
            if arrivals.len() == CHUNK {
                break;
            }
        }
        // What means nothing is no chunk.
        if arrivals.is_empty() {
            return None;
        }
        self.wanted = false;
        Some(Input::Signals(arrivals))
    }

    /// The Signals of one namespace, on one page.
    fn page(&self, list: &ListSignals) -> SignalsPage {
        let of_namespace = self.cluster.signals_of(&list.namespace);
        let events = of_namespace.cloned().map(|signal| (list.part, Event::InitApply(Guarded(Ok(signal)))));
        let arrivals = events.filter_map(|event| arrive(event, &self.view, &self.reach, &list.digests)).collect();
        SignalsPage { arrivals, next: None }
    }
}

fn without_jitter(delay: Delay) -> Duration {
    match delay {
        Delay::After(delay) => delay,
        Delay::Backoff { failures, at_most } => {
            BACKOFF.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(at_most)
        }
    }
}
