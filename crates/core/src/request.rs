//! A RemediationRequest as the engine sees it: what is decided on, without the API's types.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;

use crate::storm::alerts::StormEnd;
use crate::storm::decide::{CloseReason, Projection, Wish};
use crate::storm::{Epoch, Opening, Outcome, StormId, StormMetadata};

/// A RemediationRequest of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The storm it is the projection of.
    pub id: StormId,
    /// Its namespace and name.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: an object of the same name that was made later is another one.
    pub uid: Option<String>,
    /// The version that a write must carry.
    pub resource_version: Option<String>,
    /// Its spec: what the storm took from the Signal that opened it.
    pub opening: Arc<Opening>,
    /// `status.storm`; `None` while the status is not written.
    pub shown: Option<Shown>,
    /// The condition `Storm`.
    pub storm: Option<Standing>,
    /// The condition `Closed`.
    pub closed: Option<Standing>,
    /// What the remediation engine reported.
    pub remediation: Option<Remediation>,
    /// What a person asked for by annotation.
    pub wish: Wish,
    /// Whether a person has acknowledged the outcome.
    pub acknowledged: bool,
    /// Who else wrote the status last: a field manager.
    pub writer: Option<String>,
    /// What `status.storm` was before somebody else overwrote it, as far as this process knows. It is written again.
    pub overwritten: Option<Shown>,
}

/// `status.storm`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shown {
    /// The facts.
    pub facts: StormMetadata,
    /// Raised by each effective publish.
    pub revision: i64,
    /// The end, if the storm is closed.
    pub end: Option<End>,
}

/// The end of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// When it was closed.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: Option<CloseReason>,
}

/// A condition: whether it holds, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Its status is `True`.
    pub holds: bool,
    /// Its last transition.
    pub since: Timestamp,
}

/// `status.remediation`, as far as the engine reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remediation {
    /// The outcome, once there is one.
    pub outcome: Option<Outcome>,
    /// When the remediation finished, as its engine says.
    pub finished: Option<Timestamp>,
}

impl Request {
    /// An object whose status is not written yet is open.
    pub fn is_open(&self) -> bool {
        self.end().is_none()
    }

    /// Its end, if it is closed. Whoever writes an end has closed the storm: the CRD lets nobody take that back, nor change it.
    pub fn end(&self) -> Option<&End> {
        self.shown.as_ref()?.end.as_ref()
    }

    /// What it shows of its storm. `superseded`: whether an older open object of the same key holds that.
    pub fn projection(&self, superseded: bool) -> Projection {
        if !self.is_open() {
            return Projection::Closed;
        }
        Projection::Open {
            metadata: self.facts().cloned(),
            is_storm: self.is_storm(),
            finished: self.outcome().is_some(),
            wish: self.wish,
            superseded,
            overwritten: self.overwritten.as_ref().map(|shown| shown.facts.clone()),
        }
    }

    /// What the end of its storm means for the alerts that fire on.
    pub fn storm_end(&self) -> StormEnd {
        let end = self.end();
        let at = end.and_then(|end| end.at).unwrap_or(Timestamp::MIN);
        StormEnd::of(end.and_then(|end| end.reason).unwrap_or(CloseReason::Quiet), at)
    }

    /// Whether alerts fired at its end, and went on in the next storm.
    pub fn is_handed_on(&self) -> bool {
        matches!(self.storm_end(), StormEnd::Closed(_)) && self.facts().is_some_and(|facts| facts.firing > 0)
    }

    /// Whether it was closed because an older one held its storm: then it never held anything.
    pub fn is_superseded(&self) -> bool {
        self.end().is_some_and(|end| end.reason == Some(CloseReason::Superseded))
    }

    /// The facts that it shows.
    pub fn facts(&self) -> Option<&StormMetadata> {
        Some(&self.shown.as_ref()?.facts)
    }

    /// Whether its condition `Storm` holds.
    pub fn is_storm(&self) -> bool {
        self.storm.is_some_and(|standing| standing.holds)
    }

    /// How often it was published.
    pub fn revision(&self) -> i64 {
        let shown = [&self.shown, &self.overwritten].into_iter().flatten();
        shown.map(|shown| shown.revision).max().unwrap_or_default()
    }

    /// Whether this is the same version of the object as `other`, or a newer one. The versions of one object are numbers that grow;
    /// where they are not numbers, our own revision tells.
    pub fn is_as_new_as(&self, other: &Self) -> bool {
        let number = |version: &Option<String>| version.as_ref()?.parse::<u64>().ok();
        match (number(&self.resource_version), number(&other.resource_version)) {
            (Some(this), Some(other)) => this >= other,
            _ => self.revision() >= other.revision(),
        }
    }

    /// This version of the object, with what it lost of what this process knows to have been published.
    #[must_use]
    pub fn succeeding(mut self, known: &Self) -> Self {
        let published = known.overwritten.as_ref().or(known.shown.as_ref());
        self.overwritten = published.filter(|published| self.loses(published)).cloned();
        self
    }

    /// Whether somebody else wrote `status.storm` since this was published: each write of ours raises the revision, and lowers no count.
    fn loses(&self, published: &Shown) -> bool {
        let Some(shown) = &self.shown else { return true };
        let (now, before) = (&shown.facts, &published.facts);
        let lower = now.alert_count < before.alert_count || now.affected_count < before.affected_count;
        match shown.revision.cmp(&published.revision) {
            Ordering::Less => true,
            // Another operator would have raised the revision; without the hand of somebody else the greater counts are believed.
            Ordering::Equal => lower || self.writer.is_some() && !now.is_like(before),
            Ordering::Greater => lower,
        }
    }

    /// Seconds since the epoch at which its storm opened.
    pub fn epoch(&self) -> Epoch {
        self.id.epoch
    }

    /// What the remediation engine reported as its outcome.
    pub fn outcome(&self) -> Option<Outcome> {
        self.remediation?.outcome
    }
}
