//! What a watch event means to ingest. A Signal is read here and let go; what stays is an observation of a few bytes per occurrence.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::Event;
use serde::Deserialize;

use super::intake::{intake, reason, signal_ref};
use crate::api::{ACCEPTED, Signal};
use crate::runtime::guarded::{Guarded, Unreadable};
use crate::runtime::watch::WatchEvent;
use crate::storm::{DigestKey, Observation, Policy, Rejection, SignalRef};

/// See the module. The number is the part of the watch.
pub(super) enum Arrival {
    /// The list of this part begins.
    ListBegins(usize),
    /// Its end.
    ListEnds(usize),
    /// A Signal to merge.
    Observed(usize, Observation),
    /// A Signal that never can be.
    Rejected(SignalRef, Rejection),
    /// Nothing to do.
    Nothing,
}

/// Reads an event.
pub(super) fn arrive((part, event): WatchEvent<Guarded<Signal>>, policy: &Policy, key: &DigestKey) -> Arrival {
    match event {
        Event::Init => Arrival::ListBegins(part),
        Event::InitDone => Arrival::ListEnds(part),
        // The spec is immutable, so a Signal with a receipt has nothing new: mostly it is our own write coming back
        // (invariant 14). What a ledger has lost comes again with a list, and lists are read whole.
        Event::Apply(signal) if accepted_reason(&signal).is_some() => Arrival::Nothing,
        Event::InitApply(signal) | Event::Apply(signal) => read(part, signal, policy, key),
        // What was counted stays counted.
        Event::Delete(_) => Arrival::Nothing,
    }
}

fn read(part: usize, signal: Guarded<Signal>, policy: &Policy, key: &DigestKey) -> Arrival {
    let told = accepted_reason(&signal);
    let reference = signal_ref(&signal);
    let result = match signal.0 {
        Ok(signal) => intake(&signal, policy, key),
        Err(unreadable) => Err(malformed(&unreadable)),
    };
    match result {
        Ok(observation) => Arrival::Observed(part, observation),
        Err(rejection) if told.as_deref() == Some(rejection.reason) => Arrival::Nothing,
        Err(rejection) => Arrival::Rejected(reference, rejection),
    }
}

fn malformed(Unreadable { fault, .. }: &Unreadable) -> Rejection {
    let message =
        format!("this is not a Signal that this operator reads: {fault}; do its CRDs match it? kubectl apply -f crds/");
    Rejection { reason: reason::MALFORMED, message, occurrences: 0 }
}

/// The verdict that a Signal's receipt has, if it has one, whether or not the rest of the Signal can be read.
fn accepted_reason(Guarded(signal): &Guarded<Signal>) -> Option<String> {
    let reason = |conditions: &[Condition]| {
        conditions.iter().find(|condition| condition.type_ == ACCEPTED).map(|condition| condition.reason.clone())
    };
    match signal {
        Ok(signal) => reason(&signal.status.as_ref()?.conditions),
        Err(unreadable) => reason(&Vec::<Condition>::deserialize(unreadable.status.get("conditions")?).ok()?),
    }
}
