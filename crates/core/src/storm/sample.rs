//! A fair sample of resource texts: bounded, and still showing every namespace and kind it has room for.
//!
//! Order all texts by (rank within their namespace and kind, namespace and kind, text) and keep the first `cap`. Adding texts only
//! moves others back in that order, so the sample of a union is the sample of the samples' union: the sample is itself a join, and
//! nothing but the sample has to be kept.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::parse_resource_name;

/// The most texts a sample may hold, and the most that a policy may show: bounds the object, with texts of at most 700 characters, to
/// some 350 KB (invariant 16).
pub const MAX_AFFECTED: usize = 500;

/// Texts by (namespace, kind).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    cap: usize,
    groups: BTreeMap<(String, String), BTreeSet<String>>,
    len: usize,
    /// Characters of all texts.
    characters: usize,
    bar: Option<Bar>,
}

/// What a text takes in memory beside its characters.
const TEXT_BYTES: usize = 56;

/// What a full sample refuses without a look at its groups: in a large storm, nearly every text. It follows from the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bar {
    /// What the texts of the group that drops next begin with, up to the resource's name.
    beginning: String,
    /// The text that it would drop.
    last: String,
}

impl Bar {
    /// A later text of the same group would be dropped at once, and `last` itself is there.
    fn refuses(&self, text: &str) -> bool {
        text >= self.last.as_str() && text.starts_with(&self.beginning)
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self { cap: MAX_AFFECTED, groups: BTreeMap::new(), len: 0, characters: 0, bar: None }
    }
}

impl Sample {
    /// The fair sample of at most `cap` of these texts.
    pub fn of<'a>(cap: usize, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sample = Self { cap, ..Self::default() };
        for text in texts {
            sample.offer(text);
        }
        sample
    }

    /// Takes `text` in if there is room for it or if it shows more than one that is there.
    pub fn offer(&mut self, text: &str) {
        if self.bar.as_ref().is_some_and(|bar| bar.refuses(text)) {
            return;
        }
        // The scope does not matter to the grouping: `Kind/Name` has one implied namespace, whichever it is.
        // What says no resource cannot be shown as one: in the sample it would be news with every publish.
        let Ok(resource) = parse_resource_name(text, None) else { return };
        let group = (resource.namespace.unwrap_or_default().to_owned(), resource.kind.to_owned());
        if self.groups.entry(group).or_default().insert(text.to_owned()) {
            self.len += 1;
            self.characters += text.len();
        }
        if self.len > self.cap {
            self.drop_last();
            self.bar = self.next_to_drop();
        }
    }

    /// Drops the last text in the sample's order: the greatest of the last of the largest groups.
    fn drop_last(&mut self) {
        let largest = self.largest();
        let Some(group) = self.groups.values_mut().rev().find(|group| group.len() == largest) else { return };
        if let Some(text) = group.pop_last() {
            self.len -= 1;
            self.characters -= text.len();
        }
        self.groups.retain(|_, texts| !texts.is_empty());
    }

    fn largest(&self) -> usize {
        self.groups.values().map(BTreeSet::len).max().unwrap_or_default()
    }

    fn next_to_drop(&self) -> Option<Bar> {
        let largest = self.largest();
        let last = self.groups.values().rev().find(|group| group.len() == largest)?.last()?;
        let name = parse_resource_name(last, None).ok()?.name;
        Some(Bar { beginning: last.strip_suffix(&name)?.to_owned(), last: last.clone() })
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        self.len * TEXT_BYTES + self.characters
    }

    /// The texts, sorted by namespace, kind and text.
    pub fn texts(&self) -> Vec<String> {
        self.groups.values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec((0..9u8, 0..4u8, 0..200u16), 0..300).prop_map(|parts| {
            parts.into_iter().map(|(ns, kind, name)| format!("/namespaces/ns{ns}/Kind{kind}/n{name}")).collect()
        })
    }

    fn sample(cap: usize, texts: &[String]) -> Sample {
        Sample::of(cap, texts.iter().map(String::as_str))
    }

    proptest! {
        // A10: the list is capped, whatever comes in, and the same for every order of arrival.
        #[test]
        fn the_sample_of_a_union_is_the_sample_of_the_samples(a in texts(), b in texts()) {
            let union: Vec<_> = a.iter().chain(&b).cloned().collect();
            let mut backwards = union.clone();
            backwards.reverse();
            let mut joined = sample(100, &a);
            // A larger sample loses nothing that the smaller one keeps: ledgers keep the largest, policies cut it.
            for text in sample(MAX_AFFECTED, &b).texts() {
                joined.offer(&text);
            }
            prop_assert_eq!(joined.texts(), sample(100, &union).texts());
            prop_assert_eq!(sample(100, &backwards).texts(), sample(100, &union).texts());
            prop_assert!(joined.texts().len() <= 100);
        }
    }

    #[test]
    fn the_sample_keeps_every_namespace_and_kind_it_can() {
        let mut all: Vec<String> = (0..5_000).map(|n| format!("/namespaces/loud/Pod/p{n:04}")).collect();
        all.extend((0..40).map(|n| format!("/namespaces/quiet{n}/Pod/p")));
        all.push("/Node/n".into());
        let kept = sample(100, &all).texts();
        assert_eq!(kept.len(), 100);
        assert!(kept.contains(&"/Node/n".to_owned()));
        assert_eq!(kept.iter().filter(|text| text.contains("quiet")).count(), 40);
    }
}
