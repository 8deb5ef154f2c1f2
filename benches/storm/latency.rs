//! The time from a create's acknowledgement until the RemediationRequest shows its facts: on a cluster that does nothing else,
//! and when many storms open one right after the other or all at once.

use std::collections::HashSet;
use std::time::Duration;

use super::load::{self, Shape};
use super::operator::Operator;
use super::report::{Report, Target};
use super::rounds::seconds_after;
use super::witness::{Sight, Witness};
use super::world::World;

/// Storms of each part: enough that p99 is the second worst, not the worst.
const STORMS: u32 = 200;
/// Longer than any of them may take before it counts as lost.
const LIMIT: Duration = Duration::from_mins(1);
/// The shortest pause between two storms of an idle cluster: longer than the 100 ms for which the API server makes the second of
/// two consistent lists wait.
const PAUSE: Duration = Duration::from_millis(120);

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    // Pauses of different lengths meet every timer of the API server at every phase.
    let idle = |n: u32| PAUSE + Duration::from_millis(u64::from(n * 37 % 100));
    one_by_one(world, report, "200 storms of 1 Signal, idle cluster", idle, [25.0, 100.0].map(Target::AtMost)).await?;
    let none = [Target::None, Target::None];
    one_by_one(world, report, "200 storms of 1 Signal, without a pause", |_| Duration::ZERO, none).await?;
    at_once(world, report).await
}

async fn one_by_one(
    world: &World,
    report: &mut Report,
    name: &str,
    pause: impl Fn(u32) -> Duration,
    [median, tail]: [Target; 2],
) -> anyhow::Result<()> {
    let namespace = world.namespace("latency").await?;
    let operator = Operator::start(world, &namespace).await?;
    let mut witness = Witness::begin(&world.client, &namespace).await?;
    let mut milliseconds = Vec::new();
    for n in 0..STORMS {
        tokio::time::sleep(pause(n)).await;
        let acknowledged = load::create(&world.client, &namespace, signal(n)).await?;
        let prefix = format!("storm-alert{n}x-");
        let expected = |sight: &Sight| Ok(sight.name.starts_with(&prefix) && sight.storm.alert_count == 1);
        let seen = witness.seen(LIMIT, expected).await?;
        milliseconds.push(1_000.0 * seconds_after(seen.at, acknowledged));
    }
    every_storm_is_right(world, &operator, &namespace).await?;
    milliseconds.sort_by(f64::total_cmp);
    let percentile = |percent: usize| milliseconds[(milliseconds.len() * percent).div_ceil(100) - 1];
    report.figure(name, "visible_after_p50", &[percentile(50)], "ms", median);
    report.figure(name, "visible_after_p99", &[percentile(99)], "ms", tail);
    report.figure(name, "visible_after_max", &[percentile(100)], "ms", Target::None);
    Ok(())
}

async fn at_once(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let namespace = world.namespace("at-once").await?;
    let operator = Operator::start(world, &namespace).await?;
    let mut witness = Witness::begin(&world.client, &namespace).await?;
    let written = load::write(&world.client, &namespace, (0..STORMS).map(signal).collect()).await?;
    let mut storms = HashSet::new();
    let all = |sight: &Sight| {
        storms.insert(sight.name.clone());
        Ok(storms.len() == STORMS as usize)
    };
    let seen = witness.seen(LIMIT, all).await?;
    every_storm_is_right(world, &operator, &namespace).await?;
    let after = seconds_after(seen.at, written.last_acknowledgement);
    report.figure("200 storms of 1 Signal, at once", "all_visible_after_last_write", &[after], "s", Target::None);
    Ok(())
}

fn signal(n: u32) -> Vec<u8> {
    load::body(&format!("Alert{n}x"), &format!("signal-{n}"), Shape::Items, n..n + 1)
}

async fn every_storm_is_right(world: &World, operator: &Operator, namespace: &str) -> anyhow::Result<()> {
    operator.receipts_are_out().await?;
    let storms = world.storms(namespace).await?;
    let right = storms.iter().filter(|storm| storm.alert_count == 1 && storm.affected_count == 1).count();
    anyhow::ensure!(
        right == STORMS as usize && storms.len() == right,
        "WRONG COUNT: {right} of {} storms are right, {STORMS} were written",
        storms.len()
    );
    Ok(())
}
