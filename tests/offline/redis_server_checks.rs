//! What is asked of the Redis server, and the watch over it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stormfold::ledger::redis::{ACL_RULE, RedisSettings};
use stormfold::ledger::{Closing, Durability, Holding, Ledger, LedgerError, Merge, TakenOver};
use stormfold::storm::StormId;
use stormfold::storm::alerts::StormEnd;
use stormfold::storm::decide::CloseReason;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::redis_server::RedisServer;
use crate::redis_world::{PATIENCE, World, key, now, over, signal, until};

/// What the watch said last.
type Said = watch::Receiver<Option<Result<(), String>>>;

/// A watch that looks all the time, on a clock that stands still 90 s after `now`.
fn watch_over(world: &World) -> (Said, DropGuard) {
    let (sender, said) = watch::channel(None);
    let stop = CancellationToken::new();
    let later = || now() + jiff::SignedDuration::from_secs(90);
    let tell = move |state: Result<(), LedgerError>| {
        sender.send_replace(Some(state.map_err(|error| error.to_string())));
    };
    tokio::spawn(world.ledger.clone().watch_server(Duration::from_millis(10), later, tell, stop.clone()));
    (said, stop.drop_guard())
}

async fn says(said: &mut Said, wanted: impl Fn(&Result<(), String>) -> bool) -> Result<(), String> {
    let wait = said.wait_for(|state| state.as_ref().is_some_and(&wanted));
    tokio::time::timeout(PATIENCE, wait).await.expect("the watch says it").unwrap().clone().unwrap()
}

#[tokio::test]
async fn a_server_that_begins_to_evict_is_refused_until_it_is_mended() {
    let server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, Result::is_ok).await.unwrap();
    server.command("CONFIG SET maxmemory-policy allkeys-lru").unwrap();
    let error = says(&mut said, Result::is_err).await.unwrap_err();
    assert!(error.contains("CONFIG SET maxmemory-policy noeviction"), "{error}");
    for _ in 0..3 {
        let error = world.write().await.unwrap_err();
        assert!(matches!(&error, LedgerError::Refused(words) if words.contains("allkeys-lru")), "{error}");
        // What the alert of evictions looks at is there while it happens.
        assert_eq!(gauges(&world)["stormfold_ledger_server_evicted_keys"], 0.0);
    }
    server.command("CONFIG SET maxmemory-policy noeviction").unwrap();
    until(async || world.write().await).await;
    says(&mut said, Result::is_ok).await.unwrap();
    assert!(!world.told_to_read_again(), "it is the same server");
}

#[tokio::test]
async fn a_server_that_evicts_from_the_start_is_refused_and_taken_once_mended() {
    let server = RedisServer::start(&["--maxmemory-policy", "volatile-lru"]);
    let world = World::new(RedisSettings::new(server.url()));
    let error = world.ledger.begin().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(words) if words.contains("redis.conf")), "{error}");
    server.command("CONFIG SET maxmemory-policy noeviction").unwrap();
    until(async || world.ledger.begin().await).await;
}

#[tokio::test]
async fn a_node_of_a_redis_cluster_is_refused_before_anything_is_written() {
    let server = RedisServer::start(&["--cluster-enabled", "yes"]);
    let error = World::new(RedisSettings::new(server.url())).ledger.begin().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(words) if words.contains("cluster-enabled no")), "{error}");
}

#[tokio::test]
async fn a_wipe_while_nothing_is_sent_is_noticed_and_the_signals_are_read_again() {
    let server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, Result::is_ok).await.unwrap();
    assert!(!world.told_to_read_again());
    server.command("FLUSHALL").unwrap();
    tokio::time::timeout(PATIENCE, world.resyncs.recv()).await.expect("somebody is told");
    assert_eq!(world.ledger.begin().await.unwrap().durability, Durability::Lost);
    world.write().await.unwrap();
}

