//! A Signal to store, within the bounds of its schema and of the API server, and its name. Knows no source.
//!
//! **Names.** A Signal's name is a digest of what it reports and of the five minutes in which it came. What is sent again, by the same
//! sender or by the second one of a pair, arrives at the same names, and the API server says that they exist; the writer's `series` finds
//! out whether something else was reported in between. Hours later the same alerts have another bucket and are reported anew: still
//! firing. A repeat on the other side of a bucket's border makes one more Signal; nothing is counted twice, because an occurrence is known
//! by its fingerprint and resource, whatever Signal reports it. What is for people only (annotations, the sender's address) is left out of
//! the digest: the two of a pair differ in it. So are the labels that alerts share: the table has the alerts' fingerprints, and those are
//! made of their labels.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::text::{clean, hex};
use crate::api;
use crate::metrics::SourceLabel;
use crate::storm::Severity;
use crate::storm::said::rank;
use crate::storm::text::{lines, one_line};

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
/// As `spec.table` of a Signal, where it counts characters: a byte is at most one.
pub(super) const MAX_TABLE: usize = 262_144;

/// Name and value of each label, in order.
pub(super) type LabelPairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A Signal to store.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Its name in whichever namespace it is stored.
    pub(super) name: String,
    /// What it is about, whatever it reports of it.
    pub(super) series: String,
    /// The namespace of the trouble.
    pub(super) namespace: Option<String>,
    /// Those of its labels that its storm depends on.
    telling: BTreeMap<String, String>,
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
        // What its storm depends on, and what the sender grouped by, which is shared by definition: others make room for them.
        let own = std::mem::replace(&mut spec.labels, self.shared.group_labels.clone());
        for (name, value) in self.telling.clone().into_iter().chain(own) {
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

/// What a Signal says of its occurrences for people, in its bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct SignalTexts {
    /// What they have in common.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) generator_url: Option<String>,
    /// What some of them say beyond that.
    pub(super) examples: Vec<api::SignalExample>,
}

/// What is told of a body, as it says it itself.
#[derive(Debug)]
pub(super) struct BodyFacts<'a> {
    /// How names begin: a few letters for each source.
    pub(super) prefix: &'static str,
    /// As `spec.source.kind`.
    pub(super) kind: &'static str,
    /// As metrics call it.
    pub(super) label: SourceLabel,
    pub(super) instance: Option<&'a str>,
    pub(super) url: Option<&'a str>,
    pub(super) group_labels: &'a LabelPairs<'a>,
    /// Whether the sender left something out.
    pub(super) incomplete: bool,
    /// When the body came: no field of it says when it was sent.
    pub(super) received: Timestamp,
}

fn bucket(time: Timestamp) -> i64 {
    time.as_second().div_euclid(BUCKET_SECONDS) * BUCKET_SECONDS
}

/// The five minutes that what came between these times can be of, by anybody's clock.
pub(super) fn buckets(from: Timestamp, to: Timestamp) -> impl Iterator<Item = i64> {
    let count = (bucket(to) - bucket(from)) / BUCKET_SECONDS + 1;
    (-1..=count).map(move |n| bucket(from) + n * BUCKET_SECONDS)
}

/// What all Signals of a body have.
#[derive(Debug)]
pub(super) struct Shared {
    prefix: &'static str,
    pub(super) label: SourceLabel,
    group_labels: BTreeMap<String, String>,
    incomplete: bool,
    pub(super) received: Timestamp,
    pub(super) bucket: i64,
    /// How the digest of each Signal begins.
    digest: FieldDigest,
    pub(super) source: api::Source,
}

impl Shared {
    pub(super) fn of(body: &BodyFacts<'_>) -> Self {
        let text = |text: Option<&str>, most: usize| {
            text.map(|text| clean(text, most).into_owned()).filter(|text| !text.is_empty())
        };
        let url = text(body.url, MAX_URL).filter(|url| url.starts_with("http://") || url.starts_with("https://"));
        let source = api::Source { kind: body.kind.to_owned(), instance: text(body.instance, MAX_INSTANCE), url };
        let group_labels = bounded_labels(body.group_labels);
        let mut digest = FieldDigest::default();
        for (name, value) in &group_labels {
            digest.add(name.as_bytes());
            digest.add(value.as_bytes());
        }
        Self {
            prefix: body.prefix,
            label: body.label,
            group_labels,
            digest,
            source,
            incomplete: body.incomplete,
            received: body.received,
            bucket: bucket(body.received),
        }
    }
}

