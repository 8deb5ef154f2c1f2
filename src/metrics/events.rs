//! What is measured of Kubernetes' Events as a source.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::closed;

closed! {
    /// What a warning came to.
    EventResult {
        /// Its alert begins.
        Began,
        /// Its alert is known.
        GoesOn,
        /// Its alert was over before anybody knew of it.
        Over,
        /// It is of ours, or about what is.
        Ours,
        /// It says too little.
        Rejected,
        /// There is no room for its alert.
        Dropped,
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct EventLabels {
    result: EventResult,
}

/// The metrics of Events; cheap to clone.
#[derive(Clone)]
pub struct EventMetrics {
    events: Family<EventLabels, Counter>,
    /// Alerts of theirs that are not over.
    pub alerts: Gauge,
}

impl EventMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { events: Family::default(), alerts: Gauge::default() };
        registry.register("events", "Warnings among Kubernetes' Events, by what they came to", metrics.events.clone());
        registry.register("events_open_alerts", "Alerts of Events that are not over", metrics.alerts.clone());
        metrics
    }

    /// They are wanted: every series is there from now on, as zero.
    pub fn begin(&self) {
        for result in EventResult::ALL.iter().copied() {
            drop(self.events.get_or_create(&EventLabels { result }));
        }
    }

    /// An Event came to this.
    pub fn result(&self, result: EventResult) {
        self.events.get_or_create(&EventLabels { result }).inc();
    }
}
