use super::*;
use crate::storm::fixtures::observation;
use crate::storm::{Opening, Report, Severity};

// Invariant 15, here: one record per key, and nothing of a closed storm is left after the dedup horizon.
#[tokio::test]
async fn ledger_records_of_one_storm_live_and_die_together_and_those_of_a_closed_one_expire() {
    let ledger = MemoryLedger::default();
    let time = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    let signal = observation(vec![Report { uid: 1, firing: true, resource: None }], (5, 5), Severity::Info);
    let id = StormId { key: signal.key, epoch: 7 };
    ledger.open(id, "X in prod", time(0)).await.unwrap();
    ledger.merge(&[(id.key, vec![signal])], time(0)).await.unwrap();
    let snapshot = ledger.snapshot(id).await.unwrap();
    ledger.close(id, &snapshot, CloseReason::Quiet, time(1).into()).await.unwrap();
    let other = StormId { key: StormKey::new("web", "Y in web"), epoch: 7 };
    let horizon = 6 * 3600;
    ledger.open(other, "Y in web", time(1 + horizon)).await.unwrap();
    assert!(ledger.records().keys.contains_key(&id.key), "within the horizon");
    ledger.settle(id).await.unwrap();
    ledger.note(other.key, &[], time(2 + horizon + 60).into()).await.unwrap();
    assert_eq!(ledger.records().keys.keys().collect::<Vec<_>>(), [&other.key]);
}

const LIMIT: usize = 4 << 20;
/// Occurrences of one Signal.
const EACH: i64 = 1_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// The `n`th Signal of an alert in this namespace: each occurrence is another alert about another resource.
fn signal(namespace: &str, alert: &str, n: i64) -> Observation {
    let report = |uid: i64| Report { uid, firing: true, resource: Some((uid, format!("Pod/p{uid}").into())) };
    // As digests are: not in order.
    let uids = (n * EACH..(n + 1) * EACH).map(|uid| uid.wrapping_mul(0x1e37_79b9_7f4a_7c15) & i64::MAX);
    let template = observation(uids.map(report).collect(), (5, 5), Severity::Info);
    let opening = Opening { object_namespace: namespace.into(), ..(*template.opening).clone() };
    Observation { key: StormKey::new(namespace, alert), opening: opening.into(), ..template }
}

fn ended(signal: &Observation) -> Observation {
    let reports = signal.reports.iter().map(|report| Report { firing: false, ..report.clone() }).collect();
    Observation { reports, reported_at: at(3_000), ..signal.clone() }
}

/// A ledger that is in use, and what it tells of itself.
struct Used {
    ledger: MemoryLedger,
    metrics: MemoryLedgerMetrics,
}

impl Used {
    fn new() -> Self {
        let metrics = MemoryLedgerMetrics::default();
        Self { ledger: MemoryLedger::new(LIMIT, metrics.clone()), metrics }
    }

    async fn open(&self, namespace: &str, alert: &str) -> StormId {
        let id = StormId { key: StormKey::new(namespace, alert), epoch: 7 };
        assert_eq!(self.ledger.open(id, alert, at(0)).await.unwrap(), Some(7));
        id
    }

    async fn merge(&self, signals: Vec<Observation>, seconds: i64) -> Merge {
        let key = signals[0].key;
        self.ledger.merge(&[(key, signals)], at(seconds)).await.unwrap().remove(0)
    }

    /// Merges Signals of this alert, from the `from`th on, until one waits. Which one.
    async fn fill(&self, namespace: &str, alert: &str, from: i64, seconds: i64) -> i64 {
        for n in from.. {
            match self.merge(vec![signal(namespace, alert, n)], seconds).await {
                Merge::Joined { new, .. } => assert_eq!(new, [1_000]),
                Merge::NoRoom { .. } => return n,
                other => panic!("{other:?}"),
            }
        }
        unreachable!("it has a limit")
    }

    async fn alerts(&self, id: StormId) -> (usize, usize) {
        match self.ledger.snapshot(id).await.unwrap().view {
            LedgerView::Open { metadata: Some(facts), .. } => (facts.alert_count, facts.firing),
            other => panic!("{other:?}"),
        }
    }

    fn used(&self) -> usize {
        usize::try_from(self.metrics.used.get()).unwrap()
    }
}

