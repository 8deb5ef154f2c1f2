//! The labels of one alert, as rules look at them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::sources::draft::LabelPairs;
use crate::storm::resource::is_dns_label;

/// A label that some rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LabelId(pub(super) u16);

/// The labels that rules name.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelNames(HashMap<String, LabelId>);

impl LabelNames {
    /// Its number from now on.
    pub(super) fn id(&mut self, name: &str) -> LabelId {
        let next = LabelId(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        *self.0.entry(normal(name).into_owned()).or_insert(next)
    }

    pub(super) fn get(&self, normal: &str) -> Option<LabelId> {
        self.0.get(normal).copied()
    }
}

/// Names are compared in lower case and with `_` for what Prometheus did not allow in them.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Cow::Borrowed(name);
    }
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    Cow::Owned(name.chars().map(letter).collect())
}

/// Whose label a …_namespace is.
#[derive(Clone, Debug, Default)]
pub(super) struct Sides {
    /// These say that the alert is about something elsewhere.
    pub(super) elsewhere: HashSet<LabelId>,
    /// These end with _namespace and do not.
    pub(super) here: HashSet<String>,
}

impl Sides {
    fn is_elsewhere(&self, name: &str) -> bool {
        // What kube-state-metrics copies of an object says nothing of where it is.
        name.ends_with("_namespace")
            && !name.starts_with("label_")
            && !name.starts_with("annotation_")
            && !self.here.contains(name)
    }
}

/// See the module.
pub(super) struct LabelView<'a> {
    known: Vec<(LabelId, &'a str)>,
    all: &'a LabelPairs<'a>,
    /// Whether a label says that the alert is about something elsewhere.
    pub(super) is_elsewhere: bool,
    /// Where, if a label …_namespace says so.
    pub(super) any_namespace: Option<&'a str>,
}

impl<'a> LabelView<'a> {
    pub(super) fn new(labels: &'a LabelPairs<'_>, names: &LabelNames, sides: &Sides) -> Self {
        let known = Vec::with_capacity(labels.len());
        let mut view = Self { known, all: labels, is_elsewhere: false, any_namespace: None };
        for (label, value) in labels {
            let Some(value) = told(value) else { continue };
            let name = normal(label);
            if let Some(id) = names.get(&name) {
                view.is_elsewhere |= sides.elsewhere.contains(&id);
                view.known.push((id, value));
            }
            if is_dns_label(value) && sides.is_elsewhere(&name) {
                view.is_elsewhere = true;
                view.any_namespace = view.any_namespace.or(Some(value));
            }
        }
        view
    }

    /// The value of a label. Of two spellings of one name the first one.
    pub(super) fn get(&self, id: LabelId) -> Option<&'a str> {
        self.known.iter().find(|(known, _)| *known == id).map(|(_, value)| *value)
    }

    /// All labels that rules name.
    pub(super) fn known(&self) -> &[(LabelId, &'a str)] {
        &self.known
    }

    /// The value of a label that no rule needs to name.
    pub(super) fn look_up(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find(|(label, _)| normal(label) == name).and_then(|(_, value)| told(value))
    }

    /// The beginnings of the labels that end like this.
    pub(super) fn beginnings(&self, end: &str) -> impl Iterator<Item = String> {
        self.all.iter().filter_map(move |(label, _)| normal(label).strip_suffix(end).map(str::to_owned))
    }
}

/// To Prometheus an empty label is none; and meshes say "unknown" of what they do not know.
fn told(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty() && *value != "unknown")
}
