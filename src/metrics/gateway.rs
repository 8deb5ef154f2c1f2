//! What is measured of the gateway.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::closed;

closed! {
    /// How a request was answered.
    GatewayAnswer {
        /// 200: every Signal is stored.
        Ok,
        /// 400.
        BadRequest,
        /// 401.
        Unauthorized,
        /// 404.
        NotFound,
        /// 405.
        MethodNotAllowed,
        /// 413.
        ContentTooLarge,
        /// 415.
        UnsupportedMediaType,
        /// 503: to be sent again.
        Unavailable,
    }
}

closed! {
    /// What became of an alert.
    AlertResult {
        /// It is in a new Signal.
        Accepted,
        /// It is in a Signal that was there already.
        Duplicate,
        /// It can be in none.
        Rejected,
        /// A rule says that it says nothing of trouble.
        Dropped,
    }
}

closed! {
    /// What became of a Signal.
    StoreResult {
        /// It is new.
        Created,
        /// It was there.
        Existed,
        /// The API server did not take it.
        Failed,
    }
}

/// Which namespace a Signal went to.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum SignalNamespace {
    /// That of its alerts.
    Origin,
    /// The operator's own, because the origin refuses it.
    Fallback,
}

impl SignalNamespace {
    /// Both of them.
    pub const ALL: &[Self] = &[Self::Origin, Self::Fallback];
}

impl EncodeLabelValue for SignalNamespace {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Origin => "origin",
            Self::Fallback => "fallback",
        })
    }
}

closed! {
    /// Who reported.
    SourceLabel {
        /// Webhooks of Alertmanager.
        Alertmanager,
        /// Webhooks of Grafana.
        Grafana,
        /// Kubernetes' own Events.
        KubernetesEvents,
        /// Nobody whom the path of a request tells.
        None,
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct AnswerLabels {
    pub source: SourceLabel,
    pub answer: GatewayAnswer,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct AlertLabels {
    pub source: SourceLabel,
    pub result: AlertResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct StoreLabels {
    pub source: SourceLabel,
    pub result: StoreResult,
    pub namespace: SignalNamespace,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct SourceLabels {
    pub source: SourceLabel,
}

/// The metrics of what comes from outside; cheap to clone.
#[derive(Clone)]
#[allow(missing_docs, reason = "the help text of each is at its registration")]
pub struct GatewayMetrics {
    pub requests: Family<AnswerLabels, Counter>,
    pub request_seconds: Histogram,
    pub alerts: Family<AlertLabels, Counter>,
    pub signals: Family<StoreLabels, Counter>,
    pub without_target: Family<SourceLabels, Counter>,
    pub truncated_alerts: Family<SourceLabels, Counter>,
    pub reload_failures: Counter,
    pub evicted_connections: Counter,
}

impl GatewayMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            request_seconds: Histogram::new([0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]),
            alerts: Family::default(),
            signals: Family::default(),
            without_target: Family::default(),
            truncated_alerts: Family::default(),
            reload_failures: Counter::default(),
            evicted_connections: Counter::default(),
        };
        let Self { requests, request_seconds, alerts, signals, without_target, .. } = metrics.clone();
        let Self { truncated_alerts, reload_failures, evicted_connections, .. } = metrics.clone();
        registry.register("gateway_requests", "Webhooks, by their answer", requests);
        registry.register("gateway_request_seconds", "From the header of a webhook to its answer", request_seconds);
        registry.register("gateway_alerts", "Alerts of the webhooks that were answered with 200", alerts);
        registry.register("source_signals", "Signals that a source stored, or tried to", signals);
        registry.register("gateway_alerts_without_target", "Alerts that name no resource", without_target);
        registry.register("gateway_truncated_alerts", "Alerts that webhooks left out", truncated_alerts);
        registry.register("gateway_reload_failures", "Changed files that could not be used", reload_failures);
        registry.register(
            "gateway_evicted_connections",
            "Connections without a request that gave way to others",
            evicted_connections,
        );
        metrics
    }

    /// Those of one source.
    pub fn of(&self, source: SourceLabel) -> MetricsOfSource<'_> {
        MetricsOfSource { all: self, source }
    }

    /// Webhooks of these are wanted: every series is there from now on, as zero.
    pub fn begin(&self, sources: impl Iterator<Item = SourceLabel>) {
        drop(self.requests.get_or_create(&AnswerLabels { source: SourceLabel::None, answer: GatewayAnswer::NotFound }));
        for source in sources {
            for answer in GatewayAnswer::ALL.iter().copied().filter(|answer| *answer != GatewayAnswer::NotFound) {
                drop(self.requests.get_or_create(&AnswerLabels { source, answer }));
            }
            for result in AlertResult::ALL.iter().copied() {
                drop(self.alerts.get_or_create(&AlertLabels { source, result }));
            }
            drop(self.without_target.get_or_create(&SourceLabels { source }));
            drop(self.truncated_alerts.get_or_create(&SourceLabels { source }));
            self.of(source).begin_storing();
        }
    }
}

/// What is measured of one source.
#[derive(Clone, Copy)]
pub struct MetricsOfSource<'a> {
    all: &'a GatewayMetrics,
    source: SourceLabel,
}

impl MetricsOfSource<'_> {
    /// It will store Signals: the series are there from now on, as zero.
    pub fn begin_storing(&self) {
        let source = self.source;
        for result in StoreResult::ALL.iter().copied() {
            for namespace in SignalNamespace::ALL.iter().copied() {
                drop(self.all.signals.get_or_create(&StoreLabels { source, result, namespace }));
            }
        }
    }

    /// One request was answered, in this time.
    pub fn answered(&self, answer: GatewayAnswer, time: Duration) {
        self.all.requests.get_or_create(&AnswerLabels { source: self.source, answer }).inc();
        self.all.request_seconds.observe(time.as_secs_f64());
    }

    /// This became of so many alerts.
    pub fn alerts(&self, result: AlertResult, count: u64) {
        self.all.alerts.get_or_create(&AlertLabels { source: self.source, result }).inc_by(count);
    }

    /// So many alerts name no resource, and so many were left out.
    pub fn left_out(&self, without_target: u64, truncated: u64) {
        let labels = SourceLabels { source: self.source };
        self.all.without_target.get_or_create(&labels).inc_by(without_target);
        self.all.truncated_alerts.get_or_create(&labels).inc_by(truncated);
    }

    /// One Signal was stored, or was not.
    pub fn stored(&self, result: StoreResult, namespace: SignalNamespace) {
        self.all.signals.get_or_create(&StoreLabels { source: self.source, result, namespace }).inc();
    }
}
