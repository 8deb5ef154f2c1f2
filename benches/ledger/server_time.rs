//! How the server's time for a merge is read from `INFO commandstats`.
//!
//! A command inside MULTI is counted by itself and once more inside EXEC: EXEC is timed from its start to its end, and each queued
//! command again within. So a merge costs what EXEC and MULTI show, and to add the commands would count them twice. What no counter
//! has is the queuing of a command before EXEC (parsing, a copy of its arguments): the CPU per Signal of the batches has that.

use anyhow::ensure;

use super::report::{Report, Target};
use super::server::Server;

/// Transactions of the experiment.
const CALLS: u32 = 200;
/// Members of each: so many that everything else in EXEC is nothing beside their SADD.
const MEMBERS: u32 = 2_000;

/// Shows it by an experiment: a large SADD in MULTI. EXEC must take what SADD takes, and little more (it frees the queued arguments).
pub async fn check(report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    server.reset_statistics().await?;
    for call in 0..CALLS {
        let mut pipeline = redis::pipe();
        let members: Vec<u32> = (call * MEMBERS..(call + 1) * MEMBERS).collect();
        pipeline.cmd("MULTI").cmd("SADD").arg(format!("set{call}")).arg(members).cmd("EXEC");
        pipeline.query_async::<redis::Value>(&mut server.connection()).await?;
    }
    let commands = server.commands().await?;
    let time = |name: &str| commands.get(name).map_or(0.0, |command| command.microseconds / f64::from(CALLS));
    let (exec, inner, multi) = (time("exec"), time("sadd"), time("multi"));
    ensure!(exec >= inner && exec < 1.5 * inner, "EXEC took {exec} us and its SADD {inner} us: read them differently");
    let cell = "how server time is counted: SADD of 2,000 members in MULTI";
    report.figure(cell, "exec", &[exec], "us", Target::None);
    report.figure(cell, "sadd_within", &[inner], "us", Target::None);
    report.figure(cell, "multi", &[multi], "us", Target::None);
    Ok(())
}
