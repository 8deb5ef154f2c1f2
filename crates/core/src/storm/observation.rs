//! What intake makes of a Signal: an `Observation` when it can be merged, a `Rejection` when it never can.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::alerts::{AlertReport, HeldReports, Says};
use super::digest::{Digest, DigestKey};
use super::example::ToldAlert;
use super::metadata::Opening;
use super::resource::{extract_resource_name, parse_resource_name};
use super::{Severity, StormKey};

/// Which Signal object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignalRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: a new object of the same name is another Signal.
    pub uid: String,
}

/// A Signal that passed intake.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The Signal.
    pub signal: Arc<SignalRef>,
    /// The key it belongs to.
    pub key: StormKey,
    /// What a storm that it opens takes from it.
    pub opening: Arc<Opening>,
    /// Where it may be grouped otherwise than its policy does now, because storms may be open that were opened when policies said something else: the same
    /// under each grouping that its policy had, and last under the one of now. Empty: only that one.
    pub groupings: Vec<Arc<Opening>>,
    /// The labels by which its policy groups and which it lacks.
    pub missing_labels: Vec<String>,
    /// The namespace the trouble is in; empty for what is cluster-scoped.
    pub scope: Arc<str>,
    /// How bad it is.
    pub severity: Severity,
    /// Whether its source reports ends.
    pub resolvable: bool,
    /// Whether its source left occurrences out.
    pub incomplete: bool,
    /// The earliest start among its occurrences; whole seconds.
    pub first_seen: Timestamp,
    /// The latest report among its occurrences; whole seconds.
    pub last_seen: Timestamp,
    /// When its source reported the states of its occurrences; whole microseconds. Of two reports of one alert the later one counts.
    pub reported_at: Timestamp,
    /// Its occurrences.
    pub reports: Vec<Report>,
    /// What it says of a few of them that fire, for people.
    pub told: Vec<ToldAlert>,
    /// Those of them that no storm took in, as its receipt says.
    pub held: HeldReports,
    /// The occurrences that were refused, and why the first of them was.
    pub refused: Refused,
    /// How many times were clamped.
    pub clamped: usize,
    /// The version of the object that was read.
    pub resource_version: Option<String>,
    /// Whether it has a receipt.
    pub has_receipt: bool,
    /// How long at least its storm is remembered once it is closed.
    pub dedup_horizon: SignedDuration,
    /// What its condition `Accepted` says while it waits for a storm that may not open yet.
    pub pending_message: Option<String>,
    /// The storm that its receipt names.
    pub receipt: Option<String>,
    /// Other storms that its receipt names, and which of its reports they have.
    pub receipt_others: Vec<(String, Vec<u16>)>,
    /// When its namespace was made, where that is known: storms that opened before were another one's, of the same name.
    pub namespace_made: Option<Timestamp>,
    /// What it is of its Signal, if the alerts of that are in several storms.
    pub share: Option<Box<Share>>,
}

/// What a part of a Signal knows of the whole: its alerts are in several storms, and the part is those of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Where its reports are among the occurrences of the Signal: see [`Observation::places`].
    pub places: Vec<u16>,
    /// How many occurrences the whole Signal has, refused ones included.
    pub total: usize,
    /// Whether `status.storm` of the Signal names the storm of another part.
    pub silent: bool,
    /// The other parts.
    pub others: Vec<OtherShare>,
}

/// Another part of the same Signal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherShare {
    /// The key that it goes to.
    pub key: StormKey,
    /// The storm that the receipt names for it.
    pub receipt: Option<String>,
    /// Where its reports are.
    pub places: Vec<u16>,
    /// Those of them that no storm took in, as the receipt says.
    pub held: HeldReports,
}

impl Observation {
    /// What it says of each of its alerts, in order.
    pub fn says(&self) -> impl Iterator<Item = AlertReport> {
        let (at, resolvable) = (self.reported_at.as_microsecond(), self.resolvable);
        let mut held = self.held.iter().peekable();
        self.reports.iter().enumerate().map(move |(index, report)| {
            let says = match held.next_if(|(of, _)| usize::from(*of) == index) {
                Some((_, past)) => Says::Held(*past),
                None if report.firing => Says::Firing { resolvable },
                None => Says::Resolved,
            };
            AlertReport { uid: report.uid, at, says }
        })
    }

    /// Where each report is among the occurrences of the Signal, refused ones included: its items, then the lines of its table that are not blank.
    pub fn places(&self) -> Vec<u16> {
        if let Some(share) = &self.share {
            return share.places.clone();
        }
        let mut refused = self.refused.places.iter().peekable();
        (0..u16::MAX).filter(move |place| refused.next_if_eq(&place).is_none()).take(self.reports.len()).collect()
    }

    /// What it takes in memory, in reports of some 100 bytes: its texts count as well.
    pub fn weight(&self) -> usize {
        let told: usize = self.told.iter().map(|told| size_of::<ToldAlert>() + told.bytes()).sum();
        self.reports.len() + (self.opening.said.bytes() + told) / REPORT_BYTES
    }

    /// Whether its Signal gets its receipt of another part.
    pub fn is_silent(&self) -> bool {
        self.share.as_ref().is_some_and(|share| share.silent)
    }

