//! What is written, from what was decided. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use serde_json::{Value, json};
use stormfold_core::engine::call::StatusApply;
use stormfold_core::request::Standing;

use crate::api::{
    CLOSED, REASON_BELOW_THRESHOLD, REASON_OPEN, REASON_THRESHOLD_REACHED, RemediationRequest, STORM, StormState,
    StormStatus, condition, storm_example, storm_status,
};
use crate::storm::decide::{CloseReason, is_storm};
use crate::storm::metadata::whole_seconds;
use crate::storm::{Policy, StormMetadata};

/// What is ours of the status of a RemediationRequest.
pub struct RenderedStatus {
    /// `status.storm`.
    pub storm: StormStatus,
    /// Our conditions: an apply owns what it lists.
    pub conditions: [Condition; 2],
}

/// The facts of a storm as they are shown.
pub fn rendered(StatusApply { object, facts, examples, ending, policy, now }: &StatusApply) -> RenderedStatus {
    let namespace = &object.opening.namespace;
    let storm = StormStatus {
        examples: examples.iter().map(|example| storm_example(example, namespace)).collect(),
        state: if ending.is_some() { StormState::Closed } else { StormState::Open },
        closed_at: ending.map(|_| whole_seconds(*now).into()),
        close_reason: *ending,
        ..storm_status(facts, namespace, object.revision().saturating_add(1))
    };
    let conditions = [
        since(storm_condition(facts, policy, *now), object.storm),
        since(closed_condition(*ending, *now), object.closed),
    ];
    RenderedStatus { storm, conditions }
}

/// The facts of a storm as a status apply. It carries the resourceVersion that the decision was made on, so that a writer with
/// an old view is refused (409), and the UID, so that it never lands on another object of the same name.
pub fn status(apply: &StatusApply) -> Value {
    let object = &apply.object;
    let RenderedStatus { storm, conditions } = rendered(apply);
    json!({
        "apiVersion": RemediationRequest::api_version(&()),
        "kind": RemediationRequest::kind(&()),
        "metadata": {
            "name": object.name,
            "namespace": object.namespace,
            "uid": object.uid,
            "resourceVersion": object.resource_version,
        },
        "status": { "storm": storm, "conditions": conditions },
    })
}

/// A condition whose status did not change keeps the time of its last transition.
fn since(mut condition: Condition, before: Option<Standing>) -> Condition {
    if let Some(before) = before.filter(|before| before.holds == (condition.status == "True")) {
        condition.last_transition_time = Time(before.since);
    }
    condition
}

fn storm_condition(facts: &StormMetadata, policy: &Policy, now: Timestamp) -> Condition {
    let reached = is_storm(facts, policy);
    let reason = if reached { REASON_THRESHOLD_REACHED } else { REASON_BELOW_THRESHOLD };
    let message = format!("a storm is {} alerts or {} resources", policy.storm_alerts, policy.storm_resources);
    condition(STORM, reached, reason, message, now)
}

fn closed_condition(ending: Option<CloseReason>, now: Timestamp) -> Condition {
    let (reason, message) = match ending {
        None => (REASON_OPEN, "new occurrences join this storm"),
        Some(CloseReason::Resolved) => ("Resolved", "nothing fires, and the settle delay is over"),
        Some(CloseReason::Quiet) => ("Quiet", "no Signal came for the quiet period"),
        Some(CloseReason::MaxAge) => ("MaxAge", "the maximum age is over; new occurrences open a successor"),
        Some(CloseReason::RemediationFinished) => {
            ("RemediationFinished", "the remediation engine reported its outcome")
        }
        Some(CloseReason::Requested) => ("Requested", "the annotation stormfold.dev/close asked for it"),
        Some(CloseReason::Superseded) => ("Superseded", "an older open RemediationRequest holds this storm"),
    };
    condition(CLOSED, ending.is_some(), reason, message.to_owned(), now)
}
