//! The API server, for the engine: every call that touches a RemediationRequest or the status of a Signal. Each one is bounded in
//! time, and none says "done" before the API server did.

mod convert;
pub mod receipt;
pub mod render;

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use stormfold_core::engine::call::{ApiCall, ApiFault, ApiFaultKind, ApiReply, NewRequest, StatusApply};

pub(crate) use convert::readable;
pub use convert::{live_request_of, request_of};

use crate::api::{FIELD_MANAGER, RemediationRequest, from_storm_metadata};
use crate::metrics::{ApiWrite, Metrics, WriteResult};
use crate::runtime::error::{ApiError, call};
use crate::runtime::guarded::Guarded;

/// The API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    metrics: Metrics,
}

impl Cluster {
    /// With this client.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// Makes one call of the engine.
    pub async fn execute(&self, call: ApiCall) -> Result<ApiReply, ApiFault> {
        let creates = matches!(call, ApiCall::Create(_));
        let reply = match call {
            ApiCall::Find { key, namespace, pattern } => self.find(&key.to_hex(), &namespace, &pattern).await,
            ApiCall::Get { namespace, name } => self.get(&namespace, &name).await.map(ApiReply::Object),
            ApiCall::Create(object) => self.create(*object).await,
            ApiCall::Apply(apply) => self.apply(&apply).await,
            ApiCall::WriteReceipt(receipt, now) => {
                let written = receipt::write(&self.client, &receipt, now).await;
                self.count(ApiWrite::Receipt, written.as_ref().err());
                written.map(|()| ApiReply::Written)
            }
        };
        reply.map_err(|error| fault(&error, creates))
    }

    fn api(&self, namespace: &str) -> Api<RemediationRequest> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn find(&self, key: &str, namespace: &str, pattern: &str) -> Result<ApiReply, ApiError> {
        let params = ListParams::default().fields(&format!("spec.stormKey={key}"));
        let what = || format!("list RemediationRequests of {pattern:?} in {namespace}");
        let api: Api<Guarded<RemediationRequest>> = Api::namespaced(self.client.clone(), namespace);
        let found = call(what, api.list(&params)).await?.items;
        Ok(ApiReply::Found(found.into_iter().filter_map(readable).filter_map(|rr| live_request_of(&rr)).collect()))
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<stormfold_core::request::Request>, ApiError> {
        Ok(self.read(namespace, name).await?.as_ref().and_then(live_request_of))
    }

    /// Creates the object, or gives the one that has its name: the name is the lock.
    async fn create(&self, new: NewRequest) -> Result<ApiReply, ApiError> {
        let NewRequest { id, opening, facts, previous } = new;
        let object = from_storm_metadata(&facts, &opening, id.epoch, previous);
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let what = || format!("create RemediationRequest {namespace}/{name}");
        let reply = match call(what, self.api(&namespace).create(&params, &object)).await {
            Ok(created) => {
                self.metrics.wrote(ApiWrite::Create, WriteResult::Done);
                Ok(request_of(&created).map_or(ApiReply::NameTaken(name), ApiReply::Created))
            }
            Err(error) if error.code() == Some(409) => match self.read(&namespace, &name).await {
                Ok(Some(existing)) => Ok(existed(name, &existing)),
                Ok(None) => Err(error),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if reply.as_ref().is_err_and(|error| !error.namespace_is_gone()) {
            self.metrics.wrote(ApiWrite::Create, WriteResult::Failed);
        }
        reply
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, ApiError> {
        let what = || format!("get RemediationRequest {namespace}/{name}");
        call(what, self.api(namespace).get_opt(name)).await
    }

    async fn apply(&self, apply: &StatusApply) -> Result<ApiReply, ApiError> {
        let (namespace, name) = (&apply.object.namespace, &apply.object.name);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = || format!("apply the status of RemediationRequest {namespace}/{name}");
        let body = Patch::Apply(render::status(apply));
        let written = call(what, self.api(namespace).patch_status(name, &params, &body)).await;
        let write = if apply.ending.is_some() { ApiWrite::Close } else { ApiWrite::Status };
        let missing = || ApiError::Unreadable { what: what() };
        let reply = written.and_then(|written| match request_of(&written) {
            Some(_) if written.metadata.deletion_timestamp.is_some() => Ok(ApiReply::Deleting),
            Some(written) => Ok(ApiReply::Applied(written)),
            None => Err(missing()),
        });
        self.count(write, reply.as_ref().err());
        reply
    }

    fn count(&self, write: ApiWrite, error: Option<&ApiError>) {
        let gone = |error: &ApiError| match write {
            // Deleted, or another object has its name now.
            ApiWrite::Receipt => matches!(error.code(), Some(404 | 409)),
            _ => error.code() == Some(404),
        };
        self.metrics.wrote(
            write,
            match error {
                None => WriteResult::Done,
                Some(error) if gone(error) => WriteResult::Gone,
                Some(_) => WriteResult::Failed,
            },
        );
    }
}

/// What has the name that was to be created.
fn existed(name: String, existing: &RemediationRequest) -> ApiReply {
    match request_of(existing) {
        None => ApiReply::NameTaken(name),
        Some(_) if existing.metadata.deletion_timestamp.is_some() => ApiReply::Deleting,
        Some(existing) => ApiReply::Existed(existing),
    }
}

/// Without its namespace nothing can be created, and what was there is gone as any other object that is deleted.
pub(crate) fn fault(error: &ApiError, creates: bool) -> ApiFault {
    let kind = match error.code() {
        _ if creates && error.namespace_is_gone() => ApiFaultKind::NamespaceGone,
        Some(404) => ApiFaultKind::NotFound,
        Some(409) => ApiFaultKind::Conflict,
        Some(410) => ApiFaultKind::Expired,
        _ if error.is_refused_by_namespace() => ApiFaultKind::Refused,
        _ => ApiFaultKind::Other,
    };
    ApiFault { kind, disposition: error.disposition(), message: error.to_string() }
}
