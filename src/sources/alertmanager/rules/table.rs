//! Rules as they are tried: see `targets.yaml` for what each part means.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use super::file::NameShape;
use super::glob::Patterns;
use super::view::{LabelId, LabelNames, LabelView, Sides};
use crate::sources::draft::LabelPairs;
use crate::storm::resource::is_dns_label;

/// So many names and jobs of one body are remembered.
const REMEMBERED: usize = 4_096;

/// A kind of resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetKind {
    pub(super) kind: String,
    pub(super) api_version: Option<String>,
    pub(super) cluster_scoped: bool,
}

/// For whose alerts a rule is.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    pub(super) jobs: Patterns,
    pub(super) alerts: Patterns,
    pub(super) of_exporters: bool,
    pub(super) labels: Vec<(LabelId, LabelCondition)>,
    pub(super) has: Vec<LabelId>,
}

/// What is asked of a label.
#[derive(Clone, Debug)]
pub(super) enum LabelCondition {
    Absent,
    Fits(Patterns),
}

/// A label that has a name, and what of.
#[derive(Clone, Debug)]
pub(super) struct NamingLabel {
    pub(super) kind: KindSource,
    pub(super) shape: NameShape,
    /// It is a pod, which may be the reporter's own.
    pub(super) pod: bool,
    /// Also the reporter's own.
    pub(super) itself: bool,
    /// `WORD_namespace`.
    pub(super) namespace: Option<LabelId>,
}

/// Where the kind is told.
#[derive(Clone, Debug)]
pub(super) enum KindSource {
    Fixed(usize),
    Labels { kind: LabelId, group: Option<LabelId>, version: Option<LabelId> },
}

/// How a rule finds what is named.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    /// It names nothing.
    Nothing,
    /// By label; the first of these that is there. By the number of a label: which of them, if any.
    Labels { labels: Vec<NamingLabel>, by_label: Vec<Option<u16>> },
    /// By any pair of `…_kind` and `…_name`, but for these.
    Pairs { without: Vec<String> },
    /// By the kind in the alert's name.
    KindInAlert { name: LabelId },
}

/// A label that tells the namespace.
#[derive(Clone, Debug)]
pub(super) enum NamespaceLabel {
    Label(LabelId),
    /// `…_namespace` of the label that has the name.
    OfWord,
    /// Any `…_namespace`.
    Any,
}

/// A rule.
#[derive(Clone, Debug)]
pub(super) struct TargetRule {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) signs: Signs,
    pub(super) naming: Naming,
    pub(super) namespace: Vec<NamespaceLabel>,
    pub(super) stays: bool,
    pub(super) drop: Option<String>,
}

/// A rule about the label of the cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterRule {
    pub(super) name: String,
    pub(super) of: String,
    pub(super) signs: Signs,
    pub(super) labels: Vec<LabelId>,
    /// The label after which who reports is called, if that is asked for; and the one of its pod.
    pub(super) alike: Option<(LabelId, LabelId)>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct TargetTable {
    pub(super) names: LabelNames,
    pub(super) sides: Sides,
    pub(super) rules: Vec<TargetRule>,
    pub(super) clusters: Vec<ClusterRule>,
    pub(super) kinds: Vec<TargetKind>,
    /// Kinds by what labels and alerts call them.
    pub(super) by_word: HashMap<String, usize>,
    pub(super) in_alerts: Vec<(String, usize)>,
    pub(super) reporters: Vec<LabelId>,
    pub(super) exporters: Patterns,
    /// Labels of what pods are called after.
    pub(super) owners: Vec<LabelId>,
    pub(super) namespace: Vec<NamespaceLabel>,
}

/// What a rule finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Finding<'a> {
    /// `None`: no rule is for the alert.
    pub(in super::super) rule: Option<&'a str>,
    pub(in super::super) of: &'a str,
    pub(in super::super) drop: Option<&'a str>,
    pub(in super::super) namespace: Option<&'a str>,
    pub(in super::super) named: Option<Named<'a>>,
    /// Whether the namespace counts also for what is in none.
    pub(in super::super) stays: bool,
    pub(in super::super) cluster: Option<&'a str>,
}

