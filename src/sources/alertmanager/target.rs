//! What an alert is about: its name, how bad it is, where, and which resource. Read from its labels alone, by the rules of `targets.yaml`.

use std::borrow::Cow;

use super::rules::{Finding, Named, SignMemo, TargetRules};
use crate::sources::draft::LabelPairs;
use crate::sources::text::{clean_name, is_blank};
use crate::storm::{Resource, Severity};

/// As `spec.name` of a Signal.
const MAX_NAME: usize = 200;
/// As `spec.cluster`.
const MAX_CLUSTER: usize = 100;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) severity: Severity,
    /// `None`: cluster-scoped.
    pub(super) namespace: Option<&'a str>,
    pub(super) cluster: Option<Cow<'a, str>>,
    /// `None`: the alert names no resource.
    pub(super) target: Option<AlertTarget<'a>>,
    /// The rule that says so, and where it is from. `None`: no rule is for the alert.
    pub(super) rule: Option<(&'a str, &'a str)>,
    /// Why it is dropped.
    pub(super) drop: Option<&'a str>,
}

/// The resource that an alert names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertTarget<'a> {
    pub(super) api_version: Option<Cow<'a, str>>,
    pub(super) kind: Cow<'a, str>,
    /// The empty text: in none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl AlertTarget<'_> {
    /// It as a resource, if an object can be called that.
    pub(super) fn resource<'b>(&'b self, scope: Option<&'b str>) -> Option<Resource<'b>> {
        Resource::new(self.api_version.as_deref(), &self.kind, Some(self.namespace), self.name, scope).ok()
    }
}

impl TargetRules {
    /// What these labels say. `None`: there is no alert name. `memo` is of one body.
    pub(super) fn about<'a>(&'a self, labels: &'a LabelPairs<'_>, memo: &mut SignMemo) -> Option<About<'a>> {
        let label = |name: &str| labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_ref());
        let told = label("alertname")?;
        let name = clean_name(told, MAX_NAME);
        if is_blank(&name) {
            return None;
        }
        let Finding { rule, of, drop, namespace, named, stays, cluster: of_cluster } =
            self.find(told.trim(), labels, memo);
        // What is in no namespace is not in the exporter's either (cases B1, E8).
        let nowhere = !stays && named.as_ref().is_some_and(|named| named.cluster_scoped);
        let namespace = namespace.filter(|_| !nowhere);
        let target = named.and_then(|Named { api_version, kind, cluster_scoped, name, .. }| {
            let within = namespace.filter(|_| !cluster_scoped).unwrap_or_default();
            let target = AlertTarget { api_version, kind, namespace: within, name };
            // What no object is called, or its Signal may not speak of, would be rejected and the alert with it: it counts without a resource.
            let may_be_told = target.resource(namespace).is_some_and(|resource| self.may_name(&resource, namespace));
            may_be_told.then_some(target)
        });
        Some(About {
            name,
            // To Prometheus an empty label is none.
            severity: label("severity").map_or(Severity::Warning, |word| self.severity(word)),
            namespace,
            cluster: of_cluster.and_then(cluster),
            target,
            rule: rule.map(|rule| (rule, of)),
            drop,
        })
    }
}

/// The name of a cluster as `spec.cluster` can hold it: other characters become hyphens, ends are trimmed.
fn cluster(label: &str) -> Option<Cow<'_, str>> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    let whole = label.len() <= MAX_CLUSTER && label.chars().all(allowed);
    let end = |c: char| !c.is_ascii_alphanumeric();
    if whole && !label.starts_with(end) && !label.ends_with(end) {
        return Some(Cow::Borrowed(label));
    }
    let replaced: String = label.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let kept: String = replaced.trim_start_matches(end).chars().take(MAX_CLUSTER).collect();
    Some(kept.trim_end_matches(end).to_owned()).filter(|kept| !kept.is_empty()).map(Cow::Owned)
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
