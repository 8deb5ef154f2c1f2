use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::StormPolicySpec;

// A keyword or a rule that nobody restates would let in what a cluster refuses.
#[test]
fn nothing_in_the_schemas_is_left_out() {
    assert_eq!(SIGNAL.unknown, Vec::<String>::new());
    assert_eq!(POLICY.unknown, Vec::<String>::new());
}

fn policy(spec: &Value) -> Value {
    json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": "p" }, "spec": spec })
}

fn says(object: Value) -> Vec<String> {
    admit_policy(object).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_policy_that_says_nothing_is_the_default_one() {
    assert_eq!(admit_policy(policy(&json!({}))).unwrap().spec, StormPolicySpec::default());
}

#[rstest]
#[case(json!({ "settleDelay": "soon" }), r#"spec.settleDelay is "soon": write a duration such as 30s, 10m, 6h or 1h30m"#)]
#[case(json!({ "maxAge": "10m" }), "spec: maxAge is longer than quietPeriod: otherwise no storm could end as Quiet")]
#[case(json!({ "dedupHorizon": "1h" }), r#"spec.dedupHorizon is "1h": dedupHorizon is 2h to 24h"#)]
#[case(json!({ "groupBy": ["pod"] }), r#"spec.groupBy[0] is "pod": it must match "#)]
#[case(json!({ "groupBy": [] }), "spec.groupBy is []: at least 1 items")]
#[case(json!({ "groupBy": ["name", "name"] }), r#"spec.groupBy[1] is "name": it is there twice"#)]
#[case(json!({ "storm": { "alerts": 0 } }), "spec.storm.alerts is 0: at least 1")]
#[case(json!({ "storm": { "alerts": "3" } }), r#"spec.storm.alerts is "3": write a whole number"#)]
#[case(json!({ "settle": "1m" }), r#"spec.settle is "1m": a StormPolicy has no such field there; there are affectedCap, "#)]
#[case(json!({ "match": {} }), "spec.match: match states no criterion: leave it out to match everything")]
#[case(json!({ "match": { "severities": ["bad"] } }), r#"spec.match.severities[0] is "bad": write one of "critical", "#)]
#[case(json!({ "match": { "labelSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] } } }),
    "spec.match.labelSelector.matchExpressions[0]: values belong to In and NotIn, and to nothing else")]
#[case(json!({ "requestRetention": "5m" }), "spec: requestRetention is 0s, or not shorter")]
#[case(json!(null), "spec is null: write a map")]
fn what_a_cluster_refuses_is_refused_with_the_field_and_what_to_do(#[case] spec: Value, #[case] wanted: &str) {
    let told = says(policy(&spec));
    assert!(told.len() == 1 && told[0].starts_with(wanted), "{told:#?}");
}

#[test]
fn what_a_selector_says_is_checked_where_it_is() {
    let mut object = policy(&json!({ "match": { "names": ["A"] } }));
    assert!(admit_policy(object.clone()).is_ok());
    object["metadata"]["name"] = json!("default");
    assert_eq!(says(object.clone()), ["the policy named default matches everything: leave match out"]);
    object["metadata"] = json!({ "name": "No Name" });
    assert!(says(object)[0].starts_with(r#"metadata.name is "No Name": write lower-case"#));
}

#[test]
fn a_signal_without_a_namespace_is_in_the_default_one_and_its_bounds_hold() {
    let signal = |spec: Value| json!({ "kind": "Signal", "metadata": { "name": "s" }, "spec": spec });
    let read = admit_signal(signal(json!({ "name": "A", "table": "firing - a Pod/a" }))).unwrap();
    assert_eq!(read.metadata.namespace.as_deref(), Some("default"));
    let told = admit_signal(signal(json!({ "name": "A" }))).unwrap_err();
    assert_eq!(told[0].to_string(), "spec: give the occurrences as spec.occurrences or spec.table");
    let told = admit_signal(signal(json!({ "name": "A", "table": "x", "reportedAt": "yesterday" }))).unwrap_err();
    assert_eq!(told[0].to_string(), r#"spec.reportedAt is "yesterday": write a time such as 2026-01-02T15:04:05Z"#);
}
