//! Condition types and reasons: one closed list, used by the status writers and by the tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// On a Signal: intake took it (True), refused it for good (False), or it waits for a storm that may not open yet (Unknown). On a
/// StormPolicy: it is in force.
pub const ACCEPTED: &str = "Accepted";
/// On a RemediationRequest: the policy's threshold for a storm is reached.
pub const STORM: &str = "Storm";
/// On a RemediationRequest: the storm is over; the reason is `status.storm.closeReason`.
pub const CLOSED: &str = "Closed";

/// Every occurrence of the Signal was accepted.
pub const REASON_MERGED: &str = "Merged";
/// Some occurrences were refused; the message names the first of them.
pub const REASON_PARTLY_REJECTED: &str = "PartlyRejected";
/// It waits: the engine's outcome of the storm before is too recent.
pub const REASON_COOLING_DOWN: &str = "CoolingDown";
/// It waits: its policy opens no storms.
pub const REASON_POLICY_SUSPENDED: &str = "PolicySuspended";
/// It is merged and waits: the API server refuses the RemediationRequest of its storm, by a quota or an admission policy.
pub const REASON_REQUEST_REFUSED: &str = "RequestRefused";
/// It waits: the memory ledger has no room for more of its namespace.
pub const REASON_LEDGER_FULL: &str = "LedgerFull";
/// The reasons of a Signal that waits: each of them is replaced by a receipt.
pub const HELD_BACK_REASONS: [&str; 4] =
    [REASON_COOLING_DOWN, REASON_POLICY_SUSPENDED, REASON_REQUEST_REFUSED, REASON_LEDGER_FULL];
/// On a Signal, False: it lacks labels by which its policy groups. Absent where it has all of them.
pub const GROUPED: &str = "Grouped";
/// The message names them.
pub const REASON_LABELS_MISSING: &str = "LabelsMissing";
/// The policy is in force.
pub const REASON_COMPILED: &str = "Compiled";
/// The policy cannot be in force; the message says what is wrong.
pub const REASON_INVALID: &str = "Invalid";
/// The storm is under the threshold.
pub const REASON_BELOW_THRESHOLD: &str = "BelowThreshold";
/// The storm is at or over the threshold.
pub const REASON_THRESHOLD_REACHED: &str = "ThresholdReached";
/// The storm is not over.
pub const REASON_OPEN: &str = "Open";

/// Sets a condition, keeping the transition time of one whose status does not change (the Kubernetes API convention).
pub fn upsert_condition(conditions: &mut Vec<Condition>, mut new: Condition) {
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// A condition that became what it is at `now`.
pub fn condition(type_: &str, status: bool, reason: &str, message: String, now: Timestamp) -> Condition {
    Condition {
        type_: type_.into(),
        status: if status { "True" } else { "False" }.into(),
        reason: reason.into(),
        message,
        last_transition_time: Time(now),
        observed_generation: None,
    }
}
