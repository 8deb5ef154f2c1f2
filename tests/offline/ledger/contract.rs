//! What every ledger does: one suite, run against each implementation. Random histories are compared with a model that
//! remembers every occurrence and where it was counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Closing, Ledger, Merge, Snapshot};
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{Epoch, Observation, Severity, StormId};

use super::{Key, empty, histories, now, redis_ledger};
use crate::redis_server::RedisServer;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A Signal arrives: uids, each firing or resolved.
    Signal(Vec<(i64, bool)>),
    /// The Signal that arrived so many steps ago arrives again.
    Again(usize),
    /// A publisher takes a snapshot.
    Snapshot,
    /// It acknowledges its last snapshot, late or not; a crash is a snapshot that is never acknowledged.
    Ack,
    /// It closes the storm as of its last snapshot.
    Close,
    /// Somebody deletes the object.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let signal = prop::collection::vec((0..30i64, prop::bool::weighted(0.75)), 1..6);
    prop_oneof![
        6 => signal.prop_map(Step::Signal),
        3 => (1..6usize).prop_map(Step::Again),
        3 => Just(Step::Snapshot),
        2 => Just(Step::Ack),
        1 => Just(Step::Close),
        1 => Just(Step::Forget),
    ]
}

/// The model: which storm counted each occurrence, and which occurrences are known to be over.
struct Model {
    key: Key,
    open: Option<Epoch>,
    last: Epoch,
    storms: BTreeMap<Epoch, BTreeSet<i64>>,
    handled: BTreeSet<i64>,
    over: BTreeSet<i64>,
    /// Occurrences that no acknowledged snapshot had, and the change that brought them.
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
            storms: BTreeMap::new(),
            handled: BTreeSet::new(),
            over: BTreeSet::new(),
            unpublished: Vec::new(),
            snapshot: None,
            changes: 0,
            changes_at_snapshot: 0,
        }
    }

    fn id(&self, epoch: Epoch) -> StormId {
        StormId { key: self.key.key, epoch }
    }

    /// All of one time and severity: a change is a change of sets, which the model counts.
    fn signal(&self, reports: &[(i64, bool)]) -> Observation {
        let signal = self.key.signal(reports);
        let (first_seen, last_seen) = (now(5), now(9));
        let (severity, resolvable, incomplete) = (Severity::Warning, false, false);
        Observation { first_seen, last_seen, severity, resolvable, incomplete, ..signal }
    }

    /// Delivers a Signal as ingest does: merge; open when something fires anew; merge again.
    async fn deliver(&mut self, ledger: &dyn Ledger, reports: &[(i64, bool)], step: i64) {
        let batch = [(self.key.key, vec![self.signal(reports)])];
        let fresh = |uid: &i64| !self.handled.contains(uid);
        let opens = reports.iter().any(|(uid, firing)| *firing && fresh(uid));
        if let Merge::NotOpen { opens: said, last } = ledger.merge(&batch, now(step)).await.unwrap().remove(0) {
            assert_eq!(self.open, None);
            assert_eq!(said, [opens]);
            assert_eq!(last, (self.last > 0).then_some(self.last));
            if !opens {
                let resolved: Vec<_> = reports.iter().filter(|(_, firing)| !firing).map(|(uid, _)| *uid).collect();
                ledger.note_resolved(self.key.key, &resolved, now(step).into()).await.unwrap();
                self.over.extend(resolved);
                return;
            }
            let stale = self.id(self.last);
            if self.last > 0 {
                assert_eq!(ledger.open(stale, &self.key.pattern, now(step)).await.unwrap(), None, "closed is closed");
            }
            let id = self.id(now(step).as_second());
            assert_eq!(ledger.open(id, &self.key.pattern, now(step)).await.unwrap(), Some(id.epoch));
            let other = StormId { epoch: id.epoch + 5, ..id };
            assert_eq!(
                ledger.open(other, &self.key.pattern, now(step)).await.unwrap(),
                Some(id.epoch),
                "set if absent"
            );
            self.open = Some(id.epoch);
            let merged = ledger.merge(&batch, now(step)).await.unwrap().remove(0);
            assert!(matches!(merged, Merge::Joined { .. }));
        }
        let counted = self.storms.entry(self.open.unwrap()).or_default();
        for (uid, firing) in reports.iter().filter(|(uid, _)| !self.handled.contains(uid)) {
            let new = if *firing { counted.insert(*uid) } else { self.over.insert(*uid) };
            self.changes += usize::from(new);
            if new && *firing {
                self.unpublished.push((self.changes, *uid));
            }
        }
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
                let clean = ledger.ack(*id, snapshot).await.unwrap();
                if self.open == Some(id.epoch) {
                    self.unpublished.retain(|(change, _)| *change > self.changes_at_snapshot);
                    assert!(clean || self.changes > self.changes_at_snapshot, "dirty for no reason");
                    assert_eq!(ledger.dirty().await.unwrap().contains(id), !clean);
                    assert!(!clean || self.changes == self.changes_at_snapshot, "a change was acknowledged unseen");
                }
            }
            Step::Close => {
                let Some((id, snapshot)) = &self.snapshot else { return };
                let closing = ledger.close(*id, snapshot, CloseReason::Quiet, now(at).into()).await.unwrap();
                let unchanged = self.open == Some(id.epoch) && self.changes == self.changes_at_snapshot;
                assert_eq!(closing == Closing::Closed, unchanged, "closed exactly when nothing came since");
                if unchanged {
                    self.check(ledger).await;
                    self.end(id.epoch);
                }
            }
            Step::Forget => {
                let Some(epoch) = self.open else { return };
                let id = self.id(epoch);
                assert_eq!(ledger.forget(id, now(at).into()).await.unwrap(), !self.unpublished.is_empty());
                let unpublished: BTreeSet<_> = self.unpublished.iter().map(|(_, uid)| *uid).collect();
                self.end(epoch);
                // Shown by no object: not handled, and to be counted by the storm that comes next.
                self.handled.retain(|uid| !unpublished.contains(uid));
                self.storms.entry(epoch).or_default().retain(|uid| !unpublished.contains(uid));
            }
        }
    }

    fn end(&mut self, epoch: Epoch) {
        self.handled.extend(self.storms.get(&epoch).into_iter().flatten());
        // What was reported as over while the storm was open is handled as well.
        self.handled.extend(&self.over);
        self.over.clear();
        self.unpublished.clear();
        self.last = epoch;
        self.open = None;
    }

    async fn check(&self, ledger: &dyn Ledger) {
        let Some(epoch) = self.open else { return };
        let counted = &self.storms[&epoch];
        let view = ledger.snapshot(self.id(epoch)).await.unwrap().view;
        let (LedgerView::Open { metadata, .. } | LedgerView::Closed { metadata, .. }) = view else { panic!("known") };
        let metadata = metadata.unwrap();
        assert_eq!(metadata.alert_count, counted.len());
        assert_eq!(metadata.firing, counted.difference(&self.over).count());
        assert_eq!(metadata.affected_count, counted.iter().map(|uid| uid % 150).collect::<BTreeSet<_>>().len());
    }
}

async fn play(ledger: &dyn Ledger, history: Vec<Step>) {
    let mut model = Model::new();
    let mut delivered: Vec<Vec<(i64, bool)>> = Vec::new();
    for (at, step) in (0..).zip(&history) {
        let reports = match step {
            Step::Signal(reports) => Some(reports.clone()),
            Step::Again(back) => delivered.len().checked_sub(*back).map(|index| delivered[index].clone()),
            other => {
                model.act(ledger, other, at).await;
                None
            }
        };
        if let Some(reports) = reports {
            model.deliver(ledger, &reports, at).await;
            delivered.push(reports);
        }
        model.check(ledger).await;
    }
    // Invariant 1: each occurrence that fired was counted by exactly one storm.
    let counted: usize = model.storms.values().map(BTreeSet::len).sum();
    let distinct: BTreeSet<_> = model.storms.values().flatten().collect();
    assert_eq!(counted, distinct.len());
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
