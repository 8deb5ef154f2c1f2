//! What a test file says. Its JSON schema is made of these types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{CloseReason, Outcome, Severity, StormState};

/// Tests of StormPolicies, for stormfold test.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestFile {
    /// Files and folders of StormPolicies, as seen from this file. None: the built-in policy alone.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Labels of namespaces, by name, for every test of this file.
    #[serde(default)]
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels by which Alertmanager groups: each group is a webhook of its own.
    #[serde(default = "default_group_by")]
    pub alertmanager_group_by: Vec<String>,
    /// The tests. Each begins in an empty cluster.
    #[schemars(length(min = 1))]
    pub tests: Vec<PolicyTest>,
}

/// As `manifests/alertmanager` has it.
fn default_group_by() -> Vec<String> {
    vec!["alertname".to_owned(), "namespace".to_owned()]
}

/// Alerts over time, and what they come to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTest {
    /// What it shows, as a sentence.
    pub name: String,
    /// Alerts as Alertmanager reports them.
    #[serde(default)]
    pub alerts: Vec<AlertSeries>,
    /// Signals that somebody creates.
    #[serde(default)]
    pub signals: Vec<CreatedSignal>,
    /// What people and engines do to RemediationRequests.
    #[serde(default)]
    pub actions: Vec<TestAction>,
    /// What must be so, and when.
    #[schemars(length(min = 1))]
    pub expect: Vec<Expectation>,
}

/// One alert, or several alike, over time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSeries {
    /// The label alertname.
    pub name: Option<String>,
    /// The labels. With a count, {n} in a value is the number of the alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// So many alerts.
    #[schemars(range(min = 1, max = 10_000))]
    pub count: Option<usize>,
    /// What is reported, step by step: "firing x5 every 1m, resolved". A step is "[at TIME | after TIME] firing|resolved [xCOUNT] [every
    /// TIME]"; at counts from the beginning of the test, after from the step before. Without either a step comes one interval of the step
    /// before later: a minute, unless it says every.
    pub series: String,
}

/// A Signal that is not Alertmanager's.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreatedSignal {
    /// When, from the beginning of the test.
    #[serde(default)]
    pub at: TestTime,
    /// Its namespace.
    pub namespace: String,
    /// Its spec, see kubectl explain signal.spec.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub spec: Value,
}

/// What somebody does to the newest RemediationRequest of a pattern.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestAction {
    /// When, from the beginning of the test.
    pub at: TestTime,
    /// Its spec.pattern.
    pub pattern: String,
    /// Its namespace, where the pattern alone does not tell.
    pub namespace: Option<String>,
    /// An engine reports this outcome.
    pub outcome: Option<Outcome>,
    /// A person sets these annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// A person deletes it.
    #[serde(default)]
    pub delete: bool,
}

/// What must be so at one time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expectation {
    /// When, from the beginning of the test; what is reported then has been published. Default: after everything that happens.
    pub at: Option<TestTime>,
    /// All RemediationRequests that there are then. Of one pattern they are in the order in which they were opened.
    pub requests: Option<Vec<ExpectedRequest>>,
    /// What receipts of Signals say, some of them.
    #[serde(default)]
    pub receipts: Vec<ExpectedReceipt>,
}

/// A RemediationRequest: what is left out may be anything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedRequest {
    /// Its spec.pattern: HighLatency in shop.
    pub pattern: String,
    /// The namespace that it is in.
    pub namespace: Option<String>,
    /// Open or Closed.
    pub state: Option<StormState>,
    /// Whether it has reached the threshold of its policy.
    pub storm: Option<bool>,
    /// Distinct alerts.
    pub alerts: Option<i64>,
    /// Those that fire.
    pub firing: Option<i64>,
    /// Distinct resources.
    pub affected: Option<i64>,
    /// The highest severity.
    pub severity: Option<Severity>,
    /// The policy under which it was opened.
    pub policy: Option<String>,
    /// Why it was closed.
    pub reason: Option<CloseReason>,
    /// When it was opened, from the beginning of the test, in whole seconds.
    pub opened_at: Option<TestTime>,
    /// The same: closed.
    pub closed_at: Option<TestTime>,
    /// Whether it is the successor of another one.
    pub successor: Option<bool>,
}

/// What receipts say.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectedReceipt {
    /// The spec.name of the Signals.
    pub signal: String,
    /// Their namespace. Default: any.
    pub namespace: Option<String>,
    /// The reason of the condition Accepted: Merged, CoolingDown, PolicySuspended, …
    pub reason: String,
    /// So many of them say so. Default: at least one.
    pub count: Option<usize>,
}

/// A time from the beginning of a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestTime(pub SignedDuration);

impl<'de> Deserialize<'de> for TestTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        test_time(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Reads a time.
pub(super) fn test_time(text: &str) -> Result<SignedDuration, String> {
    let most = SignedDuration::from_hours(24 * 366);
    let time = text.parse::<SignedDuration>().ok().filter(|time| !time.is_negative() && *time <= most);
    let seen: String = text.chars().take(40).collect();
    time.ok_or_else(|| format!("{seen:?} is no time: write 30s, 10m or 1h30m"))
}

impl JsonSchema for TestTime {
    fn schema_name() -> Cow<'static, str> {
        "TestTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A time such as 30s, 10m or 1h30m.",
            "pattern": r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        })
    }
}

/// The JSON schema of a test file.
pub fn schema() -> String {
    format!("{:#}\n", schemars::schema_for!(TestFile).to_value())
}
