//! The RemediationRequest CRD on a real API server: each bound with an example on either side of it, and what stays for ever.

use kube::CustomResourceExt as _;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stormfold::api::RemediationRequest;

use super::bounds::{
    Row, TIME, assert_all_bounds_have_examples, assert_refused, condition, condition_rows, creates_obey, map_of,
    map_with_key, object, raw, required, row, rule, status_writes_obey, text,
};
use super::world::World;

const IMMUTABLE: &str = "spec rule: spec is immutable: it says what opened the storm";
const CLOSED: &str = "status.storm rule: a closed storm does not change";
const CLOSED_STAYS: &str = " rule: status.storm of a closed storm stays";

/// A request in which every field is there, so that each example changes one thing.
fn base() -> Value {
    json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "RemediationRequest", "metadata": { "name": "base" },
        "spec": {
            "pattern": "HighLoad in prod on c1", "stormKey": key('a'), "epoch": 1_700_000_000,
            "signal": { "name": "HighLoad", "sourceKind": "probe" }, "namespace": "prod", "cluster": "c1",
            "alert": { "labels": { "key": "v" }, "annotations": { "key": "v" }, "generatorURL": "http://prometheus.example" },
            "severity": "error", "groupLabels": { "key": "v" }, "policyRef": { "name": "default" },
            "previousRef": { "name": "storm-before" },
        },
    })
}

