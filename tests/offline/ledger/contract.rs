//! What every ledger does: one suite, run against each implementation. Random histories are compared with a model that keeps the register of every alert
//! (`stormfold_core::storm::alerts`, which has a model of its own) and knows which storm counted it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Closing, Ledger, Merge, Snapshot, TakenOver};
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{AlertRegisters, Digest, Epoch, HeldReports, Observation, Severity, StormId};

use super::{Key, Said, empty, histories, now, redis_ledger};
use crate::redis_server::RedisServer;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A Signal arrives.
    Signal(Said),
    /// The Signal that arrived so many steps ago arrives again.
    Again(usize),
    /// A publisher takes a snapshot.
    Snapshot,
    /// It acknowledges its last snapshot, late or not; a crash is a snapshot that is never acknowledged.
    Ack,
    /// It closes the storm as of its last snapshot.
    Close(CloseReason),
    /// Somebody deletes the object.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop::sample::select(vec![CloseReason::Resolved, CloseReason::MaxAge, CloseReason::Requested]);
    prop_oneof![
        6 => super::said(30, 0.7, 7).prop_map(Step::Signal),
        3 => (1..6usize).prop_map(Step::Again),
        3 => Just(Step::Snapshot),
        2 => Just(Step::Ack),
        2 => reason.prop_map(Step::Close),
        1 => Just(Step::Forget),
    ]
}

/// What is to be known of one key.
struct Model {
    key: Key,
    open: Option<Epoch>,
    last: Epoch,
    alerts: AlertRegisters,
    resources: BTreeSet<i64>,
    /// Whether a source of the storm reports ends; `None` while nothing touched it.
    resolvable: Option<bool>,
    /// AlertRegisters that no acknowledged snapshot had, and the change that brought them.
    unpublished: Vec<(usize, i64)>,
    snapshot: Option<(StormId, Snapshot)>,
    changes: usize,
    changes_at_snapshot: usize,
}

impl Model {
    fn new() -> Self {
        Self {
            key: Key::another(),
            open: None,
            last: 0,
            alerts: AlertRegisters::default(),
            resources: BTreeSet::new(),
            resolvable: None,
            unpublished: Vec::new(),
            snapshot: None,
            changes: 0,
            changes_at_snapshot: 0,
        }
    }

    fn id(&self, epoch: Epoch) -> StormId {
        StormId { key: self.key.key, epoch }
    }

    /// All of one span and severity: a change is a change of alerts, which the model counts.
    fn signal(&self, said: &Said) -> Observation {
        let signal = self.key.signal(said);
        let (first_seen, last_seen) = (now(5), now(9));
        let (severity, incomplete) = (Severity::Warning, false);
        Observation { first_seen, last_seen, severity, incomplete, ..signal }
    }

    /// Delivers a Signal as ingest does: merge; open when something fires that is in no storm, and take over what closed storms left; merge again.
    async fn deliver(&mut self, ledger: &dyn Ledger, said: &Said, step: i64) {
        let signal = self.signal(said);
        let batch = [(self.key.key, vec![signal.clone()])];
        let opens = signal.says().any(|report| self.alerts.opens(&report));
        let mut merged = ledger.merge(&batch, now(step)).await.unwrap().remove(0);
        if let Merge::NotOpen { opens: said, last, .. } = merged {
            assert_eq!(self.open, None);
            assert_eq!(said, [opens]);
            assert_eq!(last, (self.last > 0).then_some(self.last));
            if !opens {
                let reports: Vec<_> = signal.says().collect();
                ledger.note(self.key.key, &reports, now(step).into()).await.unwrap();
                self.alerts.note(&reports);
                return;
            }
            self.open(ledger, step).await;
            merged = ledger.merge(&batch, now(step)).await.unwrap().remove(0);
        }
        let Merge::Joined { new, held, .. } = merged else { panic!("it is open: {merged:?}") };
        let (mut count, mut pasts) = (0, HeldReports::new());
        for (place, (report, says)) in (0..).zip(signal.reports.iter().zip(signal.says().collect::<Vec<_>>())) {
            let past = self.alerts.past(&says);
            pasts.extend(past.map(|past| (place, past)));
            let held = past.is_some();
            let was_in = self.alerts.get(report.uid).is_some_and(|alert| alert.standing.is_in_storm());
            let joined = self.alerts.join(&says);
            count += usize::from(joined.is_new() && !held);
            self.changes += usize::from(joined.is_new() && !held);
            if !was_in && self.alerts.get(report.uid).is_some_and(|alert| alert.standing.is_in_storm()) {
                self.unpublished.push((self.changes, report.uid));
            }
            if report.firing && !held {
                self.changes += usize::from(self.resources.insert(report.uid % 150));
            }
            if !held && self.resolvable.is_none_or(|resolvable| !resolvable && signal.resolvable) {
                self.resolvable = Some(signal.resolvable);
                self.changes += 1;
            }
        }
        assert_eq!(new, [count]);
        assert_eq!(held.into_iter().flatten().collect::<HeldReports>(), pasts);
    }

