//! `StormPolicy`: which Signals it matches, how they group, when a storm is one, when it ends, and what is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Severity;

/// The rules for the storms of the Signals that it matches.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[kube(
    group = "stormfold.dev",
    version = "v1alpha1",
    kind = "StormPolicy",
    plural = "stormpolicies",
    shortname = "sp",
    category = "storms",
    status = "StormPolicyStatus",
    derive = "PartialEq",
    doc = "StormPolicy says how the Signals that it matches group, when a storm is one, when it ends, and how long its Signals are kept. Thresholds and times apply to open storms at once, grouping to the next storm.",
    // What the policy named default leaves out would be under rules that are written nowhere.
    validation = Rule::new("self.metadata.name != 'default' || !has(self.spec.match)").message("the policy named default matches everything: leave match out"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspended"),
    printcolumn(name = "Group By", type_ = "string", json_path = ".spec.groupBy"),
    printcolumn(name = "Quiet", type_ = "string", json_path = ".spec.quietPeriod"),
    printcolumn(name = "Max Age", type_ = "string", json_path = ".spec.maxAge"),
    printcolumn(name = "Open Storms", type_ = "integer", json_path = ".status.openStorms"),
    printcolumn(name = "Last Match", type_ = "date", json_path = ".status.lastMatch"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type=='Accepted')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.maxAge) > duration(self.quietPeriod)").message("maxAge is longer than quietPeriod: otherwise no storm could end as Quiet"),
    validation = Rule::new("duration(self.staleAfter) >= duration(self.quietPeriod)").message("staleAfter is not shorter than quietPeriod: a silent resolvable source is not a resolved one"),
    validation = Rule::new("self.requestRetention == '0s' || (self.retention != '0s' && duration(self.requestRetention) >= duration(self.retention))").message("requestRetention is 0s, or not shorter than a retention that is not 0s: Signals go before their RemediationRequest"),
)]
pub struct StormPolicySpec {
    /// Of the policies that match a Signal the one with the highest priority counts; of equal ones that with more criteria in match; of
    /// those the older.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    #[serde(default)]
    pub priority: i32,
    /// Which Signals. All criteria that are stated must hold. Absent: every Signal.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<PolicyMatch>,
    /// What Signals must have in common to belong to one storm: name, namespace, cluster, severity, source (its kind), or label:KEY for a label of
    /// the Signal. A cluster that is stated always groups. A change applies to the next storms: what is open takes its Signals in as before.
    #[schemars(length(min = 1, max = 16), inner(length(max = 246), regex(pattern = r"^(name|namespace|cluster|severity|source|label:[A-Za-z0-9_]([-A-Za-z0-9_./]{0,238}[A-Za-z0-9_])?)$")), extend("x-kubernetes-list-type" = "set"))]
    #[serde(default = "defaults::group_by")]
    pub group_by: Vec<String>,
    /// What becomes of a Signal that lacks a label of groupBy. False: it groups with others that lack it, and says so in its condition Grouped. True: it
    /// groups by the labels that it has, and nothing is said.
    #[serde(default)]
    pub ignore_missing_labels: bool,
    /// When the condition Storm of a RemediationRequest becomes True. The RemediationRequest is there from the first alert on.
    #[serde(default)]
    pub storm: StormThreshold,
    /// A storm ends as Quiet when no Signal came for longer than this.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('8760h')").message("quietPeriod is 1s to 8760h"))]
    #[serde(default = "defaults::quiet_period")]
    pub quiet_period: String,
    /// A storm ends as Resolved when nothing of it fires any more and no Signal came for longer than this.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('8760h')").message("settleDelay is 1s to 8760h"))]
    #[serde(default = "defaults::settle_delay")]
    pub settle_delay: String,
    /// The quiet period of storms whose source reports the ends of its alerts (spec.resolvable of a Signal), while something fires.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('8760h')").message("staleAfter is 1s to 8760h"))]
    #[serde(default = "defaults::stale_after")]
    pub stale_after: String,
    /// A storm ends as MaxAge when it has been open for longer than this; what comes next opens a successor.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2s') && duration(self) <= duration('8760h')").message("maxAge is 2s to 8760h"))]
    #[serde(default = "defaults::max_age")]
    pub max_age: String,
    /// At most one write per storm in this time. The first one is written at once.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1m')").message("publishInterval is 100ms to 1m"))]
    #[serde(default = "defaults::publish_interval")]
    pub publish_interval: String,
    /// Signals of a storm are deleted when it has been closed for longer than this. 0s: never. Without its Signals a memory ledger that is
    /// restarted does not know a repeat of what a closed storm held.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('87600h')").message("retention is 0s to 87600h"))]
    #[serde(default = "defaults::retention")]
    pub retention: String,
    /// The RemediationRequest of a storm is deleted when it has been closed for longer than this and its Signals are gone. 0s: never.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('87600h')").message("requestRetention is 0s to 87600h"))]
    #[serde(default = "defaults::request_retention")]
    pub request_retention: String,
    /// A repeat of what a closed storm held opens nothing for at least this long after it was reported last.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('2h') && duration(self) <= duration('24h')").message("dedupHorizon is 2h to 24h"))]
    #[serde(default = "defaults::dedup_horizon")]
    pub dedup_horizon: String,
    /// The most resources that status.storm.affectedResources lists. The counts are exact, whatever it is.
    #[schemars(range(min = 1, max = 500))]
    #[serde(default = "defaults::affected_cap")]
    pub affected_cap: i32,
    /// Whether a storm ends as RemediationFinished when the engine reports an outcome.
    #[serde(default = "defaults::close_on_outcome")]
    pub close_on_outcome: bool,
    /// How long after an outcome of the engine no successor opens. Its Signals wait meanwhile, and say so.
    #[serde(default)]
    pub cooldown: Cooldown,
    /// True: no storm opens under this policy. Its Signals wait, and say so; storms that are open go on.
    #[serde(default)]
    pub suspended: bool,
}

