//! What an edit of policies changes: the requests of two replays of one recording, related by the reports that they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use stormfold_core::engine::call::ObjectName;

use super::timeline::counted;
use super::{Player, name_of};
use crate::api::{RemediationRequest, StormState};
use crate::storm::Digest;
use crate::storm::alerts::Micros;

/// The storms of each report: of which alert, and when. Under other policies a webhook may be cut into other Signals; its reports are the
/// same.
pub(super) type StormsOfReports = BTreeMap<(Digest, Micros), BTreeSet<ObjectName>>;

/// One side.
#[derive(Clone, Debug, Default)]
pub struct Side {
    requests: BTreeMap<ObjectName, RequestSummary>,
    storms: StormsOfReports,
}

/// What is told of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestSummary {
    opened_at: Option<Timestamp>,
    namespace: String,
    name: String,
    pattern: String,
    policy: String,
    alerts: usize,
    severity: &'static str,
    #[serde(flatten)]
    ending: Ending,
}

/// How a request ended, if it did.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ending {
    is_open: bool,
    reason: Option<String>,
    closed_at: Option<Timestamp>,
    firing: i64,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ChangeKind {
    /// Several are one.
    Merged,
    /// One is several.
    Split,
    /// Several are several others.
    Regrouped,
    /// There was none.
    Appeared,
    /// There is none.
    Vanished,
    /// It ends at another time, or for another reason.
    EndsOtherwise,
    /// Anything else of it is different: its pattern, its policy, what it counts.
    Changed,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    kind: ChangeKind,
    old: Vec<RequestSummary>,
    new: Vec<RequestSummary>,
}

/// What changes, and how many requests stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    old: usize,
    new: usize,
    unchanged: usize,
    all: Vec<Change>,
}

impl Side {
    /// Of a replay that noted the storms of its reports.
    pub fn of(player: &Player) -> Self {
        let requests = player.requests().into_iter().map(|object| (name_of(object), RequestSummary::of(object)));
        Self { requests: requests.collect(), storms: player.storms_of_reports() }
    }
}

impl RequestSummary {
    fn of(object: &RemediationRequest) -> Self {
        let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
        let ending = storm.map(|storm| Ending {
            is_open: storm.state == StormState::Open,
            reason: storm.close_reason.map(|reason| format!("{reason:?}")),
            closed_at: storm.closed_at.as_ref().map(|time| time.0),
            firing: storm.firing_count,
        });
        Self {
            opened_at: object.creation_timestamp().map(|time| time.0),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            pattern: object.spec.pattern.clone(),
            policy: object.spec.policy_ref.name.clone(),
            alerts: storm.map_or(0, |storm| usize::try_from(storm.alert_count).unwrap_or_default()),
            severity: storm.map_or("", |storm| storm.severity.as_str()),
            ending: ending.unwrap_or_default(),
        }
    }

    fn line(&self) -> String {
        let Self { opened_at, namespace, name, pattern, policy, alerts, severity, ending } = self;
        let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!("{time:.0}"));
        let end = match &ending.reason {
            Some(reason) => format!("{reason} at {}", time(ending.closed_at)),
            None => format!("open, {} firing", ending.firing),
        };
        let opened = time(*opened_at);
        format!(
            "{namespace}/{name}   {pattern}   {}, {severity}, policy {policy}, since {opened}, {end}",
            counted(*alerts, "alert")
        )
    }
}

