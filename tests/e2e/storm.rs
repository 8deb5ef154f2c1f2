//! A storm that blows while something else happens, and what must be there afterwards.

use std::time::{Duration, Instant};

use stormfold::api::RemediationRequest;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::signals::table;
use super::wait::eventually;
use super::world::{World, facts, is_open};

/// Between two Signals.
const PACE: Duration = Duration::from_millis(50);
const ALERT: &str = "HighMemoryUsage";

/// See the module.
pub struct Storm {
    world: World,
    stop: CancellationToken,
    writer: JoinHandle<usize>,
    /// Looks at the count all the while: it never goes back.
    watcher: JoinHandle<i64>,
}

impl Storm {
    /// Signals of four occurrences each, of which two are those of the Signal before. Waits until the storm has its RemediationRequest.
    pub async fn begin(test: &str) -> Self {
        let world = World::new(test).await;
        let stop = CancellationToken::new();
        let view = || World { client: world.client.clone(), namespace: world.namespace.clone(), redis: None };
        let writer = tokio::spawn(write(view(), stop.clone()));
        world.one_storm("the storm has begun", |storm| storm.alert_count > 4).await;
        let watcher = tokio::spawn(watch(view(), stop.clone()));
        Self { world, stop, writer, watcher }
    }

    /// So much more of it, published.
    pub async fn goes_on(&self) {
        let count = |object: &RemediationRequest| facts(object).map(|storm| storm.alert_count).unwrap_or_default();
        let before = self.world.storms().await.last().map(count).unwrap_or_default();
        self.world.one_storm("the storm goes on", |storm| storm.alert_count > before + 10).await;
    }

    /// Ends it, and waits until it is counted: one RemediationRequest, open, every occurrence once, every Signal with its receipt.
    pub async fn counts_exactly(self) {
        self.stop.cancel();
        let signals = self.writer.await.unwrap();
        let highest = self.watcher.await.unwrap();
        let expected = i64::try_from(2 * signals + 2).unwrap();
        let began = Instant::now();
        let object = self
            .world
            .one_storm("every occurrence counts once", |storm| {
                (storm.alert_count, storm.firing_count, storm.affected_count) == (expected, expected, expected)
            })
            .await;
        assert!(is_open(facts(&object).unwrap()) && highest <= expected);
        let exact = began.elapsed();
        for signal in self.world.receipts(signals).await {
            assert_eq!(signal.status.unwrap().storm, object.metadata.name);
        }
        println!(
            "{}: {signals} Signals, {expected} alerts, exact {exact:.1?} after the last one",
            self.world.namespace
        );
    }
}

/// Writes Signals until `stop`; gives how many.
async fn write(world: World, stop: CancellationToken) -> usize {
    let mut signals = 0;
    while stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_some() {
        world.create(&table(&format!("signal-{signals}"), ALERT, 2 * signals..2 * signals + 4)).await;
        signals += 1;
    }
    signals
}

/// Looks until `stop`; gives the highest count.
async fn watch(world: World, stop: CancellationToken) -> i64 {
    let mut highest = 0;
    while stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_some() {
        let storms = world.storms().await;
        assert!(storms.len() < 2, "one storm, one RemediationRequest: {storms:?}");
        let Some(storm) = storms.first().and_then(facts) else { continue };
        assert!(storm.alert_count >= highest, "{} after {highest}", storm.alert_count);
        highest = storm.alert_count;
    }
    highest
}

/// Waits until the alerts of this name in this namespace are one storm with this many.
pub async fn alerts(world: &World, name: &str, count: i64) -> RemediationRequest {
    eventually(&format!("{name} has {count} alerts"), || async {
        let storms: Vec<_> =
            world.storms().await.into_iter().filter(|object| object.spec.signal.name == name).collect();
        match storms.as_slice() {
            [object] if facts(object).is_some_and(|storm| storm.alert_count == count) => Ok(object.clone()),
            others => Err(format!("{:?}", others.iter().map(facts).collect::<Vec<_>>())),
        }
    })
    .await
}
