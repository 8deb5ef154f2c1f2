//! What the ledger keeps and what the object shows are the same facts: the translations between them.
//!
//! `to_storm_metadata(&from_storm_metadata(&m, &opening, …)) == Some(m)`, and `opening_of` gives the opening back.

use std::collections::BTreeMap;
use std::sync::Arc;

use stormfold_core::storm::example::Example;
use stormfold_core::storm::metadata::count;
use stormfold_core::storm::name::{sanitize_label_value, storm_name};
use stormfold_core::storm::resource::{extract_resource_name, parse_resource_name};
use stormfold_core::storm::{Epoch, Opening, Resource, Said, StormMetadata};

use crate::{
    AffectedResource, GROUP, OccurrenceState, OpeningAlert, OpeningSignal, PolicyRef, PreviousRef, RemediationRequest,
    RemediationRequestSpec, RemediationRequestStatus, StormExample, StormState, StormStatus,
};

/// The opening of a storm whose object is in the cluster.
pub fn opening_of(object: &RemediationRequest) -> Opening {
    let spec = &object.spec;
    Opening {
        object_namespace: object.metadata.namespace.clone().unwrap_or_default(),
        pattern: spec.pattern.clone(),
        signal_name: spec.signal.name.clone(),
        source_kind: spec.signal.source_kind.clone(),
        namespace: spec.namespace.clone(),
        cluster: spec.cluster.clone(),
        severity: spec.severity,
        group_labels: spec.group_labels.clone(),
        policy: spec.policy_ref.name.clone(),
        said: Arc::new(spec.alert.as_ref().map(said).unwrap_or_default()),
    }
}

/// The object of a storm, whole: its spec from the opening, `status.storm` from the metadata, revision 1.
pub fn from_storm_metadata(
    metadata: &StormMetadata,
    opening: &Opening,
    epoch: Epoch,
    previous: Option<String>,
) -> RemediationRequest {
    let spec = RemediationRequestSpec {
        pattern: opening.pattern.clone(),
        storm_key: opening.key().to_hex(),
        epoch,
        signal: OpeningSignal { name: opening.signal_name.clone(), source_kind: opening.source_kind.clone() },
        namespace: opening.namespace.clone(),
        cluster: opening.cluster.clone(),
        severity: opening.severity,
        alert: alert(&opening.said),
        group_labels: opening.group_labels.clone(),
        policy_ref: PolicyRef { name: opening.policy.clone() },
        previous_ref: previous.map(|name| PreviousRef { name }),
    };
    let mut object = RemediationRequest::new(&storm_name(&opening.pattern, epoch), spec);
    object.metadata.namespace = Some(opening.object_namespace.clone());
    object.metadata.labels = Some(labels(opening));
    object.status = Some(RemediationRequestStatus {
        storm: Some(storm_status(metadata, &opening.namespace, 1)),
        ..Default::default()
    });
    object
}

fn alert(Said { labels, annotations, generator_url }: &Said) -> Option<OpeningAlert> {
    let alert =
        OpeningAlert { labels: labels.clone(), annotations: annotations.clone(), generator_url: generator_url.clone() };
    Some(alert).filter(|alert| *alert != OpeningAlert::default())
}

/// In bounds again: whoever may create a RemediationRequest has not necessarily kept them.
fn said(OpeningAlert { labels, annotations, generator_url }: &OpeningAlert) -> Said {
    Said::new(labels, annotations, generator_url.as_deref())
}

/// Labels for people's selectors. Nothing of ours looks anything up by them: they are shortened (case C11).
fn labels(opening: &Opening) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "stormfold".to_owned()),
        (format!("{GROUP}/signal"), sanitize_label_value(&opening.signal_name)),
        (format!("{GROUP}/namespace"), sanitize_label_value(&opening.namespace)),
    ]);
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// A namespace that texts of resources are read in; the empty one is that of cluster-scoped trouble.
fn scope(namespace: &str) -> Option<&str> {
    Some(namespace).filter(|namespace| !namespace.is_empty())
}

