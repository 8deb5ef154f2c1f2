//! `StormMetadata`: the light value that stands for a whole storm, and its two translations.
//!
//! `to_storm_metadata(&from_storm_metadata(&m, &opening)) == Some(m)`: what the ledger keeps and what the object shows are the same facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::CloseReason;
use super::name::{sanitize_label_value, storm_name};
use super::sample::MAX_AFFECTED;
use super::{Epoch, Sample, Severity, StormKey};
use crate::api;

/// What a storm has brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        let firing = if unseen == 0 { self.firing } else { other.firing.min(self.firing + unseen) };
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Opening {
    /// The opening of a storm whose object is in the cluster.
    pub fn of(object: &api::RemediationRequest) -> Self {
        let spec = &object.spec;
        Self {
            object_namespace: object.metadata.namespace.clone().unwrap_or_default(),
            pattern: spec.pattern.clone(),
            signal_name: spec.signal.name.clone(),
            source_kind: spec.signal.source_kind.clone(),
            namespace: spec.namespace.clone(),
            cluster: spec.cluster.clone(),
            severity: spec.severity.into(),
            group_labels: spec.group_labels.clone(),
            policy: spec.policy_ref.name.clone(),
        }
    }

    /// What groups the Signals of this opening.
    pub fn key(&self) -> StormKey {
        StormKey::new(&self.object_namespace, &self.pattern)
    }
}

/// The object of a storm, whole: its spec from the opening, `status.storm` from the metadata, revision 1.
pub fn from_storm_metadata(
    metadata: &StormMetadata,
    opening: &Opening,
    epoch: Epoch,
    previous: Option<String>,
) -> api::RemediationRequest {
    let spec = api::RemediationRequestSpec {
        pattern: opening.pattern.clone(),
        storm_key: opening.key().to_hex(),
        epoch,
        signal: api::OpeningSignal { name: opening.signal_name.clone(), source_kind: opening.source_kind.clone() },
        namespace: opening.namespace.clone(),
        cluster: opening.cluster.clone(),
        severity: opening.severity.into(),
        group_labels: opening.group_labels.clone(),
        policy_ref: api::PolicyRef { name: opening.policy.clone() },
        previous_ref: previous.map(|name| api::PreviousRef { name }),
    };
    let mut object = api::RemediationRequest::new(&storm_name(&opening.pattern, epoch), spec);
    object.metadata.namespace = Some(opening.object_namespace.clone());
    object.metadata.labels = Some(labels(opening));
    object.status =
        Some(api::RemediationRequestStatus { storm: Some(storm_status(metadata, 1)), ..Default::default() });
    object
}

/// Labels for people's selectors. Nothing of ours looks anything up by them: they are shortened (case C11).
fn labels(opening: &Opening) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "stormfold".to_owned()),
        (format!("{}/signal", api::GROUP), sanitize_label_value(&opening.signal_name)),
        (format!("{}/namespace", api::GROUP), sanitize_label_value(&opening.namespace)),
    ]);
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// `status.storm` of an open storm.
pub fn storm_status(metadata: &StormMetadata, revision: i64) -> api::StormStatus {
    api::StormStatus {
        state: api::StormState::Open,
        alert_count: count(metadata.alert_count),
        firing_count: count(metadata.firing),
        affected_count: count(metadata.affected_count),
        affected_resources: metadata.affected_resources.clone(),
        truncated: metadata.affected_count > metadata.affected_resources.len(),
        incomplete: metadata.incomplete,
        severity: metadata.severity.into(),
        first_seen: metadata.first_seen.into(),
        last_seen: metadata.last_seen.into(),
        revision,
        closed_at: None,
        close_reason: None,
    }
}

/// The facts that an object shows; `None` while it has no `status.storm`.
pub fn to_storm_metadata(object: &api::RemediationRequest) -> Option<StormMetadata> {
    let storm = object.status.as_ref()?.storm.as_ref()?;
    Some(StormMetadata {
        pattern: object.spec.pattern.clone(),
        alert_count: usize::try_from(storm.alert_count).unwrap_or_default(),
        firing: usize::try_from(storm.firing_count).unwrap_or_default(),
        affected_count: usize::try_from(storm.affected_count).unwrap_or_default(),
        affected_resources: storm.affected_resources.clone(),
        first_seen: storm.first_seen.0,
        last_seen: storm.last_seen.0,
        severity: storm.severity.into(),
        incomplete: storm.incomplete,
    })
}

/// The API's times are whole seconds; so are ours, that equal facts compare equal.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A count in the signed form that CRDs and gauges use.
pub fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl From<Severity> for api::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
            Severity::Critical => Self::Critical,
        }
    }
}

impl From<api::Severity> for Severity {
    fn from(severity: api::Severity) -> Self {
        match severity {
            api::Severity::Info => Self::Info,
            api::Severity::Warning => Self::Warning,
            api::Severity::Error => Self::Error,
            api::Severity::Critical => Self::Critical,
        }
    }
}

impl From<CloseReason> for api::CloseReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Resolved => Self::Resolved,
            CloseReason::Quiet => Self::Quiet,
            CloseReason::MaxAge => Self::MaxAge,
            CloseReason::RemediationFinished => Self::RemediationFinished,
            CloseReason::Superseded => Self::Superseded,
            CloseReason::ByHand => Self::ByHand,
        }
    }
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

    fn opening() -> Opening {
        Opening {
            object_namespace: "prod".into(),
            pattern: "X in prod".into(),
            signal_name: "X".into(),
            source_kind: Some("probe".into()),
            namespace: "prod".into(),
            cluster: None,
            severity: Severity::Warning,
            group_labels: BTreeMap::from([("name".into(), "X".into())]),
            policy: "default".into(),
        }
    }

    proptest! {
        // B6, B10, B11: the object is whole by construction, and nothing is lost on the way there and back.
        #[test]
        fn to_storm_metadata_is_the_inverse_of_from_storm_metadata(m in metadata(), epoch in 1i64..4_000_000_000) {
            let object = from_storm_metadata(&m, &opening(), epoch, Some("before".into()));
            prop_assert_eq!(to_storm_metadata(&object), Some(m));
            prop_assert_eq!(Opening::of(&object), opening());
            let json = serde_json::to_value(&object).unwrap();
            let back: api::RemediationRequest = serde_json::from_value(json).unwrap();
            prop_assert_eq!(back, object);
        }

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

    // B1, B4, B5, B9: scope, name and severity of the opening stay what they were; the storm's severity is a fact apart.
    #[test]
    fn severity_and_scope_of_the_storm_do_not_follow_the_latest_signal() {
        let m = StormMetadata {
            pattern: "X in prod".into(),
            alert_count: 2,
            firing: 2,
            affected_count: 0,
            affected_resources: vec![],
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
            severity: Severity::Critical,
            incomplete: false,
        };
        let object = from_storm_metadata(&m, &opening(), 7, None);
        assert_eq!(object.spec.severity, api::Severity::Warning);
        assert_eq!(object.status.unwrap().storm.unwrap().severity, api::Severity::Critical);
        assert_eq!((object.spec.namespace.as_str(), object.spec.signal.name.as_str()), ("prod", "X"));
    }
}
