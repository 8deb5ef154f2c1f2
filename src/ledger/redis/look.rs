//! What the server knows of keys that this process does not: which storm is open, and the alerts.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::RedisLedger;
use super::alerts::read_alerts;
use super::known::MergeTarget;
use super::merge::PIPELINE;
use super::reply::{read, whole};
use super::scripts;
use crate::ledger::{Batch, LedgerError, Merge, namespace_made};
use crate::metrics::LedgerOperation;
use crate::storm::{AlertRegisters, DEDUP_HORIZON, Epoch, StormId, StormKey};

/// What the server says of a key.
#[derive(Default)]
pub(super) struct Look {
    epoch: Option<Epoch>,
    /// The last closed epoch.
    pub(super) last: Option<Epoch>,
    /// The second in which it was last told of reports that no open storm takes in.
    told: Option<i64>,
    pub(super) alerts: AlertRegisters,
}

impl Look {
    /// Whether it is of another namespace than the one of this name that was made at this time.
    fn is_outlived(&self, made: Timestamp) -> bool {
        let older = |second: Option<i64>| second.is_none_or(|second| second < made.as_second());
        match self.epoch {
            Some(_) => older(self.epoch),
            None => !self.alerts.is_empty() && older(self.last) && older(self.told),
        }
    }
}

impl RedisLedger {
    /// Asks the server about the keys whose open storm this process does not know; gives what it says of those without one.
    pub(super) async fn look_at_unknown(&self, batches: &[Batch]) -> Result<HashMap<StormKey, Look>, LedgerError> {
        for (key, observations) in batches {
            // A storm of a namespace that is gone is known no longer.
            if let Some(made) = namespace_made(observations)
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
                if namespace_made(observations).is_some_and(|made| look.is_outlived(made)) {
                    self.leave_to_namespace(*key, look.epoch).await?;
                    look = self.look(&[*key]).await?.pop().unwrap_or_default();
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

    /// What the server has of a key goes with the namespace that it was of.
    async fn leave_to_namespace(&self, key: StormKey, open: Option<Epoch>) -> Result<(), LedgerError> {
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
        cmd.arg(DEDUP_HORIZON.as_secs());
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd);
        self.connection.send(LedgerOperation::Close, &pipeline).await.map(drop)
    }

    pub(super) async fn look(&self, keys: &[StormKey]) -> Result<Vec<Look>, LedgerError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            let names = self.names(*key)?;
            pipeline.cmd("ZSCORE").arg(names.registers()).arg("e");
            pipeline.cmd("ZMSCORE").arg(names.last()).arg("m").arg("t");
            pipeline.cmd("GET").arg(names.alerts());
        }
        let replies = self.connection.send(LedgerOperation::Look, &pipeline).await?;
        let look = |index: usize| -> Result<Look, LedgerError> {
            let alerts: Option<Vec<u8>> = read(&replies, 3 * index + 2)?;
            let (last, told): (Option<f64>, Option<f64>) = read(&replies, 3 * index + 1)?;
            Ok(Look {
                epoch: read::<Option<f64>>(&replies, 3 * index)?.map(whole),
                last: last.map(whole),
                told: told.map(whole),
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