// Row R8, invariant 21: the largest namespace waits, whoever has less than its share goes on, and the limit is kept.
#[tokio::test]
async fn a_full_ledger_makes_the_largest_namespace_wait_and_merges_the_others() {
    let used = Used::new();
    let flood = used.open("flood", "Flood").await;
    let waits = used.fill("flood", "Flood", 0, 1).await;
    assert_eq!(used.alerts(flood).await.0, usize::try_from(waits * EACH).unwrap(), "nothing of what waits is in it");
    assert!((LIMIT * 7 / 8 - LIMIT / 16..=LIMIT * 7 / 8).contains(&used.used()), "{} of {LIMIT}", used.used());
    let mut before = 0;
    for tenant in 0..20 {
        let namespace = format!("tenant-{tenant}");
        let id = used.open(&namespace, "Flood").await;
        let few = Observation {
            reports: signal(&namespace, "Flood", 0).reports[..30].to_vec(),
            ..signal(&namespace, "Flood", 0)
        };
        let merge = used.merge(vec![few], 1).await;
        assert!(matches!(merge, Merge::Joined { .. }), "tenant {tenant}: {merge:?}");
        if tenant < 3 {
            // Also of what floods, each has a share of what the ones before have left.
            before = before.max(used.fill(&namespace, "Flood", 1, 1).await);
        }
        assert!(used.alerts(id).await.0 >= 30);
    }
    assert!(before > 1, "the second flood has more than one Signal");
    assert!(used.used() <= LIMIT, "{} of {LIMIT}", used.used());
    let key = StormKey::new("flood", "Another");
    let another = used.merge(vec![signal("flood", "Another", 0)], 1).await;
    let Merge::NoRoom { waits, others, why } = another else { panic!("{key:?}: {another:?}") };
    assert_eq!((waits, *others), (vec![true], Merge::NotOpen { opens: vec![], held: vec![], last: None }));
    assert!(why.contains("namespace flood") && why.contains("4 MiB") && why.contains("--ledger-memory-limit"), "{why}");
}

// Invariant 18: ends need no room, and it is they that make some.
#[tokio::test]
async fn what_ends_in_a_full_ledger_is_merged_and_the_closed_storm_makes_room() {
    let used = Used::new();
    let id = used.open("flood", "Flood").await;
    let waits = used.fill("flood", "Flood", 0, 1).await;
    let before = used.used();
    // A Signal with the end of an alert that is known, and alerts that are not: it waits, and the end counts.
    let mut mixed = ended(&signal("flood", "Flood", 0));
    mixed.reports.extend(signal("flood", "Flood", waits + 1).reports);
    assert!(matches!(used.merge(vec![mixed], 2).await, Merge::NoRoom { .. }));
    let all = usize::try_from(waits * EACH).unwrap();
    assert_eq!(used.alerts(id).await, (all, all - 1_000));
    for n in 0..waits {
        let merge = used.merge(vec![ended(&signal("flood", "Flood", n))], 2).await;
        assert!(matches!(merge, Merge::Joined { .. }), "{merge:?}");
    }
    assert_eq!(used.alerts(id).await, (all, 0));
    assert_eq!(used.used(), before);
    let snapshot = used.ledger.snapshot(id).await.unwrap();
    let closing = used.ledger.close(id, &snapshot, CloseReason::Resolved, at(3).into()).await.unwrap();
    assert_eq!(closing, Closing::Closed { left: 0 });
    used.ledger.settle(id).await.unwrap();
    assert!(used.used() < before / 2, "what is remembered of a closed storm takes less: {} of {before}", used.used());
    let next = StormId { epoch: 8, ..id };
    assert_eq!(used.ledger.open(next, "Flood", at(4)).await.unwrap(), Some(8));
    let merge = used.merge(vec![signal("flood", "Flood", waits)], 4).await;
    assert!(matches!(merge, Merge::Joined { .. }), "{merge:?}");
}

#[tokio::test]
async fn a_full_ledger_has_room_again_when_what_it_remembers_expires() {
    let used = Used::new();
    let template = signal("flood", "Flood", 0);
    let holding = |n: i64| Holding {
        key: template.key,
        namespace: "flood".into(),
        epoch: Some(7),
        reports: signal("flood", "Flood", n).says().collect(),
        end: StormEnd::Closed(at(0).as_microsecond()),
        at: at(0).into(),
    };
    let mut held = 0;
    let why = loop {
        match used.ledger.hold(&holding(held)).await {
            Ok(_) => held += 1,
            Err(error) => break error.to_string(),
        }
    };
    assert!(held > 50 && why.contains("the memory ledger is full"), "{held} held, then: {why}");
    assert!(matches!(used.merge(vec![signal("flood", "Other", held)], 1).await, Merge::NoRoom { .. }));
    let horizon = 6 * 3_600;
    assert!(matches!(used.merge(vec![signal("flood", "Other", held)], horizon).await, Merge::NoRoom { .. }));
    // The look for what is past the horizon comes once a minute.
    let merge = used.merge(vec![signal("flood", "Other", held)], horizon + 61).await;
    assert!(matches!(merge, Merge::NotOpen { .. }), "{merge:?}");
    assert!(used.used() < LIMIT / 16);
}

// What is counted is what the allocator gives out, within a fifth: the sizes of nodes are those of the standard library.
#[tokio::test]
async fn an_alert_about_a_resource_of_its_own_takes_54_bytes_until_it_is_published_and_46_then() {
    let used = Used::new();
    let id = used.open("flood", "Flood").await;
    let sample = 500 * 80;
    for n in 0..20 {
        used.merge(vec![signal("flood", "Flood", n)], 1).await;
    }
    let each = |used: &Used| (used.used() - sample) / 20_000;
    assert_eq!(each(&used), 54);
    let snapshot = used.ledger.snapshot(id).await.unwrap();
    assert!(used.ledger.ack(id, &snapshot).await.unwrap());
    assert_eq!(each(&used), 46);
}
