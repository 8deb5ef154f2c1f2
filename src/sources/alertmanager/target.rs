//! What an alert is about: its name, how bad it is, where, and which resource. Read from its labels alone.
//!
//! An exporter reports about other things: its own pod, and often its own namespace, are on the alert as well. Three signs tell its
//! alerts from those of what is broken itself: a label that Prometheus renamed to `exported_…`, a scrape job of an exporter's name, and
//! a pod of an exporter's name.

use std::borrow::Cow;

use super::rules::{Rank, TargetKind, TargetRules};
use crate::sources::draft::LabelPairs;
use crate::sources::text::{clean_name, is_blank};
use crate::storm::resource::is_dns_label;
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
}

/// The resource that an alert names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertTarget<'a> {
    pub(super) api_version: Option<&'a str>,
    pub(super) kind: &'a str,
    /// The empty text: in none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl AlertTarget<'_> {
    /// It as a resource, if an object can be called that.
    pub(super) fn resource<'b>(&'b self, scope: Option<&'b str>) -> Option<Resource<'b>> {
        Resource::new(self.api_version, self.kind, Some(self.namespace), self.name, scope).ok()
    }
}

/// A label that names a resource.
struct Candidate<'a> {
    place: usize,
    kind: &'a TargetKind,
    renamed: bool,
    name: &'a str,
}

/// What was found on one way through the labels.
#[derive(Default)]
struct NamedResource<'a> {
    name: Option<&'a str>,
    severity: Option<&'a str>,
    cluster: Option<&'a str>,
    namespace: Option<&'a str>,
    exported_namespace: Option<&'a str>,
    scraped_exporter: bool,
    candidates: Vec<Candidate<'a>>,
}

impl TargetRules {
    /// What these labels say. `None`: there is no alert name.
    pub(super) fn about<'a>(&'a self, labels: &'a LabelPairs<'_>) -> Option<About<'a>> {
        let found = self.find(labels);
        let name = clean_name(found.name?, MAX_NAME);
        if is_blank(&name) {
            return None;
        }
        let (chosen, of_exporter) = self.choose(&found.candidates, found.scraped_exporter);
        // An exporter's own namespace is on its alerts, too: what the metric itself says is in the renamed label (case E5).
        let namespaces = if of_exporter {
            [found.exported_namespace, found.namespace]
        } else {
            [found.namespace, found.exported_namespace]
        };
        let mut namespace = namespaces.into_iter().flatten().find(|namespace| is_dns_label(namespace));
        if of_exporter && found.exported_namespace.is_none() && chosen.is_some_and(|c| c.kind.cluster_scoped) {
            // The only namespace there is is the exporter's, and a Node is in none (cases B1, E8).
            namespace = None;
        }
        let target = chosen.and_then(|candidate| {
            let name = candidate.name.trim();
            let TargetKind { api_version, kind, cluster_scoped, .. } = candidate.kind;
            let within = namespace.filter(|_| !cluster_scoped).unwrap_or_default();
            let target = AlertTarget { api_version: api_version.as_deref(), kind, namespace: within, name };
            // What no object is called, or its Signal may not speak of, would be rejected and the alert with it: it counts without a resource.
            let may_be_told = target.resource(namespace).is_some_and(|resource| self.may_name(&resource, namespace));
            may_be_told.then_some(target)
        });
        Some(About {
            name,
            severity: found.severity.map_or(Severity::Warning, |word| self.severity(word)),
            namespace,
            cluster: found.cluster.and_then(cluster),
            target,
        })
    }

    fn find<'a>(&'a self, labels: &'a LabelPairs<'_>) -> NamedResource<'a> {
        let mut found = NamedResource::default();
        for (label, value) in labels {
            // To Prometheus an empty label is none.
            let (label, value) = (label.as_ref(), value.as_ref());
            if value.is_empty() {
                continue;
            }
            match label {
                "alertname" => found.name = Some(value),
                "severity" => found.severity = Some(value),
                "cluster" => found.cluster = Some(value),
                "namespace" => found.namespace = Some(value),
                "exported_namespace" => found.exported_namespace = Some(value),
                "job" | "service" => found.scraped_exporter |= self.is_exporter(value),
                _ => {
                    if let Some((place, kind, renamed)) = self.target(label) {
                        found.candidates.push(Candidate { place, kind, renamed, name: value });
                    }
                }
            }
        }
        found
    }

    /// The most specific candidate, and whether an exporter reports about it.
    fn choose<'b, 'a>(
        &self,
        candidates: &'b [Candidate<'a>],
        scraped_exporter: bool,
    ) -> (Option<&'b Candidate<'a>>, bool) {
        let renamed = candidates.iter().filter(|candidate| candidate.renamed).min_by_key(|candidate| candidate.place);
        if renamed.is_some() {
            return (renamed, true);
        }
        let own_pod = |c: &&Candidate<'_>| c.kind.rank == Rank::Pod && self.is_exporter(c.name);
        // Alone, it is what is broken: the exporter itself.
        let beside = candidates.len() > 1 && candidates.iter().any(|candidate| own_pod(&candidate));
        let of_exporter = scraped_exporter || beside;
        if !of_exporter {
            return (candidates.iter().min_by_key(|candidate| candidate.place), false);
        }
        // Metrics about a workload name no pod: the pod beside it is the exporter's, whatever it is called.
        let order = |c: &&Candidate<'_>| {
            (if c.kind.rank == Rank::Pod { Rank::Workload } else { c.kind.rank }, c.kind.rank == Rank::Pod, c.place)
        };
        (candidates.iter().filter(|candidate| !own_pod(candidate)).min_by_key(order), true)
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