    /// The part of it that these of its reports are, which the receipt says are in this storm.
    #[must_use]
    pub fn part(&self, reports: &[usize], receipt: Option<String>, silent: bool) -> Self {
        let places = self.places();
        let at = |index: u16| reports.iter().position(|report| *report == usize::from(index));
        let held = self.held.iter().filter_map(|(index, past)| Some((u16::try_from(at(*index)?).ok()?, *past)));
        let told = self.told.iter();
        let told =
            told.filter_map(|told| Some(ToldAlert { report: u16::try_from(at(told.report)?).ok()?, ..told.clone() }));
        let share = Share {
            places: reports.iter().filter_map(|report| places.get(*report).copied()).collect(),
            total: self.total(),
            silent,
            others: Vec::new(),
        };
        Self {
            reports: reports.iter().filter_map(|report| self.reports.get(*report)).cloned().collect(),
            told: told.collect(),
            held: held.collect(),
            receipt,
            receipt_others: Vec::new(),
            share: Some(Box::new(share)),
            ..self.clone()
        }
    }

    /// This part, to the others.
    pub fn as_other(&self) -> OtherShare {
        let places = self.places();
        let held = self.held.iter().filter_map(|(index, past)| Some((*places.get(usize::from(*index))?, *past)));
        OtherShare { key: self.key, receipt: self.receipt.clone(), held: held.collect(), places }
    }

    /// How many occurrences its Signal has, refused ones included.
    pub fn total(&self) -> usize {
        self.share.as_ref().map_or(self.reports.len() + self.refused.count, |share| share.total)
    }

    /// What a storm that it opens takes from it, grouped as its policy says now.
    pub fn own_grouping(&self) -> &Arc<Opening> {
        self.groupings.last().unwrap_or(&self.opening)
    }

    /// Whether it is grouped otherwise than its policy says now.
    pub fn is_regrouped(&self) -> bool {
        self.own_grouping().key() != self.key
    }

    /// It goes to the storm of this opening; without one, to that of its own grouping.
    pub fn group_as(&mut self, chosen: Option<Arc<Opening>>) {
        let own = self.own_grouping();
        let chosen = chosen.unwrap_or_else(|| own.clone());
        if chosen.key() == self.key {
            return;
        }
        if self.groupings.is_empty() {
            self.groupings.push(self.opening.clone());
        }
        self.regroup(chosen);
    }

    /// Groups it otherwise: its texts are read in the scope of its storm.
    pub fn regroup(&mut self, opening: Arc<Opening>) {
        rescope(&mut self.reports, &self.opening.namespace, &opening.namespace);
        self.key = opening.key();
        self.opening = opening;
    }
}

/// Writes the texts of resources for another scope; the empty one is cluster-scoped.
pub fn rescope(reports: &mut [Report], from: &str, to: &str) {
    if from == to {
        return;
    }
    let scope = |namespace| Some(namespace).filter(|namespace: &&str| !namespace.is_empty());
    for (_, text) in reports.iter_mut().filter_map(|report| report.resource.as_mut()) {
        // What intake wrote can be read.
        if let Ok(resource) = parse_resource_name(text, scope(from)) {
            *text = extract_resource_name(&resource, scope(to)).into();
        }
    }
}

/// The part of a Signal that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Refused {
    /// How many occurrences.
    pub count: usize,
    /// Why the first of them: names the line or the item.
    pub first: Option<String>,
    /// Where they are, in order: see [`Observation::places`].
    pub places: Vec<u16>,
}

/// One occurrence, as the ledger sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// Digest of the identity of its alert.
    pub uid: Digest,
    /// Firing or resolved.
    pub firing: bool,
    /// What it is about: the digest of the resource, and its text in the storm's namespace.
    pub resource: Option<(Digest, Arc<str>)>,
}

/// A permanent fault of the input: one condition, one Event, one count; never a retry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// The reason of the condition `Accepted`: one word, from a closed list.
    pub reason: &'static str,
    /// What was seen, where, and what to do.
    pub message: String,
    /// How many occurrences the Signal has, as far as that can be told.
    pub occurrences: usize,
}

/// What a report takes in memory, roughly.
const REPORT_BYTES: usize = 100;

/// 0001-01-01T00:00:00Z, with a day of room for time zones.
const ZERO_TIME_SECOND: i64 = -62_135_596_800 + 86_400;

/// The time that a source gave, if it gave one: Alertmanager writes Go's zero time for "none".
pub fn given(time: Option<Timestamp>) -> Option<Timestamp> {
    time.filter(|time| time.as_second() > ZERO_TIME_SECOND)
}

/// The identity of an alert with a fingerprint: what makes a repeat a repeat, and lets the end of an alert meet its beginning. Its state is not part
/// of it, nor its start, which Prometheus and Alertmanager move when they restart. `resource`: the digest of what it is about.
pub fn uid(key: &DigestKey, cluster: &str, fingerprint: &str, resource: Option<Digest>) -> Digest {
    let resource = resource.unwrap_or_default().to_be_bytes();
    key.digest(&[b"f", cluster.as_bytes(), fingerprint.as_bytes(), &resource])
}