fn key(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

fn base_status(state: &str) -> Value {
    json!({ "status": {
        "storm": {
            "state": state, "alertCount": 2, "firingCount": 1, "affectedCount": 1, 
            "affectedResources": [{ "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "web", "name": "front" }],
            "examples": [{
                "fingerprint": "fp", "state": "firing", "startsAt": TIME, "labels": { "key": "v" }, "summary": "s",
                "resource": { "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "web", "name": "front" },
            }],
            "truncated": false, "incomplete": true, "severity": "error", "firstSeen": TIME, "lastSeen": TIME, "revision": 1,
            "closedAt": TIME, "closeReason": "Quiet",
        },
        "conditions": [condition("Storm")],
        "remediation": {
            "outcome": "Failed", "observedRevision": 1, "message": "m", "startedAt": TIME, "finishedAt": TIME,
        },
    } })
}

fn spec_rows() -> Vec<Row> {
    vec![
        row("spec required", "/spec", base()["spec"].clone(), json!({})),
        row("spec.pattern maxLength", "/spec/pattern", "é".repeat(400), "é".repeat(401)),
        row("spec.pattern minLength", "/spec/pattern", "A", ""),
        required("spec.pattern required", "/spec/pattern", "A"),
        row("spec.stormKey maxLength", "/spec/stormKey", key('b'), key('b') + "b"),
        row("spec.stormKey minLength", "/spec/stormKey", key('b'), &key('b')[1..]),
        row("spec.stormKey pattern", "/spec/stormKey", key('f'), key('g')),
        required("spec.stormKey required", "/spec/stormKey", key('b')),
        row("spec.epoch minimum", "/spec/epoch", 1, 0),
        required("spec.epoch required", "/spec/epoch", 1),
        row("spec.signal.name maxLength", "/spec/signal/name", text(200), text(201)),
        row("spec.signal.name minLength", "/spec/signal/name", "A", ""),
        required("spec.signal.name required", "/spec/signal/name", "A"),
        required("spec.signal required", "/spec/signal", json!({ "name": "A" })),
        row("spec.signal.sourceKind maxLength", "/spec/signal/sourceKind", text(63), text(64)),
        row("spec.namespace maxLength", "/spec/namespace", text(63), text(64)),
        row("spec.cluster maxLength", "/spec/cluster", text(100), text(101)),
        row("spec.severity enum", "/spec/severity", "info", "Critical"),
        row("spec.groupLabels maxProperties", "/spec/groupLabels", map_of(64), map_of(65)),
        row("spec.groupLabels{} maxLength", "/spec/groupLabels/key", text(1024), text(1025)),
        rule(
            "spec.groupLabels rule: label names have at most 253 characters",
            "/spec/groupLabels",
            map_with_key(253),
            map_with_key(254),
        ),
        row("spec.policyRef.name maxLength", "/spec/policyRef/name", text(253), text(254)),
        row("spec.policyRef.name minLength", "/spec/policyRef/name", "a", ""),
        required("spec.policyRef.name required", "/spec/policyRef/name", "a"),
        required("spec.policyRef required", "/spec/policyRef", json!({ "name": "a" })),
        row("spec.previousRef.name maxLength", "/spec/previousRef/name", text(63), text(64)),
        row("spec.previousRef.name minLength", "/spec/previousRef/name", "a", ""),
        required("spec.previousRef.name required", "/spec/previousRef/name", "a"),
    ]
}

fn alert_rows() -> Vec<Row> {
    const LABELS: &str = "/spec/alert/labels";
    const ANNOTATIONS: &str = "/spec/alert/annotations";
    let names = |of: &'static str, bound: &'static str| rule(bound, of, map_with_key(253), map_with_key(254));
    vec![
        row("spec.alert.labels maxProperties", LABELS, map_of(64), map_of(65)),
        row("spec.alert.labels{} maxLength", "/spec/alert/labels/key", "é".repeat(256), "é".repeat(257)),
        names(LABELS, "spec.alert.labels rule: label names have at most 253 characters"),
        row("spec.alert.annotations maxProperties", ANNOTATIONS, map_of(32), map_of(33)),
        row("spec.alert.annotations{} maxLength", "/spec/alert/annotations/key", "é".repeat(1024), "é".repeat(1025)),
        names(ANNOTATIONS, "spec.alert.annotations rule: annotation names have at most 253 characters"),
        row("spec.alert.generatorURL maxLength", "/spec/alert/generatorURL", text(2048), text(2049)),
    ]
}

fn storm_rows() -> Vec<Row> {
    let resources = |n: usize| -> Value { (0..n).map(|n| json!({ "kind": "Pod", "name": n.to_string() })).collect() };
    vec![
        row("status.storm.state enum", "/status/storm/state", "Open", "Reopened"),
        required("status.storm.state required", "/status/storm/state", "Open"),
        row("status.storm.alertCount minimum", "/status/storm/alertCount", 0, -1),
        required("status.storm.alertCount required", "/status/storm/alertCount", 0),
        row("status.storm.firingCount minimum", "/status/storm/firingCount", 0, -1),
        required("status.storm.firingCount required", "/status/storm/firingCount", 0),
        row("status.storm.affectedCount minimum", "/status/storm/affectedCount", 0, -1),
        required("status.storm.affectedCount required", "/status/storm/affectedCount", 0),
        row(
            "status.storm.affectedResources maxItems",
            "/status/storm/affectedResources",
            resources(500),
            resources(501),
        ),
        row("status.storm.severity enum", "/status/storm/severity", "info", "high"),
        required("status.storm.severity required", "/status/storm/severity", "info"),
        row("status.storm.firstSeen format", "/status/storm/firstSeen", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.storm.firstSeen pattern",
            "/status/storm/firstSeen",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        required("status.storm.firstSeen required", "/status/storm/firstSeen", TIME),
        row("status.storm.lastSeen format", "/status/storm/lastSeen", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.storm.lastSeen pattern",
            "/status/storm/lastSeen",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        required("status.storm.lastSeen required", "/status/storm/lastSeen", TIME),
        row("status.storm.revision minimum", "/status/storm/revision", 1, 0),
        required("status.storm.revision required", "/status/storm/revision", 1),
        row("status.storm.closedAt format", "/status/storm/closedAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.storm.closedAt pattern",
            "/status/storm/closedAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        row("status.storm.closeReason enum", "/status/storm/closeReason", "Superseded", "Bored"),
    ]
}

fn resource_rows() -> Vec<Row> {
    const VERSION: &str = "/status/storm/affectedResources/0/apiVersion";
    const KIND: &str = "/status/storm/affectedResources/0/kind";
    const NAMESPACE: &str = "/status/storm/affectedResources/0/namespace";
    const NAME: &str = "/status/storm/affectedResources/0/name";
    vec![
        row("status.storm.affectedResources[].apiVersion maxLength", VERSION, text(253), text(254)),
        row("status.storm.affectedResources[].kind maxLength", KIND, text(63), text(64)),
        row("status.storm.affectedResources[].kind minLength", KIND, "A", ""),
        required("status.storm.affectedResources[].kind required", KIND, "Pod"),
        row("status.storm.affectedResources[].namespace maxLength", NAMESPACE, text(63), text(64)),
        row("status.storm.affectedResources[].name maxLength", NAME, text(253), text(254)),
        row("status.storm.affectedResources[].name minLength", NAME, "a", ""),
        required("status.storm.affectedResources[].name required", NAME, "a"),
    ]
}

fn example_rows() -> Vec<Row> {
    const EXAMPLES: &str = "/status/storm/examples";
    const LABELS: &str = "/status/storm/examples/0/labels";
    const STARTS_AT: &str = "/status/storm/examples/0/startsAt";
    const VERSION: &str = "/status/storm/examples/0/resource/apiVersion";
    const KIND: &str = "/status/storm/examples/0/resource/kind";
    const NAMESPACE: &str = "/status/storm/examples/0/resource/namespace";
    const NAME: &str = "/status/storm/examples/0/resource/name";
    let examples = |n: usize| -> Value { (0..n).map(|_| json!({})).collect() };
    let (early, odd) = ("0001-01-01T00:00:00.123456789+23:59", "2026-01-02T15:04:05+99:99");
    vec![
        row("status.storm.examples maxItems", EXAMPLES, examples(10), examples(11)),
        row(
            "status.storm.examples[].fingerprint maxLength",
            "/status/storm/examples/0/fingerprint",
            text(256),
            text(257),
        ),
        row("status.storm.examples[].state enum", "/status/storm/examples/0/state", "resolved", "over"),
        row("status.storm.examples[].startsAt format", STARTS_AT, TIME, "2026-02-30T15:04:05Z"),
        row("status.storm.examples[].startsAt pattern", STARTS_AT, early, odd),
        row("status.storm.examples[].labels maxProperties", LABELS, map_of(16), map_of(17)),
        row("status.storm.examples[].labels{} maxLength", "/status/storm/examples/0/labels/key", text(256), text(257)),
        rule(
            "status.storm.examples[].labels rule: label names have at most 253 characters",
            LABELS,
            map_with_key(253),
            map_with_key(254),
        ),
        row("status.storm.examples[].summary maxLength", "/status/storm/examples/0/summary", text(300), text(301)),
        row("status.storm.examples[].resource.apiVersion maxLength", VERSION, text(253), text(254)),
        row("status.storm.examples[].resource.kind maxLength", KIND, text(63), text(64)),
        row("status.storm.examples[].resource.kind minLength", KIND, "A", ""),
        required("status.storm.examples[].resource.kind required", KIND, "Pod"),
        row("status.storm.examples[].resource.namespace maxLength", NAMESPACE, text(63), text(64)),
        row("status.storm.examples[].resource.name maxLength", NAME, text(253), text(254)),
        row("status.storm.examples[].resource.name minLength", NAME, "a", ""),
        required("status.storm.examples[].resource.name required", NAME, "a"),
    ]
}

fn remediation_rows() -> Vec<Row> {
    vec![
        row("status.remediation.outcome enum", "/status/remediation/outcome", "Ineffective", "Done"),
        row("status.remediation.observedRevision minimum", "/status/remediation/observedRevision", 0, -1),
        row("status.remediation.message maxLength", "/status/remediation/message", text(4096), text(4097)),
        row("status.remediation.startedAt format", "/status/remediation/startedAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.remediation.startedAt pattern",
            "/status/remediation/startedAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        row("status.remediation.finishedAt format", "/status/remediation/finishedAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.remediation.finishedAt pattern",
            "/status/remediation/finishedAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
    ]
}

#[test]
fn crd_request_every_bound_has_an_example() {
    let (spec, storm, remediation, conditions) = (spec_rows(), storm_rows(), remediation_rows(), condition_rows());
    let (resources, examples) = (resource_rows(), example_rows());
    let alert = alert_rows();
    let rows = spec
        .iter()
        .chain(&alert)
        .chain(&storm)
        .chain(&resources)
        .chain(&examples)
        .chain(&remediation)
        .chain(&conditions);
    assert_all_bounds_have_examples(&RemediationRequest::crd(), rows, &[IMMUTABLE, CLOSED, CLOSED_STAYS]);
}

// B6: an object that leaves out or overfills a field is refused, whoever writes it.
#[tokio::test]
async fn crd_request_bounds_accept_one_side_and_refuse_the_other() {
    let world = World::new("crd-request").await;
    let api = raw::<RemediationRequest>(&world);
    creates_obey(&api, &base(), &spec_rows()).await;
    creates_obey(&api, &base(), &alert_rows()).await;
    api.create(&PostParams::default(), &object(&base())).await.unwrap();
    for rows in [storm_rows(), resource_rows(), example_rows(), remediation_rows(), condition_rows()] {
        status_writes_obey(&api, "base", &base_status("Open"), &rows).await;
    }
}

// B9, C11: what identifies a storm is in the spec, and the spec does not change.
#[tokio::test]
async fn crd_request_spec_does_not_change() {
    let world = World::new("crd-request-spec").await;
    let api = raw::<RemediationRequest>(&world);
    api.create(&PostParams::default(), &object(&base())).await.unwrap();
    for change in [
        json!({ "spec": { "stormKey": key('b') } }),
        json!({ "spec": { "severity": "critical" } }),
        json!({ "spec": { "groupLabels": { "key": "w" } } }),
        json!({ "spec": { "previousRef": null } }),
        json!({ "spec": { "cluster": null } }),
        json!({ "spec": { "alert": { "annotations": { "key": "w" } } } }),
        json!({ "spec": { "alert": null } }),
    ] {
        let what = change.to_string();
        let refused = api.patch("base", &PatchParams::default(), &Patch::Merge(&change)).await;
        assert_refused(&what, refused, "spec is immutable");
    }
}

/// A request whose storm is closed.
async fn closed(api: &Api<DynamicObject>) -> DynamicObject {
    api.create(&PostParams::default(), &object(&base())).await.unwrap();
    let status = |state: &str| base_status(state);
    api.patch_status("base", &PatchParams::default(), &Patch::Merge(status("Open"))).await.unwrap();
    api.patch_status("base", &PatchParams::default(), &Patch::Merge(status("Closed"))).await.unwrap()
}

// A17: a closed storm is never reopened; the API server itself holds that.
#[tokio::test]
async fn crd_request_storm_of_a_closed_one_does_not_change_and_its_remediation_does() {
    let world = World::new("crd-request-closed").await;
    let api = raw::<RemediationRequest>(&world);
    closed(&api).await;
    let patch = async |storm: Value| {
        let status = json!({ "status": { "storm": storm } });
        api.patch_status("base", &PatchParams::default(), &Patch::Merge(&status)).await
    };
    assert_refused("state", patch(json!({ "state": "Open" })).await, "a closed storm does not change");
    assert_refused("counts", patch(json!({ "alertCount": 3 })).await, "a closed storm does not change");
    assert_refused("reason", patch(json!({ "closeReason": null })).await, "a closed storm does not change");
    assert_refused("no storm", patch(Value::Null).await, "status.storm of a closed storm stays");
    let engine = json!({ "status": { "remediation": { "outcome": "Succeeded", "observedRevision": 1 } } });
    let after = api.patch_status("base", &PatchParams::default(), &Patch::Merge(&engine)).await.unwrap();
    assert_eq!(after.data["status"]["remediation"]["outcome"], "Succeeded");
    assert_eq!(after.data["status"]["storm"], base_status("Closed")["status"]["storm"]);
}

// A17, and what a rule on the storm alone cannot see: a storm that is taken away could come back open.
#[tokio::test]
async fn crd_request_storm_of_a_closed_one_cannot_be_taken_away() {
    let world = World::new("crd-request-away").await;
    let api = raw::<RemediationRequest>(&world);
    let closed = closed(&api).await;
    let replacements = [("no status", Value::Null), ("an empty status", json!({})), ("null", json!({ "storm": null }))];
    for (what, status) in replacements {
        let mut bare = closed.clone();
        if status.is_null() {
            bare.data.as_object_mut().unwrap().remove("status");
        } else {
            bare.data["status"] = status;
        }
        let refused = api.replace_status("base", &PostParams::default(), &bare).await;
        assert_refused(what, refused, "status.storm of a closed storm stays");
    }
}

#[tokio::test]
async fn crd_request_status_is_written_by_the_status_subresource_only() {
    let world = World::new("crd-request-status").await;
    let api = raw::<RemediationRequest>(&world);
    let mut with_status = base();
    with_status["status"] = base_status("Open")["status"].clone();
    let created = api.create(&PostParams::default(), &object(&with_status)).await.unwrap();
    assert_eq!(created.data.get("status"), None);
    let patched = api.patch("base", &PatchParams::default(), &Patch::Merge(base_status("Open"))).await.unwrap();
    assert_eq!(patched.data.get("status"), None);
    let written = api.patch_status("base", &PatchParams::default(), &Patch::Merge(base_status("Open"))).await.unwrap();
    assert_eq!(written.data["status"], base_status("Open")["status"]);
}

// C11: a storm is found by the whole of its key, not by a label that holds a part.
#[tokio::test]
async fn crd_request_is_found_by_its_storm_key_and_its_state() {
    let world = World::new("crd-request-fields").await;
    let api = raw::<RemediationRequest>(&world);
    for (name, digit, state) in [("one", 'a', "Open"), ("two", 'a', "Closed"), ("three", 'b', "Open")] {
        let mut json = base();
        json["metadata"]["name"] = name.into();
        json["spec"]["stormKey"] = key(digit).into();
        api.create(&PostParams::default(), &object(&json)).await.unwrap();
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(base_status(state))).await.unwrap();
    }
    let names = async |selector: String| -> Vec<String> {
        let list = api.list(&ListParams::default().fields(&selector)).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect()
    };
    assert_eq!(names(format!("spec.stormKey={}", key('a'))).await, ["one", "two"]);
    assert_eq!(names("status.storm.state=Open".into()).await, ["one", "three"]);
    assert_eq!(names(format!("spec.stormKey={},status.storm.state=Open", key('a'))).await, ["one"]);
}
