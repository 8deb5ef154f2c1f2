//! What every ledger does: one suite, run against each implementation. Random histories are compared with a model that
//! remembers every occurrence and where it was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Closing, Ledger, Merge, Snapshot};
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{Epoch, Observation, Opening, Refused, Report, Severity, SignalRef, StormId, StormKey};

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

fn key() -> StormKey {
    StormKey::new("prod", "X in prod")
}

/// Far in the future: a server's keys expire by its own clock, and none may in the middle of a history.
fn now(step: usize) -> Timestamp {
    Timestamp::from_second(4_100_000_000 + i64::try_from(step).unwrap()).unwrap()
}

fn signal(reports: &[(i64, bool)]) -> Observation {
    let report = |(uid, firing): &(i64, bool)| Report {
        uid: *uid,
        firing: *firing,
        resource: Some((uid % 7, format!("Pod/p{}", uid % 7).into())),
    };
    let opening = Opening {
        object_namespace: "prod".into(),
        pattern: "X in prod".into(),
        signal_name: "X".into(),
        source_kind: None,
        namespace: "prod".into(),
        cluster: None,
        severity: Severity::Warning,
        group_labels: BTreeMap::new(),
        policy: "default".into(),
    };
    Observation {
        signal: Arc::new(SignalRef { namespace: "prod".into(), name: "s".into(), uid: "u".into() }),
        key: opening.key(),
        opening: Arc::new(opening),
        severity: Severity::Warning,
        resolvable: false,
        first_seen: now(5),
        last_seen: now(9),
        reports: reports.iter().map(report).collect(),
        refused: Refused::default(),
        clamped: 0,
        told: false,
        receipt: None,
    }
}

