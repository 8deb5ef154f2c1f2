//! The one place that says what happens next to a storm. Pure: the clock is an argument.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metadata::StormMetadata;
use super::{Epoch, Policy, Severity};
use crate::rules::{Rule, Rules};

/// Why a storm was closed.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum CloseReason {
    /// Nothing fires any more, and nothing came back for the settle delay.
    Resolved,
    /// No Signal for the quiet period.
    Quiet,
    /// Open for the maximum age; what comes next is a successor.
    MaxAge,
    /// The engine reported its outcome.
    RemediationFinished,
    /// An older open RemediationRequest of the same key holds this storm.
    Superseded,
    /// Somebody set the annotation stormfold.dev/close.
    Requested,
}

/// What the ledger knows of a storm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LedgerView {
    /// Signals of its key join it.
    Open {
        /// What it has brought; `None` for one just opened or adopted.
        metadata: Option<StormMetadata>,
        /// Whether some source reports ends.
        resolvable: bool,
        /// Whether the ledger knows that its RemediationRequest was written.
        published: bool,
    },
    /// Closed in the ledger: nothing joins it any more, and its final write may be still to do.
    Closed {
        /// The final facts, while the ledger keeps them.
        metadata: Option<StormMetadata>,
        /// Why it was closed, while the ledger keeps that.
        reason: Option<CloseReason>,
    },
    /// Not known.
    Unknown,
}

/// What the cluster shows of a storm.
#[allow(clippy::large_enum_variant, reason = "a projection lives for one decision")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// There is no such object.
    Absent {
        /// Whether an older open object of the same key holds this storm.
        superseded: bool,
    },
    /// An open object.
    Open {
        /// Its facts; `None` when it was created and its status not yet written.
        metadata: Option<StormMetadata>,
        /// Its condition `Storm`.
        is_storm: bool,
        /// Whether the engine reported an outcome.
        finished: bool,
        /// What a person asked for.
        wish: Wish,
        /// Whether an older open object of the same key holds this storm.
        superseded: bool,
        /// What was published before somebody else overwrote it.
        overwritten: Option<StormMetadata>,
    },
    /// A closed object.
    Closed,
}

/// What a person asked of an open storm, by annotation of its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Nothing: the rules decide.
    #[default]
    None,
    /// That it ends now.
    Close,
    /// That it stays open.
    HoldOpen,
}

/// What to do next, with a closed reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Create the object.
    Create,
    /// Take the open object of the cluster into the ledger.
    Adopt,
    /// Write the facts.
    Write(WriteReason, StormMetadata),
    /// Nothing to write; look again at this time.
    Keep(Timestamp),
    /// End it in the ledger.
    Close(CloseReason),
    /// It ended in the ledger: once its receipts are out, write the end.
    WriteClosed(CloseReason, StormMetadata),
    /// Its object was deleted by hand: what it held counts as handled.
    Forget,
    /// The ledger's storm lost its place in the cluster: drop it and watch again.
    Drop(DropReason),
    /// Over: nothing is left to do.
    Settled,
    /// Nothing before the list of all Signals is complete; its end asks again.
    AwaitList,
    /// Nothing before all Signals were read again, which is asked for now.
    Resync(Doubt),
    /// There is more to write, and one write a run is enough.
    NextRun,
}

/// Why facts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteReason {
    /// The object has no facts yet.
    Opened,
    /// The threshold is reached with this write.
    ThresholdReached,
    /// The facts changed.
    Changed,
}

/// Why the ledger drops a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The object is closed although the ledger holds the storm open.
    ClosedInCluster,
    /// An older open object of the same key holds the storm.
    Superseded,
}

/// All that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What the ledger knows.
    pub ledger: &'a LedgerView,
    /// What the cluster shows.
    pub projection: &'a Projection,
    /// What the policy of the storm says now.
    pub policy: &'a Policy,
    /// When the storm opened.
    pub epoch: Epoch,
    /// The time.
    pub now: Timestamp,
    /// Whether the list of all Signals is complete. Before that the ledger may know less than the cluster shows, and silence means
    /// nothing.
    pub listed: bool,
    /// Whether all Signals were read since the ledger was found to know less of the storm than it did; done if it never was.
    pub behind: Reread,
    /// Whether all Signals were read since the storm was found to be over in the cluster and open in the ledger.
    pub over: Reread,
    /// Whether this run has written facts.
    pub wrote: bool,
    /// The rules of the protocol.
    pub rules: &'a Rules,
}

