//! Resident memory: of an operator that has nothing to do, of one that took in 100,000 occurrences, and of one that reads them
//! all again after a restart.

use std::time::Duration;

use super::load::{self, Shape};
use super::operator::Operator;
use super::report::{Report, Target};
use super::witness::Witness;
use super::world::World;

/// The design's storm: 1,000 Signals of 100 lines.
const SIGNALS: u32 = 1_000;
/// See above.
const LINES: u32 = 100;
/// After the last work: what the process holds at rest, not what it is about to give back.
const REST: Duration = Duration::from_secs(2);

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let namespace = world.namespace("memory").await?;
    let operator = Operator::start(world, &namespace).await?;
    tokio::time::sleep(REST).await;
    let idle = operator.process().memory()?;
    report.figure("idle", "resident", &[idle.now], "MiB", Target::AtMost(16.0));
    report.figure("idle", "resident_peak", &[idle.peak], "MiB", Target::None);

    let name = "1,000 Signals of 100 table lines";
    let mut witness = Witness::begin(&world.client, &namespace).await?;
    load::write(&world.client, &namespace, load::bodies("DiskWillFill", Shape::Table, SIGNALS, LINES)).await?;
    witness.exact(SIGNALS * LINES).await?;
    report.figure(name, "resident_at_exact", &[operator.process().memory()?.now], "MiB", Target::AtMost(48.0));
    operator.receipts_are_out().await?;
    tokio::time::sleep(REST).await;
    let full = operator.process().memory()?;
    report.figure(name, "resident_after_receipts", &[full.now], "MiB", Target::AtMost(48.0));
    report.figure(name, "resident_peak", &[full.peak], "MiB", Target::AtMost(48.0));
    drop(operator);

    let restarted = Operator::start(world, &namespace).await?;
    restarted.received(SIGNALS * LINES).await?;
    restarted.receipts_are_out().await?;
    tokio::time::sleep(REST).await;
    let again = restarted.process().memory()?;
    report.figure(name, "resident_after_restart", &[again.now], "MiB", Target::AtMost(48.0));
    report.figure(name, "resident_peak_after_restart", &[again.peak], "MiB", Target::AtMost(48.0));
    let storms = world.storms(&namespace).await?;
    let counts: Vec<i64> = storms.iter().map(|storm| storm.alert_count).collect();
    anyhow::ensure!(counts == [i64::from(SIGNALS * LINES)], "WRONG COUNT: {counts:?} alerts after the restart");
    Ok(())
}
