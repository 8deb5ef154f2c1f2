//! The labels: closed enums, each of which knows all its values. What has none of them yet is exported as zero from the start, so that the first
//! failure is a rise that an alert sees, and not a series that begins.

use prometheus_client::encoding::EncodeLabelSet;
use stormfold_core::engine::resync::{RereadReason, ResyncReason};

/// An enum of label values with a list of them all.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$says:meta])* $value:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, prometheus_client::encoding::EncodeLabelValue)]
        pub enum $name { $($(#[$says])* $value,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$value),+];
        }
    };
}

pub(super) use closed;

closed! {
    /// What became of a Signal at intake.
    SignalResult {
        /// Everything in it was accepted.
        Accepted,
        /// Some occurrences were rejected.
        PartlyRejected,
        /// All of it was.
        Rejected,
    }
}

closed! {
    /// What became of an occurrence.
    OccurrenceResult {
        /// It told the ledger something new.
        Merged,
        /// The ledger, or a closed storm, had it already.
        Known,
        /// It was refused.
        Rejected,
    }
}

closed! {
    /// A watched resource.
    WatchedResource {
        /// `signals.stormfold.dev`.
        Signals,
        /// `remediationrequests.stormfold.dev`.
        RemediationRequests,
        /// `stormpolicies.stormfold.dev`.
        StormPolicies,
        /// `namespaces`.
        Namespaces,
        /// `events.events.k8s.io`.
        Events,
    }
}

impl WatchedResource {
    /// As in RBAC.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::RemediationRequests => "remediationrequests",
            Self::StormPolicies => "stormpolicies",
            Self::Namespaces => "namespaces",
            Self::Events => "events",
        }
    }

    /// Those that are watched, where not all are.
    pub fn fields(self) -> Option<&'static str> {
        (self == Self::Events).then_some("type=Warning")
    }

    /// What gives the rights on it.
    pub fn rights(self) -> &'static str {
        match self {
            Self::Events => "add the component manifests/components/events-source",
            Self::Signals | Self::RemediationRequests | Self::StormPolicies | Self::Namespaces => {
                "kubectl apply -f manifests/install.yaml"
            }
        }
    }

    /// With its group, where it has one.
    pub fn full_name(self) -> String {
        match self {
            Self::Namespaces => self.plural().to_owned(),
            Self::Events => "events.events.k8s.io".to_owned(),
            Self::Signals | Self::RemediationRequests | Self::StormPolicies => {
                format!("{}.stormfold.dev", self.plural())
            }
        }
    }

    /// What readiness calls its first list.
    pub fn first_list(self) -> &'static str {
        match self {
            Self::Signals => "list of signals",
            Self::RemediationRequests => "list of remediationrequests",
            Self::StormPolicies => "list of stormpolicies",
            Self::Namespaces => "list of namespaces",
            Self::Events => "list of events",
        }
    }
}

closed! {
    /// A write to the API server.
    ApiWrite {
        /// A RemediationRequest created.
        Create,
        /// Facts of a storm applied.
        Status,
        /// The end of a storm applied.
        Close,
        /// A receipt.
        Receipt,
        /// The status of a StormPolicy.
        Policy,
        /// A Signal deleted after its retention.
        DeleteSignal,
        /// A RemediationRequest deleted after its retention.
        DeleteRequest,
        /// A Kubernetes Event.
        Event,
    }
}

impl ApiWrite {
    /// How it can go.
    pub fn results(self) -> &'static [WriteResult] {
        match self {
            Self::Event => &[WriteResult::Done, WriteResult::Dropped],
            Self::Create
            | Self::Status
            | Self::Close
            | Self::Receipt
            | Self::Policy
            | Self::DeleteSignal
            | Self::DeleteRequest => &[WriteResult::Done, WriteResult::Gone, WriteResult::Failed],
        }
    }
}

closed! {
    /// How it went.
    WriteResult {
        /// The API server said yes.
        Done,
        /// The object is gone: nothing left to write.
        Gone,
        /// Not now; tried again.
        Failed,
        /// Given up: Events only, which are news and not state.
        Dropped,
    }
}

closed! {
    /// A loop that can fail.
    Loop {
        /// Signals in.
        Ingest,
        /// RemediationRequests out.
        Publish,
        /// Receipts out.
        Receipts,
        /// Statuses of policies out.
        Policies,
        /// Deletes after the retention.
        Retention,
    }
}

closed! {
    /// Why all Signals are read. Named as `ResyncReason`.
    #[allow(missing_docs)]
    RelistReason {
        Start,
        LedgerReplaced,
        LedgerWiped,
        LedgerLost,
        LedgerBehind,
        ClosedInCluster,
        OpeningUnknown,
        HeldBackOverflow,
    }
}

impl From<ResyncReason> for RelistReason {
    fn from(reason: ResyncReason) -> Self {
        match reason {
            ResyncReason::Start => Self::Start,
            ResyncReason::LedgerReplaced => Self::LedgerReplaced,
            ResyncReason::LedgerWiped => Self::LedgerWiped,
            ResyncReason::LedgerLost => Self::LedgerLost,
            ResyncReason::LedgerBehind => Self::LedgerBehind,
            ResyncReason::ClosedInCluster => Self::ClosedInCluster,
            ResyncReason::OpeningUnknown => Self::OpeningUnknown,
            ResyncReason::HeldBackOverflow => Self::HeldBackOverflow,
        }
    }
}

closed! {
    /// Why the Signals of one namespace are read again. Named as `RereadReason`.
    #[allow(missing_docs)]
    RereadLabel {
        StormDropped,
        RequestDeleted,
        ReceiptsDropped,
        OpeningsOverflow,
        TakenOver,
        ListOverflow,
        LedgerFull,
    }
}

impl From<RereadReason> for RereadLabel {
    fn from(reason: RereadReason) -> Self {
        match reason {
            RereadReason::StormDropped => Self::StormDropped,
            RereadReason::RequestDeleted => Self::RequestDeleted,
            RereadReason::ReceiptsDropped => Self::ReceiptsDropped,
            RereadReason::OpeningsOverflow => Self::OpeningsOverflow,
            RereadReason::TakenOver => Self::TakenOver,
            RereadReason::ListOverflow => Self::ListOverflow,
            RereadReason::LedgerFull => Self::LedgerFull,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct RereadLabels {
    pub reason: RereadLabel,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct RelistLabels {
    pub reason: RelistReason,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct SignalLabels {
    pub result: SignalResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct OccurrenceLabels {
    pub result: OccurrenceResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct WatchLabels {
    pub resource: WatchedResource,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct WriteLabels {
    pub write: ApiWrite,
    pub result: WriteResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct FailureLabels {
    pub in_loop: Loop,
    pub disposition: DispositionLabel,
}

closed! {
    /// What a failure asks for.
    #[allow(missing_docs)]
    DispositionLabel {
        Terminal,
        Conflict,
        Transient,
        Unavailable,
    }
}
