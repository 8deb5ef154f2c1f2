//! What this process knows of open storms. Only a hint: each merge checks the epoch in the same atomic step, and all of it is let go
//! whenever the server may have lost something.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keys::StormNames;
use crate::storm::{Digest, Epoch, StormId, StormKey};

/// Resources per storm that are known to be counted, and not sent again. Beyond that, all are forgotten and sent once more: harmless,
/// and it bounds a storm's part of this process to some 300 KB.
const MAX_CONFIRMED: usize = 16_384;

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
}

/// An open storm.
struct KnownStorm {
    epoch: Epoch,
    names: Arc<StormNames>,
    /// Whether closed storms of this key hold something.
    held: bool,
    pattern: Arc<str>,
    registers: Registers,
    resources: HashSet<Digest>,
    /// Occurrences that this process saw firing first since the last acknowledgement, and when by its own count.
    unshown: Vec<(u64, Digest)>,
    /// The alerts of the last snapshot that this process acknowledged.
    shown: usize,
    /// Whether a merge of this process has left its dirty mark since the last acknowledgement.
    marked: bool,
}

/// Maxima; `None` where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) last_seen: Option<i64>,
    /// First seen, negated, so that the earliest is the greatest.
    pub(super) negated_first_seen: Option<i64>,
    pub(super) severity: Option<i64>,
    pub(super) resolvable: Option<i64>,
    pub(super) incomplete: Option<i64>,
}

impl Registers {
    /// Each with its name in Redis.
    pub(super) fn named(&self) -> [(&'static str, Option<i64>); 5] {
        let Self { last_seen, negated_first_seen, severity, resolvable, incomplete } = *self;
        [("l", last_seen), ("f", negated_first_seen), ("s", severity), ("r", resolvable), ("i", incomplete)]
    }

    /// The greater of each.
    pub(super) fn join(&self, other: &Self) -> Self {
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
    pub(super) held: bool,
}

impl KnownStorms {
    /// The open storm of a key.
    pub(super) fn target(&self, key: StormKey) -> Option<MergeTarget> {
        let inner = self.lock();
        let storm = inner.open.get(&key)?;
        Some(MergeTarget { epoch: storm.epoch, names: storm.names.clone(), held: storm.held })
    }

    /// This storm is open.
    pub(super) fn opened(&self, key: StormKey, target: MergeTarget, pattern: &str) {
        let MergeTarget { epoch, names, held } = target;
        let mut inner = self.lock();
        if let Some(storm) = inner.open.get_mut(&key).filter(|storm| storm.epoch == epoch) {
            storm.held |= held;
            return;
        }
        let storm = KnownStorm {
            epoch,
            names,
            held,
            pattern: pattern.into(),
            registers: Registers::default(),
            resources: HashSet::new(),
            unshown: Vec::new(),
            shown: 0,
            marked: false,
        };
        inner.open.insert(key, storm);
    }

    /// Closed storms of this key hold something.
    pub(super) fn holds(&self, key: StormKey) {
        if let Some(storm) = self.lock().open.get_mut(&key) {
            storm.held = true;
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

    /// Of these registers, what must be sent, and whether a dirty mark must be; of these resources, those that must be.
    pub(super) fn news(
        &self,
        id: StormId,
        registers: &Registers,
        resources: &mut Vec<(Digest, Arc<str>)>,
    ) -> (Registers, bool) {
        let mut once = HashSet::new();
        let inner = self.lock();
        let storm = inner.open.get(&id.key).filter(|storm| storm.epoch == id.epoch);
        resources
            .retain(|(digest, _)| storm.is_none_or(|storm| !storm.resources.contains(digest)) && once.insert(*digest));
        storm.map_or((*registers, true), |storm| (registers.beyond(&storm.registers), !storm.marked))
    }

    /// A merge is done.
    pub(super) fn merged(
        &self,
        id: StormId,
        registers: &Registers,
        resources: &[(Digest, Arc<str>)],
        marked: bool,
        fired: impl IntoIterator<Item = Digest>,
    ) {
        let mut inner = self.lock();
        inner.merged += 1;
        let merged = inner.merged;
        let Some(storm) = inner.open.get_mut(&id.key).filter(|storm| storm.epoch == id.epoch) else { return };
        storm.registers = storm.registers.join(registers);
        storm.marked |= marked;
        if storm.resources.len() + resources.len() > MAX_CONFIRMED {
            storm.resources = HashSet::new();
        }
        storm.resources.extend(resources.iter().map(|(digest, _)| *digest));
        storm.unshown.extend(fired.into_iter().map(|uid| (merged, uid)));
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

    /// What this process merged and nobody was shown, and how many alerts were shown when it last acknowledged.
    pub(super) fn unshown(&self, id: StormId) -> (Vec<Digest>, usize) {
        let inner = self.lock();
        let storm = inner.open.get(&id.key).filter(|storm| storm.epoch == id.epoch);
        storm.map(|storm| (storm.unshown.iter().map(|(_, uid)| *uid).collect(), storm.shown)).unwrap_or_default()
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