#[tokio::test]
async fn a_restart_while_nothing_is_sent_is_noticed_and_the_signals_are_read_again() {
    let mut server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, Result::is_ok).await.unwrap();
    server.kill();
    let error = says(&mut said, Result::is_err).await.unwrap_err();
    assert!(error.starts_with("the ledger does not answer"), "{error}");
    assert_eq!(gauges(&world)["stormfold_ledger_connected"], 0.0);
    server.start_again();
    tokio::time::timeout(PATIENCE, world.resyncs.recv()).await.expect("somebody is told");
}

// The connection stays open through it: only the server's own words show that its data may be another's.
#[tokio::test]
async fn a_server_that_was_a_replica_for_a_moment_is_noticed_while_nothing_is_sent() {
    let server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, Result::is_ok).await.unwrap();
    server.command("REPLICAOF 127.0.0.1 1").unwrap();
    server.command("REPLICAOF NO ONE").unwrap();
    tokio::time::timeout(PATIENCE, world.resyncs.recv()).await.expect("somebody is told");
    assert!(matches!(world.write().await, Err(LedgerError::Lost(_))));
    assert_eq!(world.ledger.begin().await.unwrap().durability, Durability::Suspect);
}

// Decision 0012: between the look at which server is there and the look at what it holds, the second one fails. The next begin finds
// the same server, and must say all the same that it took the place of the one before.
#[tokio::test]
async fn a_begin_that_fails_halfway_does_not_forget_that_another_server_is_there() {
    let server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    server.command("REPLICAOF 127.0.0.1 1").unwrap();
    server.command("REPLICAOF NO ONE").unwrap();
    assert!(world.write().await.is_ok(), "the connection does not notice by itself");
    server.command("CLIENT KILL TYPE normal").ok();
    server.command("ACL SETUSER default -get").unwrap();
    assert!(world.ledger.begin().await.is_err(), "what it holds cannot be read");
    server.command("ACL SETUSER default +get").unwrap();
    assert_eq!(world.ledger.begin().await.unwrap().durability, Durability::Suspect);
    assert_eq!(world.ledger.begin().await.unwrap().durability, Durability::Intact, "it was said");
}

fn gauges(world: &World) -> HashMap<String, f64> {
    let text = world.metrics.encode(now()).unwrap();
    let sample = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    text.lines()
        .filter(|line| line.starts_with("stormfold_ledger_") && !line.contains('{'))
        .filter_map(sample)
        .collect()
}

#[tokio::test]
async fn the_watch_exports_memory_and_what_waits_to_be_published() {
    let server = RedisServer::start(&["--maxmemory", "64mb"]);
    let world = World::begun(server.url()).await;
    let id = StormId { key: key(), epoch: 100 };
    world.ledger.open(id, "X in prod", now()).await.unwrap();
    world.ledger.merge(&[(key(), vec![signal(&[(1, true)])])], now()).await.unwrap();
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, Result::is_ok).await.unwrap();
    let gauges = gauges(&world);
    let gauge = |name: &str| gauges[&format!("stormfold_ledger_{name}")];
    assert_eq!(gauge("connected"), 1.0);
    assert_eq!(gauge("server_max_memory_bytes"), 67_108_864.0);
    assert_eq!(gauge("server_evicted_keys"), 0.0);
    assert_eq!(gauge("dirty_storms"), 1.0);
    assert_eq!(gauge("oldest_dirty_seconds"), 90.0);
    for some in ["used_memory_bytes", "resident_memory_bytes", "fragmentation_ratio", "allocator_fragmentation_ratio"] {
        assert!(gauge(&format!("server_{some}")) > 0.0, "{some}");
    }
}

/// A user with the least rights, and a ledger as this user.
async fn as_user(server: &RedisServer, rule: &str) -> World {
    assert_eq!(server.command(&format!("ACL SETUSER stormfold on >pw {rule}")).unwrap(), "+OK");
    World::begun(server.url().replace("redis://", "redis://stormfold:pw@") + "/1").await
}

