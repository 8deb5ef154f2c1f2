//! A part of a batch that is merged in one step: its commands.

use std::sync::Arc;

use redis::Pipeline;

use super::keys::StormNames;
use super::known::Untold;
use crate::storm::StormId;

/// A part of a batch, merged in one step. Cut between observations only: each is counted by one storm.
pub(super) struct Piece {
    /// Which batch.
    pub(super) batch: usize,
    /// The storm that it is meant for.
    pub(super) id: StormId,
    pub(super) names: Arc<StormNames>,
    pub(super) untold: Untold,
}

impl Piece {
    /// The joins; last, whether this storm is open. The texts are the last of the joins: when a server that is almost full refuses them, what came
    /// before can be published, which makes room.
    pub(super) fn commands(&self, pipeline: &mut Pipeline, now: i64) {
        let (names, h) = (&self.names, self.names.key.registers());
        let Untold { journal, registers, resources, marks, .. } = &self.untold;
        if !journal.is_empty() {
            pipeline.cmd("APPEND").arg(names.journal()).arg(journal.as_slice());
        }
        if *marks {
            pipeline.cmd("ZADD").arg(names.key.dirty()).arg("NX").arg(now).arg(names.mark());
        }
        let registers = registers.named();
        if registers.iter().any(|(_, value)| value.is_some()) {
            let add = pipeline.cmd("ZADD").arg(&h).arg("GT");
            for (name, value) in registers {
                if let Some(value) = value {
                    add.arg(value).arg(format!("{name}{}", names.tag()));
                }
            }
        }
        if !resources.is_empty() {
            let texts: Vec<&str> = resources.iter().map(|(_, text)| text.as_ref()).collect();
            pipeline.cmd("RPUSH").arg(names.names()).arg(texts);
        }
        // Not the epoch itself: to write a score out costs the server more than to look up a rank.
        pipeline.cmd("ZRANK").arg(&h).arg(names.sid());
    }
}
