//! Examples: alerts that fire, shown with what they say. They decide nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::digest::Digest;
use super::said::within;
use super::text::one_line;
use super::{Observation, Report, Severity};

/// Examples that a Signal gives, and that a RemediationRequest shows: what people read at one glance.
pub const MAX_EXAMPLES: usize = 10;
/// Characters of a summary: two lines.
pub const MAX_EXAMPLE_SUMMARY: usize = 300;
/// Characters of a label's value, as a pod's name has them.
pub const MAX_EXAMPLE_LABEL: usize = 256;
/// Labels of an example.
pub const MAX_EXAMPLE_LABELS: usize = 16;
/// Bytes of all their names and values: ten examples stay within some 20 KB.
const LABEL_BYTES: usize = 512;

/// What a Signal tells of one of its occurrences that fire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToldAlert {
    /// Which of its reports.
    pub report: u16,
    /// As the Signal gives it.
    pub fingerprint: Option<String>,
    /// When it began, as far as that is told.
    pub starts_at: Option<Timestamp>,
    /// The labels that the others of the Signal do not have.
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in one line.
    pub summary: Option<String>,
}

/// An alert of a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Which alert.
    pub uid: Digest,
    /// When it was reported.
    pub reported_at: Timestamp,
    /// Of its Signal.
    pub severity: Severity,
    /// As its Signal gives it.
    pub fingerprint: Option<String>,
    /// When it began.
    pub starts_at: Option<Timestamp>,
    /// Its labels, but for those of the alert that opened the storm.
    pub labels: BTreeMap<String, String>,
    /// What is wrong, in one line.
    pub summary: Option<String>,
    /// What it is about, as text in the storm's namespace.
    pub resource: Option<Arc<str>>,
}

impl Example {
    /// The examples that an observation gives to a storm that opened with these labels.
    pub fn all_of<'a>(
        observation: &'a Observation,
        common: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = Self> + 'a {
        observation.told.iter().filter_map(move |told| {
            let report = observation.reports.get(usize::from(told.report))?;
            Some(Self::of(observation, told, report, common))
        })
    }

    fn of(observation: &Observation, told: &ToldAlert, report: &Report, common: &BTreeMap<String, String>) -> Self {
        // Grouped otherwise, an observation has the opening of another Signal; its own grouping says what it says.
        let shared = &observation.own_grouping().said.labels;
        let differ = |(name, value): &(&String, &String)| common.get(*name) != Some(*value);
        let own = told.labels.iter().filter(differ);
        let shared = shared.iter().filter(|(name, _)| !told.labels.contains_key(*name)).filter(differ);
        let labels = own.chain(shared).map(|(name, value)| (name, one_line(value, MAX_EXAMPLE_LABEL)));
        Self {
            uid: report.uid,
            reported_at: observation.reported_at,
            severity: observation.severity,
            fingerprint: told.fingerprint.clone(),
            starts_at: told.starts_at,
            labels: within(labels, MAX_EXAMPLE_LABELS, LABEL_BYTES),
            summary: told.summary.clone(),
            resource: report.resource.as_ref().map(|(_, text)| text.clone()),
        }
    }
}

/// The labels of an example, in bounds.
pub fn example_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let labels = labels.iter().map(|(name, value)| (name, one_line(value, MAX_EXAMPLE_LABEL)));
    within(labels, MAX_EXAMPLE_LABELS, LABEL_BYTES)
}

impl ToldAlert {
    /// What it takes in memory beside its fields, roughly.
    pub fn bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        let texts = [&self.fingerprint, &self.summary].into_iter().flatten();
        labels + texts.map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::fixtures::observation;
    use crate::storm::{Opening, Said};

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn saying(labels: &[(&str, &str)]) -> Observation {
        let report = |uid| Report { uid, firing: true, resource: Some((uid, format!("Pod/p{uid}").into())) };
        let told = |report: u16| ToldAlert {
            report,
            fingerprint: Some(format!("f{report}")),
            starts_at: None,
            labels: map(&[("pod", "web")]),
            summary: None,
        };
        let template = observation((0..4).map(report).collect(), (1, 2), Severity::Error);
        let said = Said { labels: map(labels), ..Said::default() };
        let opening = Opening { said: Arc::new(said), ..Opening::clone(&template.opening) };
        Observation { told: vec![told(1), told(3)], opening: Arc::new(opening), ..template }
    }

    #[test]
    fn an_example_has_the_labels_that_the_opening_alert_does_not_have() {
        let observation = saying(&[("job", "api"), ("zone", "east")]);
        let common = map(&[("job", "api"), ("zone", "west"), ("more", "x")]);
        let examples: Vec<_> = Example::all_of(&observation, &common).collect();
        assert_eq!(examples.iter().map(|example| example.uid).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(examples[0].labels, map(&[("pod", "web"), ("zone", "east")]));
        assert_eq!((examples[1].resource.as_deref(), examples[1].severity), (Some("Pod/p3"), Severity::Error));
    }

    #[test]
    fn a_part_of_an_observation_has_the_examples_of_its_own_alerts() {
        let part = saying(&[]).part(&[2, 3], None, false);
        let examples: Vec<_> = Example::all_of(&part, &BTreeMap::new()).collect();
        assert_eq!(examples.iter().map(|example| (example.uid, part.told[0].report)).collect::<Vec<_>>(), [(3, 1)]);
    }

    #[test]
    fn labels_of_an_example_are_bounded() {
        let labels = (0..40).map(|n| (format!("l{n:02}"), "x".repeat(100))).collect();
        let kept = example_labels(&labels);
        assert_eq!(kept.len(), 4, "512 bytes");
        let observation = saying(&[("long", &"y".repeat(600)), ("short", "z")]);
        let example = Example::all_of(&observation, &BTreeMap::new()).next().unwrap();
        assert_eq!(example.labels.get("long").map(|value| value.chars().count()), Some(MAX_EXAMPLE_LABEL));
    }
}
