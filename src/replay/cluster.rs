//! The API server of a replay: Signals and RemediationRequests in memory, each write a new version, and nothing that fails for want of a network.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use stormfold_core::disposition::Disposition;
use stormfold_core::engine::call::{ApiCall, ApiFault, ApiFaultKind, ApiReply, NewRequest, ObjectName, StatusApply};
use stormfold_core::engine::receipts::Receipt;
use stormfold_core::request::Request;
use stormfold_core::storm::StormKey;

use super::DIGESTS;
use super::diff::StormsOfReports;
use crate::api::{RemediationRequest, Signal, from_storm_metadata};
use crate::cluster::{receipt, render, request_of};
use crate::storm::metadata::whole_seconds;
use crate::watch::says;

/// What the cluster of a replay has.
#[derive(Default)]
pub struct ReplayCluster {
    signals: BTreeMap<ObjectName, Signal>,
    requests: BTreeMap<ObjectName, RemediationRequest>,
    /// The requests of a key.
    of_key: HashMap<(String, StormKey), BTreeSet<String>>,
    /// The Signals whose receipts name a storm, by namespace and name of it.
    of_storm: HashMap<ObjectName, BTreeSet<String>>,
    /// What was deleted after its retention.
    retired_requests: Vec<RemediationRequest>,
    /// The same of Signals, where somebody wants them.
    retired_signals: Option<Vec<Signal>>,
    /// Every storm that the receipt of a report named, where somebody wants to know.
    storms_of_reports: Option<StormsOfReports>,
    /// Of the last write.
    version: u64,
    /// What the watch on RemediationRequests has not brought yet.
    changed: Vec<Request>,
}

impl ReplayCluster {
    /// Creates a Signal. `None`: one of its name is there.
    pub fn create_signal(&mut self, mut signal: Signal, now: Timestamp) -> Option<Signal> {
        let name = name_of(&signal);
        if self.signals.contains_key(&name) {
            return None;
        }
        self.stamp(&mut signal.metadata, now);
        self.signals.insert(name, signal.clone());
        Some(signal)
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.signals.len() + self.requests.len()
    }

    /// All Signals, by namespace and name.
    pub fn signals(&self) -> impl Iterator<Item = &Signal> {
        self.signals.values()
    }

    /// Those of a namespace.
    pub fn signals_of(&self, namespace: &str) -> impl Iterator<Item = &Signal> {
        let first = ObjectName { namespace: namespace.to_owned(), name: String::new() };
        self.signals.range(first..).take_while(move |(name, _)| name.namespace == namespace).map(|(_, signal)| signal)
    }

    /// A Signal.
    pub fn signal(&self, name: &ObjectName) -> Option<&Signal> {
        self.signals.get(name)
    }

    /// Deletes a Signal.
    pub fn delete_signal(&mut self, name: &ObjectName) {
        let Some(signal) = self.signals.remove(name) else { return };
        if let Some(storm) = signal.status.as_ref().and_then(|status| status.storm.clone()) {
            let storm = ObjectName { namespace: name.namespace.clone(), name: storm };
            if let Some(signals) = self.of_storm.get_mut(&storm) {
                signals.remove(&name.name);
            }
        }
        if let Some(retired) = &mut self.retired_signals {
            retired.push(signal);
        }
    }

    /// Keeps Signals that are deleted.
    pub(super) fn keep_deleted_signals(&mut self) {
        self.retired_signals.get_or_insert_default();
    }

    /// Notes the storms of reports.
    pub(super) fn note_storms(&mut self) {
        self.storms_of_reports.get_or_insert_default();
    }

    /// The storms of reports, where they are noted.
    pub(super) fn storms_of_reports(&self) -> Option<&StormsOfReports> {
        self.storms_of_reports.as_ref()
    }

    /// Signals that were deleted, where they are kept.
    pub fn retired_signals(&self) -> &[Signal] {
        self.retired_signals.as_deref().unwrap_or_default()
    }

    /// The names of the Signals whose receipts name this storm.
    pub(super) fn signals_of_storm(&self, storm: &ObjectName) -> Vec<ObjectName> {
        let of = |name: &String| ObjectName { namespace: storm.namespace.clone(), name: name.clone() };
        self.of_storm.get(storm).into_iter().flatten().map(of).collect()
    }

    /// A RemediationRequest.
    pub fn request(&self, name: &ObjectName) -> Option<&RemediationRequest> {
        self.requests.get(name)
    }

    /// Requests that were deleted after their retention.
    pub fn retired_requests(&self) -> &[RemediationRequest] {
        &self.retired_requests
    }

    /// Deletes a RemediationRequest after its retention.
    pub(super) fn retire_request(&mut self, name: &ObjectName) -> Option<Request> {
        let object = self.delete_request(name)?;
        let gone = request_of(&object);
        self.retired_requests.push(object);
        gone
    }

    /// All RemediationRequests, by namespace and name.
    pub fn requests(&self) -> impl Iterator<Item = &RemediationRequest> {
        self.requests.values()
    }

    /// Somebody else changes a RemediationRequest.
    pub fn edit_request(&mut self, name: &ObjectName, edit: impl FnOnce(&mut RemediationRequest)) {
        let version = self.next_version();
        if let Some(object) = self.requests.get_mut(name) {
            edit(object);
            object.metadata.resource_version = Some(version);
            self.changed.extend(request_of(object));
        }
    }

    /// Deletes a RemediationRequest. The object as it was.
    pub fn delete_request(&mut self, name: &ObjectName) -> Option<RemediationRequest> {
        let object = self.requests.remove(name)?;
        self.of_storm.remove(name);
        if let Some(of_key) =
            request_of(&object).and_then(|request| self.of_key.get_mut(&(request.namespace, request.id.key)))
        {
            of_key.remove(&name.name);
        }
        Some(object)
    }

