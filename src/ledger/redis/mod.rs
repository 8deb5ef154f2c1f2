//! The ledger that replicas share and that survives restarts: light metadata in Redis, merged by plain commands that are joins.
//!
//! `keys` says what is kept and for how long, `format` in which form, `merge` is the hot path, `storm` the life of one storm in scripts, `connection` the way to
//! the server (`endpoint` its address, `failure` its errors, `server` what it must be, `watch` the look at it), `known` what this process need not ask twice.

mod alerts;
mod connection;
mod endpoint;
mod facts;
mod failure;
mod format;
mod keys;
mod known;
mod look;
mod merge;
mod orphans;
mod past;
mod piece;
mod reply;
mod scripts;
mod server;
mod storm;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use stormfold_core::engine::resync::ResyncReason;

pub use endpoint::RedisSettings;
pub use server::ACL_RULE;

use connection::Connection;
use keys::{KeyNames, PARTITIONS, StormNames};
use known::{KnownStorms, MergeTarget};
use reply::read;

use super::{
    Begun, Closing, DedupWindow, Durability, Holding, Ledger, LedgerError, Merge, ResyncSender, Snapshot, TakenOver,
};
use crate::metrics::{LedgerOperation, Metrics};
use crate::storm::decide::CloseReason;
use crate::storm::{AlertRegisters, AlertReport, Digest, DigestKey, Epoch, Observation, StormId, StormKey};

/// A ledger in Redis.
pub struct RedisLedger {
    connection: Connection,
    known: KnownStorms,
    begun: Mutex<Option<CurrentIncarnation>>,
    /// Asked when all Signals must be read again.
    resync: ResyncSender,
    metrics: Metrics,
}

/// What was found at the last `begin`.
#[derive(Clone)]
struct CurrentIncarnation {
    id: Arc<str>,
    digests: DigestKey,
    /// How many there were before.
    number: u64,
}

impl RedisLedger {
    /// A ledger at this server. Nothing is sent before `begin`. `resync` is asked whenever all Signals must be read again.
    pub fn new(settings: RedisSettings, resync: ResyncSender, metrics: Metrics) -> Self {
        Self {
            connection: Connection::new(settings, resync.clone(), metrics.clone()),
            known: KnownStorms::default(),
            begun: Mutex::default(),
            resync,
            metrics,
        }
    }