/// Why all Signals must be read before a storm goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The ledger knows fewer alerts of the storm than it did.
    LedgerBehind,
    /// The storm is over in the cluster and open in the ledger.
    ClosedInCluster,
}

/// Whether all Signals were read since something was found that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reread {
    /// Yes, or nothing was found.
    Done,
    /// They must be, and nobody has asked for it.
    Needed,
    /// They are being read, or will be.
    UnderWay,
}

/// What happens next to a storm.
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { projection, listed, behind, over, wrote, rules, .. } = *situation;
    // A storm that is over in the cluster is not rebuilt.
    if *projection != Projection::Closed || !rules.keep(Rule::ClosedAreNotRebuilt) {
        match behind {
            Reread::Done => {}
            Reread::Needed => return Decision::Resync(Doubt::LedgerBehind),
            Reread::UnderWay => return Decision::AwaitList,
        }
    }
    let shown = matches!(projection, Projection::Open { metadata: Some(_), .. });
    match decide_complete(situation) {
        Decision::Close(_) if !listed && rules.keep(Rule::CloseAfterList) => Decision::AwaitList,
        Decision::WriteClosed(..) if !listed && rules.keep(Rule::EndAfterList) => Decision::AwaitList,
        // What the cluster shows stays as it is; only what it does not show yet is written.
        Decision::Write(..) | Decision::Keep(_) if shown && !listed => Decision::AwaitList,
        Decision::Drop(DropReason::ClosedInCluster) if rules.keep(Rule::DropAfterList) => match over {
            // A list that is being read may have begun before the end was known here, and says nothing.
            _ if !listed => Decision::AwaitList,
            Reread::Needed => Decision::Resync(Doubt::ClosedInCluster),
            Reread::UnderWay => Decision::AwaitList,
            Reread::Done => Decision::Drop(DropReason::ClosedInCluster),
        },
        Decision::Write(..) if wrote => Decision::NextRun,
        decision => decision,
    }
}

/// What happens next when the ledger knows all there is.
fn decide_complete(situation: &Situation<'_>) -> Decision {
    let Situation { ledger, projection, policy, epoch, now, .. } = *situation;
    match (ledger, projection) {
        (
            LedgerView::Open { .. },
            Projection::Absent { superseded: true } | Projection::Open { superseded: true, .. },
        ) => Decision::Drop(DropReason::Superseded),
        (LedgerView::Open { published: true, .. }, Projection::Absent { .. }) => Decision::Forget,
        (LedgerView::Open { metadata: Some(_), .. }, Projection::Absent { .. }) => Decision::Create,
        // Opened a moment ago and not yet merged: the merge that follows asks again.
        (LedgerView::Open { metadata: None, .. }, Projection::Absent { .. }) => Decision::Settled,
        (LedgerView::Open { .. }, Projection::Closed) => Decision::Drop(DropReason::ClosedInCluster),
        (
            LedgerView::Open { metadata, resolvable, .. },
            Projection::Open { metadata: shown, is_storm, finished, wish, overwritten, .. },
        ) => {
            let opened = opened_at(epoch, now);
            let life = Lifecycle { resolvable: *resolvable, finished: *finished, wish: *wish, opened };
            let facts = join(metadata.as_ref(), overwritten.as_ref().or(shown.as_ref()), policy);
            match life.next(facts.as_ref(), policy, now) {
                // An ending comes before facts: under a stream of Signals there are always new ones. The ledger keeps the last.
                close @ Decision::Close(_) if shown.is_some() => close,
                next => write_first(facts, shown.as_ref(), *is_storm, policy).unwrap_or(next),
            }
        }
        (LedgerView::Closed { metadata, reason }, Projection::Open { metadata: shown, is_storm, overwritten, .. }) => {
            let reason = reason.unwrap_or(CloseReason::Quiet);
            let facts = join(metadata.as_ref(), overwritten.as_ref().or(shown.as_ref()), policy);
            write_first(facts.clone(), shown.as_ref(), *is_storm, policy)
                .unwrap_or_else(|| Decision::WriteClosed(reason, facts.unwrap_or_else(|| nothing_counted(epoch, now))))
        }
        (LedgerView::Unknown, Projection::Open { superseded: true, metadata: shown, .. }) => {
            let facts = shown.clone().unwrap_or_else(|| nothing_counted(epoch, now));
            Decision::WriteClosed(CloseReason::Superseded, facts)
        }
        (LedgerView::Unknown, Projection::Open { .. }) => Decision::Adopt,
        (LedgerView::Closed { .. } | LedgerView::Unknown, Projection::Absent { .. } | Projection::Closed) => {
            Decision::Settled
        }
    }
}