/// The resource that a text says in a storm of this namespace. `None`: it says none.
fn affected_resource(text: &str, namespace: &str) -> Option<AffectedResource> {
    let Resource { api_version, kind, namespace, name } = parse_resource_name(text, scope(namespace)).ok()?;
    Some(AffectedResource {
        api_version: api_version.map(str::to_owned),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    })
}

/// The text of a resource in a storm of this namespace. `None`: none that could be there is called so.
fn resource_text(resource: &AffectedResource, namespace: &str) -> Option<String> {
    let AffectedResource { api_version, kind, namespace: own, name } = resource;
    let own = own.as_deref().unwrap_or_default();
    let resource = Resource::new(api_version.as_deref(), kind, Some(own), name, None).ok()?;
    Some(extract_resource_name(&resource, scope(namespace)))
}

/// An alert of a storm of this namespace, as it is shown.
pub fn storm_example(example: &Example, namespace: &str) -> StormExample {
    StormExample {
        fingerprint: example.fingerprint.clone(),
        state: OccurrenceState::Firing,
        starts_at: example.starts_at.map(Into::into),
        labels: example.labels.clone(),
        summary: example.summary.clone(),
        resource: example.resource.as_ref().and_then(|text| affected_resource(text, namespace)),
    }
}

/// `status.storm` of an open storm of this namespace.
pub fn storm_status(metadata: &StormMetadata, namespace: &str, revision: i64) -> StormStatus {
    let affected: Vec<_> =
        metadata.affected_resources.iter().filter_map(|text| affected_resource(text, namespace)).collect();
    StormStatus {
        state: StormState::Open,
        alert_count: count(metadata.alert_count),
        firing_count: count(metadata.firing),
        affected_count: count(metadata.affected_count),
        truncated: metadata.affected_count > affected.len(),
        affected_resources: affected,
        examples: Vec::new(),
        incomplete: metadata.incomplete,
        severity: metadata.severity,
        first_seen: metadata.first_seen.into(),
        last_seen: metadata.last_seen.into(),
        revision,
        closed_at: None,
        close_reason: None,
    }
}

