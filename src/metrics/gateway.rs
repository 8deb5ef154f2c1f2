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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct AnswerLabels {
    pub answer: GatewayAnswer,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct AlertLabels {
    pub result: AlertResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct StoreLabels {
    pub result: StoreResult,
    pub namespace: SignalNamespace,
}

/// The metrics of the gateway; cheap to clone.
#[derive(Clone)]
#[allow(missing_docs, reason = "the help text of each is at its registration")]
pub struct GatewayMetrics {
    pub requests: Family<AnswerLabels, Counter>,
    pub request_seconds: Histogram,
    pub alerts: Family<AlertLabels, Counter>,
    pub signals: Family<StoreLabels, Counter>,
    pub without_target: Counter,
    pub truncated_alerts: Counter,
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
            without_target: Counter::default(),
            truncated_alerts: Counter::default(),
            reload_failures: Counter::default(),
            evicted_connections: Counter::default(),
        };
        let Self { requests, request_seconds, alerts, signals, without_target, .. } = metrics.clone();
        let Self { truncated_alerts, reload_failures, evicted_connections, .. } = metrics.clone();
        registry.register("gateway_requests", "Webhooks, by their answer", requests);
        registry.register("gateway_request_seconds", "From the header of a webhook to its answer", request_seconds);
        registry.register("gateway_alerts", "Alerts of the webhooks that were answered with 200", alerts);
        registry.register("gateway_signals", "Signals that the gateway stored, or tried to", signals);
        registry.register("gateway_alerts_without_target", "Alerts that name no resource", without_target);
        registry.register(
            "gateway_truncated_alerts",
            "Alerts that Alertmanager left out of its webhooks",
            truncated_alerts,
        );
        registry.register("gateway_reload_failures", "Changed files that could not be used", reload_failures);
        registry.register(
            "gateway_evicted_connections",
            "Connections without a request that gave way to others",
            evicted_connections,
        );
        metrics
    }

    /// The gateway is wanted: every series is there from now on, as zero.
    pub fn begin(&self) {
        for answer in GatewayAnswer::ALL.iter().copied() {
            drop(self.requests.get_or_create(&AnswerLabels { answer }));
        }
        for result in AlertResult::ALL.iter().copied() {
            drop(self.alerts.get_or_create(&AlertLabels { result }));
        }
        for result in StoreResult::ALL.iter().copied() {
            for namespace in SignalNamespace::ALL.iter().copied() {
                drop(self.signals.get_or_create(&StoreLabels { result, namespace }));
            }
        }
    }

    /// One request was answered, in this time.
    pub fn answered(&self, answer: GatewayAnswer, time: Duration) {
        self.requests.get_or_create(&AnswerLabels { answer }).inc();
        self.request_seconds.observe(time.as_secs_f64());
    }

    /// This became of so many alerts.
    pub fn alerts(&self, result: AlertResult, count: u64) {
        self.alerts.get_or_create(&AlertLabels { result }).inc_by(count);
    }

    /// One Signal was stored, or was not.
    pub fn stored(&self, result: StoreResult, namespace: SignalNamespace) {
        self.signals.get_or_create(&StoreLabels { result, namespace }).inc();
    }
}
