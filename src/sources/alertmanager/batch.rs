//! One body becomes a few Signals: one for each namespace, alert name, severity, cluster, group labels, and values of the labels that policies
//! group or match by, and for at most so many occurrences. Pure, and the same for every delivery of the same alerts within five minutes (see [`super::super::draft`]).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;
use serde_json::value::RawValue;

use super::body::{Alert, Body, Borrowed, read_alert, read_annotations};
use super::examples::GroupExamples;
use super::rules::{SignMemo, TargetRules};
use super::target::About;
use crate::sources::draft::{
    BodyFacts, Draft, DraftKey, LabelPairs, MAX_TABLE, Shared, SignalTexts, bounded_annotations, bounded_labels,
};
use crate::sources::text::clean;
use crate::storm::resource::extract_resource_name;
use crate::storm::said::link;
use crate::storm::{PolicySet, given};

/// Longer ones are no fingerprints of Alertmanager's.
const MAX_FINGERPRINT: usize = 64;

/// What a body says.
#[derive(Debug, Default)]
pub(super) struct Webhook {
    pub(super) signals: Vec<Draft>,
    /// One for each alert, in the order of the body.
    pub(super) alerts: Vec<AlertFate>,
    /// Alerts that the sender left out.
    pub(super) truncated: u64,
    /// Occurrences that name no resource.
    pub(super) without_target: u64,
}

impl Webhook {
    /// Why the first alert that is rejected is so.
    pub(super) fn rejected(&self) -> Option<&str> {
        self.alerts.iter().find_map(|fate| match &fate.verdict {
            AlertVerdict::Rejected(why) => Some(why.as_str()),
            AlertVerdict::In(_) | AlertVerdict::Again(_) | AlertVerdict::Dropped(_) => None,
        })
    }
}

/// What became of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertFate {
    /// Empty where the alert has none that can be told.
    pub(super) fingerprint: Box<str>,
    pub(super) verdict: AlertVerdict,
}

/// See [`AlertFate`]. The number is that of a Signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AlertVerdict {
    /// It is in this Signal.
    In(usize),
    /// It is in this Signal, because another alert of the body says the same.
    Again(usize),
    /// It can be in none: says why.
    Rejected(String),
    /// It is in none because a rule says so: which one, and why.
    Dropped(String),
}

struct AlertGroup<'a> {
    key: DraftKey,
    lines: Vec<Line>,
    labels: LabelPairs<'a>,
    annotations: LabelPairs<'a>,
    generator_url: Option<String>,
    examples: GroupExamples<'a>,
}

/// One occurrence.
#[derive(Debug)]
struct Line {
    starts_at: Option<Timestamp>,
    text: String,
    /// Which alert of the body.
    alert: usize,
}

impl Line {
    /// In order of time, whatever the state is: what is new comes after what was there, and few Signals change their content.
    fn order(&self) -> (Option<Timestamp>, &str, &str) {
        let (_, identity) = self.text.split_once(' ').unwrap_or_default();
        (self.starts_at, identity, &self.text)
    }
}

/// Makes Signals of a body that came at `received`, under these policies.
pub(super) fn batch(
    body: &Body<'_>,
    rules: &TargetRules,
    policies: &PolicySet,
    max_lines: usize,
    received: Timestamp,
) -> Webhook {
    let mut reader = AlertReader {
        rules,
        policies,
        telling: HashMap::new(),
        body,
        groups: Vec::new(),
        places: HashMap::new(),
        memo: SignMemo::default(),
        without_target: 0,
    };
    let mut fates: Vec<_> = body.alerts.iter().enumerate().map(|(index, raw)| reader.read(index, raw)).collect();
    let shared = Arc::new(shared(body, received));
    let mut signals = Vec::new();
    for group in reader.groups {
        group.cut(max_lines, &shared, &mut signals, &mut fates);
    }
    Webhook { signals, alerts: fates, truncated: body.truncated, without_target: reader.without_target }
}

fn shared(body: &Body<'_>, received: Timestamp) -> Shared {
    Shared::of(&BodyFacts {
        prefix: body.dialect.prefix,
        kind: body.dialect.kind,
        label: body.dialect.label,
        instance: body.receiver.as_deref(),
        url: body.external_url.as_deref(),
        group_labels: &body.group_labels,
        incomplete: body.truncated > 0,
        received,
    })
}

