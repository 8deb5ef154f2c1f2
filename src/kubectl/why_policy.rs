//! Which policy counts for a Signal, and why not the others: the choice of the operator, read slowly. Pure.

use std::cmp::Ordering;

use kube::ResourceExt;
use serde::Serialize;

use super::scene::Scene;
use crate::api::{ACCEPTED, Signal, StormPolicy};
use crate::storm::PolicySet;
use crate::storm::matching::{Criteria, Criterion, LabelRequirement, LabelSelector, Labels, PolicyRule, Subject};

/// The policy that counts for a Signal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyAnswer {
    pub(super) name: String,
    pub(super) because: String,
    /// The others, in the order in which they are asked.
    pub(super) others: Vec<OtherPolicy>,
}

/// A policy that does not count for a Signal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OtherPolicy {
    pub(super) name: String,
    pub(super) because: String,
}

/// Which policy counts for a Signal, and why not the others.
pub(super) fn policy_of(signal: &Signal, policies: &PolicySet, scene: &Scene) -> PolicyAnswer {
    let (spec, none) = (&signal.spec, Labels::new());
    let subject = Subject {
        name: &spec.name,
        severity: spec.severity,
        source: spec.source.as_ref().map(|source| source.kind.as_str()),
        namespace: scene.labels.as_ref().unwrap_or(&none),
        labels: &spec.labels,
    };
    let chosen = policies.of(&subject).clone();
    let all: Vec<(&PolicyRule, Vec<Criterion>)> = policies.explain(&subject).collect();
    let winner = all.iter().find(|(_, missed)| missed.is_empty()).map(|(rule, _)| *rule);
    let others = all.iter().filter(|(rule, _)| rule.policy.name != chosen.name).map(|(rule, missed)| OtherPolicy {
        name: rule.policy.name.clone(),
        because: match winner {
            _ if !missed.is_empty() => {
                missed.iter().map(|of| misses(*of, rule, &subject)).collect::<Vec<_>>().join("; ")
            }
            Some(winner) => comes_after(rule, winner),
            None => "it comes later".to_owned(),
        },
    });
    let idle =
        scene.policy_objects.iter().filter(|object| all.iter().all(|(rule, _)| rule.policy.name != object.name_any()));
    let idle = idle.map(|object| OtherPolicy { name: object.name_any(), because: not_in_force(object) });
    PolicyAnswer {
        because: winner.map_or_else(built_in, |rule| asks(&rule.criteria, rule.priority)),
        name: chosen.name.clone(),
        others: others.chain(idle).collect(),
    }
}

fn built_in() -> String {
    "no StormPolicy matches: the built-in one counts, whose times are flags of the operator".to_owned()
}

fn asks(criteria: &Criteria, priority: i32) -> String {
    let Criteria { names, severities, sources, namespace, labels } = criteria;
    let asked = [
        (names.is_some(), "its name"),
        (severities.is_some(), "its severity"),
        (sources.is_some(), "its source"),
        (namespace.is_some(), "the labels of its namespace"),
        (labels.is_some(), "its labels"),
    ];
    let asked: Vec<&str> = asked.into_iter().filter(|(stated, _)| *stated).map(|(_, what)| what).collect();
    let matched =
        if asked.is_empty() { "it matches everything".to_owned() } else { format!("it matches {}", asked.join(", ")) };
    format!("{matched}, and no policy that matches comes before it (priority {priority})")
}

/// Why a policy that matches, too, comes after another.
fn comes_after(rule: &PolicyRule, winner: &PolicyRule) -> String {
    let criteria = |rule: &PolicyRule| rule.criteria.specificity();
    let why = match (winner.priority.cmp(&rule.priority), criteria(winner).cmp(&criteria(rule))) {
        (Ordering::Greater | Ordering::Less, _) => {
            format!("its priority is {}, not {}", rule.priority, winner.priority)
        }
        (Ordering::Equal, Ordering::Greater | Ordering::Less) => {
            format!("its match has {} criteria, not {}", criteria(rule), criteria(winner))
        }
        (Ordering::Equal, Ordering::Equal) if winner.created < rule.created => "it is younger".to_owned(),
        (Ordering::Equal, Ordering::Equal) => "its name comes later".to_owned(),
    };
    format!("it matches, too, and comes after {}: {why}", winner.policy.name)
}

/// What a policy asks and does not find.
fn misses(criterion: Criterion, rule: &PolicyRule, subject: &Subject<'_>) -> String {
    let Criteria { names, severities, sources, namespace, labels } = &rule.criteria;
    match criterion {
        Criterion::Names => {
            format!("the name is {:?}, and it wants {}", subject.name, list(names.iter().flatten()))
        }
        Criterion::Severities => {
            let wanted = severities.iter().flatten().map(|severity| severity.as_str());
            format!("the severity is {}, and it wants {}", subject.severity.as_str(), list(wanted))
        }
        Criterion::Sources => {
            let source = subject.source.unwrap_or("not stated");
            format!("the source is {source}, and it wants {}", list(sources.iter().flatten()))
        }
        Criterion::Namespace => format!("the namespace {}", unmet(namespace.as_ref(), subject.namespace)),
        Criterion::Labels => format!("the Signal {}", unmet(labels.as_ref(), subject.labels)),
    }
}

/// The first requirement of a selector that labels do not meet.
fn unmet(selector: Option<&LabelSelector>, labels: &Labels) -> String {
    let requirements = selector.iter().flat_map(|selector| &selector.0);
    let Some(requirement) = requirements.into_iter().find(|requirement| !requirement.holds(labels)) else {
        return "does not have the labels that it wants".to_owned();
    };
    let has =
        |key: &String| labels.get(key).map_or_else(|| format!("lacks {key}"), |value| format!("has {key}={value}"));
    match requirement {
        LabelRequirement::In(key, values) => format!("{}, and it wants {}", has(key), list(values)),
        LabelRequirement::NotIn(key, values) => format!("{}, and it wants none of {}", has(key), list(values)),
        LabelRequirement::Exists(key) => format!("lacks {key}, which it wants"),
        LabelRequirement::DoesNotExist(key) => format!("{}, and it wants none", has(key)),
    }
}

/// As many words as anybody reads.
fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    const MOST: usize = 8;
    let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let shown = words.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if words.len() > MOST { format!("{shown} and {} more", words.len() - MOST) } else { shown }
}

/// Why a policy of the cluster matches nothing.
pub(super) fn not_in_force(object: &StormPolicy) -> String {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let told = conditions.into_iter().find(|condition| condition.type_ == ACCEPTED && condition.status == "False");
    told.map_or_else(
        || "it cannot be in force".to_owned(),
        |condition| format!("it is not in force: {}", condition.message),
    )
}
