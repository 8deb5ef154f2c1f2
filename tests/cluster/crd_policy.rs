//! The StormPolicy CRD on a real API server: each bound, and each rule across fields, with an example on either side of it.

use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, CustomResourceExt as _, ResourceExt};
use serde_json::{Value, json};
use stormfold::api::{StormPolicy, StormPolicySpec};

use super::bounds::{
    Row, TIME, assert_all_bounds_have_examples, condition, condition_rows, creates_obey, map_of, map_with_key, object,
    required, row, rule, status_writes_obey, text,
};
use super::world::World;

/// A policy in which every field is there, so that each example changes one thing.
fn base(name: &str) -> Value {
    let selector = json!({
        "matchLabels": { "key": "v" }, "matchExpressions": [{ "key": "team", "operator": "In", "values": ["a"] }],
    });
    json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": name },
        "spec": {
            "priority": 1, "groupBy": ["name", "label:team"], "storm": { "alerts": 3, "resources": 2 },
            "match": {
                "names": ["Node*"], "severities": ["error"], "sources": ["probe"],
                "namespaceSelector": selector, "labelSelector": selector,
            },
            "quietPeriod": "1m", "settleDelay": "1m", "staleAfter": "1h", "maxAge": "2h", "publishInterval": "1s",
            "retention": "1h", "requestRetention": "2h", "affectedCap": 100, "dedupHorizon": "6h",
            "cooldown": { "succeeded": "0s", "failed": "1m", "noActionNeeded": "1m", "manualRequired": "1h", "ineffective": "1m" },
        },
    })
}

fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn spec_rows() -> Vec<Row> {
    let mut rows = vec![
        required("spec required", "/spec", json!({})),
        row("spec.priority minimum", "/spec/priority", -1_000_000, -1_000_001),
        row(
            "spec.groupBy maxItems",
            "/spec/groupBy",
            many(16, |n| json!(format!("label:k{n}"))),
            many(17, |n| json!(format!("label:k{n}"))),
        ),
        row("spec.groupBy minItems", "/spec/groupBy", json!(["severity"]), json!([])),
        row(
            "spec.groupBy[] maxLength",
            "/spec/groupBy/1",
            format!("label:{}", text(240)),
            format!("label:{}", text(241)),
        ),
        row("spec.groupBy[] pattern", "/spec/groupBy/1", "source", "labels:x"),
        row("spec.storm.alerts minimum", "/spec/storm/alerts", 1, 0), // A23: no number stands for a default
        row("spec.storm.resources minimum", "/spec/storm/resources", 1, 0),
        row("spec.affectedCap minimum", "/spec/affectedCap", 1, 0),
        rule(
            "spec rule: maxAge is longer than quietPeriod: otherwise no storm could end as Quiet",
            "/spec/maxAge",
            json!("61s"),
            json!("60s"),
        ),
        rule(
            "spec rule: staleAfter is not shorter than quietPeriod: a silent resolvable source is not a resolved one",
            "/spec/staleAfter",
            json!("60s"),
            json!("59s"),
        ),
        rule(
            "spec rule: requestRetention is 0s, or not shorter than a retention that is not 0s: Signals go before their RemediationRequest",
            "/spec/requestRetention",
            json!("1h"),
            json!("59m"),
        ),
    ];
    rows.extend(match_rows());
    rows.extend(duration_rows());
    rows.extend(selector_rows());
    rows
}

fn match_rows() -> Vec<Row> {
    vec![
        rule(
            "spec.match rule: match states no criterion: leave it out to match everything",
            "/spec/match",
            json!({ "names": ["A"] }),
            json!({}),
        ),
        row(
            "spec.match.names maxItems",
            "/spec/match/names",
            many(64, |n| json!(format!("n{n}"))),
            many(65, |n| json!(format!("n{n}"))),
        ),
        row("spec.match.names minItems", "/spec/match/names", json!(["*"]), json!([])),
        row("spec.match.names[] maxLength", "/spec/match/names/0", text(200), text(201)),
        row("spec.match.names[] minLength", "/spec/match/names/0", "?", ""),
        row(
            "spec.match.severities maxItems",
            "/spec/match/severities",
            json!(["critical", "error", "warning", "info"]),
            json!(["critical", "error", "warning", "info", "debug"]),
        ),
        row("spec.match.severities minItems", "/spec/match/severities", json!(["info"]), json!([])),
        row("spec.match.severities[] enum", "/spec/match/severities/0", "critical", "high"),
        row(
            "spec.match.sources maxItems",
            "/spec/match/sources",
            many(16, |n| json!(format!("s{n}"))),
            many(17, |n| json!(format!("s{n}"))),
        ),
        row("spec.match.sources minItems", "/spec/match/sources", json!(["a"]), json!([])),
        row("spec.match.sources[] maxLength", "/spec/match/sources/0", text(63), text(64)),
        row("spec.match.sources[] minLength", "/spec/match/sources/0", "a", ""),
    ]
}

