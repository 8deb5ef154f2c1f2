//! Where storm state is merged. Never the only copy: it can be rebuilt by watching the Signals again.
//!
//! One contract, whatever keeps the state. `memory` is its executable specification and the embedded default of one replica.

#[cfg(test)]
mod contract;
pub mod memory;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::{Digest, Epoch, Observation, StormId, StormKey};

/// Why a ledger did not do what it was asked. The call may have had its effect: every call is safe to repeat.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It does not answer, or not in time.
    #[error("the ledger does not answer: {0}")]
    Unavailable(String),
}

/// What became of the observations of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// They joined the open storm.
    Joined {
        /// The open storm.
        epoch: Epoch,
        /// For each observation, in order, how many of its reports were new.
        new: Vec<usize>,
    },
    /// No storm of this key is open, and nothing was counted.
    NotOpen {
        /// For each observation, in order, whether it has a firing occurrence that no closed storm held: whether it opens a storm.
        opens: Vec<bool>,
        /// The epoch of the last storm that the ledger closed.
        last: Option<Epoch>,
    },
}

/// The state of one storm as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What `decide` looks at.
    pub view: LedgerView,
    /// Tells this state from any other state of the same storm.
    pub version: u64,
    /// When the first change came that is not published.
    pub dirty_since: Option<Timestamp>,
}

/// To `ack`: the object exists, and shows nothing of what has joined.
pub const NOTHING_SHOWN: u64 = 0;

/// What became of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nothing joins this storm any more.
    Closed,
    /// Something changed since the snapshot, or the storm was not open: nothing was done.
    Changed,
}

/// The ledger. Every method is atomic for one key, and safe to repeat.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Joins observations, batch by batch; one batch has the observations of one key. What a closed storm of the key holds is
    /// not counted again.
    async fn merge(&self, batches: &[(StormKey, Vec<Observation>)], now: Timestamp) -> Result<Vec<Merge>, LedgerError>;

    /// Opens a storm unless one of its key is open or its epoch is over; gives the epoch that is open now.
    /// `None`: the epoch is not later than the last one that was closed.
    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError>;

    /// Remembers that a closed storm of `key` holds these occurrences. `epoch`: of that storm, where it can still be told.
    async fn hold(
        &self,
        key: StormKey,
        epoch: Option<Epoch>,
        uids: &[Digest],
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Remembers these occurrences as over, for a storm that may still open with them.
    async fn note_resolved(&self, key: StormKey, uids: &[Digest], now: Timestamp) -> Result<(), LedgerError>;

    /// The storms that have something to publish.
    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError>;

    /// The state of a storm.
    async fn snapshot(&self, id: StormId) -> Result<Snapshot, LedgerError>;

    /// Says that the snapshot of this version is in the cluster. True when nothing came since.
    async fn ack(&self, id: StormId, version: u64) -> Result<bool, LedgerError>;

    /// Closes a storm if it is still at this version. It holds its occurrences from then on, and its final facts are kept until
    /// it is settled.
    async fn close(
        &self,
        id: StormId,
        version: u64,
        reason: CloseReason,
        now: Timestamp,
    ) -> Result<Closing, LedgerError>;

    /// The end of a closed storm is in the cluster: its final facts are not needed any more.
    async fn settle(&self, id: StormId) -> Result<(), LedgerError>;

    /// The object of a storm was deleted by hand: the storm is over, and what the object showed counts as handled. True when
    /// something had joined that no object showed: it is let go, to be merged again from its Signals.
    async fn forget(&self, id: StormId, now: Timestamp) -> Result<bool, LedgerError>;

    /// Drops a storm and what it holds, to be merged again from its Signals.
    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError>;
}
