//! A part of a batch that is merged in one step: its commands, and what their replies say.

use std::collections::HashSet;
use std::sync::Arc;

use redis::{Pipeline, Value};

use super::keys::StormNames;
use super::known::Registers;
use super::reply::read;
use crate::ledger::LedgerError;
use crate::storm::{Digest, Observation, Report, StormId};

/// Members in one command.
const MAX_MEMBERS: usize = 1_000;

/// A part of a batch, merged in one step. Cut between observations only: each is counted by one storm.
pub(super) struct Piece<'a> {
    /// Which batch.
    pub(super) batch: usize,
    pub(super) observations: &'a [Observation],
    /// The storm that it is meant for.
    pub(super) id: StormId,
    pub(super) names: Arc<StormNames>,
    /// What its storm's registers are not known to have yet.
    pub(super) registers: Registers,
    /// What its storm's resources are not known to have yet.
    pub(super) resources: Vec<(Digest, Arc<str>)>,
    /// Whether it leaves a dirty mark. One that is known to be there is not left again: the mark tells others of what is unpublished, and
    /// since when; this process asks for the publish itself.
    pub(super) marks: bool,
}

impl Piece<'_> {
    fn uids(&self, held: &HashSet<Digest>, firing: bool) -> Vec<Digest> {
        fresh(self.observations, held).filter(|report| report.firing == firing).map(|report| report.uid).collect()
    }

    /// Where several occurrences share an answer, what was there; then the joins; last, whether this storm is open. The texts are the last of
    /// the joins: when a server that is almost full refuses them, what came before can be published, which makes room.
    pub(super) fn commands(&self, pipeline: &mut Pipeline, held: &HashSet<Digest>, now: i64) {
        let (names, h) = (&self.names, self.names.key.registers());
        let sets = [(names.seen(), self.uids(held, true)), (names.resolved(), self.uids(held, false))];
        for (set, uids) in &sets {
            if uids.len() > 1 {
                pipeline.cmd("SMISMEMBER").arg(set).arg(uids);
            }
            add_members(pipeline, set, uids);
        }
        if self.marks {
            pipeline.cmd("ZADD").arg(names.key.dirty()).arg("NX").arg(now).arg(names.mark());
        }
        let registers = self.registers.named();
        if registers.iter().any(|(_, value)| value.is_some()) {
            let add = pipeline.cmd("ZADD").arg(&h).arg("GT");
            for (name, value) in registers {
                if let Some(value) = value {
                    add.arg(value).arg(format!("{name}{}", names.tag()));
                }
            }
        }
        if !self.resources.is_empty() {
            let texts: Vec<&str> = self.resources.iter().map(|(_, text)| text.as_ref()).collect();
            pipeline.cmd("RPUSH").arg(names.names()).arg(texts);
        }
        // Not the epoch itself: to write a score out costs the server more than to add a member to a set.
        pipeline.cmd("ZRANK").arg(&h).arg(names.sid());
    }

    /// What was new, from the replies of `commands`.
    pub(super) fn news(&self, replies: &[Value], held: &HashSet<Digest>) -> Result<PieceNews, LedgerError> {
        let mut news = PieceNews { counts: vec![0; self.observations.len()], fired: Vec::new() };
        let mut next = 0;
        for firing in [true, false] {
            let uids = self.uids(held, firing);
            let were_there: Vec<bool> = match uids.len() {
                0 => continue,
                1 => vec![read::<usize>(replies, next)? == 0],
                _ => read(replies, next)?,
            };
            next += uids.len().div_ceil(MAX_MEMBERS) + usize::from(uids.len() > 1);
            let mut were_there = were_there.into_iter();
            let mut once = HashSet::new();
            for (count, observation) in news.counts.iter_mut().zip(self.observations) {
                for report in fresh(std::slice::from_ref(observation), held).filter(|report| report.firing == firing) {
                    if were_there.next() == Some(false) && once.insert(report.uid) {
                        *count += 1;
                        news.fired.extend(firing.then_some(report.uid));
                    }
                }
            }
        }
        Ok(news)
    }
}

/// What a piece told its storm.
pub(super) struct PieceNews {
    /// For each observation, how many of its reports were new.
    pub(super) counts: Vec<usize>,
    /// Occurrences that were not seen firing before.
    pub(super) fired: Vec<Digest>,
}

/// The reports that no closed storm holds.
pub(super) fn fresh<'a>(observations: &'a [Observation], held: &HashSet<Digest>) -> impl Iterator<Item = &'a Report> {
    observations.iter().flat_map(|o| &o.reports).filter(|report| !held.contains(&report.uid))
}

/// The registers of the observations that have something fresh.
pub(super) fn registers(observations: &[Observation], held: &HashSet<Digest>) -> Registers {
    let touching = observations.iter().filter(|o| fresh(std::slice::from_ref(o), held).next().is_some());
    touching.fold(Registers::default(), |joined, o| {
        joined.join(&Registers {
            last_seen: Some(o.last_seen.as_second()),
            negated_first_seen: Some(-o.first_seen.as_second()),
            severity: Some(o.severity.rank()),
            resolvable: o.resolvable.then_some(1),
            incomplete: o.incomplete.then_some(1),
        })
    })
}

/// SADD in commands of at most [`MAX_MEMBERS`].
pub(super) fn add_members(pipeline: &mut Pipeline, set: &str, uids: &[Digest]) {
    for uids in uids.chunks(MAX_MEMBERS) {
        pipeline.cmd("SADD").arg(set).arg(uids);
    }
}
