//! One accepted and one refused example for each bound of a CRD, and the list of bounds that the examples must cover.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, Error};
use serde_json::{Value, json};
use stormfold::admission::{admit_policy, admit_signal};

use super::world::World;

/// Two examples for one bound.
pub struct Row {
    /// As [`bounds_of`] writes it: `spec.name maxLength`.
    bound: &'static str,
    /// JSON pointer of what differs from the base object.
    at: &'static str,
    accepted: Value,
    /// None: the field is left out.
    refused: Option<Value>,
    /// What the refusal must say.
    says: String,
}

/// Examples of one field, whose name the refusal must say.
pub fn row(bound: &'static str, at: &'static str, accepted: impl Into<Value>, refused: impl Into<Value>) -> Row {
    Row { bound, at, accepted: accepted.into(), refused: Some(refused.into()), says: field(at) }
}

/// A field that must be there.
pub fn required(bound: &'static str, at: &'static str, accepted: impl Into<Value>) -> Row {
    Row { bound, at, accepted: accepted.into(), refused: None, says: field(at) }
}

/// Examples of a CEL rule, whose own message is the refusal.
pub fn rule(bound: &'static str, at: &'static str, accepted: Value, refused: Value) -> Row {
    let says = bound.split_once("rule: ").map_or(bound, |(_, message)| message).to_owned();
    Row { bound, at, accepted, refused: Some(refused), says }
}

/// Text of this many characters, valid wherever letters are.
pub fn text(characters: usize) -> String {
    "a".repeat(characters)
}

/// A map of this many entries.
pub fn map_of(entries: usize) -> Value {
    (0..entries).map(|n| (format!("key{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
}

/// A map with one key of this many characters.
pub fn map_with_key(characters: usize) -> Value {
    json!({ text(characters): "v" })
}

/// The raw API of a kind, for objects that its type could not hold.
pub fn raw<K: CustomResourceExt + kube::Resource<DynamicType = ()>>(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::erase::<K>(&()))
}

/// The object that this JSON says.
pub fn object(json: &Value) -> DynamicObject {
    serde_json::from_value(json.clone()).unwrap()
}

/// Creates each example of `rows` as a change of `base`, with dryRun: nothing stays.
pub async fn creates_obey(api: &Api<DynamicObject>, base: &Value, rows: &[Row]) {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    for row in rows {
        let (good, bad) = row.examples(base);
        row.same_without_a_cluster(&good, &bad);
        row.judge(api.create(&params, &object(&good)).await, api.create(&params, &object(&bad)).await);
    }
}

/// Writes each example of `rows`, whose pointers begin with /status, as the status of `name`, with dryRun.
pub async fn status_writes_obey(api: &Api<DynamicObject>, name: &str, base: &Value, rows: &[Row]) {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    for row in rows {
        let (good, bad) = row.examples(base);
        let accepted = api.patch_status(name, &params, &Patch::Merge(&good)).await;
        row.judge(accepted, api.patch_status(name, &params, &Patch::Merge(&bad)).await);
    }
}

impl Row {
    fn examples(&self, base: &Value) -> (Value, Value) {
        let (mut good, mut bad) = (base.clone(), base.clone());
        put(&mut good, self.at, Some(self.accepted.clone()));
        put(&mut bad, self.at, self.refused.clone());
        (good, bad)
    }

    /// What reads files says the same as the API server.
    fn same_without_a_cluster(&self, good: &Value, bad: &Value) {
        let admit = |object: &Value| match object["kind"].as_str() {
            Some("Signal") => admit_signal(object.clone()).map(drop),
            Some("StormPolicy") => admit_policy(object.clone()).map(drop),
            _ => Err(Vec::new()),
        };
        if !["Signal", "StormPolicy"].contains(&good["kind"].as_str().unwrap_or_default()) {
            return;
        }
        assert_eq!(admit(good), Ok(()), "{}", self.bound);
        let told: Vec<_> = admit(bad).expect_err(self.bound).iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(&self.says)), "{}: {told:?}", self.bound);
    }

    fn judge(&self, accepted: Result<DynamicObject, Error>, refused: Result<DynamicObject, Error>) {
        if let Err(error) = accepted {
            panic!("{}: refused, and should not be: {error}", self.bound);
        }
        assert_refused(self.bound, refused, &self.says);
    }
}

/// A refusal for good, in words that contain `says`.
pub fn assert_refused<T: std::fmt::Debug>(what: &str, result: Result<T, Error>, says: &str) {
    match result {
        Err(Error::Api(status)) => {
            assert!(matches!(status.code, 400 | 422), "{what}: {} {}", status.code, status.message);
            assert!(status.message.contains(says), "{what}: {says:?} is not in {:?}", status.message);
        }
        other => panic!("{what}: not refused: {other:?}"),
    }
}