    fn begun(&self) -> Result<CurrentIncarnation, LedgerError> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone();
        begun.ok_or_else(|| LedgerError::Lost("no Signals have been read yet".to_owned()))
    }

    fn names(&self, key: StormKey) -> Result<KeyNames, LedgerError> {
        Ok(KeyNames::of(&self.begun()?.digests, key))
    }

    fn storm_names(&self, id: StormId) -> Result<StormNames, LedgerError> {
        let digests = self.begun()?.digests;
        Ok(KeyNames::of(&digests, id.key).storm(&digests, id.epoch))
    }

    /// The ledger is another one than at `begin`.
    fn wiped(&self) -> LedgerError {
        // The receiver ends only with the process.
        let _ = self.resync.send(ResyncReason::LedgerWiped);
        LedgerError::Lost("Redis was wiped".to_owned())
    }

    /// The dirty marks: those of storms that this process knows, and those that strays left, which are swept.
    async fn dirty_storms(&self) -> Result<Vec<StormId>, LedgerError> {
        let mut pipeline = redis::pipe();
        for partition in 0..PARTITIONS {
            pipeline.cmd("ZRANGE").arg(keys::dirty(partition)).arg(0).arg(-1);
        }
        let replies = self.connection.send(LedgerOperation::Dirty, &pipeline).await?;
        let mut known = HashMap::new();
        for id in self.known.ids() {
            known.insert(self.storm_names(id)?.mark(), id);
        }
        let mut dirty = Vec::new();
        for partition in 0..PARTITIONS {
            for mark in read::<Vec<String>>(&replies, usize::from(partition))? {
                match known.get(&mark) {
                    Some(id) => dirty.push(*id),
                    None => self.sweep(partition, &mark).await?,
                }
            }
        }
        Ok(dirty)
    }

    /// A mark of a storm that this process does not know: another replica's, or a stray's.
    async fn sweep(&self, partition: u16, mark: &str) -> Result<(), LedgerError> {
        let Some((names, sid)) = KeyNames::of_mark(partition, mark) else { return Ok(()) };
        // Epoch 0 is no storm's: the script itself sees, in one step, whether this very storm is open.
        if self.remove(0, &names.storm_of_mark(&sid), None).await? {
            tracing::info!(mark, "removed the writes of a merge that arrived after its storm was closed");
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn begin(&self) -> Result<Begun, LedgerError> {
        let another_server = self.connection.begin().await?;
        let (incarnation, digests, made) = self.read_incarnation().await?;
        self.known.forget_all();
        let incarnation: Arc<str> = incarnation.into();
        let before = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let number = begun.as_ref().map_or(0, |before| before.number + 1);
            begun.replace(CurrentIncarnation { id: incarnation.clone(), digests, number })
        };
        let wiped = made || before.is_some_and(|before| before.id != incarnation);
        let durability = match (wiped, another_server) {
            (true, _) => Durability::Lost,
            (false, true) => Durability::Suspect,
            (false, false) => Durability::Intact,
        };
        self.connection.has_begun();
        Ok(Begun { key: digests, durability })
    }

    async fn merge(&self, batches: &[(StormKey, Vec<Observation>)], now: Timestamp) -> Result<Vec<Merge>, LedgerError> {
        self.merge_batches(batches, now).await
    }

    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError> {
        let open = self.open_storm(id, now).await?;
        let Some(epoch) = open else { return Ok(None) };
        let look = self.look(&[id.key]).await?.pop().unwrap_or_default();
        let names = Arc::new(self.storm_names(StormId { key: id.key, epoch })?);
        self.known.opened(id.key, MergeTarget { epoch, names }, pattern, look);
        Ok(Some(epoch))
    }

    async fn hold(&self, holding: &Holding) -> Result<usize, LedgerError> {
        self.hold_reports(holding).await
    }

    async fn note(&self, key: StormKey, reports: &[AlertReport], at: DedupWindow) -> Result<(), LedgerError> {
        self.note_reports(key, reports, at).await
    }

    async fn take_over(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError> {
        self.take_over_left(id, now).await
    }

    async fn alerts(&self, key: StormKey) -> Result<AlertRegisters, LedgerError> {
        Ok(self.look(&[key]).await?.pop().unwrap_or_default().alerts)
    }

    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError> {
        self.dirty_storms().await
    }

    async fn snapshot(&self, id: StormId) -> Result<Snapshot, LedgerError> {
        self.read_storm(id).await
    }

    async fn firing_of(&self, id: StormId, alerts: &[Digest]) -> Result<Vec<Digest>, LedgerError> {
        self.which_fire(id, alerts).await
    }

    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError> {
        self.storm_has_object(id).await
    }

    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError> {
        self.acknowledge(id, snapshot).await
    }

    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError> {
        self.close_storm(id, snapshot, reason, at).await
    }

    async fn settle(&self, id: StormId) -> Result<(), LedgerError> {
        let names = self.storm_names(id)?;
        let mut pipeline = redis::pipe();
        pipeline.cmd("UNLINK").arg(names.facts());
        self.connection.send(LedgerOperation::Close, &pipeline).await?;
        // A stray whose process died before it had its answer has left nobody to remove it.
        self.remove(id.epoch, &names, None).await.map(drop)
    }

    async fn forget(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError> {
        self.forget_storm(id, at).await
    }

    async fn drop_unknown(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError> {
        self.drop_orphans(known, before).await
    }

    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError> {
        self.drop_open_storm(id).await
    }
}

/// A random number. Each `RandomState` is keyed from the operating system's random source.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}
