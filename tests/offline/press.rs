//! A publisher at a scripted API server, with everything around it in the hand of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use stormfold::api::RemediationRequest;
use stormfold::cluster::request_of;
use stormfold::driver::{Driver, Reporter};
use stormfold::inbox::Want;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Ledger, Merge};
use stormfold::metrics::{ApiWrite, DispositionLabel, FailureLabels, Loop, Metrics, WriteLabels, WriteResult};
use stormfold::policies::Policies;
use stormfold::storm::decide::LedgerView;
use stormfold::storm::name::storm_name;
use stormfold::storm::{Digest, Observation, Opening, Reach, Report, Severity, SignalRef, StormId, fixtures};
use stormfold::watch::SignalLister;
use stormfold_core::engine::Engine;
use stormfold_core::engine::effect::Next;
use stormfold_core::engine::receipts::{Receipt, Verdict};
use stormfold_core::engine::resync::{RereadReason, ResyncReason};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::hand::{Hand, Slips};
use crate::script::{API, Expected, Script};

/// When the storm of these tests opened, in unix seconds.
pub const EPOCH: i64 = 1_700_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(EPOCH + seconds).unwrap()
}

pub fn opening_in(namespace: &str) -> Opening {
    Opening {
        object_namespace: namespace.into(),
        pattern: format!("HighMemoryUsage in {namespace}"),
        signal_name: "HighMemoryUsage".into(),
        source_kind: None,
        namespace: namespace.into(),
        cluster: None,
        severity: Severity::Warning,
        group_labels: BTreeMap::from([("name".into(), "HighMemoryUsage".into())]),
        policy: "default".into(),
        said: Arc::default(),
    }
}

/// The storm that most tests are about.
pub fn storm() -> StormId {
    storm_in("prod", 0)
}

pub fn storm_in(namespace: &str, seconds: i64) -> StormId {
    StormId { key: opening_in(namespace).key(), epoch: EPOCH + seconds }
}

/// One occurrence on a resource of its own.
pub fn observation(namespace: &str, uid: Digest, seconds: i64) -> Observation {
    let signal = SignalRef { namespace: namespace.into(), name: format!("s-{uid}"), uid: format!("signal-{uid}") };
    let opening = opening_in(namespace);
    let report = Report { uid, firing: true, resource: Some((uid, format!("Pod/p-{uid}").into())) };
    let seconds = at(seconds).as_second();
    Observation {
        signal: Arc::new(signal),
        key: opening.key(),
        opening: Arc::new(opening),
        ..fixtures::observation(vec![report], (seconds, seconds), Severity::Warning)
    }
}

/// Path of the object of a storm.
pub fn path(namespace: &str, id: StormId) -> String {
    let name = storm_name(&opening_in(namespace).pattern, id.epoch);
    format!("{API}/namespaces/{namespace}/remediationrequests/{name}")
}

pub fn create() -> Expected {
    Expected::new("POST", format!("{API}/namespaces/prod/remediationrequests"))
}

pub fn apply(id: StormId) -> Expected {
    Expected::new("PATCH", path("prod", id) + "/status")
}

pub fn get(id: StormId) -> Expected {
    Expected::new("GET", path("prod", id))
}

/// What a Signal is told of the storm that it joined.
pub fn receipt(signal: SignalRef, storm: String) -> Receipt {
    Receipt {
        signal: Arc::new(signal),
        others: Vec::new(),
        storm: Some(storm),
        total: 1,
        new: 1,
        rejected: 0,
        held: Vec::new(),
        verdict: Verdict::Merged,
        missing_labels: Vec::new(),
        version: None,
        pending: None,
        severity: Severity::Warning,
    }
}

/// See the module.
pub struct Press {
    pub server: Script,
    pub ledger: Arc<MemoryLedger>,
    pub receipts: Arc<Slips>,
    pub metrics: Metrics,
    pub policies: Arc<Policies>,
    hand: Hand,
}

impl Default for Press {
    fn default() -> Self {
        let server = Script::default();
        let mut hand = Hand::new(&server.client());
        let receipts = Arc::new(Slips::default());
        hand.slips = Some(receipts.clone());
        hand.engine.end_list();
        let (ledger, metrics, policies) = (hand.ledger.clone(), hand.metrics.clone(), hand.policies.clone());
        Self { server, ledger, receipts, metrics, policies, hand }
    }
}

impl Press {
    /// With a storm of these occurrences in the ledger, not yet published.
    pub async fn with(uids: &[Digest]) -> Self {
        let mut press = Self::default();
        press.bring(uids, 0).await;
        press
    }

    /// With a storm of these occurrences that is published, receipts and all.
    pub async fn published(uids: &[Digest]) -> Self {
        let mut press = Self::with(uids).await;
        press.run(storm(), vec![create(), apply(storm())]).await;
        press
    }

    /// It is that many seconds after the storm opened.
    pub fn set_clock(&self, seconds: i64) {
        self.hand.set_clock(seconds);
    }

    pub fn engine(&mut self) -> &mut Engine {
        &mut self.hand.engine
    }

