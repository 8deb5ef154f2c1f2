//! What is kept no longer: the Signals of storms that have been closed for the retention of their policy, then the RemediationRequests
//! themselves. One object at a time, at a bounded rate: it must never be what the API server is busy with.
//!
//! Nothing is remembered but when the Signals of each storm were looked for: after a restart all are looked for once more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{RemediationRequest, Signal};
use crate::metrics::{ApiWrite, Loop, Metrics, WriteResult};
use crate::policies::Policies;
use crate::publish::{Projections, is_open};
use crate::runtime::clock::Clock;
use crate::runtime::error::{ApiError, call};
use crate::storm::Policy;

/// How often closed storms are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often the API server is asked for the Signals of one storm. There may be new ones: repeats of what it holds, each with a receipt that names it.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// Between two deletes: at most 50 a second, a tenth of what an API server does.
const PACE: Duration = Duration::from_millis(20);
/// Signals in one page.
const PAGE: u32 = 100;

/// Deletes what is kept no longer.
pub struct Retention {
    /// What the cluster shows.
    pub projections: Arc<Projections>,
    /// How long it is kept.
    pub policies: Arc<Policies>,
    /// The API server.
    pub client: Client,
    /// The time.
    pub clock: Clock,
    /// For machines.
    pub metrics: Metrics,
}

/// What is due for a closed storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// Its Signals.
    signals: bool,
    /// Then the RemediationRequest itself.
    request: bool,
}

impl Retention {
    /// Deletes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let known = async { tokio::join!(self.projections.listed(), self.policies.listed()) };
        if stop.run_until_cancelled(known).await.is_none() {
            return;
        }
        let mut looked = HashMap::new();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let closed = self.projections.closed();
            looked.retain(|id, _| self.projections.get(*id).is_some());
            for id in closed {
                let Some(object) = self.projections.get(id) else { continue };
                let policy = self.policies.named(&object.spec.policy_ref.name);
                let now = self.clock.now();
                let mut due = due(&object, &policy, now);
                due.signals &= looked.get(&id).is_none_or(|last| now.duration_since(*last) > LOOK_AGAIN);
                let done = stop.run_until_cancelled(self.delete(&object, due)).await;
                let Some(done) = done else { return };
                if let Err(error) = done {
                    let disposition = error.disposition();
                    self.metrics.failed(Loop::Retention, disposition);
                    tracing::warn!(storm = ?id, ?disposition, %error, "what is kept no longer is not deleted yet");
                    // The next look tries again; until then the API server is left alone.
                    break;
                }
                if due.signals {
                    looked.insert(id, now);
                }
            }
        }
    }

    async fn delete(&self, object: &RemediationRequest, due: Due) -> Result<(), ApiError> {
        // Before the request goes, once more: nobody would look for them afterwards.
        if due.signals || due.request {
            self.delete_signals(object).await?;
        }
        if due.request {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), &namespace);
            self.delete_one(&api, object, ApiWrite::DeleteRequest).await?;
            tracing::info!(namespace, name, "RemediationRequest deleted after its retention");
        }
        Ok(())
    }

    /// Deletes the Signals whose receipt names this storm.
    async fn delete_signals(&self, object: &RemediationRequest) -> Result<(), ApiError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<PartialObjectMeta<Signal>> = Api::namespaced(self.client.clone(), &namespace);
        let params = ListParams::default().fields(&format!("status.storm={name}")).limit(PAGE);
        let mut deleted = 0;
        loop {
            // Always the first page: what was on it is gone.
            let page = call(|| format!("list the Signals of {namespace}/{name}"), api.list(&params)).await?.items;
            if page.is_empty() {
                break;
            }
            for signal in &page {
                self.delete_one(&api, signal, ApiWrite::DeleteSignal).await?;
                tokio::time::sleep(PACE).await;
            }
            deleted += page.len();
        }
        if deleted > 0 {
            tracing::info!(namespace, storm = name, deleted, "Signals deleted after their retention");
        }
        Ok(())
    }

    /// This very object, and no other that has its name by now.
    async fn delete_one<K>(&self, api: &Api<K>, object: &impl ResourceExt, write: ApiWrite) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let name = object.name_any();
        let uid = Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(uid), ..DeleteParams::default() };
        match call(|| format!("delete {} {name}", K::kind(&())), api.delete(&name, &params)).await {
            Ok(_) => self.metrics.wrote(write, WriteResult::Done),
            Err(error) if matches!(error.code(), Some(404 | 409)) => self.metrics.wrote(write, WriteResult::Gone),
            Err(error) => {
                self.metrics.wrote(write, WriteResult::Failed);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// What is due, strictly after its time. An object without an end is kept.
fn due(object: &RemediationRequest, policy: &Policy, now: Timestamp) -> Due {
    let storm = object.status.as_ref().and_then(|status| status.storm.as_ref());
    let closed = storm.filter(|_| !is_open(object)).and_then(|storm| storm.closed_at.as_ref());
    let over = |kept: Option<SignedDuration>| match (closed, kept) {
        (Some(closed), Some(kept)) => now > closed.0.checked_add(kept).unwrap_or(Timestamp::MAX),
        _ => false,
    };
    let signals = over(policy.retention);
    Due { signals, request: signals && over(policy.request_retention) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::api::RemediationRequestSpec;

    use super::*;

    fn closed(state: &str) -> RemediationRequest {
        let storm = json!({
            "state": state, "alertCount": 1, "firingCount": 1, "affectedCount": 0, "severity": "error",
            "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-01T00:00:00Z", "revision": 1, "closedAt": "2026-01-01T00:00:00Z",
        });
        let mut object = RemediationRequest::new("storm-x", RemediationRequestSpec::default());
        object.status = serde_json::from_value(json!({ "storm": storm })).unwrap();
        object
    }

    fn after(seconds: i64) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    #[rstest]
    #[case::before(59, false, false)]
    #[case::at(60, false, false)]
    #[case::after(61, true, false)]
    #[case::request_at(120, true, false)]
    #[case::request_after(121, true, true)]
    fn what_is_closed_is_due_strictly_after_its_retention(
        #[case] now: i64,
        #[case] signals: bool,
        #[case] request: bool,
    ) {
        let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
        let policy = Policy { retention: seconds(60), request_retention: seconds(120), ..Policy::default() };
        assert_eq!(due(&closed("Closed"), &policy, after(now)), Due { signals, request });
        let nothing = Due { signals: false, request: false };
        assert_eq!(due(&closed("Open"), &policy, after(now)), nothing, "an open storm needs its Signals");
        let for_ever = Policy { retention: None, request_retention: None, ..Policy::default() };
        assert_eq!(due(&closed("Closed"), &for_ever, after(now)), nothing);
    }
}
