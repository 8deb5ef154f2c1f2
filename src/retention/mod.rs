//! Retention: deletes the Signals of storms that have been closed for the retention of their policy, then the RemediationRequests
//! themselves. One object at a time, at a bounded rate: it must never be what the API server is busy with. Namespaces take turns, each of
//! one page of Signals. What was reported first goes first, and what alone tells that an alert fires on stays, with its request.
//!
//! Nothing is remembered but when the Signals of each storm were looked for: after a restart all are looked for once more.

mod doomed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, Resource};
use stormfold_core::engine::Engine;
use stormfold_core::engine::call::ObjectName;
use stormfold_core::engine::fair::{FairQueue, Place};
use stormfold_core::request::Request;
use tokio_util::sync::CancellationToken;

use crate::api::{RemediationRequest, Signal};
use crate::inbox::Inbox;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{ApiWrite, Loop, Metrics, WriteResult};
use crate::policies::Policies;
use crate::runtime::clock::Clock;
use crate::runtime::error::{ApiError, Disposition, call};
use crate::runtime::guarded::Guarded;
use crate::storm::{AlertReport, DigestKey, Policy, Severity, StormId};
use doomed::{Doomed, OldSignal};

/// How often closed storms are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often the API server is asked for the Signals of one storm. There may be new ones: repeats of what it holds, each with a receipt that names it.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// Between two deletes: at most 50 a second, a tenth of what an API server does.
const PACE: Duration = Duration::from_millis(20);
/// Signals in one page, each of up to 300 KB.
const PAGE: u32 = 50;
/// Signals that are deleted in one turn.
const TURN: usize = 100;

/// Deletes objects whose retention is over.
pub struct Retention {
    /// The engine, which knows what the cluster shows.
    pub inbox: Inbox,
    /// What fires on.
    pub ledger: Arc<dyn Ledger>,
    /// What a Signal says of its alerts.
    pub says: fn(&Signal, &DigestKey) -> Vec<AlertReport>,
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
    found: Doomed,
    stage: Stage,
}

/// How far one is.
enum Stage {
    /// Its Signals are read, from here on.
    Read(Option<String>),
    /// These are deleted.
    Delete(VecDeque<OldSignal>),
}

/// When the Signals of a storm were read, and whether some stay.
struct Looked {
    at: Timestamp,
    kept: bool,
}

#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("it is not known which alerts fire on: {0}")]
    Ledger(#[from] LedgerError),
}

impl RetentionError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Api(error) => error.disposition(),
            // Of everybody's ledger, and so no reason to skip this namespace.
            Self::Ledger(_) => Disposition::Unavailable,
        }
    }
}

