//! One watch over one or many namespaces, with its troubles told in words.

use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::part_gate::PartGate;
use super::readiness::Gate;
use crate::metrics::{Metrics, WatchLabels, WatchedResource};

/// Objects per page of a list: a Signal has up to 300 KB, and a page is in memory at once.
pub const PAGE: u32 = 50;

/// An event of the watch over the `usize`-th namespace.
pub type WatchEvent<K> = (usize, watcher::Event<K>);

/// What is watched, and where its troubles are told.
pub struct Watch {
    /// For logs and metrics.
    pub resource: WatchedResource,
    /// None: all namespaces.
    pub namespaces: Vec<String>,
    /// Closed until the first lists are complete; their reader opens it.
    pub gate: Gate,
    /// Told what fails, and what works again.
    pub health: PartGate,
    /// Counts failures.
    pub metrics: Metrics,
}

impl Watch {
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
        self.watch(apis)
    }

    /// The same for a resource that is in no namespace.
    pub fn events_everywhere<K>(&self, client: &Client) -> SelectAll<BoxStream<'static, WatchEvent<K>>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        self.watch(vec![Api::all(client.clone())])
    }

    fn watch<K>(&self, apis: Vec<Api<K>>) -> SelectAll<BoxStream<'static, WatchEvent<K>>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut config = watcher::Config::default().page_size(PAGE);
        if let Some(fields) = self.resource.fields() {
            config = config.fields(fields);
        }
        let streams = apis.into_iter().enumerate().map(|(part, api)| {
            let (health, metrics, resource) = (self.health.clone(), self.metrics.clone(), self.resource);
            let wake = Arc::new(Notify::new());
            let probe = stream::once(health.clone().probe(part, api.clone(), wake.clone()));
            let events = watcher(api, config.clone()).default_backoff().filter_map(move |event| {
                let event = match event {
                    Ok(event) => {
                        // Init says that a list will be tried, not that the API server answers.
                        if !matches!(event, watcher::Event::Init) {
                            health.works(&part);
                        }
                        Some((part, event))
                    }
                    Err(error) => {
                        report(&error, part, resource, &health, &metrics);
                        // A list that fails is tried again and then has events; a watch that goes on may have none.
                        if matches!(error, watcher::Error::WatchStartFailed(_) | watcher::Error::WatchFailed(_)) {
                            wake.notify_one();
                        }
                        None
                    }
                };
                std::future::ready(event)
            });
            stream::select(events, probe.filter_map(|()| std::future::ready(None))).boxed()
        });
        stream::select_all(streams)
    }
}

fn report(error: &watcher::Error, part: usize, resource: WatchedResource, health: &PartGate, metrics: &Metrics) {
    let advice = advice(error, resource);
    metrics.watch_failures.get_or_create(&WatchLabels { resource }).inc();
    tracing::warn!(resource = resource.plural(), %error, "watch failed: {advice}");
    // An expired watch is repaired by the list that follows; nobody has to know.
    if !matches!(error, watcher::Error::WatchError(status) if status.code == 410) {
        health.failed(part, advice);
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
        watcher::Error::InitialListFailed(kube::Error::SerdeError(fault))
        | watcher::Error::WatchFailed(kube::Error::SerdeError(fault)) => {
            return format!(
                "cannot watch {plural}: one of them cannot be read: {fault}; is this operator older than its CRDs? kubectl apply -f crds/"
            );
        }
        other => return format!("cannot watch {plural}: {other}: is the API server of this kubeconfig running?"),
    };
    match status.code {
        401 => format!("cannot watch {plural}: the API server does not accept these credentials"),
        403 => format!(
            "cannot watch {plural}: the operator's ServiceAccount needs list and watch on {}: {}",
            resource.full_name(),
            resource.rights()
        ),
        404 => format!("cannot watch {plural}: the CRD is not installed: kubectl apply -f crds/"),
        code => format!("cannot watch {plural}: the API server answers {code}: {}", status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // B8: an object that a newer CRD let in is not taken for a server that is down.
    #[test]
    fn an_object_that_cannot_be_read_is_called_that() {
        let fault = || serde_json::from_str::<u8>("x").map_err(kube::Error::SerdeError).unwrap_err();
        for error in [watcher::Error::InitialListFailed(fault()), watcher::Error::WatchFailed(fault())] {
            let says = advice(&error, WatchedResource::RemediationRequests);
            assert!(says.starts_with("cannot watch remediationrequests: one of them cannot be read"), "{says}");
        }
    }
}
