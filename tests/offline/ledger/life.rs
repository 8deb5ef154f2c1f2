//! What each ledger does with time, races and its own keys.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::ledger::{Closing, DedupWindow, Holding, Ledger, Merge};
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::decide::{CloseReason, LedgerView};
use stormfold::storm::{AlertReport, Observation, Past, Says, StormId};

use super::{Key, Said, now, redis_ledger};
use crate::redis_server::RedisServer;

// A3: of two openers of one key, exactly one opens, and the step itself tells.
async fn of_many_openers_one_opens(ledgers: &[Arc<dyn Ledger>]) {
    let key = Key::another();
    let open = |n: i64| {
        let ledger = ledgers.iter().cycle().nth(usize::try_from(n).unwrap()).unwrap().clone();
        let id = StormId { key: key.key, epoch: 100 + n };
        tokio::spawn(async move { ledger.open(id, "X in prod", now(0)).await })
    };
    let mut epochs = BTreeSet::new();
    for opener in (0..16).map(open).collect::<Vec<_>>() {
        epochs.insert(opener.await.unwrap().unwrap().unwrap());
    }
    assert_eq!(epochs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_openers_one_opens_and_all_learn_the_same_epoch() {
    of_many_openers_one_opens(&[Arc::new(MemoryLedger::default())]).await;
    let server = RedisServer::start(&[]);
    of_many_openers_one_opens(&[redis_ledger(&server).await, redis_ledger(&server).await]).await;
}

// C13 and the dedup horizon of the policy: what a person handled opens nothing, and each repeat of it renews that; after a horizon without one it is new.
async fn what_a_person_handled_is_remembered(ledger: &dyn Ledger) {
    let hour = 3600;
    for horizon in [2, 6, 24] {
        let key = Key::another();
        let horizon_of = |at: i64| DedupWindow { now: now(at), horizon: SignedDuration::from_hours(horizon) };
        let said = |at: i64| Said { resolvable: true, ..Said::at(at, &[(1, true)]) };
        let reports = |at: i64| key.signal(&said(at)).says().collect::<Vec<_>>();
        let end = StormEnd::Handled(now(0).as_microsecond());
        let holding = Holding {
            key: key.key,
            namespace: "prod".into(),
            epoch: Some(7),
            reports: reports(0),
            end,
            at: horizon_of(0),
        };
        assert_eq!(ledger.hold(&holding).await.unwrap(), 0);
        let opens = async |at: i64| {
            let dedup_horizon = SignedDuration::from_hours(horizon);
            let batch = [(key.key, vec![Observation { dedup_horizon, ..key.signal(&said(at)) }])];
            match ledger.merge(&batch, now(at)).await.unwrap().remove(0) {
                Merge::NotOpen { opens, .. } => opens[0],
                other => panic!("no storm is open: {other:?}"),
            }
        };
        for repeat in 1..5 {
            let at = horizon * hour * repeat;
            assert!(!opens(at).await, "repeat {repeat} at a horizon of {horizon} h");
            ledger.note(key.key, &reports(at), horizon_of(at)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_person_handled_is_remembered_for_the_dedup_horizon_after_the_last_repeat() {
    what_a_person_handled_is_remembered(&MemoryLedger::default()).await;
    let server = RedisServer::start(&[]);
    what_a_person_handled_is_remembered(redis_ledger(&server).await.as_ref()).await;
}

// The memory ledger goes by the time that it is told; Redis by its own clock.
#[tokio::test]
async fn what_a_person_handled_is_new_again_after_the_dedup_horizon() {
    let ledger = MemoryLedger::default();
    let key = Key::another();
    let signal = |at| key.signal(&Said { resolvable: true, ..Said::at(at, &[(1, true)]) });
    ledger.note(key.key, &[], now(0).into()).await.unwrap();
    let end = StormEnd::Handled(now(0).as_microsecond());
    let reports = signal(0).says().collect();
    ledger
        .hold(&Holding { key: key.key, namespace: "prod".into(), epoch: None, reports, end, at: now(0).into() })
        .await
        .unwrap();
    let after = 6 * 3600 + 1;
    let merged = ledger.merge(&[(key.key, vec![signal(after)])], now(after)).await.unwrap();
    assert_eq!(merged, [Merge::NotOpen { opens: vec![true], held: vec![], last: None }]);
}

// Invariant 1: the receipt of a Signal that closed storms hold must not name the open one, or a list would count it there once the
// ledger is lost.
async fn what_is_held_is_told_apart(ledger: &dyn Ledger) {
    let key = Key::another();
    let id = StormId { key: key.key, epoch: 9 };
    let signal = |uids: [i64; 2]| key.signal(&Said::at(0, &uids.map(|uid| (uid, true))));
    let end = StormEnd::Closed(now(0).as_microsecond());
    let reports = signal([1, 2]).says().collect();
    ledger
        .hold(&Holding { key: key.key, namespace: "prod".into(), epoch: Some(7), reports, end, at: now(0).into() })
        .await
        .unwrap();
    ledger.open(id, &key.pattern, now(0)).await.unwrap();
    let batch = [(key.key, vec![signal([1, 2]), signal([2, 3])])];
    let over = |place| (place, Past::Over);
    let held = vec![vec![over(0), over(1)], vec![over(0)]];
    let joined = Merge::Joined { epoch: 9, new: vec![0, 1], held, last: Some(7) };
    assert_eq!(ledger.merge(&batch, now(1)).await.unwrap(), [joined]);
    let batch = [(key.key, vec![key.signal(&Said::at(0, &[(3, true)]))])];
    let joined = Merge::Joined { epoch: 9, new: vec![0], held: vec![], last: None };
    assert_eq!(ledger.merge(&batch, now(1)).await.unwrap(), [joined]);
}

#[tokio::test]
async fn a_signal_that_closed_storms_hold_is_told_apart_from_one_that_joins() {
    what_is_held_is_told_apart(&MemoryLedger::default()).await;
    let server = RedisServer::start(&[]);
    what_is_held_is_told_apart(redis_ledger(&server).await.as_ref()).await;
}

// Invariant 15: whoever opened it died, or found that closed storms hold all of it.
#[tokio::test]
async fn a_storm_that_nothing_ever_joined_expires_and_one_that_something_joined_does_not() {
    let server = RedisServer::start(&[]);
    let ledger = redis_ledger(&server).await;
    let expiring = || keyspace(&server).unwrap();
    let key = Key::another();
    let id = StormId { key: key.key, epoch: 9 };
    ledger.open(id, &key.pattern, now(0)).await.unwrap();
    assert_eq!(expiring(), (2, 1), "the incarnation stays");
    ledger.snapshot(id).await.unwrap();
    assert_eq!(expiring(), (2, 1), "nothing joined yet");
    ledger.merge(&[(key.key, vec![key.signal(&Said::at(1, &[(1, true)]))])], now(1)).await.unwrap();
    ledger.snapshot(id).await.unwrap();
    assert_eq!(expiring().1, 0);
}

/// How many keys there are, and how many of them expire.
fn keyspace(server: &RedisServer) -> std::io::Result<(usize, usize)> {
    let script = "local a, e = 0, 0 for _, k in ipairs(redis.call('KEYS', '*')) do a = a + 1 if redis.call('TTL', k) >= 0 then e = e + 1 end end return a * 1000 + e";
    let answer = server.command(&format!("EVAL \"{script}\" 0"))?;
    let number: usize = answer.trim_start_matches(':').parse().unwrap();
    Ok((number / 1000, number % 1000))
}

// A ledger that fell back can look again as it looked in a snapshot, with other occurrences behind the same counts.
#[tokio::test]
async fn a_snapshot_from_before_a_begin_closes_nothing_and_acknowledges_nothing() {
    let server = RedisServer::start(&[]);
    let ledger = redis_ledger(&server).await;
    let key = Key::another();
    let id = StormId { key: key.key, epoch: 9 };
    ledger.open(id, &key.pattern, now(0)).await.unwrap();
    ledger.merge(&[(key.key, vec![key.signal(&Said::at(1, &[(1, true)]))])], now(1)).await.unwrap();
    let before = ledger.snapshot(id).await.unwrap();
    ledger.begin().await.unwrap();
    assert!(!ledger.ack(id, &before).await.unwrap());
    assert_eq!(ledger.close(id, &before, CloseReason::Quiet, now(2).into()).await.unwrap(), Closing::Changed);
    let after = ledger.snapshot(id).await.unwrap();
    assert_eq!(ledger.close(id, &after, CloseReason::Quiet, now(2).into()).await.unwrap(), Closing::Closed { left: 0 });
}

/// Epochs of two storms of this key whose registers have the same names: one pair in 262,144.
async fn of_one_tag(server: &RedisServer, ledger: &dyn Ledger, key: &Key) -> [StormId; 2] {
    let mut tags = HashMap::new();
    for epoch in 1..10_000 {
        let id = StormId { key: key.key, epoch };
        ledger.open(id, &key.pattern, now(0)).await.unwrap();
        let sid = "for _, m in ipairs(redis.call('ZRANGE', redis.call('KEYS', '{??}h*')[1], 0, -1)) do if #m == 9 then return m end end";
        let sid = server.text(&format!("EVAL \"{sid}\" 0")).unwrap();
        ledger.drop_storm(id).await.unwrap();
        if let Some(earlier) = tags.insert(sid[..3].to_owned(), epoch) {
            return [earlier, epoch].map(|epoch| StormId { key: key.key, epoch });
        }
    }
    panic!("no two epochs have one tag");
}

// Invariant 3: what is cleared away of the one storm must not be the other's. Histories met it, once in some ten thousand.
#[tokio::test]
async fn a_storm_keeps_its_registers_when_one_whose_registers_have_the_same_names_is_settled() {
    let server = RedisServer::start(&[]);
    let ledger = redis_ledger(&server).await;
    let key = Key::another();
    let [first, second] = of_one_tag(&server, ledger.as_ref(), &key).await;
    ledger.open(first, &key.pattern, now(0)).await.unwrap();
    ledger.merge(&[(key.key, vec![key.signal(&Said::at(1, &[(1, true)]))])], now(1)).await.unwrap();
    let snapshot = ledger.snapshot(first).await.unwrap();
    ledger.close(first, &snapshot, CloseReason::Quiet, now(2).into()).await.unwrap();
    ledger.open(second, &key.pattern, now(3)).await.unwrap();
    ledger
        .merge(&[(key.key, vec![key.signal(&Said { resolvable: true, ..Said::at(4, &[(35, true)]) })])], now(4))
        .await
        .unwrap();
    let before = ledger.snapshot(second).await.unwrap().view;
    assert!(matches!(&before, LedgerView::Open { metadata: Some(_), resolvable: true, .. }), "{before:?}");
    ledger.settle(first).await.unwrap();
    assert_eq!(ledger.snapshot(second).await.unwrap().view, before);
}

// Invariants 3 and 15: a replica that does not know a mark asks whether that very storm is open, and clears away only what is not.
#[tokio::test]
async fn a_replica_clears_a_stray_away_and_leaves_alone_the_open_storm_of_another() {
    let server = RedisServer::start(&[]);
    let (one, other) = (redis_ledger(&server).await, redis_ledger(&server).await);
    let key = Key::another();
    let id = StormId { key: key.key, epoch: 9 };
    one.open(id, &key.pattern, now(0)).await.unwrap();
    one.merge(&[(key.key, vec![key.signal(&Said::at(1, &[(1, true)]))])], now(1)).await.unwrap();
    let before = one.snapshot(id).await.unwrap().view;
    let stray = "local q = redis.call('KEYS', '{??}q')[1] local kid = string.sub(redis.call('ZRANGE', q, 0, 0)[1], 1, 9) \
                 return redis.call('ZADD', q, 1, kid .. 'straystra')";
    assert_eq!(server.command(&format!("EVAL \"{stray}\" 0")).unwrap(), ":1");
    assert_eq!(other.dirty().await.unwrap(), []);
    let marks = "return redis.call('ZCARD', redis.call('KEYS', '{??}q')[1])";
    assert_eq!(server.command(&format!("EVAL \"{marks}\" 0")).unwrap(), ":1", "the open storm's");
    assert_eq!(one.dirty().await.unwrap(), [id]);
    assert_eq!(one.snapshot(id).await.unwrap().view, before);
}

// C15, invariant 20: what a ledger has of a namespace goes with it, whether a storm was open, or a person had handled what fires.
async fn a_namespace_that_is_made_again_is_another_one(ledger: &dyn Ledger) {
    let key = Key::another();
    let said = |at: i64| Said { resolvable: true, ..Said::at(at, &[(1, true), (3, true)]) };
    let signal = |at: i64, made: i64| Observation { namespace_made: Some(now(made)), ..key.signal(&said(at)) };
    let merge =
        async |at: i64, made: i64| ledger.merge(&[(key.key, vec![signal(at, made)])], now(at)).await.unwrap().remove(0);
    let id = |epoch: i64| StormId { key: key.key, epoch: now(epoch).as_second() };
    for (begin, handled) in [(0, false), (100, true)] {
        let opened = id(begin + 1);
        ledger.open(opened, &key.pattern, now(begin + 1)).await.unwrap();
        assert!(matches!(merge(begin + 2, begin).await, Merge::Joined { new, .. } if new == [2]));
        assert!(matches!(merge(begin + 3, begin).await, Merge::Joined { new, .. } if new == [0]), "a repeat");
        if handled {
            let snapshot = ledger.snapshot(opened).await.unwrap();
            ledger.close(opened, &snapshot, CloseReason::Requested, now(begin + 4).into()).await.unwrap();
            let still = merge(begin + 5, begin).await;
            assert!(matches!(&still, Merge::NotOpen { opens, .. } if opens == &[false]), "{still:?}");
        }
        let anew = Merge::NotOpen { opens: vec![true], held: vec![], last: Some(opened.epoch) };
        assert_eq!(merge(begin + 50, begin + 49).await, anew);
        assert_eq!(ledger.alerts(key.key).await.unwrap().len(), 0);
        assert!(matches!(ledger.snapshot(opened).await.unwrap().view, LedgerView::Closed { .. }));
    }
    // What it was told since is of this one, however old the report.
    let end = AlertReport { says: Says::Resolved, ..signal(140, 0).says().next().unwrap() };
    ledger.note(key.key, &[end], now(151).into()).await.unwrap();
    merge(152, 149).await;
    assert_eq!(ledger.alerts(key.key).await.unwrap().get(end.uid).unwrap().at, end.at);
    merge(155, 154).await;
    assert_eq!(ledger.alerts(key.key).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_a_ledger_has_of_a_namespace_goes_with_it() {
    a_namespace_that_is_made_again_is_another_one(&MemoryLedger::default()).await;
    let server = RedisServer::start(&[]);
    let (one, other) = (redis_ledger(&server).await, redis_ledger(&server).await);
    a_namespace_that_is_made_again_is_another_one(one.as_ref()).await;
    a_namespace_that_is_made_again_is_another_one(other.as_ref()).await;
    let marks =
        "local n = 0 for _, q in ipairs(redis.call('KEYS', '{??}q')) do n = n + redis.call('ZCARD', q) end return n";
    assert_eq!(server.command(&format!("EVAL \"{marks}\" 0")).unwrap(), ":0", "nothing is dirty");
    assert_eq!(keyspace(&server).unwrap().0 - keyspace(&server).unwrap().1, 1, "all but the incarnation expires");
}
