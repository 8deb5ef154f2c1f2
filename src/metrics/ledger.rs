//! What is measured of a ledger on a server.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::closed;

use super::server::ServerMetrics;

closed! {
    /// A call to the server.
    LedgerOperation {
        /// Which incarnation.
        Begin,
        /// What is known of keys without an open storm, and what closed storms hold.
        Look,
        /// The merge itself.
        Merge,
        /// Occurrences remembered.
        Hold,
        /// A storm opened.
        Open,
        /// A storm read.
        Snapshot,
        /// A snapshot acknowledged.
        Ack,
        /// A storm closed, forgotten or dropped.
        Close,
        /// The dirty marks.
        Dirty,
        /// The server looked at.
        Check,
    }
}

closed! {
    /// What became of the observations of one key.
    MergeOutcome {
        /// They joined the open storm.
        Joined,
        /// None was open.
        NotOpen,
        /// The expected one was not open any more: merged again.
        Stray,
        /// The ledger had no room for all of them: merged again.
        Full,
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct OperationLabels {
    pub operation: LedgerOperation,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct MergeLabels {
    pub outcome: MergeOutcome,
}

/// The metrics of the ledger in memory; cheap to clone.
#[derive(Clone, Default)]
#[allow(missing_docs, reason = "the help text of each is at its registration")]
pub struct MemoryLedgerMetrics {
    pub used: Gauge,
    pub limit: Gauge,
    pub waiting: Gauge,
}

impl MemoryLedgerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("ledger_memory_used_bytes", "What the ledger in memory takes", metrics.used.clone());
        registry.register("ledger_memory_limit_bytes", "Where Signals wait for room in it", metrics.limit.clone());
        let help = "Namespaces whose Signals wait for room in it";
        registry.register("ledger_memory_waiting_namespaces", help, metrics.waiting.clone());
        metrics
    }
}

/// The metrics of a ledger on a server; cheap to clone.
#[derive(Clone)]
#[allow(missing_docs, reason = "the help text of each is at its registration")]
pub struct LedgerMetrics {
    pub seconds: Family<OperationLabels, Histogram>,
    pub merges: Family<MergeLabels, Counter>,
    pub server: ServerMetrics,
}

impl LedgerMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let merges = Family::default();
        registry.register("ledger_seconds", "Round trips to the ledger's server", Family::clone(&seconds));
        registry.register(
            "ledger_merges",
            "What became of the batches of one key that were merged",
            Family::clone(&merges),
        );
        let server = ServerMetrics::default();
        registry.register_collector(Box::new(server.clone()));
        Self { seconds, merges, server }
    }

    /// There is a server, to which no connection was made yet: every series is there from now on, as zero.
    pub fn begin(&self) {
        for operation in LedgerOperation::ALL.iter().copied() {
            drop(self.seconds.get_or_create(&OperationLabels { operation }));
        }
        for outcome in MergeOutcome::ALL.iter().copied() {
            drop(self.merges.get_or_create(&MergeLabels { outcome }));
        }
        self.server.connected(false);
    }

    /// One batch of one key was merged.
    pub fn merged(&self, outcome: MergeOutcome) {
        self.merges.get_or_create(&MergeLabels { outcome }).inc();
    }

    /// One round trip took this long.
    pub fn took(&self, operation: LedgerOperation, time: Duration) {
        self.seconds.get_or_create(&OperationLabels { operation }).observe(time.as_secs_f64());
    }
}

/// From a round trip on the loopback to the longest that is waited for.
fn histogram() -> Histogram {
    Histogram::new([0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0])
}