/// Goes through the alerts.
struct AlertReader<'a> {
    rules: &'a TargetRules,
    policies: &'a PolicySet,
    /// By alert name: the labels that its storm depends on.
    telling: HashMap<String, BTreeSet<&'a str>>,
    body: &'a Body<'a>,
    groups: Vec<AlertGroup<'a>>,
    places: HashMap<DraftKey, usize>,
    memo: SignMemo,
    without_target: u64,
}

impl<'a> AlertReader<'a> {
    fn read(&mut self, index: usize, raw: &'a RawValue) -> AlertFate {
        match read_alert(raw) {
            Err(fault) => AlertFate {
                fingerprint: "".into(),
                verdict: AlertVerdict::Rejected(format!("cannot be read: {fault}")),
            },
            Ok(alert) => {
                let fingerprint = fingerprint(&alert);
                let verdict = self.take(index, raw, alert, &fingerprint).unwrap_or_else(AlertVerdict::Rejected);
                AlertFate { fingerprint, verdict }
            }
        }
    }

    fn take(
        &mut self,
        index: usize,
        raw: &'a RawValue,
        alert: Alert<'a>,
        fingerprint: &str,
    ) -> Result<AlertVerdict, String> {
        let status = alert.status.as_deref().or(self.body.status.as_deref()).unwrap_or("firing").trim();
        let state = ["firing", "resolved"].into_iter().find(|known| status.eq_ignore_ascii_case(known));
        let state = state.ok_or_else(|| format!("status is {:?}, not firing or resolved", clean(status, 40)))?;
        let starts_at = starts_at(alert.starts_at.as_deref())?;
        let about = self.rules.about(&alert.labels, &mut self.memo).ok_or("the label alertname is missing or empty")?;
        if let (Some(why), Some((rule, _))) = (about.drop, about.rule) {
            return Ok(AlertVerdict::Dropped(format!("by rule {rule}: {why}")));
        }
        let resource = about.target.as_ref().and_then(|target| target.resource(about.namespace));
        self.without_target += u64::from(resource.is_none());
        let resource = resource.map_or_else(|| "-".to_owned(), |r| extract_resource_name(&r, about.namespace));
        let start = starts_at.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let identity = identity(fingerprint, &alert.labels);
        let text = format!("{state} {start} {identity} {resource}\n");
        let telling = self.telling(&about.name, &alert.labels);
        let key = key(about, telling);
        let example = (state == "firing").then(|| identity.into_owned());
        let line = Line { starts_at, text, alert: index };
        let mut annotations = read_annotations(&alert);
        let generator_url = generator_url(&alert);
        let links = (self.body.dialect.links)(raw);
        if !links.is_empty() {
            annotations.extend(links);
            annotations.sort_unstable();
        }
        if let Some(place) = self.places.get(&key) {
            let group = &mut self.groups[*place];
            group.lines.push(line);
            keep_shared(&mut group.labels, &alert.labels);
            keep_shared(&mut group.annotations, &annotations);
            group.examples.offer(example, index, &alert.labels, &annotations);
            group.generator_url = group.generator_url.take().or(generator_url);
        } else {
            self.places.insert(key.clone(), self.groups.len());
            let mut examples = GroupExamples::default();
            examples.offer(example, index, &alert.labels, &annotations);
            let labels = alert.labels;
            self.groups.push(AlertGroup { key, lines: vec![line], labels, annotations, generator_url, examples });
        }
        Ok(AlertVerdict::In(0))
    }

    /// Those of an alert's labels that its storm depends on.
    fn telling(&mut self, name: &str, labels: &LabelPairs<'_>) -> BTreeMap<String, String> {
        if !self.telling.contains_key(name) {
            self.telling.insert(name.to_owned(), self.policies.telling_labels(name));
        }
        let telling = self.telling.get(name).into_iter().flatten();
        let values = telling.filter_map(|telling| labels.iter().find(|(label, _)| label == telling));
        bounded_labels(values)
    }
}

fn key(about: About<'_>, telling: BTreeMap<String, String>) -> DraftKey {
    DraftKey {
        namespace: about.namespace.map(str::to_owned),
        cluster: about.cluster.map(Cow::into_owned),
        name: about.name.into_owned(),
        severity: about.severity,
        telling,
    }
}

