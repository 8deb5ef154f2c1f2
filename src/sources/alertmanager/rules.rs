//! What may be set about reading alerts: which label names which kind of resource, which severity a word stands for, who scrapes.
//!
//! The built-in tables are Prometheus' and kube-state-metrics' names. A settings file adds to them:
//!
//! ```yaml
//! targets:
//!   - {label: rollout, apiVersion: argoproj.io/v1alpha1, kind: Rollout}
//!   - {label: widget, kind: Widget, clusterScoped: true}
//! severities: {sev0: critical, chatty: info}
//! exporters: [my-exporter]
//! ```

use std::collections::HashMap;

use serde::Deserialize;

use crate::storm::{Reach, Resource, Severity};

/// Labels that tell who was scraped, and never what is broken (case E6).
const OF_THE_SCRAPER: [&str; 7] = ["job", "instance", "service", "endpoint", "container", "prometheus", "namespace"];

/// Labels that tell what and where an alert is.
const OF_THE_ALERT: [&str; 4] = ["alertname", "severity", "cluster", "exported_namespace"];

/// Where the built-in kinds are in the order of choice, the first one first: what is specific wins over what contains it.
const BUILT_IN: [(&str, &str, Rank); 15] = [
    ("pod", "Pod", Rank::Pod),
    ("deployment", "Deployment", Rank::Workload),
    ("statefulset", "StatefulSet", Rank::Workload),
    ("daemonset", "DaemonSet", Rank::Workload),
    // The label `job` is the scrape job's name.
    ("job_name", "Job", Rank::Workload),
    ("cronjob", "CronJob", Rank::Workload),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler", Rank::Workload),
    ("hpa", "HorizontalPodAutoscaler", Rank::Workload),
    ("poddisruptionbudget", "PodDisruptionBudget", Rank::Workload),
    ("pdb", "PodDisruptionBudget", Rank::Workload),
    ("persistentvolumeclaim", "PersistentVolumeClaim", Rank::Workload),
    ("pvc", "PersistentVolumeClaim", Rank::Workload),
    ("replicaset", "ReplicaSet", Rank::Workload),
    ("node", "Node", Rank::Wide),
    // `service` is the scraped one; where an exporter has a label of that name, Prometheus renames it.
    ("exported_service", "Service", Rank::Wide),
];

/// Who reports about other things (case E5). A scrape job is one of them when its name has one of these in it.
const EXPORTERS: [&str; 3] = ["kube-state-metrics", "node-exporter", "kubelet"];

/// Words for a severity, in lower case.
const SEVERITIES: [(&str, Severity); 25] = [
    ("critical", Severity::Critical),
    ("crit", Severity::Critical),
    ("page", Severity::Critical),
    ("pager", Severity::Critical),
    ("fatal", Severity::Critical),
    ("emergency", Severity::Critical),
    ("disaster", Severity::Critical),
    ("p1", Severity::Critical),
    ("error", Severity::Error),
    ("err", Severity::Error),
    ("major", Severity::Error),
    ("high", Severity::Error),
    ("p2", Severity::Error),
    ("warning", Severity::Warning),
    ("warn", Severity::Warning),
    ("minor", Severity::Warning),
    ("medium", Severity::Warning),
    ("ticket", Severity::Warning),
    ("info", Severity::Info),
    ("information", Severity::Info),
    ("informational", Severity::Info),
    ("notice", Severity::Info),
    ("low", Severity::Info),
    ("debug", Severity::Info),
    ("none", Severity::Info),
];

/// How a kind stands to the others in the choice of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// What the settings file names: before all others.
    Set,
    /// A pod.
    Pod,
    /// What owns pods, or belongs to them.
    Workload,
    /// What has many pods on it or behind it.
    Wide,
}

/// A label that names a resource.
#[derive(Clone, Debug)]
pub(super) struct TargetKind {
    pub(super) rank: Rank,
    pub(super) api_version: Option<String>,
    pub(super) kind: String,
    pub(super) cluster_scoped: bool,
}

/// What an alert is about, by its labels.
#[derive(Clone, Debug)]
pub struct TargetRules {
    /// By label, with its place in the order.
    targets: HashMap<String, (usize, TargetKind)>,
    severities: HashMap<String, Severity>,
    exporters: Vec<String>,
    /// Whose Signals may speak of others: an alert names no resource that its Signal may not.
    reach: Reach,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    targets: Vec<FileTarget>,
    #[serde(default)]
    severities: HashMap<String, Severity>,
    #[serde(default)]
    exporters: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileTarget {
    label: String,
    #[serde(default)]
    api_version: Option<String>,
    kind: String,
    #[serde(default)]
    cluster_scoped: bool,
}

impl Default for TargetRules {
    fn default() -> Self {
        Self::with(File { targets: Vec::new(), severities: HashMap::new(), exporters: Vec::new() })
    }
}

impl TargetRules {
    /// The built-in rules and those of a settings file. The message says what is wrong with the file.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let file: File = serde_saphyr::from_str(yaml).map_err(|fault| fault.to_string())?;
        for FileTarget { label, api_version, kind, .. } in &file.targets {
            if OF_THE_SCRAPER.contains(&label.as_str()) {
                return Err(format!(
                    "targets: the label {label} tells who was scraped and is never what is broken; Prometheus renames a label of \
                     that name that the metric itself has to exported_{label}"
                ));
            }
            if OF_THE_ALERT.contains(&label.as_str()) {
                return Err(format!(
                    "targets: the label {label} has a meaning of its own, and is never read as the name of a resource"
                ));
            }
            if label.is_empty() {
                return Err(format!("targets: the label of kind {kind} is empty"));
            }
            Resource::new(api_version.as_deref(), kind, None, "x", None)
                .map_err(|fault| format!("targets: {fault}"))?;
        }
        if file.exporters.iter().any(String::is_empty) {
            return Err("exporters: an empty name would be in every name".to_owned());
        }
        Ok(Self::with(file))
    }

