//! Who else sends what Alertmanager sends, nearly: a program with an Alertmanager in it. What differs is here, all else is one.

use serde_json::value::RawValue;

use crate::metrics::SourceLabel;
use crate::sources::draft::LabelPairs;

/// How the webhooks of one sender differ from those of others.
#[derive(Debug)]
pub struct Dialect {
    /// Who sends them.
    pub(in crate::sources) sender: &'static str,
    /// Where they come.
    pub(in crate::sources) path: &'static str,
    /// As the body says it.
    pub(in crate::sources) version: &'static str,
    /// How the names of Signals begin.
    pub(in crate::sources) prefix: &'static str,
    /// As `spec.source.kind`.
    pub(in crate::sources) kind: &'static str,
    pub(in crate::sources) label: SourceLabel,
    /// What to do there about a body that is too large, as an order.
    pub(in crate::sources) how_to_send_less: &'static str,
    /// What people find in an alert beside its annotations, as annotations.
    pub(in crate::sources) links: for<'a> fn(&'a RawValue) -> LabelPairs<'a>,
}

/// Alertmanager's own.
pub(in crate::sources) static ALERTMANAGER: Dialect = Dialect {
    sender: "Alertmanager",
    path: "/webhook/alertmanager",
    version: "4",
    prefix: "am",
    kind: "alertmanager",
    label: SourceLabel::Alertmanager,
    how_to_send_less: "let the receiver send fewer alerts (max_alerts), group by more labels",
    links: |_| Vec::new(),
};

impl Default for &Dialect {
    fn default() -> Self {
        &ALERTMANAGER
    }
}
