//! The Signals of one namespace, page by page, read uncached.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource as _};
use stormfold_core::engine::call::{ApiFault, ListSignals, SignalsPage};

use super::arrival::arrive;
use crate::api::Signal;
use crate::cluster::fault;
use crate::policies::Policies;
use crate::runtime::error::{Disposition, call};
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::PAGE;
use crate::storm::Reach;

/// Lists Signals for the engine.
#[derive(Clone)]
pub struct SignalLister {
    client: Client,
    /// How Signals group.
    policies: Arc<Policies>,
    /// Whose Signals may speak of other namespaces.
    reach: Reach,
}

impl SignalLister {
    /// With this client.
    pub fn new(client: Client, policies: Arc<Policies>, reach: Reach) -> Self {
        Self { client, policies, reach }
    }

    /// One page.
    pub async fn page(&self, list: ListSignals) -> Result<SignalsPage, ApiFault> {
        let ListSignals { namespace, part, digests, after } = list;
        let api: Api<Guarded<Signal>> = Api::namespaced(self.client.clone(), &namespace);
        let mut params = ListParams::default().limit(PAGE);
        params.continue_token = after;
        let what = || format!("list Signals in {namespace}");
        let page = call(what, api.list(&params)).await.map_err(|error| fault(&error, false))?;
        // The youngest Signal asks: a namespace that was made again is another one.
        if let Some(created) = page.items.iter().filter_map(created).max() {
            self.know_namespace(&namespace, created).await?;
        }
        let view = self.policies.view();
        let items = page.items.into_iter();
        let arrivals =
            items.filter_map(|signal| arrive((part, Event::InitApply(signal)), &view, &self.reach, &digests));
        let arrivals = arrivals.collect();
        Ok(SignalsPage { arrivals, next: page.metadata.continue_.filter(|next| !next.is_empty()) })
    }

    /// As for the watch: labels that cannot be read are none, and whoever has a bad time is asked again.
    async fn know_namespace(&self, namespace: &str, created: Timestamp) -> Result<(), ApiFault> {
        let Err(error) = self.policies.know_namespace(namespace, created).await else { return Ok(()) };
        match error.disposition() {
            Disposition::Terminal | Disposition::Conflict => {
                tracing::warn!(%error, namespace, "policies see no labels of a namespace: they cannot be read");
                self.policies.forget_namespace(namespace, created);
                Ok(())
            }
            Disposition::Transient | Disposition::Unavailable => Err(fault(&error, false)),
        }
    }
}

fn created(signal: &Guarded<Signal>) -> Option<Timestamp> {
    signal.meta().creation_timestamp.as_ref().map(|time| time.0)
}
