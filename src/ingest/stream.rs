//! The watch on Signals, consumed as a stream: chunk by chunk into the ledger. Nothing is read while the ledger does not answer.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use kube::{Client, Resource};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::IngestError;
use super::arrival::{Arrival, arrive, namespace_of};
use super::held::Held;
use super::merge::{Merger, Pools, Waiting};
use super::opening::Opener;
use super::receipt::{Board, Receipt, Verdict};
use crate::api::{OccurrenceSummary, Signal};
use crate::ledger::{Ledger, LedgerError, Memory};
use crate::metrics::{Loop, Metrics, OccurrenceLabels, OccurrenceResult, SignalLabels, SignalResult};
use crate::policies::Policies;
use crate::publish::{Apply, Listed, Openings, Projections, Requests, Rewatch};
use crate::runtime::backoff::Backoff;
use crate::runtime::clock::Clock;
use crate::runtime::events::Events;
use crate::runtime::guarded::Guarded;
use crate::runtime::readiness::Gate;
use crate::runtime::watch::Watch;
use crate::storm::metadata::count;
use crate::storm::{GroupBy, Observation, Rejection, SignalRef};

/// Signals taken at once: what has arrived while the previous chunk was merged. This bounds the memory of a chunk, which holds
/// some 100 bytes per occurrence.
const CHUNK: usize = 256;

/// Reads Signals into the ledger.
pub struct Ingest {
    /// Where storms are merged.
    pub ledger: Arc<dyn Ledger>,
    /// What the cluster shows.
    pub projections: Arc<Projections>,
    /// What storms begin with.
    pub openings: Arc<Openings>,
    /// What merged Signals are owed.
    pub board: Arc<Board>,
    /// Asks for publishes.
    pub requests: Requests,
    /// Asked to read all Signals again.
    pub rewatch: Rewatch,
    /// Told when the first list is complete.
    pub listed: watch::Sender<Listed>,
    /// How Signals group.
    pub policies: Arc<Policies>,
    /// Closed while Signals cannot be merged.
    pub merge_gate: Gate,
    /// Closed while the ledger does not answer, or is being rebuilt.
    pub ledger_gate: Gate,
    /// The time.
    pub clock: Clock,
    /// For people.
    pub events: Events,
    /// For machines.
    pub metrics: Metrics,
}

/// The longest that a chunk waits before it is tried again. The API server and the ledger serve nobody else of ours meanwhile, so one
/// try in a few seconds is no burden, and it bounds how long a recovery goes unnoticed.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The part of ingest that lasts as long as one watch.
#[derive(Default)]
struct Listing {
    /// Parts of the watch whose list is not complete.
    incomplete: HashSet<usize>,
    /// Observations of keys without an open storm, until the list of their part is complete. All Signals of a key are of one part.
    waiting: HashMap<usize, Waiting>,
    /// What may not open a storm yet.
    held: Held,
    /// How many lists were begun before this one.
    number: u64,
    /// Whether the ledger may have lost something before it, and nobody has looked at what it has of storms that are over.
    lost: bool,
}

/// How often Signals that are held back are looked at: a cool-down ends within this time.
const LOOK_AT_HELD: Duration = Duration::from_secs(1);