    async fn open(&mut self, ledger: &dyn Ledger, step: i64) {
        let stale = self.id(self.last);
        if self.last > 0 {
            assert_eq!(ledger.open(stale, &self.key.pattern, now(step)).await.unwrap(), None, "closed is closed");
        }
        let id = self.id(now(step).as_second());
        assert_eq!(ledger.open(id, &self.key.pattern, now(step)).await.unwrap(), Some(id.epoch));
        let other = StormId { epoch: id.epoch + 5, ..id };
        assert_eq!(ledger.open(other, &self.key.pattern, now(step)).await.unwrap(), Some(id.epoch), "set if absent");
        let left = self.alerts.left();
        assert_eq!(ledger.take_over(id, now(step)).await.unwrap(), TakenOver { taken: left, firing: left });
        let taken = self.alerts.take_over();
        self.changes += taken.len();
        self.unpublished.extend(taken.into_iter().map(|uid| (self.changes, uid)));
        (self.open, self.resources, self.resolvable) = (Some(id.epoch), BTreeSet::new(), None);
    }

    async fn act(&mut self, ledger: &dyn Ledger, step: &Step, at: i64) {
        match step {
            Step::Signal(_) | Step::Again(_) => unreachable!("delivered by the caller"),
            Step::Snapshot => {
                let Some(epoch) = self.open else { return };
                let id = self.id(epoch);
                self.snapshot = Some((id, ledger.snapshot(id).await.unwrap()));
                self.changes_at_snapshot = self.changes;
            }
            Step::Ack => {
                let Some((id, snapshot)) = &self.snapshot else { return };
                // Nobody writes an object that says nothing: its one Signal said in one breath that alerts fire and are over.
                if matches!(snapshot.view, LedgerView::Open { metadata: None, .. }) {
                    return;
                }
                let clean = ledger.ack(*id, snapshot).await.unwrap();
                if self.open == Some(id.epoch) {
                    self.unpublished.retain(|(change, _)| *change > self.changes_at_snapshot);
                    assert!(clean || self.changes > self.changes_at_snapshot, "dirty for no reason");
                    assert_eq!(ledger.dirty().await.unwrap().contains(id), !clean);
                    assert!(!clean || self.changes == self.changes_at_snapshot, "a change was acknowledged unseen");
                }
            }
            Step::Close(reason) => {
                let Some((id, snapshot)) = &self.snapshot else { return };
                let closing = ledger.close(*id, snapshot, *reason, now(at).into()).await.unwrap();
                let unchanged = self.open == Some(id.epoch) && self.changes == self.changes_at_snapshot;
                if unchanged {
                    self.check(ledger).await;
                    self.end(id.epoch, StormEnd::of(*reason, now(at)));
                    assert_eq!(closing, Closing::Closed { left: self.alerts.left() });
                } else {
                    assert_eq!(closing, Closing::Changed, "closed exactly when nothing came since");
                }
            }
            Step::Forget => {
                let Some(epoch) = self.open else { return };
                let id = self.id(epoch);
                let unpublished = std::mem::take(&mut self.unpublished);
                assert_eq!(ledger.forget(id, now(at).into()).await.unwrap(), !unpublished.is_empty());
                // Shown by no object: not handled, and to be counted by the storm that comes next.
                self.alerts.forget(unpublished.iter().map(|(_, uid)| *uid));
                self.end(epoch, StormEnd::of(CloseReason::Requested, now(at)));
            }
        }
    }

