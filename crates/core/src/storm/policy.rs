//! How Signals group, when a storm is one, when it ends, and how long it is remembered.

use std::time::Duration;

use jiff::SignedDuration;

use super::grouping::GroupBy;

/// How long at least a closed storm's occurrences are remembered after they were last met, unless a policy says otherwise: longer than
/// Alertmanager's default repeat interval of 4 h, so that an alert that simply goes on firing opens nothing.
pub const DEDUP_HORIZON: SignedDuration = SignedDuration::from_hours(6);

/// The rules of one policy. Its default is the built-in policy: what counts where no policy of the cluster matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name, as in `spec.policyRef`.
    pub name: String,
    /// What the Signals of one storm have in common.
    pub group_by: GroupBy,
    /// Whether a Signal that lacks a label is grouped by what it has.
    pub ignore_missing_labels: bool,
    /// A storm at this many alerts, or more.
    pub storm_alerts: usize,
    /// A storm at this many affected resources, or more.
    pub storm_resources: usize,
    /// Closed as Quiet when no Signal came for longer than this.
    pub quiet_period: SignedDuration,
    /// The same for storms whose source reports ends: its silence is not taken for one.
    pub stale_after: SignedDuration,
    /// Closed as Resolved when nothing fires and no Signal came for longer than this.
    pub settle_delay: SignedDuration,
    /// Closed as `MaxAge` when open for longer than this.
    pub max_age: SignedDuration,
    /// At most one write per storm in this time.
    pub publish_interval: Duration,
    /// How long a closed storm's Signals are kept; `None`: for ever.
    pub retention: Option<SignedDuration>,
    /// The same for its RemediationRequest.
    pub request_retention: Option<SignedDuration>,
    /// How long at least what closed storms hold is remembered, after it was last met.
    pub dedup_horizon: SignedDuration,
    /// The most resources that an object lists.
    pub affected_cap: usize,
    /// Whether the engine's outcome ends a storm.
    pub close_on_outcome: bool,
    /// How long after an outcome no successor opens.
    pub cooldown: Cooldowns,
    /// Whether no storm may open.
    pub suspended: bool,
}

/// How long no successor opens after each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the outcomes of the API")]
pub struct Cooldowns {
    pub succeeded: SignedDuration,
    pub failed: SignedDuration,
    pub no_action_needed: SignedDuration,
    pub manual_required: SignedDuration,
    pub ineffective: SignedDuration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: Self::BUILT_IN.into(),
            group_by: GroupBy::default(),
            ignore_missing_labels: false,
            storm_alerts: 10,
            storm_resources: 5,
            quiet_period: SignedDuration::from_mins(10),
            // Longer than Alertmanager's default repeat interval of 4 h: a repeat must find the storm open.
            stale_after: SignedDuration::from_hours(5),
            settle_delay: SignedDuration::from_mins(5),
            max_age: SignedDuration::from_hours(6),
            publish_interval: Duration::from_secs(1),
            retention: Some(SignedDuration::from_hours(1)),
            request_retention: None,
            dedup_horizon: DEDUP_HORIZON,
            affected_cap: 100,
            close_on_outcome: true,
            cooldown: Cooldowns::default(),
            suspended: false,
        }
    }
}

impl Policy {
    /// The name of the built-in policy, and of the object that takes its place.
    pub const BUILT_IN: &'static str = "default";
}

impl Default for Cooldowns {
    /// A success may be tried again at once. A failure is given time, so that remediation does not go in circles (case C5); where nothing is to be
    /// done, or a person has to look, more of the same helps nobody (cases C3, C4).
    fn default() -> Self {
        Self {
            succeeded: SignedDuration::ZERO,
            failed: SignedDuration::from_mins(5),
            no_action_needed: SignedDuration::from_hours(1),
            manual_required: SignedDuration::from_hours(24),
            ineffective: SignedDuration::from_mins(5),
        }
    }
}
