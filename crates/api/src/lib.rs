//! The custom resources of group `stormfold.dev`: their schemas, bounds and conditions.
//!
//! What is written here is what `kubectl explain` shows: field docs are the manual. Nothing in this room decides anything.

mod bounds;
mod conditions;
pub mod conversions;
#[expect(unreachable_pub, reason = "KubeSchema derives through a private copy of each struct")]
mod remediation_request;
#[expect(unreachable_pub, reason = "KubeSchema derives through a private copy of each struct")]
mod signal;
#[expect(unreachable_pub, reason = "KubeSchema derives through a private copy of each struct")]
mod storm_policy;

pub use conditions::{
    ACCEPTED, CLOSED, GROUPED, HELD_BACK_REASONS, REASON_BELOW_THRESHOLD, REASON_COMPILED, REASON_COOLING_DOWN,
    REASON_INVALID, REASON_LABELS_MISSING, REASON_LEDGER_FULL, REASON_MERGED, REASON_OPEN, REASON_PARTLY_REJECTED,
    REASON_POLICY_SUSPENDED, REASON_REQUEST_REFUSED, REASON_THRESHOLD_REACHED, STORM, condition, upsert_condition,
};
pub use conversions::{from_storm_metadata, opening_of, storm_example, storm_status, to_storm_metadata};
pub use remediation_request::{
    AffectedResource, OpeningAlert, OpeningSignal, PolicyRef, PreviousRef, RemediationRequest, RemediationRequestSpec,
    RemediationRequestStatus, RemediationStatus, StormExample, StormState, StormStatus,
};
pub use signal::{
    Occurrence, OccurrenceResource, OccurrenceState, OccurrenceSummary, OtherStorm, Signal, SignalExample, SignalSpec,
    SignalStatus, Source,
};
pub use storm_policy::{
    Cooldown, Operator, PolicyMatch, Requirement, Selector, StormPolicy, StormPolicySpec, StormPolicyStatus,
    StormThreshold,
};
pub use stormfold_core::storm::{CloseReason, Outcome, Severity};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The API group of every resource of ours.
pub const GROUP: &str = "stormfold.dev";

/// The field manager of everything this operator writes by server-side apply.
pub const FIELD_MANAGER: &str = "stormfold";

/// Annotation of a RemediationRequest: `true` ends the storm now.
pub const CLOSE: &str = "stormfold.dev/close";

/// Annotation of a RemediationRequest: `true` keeps the storm open whatever the policy says.
pub const HOLD_OPEN: &str = "stormfold.dev/hold-open";

/// Annotation of a closed RemediationRequest: `true` lets a successor open before the cool-down is over.
pub use stormfold_core::storm::ACKNOWLEDGED;

/// Every CRD of this operator, in the order in which `stormfold crds` prints them.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Signal::crd(), RemediationRequest::crd(), StormPolicy::crd()]
}
