//! A publisher at a scripted API server, with everything around it in the hand of the test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use stormfold::api::RemediationRequest;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Ledger, Merge};
use stormfold::metrics::{ApiWrite, DispositionLabel, FailureLabels, Loop, Metrics, WriteLabels, WriteResult};
use stormfold::policies::Policies;
use stormfold::publish::{
    Apply, Behind, Drops, Listed, Next, Openings, Projections, PublishQueue, Publisher, Receipts, Requests, Rewatch,
    requests,
};
use stormfold::runtime::clock::Clock;
use stormfold::runtime::events::events;
use stormfold::runtime::link::Link;
use stormfold::runtime::readiness::Readiness;
use stormfold::storm::decide::LedgerView;
use stormfold::storm::name::storm_name;
use stormfold::storm::{
    DEDUP_HORIZON, Digest, Observation, Opening, Policy, Refused, Report, Severity, SignalRef, StormId,
};
use tokio::sync::{Notify, watch};

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
    Observation {
        signal: Arc::new(signal),
        key: opening.key(),
        opening: Arc::new(opening),
        severity: Severity::Warning,
        resolvable: false,
        incomplete: false,
        first_seen: at(seconds),
        last_seen: at(seconds),
        reports: vec![Report { uid, firing: true, resource: Some((uid, format!("Pod/p-{uid}").into())) }],
        refused: Refused::default(),
        clamped: 0,
        groupings: Vec::new(),
        missing_labels: Vec::new(),
        resource_version: None,
        told: false,
        dedup_horizon: DEDUP_HORIZON,
        told_to_wait: None,
        receipt: None,
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

/// Receipts that only note what they are told.
#[derive(Default)]
pub struct Slips {
    calls: Mutex<Vec<&'static str>>,
    pub owed: AtomicUsize,
    /// What is owed has not been shown by any object.
    pub unpublished: AtomicBool,
}

impl Slips {
    pub fn told(&self, what: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| **call == what).count()
    }

    fn note(&self, call: &'static str) {
        self.calls.lock().unwrap().push(call);
    }
}

#[async_trait]
impl Receipts for Slips {
    fn claim(&self, _: StormId) {
        self.note("claim");
    }
    fn release(&self, _: StormId) {
        self.note("release");
    }
    fn hurry(&self, _: StormId) {}

    fn abandon(&self, _: StormId) -> bool {
        self.note("abandon");
        self.unpublished.swap(false, Ordering::Relaxed)
    }

    async fn joined(&self) {}

    fn owed(&self, _: StormId) -> usize {
        self.owed.load(Ordering::Relaxed)
    }
}

/// See the module.
pub struct Press {
    pub server: Script,
    pub ledger: Arc<MemoryLedger>,
    pub projections: Arc<Projections>,
    pub openings: Arc<Openings>,
    pub receipts: Arc<Slips>,
    pub publisher: Arc<Publisher>,
    pub listed: watch::Sender<Listed>,
    pub rewatch: Rewatch,
    pub metrics: Metrics,
    pub policies: Arc<Policies>,
    pub requests: Requests,
    pub queue: Option<PublishQueue>,
    seconds: Arc<AtomicI64>,
}

impl Default for Press {
    fn default() -> Self {
        let server = Script::default();
        let (ledger, receipts) = (Arc::new(MemoryLedger::default()), Arc::new(Slips::default()));
        let (projections, openings) = (Arc::new(Projections::default()), Arc::new(Openings::default()));
        let (requests, queue) = requests();
        let (listed, is_listed) = watch::channel(Some(0));
        let (rewatch, metrics) = (Arc::new(Notify::new()), Metrics::default());
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = seconds.clone();
        let policies = Arc::new(Policies::built_in_only(server.client(), Policy::default()));
        let publisher = Publisher {
            ledger: ledger.clone(),
            projections: projections.clone(),
            openings: openings.clone(),
            receipts: receipts.clone(),
            apply: Apply::new(server.client()),
            policies: policies.clone(),
            requests: requests.clone(),
            listed: is_listed,
            rewatch: rewatch.clone(),
            link: Link::new(Readiness::default().open_gate("publish")),
            clock: Clock::new(move || at(clock.load(Ordering::Relaxed))),
            events: events(server.client(), &metrics).0,
            metrics: metrics.clone(),
            behind: Behind::default(),
            drops: Drops::default(),
        };
        Self {
            server,
            ledger,
            projections,
            openings,
            receipts,
            publisher: Arc::new(publisher),
            listed,
            rewatch,
            metrics,
            policies,
            requests,
            queue: Some(queue),
            seconds,
        }
    }
}

impl Press {
    /// With a storm of these occurrences in the ledger, not yet published.
    pub async fn with(uids: &[Digest]) -> Self {
        let press = Self::default();
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
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    pub async fn bring(&self, uids: &[Digest], seconds: i64) {
        self.bring_to("prod", 0, uids, seconds).await;
    }

    /// Merges occurrences seen at `seconds` into the storm that opened at `epoch`, and opens it if it is not open.
    pub async fn bring_to(&self, namespace: &str, epoch: i64, uids: &[Digest], seconds: i64) {
        let id = storm_in(namespace, epoch);
        let opening = opening_in(namespace);
        assert_eq!(self.ledger.open(id, &opening.pattern, at(seconds)).await.unwrap(), Some(id.epoch));
        self.openings.offer(id, &Arc::new(opening));
        self.merge(namespace, uids, seconds).await;
    }

    pub async fn merge(&self, namespace: &str, uids: &[Digest], seconds: i64) -> Merge {
        let observations = uids.iter().map(|uid| observation(namespace, *uid, seconds)).collect();
        let batch = (opening_in(namespace).key(), observations);
        self.ledger.merge(&[batch], at(seconds)).await.unwrap().pop().unwrap()
    }

    /// One run, with exactly these calls.
    pub async fn run(&mut self, id: StormId, expected: Vec<Expected>) -> Next {
        let publisher = self.publisher.clone();
        let run = Box::pin(async move { publisher.reconcile(id).await });
        self.server.expect(expected, run).await
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
    pub fn watch_catches_up(&self, id: StormId) -> RemediationRequest {
        let object: RemediationRequest = serde_json::from_value(self.server.object(&path("prod", id))).unwrap();
        self.projections.put(object.clone());
        object
    }

    pub fn failures(&self, disposition: DispositionLabel) -> u64 {
        self.metrics.failures.get_or_create(&FailureLabels { in_loop: Loop::Publish, disposition }).get()
    }

    pub fn writes(&self, write: ApiWrite, result: WriteResult) -> u64 {
        self.metrics.writes.get_or_create(&WriteLabels { write, result }).get()
    }
}
