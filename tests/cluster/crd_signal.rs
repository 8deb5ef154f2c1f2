//! The Signal CRD on a real API server: each bound with an example on either side of it.

use kube::CustomResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stormfold::api::Signal;

use super::bounds::{
    Row, TIME, assert_all_bounds_have_examples, assert_refused, condition, condition_rows, creates_obey, map_of,
    map_with_key, object, raw, required, row, rule, status_writes_obey, text,
};
use super::world::World;

const IMMUTABLE: &str = "spec rule: spec is immutable: report again with a new Signal";
/// As Kubernetes writes a MicroTime.
const MICRO_TIME: &str = "2026-01-02T15:04:05.000000Z";
const SHAPE: &str = "spec rule: give the occurrences as spec.occurrences or spec.table";

/// A Signal in which every field is there, so that each example changes one thing.
fn base() -> Value {
    json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": { "name": "base" },
        "spec": {
            "name": "HighLoad", "severity": "error", "namespace": "prod", "cluster": "c1", "resolvable": true, "incomplete": true,
            "reportedAt": MICRO_TIME,
            "source": { "kind": "probe", "instance": "one", "url": "https://example.org" },
            "labels": { "key": "v" }, "annotations": { "key": "v" },
            "examples": [{ "fingerprint": "fp", "labels": { "key": "v" }, "summary": "s", "description": "d" }],
            "occurrences": [{
                "fingerprint": "fp", "state": "firing", "startsAt": TIME, "endsAt": TIME,
                "resource": { "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "web", "name": "front" },
            }],
            "table": "firing - - Pod/a\n",
        },
    })
}

fn base_status() -> Value {
    json!({ "status": {
        "conditions": [condition("Accepted")], "storm": "storm-a", "observedGeneration": 1, "mergedAt": TIME,
        "occurrences": { "total": 3, "new": 2, "rejected": 1 },
        "otherStorms": [{ "name": "storm-b", "occurrences": "0" }],
    } })
}

fn scope_rows() -> Vec<Row> {
    vec![
        row("spec required", "/spec", base()["spec"].clone(), json!({})),
        required("spec.name required", "/spec/name", "A"),
        row("spec.name maxLength", "/spec/name", "é".repeat(200), "é".repeat(201)),
        row("spec.name minLength", "/spec/name", "A", ""),
        // E13: any script; characters are counted, not bytes.
        row("spec.name pattern", "/spec/name", "Höhe Last 負荷 \"{}\"", "bell\u{7}"),
        row("spec.name pattern", "/spec/name", "a b", "line\nbreak"),
        row("spec.name pattern", "/spec/name", " a ", "   "),
        // R7: blank in any script: an ideographic space, an em space, a zero-width space.
        row("spec.name pattern", "/spec/name", "\u{3000}負\u{3000}", "\u{3000}\u{2003}\u{200b}"),
        row("spec.name pattern", "/spec/name", "\u{a1}", "\u{85}x"),
        row("spec.severity enum", "/spec/severity", "critical", "high"),
        row("spec.namespace maxLength", "/spec/namespace", text(63), text(64)),
        row("spec.namespace pattern", "/spec/namespace", "a-1", "A"),
        row("spec.namespace pattern", "/spec/namespace", "", "a-"),
        row("spec.cluster maxLength", "/spec/cluster", text(100), text(101)),
        row("spec.cluster minLength", "/spec/cluster", "a", ""),
        row("spec.cluster pattern", "/spec/cluster", "arn:aws:eks/eu_1.A", "two words"),
        row("spec.source.kind maxLength", "/spec/source/kind", text(63), text(64)),
        row("spec.source.kind minLength", "/spec/source/kind", "a", ""),
        row("spec.source.kind pattern", "/spec/source/kind", "kube-state_metrics.v2", "-a"),
        required("spec.source.kind required", "/spec/source/kind", "probe"),
        row("spec.source.instance maxLength", "/spec/source/instance", text(253), text(254)),
        row("spec.source.url maxLength", "/spec/source/url", text(2048), text(2049)),
        row("spec.labels maxProperties", "/spec/labels", map_of(64), map_of(65)),
        row("spec.labels{} maxLength", "/spec/labels/key", text(1024), text(1025)),
        rule(
            "spec.labels rule: label names have at most 253 characters",
            "/spec/labels",
            map_with_key(253),
            map_with_key(254),
        ),
        row("spec.generatorURL maxLength", "/spec/generatorURL", text(2048), text(2049)),
        row("spec.annotations maxProperties", "/spec/annotations", map_of(32), map_of(33)),
        row("spec.annotations{} maxLength", "/spec/annotations/key", text(4096), text(4097)),
        rule(
            "spec.annotations rule: annotation names have at most 253 characters",
            "/spec/annotations",
            map_with_key(253),
            map_with_key(254),
        ),
        row("spec.reportedAt format", "/spec/reportedAt", TIME, "2026-02-30T15:04:05Z"),
        row("spec.reportedAt pattern", "/spec/reportedAt", MICRO_TIME, "2026-01-02T15:04:05.1234567Z"),
        row("spec.reportedAt pattern", "/spec/reportedAt", "2026-01-02T15:04:05.1+23:59", "2026-01-02T15:04:05+99:99"),
    ]
}

