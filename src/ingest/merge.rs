//! Observations into the ledger, by key. What is done leaves the pending list; what fails stays in it and is tried again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::ResourceExt;

use super::IngestError;
use super::held::Held;
use super::opening::{Opened, Opener};
use super::receipt::{Board, Receipt, Verdict};
use crate::api::{OccurrenceSummary, RemediationRequest};
use crate::ledger::{Ledger, LedgerError, Merge, Moment};
use crate::metrics::{Metrics, OccurrenceLabels, OccurrenceResult, SignalLabels, SignalResult};
use crate::publish::{Projections, Requests, is_open, is_superseded};
use crate::storm::holding::HeldBack;
use crate::storm::metadata::count;
use crate::storm::name::storm_name;
use crate::storm::{Epoch, Observation, Opening, SignalRef, StormId, StormKey};

/// Storms opened at once. Each asks the API server for a consistent list, and of those it answers one round in 100 ms: one after
/// the other, 200 alert names would take 20 s. Each holds a connection of its own (HTTP/1.1).
const OPENINGS: usize = 16;

/// Merges observations.
pub(super) struct Merger {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) projections: Arc<Projections>,
    pub(super) opener: Opener,
    pub(super) board: Arc<Board>,
    pub(super) requests: Requests,
    pub(super) metrics: Metrics,
}

/// The observations of one key.
type Batch = (StormKey, Vec<Observation>);

/// Observations of one key that may not open a storm.
struct HeldBatch {
    key: StormKey,
    why: HeldBack,
    observations: Vec<Observation>,
}

/// Observations that wait for the end of a list, by Signal: a list that is begun again brings them again.
pub(super) type Waiting = HashMap<Arc<SignalRef>, Observation>;

/// Where observations go that are not merged now.
pub(super) struct Pools<'a> {
    /// The part of the watch that they came from.
    pub(super) part: usize,
    /// While that part is being listed: what would open a storm.
    pub(super) waiting: Option<&'a mut Waiting>,
    /// What may not open one.
    pub(super) held: &'a mut Held,
}

/// Who holds the occurrences of a Signal: nobody, or a storm that takes more; or a closed storm, and its epoch where that can still be told.
enum Holder {
    Open,
    Closed(Option<Epoch>),
}