/// What is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Named<'a> {
    pub(in super::super) api_version: Option<Cow<'a, str>>,
    pub(in super::super) kind: Cow<'a, str>,
    pub(in super::super) cluster_scoped: bool,
    pub(in super::super) name: &'a str,
    /// Where the label that has the name tells it.
    namespace: Option<&'a str>,
}

/// The rules that are for alerts of one name and reporter. Of a body: most of its alerts have few of them.
#[derive(Default)]
pub(in super::super) struct SignMemo {
    scratch: String,
    known: HashMap<String, Rc<[bool]>>,
}

impl TargetTable {
    /// What the first rule says that is for the alert of this name.
    pub(super) fn find<'a>(&'a self, name: &str, labels: &'a LabelPairs<'_>, memo: &mut SignMemo) -> Finding<'a> {
        let view = LabelView::new(labels, &self.names, &self.sides);
        let signed = self.signed(name, &view, memo);
        let (of_rules, of_clusters) = signed.split_at(self.rules.len().min(signed.len()));
        let cluster = self.cluster(&view, of_clusters);
        for (rule, _) in self.rules.iter().zip(of_rules).filter(|(_, signed)| **signed) {
            if !rule.signs.hold(&view) {
                continue;
            }
            let named = match &rule.naming {
                Naming::Nothing => None,
                naming => match self.name(naming, name, &view) {
                    None => continue,
                    named => named,
                },
            };
            let namespace = namespace(&rule.namespace, &view, named.as_ref());
            let (rule, of, drop, stays) = (Some(rule.name.as_str()), &*rule.of, rule.drop.as_deref(), rule.stays);
            return Finding { rule, of, drop, namespace, named, stays, cluster };
        }
        let namespace = namespace(&self.namespace, &view, None);
        Finding { rule: None, of: "", drop: None, namespace, named: None, stays: false, cluster }
    }

    fn cluster<'a>(&'a self, view: &LabelView<'a>, signed: &[bool]) -> Option<&'a str> {
        let mut rules = self.clusters.iter().zip(signed).filter(|(_, signed)| **signed).map(|(rule, _)| rule);
        rules.find_map(|rule| {
            let told = rule.labels.iter().find_map(|label| view.get(*label));
            let alike = rule.alike.is_none_or(|(cluster, pod)| self.is_called_after(view, cluster, pod));
            (alike && rule.signs.hold(view) && (rule.labels.is_empty() || told.is_some())).then_some(told)
        })?
    }

    /// Whether who reports is called after what this label says: its job, or a pod with a number.
    fn is_called_after(&self, view: &LabelView<'_>, cluster: LabelId, pod: LabelId) -> bool {
        let Some(name) = view.get(cluster) else { return false };
        let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
        let rest = view.get(pod).and_then(|pod| pod.strip_prefix(name)?.strip_prefix('-'));
        rest.is_some_and(number) || self.reporters(view).any(|reporter| parts(reporter).any(|part| part == name))
    }

    /// For each rule whether it is for the alert, by its name and by who reports.
    fn signed(&self, name: &str, view: &LabelView<'_>, memo: &mut SignMemo) -> Rc<[bool]> {
        memo.scratch.clear();
        memo.scratch.push_str(name);
        for reporter in self.reporters(view) {
            memo.scratch.push('\0');
            memo.scratch.push_str(reporter);
        }
        if let Some(signed) = memo.known.get(&memo.scratch) {
            return signed.clone();
        }
        let name = name.to_lowercase();
        let reporters: Vec<_> = self.reporters(view).map(str::to_lowercase).collect();
        let reporters: Vec<_> = reporters.iter().flat_map(|reporter| parts(reporter)).collect();
        let all = self.rules.iter().map(|rule| &rule.signs).chain(self.clusters.iter().map(|rule| &rule.signs));
        let signed: Rc<[bool]> = all.map(|signs| signs.are_of(&name, &reporters, &self.exporters)).collect();
        if memo.known.len() < REMEMBERED {
            memo.known.insert(memo.scratch.clone(), signed.clone());
        }
        signed
    }

    fn reporters<'a>(&self, view: &LabelView<'a>) -> impl Iterator<Item = &'a str> {
        self.reporters.iter().filter_map(|label| view.get(*label))
    }

    fn name<'a>(&'a self, naming: &'a Naming, alert: &str, view: &LabelView<'a>) -> Option<Named<'a>> {
        match naming {
            Naming::Nothing => None,
            Naming::Labels { labels, by_label } => {
                let place = |id: LabelId| by_label.get(usize::from(id.0)).copied().flatten();
                let there = view.known().iter().filter_map(|(id, value)| Some((place(*id)?, *value)));
                let named = there.filter_map(|(place, value)| {
                    let label = labels.get(usize::from(place))?;
                    Some((place, self.by_label(label, value, view)?))
                });
                named.min_by_key(|(place, _)| *place).map(|(_, named)| named)
            }
            Naming::Pairs { without } => view.beginnings("_kind").find_map(|word| {
                if without.contains(&word) {
                    return None;
                }
                let of_word = |part: &str| view.look_up(&format!("{word}_{part}"));
                let named = self.of_kind(of_word("kind")?, None, of_word("name")?)?;
                Some(Named { namespace: of_word("namespace").filter(|namespace| is_dns_label(namespace)), ..named })
            }),
            Naming::KindInAlert { name } => {
                let (_, kind) = self.in_alerts.iter().find(|(word, _)| alert.contains(word.as_str()))?;
                let name = view.get(*name).filter(|name| is_object_name(name))?;
                Some(self.fixed(*kind, name))
            }
        }
    }

    fn by_label<'a>(&'a self, label: &NamingLabel, value: &'a str, view: &LabelView<'a>) -> Option<Named<'a>> {
        if label.pod && !label.itself && self.is_reporters_pod(value, view) {
            return None;
        }
        let (name, within) = label.shape.read(value)?;
        let named = match &label.kind {
            KindSource::Fixed(kind) => self.fixed(*kind, name),
            KindSource::Labels { kind, group, version } => {
                let told = |label: &Option<LabelId>| label.and_then(|label| view.get(label));
                self.of_kind(view.get(*kind)?, told(group).zip(told(version)), name)?
            }
        };
        let of_word = label.namespace.and_then(|label| view.get(label)).filter(|namespace| is_dns_label(namespace));
        let is_name = named.kind != "Service" || is_dns_label(name);
        is_name.then_some(Named { namespace: within.or(of_word), ..named })
    }

    fn fixed<'a>(&'a self, kind: usize, name: &'a str) -> Named<'a> {
        let TargetKind { kind, api_version, cluster_scoped } = &self.kinds[kind];
        Named {
            api_version: api_version.as_deref().map(Cow::Borrowed),
            kind: Cow::Borrowed(kind),
            cluster_scoped: *cluster_scoped,
            name,
            namespace: None,
        }
    }

    /// Of a kind that a label says, in whatever case.
    fn of_kind<'a>(&'a self, kind: &'a str, version: Option<(&str, &str)>, name: &'a str) -> Option<Named<'a>> {
        if !is_object_name(name) {
            return None;
        }
        let known = self.by_word.get(&kind.to_lowercase()).map(|known| self.fixed(*known, name));
        let named = match known {
            Some(named) => named,
            None if kind.starts_with(|c: char| c.is_ascii_uppercase()) => Named {
                api_version: None,
                kind: Cow::Borrowed(kind),
                cluster_scoped: kind.starts_with("Cluster"),
                name,
                namespace: None,
            },
            None => return None,
        };
        let stated =
            version.filter(|(group, _)| group.contains('.')).map(|(group, version)| format!("{group}/{version}"));
        Some(Named { api_version: stated.map(Cow::Owned).or(named.api_version), ..named })
    }

    /// Whether a pod is that of who reports, and the alert is about something else.
    fn is_reporters_pod(&self, pod: &str, view: &LabelView<'_>) -> bool {
        if view.is_elsewhere {
            return true;
        }
        let reporters: Vec<_> = self.reporters(view).map(str::to_lowercase).collect();
        let reporters: Vec<_> = reporters.iter().flat_map(|reporter| parts(reporter)).collect();
        let of_exporter = reporters.iter().any(|reporter| self.exporters.fit(reporter));
        let called_so = if of_exporter {
            // An exporter may report about another one's pod.
            self.exporters.fit_both(pod, &reporters) || reporters.iter().any(|reporter| pod.starts_with(reporter))
        } else {
            self.exporters.fit(pod)
        };
        if called_so {
            return true;
        }
        // Of a workload its pods are called after it: another pod is that of who reports about the workload.
        self.owners.iter().filter_map(|label| view.get(*label)).any(|owner| !pod.starts_with(owner))
    }
}

