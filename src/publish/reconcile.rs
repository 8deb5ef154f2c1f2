//! One run of one storm: snapshot → projection → decide → carry out.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::sync::{Notify, watch};

use super::Receipts;
use super::apply::Apply;
use super::behind::{Behind, Lag};
use super::drops::Drops;
use super::openings::Openings;
use super::projections::{Projections, is_asked, is_open, storm_id};
use super::queue::Requests;
use crate::api::{CLOSE, HOLD_OPEN, RemediationRequest, STORM, to_storm_metadata};
use crate::ledger::{Ledger, LedgerError, Snapshot};
use crate::metrics::{Loop, Metrics};
use crate::policies::Policies;
use crate::runtime::clock::Clock;
use crate::runtime::error::{ApiError, Disposition};
use crate::runtime::events::Events;
use crate::runtime::link::Link;
use crate::storm::decide::{Decision, DropReason, LedgerView, Projection, Wish, decide};
use crate::storm::name::storm_name;
use crate::storm::{Opening, Policy, StormId};

/// How soon to look again at something that another run, or the receipt writer, is about to finish.
pub(super) const SHORTLY: Duration = Duration::from_millis(200);
/// How soon a run is tried again that the ledger did not answer.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// create, write, close, write the end, and once more for each that met a newer object: more steps than that is a fault of ours,
/// and the back-off is the right place for it.
const MAX_STEPS: usize = 12;

/// Asks ingest to read all Signals again.
pub type Rewatch = Arc<Notify>;

/// How many lists of Signals were complete; `None` while one is being read.
pub type Listed = Option<u64>;

/// Publishes storms.
pub struct Publisher {
    /// Where storms are merged.
    pub ledger: Arc<dyn Ledger>,
    /// What the cluster shows.
    pub projections: Arc<Projections>,
    /// What storms begin with.
    pub openings: Arc<Openings>,
    /// What merged Signals are owed.
    pub receipts: Arc<dyn Receipts>,
    /// The API server.
    pub apply: Apply,
    /// The rules.
    pub policies: Arc<Policies>,
    /// Asks for further runs.
    pub requests: Requests,
    /// Whether the first list of Signals is complete: before that a storm cannot be called quiet.
    pub listed: watch::Receiver<Listed>,
    /// Asks for all Signals again.
    pub rewatch: Rewatch,
    /// Told which storms cannot be published, and which can again.
    pub link: Link<StormId>,
    /// The time.
    pub clock: Clock,
    /// For people.
    pub events: Events,
    /// For machines.
    pub metrics: Metrics,
    /// Storms of which the ledger knows less than it did.
    pub behind: Behind,
    /// Storms of which the ledger knows more than it should.
    pub drops: Drops,
}

/// What the queue does after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until somebody asks.
    Done,
    /// Again after this.
    After(Duration),
    /// Something was written; again after the first, and not before the second, the publish interval, is over.
    Published(Duration, Duration),
    /// Again after a back-off.
    Failed,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the Signal that opened the storm is not known yet: the Signals are being read again")]
    NoOpening,
    #[error("RemediationRequest {0} exists and is of another storm: delete it, or the alerts of this one wait")]
    NameTaken(String),
    #[error("no decision after {MAX_STEPS} steps")]
    Endless,
}

impl PublishError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Ledger(error) => error.disposition(),
            Self::Api(error) => error.disposition(),
            Self::NoOpening | Self::Endless => Disposition::Transient,
            Self::NameTaken(_) => Disposition::Terminal,
        }
    }
}

/// What one step of a run leads to.
pub(super) enum Step {
    /// Decide again: the state is another now.
    Again,
    /// Something was written: decide again, but write no more facts in this run.
    Wrote,
    /// The run is over.
    End(Next),
}

impl Publisher {
    /// Runs a storm once. Its errors end here: logged, counted, and answered with a back-off.
    pub async fn reconcile(&self, id: StormId) -> Next {
        let mut outcome = self.run(id).await;
        if let Err(PublishError::Api(error)) = &outcome
            && error.disposition() == Disposition::Conflict
        {
            // Decided on an old object. Read it, and decide once more at once.
            self.metrics.failed(Loop::Publish, Disposition::Conflict);
            outcome = match self.read_again(id).await {
                Ok(()) => self.run(id).await,
                Err(error) => Err(error),
            };
        }
        match outcome {
            Ok(next) => {
                self.link.works(&id);
                next
            }
            Err(error) => {
                self.fails(id, &error);
                // An outage of the ledger is everybody's, and is over for everybody at once: no storm waits longer for having failed often.
                if matches!(error, PublishError::Ledger(_)) { Next::After(LEDGER_RETRY) } else { Next::Failed }
            }
        }
    }

    fn fails(&self, id: StormId, error: &PublishError) {
        let disposition = error.disposition();
        self.metrics.failed(Loop::Publish, disposition);
        tracing::warn!(storm = ?id, ?disposition, %error, "publish failed, will be tried again");
        self.link.failed(id, format!("storms wait: {error}"));
    }

