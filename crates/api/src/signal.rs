//! `Signal`: what an alert source reports. Its spec is immutable; its status is the receipt.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Severity;

/// What an alert source reports: one alert name, one scope, one or many occurrences. Immutable: report again with a new Signal.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[kube(
    group = "stormfold.dev",
    version = "v1alpha1",
    kind = "Signal",
    plural = "signals",
    shortname = "sig",
    category = "storms",
    namespaced,
    status = "SignalStatus",
    derive = "PartialEq",
    doc = "Signal is what an alert source reports: one alert name, one scope, one or many occurrences.",
    selectable = ".status.storm",
    printcolumn(name = "Signal", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "Severity", type_ = "string", json_path = ".spec.severity"),
    printcolumn(name = "Occurrences", type_ = "integer", json_path = ".status.occurrences.total"),
    printcolumn(name = "Storm", type_ = "string", json_path = ".status.storm"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("spec is immutable: report again with a new Signal"),
    validation = Rule::new("has(self.occurrences) || has(self.table)").message("give the occurrences as spec.occurrences or spec.table"),
)]
pub struct SignalSpec {
    /// Name of the alert, in any script, without control characters, and not blank. Signals of one name and one namespace belong to one storm.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\pZ\pC][^\x00-\x1f\x7f-\x9f]*$")
    )]
    pub name: String,

    /// How bad it is. A storm shows the highest severity it has seen.
    #[serde(default)]
    pub severity: Severity,

    /// The namespace the trouble is in. Absent: the namespace of this Signal. The empty string: cluster-scoped trouble, such as a Node's.
    /// Only a Signal in the operator's own namespace, or in one that its flag `--cross-namespace` names, may say another namespace than
    /// its own; others are rejected with reason CrossNamespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"))]
    pub namespace: Option<String>,

    /// The cluster the trouble is in, where one Stormfold serves several. Signals of two clusters never share a storm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.:/]*[A-Za-z0-9])?$"))]
    pub cluster: Option<String>,

    /// Who reports this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,

    /// Labels that all occurrences share. At most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::label_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub labels: BTreeMap<String, String>,

    /// Text for people: summary, description, runbook. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::annotation_map")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("annotation names have at most 253 characters"))]
    pub annotations: BTreeMap<String, String>,

    /// What some of the occurrences that fire say beyond what they share, for people: a storm shows it of a few of them. At most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub examples: Vec<SignalExample>,

    /// Where the source shows why its alerts fire, as Prometheus shows the expression of a rule.
    #[serde(default, rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub generator_url: Option<String>,

    /// True when the source will report the end of each occurrence, as Alertmanager does with send_resolved. The silence of such a
    /// source is not taken for an end: the storm waits much longer before it is closed as Quiet.
    #[serde(default)]
    pub resolvable: bool,

    /// True when the source left occurrences out of this report, as Alertmanager does with max_alerts. The storm shows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,

    /// When the source reported the states of the occurrences, to the microsecond. Of two reports of one alert the later one counts,
    /// of two at one instant the resolved one. Absent: when the Signal was created. More than 5 minutes after that, or more than 24
    /// hours before it, is taken for that bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_micro_time")]
    pub reported_at: Option<MicroTime>,

    /// The occurrences, one item each: the shape for people and controllers. At most 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-list-type" = "atomic"))]
    pub occurrences: Option<Vec<Occurrence>>,

    /// The occurrences, one line each: the shape for bulk writers, at a tenth of the API server's cost. A line is
    /// `state startsAt fingerprint resource` with single spaces and `-` for what is absent; the resource, last, is written as
    /// `Kind/Name` in the Signal's namespace, else `/namespaces/NAMESPACE/Kind/Name` or `/Kind/Name` (cluster-scoped), each with
    /// `/apis/GROUP/VERSION` in front where the API version matters. Example: `firing 2026-01-02T15:04:05Z 8f14e45f Pod/web-0`.
    /// At most 2,000 lines; a bad line is rejected by its number and the others count. So is one with a resource outside of the Signal's
    /// namespace, where the Signal may not speak of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub table: Option<String>,
}

