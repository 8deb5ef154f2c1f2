//! What the engine tells, as logs, Kubernetes Events, metrics and readiness.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::EventType;
use stormfold_core::disposition::Disposition;
use stormfold_core::engine::call::ObjectName;
use stormfold_core::engine::effect::{Counted, Fact, GateId, Part};
use stormfold_core::engine::resync::{RereadReason, ResyncReason};
use stormfold_core::engine::store::Totals;
use stormfold_core::ledger::Durability;
use stormfold_core::request::Request;
use stormfold_core::storm::holding::HeldBack;

use crate::api::{RemediationRequest, Signal};
use crate::metrics::{
    Loop, Metrics, OccurrenceLabels, OccurrenceResult, RelistLabels, RelistReason, RereadLabel, RereadLabels,
    SignalLabels, SignalResult,
};
use crate::policies::Policies;
use crate::runtime::events::Events;
use crate::runtime::part_gate::PartGate;
use crate::runtime::readiness::Gate;
use crate::storm::metadata::count;
use crate::storm::{Rejection, SignalRef, StormId};

/// The gates of readiness that the engine opens and closes.
pub struct Gates {
    /// The first list of Signals.
    pub signals: Gate,
    /// The first list of RemediationRequests.
    pub requests: Gate,
    /// Closed while the ledger does not answer, or is being rebuilt.
    pub ledger: Gate,
    /// Closed while Signals cannot be merged.
    pub merge: Gate,
    /// Closed while some namespaces wait for room in the ledger; others do not.
    pub room: Gate,
    /// Closed while receipts cannot be written.
    pub receipts: Gate,
    /// Told which storms cannot be published, and which can again.
    pub publish: PartGate<StormId>,
}

/// Tells people and machines.
pub struct Reporter {
    /// Readiness.
    pub gates: Gates,
    /// For people.
    pub events: Events,
    /// For machines.
    pub metrics: Metrics,
    /// When each policy last matched.
    pub policies: Arc<Policies>,
}

impl Reporter {
    /// Opens or closes a gate.
    pub fn gate(&self, gate: GateId, reason: Option<String>) {
        let gate = match gate {
            GateId::Signals => &self.gates.signals,
            GateId::Requests => &self.gates.requests,
            GateId::Ledger => &self.gates.ledger,
            GateId::Merge => &self.gates.merge,
            GateId::Room => &self.gates.room,
            GateId::Receipts => &self.gates.receipts,
            GateId::Publish(id) => {
                return match reason {
                    Some(reason) => self.gates.publish.failed(id, reason),
                    None => self.gates.publish.works(&id),
                };
            }
        };
        match reason {
            Some(reason) => gate.close(&reason),
            None => gate.open(),
        }
    }

    /// Reports what happened.
    pub fn report(&self, fact: Fact, now: Timestamp) {
        match fact {
            Fact::Counted(counted) => self.counted(counted),
            Fact::Matched(policy) => self.policies.matched(&policy, now),
            Fact::Rejected(signal, rejection) => self.rejected(&signal, &rejection),
            Fact::RefusedStorms(storms) => drop(self.metrics.refused_storms.set(count(storms))),
            Fact::Crowded(namespaces) => drop(self.metrics.memory_ledger.waiting.set(count(namespaces))),
            Fact::HeldBack(signals) => drop(self.metrics.held_back_signals.set(count(signals))),
            Fact::Owed(receipts) => drop(self.metrics.owed_receipts.set(count(receipts))),
            Fact::Totals(totals) => self.totals(totals),
            Fact::Failed { part, disposition, object, message } => self.failed(part, disposition, object, &message),
            Fact::LedgerBegun(durability, open) => self.ledger_begun(durability, &open),
            Fact::ListBegins(reason) => self.list_begins(reason),
            Fact::RereadBegins(namespace, reason) => self.reread_begins(&namespace, reason),
            Fact::RunEnded(..) => {}
            fact => self.of_storm(fact),
        }
    }