    async fn run(&self, id: StormId) -> Result<Next, PublishError> {
        let mut wrote = false;
        for _ in 0..MAX_STEPS {
            let now = self.clock.now();
            self.receipts.claim(id);
            let snapshot = self.ledger.snapshot(id).await?;
            let Some(projection) = self.projection(id, &snapshot).await? else { return Ok(Next::After(SHORTLY)) };
            // A storm that is over in the cluster is not rebuilt.
            if projection != Projection::Closed && self.is_behind(id, &snapshot) {
                return Ok(Next::Done);
            }
            let policy = self.policy(id);
            let decision = decide(&snapshot.view, &projection, &policy, id.epoch, now);
            if self.waits_for_list(&decision, &projection) {
                return Ok(Next::Done);
            }
            if decision == Decision::Drop(DropReason::ClosedInCluster) && !self.may_drop(id) {
                return Ok(Next::After(SHORTLY));
            }
            let step = match decision {
                Decision::Write(..) if wrote => Step::End(Next::After(Duration::ZERO)),
                decision => self.carry_out(id, decision, &snapshot, now).await?,
            };
            match step {
                Step::Again => {}
                Step::Wrote => wrote = true,
                Step::End(Next::After(delay)) if wrote => return Ok(Next::Published(delay, policy.publish_interval)),
                Step::End(next) => return Ok(next),
            }
        }
        Err(PublishError::Endless)
    }

    /// What the policy under which the storm opened says now: thresholds and times of open storms follow its edits.
    pub(super) fn policy(&self, id: StormId) -> Arc<Policy> {
        let of_object = || self.projections.get(id).map(|object| object.spec.policy_ref.name.clone());
        let of_opening = || self.openings.get(id).map(|opening| opening.policy.clone());
        self.policies.named(&of_object().or_else(of_opening).unwrap_or_default())
    }

    /// While the first list is read, the ledger may know less than the cluster shows, and silence means nothing. What the
    /// cluster shows stays as it is; only what it does not show yet is written. The end of the list asks for every open storm.
    fn waits_for_list(&self, decision: &Decision, projection: &Projection) -> bool {
        let shown = matches!(projection, Projection::Open { metadata: Some(_), .. });
        let waits = match decision {
            Decision::Close(_) | Decision::WriteClosed(..) => true,
            Decision::Write(..) | Decision::Keep(_) => shown,
            _ => false,
        };
        waits && self.listed.borrow().is_none()
    }

    /// Whether the ledger must be told everything again before this storm goes on. The end of the list asks for every open storm.
    fn is_behind(&self, id: StormId, snapshot: &Snapshot) -> bool {
        let Some(lists) = *self.listed.borrow() else { return false };
        self.reads_again(id, self.behind.look(id, snapshot, lists), "the ledger knows less of it than it did")
    }

    /// Whether the ledger was told what a storm holds that is over in the cluster. A list that is being read may have begun before its end was
    /// known here, and says nothing.
    fn may_drop(&self, id: StormId) -> bool {
        let Some(lists) = *self.listed.borrow() else { return false };
        !self.reads_again(id, self.drops.look(id, lists), "it is over in the cluster and open in the ledger")
    }

    /// Whether all Signals must be read before this storm goes on. Asks for them once.
    fn reads_again(&self, id: StormId, lag: Lag, why: &str) -> bool {
        if lag == Lag::New {
            tracing::warn!(storm = ?id, why, "a storm waits until all Signals are read again");
            self.rewatch.notify_one();
        }
        lag != Lag::None
    }

    /// What the cluster shows of this storm. `None`: its predecessor's end is not written yet, and comes first.
    async fn projection(&self, id: StormId, snapshot: &Snapshot) -> Result<Option<Projection>, PublishError> {
        let mut object = self.projections.get(id);
        let was_there = matches!(
            snapshot.view,
            LedgerView::Open { published: true, .. } | LedgerView::Closed { metadata: Some(_), .. }
        );
        if object.is_none() && was_there {
            // Gone from the cache is a hint; gone by an uncached read is a fact.
            self.read_again(id).await?;
            object = self.projections.get(id);
        }
        let mut superseded = false;
        if let Some(older) = self.projections.older_open(id).as_deref().and_then(storm_id)
            && object.as_deref().is_none_or(is_open)
        {
            superseded = !matches!(self.ledger.snapshot(older).await?.view, LedgerView::Closed { .. });
            if !superseded {
                self.requests.now(older);
                return Ok(None);
            }
        }
        Ok(Some(match object.as_deref() {
            None => Projection::Absent { superseded },
            Some(object) if !is_open(object) => Projection::Closed,
            Some(object) => Projection::Open {
                metadata: to_storm_metadata(object),
                is_storm: has_storm_condition(object),
                finished: object
                    .status
                    .as_ref()
                    .and_then(|status| status.remediation.as_ref())
                    .is_some_and(|remediation| remediation.outcome.is_some()),
                wish: wish(object),
                superseded,
            },
        }))
    }

    /// Brings the cache to what the cluster has now. Where the object's name is not known, nothing can be said of the cluster.
    async fn read_again(&self, id: StormId) -> Result<(), PublishError> {
        let Some((namespace, name)) = self.object_name(id) else {
            self.rewatch.notify_one();
            return Err(PublishError::NoOpening);
        };
        match self.apply.get(&namespace, &name).await? {
            Some(object) => self.projections.replace(id, object),
            None => self.projections.remove(id),
        }
        Ok(())
    }

    fn object_name(&self, id: StormId) -> Option<(String, String)> {
        let opening = self.openings.get(id);
        let from_opening = |o: Arc<Opening>| (o.object_namespace.clone(), storm_name(&o.pattern, id.epoch));
        let from_cache = || self.projections.get(id).map(|o| (o.namespace().unwrap_or_default(), o.name_any()));
        opening.map(from_opening).or_else(from_cache)
    }
}

/// What a person asked for. An end is for good, so it comes before holding open.
fn wish(object: &RemediationRequest) -> Wish {
    match (is_asked(object, CLOSE), is_asked(object, HOLD_OPEN)) {
        (true, _) => Wish::Close,
        (false, true) => Wish::HoldOpen,
        (false, false) => Wish::None,
    }
}

pub(super) fn has_storm_condition(object: &RemediationRequest) -> bool {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == STORM && condition.status == "True")
}
