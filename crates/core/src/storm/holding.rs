//! When no storm may open although something fires: its Signals are held back, and told until when.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Policy;

/// How a remediation ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, JsonSchema)]
pub enum Outcome {
    /// The cause is gone.
    Succeeded,
    /// It was tried and did not work.
    Failed,
    /// Nothing had to be done.
    NoActionNeeded,
    /// A person has to look.
    ManualRequired,
    /// It was done and did not help.
    Ineffective,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Succeeded, Self::Failed, Self::NoActionNeeded, Self::ManualRequired, Self::Ineffective];
}

/// The storm of a key that was closed last, when its engine reported an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Predecessor {
    /// Name of its RemediationRequest.
    pub name: String,
    /// What the engine reported.
    pub outcome: Outcome,
    /// When, as the engine says.
    pub finished: Option<Timestamp>,
    /// When the storm was closed.
    pub closed: Timestamp,
    /// Whether a person has taken note of it.
    pub acknowledged: bool,
}

impl Predecessor {
    /// When the cool-down begins. A time that is further ahead than clocks differ is not believed: it would hold back for as long as it likes.
    fn ended(&self, now: Timestamp) -> Timestamp {
        let believable = |time: &Timestamp| time.duration_since(now) <= CLOCKS_DIFFER;
        self.finished.filter(believable).unwrap_or(self.closed)
    }
}

/// The annotation by which a person acknowledges an outcome, which ends its cool-down.
pub const ACKNOWLEDGED: &str = "stormfold.dev/acknowledged";

/// How much the clock of an engine may be ahead.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// Why no storm may open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeldBack {
    /// The policy of this name is suspended.
    Suspended(String),
    /// The outcome of this predecessor is too recent, until this time.
    CoolingDown(Predecessor, Timestamp),
}

impl HeldBack {
    /// Why, until when, and what ends it: for people.
    pub fn words(&self) -> String {
        match self {
            Self::Suspended(policy) => format!("StormPolicy {policy} is suspended: no storm opens under it"),
            Self::CoolingDown(before, until) => format!(
                "no storm opens before {until}: {} ended as {:?}; the annotation {ACKNOWLEDGED}=true on it ends the wait",
                before.name, before.outcome
            ),
        }
    }
}

/// Whether a storm under `policy` may open after `predecessor`. `None`: it may. At the end of a cool-down it may.
pub fn held_back(policy: &Policy, predecessor: Option<&Predecessor>, now: Timestamp) -> Option<HeldBack> {
    if policy.suspended {
        return Some(HeldBack::Suspended(policy.name.clone()));
    }
    let predecessor = predecessor.filter(|predecessor| !predecessor.acknowledged)?;
    let cooldown = match predecessor.outcome {
        Outcome::Succeeded => policy.cooldown.succeeded,
        Outcome::Failed => policy.cooldown.failed,
        Outcome::NoActionNeeded => policy.cooldown.no_action_needed,
        Outcome::ManualRequired => policy.cooldown.manual_required,
        Outcome::Ineffective => policy.cooldown.ineffective,
    };
    let until = predecessor.ended(now).checked_add(cooldown).unwrap_or(Timestamp::MAX);
    (now < until).then(|| HeldBack::CoolingDown(predecessor.clone(), until))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::storm::Cooldowns;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn after(outcome: Outcome, acknowledged: bool) -> Predecessor {
        Predecessor { name: "storm-before".into(), outcome, finished: Some(at(0)), closed: at(-100), acknowledged }
    }

    fn policy() -> Policy {
        let seconds = SignedDuration::from_secs;
        let cooldown = Cooldowns {
            succeeded: seconds(10),
            failed: seconds(20),
            no_action_needed: seconds(30),
            manual_required: seconds(40),
            ineffective: seconds(50),
        };
        Policy { cooldown, ..Policy::default() }
    }

    // C3, C4, C5: each outcome has a time of its own, exact to the second.
    #[rstest]
    #[case(Outcome::Succeeded, 10)]
    #[case(Outcome::Failed, 20)]
    #[case(Outcome::NoActionNeeded, 30)]
    #[case(Outcome::ManualRequired, 40)]
    #[case(Outcome::Ineffective, 50)]
    fn a_successor_opens_at_the_end_of_the_cool_down(#[case] outcome: Outcome, #[case] cooldown: i64) {
        let before = after(outcome, false);
        let waits = Some(HeldBack::CoolingDown(before.clone(), at(cooldown)));
        assert_eq!(held_back(&policy(), Some(&before), at(cooldown - 1)), waits);
        assert_eq!(held_back(&policy(), Some(&before), at(cooldown)), None);
        assert_eq!(held_back(&policy(), Some(&before), at(cooldown + 1)), None);
    }

    // C4: until somebody has taken note of it.
    #[test]
    fn an_acknowledged_outcome_holds_nothing_back() {
        assert_eq!(held_back(&policy(), Some(&after(Outcome::ManualRequired, true)), at(1)), None);
        assert_eq!(held_back(&policy(), None, at(1)), None);
    }

    #[test]
    fn the_cool_down_begins_with_the_engines_time_where_it_can_be_believed() {
        let until = |finished: Option<i64>| {
            let before = Predecessor { finished: finished.map(at), closed: at(-5), ..after(Outcome::Failed, false) };
            match held_back(&policy(), Some(&before), at(0)) {
                Some(HeldBack::CoolingDown(_, until)) => until,
                other => panic!("it waits: {other:?}"),
            }
        };
        assert_eq!(until(None), at(15));
        assert_eq!(until(Some(-2)), at(18));
        assert_eq!(until(Some(300)), at(320));
        assert_eq!(until(Some(301)), at(15));
    }

    #[test]
    fn a_suspended_policy_opens_nothing() {
        let policy = Policy { suspended: true, ..policy() };
        assert_eq!(held_back(&policy, None, at(0)), Some(HeldBack::Suspended("default".into())));
    }
}
