//! The policies benchmark: what 1,000 StormPolicies cost, compiled once per edit and looked up once per Signal.
//!
//! Prints one line per figure (`bench-policies {…}`) and a table at the end. A missed figure is printed as missed and is not a failure;
//! a wrong policy is one. `make bench-policies` runs it; it needs nothing but this machine.

#![allow(unreachable_pub, reason = "the modules of one benchmark")]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

#[path = "../support/report.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod report;
mod rules;

use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use stormfold::storm::matching::{Labels, PolicyRule, Subject};
use stormfold::storm::{Policy, PolicySet, Severity};

use report::{Report, Target};

/// Policies of the cluster.
const POLICIES: usize = 1_000;
/// Rounds of each figure: odd, so that the median is one that was measured.
const ROUNDS: usize = 5;
/// How long each round looks up.
const ROUND: Duration = Duration::from_millis(300);
/// Look-ups between two looks at the clock.
const BATCH: u32 = 64;
/// What a Signal may pay, in nanoseconds.
const BOUND: f64 = 10_000.0;

/// A Signal, and the policy that it must come under.
struct Case {
    what: &'static str,
    name: String,
    label: Option<(&'static str, String)>,
    expected: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-policies failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut report = Report::new("bench-policies");
    for (cell, rules) in [
        ("1,000 policies, a third each: exact names, globs, selectors of labels", rules::mixed(POLICIES)),
        ("1,000 policies of one exact name", rules::exact(POLICIES)),
        ("1,000 policies of one name that begins with something", rules::prefixes(POLICIES)),
        ("1,000 policies of one name with something in its middle", rules::middles(POLICIES)),
        ("1,000 policies of a label's value alone", rules::selectors(POLICIES)),
        ("1,000 policies of what a label is not", rules::absences(POLICIES)),
    ] {
        compile(&mut report, cell, &rules.rules);
        let set = set(rules.rules);
        for case in &rules.cases {
            look_up(&mut report, cell, &set, case)?;
        }
    }
    report.print_table();
    Ok(())
}

fn set(rules: Vec<PolicyRule>) -> PolicySet {
    PolicySet::new(rules, std::sync::Arc::new(Policy::default()), HashMap::new())
}

/// What an edit of any one policy costs.
fn compile(report: &mut Report, cell: &str, rules: &[PolicyRule]) {
    let round = |_| {
        let rules = rules.to_vec();
        let start = Instant::now();
        black_box(set(black_box(rules)));
        1_000.0 * start.elapsed().as_secs_f64()
    };
    let rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    report.figure(cell, "compiled_per_edit", &rounds, "ms", Target::None);
}

fn look_up(report: &mut Report, cell: &str, set: &PolicySet, case: &Case) -> anyhow::Result<()> {
    let none = Labels::new();
    let labels: Labels = case.label.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let subject = Subject {
        name: &case.name,
        severity: Severity::Critical,
        source: Some("alertmanager"),
        namespace: &none,
        labels: &labels,
    };
    let found = &set.of(&subject).name;
    anyhow::ensure!(
        *found == case.expected,
        "WRONG POLICY: {cell}: {} is under {found}, not {}",
        case.name,
        case.expected
    );
    let round = |_| {
        let (start, mut looked) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            for _ in 0..BATCH {
                black_box(set.of(black_box(&subject)));
            }
            looked += BATCH;
        }
        1e9 * start.elapsed().as_secs_f64() / f64::from(looked)
    };
    let rounds: Vec<f64> = (0..ROUNDS).map(round).collect();
    report.figure(cell, case.what, &rounds, "ns", Target::AtMost(BOUND));
    Ok(())
}
