//! What an installed CRD lacks of what this operator was built with. Pure.
//!
//! A field that a CRD does not know is cut out of what is created, without a word, and an apply of it is refused: both look like a fault of
//! something else. More than we know is no fault: a newer CRD serves older operators.

use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};

/// One thing that is lacking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// This version of the resource is not served.
    Version(String),
    /// This subresource.
    Subresource(&'static str),
    /// This field, as `kubectl explain` takes it.
    Field(String),
    /// This value of this field.
    Value(String, String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the version {version}"),
            Self::Subresource(name) => write!(f, "the subresource {name}"),
            Self::Field(path) => write!(f, "the field {path}"),
            Self::Value(path, value) => write!(f, "the value {value} of {path}"),
        }
    }
}

/// What is lacking, in the order of the schema; empty: the CRD will do.
pub fn lacks(ours: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> Vec<Lack> {
    ours.spec.versions.iter().flat_map(|version| lacks_of(version, installed)).collect()
}

fn lacks_of(ours: &CustomResourceDefinitionVersion, installed: &CustomResourceDefinition) -> Vec<Lack> {
    let served = installed.spec.versions.iter().find(|version| version.name == ours.name && version.served);
    let Some(theirs) = served else { return vec![Lack::Version(ours.name.clone())] };
    let has_status = |version: &CustomResourceDefinitionVersion| {
        version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some())
    };
    let mut lacks = Vec::new();
    if has_status(ours) && !has_status(theirs) {
        lacks.push(Lack::Subresource("status"));
    }
    let schema = |version: &CustomResourceDefinitionVersion| {
        version.schema.as_ref().and_then(|validation| validation.open_api_v3_schema.clone()).unwrap_or_default()
    };
    compare("", &schema(ours), &schema(theirs), &mut lacks);
    lacks
}

fn compare(path: &str, ours: &JSONSchemaProps, theirs: &JSONSchemaProps, lacks: &mut Vec<Lack>) {
    if theirs.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    for (name, ours) in ours.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match theirs.properties.as_ref().and_then(|properties| properties.get(name)) {
            Some(theirs) => compare(&path, ours, theirs, lacks),
            None => lacks.push(Lack::Field(path)),
        }
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(ours)), Some(JSONSchemaPropsOrArray::Schema(theirs))) =
        (&ours.items, &theirs.items)
    {
        compare(path, ours, theirs, lacks);
    }
    if let (Some(JSONSchemaPropsOrBool::Schema(ours)), Some(JSONSchemaPropsOrBool::Schema(theirs))) =
        (&ours.additional_properties, &theirs.additional_properties)
    {
        compare(path, ours, theirs, lacks);
    }
    // Without a list of values every value will do.
    if let (Some(ours), Some(theirs)) = (&ours.enum_, &theirs.enum_) {
        let missing = ours.iter().filter(|value| !theirs.contains(value));
        lacks.extend(missing.map(|value| Lack::Value(path.to_owned(), value.0.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::crds;

    /// What the CRD of this plural lacks after this change of its JSON.
    fn after(plural: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let ours = crds().into_iter().find(|crd| crd.spec.names.plural == plural).unwrap();
        let mut installed = serde_json::to_value(&ours).unwrap();
        change(&mut installed);
        lacks(&ours, &serde_json::from_value(installed).unwrap()).iter().map(ToString::to_string).collect()
    }

    fn schema<'a>(crd: &'a mut Value, pointer: &str) -> &'a mut serde_json::Map<String, Value> {
        let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties{pointer}");
        crd.pointer_mut(&pointer).unwrap().as_object_mut().unwrap()
    }

    fn remove(crd: &mut Value, parent: &str, name: &str) {
        schema(crd, parent).remove(name).unwrap();
    }

    #[test]
    fn a_crd_as_it_was_built_lacks_nothing_and_neither_does_a_newer_one() {
        for crd in crds() {
            assert_eq!(lacks(&crd, &crd), []);
            let plural = crd.spec.names.plural.clone();
            let newer = after(&plural, |crd| {
                let more = schema(crd, "/spec/properties");
                let another = more.values().next().unwrap().clone();
                more.insert("another".into(), another);
                let mut version = crd["spec"]["versions"][0].clone();
                version["name"] = "v1".into();
                crd["spec"]["versions"].as_array_mut().unwrap().insert(0, version);
            });
            assert!(newer.is_empty(), "{plural}: {newer:?}");
        }
    }

    #[test]
    fn a_field_that_is_missing_at_any_depth_is_named_as_kubectl_explain_takes_it() {
        let storm = "/status/properties/storm/properties";
        assert_eq!(
            after("remediationrequests", |crd| remove(crd, storm, "incomplete")),
            ["the field status.storm.incomplete"]
        );
        let resource = "/spec/properties/occurrences/items/properties/resource/properties";
        assert_eq!(after("signals", |crd| remove(crd, resource, "kind")), ["the field spec.occurrences.resource.kind"]);
        assert_eq!(after("signals", |crd| remove(crd, "", "status")), ["the field status"]);
    }

    #[test]
    fn a_value_a_subresource_and_a_version_that_are_missing_are_named() {
        let reason = "/status/properties/storm/properties/closeReason";
        let no_value = after("remediationrequests", |crd| {
            schema(crd, reason)["enum"].as_array_mut().unwrap().retain(|value| value != "Requested");
        });
        assert_eq!(no_value, ["the value \"Requested\" of status.storm.closeReason"]);
        let no_status = after("signals", |crd| crd["spec"]["versions"][0]["subresources"] = Value::Null);
        assert_eq!(no_status, ["the subresource status"]);
        for (field, value) in [("served", Value::Bool(false)), ("name", "v1alpha0".into())] {
            let no_version = after("signals", |crd| crd["spec"]["versions"][0][field] = value);
            assert_eq!(no_version, ["the version v1alpha1"]);
        }
    }

    #[test]
    fn what_keeps_unknown_fields_lacks_none() {
        let kept = after("remediationrequests", |crd| {
            let status = schema(crd, "/status");
            status.remove("properties");
            status.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        });
        assert!(kept.is_empty(), "{kept:?}");
    }
}
