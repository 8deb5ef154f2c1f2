//! The JSON values of the original design, before and after its optimisation, as their scripts leave them.

use serde_json::{Map, Value, json};

use super::generator::{PATTERN, Resources, base36, mix};

/// Which form of the original design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The whole object: some 28 KB without resources, of 30 fields, maps of labels and annotations, nested data and a payload of 12 KB.
    Before,
    /// Five fields.
    After,
}

impl Form {
    /// The value of a storm with this many occurrences.
    pub fn document(self, storm: u32, occurrences: u32, resources: Resources) -> String {
        let affected: Vec<Value> = (0..resources.affected(occurrences))
            .map(|occurrence| match self {
                Self::Before => pod(storm, occurrence, resources),
                Self::After => format!("Pod/{}", resources.pod(storm, occurrence)).into(),
            })
            .collect();
        let metadata = json!({
            "pattern": PATTERN, "alertCount": occurrences, "affectedResources": affected,
            "firstSeen": time(0), "lastSeen": time(occurrences.saturating_sub(1)),
        });
        let document = match self {
            Self::Before => object(storm, &metadata),
            Self::After => metadata,
        };
        // The script's encoder writes a slash as two characters.
        document.to_string().replace('/', "\\/")
    }

    /// The resource as the script expects it.
    pub fn resource(self, storm: u32, occurrence: u32, resources: Resources) -> String {
        match self {
            Self::Before => pod(storm, occurrence, resources).to_string(),
            Self::After => format!("Pod/{}", resources.pod(storm, occurrence)),
        }
    }

    /// How many alerts and resources a value has.
    pub fn counts(self, document: &str) -> Option<(u64, usize)> {
        let document: Value = serde_json::from_str(document).ok()?;
        let metadata = match self {
            Self::Before => &document["spec"]["stormAggregation"],
            Self::After => &document,
        };
        Some((metadata["alertCount"].as_u64()?, metadata["affectedResources"].as_array()?.len()))
    }
}

/// When an occurrence was seen.
pub fn time(occurrence: u32) -> String {
    let (minutes, seconds) = (occurrence / 6_000 % 60, occurrence / 100 % 60);
    format!("2026-11-23T10:{minutes:02}:{seconds:02}.{:03}Z", occurrence * 10 % 1_000)
}

fn pod(storm: u32, occurrence: u32, resources: Resources) -> Value {
    json!({ "kind": "Pod", "name": resources.pod(storm, occurrence), "namespace": "prod-payments" })
}

fn object(storm: u32, aggregation: &Value) -> Value {
    let mut spec = json!({
        "signalLabels": map("label", 40, 40), "signalAnnotations": map("annotation", 30, 120),
        "providerData": { "cluster": map("c", 40, 30), "raw": map("raw", 60, 40) },
        "originalPayload": base36(mix(9), 12).repeat(1_000), "isStorm": true, "stormAlertCount": 1,
        "stormAggregation": aggregation,
    });
    for field in 0..22u32 {
        spec[format!("field{field:02}")] = base36(mix(field.into()), 12).repeat(4).into();
    }
    json!({
        "apiVersion": "remediation.example.org/v1alpha1", "kind": "RemediationRequest",
        "metadata": {
            "name": format!("storm-{storm}"), "namespace": "prod-payments",
            "labels": map("l", 10, 30), "annotations": map("a", 10, 60),
        },
        "spec": spec, "status": { "phase": "Pending" },
    })
}

/// So many entries with values of this length.
fn map(prefix: &str, entries: u32, length: usize) -> Map<String, Value> {
    let value = |entry: u32| base36(mix(entry.into()), 12).chars().cycle().take(length).collect::<String>();
    (0..entries).map(|entry| (format!("{prefix}.example.org/key-{entry}"), value(entry).into())).collect()
}
