//! What an alert says, for people and engines: labels, annotations and a link, in bounds. It decides nothing.

use std::collections::BTreeMap;

use super::text::{cut, lines, one_line};

/// Bytes of all label names and values: some forty labels of a usual size.
const LABEL_BYTES: usize = 2_048;
/// Bytes of all annotation names and values: the three that come first, whole, and some others.
const ANNOTATION_BYTES: usize = 4_096;
/// Entries of the maps, as in a Signal.
pub const MAX_SAID_LABELS: usize = 64;
/// The same of annotations.
pub const MAX_SAID_ANNOTATIONS: usize = 32;
/// Characters of a label's value: a pod's name has at most 253.
pub const MAX_SAID_LABEL: usize = 256;
/// Characters of an annotation's value: a paragraph.
pub const MAX_SAID_ANNOTATION: usize = 1_024;
/// Characters of a link, as browsers and Signals have them.
pub const MAX_SAID_URL: usize = 2_048;
/// Characters of a name, as in a Signal.
const MAX_NAME: usize = 253;
/// What people look for first: it is kept when other annotations have to go.
const FIRST: [&str; 3] = ["runbook_url", "summary", "description"];

/// What the opening Signal of a storm says of its alerts: at most 8 KiB, because each open storm keeps it in memory, and a
/// RemediationRequest stays below 100 KB with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Said {
    /// What its alerts have in common.
    pub labels: BTreeMap<String, String>,
    /// Text for people.
    pub annotations: BTreeMap<String, String>,
    /// Where the source shows why they fire.
    pub generator_url: Option<String>,
}

impl Said {
    /// What is kept of labels, annotations and a link of a Signal.
    pub fn new(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
        generator_url: Option<&str>,
    ) -> Self {
        let labels = labels.iter().map(|(name, value)| (name, one_line(value, MAX_SAID_LABEL)));
        let mut by_rank: Vec<_> = annotations.iter().collect();
        by_rank.sort_by_key(|(name, _)| rank(name));
        let annotations = by_rank.into_iter().filter_map(|(name, value)| {
            let text = lines(value, MAX_SAID_ANNOTATION);
            // Half a link leads nowhere.
            let is_half = is_link(value) && text.len() < value.trim().len();
            (!is_half).then_some((name, text))
        });
        Self {
            labels: within(labels, MAX_SAID_LABELS, LABEL_BYTES),
            annotations: within(annotations, MAX_SAID_ANNOTATIONS, ANNOTATION_BYTES),
            generator_url: generator_url.and_then(link),
        }
    }

    /// What it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        let entries = self.labels.iter().chain(&self.annotations);
        let texts: usize = entries.map(|(name, value)| name.len() + value.len()).sum();
        texts + self.generator_url.as_ref().map_or(0, String::len)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty() && self.generator_url.is_none()
    }
}

/// A link that can be followed. `None`: it is none, or longer than they may be.
pub fn link(text: &str) -> Option<String> {
    let link = one_line(text, MAX_SAID_URL);
    (is_link(&link) && link.len() == text.trim().len() && !link.contains(' ')).then(|| link.into_owned())
}

/// Where an annotation stands among those of an alert: the lower, the sooner people look for it.
pub fn rank(name: &str) -> usize {
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len())
}

fn is_link(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.trim_start().starts_with(scheme))
}

/// The first of these entries that fit; one that is too long leaves the room to those after it.
pub(super) fn within<'a, V: AsRef<str>>(
    entries: impl IntoIterator<Item = (&'a String, V)>,
    most: usize,
    bytes: usize,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    let mut left = bytes;
    for (name, value) in entries {
        let (name, value) = (one_line(name, MAX_NAME), value.as_ref());
        let size = name.len() + value.len();
        if name.is_empty() || value.is_empty() || size > left || kept.len() == most {
            continue;
        }
        left -= size;
        kept.insert(name.into_owned(), value.to_owned());
    }
    kept
}

/// A text of at most so many bytes, in one line.
pub fn short(text: &str, bytes: usize) -> String {
    let line = one_line(text, bytes);
    if line.len() <= bytes { line.into_owned() } else { cut(&line, bytes).trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn runbook_summary_and_description_are_kept_first() {
        let long = "x".repeat(5_000);
        let mut annotations = map(&[
            ("runbook_url", "https://runbooks.example/load"),
            ("summary", "It burns\r\nin two places"),
            ("description", &long),
        ]);
        annotations.extend((0..30).map(|n| (format!("a{n:02}"), "y".repeat(900))));
        let said = Said::new(&BTreeMap::new(), &annotations, None);
        assert_eq!(said.annotations["runbook_url"], "https://runbooks.example/load");
        assert_eq!(said.annotations["summary"], "It burns\nin two places");
        assert_eq!(said.annotations["description"].chars().count(), MAX_SAID_ANNOTATION);
        assert!(said.annotations["description"].ends_with("x…"));
        assert_eq!(
            said.annotations.keys().filter(|name| name.starts_with('a')).collect::<Vec<_>>(),
            ["a00", "a01", "a02"]
        );
    }

    #[test]
    fn a_link_is_whole_or_not_there() {
        let long = format!("https://prometheus.example/graph?g0.expr={}", "x".repeat(3_000));
        let said = Said::new(&BTreeMap::new(), &map(&[("runbook_url", &long), ("summary", "It burns")]), Some(&long));
        assert_eq!((said.annotations.len(), said.generator_url), (1, None));
        assert_eq!(link(" https://a.example/b?c=%22d%22 ").as_deref(), Some("https://a.example/b?c=%22d%22"));
        for none in ["", "javascript:alert(1)", "https://a.example/\u{202e}b", "https://a.example/a b"] {
            assert_eq!(link(none), None, "{none}");
        }
    }

    proptest! {
        // Invariant 16, and what is read back from an object is what was written.
        #[test]
        fn what_is_said_is_bounded_whatever_comes_in(
            labels in prop::collection::btree_map("(?s:.){0,40}", "(?s:.){0,400}", 0..80),
            annotations in prop::collection::btree_map("(?s:.){0,40}", "(?s:.){0,2000}", 0..12),
            url in "(https://)?(?s:.){0,40}",
        ) {
            let said = Said::new(&labels, &annotations, Some(&url));
            let bytes = |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            prop_assert!(bytes(&said.labels) <= LABEL_BYTES && said.labels.len() <= MAX_SAID_LABELS);
            prop_assert!(bytes(&said.annotations) <= ANNOTATION_BYTES && said.annotations.len() <= MAX_SAID_ANNOTATIONS);
            prop_assert_eq!(Said::new(&said.labels, &said.annotations, said.generator_url.as_deref()), said);
        }
    }
}
