//! The affected resources of a storm, as `status.storm` shows them: the one place that reads them.

use std::collections::BTreeMap;

use crate::api::RemediationRequest;
use crate::storm::resource::parse_resource_name;

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
    let scope = Some(request.spec.namespace.as_str()).filter(|scope| !scope.is_empty());
    let read = |text: &String| match parse_resource_name(text, scope) {
        Ok(resource) => AffectedItem {
            namespace: resource.namespace.map(str::to_owned),
            kind: resource.kind.to_owned(),
            name: resource.name.to_owned(),
        },
        // Somebody else wrote it.
        Err(_) => AffectedItem { namespace: None, kind: "?".to_owned(), name: text.clone() },
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
        object.status.as_mut().unwrap().storm.as_mut().unwrap().affected_resources =
            vec!["Pod/a".into(), "/namespaces/web/Pod/b".into(), "/Node/n1".into(), "Pod/c".into()];
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
