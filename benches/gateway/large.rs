//! One body of 10,000 alerts over 20 namespaces: until it is in etcd and answered, beside Alertmanager's taking the same into memory.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::alertmanager::Alertmanager;
use super::alerts::{delivered, raised_with_text, webhook};
use super::operator::Operator;
use super::report::{Report, Target};
use super::sender::Sender;
use super::world::World;

const ALERTS: u32 = 10_000;
const NAMESPACES: u32 = 20;
/// Odd, so that the median is one that was measured.
const ROUNDS: u32 = 5;
/// A RemediationRequest is read whole by engines and by `kubectl`.
const LARGEST_REQUEST_KIB: f64 = 100.0;

/// A body, by how much text its alerts have.
pub struct LargeBody {
    /// What is measured.
    pub name: &'static str,
    /// Bytes of text in the labels of each alert, and as many in its annotations.
    text: usize,
    /// The most memory that the operator may take, in MiB.
    memory: f64,
}

/// As alerts are, and as they are where rules put much into them.
pub const BODIES: [LargeBody; 2] = [
    LargeBody { name: "one body of 10,000 alerts over 20 namespaces", text: 0, memory: 64.0 },
    // Its 42 MB are in memory once, and are the most that is.
    LargeBody { name: "the same with 2 KB of labels and 2 KB of annotations an alert", text: 2_048, memory: 160.0 },
];
/// Longer than counting them takes.
const LIMIT: Duration = Duration::from_mins(1);
/// Until all servers have done what they do after an answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Alertmanager without a receiver: it only takes alerts in.
pub const QUIET: &str = "route: {receiver: none, group_wait: 1h}\nreceivers: [{name: none}]\n";

/// Measures, and reports.
pub async fn measure(world: &World, large: &LargeBody, report: &mut Report) -> anyhow::Result<()> {
    let LargeBody { name, text, memory: most } = *large;
    let mut namespaces = Vec::new();
    for _ in 0..NAMESPACES {
        namespaces.push(world.namespace("large").await?);
    }
    let mut arguments: Vec<_> = namespaces.iter().map(|namespace| format!("--watch-namespace={namespace}")).collect();
    arguments.extend(["--gateway-listen=127.0.0.1:0", "--gateway-max-body=64MiB"].map(str::to_owned));
    let operator = Operator::start_with(world, &arguments).await?;
    let manager = Alertmanager::start(QUIET).await;
    let gateway = Sender { address: operator.logged("gateway").context("no gateway")?, path: "/webhook/alertmanager" };
    let alertmanager = Sender { address: manager.address(), path: "/api/v2/alerts" };
    let idle = operator.process().memory()?.now;
    let (mut durable, mut accepted, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let numbers = round * ALERTS..(round + 1) * ALERTS;
        let place = |n: u32| namespaces[(n % NAMESPACES) as usize].as_str();
        let raised: Vec<_> = numbers.clone().map(|n| raised_with_text(place(n), n, text)).collect();
        let body = serde_json::to_vec(&raised)?;
        accepted.push(alertmanager.post_all(vec![body], 1).await?.as_secs_f64());
        tokio::time::sleep(PAUSE).await;
        let body = webhook(&numbers.zip(raised).map(|(n, alert)| delivered(alert, n)).collect::<Vec<_>>());
        durable.push(gateway.post_all(vec![body], 1).await?.as_secs_f64());
        exact(world, &namespaces, i64::from((round + 1) * ALERTS / NAMESPACES)).await?;
        tokio::time::sleep(PAUSE).await;
        ratio.push(durable[round as usize] / accepted[round as usize]);
    }
    let memory = operator.process().memory()?;
    report.figure(name, "stored_and_answered_after", &durable, "s", Target::None);
    report.figure(name, "alertmanager_accepts_after", &accepted, "s", Target::None);
    report.figure(name, "ratio", &ratio, "ratio", Target::AtMost(1.0));
    report.figure(name, "resident_before", &[idle], "MiB", Target::None);
    report.figure(name, "resident_peak", &[memory.peak], "MiB", Target::AtMost(most));
    let requests = world.largest_request(&namespaces).await?;
    report.figure(name, "largest_request", &[requests], "KiB", Target::AtMost(LARGEST_REQUEST_KIB));
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
