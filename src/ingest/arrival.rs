//! What a watch event means to ingest. A Signal is read here and let go; what stays is an observation of a few bytes per occurrence.

use kube::runtime::watcher::Event;

use super::intake::{intake, reason, signal_ref};
use crate::api::{ACCEPTED, Signal};
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::WatchEvent;
use crate::storm::{DigestKey, Observation, Policy, Rejection, SignalRef};

/// See the module.
pub(super) enum Arrival {
    /// The list of this part of the watch begins.
    ListBegins(usize),
    /// Its end.
    ListEnds(usize),
    /// A Signal to merge.
    Observed(Observation),
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
        Event::Apply(Guarded(Ok(signal))) if accepted_reason(&signal).is_some() => Arrival::Nothing,
        Event::InitApply(guarded) | Event::Apply(guarded) => read(guarded, policy, key),
        // What was counted stays counted.
        Event::Delete(_) => Arrival::Nothing,
    }
}

fn read(Guarded(object): Guarded<Signal>, policy: &Policy, key: &DigestKey) -> Arrival {
    let (reference, told, result) = match object {
        Ok(signal) => {
            let told = accepted_reason(&signal).map(str::to_owned);
            (signal_ref(&signal), told, intake(&signal, policy, key))
        }
        Err(unreadable) => {
            let reference = SignalRef {
                namespace: unreadable.metadata.namespace.unwrap_or_default(),
                name: unreadable.metadata.name.unwrap_or_default(),
                uid: unreadable.metadata.uid.unwrap_or_default(),
            };
            let message = format!(
                "this is not a Signal that this operator reads: {}; do its CRDs match it? kubectl apply -f crds/",
                unreadable.fault
            );
            (reference, None, Err(Rejection { reason: reason::MALFORMED, message, occurrences: 0 }))
        }
    };
    match result {
        Ok(observation) => Arrival::Observed(observation),
        Err(rejection) if told.as_deref() == Some(rejection.reason) => Arrival::Nothing,
        Err(rejection) => Arrival::Rejected(reference, rejection),
    }
}

/// The verdict that a Signal's receipt has, if it has one.
fn accepted_reason(signal: &Signal) -> Option<&str> {
    let conditions = &signal.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == ACCEPTED).map(|condition| condition.reason.as_str())
}
