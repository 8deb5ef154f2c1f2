//! What each reason means, and what to do: one closed list. A new verdict, reason or end does not compile without an answer here, and a new
//! text of a reason fails a test.

use serde::Serialize;
use stormfold_core::engine::receipts::Verdict;

use crate::api;
use crate::storm::decide::{Decision, DropReason};
use crate::storm::holding::HeldBack;
use crate::storm::{CloseReason, Past, Policy};
use crate::watch::intake::reason;

/// What a reason means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Meaning {
    /// In one sentence.
    pub(super) means: &'static str,
    /// What whoever asks can do; empty where nothing is to be done.
    pub(super) next: &'static str,
}

const fn means(means: &'static str, next: &'static str) -> Meaning {
    Meaning { means, next }
}

const MERGED: Meaning = means("all of its occurrences were taken in", "");
const PARTLY_REJECTED: Meaning =
    means("some of its occurrences are refused, and the others count", "report those again in a new Signal");
const COOLING_DOWN: Meaning = means(
    "it waits: an engine has reported the outcome of the storm before, and no storm opens until its cool-down is over",
    "kubectl storm ack STORM ends the wait",
);
const POLICY_SUSPENDED: Meaning = means(
    "it waits: the policy that counts for it is suspended, and opens no storm",
    "set spec.suspended of that StormPolicy to false",
);
const REQUEST_REFUSED: Meaning = means(
    "it is merged and waits: the API server refuses the RemediationRequest of its storm, which is tried again",
    "mend the quota or the admission policy of the namespace",
);
const LEDGER_FULL: Meaning = means(
    "it waits: the memory ledger has no room for more of its namespace",
    "end storms of the namespace, or raise --ledger-memory-limit of the operator",
);
const MALFORMED: Meaning = means(
    "it is refused: the operator cannot read it, for the CRD is of another version",
    "kubectl apply -f crds/ of the operator's version, then report again",
);
const TOO_MANY_LINES: Meaning =
    means("it is refused: its table has more lines than a Signal may have", "use more Signals");
const NO_VALID_OCCURRENCE: Meaning =
    means("it is refused: not one of its occurrences can be read", "report them again in a new Signal");
const CROSS_NAMESPACE: Meaning = means(
    "it is refused: it speaks of another namespace than its own, or of what is cluster-scoped, and may not",
    "create it where the trouble is, or ask the administrator for --cross-namespace",
);
const LABELS_MISSING: Meaning = means(
    "it lacks labels by which its policy groups, and is in one storm with others that lack them",
    "add the labels, or set spec.ignoreMissingLabels of the policy",
);
const COMPILED: Meaning = means("the policy is in force", "");
const INVALID: Meaning = means(
    "the policy is not in force, and its Signals come under the next one",
    "mend what the message of its condition Accepted names",
);
const BELOW_THRESHOLD: Meaning = means("it has fewer alerts and resources than its policy calls a storm", "");
const THRESHOLD_REACHED: Meaning = means("it has as many alerts or resources as its policy calls a storm", "");
const OPEN: Meaning = means("it takes new alerts of its group in", "");

/// What a reason of a condition means: of `Accepted` and `Grouped` of a Signal, `Accepted` of a StormPolicy, `Storm` and `Closed` of a
/// RemediationRequest.
pub(super) fn of_reason(text: &str) -> Option<Meaning> {
    let meaning = match text {
        api::REASON_MERGED => MERGED,
        api::REASON_PARTLY_REJECTED => PARTLY_REJECTED,
        api::REASON_COOLING_DOWN => COOLING_DOWN,
        api::REASON_POLICY_SUSPENDED => POLICY_SUSPENDED,
        api::REASON_REQUEST_REFUSED => REQUEST_REFUSED,
        api::REASON_LEDGER_FULL => LEDGER_FULL,
        reason::MALFORMED => MALFORMED,
        reason::TOO_MANY_LINES => TOO_MANY_LINES,
        reason::NO_VALID_OCCURRENCE => NO_VALID_OCCURRENCE,
        reason::CROSS_NAMESPACE => CROSS_NAMESPACE,
        api::REASON_LABELS_MISSING => LABELS_MISSING,
        api::REASON_COMPILED => COMPILED,
        api::REASON_INVALID => INVALID,
        api::REASON_BELOW_THRESHOLD => BELOW_THRESHOLD,
        api::REASON_THRESHOLD_REACHED => THRESHOLD_REACHED,
        api::REASON_OPEN => OPEN,
        _ => return None,
    };
    Some(meaning)
}

