//! From rules as they are written to rules as they are tried. What cannot be meant is told: which field of which rule, what was seen
//! there, and what to write instead.

use std::collections::BTreeMap;

use super::file::{BuiltInText, ClusterText, KindText, NameShape, OneOrMany, RuleText, SettingsText, TargetText};
use super::glob::Patterns;
use super::table::{
    ClusterRule, KindSource, LabelCondition, NamespaceLabel, Naming, NamingLabel, Signs, TargetKind, TargetRule,
    TargetTable,
};
use super::view::LabelId;
use crate::storm::Resource;

/// Labels that tell who was scraped, and are what is broken for single exporters at most (case E6).
const OF_THE_SCRAPER: [&str; 7] = ["job", "instance", "service", "endpoint", "container", "prometheus", "namespace"];

/// Labels that tell what and where an alert is.
const OF_THE_ALERT: [&str; 4] = ["alertname", "severity", "cluster", "exported_namespace"];

/// The rule of the labels that a settings file names under `targets`.
const OF_TARGETS: &str = "settings-targets";

/// Makes a table of the built-in rules and of a settings file, which comes first.
pub(super) fn compile(built_in: &BuiltInText, settings: &SettingsText) -> Result<TargetTable, String> {
    let mut making = TableInMaking::default();
    making.sides(built_in);
    making.exporters(built_in, settings)?;
    making.kinds(&built_in.kinds)?;
    let set = making.set_targets(settings)?;
    let fault = |what: &str, index: usize, name: &str, fault: String| format!("{what}[{index}] ({name}): {fault}");
    for (index, rule) in settings.rules.iter().enumerate() {
        let compiled = check(rule).and_then(|()| making.rule(rule));
        making.table.rules.push(compiled.map_err(|says| fault("rules", index, &rule.rule, says))?);
    }
    making.table.rules.extend(set);
    for (index, rule) in built_in.rules.iter().enumerate() {
        if !settings.remove_rules.contains(&rule.rule) {
            let compiled = making.rule(rule).map_err(|says| fault("rules", index, &rule.rule, says))?;
            making.table.rules.push(compiled);
        }
    }
    let kept = built_in.clusters.iter().filter(|rule| !settings.remove_rules.contains(&rule.rule));
    for (index, rule) in settings.clusters.iter().chain(kept).enumerate() {
        let compiled = making.cluster(rule).map_err(|says| fault("clusters", index, &rule.rule, says))?;
        making.table.clusters.push(compiled);
    }
    making.table.namespace = making.namespaces(&built_in.namespace);
    is_known(built_in, settings)?;
    names_are_unique(&making.table)?;
    Ok(making.table)
}

/// Whether there are the rules that a settings file takes away.
fn is_known(built_in: &BuiltInText, settings: &SettingsText) -> Result<(), String> {
    let of_clusters = built_in.clusters.iter().map(|rule| &rule.rule);
    let names: Vec<_> = built_in.rules.iter().map(|rule| &rule.rule).chain(of_clusters).collect();
    match settings.remove_rules.iter().find(|name| !names.contains(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "removeRules: there is no built-in rule {name:?}; `stormfold targets` prints those that there are"
        )),
    }
}

fn names_are_unique(table: &TargetTable) -> Result<(), String> {
    let mut names: Vec<_> = table.rules.iter().map(|rule| &rule.name).collect();
    names.extend(table.clusters.iter().map(|rule| &rule.name));
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(format!(
            "rules: there are two rules {:?}; give yours another name, or take the built-in one away with removeRules",
            pair[0]
        )),
    }
}

/// What a rule of a settings file must not say.
fn check(rule: &RuleText) -> Result<(), String> {
    if rule.rule.is_empty() {
        return Err("rule is empty: give the rule a name, which is told where it decides".to_owned());
    }
    let for_some = !rule.jobs.0.is_empty() || !rule.alerts.0.is_empty() || !rule.labels.is_empty();
    for target in &rule.target.0 {
        if OF_THE_SCRAPER.contains(&target.label.as_str()) && !for_some {
            return Err(format!(
                "target.label is {:?}, which tells who was scraped: say with jobs, alerts or labels for whose alerts it is what is broken",
                target.label
            ));
        }
    }
    let names_something = !rule.target.0.is_empty() || !rule.spelling.0.is_empty() || rule.pairs || rule.kind_in_alert;
    if !names_something && !for_some && rule.has.0.is_empty() && !rule.of_exporters {
        return Err(
            "the rule is for all alerts and names nothing: give it jobs, alerts or labels, and a target".to_owned()
        );
    }
    Ok(())
}

#[derive(Default)]
struct TableInMaking {
    table: TargetTable,
    texts: Vec<KindText>,
}

impl TableInMaking {
    fn id(&mut self, label: &str) -> LabelId {
        self.table.names.id(label)
    }

    fn ids(&mut self, labels: &[String]) -> Vec<LabelId> {
        labels.iter().map(|label| self.id(label)).collect()
    }

