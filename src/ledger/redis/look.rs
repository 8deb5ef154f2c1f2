//! What the server knows of keys that this process does not: which storm is open, and what closed storms hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::RedisLedger;
use super::keys::{MAX_SPANS, bucket, bucket_expires, spans};
use super::known::MergeTarget;
use super::merge::{MAX_REPORTS, PIPELINE};
use super::piece::add_members;
use super::reply::{read, whole};
use crate::ledger::{Batch, DedupWindow, LedgerError, Merge};
use crate::metrics::LedgerOperation;
use crate::storm::{Digest, Epoch, Observation, StormId, StormKey};

/// What the server says of a key without an open storm.
pub(super) struct Look {
    epoch: Option<Epoch>,
    last: Option<Epoch>,
    pub(super) held: bool,
}

/// What closed storms of a key hold of a batch.
#[derive(Default)]
pub(super) struct HeldOccurrences {
    pub(super) uids: HashSet<Digest>,
    /// The last closed epoch.
    pub(super) last: Option<Epoch>,
}

impl RedisLedger {
    /// Asks the server about the keys whose open storm this process does not know; gives the last closed epoch of those without one.
    pub(super) async fn look_at_unknown(
        &self,
        batches: &[Batch],
        now: Timestamp,
    ) -> Result<HashMap<StormKey, Option<Epoch>>, LedgerError> {
        let unknown: Vec<&Batch> = batches.iter().filter(|batch| self.known.target(batch.0).is_none()).collect();
        let mut closed = HashMap::new();
        for batches in unknown.chunks(PIPELINE) {
            let keys: Vec<StormKey> = batches.iter().map(|batch| batch.0).collect();
            for (look, (key, observations)) in self.look(&keys, now).await?.into_iter().zip(batches) {
                let Some(epoch) = look.epoch else {
                    closed.insert(*key, look.last);
                    continue;
                };
                let names = Arc::new(self.storm_names(StormId { key: *key, epoch })?);
                let pattern = observations.first().map(|o| o.opening.pattern.as_str()).unwrap_or_default();
                self.known.opened(*key, MergeTarget { epoch, names, held: look.held }, pattern);
            }
        }
        Ok(closed)
    }

    pub(super) async fn look(&self, keys: &[StormKey], now: Timestamp) -> Result<Vec<Look>, LedgerError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            let names = self.names(*key)?;
            pipeline.cmd("ZSCORE").arg(names.registers()).arg("e");
            pipeline.cmd("ZSCORE").arg(names.last()).arg("m");
            let exists = pipeline.cmd("EXISTS");
            for back in 0..=MAX_SPANS {
                exists.arg(names.held(bucket(now) - back));
            }
        }
        let replies = self.connection.send(LedgerOperation::Look, &pipeline).await?;
        let look = |index: usize| -> Result<Look, LedgerError> {
            Ok(Look {
                epoch: read::<Option<f64>>(&replies, 3 * index)?.map(whole),
                last: read::<Option<f64>>(&replies, 3 * index + 1)?.map(whole),
                held: read::<usize>(&replies, 3 * index + 2)? > 0,
            })
        };
        (0..keys.len()).map(look).collect()
    }

    /// Which occurrences of each batch closed storms hold. What is met again is remembered for another horizon (case C13).
    pub(super) async fn held(&self, batches: &[Batch], now: Timestamp) -> Result<Vec<HeldOccurrences>, LedgerError> {
        let mut asked = Vec::new();
        for (index, (key, observations)) in batches.iter().enumerate() {
            if self.known.target(*key).is_none_or(|target| target.held) {
                let uids: Vec<Digest> = observations.iter().flat_map(|o| &o.reports).map(|report| report.uid).collect();
                let horizon = observations.iter().map(|o| o.dedup_horizon).max().unwrap_or_default();
                let (key, at) = (*key, DedupWindow { now, horizon });
                asked.extend(uids.chunks(MAX_REPORTS).map(|uids| Asked { index, key, uids: uids.to_vec(), at }));
            }
        }
        let mut held: Vec<HeldOccurrences> = batches.iter().map(|_| HeldOccurrences::default()).collect();
        for asked in asked.chunks(PIPELINE) {
            for (asked, met) in asked.iter().zip(self.meet(asked).await?) {
                held[asked.index].uids.extend(met.uids);
                held[asked.index].last = met.last;
            }
        }
        Ok(held)
    }

    async fn meet(&self, asked: &[Asked]) -> Result<Vec<HeldOccurrences>, LedgerError> {
        let mut pipeline = redis::pipe();
        for Asked { key, uids, at, .. } in asked {
            for back in 0..=spans(at.horizon) {
                pipeline.cmd("SMISMEMBER").arg(self.names(*key)?.held(bucket(at.now) - back)).arg(uids);
            }
            pipeline.cmd("ZSCORE").arg(self.names(*key)?.last()).arg("m");
        }
        let replies = self.connection.send(LedgerOperation::Look, &pipeline).await?;
        let (mut met, mut renewals) = (Vec::with_capacity(asked.len()), redis::pipe());
        let mut next = 0;
        for Asked { key, uids, at, .. } in asked {
            let current: Vec<bool> = read(&replies, next)?;
            let mut earlier = vec![false; uids.len()];
            for index in next + 1..=next + usize::try_from(spans(at.horizon)).unwrap_or_default() {
                let span: Vec<bool> = read(&replies, index)?;
                earlier.iter_mut().zip(span).for_each(|(met, in_span)| *met |= in_span);
                next = index;
            }
            let last = read::<Option<f64>>(&replies, next + 1)?.map(whole);
            next += 2;
            let uids = uids.iter().copied().zip(current.into_iter().zip(earlier));
            let renewed: Vec<Digest> =
                uids.clone().filter(|(_, met)| *met == (false, true)).map(|(uid, _)| uid).collect();
            if !renewed.is_empty() {
                let held = self.names(*key)?.held(bucket(at.now));
                add_members(&mut renewals, &held, &renewed);
                renewals.cmd("EXPIREAT").arg(held).arg(bucket_expires(*at));
            }
            let uids = uids.filter(|(_, (current, earlier))| *current || *earlier).map(|(uid, _)| uid).collect();
            met.push(HeldOccurrences { uids, last });
        }
        if !renewals.is_empty() {
            self.connection.send(LedgerOperation::Hold, &renewals).await?;
        }
        Ok(met)
    }
}

/// Occurrences of one batch that are asked for.
struct Asked {
    /// Which batch.
    index: usize,
    key: StormKey,
    uids: Vec<Digest>,
    at: DedupWindow,
}

/// No storm is open: says whether one must be.
pub(super) fn not_open((_, observations): &Batch, last: Option<Epoch>, held: &HashSet<Digest>) -> Merge {
    let opens = |o: &Observation| o.reports.iter().any(|report| report.firing && !held.contains(&report.uid));
    Merge::NotOpen { opens: observations.iter().map(opens).collect(), last }
}
