//! Bounds that a derive cannot express: on the values of maps, and on types that are not ours.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Label values: as long as Prometheus' longest useful ones.
pub(super) fn label_map(_: &mut SchemaGenerator) -> Schema {
    string_map(64, 1024)
}

/// Annotation values: a summary, a description, a link.
pub(super) fn annotation_map(_: &mut SchemaGenerator) -> Schema {
    string_map(32, 4096)
}

/// Labels of the opening alert.
pub(super) fn said_labels(_: &mut SchemaGenerator) -> Schema {
    string_map(64, 256)
}

/// Annotations of the opening alert.
pub(super) fn said_annotations(_: &mut SchemaGenerator) -> Schema {
    string_map(32, 1024)
}

/// Labels of an example.
pub(super) fn example_labels(_: &mut SchemaGenerator) -> Schema {
    string_map(16, 256)
}

/// Labels that a selector asks for.
pub(super) fn selector_labels(_: &mut SchemaGenerator) -> Schema {
    string_map(32, 1024)
}

/// `30s`, `10m`, `6h`, `1h30m`, `500ms`: what Go, the API server's CEL and jiff read alike.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "maxLength": 24,
        "pattern": r"^([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,6}ms)?$",
    })
}

fn string_map(entries: u32, characters: u32) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": entries,
        "additionalProperties": { "type": "string", "maxLength": characters },
    })
}

/// The times that every reader can read. `format: date-time` alone lets in offsets of 99 hours and years that have no UTC, and an
/// object with one of those can be read by nobody who has a type for it.
const TIME: &str = r"^([0-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// The same, to the microsecond: what is finer would be lost unseen.
const MICRO_TIME: &str = r"^([0-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "pattern": TIME })
}

pub(super) fn optional_time(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = time(generator);
    schema.insert("nullable".into(), true.into());
    schema
}

pub(super) fn optional_micro_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "pattern": MICRO_TIME, "nullable": true })
}

/// Conditions, bounded as in Kubernetes' own `metav1.Condition`; k8s-openapi's type carries no bounds.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state, as in all Kubernetes APIs.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "minLength": 1, "maxLength": 316, "description": "The aspect." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, in one word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, for people." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "pattern": TIME,
                    "description": "When status last changed." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The metadata.generation that it is about." },
            },
        },
    })
}
