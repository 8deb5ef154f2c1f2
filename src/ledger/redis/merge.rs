//! The merge: plain commands, no script, no transaction. The last command of each piece reads whether its storm is open.
//!
//! Every write is a join: sent twice, late or in part, it leaves the state that it would have left once. Epochs of a key never come
//! back, so a piece whose own storm is still open at its end was written into an open storm from its beginning. If it is not, the
//! storm was closed before the piece (what it wrote is a stray, and is removed) or in its midst (then the closed storm holds what
//! it had by then): either way it is merged again, and what is held does not count twice.

use std::collections::HashSet;

use jiff::Timestamp;
use redis::Value;

use super::RedisLedger;
use super::known::MergeTarget;
use super::look::{HeldOccurrences, not_open};
use super::piece::{Piece, fresh, registers};
use super::reply::{CommandReply, read};
use crate::ledger::{Batch, LedgerError, Merge, wholly_held};
use crate::metrics::{LedgerOperation, MergeOutcome};
use crate::storm::{Digest, Observation, StormId};

/// Batches in one pipeline: beyond 64 nothing is gained (`docs/measurements.md`).
pub(super) const PIPELINE: usize = 64;
/// Reports in one piece, which bounds its commands to some hundred kilobytes.
pub(super) const MAX_REPORTS: usize = 4_096;
/// How often a batch is merged again because its storm was closed meanwhile.
const ATTEMPTS: usize = 4;

/// What became of a piece.
enum Done {
    /// For each observation, how many of its reports were new.
    Joined(Vec<usize>),
    /// Its storm was closed, or dropped: what it wrote belongs to none.
    Stray,
    /// The server refused some of its commands.
    Full(String),
}

/// What became of a batch.
enum Attempt {
    Settled(Merge),
    Stray,
}

impl RedisLedger {
    pub(super) async fn merge_batches(&self, batches: &[Batch], now: Timestamp) -> Result<Vec<Merge>, LedgerError> {
        let mut merges = Vec::with_capacity(batches.len());
        for (batch, attempt) in batches.iter().zip(self.try_merge(batches, now).await?) {
            let merge = match attempt {
                Attempt::Settled(merge) => merge,
                Attempt::Stray => self.merge_again(batch, now).await?,
            };
            self.metrics.ledger.merged(match merge {
                Merge::Joined { .. } => MergeOutcome::Joined,
                Merge::NotOpen { .. } => MergeOutcome::NotOpen,
                Merge::Full { .. } => MergeOutcome::Full,
            });
            merges.push(merge);
        }
        Ok(merges)
    }

    /// The storm that this process knew is not open any more: whatever is now, is asked of the server.
    async fn merge_again(&self, batch: &Batch, now: Timestamp) -> Result<Merge, LedgerError> {
        for _ in 0..ATTEMPTS {
            self.metrics.ledger.merged(MergeOutcome::Stray);
            if let Some(Attempt::Settled(merge)) = self.try_merge(std::slice::from_ref(batch), now).await?.pop() {
                return Ok(merge);
            }
        }
        Err(LedgerError::Unavailable("storms of one key close faster than a Signal can join them".to_owned()))
    }

