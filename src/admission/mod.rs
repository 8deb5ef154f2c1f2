//! What the API server says of an object in a file: the schema of its CRD, field by field, and its rules, without an API server.
//!
//! A replay and the tests of policies take what a cluster would take and refuse what it would refuse, unknown fields included, as `kubectl
//! apply` does. The schema is the one that `stormfold crds` prints; its CEL rules are restated in `rules`, and a rule that is not is a fault
//! of this program that a test finds.

mod rules;
mod schema;

use std::fmt;
use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::{Signal, StormPolicy};
use schema::{ObjectSchema, shown};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// `spec.groupBy[0]`; empty: the object as a whole.
    pub field: String,
    /// What is there, cut; empty: nothing.
    pub seen: String,
    /// What should be.
    pub wrong: String,
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, seen, wrong } = self;
        match (field.is_empty(), seen.is_empty()) {
            (true, _) => f.write_str(wrong),
            (false, true) => write!(f, "{field}: {wrong}"),
            (false, false) => write!(f, "{field} is {seen}: {wrong}"),
        }
    }
}

static SIGNAL: LazyLock<ObjectSchema> = LazyLock::new(|| ObjectSchema::of(&Signal::crd()));
static POLICY: LazyLock<ObjectSchema> = LazyLock::new(|| ObjectSchema::of(&StormPolicy::crd()));

/// The StormPolicy that this is, with every default, or all that the API server would refuse.
pub fn admit_policy(object: Value) -> Result<StormPolicy, Vec<FieldFault>> {
    admit(&POLICY, object)
}

/// The Signal that this is; one without a namespace is in `default`.
pub fn admit_signal(mut object: Value) -> Result<Signal, Vec<FieldFault>> {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("namespace").or_insert_with(|| "default".into());
    }
    admit(&SIGNAL, object)
}

fn admit<K: DeserializeOwned>(schema: &ObjectSchema, mut object: Value) -> Result<K, Vec<FieldFault>> {
    let mut faults = name_faults(&object);
    schema.admit(&mut object, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let unreadable = |fault: serde_json::Error| {
        vec![FieldFault { field: String::new(), seen: String::new(), wrong: format!("cannot be read: {fault}") }]
    };
    serde_json::from_value(object).map_err(unreadable)
}

/// What is wrong with the names of an object, which no schema says.
fn name_faults(object: &Value) -> Vec<FieldFault> {
    let none = Map::new();
    let metadata = object.get("metadata").and_then(Value::as_object).unwrap_or(&none);
    let mut faults = Vec::new();
    match metadata.get("name") {
        Some(Value::String(name)) if is_subdomain(name) => {}
        Some(other) => faults.push(FieldFault {
            field: "metadata.name".to_owned(),
            seen: shown(other),
            wrong: "write lower-case letters, digits, hyphens and dots, at most 253".to_owned(),
        }),
        None => faults.push(FieldFault {
            field: "metadata.name".to_owned(),
            seen: String::new(),
            wrong: "is missing: give the object a name".to_owned(),
        }),
    }
    match metadata.get("namespace") {
        None => {}
        Some(Value::String(name)) if crate::storm::resource::is_dns_label(name) => {}
        Some(other) => faults.push(FieldFault {
            field: "metadata.namespace".to_owned(),
            seen: shown(other),
            wrong: "write lower-case letters, digits and hyphens, at most 63".to_owned(),
        }),
    }
    faults
}

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let ends = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|byte| ends(*byte))
            && bytes.last().is_some_and(|byte| ends(*byte))
            && bytes.iter().all(|byte| ends(*byte) || *byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
