//! The storm benchmark: real Signals, a real API server, the release operator, and the figures that the design promises.
//!
//! Prints one line per figure (`bench-storm {…}`) and a table at the end. A missed figure is printed as missed and is not a
//! failure; a wrong count is one, because a fast wrong answer is worth nothing. `make bench-storm` brings the cluster, and
//! `make bench-storm LEDGER=redis` measures the other ledger, on a Redis of 512 MB.

#![allow(unreachable_pub, reason = "the modules of one benchmark")]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod latency;
mod load;
mod many;
mod memory;
mod operator;
mod process;
#[allow(clippy::expect_used, reason = "without a server there is nothing to measure")]
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;
#[path = "../support/report.rs"]
mod report;
mod rounds;
mod tenant;
mod witness;
mod world;

use std::process::ExitCode;

use anyhow::Context;

use load::Shape;
use report::Report;
use world::World;

/// The storms of the design, by name, shape, Signals and occurrences in each.
const STORMS: [(&str, Shape, u32, u32); 3] = [
    ("2,000 Signals of 1 occurrence", Shape::Items, 2_000, 1),
    ("200 Signals of 100 structured occurrences", Shape::Items, 200, 100),
    ("200 Signals of 500 table lines", Shape::Table, 200, 500),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-storm failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo bench -- PART…` runs only the parts whose name contains one of the arguments.
#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| part.contains(wanted.as_str()));
    anyhow::ensure!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: run this with `make bench-storm`, which brings up a throwaway cluster"
    );
    let world = World::connect().await.context("no cluster to measure: `make bench-storm` brings one up")?;
    let mut report = Report::new("bench-storm");
    for (name, shape, signals, occurrences) in STORMS {
        if wants(name) {
            let storm = rounds::Storm { name, shape, signals, occurrences };
            storm.measure(&world, &mut report).await.with_context(|| name.to_owned())?;
        }
    }
    if wants("latency") {
        latency::measure(&world, &mut report).await.context("latency of an idle cluster")?;
    }
    if wants("memory") {
        memory::measure(&world, &mut report).await.context("resident memory")?;
    }
    if wants("tenant") {
        tenant::measure(&world, &mut report).await.context("the largest tenant")?;
    }
    // Takes minutes: only when it is asked for.
    if wanted.iter().any(|wanted| "idle".contains(wanted.as_str())) {
        many::measure(&world, &mut report).await.context("many open storms")?;
    }
    report.print_table();
    world.clean_up().await;
    Ok(())
}
