//! A Redis that has room for two thirds of what comes, and that nobody gives more: it refuses, and publishing and closing make the room.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use stormfold::api::Signal;

use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::signal;
use super::wait::eventually;
use super::world::{World, facts, is_open};

const STORMS: usize = 90;
const OCCURRENCES: usize = 2_000;
/// Characters of one resource's text.
const TEXT: usize = 64;
/// What the server may hold beyond what it needs by itself. While they are open, the storms need 4.3 MB; closed, 2.9 MB; and the texts of
/// their resources, which stay until they are published, 11.5 MB.
const ROOM: usize = 7 << 19;

fn storm(n: usize) -> Signal {
    let pod = |n| format!("pod-{n:0>width$}", width = TEXT - "Pod/pod-".len());
    let mut signal = signal(&format!("signal-{n}"), &format!("Alert{n}"));
    signal.spec.table = Some((0..OCCURRENCES).map(|n| format!("firing - fp-{n} Pod/{}\n", pod(n))).collect());
    signal
}

/// Alerts shown, by pattern: of all storms of a key, closed ones included.
async fn shown(world: &World) -> BTreeMap<String, i64> {
    let mut shown = BTreeMap::new();
    for object in world.storms().await {
        *shown.entry(object.spec.pattern.clone()).or_default() += facts(&object).map_or(0, |storm| storm.alert_count);
    }
    shown
}

async fn says_full(operator: &Operator) {
    eventually("the operator says that Redis is full", || async {
        match operator.get("/readyz").await {
            Ok((503, body)) if body.contains("merge") && body.contains("the ledger is full") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// What an engine reports of every storm that is open: then it closes.
async fn finish_open_storms(world: &World) {
    let outcome = json!({ "status": { "remediation": { "outcome": "Succeeded", "observedRevision": 1 } } });
    let params = PatchParams { field_manager: Some("engine".into()), ..PatchParams::default() };
    for object in world.storms().await.iter().filter(|object| facts(object).is_some_and(is_open)) {
        world.requests().patch_status(&object.name_any(), &params, &Patch::Merge(&outcome)).await.unwrap();
    }
}

// Invariants 1 and 10: ingest holds back, nothing is lost, and what goes on is what frees memory.
#[tokio::test]
async fn a_full_redis_gets_room_by_publishing_and_closing_alone_and_every_count_is_exact() {
    let (mut world, redis) = (World::new("no-room").await, RedisServer::start(&[]));
    world.redis = None;
    let operator = Operator::start(&[&world], &["--ledger=redis", &format!("--redis-url={}", redis.url())]).await;
    let limit = redis.info("used_memory") + ROOM;
    redis.command(&format!("CONFIG SET maxmemory {limit}")).unwrap();
    for n in 0..STORMS {
        world.create(&storm(n)).await;
    }
    says_full(&operator).await;
    // The texts that were shown are twice what there ever was room for: they were here, and have left.
    let most = i64::try_from(2 * ROOM / TEXT).unwrap();
    eventually("what was merged is published", || async {
        let alerts: i64 = shown(&world).await.values().sum();
        if alerts > most { Ok(()) } else { Err(format!("{alerts} of more than {most}")) }
    })
    .await;
    // Open storms alone are more than fits.
    says_full(&operator).await;
    let all = i64::try_from(OCCURRENCES).unwrap();
    eventually("every storm is counted", || async {
        finish_open_storms(&world).await;
        let shown = shown(&world).await;
        let exact = shown.values().filter(|alerts| **alerts == all).count();
        assert!(shown.values().all(|alerts| *alerts <= all), "counted twice: {shown:?}");
        let used = redis.info("used_memory");
        // Ready: what was refused in part was told again, which a storm that is open and full holds up.
        match (exact == STORMS, operator.get("/readyz").await) {
            (true, Ok((200, _))) => Ok(()),
            (_, ready) => Err(format!("{exact} of {STORMS} exact, {used} of {limit} bytes, {ready:?}")),
        }
    })
    .await;
    world.receipts(STORMS).await;
    assert_eq!(shown(&world).await.values().sum::<i64>(), all * i64::try_from(STORMS).unwrap());
    assert_eq!((redis.info("maxmemory"), redis.info("evicted_keys")), (limit, 0), "nobody helped");
    println!(
        "outage no-room: {STORMS} storms of {OCCURRENCES} through {ROOM} bytes, {} bytes at the end, peak {}",
        redis.info("used_memory") + ROOM - limit,
        redis.info("used_memory_peak") + ROOM - limit
    );
}