impl Expired {
    fn new(object: Arc<Request>, due: Due) -> Self {
        Self { object, due, found: Doomed::default(), stage: Stage::Read(None) }
    }

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
            // Before all Signals were read, the ledger may not know what fires on.
            let closed = self.inbox.look(|engine| {
                engine.digests().filter(|_| engine.requests_listed()).map(|key| (key, closed_storms(engine)))
            });
            let Some(Some((digests, closed))) = stop.run_until_cancelled(closed).await.flatten() else { continue };
            let ids: HashSet<StormId> = closed.iter().map(|object| object.id).collect();
            looked.retain(|id, _| ids.contains(id));
            let expired = self.expired(closed, &looked);
            if stop.run_until_cancelled(self.delete_all(expired, &digests, &mut looked)).await.is_none() {
                return;
            }
        }
    }

    /// The closed storms of which something is due.
    fn expired(&self, closed: Vec<Arc<Request>>, looked: &HashMap<StormId, Looked>) -> FairQueue<Expired> {
        let (mut expired, now) = (FairQueue::default(), self.clock.now());
        for object in closed {
            let policy = self.policies.named(&object.opening.policy);
            let mut due = due(&object, &policy, now);
            let recently = looked.get(&object.id).filter(|last| now.duration_since(last.at) <= LOOK_AGAIN);
            due.signals &= recently.is_none();
            due.request &= recently.is_none_or(|last| !last.kept);
            if due.signals || due.request {
                let storm = Expired::new(object, due);
                expired.push(storm.place(), storm);
            }
        }
        expired
    }

    async fn delete_all(
        &self,
        mut expired: FairQueue<Expired>,
        digests: &DigestKey,
        looked: &mut HashMap<StormId, Looked>,
    ) {
        let mut refusing = HashSet::new();
        while let Some(mut storm) = expired.pop() {
            if refusing.contains(&storm.object.namespace) {
                continue;
            }
            match self.turn(&mut storm, digests).await {
                Ok(true) => expired.push(storm.place(), storm),
                Ok(false) => {
                    looked.insert(storm.object.id, Looked { at: self.clock.now(), kept: storm.found.kept });
                }
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

    /// One turn of a storm. Whether another one follows.
    async fn turn(&self, storm: &mut Expired, digests: &DigestKey) -> Result<bool, RetentionError> {
        match &mut storm.stage {
            Stage::Read(after) => {
                let after = after.take();
                let next = self.read(&storm.object, after, &mut storm.found, digests).await?;
                storm.stage = match next {
                    Some(next) => Stage::Read(Some(next)),
                    None => Stage::Delete(storm.found.in_order()),
                };
                Ok(true)
            }
            Stage::Delete(rest) if !rest.is_empty() => {
                let some = rest.drain(..rest.len().min(TURN)).collect();
                self.delete_signals(&storm.object, some).await?;
                Ok(true)
            }
            Stage::Delete(_) if std::mem::take(&mut storm.found.overflowed) => {
                storm.stage = Stage::Read(None);
                Ok(true)
            }
            Stage::Delete(_) => {
                // Nobody would look for its Signals afterwards.
                if storm.due.request && !storm.found.kept {
                    self.delete_request(&storm.object).await?;
                }
                Ok(false)
            }
        }
    }

    /// Reads a page of the Signals whose receipt names this storm. Where the next page begins.
    async fn read(
        &self,
        object: &Request,
        after: Option<String>,
        found: &mut Doomed,
        digests: &DigestKey,
    ) -> Result<Option<String>, RetentionError> {
        let Request { namespace, name, .. } = object;
        let api: Api<Guarded<Signal>> = Api::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().fields(&format!("status.storm={name}")).limit(PAGE);
        params.continue_token = after;
        let page = call(|| format!("list the Signals of {namespace}/{name}"), api.list(&params)).await?;
        // After the page: what it shows to fire is known by then.
        let alerts = self.ledger.alerts(object.id.key).await?;
        for signal in &page.items {
            let says = signal.0.as_ref().map(|signal| (self.says)(signal, digests)).unwrap_or_default();
            found.find(signal, &says, &alerts);
        }
        Ok(page.metadata.continue_.filter(|next| !next.is_empty()))
    }

    async fn delete_signals(&self, object: &Request, signals: Vec<OldSignal>) -> Result<(), ApiError> {
        let Request { namespace, name, .. } = object;
        let api: Api<Guarded<Signal>> = Api::namespaced(self.client.clone(), namespace);
        let deleted = signals.len();
        for OldSignal { name, uid, .. } in signals {
            self.delete_one(&api, &name, uid, ApiWrite::DeleteSignal).await?;
            tokio::time::sleep(PACE).await;
        }
        tracing::info!(namespace, storm = name, deleted, "Signals deleted after their retention");
        Ok(())
    }

    async fn delete_request(&self, object: &Request) -> Result<(), ApiError> {
        let Request { namespace, name, uid, .. } = object;
        let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
        self.delete_one(&api, name, uid.clone(), ApiWrite::DeleteRequest).await?;
        tracing::info!(namespace, name, "RemediationRequest deleted after its retention");
        Ok(())
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

/// The closed storms whose Signals nobody needs. While Signals wait for a RemediationRequest that is refused, what a person has handled may be told by
/// the receipts of older Signals alone.
fn closed_storms(engine: &Engine) -> Vec<Arc<Request>> {
    let mut closed = engine.store().closed();
    closed.retain(|object| !engine.receipts().is_refused(object.id.key));
    closed
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