/// What a verdict means that the rules give now.
pub(super) fn of_verdict(verdict: &Verdict) -> Meaning {
    match verdict {
        Verdict::Merged => MERGED,
        Verdict::PartlyRejected(_) => PARTLY_REJECTED,
        Verdict::Rejected(rejection) => of_reason(rejection.reason).unwrap_or(NO_VALID_OCCURRENCE),
        Verdict::HeldBack(HeldBack::CoolingDown(..)) => COOLING_DOWN,
        Verdict::HeldBack(HeldBack::Suspended(_)) => POLICY_SUSPENDED,
        Verdict::RequestRefused(_) => REQUEST_REFUSED,
        Verdict::NoRoom(_) => LEDGER_FULL,
    }
}

/// Why a storm was closed, or is about to be, with the times of its policy.
pub(super) fn of_end(reason: CloseReason, policy: &Policy) -> String {
    match reason {
        CloseReason::Resolved => {
            format!(
                "nothing of it fires any more, and no Signal came for longer than settleDelay ({:#})",
                policy.settle_delay
            )
        }
        CloseReason::Quiet => format!(
            "no Signal came for longer than quietPeriod ({:#}), or staleAfter ({:#}) where its source reports ends",
            policy.quiet_period, policy.stale_after
        ),
        CloseReason::MaxAge => {
            format!("it was open for longer than maxAge ({:#}); what fires on goes on in a successor", policy.max_age)
        }
        CloseReason::RemediationFinished => "an engine reported its outcome".to_owned(),
        CloseReason::Superseded => "an older open RemediationRequest of the same group holds this storm".to_owned(),
        CloseReason::Requested => format!("somebody set the annotation {}", api::CLOSE),
    }
}

/// What the operator does next with an open storm, by its own rules. `None`: it waits.
pub(super) fn of_decision(decision: &Decision, policy: &Policy) -> Option<String> {
    match decision {
        Decision::Keep(_) | Decision::Settled => None,
        Decision::Close(reason) | Decision::WriteClosed(reason, _) => {
            Some(format!("its end is due, as {reason:?}: {}", of_end(*reason, policy)))
        }
        Decision::Write(..) | Decision::NextRun | Decision::Create => Some("its facts are to be written".to_owned()),
        Decision::Adopt | Decision::AwaitList | Decision::Resync(_) => {
            Some("its Signals are to be read again first".to_owned())
        }
        Decision::Forget => Some("its RemediationRequest is gone: it is to be forgotten".to_owned()),
        Decision::Drop(DropReason::Superseded) => {
            Some(format!("its end is due, as Superseded: {}", of_end(CloseReason::Superseded, policy)))
        }
        Decision::Drop(DropReason::ClosedInCluster) => Some("it is over, and the operator lets it go".to_owned()),
    }
}

/// What became of one occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in this storm.
    In(String),
    /// No storm took it in.
    Held(Past),
    /// It is refused, for this reason.
    Refused(String),
    /// It waits with its Signal.
    Waits,
    /// The operator has told nothing of its Signal.
    Untold,
    /// It reports an end, and there was no storm that it could be the end of.
    NoStorm,
}