    fn of_storm(&self, fact: Fact) {
        match fact {
            Fact::Opened(object) => {
                let pattern = &object.opening.pattern;
                tracing::info!(storm = %name(&object), ?pattern, "storm opened");
                self.tell(&object, EventType::Normal, "StormOpened", "Open", &format!("first Signal of {pattern}"));
            }
            Fact::ThresholdReached(object, facts) => {
                let note = format!("{} alerts on {} resources", facts.alert_count, facts.affected_count);
                self.tell(&object, EventType::Warning, "StormThresholdReached", "Publish", &note);
            }
            Fact::Published { object, reason, lag } => {
                if let Some(lag) = lag {
                    self.metrics.publish_seconds.observe(lag.as_secs_f64());
                }
                let alerts = object.facts().map_or(0, |facts| facts.alert_count);
                tracing::debug!(storm = %name(&object), ?reason, alerts, "published");
            }
            Fact::Closed(object, reason) => {
                let alerts = object.facts().map_or(0, |facts| facts.alert_count);
                tracing::info!(storm = %name(&object), ?reason, alerts, "storm closed");
                self.tell(&object, EventType::Normal, "StormClosed", "Close", &format!("closed: {reason:?}"));
            }
            Fact::ClosedInLedger(storm, reason) => tracing::debug!(%storm, ?reason, "closed in the ledger"),
            Fact::Adopted(storm) => tracing::info!(%storm, "storm adopted from the cluster"),
            Fact::Forgotten(storm) => {
                tracing::info!(%storm, "the RemediationRequest was deleted by hand: the storm is forgotten");
            }
            Fact::Dropped(storm, reason) => {
                tracing::warn!(%storm, ?reason, "the ledger's storm lost its place in the cluster: its Signals are read again");
            }
            Fact::Overwritten(object) => self.overwritten(&object),
            Fact::SuccessorWaits(object, why) => self.successor_waits(&object, &why),
            Fact::RequestRefused(storm, signal, why) => {
                tracing::warn!(%storm, error = why, "the RemediationRequest is refused, and tried again");
                if let Some(signal) = signal {
                    self.events.tell(signal_reference(&signal), EventType::Warning, "RequestRefused", "Publish", &why);
                }
            }
            Fact::NamespaceGone(storm) => {
                tracing::info!(%storm, "the namespace is being deleted, and the storm with it");
            }
            // Those of `report`.
            Fact::Counted(_)
            | Fact::Matched(_)
            | Fact::Rejected(..)
            | Fact::RefusedStorms(_)
            | Fact::Crowded(_)
            | Fact::HeldBack(_)
            | Fact::Owed(_)
            | Fact::Totals(_)
            | Fact::Failed { .. }
            | Fact::LedgerBegun(..)
            | Fact::ListBegins(_)
            | Fact::RereadBegins(..)
            | Fact::RunEnded(..) => {}
        }
    }

    fn counted(&self, counted: Counted) {
        let Counted { new, known, rejected, clamped, lacks_labels } = counted;
        let result = if rejected == 0 { SignalResult::Accepted } else { SignalResult::PartlyRejected };
        self.metrics.signals.get_or_create(&SignalLabels { result }).inc();
        self.metrics.clamped_times.inc_by(clamped as u64);
        self.metrics.signals_lacking_labels.inc_by(u64::from(lacks_labels));
        self.metrics.occurrences_received.inc_by((new + known + rejected) as u64);
        for (result, n) in
            [(OccurrenceResult::Merged, new), (OccurrenceResult::Known, known), (OccurrenceResult::Rejected, rejected)]
        {
            self.metrics.occurrences.get_or_create(&OccurrenceLabels { result }).inc_by(n as u64);
        }
    }

    fn rejected(&self, signal: &SignalRef, rejection: &Rejection) {
        let Rejection { reason, message, occurrences } = rejection;
        tracing::info!(namespace = signal.namespace, name = signal.name, reason, message, "Signal rejected");
        let occurrences = *occurrences as u64;
        self.metrics.signals.get_or_create(&SignalLabels { result: SignalResult::Rejected }).inc();
        self.metrics.occurrences_received.inc_by(occurrences);
        let rejected = OccurrenceLabels { result: OccurrenceResult::Rejected };
        self.metrics.occurrences.get_or_create(&rejected).inc_by(occurrences);
        self.events.tell(signal_reference(signal), EventType::Warning, "SignalRejected", "Intake", message);
    }

