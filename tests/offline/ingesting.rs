//! Ingest at a ledger that fails: the same chunk is tried again, and the API server is the buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use stormfold::driver::Gates;
use stormfold::inbox::inbox;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Begun, Closing, DedupWindow, Holding, Ledger, LedgerError, Merge, Snapshot, TakenOver};
use stormfold::metrics::{OccurrenceLabels, OccurrenceResult, WatchedResource};
use stormfold::policies::tell_policies;
use stormfold::runtime::part_gate::PartGate;
use stormfold::runtime::readiness::Readiness;
use stormfold::runtime::watch::Watch;
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::pattern::{Parts, Scope, pattern};
use stormfold::storm::{AlertRegisters, AlertReport, Digest, Epoch, Observation, Reach, StormId, StormKey};
use stormfold::watch::signals::SignalReader;
use stormfold::watch::watch_requests;
use stormfold_core::engine::{Engine, Settings};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::hand::reporter;
use crate::press::{EPOCH, Press, at, storm};
use crate::script::{API, Expected, list_of};

/// A memory ledger whose merges fail while `down`, before or after they had their effect. No storm is published: no snapshot
/// comes.
#[derive(Default)]
struct Flaky {
    inner: Arc<MemoryLedger>,
    down: AtomicBool,
    has_effect: bool,
    refused: AtomicUsize,
    cannot_open: AtomicBool,
}

