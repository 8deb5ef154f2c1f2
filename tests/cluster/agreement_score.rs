//! What is played: which alerts there are, when they change, and what is done to those who tell of them.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::exporter::Exporter;
use super::prometheus::rule;

/// What is done to Prometheus, to Alertmanager, and to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// SIGSTOP to Prometheus, and SIGCONT.
    Stall,
    GoOn,
    Silence,
    EndSilence,
    /// The rule file of Prometheus changes: an alert whose rule is gone is never told as ended, but no longer told as firing.
    RemoveRule,
    RestoreRule,
    /// SIGTERM, and a start with what is on disk.
    RestartPrometheus,
    RestartAlertmanager,
    RestartBoth,
    /// SIGKILL, and a start.
    KillOperator,
}

/// What is done in turn, and for how many seconds alerts change after it; in later rounds for some more.
///
/// A Prometheus that has just started, or read its files again, looks for its Alertmanagers only after some seconds, so it is not stalled
/// then. Alertmanager is not restarted while Prometheus is stalled: it would know of nothing. Nor is it soon after Prometheus has forgotten
/// something, by a restart or with a rule: what is only no longer told as firing it would never tell as ended.
pub const ROUND: [(Deed, u64); 10] = [
    (Deed::Silence, 1),
    (Deed::Stall, 8),
    (Deed::GoOn, 3),
    (Deed::RestartAlertmanager, 2),
    (Deed::EndSilence, 1),
    (Deed::KillOperator, 2),
    (Deed::RemoveRule, 2),
    (Deed::RestartPrometheus, 2),
    (Deed::RestoreRule, 2),
    (Deed::RestartBoth, 2),
];

/// The name that is silenced, and the one whose rule goes.
pub const SILENCED: &str = "Silenced";
pub const GONE: &str = "Gone";

/// Names, with how many alerts each, and for how many seconds one burns, and does not.
const NAMES: [(&str, usize, RangeInclusive<u64>, RangeInclusive<u64>); 8] = [
    ("Steady", 2, 10_000..=10_000, 1..=1),
    ("Flapping", 1, 1..=3, 1..=3),
    ("Nervous", 2, 1..=6, 1..=6),
    ("Slow", 3, 5..=30, 5..=20),
    ("Slower", 2, 15..=60, 10..=40),
    ("Seldom", 1, 3..=10, 10..=30),
    (SILENCED, 1, 4..=15, 3..=6),
    (GONE, 2, 10..=30, 3..=6),
];

struct Plan {
    name: &'static str,
    pod: String,
    burns: bool,
    /// Seconds until it changes.
    left: u64,
    times: [RangeInclusive<u64>; 2],
}

/// See the module.
pub struct Score {
    plans: Vec<Plan>,
    random: u64,
}

impl Score {
    pub fn new(exporter: &Exporter) -> Self {
        let mut score = Self { plans: Vec::new(), random: 15 };
        for (name, alerts, burning, quiet) in NAMES {
            for n in 0..alerts {
                let times = [quiet.clone(), burning.clone()];
                let left = score.any(times[1].clone());
                score.plans.push(Plan { name, pod: format!("web-{n}"), burns: true, left, times });
            }
        }
        score.show(exporter);
        score
    }

    /// The rules of Prometheus, with or without that of `GONE`.
    pub fn rules(with_gone: bool) -> Vec<Value> {
        let names = NAMES.iter().map(|(name, ..)| *name).filter(|name| with_gone || *name != GONE);
        names.map(|name| rule(name, &Exporter::expr(name), &json!({ "severity": "critical" }))).collect()
    }

    /// A number of this range: the same ones in each run.
    pub fn any(&mut self, range: RangeInclusive<u64>) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start() + (mixed ^ (mixed >> 31)) % (range.end() - range.start() + 1)
    }

    /// One second is over.
    pub fn second(&mut self, exporter: &Exporter) {
        for index in 0..self.plans.len() {
            let plan = &mut self.plans[index];
            plan.left -= 1;
            if plan.left == 0 {
                plan.burns = !plan.burns;
                let times = plan.times[usize::from(plan.burns)].clone();
                self.plans[index].left = self.any(times);
            }
        }
        self.show(exporter);
    }

    /// All of them burn, or none does, from now on.
    pub fn set_all(&mut self, exporter: &Exporter, burn: bool) {
        for plan in &mut self.plans {
            plan.burns = burn;
        }
        self.show(exporter);
    }

    fn show(&self, exporter: &Exporter) {
        for plan in &self.plans {
            exporter.set(plan.name, &plan.pod, plan.burns);
        }
    }
}
