//! What the server remembers of alerts that are in no open storm, and hands on to the next one.

use jiff::Timestamp;
use redis::Value;

use super::alerts::reports;
use super::keys::closed_expires;
use super::merge::MAX_REPORTS;
use super::reply::read;
use super::{RedisLedger, scripts};
use crate::ledger::{DedupWindow, Holding, LedgerError, TakenOver};
use crate::metrics::LedgerOperation;
use crate::storm::alerts::StormEnd;
use crate::storm::{AlertReport, Epoch, StormId, StormKey};

/// How a storm ended, as the scripts are told: `C` or `H`, and the microsecond.
pub(super) fn end_arguments(end: StormEnd) -> (&'static str, i64) {
    match end {
        StormEnd::Closed(at) => ("C", at.max(0)),
        StormEnd::Handled(at) => ("H", at.max(0)),
    }
}

impl RedisLedger {
    pub(super) async fn hold_reports(&self, holding: &Holding) -> Result<usize, LedgerError> {
        let Holding { key, epoch, reports, end, at, .. } = holding;
        let left = self.remember(*key, reports, end_arguments(*end), *epoch, *at).await?;
        self.known.change(*key, *epoch, |alerts, open| {
            alerts.hold(reports, *end, Some(open) == *epoch);
        });
        Ok(left)
    }

    pub(super) async fn note_reports(
        &self,
        key: StormKey,
        reports: &[AlertReport],
        at: DedupWindow,
    ) -> Result<(), LedgerError> {
        self.remember(key, reports, ("N", 0), None, at).await?;
        self.known.change(key, None, |alerts, _| alerts.note(reports));
        Ok(())
    }

    async fn remember(
        &self,
        key: StormKey,
        all: &[AlertReport],
        (kind, end): (&str, i64),
        epoch: Option<Epoch>,
        at: DedupWindow,
    ) -> Result<usize, LedgerError> {
        let names = self.names(key)?;
        let keys = [names.alerts(), names.last(), names.registers()];
        let mut pipeline = redis::pipe();
        for some in all.chunks(MAX_REPORTS) {
            let mut cmd = scripts::call(&scripts::HOLD, &keys);
            cmd.arg(reports(some)).arg(kind).arg(end);
            cmd.arg(epoch.map(|epoch| epoch.to_string()).unwrap_or_default())
                .arg(closed_expires(at))
                .arg(at.now.as_second());
            pipeline.add_command(cmd);
        }
        if pipeline.is_empty() {
            return Ok(0);
        }
        let replies: Vec<Value> = self.connection.send(LedgerOperation::Hold, &pipeline).await?;
        read(&replies, replies.len().saturating_sub(1))
    }

    pub(super) async fn take_over_left(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError> {
        let names = self.storm_names(id)?;
        let keys = [names.key.registers(), names.key.alerts(), names.journal(), names.key.dirty()];
        let mut cmd = scripts::call(&scripts::TAKE_OVER, &keys);
        cmd.arg(id.epoch).arg(names.mark()).arg(now.as_millisecond());
        let mut pipeline = redis::pipe();
        pipeline.add_command(cmd);
        let replies = self.connection.send(LedgerOperation::Hold, &pipeline).await?;
        self.known.take_over(id);
        let (taken, firing) = read(&replies, 0)?;
        Ok(TakenOver { taken, firing })
    }
}
