//! What a version of Stormfold does with what another one left in Redis: it reads on, begins afresh, or refuses; it never misreads.

use std::sync::Arc;

use stormfold::ledger::redis::{RedisLedger, RedisSettings};
use stormfold::ledger::{Begun, Durability, Holding, Ledger, LedgerError, Merge};
use stormfold::metrics::Metrics;
use stormfold::storm::StormId;
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::decide::LedgerView;
use tokio::sync::mpsc::unbounded_channel;

use super::{Key, Said, now, redis_ledger};
use crate::redis_server::RedisServer;

const KEY: &str = "{00}e";

/// The value of the incarnation: two words.
fn incarnation(server: &RedisServer) -> String {
    server.text(&format!("GET {KEY}")).unwrap()
}

fn put(server: &RedisServer, incarnation: &str) {
    assert_eq!(server.command(&format!("SET {KEY} \"{incarnation}\"")).unwrap(), "+OK");
}

fn keys(server: &RedisServer) -> String {
    server.command("DBSIZE").unwrap()
}

/// A process of this version that has not begun.
fn process(server: &RedisServer) -> RedisLedger {
    RedisLedger::new(RedisSettings::new(server.url()), unbounded_channel().0, Metrics::default())
}

/// An open storm of 20 alerts of `key`, and what closed ones hold.
async fn a_storm(ledger: &dyn Ledger, key: &Key) -> StormId {
    let id = StormId { key: key.key, epoch: 9 };
    let reports = key.signal(&Said::at(0, &[(1_000, true)])).says().collect();
    let end = StormEnd::Closed(now(0).as_microsecond());
    ledger
        .hold(&Holding { key: key.key, namespace: "prod".into(), epoch: Some(7), reports, end, at: now(0).into() })
        .await
        .unwrap();
    ledger.open(id, &key.pattern, now(0)).await.unwrap();
    merge(ledger, key, 20).await;
    id
}

async fn merge(ledger: &dyn Ledger, key: &Key, alerts: i64) -> Merge {
    let reports: Vec<_> = (0..alerts).map(|uid| (uid, true)).collect();
    ledger.merge(&[(key.key, vec![key.signal(&Said::at(1, &reports))])], now(1)).await.unwrap().remove(0)
}

async fn alerts(ledger: &dyn Ledger, id: StormId) -> usize {
    match ledger.snapshot(id).await.unwrap().view {
        LedgerView::Open { metadata, .. } => metadata.unwrap().alert_count,
        other => panic!("not open: {other:?}"),
    }
}

/// What a version before formats had numbers left: a bare incarnation, and open storms without the member that merges look for.
async fn an_earlier_version(server: &RedisServer, storms: usize) -> Vec<Key> {
    let ledger = redis_ledger(server).await;
    let keys: Vec<_> = (0..storms).map(|_| Key::another()).collect();
    for key in &keys {
        a_storm(ledger.as_ref(), key).await;
    }
    let members = "for _, h in ipairs(redis.call('KEYS', '{??}h*')) do for _, m in ipairs(redis.call('ZRANGE', h, 0, -1)) do \
                   if #m == 9 then redis.call('ZREM', h, m) end end end return 1";
    assert_eq!(server.command(&format!("EVAL \"{members}\" 0")).unwrap(), ":1");
    put(server, incarnation(server).split(' ').nth(1).unwrap());
    keys
}

#[tokio::test]
async fn what_an_earlier_version_left_is_removed_and_counted_again_exactly() {
    let server = RedisServer::start(&[]);
    let left = an_earlier_version(&server, 3).await;
    // Somebody else's keys stay, however they are called.
    server.command("SET theirs 1").unwrap();
    server.command("SET {x1}habc 1").unwrap();
    let ledger = process(&server);
    let Begun { durability, .. } = ledger.begin().await.unwrap();
    assert_eq!(durability, Durability::Lost, "all Signals are read again");
    assert_eq!(keys(&server), ":3", "the incarnation, and what is not ours");
    assert!(incarnation(&server).starts_with("v4 "));
    for key in &left {
        assert!(matches!(merge(&ledger, key, 20).await, Merge::NotOpen { .. }), "the cluster says what is open");
        let id = a_storm(&ledger, key).await;
        assert_eq!(alerts(&ledger, id).await, 20);
    }
    assert_eq!(ledger.begin().await.unwrap().durability, Durability::Intact, "once is enough");
    assert_eq!(alerts(&ledger, StormId { key: left[0].key, epoch: 9 }).await, 20);
}

