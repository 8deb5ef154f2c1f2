//! `RemediationRequest`: the one object that a remediation engine reads per storm.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::signal::OccurrenceState;
use super::{CloseReason, Outcome, Severity};

/// What the storm is: written once, when it opens.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[kube(
    group = "stormfold.dev",
    version = "v1alpha1",
    kind = "RemediationRequest",
    plural = "remediationrequests",
    shortname = "rr",
    category = "storms",
    namespaced,
    status = "RemediationRequestStatus",
    derive = "PartialEq",
    doc = "RemediationRequest is one alert storm, for a remediation engine to act on. Stormfold writes spec and status.storm, the engine status.remediation. Annotations for people, each with the value true: stormfold.dev/close ends the storm now; stormfold.dev/hold-open keeps it open whatever the policy says; stormfold.dev/acknowledged on a closed one lets a successor open before its cool-down is over.",
    // The rule on StormStatus sees a storm that changes. One that is taken away, and could come back open, is seen from here only.
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.storm) || oldSelf.status.storm.state != 'Closed' || (has(self.status) && has(self.status.storm))").message("status.storm of a closed storm stays"),
    selectable = ".spec.stormKey",
    selectable = ".status.storm.state",
    printcolumn(name = "Pattern", type_ = "string", json_path = ".spec.pattern"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.storm.state"),
    printcolumn(name = "Storm", type_ = "string", json_path = ".status.conditions[?(@.type=='Storm')].status"),
    printcolumn(name = "Alerts", type_ = "integer", json_path = ".status.storm.alertCount"),
    printcolumn(name = "Firing", type_ = "integer", json_path = ".status.storm.firingCount"),
    printcolumn(name = "Affected", type_ = "integer", json_path = ".status.storm.affectedCount"),
    printcolumn(name = "Severity", type_ = "string", json_path = ".status.storm.severity"),
    printcolumn(name = "Last Seen", type_ = "date", json_path = ".status.storm.lastSeen"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.remediation.outcome"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policyRef.name", priority = 1),
    printcolumn(name = "Close Reason", type_ = "string", json_path = ".status.storm.closeReason", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("spec is immutable: it says what opened the storm"))]
pub struct RemediationRequestSpec {
    /// What is grouped, for people: `HighMemoryUsage in prod-payments`.
    #[schemars(length(min = 1, max = 400))]
    pub pattern: String,
    /// Digest of the object's namespace and the pattern: equal for all storms of one pattern, one after the other.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub storm_key: String,
    /// When the storm opened, in seconds since 1970: tells the successive storms of one key apart, and only grows.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// The Signal that opened the storm.
    pub signal: OpeningSignal,
    /// The namespace the trouble is in; empty for cluster-scoped trouble, and for a storm whose policy does not group by namespace.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The cluster the trouble is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub cluster: Option<String>,
    /// Severity of the opening Signal. The highest seen since is status.storm.severity.
    #[serde(default)]
    pub severity: Severity,
    /// What the opening Signal says of its alerts. It does not follow later Signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<OpeningAlert>,
    /// What the policy grouped by (name, namespace, cluster, severity, source, label:KEY), and the values that this storm has in common; empty where its
    /// Signals lack one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::label_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub group_labels: BTreeMap<String, String>,
    /// The policy under which the storm opened.
    pub policy_ref: PolicyRef,
    /// The storm of the same key that was closed before this one opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_ref: Option<PreviousRef>,
}

/// What the opening Signal said of itself. It does not follow later Signals.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpeningSignal {
    /// The alert's name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Kind of the source, where the Signal named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub source_kind: Option<String>,
}

/// What the opening Signal says of its alerts: text that others chose, without control characters, in at most 8 KiB, so that an object with a
/// thousand alerts stays small. What is cut ends with `…`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpeningAlert {
    /// The labels that its alerts have in common, at most 2 KiB of them, each value at most 256 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::said_labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub labels: BTreeMap<String, String>,
    /// Text for people, at most 4 KiB, each value at most 1,024 characters. `runbook_url`, `summary` and `description` come first when
    /// something has to go; where its alerts differ in the latter two, those of one of them. A link is whole or not there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::said_annotations")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("annotation names have at most 253 characters"))]
    pub annotations: BTreeMap<String, String>,
    /// Where the source shows why they fire.
    #[serde(default, rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub generator_url: Option<String>,
}

