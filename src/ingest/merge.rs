//! Observations into the ledger, by key. What is done leaves the pending list; what fails stays in it and is tried again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::ResourceExt;

use super::IngestError;
use super::opening::Opener;
use super::receipt::{Board, Receipt, Verdict};
use crate::api::{self, OccurrenceSummary, RemediationRequest};
use crate::ledger::{Ledger, Merge};
use crate::metrics::{Metrics, OccurrenceLabels, OccurrenceResult, SignalLabels, SignalResult};
use crate::publish::{Projections, Requests, is_open};
use crate::storm::metadata::count;
use crate::storm::name::storm_name;
use crate::storm::{Epoch, Observation, SignalRef, StormId, StormKey};

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

/// Observations that wait for the end of a list, by Signal: a list that is begun again brings them again.
pub(super) type Waiting = HashMap<Arc<SignalRef>, Observation>;

impl Merger {
    /// Merges all that is pending. While `listing`, what would open a storm, or what a closed storm may hold, moves to `waiting`: a
    /// repeat can be listed before the Signal whose receipt says that a closed storm holds it.
    pub(super) async fn merge(
        &self,
        pending: &mut Vec<Observation>,
        mut waiting: Option<&mut Waiting>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        // More than once only if a storm that receipts name ended meanwhile.
        while !pending.is_empty() {
            self.hold_what_closed_storms_hold(pending, now).await?;
            if let Some(waiting) = &mut waiting {
                let waits = pending.extract_if(.., |observation| self.has_closed(observation.key));
                waiting.extend(waits.map(|observation| (observation.signal.clone(), observation)));
            }
            let mut batches: Vec<(StormKey, Vec<Observation>)> = group(std::mem::take(pending)).into_iter().collect();
            let result = self.merge_batches(&mut batches, waiting.as_deref_mut(), now).await;
            pending.extend(batches.into_iter().flat_map(|(_, observations)| observations));
            result?;
        }
        Ok(())
    }

    /// Whether this key has closed storms, which hold what their Signals' receipts say.
    fn has_closed(&self, key: StormKey) -> bool {
        self.projections.of_key(key).iter().any(|object| !is_open(object) && !is_superseded(object))
    }

    /// Batches that are done are empty afterwards, whether or not another one failed. A storm that cannot be opened does not
    /// hold up what is merged already: merged again, it would be told as known, and its storm be published late.
    async fn merge_batches(
        &self,
        batches: &mut [(StormKey, Vec<Observation>)],
        mut waiting: Option<&mut Waiting>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        let joining = self.board.joining().await;
        let outcomes = self.ledger.merge(batches, now).await?;
        let mut to_open = Vec::new();
        for (batch, outcome) in batches.iter_mut().zip(outcomes) {
            match outcome {
                Merge::Joined { .. } => self.joined(batch, outcome),
                Merge::NotOpen { opens, last } => {
                    let adoptable = || self.projections.of_key(batch.0).iter().any(|object| is_open(object));
                    match &mut waiting {
                        Some(waiting) if !adoptable() => {
                            waiting.extend(batch.1.drain(..).map(|o| (o.signal.clone(), o)));
                        }
                        _ => to_open.push(self.open_and_merge(batch, opens, last, now)),
                    }
                }
            }
        }
        drop(joining);
        // All of them, even when one fails: keys have nothing to do with each other.
        let opened: Vec<Result<(), IngestError>> =
            futures::stream::iter(to_open).buffer_unordered(OPENINGS).collect().await;
        opened.into_iter().collect()
    }

    /// The ledger has no open storm of this key: one is adopted or opened, unless there is nothing in the batch that fires anew.
    /// The batch stays as it is when a storm that one of its receipts names has ended: then what it held is not for another one.
    async fn open_and_merge(
        &self,
        batch: &mut (StormKey, Vec<Observation>),
        mut opens: Vec<bool>,
        mut last: Option<Epoch>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        loop {
            // The earliest one opens it, whatever the order of delivery.
            let opening = batch.1.iter().zip(&opens).filter(|(_, opens)| **opens).map(|(observation, _)| observation);
            let Some(opening) = opening.min_by_key(|o| (o.first_seen, o.signal.clone())).map(|o| o.opening.clone())
            else {
                return self.nothing_opens(batch, last, now).await;
            };
            self.opener.open(batch.0, &opening, last, now).await?;
            if batch.1.iter().any(|observation| self.held_by(observation).is_some()) {
                return Ok(());
            }
            // The storm may have closed since: then nothing counted, and the next epoch takes it.
            let _joining = self.board.joining().await;
            match self.ledger.merge(std::slice::from_ref(batch), now).await?.pop() {
                Some(joined @ Merge::Joined { .. }) => {
                    self.joined(batch, joined);
                    return Ok(());
                }
                Some(Merge::NotOpen { opens: now_opens, last: now_last }) => (opens, last) = (now_opens, now_last),
                None => return Ok(()),
            }
        }
    }

    async fn nothing_opens(
        &self,
        batch: &mut (StormKey, Vec<Observation>),
        last: Option<Epoch>,
        now: Timestamp,
    ) -> Result<(), IngestError> {
        let resolved: Vec<_> =
            batch.1.iter().flat_map(|o| &o.reports).filter(|report| !report.firing).map(|report| report.uid).collect();
        if !resolved.is_empty() {
            self.ledger.note_resolved(batch.0, &resolved, now).await?;
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

    fn joined(&self, (key, observations): &mut (StormKey, Vec<Observation>), joined: Merge) {
        let Merge::Joined { epoch, new, held, last } = joined else { return };
        let observations = std::mem::take(observations);
        let id = StormId { key: *key, epoch };
        let mut receipts = Vec::with_capacity(observations.len());
        for (index, (observation, new)) in observations.iter().zip(&new).enumerate() {
            self.opener.openings.offer(id, &observation.opening);
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
            if let Some(epoch) = self.held_by(observation) {
                held.entry((observation.key, epoch)).or_default().push(index);
            }
        }
        let mut done = vec![false; pending.len()];
        for ((key, epoch), indexes) in held {
            let uids: Vec<_> = indexes.iter().flat_map(|i| &pending[*i].reports).map(|report| report.uid).collect();
            self.ledger.hold(key, epoch, &uids, now).await?;
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

    /// The closed storm that holds this Signal's occurrences, and its epoch where that can still be told. `None`: nobody holds
    /// them, or a storm that takes more.
    fn held_by(&self, observation: &Observation) -> Option<Option<Epoch>> {
        match self.object(observation.key, observation.receipt.as_deref()?) {
            Some(object) if is_open(&object) || is_superseded(&object) => None,
            Some(object) => Some(Some(object.spec.epoch)),
            // Deleted by hand: what it held counts as handled (invariant 8).
            None => Some(None),
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

fn is_superseded(object: &RemediationRequest) -> bool {
    let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
    storm.and_then(|storm| storm.close_reason) == Some(api::CloseReason::Superseded)
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
    }
}
