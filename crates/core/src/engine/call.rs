//! Calls of the engine and their answers. Each call belongs to a task, and a task has at most one call under way.

use std::sync::Arc;

use jiff::Timestamp;

use super::input::Arrival;
use super::receipts::Receipt;
use crate::disposition::Disposition;
use crate::ledger::{LedgerCall, LedgerError, LedgerReply};
use crate::request::Request;
use crate::storm::decide::CloseReason;
use crate::storm::example::Example;
use crate::storm::{DigestKey, Epoch, Opening, Policy, StormId, StormKey, StormMetadata};

/// What waits for the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Before all Signals are read.
    Begin,
    /// After they are.
    Dirty,
    /// A storm that a receipt names, and the store does not know: the objects of its key.
    Holder(StormKey),
    /// What closed storms hold.
    Hold,
    /// A chunk that is merged.
    Merge,
    /// A key that has no open storm.
    Open(StormKey),
    /// The run of a storm.
    Run(StormId),
    /// A writer of receipts.
    Receipt(u8),
    /// A reader of the Signals of one namespace.
    Reread(u8),
}

/// Identifies a call. A reply to another call of the same task is ignored: it comes late, or twice.
#[derive(Clone, Copy, Debug)]
pub struct CallId {
    /// What waits for the answer.
    pub task: Task,
    /// Which call of the engine's life.
    pub number: u64,
}

/// A call to the API server. Each one is bounded in time by its executor.
#[derive(Clone, Debug)]
pub enum ApiCall {
    /// All RemediationRequests of a key, read uncached.
    Find {
        /// The key.
        key: StormKey,
        /// Its namespace.
        namespace: String,
        /// What it groups, for messages.
        pattern: String,
    },
    /// One RemediationRequest, read uncached.
    Get {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Creates the RemediationRequest of a storm, or gives the one that has its name.
    Create(Box<NewRequest>),
    /// Applies facts to the status of a RemediationRequest.
    Apply(Box<StatusApply>),
    /// Writes the receipt of a Signal.
    WriteReceipt(Box<Receipt>, Timestamp),
}

/// A RemediationRequest to create.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewRequest {
    /// The storm.
    pub id: StormId,
    /// What it takes from the Signal that opened it.
    pub opening: Arc<Opening>,
    /// Its facts.
    pub facts: StormMetadata,
    /// Name of its predecessor.
    pub previous: Option<String>,
}

/// Facts for an object. They are applied on the version that they were decided on: a writer with an old view is refused (409).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusApply {
    /// The object as it was when this was decided.
    pub object: Arc<Request>,
    /// What to write.
    pub facts: StormMetadata,
    /// A few of its alerts that fire.
    pub examples: Vec<Example>,
    /// Why the storm ends, if it does.
    pub ending: Option<CloseReason>,
    /// The policy, for the threshold.
    pub policy: Arc<Policy>,
    /// The time of conditions that change.
    pub now: Timestamp,
}

/// A page of the Signals of one namespace, read uncached.
#[derive(Clone, Debug)]
pub struct ListSignals {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The part of the watch that it belongs to.
    pub part: usize,
    /// Key of the digests.
    pub digests: DigestKey,
    /// Where the page before ended; `None`: the first one.
    pub after: Option<String>,
}

/// What is on it.
#[derive(Clone, Debug)]
pub struct SignalsPage {
    /// What each Signal means, as the watch would bring it.
    pub arrivals: Vec<Arrival>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<String>,
}

/// What the API server answers.
#[derive(Clone, Debug)]
pub enum ApiReply {
    /// The objects of a key.
    Found(Vec<Request>),
    /// The object of this name, if there is one that is ours.
    Object(Option<Request>),
    /// It was created.
    Created(Request),
    /// An object of this storm had been created before.
    Existed(Request),
    /// The object is there, and somebody has deleted it: a finalizer holds it. It counts as gone.
    Deleting,
    /// The name belongs to an object of another storm.
    NameTaken(String),
    /// The status was applied; the object as it is now.
    Applied(Request),
    /// The receipt was written.
    Written,
}

/// A call to the API server that failed. It may have had its effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{message}")]
pub struct ApiFault {
    /// What the engine distinguishes.
    pub kind: ApiFaultKind,
    /// What to do about it.
    pub disposition: Disposition,
    /// What was tried, on what, and what came back.
    pub message: String,
}

/// The faults that the engine distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiFaultKind {
    /// 404: there is no such object.
    NotFound,
    /// 409: another version, or another object of that name.
    Conflict,
    /// The object's namespace is gone or being deleted.
    NamespaceGone,
    /// Refused for a reason of the object's namespace: a quota, an admission policy. It concerns nobody else.
    Refused,
    /// 410: where a page ended is not known any more.
    Expired,
    /// Anything else.
    Other,
}

/// The answer to a call.
#[allow(clippy::large_enum_variant, reason = "a reply lives for one step")]
#[derive(Clone, Debug)]
pub enum Reply {
    /// Of the ledger.
    Ledger(Result<LedgerReply, LedgerError>),
    /// Of the API server.
    Api(Result<ApiReply, ApiFault>),
    /// Of the reader of Signals.
    Signals(Result<SignalsPage, ApiFault>),
}

/// A call, to whomever.
#[allow(clippy::large_enum_variant, reason = "a call lives for one step")]
#[derive(Clone, Debug)]
pub enum Call {
    /// To the ledger.
    Ledger(LedgerCall),
    /// To the API server.
    Api(ApiCall),
    /// To the reader of Signals.
    Signals(ListSignals),
}

/// The namespace and name of an object, for logs and Events: text that people can look up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// Of the object of a storm.
    pub fn of_storm(opening: &Opening, epoch: Epoch) -> Self {
        Self {
            namespace: opening.object_namespace.clone(),
            name: crate::storm::name::storm_name(&opening.pattern, epoch),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
