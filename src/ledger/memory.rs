//! The ledger of one replica, in its own memory; and what any other ledger must do alike.
//!
//! A restart loses it, and watching the Signals again rebuilds it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Begun, Closing, DedupWindow, Durability, Holding, Ledger, LedgerError, Merge, Snapshot, TakenOver, Version,
    any_held, namespace_made,
};
use crate::storm::alerts::StormEnd;
use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::merge::{News, StormExtent, join};
use crate::storm::{
    AlertRegisters, AlertReport, Digest, DigestKey, Epoch, Observation, StormId, StormKey, StormMetadata,
};

/// A ledger in the memory of this process.
pub struct MemoryLedger {
    /// Random, and as short-lived as the ledger.
    key: DigestKey,
    records: Mutex<Records>,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        let mut secret = [0; 16];
        for half in secret.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::new().hash_one(()).to_ne_bytes());
        }
        Self::with_key(DigestKey::new(secret))
    }
}

#[derive(Default)]
struct Records {
    keys: HashMap<StormKey, KeyRecord>,
    swept: Option<Timestamp>,
    /// Raised by each change of any storm: no two states ever have one version, not even of a storm that is dropped and taken
    /// in again.
    version: u64,
}

/// How often records past the dedup horizon are looked for: the look is linear in the number of keys.
const SWEEP_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

impl Records {
    fn open_storm(&mut self, id: StormId) -> Option<&mut OpenStorm> {
        self.keys.get_mut(&id.key)?.open.as_mut().filter(|storm| storm.epoch == id.epoch)
    }

    /// Forgets what is past the dedup horizon. Called where the memory grows, and only there.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.keys.retain(|_, record| {
            record.expire(now);
            !record.is_empty()
        });
    }
}

/// All that is known of one key.
#[derive(Default)]
struct KeyRecord {
    open: Option<OpenStorm>,
    /// Closed in the ledger, end not yet in the cluster.
    closing: Vec<ClosedStorm>,
    last_closed: Option<Epoch>,
    alerts: AlertRegisters,
    /// When it was last told of reports that no open storm takes in.
    told: Option<Timestamp>,
    /// When something of it was met last, and how long what is in no storm is remembered from then on.
    last_met: Option<DedupWindow>,
}

struct OpenStorm {
    epoch: Epoch,
    pattern: String,
    extent: StormExtent,
    /// Of the last change.
    version: u64,
    /// When the first change came that is not published.
    dirty_since: Option<Timestamp>,
    published: bool,
    /// Alerts that joined with a version that is not acknowledged: what no object shows yet.
    unpublished: Vec<(u64, Digest)>,
}

struct ClosedStorm {
    epoch: Epoch,
    metadata: Option<StormMetadata>,
    reason: CloseReason,
}

impl KeyRecord {
    fn merge(&mut self, observations: &[Observation], version: &mut u64, now: Timestamp) -> Merge {
        self.expire(now);
        if let Some(made) = namespace_made(observations) {
            self.leave_to_namespace(made);
        }
        let Self { open, alerts, last_met, last_closed, .. } = self;
        let Some(storm) = open else {
            return Merge::not_open(observations, alerts, *last_closed);
        };
        for observation in observations {
            last_met.replace(DedupWindow { now, horizon: observation.dedup_horizon });
        }
        let news: Vec<News> = observations.iter().map(|o| join(alerts, &mut storm.extent, o)).collect();
        if news.iter().any(|news| news.changed) {
            *version += 1;
            storm.version = *version;
            storm.unpublished.extend(news.iter().flat_map(|news| &news.alerts).map(|uid| (*version, *uid)));
            storm.dirty_since.get_or_insert(now);
        }
        let (new, held) = news.into_iter().map(|news| (news.reports, news.held)).unzip();
        let held = any_held(held);
        let last = last_closed.filter(|_| !held.is_empty());
        Merge::Joined { epoch: storm.epoch, new, held, last }
    }

    /// What is of another namespace of this name goes with it.
    fn leave_to_namespace(&mut self, made: Timestamp) {
        let of_another = match &self.open {
            Some(storm) => storm.epoch < made.as_second(),
            None => self.last_closed.is_none_or(|last| last < made.as_second()) && self.told.is_none_or(|at| at < made),
        };
        if of_another {
            let ended = self.open.take().map(|storm| storm.epoch);
            self.last_closed = self.last_closed.max(ended);
            self.alerts = AlertRegisters::default();
        }
    }