    fn totals(&self, totals: Totals) {
        self.metrics.open_storms.set(totals.open);
        self.metrics.requests.set(totals.requests);
        self.metrics.request_alerts.set(totals.alerts);
        self.metrics.set_oldest_open(totals.oldest_open);
    }

    fn failed(&self, part: Part, disposition: Disposition, object: Option<ObjectName>, message: &str) {
        let in_loop = match part {
            Part::Ingest => Loop::Ingest,
            Part::Publish => Loop::Publish,
            Part::Receipts => Loop::Receipts,
        };
        self.metrics.failed(in_loop, disposition);
        let object = object.map(|object| object.to_string());
        // A conflict is an ordinary event: somebody wrote the object meanwhile.
        if disposition == Disposition::Conflict {
            tracing::debug!(?in_loop, object, error = message, "read again after a conflict");
        } else {
            tracing::warn!(?in_loop, object, ?disposition, error = message, "failed, will be tried again");
        }
    }

    fn ledger_begun(&self, durability: Durability, open: &[Arc<Request>]) {
        let note = match durability {
            Durability::Lost => {
                "The ledger has lost this storm. Its Signals are read again; until then its counts stay as they are."
            }
            Durability::Suspect | Durability::Intact => {
                "The ledger was restarted, and may have lost what it was told last. The Signals are read again."
            }
        };
        tracing::warn!(open_storms = open.len(), ?durability, "the Signals are read again to rebuild the ledger");
        for object in open {
            self.tell(object, EventType::Warning, "LedgerRebuilt", "Merge", note);
        }
    }

    fn list_begins(&self, reason: ResyncReason) {
        let reason = RelistReason::from(reason);
        tracing::info!(?reason, "all Signals are read");
        self.metrics.relists.get_or_create(&RelistLabels { reason }).inc();
    }

    fn overwritten(&self, object: &Request) {
        let writer = object.writer.as_deref().unwrap_or("somebody");
        let note = format!("status.storm was written by {writer}; it is Stormfold's, and is put right");
        tracing::warn!(storm = %name(object), writer, "status.storm was overwritten, and is put right");
        self.tell(object, EventType::Warning, "StatusOverwritten", "Publish", &note);
    }

    fn successor_waits(&self, object: &Request, why: &HeldBack) {
        let why = why.words();
        tracing::info!(storm = %name(object), why, "its alerts fire on, and the next storm may not open yet");
        let note = format!("its alerts fire on; {why}");
        self.tell(object, EventType::Warning, "SuccessorHeldBack", "Open", &note);
    }

    fn reread_begins(&self, namespace: &str, reason: RereadReason) {
        let reason = RereadLabel::from(reason);
        tracing::info!(namespace, ?reason, "the Signals of a namespace are read again");
        self.metrics.rereads.get_or_create(&RereadLabels { reason }).inc();
    }

    fn tell(&self, object: &Request, type_: EventType, reason: &'static str, action: &'static str, note: &str) {
        let about = ObjectReference {
            api_version: Some(RemediationRequest::api_version(&()).into_owned()),
            kind: Some(RemediationRequest::kind(&()).into_owned()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
            ..ObjectReference::default()
        };
        self.events.tell(about, type_, reason, action, note);
    }
}

fn name(object: &Request) -> ObjectName {
    ObjectName { namespace: object.namespace.clone(), name: object.name.clone() }
}

fn signal_reference(signal: &SignalRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(Signal::api_version(&()).into_owned()),
        kind: Some(Signal::kind(&()).into_owned()),
        namespace: Some(signal.namespace.clone()),
        name: Some(signal.name.clone()),
        uid: Some(signal.uid.clone()),
        ..ObjectReference::default()
    }
}
