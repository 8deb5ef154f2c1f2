//! Every metric of the process, in OpenMetrics. Labels are closed enums: never a name, a namespace or a text from an alert.

mod events;
mod gateway;
mod labels;
mod ledger;
mod polls;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use events::{EventMetrics, EventResult};
pub use gateway::{
    AlertResult, GatewayAnswer, GatewayMetrics, MetricsOfSource, SignalNamespace, SourceLabel, SourceLabels,
    StoreResult,
};
pub use labels::{
    ApiWrite, DispositionLabel, FailureLabels, Loop, OccurrenceLabels, OccurrenceResult, RelistLabels, RelistReason,
    RereadLabel, RereadLabels, SignalLabels, SignalResult, WatchLabels, WatchedResource, WriteLabels, WriteResult,
};
pub use ledger::{LedgerMetrics, LedgerOperation, MemoryLedgerMetrics, MergeOutcome};
pub use polls::{PollMetrics, PollResult, ToldByPoll};
pub use server::{ServerMetrics, ServerReading};

/// The metrics; cheap to clone, all clones are one.
#[derive(Clone)]
#[allow(missing_docs, reason = "the help text of each is at its registration")]
pub struct Metrics {
    registry: Arc<Registry>,
    pub signals: Family<SignalLabels, Counter>,
    pub occurrences_received: Counter,
    pub occurrences: Family<OccurrenceLabels, Counter>,
    pub clamped_times: Counter,
    pub open_storms: Gauge,
    pub oldest_open_storm: Gauge,
    pub requests: Gauge,
    pub request_alerts: Gauge,
    pub leading: Gauge,
    pub owed_receipts: Gauge,
    pub held_back_signals: Gauge,
    pub refused_storms: Gauge,
    pub signals_lacking_labels: Counter,
    pub publish_seconds: Histogram,
    pub writes: Family<WriteLabels, Counter>,
    pub watch_failures: Family<WatchLabels, Counter>,
    pub failures: Family<FailureLabels, Counter>,
    pub relists: Family<RelistLabels, Counter>,
    pub rereads: Family<RereadLabels, Counter>,
    /// Epoch of the storm that is open for longest; 0: none is.
    oldest_open: Arc<AtomicI64>,
    pub ledger: LedgerMetrics,
    pub memory_ledger: MemoryLedgerMetrics,
    pub gateway: GatewayMetrics,
    pub events: EventMetrics,
    pub polls: PollMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("stormfold");
        let publish_seconds = Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        macro_rules! register {
            ($name:literal, $help:literal) => {{
                let metric = <_>::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let signals = register!("signals", "Signals that passed intake or did not");
        let occurrences_received = register!("occurrences_received", "Occurrences in the Signals received");
        let occurrences = register!("occurrences", "What became of the occurrences received");
        let clamped_times = register!("clamped_times", "Times too far from their Signal's creation to be believed");
        let leading = register!("leading", "1: this replica works: it holds the Lease, or needs none");
        let open_storms = register!("open_storms", "Storms open in the cluster");
        let oldest_open_storm = register!("oldest_open_storm_seconds", "Age of the oldest open storm; 0: none is");
        let requests = register!("requests", "RemediationRequests in the cluster, open and closed");
        let request_alerts = register!("request_alerts", "Alerts that they stand for");
        let owed_receipts = register!("owed_receipts", "Signals merged whose status is not written yet");
        let held_back_signals = register!("held_back_signals", "Signals that wait for a storm that may not open yet");
        let refused_storms = register!("refused_storms", "Storms whose RemediationRequest their namespace refuses");
        let signals_lacking_labels =
            register!("signals_lacking_labels", "Signals that lack a label by which their policy groups");
        let writes = register!("api_writes", "Writes to the API server");
        let watch_failures = register!("watch_failures", "Watches that failed and were started again");
        let relists = register!("relists", "Lists of all Signals, the most expensive thing that the operator does");
        let rereads = register!("rereads", "Lists of the Signals of one namespace");
        let failures = register!("failures", "Runs of a loop that failed and are tried again");
        let help = "From the first unpublished change of a storm to its publication";
        registry.register("publish_seconds", help, publish_seconds.clone());
        let metrics = Self {
            signals,
            occurrences_received,
            occurrences,
            clamped_times,
            open_storms,
            oldest_open_storm,
            requests,
            request_alerts,
            leading,
            owed_receipts,
            held_back_signals,
            refused_storms,
            signals_lacking_labels,
            publish_seconds,
            writes,
            watch_failures,
            failures,
            relists,
            rereads,
            oldest_open: Arc::default(),
            ledger: LedgerMetrics::register(&mut registry),
            memory_ledger: MemoryLedgerMetrics::register(&mut registry),
            gateway: GatewayMetrics::register(&mut registry),
            events: EventMetrics::register(&mut registry),
            polls: PollMetrics::register(&mut registry),
            registry: Arc::new(registry),
        };
        metrics.begin();
        metrics
    }
}

impl Metrics {
    /// Every series is there from the start, as zero.
    fn begin(&self) {
        for result in SignalResult::ALL.iter().copied() {
            drop(self.signals.get_or_create(&SignalLabels { result }));
        }
        for result in OccurrenceResult::ALL.iter().copied() {
            drop(self.occurrences.get_or_create(&OccurrenceLabels { result }));
        }
        for resource in WatchedResource::ALL.iter().copied() {
            drop(self.watch_failures.get_or_create(&WatchLabels { resource }));
        }
        for write in ApiWrite::ALL.iter().copied() {
            for result in write.results().iter().copied() {
                drop(self.writes.get_or_create(&WriteLabels { write, result }));
            }
        }
        for reason in RelistReason::ALL.iter().copied() {
            drop(self.relists.get_or_create(&RelistLabels { reason }));
        }
        for reason in RereadLabel::ALL.iter().copied() {
            drop(self.rereads.get_or_create(&RereadLabels { reason }));
        }
        for in_loop in Loop::ALL.iter().copied() {
            for disposition in DispositionLabel::ALL.iter().copied() {
                drop(self.failures.get_or_create(&FailureLabels { in_loop, disposition }));
            }
        }
    }

    /// Which storm is open for longest.
    pub fn set_oldest_open(&self, epoch: Option<i64>) {
        self.oldest_open.store(epoch.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Counts one write.
    pub fn wrote(&self, write: ApiWrite, result: WriteResult) {
        self.writes.get_or_create(&WriteLabels { write, result }).inc();
    }

    /// Counts one failed run.
    pub fn failed(&self, in_loop: Loop, disposition: impl Into<DispositionLabel>) {
        self.failures.get_or_create(&FailureLabels { in_loop, disposition: disposition.into() }).inc();
    }

    /// All of them, in the OpenMetrics text format.
    pub fn encode(&self, now: Timestamp) -> Result<String, std::fmt::Error> {
        // An epoch is the second of an opening.
        let age = match self.oldest_open.load(Ordering::Relaxed) {
            0 => 0,
            epoch => now.as_second().saturating_sub(epoch).max(0),
        };
        self.oldest_open_storm.set(age);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