/// Compares two sides.
pub fn changes(old: &Side, new: &Side) -> Changes {
    let (mut unchanged, mut all) = (0, Vec::new());
    for (before, after) in relatives(old, new) {
        let summaries = |side: &Side, names: &[&ObjectName]| {
            let mut all: Vec<_> = names.iter().filter_map(|name| side.requests.get(*name)).cloned().collect();
            all.sort();
            all
        };
        let (old, new) = (summaries(old, &before), summaries(new, &after));
        let kind = match (old.as_slice(), new.as_slice()) {
            ([one], [other]) if one == other => {
                unchanged += 1;
                continue;
            }
            ([one], [other]) if one.ending != other.ending => ChangeKind::EndsOtherwise,
            ([_], [_]) => ChangeKind::Changed,
            ([], _) => ChangeKind::Appeared,
            (_, []) => ChangeKind::Vanished,
            (_, [_]) => ChangeKind::Merged,
            ([_], _) => ChangeKind::Split,
            _ => ChangeKind::Regrouped,
        };
        all.push(Change { kind, old, new });
    }
    all.sort_by(|one, other| {
        let first =
            |change: &Change| change.old.iter().chain(&change.new).map(|one| (one.opened_at, one.name.clone())).min();
        (one.kind, first(one)).cmp(&(other.kind, first(other)))
    });
    Changes { old: old.requests.len(), new: new.requests.len(), unchanged, all }
}

/// Requests of either side that have reports in common, directly or by others.
fn relatives<'a>(old: &'a Side, new: &'a Side) -> Vec<(Vec<&'a ObjectName>, Vec<&'a ObjectName>)> {
    let names: Vec<&ObjectName> = old.requests.keys().chain(new.requests.keys()).collect();
    let place =
        |side: &'a Side, from: usize| -> BTreeMap<&'a ObjectName, usize> { side.requests.keys().zip(from..).collect() };
    let places = [place(old, 0), place(new, old.requests.len())];
    let mut families = Families((0..names.len()).collect());
    for report in old.storms.keys() {
        let of = |side: &'a Side, places: &BTreeMap<&'a ObjectName, usize>| -> Vec<usize> {
            let storms = side.storms.get(report).into_iter().flatten();
            storms.filter_map(|storm| places.get(storm).copied()).collect()
        };
        let (before, after) = (of(old, &places[0]), of(new, &places[1]));
        for one in &before {
            for other in &after {
                families.join(*one, *other);
            }
        }
    }
    // One of the same name is the same key at the same time, whether or not a report is in it: a successor may have none of its own.
    for (name, one) in &places[0] {
        if let Some(other) = places[1].get(name) {
            families.join(*one, *other);
        }
    }
    let mut by_family: BTreeMap<usize, (Vec<_>, Vec<_>)> = BTreeMap::new();
    for (index, name) in names.into_iter().enumerate() {
        let family = by_family.entry(families.of(index)).or_default();
        if index < old.requests.len() { family.0.push(name) } else { family.1.push(name) }
    }
    by_family.into_values().collect()
}

/// Sets of numbers that are joined.
struct Families(Vec<usize>);

impl Families {
    fn of(&mut self, mut one: usize) -> usize {
        while self.0[one] != one {
            self.0[one] = self.0[self.0[one]];
            one = self.0[one];
        }
        one
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        self.0[one.max(other)] = one.min(other);
    }
}

impl ChangeKind {
    fn words(self, old: usize, new: usize) -> String {
        match self {
            Self::Merged => format!("{old} requests merge into one"),
            Self::Split => format!("one request splits into {new}"),
            Self::Regrouped => format!("{old} requests become {new} others"),
            Self::Appeared => "appears".to_owned(),
            Self::Vanished => "vanishes".to_owned(),
            Self::EndsOtherwise => "ends otherwise".to_owned(),
            Self::Changed => "is another one".to_owned(),
        }
    }
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// For people.
    pub fn as_text(&self) -> String {
        let Self { old, new, unchanged, all } = self;
        let mut text = String::new();
        for Change { kind, old, new } in all {
            let _ = writeln!(text, "{}", kind.words(old.len(), new.len()));
            for (sign, requests) in [('-', old), ('+', new)] {
                for request in requests {
                    let _ = writeln!(text, "  {sign} {}", request.line());
                }
            }
        }
        let _ = writeln!(text, "{} become {new}; {unchanged} of them do not change", counted(*old, "request"));
        text
    }
}
