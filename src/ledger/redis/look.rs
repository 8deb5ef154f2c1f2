//! What the server knows of keys that this process does not: which storm is open, and the alerts.

use std::collections::HashMap;
use std::sync::Arc;

use super::RedisLedger;
use super::alerts::read_alerts;
use super::known::MergeTarget;
use super::merge::PIPELINE;
use super::reply::{read, whole};
use crate::ledger::{Batch, LedgerError, Merge};
use crate::metrics::LedgerOperation;
use crate::storm::{AlertRegisters, Epoch, StormId, StormKey};

/// What the server says of a key.
#[derive(Default)]
pub(super) struct Look {
    epoch: Option<Epoch>,
    /// The last closed epoch.
    pub(super) last: Option<Epoch>,
    pub(super) alerts: AlertRegisters,
}

impl RedisLedger {
    /// Asks the server about the keys whose open storm this process does not know; gives what it says of those without one.
    pub(super) async fn look_at_unknown(&self, batches: &[Batch]) -> Result<HashMap<StormKey, Look>, LedgerError> {
        let unknown: Vec<&Batch> = batches.iter().filter(|batch| self.known.target(batch.0).is_none()).collect();
        let mut closed = HashMap::new();
        for batches in unknown.chunks(PIPELINE) {
            let keys: Vec<StormKey> = batches.iter().map(|batch| batch.0).collect();
            for (look, (key, observations)) in self.look(&keys).await?.into_iter().zip(batches) {
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
