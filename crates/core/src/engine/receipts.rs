//! Receipts: what each Signal is told, and when. Written after the RemediationRequest shows what the Signal brought, at low
//! priority: a status write costs the API server as much as the create, so during a burst they wait.

mod registry;
mod writer;

use std::sync::Arc;

use super::fair::Place;
pub use registry::{ReceiptKey, Receipts};

use crate::storm::holding::HeldBack;
use crate::storm::metadata::count;
use crate::storm::{HeldReports, Observation, Past, Rejection, Severity, SignalRef, cut};

/// Conditions may have messages of 32 KB; nobody reads that.
pub const MAX_MESSAGE: usize = 1_024;

/// What a Signal is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The Signal.
    pub signal: Arc<SignalRef>,
    /// Name of the RemediationRequest, if one holds its occurrences.
    pub storm: Option<String>,
    /// Names of others that hold some of them, and where those are in the Signal.
    pub others: Vec<(String, Vec<u16>)>,
    /// How many occurrences it has.
    pub total: i64,
    /// Those of them that told the ledger something new.
    pub new: i64,
    /// Those of them that were rejected.
    pub rejected: i64,
    /// Those of them that the storm did not take in, by their places in the Signal.
    pub held: HeldReports,
    /// The verdict.
    pub verdict: Verdict,
    /// Labels by which its policy groups and which it lacks.
    pub missing_labels: Vec<String>,
    /// The version of the Signal that was read.
    pub version: Option<String>,
    /// What its condition `Accepted` says while it waits.
    pub pending: Option<String>,
    /// Its severity: the more severe is told first.
    pub severity: Severity,
}

/// How intake ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// All of it is in.
    Merged,
    /// Some of it is in; why the rest is not.
    PartlyRejected(String),
    /// None of it is in.
    Rejected(Rejection),
    /// It waits for a storm that may not open yet.
    HeldBack(HeldBack),
    /// It is merged, and the API server refuses the RemediationRequest of its storm; in these words.
    RequestRefused(String),
    /// It waits for room in the ledger; in these words.
    NoRoom(String),
}

impl Verdict {
    /// Whether this is no receipt: the Signal waits. It is written only onto the version of the Signal that was read, so that it never
    /// comes after a receipt.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::HeldBack(_) | Self::RequestRefused(_) | Self::NoRoom(_))
    }
}

impl Receipt {
    /// Where it stands in a queue.
    pub(super) fn place(&self) -> Place {
        Place::of(&self.signal.namespace, self.severity)
    }

    /// Of a Signal that passed intake, `new` of whose reports told the ledger something new.
    pub(super) fn of(observation: &Observation, storm: Option<String>, new: usize) -> Self {
        let refused = &observation.refused;
        Self {
            signal: observation.signal.clone(),
            storm,
            others: Vec::new(),
            total: count(observation.total()),
            new: count(new),
            rejected: count(refused.count),
            held: HeldReports::new(),
            verdict: refused.first.clone().map_or(Verdict::Merged, Verdict::PartlyRejected),
            missing_labels: observation.missing_labels.clone(),
            version: observation.resource_version.clone(),
            pending: observation.pending_message.clone(),
            severity: observation.severity,
        }
    }

    /// With what the storm did not take in of the reports.
    #[must_use]
    pub(super) fn with_held(mut self, observation: &Observation, held: &[(u16, Past)]) -> Self {
        let mut held = held.iter().peekable();
        self.held = (0u16..)
            .zip(observation.places())
            .filter_map(|(index, place)| held.next_if(|(of, _)| *of == index).map(|(_, past)| (place, *past)))
            .collect();
        self
    }

    /// Of a Signal that did not pass it.
    pub(super) fn of_rejected(signal: SignalRef, rejection: Rejection) -> Self {
        let count = count(rejection.occurrences);
        Self {
            signal: Arc::new(signal),
            storm: None,
            others: Vec::new(),
            total: count,
            new: 0,
            rejected: count,
            held: HeldReports::new(),
            verdict: Verdict::Rejected(rejection),
            missing_labels: Vec::new(),
            version: None,
            pending: None,
            severity: Severity::default(),
        }
    }

    /// What the condition `Accepted` says, for people.
    pub fn message(&self) -> String {
        match &self.verdict {
            Verdict::Merged if self.storm.is_some() => "counted".to_owned(),
            Verdict::Merged => "nothing in it fires, and no storm is open".to_owned(),
            Verdict::PartlyRejected(first) => {
                let message = format!("{} occurrences rejected, the first: {first}", self.rejected);
                cut(&message, MAX_MESSAGE).to_owned()
            }
            Verdict::Rejected(rejection) => cut(&rejection.message, MAX_MESSAGE).to_owned(),
            Verdict::RequestRefused(why) => {
                let message = format!("the RemediationRequest of its storm is refused, and tried again: {why}");
                cut(&message, MAX_MESSAGE).to_owned()
            }
            Verdict::NoRoom(why) => cut(&format!("it waits: {why}"), MAX_MESSAGE).to_owned(),
            Verdict::HeldBack(why @ HeldBack::Suspended(_)) => format!("{}, and this Signal waits", why.words()),
            Verdict::HeldBack(why @ HeldBack::CoolingDown(..)) => why.words(),
        }
    }
}
