//! What a ledger is asked and what it answers, as values: the engine makes the calls, an executor carries them out.

use std::borrow::Borrow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::disposition::Disposition;
use crate::storm::alerts::StormEnd;
use crate::storm::decide::{CloseReason, LedgerView};
use crate::storm::{
    AlertRegisters, AlertReport, DEDUP_HORIZON, Digest, DigestKey, Epoch, HeldReports, Micros, Observation, StormId,
    StormKey,
};

/// The observations of one key.
pub type Batch = (StormKey, Vec<Observation>);

/// When a ledger is told something, and how long at least it remembers from then on what closed storms hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupWindow {
    /// When.
    pub now: Timestamp,
    /// How long, after it was last met.
    pub horizon: SignedDuration,
}

impl DedupWindow {
    /// What was reported before this is remembered no longer.
    pub fn earliest(self) -> Micros {
        self.now.as_microsecond().saturating_sub(i64::try_from(self.horizon.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for DedupWindow {
    /// With the horizon of the built-in policy.
    fn from(now: Timestamp) -> Self {
        Self { now, horizon: DEDUP_HORIZON }
    }
}

/// Why a ledger did not do what it was asked. The call may have had its effect: every call is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LedgerError {
    /// It does not answer, or not in time.
    #[error("the ledger does not answer: {0}")]
    Unavailable(String),
    /// It has no room for more. Calls that free room still work.
    #[error("the ledger is full: {0}")]
    Full(String),
    /// It has no room for more of this namespace, and all others go on.
    #[error("{0}")]
    NoRoom(String),
    /// It answers, but its setup makes it unusable; the text says what to change.
    #[error("the ledger cannot be used: {0}")]
    Refused(String),
    /// It may have lost what it was told: `begin`, and read all Signals again.
    #[error("the ledger may have lost storms: {0}")]
    Lost(String),
}

impl LedgerError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) | Self::Full(_) | Self::NoRoom(_) => Disposition::Unavailable,
            Self::Refused(_) => Disposition::Terminal,
            Self::Lost(_) => Disposition::Transient,
        }
    }
}

/// What a ledger says when it is asked to begin.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Key of the digests of everything that is merged from now on.
    pub key: DigestKey,
    /// What became of what it held.
    pub durability: Durability,
}

/// What a ledger still knows of what this process told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Everything that this process saw acknowledged.
    Intact,
    /// Perhaps not all of it: the server was restarted, or another one took its place.
    Suspect,
    /// Nothing.
    Lost,
}

/// What `Merge` says of observations of which these are held: nothing when none has any.
pub fn any_held(held: Vec<HeldReports>) -> Vec<HeldReports> {
    if held.iter().all(Vec::is_empty) { Vec::new() } else { held }
}

/// When the namespace was made that these are in, as the youngest of them knows. What the ledger has of their key from before is of another namespace.
pub fn namespace_made(observations: &[Observation]) -> Option<Timestamp> {
    observations.iter().filter_map(|observation| observation.namespace_made).max()
}

/// Identifies one state of a storm among all its states. Only the ledger that made it reads the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// A number or a text that changes with the state.
    pub mark: Box<str>,
    /// How many merges of this process are in it.
    pub merged: u64,
    /// How many resource names in it were not published before.
    pub names: usize,
    /// How many resource names were published before it, counted from a random start that no two storms share.
    pub counter: i64,
    /// How often the ledger had begun: what was read before a loss says nothing of what is there after it.
    pub begun: u64,
}

