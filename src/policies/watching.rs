//! The watches on StormPolicies and on the labels of Namespaces, and what the engine is told of the policies.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use stormfold_core::engine::input::Input;
use tokio_util::sync::CancellationToken;

use super::Policies;
use crate::api::StormPolicy;
use crate::inbox::Inbox;
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::Watch;

/// Tells the engine which policies are in force, until `stop`.
pub async fn tell_policies(policies: Arc<Policies>, inbox: Inbox, stop: CancellationToken) {
    let mut changes = policies.changes();
    let listed = async {
        policies.listed().await;
        inbox.send(Input::Policies(policies.view().set));
        inbox.send(Input::PoliciesListed);
    };
    if stop.run_until_cancelled(listed).await.is_none() {
        return;
    }
    // The sender lives as long as `policies`.
    while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
        inbox.send(Input::Policies(policies.view().set));
    }
}

/// Keeps the policies, until `stop`.
pub async fn watch_policies(client: Client, watch: Watch, policies: Arc<Policies>, stop: CancellationToken) {
    let mut events = watch.events_everywhere::<Guarded<StormPolicy>>(&client);
    let mut listing: Option<(BTreeSet<String>, Vec<StormPolicy>)> = None;
    while let Some(Some((_, event))) = stop.run_until_cancelled(events.next()).await {
        match event {
            Event::Init => listing = Some(Default::default()),
            Event::InitApply(object) => {
                let (names, objects) = listing.get_or_insert_with(Default::default);
                names.insert(object.name_any());
                objects.extend(readable(object));
            }
            // All of them at once: a Signal must not come under the first half of the policies.
            Event::InitDone => {
                let (names, objects) = listing.take().unwrap_or_default();
                policies.edit(|book| {
                    let gone = book.keep_only(&names);
                    objects.into_iter().fold(gone, |changed, object| book.put(object) || changed)
                });
                watch.gate.open();
                policies.listed.send_modify(|listed| listed.0 = true);
            }
            Event::Apply(object) => {
                if let Some(object) = readable(object) {
                    let name = object.name_any();
                    policies.edit(|book| book.put(object));
                    tracing::debug!(name, "policy read");
                }
            }
            Event::Delete(object) => {
                let name = object.name_any();
                tracing::info!(name, "policy deleted: its open storms follow the default one");
                policies.edit(|book| book.remove(&name));
            }
        }
    }
}

/// A policy that this operator cannot read stays as it was.
fn readable(Guarded(object): Guarded<StormPolicy>) -> Option<StormPolicy> {
    object
        .inspect_err(|unreadable| {
            let (name, fault) = (&unreadable.metadata.name, &unreadable.fault);
            tracing::warn!(
                name,
                fault,
                "a StormPolicy cannot be read: do its CRDs match this operator? kubectl apply -f crds/"
            );
        })
        .ok()
}

/// Keeps the labels of namespaces, and when they were made, until `stop`.
pub async fn watch_namespaces(client: Client, watch: Watch, policies: Arc<Policies>, stop: CancellationToken) {
    let mut events = watch.events_everywhere::<PartialObjectMeta<Namespace>>(&client);
    let mut listing = HashSet::new();
    while let Some(Some((_, event))) = stop.run_until_cancelled(events.next()).await {
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(namespace) => {
                policies.put_namespace(&namespace);
                listing.insert(namespace.name_any());
            }
            Event::InitDone => {
                let known: Vec<String> = policies.view().namespaces.keys().cloned().collect();
                let gone = known.iter().filter(|name| !listing.contains(*name));
                gone.for_each(|name| policies.remove_namespace(name, None));
                watch.gate.open();
                policies.listed.send_modify(|listed| listed.1 = true);
            }
            Event::Apply(namespace) => policies.put_namespace(&namespace),
            Event::Delete(namespace) => {
                let made = namespace.creation_timestamp().map(|time| time.0);
                policies.remove_namespace(&namespace.name_any(), made);
            }
        }
    }
}
