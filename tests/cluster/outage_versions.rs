//! The operator and a Redis that another version of it has used.

use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::table;
use super::wait::eventually;
use super::world::World;

/// What a version before formats had numbers left: a bare incarnation, and open storms without the member that merges look for.
const AS_EARLIER: &str = "for _, h in ipairs(redis.call('KEYS', '{??}h*')) do for _, m in ipairs(redis.call('ZRANGE', h, 0, -1)) do \
                          if #m == 9 then redis.call('ZREM', h, m) end end end \
                          return redis.call('SET', '{00}e', string.sub(redis.call('GET', '{00}e'), 4))";

const AS_NEWER: &str = "return redis.call('SET', '{00}e', 'v9' .. string.sub(redis.call('GET', '{00}e'), 3))";

// Upgrade and rollback, invariant 8: an earlier format costs a list of the Signals and no count; a newer one is refused and left alone.
#[tokio::test]
async fn storms_of_an_earlier_version_go_on_exactly_and_those_of_a_newer_one_are_refused_in_words() {
    let (mut world, redis) = (World::new("versions").await, RedisServer::start(&[]));
    world.redis = None;
    let url = format!("--redis-url={}", redis.url());
    let flags = ["--ledger=redis", url.as_str()];
    let operator = Operator::start(&[&world], &flags).await;
    world.create(&table("first", "Kept", 0..40)).await;
    let before = world.one_storm("forty", |storm| storm.alert_count == 40).await;
    world.receipts(1).await;
    assert!(operator.sigterm().success());
    let play = |script: &str| assert_eq!(redis.command(&format!("EVAL \"{script}\" 0")).unwrap(), "+OK");
    play(AS_EARLIER);
    world.create(&table("second", "Kept", 30..70)).await;
    let operator = Operator::start(&[&world], &flags).await;
    let after = world.one_storm("seventy", |storm| storm.alert_count == 70 && storm.affected_count == 70).await;
    assert_eq!(after.metadata.uid, before.metadata.uid, "the same storm");
    world.receipts(2).await;
    world.event("LedgerRebuilt").await;
    assert!(operator.log_text().contains("is of an earlier version"));
    assert!(operator.sigterm().success());
    play(AS_NEWER);
    world.create(&table("third", "Kept", 60..80)).await;
    let operator = Operator::launch(&[&world], &flags).await;
    eventually("/readyz says that the Redis is of a newer version", || async {
        match operator.get("/readyz").await? {
            (503, page) if page.contains("a newer version of Stormfold has written to this Redis (format 9, ") => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
    world.one_storm("it shows what it showed", |storm| storm.alert_count == 70).await;
    // What its message says: let go what is there. Nobody has to restart anything.
    assert_eq!(redis.command("FLUSHDB").unwrap(), "+OK");
    world.one_storm("eighty", |storm| storm.alert_count == 80).await;
}
