//! The cluster, with the rights of whoever asks. Every call is bounded in time.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::fault::{ApiRight, PluginError};
use crate::runtime::error::{ApiError, call, call_within};
use crate::runtime::guarded::{Guarded, Unreadable};
use crate::settings::ClusterFlags;

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// A page of Signals may be large.
const PAGE_TIME: Duration = Duration::from_mins(1);
/// Who writes, in the managed fields of what is written.
const MANAGER: &str = "kubectl-storm";

/// A cluster, and which part of it is asked about.
pub(super) struct Access {
    client: Client,
    namespace: String,
    all: bool,
    notes: Mutex<Vec<String>>,
}

impl Access {
    /// The cluster that the flags name.
    pub(super) async fn open(flags: &ClusterFlags) -> Result<Self, PluginError> {
        let fault = |fault: &dyn std::fmt::Display| PluginError::NoCluster(format!("no way to a cluster: {fault}"));
        let options = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
        let config = match &flags.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(|error| fault(&error))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| fault(&error))?
            }
            None if flags.context.is_some() => {
                Config::from_kubeconfig(&options).await.map_err(|error| fault(&error))?
            }
            None => Config::infer().await.map_err(|error| fault(&error))?,
        };
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| fault(&error))?;
        Ok(Self { client, namespace, all: flags.all_namespaces, notes: Mutex::default() })
    }

    /// The namespace that is asked about.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether all of them are.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// For what is asked in another way.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// What was left out on the way, for people.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The right to do this with objects of a kind, in the namespace that is asked about.
    fn right<K: Resource<DynamicType = ()>>(&self, verb: &'static str, subresource: &str) -> ApiRight {
        ApiRight { namespace: Some(self.namespace.clone()), ..cluster_right::<K>(verb, subresource) }
    }

    /// One object of the namespace, if it is there.
    pub(super) async fn get<K>(&self, name: &str) -> Result<Option<K>, PluginError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let what = || format!("get {} {}/{name}", K::kind(&()), self.namespace);
        let api: Api<Guarded<K>> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = call(what, api.get(name)).await;
        match found {
            Ok(Guarded(Ok(object))) => Ok(Some(object)),
            Ok(Guarded(Err(Unreadable { fault, .. }))) => {
                Err(PluginError::Refused(format!("{} {name} cannot be read by this version: {fault}", K::kind(&()))))
            }
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(PluginError::of(error, self.right::<K>("get", ""))),
        }
    }

    /// Objects of the namespace, or of all if all are asked about.
    pub(super) async fn list<K>(&self, params: ListParams) -> Result<Vec<K>, PluginError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        if self.all {
            return self.pages(&Api::all(self.client.clone()), params, &cluster_right::<K>("list", "")).await;
        }
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        self.pages(&api, params, &self.right::<K>("list", "")).await
    }

    /// Objects that are in no namespace.
    pub(super) async fn list_cluster<K>(&self) -> Result<Vec<K>, PluginError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let right = cluster_right::<K>("list", "");
        self.pages(&Api::all(self.client.clone()), ListParams::default(), &right).await
    }

    async fn pages<K>(&self, api: &Api<Guarded<K>>, params: ListParams, right: &ApiRight) -> Result<Vec<K>, PluginError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let (mut found, mut params) = (Vec::new(), params.limit(PAGE));
        loop {
            let page = call_within(PAGE_TIME, || right.to_string(), api.list(&params)).await;
            let page = page.map_err(|error| PluginError::of(error, right.clone()))?;
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            for Guarded(object) in page.items {
                match object {
                    Ok(object) => found.push(object),
                    Err(Unreadable { metadata, fault, .. }) => self.note(format!(
                        "{} {} cannot be read by this version, and is left out: {fault}",
                        K::kind(&()),
                        metadata.name.unwrap_or_default()
                    )),
                }
            }
            if params.continue_token.is_none() {
                return Ok(found);
            }
        }
    }

    /// What changes, after a list. An answer that nothing mends ends it.
    pub(super) fn changes<K>(&self) -> BoxStream<'static, Result<Event<Guarded<K>>, PluginError>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let (api, right) = if self.all {
            (Api::all(self.client.clone()), cluster_right::<K>("watch", ""))
        } else {
            (Api::namespaced(self.client.clone(), &self.namespace), self.right::<K>("watch", ""))
        };
        let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
        let told = move |event: Result<Event<Guarded<K>>, watcher::Error>| {
            let right = right.clone();
            async move {
                match event {
                    Ok(event) => Some(Ok(event)),
                    Err(error) if is_forbidden(&error) => Some(Err(PluginError::MissingRight(right))),
                    // The watch backs off and begins again.
                    Err(_) => None,
                }
            }
        };
        events.filter_map(told).boxed()
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Changes an object, on the version that the patch carries.
    pub(super) async fn patch<K>(&self, name: &str, body: &serde_json::Value) -> Result<K, PluginError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let what = || format!("change {} {}/{name}", K::kind(&()), self.namespace);
        let written = call(what, self.api::<K>().patch(name, &params(), &Patch::Merge(body))).await;
        written.map_err(|error| self.unwritten::<K>(error, name, ""))
    }

    /// Changes the status of an object, on the version that the patch carries.
    pub(super) async fn patch_status<K>(&self, name: &str, body: &serde_json::Value) -> Result<K, PluginError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let what = || format!("change the status of {} {}/{name}", K::kind(&()), self.namespace);
        let written = call(what, self.api::<K>().patch_status(name, &params(), &Patch::Merge(body))).await;
        written.map_err(|error| self.unwritten::<K>(error, name, "status"))
    }

    fn unwritten<K: Resource<DynamicType = ()>>(&self, error: ApiError, name: &str, subresource: &str) -> PluginError {
        match error.code() {
            Some(404) => PluginError::NotFound(format!("{} {}/{name}", K::kind(&()), self.namespace)),
            _ => PluginError::of(error, self.right::<K>("patch", subresource)),
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    let (InitialListFailed(cause) | WatchStartFailed(cause) | WatchFailed(cause)) = error else { return false };
    matches!(cause, kube::Error::Api(status) if status.code == 403)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }
}

/// The right to do this with objects of a kind, wherever they are.
pub(super) fn cluster_right<K: Resource<DynamicType = ()>>(verb: &'static str, subresource: &str) -> ApiRight {
    let plural = K::plural(&());
    let resource = if subresource.is_empty() { plural.into_owned() } else { format!("{plural}/{subresource}") };
    ApiRight { verb, group: K::group(&()).into_owned(), resource, namespace: None }
}

/// Name of an object, with the short name of its kind: what `-o name` prints.
pub(super) fn full_name<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}.{}/{}", K::kind(&()).to_lowercase(), K::group(&()), object.name_any())
}
