//! What a watch event on a Signal means to the engine. A Signal is read here and dropped; what stays is an observation of a few
//! bytes per occurrence.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use serde::Deserialize;
use stormfold_core::engine::input::Arrival;

use super::intake::{intake, is_waiting, reason, signal_ref, verdict};
use crate::api::Signal;
use crate::policies::View;
use crate::runtime::guarded::{Guarded, Unreadable};
use crate::runtime::watch::WatchEvent;
use crate::storm::{DigestKey, Observation, Reach, Rejection};

/// Of the Signal that an event is about: over which namespace the watch is, its namespace, and when it was created.
pub(super) fn place_of((part, event): &WatchEvent<Guarded<Signal>>) -> Option<(usize, String, Timestamp)> {
    match event {
        Event::InitApply(signal) | Event::Apply(signal) => {
            let created = signal.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            Some((*part, signal.namespace()?, created))
        }
        Event::Init | Event::InitDone | Event::Delete(_) => None,
    }
}

/// Reads an event. `None`: there is nothing to do.
pub(crate) fn arrive(
    (part, event): WatchEvent<Guarded<Signal>>,
    view: &View,
    reach: &Reach,
    key: &DigestKey,
) -> Option<Arrival> {
    match event {
        Event::Init => Some(Arrival::ListBegins(part)),
        Event::InitDone => Some(Arrival::ListEnds(part)),
        // The spec is immutable, so a Signal with a receipt has nothing new: mostly it is our own write coming back
        // (invariant 14). What a ledger has lost comes again with a list, and lists are read whole.
        Event::Apply(signal) if accepted_reason(&signal).is_some_and(|reason| !is_waiting(&reason)) => None,
        Event::InitApply(signal) | Event::Apply(signal) => read(part, signal, view, reach, key),
        // What was counted stays counted.
        Event::Delete(_) => None,
    }
}

fn read(part: usize, signal: Guarded<Signal>, view: &View, reach: &Reach, key: &DigestKey) -> Option<Arrival> {
    let told = accepted_reason(&signal);
    let reference = signal_ref(&signal);
    let result = match signal.0 {
        Ok(signal) => intake(&signal, &view.set, &view.labels_of(&reference.namespace), reach, key),
        Err(unreadable) => Err(malformed(&unreadable)),
    };
    match result {
        Ok(observation) => {
            let namespace_made = view.made(&reference.namespace);
            Some(Arrival::Observed(part, Box::new(Observation { namespace_made, ..observation })))
        }
        Err(rejection) if told.as_deref() == Some(rejection.reason) => None,
        Err(rejection) => Some(Arrival::Rejected(reference, rejection)),
    }
}

fn malformed(Unreadable { fault, .. }: &Unreadable) -> Rejection {
    let message =
        format!("this is not a Signal that this operator reads: {fault}; do its CRDs match it? kubectl apply -f crds/");
    Rejection { reason: reason::MALFORMED, message, occurrences: 0 }
}

/// The reason of what a Signal was told, if it was told anything, whether or not the rest of the Signal can be read.
fn accepted_reason(Guarded(signal): &Guarded<Signal>) -> Option<String> {
    let reason = |conditions: &[Condition]| verdict(conditions).map(|condition| condition.reason.clone());
    match signal {
        Ok(signal) => reason(&signal.status.as_ref()?.conditions),
        Err(unreadable) => reason(&Vec::<Condition>::deserialize(unreadable.status.get("conditions")?).ok()?),
    }
}
