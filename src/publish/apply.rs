//! The calls that touch a RemediationRequest. Each one is bounded in time, and none says "done" before the API server did.

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::projections::readable;
use crate::api::{FIELD_MANAGER, RemediationRequest};
use crate::runtime::error::{ApiError, call};
use crate::runtime::guarded::Guarded;
use crate::storm::{Opening, StormKey};

/// The API server, for RemediationRequests.
#[derive(Clone)]
pub struct Apply {
    client: Client,
}

/// What became of a create.
#[derive(Debug)]
pub enum Created {
    /// We made it.
    New(RemediationRequest),
    /// Somebody had made it: the name is the lock.
    Existing(RemediationRequest),
}

impl Apply {
    /// With this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, namespace: &str) -> Api<RemediationRequest> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates the object, or gives the one that has its name.
    pub async fn create(&self, object: &RemediationRequest) -> Result<Created, ApiError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let api = self.api(&namespace);
        match call(|| format!("create RemediationRequest {namespace}/{name}"), api.create(&params, object)).await {
            Ok(created) => Ok(Created::New(created)),
            Err(error) if error.code() == Some(409) => match self.get(&namespace, &name).await? {
                Some(existing) => Ok(Created::Existing(existing)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The object as the cluster has it now.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, ApiError> {
        let what = || format!("get RemediationRequest {namespace}/{name}");
        call(what, self.api(namespace).get_opt(name)).await
    }

    /// All objects of a key as the cluster has them now.
    pub async fn find(&self, opening: &Opening, key: StormKey) -> Result<Vec<RemediationRequest>, ApiError> {
        let namespace = &opening.object_namespace;
        let params = ListParams::default().fields(&format!("spec.stormKey={}", key.to_hex()));
        let what = || format!("list RemediationRequests of {:?} in {namespace}", opening.pattern);
        let api: Api<Guarded<RemediationRequest>> = Api::namespaced(self.client.clone(), namespace);
        Ok(call(what, api.list(&params))
            .await?
            .items
            .into_iter()
            .filter_map(|Guarded(object)| readable(object))
            .collect())
    }

    /// Applies a status that `render` made.
    pub async fn status(&self, namespace: &str, name: &str, body: &Value) -> Result<RemediationRequest, ApiError> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = || format!("apply the status of RemediationRequest {namespace}/{name}");
        call(what, self.api(namespace).patch_status(name, &params, &Patch::Apply(body))).await
    }
}
