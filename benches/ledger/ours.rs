//! The ledger, as the operator uses it: through its own API.

use std::collections::HashSet;

use anyhow::{Context, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use stormfold::ledger::redis::{RedisLedger, RedisSettings};
use stormfold::ledger::{Ledger as _, LedgerError, Merge, Snapshot};
use stormfold::metrics::Metrics;
use stormfold::storm::decide::LedgerView;
use stormfold::storm::{DigestKey, Observation, StormKey};
use tokio::sync::mpsc::unbounded_channel;

use super::generator::{self, PATTERN, Resources, START, Storm, Telling};
use super::server::Server;

/// Calls in flight where each storm takes one of its own.
const IN_FLIGHT: usize = 256;
/// How often `begin` is tried.
const ATTEMPTS: usize = 20;
/// Storms that are opened, merged and published before the next ones are.
const CHUNK: usize = 2_048;
/// Occurrences of one Signal of a fill.
const PER_SIGNAL: u32 = 1_000;
/// Occurrences of one call of a fill.
const PER_CALL: u32 = 100_000;

/// Observations of one storm.
pub type Batch = (StormKey, Vec<Observation>);

/// Whether a fill found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    All,
    /// The server refused.
    Full,
}

/// What a fill leaves of the storms' changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Not published yet.
    Pending,
    /// Published: snapshot and acknowledgement of every storm.
    Flushed,
}

/// See the module.
pub struct Ours {
    ledger: RedisLedger,
    digests: DigestKey,
    resources: Resources,
}

impl Ours {
    pub async fn begin(server: &Server, resources: Resources) -> anyhow::Result<Self> {
        let settings = RedisSettings::new(server.url());
        let ledger = RedisLedger::new(settings, unbounded_channel().0, Metrics::default());
        // As its contract says: again and again. A busy machine may need more than the second that a connection may take.
        let mut attempts = 1;
        let begun = loop {
            match ledger.begin().await {
                Err(_) if attempts < ATTEMPTS => attempts += 1,
                begun => break begun?,
            }
        };
        Ok(Self { ledger, digests: begun.key, resources })
    }

    /// One Signal of one occurrence each.
    pub fn signals(&self, storm: u32, occurrences: std::ops::Range<u32>) -> Batch {
        let signal = |n| generator::observation(storm, n..n + 1, self.resources, &self.digests);
        (generator::key(storm), occurrences.map(signal).collect())
    }

    /// One Signal that says something more of an alert, at this second.
    pub fn again(&self, storm: u32, occurrence: u32, at: u32, telling: Telling) -> Batch {
        let signal = generator::again(storm, occurrence, at, telling, self.resources, &self.digests);
        (generator::key(storm), vec![signal])
    }

    /// Merges; every occurrence must be new, but for repeats.
    pub async fn merge(&self, batches: &[Batch], telling: Telling) -> Result<(), LedgerError> {
        let merges = self.ledger.merge(batches, generator::second(0)).await?;
        for (merge, batch) in merges.iter().zip(batches) {
            let new = |observation: &Observation| match telling {
                Telling::First | Telling::End => observation.reports.len(),
                Telling::Repeat => 0,
            };
            let expected: Vec<usize> = batch.1.iter().map(new).collect();
            if let Merge::Full { why, .. } = merge {
                return Err(LedgerError::Full(why.clone()));
            }
            if *merge != (Merge::Joined { epoch: START, new: expected, held: Vec::new(), last: None }) {
                return Err(LedgerError::Refused(format!("WRONG COUNT: {merge:?}")));
            }
        }
        Ok(())
    }

    /// Opens these storms, merges their occurrences, and publishes them if so asked.
    pub async fn fill(&self, storms: &[Storm], changes: Changes) -> anyhow::Result<Filled> {
        for storms in storms.chunks(CHUNK) {
            match self.fill_chunk(storms, changes).await {
                Err(error) if is_full(&error) => return Ok(Filled::Full),
                filled => filled?,
            }
        }
        Ok(Filled::All)
    }

    async fn fill_chunk(&self, storms: &[Storm], changes: Changes) -> anyhow::Result<()> {
        self.open(storms).await?;
        self.merge_all(storms).await?;
        if changes == Changes::Flushed {
            self.flush(storms).await?;
        }
        Ok(())
    }

