//! The ledger of one replica, in its own memory; and what any other ledger must do alike.
//!
//! A restart loses it, and watching the Signals again rebuilds it.

mod record;
mod room;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Begun, Closing, DedupWindow, Durability, Holding, Ledger, LedgerError, Merge, Snapshot, TakenOver, Version,
};
use crate::metrics::MemoryLedgerMetrics;
use crate::storm::alerts::StormEnd;
use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::{AlertRegisters, AlertReport, Digest, DigestKey, Epoch, Observation, StormId, StormKey};
use record::{ClosedStorm, KeyRecord, OpenStorm};
use room::Room;

/// A ledger in the memory of this process.
pub struct MemoryLedger {
    /// Random, and as short-lived as the ledger.
    key: DigestKey,
    records: Mutex<Records>,
}

impl Default for MemoryLedger {
    /// Without a limit.
    fn default() -> Self {
        Self::new(usize::MAX, MemoryLedgerMetrics::default())
    }
}

struct Records {
    keys: HashMap<StormKey, KeyRecord>,
    room: Room,
    swept: Option<Timestamp>,
    /// Raised by each change of any storm: no two states ever have one version, not even of a storm that is dropped and taken
    /// in again.
    version: u64,
}

/// How often records past the dedup horizon are looked for: the look is linear in the number of keys.
const SWEEP_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

impl Records {
    /// Does something with the record of this key, and counts what it takes afterwards.
    fn of<T>(&mut self, key: StormKey, change: impl FnOnce(&mut KeyRecord, &mut u64) -> T) -> T {
        let record = self.keys.entry(key).or_default();
        let result = change(record, &mut self.version);
        record.count(&mut self.room);
        result
    }

    /// The same, if there is one.
    fn of_known<T>(&mut self, key: StormKey, change: impl FnOnce(&mut KeyRecord, &mut u64) -> T) -> Option<T> {
        self.keys.contains_key(&key).then(|| self.of(key, change))
    }

    /// The same with the open storm of this epoch, if it is open.
    fn of_open<T>(&mut self, id: StormId, change: impl FnOnce(&mut OpenStorm) -> T) -> Option<T> {
        self.of_known(id.key, |record, _| record.open.as_mut().filter(|storm| storm.epoch == id.epoch).map(change))?
    }

    /// The Signals of this key are in this namespace.
    fn attribute(&mut self, key: StormKey, namespace: &Arc<str>) {
        let record = self.keys.entry(key).or_default();
        if record.namespace.is_none() {
            self.room.count(None, record.counted, 0);
            self.room.count(Some(namespace), 0, record.counted);
            record.namespace = Some(namespace.clone());
        }
    }

    fn merge(&mut self, (key, observations): &(StormKey, Vec<Observation>), now: Timestamp) -> Merge {
        let Some(first) = observations.first() else {
            return Merge::NotOpen { opens: Vec::new(), held: Vec::new(), last: None };
        };
        let namespace: Arc<str> = first.opening.object_namespace.as_str().into();
        self.attribute(*key, &namespace);
        let grant = self.room.grant(&namespace);
        let merge = self.of(*key, |record, version| record.merge(observations, version, grant, now));
        if matches!(merge, Merge::NoRoom { .. }) {
            self.room.waits(&namespace);
        }
        merge
    }

    /// Forgets what is past the dedup horizon. Called where the memory grows, and only there.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        let Self { keys, room, .. } = self;
        keys.retain(|_, record| {
            record.expire(now);
            if record.is_empty() {
                record.leaves(room);
                return false;
            }
            record.count(room);
            true
        });
    }
}

/// The number alone tells one state from another; `merged` is the same number, since every merge of this ledger is ours.
fn version(number: u64) -> Version {
    Version { merged: number, ..Version::default() }
}