impl Merger {
    /// Merges all that is pending. While a list is read, what would open a storm, or what a closed storm may hold, waits for its end: a
    /// repeat can be listed before the Signal whose receipt says that a closed storm holds it.
    pub(super) async fn merge(
        &self,
        pending: &mut Vec<Observation>,
        pools: &mut Pools<'_>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        while !pending.is_empty() {
            for observation in pending.iter_mut() {
                self.join_former_storm(observation);
            }
            self.hold_what_closed_storms_hold(pending, now).await?;
            if let Some(waiting) = &mut pools.waiting {
                let waits = pending.extract_if(.., |observation| self.has_closed(observation.key));
                waiting.extend(waits.map(|observation| (observation.signal.clone(), observation)));
            }
            let mut batches: Vec<Batch> = group(std::mem::take(pending)).into_iter().collect();
            let mut regrouped = Vec::new();
            let result = self.merge_batches(&mut batches, &mut regrouped, pools, now).await;
            pending.extend(batches.into_iter().flat_map(|(_, observations)| observations).chain(regrouped));
            result?;
        }
        Ok(())
    }

    /// A storm that was opened when the policy grouped otherwise takes its Signals in until it ends: a change of the grouping must not
    /// make a second storm of what one holds.
    fn join_former_storm(&self, observation: &mut Observation) {
        let Some((current, former)) = observation.groupings.split_last() else { return };
        let told = |opening: &&Arc<Opening>| {
            observation.receipt.as_ref().is_some_and(|name| self.object(opening.key(), name).is_some())
        };
        let open = |opening: &&Arc<Opening>| {
            let key = opening.key();
            self.opener.openings.has(key) || self.projections.has_open(key)
        };
        let chosen =
            observation.groupings.iter().find(told).or_else(|| former.iter().find(open)).unwrap_or(current).clone();
        observation.regroup(chosen);
    }

    /// Whether this key has closed storms, which hold what their Signals' receipts say.
    fn has_closed(&self, key: StormKey) -> bool {
        self.projections.of_key(key).iter().any(|object| !is_open(object) && !is_superseded(object))
    }

    /// Batches that are done are empty afterwards, whether or not another one failed. A storm that cannot be opened does not
    /// hold up what is merged already: merged again, it would be told as known, and its storm be published late.
    async fn merge_batches(
        &self,
        batches: &mut [Batch],
        regrouped: &mut Vec<Observation>,
        pools: &mut Pools<'_>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        let joining = self.board.joining().await;
        let outcomes = self.ledger.merge(batches, now).await?;
        let (mut to_open, mut full) = (Vec::new(), Ok(()));
        for (batch, outcome) in batches.iter_mut().zip(outcomes) {
            match outcome {
                Merge::Joined { .. } => self.joined(batch, outcome, now),
                // The storm of a former grouping ended a moment ago: what comes next is grouped as the policy says now.
                Merge::NotOpen { .. } if batch.1.iter().any(is_under_former_grouping) => {
                    regrouped.extend(std::mem::take(&mut batch.1).into_iter().map(as_grouped_now));
                }
                Merge::NotOpen { opens, last } => match &mut pools.waiting {
                    Some(waiting) if !self.projections.has_open(batch.0) => {
                        waiting.extend(batch.1.drain(..).map(|o| (o.signal.clone(), o)));
                    }
                    _ => to_open.push(self.open_and_merge(batch, opens, last, now)),
                },
                Merge::Full { epoch, why } => full = Err(self.full(batch, epoch, why)),
            }
        }
        drop(joining);
        // All of them, even when one fails: keys have nothing to do with each other.
        let opened: Vec<Result<Option<HeldBatch>, IngestError>> =
            futures::stream::iter(to_open).buffer_unordered(OPENINGS).collect().await;
        let mut result = full;
        for opened in opened {
            match opened {
                Ok(None) => {}
                Ok(Some(HeldBatch { key, why, observations })) => self.hold_back(key, why, observations, pools),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// What has joined its storm is published: that is what makes room for the rest.
    fn full(&self, (key, observations): &Batch, epoch: Epoch, why: String) -> IngestError {
        let id = StormId { key: *key, epoch };
        for observation in observations {
            self.opener.openings.offer(id, &observation.opening);
        }
        self.requests.now(id);
        LedgerError::Full(why).into()
    }

    /// The ledger has no open storm of this key: one is adopted or opened, unless there is nothing in the batch that fires anew. Gives back what may
    /// not open one. The batch stays as it is when a storm that one of its receipts names has ended: then what it held is not for another one.
    async fn open_and_merge(
        &self,
        batch: &mut Batch,
        mut opens: Vec<bool>,
        mut last: Option<Epoch>,
        now: Timestamp,
    ) -> Result<Option<HeldBatch>, IngestError> {
        loop {
            let candidates =
                batch.1.iter().zip(&opens).filter(|(_, opens)| **opens).map(|(observation, _)| observation);
            let Some(opening) = self.opening(candidates).map(|observation| observation.opening.clone()) else {
                self.nothing_opens(batch, last, now).await?;
                return Ok(None);
            };
            if let Opened::HeldBack(why) = self.opener.open(batch.0, &opening, last, now).await? {
                return Ok(Some(HeldBatch { key: batch.0, why, observations: std::mem::take(&mut batch.1) }));
            }
            if batch.1.iter().any(|observation| matches!(self.holder(observation), Holder::Closed(_))) {
                return Ok(None);
            }
            // The storm may have closed since: then nothing counted, and the next epoch takes it.
            let _joining = self.board.joining().await;
            match self.ledger.merge(std::slice::from_ref(batch), now).await?.pop() {
                Some(joined @ Merge::Joined { .. }) => {
                    self.joined(batch, joined, now);
                    return Ok(None);
                }
                Some(Merge::NotOpen { opens: now_opens, last: now_last }) => (opens, last) = (now_opens, now_last),
                Some(Merge::Full { epoch, why }) => return Err(self.full(batch, epoch, why)),
                None => return Ok(None),
            }
        }
    }

    /// The Signal that opens a storm: the earliest one, whatever the order of delivery, of those whose policy opens storms at all.
    pub(super) fn opening<'a>(&self, candidates: impl Iterator<Item = &'a Observation>) -> Option<&'a Observation> {
        candidates.min_by_key(|observation| {
            let suspended = self.opener.policies.named(&observation.opening.policy).suspended;
            (suspended, observation.first_seen, observation.signal.clone())
        })
    }

    /// Tells Signals that they wait, unless they were told just that.
    fn hold_back(&self, key: StormKey, why: HeldBack, observations: Vec<Observation>, pools: &mut Pools<'_>) {
        for observation in &observations {
            let mut told = receipt(observation, None, 0);
            told.verdict = Verdict::HeldBack(why.clone(), observation.resource_version.clone());
            if observation.told_to_wait.as_ref() != Some(&told.message()) {
                self.board.write_now(told);
            }
        }
        pools.held.add(pools.part, key, why, observations);
        self.metrics.held_back_signals.set(count(pools.held.len()));
    }

    async fn nothing_opens(&self, batch: &mut Batch, last: Option<Epoch>, now: Timestamp) -> Result<(), IngestError> {
        let resolved: Vec<_> =
            batch.1.iter().flat_map(|o| &o.reports).filter(|report| !report.firing).map(|report| report.uid).collect();
        if !resolved.is_empty() {
            self.ledger.note_resolved(batch.0, &resolved, moment(&batch.1, now)).await?;
        }
        for observation in std::mem::take(&mut batch.1) {
            let holds = observation.reports.iter().any(|report| report.firing);
            self.known(&observation, last.filter(|_| holds));
        }
        Ok(())
    }

    /// Nothing of this Signal joins a storm. `last`: of the storms that hold it, the last.
    fn known(&self, observation: &Observation, last: Option<Epoch>) {
        self.count(observation, 0);
        // Listed again, it has what it would be told.
        if observation.told {
            return;
        }
        match last {
            Some(epoch) => {
                let name = storm_name(&observation.opening.pattern, epoch);
                let id = StormId { key: observation.key, epoch };
                self.board.write_for(id, receipt(observation, Some(name), 0));
            }
            None => self.board.write_now(receipt(observation, None, 0)),
        }
    }

    fn joined(&self, (key, observations): &mut Batch, joined: Merge, now: Timestamp) {
        let Merge::Joined { epoch, new, held, last } = joined else { return };
        let observations = std::mem::take(observations);
        let id = StormId { key: *key, epoch };
        let mut receipts = Vec::with_capacity(observations.len());
        for (index, (observation, new)) in observations.iter().zip(&new).enumerate() {
            self.opener.openings.offer(id, &observation.opening);
            if !observation.told {
                self.opener.policies.matched(&observation.opening.policy, now);
            }
            if held.get(index) == Some(&true) {
                self.known(observation, last);
                continue;
            }
            self.count(observation, *new);
            let name = storm_name(&observation.opening.pattern, epoch);
            if observation.receipt.as_deref() != Some(name.as_str()) {
                receipts.push(receipt(observation, Some(name), *new));
            }
        }
        self.board.owe(id, receipts);
        self.requests.now(id);
    }

    fn count(&self, observation: &Observation, new: usize) {
        let refused = observation.refused.count;
        let result = if refused == 0 { SignalResult::Accepted } else { SignalResult::PartlyRejected };
        self.metrics.signals.get_or_create(&SignalLabels { result }).inc();
        self.metrics.clamped_times.inc_by(observation.clamped as u64);
        self.metrics.signals_lacking_labels.inc_by(u64::from(!observation.missing_labels.is_empty()));
        let known = observation.reports.len() - new;
        self.metrics.occurrences_received.inc_by((observation.reports.len() + refused) as u64);
        for (result, n) in
            [(OccurrenceResult::Merged, new), (OccurrenceResult::Known, known), (OccurrenceResult::Rejected, refused)]
        {
            self.metrics.occurrences.get_or_create(&OccurrenceLabels { result }).inc_by(n as u64);
        }
    }

    /// Signals whose receipt names a storm that is over are remembered as held by it, and not merged.
    async fn hold_what_closed_storms_hold(
        &self,
        pending: &mut Vec<Observation>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        self.look_up_unknown_holders(pending).await?;
        let mut held: HashMap<(StormKey, Option<Epoch>), Vec<usize>> = HashMap::new();
        for (index, observation) in pending.iter().enumerate() {
            if let Holder::Closed(epoch) = self.holder(observation) {
                held.entry((observation.key, epoch)).or_default().push(index);
            }
        }
        let mut done = vec![false; pending.len()];
        for ((key, epoch), indexes) in held {
            let uids: Vec<_> = indexes.iter().flat_map(|i| &pending[*i].reports).map(|report| report.uid).collect();
            let at = moment(indexes.iter().map(|index| &pending[*index]), now);
            self.ledger.hold(key, epoch, &uids, at).await?;
            for index in indexes {
                self.count(&pending[index], 0);
                done[index] = true;
            }
        }
        let mut done = done.into_iter();
        pending.retain(|_| !done.next().unwrap_or_default());
        Ok(())
    }

    /// A storm that a receipt names and the cache does not know: the cache may be older than the receipt.
    async fn look_up_unknown_holders(&self, pending: &[Observation]) -> Result<(), IngestError> {
        let mut unknown = HashMap::new();
        for observation in pending {
            if observation.receipt.as_ref().is_some_and(|name| self.object(observation.key, name).is_none()) {
                unknown.insert(observation.key, observation.opening.clone());
            }
        }
        let mut look_ups = Vec::with_capacity(unknown.len());
        for (key, opening) in &unknown {
            look_ups.push(self.opener.apply.find(opening, *key));
        }
        let found: Vec<_> = futures::stream::iter(look_ups).buffer_unordered(OPENINGS).try_collect().await?;
        for object in found.into_iter().flatten() {
            self.projections.put(object);
        }
        Ok(())
    }

    fn holder(&self, observation: &Observation) -> Holder {
        let Some(name) = &observation.receipt else { return Holder::Open };
        match self.object(observation.key, name) {
            Some(object) if is_open(&object) || is_superseded(&object) => Holder::Open,
            Some(object) => Holder::Closed(Some(object.spec.epoch)),
            // Deleted by hand: what it held counts as handled (invariant 8).
            None => Holder::Closed(None),
        }
    }

    fn object(&self, key: StormKey, name: &str) -> Option<Arc<RemediationRequest>> {
        self.projections.of_key(key).into_iter().find(|object| object.name_any() == name)
    }
}

