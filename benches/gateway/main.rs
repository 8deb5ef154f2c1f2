//! The gateway benchmark: what it takes until alerts are durable, beside what Alertmanager takes to accept the same alerts into memory,
//! and beside what the API server takes for the Signals alone. Same machine, same run, in turn.
//!
//! A wrong count fails; a missed figure is printed as missed. `make bench-gateway` brings the cluster.

#![allow(unreachable_pub, reason = "the modules of one benchmark")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are the output")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the support of tests says what is wrong by ending"
)]
#![allow(clippy::missing_panics_doc, reason = "see above")]

#[path = "../../tests/support/alertmanager.rs"]
mod alertmanager;
mod alerts;
#[path = "../../tests/support/http.rs"]
mod http;
mod large;
#[path = "../storm/load.rs"]
mod load;
#[path = "../storm/operator.rs"]
mod operator;
#[path = "../storm/process.rs"]
mod process;
mod reader;
#[allow(clippy::expect_used, reason = "without a server there is nothing to measure")]
#[path = "../../tests/support/redis_server.rs"]
mod redis_server;
#[path = "../support/report.rs"]
mod report;
mod sender;
mod throughput;
#[path = "../storm/world.rs"]
mod world;

use std::process::ExitCode;

use anyhow::Context;

use report::Report;
use world::World;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-gateway failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> anyhow::Result<()> {
    let mut report = Report::new("bench-gateway");
    reader::measure(&mut report)?;
    anyhow::ensure!(
        std::env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: run this with `make bench-gateway`, which brings up a throwaway cluster"
    );
    let world = World::connect().await.context("no cluster to measure: `make bench-gateway` brings one up")?;
    for body in &large::BODIES {
        large::measure(&world, body, &mut report).await.context(body.name)?;
    }
    throughput::measure(&world, &mut report).await.context("alerts per second")?;
    report.print_table();
    world.clean_up().await;
    Ok(())
}