#[tokio::test]
async fn the_documented_rights_suffice_for_the_whole_life_of_storms() {
    let server = RedisServer::start(&[]);
    // It begins with what an earlier version left, and removes it.
    let left = "redis.call('SELECT', 1) redis.call('SET', '{a1}habc', 1) return redis.call('SET', '{00}e', '0123456789abcdef0123456789abcdef')";
    assert_eq!(server.command(&format!("EVAL \"{left}\" 0")).unwrap(), "+OK");
    let World { ledger, metrics, resyncs } = as_user(&server, ACL_RULE).await;
    let (ledger, id) = (&ledger, StormId { key: key(), epoch: now().as_second() });
    let merge = async |uids: &[(i64, bool)], later: i64| {
        let at = now() + jiff::SignedDuration::from_hours(later);
        ledger.merge(&[(key(), vec![signal(uids), signal(&[(99, true)])])], at).await.unwrap().remove(0)
    };
    assert!(matches!(merge(&[(1, true)], 0).await, Merge::NotOpen { .. }));
    ledger.note(key(), &[over(2)], now().into()).await.unwrap();
    assert_eq!(ledger.open(id, "X in prod", now()).await.unwrap(), Some(id.epoch));
    assert!(matches!(merge(&[(1, true), (2, true), (1, false)], 0).await, Merge::Joined { .. }));
    assert_eq!(ledger.dirty().await.unwrap(), [id]);
    let snapshot = ledger.snapshot(id).await.unwrap();
    ledger.mark_published(id).await.unwrap();
    assert!(ledger.ack(id, &snapshot).await.unwrap());
    let snapshot = ledger.snapshot(id).await.unwrap();
    assert_eq!(
        ledger.close(id, &snapshot, CloseReason::Quiet, now().into()).await.unwrap(),
        Closing::Closed { left: 0 }
    );
    ledger.snapshot(id).await.unwrap();
    ledger.settle(id).await.unwrap();
    // What it held is met again a horizon later.
    assert!(matches!(merge(&[(1, true)], 7).await, Merge::NotOpen { .. }));
    let holding = Holding {
        key: key(),
        namespace: "prod".into(),
        epoch: Some(id.epoch),
        reports: vec![over(5)],
        end: StormEnd::Closed(now().as_microsecond()),
        at: now().into(),
    };
    ledger.hold(&holding).await.unwrap();
    let next = |seconds| StormId { epoch: id.epoch + seconds, ..id };
    for storm in [next(10), next(20)] {
        assert_eq!(ledger.open(storm, "X in prod", now()).await.unwrap(), Some(storm.epoch));
        assert_eq!(ledger.take_over(storm, now()).await.unwrap(), TakenOver::default());
        assert!(matches!(merge(&[(7, true)], 0).await, Merge::Joined { .. }));
        if storm == next(10) {
            ledger.forget(storm, now().into()).await.unwrap();
        } else {
            ledger.drop_storm(storm).await.unwrap();
        }
    }
    let world = World { ledger: ledger.clone(), resyncs, metrics };
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, |_| true).await.expect("the checks are allowed, too");
    let log = server.command("ACL LOG").unwrap();
    assert_eq!(log, "*0", "nothing was refused, not even quietly");
}

#[tokio::test]
async fn without_the_right_to_read_the_configuration_the_ledger_works() {
    let server = RedisServer::start(&[]);
    let world = as_user(&server, &ACL_RULE.replace(" +config|get", "")).await;
    let (mut said, _stop) = watch_over(&world);
    says(&mut said, |_| true).await.unwrap();
    let gauges = gauges(&world);
    assert!(gauges.contains_key("stormfold_ledger_server_used_memory_bytes"));
}

#[tokio::test]
async fn a_watch_that_is_told_to_stop_ends() {
    let mut server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    server.kill();
    let stop = CancellationToken::new();
    let now: fn() -> Timestamp = now;
    let watch = Arc::clone(&world.ledger).watch_server(PATIENCE, now, |_| (), stop.clone());
    stop.cancel();
    tokio::time::timeout(PATIENCE, watch).await.expect("it ends");
}
