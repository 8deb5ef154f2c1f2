//! Every metric of the process, in OpenMetrics. Labels are closed enums: never a name, a namespace or a text from an alert.

mod gateway;
mod ledger;
mod server;

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use gateway::{AlertResult, GatewayAnswer, GatewayMetrics, SignalPlace, StoreResult};
pub use ledger::{LedgerMetrics, LedgerOperation, MergeOutcome};
pub use server::{ServerMetrics, ServerReading};

/// What became of a Signal at intake.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum SignalResult {
    /// Everything in it was accepted.
    Accepted,
    /// Some occurrences were rejected.
    PartlyRejected,
    /// All of it was.
    Rejected,
}

/// What became of an occurrence.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum OccurrenceResult {
    /// It told the ledger something new.
    Merged,
    /// The ledger, or a closed storm, had it already.
    Known,
    /// It was refused.
    Rejected,
}

/// A watched resource.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum WatchedResource {
    /// `signals.stormfold.dev`.
    Signals,
    /// `remediationrequests.stormfold.dev`.
    RemediationRequests,
    /// `stormpolicies.stormfold.dev`.
    StormPolicies,
    /// `namespaces`.
    Namespaces,
}

impl WatchedResource {
    /// As in RBAC.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::RemediationRequests => "remediationrequests",
            Self::StormPolicies => "stormpolicies",
            Self::Namespaces => "namespaces",
        }
    }

    /// With its group, where it has one.
    pub fn full_name(self) -> String {
        match self {
            Self::Namespaces => self.plural().to_owned(),
            Self::Signals | Self::RemediationRequests | Self::StormPolicies => {
                format!("{}.stormfold.dev", self.plural())
            }
        }
    }

    /// What readiness calls its first list.
    pub fn first_list(self) -> &'static str {
        match self {
            Self::Signals => "list of signals",
            Self::RemediationRequests => "list of remediationrequests",
            Self::StormPolicies => "list of stormpolicies",
            Self::Namespaces => "list of namespaces",
        }
    }
}

/// A write to the API server.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum ApiWrite {
    /// A RemediationRequest created.
    Create,
    /// Facts of a storm applied.
    Status,
    /// The end of a storm applied.
    Close,
    /// A receipt.
    Receipt,
    /// The status of a StormPolicy.
    Policy,
    /// A Signal deleted after its retention.
    DeleteSignal,
    /// A RemediationRequest deleted after its retention.
    DeleteRequest,
    /// A Kubernetes Event.
    Event,
}

/// How it went.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum WriteResult {
    /// The API server said yes.
    Done,
    /// The object is gone: nothing left to write.
    Gone,
    /// Not now; tried again.
    Failed,
    /// Given up: Events only, which are news and not state.
    Dropped,
}

/// A loop that can fail.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum Loop {
    /// Signals in.
    Ingest,
    /// RemediationRequests out.
    Publish,
    /// Receipts out.
    Receipts,
    /// Statuses of policies out.
    Policies,
    /// What is kept no longer.
    Retention,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct SignalLabels {
    pub result: SignalResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct OccurrenceLabels {
    pub result: OccurrenceResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct WatchLabels {
    pub resource: WatchedResource,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct WriteLabels {
    pub write: ApiWrite,
    pub result: WriteResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct FailureLabels {
    pub in_loop: Loop,
    pub disposition: DispositionLabel,
}

/// What a failure asks for.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum DispositionLabel {
    Terminal,
    Conflict,
    Transient,
    Unavailable,
}

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
    pub leading: Gauge,
    pub owed_receipts: Gauge,
    pub held_back_signals: Gauge,
    pub signals_lacking_labels: Counter,
    pub publish_seconds: Histogram,
    pub writes: Family<WriteLabels, Counter>,
    pub watch_failures: Family<WatchLabels, Counter>,
    pub failures: Family<FailureLabels, Counter>,
    pub ledger: LedgerMetrics,
    pub gateway: GatewayMetrics,
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
        let leading = register!("leading", "Whether this replica holds the Lease");
        let open_storms = register!("open_storms", "Storms open in the cluster");
        let owed_receipts = register!("owed_receipts", "Signals merged whose status is not written yet");
        let held_back_signals = register!("held_back_signals", "Signals that wait for a storm that may not open yet");
        let signals_lacking_labels =
            register!("signals_lacking_labels", "Signals that lack a label by which their policy groups");
        let writes = register!("api_writes", "Writes to the API server");
        let watch_failures = register!("watch_failures", "Watches that failed and were started again");
        let failures = register!("failures", "Runs of a loop that failed and are tried again");
        registry.register(
            "publish_seconds",
            "From the first unpublished change of a storm to its publication",
            publish_seconds.clone(),
        );
        let ledger = LedgerMetrics::register(&mut registry);
        let gateway = GatewayMetrics::register(&mut registry);
        Self {
            registry: Arc::new(registry),
            signals,
            occurrences_received,
            occurrences,
            clamped_times,
            open_storms,
            leading,
            owed_receipts,
            held_back_signals,
            signals_lacking_labels,
            publish_seconds,
            writes,
            watch_failures,
            failures,
            ledger,
            gateway,
        }
    }
}

impl Metrics {
    /// Counts one write.
    pub fn wrote(&self, write: ApiWrite, result: WriteResult) {
        self.writes.get_or_create(&WriteLabels { write, result }).inc();
    }

    /// Counts one failed run.
    pub fn failed(&self, in_loop: Loop, disposition: impl Into<DispositionLabel>) {
        self.failures.get_or_create(&FailureLabels { in_loop, disposition: disposition.into() }).inc();
    }

    /// All of them, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