    pub async fn bring(&mut self, uids: &[Digest], seconds: i64) {
        self.bring_to("prod", 0, uids, seconds).await;
    }

    /// Merges occurrences seen at `seconds` into the storm that opened at `epoch`, and opens it if it is not open.
    pub async fn bring_to(&mut self, namespace: &str, epoch: i64, uids: &[Digest], seconds: i64) {
        let id = storm_in(namespace, epoch);
        let opening = opening_in(namespace);
        assert_eq!(self.ledger.open(id, &opening.pattern, at(seconds)).await.unwrap(), Some(id.epoch));
        self.engine().offer_opening(id, &Arc::new(opening));
        self.merge(namespace, uids, seconds).await;
    }

    /// Each Signal that joins a storm is owed its receipt.
    pub async fn merge(&mut self, namespace: &str, uids: &[Digest], seconds: i64) -> Merge {
        let observations: Vec<_> = uids.iter().map(|uid| observation(namespace, *uid, seconds)).collect();
        let signals: Vec<_> = observations.iter().map(|observation| observation.signal.clone()).collect();
        let opening = opening_in(namespace);
        let batch = (opening.key(), observations);
        let merge = self.ledger.merge(&[batch], at(seconds)).await.unwrap().pop().unwrap();
        if let Merge::Joined { epoch, .. } = &merge {
            let told = |signal: &Arc<SignalRef>| receipt(signal.as_ref().clone(), storm_name(&opening.pattern, *epoch));
            let id = StormId { key: opening.key(), epoch: *epoch };
            self.hand.owe(id, signals.iter().map(told).collect());
        }
        merge
    }

    /// The storm holds one more Signal, which adds nothing to it and has no receipt.
    pub fn owe(&mut self, id: StormId) {
        let signal = SignalRef { namespace: "prod".into(), name: "s-again".into(), uid: "signal-again".into() };
        self.hand.owe(id, vec![receipt(signal, storm_name(&opening_in("prod").pattern, id.epoch))]);
    }

    /// The writes of receipts that were asked for are done.
    pub fn answer_receipts(&mut self) {
        self.hand.answer_receipts();
    }

    /// One run, with exactly these calls.
    pub async fn run(&mut self, id: StormId, expected: Vec<Expected>) -> Next {
        let Self { server, hand, .. } = self;
        server.expect(expected, hand.run(id)).await
    }

    /// A list of all Signals begins.
    pub fn list_begins(&mut self) {
        self.engine().begin_list();
    }

    /// It is complete. Gives the storms whose runs waited for that.
    pub fn list_ends(&mut self) -> BTreeSet<StormId> {
        self.engine().end_list()
    }

    /// Why somebody wants all Signals to be read again. Asking takes it away.
    pub fn wants_list(&mut self) -> Option<ResyncReason> {
        self.engine().take_resync()
    }

    /// Why somebody wants the Signals of the namespace of these tests, and of no other, to be read again. Asking takes it away.
    pub fn wants_reread(&mut self) -> Option<RereadReason> {
        let mut rereads = self.engine().take_rereads();
        let (namespace, reason) = rereads.pop()?;
        assert!(rereads.is_empty() && *namespace == *"prod", "{namespace} and {rereads:?}");
        Some(reason)
    }

    /// Drives this engine, on this ledger, from where it is. The reader of Signals is told what is sent to the receiver.
    pub fn driver(
        &self,
        engine: Engine,
        ledger: Arc<dyn Ledger>,
        reporter: Reporter,
    ) -> (Driver, UnboundedReceiver<Want>) {
        let (wants, wanted) = unbounded_channel();
        let (_, resyncs) = unbounded_channel();
        let (cluster, clock) = (self.hand.cluster.clone(), self.hand.clock());
        let lister = SignalLister::new(self.server.client(), self.policies.clone(), Reach::default());
        (Driver { engine, ledger, cluster, lister, resyncs, wants, reporter, clock }, wanted)
    }

    /// What the ledger says of a storm.
    pub async fn view(&self, id: StormId) -> LedgerView {
        self.ledger.snapshot(id).await.unwrap().view
    }

    pub async fn is_dirty(&self, id: StormId) -> bool {
        self.ledger.dirty().await.unwrap().contains(&id)
    }

    /// `status.storm` as the cluster has it.
    pub fn shown(&self, id: StormId) -> Value {
        self.server.object(&path("prod", id))["status"]["storm"].clone()
    }

    /// The watch saw what the cluster has.
    pub fn watch_catches_up(&mut self, id: StormId) -> RemediationRequest {
        let object: RemediationRequest = serde_json::from_value(self.server.object(&path("prod", id))).unwrap();
        self.engine().put(request_of(&object).unwrap());
        object
    }

    pub fn failures(&self, disposition: DispositionLabel) -> u64 {
        self.metrics.failures.get_or_create(&FailureLabels { in_loop: Loop::Publish, disposition }).get()
    }

    pub fn writes(&self, write: ApiWrite, result: WriteResult) -> u64 {
        self.metrics.writes.get_or_create(&WriteLabels { write, result }).get()
    }
}
