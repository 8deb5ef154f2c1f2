//! The ledger benchmark: what one merge, one storm and one full server cost, through the ledger's own API, beside the original design
//! before and after its optimisation and beside an empty script, on one private `redis-server`.
//!
//! Prints one line per figure (`bench-ledger {…}`) and a table at the end. A missed figure is printed as missed and is not a failure;
//! a wrong count is one, because a fast wrong answer is worth nothing. `make bench-ledger` runs all of it, `QUICK=1` a short form.

#![allow(unreachable_pub, reason = "the modules of one benchmark")]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod batches;
mod churn;
mod contender;
mod depth_one;
mod documents;
mod empty;
mod fill;
mod flush;
mod generator;
mod json;
mod memory;
mod ours;
mod pinned;
mod plan;
#[path = "../storm/process.rs"]
#[allow(dead_code, reason = "the storm benchmark needs the rest")]
mod process;
#[allow(clippy::expect_used, reason = "without a server there is nothing to measure")]
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;
#[path = "../support/report.rs"]
mod report;
mod round;
mod rounds;
mod server;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;

use plan::Plan;
use report::Report;

fn main() -> ExitCode {
    // One thread: client and server can be pinned to one core, and what the client does is not spread over others' cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-ledger failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `cargo bench -- PART…` runs only the parts whose name contains one of the arguments; `quick` among them is the short form.
async fn run() -> anyhow::Result<()> {
    let mut wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let quick = std::env::var_os("QUICK").is_some_and(|value| value != "0" && !value.is_empty())
        || wanted.iter().any(|argument| argument == "quick");
    wanted.retain(|argument| argument != "quick");
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| part.contains(wanted.as_str()));
    let plan = if quick { Plan::quick() } else { Plan::full() };
    let mut report = Report::new("bench-ledger");
    let start = Instant::now();
    if wants("merge") {
        depth_one::measure(&plan, &mut report).await.context("merges one by one")?;
    }
    if wants("memory") {
        memory::measure(&plan, &mut report).await.context("bytes per storm")?;
    }
    if wants("flush") {
        flush::measure(&plan, &mut report).await.context("publishes of large storms")?;
    }
    if wants("batches") {
        batches::measure(&plan, &mut report).await.context("batches")?;
    }
    if wants("fill") {
        fill::measure(&plan, &mut report).await.context("a server filled until it refuses")?;
    }
    if wants("churn") {
        churn::measure(&plan, &mut report).await.context("fragmentation")?;
    }
    report.print_table();
    println!("\n{} run, {:.0} s", plan.name, start.elapsed().as_secs_f64());
    Ok(())
}