impl Fate {
    /// One word for machines.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::In(_) => "Counted",
            Self::Held(Past::Over) => "Over",
            Self::Held(Past::Handled) => "Handled",
            Self::Refused(_) => "Refused",
            Self::Waits => "Waits",
            Self::Untold => "Untold",
            Self::NoStorm => "NoStorm",
        }
    }

    /// A sentence for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::In(storm) => format!("counted by {storm}"),
            Self::Held(Past::Over) => "in no storm: its alert was over when it was reported (a late report)".to_owned(),
            Self::Held(Past::Handled) => {
                "in no storm: somebody had closed or deleted the RemediationRequest of its alert, which is handled until it ends"
                    .to_owned()
            }
            Self::Refused(why) => format!("refused: {why}"),
            Self::Waits => "waits with its Signal".to_owned(),
            Self::Untold => "not told yet".to_owned(),
            Self::NoStorm => "in no storm: it reports an end, and none was open".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;
    use stormfold_core::engine::receipts::Receipt;

    use super::*;
    use crate::cluster::receipt::status;
    use crate::storm::holding::Predecessor;
    use crate::storm::{Outcome, Rejection};

    /// The values of the text constants of a file.
    fn constants(file: &str, prefix: &str) -> Vec<String> {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let joined = text.replace("=\n", "=").replace("    ", " ");
        let of_line = |line: &str| {
            let rest = line.trim_start().strip_prefix("pub const ")?;
            let (name, rest) = rest.split_once(": &str =")?;
            Some(rest.split('"').nth(1)?.to_owned()).filter(|_| name.starts_with(prefix))
        };
        joined.lines().filter_map(of_line).collect()
    }

    // A new reason is one that `why` can answer for.
    #[test]
    fn every_reason_of_a_condition_has_an_answer() {
        let (ours, of_intake) =
            (constants("crates/api/src/conditions.rs", "REASON_"), constants("src/watch/intake.rs", ""));
        assert!(ours.len() >= 12 && of_intake.len() >= 4, "the constants are found: {ours:?} {of_intake:?}");
        for reason in ours.iter().chain(&of_intake) {
            assert!(of_reason(reason).is_some(), "{reason} has no answer in src/kubectl/answers.rs");
        }
        assert_eq!(of_reason("Unheard"), None);
    }

    fn verdicts() -> Vec<Verdict> {
        let before = Predecessor {
            name: "storm-before".into(),
            outcome: Outcome::Failed,
            finished: None,
            closed: Timestamp::UNIX_EPOCH,
            acknowledged: false,
        };
        vec![
            Verdict::Merged,
            Verdict::PartlyRejected("one".into()),
            Verdict::Rejected(Rejection { reason: reason::CROSS_NAMESPACE, message: String::new(), occurrences: 1 }),
            Verdict::HeldBack(HeldBack::Suspended("p".into())),
            Verdict::HeldBack(HeldBack::CoolingDown(before, Timestamp::MAX)),
            Verdict::RequestRefused("quota".into()),
            Verdict::NoRoom("full".into()),
        ]
    }

    // The reason that the operator writes for a verdict means what the verdict means.
    #[test]
    fn a_verdict_and_the_reason_that_is_written_for_it_have_one_answer() {
        for verdict in verdicts() {
            let signal = stormfold_core::storm::SignalRef { namespace: "n".into(), name: "s".into(), uid: "u".into() };
            let receipt = Receipt {
                signal: signal.into(),
                storm: None,
                others: Vec::new(),
                total: 1,
                new: 1,
                rejected: 0,
                held: Vec::new(),
                verdict: verdict.clone(),
                missing_labels: Vec::new(),
                version: None,
                pending: None,
                severity: api::Severity::Error,
            };
            let told = status(&receipt, Timestamp::UNIX_EPOCH).conditions.remove(0).reason;
            assert_eq!(of_reason(&told), Some(of_verdict(&verdict)), "{told}");
        }
    }

    #[test]
    fn every_answer_is_a_sentence_and_no_two_are_the_same() {
        let texts: Vec<&str> = verdicts().iter().map(|verdict| of_verdict(verdict).means).collect();
        let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
        assert_eq!(texts.len(), distinct.len(), "{texts:?}");
    }
}