impl Ingest {
    /// Reads until `stop`.
    pub async fn run(self, client: Client, watch: Watch, stop: CancellationToken) {
        let merger = self.merger(&client);
        let known = async { tokio::join!(self.projections.listed(), self.policies.listed()) };
        if stop.run_until_cancelled(known).await.is_none() {
            return;
        }
        let mut number = 0;
        let mut look = tokio::time::interval(LOOK_AT_HELD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            self.listed.send_replace(None);
            let Some((key, memory)) = self.begin(&stop).await else { return };
            self.policies.note_open(self.open_groupings());
            let policies = &self.policies;
            let mut chunks = std::pin::pin!(
                watch
                    .events::<Guarded<Signal>>(&client)
                    .then(|event| async move {
                        if let Some(namespace) = namespace_of(&event) {
                            policies.know_namespace(&namespace).await;
                        }
                        arrive(event, &policies.view(), &key)
                    })
                    .ready_chunks(CHUNK)
            );
            let mut listing = Listing {
                incomplete: (0..watch.parts()).collect(),
                number,
                lost: memory != Memory::Kept,
                ..Listing::default()
            };
            number += 1;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    // A list that is being read is what was asked for; begun again and again, it would never end.
                    () = self.rewatch.notified(), if listing.incomplete.is_empty() => {
                        tracing::info!("reading all Signals again");
                        break;
                    }
                    _ = look.tick(), if !listing.held.is_empty() => {
                        if self.look_at_held(&merger, &mut listing, &stop).await.is_break() {
                            break;
                        }
                    }
                    Some(chunk) = chunks.next() => {
                        if self.take(&merger, chunk, &mut listing, &watch, &stop).await.is_break() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// The groupings under which storms are open in the cluster.
    fn open_groupings(&self) -> Vec<(String, GroupBy)> {
        let grouping = |id| {
            let object = self.projections.get(id)?;
            Some((object.spec.policy_ref.name.clone(), GroupBy::of_labels(&object.spec.group_labels)?))
        };
        self.projections.open().into_iter().filter_map(grouping).collect()
    }

    /// Merges what was held back and need not be any more.
    async fn look_at_held(&self, merger: &Merger, listing: &mut Listing, stop: &CancellationToken) -> ControlFlow<()> {
        let now = self.clock.now();
        let ready = listing.held.take_changed(|key, signals| {
            let opening = &merger.opening(signals.values())?.opening;
            merger.opener.held_back_now(key, opening, now)
        });
        if ready.read_again {
            self.rewatch.notify_one();
        }
        for (part, signals) in ready.signals {
            self.merge_all(merger, part, signals, listing, stop).await?;
        }
        self.metrics.held_back_signals.set(count(listing.held.len()));
        ControlFlow::Continue(())
    }

    fn merger(&self, client: &Client) -> Merger {
        let opener = Opener {
            ledger: self.ledger.clone(),
            projections: self.projections.clone(),
            openings: self.openings.clone(),
            policies: self.policies.clone(),
            apply: Apply::new(client.clone()),
        };
        Merger {
            ledger: self.ledger.clone(),
            projections: self.projections.clone(),
            opener,
            board: self.board.clone(),
            requests: self.requests.clone(),
            metrics: self.metrics.clone(),
        }
    }

    async fn take(
        &self,
        merger: &Merger,
        chunk: Vec<Arrival>,
        listing: &mut Listing,
        watch: &Watch,
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        let mut pending: HashMap<usize, Vec<Observation>> = HashMap::new();
        for arrival in chunk {
            match arrival {
                Arrival::ListBegins(part) => {
                    listing.incomplete.insert(part);
                }
                Arrival::Observed(part, observation) => pending.entry(part).or_default().push(observation),
                Arrival::Rejected(signal, rejection) => self.reject(signal, rejection),
                Arrival::ListEnds(part) => {
                    let listed = pending.remove(&part).unwrap_or_default();
                    self.merge_all(merger, part, listed, listing, stop).await?;
                    listing.incomplete.remove(&part);
                    let waited = listing.waiting.remove(&part).unwrap_or_default().into_values().collect();
                    self.merge_all(merger, part, waited, listing, stop).await?;
                    if listing.incomplete.is_empty() {
                        self.list_is_complete(watch, listing).await;
                    }
                }
                Arrival::Nothing => {}
            }
        }
        for (part, observations) in pending {
            self.merge_all(merger, part, observations, listing, stop).await?;
        }
        ControlFlow::Continue(())
    }

    /// Merges, and does nothing else until it is merged: what this loop does not read, the API server keeps. Breaks off when the
    /// ledger may have lost something: all Signals must be read again, with digests of the ledger's new key.
    async fn merge_all(
        &self,
        merger: &Merger,
        part: usize,
        mut pending: Vec<Observation>,
        listing: &mut Listing,
        stop: &CancellationToken,
    ) -> ControlFlow<()> {
        if pending.is_empty() {
            return ControlFlow::Continue(());
        }
        self.board.merged_something();
        let mut backoff = Backoff::default();
        loop {
            let waiting = listing.incomplete.contains(&part).then(|| listing.waiting.entry(part).or_default());
            let mut pools = Pools { part, waiting, held: &mut listing.held };
            let Err(error) = merger.merge(&mut pending, &mut pools, self.clock.now()).await else {
                self.merge_gate.open();
                return ControlFlow::Continue(());
            };
            let disposition = error.disposition();
            self.metrics.failed(Loop::Ingest, disposition);
            tracing::warn!(?disposition, %error, waiting = pending.len(), "Signals are not merged yet, will be tried again");
            self.merge_gate.close(&format!("Signals wait: {error}"));
            if matches!(error, IngestError::Ledger(LedgerError::Lost(_))) {
                return ControlFlow::Break(());
            }
            if stop.run_until_cancelled(tokio::time::sleep(backoff.failed(()).min(LONGEST_WAIT))).await.is_none() {
                return ControlFlow::Break(());
            }
        }
    }

    async fn list_is_complete(&self, watch: &Watch, listing: &mut Listing) {
        self.listed.send_replace(Some(listing.number));
        watch.gate.open();
        self.ledger_gate.open();
        // Runs that waited for the list. A ledger that fell back may hold storms open that are over.
        let all = std::mem::take(&mut listing.lost);
        for id in if all { self.projections.all() } else { self.projections.open() } {
            self.requests.now(id);
        }
        match self.ledger.dirty().await {
            Ok(dirty) => dirty.into_iter().for_each(|id| self.requests.now(id)),
            // The merges that made them dirty have asked for their runs, too.
            Err(error) => tracing::warn!(%error, "the dirty storms are not known"),
        }
    }

    fn reject(&self, signal: SignalRef, rejection: Rejection) {
        tracing::info!(
            namespace = signal.namespace,
            name = signal.name,
            reason = rejection.reason,
            message = rejection.message,
            "Signal rejected"
        );
        let occurrences = rejection.occurrences as u64;
        self.metrics.signals.get_or_create(&SignalLabels { result: SignalResult::Rejected }).inc();
        self.metrics.occurrences_received.inc_by(occurrences);
        let rejected = OccurrenceLabels { result: OccurrenceResult::Rejected };
        self.metrics.occurrences.get_or_create(&rejected).inc_by(occurrences);
        self.events.tell(object_reference(&signal), EventType::Warning, "SignalRejected", "Intake", &rejection.message);
        let count = count(rejection.occurrences);
        self.board.write_now(Receipt {
            signal: Arc::new(signal),
            storm: None,
            occurrences: OccurrenceSummary { total: count, new: 0, rejected: count },
            verdict: Verdict::Rejected(rejection),
            missing_labels: Vec::new(),
        });
    }
}

fn object_reference(signal: &SignalRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(Signal::api_version(&()).into_owned()),
        kind: Some(Signal::kind(&()).into_owned()),
        namespace: Some(signal.namespace.clone()),
        name: Some(signal.name.clone()),
        uid: Some(signal.uid.clone()),
        ..ObjectReference::default()
    }
}
