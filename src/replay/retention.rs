//! What the operator deletes after its retention, on a virtual clock: a replay of a day keeps what a cluster would keep.

use std::collections::{BTreeSet, HashSet};

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use stormfold_core::engine::call::ObjectName;
use stormfold_core::engine::input::Input;
use stormfold_core::request::Request;

use super::{DIGESTS, Replay, RequestEvent};
use crate::cluster::request_of;
use crate::ledger::Ledger as _;
use crate::storm::Policy;
use crate::watch::says;

/// How often the Signals of a storm are looked for again, as in the operator.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// When closed storms are looked at.
#[derive(Default)]
pub(super) struct VirtualRetention {
    queue: BTreeSet<(Timestamp, ObjectName)>,
    queued: HashSet<ObjectName>,
}

impl VirtualRetention {
    /// This storm is looked at then, or before.
    pub(super) fn look_at(&mut self, storm: ObjectName, at: Timestamp) {
        if self.queued.insert(storm.clone()) {
            self.queue.insert((at, storm));
        }
    }

    /// When the next one is looked at.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The next one until then.
    pub(super) fn next_until(&mut self, end: Timestamp) -> Option<(Timestamp, ObjectName)> {
        let next = self.queue.first().filter(|(at, _)| *at <= end)?.clone();
        self.queue.remove(&next);
        self.queued.remove(&next.1);
        Some(next)
    }
}

/// When the Signals of a closed storm go, and the request itself. `None`: never.
pub(super) fn goes(object: &Request, policy: &Policy) -> (Option<Timestamp>, Option<Timestamp>) {
    let closed = object.end().and_then(|end| end.at);
    let after = |kept: Option<SignedDuration>| {
        // Strictly after, and looked at once a second.
        closed?.checked_add(kept?).ok()?.checked_add(SignedDuration::from_secs(1)).ok()
    };
    let signals = after(policy.retention);
    (signals, signals.and(after(policy.request_retention)))
}

impl Replay {
    /// A storm was closed: its Signals go one day.
    pub(super) fn note_closed(&mut self, object: &Request) {
        let storm = ObjectName { namespace: object.namespace.clone(), name: object.name.clone() };
        if let (Some(signals), _) = goes(object, self.view.set.named(&object.opening.policy)) {
            self.retention.look_at(storm, signals.max(self.now));
        }
    }

    /// A receipt was written: of a closed storm whose Signals were looked for, they are looked for again.
    pub(super) fn note_receipt(&mut self, signal: &ObjectName) {
        let status = self.cluster.signal(signal).and_then(|signal| signal.status.as_ref());
        let Some(name) = status.and_then(|status| status.storm.clone()) else { return };
        let storm = ObjectName { namespace: signal.namespace.clone(), name };
        let Some(object) = self.cluster.request(&storm).and_then(request_of).filter(|object| !object.is_open()) else {
            return;
        };
        if let (Some(signals), _) = goes(&object, self.view.set.named(&object.opening.policy)) {
            let again = if signals <= self.now { self.now + LOOK_AGAIN } else { signals };
            self.retention.look_at(storm, again);
        }
    }

    /// The Signals of a closed storm go, but those that alone tell that an alert fires on; then the request itself.
    pub(super) fn retire(&mut self, storm: &ObjectName) {
        let Some(object) = self.cluster.request(storm).and_then(request_of) else { return };
        let (signals, request) = goes(&object, self.view.set.named(&object.opening.policy));
        if signals.is_none_or(|signals| signals > self.now) {
            return;
        }
        let Some(Ok(alerts)) = self.ledger.alerts(object.id.key).now_or_never() else { return };
        let mut kept = false;
        for name in self.cluster.signals_of_storm(storm) {
            let Some(signal) = self.cluster.signal(&name) else { continue };
            if says(signal, &DIGESTS).iter().any(|report| alerts.needs(report)) {
                kept = true;
            } else {
                self.cluster.delete_signal(&name);
            }
        }
        match request {
            _ if kept => self.retention.look_at(storm.clone(), self.now + LOOK_AGAIN),
            Some(request) if request <= self.now => {
                if let Some(gone) = self.cluster.retire_request(storm) {
                    self.inputs.push_back(Input::Request(RequestEvent::Deleted(gone.id)));
                }
            }
            Some(request) => self.retention.look_at(storm.clone(), request),
            None => {}
        }
    }
}