    fn sides(&mut self, text: &BuiltInText) {
        self.table.reporters = self.ids(&text.reporters);
        self.table.sides.elsewhere = self.ids(&text.elsewhere).into_iter().collect();
        self.table.sides.here = text.here.iter().cloned().collect();
    }

    fn exporters(&mut self, built_in: &BuiltInText, settings: &SettingsText) -> Result<(), String> {
        if settings.exporters.iter().any(String::is_empty) {
            return Err("exporters: an empty name would be in every name; leave it out".to_owned());
        }
        let set =
            settings.exporters.iter().map(|name| if name.contains('*') { name.clone() } else { format!("*{name}*") });
        let all: Vec<_> = set.chain(built_in.exporters.iter().cloned()).collect();
        self.table.exporters = Patterns::new(&all);
        Ok(())
    }

    fn kinds(&mut self, kinds: &[KindText]) -> Result<(), String> {
        for text in kinds {
            let kind = self.kind(&text.kind, text.api_version.as_deref(), text.cluster_scoped)?;
            for word in text.words.iter().chain([&text.kind]) {
                self.table.by_word.entry(word.to_lowercase()).or_insert(kind);
            }
            self.table.in_alerts.extend(text.alert.iter().map(|word| (word.clone(), kind)));
            if text.owner {
                let owners = self.ids(&text.words);
                self.table.owners.extend(owners);
            }
        }
        // ClusterSecretStore before SecretStore.
        self.table.in_alerts.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        self.texts = kinds.to_vec();
        Ok(())
    }

    /// The number of a kind.
    fn kind(&mut self, kind: &str, api_version: Option<&str>, cluster_scoped: bool) -> Result<usize, String> {
        let fault = |what: &str, seen: &str| format!("{what}, not {seen:?}");
        if let Err(says) = Resource::new(None, kind, None, "x", None) {
            return Err(format!("kind: {says}; write it as Kubernetes does, as in HelmRelease"));
        }
        if let Some(version) = api_version
            && Resource::new(Some(version), kind, None, "x", None).is_err()
        {
            return Err(fault("apiVersion is an API version such as v1 or apps/v1", version));
        }
        let kind = TargetKind { kind: kind.to_owned(), api_version: api_version.map(str::to_owned), cluster_scoped };
        if let Some(known) = self.table.kinds.iter().position(|known| *known == kind) {
            return Ok(known);
        }
        self.table.kinds.push(kind);
        Ok(self.table.kinds.len() - 1)
    }

    /// The rule of the labels that a settings file names, if it names some: before all built-in ones, renamed by Prometheus or not.
    fn set_targets(&mut self, settings: &SettingsText) -> Result<Option<TargetRule>, String> {
        let mut labels = Vec::new();
        for (index, set) in settings.targets.iter().enumerate() {
            let fault = |says: String| format!("targets[{index}] ({}): {says}", set.label);
            let label = set.label.as_str();
            if OF_THE_SCRAPER.contains(&label) {
                return Err(fault(format!(
                    "the label {label} tells who was scraped and is never what is broken by itself; Prometheus renames a label of that \
                     name that the metric itself has to exported_{label}; or say in a rule with jobs for which exporter it is"
                )));
            }
            if OF_THE_ALERT.contains(&label) {
                return Err(fault(format!(
                    "the label {label} has a meaning of its own, and is never read as the name of a resource"
                )));
            }
            if label.is_empty() {
                return Err(fault(format!("the label of kind {} is empty", set.kind)));
            }
            let kind = self.kind(&set.kind, set.api_version.as_deref(), set.cluster_scoped).map_err(fault)?;
            for label in [format!("exported_{label}"), label.to_owned()] {
                labels.push((label.clone(), self.naming(&label, KindSource::Fixed(kind), NameShape::Object, false)));
            }
        }
        if labels.is_empty() {
            return Ok(None);
        }
        // A renamed label is the metric's own.
        labels.sort_by_key(|(label, _)| !label.starts_with("exported_"));
        let namespace = ["{}_namespace", "exported_namespace", "namespace", "kubernetes_namespace"].map(str::to_owned);
        Ok(Some(TargetRule {
            name: OF_TARGETS.to_owned(),
            of: "`targets` of the settings file".to_owned(),
            signs: Signs::default(),
            namespace: self.namespaces(&OneOrMany(namespace.to_vec())),
            naming: self.by_label(labels),
            stays: false,
            drop: None,
        }))
    }

    fn naming(&mut self, label: &str, kind: KindSource, shape: NameShape, itself: bool) -> NamingLabel {
        // Those that the scraping side puts there; others are the metric's own.
        let pod = matches!(label, "pod" | "kubernetes_pod_name" | "kubernetes_pod");
        let word = label.strip_suffix("_name").unwrap_or(label);
        NamingLabel { kind, shape, pod, itself, namespace: Some(self.id(&format!("{word}_namespace"))) }
    }

