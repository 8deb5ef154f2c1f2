//! Where storm state is merged. Never the only copy: it can be rebuilt by watching the Signals again.
//!
//! One contract, whatever keeps the state. `memory` is its executable specification and the embedded default of one replica.

mod execute;
pub mod memory;
pub mod redis;

use async_trait::async_trait;
use jiff::Timestamp;
use stormfold_core::engine::resync::ResyncReason;
use tokio::sync::mpsc::UnboundedSender;

pub use execute::execute;
pub use stormfold_core::ledger::*;

use crate::storm::decide::CloseReason;
use crate::storm::{AlertRegisters, AlertReport, Digest, Epoch, StormId, StormKey};

/// Where a ledger asks for all Signals to be read again, when it finds by itself that it may have lost something.
pub type ResyncSender = UnboundedSender<ResyncReason>;

/// The ledger. Every method is atomic for one key, and safe to repeat.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Called before all Signals are read, again and again until it succeeds. A ledger that may have lost something refuses
    /// everything else until then: nothing is closed on half of what there was.
    async fn begin(&self) -> Result<Begun, LedgerError>;

    /// Joins observations, batch by batch; one batch has the observations of one key. What a closed storm of the key holds is
    /// not counted again. A storm that opened before the namespace of the observations was made is over, and what was reported
    /// before that is forgotten. A ledger that fills up says so of each batch for itself: what it took before is merged.
    async fn merge(&self, batches: &[Batch], now: Timestamp) -> Result<Vec<Merge>, LedgerError>;

    /// Opens a storm unless one of its key is open or its epoch is over; gives the epoch that is open now.
    /// `None`: the epoch is not later than the last one that was closed.
    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError>;

    /// Remembers what the Signals of a storm that is over had reported. How many alerts of the key fire on in no storm, and how many of these reports are the
    /// latest of alerts that fire on in the open one: it may have taken them over.
    async fn hold(&self, holding: &Holding) -> Result<usize, LedgerError>;

    /// Remembers reports that no storm takes in: ends of what is in none, and more of what a person has handled.
    async fn note(&self, key: StormKey, reports: &[AlertReport], at: DedupWindow) -> Result<(), LedgerError>;

    /// The open storm takes over what fires on since the storms before it. Nothing if it is not open.
    async fn take_over(&self, id: StormId, now: Timestamp) -> Result<TakenOver, LedgerError>;

    /// What is known of the alerts of a key, but for what has joined its open storm a moment ago.
    async fn alerts(&self, key: StormKey) -> Result<AlertRegisters, LedgerError>;

    /// The storms that have something to publish.
    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError>;

    /// The state of a storm.
    async fn snapshot(&self, id: StormId) -> Result<Snapshot, LedgerError>;

    /// Those of these alerts that fire in the open storm of this epoch, as of its last snapshot or later.
    async fn firing_of(&self, id: StormId, alerts: &[Digest]) -> Result<Vec<Digest>, LedgerError>;

    /// Says that the object of a storm exists, whatever it shows.
    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError>;

    /// Says that this snapshot is in the cluster. True when nothing came since.
    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError>;

    /// Closes a storm if it is still as in this snapshot. What a source that reports ends has not ended is left to the next storm, unless a person asked
    /// for the end. The final facts are kept until it is settled.
    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: DedupWindow,
    ) -> Result<Closing, LedgerError>;

    /// The end of a closed storm is in the cluster: its final facts are not needed any more.
    async fn settle(&self, id: StormId) -> Result<(), LedgerError>;

    /// The object of a storm was deleted by hand: the storm is over, and what the object showed counts as handled. True when
    /// something is let go, to be merged again from its Signals: what had joined and no object showed, or, where that cannot be
    /// told from the rest, everything (then the Signals' receipts say what is handled).
    async fn forget(&self, id: StormId, at: DedupWindow) -> Result<bool, LedgerError>;

    /// Drops every storm that is open here, was opened before `before`, and is not among these: all Signals and RemediationRequests were read
    /// since, and nobody has one of it.
    async fn drop_unknown(&self, known: &[StormId], before: Timestamp) -> Result<(), LedgerError>;

    /// Drops a storm and what it holds, to be merged again from its Signals.
    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError>;
}
