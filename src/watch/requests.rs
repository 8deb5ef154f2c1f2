//! The watch on RemediationRequests.

use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::{Client, ResourceExt};
use stormfold_core::engine::input::{Input, RequestEvent};
use stormfold_core::request::Request;
use tokio_util::sync::CancellationToken;

use crate::api::RemediationRequest;
use crate::cluster::{readable, request_of};
use crate::inbox::Inbox;
use crate::runtime::guarded::Guarded;
use crate::runtime::watch::Watch;

/// Tells the engine of every RemediationRequest, until `stop`.
pub async fn watch_requests(client: Client, watch: Watch, inbox: Inbox, stop: CancellationToken) {
    let mut events = watch.events::<Guarded<RemediationRequest>>(&client);
    while let Some(Some((part, event))) = stop.run_until_cancelled(events.next()).await {
        let event = match event {
            Event::Init => Some(RequestEvent::ListBegins(part)),
            Event::InitApply(object) => {
                ours(object).filter(|(_, deleting)| !deleting).map(|(object, _)| RequestEvent::Listed(part, object))
            }
            Event::InitDone => Some(RequestEvent::ListEnds(part)),
            Event::Apply(object) => ours(object).map(|(object, deleting)| {
                if deleting { RequestEvent::Deleted(object.id) } else { RequestEvent::Changed(object) }
            }),
            Event::Delete(Guarded(object)) => {
                object.ok().as_ref().and_then(request_of).map(|object| RequestEvent::Deleted(object.id))
            }
        };
        if let Some(event) = event {
            inbox.send(Input::Request(event));
        }
    }
}

/// A RemediationRequest of ours, and whether somebody has deleted it while a finalizer holds it.
fn ours(object: Guarded<RemediationRequest>) -> Option<(Request, bool)> {
    let object = readable(object)?;
    let request = request_of(&object);
    if request.is_none() {
        tracing::warn!(
            name = object.name_any(),
            namespace = object.namespace(),
            "name, spec.stormKey, spec.pattern and spec.epoch of a RemediationRequest contradict each other: it is ignored"
        );
    }
    let deleting = object.metadata.deletion_timestamp.is_some();
    request.map(|request| (request, deleting))
}
