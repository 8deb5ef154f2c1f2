//! What is measured of asking Alertmanagers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::closed;

closed! {
    /// How a poll went.
    PollResult {
        /// All have answered.
        Done,
        /// One was just started: what it lacks is not over.
        Settling,
        /// One has peers that nobody asks.
        NotAll,
        /// One has not answered.
        NoAnswer,
        /// The Signals could not be read.
        Failed,
    }
}

closed! {
    /// What a poll has told because no webhook had.
    ToldByPoll {
        /// That alerts fire.
        Fires,
        /// That alerts are over.
        Ends,
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PollLabels {
    result: PollResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ToldLabels {
    what: ToldByPoll,
}

/// The metrics of polls; cheap to clone.
#[derive(Clone)]
pub struct PollMetrics {
    polls: Family<PollLabels, Counter>,
    told: Family<ToldLabels, Counter>,
}

impl PollMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { polls: Family::default(), told: Family::default() };
        registry.register("alertmanager_polls", "Polls of Alertmanager, by how they went", metrics.polls.clone());
        let help = "Alerts of which a poll told because no webhook had";
        registry.register("alertmanager_poll_alerts", help, metrics.told.clone());
        metrics
    }

    /// They are wanted: every series is there from now on, as zero.
    pub fn begin(&self) {
        for result in PollResult::ALL.iter().copied() {
            drop(self.polls.get_or_create(&PollLabels { result }));
        }
        for what in ToldByPoll::ALL.iter().copied() {
            drop(self.told.get_or_create(&ToldLabels { what }));
        }
    }

    /// A poll went like this.
    pub fn result(&self, result: PollResult) {
        self.polls.get_or_create(&PollLabels { result }).inc();
    }

    /// So many alerts were told.
    pub fn told(&self, what: ToldByPoll, alerts: u64) {
        self.told.get_or_create(&ToldLabels { what }).inc_by(alerts);
    }
}
