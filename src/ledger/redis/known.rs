//! What this process knows of open storms. Only a hint: each merge checks the epoch in the same atomic step, and all of it is let go
//! whenever the server may have lost something.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::alerts::write_report;
use super::keys::StormNames;
use super::look::Look;
use crate::storm::alerts::Joined;
use crate::storm::{AlertRegisters, Digest, Epoch, HeldReports, Observation, StormId, StormKey};

/// Resources per storm that are known to be counted, and not sent again. Beyond that, all are forgotten and sent once more: harmless,
/// and it bounds a storm's part of this process to some 300 KB.
const MAX_CONFIRMED: usize = 16_384;

/// Alerts of all open storms that are kept here, at some 40 bytes each. Beyond that, those of storms that are merged into next are read again.
const MAX_ALERTS: usize = 1_000_000;

/// The open storms that this process knows.
#[derive(Default)]
pub(super) struct KnownStorms {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: HashMap<StormKey, KnownStorm>,
    /// Raised by each merge of this process.
    merged: u64,
    /// How many alerts were read or taken in since all of them were forgotten last: at least as many as are kept.
    alerts: usize,
}

/// An open storm.
struct KnownStorm {
    epoch: Epoch,
    names: Arc<StormNames>,
    pattern: Arc<str>,
    registers: Registers,
    resources: HashSet<Digest>,
    /// The last storm of its key that was closed.
    last: Option<Epoch>,
    /// The alerts of its key, at least as they are in the server. `None`: to be read.
    alerts: Option<AlertRegisters>,
    /// AlertRegisters that this process saw join since the last acknowledgement, and when by its own count.
    unshown: Vec<(u64, Digest)>,
    /// The alerts of the last snapshot that this process acknowledged.
    shown: usize,
    /// Whether a merge of this process has left its dirty mark since the last acknowledgement.
    marked: bool,
}

/// What a part of a batch tells its storm.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Reports that the server does not know, as its journal has them.
    pub(super) journal: Vec<u8>,
    /// What the storm's registers are not known to have yet.
    pub(super) registers: Registers,
    /// What its resources are not known to have yet.
    pub(super) resources: Vec<(Digest, Arc<str>)>,
    /// Whether it leaves a dirty mark. One that is known to be there is not left again: the mark tells others of what is unpublished, and
    /// since when; this process asks for the publish itself.
    pub(super) marks: bool,
    /// For each observation, how many of its reports said something new.
    pub(super) counts: Vec<usize>,
    /// For each observation, its reports that are no part of the storm.
    pub(super) held: Vec<HeldReports>,
    /// Alerts that join the storm.
    pub(super) joining: Vec<Digest>,
}

/// Maxima; `None` where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    last_seen: Option<i64>,
    /// First seen, negated, so that the earliest is the greatest.
    negated_first_seen: Option<i64>,
    severity: Option<i64>,
    resolvable: Option<i64>,
    incomplete: Option<i64>,
}

impl Registers {
    /// Each with its name in Redis.
    pub(super) fn named(&self) -> [(&'static str, Option<i64>); 5] {
        let Self { last_seen, negated_first_seen, severity, resolvable, incomplete } = *self;
        [("l", last_seen), ("f", negated_first_seen), ("s", severity), ("r", resolvable), ("i", incomplete)]
    }

    /// Those of an observation.
    fn of(observation: &Observation) -> Self {
        Self {
            last_seen: Some(observation.last_seen.as_second()),
            negated_first_seen: Some(-observation.first_seen.as_second()),
            severity: Some(observation.severity.rank()),
            resolvable: observation.resolvable.then_some(1),
            incomplete: observation.incomplete.then_some(1),
        }
    }

    /// The greater of each.
    fn join(&self, other: &Self) -> Self {
        Self {
            last_seen: self.last_seen.max(other.last_seen),
            negated_first_seen: self.negated_first_seen.max(other.negated_first_seen),
            severity: self.severity.max(other.severity),
            resolvable: self.resolvable.max(other.resolvable),
            incomplete: self.incomplete.max(other.incomplete),
        }
    }

    /// What of this is not known yet.
    fn beyond(&self, known: &Self) -> Self {
        let beyond = |new: Option<i64>, old| new.filter(|_| new > old);
        Self {
            last_seen: beyond(self.last_seen, known.last_seen),
            negated_first_seen: beyond(self.negated_first_seen, known.negated_first_seen),
            severity: beyond(self.severity, known.severity),
            resolvable: beyond(self.resolvable, known.resolvable),
            incomplete: beyond(self.incomplete, known.incomplete),
        }
    }
}

/// Where a merge goes.
#[derive(Clone, Debug)]
pub(super) struct MergeTarget {
    pub(super) epoch: Epoch,
    pub(super) names: Arc<StormNames>,
}

/// What a process knows of the alerts that nobody was shown.
#[derive(Debug, Default)]
pub(super) struct Unshown {
    /// Those that it saw join first since the last acknowledgement.
    pub(super) alerts: Vec<Digest>,
    /// How many alerts were shown when it last acknowledged.
    pub(super) shown: usize,
    /// How many it knows the storm to have.
    pub(super) known: usize,
}

impl KnownStorm {
    fn unshown(&self) -> Unshown {
        Unshown {
            alerts: self.unshown.iter().map(|(_, uid)| *uid).collect(),
            shown: self.shown,
            known: self.alerts.as_ref().map_or(0, AlertRegisters::in_storm),
        }
    }

