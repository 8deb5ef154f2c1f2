//! What the cluster has now, as far as whoever asks may see it: what `why` reasons on.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use stormfold_core::engine::lineage::{Choice, choose};
use stormfold_core::request::Request;

use super::access::{Access, cluster_right};
use super::fault::{ApiRight, PluginError};
use crate::api::{RemediationRequest, Signal, StormPolicy};
use crate::cluster::live_request_of;
use crate::policies::{Book, View};
use crate::runtime::error::call;
use crate::storm::matching::Labels;
use crate::storm::{GroupBy, Opening, Policy, PolicySet, StormKey};

/// What the cluster has.
pub(super) struct Scene {
    /// The policies in force; `None`: they may not be seen.
    pub(super) policies: Option<Arc<PolicySet>>,
    /// All policies as objects.
    pub(super) policy_objects: Vec<StormPolicy>,
    /// The labels of the namespace; `None`: they may not be seen.
    pub(super) labels: Option<Labels>,
    /// The RemediationRequests of the namespace; `None`: they may not be seen.
    pub(super) requests: Option<Vec<RemediationRequest>>,
    /// The Signals that were asked for; `None`: they may not be seen.
    pub(super) signals: Option<Vec<Signal>>,
    /// What may not be seen.
    pub(super) missing: Vec<ApiRight>,
    /// When it was looked at.
    pub(super) now: Timestamp,
}

impl Scene {
    /// Of these objects, all of which may be seen.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            policies: None,
            policy_objects: Vec::new(),
            labels: None,
            requests: None,
            signals: None,
            missing: Vec::new(),
            now,
        }
    }

    /// Looks at a namespace, and at the Signals of this storm.
    pub(super) async fn look(access: &Access, now: Timestamp, storm: Option<&str>) -> Result<Self, PluginError> {
        let mut scene = Self::new(now);
        scene.requests = scene.seen(access.list(ListParams::default()).await)?;
        if let Some(policies) = scene.seen(access.list_cluster::<StormPolicy>().await)? {
            scene.policy_objects = policies;
            let asks = |policy: &StormPolicy| {
                policy.spec.matches.as_ref().is_some_and(|matches| matches.namespace_selector.is_some())
            };
            // Without a policy that asks for labels of namespaces they do not matter.
            if scene.policy_objects.iter().any(asks) {
                scene.labels = scene.seen(namespace_labels(access).await)?;
            } else {
                scene.labels = Some(Labels::new());
            }
            scene.compile(access.namespace());
        }
        if let Some(storm) = storm {
            let of_storm = ListParams::default().fields(&format!("status.storm={storm}"));
            scene.signals = scene.seen(access.list(of_storm).await)?;
        }
        Ok(scene)
    }

    /// What may be seen; what may not is noted.
    pub(super) fn seen<T>(&mut self, looked: Result<T, PluginError>) -> Result<Option<T>, PluginError> {
        match looked {
            Ok(seen) => Ok(Some(seen)),
            Err(error) => {
                self.missing.push(error.missing()?);
                Ok(None)
            }
        }
    }

    /// Makes of the policies what the operator makes of them.
    pub(super) fn compile(&mut self, namespace: &str) {
        let mut book = Book::new(Policy::default());
        for policy in &self.policy_objects {
            book.put(policy.clone());
        }
        let open = self.requests.iter().flatten().filter_map(live_request_of).filter(Request::is_open);
        let grouping = |request: Request| {
            Some((request.opening.policy.clone(), GroupBy::of_labels(&request.opening.group_labels)?))
        };
        book.note_open(open.filter_map(grouping));
        let labels = Arc::new(self.labels.clone().unwrap_or_default());
        self.policies = Some(View::new(&book, HashMap::from([(namespace.to_owned(), labels)])).set);
    }

    /// The policies, where all that the choice among them depends on may be seen.
    pub(super) fn policies_of_signals(&self) -> Option<&PolicySet> {
        self.labels.as_ref().and(self.policies.as_deref())
    }

    /// The storms of a key, the oldest first, as the engine sees them.
    pub(super) fn of_key(&self, key: StormKey) -> Vec<Arc<Request>> {
        let all = self.requests.iter().flatten().filter_map(live_request_of);
        let mut found: Vec<_> = all.filter(|request| request.id.key == key).map(Arc::new).collect();
        found.sort_by_key(|request| request.epoch());
        found
    }

    /// The RemediationRequest of this name.
    pub(super) fn request(&self, name: &str) -> Option<&RemediationRequest> {
        self.requests.iter().flatten().find(|request| request.name_any() == name)
    }

    /// What the operator would do now for news of this group; `None`: not everything that it depends on may be seen.
    pub(super) fn outlook(&self, opening: &Opening) -> Option<Choice> {
        self.requests.as_ref()?;
        let policy = self.policies.as_ref()?.named(&opening.policy);
        Some(choose(&self.of_key(opening.key()), None, policy, self.now))
    }

    /// What a policy of this name says now, and whether its times are those of the operator's flags, which nobody can see.
    pub(super) fn policy(&self, name: &str) -> Option<(Arc<Policy>, bool)> {
        let policy = self.policies.as_ref()?.named(name).clone();
        let known = self.policy_objects.iter().any(|object| object.name_any() == policy.name);
        Some((policy, !known))
    }
}

async fn namespace_labels(access: &Access) -> Result<Labels, PluginError> {
    let name = access.namespace();
    let api: Api<Namespace> = Api::all(access.client());
    let found = call(|| format!("get Namespace {name}"), api.get_opt(name)).await;
    let found = found.map_err(|error| PluginError::of(error, cluster_right::<Namespace>("get", "")))?;
    Ok(found.map(|namespace| namespace.labels().clone()).unwrap_or_default())
}