    fn by_label(&mut self, labels: Vec<(String, NamingLabel)>) -> Naming {
        let ids: Vec<_> = labels.iter().map(|(label, _)| self.id(label)).collect();
        let most = ids.iter().map(|id| usize::from(id.0) + 1).max().unwrap_or_default();
        let mut by_label = vec![None; most];
        for (place, id) in ids.into_iter().enumerate() {
            let entry: &mut Option<u16> = &mut by_label[usize::from(id.0)];
            // Whatever came first for a label stays.
            *entry = entry.or(u16::try_from(place).ok());
        }
        Naming::Labels { labels: labels.into_iter().map(|(_, naming)| naming).collect(), by_label }
    }

    fn rule(&mut self, text: &RuleText) -> Result<TargetRule, String> {
        let signs = self.signs((&text.jobs, &text.alerts, &text.has), &text.labels);
        let naming = if text.pairs {
            Naming::Pairs { without: text.without.0.clone() }
        } else if text.kind_in_alert {
            Naming::KindInAlert { name: self.id("name") }
        } else if !text.spelling.0.is_empty() {
            self.spelled(text)
        } else if text.target.0.is_empty() {
            Naming::Nothing
        } else {
            let mut labels = Vec::new();
            for target in &text.target.0 {
                labels.push((target.label.clone(), self.target(target)?));
            }
            self.by_label(labels)
        };
        Ok(TargetRule {
            name: text.rule.clone(),
            of: text.of.clone(),
            signs: Signs { of_exporters: text.of_exporters, ..signs },
            naming,
            namespace: self.namespaces(&text.namespace),
            stays: text.stays_in_namespace,
            drop: text.drop.clone(),
        })
    }

    fn target(&mut self, text: &TargetText) -> Result<NamingLabel, String> {
        if text.label.is_empty() {
            return Err("target.label is missing: name the label that has the name of the resource".to_owned());
        }
        let source = match (&text.kind, &text.kind_label) {
            (Some(kind), None) => KindSource::Fixed(
                self.kind(kind, text.api_version.as_deref(), text.cluster_scoped)
                    .map_err(|says| format!("target.{says}"))?,
            ),
            (None, Some(label)) => KindSource::Labels {
                kind: self.id(label),
                group: text.group_label.as_ref().map(|label| self.id(label)),
                version: text.version_label.as_ref().map(|label| self.id(label)),
            },
            (Some(_), Some(_)) => return Err("target has both kind and kindLabel: give one of them".to_owned()),
            (None, None) => {
                return Err("target.kind is missing: say the kind, or in kindLabel the label that has it".to_owned());
            }
        };
        Ok(self.naming(&text.label, source, text.shape, text.itself))
    }

    /// All kinds in their order, each in every spelling.
    fn spelled(&mut self, text: &RuleText) -> Naming {
        let mut labels = Vec::new();
        for KindText { kind, words, api_version, cluster_scoped, spelled, .. } in self.texts.clone() {
            let kind = TargetKind { kind, api_version, cluster_scoped };
            let Some(kind) = self.table.kinds.iter().position(|known| *known == kind) else { continue };
            for word in words.iter().filter(|word| !text.without.0.contains(word)) {
                for spelling in text.spelling.0.iter().filter(|spelling| !spelled || spelling.as_str() != "{}") {
                    // job_name is spelled k8s_job_name.
                    let word = if spelling.ends_with("{}_name") { word.trim_end_matches("_name") } else { word };
                    let label = spelling.replace("{}", word);
                    labels
                        .push((label.clone(), self.naming(&label, KindSource::Fixed(kind), NameShape::Object, false)));
                }
            }
        }
        self.by_label(labels)
    }

    fn namespaces(&mut self, labels: &OneOrMany) -> Vec<NamespaceLabel> {
        let of = |label: &String| match label.as_str() {
            "*_namespace" => NamespaceLabel::Any,
            "{}_namespace" => NamespaceLabel::OfWord,
            label => NamespaceLabel::Label(self.id(label)),
        };
        labels.0.iter().map(of).collect()
    }

    fn signs(
        &mut self,
        (jobs, alerts, has): (&OneOrMany, &OneOrMany, &OneOrMany),
        labels: &BTreeMap<String, OneOrMany>,
    ) -> Signs {
        let condition = |values: &OneOrMany| match values.0.as_slice() {
            [empty] if empty.is_empty() => LabelCondition::Absent,
            patterns => LabelCondition::Fits(Patterns::new(patterns)),
        };
        let labels: Vec<_> = labels.iter().map(|(label, values)| (self.id(label), condition(values))).collect();
        let (jobs, alerts) = (Patterns::new(&jobs.0), Patterns::new(&alerts.0));
        Signs { jobs, alerts, of_exporters: false, labels, has: self.ids(&has.0) }
    }

    fn cluster(&mut self, text: &ClusterText) -> Result<ClusterRule, String> {
        if text.rule.is_empty() {
            return Err("rule is empty: give the rule a name, which is told where it decides".to_owned());
        }
        let signs = self.signs((&text.jobs, &text.alerts, &text.has), &text.labels);
        let alike = text.alike.then(|| (self.id("cluster"), self.id("pod")));
        let (name, of) = (text.rule.clone(), text.of.clone());
        Ok(ClusterRule { name, of, signs, labels: self.ids(&text.cluster.0), alike })
    }
}
