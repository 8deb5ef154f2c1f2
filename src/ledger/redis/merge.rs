//! The merge: plain commands, no script, no transaction. The last command of each piece reads whether its storm is open.
//!
//! Every write is a join: sent twice, late or in part, it leaves the state that it would have left once. Epochs of a key never come
//! back, so a piece whose own storm is still open at its end was written into an open storm from its beginning. If it is not, the
//! storm was closed before the piece (what it wrote is a stray, and is removed) or in its midst (then the closed storm holds what
//! it had by then): either way it is merged again, and what is held does not count twice.

use jiff::Timestamp;
use redis::Value;

use super::RedisLedger;
use super::known::MergeTarget;
use super::look::not_open;
use super::piece::Piece;
use super::reply::{CommandReply, read};
use crate::ledger::{Batch, LedgerError, Merge, any_held};
use crate::metrics::{LedgerOperation, MergeOutcome};
use crate::storm::{Observation, StormId};

/// Batches in one pipeline: beyond 64 nothing is gained (`docs/measurements.md`).
pub(super) const PIPELINE: usize = 64;
/// Reports in one piece, which bounds its commands to some hundred kilobytes.
pub(super) const MAX_REPORTS: usize = 4_096;
/// How often a batch is merged again because its storm was closed meanwhile.
const ATTEMPTS: usize = 4;

/// What became of a piece.
enum Done {
    /// It joined its storm.
    Joined,
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

impl Attempt {
    /// Where nothing is held, nothing is said of it.
    fn tell_held(&mut self) {
        if let Self::Settled(Merge::Joined { held, last, .. }) = self {
            *held = any_held(std::mem::take(held));
            last.take_if(|_| held.is_empty());
        }
    }
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
                Merge::Full { .. } | Merge::NoRoom { .. } => MergeOutcome::Full,
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
        let closed = self.look_at_unknown(batches).await?;
        let mut attempts = Vec::with_capacity(batches.len());
        let mut pieces = Vec::new();
        for (index, batch) in batches.iter().enumerate() {
            attempts.push(match self.known.target(batch.0) {
                Some(target) => {
                    let last = self.known.last(batch.0);
                    self.cut(index, batch, &target, &mut pieces);
                    Attempt::Settled(Merge::Joined { epoch: target.epoch, new: Vec::new(), held: Vec::new(), last })
                }
                None => Attempt::Settled(not_open(batch, closed.get(&batch.0))),
            });
        }
        for chunk in pieces.chunks(PIPELINE) {
            let sent = self.send_pieces(chunk, now).await;
            if sent.is_err() {
                for piece in &pieces {
                    self.known.doubt(piece.id);
                }
            }
            for (piece, done) in chunk.iter().zip(sent?) {
                match (done, &mut attempts[piece.batch]) {
                    (Done::Joined, Attempt::Settled(Merge::Joined { new, held, .. })) => {
                        new.extend(&piece.untold.counts);
                        held.extend_from_slice(&piece.untold.held);
                    }
                    // Another piece of this batch was a stray, or refused: all of the batch is merged again, and this part of it is
                    // known then.
                    (Done::Joined, _) | (Done::Full(_), Attempt::Stray) => {}
                    (Done::Full(why), attempt) => {
                        *attempt = Attempt::Settled(Merge::Full { epoch: piece.id.epoch, why });
                        self.known.doubt(piece.id);
                    }
                    (Done::Stray, attempt) => {
                        *attempt = Attempt::Stray;
                        self.known.gone(piece.id);
                        self.remove(piece.id.epoch, &piece.names, None).await?;
                    }
                }
            }
        }
        attempts.iter_mut().for_each(Attempt::tell_held);
        Ok(attempts)
    }

    fn cut(&self, batch: usize, (key, observations): &Batch, target: &MergeTarget, pieces: &mut Vec<Piece>) {
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
            let untold = self.known.take_in(id, observations);
            pieces.push(Piece { batch, id, names: target.names.clone(), untold });
        }
    }

    async fn send_pieces(&self, pieces: &[Piece], now: Timestamp) -> Result<Vec<Done>, LedgerError> {
        let mut pipeline = redis::pipe();
        let mut ends = Vec::with_capacity(pieces.len());
        for piece in pieces {
            piece.commands(&mut pipeline, now.as_millisecond());
            ends.push(pipeline.len());
        }
        let mut replies = self.connection.send_each(LedgerOperation::Merge, &pipeline).await?.into_iter();
        let mut done = Vec::with_capacity(pieces.len());
        let mut begin = 0;
        for (piece, end) in pieces.iter().zip(ends) {
            let own = replies.by_ref().take(end - begin).collect();
            begin = end;
            done.push(self.piece_done(piece, own)?);
        }
        Ok(done)
    }

    fn piece_done(&self, piece: &Piece, mut replies: Vec<CommandReply>) -> Result<Done, LedgerError> {
        let open = replies.pop().unwrap_or(Ok(Value::Nil))?;
        if read::<Option<usize>>(&[open], 0)?.is_none() {
            return Ok(Done::Stray);
        }
        match replies.into_iter().collect::<Result<Vec<Value>, _>>() {
            Err(LedgerError::Full(why)) => return Ok(Done::Full(why)),
            replies => drop(replies?),
        }
        self.known.told(piece.id, &piece.untold);
        Ok(Done::Joined)
    }
}
