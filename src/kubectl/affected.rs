//! The affected resources of a storm, as `status.storm` shows them: the one place that reads them.

use std::collections::BTreeMap;

use crate::api::{AffectedResource, RemediationRequest};

/// A resource that a storm affects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AffectedItem {
    /// `None`: it is in no namespace.
    pub(super) namespace: Option<String>,
    pub(super) kind: String,
    pub(super) name: String,
}

/// The sample of affected resources that a storm shows.
pub(super) fn affected(request: &RemediationRequest) -> Vec<AffectedItem> {
    let storm = request.status.as_ref().and_then(|status| status.storm.as_ref());
    let read = |AffectedResource { api_version: _, kind, namespace, name }: &AffectedResource| AffectedItem {
        namespace: namespace.clone(),
        kind: kind.clone(),
        name: name.clone(),
    };
    storm.iter().flat_map(|storm| &storm.affected_resources).map(read).collect()
}

/// The same by namespace and kind, both in the order of the alphabet.
pub(super) fn by_place(items: Vec<AffectedItem>) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut places = BTreeMap::<String, BTreeMap<String, Vec<String>>>::new();
    for AffectedItem { namespace, kind, name } in items {
        let namespace = namespace.unwrap_or_else(|| "(cluster)".to_owned());
        places.entry(namespace).or_default().entry(kind).or_default().push(name);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::fixtures::request;

    #[test]
    fn resources_are_told_by_namespace_and_kind() {
        let mut object = request("HighLatency", 7);
        let resource = |kind: &str, namespace: Option<&str>, name: &str| AffectedResource {
            api_version: None,
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        object.status.as_mut().unwrap().storm.as_mut().unwrap().affected_resources = vec![
            resource("Pod", Some("shop"), "a"),
            resource("Pod", Some("web"), "b"),
            resource("Node", None, "n1"),
            resource("Pod", Some("shop"), "c"),
        ];
        let places = by_place(affected(&object));
        let lines: Vec<String> = places
            .iter()
            .flat_map(|(namespace, kinds)| {
                kinds.iter().map(move |(kind, names)| format!("{namespace} {kind} {names:?}"))
            })
            .collect();
        assert_eq!(lines, [r#"(cluster) Node ["n1"]"#, r#"shop Pod ["a", "c"]"#, r#"web Pod ["b"]"#]);
    }
}
