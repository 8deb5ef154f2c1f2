//! What the largest tenant costs in memory: 1,000 Signals of as many lines as a table may have, read at a start that finds no storm open, and
//! at a restart.

use std::time::Duration;

use super::load::{self, Shape};
use super::operator::Operator;
use super::process::Memory;
use super::report::{Report, Target};
use super::world::World;

const SIGNALS: u32 = 1_000;
const LINES: u32 = 2_000;
const ALERTS: u32 = SIGNALS * LINES;
/// After the last work: what the process holds at rest, not what it is about to give back.
const REST: Duration = Duration::from_secs(5);
/// What the manifests allow.
const LIMIT: f64 = 256.0;
const START: [&str; 4] =
    ["resident_after_start", "peak_of_start", "bytes_per_alert_after_start", "peak_bytes_per_alert_of_start"];
const RESTART: [&str; 4] =
    ["resident_after_restart", "peak_of_restart", "bytes_per_alert_after_restart", "peak_bytes_per_alert_of_restart"];

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let name = "1,000 Signals of 2,000 table lines";
    let namespace = world.namespace("tenant").await?;
    let operator = Operator::start(world, &namespace).await?;
    tokio::time::sleep(REST).await;
    let idle = operator.process().memory()?;
    drop(operator);
    for part in 0..SIGNALS / 100 {
        let numbers = |signal: u32| signal * LINES..(signal + 1) * LINES;
        let body = |signal| load::body("Flood", &format!("signal-{signal}"), Shape::Table, numbers(signal));
        load::write(&world.client, &namespace, (part * 100..(part + 1) * 100).map(body).collect()).await?;
    }
    for (start, figures) in [("start", START), ("restart", RESTART)] {
        let operator = Operator::start(world, &namespace).await?;
        operator.received(ALERTS).await?;
        operator.receipts_are_out().await?;
        // What was let go is read once more.
        let mut received = 0.0;
        while let now = operator.metric("stormfold_occurrences_received_total").await?
            && now > received
        {
            received = now;
            tokio::time::sleep(REST).await;
        }
        let Memory { now, peak } = operator.process().memory()?;
        let each = |memory: f64| (memory - idle.now) * 1_024.0 * 1_024.0 / f64::from(ALERTS);
        let [resident, resident_peak, bytes, bytes_peak] = figures;
        report.figure(name, resident, &[now], "MiB", Target::AtMost(LIMIT));
        report.figure(name, resident_peak, &[peak], "MiB", Target::AtMost(LIMIT));
        report.figure(name, bytes, &[each(now)], "bytes", Target::AtMost(64.0));
        report.figure(name, bytes_peak, &[each(peak)], "bytes", Target::None);
        let storms = world.storms(&namespace).await?;
        let counts: Vec<i64> = storms.iter().map(|storm| storm.alert_count).collect();
        anyhow::ensure!(counts == [i64::from(ALERTS)], "WRONG COUNT: {counts:?} alerts after the {start}");
    }
    Ok(())
}
