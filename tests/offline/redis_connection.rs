//! The way to Redis: what becomes of calls when the server stalls, dies, forgets, refuses or is another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stormfold::ledger::redis::RedisSettings;
use stormfold::ledger::{Closing, Durability, Ledger, LedgerError, Merge};
use stormfold::storm::StormId;
use stormfold::storm::decide::CloseReason;

use crate::redis_server::RedisServer;
use crate::redis_world::{PATIENCE, World, key, now, signal, until};

/// Well below the 3 s that a call may take: no waiting for an answer that cannot come.
const AT_ONCE: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn a_call_without_an_answer_ends_and_the_ledger_works_when_the_server_does() {
    let server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    server.signal("STOP");
    let start = Instant::now();
    let error = world.write().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unavailable(words) if words == "no answer in 3 s"), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(3), "a slow answer is waited for");
    server.signal("CONT");
    until(async || world.write().await).await;
    assert!(!world.told_to_read_again(), "it is the same server");
}

// Each alone would wait for a connect of its own: 20 s.
#[tokio::test]
async fn many_callers_wait_for_one_connect_and_share_its_error() {
    let server = RedisServer::start(&[]);
    let world = World::new(RedisSettings::new(server.url()));
    server.signal("STOP");
    let start = Instant::now();
    let calls = (0..20).map(|_| world.ledger.begin());
    for outcome in futures::future::join_all(calls).await {
        assert!(matches!(outcome, Err(LedgerError::Unavailable(_))), "{outcome:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.signal("CONT");
    until(async || world.ledger.begin().await).await;
}

#[tokio::test]
async fn a_call_that_is_under_way_when_the_server_dies_ends_at_once() {
    let mut server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    server.signal("STOP");
    let call = async { tokio::time::timeout(AT_ONCE, world.write()).await.expect("it ends at once") };
    let kill = async {
        // This test has one thread: after some turns the call is on the wire.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        server.kill();
    };
    let (outcome, ()) = tokio::join!(call, kill);
    assert!(matches!(outcome, Err(LedgerError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_restart_while_idle_is_lost_at_once_and_told_once() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut world = World::begun(server.url()).await;
    world.write().await.unwrap();
    server.kill();
    server.start_again();
    for _ in 0..3 {
        let outcome = tokio::time::timeout(AT_ONCE, world.write()).await.expect("it ends at once");
        assert!(matches!(outcome, Err(LedgerError::Lost(_))), "{outcome:?}");
    }
    assert!(world.told_to_read_again());
    assert!(!world.told_to_read_again(), "once");
    assert_eq!(world.ledger.begin().await.unwrap().durability, Durability::Suspect);
    world.write().await.unwrap();
}

#[tokio::test]
async fn a_restart_without_a_disk_is_begun_again_as_empty() {
    let mut server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    server.kill();
    server.start_again();
    assert_eq!(until(async || world.ledger.begin().await).await.durability, Durability::Lost);
    world.write().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again_and_the_call_repeated() {
    let server = RedisServer::start(&[]);
    let mut world = World::begun(server.url()).await;
    for _ in 0..3 {
        server.command("CLIENT KILL TYPE normal SKIPME yes").unwrap();
        world.write().await.unwrap();
    }
    assert!(!world.told_to_read_again(), "it is the same server");
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left_and_is_another_server_when_it_is_back() {
    let (server, other) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let mut world = World::begun(server.url()).await;
    world.write().await.unwrap();
    server.command(&format!("REPLICAOF 127.0.0.1 {}", other.port())).unwrap();
    let error = world.write().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unavailable(words) if words.contains("replica")), "{error}");
    // Not for ever by the same connection: the address is asked again, and says whose replica it is.
    let error = world.write().await.unwrap_err();
    let primary = format!("a replica of 127.0.0.1:{}", other.port());
    assert!(matches!(&error, LedgerError::Unavailable(words) if words.contains(&primary)), "{error}");
    server.command("REPLICAOF NO ONE").unwrap();
    let lost = until(async || match world.write().await {
        Err(LedgerError::Lost(words)) => Ok(words),
        other => Err(other),
    });
    lost.await;
    assert!(world.told_to_read_again());
    assert_ne!(world.ledger.begin().await.unwrap().durability, Durability::Intact);
    world.write().await.unwrap();
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again_within_the_call() {
    let server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    assert_eq!(server.command("SCRIPT FLUSH").unwrap(), "+OK");
    let id = StormId { key: key(), epoch: 100 };
    assert_eq!(world.ledger.open(id, "X in prod", now()).await.unwrap(), Some(100));
}

#[tokio::test]
async fn a_full_server_is_named_and_what_frees_memory_still_works() {
    let server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    let id = StormId { key: key(), epoch: 100 };
    world.ledger.open(id, "X in prod", now()).await.unwrap();
    let batch = |uid| [(key(), vec![signal(&[(uid, true)])])];
    assert!(matches!(world.ledger.merge(&batch(1), now()).await.unwrap()[0], Merge::Joined { .. }));
    let snapshot = world.ledger.snapshot(id).await.unwrap();
    server.command("CONFIG SET maxmemory 1").unwrap();
    let full = world.ledger.merge(&batch(2), now()).await.unwrap().remove(0);
    let says = |why: &str| why.contains("raise it: CONFIG SET maxmemory");
    assert!(matches!(&full, Merge::Full { epoch: 100, why } if says(why)), "{full:?}");
    let error = world.write().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Full(_)), "{error}");
    world.ledger.mark_published(id).await.unwrap();
    assert!(world.ledger.ack(id, &snapshot).await.unwrap(), "published although it is full");
    server.command("CONFIG SET maxmemory 0").unwrap();
    world.ledger.merge(&batch(2), now()).await.unwrap();
}

#[tokio::test]
async fn a_storm_is_read_and_closed_while_the_server_is_full() {
    let server = RedisServer::start(&[]);
    let world = World::begun(server.url()).await;
    let id = StormId { key: key(), epoch: 100 };
    world.ledger.open(id, "X in prod", now()).await.unwrap();
    world.ledger.merge(&[(key(), vec![signal(&[(1, true)])])], now()).await.unwrap();
    server.command("CONFIG SET maxmemory 1").unwrap();
    let snapshot = world.ledger.snapshot(id).await.unwrap();
    assert!(world.ledger.ack(id, &snapshot).await.unwrap());
    let snapshot = world.ledger.snapshot(id).await.unwrap();
    assert_eq!(
        world.ledger.close(id, &snapshot, CloseReason::Quiet, now().into()).await.unwrap(),
        Closing::Closed { left: 0 }
    );
}

#[tokio::test]
async fn a_server_held_up_by_a_script_of_somebody_is_unavailable_until_the_script_ends() {
    let server = Arc::new(RedisServer::start(&["--busy-reply-threshold", "1"]));
    let world = World::begun(server.url()).await;
    let somebody = server.clone();
    let script = tokio::task::spawn_blocking(move || somebody.command(r#"EVAL "while true do end" 0"#).unwrap());
    let busy = async || match world.write().await {
        Err(LedgerError::Unavailable(words)) if words.contains("BUSY") => Ok(()),
        other => Err(other),
    };
    until(busy).await;
    assert_eq!(server.command("SCRIPT KILL").unwrap(), "+OK");
    assert!(script.await.unwrap().starts_with('-'), "it was killed");
    until(async || world.write().await).await;
}

#[tokio::test]
async fn a_wrong_password_that_becomes_right_lets_in_without_a_restart() {
    let server = RedisServer::start(&[]);
    let files = tempfile::TempDir::new().unwrap();
    let (user, password) = (files.path().join("user"), files.path().join("password"));
    server.command("ACL SETUSER stormfold on >right-3481 ~* +@all").unwrap();
    std::fs::write(&user, "stormfold\n").unwrap();
    let settings = RedisSettings {
        username_file: Some(user),
        password_file: Some(password.clone()),
        ..RedisSettings::new(server.url())
    };
    let world = World::new(settings);
    let error = world.ledger.begin().await.unwrap_err().to_string();
    assert!(error.contains("--redis-password-file") && error.contains("cannot be read"), "{error}");
    std::fs::write(&password, "wrong-7590\n").unwrap();
    let refused = async || match world.ledger.begin().await {
        Err(LedgerError::Refused(words)) if words.contains("WRONGPASS") => Ok(words),
        other => Err(other.map(|_| ())),
    };
    let words = until(refused).await;
    assert!(words.contains("--redis-password-file"), "{words}");
    assert!(!words.contains("7590"), "{words}");
    std::fs::write(&password, "right-3481\r\n").unwrap();
    until(async || world.ledger.begin().await).await;
    world.write().await.unwrap();
    // A user that loses its rights: what is missing is named, and what to give.
    server.command("ACL SETUSER stormfold -evalsha").unwrap();
    let error = world.write().await.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Refused(words) if words.contains("'evalsha'") && words.contains("+evalsha")),
        "{error}"
    );
    server.command("ACL SETUSER stormfold +evalsha").unwrap();
    world.write().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    let mut server = RedisServer::start(&[]);
    server.kill();
    let world = World::new(RedisSettings::new(server.url()));
    let outcome = tokio::time::timeout(AT_ONCE, world.ledger.begin()).await.expect("it ends at once");
    assert!(matches!(&outcome, Err(LedgerError::Unavailable(words)) if words.contains("refused")), "{outcome:?}");
    server.start_again();
    tokio::time::timeout(PATIENCE, until(async || world.ledger.begin().await)).await.unwrap();
}