    /// Takes the open storm out if it is the one of this epoch.
    fn take_open(&mut self, epoch: Epoch) -> Option<OpenStorm> {
        self.open.take_if(|storm| storm.epoch == epoch)
    }

    /// The storm that was taken out has ended so.
    fn retire(&mut self, epoch: Epoch, end: StormEnd, at: DedupWindow) {
        self.last_closed = self.last_closed.max(Some(epoch));
        // What storms before this one left. What this one had, the next one may be asked about, however long ago it ended.
        self.alerts.expire(at.earliest());
        self.alerts.end(end);
        self.last_met = Some(at);
    }

    fn expire(&mut self, now: Timestamp) {
        let over = |met: DedupWindow| now.duration_since(met.now) > met.horizon;
        if self.open.is_none() && self.last_met.is_some_and(over) {
            self.alerts = AlertRegisters::default();
        }
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.closing.is_empty() && self.alerts.is_empty()
    }
}

/// The number alone tells one state from another; `merged` is the same number, since every merge of this ledger is ours.
fn version(number: u64) -> Version {
    Version { merged: number, ..Version::default() }
}

impl MemoryLedger {
    /// An empty one with this key.
    pub fn with_key(key: DigestKey) -> Self {
        Self { key, records: Mutex::default() }
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
        let Records { keys, version, .. } = &mut *self.records();
        let merge = |(key, observations): &(StormKey, Vec<Observation>)| match keys.get_mut(key) {
            Some(record) => record.merge(observations, version, now),
            None => KeyRecord::default().merge(observations, version, now),
        };
        Ok(batches.iter().map(merge).collect())
    }

    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError> {
        let mut records = self.records();
        records.sweep(now);
        records.version += 1;
        let version = records.version;
        let record = records.keys.entry(id.key).or_default();
        if let Some(open) = &record.open {
            return Ok(Some(open.epoch));
        }
        if record.last_closed.is_some_and(|last| id.epoch <= last) {
            return Ok(None);
        }
        record.expire(now);
        record.open = Some(OpenStorm {
            epoch: id.epoch,
            pattern: pattern.to_owned(),
            extent: StormExtent::default(),
            version,
            dirty_since: None,
            published: false,
            unpublished: Vec::new(),
        });
        Ok(Some(id.epoch))
    }

    async fn hold(&self, holding: &Holding) -> Result<usize, LedgerError> {
        let Holding { key, epoch, reports, end, at } = holding;
        let mut records = self.records();
        records.sweep(at.now);
        let record = records.keys.entry(*key).or_default();
        record.last_closed = record.last_closed.max(*epoch);
        record.last_met = Some(*at);
        record.told = Some(at.now);
        let of_open = record.open.as_ref().is_some_and(|storm| Some(storm.epoch) == *epoch);
        record.alerts.hold(reports, *end, of_open);
        Ok(record.alerts.left() + record.alerts.firing_of(reports))
    }

    async fn note(&self, key: StormKey, reports: &[AlertReport], at: DedupWindow) -> Result<(), LedgerError> {
        let mut records = self.records();
        records.sweep(at.now);
        let record = records.keys.entry(key).or_default();
        record.last_met = Some(at);
        record.told = Some(at.now);
        record.alerts.note(reports);
        Ok(())
    }