fn example_rows() -> Vec<Row> {
    const LABELS: &str = "/spec/examples/0/labels";
    let examples = |n: usize| -> Value { (0..n).map(|n| json!({ "fingerprint": n.to_string() })).collect() };
    vec![
        row("spec.examples maxItems", "/spec/examples", examples(10), examples(11)),
        row("spec.examples[].fingerprint maxLength", "/spec/examples/0/fingerprint", text(256), text(257)),
        row("spec.examples[].fingerprint minLength", "/spec/examples/0/fingerprint", "a", ""),
        required("spec.examples[].fingerprint required", "/spec/examples/0/fingerprint", "a"),
        row("spec.examples[].labels maxProperties", LABELS, map_of(16), map_of(17)),
        row("spec.examples[].labels{} maxLength", "/spec/examples/0/labels/key", text(256), text(257)),
        rule(
            "spec.examples[].labels rule: label names have at most 253 characters",
            LABELS,
            map_with_key(253),
            map_with_key(254),
        ),
        row("spec.examples[].summary maxLength", "/spec/examples/0/summary", "é".repeat(300), "é".repeat(301)),
        row(
            "spec.examples[].description maxLength",
            "/spec/examples/0/description",
            "é".repeat(1024),
            "é".repeat(1025),
        ),
    ]
}

