//! One contract, two ledgers: what every ledger does, and that Redis does what the memory ledger, its specification, does.

mod contract;
mod format;
mod histories;
mod life;
mod pair;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use stormfold::ledger::Ledger;
use stormfold::ledger::redis::{RedisLedger, RedisSettings};
use stormfold::metrics::Metrics;
use stormfold::storm::fixtures::observation;
use stormfold::storm::{Observation, Opening, Report, Severity, StormKey};
use tokio::sync::mpsc::unbounded_channel;

use crate::redis_server::RedisServer;

/// A key that no other history of this process has: all of them may share one server.
struct Key {
    pattern: String,
    key: StormKey,
}

impl Key {
    fn another() -> Self {
        static HISTORY: AtomicUsize = AtomicUsize::new(0);
        let pattern = format!("X in history {}", HISTORY.fetch_add(1, Ordering::Relaxed));
        Self { key: StormKey::new("prod", &pattern), pattern }
    }

    /// A Signal that says this. Its span, severity and resources follow from its first report.
    fn signal(&self, said: &Said) -> Observation {
        let Said { reports, at, resolvable } = said;
        let report = |(uid, firing): &(i64, bool)| Report {
            uid: *uid,
            firing: *firing,
            resource: Some((uid % 150, format!("Pod/p{}", uid % 150).into())),
        };
        let first = reports[0].0;
        let seconds = (now(100 - first % 13).as_second(), now(200 + first % 17).as_second());
        Observation {
            key: self.key,
            opening: Arc::new(self.opening()),
            resolvable: *resolvable,
            reported_at: *at,
            incomplete: first % 7 == 0,
            ..observation(reports.iter().map(report).collect(), seconds, Severity::from_rank(first % 4))
        }
    }

    fn opening(&self) -> Opening {
        Opening {
            object_namespace: "prod".into(),
            pattern: self.pattern.clone(),
            signal_name: "X".into(),
            source_kind: None,
            namespace: "prod".into(),
            cluster: None,
            severity: Severity::Warning,
            group_labels: BTreeMap::new(),
            policy: "default".into(),
            said: Arc::default(),
        }
    }
}

/// What a Signal says: its reports, each of an alert that fires or is over.
#[derive(Clone, Debug)]
struct Said {
    reports: Vec<(i64, bool)>,
    at: Timestamp,
    resolvable: bool,
}

impl Said {
    /// Of a source that reports no ends, at this step.
    fn at(step: i64, reports: &[(i64, bool)]) -> Self {
        Self { reports: reports.to_vec(), at: now(step), resolvable: false }
    }

    /// Reported as much before this step as it was before the first one.
    fn reported(&self, step: i64) -> Self {
        Self { at: self.at + SignedDuration::from_secs(step), ..self.clone() }
    }
}

/// At most so many reports of up to twice so many alerts, as often firing, some of them late by up to ten steps.
fn said(alerts: i64, firing: f64, most: usize) -> impl Strategy<Value = Said> + Clone {
    let firing = if firing < 1.0 { prop::bool::weighted(firing).boxed() } else { Just(true).boxed() };
    let reports = prop::collection::vec((0..alerts, firing), 1..=most);
    let late = prop_oneof![3 => Just(0), 1 => 1..10i64];
    (reports, late, any::<bool>()).prop_map(|(mut reports, late, resolvable)| {
        // Of one alert, one source tells: it reports ends, or it does not.
        for (uid, _) in &mut reports {
            *uid = 2 * *uid + i64::from(resolvable);
        }
        Said { reports, at: now(-late), resolvable }
    })
}

/// Far in the future: a server's keys expire by its own clock, and none may in the middle of a history.
fn now(step: i64) -> Timestamp {
    Timestamp::from_second(4_100_000_000 + step).unwrap()
}

/// One more process that uses this server.
async fn redis_ledger(server: &RedisServer) -> Arc<RedisLedger> {
    let settings = RedisSettings::new(server.url());
    let ledger = RedisLedger::new(settings, unbounded_channel().0, Metrics::default());
    ledger.begin().await.unwrap();
    Arc::new(ledger)
}

/// Another server and other processes, as far as a history can tell: what storms of earlier ones left is not looked at again and again.
async fn empty(server: &RedisServer, ledgers: &[&Arc<RedisLedger>]) {
    server.command("FLUSHALL").unwrap();
    for ledger in ledgers {
        ledger.begin().await.unwrap();
    }
}

/// Plays random histories, as many as this or as the variable STORMFOLD_HISTORIES says, and shows the shortest that fails. All of them
/// on one runtime, and with what `begin` makes on it: connections end with theirs.
fn histories<S: Strategy, T>(
    count: u32,
    strategy: &S,
    begin: impl AsyncFnOnce() -> T,
    play: &impl AsyncFn(&T, S::Value),
) {
    let count = std::env::var("STORMFOLD_HISTORIES").map_or(count, |count| count.parse().expect("a number"));
    let config = ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let subject = runtime.block_on(begin());
    let outcome = TestRunner::new(config).run(strategy, |history| {
        runtime.block_on(play(&subject, history));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
