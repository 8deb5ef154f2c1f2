//! When a storm is one, and when it ends: the built-in default policy.

use jiff::SignedDuration;

/// The rules that `decide` applies to a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name, as in `spec.policyRef`.
    pub name: String,
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
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "default".into(),
            storm_alerts: 10,
            storm_resources: 5,
            quiet_period: SignedDuration::from_mins(10),
            // Longer than Alertmanager's default repeat interval of 4 h: a repeat must find the storm open.
            stale_after: SignedDuration::from_hours(5),
            settle_delay: SignedDuration::from_mins(5),
            max_age: SignedDuration::from_hours(6),
        }
    }
}