/// The model: which storm counted each occurrence, and which occurrences are known to be over.
#[derive(Default)]
struct Model {
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
    /// Delivers a Signal as ingest does: merge; open when something fires anew; merge again.
    async fn deliver(&mut self, ledger: &dyn Ledger, reports: &[(i64, bool)], step: usize) {
        let batch = [(key(), vec![signal(reports)])];
        let fresh = |uid: &i64| !self.handled.contains(uid);
        let opens = reports.iter().any(|(uid, firing)| *firing && fresh(uid));
        if let Merge::NotOpen { opens: said, last } = ledger.merge(&batch, now(step)).await.unwrap().remove(0) {
            assert_eq!(self.open, None);
            assert_eq!(said, [opens]);
            assert_eq!(last, (self.last > 0).then_some(self.last));
            if !opens {
                let resolved: Vec<_> = reports.iter().filter(|(_, firing)| !firing).map(|(uid, _)| *uid).collect();
                ledger.note_resolved(key(), &resolved, now(step)).await.unwrap();
                self.over.extend(resolved);
                return;
            }
            let stale = StormId { key: key(), epoch: self.last };
            if self.last > 0 {
                assert_eq!(ledger.open(stale, "X in prod", now(step)).await.unwrap(), None, "closed is closed");
            }
            let id = StormId { key: key(), epoch: now(step).as_second() };
            assert_eq!(ledger.open(id, "X in prod", now(step)).await.unwrap(), Some(id.epoch));
            let other = StormId { epoch: id.epoch + 5, ..id };
            assert_eq!(ledger.open(other, "X in prod", now(step)).await.unwrap(), Some(id.epoch), "set if absent");
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

    async fn act(&mut self, ledger: &dyn Ledger, step: &Step, at: usize) {
        match step {
            Step::Signal(_) | Step::Again(_) => unreachable!("delivered by the caller"),
            Step::Snapshot => {
                let Some(epoch) = self.open else { return };
                let id = StormId { key: key(), epoch };
                self.snapshot = Some((id, ledger.snapshot(id).await.unwrap()));
                self.changes_at_snapshot = self.changes;
            }
            Step::Ack => {
                let Some((id, snapshot)) = &self.snapshot else { return };
                let clean = ledger.ack(*id, snapshot).await.unwrap();
                if self.open == Some(id.epoch) {
                    self.unpublished.retain(|(change, _)| *change > self.changes_at_snapshot);
                    assert!(clean || self.changes > self.changes_at_snapshot, "dirty for no reason");
                    assert_eq!(ledger.dirty().await.unwrap().is_empty(), clean);
                    assert!(!clean || self.changes == self.changes_at_snapshot, "a change was acknowledged unseen");
                }
            }
            Step::Close => {
                let Some((id, snapshot)) = &self.snapshot else { return };
                let closing = ledger.close(*id, snapshot, CloseReason::Quiet, now(at)).await.unwrap();
                let unchanged = self.open == Some(id.epoch) && self.changes == self.changes_at_snapshot;
                assert_eq!(closing == Closing::Closed, unchanged, "closed exactly when nothing came since");
                if unchanged {
                    self.check(ledger).await;
                    self.end(id.epoch);
                }
            }
            Step::Forget => {
                let Some(epoch) = self.open else { return };
                let id = StormId { key: key(), epoch };
                assert_eq!(ledger.forget(id, now(at)).await.unwrap(), !self.unpublished.is_empty());
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
        let view = ledger.snapshot(StormId { key: key(), epoch }).await.unwrap().view;
        let (LedgerView::Open { metadata, .. } | LedgerView::Closed { metadata, .. }) = view else { panic!("known") };
        let metadata = metadata.unwrap();
        assert_eq!(metadata.alert_count, counted.len());
        assert_eq!(metadata.firing, counted.difference(&self.over).count());
        assert_eq!(metadata.affected_count, counted.iter().map(|uid| uid % 7).collect::<BTreeSet<_>>().len());
    }
}

async fn play(ledger: Arc<dyn Ledger>, history: Vec<Step>) {
    let mut model = Model::default();
    let mut delivered: Vec<Vec<(i64, bool)>> = Vec::new();
    for (at, step) in history.iter().enumerate() {
        let reports = match step {
            Step::Signal(reports) => Some(reports.clone()),
            Step::Again(back) => delivered.len().checked_sub(*back).map(|index| delivered[index].clone()),
            other => {
                model.act(ledger.as_ref(), other, at).await;
                None
            }
        };
        if let Some(reports) = reports {
            model.deliver(ledger.as_ref(), &reports, at).await;
            delivered.push(reports);
        }
        model.check(ledger.as_ref()).await;
    }
    // Invariant 1: each occurrence that fired was counted by exactly one storm.
    let counted: usize = model.storms.values().map(BTreeSet::len).sum();
    let distinct: BTreeSet<_> = model.storms.values().flatten().collect();
    assert_eq!(counted, distinct.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    // A1, A2, A3, A6, A11, A27, C1, C18.
    #[test]
    fn the_memory_ledger_equals_the_model_in_random_histories(history in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(Arc::new(MemoryLedger::default()), history));
    }
}

// A3: of two openers of one key, exactly one opens, and the step itself tells.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_openers_one_opens_and_all_learn_the_same_epoch() {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let open = |n: i64| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.open(StormId { key: key(), epoch: 100 + n }, "X in prod", now(0)).await })
    };
    let mut epochs = BTreeSet::new();
    for opener in (0..16).map(open).collect::<Vec<_>>() {
        epochs.insert(opener.await.unwrap().unwrap().unwrap());
    }
    assert_eq!(epochs.len(), 1);
}

// C13 and the dedup horizon: a repeat within it is known, and renews it; after it the occurrence is new.
#[tokio::test]
async fn a_closed_storm_holds_its_occurrences_for_the_dedup_horizon_after_the_last_repeat() {
    let ledger = MemoryLedger::default();
    ledger.hold(key(), Some(7), &[1], now(0)).await.unwrap();
    let hour = 3600;
    let opens = async |at: usize| match ledger
        .merge(&[(key(), vec![signal(&[(1, true)])])], now(at))
        .await
        .unwrap()
        .remove(0)
    {
        Merge::NotOpen { opens, .. } => opens[0],
        Merge::Joined { .. } => panic!("no storm is open"),
    };
    assert!(!opens(6 * hour).await);
    assert!(!opens(12 * hour).await);
    assert!(opens(18 * hour + 1).await);
}

#[tokio::test]
async fn smoke() {
    let server = crate::redis_server::RedisServer::start(&[]);
    let rewatch = Arc::new(tokio::sync::Notify::new());
    let settings = stormfold::ledger::redis::RedisSettings::new(server.url());
    let ledger = stormfold::ledger::redis::RedisLedger::new(settings, rewatch, stormfold::metrics::Metrics::default());
    ledger.begin().await.unwrap();
    play(
        Arc::new(ledger),
        vec![
            Step::Signal(vec![(1, true), (2, true)]),
            Step::Signal(vec![(3, true), (2, false)]),
            Step::Snapshot,
            Step::Ack,
            Step::Snapshot,
            Step::Close,
            Step::Again(1),
            Step::Signal(vec![(4, true)]),
            Step::Forget,
            Step::Again(1),
        ],
    )
    .await;
}
