//! Kubernetes' own Events become Signals: a cluster without Prometheus has storms at once.
//!
//! Pure first: [`event`] reads an Event, [`fold`] makes alerts of them, and says which Signals are to be made. This file is the watch and
//! the writer. It runs on the leader only; a new leader recalls from its Signals what it was told, lists the Events that are there, and goes
//! on: the same reason and resource are the same alert.

mod event;
mod fold;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::runtime::watcher;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use event::{EventFingerprint, EventGroup, NoAlert, read_event};
use fold::{DueSignal, EventFold, Folded};

use super::draft::{BodyFacts, Draft, DraftKey, LabelPairs, Shared, SignalTexts};
use super::writer::{LatestReports, RecalledAlert, SignalWriter, told};
use crate::metrics::{EventResult, Metrics, SourceLabel};
use crate::runtime::backoff::{Backoff, delay};
use crate::runtime::clock::Clock;
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::{Watch, WatchEvent};
use crate::storm::Severity;

/// As `spec.source.kind`.
const KIND: &str = "kubernetes-events";
/// Events taken at once.
const CHUNK: usize = 256;
/// Signals that are being stored at once.
const UNDER_WAY: usize = 32;
/// For so long after a watch works again, Events of the time before may come.
const SETTLE: SignedDuration = SignedDuration::from_secs(5);
/// How often it is told that Events are dropped.
const TELL: SignedDuration = SignedDuration::from_mins(1);

/// Makes Signals of Events.
pub struct EventSource {
    /// The API server.
    pub client: Client,
    /// The watch on Events.
    pub watch: Watch,
    /// Stores the Signals.
    pub writer: Arc<SignalWriter>,
    /// The time.
    pub clock: Clock,
    /// What is measured.
    pub metrics: Metrics,
}

/// What is known while it runs.
struct Running {
    fold: EventFold,
    /// Parts of the watch whose list is not complete.
    listing: HashSet<usize>,
    dropped: u64,
    told: Timestamp,
}

impl EventSource {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Some(fold) = stop.run_until_cancelled(self.recall()).await else { return };
        let mut running =
            Running { fold, listing: (0..self.watch.parts()).collect(), dropped: 0, told: Timestamp::UNIX_EPOCH };
        let mut events = self.watch.events::<Guarded<Event>>(&self.client).ready_chunks(CHUNK);
        let mut under_way = JoinSet::new();
        loop {
            let now = self.clock.now();
            if !running.listing.is_empty() || !self.watch.health.all_work() {
                running.fold.hold_ends(now + SETTLE);
            }
            for due in running.fold.due(now, UNDER_WAY.saturating_sub(under_way.len())) {
                under_way.spawn(store(self.writer.clone(), due, now));
            }
            self.metrics.events.alerts.set(i64::try_from(running.fold.len()).unwrap_or(i64::MAX));
            let idle = self.idle(&running.fold, under_way.len() < UNDER_WAY);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(chunk) = events.next() => chunk.into_iter().for_each(|event| self.take_in(event, &mut running)),
                Some(stored) = under_way.join_next() => {
                    // It does not panic; if it did, its group would only wait for the next start.
                    if let Ok(group) = stored {
                        running.fold.stored(&group);
                    }
                }
                () = tokio::time::sleep(idle) => {}
            }
        }
    }

    /// Until there is something to do, unless something happens before.
    fn idle(&self, fold: &EventFold, room: bool) -> Duration {
        let longest = Duration::from_secs(1);
        let next = fold.next().filter(|_| room);
        next.map_or(longest, |at| at.duration_since(self.clock.now()).try_into().unwrap_or_default()).min(longest)
    }

    /// What Signals say of alerts that are not over. Without it ends would be lost, so it is tried until it is known.
    async fn recall(&self) -> EventFold {
        let mut backoff = Backoff::default();
        loop {
            let mut latest = LatestReports::default();
            match self.writer.recall(KIND, None, &mut latest).await {
                Ok(()) => {
                    let mut fold = EventFold::default();
                    for alert in latest.firing() {
                        remember(&mut fold, alert.clone());
                    }
                    tracing::info!(
                        alerts = fold.len(),
                        "Events become Signals; so many alerts of theirs were not over"
                    );
                    return fold;
                }
                Err(error) => {
                    let error = told(&error);
                    tracing::warn!(error, "Events wait: what Signals say of them cannot be read yet");
                    tokio::time::sleep(backoff.failed(())).await;
                }
            }
        }
    }

    fn take_in(&self, (part, event): WatchEvent<Guarded<Event>>, running: &mut Running) {
        let (Guarded(event), now) = match event {
            watcher::Event::Init => {
                running.listing.insert(part);
                return;
            }
            watcher::Event::InitDone => {
                running.listing.remove(&part);
                self.watch_opens(running);
                return;
            }
            // That an Event is deleted after an hour says nothing of its alert.
            watcher::Event::Delete(_) => return,
            watcher::Event::InitApply(event) | watcher::Event::Apply(event) => (event, self.clock.now()),
        };
        let read = event.map_err(|_| NoAlert::Rejected).and_then(|event| read_event(&event, &self.writer.reach()));
        let result = match read {
            Err(NoAlert::Normal) => return,
            Err(NoAlert::Ours) => EventResult::Ours,
            Err(NoAlert::Rejected) => EventResult::Rejected,
            Ok(event) => match running.fold.take_in(event, now) {
                Folded::Began => EventResult::Began,
                Folded::GoesOn => EventResult::GoesOn,
                Folded::Over => EventResult::Over,
                Folded::Dropped => {
                    running.drop_one(now);
                    EventResult::Dropped
                }
            },
        };
        self.metrics.events.result(result);
    }

    fn watch_opens(&self, running: &Running) {
        if running.listing.is_empty() {
            self.watch.gate.open();
        }
    }
}