    /// Takes the observations in, before the server does: whoever fails to tell it must forget the alerts.
    fn take_in(&mut self, observations: &[Observation]) -> Untold {
        let (mut untold, mut registers, mut once) = (Untold::default(), Registers::default(), HashSet::new());
        let alerts = self.alerts.get_or_insert_default();
        for observation in observations {
            let (mut count, mut touched, mut pasts) = (0, false, HeldReports::new());
            for (place, (report, says)) in (0..).zip(observation.reports.iter().zip(observation.says())) {
                let past = alerts.past(&says);
                let joined = alerts.join(&says);
                let held = past.is_some();
                pasts.extend(past.map(|past| (place, past)));
                if joined != Joined::Nothing {
                    write_report(&mut untold.journal, &says);
                }
                untold.joining.extend((joined == Joined::Alert).then_some(report.uid));
                count += usize::from(joined.is_new() && !held);
                touched |= !held;
                if let Some((digest, text)) = report.resource.as_ref().filter(|_| report.firing && !held)
                    && !self.resources.contains(digest)
                    && once.insert(*digest)
                {
                    untold.resources.push((*digest, text.clone()));
                }
            }
            untold.counts.push(count);
            untold.held.push(pasts);
            if touched {
                registers = registers.join(&Registers::of(observation));
            }
        }
        untold.registers = registers.beyond(&self.registers);
        let says_something =
            !untold.journal.is_empty() || !untold.resources.is_empty() || untold.registers != Registers::default();
        untold.marks = says_something && !self.marked;
        untold
    }
}

impl KnownStorms {
    /// The open storm of a key, with its alerts.
    pub(super) fn target(&self, key: StormKey) -> Option<MergeTarget> {
        let inner = self.lock();
        let storm = inner.open.get(&key).filter(|storm| storm.alerts.is_some())?;
        Some(MergeTarget { epoch: storm.epoch, names: storm.names.clone() })
    }

    /// This storm is open, and its key has these alerts.
    pub(super) fn opened(&self, key: StormKey, target: MergeTarget, pattern: &str, look: Look) {
        let Look { last, alerts, .. } = look;
        let MergeTarget { epoch, names } = target;
        let mut inner = self.lock();
        inner.alerts += alerts.len();
        if inner.alerts > MAX_ALERTS {
            inner.open.values_mut().for_each(|storm| storm.alerts = None);
            inner.alerts = alerts.len();
        }
        if let Some(storm) = inner.open.get_mut(&key).filter(|storm| storm.epoch == epoch) {
            (storm.last, storm.alerts) = (last, Some(alerts));
            return;
        }
        let storm = KnownStorm {
            epoch,
            names,
            pattern: pattern.into(),
            registers: Registers::default(),
            resources: HashSet::new(),
            last,
            alerts: Some(alerts),
            unshown: Vec::new(),
            shown: 0,
            marked: false,
        };
        inner.open.insert(key, storm);
    }