/// What became of the observations of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Merge {
    /// They joined the open storm.
    Joined {
        /// The open storm.
        epoch: Epoch,
        /// For each observation, in order, how many of its reports were new.
        new: Vec<usize>,
        /// For each observation its reports that are no part of this storm, because their alerts were over or handled before. Empty: none has any.
        held: Vec<HeldReports>,
        /// The epoch of the last storm that the ledger closed, where something is held.
        last: Option<Epoch>,
    },
    /// No storm of this key is open, and nothing was counted.
    NotOpen {
        /// For each observation, in order, whether it has an alert that fires and is in no storm: whether it opens one.
        opens: Vec<bool>,
        /// For each observation its reports that no storm takes in, as for a storm that is open.
        held: Vec<HeldReports>,
        /// The epoch of the last storm that the ledger closed.
        last: Option<Epoch>,
    },
    /// The ledger has no room for all of them. Some may have joined the open storm, and the ledger does not say which: they are
    /// merged again. What has joined can be published, which frees room.
    Full {
        /// The open storm.
        epoch: Epoch,
        /// What the ledger says.
        why: String,
    },
    /// The namespace of the key has what room it may have, and some of the observations wait until there is more. Nobody else does. What
    /// they report of alerts that are known has joined the open storm: they are merged again.
    NoRoom {
        /// For each observation, in order, whether it waits.
        waits: Vec<bool>,
        /// What became of the others.
        others: Box<Merge>,
        /// What the ledger says: the same text as long as nothing but numbers change.
        why: String,
    },
}

impl Merge {
    /// Of observations of a key with these alerts and without an open storm.
    pub fn not_open(observations: &[impl Borrow<Observation>], alerts: &AlertRegisters, last: Option<Epoch>) -> Self {
        let past = |(place, report)| Some((place, alerts.past(&report)?));
        let all = || observations.iter().map(Borrow::borrow);
        let held = all().map(|o: &Observation| (0..).zip(o.says()).filter_map(past).collect()).collect();
        let opens = |o: &Observation| o.says().any(|report| alerts.opens(&report));
        Self::NotOpen { opens: all().map(opens).collect(), held: any_held(held), last }
    }
}

/// The state of one storm as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// What `decide` reads.
    pub view: LedgerView,
    /// Identifies this state among all states of the storm.
    pub version: Version,
    /// When the first change came that is not published.
    pub dirty_since: Option<Timestamp>,
    /// Those of the alerts asked about that fire in the open storm.
    pub firing: Vec<Digest>,
}

/// What became of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The storm is closed: nothing joins it any more.
    Closed {
        /// How many alerts fire on: the next storm takes them over.
        left: usize,
    },
    /// Something changed since the snapshot, or the storm was not open: nothing was done.
    Changed,
}

/// What an open storm has once it has taken over what storms before it left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TakenOver {
    /// How many alerts it took over just now.
    pub taken: usize,
    /// How many fire in it.
    pub firing: usize,
}

/// What the Signals of a storm that is over had reported, to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The key.
    pub key: StormKey,
    /// The namespace of its Signals.
    pub namespace: Arc<str>,
    /// Epoch of that storm, where it is known.
    pub epoch: Option<Epoch>,
    /// The reports.
    pub reports: Vec<AlertReport>,
    /// How that storm ended.
    pub end: StormEnd,
    /// When, and for how long.
    pub at: DedupWindow,
}

/// A call to the ledger. `stormfold::ledger::Ledger` documents each.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the methods of the trait `Ledger`")]
pub enum LedgerCall {
    Begin,
    Merge { batches: Arc<Vec<Batch>>, now: Timestamp },
    Open { id: StormId, pattern: String, now: Timestamp },
    Hold(Vec<Holding>),
    Note { key: StormKey, reports: Vec<AlertReport>, at: DedupWindow },
    TakeOver(StormId, Timestamp),
    Dirty,
    DropUnknown { known: Vec<StormId>, before: Timestamp },
    Snapshot { id: StormId, which: Vec<Digest> },
    MarkPublished(StormId),
    Ack(StormId, Snapshot),
    Close { id: StormId, snapshot: Snapshot, reason: CloseReason, at: DedupWindow },
    Settle(StormId),
    Forget(StormId, DedupWindow),
    DropStorm(StormId),
}

/// What a call answers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the results of the methods of the trait `Ledger`")]
pub enum LedgerReply {
    Begun(Begun),
    Merged(Vec<Merge>),
    Opened(Option<Epoch>),
    TakenOver(TakenOver),
    Held(Vec<(StormKey, usize)>),
    /// The same, and of these keys something was not remembered for want of room, as the ledger says: nothing more of them is merged until it is.
    HeldInPart {
        left: Vec<(StormKey, usize)>,
        refused: Vec<(StormKey, String)>,
    },
    Dirty(Vec<StormId>),
    Snapshot(Snapshot),
    Closing(Closing),
    Forgotten(bool),
    Done,
}