impl MemoryLedger {
    /// One that takes some `limit` bytes at most.
    pub fn new(limit: usize, metrics: MemoryLedgerMetrics) -> Self {
        let mut secret = [0; 16];
        for half in secret.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::new().hash_one(()).to_ne_bytes());
        }
        Self::of(DigestKey::new(secret), limit, metrics)
    }

    /// An empty one with this key, without a limit.
    pub fn with_key(key: DigestKey) -> Self {
        Self::of(key, usize::MAX, MemoryLedgerMetrics::default())
    }

    fn of(key: DigestKey, limit: usize, metrics: MemoryLedgerMetrics) -> Self {
        let records = Records { keys: HashMap::new(), room: Room::new(limit, metrics), swept: None, version: 0 };
        Self { key, records: Mutex::new(records) }
    }

    /// No method panics while it holds the lock, so a poisoned lock still guards a whole state.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn begin(&self) -> Result<Begun, LedgerError> {
        Ok(Begun { key: self.key, durability: Durability::Intact })
    }

    async fn merge(&self, batches: &[(StormKey, Vec<Observation>)], now: Timestamp) -> Result<Vec<Merge>, LedgerError> {
        let mut records = self.records();
        records.sweep(now);
        Ok(batches.iter().map(|batch| records.merge(batch, now)).collect())
    }

    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError> {
        let mut records = self.records();
        records.sweep(now);
        Ok(records.of(id.key, |record, version| record.open(id.epoch, pattern, version, now)))
    }

    async fn hold(&self, holding: &Holding) -> Result<usize, LedgerError> {
        let Holding { key, namespace, epoch, reports, end, at } = holding;
        let mut records = self.records();
        records.sweep(at.now);
        records.attribute(*key, namespace);
        let grant = records.room.grant(namespace);
        let (all, left) = records.of(*key, |record, _| {
            record.last_closed = record.last_closed.max(*epoch);
            record.last_met = Some(*at);
            record.told = Some(at.now);
            let of_open = record.open.as_ref().is_some_and(|storm| Some(storm.epoch) == *epoch);
            (record.hold(reports, *end, of_open, &grant), record.alerts.left() + record.alerts.firing_of(reports))
        });
        if !all {
            records.room.waits(namespace);
            return Err(LedgerError::NoRoom(grant.why));
        }
        Ok(left)
    }

    async fn note(&self, key: StormKey, reports: &[AlertReport], at: DedupWindow) -> Result<(), LedgerError> {
        let mut records = self.records();
        records.sweep(at.now);
        records.of(key, |record, _| {
            record.last_met = Some(at);
            record.told = Some(at.now);
            record.alerts.note(reports);
        });
        Ok(())
    }

    async fn take_over(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError> {
        let taken = self.records().of_known(id.key, |record, version| record.take_over(id.epoch, version, now));
        Ok(taken.unwrap_or_default())
    }

    async fn alerts(&self, key: StormKey) -> Result<AlertRegisters, LedgerError> {
        Ok(self.records().keys.get(&key).map(|record| record.alerts.clone()).unwrap_or_default())
    }

    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError> {
        let records = self.records();
        let dirty = |(key, record): (&StormKey, &KeyRecord)| {
            record
                .open
                .as_ref()
                .filter(|storm| storm.dirty_since.is_some())
                .map(|storm| StormId { key: *key, epoch: storm.epoch })
        };
        let mut dirty: Vec<StormId> = records.keys.iter().filter_map(dirty).collect();
        // The same each time: a replay has nothing random.
        dirty.sort_unstable();
        Ok(dirty)
    }

    async fn snapshot(&self, id: StormId) -> Result<Snapshot, LedgerError> {
        let records = self.records();
        let unknown =
            Snapshot { view: LedgerView::Unknown, version: Version::default(), dirty_since: None, firing: Vec::new() };
        let Some(record) = records.keys.get(&id.key) else { return Ok(unknown) };
        if let Some(storm) = record.open.as_ref().filter(|storm| storm.epoch == id.epoch) {
            let view = LedgerView::Open {
                metadata: storm.extent.metadata(&storm.pattern, &record.alerts),
                resolvable: storm.extent.resolvable(),
                published: storm.published,
            };
            return Ok(Snapshot {
                view,
                version: version(storm.version),
                dirty_since: storm.dirty_since,
                firing: Vec::new(),
            });
        }
        let closing = record.closing.iter().find(|storm| storm.epoch == id.epoch);
        if closing.is_none() && record.last_closed.is_none_or(|last| id.epoch > last) {
            return Ok(unknown);
        }
        let view = LedgerView::Closed {
            metadata: closing.and_then(|storm| storm.metadata.clone()),
            reason: closing.map(|storm| storm.reason),
        };
        Ok(Snapshot { view, version: Version::default(), dirty_since: None, firing: Vec::new() })
    }

    async fn firing_of(&self, id: StormId, alerts: &[Digest]) -> Result<Vec<Digest>, LedgerError> {
        let records = self.records();
        let open =
            records.keys.get(&id.key).filter(|record| record.open.as_ref().is_some_and(|open| open.epoch == id.epoch));
        let fires = |alerts: &AlertRegisters, uid| alerts.get(uid).is_some_and(|alert| alert.standing.fires_in_storm());
        let firing = |record: &KeyRecord| alerts.iter().copied().filter(|uid| fires(&record.alerts, *uid)).collect();
        Ok(open.map(firing).unwrap_or_default())
    }

    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError> {
        self.records().of_open(id, |storm| storm.published = true);
        Ok(())
    }

    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError> {
        let clean = self.records().of_open(id, |storm| {
            storm.published = true;
            storm.unpublished.retain(|joined| joined.version > snapshot.version.merged);
            storm.dirty_since.take_if(|_| version(storm.version) == snapshot.version);
            storm.dirty_since.is_none()
        });
        Ok(clean.unwrap_or(true))
    }

    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError> {
        let closing = self.records().of_known(id.key, |record, _| {
            if record.open.as_ref().is_none_or(|storm| version(storm.version) != snapshot.version) {
                return Closing::Changed;
            }
            let Some(storm) = record.take_open(id.epoch) else { return Closing::Changed };
            let metadata = storm.extent.metadata(&storm.pattern, &record.alerts);
            record.closing.push(ClosedStorm { epoch: id.epoch, metadata, reason });
            record.retire(id.epoch, StormEnd::of(reason, at.now), at);
            Closing::Closed { left: record.alerts.left() }
        });
        Ok(closing.unwrap_or(Closing::Changed))
    }

    async fn settle(&self, id: StormId) -> Result<(), LedgerError> {
        self.records().of_known(id.key, |record, _| record.closing.retain(|storm| storm.epoch != id.epoch));
        Ok(())
    }

    async fn forget(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError> {
        let let_go = self.records().of_known(id.key, |record, _| {
            let Some(storm) = record.take_open(id.epoch) else { return false };
            record.alerts.forget(storm.unpublished.iter().flat_map(|joined| joined.alerts.iter().copied()));
            record.retire(id.epoch, StormEnd::Handled(at.now.as_microsecond()), at);
            !storm.unpublished.is_empty()
        });
        Ok(let_go.unwrap_or_default())
    }

    async fn drop_unknown(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError> {
        let mut records = self.records();
        let keys: Vec<StormKey> = records.keys.keys().copied().collect();
        for key in keys {
            let unknown = |epoch| epoch < before.as_second() && !known.contains(&StormId { key, epoch });
            records.of(key, |record, _| drop(record.open.take_if(|storm| unknown(storm.epoch))));
        }
        Ok(())
    }

    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError> {
        self.records().of_known(id.key, |record, _| {
            if record.take_open(id.epoch).is_some() {
                record.alerts.drop_storm();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