impl Signs {
    fn are_of(&self, name: &str, reporters: &[&str], exporters: &Patterns) -> bool {
        if self.jobs.is_empty() && self.alerts.is_empty() && !self.of_exporters {
            return true;
        }
        let by_exporter = self.of_exporters && reporters.iter().any(|reporter| exporters.fit(reporter));
        let by_job = !self.jobs.is_empty() && self.jobs.fit_one(reporters);
        by_exporter || by_job || !self.alerts.is_empty() && self.alerts.fit(name)
    }

    fn hold(&self, view: &LabelView<'_>) -> bool {
        let holds = |(label, condition): &(LabelId, LabelCondition)| match (condition, view.get(*label)) {
            (LabelCondition::Absent, value) => value.is_none(),
            (LabelCondition::Fits(patterns), Some(value)) => patterns.fit(&value.to_lowercase()),
            (LabelCondition::Fits(_), None) => false,
        };
        (self.has.is_empty() || self.has.iter().any(|label| view.get(*label).is_some()))
            && self.labels.iter().all(holds)
    }
}

impl NameShape {
    /// The name, and the namespace where the value has it.
    fn read(self, value: &str) -> Option<(&str, Option<&str>)> {
        match self {
            Self::Object => is_object_name(value).then_some((value, None)),
            Self::NodeName => {
                let address = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                (is_object_name(value) && !address).then_some((value, None))
            }
            Self::ServiceHost => {
                let mut parts = value.split('.');
                let (name, namespace) = (parts.next()?, parts.next()?);
                let is_host = parts.next() == Some("svc") && is_dns_label(name) && is_dns_label(namespace);
                is_host.then_some((name, Some(namespace)))
            }
        }
    }
}

/// The first namespace that one of these labels tells.
fn namespace<'a>(labels: &[NamespaceLabel], view: &LabelView<'a>, named: Option<&Named<'a>>) -> Option<&'a str> {
    let mut told_by = labels.iter().filter_map(|label| match label {
        NamespaceLabel::Label(label) => view.get(*label),
        NamespaceLabel::OfWord => named.and_then(|named| named.namespace),
        NamespaceLabel::Any => view.any_namespace,
    });
    told_by.find(|namespace| is_dns_label(namespace))
}

/// A job may be NAMESPACE/NAME.
fn parts(reporter: &str) -> impl Iterator<Item = &str> {
    let last = reporter.rsplit_once('/').map(|(_, last)| last).filter(|last| !last.is_empty());
    std::iter::once(reporter).chain(last)
}

/// RFC 1123, as Kubernetes names what exporters report about.
fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|part| !part.is_empty() && is_dns_label_of_any_length(part))
}

fn is_dns_label_of_any_length(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(inner) && bytes.last().is_some_and(inner) && bytes.iter().all(|b| inner(b) || *b == b'-')
}
