//! Which policy a Signal is under. Compiled once per edit; a look-up does not grow with the number of policies that it cannot match.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;

use super::grouping::GroupBy;
use super::{Policy, Severity};

/// Labels of anything.
pub type Labels = BTreeMap<String, String>;

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelRequirement {
    /// Its value is one of these.
    In(String, BTreeSet<String>),
    /// Its value is none of these, or it is absent.
    NotIn(String, BTreeSet<String>),
    /// It is there.
    Exists(String),
    /// It is absent.
    DoesNotExist(String),
}

impl LabelRequirement {
    fn key(&self) -> &str {
        let (Self::In(key, _) | Self::NotIn(key, _) | Self::Exists(key) | Self::DoesNotExist(key)) = self;
        key
    }

    /// Whether these labels meet it.
    pub fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
        }
    }
}

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(pub Vec<LabelRequirement>);

impl LabelSelector {
    fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }

    /// A label that must have one of these values.
    fn certain(&self) -> Option<(&String, &BTreeSet<String>)> {
        self.0.iter().find_map(|requirement| match requirement {
            LabelRequirement::In(key, values) => Some((key, values)),
            LabelRequirement::NotIn(..) | LabelRequirement::Exists(_) | LabelRequirement::DoesNotExist(_) => None,
        })
    }
}

/// Rules by a label that they ask for, and by its value: whatever a label is, only those that ask for just that are looked at.
#[derive(Clone, Debug, Default)]
struct ByLabel(HashMap<String, HashMap<String, Vec<usize>>>);

impl ByLabel {
    /// Takes a rule in; false when it asks for no label with certain values.
    fn add(&mut self, index: usize, selector: Option<&LabelSelector>) -> bool {
        let Some((key, values)) = selector.and_then(LabelSelector::certain) else { return false };
        let by_value = self.0.entry(key.clone()).or_default();
        for value in values {
            by_value.entry(value.clone()).or_default().push(index);
        }
        true
    }

    /// Rules that may match: in order for each label.
    fn of<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Vec<usize>> {
        labels.iter().filter_map(|(key, value)| self.0.get(key)?.get(value))
    }
}

/// What a policy asks of a Signal; what is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The alert's name matches one of these: `*` for any characters, `?` for one.
    pub names: Option<Vec<String>>,
    /// Its severity is one of these.
    pub severities: Option<Vec<Severity>>,
    /// The kind of its source is one of these.
    pub sources: Option<BTreeSet<String>>,
    /// The labels of the namespace that the Signal is in.
    pub namespace: Option<LabelSelector>,
    /// Its labels.
    pub labels: Option<LabelSelector>,
}

impl Criteria {
    /// How many are stated: of two policies of one priority the more specific one counts.
    pub fn specificity(&self) -> usize {
        let Self { names, severities, sources, namespace, labels } = self;
        [names.is_some(), severities.is_some(), sources.is_some(), namespace.is_some(), labels.is_some()]
            .into_iter()
            .filter(|stated| *stated)
            .count()
    }

    /// All but the names, which the set looks up at once for all policies.
    fn hold(&self, subject: &Subject<'_>) -> bool {
        use Criterion::{Labels, Namespace, Severities, Sources};
        [Severities, Sources, Namespace, Labels].into_iter().all(|criterion| self.holds(criterion, subject))
    }

    /// What it asks of a Signal and does not find.
    pub fn missed(&self, subject: &Subject<'_>) -> Vec<Criterion> {
        Criterion::ALL.into_iter().filter(|criterion| !self.holds(*criterion, subject)).collect()
    }

    fn holds(&self, criterion: Criterion, subject: &Subject<'_>) -> bool {
        let Self { names, severities, sources, namespace, labels } = self;
        match criterion {
            Criterion::Names => names.as_ref().is_none_or(|names| names.iter().any(|name| is_like(name, subject.name))),
            Criterion::Severities => severities.as_ref().is_none_or(|wanted| wanted.contains(&subject.severity)),
            Criterion::Sources => {
                sources.as_ref().is_none_or(|wanted| subject.source.is_some_and(|s| wanted.contains(s)))
            }
            Criterion::Namespace => namespace.as_ref().is_none_or(|selector| selector.selects(subject.namespace)),
            Criterion::Labels => labels.as_ref().is_none_or(|selector| selector.selects(subject.labels)),
        }
    }
}

/// One of the things that a policy may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criterion {
    /// The alert's name.
    Names,
    /// The Signal's severity.
    Severities,
    /// The kind of its source.
    Sources,
    /// The labels of its namespace.
    Namespace,
    /// Its labels.
    Labels,
}

impl Criterion {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Names, Self::Severities, Self::Sources, Self::Namespace, Self::Labels];
}

/// A Signal, as criteria see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The alert's name.
    pub name: &'a str,
    /// Its severity.
    pub severity: Severity,
    /// The kind of its source.
    pub source: Option<&'a str>,
    /// The labels of the namespace that the Signal is in.
    pub namespace: &'a Labels,
    /// Its labels.
    pub labels: &'a Labels,
}

/// One policy of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// The higher, the sooner it counts.
    pub priority: i32,
    /// When its object was created; of two that are equal otherwise the older counts.
    pub created: Timestamp,
    /// What it asks.
    pub criteria: Criteria,
    /// What it says.
    pub policy: Arc<Policy>,
}

