//! One watch over one or many namespaces, with its troubles told in words.

use std::fmt::Debug;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::error::call;
use super::readiness::Gate;
use crate::metrics::{Metrics, WatchLabels, WatchedResource};

/// Objects per page of a list: a Signal has up to 300 KB, and a page is in memory at once.
const PAGE: u32 = 50;

/// An event of the watch over the `usize`-th namespace.
pub type WatchEvent<K> = (usize, watcher::Event<K>);

/// What is watched, and where its troubles are told.
pub struct Watch {
    /// For logs and metrics.
    pub resource: WatchedResource,
    /// None: all namespaces.
    pub namespaces: Vec<String>,
    /// Closed while a watch fails.
    gate: Gate,
    /// Counts failures.
    metrics: Metrics,
    /// Whether all lists were complete once.
    listed: Arc<AtomicBool>,
}

impl Watch {
    /// A watch of `resource` in these namespaces (none: all of them), that keeps this gate.
    pub fn new(resource: WatchedResource, namespaces: Vec<String>, gate: Gate, metrics: Metrics) -> Self {
        Self { resource, namespaces, gate, metrics, listed: Arc::default() }
    }

    /// The lists of all parts are complete.
    pub fn is_listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
        self.gate.open();
    }

    /// How many watches there are: each begins with a list of its own.
    pub fn parts(&self) -> usize {
        self.namespaces.len().max(1)
    }

    /// The events of all namespaces. A failing watch backs off, says why, and starts again; this stream does not end.
    pub fn events<K>(&self, client: &Client) -> SelectAll<BoxStream<'static, WatchEvent<K>>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        let apis: Vec<Api<K>> = if self.namespaces.is_empty() {
            vec![Api::all(client.clone())]
        } else {
            self.namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
        };
        let config = watcher::Config::default().page_size(PAGE);
        let streams = apis.into_iter().enumerate().map(|(index, api)| {
            let recovery = Arc::new(Recovery {
                api: api.clone(),
                resource: self.resource,
                gate: self.gate.clone(),
                metrics: self.metrics.clone(),
                listed: self.listed.clone(),
            });
            watcher(api, config.clone())
                .default_backoff()
                .filter_map(move |event| {
                    let recovery = recovery.clone();
                    async move {
                        match event {
                            Ok(event) => Some((index, event)),
                            Err(error) => {
                                recovery.run(&error).await;
                                None
                            }
                        }
                    }
                })
                .boxed()
        });
        futures::stream::select_all(streams)
    }
}

/// What happens after a watch failed: tell it, and wait until the API server answers again.
struct Recovery<K> {
    api: Api<K>,
    resource: WatchedResource,
    gate: Gate,
    metrics: Metrics,
    listed: Arc<AtomicBool>,
}

impl<K: Clone + DeserializeOwned + Debug> Recovery<K> {
    async fn run(&self, error: &watcher::Error) {
        self.metrics.watch_failures.get_or_create(&WatchLabels { resource: self.resource }).inc();
        // An expired watch is repaired by the list that follows; nobody has to know.
        if matches!(error, watcher::Error::WatchError(status) if status.code == 410) {
            return;
        }
        let advice = advice(error, self.resource);
        tracing::warn!(resource = self.resource.plural(), %error, "watch failed: {advice}");
        self.gate.close(&advice);
        if self.listed.load(Ordering::Relaxed) {
            self.until_answered().await;
            self.gate.open();
        }
    }

    /// A watch that is taken up again says nothing until something happens, so readiness asks by itself.
    async fn until_answered(&self) {
        let mut backoff = Backoff::default();
        let one = ListParams::default().limit(1);
        let what = || format!("list {}", self.resource.plural());
        while let Err(error) = call(what, self.api.list(&one)).await {
            tracing::debug!(%error, "still no answer");
            tokio::time::sleep(backoff.failed(())).await;
        }
    }
}

/// What a person can do about it.
fn advice(error: &watcher::Error, resource: WatchedResource) -> String {
    let plural = resource.plural();
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        other => return format!("cannot watch {plural}: {other}: is the API server of this kubeconfig running?"),
    };
    match status.code {
        401 => format!("cannot watch {plural}: the API server does not accept these credentials"),
        403 => format!(
            "cannot watch {plural}: the operator's ServiceAccount needs list and watch on {plural}.stormfold.dev: kubectl apply -f manifests/rbac.yaml"
        ),
        404 => format!("cannot watch {plural}: the CRD is not installed: kubectl apply -f crds/"),
        code => format!("cannot watch {plural}: the API server answers {code}: {}", status.message),
    }
}