impl Default for StormPolicySpec {
    fn default() -> Self {
        Self {
            priority: 0,
            matches: None,
            group_by: defaults::group_by(),
            ignore_missing_labels: false,
            storm: StormThreshold::default(),
            quiet_period: defaults::quiet_period(),
            settle_delay: defaults::settle_delay(),
            stale_after: defaults::stale_after(),
            max_age: defaults::max_age(),
            publish_interval: defaults::publish_interval(),
            retention: defaults::retention(),
            request_retention: defaults::request_retention(),
            dedup_horizon: defaults::dedup_horizon(),
            affected_cap: defaults::affected_cap(),
            close_on_outcome: defaults::close_on_outcome(),
            cooldown: Cooldown::default(),
            suspended: false,
        }
    }
}

/// What a field that is left out says, in the schema as well: the built-in policy.
mod defaults {
    pub(super) fn group_by() -> Vec<String> {
        vec!["name".into(), "namespace".into()]
    }
    pub(super) fn quiet_period() -> String {
        "10m".into()
    }
    pub(super) fn settle_delay() -> String {
        "5m".into()
    }
    pub(super) fn stale_after() -> String {
        "5h".into()
    }
    pub(super) fn max_age() -> String {
        "6h".into()
    }
    pub(super) fn publish_interval() -> String {
        "1s".into()
    }
    pub(super) fn retention() -> String {
        "1h".into()
    }
    pub(super) fn request_retention() -> String {
        "0s".into()
    }
    pub(super) fn dedup_horizon() -> String {
        "6h".into()
    }
    pub(super) fn succeeded() -> String {
        "0s".into()
    }
    pub(super) fn failed() -> String {
        "5m".into()
    }
    pub(super) fn no_action_needed() -> String {
        "1h".into()
    }
    pub(super) fn manual_required() -> String {
        "24h".into()
    }
    pub(super) fn ineffective() -> String {
        "5m".into()
    }
    pub(super) fn affected_cap() -> i32 {
        100
    }
    pub(super) fn close_on_outcome() -> bool {
        true
    }
}

/// When a storm is one: at either number, or above.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StormThreshold {
    /// At this many alerts.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub alerts: i32,
    /// At this many affected resources.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub resources: i32,
}

impl Default for StormThreshold {
    fn default() -> Self {
        Self { alerts: 10, resources: 5 }
    }
}

/// For each outcome of the engine, how long no successor opens after it, from status.remediation.finishedAt or else the end of the storm. The annotation
/// stormfold.dev/acknowledged on the RemediationRequest ends it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cooldown {
    /// After Succeeded.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("cooldown.succeeded is 0s to 8760h"))]
    #[serde(default = "defaults::succeeded")]
    pub succeeded: String,
    /// After Failed.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("cooldown.failed is 0s to 8760h"))]
    #[serde(default = "defaults::failed")]
    pub failed: String,
    /// After NoActionNeeded.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("cooldown.noActionNeeded is 0s to 8760h"))]
    #[serde(default = "defaults::no_action_needed")]
    pub no_action_needed: String,
    /// After ManualRequired.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("cooldown.manualRequired is 0s to 8760h"))]
    #[serde(default = "defaults::manual_required")]
    pub manual_required: String,
    /// After Ineffective.
    #[schemars(schema_with = "super::bounds::duration")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message("cooldown.ineffective is 0s to 8760h"))]
    #[serde(default = "defaults::ineffective")]
    pub ineffective: String,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self {
            succeeded: defaults::succeeded(),
            failed: defaults::failed(),
            no_action_needed: defaults::no_action_needed(),
            manual_required: defaults::manual_required(),
            ineffective: defaults::ineffective(),
        }
    }
}

/// Which Signals a policy matches: all criteria that are stated must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) || has(self.severities) || has(self.sources) || has(self.namespaceSelector) || has(self.labelSelector)").message("match states no criterion: leave it out to match everything"))]
pub struct PolicyMatch {
    /// The alert's name is one of these. * stands for any characters, ? for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 200)), extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Option<Vec<String>>,
    /// The Signal's severity is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub severities: Option<Vec<Severity>>,
    /// The kind of the Signal's source is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub sources: Option<Vec<String>>,
    /// The labels of the namespace that the Signal object is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// The labels in the Signal's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<Selector>,
}

/// A label selector as in all Kubernetes APIs: every requirement must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.matchLabels) || has(self.matchExpressions)").message("the selector states no requirement: leave it out"))]
pub struct Selector {
    /// Labels that have exactly these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::selector_labels")]
    #[x_kube(validation = Rule::new("self.all(key, key.size() <= 253)").message("label names have at most 253 characters"))]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Requirements in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Option<Vec<Requirement>>,
}

/// One requirement on a label.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == has(self.values)").message("values belong to In and NotIn, and to nothing else"))]
pub struct Requirement {
    /// The label.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: Operator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Option<Vec<String>>,
}

/// What a requirement asks of its label.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Operator {
    /// Its value is one of these.
    In,
    /// Its value is none of these, or it is absent.
    NotIn,
    /// It is there.
    #[default]
    Exists,
    /// It is absent.
    DoesNotExist,
}

/// What Stormfold says of a policy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StormPolicyStatus {
    /// Accepted: True when the policy is in force; False, with the reason, when it cannot be, and then it matches nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::bounds::conditions")]
    pub conditions: Vec<Condition>,
    /// Storms that are open under this policy.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub open_storms: i64,
    /// When a Signal matched last, to the minute. Signals that are only listed again do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::bounds::optional_time")]
    pub last_match: Option<Time>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