/// Each duration: its form, its length, and its range.
fn duration_rows() -> Vec<Row> {
    macro_rules! duration {
        ($path:literal, $at:literal, $message:literal, $good:literal, $bad:literal) => {
            [
                row(concat!($path, " pattern"), $at, $good, "soon"),
                row(concat!($path, " minLength"), $at, $good, ""),
                row(concat!($path, " maxLength"), $at, $good, format!("{}s", "0".repeat(30))),
                rule(concat!($path, " rule: ", $message), $at, json!($good), json!($bad)),
            ]
        };
    }
    [
        duration!("spec.quietPeriod", "/spec/quietPeriod", "quietPeriod is 1s to 8760h", "1s", "999ms"),
        duration!("spec.settleDelay", "/spec/settleDelay", "settleDelay is 1s to 8760h", "8760h", "8761h"),
        duration!("spec.staleAfter", "/spec/staleAfter", "staleAfter is 1s to 8760h", "8760h", "8761h"),
        duration!("spec.maxAge", "/spec/maxAge", "maxAge is 2s to 8760h", "8760h", "8761h"),
        duration!("spec.publishInterval", "/spec/publishInterval", "publishInterval is 100ms to 1m", "100ms", "61s"),
        duration!("spec.retention", "/spec/retention", "retention is 0s to 87600h", "30m", "87601h"),
        duration!(
            "spec.requestRetention",
            "/spec/requestRetention",
            "requestRetention is 0s to 87600h",
            "0s",
            "87601h"
        ),
        duration!("spec.dedupHorizon", "/spec/dedupHorizon", "dedupHorizon is 2h to 24h", "24h", "119m"),
        duration!(
            "spec.cooldown.succeeded",
            "/spec/cooldown/succeeded",
            "cooldown.succeeded is 0s to 8760h",
            "0s",
            "8761h"
        ),
        duration!("spec.cooldown.failed", "/spec/cooldown/failed", "cooldown.failed is 0s to 8760h", "1h30m", "8761h"),
        duration!(
            "spec.cooldown.noActionNeeded",
            "/spec/cooldown/noActionNeeded",
            "cooldown.noActionNeeded is 0s to 8760h",
            "8760h",
            "8761h"
        ),
        duration!(
            "spec.cooldown.manualRequired",
            "/spec/cooldown/manualRequired",
            "cooldown.manualRequired is 0s to 8760h",
            "8760h",
            "8761h"
        ),
        duration!(
            "spec.cooldown.ineffective",
            "/spec/cooldown/ineffective",
            "cooldown.ineffective is 0s to 8760h",
            "8760h",
            "8761h"
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The two selectors have one schema.
fn selector_rows() -> Vec<Row> {
    macro_rules! selector {
        ($path:literal, $at:literal) => {
            [
                rule(concat!($path, " rule: the selector states no requirement: leave it out"), $at, json!({ "matchLabels": { "a": "b" } }), json!({})),
                row(concat!($path, ".matchLabels maxProperties"), concat!($at, "/matchLabels"), map_of(32), map_of(33)),
                row(concat!($path, ".matchLabels{} maxLength"), concat!($at, "/matchLabels/key"), text(1024), text(1025)),
                rule(concat!($path, ".matchLabels rule: label names have at most 253 characters"), concat!($at, "/matchLabels"), map_with_key(253), map_with_key(254)),
                row(concat!($path, ".matchExpressions maxItems"), concat!($at, "/matchExpressions"), many(16, exists), many(17, exists)),
                row(concat!($path, ".matchExpressions minItems"), concat!($at, "/matchExpressions"), many(1, exists), json!([])),
                rule(concat!($path, ".matchExpressions[] rule: values belong to In and NotIn, and to nothing else"), concat!($at, "/matchExpressions/0"), exists(0), json!({ "key": "k", "operator": "NotIn" })),
                row(concat!($path, ".matchExpressions[].key maxLength"), concat!($at, "/matchExpressions/0/key"), text(253), text(254)),
                row(concat!($path, ".matchExpressions[].key minLength"), concat!($at, "/matchExpressions/0/key"), "k", ""),
                required(concat!($path, ".matchExpressions[].key required"), concat!($at, "/matchExpressions/0/key"), "k"),
                row(concat!($path, ".matchExpressions[].operator enum"), concat!($at, "/matchExpressions/0/operator"), "NotIn", "Equals"),
                required(concat!($path, ".matchExpressions[].operator required"), concat!($at, "/matchExpressions/0/operator"), "In"),
                row(concat!($path, ".matchExpressions[].values maxItems"), concat!($at, "/matchExpressions/0/values"), many(64, |n| json!(format!("v{n}"))), many(65, |n| json!(format!("v{n}")))),
                row(concat!($path, ".matchExpressions[].values minItems"), concat!($at, "/matchExpressions/0/values"), json!(["v"]), json!([])),
                row(concat!($path, ".matchExpressions[].values[] maxLength"), concat!($at, "/matchExpressions/0/values/0"), text(1024), text(1025)),
            ]
        };
    }
    let namespace = selector!("spec.match.namespaceSelector", "/spec/match/namespaceSelector");
    namespace.into_iter().chain(selector!("spec.match.labelSelector", "/spec/match/labelSelector")).collect()
}

fn exists(n: usize) -> Value {
    json!({ "key": format!("k{n}"), "operator": "Exists" })
}

fn status_rows() -> Vec<Row> {
    vec![
        row("status.openStorms minimum", "/status/openStorms", 0, -1),
        row("status.lastMatch format", "/status/lastMatch", TIME, "2026-02-30T15:04:05Z"),
        row(
            "status.lastMatch pattern",
            "/status/lastMatch",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
    ]
}

fn api(world: &World) -> Api<DynamicObject> {
    Api::all_with(world.client.clone(), &ApiResource::erase::<StormPolicy>(&()))
}

const DEFAULT: &str = " rule: the policy named default matches everything: leave match out";

#[test]
fn crd_policy_every_bound_has_an_example() {
    let (spec, status, conditions) = (spec_rows(), status_rows(), condition_rows());
    let rows = spec.iter().chain(&status).chain(&conditions);
    assert_all_bounds_have_examples(&StormPolicy::crd(), rows, &[DEFAULT]);
}

// A8, A23: every setting has a range, and what contradicts another is refused with a message that says why.
#[tokio::test]
async fn crd_policy_bounds_accept_one_side_and_refuse_the_other() {
    let world = World::new("crd-policy").await;
    let api = api(&world);
    let base = base(&world.namespace);
    creates_obey(&api, &base, &spec_rows()).await;
    // Never in force while other tests run: it matches nothing that exists.
    let mut quiet = base.clone();
    quiet["spec"]["match"] = json!({ "names": ["no alert has this name"] });
    api.create(&PostParams::default(), &object(&quiet)).await.unwrap();
    let status = json!({ "status": { "openStorms": 1, "lastMatch": TIME, "conditions": [condition("Accepted")] } });
    for rows in [status_rows(), condition_rows()] {
        status_writes_obey(&api, &world.namespace, &status, &rows).await;
    }
    api.delete(&world.namespace, &kube::api::DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn crd_policy_named_default_matches_everything() {
    let world = World::new("crd-policy-default").await;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let mut narrow = base("default");
    let refused = api(&world).create(&params, &object(&narrow)).await;
    super::bounds::assert_refused("a default that matches some", refused, "matches everything");
    narrow["spec"].as_object_mut().unwrap().remove("match");
    api(&world).create(&params, &object(&narrow)).await.unwrap();
}

// What is left out is what the built-in policy says, filled in by the API server itself.
#[tokio::test]
async fn crd_policy_that_says_nothing_gets_the_defaults() {
    let world = World::new("crd-policy-empty").await;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let empty = json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": "empty" }, "spec": {} });
    let filled = api(&world).create(&params, &object(&empty)).await.unwrap();
    assert_eq!(filled.name_any(), "empty");
    let spec: StormPolicySpec = serde_json::from_value(filled.data["spec"].clone()).unwrap();
    assert_eq!(spec, StormPolicySpec::default());
    assert_eq!(filled.data["spec"]["cooldown"]["manualRequired"], "24h");
}
