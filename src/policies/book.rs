//! The policies as the cluster has them, valid or not, and the groupings that they had before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;

use super::translate::{PolicyFault, rule};
use crate::api::StormPolicy;
use crate::storm::matching::PolicyRule;
use crate::storm::{GroupBy, Policy, PolicySet};

/// The policies of the cluster, valid or not, and their former groupings.
pub(crate) struct Book {
    built_in: Arc<Policy>,
    entries: BTreeMap<String, Entry>,
    /// Policies, and groupings under which storms of theirs were opened.
    groupings: BTreeSet<(String, GroupBy)>,
}

/// One policy of the cluster.
pub(super) struct Entry {
    /// As the cluster has it, for its status.
    pub(super) object: StormPolicy,
    /// What it says, or why it says nothing.
    pub(super) rule: Result<PolicyRule, PolicyFault>,
}

impl Book {
    pub(crate) fn new(built_in: Policy) -> Self {
        Self { built_in: Arc::new(built_in), entries: BTreeMap::new(), groupings: BTreeSet::new() }
    }

    /// Takes a policy in; false when its rules are what they were, as after a write of its status.
    pub(crate) fn put(&mut self, object: StormPolicy) -> bool {
        let rule = rule(&object);
        let name = object.name_any();
        let same = self.entries.get(&name).is_some_and(|old| old.rule == rule);
        let old = self.entries.insert(name, Entry { object, rule });
        if let Some(old) = old.filter(|_| !same) {
            self.retire(&old);
        }
        !same
    }

    /// The policy is gone.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let removed = self.entries.remove(name);
        if let Some(old) = &removed {
            self.retire(old);
        }
        removed.is_some()
    }

    /// Removes what is not among `names`.
    pub(super) fn keep_only(&mut self, names: &BTreeSet<String>) -> bool {
        let gone: Vec<String> = self.entries.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().filter(|name| self.remove(name)).count() > 0
    }

    pub(crate) fn note_open(&mut self, open: impl IntoIterator<Item = (String, GroupBy)>) -> bool {
        let before = self.groupings.len();
        self.groupings.extend(open);
        self.groupings.len() > before
    }

    /// Storms may be open under its grouping.
    fn retire(&mut self, old: &Entry) {
        if let Ok(rule) = &old.rule {
            self.groupings.insert((rule.policy.name.clone(), rule.policy.group_by.as_shown()));
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn compile(&self) -> PolicySet {
        let rules: Vec<PolicyRule> =
            self.entries.values().filter_map(|entry| entry.rule.as_ref().ok()).cloned().collect();
        let mut current: HashMap<&str, &GroupBy> =
            rules.iter().map(|rule| (rule.policy.name.as_str(), &rule.policy.group_by)).collect();
        current.entry(Policy::BUILT_IN).or_insert(&self.built_in.group_by);
        // A policy's own, and those of policies that are gone: their storms take their Signals in until they end, whose policy they come under now.
        let mut former: HashMap<String, Vec<GroupBy>> = HashMap::new();
        for (name, grouping) in &self.groupings {
            let heirs = current.iter().filter(|(policy, _)| *policy == name || !current.contains_key(name.as_str()));
            for (policy, group_by) in heirs {
                let groupings = former.entry((*policy).to_owned()).or_default();
                if group_by.as_shown() != *grouping && !groupings.contains(grouping) {
                    groupings.push(grouping.clone());
                }
            }
        }
        former.retain(|_, groupings| !groupings.is_empty());
        drop(current);
        PolicySet::new(rules, self.built_in.clone(), former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{PolicyMatch, StormPolicySpec};

    fn policy(name: &str, group_by: &[&str]) -> StormPolicy {
        let group_by = group_by.iter().map(|text| (*text).to_owned()).collect();
        StormPolicy::new(name, StormPolicySpec { group_by, ..StormPolicySpec::default() })
    }

    fn by(texts: &[&str]) -> GroupBy {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    #[test]
    fn an_edit_of_the_grouping_is_remembered_and_one_of_the_status_changes_nothing() {
        let mut book = Book::new(Policy::default());
        assert!(book.put(policy("p", &["name"])));
        let mut told = policy("p", &["name"]);
        told.status = Some(crate::api::StormPolicyStatus { open_storms: 3, ..Default::default() });
        assert!(!book.put(told));
        assert!(book.compile().former("p").is_empty());
        assert!(book.put(policy("p", &["namespace"])));
        assert_eq!(book.compile().former("p"), [by(&["name"])]);
        // And back: what was former is current again.
        assert!(book.put(policy("p", &["name"])));
        assert_eq!(book.compile().former("p"), [by(&["namespace"])]);
    }

    #[test]
    fn what_a_deleted_policy_had_open_is_inherited_by_all() {
        let mut book = Book::new(Policy::default());
        book.put(policy("p", &["severity"]));
        book.put(policy("q", &["name"]));
        assert!(book.remove("p"));
        let set = book.compile();
        assert_eq!((set.former("q"), set.former("default")), (&[by(&["severity"])][..], &[by(&["severity"])][..]));
    }

    #[test]
    fn groupings_of_open_storms_are_found_again_after_a_restart() {
        let mut book = Book::new(Policy::default());
        book.put(policy("p", &["name"]));
        assert!(book.note_open([("p".to_owned(), by(&["source"])), ("p".to_owned(), by(&["name"]))]));
        assert_eq!(book.compile().former("p"), [by(&["source"])]);
        assert!(!book.note_open([("p".to_owned(), by(&["source"]))]));
    }

    // A policy that cannot be in force matches nothing, and others are not disturbed.
    #[test]
    fn an_invalid_policy_matches_nothing() {
        let mut book = Book::new(Policy::default());
        let mut bad = policy("bad", &["colour"]);
        bad.spec.priority = 9;
        bad.spec.matches = Some(PolicyMatch { names: Some(vec!["*".into()]), ..PolicyMatch::default() });
        book.put(bad);
        assert!(book.entries().all(|entry| entry.rule.is_err()));
        assert_eq!(book.compile().named("bad").name, "default");
    }
}