    /// The alerts of a key have changed in the server, and change here, as of the storm that is open; `last`: a closed one.
    pub(super) fn change(&self, key: StormKey, last: Option<Epoch>, change: impl FnOnce(&mut AlertRegisters, Epoch)) {
        if let Some(storm) = self.lock().open.get_mut(&key) {
            storm.last = storm.last.max(last);
            if let Some(alerts) = &mut storm.alerts {
                change(alerts, storm.epoch);
            }
        }
    }

    /// This storm has taken over what fired on since the storms before it.
    pub(super) fn take_over(&self, id: StormId) {
        let mut inner = self.lock();
        inner.merged += 1;
        let merged = inner.merged;
        let Some(storm) = inner.open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch) else { return };
        let taken = storm.alerts.as_mut().map(AlertRegisters::take_over).unwrap_or_default();
        storm.unshown.extend(taken.into_iter().map(|uid| (merged, uid)));
    }

    /// The last storm of this key that was closed.
    pub(super) fn last(&self, key: StormKey) -> Option<Epoch> {
        self.lock().open.get(&key)?.last
    }

    /// What these observations tell a storm that the server does not know.
    pub(super) fn take_in(&self, id: StormId, observations: &[Observation]) -> Untold {
        let mut inner = self.lock();
        let storm = inner.open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch);
        let untold = storm.map(|storm| storm.take_in(observations)).unwrap_or_default();
        inner.alerts += untold.joining.len();
        untold
    }

    /// The server may not know what this process took in: its alerts are read again.
    pub(super) fn doubt(&self, id: StormId) {
        if let Some(storm) = self.lock().open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch) {
            storm.alerts = None;
        }
    }

    /// This storm is not open any more, as far as is known.
    pub(super) fn gone(&self, id: StormId) {
        let mut inner = self.lock();
        if inner.open.get(&id.key).is_some_and(|storm| storm.epoch == id.epoch) {
            inner.open.remove(&id.key);
        }
    }

    /// Nothing is known any more.
    pub(super) fn forget_all(&self) {
        self.lock().open.clear();
    }

    /// The server knows what this told it.
    pub(super) fn told(&self, id: StormId, untold: &Untold) {
        let mut inner = self.lock();
        inner.merged += 1;
        let merged = inner.merged;
        let Some(storm) = inner.open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch) else { return };
        storm.registers = storm.registers.join(&untold.registers);
        storm.marked |= untold.marks;
        if storm.resources.len() + untold.resources.len() > MAX_CONFIRMED {
            storm.resources = HashSet::new();
        }
        storm.resources.extend(untold.resources.iter().map(|(digest, _)| *digest));
        storm.unshown.extend(untold.joining.iter().map(|uid| (merged, *uid)));
    }

    /// How much this process has merged.
    pub(super) fn count(&self) -> u64 {
        self.lock().merged
    }

    /// The dirty mark may be gone from now on.
    pub(super) fn acknowledges(&self, id: StormId) {
        if let Some(storm) = self.lock().open.get_mut(&id.key) {
            storm.marked = false;
        }
    }

    /// What was merged up to this count is shown, so many alerts in all.
    pub(super) fn shown(&self, id: StormId, merged: u64, alerts: usize) {
        if let Some(storm) = self.lock().open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch) {
            storm.shown = alerts;
            storm.unshown.retain(|(at, _)| *at > merged);
            storm.unshown.shrink_to(1024);
        }
    }

    /// What this process merged and nobody was shown.
    pub(super) fn unshown(&self, id: StormId) -> Unshown {
        let inner = self.lock();
        let storm = inner.open.get(&id.key).filter(|storm| storm.epoch == id.epoch);
        storm.map(KnownStorm::unshown).unwrap_or_default()
    }

    /// What this storm groups; empty when this process has not met it yet.
    pub(super) fn pattern(&self, id: StormId) -> String {
        let inner = self.lock();
        inner.open.get(&id.key).map(|storm| storm.pattern.to_string()).unwrap_or_default()
    }

    /// The keys whose open storms are known.
    pub(super) fn ids(&self) -> Vec<StormId> {
        self.lock().open.iter().map(|(key, storm)| StormId { key: *key, epoch: storm.epoch }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
