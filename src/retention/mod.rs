//! Retention: deletes the Signals of storms that have been closed for the retention of their policy, then the RemediationRequests
//! themselves. One object at a time, at a bounded rate: it must never be what the API server is busy with. Namespaces take turns, each of
//! one page of Signals.
//!
//! Nothing is remembered but when the Signals of each storm were looked for: after a restart all are looked for once more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use stormfold_core::engine::call::ObjectName;
use stormfold_core::engine::fair::{FairQueue, Place};
use stormfold_core::request::Request;
use tokio_util::sync::CancellationToken;

use crate::api::{RemediationRequest, Signal};
use crate::inbox::Inbox;
use crate::metrics::{ApiWrite, Loop, Metrics, WriteResult};
use crate::policies::Policies;
use crate::runtime::clock::Clock;
use crate::runtime::error::{ApiError, Disposition, call};
use crate::storm::{Policy, Severity, StormId};

/// How often closed storms are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often the API server is asked for the Signals of one storm. There may be new ones: repeats of what it holds, each with a receipt that names it.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// Between two deletes: at most 50 a second, a tenth of what an API server does.
const PACE: Duration = Duration::from_millis(20);
/// Signals in one page.
const PAGE: u32 = 100;

/// Deletes objects whose retention is over.
pub struct Retention {
    /// The engine, which knows what the cluster shows.
    pub inbox: Inbox,
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

/// A closed storm of which something is due.
struct Expired {
    object: Arc<Request>,
    due: Due,
    /// Where the next page of its Signals begins.
    after: Option<String>,
}

impl Expired {
    fn place(&self) -> Place {
        Place::of(&self.object.namespace, Severity::default())
    }
}

impl Retention {
    /// Deletes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.policies.listed()).await.is_none() {
            return;
        }
        let mut looked = HashMap::new();
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let closed = self.inbox.look(|engine| engine.requests_listed().then(|| engine.store().closed()));
            let Some(Some(closed)) = stop.run_until_cancelled(closed).await.flatten() else { continue };
            let ids: HashSet<StormId> = closed.iter().map(|object| object.id).collect();
            looked.retain(|id, _| ids.contains(id));
            let expired = self.expired(closed, &looked);
            if stop.run_until_cancelled(self.delete_all(expired, &mut looked)).await.is_none() {
                return;
            }
        }
    }

    /// The closed storms of which something is due.
    fn expired(&self, closed: Vec<Arc<Request>>, looked: &HashMap<StormId, Timestamp>) -> FairQueue<Expired> {
        let (mut expired, now) = (FairQueue::default(), self.clock.now());
        for object in closed {
            let policy = self.policies.named(&object.opening.policy);
            let mut due = due(&object, &policy, now);
            due.signals &= looked.get(&object.id).is_none_or(|last| now.duration_since(*last) > LOOK_AGAIN);
            if due.signals || due.request {
                let storm = Expired { object, due, after: None };
                expired.push(storm.place(), storm);
            }
        }
        expired
    }

    async fn delete_all(&self, mut expired: FairQueue<Expired>, looked: &mut HashMap<StormId, Timestamp>) {
        let mut refusing = HashSet::new();
        while let Some(mut storm) = expired.pop() {
            if refusing.contains(&storm.object.namespace) {
                continue;
            }
            match self.delete(&storm).await {
                Ok(Some(next)) => {
                    storm.after = Some(next);
                    expired.push(storm.place(), storm);
                }
                Ok(None) if storm.due.signals => drop(looked.insert(storm.object.id, self.clock.now())),
                Ok(None) => {}
                Err(error) => {
                    let (disposition, Request { namespace, name, .. }) = (error.disposition(), &*storm.object);
                    self.metrics.failed(Loop::Retention, disposition);
                    let storm = ObjectName { namespace: namespace.clone(), name: name.clone() };
                    tracing::warn!(%storm, ?disposition, %error, "objects whose retention is over are not deleted yet");
                    if disposition != Disposition::Terminal {
                        // The next look tries again; until then the API server is left alone.
                        return;
                    }
                    // What one namespace refuses is no reason to keep what others have.
                    refusing.insert(namespace.clone());
                }
            }
        }
    }

    /// One turn of a storm. Where the next one begins, if one is left.
    async fn delete(&self, Expired { object, due, after }: &Expired) -> Result<Option<String>, ApiError> {
        // Before the request goes, once more: nobody would look for them afterwards.
        if let Some(next) = self.delete_signals(object, after.as_deref()).await? {
            return Ok(Some(next));
        }
        if due.request {
            let Request { namespace, name, uid, .. } = object.as_ref();
            let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
            self.delete_one(&api, name, uid.clone(), ApiWrite::DeleteRequest).await?;
            tracing::info!(namespace, name, "RemediationRequest deleted after its retention");
        }
        Ok(None)
    }

    /// Deletes a page of the Signals whose receipt names this storm. Where the next page begins.
    async fn delete_signals(&self, object: &Request, after: Option<&str>) -> Result<Option<String>, ApiError> {
        let Request { namespace, name, .. } = object;
        let api: Api<PartialObjectMeta<Signal>> = Api::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().fields(&format!("status.storm={name}")).limit(PAGE);
        params.continue_token = after.map(str::to_owned);
        let mut deleted = 0;
        let page = call(|| format!("list the Signals of {namespace}/{name}"), api.list(&params)).await?;
        // One that is being deleted waits for the finalizer of somebody: asking again changes nothing.
        for signal in page.items.iter().filter(|signal| signal.metadata.deletion_timestamp.is_none()) {
            self.delete_one(&api, &signal.name_any(), signal.uid(), ApiWrite::DeleteSignal).await?;
            deleted += 1;
            tokio::time::sleep(PACE).await;
        }
        if deleted > 0 {
            tracing::info!(namespace, storm = name, deleted, "Signals deleted after their retention");
        }
        Ok(page.metadata.continue_.filter(|next| !next.is_empty()))
    }

    /// This very object, and no other that has its name by now.
    async fn delete_one<K>(
        &self,
        api: &Api<K>,
        name: &str,
        uid: Option<String>,
        write: ApiWrite,
    ) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let uid = Preconditions { uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(uid), ..DeleteParams::default() };
        match call(|| format!("delete {} {name}", K::kind(&())), api.delete(name, &params)).await {
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
fn due(object: &Request, policy: &Policy, now: Timestamp) -> Due {
    let closed = object.end().and_then(|end| end.at);
    let over = |kept: Option<SignedDuration>| match (closed, kept) {
        (Some(closed), Some(kept)) => now > closed.checked_add(kept).unwrap_or(Timestamp::MAX),
        _ => false,
    };
    let signals = over(policy.retention);
    Due { signals, request: signals && over(policy.request_retention) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::api::{OpeningSignal, RemediationRequestSpec};
    use crate::cluster::request_of;
    use crate::storm::StormKey;
    use crate::storm::name::storm_name;

    use super::*;

    fn closed(state: &str) -> Request {
        let storm = json!({
            "state": state, "alertCount": 1, "firingCount": 1, "affectedCount": 0, "severity": "error",
            "firstSeen": "2026-01-01T00:00:00Z", "lastSeen": "2026-01-01T00:00:00Z", "revision": 1, "closedAt": "2026-01-01T00:00:00Z",
        });
        let spec = RemediationRequestSpec {
            pattern: "X in prod".into(),
            storm_key: StormKey::new("prod", "X in prod").to_hex(),
            epoch: 1,
            signal: OpeningSignal { name: "X".into(), source_kind: None },
            ..RemediationRequestSpec::default()
        };
        let mut object = RemediationRequest::new(&storm_name("X in prod", 1), spec);
        object.metadata.namespace = Some("prod".into());
        object.status = serde_json::from_value(json!({ "storm": storm })).unwrap();
        request_of(&object).unwrap()
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