fn occurrence_rows() -> Vec<Row> {
    let items = |n: usize| -> Value { (0..n).map(|_| json!({})).collect() };
    let (table, neither) = (json!({ "name": "A", "table": "-" }), json!({ "name": "A" }));
    vec![
        rule(SHAPE, "/spec", json!({ "name": "A", "occurrences": [{}] }), neither.clone()),
        rule(SHAPE, "/spec", table, neither),
        rule(
            SHAPE,
            "/spec",
            json!({ "name": "A", "table": null, "occurrences": [{}] }),
            json!({ "name": "A", "table": null, "occurrences": null }),
        ),
        row("spec.table maxLength", "/spec/table", text(262_144), text(262_145)),
        row("spec.table minLength", "/spec/table", "-", ""),
        row("spec.occurrences maxItems", "/spec/occurrences", items(500), items(501)),
        row("spec.occurrences minItems", "/spec/occurrences", items(1), items(0)),
        row("spec.occurrences[].fingerprint maxLength", "/spec/occurrences/0/fingerprint", text(256), text(257)),
        row("spec.occurrences[].fingerprint minLength", "/spec/occurrences/0/fingerprint", "f", ""), // C18
        row("spec.occurrences[].state enum", "/spec/occurrences/0/state", "resolved", "pending"),
        row("spec.occurrences[].startsAt format", "/spec/occurrences/0/startsAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "spec.occurrences[].startsAt pattern",
            "/spec/occurrences/0/startsAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        row("spec.occurrences[].endsAt format", "/spec/occurrences/0/endsAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "spec.occurrences[].endsAt pattern",
            "/spec/occurrences/0/endsAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
    ]
}

fn resource_rows() -> Vec<Row> {
    const VERSION: &str = "/spec/occurrences/0/resource/apiVersion";
    const KIND: &str = "/spec/occurrences/0/resource/kind";
    const NAMESPACE: &str = "/spec/occurrences/0/resource/namespace";
    const NAME: &str = "/spec/occurrences/0/resource/name";
    let version = |group: usize| format!("{}/v1", text(group));
    vec![
        row("spec.occurrences[].resource.apiVersion maxLength", VERSION, version(250), version(251)),
        row("spec.occurrences[].resource.apiVersion pattern", VERSION, "v1beta1", "apps/v1/x"),
        row("spec.occurrences[].resource.apiVersion pattern", VERSION, "apps/v1", "apps/1"),
        row("spec.occurrences[].resource.kind maxLength", KIND, format!("A{}", text(62)), format!("A{}", text(63))),
        row("spec.occurrences[].resource.kind minLength", KIND, "A", ""),
        row("spec.occurrences[].resource.kind pattern", KIND, "CSINode", "pod"),
        required("spec.occurrences[].resource.kind required", KIND, "Pod"),
        row("spec.occurrences[].resource.namespace maxLength", NAMESPACE, text(63), text(64)),
        row("spec.occurrences[].resource.namespace pattern", NAMESPACE, "", "Web"),
        row("spec.occurrences[].resource.name maxLength", NAME, "é".repeat(253), "é".repeat(254)),
        row("spec.occurrences[].resource.name minLength", NAME, "a", ""),
        row("spec.occurrences[].resource.name pattern", NAME, "a/b c:d", "a\tb"), // B3
        required("spec.occurrences[].resource.name required", NAME, "a"),
    ]
}

/// So many other storms.
fn others(count: usize) -> Value {
    (0..count).map(|n| json!({ "name": format!("storm-{n}"), "occurrences": "0" })).collect()
}

fn status_rows() -> Vec<Row> {
    let mut rows = condition_rows();
    rows.extend([
        row("status.storm maxLength", "/status/storm", text(63), text(64)),
        row("status.mergedAt format", "/status/mergedAt", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.mergedAt pattern",
            "/status/mergedAt",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        row("status.occurrences.total minimum", "/status/occurrences/total", 0, -1),
        row("status.occurrences.new minimum", "/status/occurrences/new", 0, -1),
        row("status.occurrences.rejected minimum", "/status/occurrences/rejected", 0, -1),
        row("status.occurrences.held maxLength", "/status/occurrences/held", "1".repeat(8_400), "1".repeat(8_401)),
        row("status.occurrences.held pattern", "/status/occurrences/held", "0-3,7", "0 to 3"),
        row(
            "status.occurrences.handled maxLength",
            "/status/occurrences/handled",
            "1".repeat(8_400),
            "1".repeat(8_401),
        ),
        row("status.occurrences.handled pattern", "/status/occurrences/handled", "0-3,7", "0 to 3"),
        row("status.otherStorms maxItems", "/status/otherStorms", others(16), others(17)),
        row("status.otherStorms[].name maxLength", "/status/otherStorms/0/name", text(63), text(64)),
        row("status.otherStorms[].name minLength", "/status/otherStorms/0/name", "a", ""),
        required("status.otherStorms[].name required", "/status/otherStorms/0/name", "storm-b"),
        row(
            "status.otherStorms[].occurrences maxLength",
            "/status/otherStorms/0/occurrences",
            "1".repeat(8_400),
            "1".repeat(8_401),
        ),
        row("status.otherStorms[].occurrences pattern", "/status/otherStorms/0/occurrences", "0-3,7", "0 to 3"),
        required("status.otherStorms[].occurrences required", "/status/otherStorms/0/occurrences", "0"),
        required("status.occurrences.total required", "/status/occurrences/total", 0),
        required("status.occurrences.new required", "/status/occurrences/new", 0),
        required("status.occurrences.rejected required", "/status/occurrences/rejected", 0),
    ]);
    rows
}

#[test]
fn crd_signal_every_bound_has_an_example() {
    let (scope, occurrences, resource, status) = (scope_rows(), occurrence_rows(), resource_rows(), status_rows());
    let examples = example_rows();
    let rows = scope.iter().chain(&examples).chain(&occurrences).chain(&resource).chain(&status);
    assert_all_bounds_have_examples(&Signal::crd(), rows, &[IMMUTABLE]);
}

// B3, B6, C18, E13: what comes in has a valid shape, or its author is told which field has not.
#[tokio::test]
async fn crd_signal_bounds_accept_one_side_and_refuse_the_other() {
    let world = World::new("crd-signal").await;
    let api = raw::<Signal>(&world);
    for rows in [scope_rows(), example_rows(), occurrence_rows(), resource_rows()] {
        creates_obey(&api, &base(), &rows).await;
    }
    assert!(world.signals().list(&ListParams::default()).await.unwrap().items.is_empty());
    api.create(&PostParams::default(), &object(&base())).await.unwrap();
    status_writes_obey(&api, "base", &base_status(), &status_rows()).await;
}

// E10: a spec has strings, numbers and booleans only, so that equality means what it says.
#[tokio::test]
async fn crd_signal_spec_does_not_change() {
    let world = World::new("crd-signal-spec").await;
    let api = raw::<Signal>(&world);
    api.create(&PostParams::default(), &object(&base())).await.unwrap();
    let patch = async |patch: Value| api.patch("base", &PatchParams::default(), &Patch::Merge(&patch)).await;
    for change in [
        json!({ "spec": { "name": "Other" } }),
        json!({ "spec": { "severity": null } }),
        json!({ "spec": { "labels": { "key": "w" } } }),
        json!({ "spec": { "labels": null } }),
        json!({ "spec": { "occurrences": null } }),
        json!({ "spec": { "reportedAt": "2026-01-02T15:04:06.000000Z" } }),
        json!({ "spec": { "table": "firing - - Pod/b\n" } }),
    ] {
        let what = change.to_string();
        assert_refused(&what, patch(change).await, "spec is immutable");
    }
    // What is not the spec is its owner's.
    patch(json!({ "metadata": { "labels": { "team": "a" } } })).await.unwrap();
}

#[tokio::test]
async fn crd_signal_status_is_written_by_the_status_subresource_only() {
    let world = World::new("crd-signal-status").await;
    let api = raw::<Signal>(&world);
    let mut with_status = base();
    with_status["status"] = base_status()["status"].clone();
    let created = api.create(&PostParams::default(), &object(&with_status)).await.unwrap();
    assert_eq!(created.data.get("status"), None);
    let patched = api.patch("base", &PatchParams::default(), &Patch::Merge(base_status())).await.unwrap();
    assert_eq!(patched.data.get("status"), None);
    let written = api.patch_status("base", &PatchParams::default(), &Patch::Merge(base_status())).await.unwrap();
    assert_eq!(written.data["status"], base_status()["status"]);
}

#[tokio::test]
async fn crd_signal_is_found_by_the_storm_of_its_receipt() {
    let world = World::new("crd-signal-fields").await;
    let api = raw::<Signal>(&world);
    for name in ["base", "other"] {
        let mut json = base();
        json["metadata"]["name"] = name.into();
        api.create(&PostParams::default(), &object(&json)).await.unwrap();
    }
    api.patch_status("base", &PatchParams::default(), &Patch::Merge(base_status())).await.unwrap();
    let names = async |selector: &str| -> Vec<String> {
        let list = api.list(&ListParams::default().fields(selector)).await.unwrap();
        list.items.into_iter().filter_map(|object| object.metadata.name).collect()
    };
    assert_eq!(names("status.storm=storm-a").await, ["base"]);
    assert_eq!(names("status.storm=").await, ["other"]);
}
