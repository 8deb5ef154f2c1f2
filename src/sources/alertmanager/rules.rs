//! What may be set about reading alerts: what they are about, which severity a word stands for, who reports about others.
//!
//! The built-in rules are `targets.yaml`, which explains them. A settings file comes before them:
//!
//! ```yaml
//! rules:
//!   - rule: widgets
//!     jobs: [widget-exporter]
//!     target: {label: widget, kind: Widget, apiVersion: example.com/v1}
//!     namespace: [widget_namespace, namespace]
//! removeRules: [ceph]
//! targets:
//!   - {label: rollout, apiVersion: argoproj.io/v1alpha1, kind: Rollout}
//! severities: {sev0: critical, chatty: info}
//! exporters: [my-exporter]
//! ```

mod compile;
mod file;
mod glob;
mod table;
mod view;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(super) use table::{Finding, Named, SignMemo};

use compile::compile;
use file::{BuiltInText, SettingsText};
use table::TargetTable;

use crate::sources::draft::LabelPairs;
use crate::storm::{Reach, Resource, Severity};

/// The rules that the program has built in, as they are written.
pub const BUILT_IN: &str = include_str!("targets.yaml");

static BUILT_IN_RULES: LazyLock<BuiltInText> = LazyLock::new(|| {
    // Tests read it: it cannot be wrong in a program that was built.
    serde_saphyr::from_str(BUILT_IN).unwrap_or_default()
});

/// Words for a severity, in lower case, without blanks, hyphens and underscores.
const SEVERITIES: [(&str, Severity); 41] = [
    ("critical", Severity::Critical),
    ("crit", Severity::Critical),
    ("page", Severity::Critical),
    ("pager", Severity::Critical),
    ("fatal", Severity::Critical),
    ("emergency", Severity::Critical),
    ("emerg", Severity::Critical),
    ("disaster", Severity::Critical),
    ("blocker", Severity::Critical),
    ("urgent", Severity::Critical),
    ("p0", Severity::Critical),
    ("p1", Severity::Critical),
    ("sev0", Severity::Critical),
    ("sev1", Severity::Critical),
    ("error", Severity::Error),
    ("err", Severity::Error),
    ("major", Severity::Error),
    ("high", Severity::Error),
    ("severe", Severity::Error),
    ("p2", Severity::Error),
    ("sev2", Severity::Error),
    ("warning", Severity::Warning),
    ("warn", Severity::Warning),
    ("minor", Severity::Warning),
    ("medium", Severity::Warning),
    ("moderate", Severity::Warning),
    ("ticket", Severity::Warning),
    ("p3", Severity::Warning),
    ("sev3", Severity::Warning),
    ("info", Severity::Info),
    ("information", Severity::Info),
    ("informational", Severity::Info),
    ("notice", Severity::Info),
    ("low", Severity::Info),
    ("trivial", Severity::Info),
    ("debug", Severity::Info),
    ("none", Severity::Info),
    ("p4", Severity::Info),
    ("p5", Severity::Info),
    ("sev4", Severity::Info),
    ("sev5", Severity::Info),
];

/// What an alert is about, by its labels.
#[derive(Clone, Debug)]
pub struct TargetRules {
    table: TargetTable,
    severities: HashMap<String, Severity>,
    /// Whose Signals may speak of others: an alert names no resource that its Signal may not.
    reach: Reach,
}

impl Default for TargetRules {
    fn default() -> Self {
        Self::with(&SettingsText::default()).unwrap_or_else(|_| Self::empty())
    }
}

impl TargetRules {
    /// The built-in rules and those of a settings file. The message says what is wrong with the file.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let text: SettingsText = serde_saphyr::from_str(yaml).map_err(|fault| fault.to_string())?;
        Self::with(&text)
    }

    fn with(text: &SettingsText) -> Result<Self, String> {
        let table = compile(&BUILT_IN_RULES, text)?;
        Ok(Self { table, severities: severities(&text.severities), reach: Reach::default() })
    }

    fn empty() -> Self {
        Self { table: TargetTable::default(), severities: HashMap::new(), reach: Reach::default() }
    }

    /// The same, where Signals of these namespaces may speak of others.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Whether a Signal in `namespace` may name this resource; one that is in none goes to the operator's own, and may.
    pub(super) fn may_name(&self, resource: &Resource<'_>, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|own| resource.is_within(own) || self.reach.is_wide(own))
    }

    /// What the rules say of the alert of this name.
    pub(super) fn find<'a>(&'a self, name: &str, labels: &'a LabelPairs<'_>, memo: &mut SignMemo) -> Finding<'a> {
        self.table.find(name, labels, memo)
    }

    /// The name of each rule, and where it is from.
    pub(super) fn rule_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let clusters = self.table.clusters.iter().map(|rule| (rule.name.as_str(), rule.of.as_str()));
        self.table.rules.iter().map(|rule| (rule.name.as_str(), rule.of.as_str())).chain(clusters)
    }

    /// The severity of a word; warning, when nobody knows the word.
    pub(super) fn severity(&self, word: &str) -> Severity {
        let known = self.severities.get(word).or_else(|| self.severities.get(&plain_word(word)));
        known.copied().unwrap_or(Severity::Warning)
    }
}

/// Those that words stand for, with those of a settings file.
fn severities(set: &HashMap<String, Severity>) -> HashMap<String, Severity> {
    let built_in = SEVERITIES.map(|(word, severity)| (word.to_owned(), severity)).into_iter();
    built_in.chain(set.iter().map(|(word, severity)| (plain_word(word), *severity))).collect()
}

/// SEV-1 is sev1.
fn plain_word(word: &str) -> String {
    word.to_lowercase().chars().filter(|c| !c.is_whitespace() && !"-_".contains(*c)).collect()
}

#[cfg(test)]
#[path = "rules/tests.rs"]
mod tests;
