//! Storms that are open here and that nobody has any more: their namespace went while no operator ran. Nothing else leads to
//! their keys, and open storms do not expire.

use std::collections::HashSet;

use jiff::Timestamp;

use super::keys::{INCARNATION, KeyNames};
use super::reply::{read, whole};
use super::{LedgerError, RedisLedger};
use crate::metrics::LedgerOperation;
use crate::storm::StormId;

/// Names that are looked at in one step of the server.
const PAGE: usize = 1_000;
/// What a mark of nine characters ends the name of registers with.
const REGISTERS: &str = "{??}h?????????";

impl RedisLedger {
    /// Drops what is open, opened before `before`, and not known.
    pub(super) async fn drop_orphans(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError> {
        let mut marks = HashSet::new();
        for id in known.iter().copied().chain(self.known.ids()) {
            marks.insert(self.storm_names(id)?.mark());
        }
        let mut cursor = 0;
        loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SCAN").arg(cursor).arg("MATCH").arg(REGISTERS).arg("COUNT").arg(PAGE);
            let replies = self.connection.send(LedgerOperation::Dirty, &pipeline).await?;
            let (next, registers): (u64, Vec<String>) = read(&replies, 0)?;
            self.drop_orphans_of(&registers, &marks, before).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn drop_orphans_of(
        &self,
        registers: &[String],
        marks: &HashSet<String>,
        before: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut pipeline = redis::pipe();
        for name in registers {
            pipeline.cmd("ZRANGE").arg(name).arg(0).arg(-1).arg("WITHSCORES");
        }
        // It comes last and vouches for what was read before it: the marks are names under this incarnation.
        pipeline.cmd("GET").arg(INCARNATION);
        let replies = self.connection.send(LedgerOperation::Dirty, &pipeline).await?;
        if read::<Option<String>>(&replies, registers.len())?.as_deref() != Some(self.begun()?.id.as_ref()) {
            return Err(self.wiped());
        }
        for (index, name) in registers.iter().enumerate() {
            let members: Vec<(String, f64)> = read(&replies, index)?;
            let score = |member: &str| members.iter().find(|(of, _)| of == member).map(|(_, score)| whole(*score));
            let sid = members.iter().map(|(member, _)| member).find(|member| member.len() == 9);
            let Some(((key, sid), epoch)) = KeyNames::of_registers(name).zip(sid).zip(score("e")) else { continue };
            let names = key.storm_of_mark(sid);
            // The counter makes it harmless where another process has dropped it meanwhile, and taken it in again.
            let orphan = epoch < before.as_second() && !marks.contains(&names.mark());
            if orphan && self.remove(epoch, &names, score("p")).await? {
                tracing::info!(
                    registers = name,
                    epoch,
                    "removed a storm of which there is neither a Signal nor an object"
                );
            }
        }
        Ok(())
    }
}