/// What makes a Signal of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DraftKey {
    /// `None`: cluster-scoped.
    pub(super) namespace: Option<String>,
    pub(super) cluster: Option<String>,
    pub(super) name: String,
    pub(super) severity: Severity,
    /// The labels that its storm depends on, by the policies in force; in bounds.
    pub(super) telling: BTreeMap<String, String>,
}

impl DraftKey {
    /// The Signal that reports this table of a source that reports ends.
    pub(super) fn draft(&self, table: String, texts: SignalTexts, shared: &Arc<Shared>) -> Draft {
        let (series, name) = self.names(&table, shared);
        let SignalTexts { labels, annotations, generator_url, examples } = texts;
        Draft {
            name,
            series,
            own: api::SignalSpec {
                name: self.name.clone(),
                severity: self.severity,
                namespace: Some(self.namespace.clone().unwrap_or_default()),
                cluster: self.cluster.clone(),
                source: None,
                labels,
                annotations,
                generator_url,
                examples,
                resolvable: true,
                incomplete: shared.incomplete,
                // Of the body.
                reported_at: None,
                occurrences: None,
                table: Some(table),
            },
            namespace: self.namespace.clone(),
            telling: self.telling.clone(),
            shared: shared.clone(),
        }
    }

    /// Of the series, which is all that the Signal is about, and of the Signal, which is what it reports as well. Hexadecimal characters
    /// and a number: nothing of an alert's text.
    fn names(&self, table: &str, shared: &Shared) -> (String, String) {
        let mut digest = shared.digest.clone();
        digest.add(&[self.namespace.is_some(), self.cluster.is_some()].map(u8::from));
        digest.add(self.namespace.as_deref().unwrap_or_default().as_bytes());
        digest.add(self.cluster.as_deref().unwrap_or_default().as_bytes());
        digest.add(self.name.as_bytes());
        digest.add(&self.severity.rank().to_be_bytes());
        for (name, value) in &self.telling {
            digest.add(name.as_bytes());
            digest.add(value.as_bytes());
        }
        let series = digest.clone().finish();
        digest.add(&[u8::from(shared.incomplete)]);
        digest.add(table.as_bytes());
        let digest = digest.finish();
        (hex(&series[..8]), format!("{}-{}-{}", shared.prefix, hex(&digest[..16]), shared.bucket))
    }
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

/// Labels that a Signal can hold: the first ones by name, names and values cut.
pub(super) fn bounded_labels<'a>(
    labels: impl IntoIterator<Item = &'a (Cow<'a, str>, Cow<'a, str>)>,
) -> BTreeMap<String, String> {
    bounded(labels.into_iter().map(|(name, value)| (name.as_ref(), one_line(value, MAX_LABEL))), MAX_LABELS)
}

/// Annotations that a Signal can hold, with their line breaks: those that people look for first, and then by name.
pub(super) fn bounded_annotations<'a>(
    annotations: impl IntoIterator<Item = &'a (Cow<'a, str>, Cow<'a, str>)>,
) -> BTreeMap<String, String> {
    let mut sorted: Vec<_> = annotations.into_iter().collect();
    sorted.sort_by_key(|(name, _)| rank(name));
    bounded(sorted.into_iter().map(|(name, value)| (name.as_ref(), lines(value, MAX_ANNOTATION))), MAX_ANNOTATIONS)
}

fn bounded<'a>(pairs: impl Iterator<Item = (&'a str, Cow<'a, str>)>, entries: usize) -> BTreeMap<String, String> {
    let texts = pairs.map(|(name, value)| (clean(name, MAX_KEY).into_owned(), value.into_owned()));
    texts.filter(|(name, _)| !name.is_empty()).take(entries).collect()
}