// Invariant 15: a process that died in the round trip of its last merge left it in a server that had just been emptied, under names that nobody
// can tell any more, and without a dirty mark, which it knew to be there.
#[tokio::test]
async fn what_a_merge_left_in_a_server_that_was_emptied_is_removed_by_whoever_begins_next() {
    let server = RedisServer::start(&[]);
    let key = Key::another();
    a_storm(redis_ledger(&server).await.as_ref(), &key).await;
    let script = "local found = redis.call('KEYS', '{??}j*') redis.call('FLUSHALL') redis.call('SET', found[1], 'x') return #found";
    assert_eq!(server.command(&format!("EVAL \"{script}\" 0")).unwrap(), ":1");
    server.command("SET theirs 1").unwrap();
    let ledger = process(&server);
    assert_eq!(ledger.begin().await.unwrap().durability, Durability::Lost);
    assert_eq!(keys(&server), ":2", "the incarnation, and what is not ours");
    let id = a_storm(&ledger, &key).await;
    assert_eq!(
        process(&server).begin().await.unwrap().durability,
        Durability::Intact,
        "what is counted since then is left alone"
    );
    assert_eq!(alerts(&ledger, id).await, 20);
}

// Two replicas of this version, or one that waits and one that leads: whoever is slower must not remove what the faster one has begun with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_that_begin_afresh_at_once_none_removes_what_another_has_counted() {
    let server = Arc::new(RedisServer::start(&[]));
    for _ in 0..3 {
        server.command("FLUSHALL").unwrap();
        // More than fits into one page: the slower ones are in the midst of it when the first is through.
        let left = Arc::new(an_earlier_version(&server, 250).await);
        let processes = (0..4).map(|n| {
            let (server, left) = (server.clone(), left.clone());
            tokio::spawn(async move {
                let ledger = process(&server);
                ledger.begin().await.unwrap();
                let id = a_storm(&ledger, &left[n]).await;
                (ledger, id)
            })
        });
        for process in processes.collect::<Vec<_>>() {
            let (ledger, id) = process.await.unwrap();
            assert_eq!(alerts(&ledger, id).await, 20);
        }
        // The incarnation, and of each storm its registers, occurrences, resources, texts, dirty mark, last epoch and what is held; texts are
        // counted into resources by a snapshot.
        let each = 7;
        let partitions = 4;
        let total: usize = keys(&server).trim_start_matches(':').parse().unwrap();
        assert!(total <= 1 + each * partitions, "{total} keys: something of the earlier version is left");
    }
}

#[tokio::test]
async fn what_a_newer_version_left_is_refused_in_words_and_not_touched() {
    let server = RedisServer::start(&[]);
    let key = Key::another();
    a_storm(redis_ledger(&server).await.as_ref(), &key).await;
    let ours = incarnation(&server);
    let newer = ours.replace("v4 ", "v5 ");
    put(&server, &newer);
    let before = keys(&server);
    let ledger = process(&server);
    for _ in 0..2 {
        let Err(LedgerError::Refused(why)) = ledger.begin().await else { panic!("it begins") };
        assert!(why.contains("format 5, this one knows 4") && why.contains("FLUSHDB"), "{why}");
    }
    assert!(matches!(ledger.snapshot(StormId { key: key.key, epoch: 9 }).await, Err(LedgerError::Lost(_))));
    assert_eq!((incarnation(&server), keys(&server)), (newer, before));
    // What is mended is taken at once.
    put(&server, &ours);
    ledger.begin().await.unwrap();
    assert_eq!(alerts(&ledger, StormId { key: key.key, epoch: 9 }).await, 20);
}

// A later version of the same format may add what this one ignores: words, members of the registers, fields of the final facts.
#[tokio::test]
async fn what_the_same_format_has_and_this_version_does_not_know_is_read_over() {
    let server = RedisServer::start(&[]);
    let key = Key::another();
    let id = a_storm(redis_ledger(&server).await.as_ref(), &key).await;
    put(&server, &format!("{} later=1", incarnation(&server)));
    let member =
        "for _, h in ipairs(redis.call('KEYS', '{??}h*')) do redis.call('ZADD', h, 5, 'zz', 6, 'later') end return 1";
    assert_eq!(server.command(&format!("EVAL \"{member}\" 0")).unwrap(), ":1");
    let ledger = process(&server);
    ledger.begin().await.unwrap();
    assert_eq!(alerts(&ledger, id).await, 20);
    assert!(matches!(merge(&ledger, &key, 25).await, Merge::Joined { epoch: 9, new, .. } if new == [5]));
    let snapshot = ledger.snapshot(id).await.unwrap();
    assert!(ledger.ack(id, &snapshot).await.unwrap());
    assert_eq!(alerts(&ledger, id).await, 25);
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_and_not_touched() {
    let server = RedisServer::start(&[]);
    put(&server, "hello");
    server.command("SET {a1}habc 1").unwrap();
    let Err(LedgerError::Refused(why)) = process(&server).begin().await else { panic!("it begins") };
    assert!(why.contains("somebody else's"), "{why}");
    assert_eq!((incarnation(&server).as_str(), keys(&server).as_str()), ("hello", ":2"));
}
