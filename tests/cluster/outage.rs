//! Redis goes away under load, in each of the ways in which it can: exact counts afterwards, one RemediationRequest per storm.
//!
//! `make outage` plays the same with 30 s each, and prints how long each recovery took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::{as_of, firing, table};
use super::wait::eventually;
use super::world::{World, facts};

const ALERTS: [&str; 3] = ["Disk", "Memory", "Cpu"];

/// At most one Signal in this time: what a long outage leaves must have its receipts within the patience of a test.
const PACE: Duration = Duration::from_millis(15);

/// How long each outage lasts: long enough for calls to fail in every phase, and for a storm to be published in between.
fn outage() -> Duration {
    let seconds = std::env::var("OUTAGE_SECONDS").map_or(2, |seconds| seconds.parse().expect("whole seconds"));
    Duration::from_secs(seconds)
}

/// A namespace, an operator with a Redis of its own, and a stream of Signals for three storms.
struct Scene {
    world: World,
    redis: RedisServer,
    operator: Operator,
    name: &'static str,
    load: Option<(Arc<AtomicBool>, JoinHandle<usize>)>,
}

impl Scene {
    async fn new(name: &'static str, redis: &[&str]) -> Self {
        let (mut world, redis) = (World::new(name).await, RedisServer::start(redis));
        world.redis = None;
        let operator = Operator::start(&[&world], &["--ledger=redis", &format!("--redis-url={}", redis.url())]).await;
        let mut scene = Self { world, redis, operator, name, load: None };
        // What came before the outage is published and has receipts: it must not be counted again.
        for alert in ALERTS {
            scene.world.create(&table(&format!("before-{}", alert.to_lowercase()), alert, 100_000..100_040)).await;
        }
        scene.world.receipts(3).await;
        scene.begin_load();
        scene.counted(|count| count > 40).await;
        scene
    }