#[async_trait]
impl Ledger for Flaky {
    async fn begin(&self) -> Result<Begun, LedgerError> {
        self.inner.begin().await
    }
    async fn merge(&self, batches: &[(StormKey, Vec<Observation>)], now: Timestamp) -> Result<Vec<Merge>, LedgerError> {
        if !self.down.load(Ordering::Relaxed) {
            return self.inner.merge(batches, now).await;
        }
        if self.has_effect {
            self.inner.merge(batches, now).await?;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(LedgerError::Unavailable("scripted".into()))
    }
    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError> {
        if self.cannot_open.load(Ordering::Relaxed) {
            return Err(LedgerError::Unavailable("scripted".into()));
        }
        self.inner.open(id, pattern, now).await
    }
    async fn hold(&self, holding: &Holding) -> Result<usize, LedgerError> {
        self.inner.hold(holding).await
    }
    async fn note(&self, key: StormKey, reports: &[AlertReport], at: DedupWindow) -> Result<(), LedgerError> {
        self.inner.note(key, reports, at).await
    }
    async fn take_over(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError> {
        self.inner.take_over(id, now).await
    }
    async fn alerts(&self, key: StormKey) -> Result<AlertRegisters, LedgerError> {
        self.inner.alerts(key).await
    }
    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError> {
        self.inner.dirty().await
    }
    async fn snapshot(&self, _: StormId) -> Result<Snapshot, LedgerError> {
        std::future::pending().await
    }
    async fn firing_of(&self, id: StormId, alerts: &[Digest]) -> Result<Vec<Digest>, LedgerError> {
        self.inner.firing_of(id, alerts).await
    }
    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError> {
        self.inner.mark_published(id).await
    }
    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError> {
        self.inner.ack(id, snapshot).await
    }
    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError> {
        self.inner.close(id, snapshot, reason, at).await
    }
    async fn settle(&self, id: StormId) -> Result<(), LedgerError> {
        self.inner.settle(id).await
    }
    async fn forget(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError> {
        self.inner.forget(id, at).await
    }
    async fn drop_unknown(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError> {
        self.inner.drop_unknown(known, before).await
    }
    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError> {
        self.inner.drop_storm(id).await
    }
}

/// Runs the engine and what feeds it as `app` does.
fn begin(press: &Press, ledger: &Arc<Flaky>, readiness: &Readiness) -> DropGuard {
    let (client, stop) = (press.server.client(), CancellationToken::new());
    let watch = |resource: WatchedResource| Watch {
        resource,
        namespaces: vec!["prod".into()],
        gate: readiness.gate(resource.first_list(), "not listed"),
        health: PartGate::new(readiness.open_gate(resource.plural())),
        metrics: press.metrics.clone(),
    };
    let (signals, objects) = (watch(WatchedResource::Signals), watch(WatchedResource::RemediationRequests));
    let mut reporter = reporter(client.clone(), &press.metrics, &press.policies, readiness);
    reporter.gates = Gates { signals: signals.gate.clone(), requests: objects.gate.clone(), ..reporter.gates };
    let settings = Settings { namespaces: vec!["prod".into()], ..Settings::default() };
    let engine = Engine::new(settings, press.policies.view().set);
    let (inbox, mailbox) = inbox();
    let (driver, wanted) = press.driver(engine, ledger.clone(), reporter);
    let policies = press.policies.clone();
    let reader = SignalReader {
        client: client.clone(),
        watch: signals,
        policies: policies.clone(),
        reach: Reach::default(),
        inbox: inbox.clone(),
    };
    tokio::spawn(watch_requests(client, objects, inbox.clone(), stop.clone()));
    tokio::spawn(tell_policies(policies, inbox, stop.clone()));
    tokio::spawn(driver.run(mailbox, stop.clone()));
    tokio::spawn(reader.run(wanted, stop.clone()));
    stop.drop_guard()
}

fn list(plural: &str) -> Expected {
    Expected::new("GET", format!("{API}/namespaces/prod/{plural}"))
}

fn signal(name: &str, alert: &str, table: &str) -> Value {
    json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal",
        "metadata": { "namespace": "prod", "name": name, "uid": name, "creationTimestamp": at(0).to_string() },
        "spec": { "name": alert, "table": table },
    })
}

/// A page of two Signals with one new occurrence each, and one that both have.
fn page(number: usize, next: Option<&str>) -> Value {
    let signal = |name: String| {
        let table = format!("firing - {name} Pod/{name}\nfiring - shared Pod/shared");
        signal(&name, "HighMemoryUsage", &table)
    };
    list_of(&[signal(format!("a{number}")), signal(format!("b{number}"))], next)
}

// D3, D7, invariants 1 and 10: while the ledger does not answer, ingest reads no further page; nothing lost, nothing doubled.
#[rstest]
#[case::refused_before_its_effect(false)]
#[case::answer_lost_after_its_effect(true)]
#[tokio::test(start_paused = true)]
async fn while_the_ledger_does_not_answer_the_same_chunk_is_retried_and_nothing_more_is_read(#[case] has_effect: bool) {
    let mut press = Press::default();
    let readiness = Readiness::default();
    let ledger =
        Arc::new(Flaky { inner: press.ledger.clone(), down: AtomicBool::new(true), has_effect, ..Flaky::default() });
    let _running = begin(&press, &ledger, &readiness);
    let before = vec![
        list("remediationrequests"),
        list("remediationrequests").silent().check(|call| assert!(call.query.contains("watch=true"), "{call}")),
        list("signals").gives(page(1, Some("2"))),
        list("signals").gives(page(2, Some("3"))).check(|call| assert!(call.query.contains("continue=2"), "{call}")),
    ];
    // The second page is on its way when the first reaches the ledger; the third is not asked for.
    press.server.expect(before, sleep(Duration::from_mins(3))).await;
    assert!(ledger.refused.load(Ordering::Relaxed) >= 5, "tried again");
    assert!(readiness.closed().contains_key("merge"), "readiness does not tell");
    ledger.down.store(false, Ordering::Relaxed);
    let after = vec![
        list("signals").gives(page(3, None)).check(|call| assert!(call.query.contains("continue=3"), "{call}")),
        list("signals").silent().check(|call| assert!(call.query.contains("watch=true"), "{call}")),
        // The list is complete: what waited for it opens a storm, and not without an uncached look at the cluster.
        list("remediationrequests").check(|call| assert!(call.query.contains("spec.stormKey"), "{call}")),
    ];
    press.server.expect(after, sleep(Duration::from_mins(3))).await;
    let dirty = press.ledger.dirty().await.unwrap();
    assert_eq!(dirty.len(), 1);
    let LedgerView::Open { metadata: Some(facts), .. } = press.view(dirty[0]).await else { panic!("not open") };
    assert_eq!((facts.alert_count, facts.affected_count), (7, 7));
    assert!(readiness.closed().is_empty(), "{:?}", readiness.closed());
}

// Invariants 10, 13: one storm that cannot be opened holds up no other of its chunk, and each occurrence is told as what it was.
#[tokio::test(start_paused = true)]
async fn what_is_merged_goes_on_while_another_storm_of_the_chunk_cannot_be_opened() {
    let mut press = Press::default();
    let mut before = Press::published(&[1]).await;
    press.server.put(&before.watch_catches_up(storm()));
    let readiness = Readiness::default();
    let ledger =
        Arc::new(Flaky { inner: press.ledger.clone(), cannot_open: AtomicBool::new(true), ..Flaky::default() });
    let mut signals = vec![signal("s", "HighMemoryUsage", "firing - f Pod/p")];
    for number in 0..5 {
        let alert = format!("Open{number}");
        let text = pattern(&Parts { name: Some(&alert), scope: Some(Scope::Namespace("prod")), ..Parts::default() });
        let id = StormId { key: StormKey::new("prod", &text), epoch: EPOCH };
        press.ledger.open(id, &text, at(0)).await.unwrap();
        signals.push(signal(&format!("s{number}"), &alert, "firing - f Pod/p"));
    }
    let _running = begin(&press, &ledger, &readiness);
    let calls = vec![
        list("remediationrequests"),
        list("remediationrequests").silent(),
        list("signals").gives(list_of(&signals, None)),
        list("signals").silent(),
    ];
    press.server.expect(calls, sleep(Duration::from_mins(1))).await;
    assert_eq!(press.metrics.owed_receipts.get(), 5, "the open ones wait for the one that cannot be opened");
    ledger.cannot_open.store(false, Ordering::Relaxed);
    press.server.silence(Duration::from_mins(2)).await;
    assert_eq!(press.metrics.owed_receipts.get(), 6);
    let count = |result| press.metrics.occurrences.get_or_create(&OccurrenceLabels { result }).get();
    assert_eq!((count(OccurrenceResult::Merged), count(OccurrenceResult::Known)), (6, 0));
    before.server.silence(Duration::from_secs(1)).await;
}