/// Names the policy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct PolicyRef {
    /// Name of the policy; `default` is the built-in one.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Names a RemediationRequest of the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct PreviousRef {
    /// Name of the RemediationRequest.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Three parts, one owner each: storm and conditions are Stormfold's, remediation is the engine's.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationRequestStatus {
    /// What the storm has brought so far. Written by Stormfold only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormStatus>,
    /// Storm: the threshold is reached. Closed: the storm is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::bounds::conditions")]
    pub conditions: Vec<Condition>,
    /// What the remediation engine did. Written by the engine, with a field manager of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<RemediationStatus>,
}

/// The facts of a storm. Counts and times only grow while it is open, firingCount excepted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("oldSelf.state != 'Closed' || self == oldSelf").message("a closed storm does not change"))]
pub struct StormStatus {
    /// Open or Closed. A closed storm is never reopened.
    pub state: StormState,
    /// Distinct occurrences, exact.
    #[schemars(range(min = 0))]
    pub alert_count: i64,
    /// Those of them that have not been reported as resolved.
    #[schemars(range(min = 0))]
    pub firing_count: i64,
    /// Distinct affected resources, exact, however long the list is.
    #[schemars(range(min = 0))]
    pub affected_count: i64,
    /// A fair sample of the affected resources, at most affectedCap of the policy: every namespace and kind it has room for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "readable_items")]
    #[schemars(length(max = 500), extend("x-kubernetes-list-type" = "atomic"))]
    pub affected_resources: Vec<AffectedResource>,
    /// A few of the alerts that fire, at most 10 and 1 KiB of text each, the most severe first: a fair sample, as of the last write.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "readable_items")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub examples: Vec<StormExample>,
    /// True when affectedResources does not name all of them.
    #[serde(default)]
    pub truncated: bool,
    /// True when a source left occurrences out of a report: there are more than are counted here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
    /// The highest severity seen.
    pub severity: Severity,
    /// When the first occurrence began.
    #[schemars(schema_with = "super::bounds::time")]
    pub first_seen: Time,
    /// The latest report.
    #[schemars(schema_with = "super::bounds::time")]
    pub last_seen: Time,
    /// Raised by each write of Stormfold. An engine compares it with remediation.observedRevision to see that the scope changed.
    #[schemars(range(min = 1))]
    pub revision: i64,
    /// When the storm was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub closed_at: Option<Time>,
    /// Why the storm was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<CloseReason>,
}

/// A resource that alerts of the storm are about.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AffectedResource {
    /// Group and version, `apps/v1`. Absent: `v1`, or the source did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub api_version: Option<String>,
    /// Kind, in upper camel case: `Pod`, `StatefulSet`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its namespace. Absent: cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An alert of the storm that fires: text that others chose, without control characters.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StormExample {
    /// The source's identity of the alert, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub fingerprint: Option<String>,
    /// Always firing: what is over is no example.
    #[serde(default)]
    pub state: OccurrenceState,
    /// When it began, where the source said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub starts_at: Option<Time>,
    /// Its labels that spec.alert.labels does not have with the same value, at most 512 bytes of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::example_labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub summary: Option<String>,
    /// What it is about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<AffectedResource>,
}

/// The items of a list that can be read. One that somebody else wrote, or another version, makes nobody unable to read the object.
fn readable_items<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<serde_json::Value>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// Whether new occurrences join this storm.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum StormState {
    /// They do.
    Open,
    /// They open a successor.
    Closed,
}

/// What the remediation engine did.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStatus {
    /// How it ended. Absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The status.storm.revision that the engine has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_revision: Option<i64>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// When the engine began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub finished_at: Option<Time>,
}
