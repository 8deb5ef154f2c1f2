//! RemediationRequests of the cluster as the engine sees them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use stormfold_core::request::{End, Remediation, Request, Shown, Standing};
use stormfold_core::storm::decide::Wish;
use stormfold_core::storm::name::storm_name;
use stormfold_core::storm::{StormId, StormKey};

use crate::api::{
    ACKNOWLEDGED, CLOSE, CLOSED, FIELD_MANAGER, HOLD_OPEN, RemediationRequest, STORM, StormState, opening_of,
    to_storm_metadata,
};
use crate::runtime::guarded::{Guarded, Unreadable};

/// An epoch is an opening in seconds: this much ahead of its object's creation it is nobody's clock.
const MAX_LEAD: i64 = 24 * 3600;

/// The object as the engine sees it. `None` for one that is not what we would have written: whoever may create a
/// RemediationRequest in one namespace must not take over the storms of another, nor push a key's epochs to the end of time.
pub fn request_of(object: &RemediationRequest) -> Option<Request> {
    let id = storm_id(object)?;
    let standing = |type_: &str| {
        let condition = object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some(Standing { holds: condition.status == "True", since: condition.last_transition_time.0 })
    };
    let remediation = object.status.as_ref().and_then(|status| status.remediation.as_ref());
    Some(Request {
        id,
        namespace: object.namespace()?,
        name: object.name_any(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        opening: Arc::new(opening_of(object)),
        shown: shown(object),
        storm: standing(STORM),
        closed: standing(CLOSED),
        remediation: remediation.map(|remediation| Remediation {
            outcome: remediation.outcome,
            finished: remediation.finished_at.as_ref().map(|time| time.0),
        }),
        wish: wish(object),
        acknowledged: is_asked(object, ACKNOWLEDGED),
        writer: writer(object),
        overwritten: None,
    })
}

/// The same, unless somebody has deleted it: a deletion counts from its `deletionTimestamp`, whoever's finalizer still holds the object.
/// What would be counted into it would go with it.
pub fn live_request_of(object: &RemediationRequest) -> Option<Request> {
    request_of(object).filter(|_| object.metadata.deletion_timestamp.is_none())
}

fn shown(object: &RemediationRequest) -> Option<Shown> {
    let storm = object.status.as_ref()?.storm.as_ref()?;
    let end = || End { at: storm.closed_at.as_ref().map(|time| time.0), reason: storm.close_reason };
    Some(Shown {
        facts: to_storm_metadata(object)?,
        revision: storm.revision,
        end: (storm.state == StormState::Closed).then(end),
    })
}

/// Which storm an object is of.
fn storm_id(object: &RemediationRequest) -> Option<StormId> {
    let spec = &object.spec;
    let id = StormId { key: StormKey::from_hex(&spec.storm_key)?, epoch: spec.epoch };
    let created = object.creation_timestamp().map_or(spec.epoch, |time| time.0.as_second());
    let ours = id.key == StormKey::new(&object.namespace()?, &spec.pattern)
        && object.name_any() == storm_name(&spec.pattern, id.epoch)
        && id.epoch >= 1
        && id.epoch - MAX_LEAD <= created;
    ours.then_some(id)
}

/// Who else wrote the status last, as the API server notes the owners of fields. Whoever removes a field owns nothing of it afterwards.
fn writer(object: &RemediationRequest) -> Option<String> {
    let fields = object.metadata.managed_fields.iter().flatten();
    let of_status = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref() == Some("status");
    let others = fields.filter(of_status).filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

/// What a person asked for. An end is for good, so it comes before holding open.
fn wish(object: &RemediationRequest) -> Wish {
    match (is_asked(object, CLOSE), is_asked(object, HOLD_OPEN)) {
        (true, _) => Wish::Close,
        (false, true) => Wish::HoldOpen,
        (false, false) => Wish::None,
    }
}

/// Whether a person has set this annotation to `true`.
fn is_asked(object: &RemediationRequest, annotation: &str) -> bool {
    object.annotations().get(annotation).is_some_and(|value| value == "true")
}

/// A RemediationRequest that this operator cannot read is somebody else's: a newer version made it, or nobody checked it.
pub(crate) fn readable(Guarded(object): Guarded<RemediationRequest>) -> Option<RemediationRequest> {
    object
        .inspect_err(|Unreadable { metadata, fault, .. }| {
            tracing::warn!(
                name = metadata.name,
                namespace = metadata.namespace,
                fault,
                "a RemediationRequest cannot be read, and is ignored"
            );
        })
        .ok()
}
