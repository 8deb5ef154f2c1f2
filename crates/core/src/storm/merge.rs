//! Merging is a join: idempotent, commutative, associative. Counts are cardinalities, times and severity are extremes, so a
//! Signal may come twice, late, or in any order.

use std::collections::HashSet;

use jiff::Timestamp;

use super::digest::Digest;
use super::metadata::StormMetadata;
use super::observation::Observation;
use super::{Sample, Severity};

/// What a storm has brought: sets and extremes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StormSets {
    seen: HashSet<Digest>,
    resolved: HashSet<Digest>,
    resources: HashSet<Digest>,
    sample: Sample,
    extremes: Option<Extremes>,
}

/// What an observation told a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Occurrences that were not seen firing before.
    pub fired: Vec<Digest>,
    /// How many were not reported as resolved before.
    pub resolved: usize,
}

impl News {
    /// How many reports said something new.
    pub fn count(&self) -> usize {
        self.fired.len() + self.resolved
    }
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

impl StormSets {
    /// A storm that begins with occurrences already known to be over.
    pub fn with_resolved(resolved: HashSet<Digest>) -> Self {
        Self { resolved, ..Self::default() }
    }

    /// Joins an observation, without the occurrences that `held` names.
    pub fn merge(&mut self, observation: &Observation, held: impl Fn(Digest) -> bool) -> News {
        let mut news = News::default();
        let mut touched = false;
        for report in observation.reports.iter().filter(|report| !held(report.uid)) {
            touched = true;
            if !report.firing {
                news.resolved += usize::from(self.resolved.insert(report.uid));
                continue;
            }
            if self.seen.insert(report.uid) {
                news.fired.push(report.uid);
            }
            if let Some((digest, text)) = &report.resource
                && self.resources.insert(*digest)
            {
                self.sample.offer(text);
            }
        }
        if touched {
            self.stretch(observation);
        }
        news
    }

    fn stretch(&mut self, observation: &Observation) {
        let Observation { first_seen, last_seen, severity, resolvable, incomplete, .. } = *observation;
        let new = Extremes { first_seen, last_seen, severity, resolvable, incomplete };
        self.extremes = Some(self.extremes.map_or(new, |old| Extremes {
            first_seen: old.first_seen.min(new.first_seen),
            last_seen: old.last_seen.max(new.last_seen),
            severity: old.severity.max(new.severity),
            resolvable: old.resolvable || new.resolvable,
            incomplete: old.incomplete || new.incomplete,
        }));
    }

    /// A cheap summary that changes whenever the state does.
    pub fn mark(&self) -> StormMark {
        StormMark(self.seen.len(), self.resolved.len(), self.resources.len(), self.extremes)
    }

    /// The light value of this storm; `None` while nothing was merged.
    pub fn metadata(&self, pattern: &str) -> Option<StormMetadata> {
        let Extremes { first_seen, last_seen, severity, incomplete, .. } = self.extremes?;
        let over = self.resolved.iter().filter(|uid| self.seen.contains(uid)).count();
        Some(StormMetadata {
            pattern: pattern.to_owned(),
            alert_count: self.seen.len(),
            firing: self.seen.len() - over,
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

    /// The occurrences that it holds, firing or resolved.
    pub fn into_held(self) -> HashSet<Digest> {
        let Self { mut seen, resolved, .. } = self;
        seen.extend(resolved);
        seen
    }
}

/// See [`StormSets::mark`]. Sets only grow, so their sizes tell whether they changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormMark(usize, usize, usize, Option<Extremes>);

#[cfg(test)]
mod tests;
