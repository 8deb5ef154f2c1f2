//! Invariant 16 begins at the schema: nothing in a CRD is of any length.

use serde_json::Value;
use stormfold::api::crds;

/// What is wrong with a schema, and with the schemas in it.
fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
    let lacks = |keyword: &str| schema[keyword].is_null();
    match schema["type"].as_str() {
        Some("string") if lacks("enum") && lacks("format") && lacks("maxLength") => {
            found.push(format!("{path}: maxLength"));
        }
        Some("array") if lacks("maxItems") => found.push(format!("{path}: maxItems")),
        Some("object") if !lacks("additionalProperties") => {
            let rules = schema["x-kubernetes-validations"].as_array();
            let bounds_keys = |rule: &Value| rule["rule"].as_str().is_some_and(|rule| rule.contains("key.size() <="));
            if lacks("maxProperties") {
                found.push(format!("{path}: maxProperties"));
            }
            // OpenAPI in Kubernetes has no propertyNames: a rule must do it.
            if !rules.is_some_and(|rules| rules.iter().any(bounds_keys)) {
                found.push(format!("{path}: a rule for the length of keys"));
            }
        }
        // Free-form objects would be bounded by nothing.
        Some("object") if lacks("properties") => found.push(format!("{path}: properties")),
        _ => {}
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true || schema["x-kubernetes-int-or-string"] == true {
        found.push(format!("{path}: a type"));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        unbounded(property, &format!("{path}.{name}"), found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            unbounded(&schema[inner], &format!("{path}.{inner}"), found);
        }
    }
}

#[test]
fn every_string_list_and_map_of_a_crd_has_a_bound() {
    let mut found = Vec::new();
    for crd in crds() {
        for version in &crd.spec.versions {
            let schema = serde_json::to_value(&version.schema).unwrap();
            let path = format!("{} {}", crd.spec.names.kind, version.name);
            unbounded(&schema["openAPIV3Schema"], &path, &mut found);
        }
    }
    assert!(found.is_empty(), "without a bound: {found:#?}");
}

#[test]
fn a_missing_bound_is_found() {
    let schema = serde_json::json!({ "type": "object", "properties": {
        "text": { "type": "string" },
        "list": { "type": "array", "maxItems": 3, "items": { "type": "string" } },
        "map": { "type": "object", "maxProperties": 3, "additionalProperties": { "type": "string", "maxLength": 1 } },
        "fine": { "type": "string", "format": "date-time" },
    } });
    let mut found = Vec::new();
    unbounded(&schema, "Kind", &mut found);
    found.sort();
    assert_eq!(
        found,
        ["Kind.list.items: maxLength", "Kind.map: a rule for the length of keys", "Kind.text: maxLength"]
    );
}
