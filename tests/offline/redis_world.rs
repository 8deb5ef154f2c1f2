//! A ledger in a Redis of its own, and what tests of the way there have in common.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stormfold::ledger::redis::{RedisLedger, RedisSettings};
use stormfold::ledger::{Ledger, LedgerError};
use stormfold::metrics::Metrics;
use stormfold::storm::fixtures::observation;
use stormfold::storm::{AlertReport, Digest, Observation, Report, Says, Severity, StormKey};
use stormfold_core::engine::resync::ResyncReason;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The longest that is waited for something that must come: some milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A ledger and what it tells.
pub struct World {
    pub ledger: Arc<RedisLedger>,
    pub resyncs: UnboundedReceiver<ResyncReason>,
    pub metrics: Metrics,
}

impl World {
    pub fn new(settings: RedisSettings) -> Self {
        let ((resync, resyncs), metrics) = (unbounded_channel(), Metrics::default());
        let ledger = Arc::new(RedisLedger::new(settings, resync, metrics.clone()));
        Self { ledger, resyncs, metrics }
    }

    /// At this address, and begun.
    pub async fn begun(url: String) -> Self {
        let world = Self::new(RedisSettings::new(url));
        world.ledger.begin().await.unwrap();
        world
    }

    /// A call that writes.
    pub async fn write(&self) -> Result<(), LedgerError> {
        tokio::time::timeout(PATIENCE, self.ledger.note(key(), &[over(1), over(2)], now().into()))
            .await
            .expect("every call ends")
    }

    /// Whether somebody was told to read all Signals again. Asking takes it away.
    pub fn told_to_read_again(&mut self) -> bool {
        self.resyncs.try_recv().is_ok()
    }
}

/// Calls until it says yes, or panics with what it said last.
pub async fn until<T, E: std::fmt::Debug>(mut call: impl AsyncFnMut() -> Result<T, E>) -> T {
    let start = tokio::time::Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(start.elapsed() < PATIENCE, "still: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The end of an alert that nobody saw begin.
pub fn over(uid: Digest) -> AlertReport {
    AlertReport { uid, at: now().as_microsecond(), says: Says::Resolved }
}

pub fn key() -> StormKey {
    StormKey::new("prod", "X in prod")
}

/// Far in the future: a server's keys expire by its own clock.
pub fn now() -> Timestamp {
    Timestamp::from_second(4_100_000_000).unwrap()
}

/// Reports: uids, each firing or resolved.
pub fn signal(reports: &[(i64, bool)]) -> Observation {
    let report = |(uid, firing): &(i64, bool)| Report {
        uid: *uid,
        firing: *firing,
        resource: Some((*uid, format!("Pod/p{uid}").into())),
    };
    let seconds = now().as_second();
    observation(reports.iter().map(report).collect(), (seconds, seconds), Severity::Warning)
}