/// One link for a group: it is to the rule, which its alerts share.
fn generator_url(alert: &Alert<'_>) -> Option<String> {
    let Borrowed(url) = serde_json::from_str(alert.generator_url?.get()).ok()?;
    link(&url)
}

/// Alertmanager's own, where the alert has it: what it computes from the labels. Whatever else is there is not one.
fn fingerprint(alert: &Alert<'_>) -> Box<str> {
    let given = alert.fingerprint.as_deref().unwrap_or_default();
    let fits =
        !given.is_empty() && given.len() <= MAX_FINGERPRINT && given.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { given.into() } else { format!("{:016x}", label_fingerprint(&alert.labels)).into() }
}

/// What tells an alert from others. Alertmanager's fingerprint is that of the labels; where it is another one, alerts with the same one and
/// different labels are several.
fn identity<'f>(fingerprint: &'f str, labels: &LabelPairs<'_>) -> Cow<'f, str> {
    let of_labels = format!("{:016x}", label_fingerprint(labels));
    if fingerprint == of_labels { fingerprint.into() } else { format!("{fingerprint}-{of_labels}").into() }
}

/// As Prometheus' `model.LabelSet.Fingerprint`: FNV-1a over the names and values in order of the names, each followed by 0xff.
fn label_fingerprint(labels: &LabelPairs<'_>) -> u64 {
    let texts = labels.iter().flat_map(|(name, value)| [name, value]);
    texts
        .flat_map(|text| text.bytes().chain([0xff]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// In whole milliseconds, in which occurrences are told apart. `None`: the zero time, which says so.
fn starts_at(text: Option<&str>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = time(text).ok_or_else(|| format!("startsAt is {:?}, which is no RFC 3339 time", clean(text, 40)))?;
    let milliseconds = Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
    Ok(given(Some(milliseconds)))
}

/// What is later than times can be is the last one there is: intake clamps it, and counts it.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    // It has all that a time has, and yet is none: the last day of the year 9999.
    let pieces = Pieces::parse(text).ok()?;
    pieces.time()?;
    pieces.to_numeric_offset()?;
    Some(if pieces.date().year() > 0 { Timestamp::MAX } else { Timestamp::MIN })
}

/// Both are in order: one way through them, however many there are.
fn keep_shared(shared: &mut LabelPairs<'_>, other: &LabelPairs<'_>) {
    let mut rest = other.iter().peekable();
    shared.retain(|label| {
        while rest.next_if(|other| *other < label).is_some() {}
        rest.peek() == Some(&label)
    });
}

impl AlertGroup<'_> {
    fn cut(mut self, max_lines: usize, shared: &Arc<Shared>, signals: &mut Vec<Draft>, fates: &mut [AlertFate]) {
        self.lines.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        let texts = SignalTexts {
            labels: bounded_labels(&self.labels),
            annotations: bounded_annotations(&self.annotations),
            generator_url: self.generator_url.take(),
            examples: Vec::new(),
        };
        let mut lines = self.lines.as_slice();
        while !lines.is_empty() {
            let mut table = String::with_capacity(lines.len().min(max_lines) * lines[0].text.len());
            let (mut taken, mut count) = (0, 0);
            for line in lines {
                // Sorted: what is the same is side by side.
                let again = taken > 0 && lines[taken - 1].text == line.text;
                if !again && (count == max_lines || table.len() + line.text.len() > MAX_TABLE) {
                    break;
                }
                taken += 1;
                fates[line.alert].verdict =
                    if again { AlertVerdict::Again(signals.len()) } else { AlertVerdict::In(signals.len()) };
                if !again {
                    count += 1;
                    table.push_str(&line.text);
                }
            }
            lines = &lines[taken..];
            signals.push(self.key.draft(table, texts.clone(), shared));
        }
        for (alert, example) in self.examples.told(&texts) {
            if let AlertVerdict::In(of) | AlertVerdict::Again(of) = fates[alert].verdict {
                signals[of].own.examples.push(example);
            }
        }
    }
}

#[cfg(test)]
#[path = "batch/said.rs"]
mod said;
#[cfg(test)]
#[path = "batch/tests.rs"]
mod tests;