    async fn take_over(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError> {
        let Records { keys, version, .. } = &mut *self.records();
        let Some(KeyRecord { open: Some(storm), alerts, .. }) = keys.get_mut(&id.key) else {
            return Ok(TakenOver::default());
        };
        if storm.epoch != id.epoch {
            return Ok(TakenOver::default());
        }
        let taken = alerts.take_over();
        if !taken.is_empty() {
            *version += 1;
            storm.version = *version;
            storm.unpublished.extend(taken.iter().map(|uid| (*version, *uid)));
            storm.dirty_since.get_or_insert(now);
        }
        Ok(TakenOver { taken: taken.len(), firing: alerts.firing() })
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
        let unknown = Snapshot { view: LedgerView::Unknown, version: Version::default(), dirty_since: None };
        let Some(record) = records.keys.get(&id.key) else { return Ok(unknown) };
        if let Some(storm) = record.open.as_ref().filter(|storm| storm.epoch == id.epoch) {
            let view = LedgerView::Open {
                metadata: storm.extent.metadata(&storm.pattern, &record.alerts),
                resolvable: storm.extent.resolvable(),
                published: storm.published,
            };
            return Ok(Snapshot { view, version: version(storm.version), dirty_since: storm.dirty_since });
        }
        let closing = record.closing.iter().find(|storm| storm.epoch == id.epoch);
        if closing.is_none() && record.last_closed.is_none_or(|last| id.epoch > last) {
            return Ok(unknown);
        }
        let view = LedgerView::Closed {
            metadata: closing.and_then(|storm| storm.metadata.clone()),
            reason: closing.map(|storm| storm.reason),
        };
        Ok(Snapshot { view, version: Version::default(), dirty_since: None })
    }

    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError> {
        if let Some(storm) = self.records().open_storm(id) {
            storm.published = true;
        }
        Ok(())
    }

    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError> {
        let mut records = self.records();
        let Some(storm) = records.open_storm(id) else { return Ok(true) };
        storm.published = true;
        storm.unpublished.retain(|(changed, _)| *changed > snapshot.version.merged);
        storm.dirty_since.take_if(|_| version(storm.version) == snapshot.version);
        Ok(storm.dirty_since.is_none())
    }

    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError> {
        let mut records = self.records();
        let Some(record) = records.keys.get_mut(&id.key) else { return Ok(Closing::Changed) };
        if record.open.as_ref().is_none_or(|storm| version(storm.version) != snapshot.version) {
            return Ok(Closing::Changed);
        }
        let Some(storm) = record.take_open(id.epoch) else { return Ok(Closing::Changed) };
        let metadata = storm.extent.metadata(&storm.pattern, &record.alerts);
        record.closing.push(ClosedStorm { epoch: id.epoch, metadata, reason });
        record.retire(id.epoch, StormEnd::of(reason, at.now), at);
        Ok(Closing::Closed { left: record.alerts.left() })
    }

    async fn settle(&self, id: StormId) -> Result<(), LedgerError> {
        if let Some(record) = self.records().keys.get_mut(&id.key) {
            record.closing.retain(|storm| storm.epoch != id.epoch);
        }
        Ok(())
    }

    async fn forget(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError> {
        let mut records = self.records();
        let Some(record) = records.keys.get_mut(&id.key) else { return Ok(false) };
        let Some(storm) = record.take_open(id.epoch) else { return Ok(false) };
        record.alerts.forget(storm.unpublished.iter().map(|(_, uid)| *uid));
        record.retire(id.epoch, StormEnd::Handled(at.now.as_microsecond()), at);
        Ok(!storm.unpublished.is_empty())
    }

    async fn drop_unknown(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError> {
        for (key, record) in &mut self.records().keys {
            let unknown = |epoch| epoch < before.as_second() && !known.contains(&StormId { key: *key, epoch });
            record.open.take_if(|storm| unknown(storm.epoch));
        }
        Ok(())
    }

    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError> {
        if let Some(record) = self.records().keys.get_mut(&id.key)
            && record.take_open(id.epoch).is_some()
        {
            record.alerts.drop_storm();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::fixtures::observation;
    use crate::storm::{Report, Severity};

    // Invariant 15, here: one record per key, and nothing of a closed storm is left after the dedup horizon.
    #[tokio::test]
    async fn ledger_records_of_one_storm_live_and_die_together_and_those_of_a_closed_one_expire() {
        let ledger = MemoryLedger::default();
        let time = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let signal = observation(vec![Report { uid: 1, firing: true, resource: None }], (5, 5), Severity::Info);
        let id = StormId { key: signal.key, epoch: 7 };
        ledger.open(id, "X in prod", time(0)).await.unwrap();
        ledger.merge(&[(id.key, vec![signal])], time(0)).await.unwrap();
        let snapshot = ledger.snapshot(id).await.unwrap();
        ledger.close(id, &snapshot, CloseReason::Quiet, time(1).into()).await.unwrap();
        let other = StormId { key: StormKey::new("web", "Y in web"), epoch: 7 };
        let horizon = 6 * 3600;
        ledger.open(other, "Y in web", time(1 + horizon)).await.unwrap();
        assert!(ledger.records().keys.contains_key(&id.key), "within the horizon");
        ledger.settle(id).await.unwrap();
        ledger.note(other.key, &[], time(2 + horizon + 60).into()).await.unwrap();
        assert_eq!(ledger.records().keys.keys().collect::<Vec<_>>(), [&other.key]);
    }
}
