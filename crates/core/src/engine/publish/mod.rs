//! Storms out: one run per storm at a time, snapshot → projection → decide → carry out. The only writer of RemediationRequests.

mod carry_out;
mod run;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::call::{ApiFault, ApiFaultKind, Task};
use crate::disposition::Disposition;
use crate::ledger::{LedgerError, Snapshot};
use crate::request::Request;
use crate::storm::StormId;
use crate::storm::StormMetadata;
use crate::storm::decide::{CloseReason, WriteReason};

/// How soon to look again at something that another run, or a writer of receipts, is about to finish.
const SHORTLY: Duration = Duration::from_millis(200);
/// How soon a run is tried again that the ledger did not answer.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// create, write, close, write the end, and once more for each that met a newer object: more steps than that is a fault of ours,
/// and the back-off is the right place for it.
const MAX_STEPS: u8 = 12;

/// A run of a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Run {
    phase: RunPhase,
    /// Facts were written: no more of them in this run.
    wrote: bool,
    /// A conflict was met, and the run began once more at once.
    retried: bool,
    steps: u8,
    /// The ledger's state that this step decides on.
    snapshot: Option<Snapshot>,
}

/// The answer that a run waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum RunPhase {
    /// The ledger's state of the storm.
    #[default]
    Snapshot,
    /// The object, which the store lacks and the ledger knows.
    Read,
    /// The ledger's state of an older open storm of the key.
    Older(StormId),
    /// The object, after a conflict.
    ReadAfterConflict,
    Create,
    /// The namespace is gone, and the storm goes.
    DropWithNamespace,
    Adopt,
    MarkAdopted,
    Apply(Box<Applying>),
    /// The object was gone when it was written to.
    MarkGone,
    AckWritten(Box<Written>),
    /// Nothing to write; the next look is due after this.
    AckUnchanged(Duration),
    Close(CloseReason),
    /// Merges of the key that were under way when the storm was to end: their receipts are not owed yet. With the final facts, and
    /// the object that they were decided on.
    AwaitMerges(BTreeSet<Task>, CloseReason, Box<(StormMetadata, Arc<Request>)>),
    /// The end is in the cluster, or there is nothing left: the ledger forgets the final facts.
    Settle,
    Forget,
    Drop,
}

/// What is being applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Applying {
    object: Arc<Request>,
    facts: StormMetadata,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Facts(WriteReason),
    End(CloseReason),
}

/// What was applied and is acknowledged to the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Written {
    object: Arc<Request>,
    facts: StormMetadata,
    reason: WriteReason,
    /// The threshold was reached with it.
    crossed: bool,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Api(#[from] ApiFault),
    #[error("the Signal that opened the storm is not known yet: the Signals are being read again")]
    OpeningUnknown,
    #[error("RemediationRequest {0} exists and is of another storm: delete it, or the alerts of this one wait")]
    NameTaken(String),
    #[error("no decision after {MAX_STEPS} steps")]
    Endless,
    #[error("an answer to another question came: a fault of the executor")]
    Unexpected,
}

impl PublishError {
    /// Whether it is about the namespace of the storm, and concerns nobody else.
    fn is_of_namespace(&self) -> bool {
        match self {
            Self::Api(fault) => fault.kind == ApiFaultKind::Refused,
            Self::NameTaken(_) => true,
            Self::Ledger(_) | Self::OpeningUnknown | Self::Endless | Self::Unexpected => false,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::Api(fault) => fault.disposition,
            Self::OpeningUnknown | Self::Endless => Disposition::Transient,
            Self::NameTaken(_) | Self::Unexpected => Disposition::Terminal,
        }
    }
}
