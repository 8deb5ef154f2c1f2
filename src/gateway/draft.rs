//! A Signal to store, within the bounds of its schema and of the API server.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::body::{Body, LabelPairs};
use super::text::clean;
use crate::api;

/// Reports of the same within this time are one.
const BUCKET_SECONDS: i64 = 300;
/// Bounds of a Signal's maps, and of what is in them.
pub(super) const MAX_LABELS: usize = 64;
pub(super) const MAX_ANNOTATIONS: usize = 32;
pub(super) const MAX_KEY: usize = 253;
pub(super) const MAX_LABEL: usize = 1_024;
pub(super) const MAX_ANNOTATION: usize = 4_096;
/// As `spec.source`.
pub(super) const MAX_INSTANCE: usize = 253;
const MAX_URL: usize = 2_048;

/// A Signal to store.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Its name in whichever namespace it is stored.
    pub(super) name: String,
    /// What it is about, whatever it reports of it.
    pub(super) series: String,
    /// The namespace of the trouble.
    pub(super) namespace: Option<String>,
    /// But for what it shares with all Signals of the body.
    pub(super) own: api::SignalSpec,
    pub(super) shared: Arc<Shared>,
}

impl Draft {
    /// The spec, whole. Made when the Signal is sent: a body may become thousands of Signals, and what they share may be long.
    pub(super) fn spec(&self) -> api::SignalSpec {
        let mut spec = self.own.clone();
        spec.source = Some(self.shared.source.clone());
        spec.reported_at = Some(self.shared.received.into());
        // The labels that Alertmanager grouped by are shared by definition, and policies group by them: others make room for them.
        let own = std::mem::replace(&mut spec.labels, self.shared.group_labels.clone());
        for (name, value) in own {
            if spec.labels.len() < MAX_LABELS {
                spec.labels.entry(name).or_insert(value);
            }
        }
        spec
    }

    /// What it reports.
    pub(super) fn table(&self) -> &str {
        self.own.table.as_deref().unwrap_or_default()
    }
}

/// What all Signals of a body have.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) group_labels: BTreeMap<String, String>,
    pub(super) incomplete: bool,
    /// When the body came: no field of it says when Alertmanager sent it.
    pub(super) received: Timestamp,
    pub(super) bucket: i64,
    /// How the digest of each Signal begins.
    pub(super) digest: FieldDigest,
    source: api::Source,
}

/// SHA-256 over fields, each behind its length, which keeps one field from running into the next.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldDigest(Sha256);

impl FieldDigest {
    pub(super) fn add(&mut self, field: &[u8]) {
        self.0.update(field.len().to_be_bytes());
        self.0.update(field);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Shared {
    pub(super) fn of(body: &Body<'_>, received: Timestamp) -> Self {
        let text = |text: &Option<Cow<'_, str>>, most: usize| {
            text.as_deref().map(|text| clean(text, most).into_owned()).filter(|text| !text.is_empty())
        };
        let url =
            text(&body.external_url, MAX_URL).filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let source = api::Source { kind: "alertmanager".to_owned(), instance: text(&body.receiver, MAX_INSTANCE), url };
        let group_labels = bounded(&body.group_labels, MAX_LABELS, MAX_LABEL);
        let mut digest = FieldDigest::default();
        for (name, value) in &group_labels {
            digest.add(name.as_bytes());
            digest.add(value.as_bytes());
        }
        Self {
            group_labels,
            digest,
            source,
            incomplete: body.truncated > 0,
            received,
            bucket: received.as_second().div_euclid(BUCKET_SECONDS) * BUCKET_SECONDS,
        }
    }
}

/// A map that a Signal can hold: the first entries by name, keys and values cut.
pub(super) fn bounded(labels: &LabelPairs<'_>, entries: usize, value: usize) -> BTreeMap<String, String> {
    let texts = labels.iter().map(|(k, v)| (clean(k, MAX_KEY).into_owned(), clean(v, value).into_owned()));
    let mut map: BTreeMap<_, _> = texts.filter(|(key, _)| !key.is_empty()).collect();
    while map.len() > entries {
        map.pop_last();
    }
    map
}