    async fn try_merge(&self, batches: &[Batch], now: Timestamp) -> Result<Vec<Attempt>, LedgerError> {
        let closed = self.look_at_unknown(batches, now).await?;
        let held = self.held(batches, now).await?;
        let mut attempts = Vec::with_capacity(batches.len());
        let mut pieces = Vec::new();
        for (index, (batch, held)) in batches.iter().zip(&held).enumerate() {
            attempts.push(match self.known.target(batch.0) {
                Some(target) => {
                    self.cut(index, batch, &target, &held.uids, &mut pieces);
                    let (whole, last) = (wholly_held(&batch.1, |uid| held.uids.contains(uid)), held.last);
                    let last = last.filter(|_| !whole.is_empty());
                    Attempt::Settled(Merge::Joined { epoch: target.epoch, new: Vec::new(), held: whole, last })
                }
                None => Attempt::Settled(not_open(batch, closed.get(&batch.0).copied().flatten(), &held.uids)),
            });
        }
        for chunk in pieces.chunks(PIPELINE) {
            for (piece, done) in chunk.iter().zip(self.send_pieces(chunk, &held, now).await?) {
                match (done, &mut attempts[piece.batch]) {
                    (Done::Joined(counts), Attempt::Settled(Merge::Joined { new, .. })) => new.extend(counts),
                    // Another piece of this batch was a stray, or refused: all of the batch is merged again, and this part of it is
                    // known then.
                    (Done::Joined(_), _) | (Done::Full(_), Attempt::Stray) => {}
                    (Done::Full(why), attempt) => {
                        *attempt = Attempt::Settled(Merge::Full { epoch: piece.id.epoch, why });
                    }
                    (Done::Stray, attempt) => {
                        *attempt = Attempt::Stray;
                        self.known.gone(piece.id);
                        self.remove(piece.id.epoch, &piece.names, None).await?;
                    }
                }
            }
        }
        Ok(attempts)
    }

    fn cut<'a>(
        &self,
        batch: usize,
        (key, observations): &'a Batch,
        target: &MergeTarget,
        held: &HashSet<Digest>,
        pieces: &mut Vec<Piece<'a>>,
    ) {
        let id = StormId { key: *key, epoch: target.epoch };
        let mut rest = observations.as_slice();
        while !rest.is_empty() {
            let mut reports = 0;
            let fits = |o: &&Observation| {
                reports += o.reports.len();
                reports <= MAX_REPORTS
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (observations, others) = rest.split_at(count);
            rest = others;
            let firing = fresh(observations, held).filter(|report| report.firing);
            let mut resources: Vec<_> = firing.filter_map(|report| report.resource.clone()).collect();
            let registers = registers(observations, held);
            let (registers, marks) = self.known.news(id, &registers, &mut resources);
            let marks = marks && fresh(observations, held).next().is_some();
            pieces.push(Piece { batch, observations, id, names: target.names.clone(), registers, resources, marks });
        }
    }

    async fn send_pieces(
        &self,
        pieces: &[Piece<'_>],
        held: &[HeldOccurrences],
        now: Timestamp,
    ) -> Result<Vec<Done>, LedgerError> {
        let mut pipeline = redis::pipe();
        let mut ends = Vec::with_capacity(pieces.len());
        for piece in pieces {
            piece.commands(&mut pipeline, &held[piece.batch].uids, now.as_millisecond());
            ends.push(pipeline.len());
        }
        let mut replies = self.connection.send_each(LedgerOperation::Merge, &pipeline).await?.into_iter();
        let mut done = Vec::with_capacity(pieces.len());
        let mut begin = 0;
        for (piece, end) in pieces.iter().zip(ends) {
            let own = replies.by_ref().take(end - begin).collect();
            begin = end;
            done.push(self.piece_done(piece, own, &held[piece.batch].uids)?);
        }
        Ok(done)
    }

    fn piece_done(
        &self,
        piece: &Piece<'_>,
        mut replies: Vec<CommandReply>,
        held: &HashSet<Digest>,
    ) -> Result<Done, LedgerError> {
        let open = replies.pop().unwrap_or(Ok(Value::Nil))?;
        if read::<Option<usize>>(&[open], 0)?.is_none() {
            return Ok(Done::Stray);
        }
        let replies: Vec<Value> = match replies.into_iter().collect() {
            Err(LedgerError::Full(why)) => return Ok(Done::Full(why)),
            replies => replies?,
        };
        let news = piece.news(&replies, held)?;
        self.known.merged(piece.id, &piece.registers, &piece.resources, piece.marks, news.fired);
        Ok(Done::Joined(news.counts))
    }
}
