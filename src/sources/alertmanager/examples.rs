//! A few alerts of a group that fire, with what each says beyond what all say: people see what is wrong with some of a thousand.

use std::collections::BTreeMap;

use crate::api::SignalExample;
use crate::sources::draft::{LabelPairs, SignalTexts};
use crate::storm::example::{MAX_EXAMPLE_SUMMARY, MAX_EXAMPLES, example_labels};
use crate::storm::said::MAX_SAID_ANNOTATION;
use crate::storm::text::{lines, one_line};

/// The first ones by identity, which is a hash: the same whatever the order of the body is.
#[derive(Debug, Default)]
pub(super) struct GroupExamples<'a>(BTreeMap<String, AlertTexts<'a>>);

#[derive(Debug)]
struct AlertTexts<'a> {
    /// Which alert of the body.
    alert: usize,
    labels: LabelPairs<'a>,
    annotations: LabelPairs<'a>,
}

impl<'a> GroupExamples<'a> {
    /// `identity`: of an alert that fires.
    pub(super) fn offer(
        &mut self,
        identity: Option<String>,
        alert: usize,
        labels: &LabelPairs<'a>,
        annotations: &LabelPairs<'a>,
    ) {
        let Some(identity) = identity else { return };
        let is_full = self.0.len() >= MAX_EXAMPLES;
        if is_full && self.0.last_key_value().is_some_and(|(last, _)| *last <= identity) {
            return;
        }
        let (labels, annotations) = (labels.clone(), annotations.clone());
        self.0.insert(identity, AlertTexts { alert, labels, annotations });
        if self.0.len() > MAX_EXAMPLES {
            self.0.pop_last();
        }
    }

    /// Those that say more than the Signals of the group do, each with its place in the body.
    pub(super) fn told(self, shared: &SignalTexts) -> Vec<(usize, SignalExample)> {
        self.0
            .into_iter()
            .filter_map(|(identity, texts)| Some((texts.alert, texts.beyond(identity, shared)?)))
            .collect()
    }
}

impl AlertTexts<'_> {
    fn beyond(&self, fingerprint: String, shared: &SignalTexts) -> Option<SignalExample> {
        let own = self.labels.iter().filter(|(name, _)| !shared.labels.contains_key(name.as_ref()));
        let labels = own.map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect();
        let text = |wanted: &str| {
            let own = self.annotations.iter().find(|(name, _)| name == wanted);
            own.filter(|_| !shared.annotations.contains_key(wanted)).map(|(_, text)| text.as_ref())
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let example = SignalExample {
            fingerprint,
            labels: example_labels(&labels),
            summary: text("summary").and_then(|text| some(one_line(text, MAX_EXAMPLE_SUMMARY).into_owned())),
            description: text("description").and_then(|text| some(lines(text, MAX_SAID_ANNOTATION).into_owned())),
        };
        let says = !example.labels.is_empty() || example.summary.is_some() || example.description.is_some();
        says.then_some(example)
    }
}