fn group(observations: Vec<Observation>) -> BTreeMap<StormKey, Vec<Observation>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for observation in observations {
        groups.entry(observation.key).or_default().push(observation);
    }
    groups
}

/// Now, with the longest dedup horizon of these.
fn moment<'a>(observations: impl IntoIterator<Item = &'a Observation>, now: Timestamp) -> Moment {
    let horizon = observations.into_iter().map(|observation| observation.dedup_horizon).max();
    horizon.map_or(now.into(), |horizon| Moment { now, horizon })
}

fn as_grouped_now(mut observation: Observation) -> Observation {
    let current = observation.groupings.pop();
    observation.groupings.clear();
    if let Some(current) = current {
        observation.regroup(current);
    }
    observation
}

fn is_under_former_grouping(observation: &Observation) -> bool {
    observation.groupings.last().is_some_and(|current| current.key() != observation.key)
}

fn receipt(observation: &Observation, storm: Option<String>, new: usize) -> Receipt {
    let refused = &observation.refused;
    Receipt {
        signal: observation.signal.clone(),
        storm,
        occurrences: OccurrenceSummary {
            total: count(observation.reports.len() + refused.count),
            new: count(new),
            rejected: count(refused.count),
        },
        verdict: refused.first.clone().map_or(Verdict::Merged, Verdict::PartlyRejected),
        missing_labels: observation.missing_labels.clone(),
    }
}
