//! The merge: plain commands, no script. Each batch of one storm is one MULTI/EXEC that also reads which epoch is open, so that a
//! merge that comes after a close counts nowhere.
//!
//! Everything in it is a join: sent twice, late or in part, it leaves the state that it would have left once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use redis::{Pipeline, Value};

use super::RedisLedger;
use super::keys::{StormNames, bucket, bucket_expires};
use super::known::{Registers, Target};
use super::reply::read;
use crate::ledger::{LedgerError, Merge};
use crate::metrics::{LedgerOperation, MergeOutcome};
use crate::storm::{Digest, Epoch, Observation, Report, StormId, StormKey};

/// Batches in one pipeline: beyond 64 nothing is gained (ledger study, section 4).
const PIPELINE: usize = 64;
/// Reports in one MULTI. The server does nothing else meanwhile: some 5 ms at most.
const MAX_REPORTS: usize = 4_096;
/// How often a batch is merged again because its storm was closed meanwhile.
const ATTEMPTS: usize = 4;
/// Members in one command.
const MAX_MEMBERS: usize = 1_000;

type Batch = (StormKey, Vec<Observation>);

/// What the server says of a key without an open storm.
pub(super) struct Look {
    epoch: Option<Epoch>,
    last: Option<Epoch>,
    pub(super) held: bool,
}

/// A part of a batch, merged in one step. Cut between observations only: each is counted by one storm.
struct Piece<'a> {
    batch: usize,
    observations: &'a [Observation],
    id: StormId,
    names: Arc<StormNames>,
    registers: Registers,
    resources: Vec<(Digest, Arc<str>)>,
}

