//! One body of 10,000 alerts over 20 namespaces: until it is in etcd and answered, beside Alertmanager's taking the same into memory.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::alertmanager::Alertmanager;
use super::alerts::{delivered, raised, webhook};
use super::operator::Operator;
use super::report::{Report, Target};
use super::sender::Sender;
use super::world::World;

const ALERTS: u32 = 10_000;
const NAMESPACES: u32 = 20;
/// Odd, so that the median is one that was measured.
const ROUNDS: u32 = 5;
const NAME: &str = "one body of 10,000 alerts over 20 namespaces";
/// Longer than counting them takes.
const LIMIT: Duration = Duration::from_mins(1);
/// Until all servers have done what they do after an answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Alertmanager without a receiver: it only takes alerts in.
pub const QUIET: &str = "route: {receiver: none, group_wait: 1h}\nreceivers: [{name: none}]\n";

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let mut namespaces = Vec::new();
    for _ in 0..NAMESPACES {
        namespaces.push(world.namespace("large").await?);
    }
    let mut arguments: Vec<_> = namespaces.iter().map(|namespace| format!("--watch-namespace={namespace}")).collect();
    arguments.push("--gateway-listen=127.0.0.1:0".to_owned());
    let operator = Operator::start_with(world, &arguments).await?;
    let manager = Alertmanager::start(QUIET).await;
    let gateway = Sender { address: operator.logged("gateway").context("no gateway")?, path: "/webhook/alertmanager" };
    let alertmanager = Sender { address: manager.address(), path: "/api/v2/alerts" };
    let idle = operator.process().memory()?.now;
    let (mut durable, mut accepted, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let numbers = round * ALERTS..(round + 1) * ALERTS;
        let place = |n: u32| namespaces[(n % NAMESPACES) as usize].as_str();
        let raised: Vec<_> = numbers.clone().map(|n| raised(place(n), n)).collect();
        let body = serde_json::to_vec(&raised)?;
        accepted.push(alertmanager.post_all(vec![body], 1).await?.as_secs_f64());
        tokio::time::sleep(PAUSE).await;
        let body = webhook(&numbers.map(|n| delivered(place(n), n)).collect::<Vec<_>>());
        durable.push(gateway.post_all(vec![body], 1).await?.as_secs_f64());
        exact(world, &namespaces, i64::from((round + 1) * ALERTS / NAMESPACES)).await?;
        tokio::time::sleep(PAUSE).await;
        ratio.push(durable[round as usize] / accepted[round as usize]);
    }
    let memory = operator.process().memory()?;
    report.figure(NAME, "stored_and_answered_after", &durable, "s", Target::None);
    report.figure(NAME, "alertmanager_accepts_after", &accepted, "s", Target::None);
    report.figure(NAME, "ratio", &ratio, "ratio", Target::AtMost(1.0));
    report.figure(NAME, "resident_before", &[idle], "MiB", Target::None);
    report.figure(NAME, "resident_peak", &[memory.peak], "MiB", Target::AtMost(64.0));
    Ok(())
}

/// Every namespace shows this many alerts, pods and firing ones, and no other storm.
async fn exact(world: &World, namespaces: &[String], each: i64) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    loop {
        let mut wrong = None;
        for namespace in namespaces {
            let storms = world.storms(namespace).await?;
            let counts: Vec<_> =
                storms.iter().map(|storm| [storm.alert_count, storm.firing_count, storm.affected_count]).collect();
            if counts != [[each; 3]] {
                wrong = Some(counts);
            }
        }
        let Some(counts) = wrong else { return Ok(()) };
        ensure!(Instant::now() < end, "WRONG COUNT: {counts:?} where {each} were sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