    /// What has changed since this was asked last, in order.
    pub fn take_changed(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.changed)
    }

    /// Makes one call of the engine.
    pub fn execute(&mut self, call: ApiCall, now: Timestamp) -> Result<ApiReply, ApiFault> {
        match call {
            ApiCall::Find { key, namespace, .. } => Ok(ApiReply::Found(self.find(key, &namespace))),
            ApiCall::Get { namespace, name } => {
                let object = self.requests.get(&ObjectName { namespace, name });
                Ok(ApiReply::Object(object.and_then(request_of)))
            }
            ApiCall::Create(new) => Ok(self.create(*new, now)),
            ApiCall::Apply(apply) => self.apply(&apply),
            ApiCall::WriteReceipt(receipt, now) => self.write_receipt(&receipt, now).map(|()| ApiReply::Written),
        }
    }

    fn find(&self, key: StormKey, namespace: &str) -> Vec<Request> {
        let names = self.of_key.get(&(namespace.to_owned(), key)).into_iter().flatten();
        let object = |name: &String| {
            self.requests.get(&ObjectName { namespace: namespace.to_owned(), name: name.clone() }).and_then(request_of)
        };
        names.filter_map(object).collect()
    }

    fn create(&mut self, new: NewRequest, now: Timestamp) -> ApiReply {
        let NewRequest { id, opening, facts, previous } = new;
        let mut object = from_storm_metadata(&facts, &opening, id.epoch, previous);
        // Its status is a subresource: a create has none.
        object.status = None;
        let name = name_of(&object);
        if let Some(existing) = self.requests.get(&name) {
            return request_of(existing).map_or(ApiReply::NameTaken(name.name), ApiReply::Existed);
        }
        self.stamp(&mut object.metadata, now);
        let created = request_of(&object);
        self.of_key.entry((name.namespace.clone(), id.key)).or_default().insert(name.name.clone());
        self.requests.insert(name.clone(), object);
        self.changed.extend(created.clone());
        created.map_or(ApiReply::NameTaken(name.name), ApiReply::Created)
    }

    fn apply(&mut self, apply: &StatusApply) -> Result<ApiReply, ApiFault> {
        let name = ObjectName { namespace: apply.object.namespace.clone(), name: apply.object.name.clone() };
        let version = self.next_version();
        let Some(object) = self.requests.get_mut(&name) else {
            return Err(fault(ApiFaultKind::NotFound, format!("RemediationRequest {name} is not there")));
        };
        if object.uid() != apply.object.uid || object.resource_version() != apply.object.resource_version {
            return Err(fault(ApiFaultKind::Conflict, format!("RemediationRequest {name} has another version")));
        }
        let render::RenderedStatus { storm, conditions } = render::rendered(apply);
        let status = object.status.get_or_insert_default();
        status.storm = Some(storm);
        status.conditions.retain(|other| conditions.iter().all(|ours| ours.type_ != other.type_));
        status.conditions.extend(conditions);
        object.metadata.resource_version = Some(version);
        let applied = request_of(object);
        self.changed.extend(applied.clone());
        applied.map(ApiReply::Applied).ok_or_else(|| fault(ApiFaultKind::Other, format!("{name} is of another storm")))
    }

    fn write_receipt(&mut self, receipt: &Receipt, now: Timestamp) -> Result<(), ApiFault> {
        let name = ObjectName { namespace: receipt.signal.namespace.clone(), name: receipt.signal.name.clone() };
        let version = self.next_version();
        let there = self.signals.get_mut(&name).filter(|signal| signal.uid().as_ref() == Some(&receipt.signal.uid));
        let Some(signal) = there else {
            return Err(fault(ApiFaultKind::NotFound, format!("Signal {name} is not there")));
        };
        if receipt.verdict.is_pending() && signal.resource_version() != receipt.version {
            return Err(fault(ApiFaultKind::Conflict, format!("Signal {name} has another version")));
        }
        let before = signal.status.take().and_then(|status| status.storm);
        let status = receipt::status(receipt, now);
        let of = |storm: &String| ObjectName { namespace: name.namespace.clone(), name: storm.clone() };
        if before != status.storm {
            if let Some(signals) = before.as_ref().and_then(|storm| self.of_storm.get_mut(&of(storm))) {
                signals.remove(&name.name);
            }
            if let Some(storm) = &status.storm {
                self.of_storm.entry(of(storm)).or_default().insert(name.name.clone());
            }
        }
        if let Some(noted) = &mut self.storms_of_reports {
            let others = status.other_storms.iter().map(|other| &other.name);
            let storms: Vec<ObjectName> = status.storm.iter().chain(others).map(of).collect();
            for report in says(signal, &DIGESTS) {
                noted.entry((report.uid, report.at)).or_default().extend(storms.iter().cloned());
            }
        }
        signal.status = Some(status);
        signal.metadata.resource_version = Some(version);
        Ok(())
    }

    fn stamp(&mut self, metadata: &mut ObjectMeta, now: Timestamp) {
        let version = self.next_version();
        metadata.uid = Some(format!("uid-{version}"));
        metadata.resource_version = Some(version);
        metadata.creation_timestamp = Some(Time(whole_seconds(now)));
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }
}

/// Where an object is.
pub fn name_of(object: &impl ResourceExt) -> ObjectName {
    ObjectName { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn fault(kind: ApiFaultKind, message: String) -> ApiFault {
    let disposition = if kind == ApiFaultKind::Conflict { Disposition::Conflict } else { Disposition::Terminal };
    ApiFault { kind, disposition, message }
}