/// True at the threshold and above it (case A22: `>=`, here and in the documentation).
pub fn is_storm(metadata: &StormMetadata, policy: &Policy) -> bool {
    metadata.alert_count >= policy.storm_alerts || metadata.affected_count >= policy.storm_resources
}

/// What both sides know together, with as many resources as the policy shows.
fn join(ledger: Option<&StormMetadata>, shown: Option<&StormMetadata>, policy: &Policy) -> Option<StormMetadata> {
    let joined = match (ledger, shown) {
        (Some(ledger), Some(shown)) => Some(ledger.join(shown)),
        (one, other) => one.or(other).cloned(),
    };
    joined.map(|facts| facts.capped(policy.affected_cap))
}

/// The write that brings the cluster up to these facts; `None` when it shows them.
fn write_first(
    facts: Option<StormMetadata>,
    shown: Option<&StormMetadata>,
    was_storm: bool,
    policy: &Policy,
) -> Option<Decision> {
    let facts = facts?;
    let reason = match shown {
        None => WriteReason::Opened,
        Some(_) if is_storm(&facts, policy) && !was_storm => WriteReason::ThresholdReached,
        Some(shown) if *shown == facts => return None,
        Some(_) => WriteReason::Changed,
    };
    Some(Decision::Write(reason, facts))
}

/// The facts of an object that was created and never got any: its creator crashed, and its Signals are gone or count elsewhere.
/// It needs facts to be closed with: an open object without them would hold up every successor.
fn nothing_counted(epoch: Epoch, now: Timestamp) -> StormMetadata {
    let opened = opened_at(epoch, now);
    StormMetadata {
        pattern: String::new(),
        alert_count: 0,
        firing: 0,
        affected_count: 0,
        affected_resources: Vec::new(),
        first_seen: opened,
        last_seen: opened,
        severity: Severity::Info,
        incomplete: false,
    }
}

/// The opening, never later than now: an epoch can be ahead of the clock when storms follow each other within a second.
fn opened_at(epoch: Epoch, now: Timestamp) -> Timestamp {
    Timestamp::from_second(epoch).unwrap_or(now).min(now)
}

/// Times come from objects that anybody may have edited: the end of time is as far as they go.
fn after(start: Timestamp, delay: SignedDuration) -> Timestamp {
    start.checked_add(delay).unwrap_or(Timestamp::MAX)
}

/// What an ending depends on, beside the facts.
struct Lifecycle {
    resolvable: bool,
    finished: bool,
    wish: Wish,
    opened: Timestamp,
}

impl Lifecycle {
    /// Ends the storm if an ending is due, else says when the next one can be. A boundary belongs to the storm: an ending is due
    /// strictly after it (case A16).
    fn next(&self, facts: Option<&StormMetadata>, policy: &Policy, now: Timestamp) -> Decision {
        match self.wish {
            Wish::Close => return Decision::Close(CloseReason::Requested),
            // Until the annotation goes, which is a change of the object and asks for a run.
            Wish::HoldOpen => return Decision::Keep(Timestamp::MAX),
            Wish::None => {}
        }
        if self.finished && policy.close_on_outcome {
            return Decision::Close(CloseReason::RemediationFinished);
        }
        // A storm is quiet from its last report, or from its opening when it opened with old news.
        let quiet_since = facts.map_or(self.opened, |facts| facts.last_seen.max(self.opened));
        let over = facts.is_some_and(|facts| facts.alert_count > 0 && facts.firing == 0);
        let quiet_period = if self.resolvable && !over { policy.stale_after } else { policy.quiet_period };
        let mut endings = vec![
            (after(self.opened, policy.max_age), CloseReason::MaxAge),
            (after(quiet_since, quiet_period), CloseReason::Quiet),
        ];
        if over {
            endings.insert(0, (after(quiet_since, policy.settle_delay), CloseReason::Resolved));
        }
        match endings.iter().find(|(at, _)| now > *at) {
            Some((_, reason)) => Decision::Close(*reason),
            None => Decision::Keep(endings.iter().map(|(at, _)| *at).min().unwrap_or(now)),
        }
    }
}

#[cfg(test)]
mod tests;
