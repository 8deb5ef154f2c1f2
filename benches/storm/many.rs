//! Many storms that are open at once and rest: what they cost while nothing happens, and whether each of them ends on time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use stormfold::api::{CloseReason, StormState};

use super::load;
use super::operator::Operator;
use super::process::Process;
use super::report::{Report, Target};
use super::witness::{Sight, Witness};
use super::world::World;

/// Without the variable STORMS.
const STORMS: u32 = 10_000;
/// Namespaces of as many storms each: before a storm opens, the API server goes through all objects of its namespace. The storms of the first
/// are the sample: they end while the others are open.
const NAMESPACES: u32 = 4;
/// Ends that are due in a second: about half of what was seen to be written in one, on two cores.
const ENDS_PER_SECOND: u32 = 50;
/// How far ahead of its Signal an occurrence may begin: the operator takes five minutes.
const AHEAD: SignedDuration = SignedDuration::from_secs(280);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);
/// After the last work: what the process does at rest, not what it is about to finish.
const REST: Duration = Duration::from_secs(5);

/// How late each storm of the sample ended.
struct Ends {
    /// Seconds from its deadline until a watch showed its end, in order.
    shown: Vec<f64>,
    /// Whole seconds from its deadline until the operator decided to end it, in order.
    decided: Vec<f64>,
}

impl Ends {
    fn report(&self, name: &str, report: &mut Report) {
        let percentile = |of: &[f64], percent: usize| of[(of.len() * percent).div_ceil(100) - 1];
        report.figure(name, "decided_after_deadline_p99", &[percentile(&self.decided, 99)], "whole s", Target::None);
        report.figure(name, "decided_after_deadline_max", &[percentile(&self.decided, 100)], "whole s", Target::None);
        report.figure(name, "shown_after_deadline_p50", &[percentile(&self.shown, 50)], "s", Target::None);
        report.figure(name, "shown_after_deadline_p99", &[percentile(&self.shown, 99)], "s", Target::AtMost(1.0));
        report.figure(name, "shown_after_deadline_max", &[percentile(&self.shown, 100)], "s", Target::AtMost(1.0));
    }
}

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let storms = match std::env::var_os("STORMS").unwrap_or_default().to_str() {
        Some("") => STORMS,
        Some(number) => number.parse().context("STORMS is not a number")?,
        None => anyhow::bail!("STORMS is not a number"),
    };
    // All of them must be open, and rest, before the first one ends: opening 50 a second is slow.
    let quiet = Duration::from_secs(u64::from(60 + storms / 40));
    let name = format!("{storms} storms of 1 Signal, open at once");
    let sample = world.namespace("sample").await?;
    let mut others = Vec::new();
    for _ in 1..NAMESPACES {
        others.push(world.namespace("open").await?);
    }
    let watched = others.iter().chain([&sample]).map(|namespace| format!("--watch-namespace={namespace}"));
    let arguments: Vec<String> = watched.chain([format!("--quiet-period={}s", quiet.as_secs())]).collect();
    let operator = Operator::start_with(world, &arguments).await?;
    tokio::time::sleep(REST).await;
    let empty = operator.process().memory()?;
    let redis_empty = world.redis.as_ref().map(|redis| redis.info("used_memory"));

    let (start, each) = (Instant::now(), storms / NAMESPACES);
    let cpu = api_server_cpu(world)?;
    load::write(&world.client, &sample, signals(each, true)?).await?;
    for namespace in &others {
        load::write(&world.client, namespace, signals(each, false)?).await?;
    }
    let storms = each * NAMESPACES;
    operator.wrote_receipts(storms, quiet).await?;
    report.figure(
        &name,
        "opened_per_second",
        &[f64::from(storms) / start.elapsed().as_secs_f64()],
        "1/s",
        Target::None,
    );
    report_api_server(world, report, &name, cpu, storms)?;
    tokio::time::sleep(REST).await;
    let cpu = idle_cpu(&operator).await?;
    ensure!(start.elapsed() < quiet, "opening took too long: the first storms ended while they should rest");
    report.figure(&name, "idle_cpu", &[cpu], "% of a core", Target::AtMost(1.0));
    let full = operator.process().memory()?;
    report.figure(&name, "resident", &[full.now], "MiB", Target::None);
    report.figure(&name, "resident_peak", &[full.peak], "MiB", Target::None);
    let per_storm = 1_024.0 * (full.now - empty.now) / f64::from(storms);
    report.figure(&name, "resident_per_storm", &[per_storm], "KiB", Target::None);
    if let (Some(redis), Some(before)) = (&world.redis, redis_empty) {
        let bytes = u32::try_from(redis.info("used_memory").saturating_sub(before))?;
        report.figure(&name, "redis_per_storm", &[f64::from(bytes) / f64::from(storms)], "bytes", Target::None);
    }

    let cpu = api_server_cpu(world)?;
    let ends = ends(world, &sample, each, quiet).await?;
    let name = format!("{} of them end", ends.shown.len());
    ends.report(&name, report);
    report_api_server(world, report, &name, cpu, each)?;
    tokio::time::sleep(REST).await;
    report.figure(&name, "idle_cpu_afterwards", &[idle_cpu(&operator).await?], "% of a core", Target::AtMost(1.0));
    Ok(())
}