    /// Whether a full server still gives what a publisher needs to make room: the state of a storm.
    pub async fn reads_when_full(&self, storm: Storm) -> anyhow::Result<bool> {
        match self.right(storm).await {
            Err(error) if is_full(&error) => Ok(false),
            right => right.map(|_| true),
        }
    }

    async fn open(&self, storms: &[Storm]) -> anyhow::Result<()> {
        let open = |storm: Storm| async move {
            let epoch = self.ledger.open(generator::id(storm.number), PATTERN, generator::second(0)).await?;
            ensure!(epoch == Some(START), "storm {} is open since {epoch:?}", storm.number);
            Ok(())
        };
        futures::stream::iter(storms.iter().copied()).map(open).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn merge_all(&self, storms: &[Storm]) -> Result<(), LedgerError> {
        let (mut batches, mut weight) = (Vec::new(), 0);
        for storm in storms {
            let signal = |from: u32| {
                let occurrences = from..(from + PER_SIGNAL).min(storm.occurrences);
                generator::observation(storm.number, occurrences, self.resources, &self.digests)
            };
            let signals = (0..storm.occurrences).step_by(PER_SIGNAL as usize).map(signal).collect();
            batches.push((generator::key(storm.number), signals));
            weight += storm.occurrences;
            if weight > PER_CALL {
                self.merge(&std::mem::take(&mut batches), Telling::First).await?;
                weight = 0;
            }
        }
        self.merge(&batches, Telling::First).await
    }

    /// Snapshot and acknowledgement of each storm, as the publisher does; each snapshot must count what was merged.
    pub async fn flush(&self, storms: &[Storm]) -> anyhow::Result<()> {
        let flush = |storm: Storm| async move {
            let snapshot = self.right(storm).await?;
            self.ack(storm, &snapshot).await
        };
        futures::stream::iter(storms.iter().copied()).map(flush).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    /// Fails unless each of these storms counts what it should, and the dirty ones are those.
    pub async fn check(&self, storms: &[Storm], dirty: &HashSet<u32>) -> anyhow::Result<()> {
        let marked: HashSet<StormKey> = self.ledger.dirty().await?.into_iter().map(|id| id.key).collect();
        let expected: HashSet<StormKey> = dirty.iter().map(|storm| generator::key(*storm)).collect();
        ensure!(marked == expected, "WRONG COUNT: {} dirty storms instead of {}", marked.len(), expected.len());
        self.right_all(storms).await
    }

    /// Fails unless each of these storms counts what it should.
    pub async fn right_all(&self, storms: &[Storm]) -> anyhow::Result<()> {
        let right = |storm: Storm| async move { self.right(storm).await.map(drop) };
        futures::stream::iter(storms.iter().copied()).map(right).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    /// Acknowledges a snapshot; nothing may have come since.
    pub async fn ack(&self, storm: Storm, snapshot: &Snapshot) -> anyhow::Result<()> {
        let clean = self.ledger.ack(generator::id(storm.number), snapshot).await?;
        ensure!(clean, "storm {} is dirty although nothing came since", storm.number);
        Ok(())
    }

    /// The snapshot of a storm; fails unless it counts what it should.
    pub async fn right(&self, storm: Storm) -> anyhow::Result<Snapshot> {
        let snapshot = self.ledger.snapshot(generator::id(storm.number)).await?;
        let LedgerView::Open { metadata, .. } = &snapshot.view else { bail!("storm {} is not open", storm.number) };
        let metadata = metadata.as_ref().with_context(|| format!("storm {} is empty", storm.number))?;
        let counts = (metadata.alert_count, metadata.firing, metadata.affected_count);
        let Storm { occurrences, later, ended, .. } = storm;
        let expected =
            (occurrences as usize, (occurrences - ended) as usize, self.resources.affected(occurrences) as usize);
        ensure!(counts == expected, "WRONG COUNT: ours has {counts:?} instead of {expected:?}");
        let last = generator::second((occurrences + later).saturating_sub(1));
        ensure!(metadata.last_seen == last, "WRONG COUNT: last seen {} instead of {last}", metadata.last_seen);
        Ok(snapshot)
    }

    pub async fn drop_storms(&self, storms: &[Storm]) -> anyhow::Result<()> {
        let drop_one = |storm: Storm| async move { self.ledger.drop_storm(generator::id(storm.number)).await };
        let dropped = futures::stream::iter(storms.iter().copied()).map(drop_one).buffer_unordered(IN_FLIGHT);
        Ok(dropped.try_collect().await?)
    }
}

fn is_full(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LedgerError::Full(_)))
}
