//! Which replica works: the one that holds a Lease, taken and renewed by compare-and-swap.
//!
//! Leadership is advice. A leader that is suspended in the middle of a call writes when it wakes up, whatever a Lease says; what it writes is safe without it
//! (resourceVersions, names as locks, joins). The Lease keeps replicas from doing everything twice.
//!
//! Whether a Lease has expired is judged by the time on our own monotonic clock since it was last seen to change, never by the times in it: clocks differ.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::error::{ApiError, call_within};
use crate::api::FIELD_MANAGER;

/// Name of the Lease.
pub const LEASE: &str = "stormfold";

/// How often another replica looks: what a leader releases is taken up within a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// One call, at most. Several of them fit into the deadline of the usual Lease.
const CALL: Duration = Duration::from_secs(3);

/// How long a Lease is good for after it was last seen to change: whole seconds, as in the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseDuration(u16);

impl LeaseDuration {
    /// Shorter ones would be lost to an API server that is slow for a moment; longer ones would be waited for after a crash.
    pub const RANGE: std::ops::RangeInclusive<u16> = 2..=3600;

    /// `None`: out of range.
    pub fn from_secs(seconds: u16) -> Option<Self> {
        Self::RANGE.contains(&seconds).then_some(Self(seconds))
    }

    fn whole(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// A leader that could not renew for this long stops.
    fn deadline(self) -> Duration {
        self.whole() * 2 / 3
    }

    /// How long it may take to stop then, so that it has stopped before another begins.
    pub fn margin(self) -> Duration {
        // The rest of it.
        self.whole() / 3
    }

    /// How often a leader renews: five times within the deadline.
    fn renew_every(self) -> Duration {
        self.deadline() / 5
    }
}

impl Default for LeaseDuration {
    fn default() -> Self {
        Self(15)
    }
}

/// A candidate.
pub struct Election {
    api: Api<Lease>,
    /// Who we are: unique per process.
    identity: String,
    duration: LeaseDuration,
    clock: Clock,
}

/// The Lease as it was seen last.
struct SeenRenewal {
    version: String,
    at: Instant,
}

impl Election {
    /// A candidate for the Lease of the installation in `namespace`.
    pub fn new(client: Client, namespace: &str, identity: String, duration: LeaseDuration, clock: Clock) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, duration, clock }
    }

    /// Waits until this replica leads; `None`: stopped.
    pub async fn win(&self, stop: &CancellationToken) -> Option<Term<'_>> {
        let mut seen = None;
        let mut waits = false;
        loop {
            let began = Instant::now();
            match stop.run_until_cancelled(Box::pin(self.attempt(&mut seen))).await? {
                Ok(Some(lease)) => {
                    tracing::info!(identity = self.identity, "this replica leads");
                    return Some(Term { election: self, lease, renewed: began });
                }
                Ok(None) if !waits => {
                    waits = true;
                    tracing::info!(identity = self.identity, "another replica leads: this one stands by");
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the Lease cannot be read or written, will be tried again"),
            }
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    /// The Lease, if it is ours now; `None`: somebody else holds it, or was faster.
    async fn attempt(&self, seen: &mut Option<SeenRenewal>) -> Result<Option<Lease>, ApiError> {
        let Some(lease) = bounded("get", self.api.get_opt(LEASE)).await? else {
            let new = Lease {
                metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.claim(None)),
            };
            return race("create", self.api.create(&params(), &new)).await;
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let changed = seen.as_ref().is_none_or(|seen| seen.version != version);
        if changed {
            *seen = Some(SeenRenewal { version, at: Instant::now() });
        }
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let good_for =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
        let expired = seen.as_ref().is_some_and(|seen| seen.at.elapsed() >= good_for);
        if !holder.is_empty() && holder != self.identity && !expired {
            return Ok(None);
        }
        let claimed = Lease { spec: Some(self.claim(Some(&spec))), ..lease };
        race("replace", self.api.replace(LEASE, &params(), &claimed)).await
    }

    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(self.clock.now()));
        let transitions = before.and_then(|before| before.lease_transitions).map_or(0, |n| n.saturating_add(1));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.duration.0.into()),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// A time of leading.
pub struct Term<'a> {
    election: &'a Election,
    lease: Lease,
    /// When the last renewal that succeeded began.
    renewed: Instant,
}

impl Term<'_> {
    /// Renews until the Lease is lost; says why.
    pub async fn keep(&mut self) -> String {
        let duration = self.election.duration;
        loop {
            tokio::time::sleep(duration.renew_every()).await;
            let began = Instant::now();
            let deadline = self.renewed + duration.deadline();
            match tokio::time::timeout_at(deadline, Box::pin(self.renew(self.election.clock.now()))).await {
                Ok(Ok(Some(lease))) => (self.lease, self.renewed) = (lease, began),
                Ok(Ok(None)) => return "another replica has taken the Lease".to_owned(),
                Ok(Err(error)) if Instant::now() >= deadline => return error.to_string(),
                Ok(Err(error)) => tracing::warn!(%error, "the Lease is not renewed yet"),
                Err(_) => return format!("the Lease could not be renewed for {} s", duration.deadline().as_secs_f64()),
            }
        }
    }

    /// `None`: it is somebody else's.
    async fn renew(&self, now: Timestamp) -> Result<Option<Lease>, ApiError> {
        self.write(LeaseSpec { renew_time: Some(MicroTime(now)), ..self.spec() }).await
    }

    /// Lets the next one begin at once. Called when everything has stopped.
    pub async fn release(self) {
        let nobody = LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..self.spec() };
        match self.write(nobody).await {
            Ok(Some(_)) => tracing::info!("the Lease is released"),
            // Whoever holds it now needs no release.
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the Lease is not released: the next leader waits until it expires"),
        }
    }

    fn spec(&self) -> LeaseSpec {
        self.lease.spec.clone().unwrap_or_default()
    }

    /// Writes the Lease. Where it is another than it was, and still ours, it is written once more: a renewal of ours came to nothing that we heard
    /// of, because its answer was lost or because we were told to stop in its midst; or somebody gave it a label. `None`: it is somebody else's.
    async fn write(&self, spec: LeaseSpec) -> Result<Option<Lease>, ApiError> {
        let api = &self.election.api;
        let mut lease = Lease { spec: Some(spec), ..self.lease.clone() };
        if let Some(written) = race("replace", api.replace(LEASE, &params(), &lease)).await? {
            return Ok(Some(written));
        }
        let ours = |lease: &Lease| {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.election.identity)
        };
        let Some(current) = bounded("get", api.get_opt(LEASE)).await?.filter(ours) else { return Ok(None) };
        lease.metadata = current.metadata;
        bounded("replace", api.replace(LEASE, &params(), &lease)).await.map(Some)
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

async fn bounded<T>(verb: &str, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    call_within(CALL, || format!("{verb} Lease {LEASE}"), request).await
}

/// A write that somebody else may have been faster with: `None`.
async fn race<T>(verb: &str, request: impl Future<Output = Result<T, kube::Error>>) -> Result<Option<T>, ApiError> {
    match bounded(verb, request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some(409) => Ok(None),
        Err(error) => Err(error),
    }
}
