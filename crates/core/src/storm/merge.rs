//! What a storm has beside its alerts: its resources, and the extremes of time and severity. Joining is idempotent, commutative and
//! associative: a Signal may come twice, late, or in any order.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::alerts::{AlertRegisters, HeldReports, Joined};
use super::digest::Digest;
use super::metadata::StormMetadata;
use super::observation::{Observation, Report};
use super::{Sample, Severity};

/// How far a storm reaches: sets and extremes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StormExtent {
    // No hash table: one that grows takes three times its room for a moment.
    resources: BTreeSet<Digest>,
    sample: Sample,
    extremes: Option<Extremes>,
}

/// What a resource takes: its digest in nodes of 11, which are filled by two thirds, with what the allocator adds.
pub const RESOURCE_BYTES: usize = 17;

/// What an observation told a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Alerts that joined the storm.
    pub alerts: Vec<Digest>,
    /// How many reports said something that was not known.
    pub reports: usize,
    /// The reports that are no part of the storm.
    pub held: HeldReports,
    /// Whether the storm is another one than before.
    pub changed: bool,
}

/// Registers that only move one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extremes {
    first_seen: Timestamp,
    last_seen: Timestamp,
    severity: Severity,
    resolvable: bool,
    incomplete: bool,
}

/// Joins an observation to the open storm of its key. What its reports say of alerts that are over, or handled, is no part of it.
pub fn join(alerts: &mut AlertRegisters, extent: &mut StormExtent, observation: &Observation) -> News {
    let mut news = News::default();
    let mut touched = false;
    for (place, (report, says)) in (0..).zip(observation.reports.iter().zip(observation.says())) {
        let past = alerts.past(&says);
        let joined = alerts.join(&says);
        let held = past.is_some();
        news.held.extend(past.map(|past| (place, past)));
        if joined.is_new() && !held {
            news.reports += 1;
            news.changed = true;
        }
        if joined == Joined::Alert {
            news.alerts.push(report.uid);
        }
        touched |= !held;
        if let Some((digest, text)) = report.resource.as_ref().filter(|_| report.firing && !held) {
            news.changed |= extent.offer(*digest, text);
        }
    }
    if touched {
        news.changed |= extent.stretch(observation);
    }
    news
}

/// Joins what an observation reports of alerts that are known: their ends above all, which need no room. The rest of it is merged again.
pub fn join_known(alerts: &mut AlertRegisters, extent: &mut StormExtent, observation: &Observation) -> News {
    let (mut reports, mut held) = (Vec::new(), HeldReports::new());
    for (place, report) in (0..).zip(&observation.reports).filter(|(_, report)| alerts.get(report.uid).is_some()) {
        let past = observation.held.binary_search_by_key(&place, |(of, _)| *of).ok();
        held.extend(past.and_then(|past| Some((u16::try_from(reports.len()).ok()?, observation.held[past].1))));
        reports.push(Report { resource: None, ..report.clone() });
    }
    if reports.is_empty() {
        return News::default();
    }
    join(alerts, extent, &Observation { reports, held, ..observation.clone() })
}

impl StormExtent {
    /// Whether this resource is one of it.
    pub fn has(&self, resource: Digest) -> bool {
        self.resources.contains(&resource)
    }

    /// What it takes in memory, in bytes: see [`RESOURCE_BYTES`].
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.resources.len() * RESOURCE_BYTES + self.sample.bytes()
    }

    fn offer(&mut self, digest: Digest, text: &std::sync::Arc<str>) -> bool {
        let new = self.resources.insert(digest);
        if new {
            self.sample.offer(text);
        }
        new
    }

    fn stretch(&mut self, observation: &Observation) -> bool {
        let Observation { first_seen, last_seen, severity, resolvable, incomplete, .. } = *observation;
        let new = Extremes { first_seen, last_seen, severity, resolvable, incomplete };
        let joined = self.extremes.map_or(new, |old| Extremes {
            first_seen: old.first_seen.min(new.first_seen),
            last_seen: old.last_seen.max(new.last_seen),
            severity: old.severity.max(new.severity),
            resolvable: old.resolvable || new.resolvable,
            incomplete: old.incomplete || new.incomplete,
        });
        self.extremes.replace(joined) != Some(joined)
    }

    /// The light value of a storm with these alerts; `None` while nothing was merged.
    pub fn metadata(&self, pattern: &str, alerts: &AlertRegisters) -> Option<StormMetadata> {
        let Extremes { first_seen, last_seen, severity, incomplete, .. } = self.extremes?;
        Some(StormMetadata {
            pattern: pattern.to_owned(),
            alert_count: alerts.in_storm(),
            firing: alerts.firing(),
            affected_count: self.resources.len(),
            affected_resources: self.sample.texts(),
            first_seen,
            last_seen,
            severity,
            incomplete,
        })
    }

    /// Whether some source of this storm reports ends.
    pub fn resolvable(&self) -> bool {
        self.extremes.is_some_and(|e| e.resolvable)
    }
}

#[cfg(test)]
mod tests;
