//! What the server knows of keys that this process does not: which storm is open, and the alerts.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::RedisLedger;
use super::alerts::read_alerts;
use super::known::MergeTarget;
use super::merge::PIPELINE;
use super::reply::{read, whole};
use super::scripts;
use crate::ledger::{Batch, LedgerError, Merge, namespace_made};
use crate::metrics::LedgerOperation;
use crate::storm::{AlertRegisters, DEDUP_HORIZON, Epoch, Observation, StormId, StormKey};

/// What the server says of a key.
#[derive(Default)]
pub(super) struct Look {
    epoch: Option<Epoch>,
    /// The last closed epoch.
    pub(super) last: Option<Epoch>,
    pub(super) alerts: AlertRegisters,
}

/// More keys than these are not remembered, and looked at once more: 5 MB.
const MOST_OUTLIVED: usize = 100_000;

impl Look {
    /// Whether something of it is older than the namespace that was made at this time. Where a storm has opened since, nothing is.
    fn is_outlived(&self, made: Timestamp) -> bool {
        // What no storm of that namespace had may be of this one: a report may be older than its namespace, as far as clocks tell.
        let older = |epoch: Option<Epoch>| epoch.is_some_and(|epoch| epoch < made.as_second());
        let reported = || self.alerts.iter().any(|(_, alert)| alert.at < made.as_microsecond());
        match self.epoch {
            Some(_) => older(self.epoch),
            None => older(self.last) && reported(),
        }
    }
}

impl RedisLedger {
    /// Asks the server about the keys whose open storm this process does not know; gives what it says of those without one.
    pub(super) async fn look_at_unknown(&self, batches: &[Batch]) -> Result<HashMap<StormKey, Look>, LedgerError> {
        for (key, observations) in batches {
            // A storm of a namespace that is gone is known no longer.
            if let Some(made) = self.made_since(*key, observations)
                && let Some(target) = self.known.target(*key)
                && target.epoch < made.as_second()
            {
                self.known.gone(StormId { key: *key, epoch: target.epoch });
            }
        }
        let unknown: Vec<&Batch> = batches.iter().filter(|batch| self.known.target(batch.0).is_none()).collect();
        let mut closed = HashMap::new();
        for batches in unknown.chunks(PIPELINE) {
            let keys: Vec<StormKey> = batches.iter().map(|batch| batch.0).collect();
            for (mut look, (key, observations)) in self.look(&keys).await?.into_iter().zip(batches) {
                if let Some(made) = self.made_since(*key, observations) {
                    if look.is_outlived(made) {
                        self.leave_to_namespace(*key, look.epoch, made).await?;
                        look = self.look(&[*key]).await?.pop().unwrap_or_default();
                    }
                    self.is_of_namespace(*key, made);
                }
                let Some(epoch) = look.epoch else {
                    closed.insert(*key, look);
                    continue;
                };
                let names = Arc::new(self.storm_names(StormId { key: *key, epoch })?);
                let pattern = observations.first().map(|o| o.opening.pattern.as_str()).unwrap_or_default();
                self.known.opened(*key, MergeTarget { epoch, names }, pattern, look);
            }
        }
        Ok(closed)
    }

    /// When the namespace of a key was made, if this process has not looked at the key since. Once is enough: what comes later is of this one.
    fn made_since(&self, key: StormKey, observations: &[Observation]) -> Option<Timestamp> {
        let made = namespace_made(observations)?;
        let looked_at = self.outlived.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        looked_at.is_none_or(|looked_at| looked_at < made).then_some(made)
    }

    fn is_of_namespace(&self, key: StormKey, made: Timestamp) {
        let mut outlived = self.outlived.lock().unwrap_or_else(PoisonError::into_inner);
        if outlived.len() >= MOST_OUTLIVED {
            outlived.clear();
        }
        outlived.insert(key, made);
    }

    /// What the server has of a key goes with the namespace that it was of: one of that name was made at this time.
    async fn leave_to_namespace(&self, key: StormKey, open: Option<Epoch>, made: Timestamp) -> Result<(), LedgerError> {
        let names = self.storm_names(StormId { key, epoch: open.unwrap_or_default() })?;
        let keys = [
            names.key.registers(),
            names.key.alerts(),
            names.journal(),
            names.resources(),
            names.names(),
            names.key.dirty(),
            names.key.last(),
        ];
        let mut cmd = scripts::call(&scripts::OUTLIVE, &keys);
        cmd.arg(open.map(|epoch| epoch.to_string()).unwrap_or_default()).arg(names.mark());
        cmd.arg(made.as_second()).arg(made.as_microsecond()).arg(DEDUP_HORIZON.as_secs());
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd);
        self.connection.send(LedgerOperation::Close, &pipeline).await.map(drop)
    }

    pub(super) async fn look(&self, keys: &[StormKey]) -> Result<Vec<Look>, LedgerError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            let names = self.names(*key)?;
            pipeline.cmd("ZSCORE").arg(names.registers()).arg("e");
            pipeline.cmd("ZSCORE").arg(names.last()).arg("m");
            pipeline.cmd("GET").arg(names.alerts());
        }
        let replies = self.connection.send(LedgerOperation::Look, &pipeline).await?;
        let look = |index: usize| -> Result<Look, LedgerError> {
            let alerts: Option<Vec<u8>> = read(&replies, 3 * index + 2)?;
            Ok(Look {
                epoch: read::<Option<f64>>(&replies, 3 * index)?.map(whole),
                last: read::<Option<f64>>(&replies, 3 * index + 1)?.map(whole),
                alerts: read_alerts(&alerts.unwrap_or_default())?,
            })
        };
        (0..keys.len()).map(look).collect()
    }
}

/// No storm is open: says whether one must be.
pub(super) fn not_open((_, observations): &Batch, look: Option<&Look>) -> Merge {
    let nothing = AlertRegisters::default();
    let alerts = look.map_or(&nothing, |look| &look.alerts);
    Merge::not_open(observations, alerts, look.and_then(|look| look.last))
}
