//! Where storm state is merged. Never the only copy: it can be rebuilt by watching the Signals again.
//!
//! One contract, whatever keeps the state. `memory` is its executable specification and the embedded default of one replica.

pub mod memory;
pub mod redis;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::{DEDUP_HORIZON, Digest, DigestKey, Epoch, Observation, StormId, StormKey};

/// When a ledger is told something, and how long at least it remembers from then on what closed storms hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub now: Timestamp,
    /// How long, after it was last met.
    pub horizon: SignedDuration,
}

impl From<Timestamp> for Moment {
    /// With the horizon of the built-in policy.
    fn from(now: Timestamp) -> Self {
        Self { now, horizon: DEDUP_HORIZON }
    }
}

/// Why a ledger did not do what it was asked. The call may have had its effect: every call is safe to repeat.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It does not answer, or not in time.
    #[error("the ledger does not answer: {0}")]
    Unavailable(String),
    /// It has no room for more. What frees room still works.
    #[error("the ledger is full: {0}")]
    Full(String),
    /// It answers and must not be used as it is set up; says what to change.
    #[error("the ledger cannot be used: {0}")]
    Refused(String),
    /// It may have lost what it was told: `begin`, and read all Signals again.
    #[error("the ledger may have lost storms: {0}")]
    Lost(String),
}

/// What a ledger says when it is asked to begin.
#[derive(Clone, Debug)]
pub struct Begun {
    /// For the digests of everything that is merged from now on.
    pub key: DigestKey,
    /// What became of what was in it.
    pub memory: Memory,
}

/// What a ledger still knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All that this process saw acknowledged.
    Kept,
    /// Perhaps not all of it: it was restarted, or another server took its place.
    Doubtful,
    /// Nothing.
    Empty,
}

/// Which observations closed storms hold as a whole; empty when none.
fn wholly_held(observations: &[Observation], is_held: impl Fn(&Digest) -> bool) -> Vec<bool> {
    let whole = |o: &Observation| !o.reports.is_empty() && o.reports.iter().all(|report| is_held(&report.uid));
    let held: Vec<bool> = observations.iter().map(whole).collect();
    if held.contains(&true) { held } else { Vec::new() }
}

/// Tells one state of a storm from any other state of it. What is in it is the ledger's own business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// A number or a text that changes with the state.
    mark: Box<str>,
    /// How much of what this process has merged is in it.
    merged: u64,
    /// How many names that were not published before are in it.
    names: usize,
    /// How many names were published before it, from a start that no two storms share.
    counter: i64,
    /// How often the ledger had begun: what was read before a loss says nothing of what is there after it.
    begun: u64,
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
        /// For each observation whether closed storms hold all of it, so that nothing of it is in this storm. Empty: none is.
        held: Vec<bool>,
        /// The epoch of the last storm that the ledger closed, where something is held.
        last: Option<Epoch>,
    },
    /// No storm of this key is open, and nothing was counted.
    NotOpen {
        /// For each observation, in order, whether it has a firing occurrence that no closed storm held: whether it opens a storm.
        opens: Vec<bool>,
        /// The epoch of the last storm that the ledger closed.
        last: Option<Epoch>,
    },
    /// The ledger has no room for all of them. Some may have joined the open storm, and nobody was told which: they are merged again.
    /// What has joined can be published, and that makes room.
    Full {
        /// The open storm.
        epoch: Epoch,
        /// What the ledger says.
        why: String,
    },
}

/// The state of one storm as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What `decide` looks at.
    pub view: LedgerView,
    /// Tells this state from any other state of the same storm.
    pub version: Version,
    /// When the first change came that is not published.
    pub dirty_since: Option<Timestamp>,
}

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
    /// Called before all Signals are read, again and again until it succeeds. A ledger that may have lost something refuses
    /// everything else until then: nothing is closed on half of what there was.
    async fn begin(&self) -> Result<Begun, LedgerError>;

    /// Joins observations, batch by batch; one batch has the observations of one key. What a closed storm of the key holds is
    /// not counted again. A ledger that fills up says so of each batch for itself: what it took before is merged.
    async fn merge(&self, batches: &[(StormKey, Vec<Observation>)], now: Timestamp) -> Result<Vec<Merge>, LedgerError>;

    /// Opens a storm unless one of its key is open or its epoch is over; gives the epoch that is open now.
    /// `None`: the epoch is not later than the last one that was closed.
    async fn open(&self, id: StormId, pattern: &str, now: Timestamp) -> Result<Option<Epoch>, LedgerError>;

    /// Remembers that a closed storm of `key` holds these occurrences. `epoch`: of that storm, where it can still be told.
    async fn hold(&self, key: StormKey, epoch: Option<Epoch>, uids: &[Digest], at: Moment) -> Result<(), LedgerError>;

    /// Remembers these occurrences as over, for a storm that may still open with them.
    async fn note_resolved(&self, key: StormKey, uids: &[Digest], at: Moment) -> Result<(), LedgerError>;

    /// The storms that have something to publish.
    async fn dirty(&self) -> Result<Vec<StormId>, LedgerError>;

    /// The state of a storm.
    async fn snapshot(&self, id: StormId) -> Result<Snapshot, LedgerError>;

    /// Says that the object of a storm exists, whatever it shows.
    async fn mark_published(&self, id: StormId) -> Result<(), LedgerError>;

    /// Says that this snapshot is in the cluster. True when nothing came since.
    async fn ack(&self, id: StormId, snapshot: &Snapshot) -> Result<bool, LedgerError>;

    /// Closes a storm if it is still as in this snapshot. It holds its occurrences from then on, and its final facts are kept
    /// until it is settled.
    async fn close(
        &self,
        id: StormId,
        snapshot: &Snapshot,
        reason: CloseReason,
        at: Moment,
    ) -> Result<Closing, LedgerError>;

    /// The end of a closed storm is in the cluster: its final facts are not needed any more.
    async fn settle(&self, id: StormId) -> Result<(), LedgerError>;

    /// The object of a storm was deleted by hand: the storm is over, and what the object showed counts as handled. True when
    /// something is let go, to be merged again from its Signals: what had joined and no object showed, or, where that cannot be
    /// told from the rest, everything (then the Signals' receipts say what is handled).
    async fn forget(&self, id: StormId, at: Moment) -> Result<bool, LedgerError>;

    /// Drops a storm and what it holds, to be merged again from its Signals.
    async fn drop_storm(&self, id: StormId) -> Result<(), LedgerError>;
}
