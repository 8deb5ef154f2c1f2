//! Replicas that are killed under load, with the ledger that they share.

use std::time::{Duration, Instant};

use kube::api::PostParams;

use super::redis_server::RedisServer;
use super::replicas::Replicas;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, facts};

const ALERTS: [&str; 4] = ["Disk", "Memory", "Cpu", "PartGate"];
const SIGNALS: usize = 2_000;
/// At most one Signal in this time: all of them take long enough for several leaders.
const PACE: Duration = Duration::from_millis(11);
/// How often a leader is killed.
const KILL_EVERY: Duration = Duration::from_secs(5);

// C7, D5, invariants 1 and 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_signals_are_counted_exactly_while_a_leader_is_killed_every_five_seconds() {
    let (mut world, redis) = (World::new("kill-leaders").await, RedisServer::start(&["--maxmemory", "512mb"]));
    world.redis = None;
    let flags = ["--ledger=redis".to_owned(), format!("--redis-url={}", redis.url())];
    let mut replicas = Replicas::start(&world, &flags).await;
    let (signals, began) = (world.signals(), Instant::now());
    let load = tokio::spawn(async move {
        let mut pace = tokio::time::interval(PACE);
        for n in 0..SIGNALS {
            pace.tick().await;
            let signal = firing(ALERTS[n % ALERTS.len()], n / ALERTS.len());
            signals.create(&PostParams::default(), &signal).await.expect("the API server takes the Signal");
        }
    });
    let mut kills = 0;
    while !load.is_finished() {
        let next = Instant::now() + KILL_EVERY;
        // The one that works; a standby would be no loss.
        replicas.take_leader().await.sigkill();
        replicas.add().await;
        kills += 1;
        tokio::time::sleep_until(next.into()).await;
    }
    load.await.unwrap();
    let each = i64::try_from(SIGNALS / ALERTS.len()).unwrap();
    eventually("every storm has its Signals, once", || async {
        let storms = world.storms().await;
        let counts: Vec<_> =
            storms.iter().filter_map(facts).map(|s| (s.alert_count, s.firing_count, s.affected_count)).collect();
        if counts == [(each, each, each); ALERTS.len()] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    println!(
        "leading_load: {kills} leaders killed, exact {:?} after the first Signal, {} gave up",
        began.elapsed(),
        replicas.gave_up
    );
    world.receipts(SIGNALS).await;
    assert!(kills >= 4, "{kills}: the load was over too soon");
}
