//! `StormMetadata`: the light value that stands for a whole storm, and `Opening`: what a storm takes from its first Signal.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sample::MAX_AFFECTED;
use super::{Said, Sample, Severity, StormKey};

/// What a storm has brought.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StormMetadata {
    /// What is grouped; empty where a ledger cannot tell.
    pub pattern: String,
    /// Distinct occurrences that fired.
    pub alert_count: usize,
    /// Those of them not reported as resolved.
    pub firing: usize,
    /// Distinct affected resources.
    pub affected_count: usize,
    /// A fair sample of them.
    pub affected_resources: Vec<String>,
    /// The earliest start; whole seconds.
    pub first_seen: Timestamp,
    /// The latest report; whole seconds.
    pub last_seen: Timestamp,
    /// The highest severity.
    pub severity: Severity,
    /// Whether a source left something out.
    #[serde(default)]
    pub incomplete: bool,
}

impl StormMetadata {
    /// The join of two views of one storm: neither goes back (invariant 3). The firing count is not monotone: it is this view's,
    /// and of what only the other has seen, as much may fire as it said.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let unseen = other.alert_count.saturating_sub(self.alert_count);
        let firing = other.firing.clamp(self.firing, self.firing + unseen);
        let sample = self.affected_resources.iter().chain(&other.affected_resources).map(String::as_str);
        Self {
            pattern: if self.pattern.is_empty() { &other.pattern } else { &self.pattern }.clone(),
            alert_count: self.alert_count.max(other.alert_count),
            firing,
            affected_count: self.affected_count.max(other.affected_count),
            affected_resources: Sample::of(MAX_AFFECTED, sample).texts(),
            first_seen: self.first_seen.min(other.first_seen),
            last_seen: self.last_seen.max(other.last_seen),
            severity: self.severity.max(other.severity),
            incomplete: self.incomplete || other.incomplete,
        }
    }

    /// Whether this says the same as `other`, but for the sample, which is not kept of storms that are over.
    pub fn is_like(&self, other: &Self) -> bool {
        let bare = |facts: &Self| Self { affected_resources: Vec::new(), ..facts.clone() };
        bare(self) == bare(other)
    }

    /// The same with a sample of at most `cap` resources. The counts stay what they are.
    #[must_use]
    pub fn capped(mut self, cap: usize) -> Self {
        if self.affected_resources.len() > cap {
            self.affected_resources = Sample::of(cap, self.affected_resources.iter().map(String::as_str)).texts();
        }
        self
    }
}

/// What a storm takes from the Signal that opens it. It does not follow later Signals (invariant 7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    /// Namespace of the Signal object, and so of the RemediationRequest.
    pub object_namespace: String,
    /// What is grouped.
    pub pattern: String,
    /// The alert's name.
    pub signal_name: String,
    /// Kind of the source.
    pub source_kind: Option<String>,
    /// The namespace the trouble is in; empty for cluster-scoped trouble, and for a storm that spans namespaces.
    pub namespace: String,
    /// The cluster the trouble is in.
    pub cluster: Option<String>,
    /// Severity of the opening Signal.
    pub severity: Severity,
    /// What the policy grouped by.
    pub group_labels: BTreeMap<String, String>,
    /// The policy.
    pub policy: String,
    /// What the Signal says of its alerts.
    pub said: Arc<Said>,
}

impl Opening {
    /// What groups the Signals of this opening.
    pub fn key(&self) -> StormKey {
        StormKey::new(&self.object_namespace, &self.pattern)
    }
}

/// The API's times are whole seconds; so are ours, that equal facts compare equal.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A count in the signed form that CRDs and gauges use.
pub fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        (0..4_000_000_000i64).prop_map(|s| Timestamp::from_second(s).unwrap())
    }

    fn metadata() -> impl Strategy<Value = StormMetadata> {
        let severity =
            prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]);
        let resources = prop::collection::btree_set("[A-Z][a-z]{1,8}/[a-z0-9]{1,10}", 0..20);
        let flags = (severity, any::<bool>());
        (1..100_000usize, 0..100_000usize, 0..1000usize, resources, time(), time(), flags).prop_map(
            |(alerts, firing, more, resources, first_seen, last_seen, (severity, incomplete))| StormMetadata {
                pattern: "X in prod".into(),
                alert_count: alerts,
                firing: firing.min(alerts),
                affected_count: resources.len() + more,
                affected_resources: Sample::of(MAX_AFFECTED, resources.iter().map(String::as_str)).texts(),
                first_seen,
                last_seen,
                severity,
                incomplete,
            },
        )
    }

    proptest! {
        // Invariant 3: joining is monotone, and joining twice is joining once.
        #[test]
        fn a_join_of_two_views_lowers_neither(a in metadata(), b in metadata()) {
            let joined = a.join(&b);
            for one in [&a, &b] {
                prop_assert!(joined.alert_count >= one.alert_count && joined.affected_count >= one.affected_count);
                prop_assert!(joined.first_seen <= one.first_seen && joined.last_seen >= one.last_seen);
                prop_assert!(joined.severity >= one.severity && joined.incomplete >= one.incomplete);
            }
            prop_assert_eq!(joined.join(&b), joined);
        }
    }
}