impl Running {
    fn drop_one(&mut self, now: Timestamp) {
        self.dropped += 1;
        if now.duration_since(self.told) >= TELL {
            let dropped = std::mem::take(&mut self.dropped);
            tracing::warn!(
                dropped,
                alerts = self.fold.len(),
                "Events are dropped: there are more alerts, or reasons in one namespace, than are kept; storms of theirs are incomplete"
            );
            self.told = now;
        }
    }
}

fn remember(fold: &mut EventFold, alert: RecalledAlert) {
    let Some(fingerprint) = fingerprint(&alert.fingerprint) else { return };
    let DraftKey { namespace, name: reason, .. } = alert.key.as_ref().clone();
    let began = alert.starts_at.unwrap_or(alert.reported_at);
    fold.recall(EventGroup { namespace, reason }, fingerprint, alert.resource, [began, alert.reported_at]);
}

/// As a Signal has it. `None`: it is none of ours.
fn fingerprint(text: &str) -> Option<EventFingerprint> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| digits).map(u128::to_be_bytes)
}

/// Stores a Signal, however often that takes: what it tells is in order within its group.
async fn store(writer: Arc<SignalWriter>, due: DueSignal, now: Timestamp) -> Arc<EventGroup> {
    let draft = draft(&due, now);
    let mut failures = 0;
    while let Some(Err(error)) = writer.store(std::slice::from_ref(&draft)).await.pop() {
        failures += 1;
        let (error, namespace) = (told(&error), draft.namespace.as_deref().unwrap_or_default());
        tracing::warn!(error, namespace, failures, "a Signal of Events is not stored yet, and will be tried again");
        tokio::time::sleep(delay(failures)).await;
    }
    due.group
}

fn draft(due: &DueSignal, now: Timestamp) -> Draft {
    let shared = Shared::of(&BodyFacts {
        prefix: "ke",
        kind: KIND,
        label: SourceLabel::KubernetesEvents,
        instance: None,
        url: None,
        group_labels: &LabelPairs::new(),
        incomplete: due.incomplete,
        received: now,
    });
    let EventGroup { namespace, reason } = due.group.as_ref().clone();
    let key = DraftKey { namespace, cluster: None, name: reason, severity: Severity::Warning, telling: [].into() };
    let note = Some(("summary".to_owned(), due.note.clone())).filter(|(_, note)| !note.is_empty());
    key.draft(
        due.table.clone(),
        SignalTexts { annotations: note.into_iter().collect(), ..SignalTexts::default() },
        &Arc::new(shared),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_of_events_says_where_it_is_from_and_what_its_alerts_are() {
        let group = EventGroup { namespace: None, reason: "NodeNotReady".into() };
        let (table, note) = ("firing - 00 Node/n1\n".to_owned(), "Node is not ready".to_owned());
        let now = "2026-01-02T15:04:05.123456Z".parse().unwrap();
        let draft = draft(&DueSignal { group: Arc::new(group), table, note, incomplete: true }, now);
        let spec = draft.spec();
        assert!(draft.name.starts_with("ke-"), "{}", draft.name);
        assert_eq!(
            (spec.name.as_str(), spec.namespace.as_deref(), spec.severity),
            ("NodeNotReady", Some(""), Severity::Warning)
        );
        assert_eq!((spec.resolvable, spec.incomplete, spec.source.unwrap().kind.as_str()), (true, true, KIND));
        assert_eq!(spec.annotations["summary"], "Node is not ready");
        assert_eq!(spec.reported_at.unwrap().0, now);
    }

    #[test]
    fn only_fingerprints_of_ours_are_recalled() {
        assert_eq!(
            fingerprint("000102030405060708090a0b0c0d0e0f"),
            Some(std::array::from_fn(|n| u8::try_from(n).unwrap()))
        );
        for text in [
            "",
            "7",
            "zz0102030405060708090a0b0c0d0e0f",
            "00000102030405060708090a0b0c0d0e0f",
            "+00102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
    }
}