    fn end(&mut self, epoch: Epoch, end: StormEnd) {
        self.alerts.end(end);
        self.unpublished.clear();
        self.last = epoch;
        self.open = None;
    }

    async fn check(&self, ledger: &dyn Ledger) {
        let Some(epoch) = self.open else { return };
        let view = ledger.snapshot(self.id(epoch)).await.unwrap().view;
        let is_open = matches!(view, LedgerView::Open { .. });
        let (LedgerView::Open { metadata, .. } | LedgerView::Closed { metadata, .. }) = view else { panic!("known") };
        // A Signal can say in one breath that an alert fires and is over: then nothing joins the storm that it opened.
        let Some(metadata) = metadata else { return assert_eq!(self.resolvable, None) };
        assert_eq!(metadata.alert_count, self.alerts.in_storm());
        assert_eq!(metadata.firing, self.alerts.firing());
        assert_eq!(metadata.affected_count, self.resources.len());
        // And one that nobody has reported. Of a storm that is closed nobody asks.
        let asked: Vec<_> = self.alerts.iter().map(|(uid, _)| uid).chain([Digest::MAX]).collect();
        let fires = |uid: Digest| self.alerts.get(uid).is_some_and(|alert| alert.standing.fires_in_storm());
        let firing = asked.iter().copied().filter(|uid| is_open && fires(*uid));
        let id = self.id(epoch);
        assert_eq!(ledger.firing_of(id, &asked).await.unwrap(), firing.collect::<Vec<_>>());
        let few = &asked[..asked.len().min(3)];
        let answer = ledger.firing_of(id, few).await.unwrap();
        assert!(answer.iter().all(|uid| fires(*uid)));
        assert!(ledger.firing_of(StormId { epoch: epoch + 1, ..id }, &asked).await.unwrap().is_empty());
    }
}

async fn play(ledger: &dyn Ledger, history: Vec<Step>) {
    let mut model = Model::new();
    let mut delivered: Vec<Said> = Vec::new();
    for (at, step) in (0..).zip(&history) {
        let said = match step {
            Step::Signal(said) => Some(said.reported(at)),
            Step::Again(back) => delivered.len().checked_sub(*back).map(|index| delivered[index].clone()),
            other => {
                model.act(ledger, other, at).await;
                None
            }
        };
        if let Some(said) = said {
            model.deliver(ledger, &said, at).await;
            delivered.push(said);
        }
        model.check(ledger).await;
    }
}

/// Histories of the specification: enough to find, within a second, each of the faults that were put into it on purpose.
const MEMORY_HISTORIES: u32 = 2_000;
/// Fewer against a server, where each step is a round trip.
const REDIS_HISTORIES: u32 = 150;

// A1, A2, A3, A6, A11, A27, C1, C18.
#[test]
fn the_memory_ledger_equals_the_model_in_random_histories() {
    let steps = prop::collection::vec(step(), 1..60);
    histories(MEMORY_HISTORIES, &steps, async || (), &async |(), history| {
        play(&MemoryLedger::default(), history).await;
    });
}

// The same for Redis: all histories on one server.
#[test]
fn the_redis_ledger_equals_the_model_in_random_histories() {
    let server = RedisServer::start(&[]);
    let steps = prop::collection::vec(step(), 1..60);
    histories(REDIS_HISTORIES, &steps, async || redis_ledger(&server).await, &async |ledger, history| {
        empty(&server, &[ledger]).await;
        play(ledger.as_ref(), history).await;
    });
}