/// Who reports a Signal.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// What kind of system it is: `alertmanager`, `probe`, `person`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"))]
    pub kind: String,
    /// Which one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub instance: Option<String>,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
}

/// What one occurrence says for people.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalExample {
    /// The fingerprint of the occurrence.
    #[schemars(length(min = 1, max = 256))]
    pub fingerprint: String,
    /// Labels that it does not share with the others. At most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::bounds::example_labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in a line or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub summary: Option<String>,
    /// The same at length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

/// One firing or resolved report about one resource.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Occurrence {
    /// The source's stable identity of this alert. With `startsAt` and the resource it tells a repeat from a new occurrence; without
    /// it every item of every Signal is a new occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub fingerprint: Option<String>,
    /// firing or resolved.
    #[serde(default)]
    pub state: OccurrenceState,
    /// When it began. Absent: when the Signal was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub starts_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub ends_at: Option<Time>,
    /// What is affected. Absent: the occurrence counts and the list of affected resources does not grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<OccurrenceResource>,
}

/// Whether an occurrence goes on.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OccurrenceState {
    /// It goes on.
    #[default]
    Firing,
    /// It is over.
    Resolved,
}

/// A resource that an occurrence is about.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OccurrenceResource {
    /// Group and version, `apps/v1`. Absent is the same as `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub api_version: Option<String>,
    /// Kind, in upper camel case: `Pod`, `StatefulSet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Its namespace. Absent: the namespace of the Signal, or none for a kind that never has one, such as Node. The empty string: cluster-scoped.
    /// Another namespace than the Signal's, and what is cluster-scoped, need the operator's flag `--cross-namespace` for the Signal's
    /// namespace; without it this occurrence is rejected and the others count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"))]
    pub namespace: Option<String>,
    /// Its name: letters, digits and `._:@-`, as Kubernetes could store it. An occurrence with any other is rejected, and the others count.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]+$"))]
    pub name: String,
}

/// The receipt of a Signal: written once, after the RemediationRequest shows what it brought.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalStatus {
    /// Accepted: True with reason Merged or PartlyRejected; False with the reason of the rejection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::bounds::conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the RemediationRequest, in the namespace of this Signal, that these occurrences belong to. It counts those that no closed
    /// storm counted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub storm: Option<String>,
    /// Other RemediationRequests, in the namespace of this Signal, that have some of these occurrences: their alerts were in those storms before a policy
    /// came, changed or went, and stay there until those end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub other_storms: Vec<OtherStorm>,
    /// What became of the occurrences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurrences: Option<OccurrenceSummary>,
    /// The generation of the spec that this receipt is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the receipt was made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub merged_at: Option<Time>,
}

/// A storm that has some of a Signal's occurrences.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherStorm {
    /// Name of the RemediationRequest.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Which occurrences. As in `occurrences.held`.
    #[schemars(length(max = 8_400), regex(pattern = r"^[0-9,-]*$"))]
    pub occurrences: String,
}

/// What became of a Signal's occurrences.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OccurrenceSummary {
    /// How many the Signal has.
    #[schemars(range(min = 0))]
    pub total: i64,
    /// How many of them told the storm something it did not hold: a first firing, or a first resolved.
    #[schemars(range(min = 0))]
    pub new: i64,
    /// How many were refused.
    #[schemars(range(min = 0))]
    pub rejected: i64,
    /// Those that no storm took in because their alerts were over: late reports of what an earlier storm counted. Their numbers, and
    /// ranges of numbers: `0-3,7`. Counted from 0: the items of `spec.occurrences`, then the lines of `spec.table` that are not blank.
    #[serde(default)]
    #[schemars(length(max = 8_400), regex(pattern = r"^[0-9,-]*$"))]
    pub held: Option<String>,
    /// Those that no storm took in because a person had handled their alerts, by deleting or closing the RemediationRequest that they
    /// were in. As in `held`.
    #[serde(default)]
    #[schemars(length(max = 8_400), regex(pattern = r"^[0-9,-]*$"))]
    pub handled: Option<String>,
}