/// `/spec/occurrences/0/state` as the API server writes it: `spec.occurrences[0].state`.
fn field(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        if step.parse::<usize>().is_ok() {
            path = format!("{path}[{step}]");
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(step);
        }
    }
    path
}

fn put(object: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("the base object has no {parent}"));
    match (parent, value) {
        (Value::Array(items), Some(value)) => items[last.parse::<usize>().unwrap()] = value,
        (Value::Object(fields), Some(value)) => drop(fields.insert(last.to_owned(), value)),
        (Value::Object(fields), None) => drop(fields.remove(last)),
        other => panic!("{pointer}: {other:?}"),
    }
}

/// Fails when `rows` leave out a bound of the CRD, or have one that is not there.
pub fn assert_all_bounds_have_examples<'a>(
    crd: &CustomResourceDefinition,
    rows: impl IntoIterator<Item = &'a Row>,
    elsewhere: &[&str],
) {
    let mut covered: BTreeSet<String> = rows.into_iter().map(|row| row.bound.to_owned()).collect();
    covered.extend(elsewhere.iter().map(|&bound| bound.to_owned()));
    let bounds = bounds_of(crd);
    let missing: Vec<_> = bounds.difference(&covered).collect();
    let unknown: Vec<_> = covered.difference(&bounds).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without examples: {missing:#?}\nno such bound: {unknown:#?}");
}

fn bounds_of(crd: &CustomResourceDefinition) -> BTreeSet<String> {
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let mut found = BTreeSet::new();
    collect(&schema["openAPIV3Schema"], "", &mut found);
    found
}

fn collect(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    const KEYWORDS: [&str; 8] =
        ["maxLength", "minLength", "pattern", "enum", "maxItems", "minItems", "maxProperties", "minimum"];
    let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    found.extend(KEYWORDS.iter().filter(|keyword| !schema[**keyword].is_null()).map(|k| format!("{path} {k}")));
    if schema["format"] == "date-time" {
        found.insert(format!("{path} format"));
    }
    if schema["x-kubernetes-list-type"] == "map" {
        found.insert(format!("{path} list-map-keys"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        found.insert(format!("{} required", inner(name.as_str().unwrap())));
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert(format!("{path} rule: {}", rule["message"].as_str().unwrap()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        collect(property, &inner(name), found);
    }
    if schema["items"].is_object() {
        collect(&schema["items"], &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        collect(&schema["additionalProperties"], &format!("{path}{{}}"), found);
    }
}

/// Examples of every bound of a `status.conditions`.
pub fn condition_rows() -> Vec<Row> {
    let conditions = |n: usize| -> Value { (0..n).map(|n| condition(&format!("Type{n}"))).collect() };
    vec![
        row("status.conditions maxItems", "/status/conditions", conditions(16), conditions(17)),
        row(
            "status.conditions list-map-keys",
            "/status/conditions",
            conditions(2),
            json!([condition("Twice"), condition("Twice")]),
        ),
        row("status.conditions[].type maxLength", "/status/conditions/0/type", text(316), text(317)),
        row("status.conditions[].type minLength", "/status/conditions/0/type", "A", ""),
        row("status.conditions[].status enum", "/status/conditions/0/status", "Unknown", "true"),
        row("status.conditions[].reason maxLength", "/status/conditions/0/reason", text(1024), text(1025)),
        row("status.conditions[].reason minLength", "/status/conditions/0/reason", "A", ""),
        row("status.conditions[].message maxLength", "/status/conditions/0/message", text(32768), text(32769)),
        row(
            "status.conditions[].lastTransitionTime format",
            "/status/conditions/0/lastTransitionTime",
            TIME,
            "2026-02-30T15:04:05Z",
        ),
        row(
            "status.conditions[].lastTransitionTime pattern",
            "/status/conditions/0/lastTransitionTime",
            "0001-01-01T00:00:00.123456789+23:59",
            "2026-01-02T15:04:05+99:99",
        ),
        row("status.conditions[].observedGeneration minimum", "/status/conditions/0/observedGeneration", 0, -1),
        required("status.conditions[].type required", "/status/conditions/0/type", "A"),
        required("status.conditions[].status required", "/status/conditions/0/status", "True"),
        required("status.conditions[].reason required", "/status/conditions/0/reason", "A"),
        required("status.conditions[].message required", "/status/conditions/0/message", ""),
        required("status.conditions[].lastTransitionTime required", "/status/conditions/0/lastTransitionTime", TIME),
    ]
}

/// A time.
pub const TIME: &str = "2026-01-02T15:04:05Z";

/// A condition with all its fields.
pub fn condition(type_: &str) -> Value {
    json!({ "type": type_, "status": "True", "reason": "Because", "message": "", "lastTransitionTime": TIME, "observedGeneration": 1 })
}
