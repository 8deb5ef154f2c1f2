//! The largest storm that is promised, on a Redis of 512 MB.

use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::table;
use super::world::World;

const SIGNALS: usize = 200;
const LINES: usize = 500;

// Invariant 1 where a set has outgrown its array of integers; nothing is refused, and nothing thrown away.
#[tokio::test]
async fn a_storm_of_100_000_occurrences_is_exact_on_a_redis_of_512_mb_and_leaves_it_almost_empty() {
    let (mut world, redis) = (World::new("large").await, RedisServer::start(&["--maxmemory", "512mb"]));
    world.redis = None;
    let operator = Operator::start(&[&world], &["--ledger=redis", &format!("--redis-url={}", redis.url())]).await;
    let before = redis.info("used_memory");
    for n in 0..SIGNALS {
        world.create(&table(&format!("part-{n}"), "Large", n * LINES..(n + 1) * LINES)).await;
    }
    let all = i64::try_from(SIGNALS * LINES).unwrap();
    let is_exact = |storm: &stormfold::api::StormStatus| {
        [storm.alert_count, storm.firing_count, storm.affected_count] == [all; 3] && storm.truncated
    };
    world.one_storm("all of it is counted", is_exact).await;
    world.receipts(SIGNALS).await;
    operator.ready().await;
    world.one_storm("it is as it was", is_exact).await;
    let [used, peak] = ["used_memory", "used_memory_peak"].map(|field| redis.info(field));
    println!(
        "large storm: {} occurrences in {SIGNALS} Signals, used_memory {used} ({} more than before), used_memory_peak {peak}",
        SIGNALS * LINES,
        used - before
    );
    assert_eq!((redis.info("evicted_keys"), redis.errors("OOM"), redis.info("maxmemory")), (0, 0, 512 << 20));
}