/// All policies, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    rules: Vec<PolicyRule>,
    by_name: HashMap<String, Arc<Policy>>,
    /// The names that rules ask for, and the rule of each.
    globs: GlobSet,
    rule_of_glob: Vec<usize>,
    /// Rules that ask for no name: by a label of the Signal, else by one of its namespace, else all others.
    by_label: ByLabel,
    by_namespace: ByLabel,
    others: Vec<usize>,
    asks_for_namespaces: bool,
    built_in: Arc<Policy>,
    /// Groupings that a policy had before, and under which storms may still be open.
    former: HashMap<String, Vec<GroupBy>>,
}

impl PolicySet {
    /// Compiles the policies. `built_in` counts where none of them matches.
    pub fn new(mut rules: Vec<PolicyRule>, built_in: Arc<Policy>, former: HashMap<String, Vec<GroupBy>>) -> Self {
        rules.sort_by_cached_key(|rule| {
            let specificity = rule.criteria.specificity();
            (Reverse(rule.priority), Reverse(specificity), rule.created, rule.policy.name.clone())
        });
        let (mut globs, mut rule_of_glob) = (GlobSetBuilder::new(), Vec::new());
        let (mut by_label, mut by_namespace, mut others) = (ByLabel::default(), ByLabel::default(), Vec::new());
        for (index, PolicyRule { criteria, .. }) in rules.iter().enumerate() {
            let Some(names) = &criteria.names else {
                if !by_label.add(index, criteria.labels.as_ref())
                    && !by_namespace.add(index, criteria.namespace.as_ref())
                {
                    others.push(index);
                }
                continue;
            };
            // What we escape cannot be malformed, and is far below any limit: nothing is left out here.
            for glob in names.iter().filter_map(|name| GlobBuilder::new(&escaped(name)).build().ok()) {
                globs.add(glob);
                rule_of_glob.push(index);
            }
        }
        let asks_for_namespaces = rules.iter().any(|rule| rule.criteria.namespace.is_some());
        let by_name = rules.iter().map(|rule| (rule.policy.name.clone(), rule.policy.clone())).collect();
        let globs = globs.build().unwrap_or_default();
        Self {
            rules,
            by_name,
            globs,
            rule_of_glob,
            by_label,
            by_namespace,
            others,
            asks_for_namespaces,
            built_in,
            former,
        }
    }

    /// The policy that counts for a Signal.
    pub fn of(&self, subject: &Subject<'_>) -> &Arc<Policy> {
        let mut named: Vec<usize> =
            self.globs.matches(subject.name).into_iter().map(|g| self.rule_of_glob[g]).collect();
        named.sort_unstable();
        let first =
            |indexes: &Vec<usize>| indexes.iter().copied().find(|index| self.rules[*index].criteria.hold(subject));
        let labelled = self.by_label.of(subject.labels).chain(self.by_namespace.of(subject.namespace));
        let best = [&named, &self.others].into_iter().chain(labelled).filter_map(first).min();
        best.map_or(&self.built_in, |index| &self.rules[index].policy)
    }

    /// The labels that tell which policy counts for an alert of this name, and which storm it joins: alerts that differ in one of them do not
    /// belong into one Signal.
    pub fn telling_labels(&self, name: &str) -> BTreeSet<&str> {
        let named: BTreeSet<usize> = self.globs.matches(name).into_iter().map(|g| self.rule_of_glob[g]).collect();
        let may_count = |(index, rule): &(usize, &PolicyRule)| rule.criteria.names.is_none() || named.contains(index);
        let labels = |(_, rule)| {
            let PolicyRule { criteria, policy, .. }: &PolicyRule = rule;
            let asked = criteria.labels.iter().flat_map(|selector| selector.0.iter().map(LabelRequirement::key));
            policy.group_by.labels().chain(asked)
        };
        let rules = self.rules.iter().enumerate().filter(may_count).flat_map(labels);
        rules.chain(self.built_in.group_by.labels()).collect()
    }

    /// Every policy of the cluster, in the order in which they count, with what each asks of a Signal and does not find. The first one that misses
    /// nothing is the policy of the Signal: what [`PolicySet::of`] says, read slowly.
    pub fn explain(&self, subject: &Subject<'_>) -> impl Iterator<Item = (&PolicyRule, Vec<Criterion>)> {
        self.rules.iter().map(|rule| (rule, rule.criteria.missed(subject)))
    }

    /// Every policy of the cluster, in the order in which they count.
    pub fn rules(&self) -> &[PolicyRule] {
        &self.rules
    }

    /// The policy of this name; of one that is gone, the default.
    pub fn named(&self, name: &str) -> &Arc<Policy> {
        self.by_name.get(name).or_else(|| self.by_name.get(Policy::BUILT_IN)).unwrap_or(&self.built_in)
    }

    /// Groupings that this policy had before, and under which storms may still be open.
    pub fn former(&self, policy: &str) -> &[GroupBy] {
        self.former.get(policy).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether every Signal is grouped by the built-in policy, and was.
    pub fn is_plain(&self) -> bool {
        self.rules.is_empty() && self.former.is_empty()
    }

    /// Whether some policy asks for the labels of a namespace.
    pub fn asks_for_namespaces(&self) -> bool {
        self.asks_for_namespaces
    }
}

/// Whether a name is one that a policy asks for.
fn is_like(wanted: &str, name: &str) -> bool {
    GlobBuilder::new(&escaped(wanted)).build().is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// A glob in which `*` and `?` mean something, and nothing else does.
fn escaped(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '*' | '?' => c.to_string(),
            '\\' => "\\\\".to_owned(),
            c => globset::escape(c.encode_utf8(&mut [0; 4])),
        })
        .collect()
}

#[cfg(test)]
mod tests;
