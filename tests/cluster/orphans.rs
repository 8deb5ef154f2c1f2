//! What a namespace leaves in Redis that goes while no operator runs.

use std::sync::Arc;

use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, is_open};

// R6, invariant 15: of an open storm, and of one that could not be published, nothing else would ever lead to the keys again.
#[tokio::test]
async fn what_is_open_in_redis_goes_with_a_namespace_that_went_while_no_operator_ran() {
    let redis = Arc::new(RedisServer::start(&["--maxmemory", "64mb"]));
    let world = World { redis: Some(redis.clone()), ..World::new("orphans").await };
    let (open, refused) =
        (world.another_namespace("orphans-open").await, world.another_namespace("orphans-refused").await);
    let operator = Operator::start(&[&world, &open, &refused], &[]).await;
    refused.allow("remediationrequests", 0).await;
    for world in [&world, &open, &refused] {
        world.create(&firing("Orphan", 1)).await;
    }
    for world in [&world, &open] {
        world.one_storm("it is open", is_open).await;
        world.receipts(1).await;
    }
    refused.event("RequestRefused").await;
    let count = |of: &str| redis.command(&format!("EVAL \"{of}\" 0")).unwrap();
    let open_storms = || count("return #redis.call('KEYS', '{??}h*')");
    let dirty = || {
        count(
            "local n = 0 for _, q in ipairs(redis.call('KEYS', '{??}q')) do n = n + redis.call('ZCARD', q) end return n",
        )
    };
    assert_eq!((open_storms(), dirty()), (":3".to_owned(), ":1".to_owned()));
    operator.sigterm();
    open.delete_namespace().await;
    refused.delete_namespace().await;
    let _operator = Operator::start(&[&world, &open, &refused], &[]).await;
    eventually("only the storm that is there is left", || async {
        let (left, dirty) = (open_storms(), dirty());
        if left == ":1" && dirty == ":0" { Ok(()) } else { Err(format!("{left} are open in Redis, {dirty} dirty")) }
    })
    .await;
    world.create(&firing("Orphan", 2)).await;
    world.one_storm("it goes on", |storm| storm.alert_count == 2).await;
}