    /// Signals of one occurrence, one after the other, to the three storms in turn.
    fn begin_load(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let (signals, stopped) = (self.world.signals(), stop.clone());
        let load = tokio::spawn(async move {
            let (mut written, mut pace) = (0, tokio::time::interval(PACE));
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                let signal = firing(ALERTS[written % 3], written / 3);
                signals
                    .create(&kube::api::PostParams::default(), &signal)
                    .await
                    .expect("the API server takes the Signal");
                written += 1;
            }
            written
        });
        self.load = Some((stop, load));
    }

    /// Waits until each storm has a count that satisfies `expected`. No count is ever seen to go back.
    async fn counted(&self, expected: impl Fn(i64) -> bool) {
        let most = std::sync::Mutex::new(std::collections::BTreeMap::new());
        eventually("each storm is counted", || async {
            let storms = self.world.storms().await;
            for object in &storms {
                let count = facts(object).map_or(0, |storm| storm.alert_count);
                let before = most.lock().unwrap().insert(object.spec.pattern.clone(), count);
                assert!(
                    before.is_none_or(|before| before <= count),
                    "{}: {before:?}, then {count}",
                    object.spec.pattern
                );
            }
            let counts: Vec<_> =
                storms.iter().map(|object| facts(object).map_or(0, |storm| storm.alert_count)).collect();
            if counts.len() == ALERTS.len() && counts.iter().all(|count| expected(*count)) {
                return Ok(());
            }
            Err(format!("{counts:?}"))
        })
        .await;
    }

    /// Lets the load go on for the outage.
    async fn wait_for_the_outage(&self) {
        let end = Instant::now() + outage();
        eventually("the operator says why it is not ready", || async {
            match self.operator.get("/readyz").await {
                Ok((503, body)) if body.contains("ledger") || body.contains("merge") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        tokio::time::sleep_until(end.into()).await;
        assert_eq!(self.operator.get("/livez").await.unwrap().0, 200, "an outage of Redis is not the operator's death");
    }

    /// Ends the load and waits for the exact counts. `back`: when Redis could be used again.
    async fn recovers(mut self, back: Instant) {
        let (stop, load) = self.load.take().unwrap();
        stop.store(true, Ordering::Relaxed);
        let written = load.await.unwrap();
        for (index, alert) in ALERTS.iter().enumerate() {
            let expected = 40 + i64::try_from((written + 2 - index) / 3).unwrap();
            let pattern = format!("{alert} in {}", self.world.namespace);
            eventually(&format!("{alert} has {expected}"), || async {
                let storms = self.world.storms().await;
                let counts: Vec<_> = storms.iter().filter(|object| object.spec.pattern == pattern).map(facts).collect();
                match counts.as_slice() {
                    [Some(storm)] if storm.alert_count == expected && storm.affected_count == expected => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
        println!(
            "outage {} {:?}: {written} Signals under load, exact {:?} after Redis was back",
            self.name,
            outage(),
            back.elapsed()
        );
        self.operator.ready().await;
        self.world.receipts(written + 3).await;
        assert_eq!(self.world.storms().await.len(), 3, "one RemediationRequest per storm");
    }
}

#[tokio::test]
async fn redis_is_killed_and_starts_again_with_its_data() {
    let mut scene = Scene::new("with-data", &["--appendonly", "yes"]).await;
    scene.redis.kill();
    scene.wait_for_the_outage().await;
    scene.redis.start_again();
    scene.recovers(Instant::now()).await;
}

#[tokio::test]
async fn redis_is_killed_and_starts_again_empty() {
    let mut scene = Scene::new("empty", &[]).await;
    scene.redis.kill();
    scene.wait_for_the_outage().await;
    scene.redis.start_again();
    let back = Instant::now();
    let note = scene.world.event("LedgerRebuilt").await;
    assert!(note.contains("has lost this storm"), "{note}");
    scene.recovers(back).await;
}

#[tokio::test]
async fn redis_sleeps_and_wakes_up() {
    let scene = Scene::new("asleep", &[]).await;
    scene.redis.signal("STOP");
    scene.wait_for_the_outage().await;
    scene.redis.signal("CONT");
    scene.recovers(Instant::now()).await;
}

#[tokio::test]
async fn redis_is_wiped_by_hand() {
    let scene = Scene::new("wiped", &[]).await;
    scene.redis.command("FLUSHALL").unwrap();
    let back = Instant::now();
    scene.world.event("LedgerRebuilt").await;
    scene.recovers(back).await;
}

#[tokio::test]
async fn redis_becomes_a_read_only_replica_and_a_primary_again() {
    let scene = Scene::new("read-only", &[]).await;
    let primary = RedisServer::start(&[]);
    scene.redis.command(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).unwrap();
    scene.wait_for_the_outage().await;
    scene.redis.command("REPLICAOF NO ONE").unwrap();
    scene.recovers(Instant::now()).await;
}

#[tokio::test]
async fn redis_is_full_and_gets_room_again() {
    let scene = Scene::new("full", &[]).await;
    scene.redis.command("CONFIG SET maxmemory 1mb").unwrap();
    scene.wait_for_the_outage().await;
    let (_, reason) = scene.operator.get("/readyz").await.unwrap();
    assert!(reason.contains("full"), "{reason}");
    scene.redis.command("CONFIG SET maxmemory 512mb").unwrap();
    scene.recovers(Instant::now()).await;
}

// Back to the memory ledger and forward again, with a Redis that remembers how things were before.
#[tokio::test]
async fn the_ledger_may_be_changed_back_and_forth_without_losing_a_count() {
    let (mut world, redis) = (World::new("back-and-forth").await, RedisServer::start(&[]));
    world.redis = None;
    let url = format!("--redis-url={}", redis.url());
    let with_redis = ["--ledger=redis", &url];
    for (round, flags) in [&with_redis[..], &[], &with_redis[..]].into_iter().enumerate() {
        let operator = Operator::start(&[&world], flags).await;
        // New ones, and some that the ledger before counted.
        let first = 100 * round;
        world.create(&table(&format!("round-{round}"), "Moved", first.saturating_sub(50)..first + 100)).await;
        let expected = i64::try_from(first + 100).unwrap();
        world.one_storm("all that came so far", |storm| storm.alert_count == expected).await;
        world.receipts(round + 1).await;
        assert!(operator.sigterm().success());
    }
    // Closed with the memory ledger, while Redis believes it open.
    let before = Timestamp::now();
    let operator = Operator::start(&[&world], &["--quiet-period=2s"]).await;
    world.one_storm("it closes", |storm| !super::world::is_open(storm)).await;
    assert!(operator.sigterm().success());
    let _operator = Operator::start(&[&world], &with_redis).await;
    // Of a source that reports no ends, a later report would be news: these are of the time when the storm was open.
    world.create(&as_of(before, table("echo", "Moved", 0..300))).await;
    world.receipts(4).await;
    world.create(&as_of(before, table("new", "Moved", 290..310))).await;
    world.storms_until("the successor has what is new", 2, |storm| storm.alert_count == 10).await;
}
