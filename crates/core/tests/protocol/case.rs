//! What is searched: who takes part, what may happen and how often, and which rules are broken.

use stormfold_core::rules::{Rule, Rules};
use stormfold_core::storm::Says;

use super::engine::Memory;
use super::steps::Step;

/// How the ledger and the API server keep their word; broken on purpose, to see the search find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerRule {
    /// A merge does not look at its end whether its storm is still open.
    MergeIgnoresItsEnd,
    /// A close does not look whether anything changed since the snapshot.
    CloseIgnoresChanges,
    /// A closed storm does not hold its occurrences.
    CloseHoldsNothing,
    /// Strays are left where they are.
    StraysStay,
    /// What was written under the names of an incarnation that was lost stays when the next one is made.
    StraysOfTheLostStay,
    /// A storm that was opened and that nothing joined stays.
    EmptyStormsStay,
    /// What was read before a `begin` is acted on after it.
    OldSnapshots,
    /// A `begin` that fails forgets that it found another server.
    ReplacedIsForgotten,
    /// A status is applied whatever the object is by now.
    ApplyWithoutVersion,
}

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The remediation engine reports an outcome: the storm is to be closed.
    pub outcomes: u8,
    /// The clock goes on by a second.
    pub ticks: u8,
    /// A process dies.
    pub crashes: u8,
    /// A call has its effect and no answer.
    pub lost_replies: u8,
    /// A call has no answer, and its effect later or never.
    pub late_effects: u8,
    /// Redis is emptied, and goes on running.
    pub flushes: u8,
    /// Redis is restarted without its data.
    pub wipes: u8,
    /// Redis falls back to what it was at some earlier moment.
    pub rollbacks: u8,
    /// A watch of Signals expires, and lists them again.
    pub relists: u8,
    /// A watch of RemediationRequests repeats an event.
    pub repeats: u8,
}

/// What a Signal says: of each alert the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Said {
    /// Its alerts, one bit each.
    pub alerts: u8,
    /// When, in seconds since the search began.
    pub at: u8,
    /// What.
    pub says: Says,
}

impl From<u8> for Said {
    /// These alerts fire, of a source that reports no ends.
    fn from(alerts: u8) -> Self {
        Self { alerts, at: 0, says: Says::Firing { resolvable: false } }
    }
}

/// What does not change during a search.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What each Signal says.
    pub signals: Vec<Said>,
    pub replicas: u8,
    pub budget: Budget,
    /// What has happened before the search begins: after each of these, everything came to rest.
    pub before: Vec<Step>,
    /// The commands of one pipeline run one by one, with anything in between; else together.
    pub command_by_command: bool,
    /// Whatever happens, happens between the effect of a call and its answer, too; else only there for merges.
    pub answers_take_time: bool,
    /// A process ends what it began before it begins anything else: ingest, or the run of one storm. What others do still comes in between.
    pub one_thing_at_a_time: bool,
    /// A loss of Redis takes a second: what opens after it has another epoch than what opened before.
    pub losses_take_a_second: bool,
    /// Each process has its name throughout: more states, and a trace that does not hang on digests.
    pub names_stay: bool,
    /// Rules of the protocol that are broken.
    pub rules: Vec<Rule>,
    pub ledger_rules: Vec<LedgerRule>,
    pub most_states: usize,
    pub memory: Memory,
}

impl Case {
    pub fn breaks(&self, rule: LedgerRule) -> bool {
        self.ledger_rules.contains(&rule)
    }

    /// The rules that the engine keeps.
    pub fn engine_rules(&self) -> Rules {
        Rules::without(self.rules.clone())
    }
}