/// One for each storm. Those of the sample end one after the other, the others when all is measured.
fn signals(storms: u32, sample: bool) -> anyhow::Result<Vec<Vec<u8>>> {
    #[expect(clippy::disallowed_methods, reason = "the occurrences begin from now on")]
    let now = Timestamp::now().round(jiff::Unit::Second)?;
    let body = |n: u32| {
        let ahead = if sample { SignedDuration::from_secs(i64::from(n / ENDS_PER_SECOND)) } else { AHEAD };
        Ok(load::beginning_at(&format!("Alert{n}x"), n, now.checked_add(ahead)?))
    };
    (0..storms).map(body).collect()
}

fn api_server_cpu(world: &World) -> anyhow::Result<Option<f64>> {
    world.api_server.map(Process::cpu).transpose()
}

/// What each of `storms` cost the API server since `before`, its rests included.
fn report_api_server(
    world: &World,
    report: &mut Report,
    name: &str,
    before: Option<f64>,
    storms: u32,
) -> anyhow::Result<()> {
    if let (Some(before), Some(now)) = (before, api_server_cpu(world)?) {
        let each = 1_000.0 * (now - before) / f64::from(storms);
        report.figure(name, "api_server_cpu_per_storm", &[each], "ms", Target::None);
    }
    Ok(())
}

async fn idle_cpu(operator: &Operator) -> anyhow::Result<f64> {
    let (start, before) = (Instant::now(), operator.process().cpu()?);
    tokio::time::sleep(IDLE).await;
    Ok(100.0 * (operator.process().cpu()? - before) / start.elapsed().as_secs_f64())
}

/// Watches the sample end.
async fn ends(world: &World, namespace: &str, sample: u32, quiet: Duration) -> anyhow::Result<Ends> {
    let mut witness = Witness::begin(&world.client, namespace).await?;
    #[expect(clippy::disallowed_methods, reason = "deadlines are times of the clock; what is seen has an instant")]
    let (instant, clock) = (Instant::now(), Timestamp::now());
    let quiet_period = SignedDuration::try_from(quiet)?;
    let mut late = HashMap::new();
    let mut wrong = Vec::new();
    let all_ended = |sight: &Sight| {
        let storm = &sight.storm;
        if let (StormState::Closed, Some(closed)) = (storm.state, &storm.closed_at) {
            // A storm that opened after the time of its news is quiet from its opening: the last part of its name.
            let epoch = sight.name.rsplit('-').next().and_then(|epoch| epoch.parse().ok());
            let opened = Timestamp::from_second(epoch.context("a name without an epoch")?)?;
            let deadline = storm.last_seen.0.max(opened).checked_add(quiet_period)?;
            let shown = clock.checked_add(SignedDuration::try_from(sight.at.saturating_duration_since(instant))?)?;
            let seconds = |end: Timestamp| end.duration_since(deadline).as_secs_f64();
            late.insert(sight.name.clone(), (seconds(shown), seconds(closed.0)));
            if storm.alert_count != 1 || storm.close_reason != Some(CloseReason::Quiet) {
                wrong.push(sight.name.clone());
            }
        }
        Ok(late.len() == sample as usize)
    };
    let seen = witness.seen(2 * quiet, all_ended).await;
    ensure!(wrong.is_empty(), "WRONG COUNT: {wrong:?} did not end as Quiet with 1 alert");
    seen.with_context(|| format!("{} of {sample} storms have ended", late.len()))?;
    let in_order = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = late.values().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    Ok(Ends { shown: in_order(|late| late.0), decided: in_order(|late| late.1) })
}