/// What became of a piece.
enum Done {
    /// For each observation, how many of its reports were new.
    Joined(Vec<usize>),
    /// Its storm was closed, or dropped: what it wrote belongs to none.
    Stray,
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
                    self.cut(index, &batch.1, batch.0, &target, held, &mut pieces);
                    Attempt::Settled(Merge::Joined { epoch: target.epoch, new: Vec::new() })
                }
                None => Attempt::Settled(not_open(batch, closed.get(&batch.0).copied().flatten(), held)),
            });
        }
        for chunk in pieces.chunks(PIPELINE) {
            for (piece, done) in chunk.iter().zip(self.send_pieces(chunk, &held, now).await?) {
                match (done, &mut attempts[piece.batch]) {
                    (Done::Joined(counts), Attempt::Settled(Merge::Joined { new, .. })) => new.extend(counts),
                    // Another piece of this batch was a stray: all of the batch is merged again, and this part of it is known then.
                    (Done::Joined(_), _) => {}
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

    /// Asks the server about the keys whose open storm this process does not know; gives the last closed epoch of those without one.
    async fn look_at_unknown(
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
                self.known.opened(*key, Target { epoch, names, held: look.held }, pattern);
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
            pipeline.cmd("EXISTS").arg(names.held(bucket(now))).arg(names.held(bucket(now) - 1));
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
    async fn held(&self, batches: &[Batch], now: Timestamp) -> Result<Vec<HashSet<Digest>>, LedgerError> {
        let mut held: Vec<HashSet<Digest>> = batches.iter().map(|_| HashSet::new()).collect();
        for (index, (key, observations)) in batches.iter().enumerate() {
            if self.known.target(*key).is_some_and(|target| !target.held) {
                continue;
            }
            let uids: Vec<Digest> = observations.iter().flat_map(|o| &o.reports).map(|report| report.uid).collect();
            for uids in uids.chunks(MAX_REPORTS) {
                held[index].extend(self.meet(*key, uids, now).await?);
            }
        }
        Ok(held)
    }

    async fn meet(&self, key: StormKey, uids: &[Digest], now: Timestamp) -> Result<Vec<Digest>, LedgerError> {
        let (names, bucket) = (self.names(key)?, bucket(now));
        let mut pipeline = redis::pipe();
        for name in [names.held(bucket), names.held(bucket - 1)] {
            pipeline.cmd("SMISMEMBER").arg(name).arg(uids);
        }
        let replies = self.connection.send(LedgerOperation::Look, &pipeline).await?;
        let (current, before): (Vec<bool>, Vec<bool>) = (read(&replies, 0)?, read(&replies, 1)?);
        let met = uids.iter().zip(current).zip(before);
        let renewed: Vec<Digest> =
            met.clone().filter(|((_, current), before)| *before && !*current).map(|((uid, _), _)| *uid).collect();
        if !renewed.is_empty() {
            let mut pipeline = redis::pipe();
            add_members(&mut pipeline, &names.held(bucket), &renewed);
            pipeline.cmd("EXPIREAT").arg(names.held(bucket)).arg(bucket_expires(bucket));
            self.connection.send(LedgerOperation::Hold, &pipeline).await?;
        }
        Ok(met.filter(|((_, current), before)| *current || *before).map(|((uid, _), _)| *uid).collect())
    }

    fn cut<'a>(
        &self,
        batch: usize,
        observations: &'a [Observation],
        key: StormKey,
        target: &Target,
        held: &HashSet<Digest>,
        pieces: &mut Vec<Piece<'a>>,
    ) {
        let id = StormId { key, epoch: target.epoch };
        let mut rest = observations;
        while !rest.is_empty() {
            let mut reports = 0;
            let fits = |o: &&Observation| {
                reports += o.reports.len();
                reports <= MAX_REPORTS
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (observations, others) = rest.split_at(count);
            rest = others;
            let mut resources: Vec<_> = fresh(observations, held)
                .filter(|report| report.firing)
                .filter_map(|report| report.resource.clone())
                .collect();
            let registers = self.known.news(id, &registers(observations, held), &mut resources);
            pieces.push(Piece { batch, observations, id, names: target.names.clone(), registers, resources });
        }
    }

    async fn send_pieces(
        &self,
        pieces: &[Piece<'_>],
        held: &[HashSet<Digest>],
        now: Timestamp,
    ) -> Result<Vec<Done>, LedgerError> {
        let mut pipeline = redis::pipe();
        let mut ends = Vec::with_capacity(pieces.len());
        for piece in pieces {
            piece.commands(&mut pipeline, &held[piece.batch], now.as_millisecond());
            ends.push(pipeline.len() - 1);
        }
        let replies = self.connection.send(LedgerOperation::Merge, &pipeline).await?;
        let mut done = Vec::with_capacity(pieces.len());
        for (piece, end) in pieces.iter().zip(ends) {
            let replies: Vec<Value> = read(&replies, end)?;
            let held = &held[piece.batch];
            if read::<Option<f64>>(&replies, 0)?.map(whole) != Some(piece.id.epoch) {
                done.push(Done::Stray);
                continue;
            }
            let news = piece.news(&replies, held)?;
            self.known.merged(piece.id, &piece.registers, &piece.resources, news.fired);
            done.push(Done::Joined(news.counts));
        }
        Ok(done)
    }
}

impl Piece<'_> {
    fn uids(&self, held: &HashSet<Digest>, firing: bool) -> Vec<Digest> {
        fresh(self.observations, held).filter(|report| report.firing == firing).map(|report| report.uid).collect()
    }

    /// One MULTI: the epoch first, then, where several occurrences share the answer, what was there; then the joins, the dirty mark last.
    fn commands(&self, pipeline: &mut Pipeline, held: &HashSet<Digest>, now: i64) {
        let (names, h) = (&self.names, self.names.key.registers());
        pipeline.cmd("MULTI");
        pipeline.cmd("ZSCORE").arg(&h).arg("e");
        let sets = [(names.seen(), self.uids(held, true)), (names.resolved(), self.uids(held, false))];
        let touched = sets.iter().any(|(_, uids)| !uids.is_empty());
        for (set, uids) in &sets {
            if uids.len() > 1 {
                pipeline.cmd("SMISMEMBER").arg(set).arg(uids);
            }
            add_members(pipeline, set, uids);
        }
        if !self.resources.is_empty() {
            let texts: Vec<&str> = self.resources.iter().map(|(_, text)| text.as_ref()).collect();
            pipeline.cmd("RPUSH").arg(names.names()).arg(texts);
        }
        let registers = self.registers.named();
        if registers.iter().any(|(_, value)| value.is_some()) {
            let add = pipeline.cmd("ZADD").arg(&h).arg("GT");
            for (name, value) in registers {
                if let Some(value) = value {
                    add.arg(value).arg(name);
                }
            }
        }
        if touched {
            pipeline.cmd("ZADD").arg(names.key.dirty()).arg("NX").arg(now).arg(names.mark());
        }
        pipeline.cmd("EXEC");
    }

    /// What was new, from the replies of `commands`.
    fn news(&self, replies: &[Value], held: &HashSet<Digest>) -> Result<News, LedgerError> {
        let mut news = News { counts: vec![0; self.observations.len()], fired: Vec::new() };
        let mut next = 1;
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
struct News {
    /// For each observation, how many of its reports were new.
    counts: Vec<usize>,
    /// Occurrences that were not seen firing before.
    fired: Vec<Digest>,
}

/// No storm is open: says whether one must be.
fn not_open((_, observations): &Batch, last: Option<Epoch>, held: &HashSet<Digest>) -> Merge {
    let opens = |o: &Observation| o.reports.iter().any(|report| report.firing && !held.contains(&report.uid));
    Merge::NotOpen { opens: observations.iter().map(opens).collect(), last }
}

/// The reports that no closed storm holds.
fn fresh<'a>(observations: &'a [Observation], held: &HashSet<Digest>) -> impl Iterator<Item = &'a Report> {
    observations.iter().flat_map(|o| &o.reports).filter(|report| !held.contains(&report.uid))
}

/// The registers of the observations that have something fresh.
fn registers(observations: &[Observation], held: &HashSet<Digest>) -> Registers {
    let touching = observations.iter().filter(|o| fresh(std::slice::from_ref(o), held).next().is_some());
    touching.fold(Registers::default(), |joined, o| {
        joined.join(&Registers {
            last_seen: Some(o.last_seen.as_second()),
            negated_first_seen: Some(-o.first_seen.as_second()),
            severity: Some(o.severity.rank()),
            resolvable: o.resolvable.then_some(1),
        })
    })
}

/// SADD in commands of at most [`MAX_MEMBERS`].
pub(super) fn add_members(pipeline: &mut Pipeline, set: &str, uids: &[Digest]) {
    for uids in uids.chunks(MAX_MEMBERS) {
        pipeline.cmd("SADD").arg(set).arg(uids);
    }
}

/// Registers hold whole numbers below 2^53.
#[expect(clippy::cast_possible_truncation, reason = "registers hold whole numbers below 2^53")]
pub(super) fn whole(score: f64) -> i64 {
    score as i64
}
