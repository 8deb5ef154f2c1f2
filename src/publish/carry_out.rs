//! What a decision does: one function for each, no rules.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::apply::Created;
use super::projections::storm_id;
use super::reconcile::{Next, PublishError, Publisher, SHORTLY, Step, has_storm_condition};
use super::render;
use crate::api::{RemediationRequest, from_storm_metadata, opening_of};
use crate::ledger::{Closing, Moment, Snapshot};
use crate::metrics::{ApiWrite, WriteResult};
use crate::storm::decide::{CloseReason, Decision, DropReason, LedgerView, WriteReason};
use crate::storm::{StormId, StormMetadata};

impl Publisher {
    pub(super) async fn carry_out(
        &self,
        id: StormId,
        decision: Decision,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Step, PublishError> {
        match decision {
            Decision::Create => self.create(id, snapshot).await,
            Decision::Adopt => self.adopt(id, now).await,
            Decision::Write(reason, facts) => self.write(id, reason, &facts, snapshot, now).await,
            Decision::Keep(until) => {
                self.ledger.ack(id, snapshot).await?;
                self.receipts.release(id);
                // Endings are due strictly after their time.
                let delay = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                Ok(Step::End(Next::After(delay + Duration::from_millis(1))))
            }
            Decision::Close(reason) => match self.ledger.close(id, snapshot, reason, self.moment(id, now)).await? {
                Closing::Closed => {
                    tracing::debug!(storm = ?id, ?reason, "closed in the ledger");
                    Ok(Step::Again)
                }
                Closing::Changed => Ok(Step::End(Next::After(Duration::ZERO))),
            },
            Decision::WriteClosed(reason, facts) => self.write_closed(id, reason, &facts, snapshot, now).await,
            Decision::Forget => self.forget(id, now).await,
            Decision::Drop(reason) => self.drop_storm(id, reason).await,
            Decision::Settled => {
                self.ledger.settle(id).await?;
                if matches!(snapshot.view, LedgerView::Open { .. }) {
                    Ok(Step::End(Next::Done))
                } else {
                    Ok(self.settled(id))
                }
            }
        }
    }

    async fn create(&self, id: StormId, snapshot: &Snapshot) -> Result<Step, PublishError> {
        let LedgerView::Open { metadata: Some(metadata), .. } = &snapshot.view else { return Ok(Step::Again) };
        let Some(opening) = self.openings.get(id) else {
            self.rewatch.notify_one();
            return Err(PublishError::NoOpening);
        };
        let previous = self.projections.of_key(id.key).into_iter().rfind(|object| object.spec.epoch < id.epoch);
        let object = from_storm_metadata(metadata, &opening, id.epoch, previous.map(|object| object.name_any()));
        match self.apply.create(&object).await {
            Ok(Created::New(created)) => {
                self.metrics.wrote(ApiWrite::Create, WriteResult::Done);
                tracing::info!(storm = ?id, name = created.name_any(), pattern = ?opening.pattern, "storm opened");
                self.events.tell_opened(&created);
                self.projections.put(created);
                Ok(Step::Again)
            }
            Ok(Created::Existing(existing)) if storm_id(&existing) != Some(id) => {
                Err(PublishError::NameTaken(existing.name_any()))
            }
            Ok(Created::Existing(existing)) => {
                self.projections.put(existing);
                Ok(Step::Again)
            }
            Err(error) if error.namespace_is_gone() => {
                tracing::info!(storm = ?id, "the namespace is being deleted, and the storm with it");
                self.ledger.drop_storm(id).await?;
                self.receipts.abandon(id);
                self.openings.remove(id);
                Ok(Step::End(Next::Done))
            }
            Err(error) => {
                self.metrics.wrote(ApiWrite::Create, WriteResult::Failed);
                Err(error.into())
            }
        }
    }

    async fn adopt(&self, id: StormId, now: Timestamp) -> Result<Step, PublishError> {
        let Some(object) = self.projections.get(id) else { return Ok(Step::Again) };
        self.openings.offer(id, &Arc::new(opening_of(&object)));
        match self.ledger.open(id, &object.spec.pattern, now).await? {
            Some(epoch) if epoch == id.epoch => {
                self.ledger.mark_published(id).await?;
                tracing::info!(storm = ?id, name = object.name_any(), "storm adopted from the cluster");
                Ok(Step::Again)
            }
            // Another storm of this key is open in the ledger: whichever is younger will see that it is superseded.
            Some(epoch) => {
                self.requests.now(StormId { key: id.key, epoch });
                Ok(Step::End(Next::After(SHORTLY)))
            }
            None => Ok(Step::Again),
        }
    }

    async fn write(
        &self,
        id: StormId,
        reason: WriteReason,
        facts: &StormMetadata,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Step, PublishError> {
        let Some(object) = self.projections.get(id) else { return Ok(Step::Again) };
        let Some(written) = self.apply_status(id, &object, facts, None, now).await? else { return Ok(Step::Again) };
        self.ledger.ack(id, snapshot).await?;
        if let Some(since) = snapshot.dirty_since {
            self.metrics.publish_seconds.observe(self.clock.now().duration_since(since).as_secs_f64());
        }
        self.receipts.release(id);
        if has_storm_condition(&written) && !has_storm_condition(&object) {
            self.events.tell_threshold(&written, facts);
        }
        tracing::debug!(storm = ?id, ?reason, alerts = facts.alert_count, "published");
        Ok(Step::Wrote)
    }

    async fn write_closed(
        &self,
        id: StormId,
        reason: CloseReason,
        facts: &StormMetadata,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Step, PublishError> {
        // What has joined is shown by now, if it is known how the storm ended.
        self.receipts.joined().await;
        self.receipts.claim(id);
        if matches!(snapshot.view, LedgerView::Closed { reason: Some(_), .. }) {
            self.receipts.release(id);
        } else {
            self.let_go(id);
        }
        if self.receipts.owed(id) > 0 {
            self.receipts.hurry(id);
            // A Signal without a receipt would open a successor after a restart: receipts come before the end.
            return Ok(Step::End(Next::After(SHORTLY)));
        }
        let Some(object) = self.projections.get(id) else { return Ok(Step::Again) };
        let Some(written) = self.apply_status(id, &object, facts, Some(reason), now).await? else {
            return Ok(Step::Again);
        };
        tracing::info!(storm = ?id, name = written.name_any(), ?reason, alerts = facts.alert_count, "storm closed");
        self.events.tell_closed(&written, reason);
        self.ledger.settle(id).await?;
        Ok(self.settled(id))
    }

    /// `None`: the object is gone; decide again without it.
    async fn apply_status(
        &self,
        id: StormId,
        object: &RemediationRequest,
        facts: &StormMetadata,
        ending: Option<CloseReason>,
        now: Timestamp,
    ) -> Result<Option<RemediationRequest>, PublishError> {
        let write = if ending.is_some() { ApiWrite::Close } else { ApiWrite::Status };
        let body = render::status(object, facts, ending, &self.policy(id), now);
        match self.apply.status(&object.namespace().unwrap_or_default(), &object.name_any(), &body).await {
            Ok(written) => {
                self.metrics.wrote(write, WriteResult::Done);
                self.projections.put(written.clone());
                Ok(Some(written))
            }
            Err(error) if error.code() == Some(404) => {
                self.metrics.wrote(write, WriteResult::Gone);
                self.projections.remove(id);
                // It was there: if the ledger did not know, it knows now, and a missing object means deleted by hand.
                self.ledger.mark_published(id).await?;
                Ok(None)
            }
            Err(error) => {
                self.metrics.wrote(write, WriteResult::Failed);
                Err(error.into())
            }
        }
    }

    async fn forget(&self, id: StormId, now: Timestamp) -> Result<Step, PublishError> {
        tracing::info!(storm = ?id, "the RemediationRequest was deleted by hand: the storm is forgotten");
        let forgotten = self.ledger.forget(id, self.moment(id, now)).await;
        // An error may have come after the effect, and the next run would find nothing left to forget.
        if forgotten.as_ref().unwrap_or(&true) == &true {
            // What came after the last publish was shown to nobody: its Signals, which have no receipt yet, are read again.
            self.receipts.abandon(id);
            self.rewatch.notify_one();
        }
        forgotten?;
        self.receipts.release(id);
        Ok(self.settled(id))
    }

    async fn drop_storm(&self, id: StormId, reason: DropReason) -> Result<Step, PublishError> {
        tracing::warn!(storm = ?id, ?reason, "the ledger's storm lost its place in the cluster: its Signals are read again");
        let dropped = self.ledger.drop_storm(id).await;
        self.receipts.abandon(id);
        if let Some(older) = self.projections.older_open(id).as_deref().and_then(storm_id) {
            self.requests.now(older);
        }
        // Also after an error, which may have come after the effect.
        self.rewatch.notify_one();
        dropped?;
        Ok(Step::Again)
    }

    fn moment(&self, id: StormId, now: Timestamp) -> Moment {
        Moment { now, horizon: self.policy(id).dedup_horizon }
    }

    /// Nobody can say any more whether the storm had what these receipts are about. The ledger can: their Signals are read again.
    fn let_go(&self, id: StormId) {
        if self.receipts.abandon(id) {
            tracing::info!(storm = ?id, "a storm is over, and receipts were still owed: the Signals are read again");
            self.rewatch.notify_one();
        }
    }

    fn settled(&self, id: StormId) -> Step {
        self.let_go(id);
        self.openings.remove(id);
        self.behind.remove(id);
        self.drops.remove(id);
        Step::End(Next::Done)
    }
}
