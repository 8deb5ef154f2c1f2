//! What the engine wants done, and what it has to tell.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, CallId, ObjectName};
use super::receipts::ReceiptKey;
use super::resync::{RereadReason, ResyncReason};
use super::store::Totals;
use crate::disposition::Disposition;
use crate::ledger::Durability;
use crate::request::Request;
use crate::storm::decide::{CloseReason, DropReason, WriteReason};
use crate::storm::holding::HeldBack;
use crate::storm::{DigestKey, GroupBy, Rejection, SignalRef, StormId, StormMetadata};

/// One thing to do. Effects of a step are independent of each other, and are carried out in any order, except that a timer is
/// set and cancelled in the order given.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "an effect lives for one step")]
pub enum Effect {
    /// A call, whose answer comes back as `Input::Reply`.
    Call(CallId, Call),
    /// `Input::Timer` after a delay. A timer that is set again replaces the earlier one.
    SetTimer(Timer, Delay),
    /// This timer is not needed any more.
    CancelTimer(Timer),
    /// All Signals are to be listed and watched from now on, with digests of this key. Storms are open under these policies and
    /// groupings.
    ReadSignals {
        /// Key of the digests.
        digests: DigestKey,
        /// Policies and the groupings under which storms of theirs are open.
        groupings: Vec<(String, GroupBy)>,
    },
    /// The next chunk of Signals is wanted. Before this nothing is read: the API server is the buffer.
    NextChunk,
    /// A gate of readiness.
    Gate(GateId, Option<String>),
    /// Something happened that people or metrics are told.
    Fact(Fact),
}

/// A timer by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next look at a storm.
    Storm(StormId),
    /// The end of the time in which a storm may not run: its publish interval, or a back-off.
    Pause(StormId),
    /// The ledger is asked again whether it is there.
    Begin,
    /// A chunk is merged again.
    Merge,
    /// Keys whose storms could not be opened are merged again.
    Open,
    /// What is held back is looked at.
    HeldBack,
    /// A burst of Signals is over.
    Burst,
    /// Receipts wait no longer for the end of a burst.
    Patience,
    /// A receipt is tried again.
    Receipt(ReceiptKey),
    /// It is tried whether the ledger has room again.
    Room,
    /// A page of the Signals of one namespace is asked for again.
    Reread(u8),
}

/// How long a timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delay {
    /// So long.
    After(Duration),
    /// A back-off after so many failures in a row, with jitter, and not longer than `at_most`.
    Backoff {
        /// How many failures; the first is 1.
        failures: u32,
        /// An upper bound.
        at_most: Duration,
    },
}

/// A gate of readiness. Closed with a reason, open without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateId {
    /// The first list of Signals is complete.
    Signals,
    /// The first list of RemediationRequests is complete.
    Requests,
    /// The ledger answers and is not being rebuilt.
    Ledger,
    /// Signals can be merged.
    Merge,
    /// The ledger has room for every namespace. Closed, it concerns those only for which it has none: readiness stays (invariant 21).
    Room,
    /// Receipts can be written.
    Receipts,
    /// This storm can be published.
    Publish(StormId),
}

/// A loop of the engine, for the metric of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Signals in.
    Ingest,
    /// RemediationRequests out.
    Publish,
    /// Receipts out.
    Receipts,
}

/// What became of the run of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nothing until somebody asks.
    Done,
    /// Again after this.
    After(Duration),
    /// Something was written; again after the first, and not before the second, the publish interval, is over.
    Published(Duration, Duration),
    /// Again after a back-off.
    Failed,
}

/// Something that happened: for logs, Events, metrics and timelines.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A RemediationRequest was created.
    Opened(Arc<Request>),
    /// A storm that is open in the cluster was taken into the ledger.
    Adopted(ObjectName),
    /// Facts were written.
    Published {
        /// Of this object, as it is now.
        object: Arc<Request>,
        /// Why.
        reason: WriteReason,
        /// The time since the first change that is in it.
        lag: Option<jiff::SignedDuration>,
    },
    /// The threshold was reached with the last write.
    ThresholdReached(Arc<Request>, Box<StormMetadata>),
    /// A storm was closed in the ledger; its end is not written yet.
    ClosedInLedger(ObjectName, CloseReason),
    /// The end of a storm was written.
    Closed(Arc<Request>, CloseReason),
    /// The RemediationRequest was deleted by hand: the storm is forgotten.
    Forgotten(ObjectName),
    /// A storm of the ledger lost its place in the cluster.
    Dropped(ObjectName, DropReason),
    /// The namespace of a storm is being deleted, and the storm with it.
    NamespaceGone(ObjectName),
    /// A run of a storm is over.
    RunEnded(StormId, Next),
    /// A Signal was counted.
    Counted(Counted),
    /// A Signal was rejected.
    Rejected(SignalRef, Rejection),
    /// A Signal without a receipt matched this policy.
    Matched(String),
    /// Somebody else has written `status.storm` of this object; it is put right.
    Overwritten(Arc<Request>),
    /// The API server refuses the RemediationRequest of a storm for a reason of its namespace, in these words. One of its Signals.
    RequestRefused(ObjectName, Option<Arc<SignalRef>>, String),
    /// So many storms are refused like that.
    RefusedStorms(usize),
    /// So many Signals are held back.
    HeldBack(usize),
    /// So many namespaces wait for room in the ledger.
    Crowded(usize),
    /// So many receipts are owed.
    Owed(usize),
    /// What the store holds, in numbers.
    Totals(Totals),
    /// Something failed and is tried again.
    Failed {
        /// Where.
        part: Part,
        /// What it asks for.
        disposition: Disposition,
        /// On what, where that can be said.
        object: Option<ObjectName>,
        /// What was tried, and what came back.
        message: String,
    },
    /// What the ledger still knew when all Signals began to be read, and the storms that were open then.
    LedgerBegun(Durability, Vec<Arc<Request>>),
    /// All Signals begin to be read, for this reason.
    ListBegins(ResyncReason),
    /// The Signals of this namespace begin to be read again, for this reason.
    RereadBegins(Arc<str>, RereadReason),
    /// Alerts that this storm left fire on, and the next one may not open yet.
    SuccessorWaits(Arc<Request>, HeldBack),
}

/// What became of one Signal that passed intake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counted {
    /// Reports that told the ledger something new.
    pub new: usize,
    /// Reports that it had.
    pub known: usize,
    /// Occurrences that were rejected.
    pub rejected: usize,
    /// Times that were clamped.
    pub clamped: usize,
    /// Whether it lacks a label that its policy groups by.
    pub lacks_labels: bool,
}