    fn with(file: File) -> Self {
        let set = file.targets.into_iter().map(|target| {
            let FileTarget { label, api_version, kind, cluster_scoped } = target;
            (label, TargetKind { rank: Rank::Set, api_version, kind, cluster_scoped })
        });
        let built_in = BUILT_IN.map(|(label, kind, rank)| {
            let cluster_scoped = kind == "Node";
            (label.to_owned(), TargetKind { rank, api_version: None, kind: kind.to_owned(), cluster_scoped })
        });
        let mut targets = HashMap::new();
        for (place, (label, kind)) in set.chain(built_in).enumerate() {
            // What the file says of a label that has a built-in meaning came first, and stays.
            targets.entry(label).or_insert((place, kind));
        }
        let mut severities: HashMap<_, _> = SEVERITIES.map(|(word, severity)| (word.to_owned(), severity)).into();
        severities.extend(file.severities.into_iter().map(|(word, s)| (word.trim().to_lowercase(), s)));
        let exporters = EXPORTERS.map(str::to_owned).into_iter().chain(file.exporters).collect();
        Self { targets, severities, exporters, reach: Reach::default() }
    }

    /// The same, where Signals of these namespaces may speak of others.
    pub(super) fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Whether a Signal in `namespace` may name this resource; one that is in none goes to the operator's own, and may.
    pub(super) fn may_name(&self, resource: &Resource<'_>, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|own| resource.is_within(own) || self.reach.is_wide(own))
    }

    /// What a label names, and its place in the order of choice. `true`: Prometheus has renamed it, because the scraping side has a
    /// label of that name, too.
    pub(super) fn target(&self, label: &str) -> Option<(usize, &TargetKind, bool)> {
        if let Some((place, kind)) = self.targets.get(label) {
            return Some((*place, kind, label.starts_with("exported_")));
        }
        let (place, kind) = self.targets.get(label.strip_prefix("exported_")?)?;
        Some((*place, kind, true))
    }

    /// The severity of a word; warning, when nobody knows the word.
    pub(super) fn severity(&self, word: &str) -> Severity {
        let known = self.severities.get(word).or_else(|| self.severities.get(&word.trim().to_lowercase()));
        known.copied().unwrap_or(Severity::Warning)
    }

    /// Whether this is the name of something that reports about other things.
    pub(super) fn is_exporter(&self, name: &str) -> bool {
        self.exporters.iter().any(|exporter| name.contains(exporter.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("critical", Severity::Critical)]
    #[case("page", Severity::Critical)]
    #[case("Page ", Severity::Critical)]
    #[case("warn", Severity::Warning)]
    #[case("none", Severity::Info)]
    #[case("error", Severity::Error)]
    #[case("", Severity::Warning)]
    #[case("whatever", Severity::Warning)]
    fn a_severity_is_what_its_word_stands_for_else_warning(#[case] word: &str, #[case] severity: Severity) {
        assert_eq!(TargetRules::default().severity(word), severity);
    }

    #[test]
    fn a_settings_file_adds_to_the_tables_and_comes_first() {
        let rules = TargetRules::parse(
            "targets:\n  - {label: rollout, apiVersion: argoproj.io/v1alpha1, kind: Rollout}\n  - {label: node, kind: Machine}\n\
             severities: {Sev0: critical, page: error}\nexporters: [my-exporter]\n",
        )
        .unwrap();
        let (place, rollout, renamed) = rules.target("exported_rollout").unwrap();
        assert_eq!((rollout.kind.as_str(), rollout.rank, renamed), ("Rollout", Rank::Set, true));
        assert!(place < rules.target("pod").unwrap().0);
        assert_eq!(rules.target("node").unwrap().1.kind, "Machine");
        assert_eq!((rules.severity("sev0"), rules.severity("page")), (Severity::Critical, Severity::Error));
        assert!(rules.is_exporter("my-exporter-0") && rules.is_exporter("prometheus-node-exporter"));
        assert!(TargetRules::parse("{}").is_ok());
    }

    #[rstest]
    #[case("targets: [{label: service, kind: Service}]", "exported_service")]
    #[case("targets: [{label: x, kind: widget}]", "kind")]
    #[case("targets: [{label: x, kind: X, apiVersion: a/b/c}]", "API version")]
    #[case("targets: [{label: '', kind: X}]", "empty")]
    #[case("targets: [{label: cluster, kind: Cluster}]", "cluster")]
    #[case("targets: [{label: exported_namespace, kind: Namespace}]", "exported_namespace")]
    #[case("exporters: ['']", "empty")]
    #[case("severities: {x: awful}", "awful")]
    #[case("target: []", "target")]
    fn a_settings_file_that_cannot_be_meant_is_refused(#[case] yaml: &str, #[case] says: &str) {
        let fault = TargetRules::parse(yaml).unwrap_err();
        assert!(fault.contains(says), "{fault}");
    }
}
