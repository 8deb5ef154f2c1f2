//! Signals in: chunks of them are merged into the ledger, key by key. While the ledger does not answer, no further chunk is
//! asked for: the API server is the buffer.

mod begin;
mod chunk;
mod held_back;
mod holders;
mod merge;
mod open;
mod outcome;
mod placements;
mod pool;
mod reread;
mod room;
mod route;
mod successors;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::call::ApiFault;
use super::resync::ResyncReason;
use crate::disposition::Disposition;
use crate::ledger::LedgerError;
use crate::storm::{Observation, SignalRef, StormKey};
use held_back::HeldBackSignals;
use merge::Merging;
use placements::Placements;
use pool::OpeningPool;
use reread::Rereads;
use room::Crowds;
use successors::Successors;
use waiting::ListWaiting;

/// The longest that a chunk waits before it is tried again. The API server and the ledger serve nobody else of ours meanwhile, so
/// one try in a few seconds is no burden, and it bounds how long a recovery goes unnoticed.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Observations by Signal, and by key where its alerts are in several storms: a list that is begun again brings them again.
pub(super) type BySignal = BTreeMap<(Arc<SignalRef>, StormKey), Observation>;

/// What waited for the end of a list, in the order in which it was reported. A list is by name; and of an alert with a past, a beginning that comes
/// after a later end is no news, although it was when it was reported.
fn in_order(waited: BySignal) -> Vec<Observation> {
    let mut waited: Vec<Observation> = waited.into_values().collect();
    waited.sort_by_key(|observation| observation.reported_at);
    waited
}

fn place_in_line(observation: &Observation) -> (Arc<SignalRef>, StormKey) {
    (observation.signal.clone(), observation.key)
}

/// Where ingest is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ingest {
    phase: IngestPhase,
    /// When the ledger began.
    began: Timestamp,
    /// Why all Signals are read.
    reason: Option<ResyncReason>,
    /// Failures of the ledger to begin, in a row.
    failures: u32,
    /// Of the chunk under way, what is still to do.
    work: VecDeque<Work>,
    merging: Option<Merging>,
    /// A chunk was asked for and has not come.
    asked: bool,
    /// Parts of the watch whose list is not complete.
    incomplete: BTreeSet<usize>,
    /// Observations that wait for the end of the list of their part. All Signals of a key are of one part.
    waiting: BTreeMap<usize, ListWaiting>,
    /// Namespaces whose Signals are read again.
    rereads: Rereads,
    /// Keys whose storms are to be opened.
    pool: OpeningPool,
    /// What goes on when these keys are merged.
    awaiting: Vec<(Awaiter, BTreeSet<StormKey>)>,
    /// Alerts that closed storms left.
    successors: Successors,
    /// Which key alerts belong to.
    placements: Placements,
    held_back: HeldBackSignals,
    /// Namespaces for which the ledger has no room.
    crowds: Crowds,
    /// A timer runs for the next look at what is held back.
    look_runs: bool,
    /// It ran off.
    look_due: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum IngestPhase {
    /// The lists of RemediationRequests and policies come first.
    #[default]
    AwaitLists,
    /// The ledger is asked whether it still knows what it was told.
    Begin,
    /// Signals are read.
    Read,
}

/// Something to do, in the order in which the watch brought it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    ListBegins(usize),
    Merge(usize, Vec<Observation>),
    ListEnds(usize),
    /// What waited for the end of a list is merged.
    ListIsMerged,
    /// What was on a page of a namespace is merged. Where the next one begins.
    PageIsMerged(u8, Option<String>),
    /// What waited for the end of the reading of this namespace is merged.
    RereadIsMerged(Arc<str>),
    /// The smallest Signal of a namespace for which there was no room is merged, or waits again.
    RoomIsTried(Arc<str>),
    /// What came back of this key from the pool is merged.
    KeyIsMerged(StormKey),
}

/// What goes on when the storms are open that were to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Awaiter {
    /// All Signals are read.
    List,
    /// Those of this namespace are.
    Reread(Arc<str>),
}

/// Why Signals could not be merged. They are kept, and merged again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
enum IngestError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Api(#[from] ApiFault),
    #[error("the epochs of a storm key are used up: delete its RemediationRequests that lie in the future")]
    NoEpoch,
    #[error("an answer to another question came: a fault of the executor")]
    Unexpected,
}

impl IngestError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::Api(fault) => fault.disposition,
            Self::NoEpoch | Self::Unexpected => Disposition::Terminal,
        }
    }

    /// Whether all Signals must be read again, with digests of the ledger's new key.
    fn is_loss(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Lost(_)))
    }
}

impl Ingest {
    /// How many Signals are held back.
    pub(super) fn held_back(&self) -> usize {
        self.held_back.len()
    }

    /// How many namespaces wait for room in the ledger.
    pub(super) fn crowded(&self) -> usize {
        self.crowds.len()
    }

    /// Whether a merge is under way that has Signals of this key.
    fn merges(&self, key: StormKey) -> bool {
        self.merging.as_ref().is_some_and(|merging| merging.merges(key))
    }

    /// Whether the storm that a key has no open one of is being opened, and merged into.
    fn opens_and_merges(&self, key: StormKey) -> bool {
        self.pool.merges(key)
    }
}