/// The facts that an object shows; `None` while it has no `status.storm`.
pub fn to_storm_metadata(object: &RemediationRequest) -> Option<StormMetadata> {
    let storm = object.status.as_ref()?.storm.as_ref()?;
    let namespace = &object.spec.namespace;
    let texts = storm.affected_resources.iter().filter_map(|resource| resource_text(resource, namespace));
    Some(StormMetadata {
        pattern: object.spec.pattern.clone(),
        alert_count: usize::try_from(storm.alert_count).unwrap_or_default(),
        firing: usize::try_from(storm.firing_count).unwrap_or_default(),
        affected_count: usize::try_from(storm.affected_count).unwrap_or_default(),
        affected_resources: texts.collect(),
        first_seen: storm.first_seen.0,
        last_seen: storm.last_seen.0,
        severity: storm.severity,
        incomplete: storm.incomplete,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use stormfold_core::storm::Sample;
    use stormfold_core::storm::sample::MAX_AFFECTED;

    use super::*;
    use crate::Severity;

    fn time() -> impl Strategy<Value = Timestamp> {
        (0..4_000_000_000i64).prop_map(|s| Timestamp::from_second(s).unwrap())
    }

    fn metadata() -> impl Strategy<Value = StormMetadata> {
        let severity =
            prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]);
        let path = "(/apis/apps/v[12]/namespaces/[a-m]{1,9}/|/api/v2/|/namespaces/[a-m]{1,9}/|/)?[A-Z][a-z]{1,8}/[a-z0-9]{1,10}";
        let resources = prop::collection::btree_set(path, 0..20);
        let flags = (severity, any::<bool>());
        (1..100_000usize, 0..100_000usize, 0..1000usize, resources, time(), time(), flags).prop_map(
            |(alerts, firing, more, resources, first_seen, last_seen, (severity, incomplete))| StormMetadata {
                pattern: "X in prod".into(),
                alert_count: alerts,
                firing: firing.min(alerts),
                affected_count: resources.len() + more,
                affected_resources: Sample::of(MAX_AFFECTED, resources.iter().map(String::as_str)).texts(),
                first_seen,
                last_seen,
                severity,
                incomplete,
            },
        )
    }

    fn plain() -> StormMetadata {
        StormMetadata {
            pattern: "X in prod".into(),
            alert_count: 2,
            firing: 2,
            affected_count: 0,
            affected_resources: vec![],
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
            severity: Severity::Critical,
            incomplete: false,
        }
    }

    fn opening() -> Opening {
        Opening {
            object_namespace: "prod".into(),
            pattern: "X in prod".into(),
            signal_name: "X".into(),
            source_kind: Some("probe".into()),
            namespace: "prod".into(),
            cluster: None,
            severity: Severity::Warning,
            group_labels: BTreeMap::from([("name".into(), "X".into())]),
            policy: "default".into(),
            said: Arc::new(Said {
                labels: BTreeMap::from([("job".into(), "api".into())]),
                annotations: BTreeMap::from([("summary".into(), "It burns".into())]),
                generator_url: Some("https://prometheus.example/graph".into()),
            }),
        }
    }

    proptest! {
        // B6, B10, B11: the object is whole by construction, and nothing is lost on the way there and back.
        #[test]
        fn to_storm_metadata_is_the_inverse_of_from_storm_metadata(m in metadata(), epoch in 1i64..4_000_000_000) {
            let object = from_storm_metadata(&m, &opening(), epoch, Some("before".into()));
            prop_assert_eq!(to_storm_metadata(&object), Some(m));
            prop_assert_eq!(opening_of(&object), opening());
            let json = serde_json::to_value(&object).unwrap();
            let back: RemediationRequest = serde_json::from_value(json).unwrap();
            prop_assert_eq!(back, object);
        }
    }

    // What others wrote is no reason not to read the object, and what is no resource is not shown as one.
    #[test]
    fn odd_entries_of_affected_resources_are_left_out() {
        let m = StormMetadata {
            affected_resources: vec![
                "Pod/a".into(),
                "nothing".into(),
                "/apis/apps/v1/namespaces/web/Deployment/b".into(),
            ],
            ..plain()
        };
        let mut json = serde_json::to_value(from_storm_metadata(&m, &opening(), 7, None)).unwrap();
        let shown = &mut json["status"]["storm"]["affectedResources"];
        assert_eq!(
            *shown,
            serde_json::json!([
                { "kind": "Pod", "namespace": "prod", "name": "a" },
                { "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "web", "name": "b" },
            ])
        );
        let odd = serde_json::json!(["Pod/old", 7, null, { "kind": "Pod" }, { "kind": "pod x", "name": "a b" }]);
        shown.as_array_mut().unwrap().extend(odd.as_array().unwrap().clone());
        let object: RemediationRequest = serde_json::from_value(json.clone()).unwrap();
        let read = to_storm_metadata(&object).unwrap().affected_resources;
        assert_eq!(read, ["Pod/a", "/apis/apps/v1/namespaces/web/Deployment/b"]);
        for none in [serde_json::json!(null), serde_json::json!([])] {
            json["status"]["storm"]["affectedResources"] = none;
            let object: RemediationRequest = serde_json::from_value(json.clone()).unwrap();
            assert!(to_storm_metadata(&object).unwrap().affected_resources.is_empty());
        }
    }

    // B1, B4, B5, B9: scope, name and severity of the opening stay what they were; the storm's severity is a fact apart.
    #[test]
    fn severity_and_scope_of_the_storm_do_not_follow_the_latest_signal() {
        let m = plain();
        let object = from_storm_metadata(&m, &opening(), 7, None);
        assert_eq!(object.spec.severity, Severity::Warning);
        assert_eq!(object.status.unwrap().storm.unwrap().severity, Severity::Critical);
        assert_eq!((object.spec.namespace.as_str(), object.spec.signal.name.as_str()), ("prod", "X"));
    }
}
