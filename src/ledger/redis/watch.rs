//! The watch over the server: whether it may be used, how full it is, and whether it is still the ledger that it was.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::RedisLedger;
use super::keys::{INCARNATION, PARTITIONS, dirty};
use super::reply::read;
use super::reply::whole;
use super::server::Info;
use crate::ledger::LedgerError;
use crate::metrics::{LedgerOperation, ServerReading};

/// How often a server is looked at again that must not be used, does not answer, or was not told to begin: readiness should not lag
/// behind by much, nor should a gauge be missing for long.
const UNWELL: Duration = Duration::from_secs(1);

/// The dirty marks of all partitions.
struct Marks {
    count: f64,
    oldest: Option<i64>,
}

impl RedisLedger {
    /// Looks at the server `every` so often until `stop`, tells how it is, and keeps its gauges. A ledger that was wiped or replaced
    /// while nothing was sent is found here: all Signals are read again.
    pub async fn watch_server(
        self: Arc<Self>,
        every: Duration,
        now: impl Fn() -> Timestamp + Send + Sync,
        tell: impl Fn(Result<(), LedgerError>) + Send + Sync,
        stop: CancellationToken,
    ) {
        loop {
            let Some(state) = stop.run_until_cancelled(self.check_server(&now)).await else { return };
            let wait = if let Ok(true) = state { every } else { every.min(UNWELL) };
            tell(state.map(drop));
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// False: the server is well, and what waits to be published is not known yet.
    async fn check_server(&self, now: &(impl Fn() -> Timestamp + Sync)) -> Result<bool, LedgerError> {
        let info = self.connection.look().await?;
        let marks = match self.read_marks().await {
            Ok(marks) => marks,
            // Whoever found it has asked for the Signals; the server itself is well.
            Err(LedgerError::Lost(_)) => None,
            Err(
                error @ (LedgerError::Unavailable(_)
                | LedgerError::Full(_)
                | LedgerError::NoRoom(_)
                | LedgerError::Refused(_)),
            ) => {
                return Err(error);
            }
        };
        self.metrics.ledger.server.read(reading(&info, marks.as_ref(), now().as_millisecond()));
        Ok(marks.is_some())
    }

    /// `None` before the first `begin`.
    async fn read_marks(&self) -> Result<Option<Marks>, LedgerError> {
        let Ok(begun) = self.begun() else { return Ok(None) };
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg(INCARNATION);
        for partition in 0..PARTITIONS {
            pipeline.cmd("ZCARD").arg(dirty(partition));
            pipeline.cmd("ZRANGE").arg(dirty(partition)).arg(0).arg(0).arg("WITHSCORES");
        }
        let replies = self.connection.send(LedgerOperation::Check, &pipeline).await?;
        // Asked for under an incarnation that may be over by now: then the answer says nothing of the next one.
        let same = self.begun().is_ok_and(|current| Arc::ptr_eq(&current.id, &begun.id));
        if same && read::<Option<String>>(&replies, 0)?.as_deref() != Some(begun.id.as_ref()) {
            return Err(self.wiped());
        }
        let mut marks = Marks { count: 0.0, oldest: None };
        for partition in 0..usize::from(PARTITIONS) {
            marks.count += read::<f64>(&replies, 1 + 2 * partition)?;
            let first: Vec<(String, f64)> = read(&replies, 2 + 2 * partition)?;
            let at = first.first().map(|(_, at)| whole(*at));
            marks.oldest = [marks.oldest, at].into_iter().flatten().min();
        }
        Ok(Some(marks))
    }
}

fn reading(info: &Info, marks: Option<&Marks>, now: i64) -> ServerReading {
    // Times of a day or so in milliseconds: far below what a floating-point number holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since a mark")]
    let number = |whole: i64| whole as f64;
    let age = |marks: &Marks| marks.oldest.map_or(0.0, |oldest| number((now - oldest).max(0)) / 1_000.0);
    ServerReading {
        used_memory: info.number("used_memory"),
        max_memory: info.number("maxmemory"),
        resident_memory: info.number("used_memory_rss"),
        fragmentation: info.number("mem_fragmentation_ratio"),
        allocator_fragmentation: info.number("allocator_frag_ratio"),
        evicted_keys: info.number("evicted_keys"),
        dirty_storms: marks.map(|marks| marks.count),
        oldest_dirty_seconds: marks.map(age),
    }
}
