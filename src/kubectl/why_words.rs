//! The answer of `why SIGNAL` in one sentence or two. Pure.

use stormfold_core::engine::lineage::Choice;

use super::answers::Fate;
use super::fates::{OccurrenceFate, ReceiptState};
use super::scene::Scene;
use crate::api::{
    ACCEPTED, REASON_COOLING_DOWN, REASON_POLICY_SUSPENDED, RemediationRequest, SignalStatus, StormState,
};
use crate::storm::Opening;
use crate::storm::holding::HeldBack;
use crate::storm::name::storm_name;

/// A Signal, and what is known of it.
pub(super) struct SignalCase<'a> {
    pub(super) told: &'a ReceiptState,
    pub(super) status: &'a SignalStatus,
    /// What it was told means; of one that was told nothing, what the rules say now.
    pub(super) means: &'a str,
    /// What the operator would do now.
    pub(super) outlook: Option<&'a Choice>,
    /// The group that it belongs to, where that is known.
    pub(super) opening: Option<&'a Opening>,
    /// Whether intake refuses it.
    pub(super) refused: bool,
    pub(super) fates: &'a [OccurrenceFate<'a>],
    pub(super) scene: &'a Scene,
}

impl SignalCase<'_> {
    /// The answer for whoever reads no further.
    pub(super) fn sentence(&self) -> String {
        let Self { told, status, means, outlook, refused, .. } = self;
        let message = accepted(status).map(|(_, message)| message).unwrap_or_default();
        match told {
            ReceiptState::Taken => self.taken_in(),
            ReceiptState::Refused => format!("{means}: {message}"),
            ReceiptState::Waits(reason) => match outlook.filter(|_| is_of_choice(reason)) {
                Some(Choice::HeldBack(HeldBack::CoolingDown(before, until))) => {
                    format!("{means}: {} ended as {:?}, and it waits until {until:.0}", before.name, before.outcome)
                }
                Some(Choice::HeldBack(HeldBack::Suspended(policy))) => format!("{means}: StormPolicy {policy}"),
                Some(choice @ (Choice::Adopt(_) | Choice::Open(_))) => {
                    format!("{means}: {message}; by now{}", self.would(choice).trim_start_matches(';'))
                }
                None => format!("{means}: {message}"),
            },
            ReceiptState::Strange(reason) => format!("{means}: {reason}: {message}"),
            ReceiptState::Not => {
                let now = match outlook {
                    Some(choice) => self.would(choice),
                    None if *refused => format!("; by the rules {means}"),
                    None => String::new(),
                };
                format!(
                    "the operator has told it nothing yet: it is busy, or does not run, or does not watch here{now}"
                )
            }
        }
    }

    fn taken_in(&self) -> String {
        let Self { status, fates, scene, .. } = self;
        let counted = fates.iter().filter(|of| matches!(of.fate, Fate::In(_))).count();
        let count = |wanted: fn(&Fate) -> bool| fates.iter().filter(|of| wanted(&of.fate)).count();
        let refused = count(|fate| matches!(fate, Fate::Refused(_)));
        let held = count(|fate| matches!(fate, Fate::Held(_)));
        match &status.storm {
            Some(storm) if counted > 0 => {
                let told = [(refused, "refused"), (held, "in none, over or handled")];
                let rest = told.into_iter().filter(|(count, _)| *count > 0);
                let rest: String = rest.map(|(count, what)| format!("; {count} {what}")).collect();
                let others = status.other_storms.len();
                let divided = if others > 0 { format!(" and {others} others") } else { String::new() };
                let (all, state) = (fates.len(), state_of(storm, scene));
                format!("{counted} of its {all} occurrences are in {storm} ({state}){divided}{rest}")
            }
            Some(storm) => format!("{storm} ({}) is what it was about: nothing of it was news", state_of(storm, scene)),
            None if fates.iter().all(|of| of.fate == Fate::NoStorm) => {
                "nothing in it fires, and no storm was open: there was nothing to do".to_owned()
            }
            None => "no storm took it in: its alerts were over, or handled, when they were reported".to_owned(),
        }
    }

    /// What the operator would do now.
    fn would(&self, choice: &Choice) -> String {
        let pattern = self.opening.map(|opening| opening.pattern.as_str()).unwrap_or_default();
        match choice {
            Choice::Adopt(epoch) => format!("; it would join {}", storm_name(pattern, *epoch)),
            Choice::Open(_) => format!("; it would open a storm of {pattern:?}"),
            Choice::HeldBack(why) => format!("; it would wait: {}", why.words()),
        }
    }
}

/// Whether a Signal that waits for this reason waits for what the choice of a storm says: that can be asked again.
pub(super) fn is_of_choice(reason: &str) -> bool {
    [REASON_COOLING_DOWN, REASON_POLICY_SUSPENDED].contains(&reason)
}

/// Reason and message of its condition Accepted.
pub(super) fn accepted(status: &SignalStatus) -> Option<(&str, &str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == ACCEPTED)?;
    Some((&condition.reason, &condition.message))
}

/// How the storm of this name stands, as far as that may be seen.
pub(super) fn state_of(name: &str, scene: &Scene) -> String {
    if scene.requests.is_none() {
        return "Unknown".to_owned();
    }
    scene.request(name).map_or_else(|| "Gone".to_owned(), state_words)
}

/// How a storm stands.
pub(super) fn state_words(request: &RemediationRequest) -> String {
    let going = if request.metadata.deletion_timestamp.is_some() { ", being deleted" } else { "" };
    let storm = request.status.as_ref().and_then(|status| status.storm.as_ref());
    let state = match storm.map(|storm| (storm.state, storm.close_reason)) {
        Some((StormState::Closed, Some(reason))) => format!("Closed, {reason:?}"),
        Some((StormState::Closed, None)) => "Closed".to_owned(),
        Some((StormState::Open, _)) | None => "Open".to_owned(),
    };
    format!("{state}{going}")
}
