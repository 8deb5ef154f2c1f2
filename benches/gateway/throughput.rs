//! Alerts per second and CPU per alert, for small and middling bodies over one and sixteen connections: the gateway, Alertmanager's own
//! API, and the API server with the Signals that the gateway would make.

use std::time::Duration;

use anyhow::Context;

use super::alertmanager::Alertmanager;
use super::alerts::{delivered, raised, signal, webhook};
use super::large::QUIET;
use super::operator::Operator;
use super::process::Process;
use super::report::{Report, Target};
use super::sender::Sender;
use super::world::World;

/// Alerts in a body, connections, bodies.
const CELLS: [(&str, u32, usize, u32); 4] = [
    ("bodies of 1 alert, 1 connection", 1, 1, 600),
    ("bodies of 1 alert, 16 connections", 1, 16, 2_400),
    ("bodies of 100 alerts, 1 connection", 100, 1, 300),
    ("bodies of 100 alerts, 16 connections", 100, 16, 900),
];
/// Odd, so that the median is one that was measured.
const ROUNDS: u32 = 3;
/// Until all servers have done what they do after an answer.
const PAUSE: Duration = Duration::from_secs(3);

/// What one round gave.
struct Measured {
    alerts_per_second: f64,
    /// Of the process that was asked.
    cpu: f64,
}

/// Measures, and reports.
pub async fn measure(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let namespace = world.namespace("throughput").await?;
    let raw_namespace = world.namespace("raw").await?;
    let arguments = [format!("--watch-namespace={namespace}"), "--gateway-listen=127.0.0.1:0".to_owned()];
    let operator = Operator::start_with(world, &arguments).await?;
    let manager = Alertmanager::start(QUIET).await;
    let gateway = Sender { address: operator.logged("gateway").context("no gateway")?, path: "/webhook/alertmanager" };
    let alertmanager = Sender { address: manager.address(), path: "/api/v2/alerts" };
    let mut first = 1_000_000;
    for (name, alerts, connections, bodies) in CELLS {
        let (mut ours, mut theirs, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let numbers = |body: u32| first + body * alerts..first + (body + 1) * alerts;
            let each = |make: &dyn Fn(std::ops::Range<u32>) -> Vec<u8>| -> Vec<Vec<u8>> {
                (0..bodies).map(numbers).map(make).collect()
            };
            let raise = |numbers: std::ops::Range<u32>| {
                serde_json::to_vec(&numbers.map(|n| raised(&namespace, n)).collect::<Vec<_>>()).unwrap_or_default()
            };
            theirs.push(round(&alertmanager, each(&raise), alerts, connections, Process::new(manager.pid())).await?);
            let deliver = |numbers: std::ops::Range<u32>| {
                webhook(&numbers.map(|n| delivered(raised(&namespace, n), n)).collect::<Vec<_>>())
            };
            ours.push(round(&gateway, each(&deliver), alerts, connections, operator.process()).await?);
            let make = |numbers: std::ops::Range<u32>| {
                signal(&raw_namespace, &format!("raw-{}", numbers.start), numbers.clone())
            };
            raw.push(raw_creates(world, &raw_namespace, each(&make), alerts, connections).await?);
            first += bodies * alerts;
        }
        let rates = |measured: &[Measured]| measured.iter().map(|m| m.alerts_per_second).collect::<Vec<_>>();
        let cpus = |measured: &[Measured]| measured.iter().map(|m| m.cpu).collect::<Vec<_>>();
        report.figure(name, "gateway_alerts_per_second", &rates(&ours), "1/s", Target::None);
        report.figure(name, "alertmanager_alerts_per_second", &rates(&theirs), "1/s", Target::None);
        report.figure(name, "api_server_alone_alerts_per_second", &raw, "1/s", Target::None);
        report.figure(name, "operator_cpu_per_alert", &cpus(&ours), "us", Target::None);
        report.figure(name, "alertmanager_cpu_per_alert", &cpus(&theirs), "us", Target::None);
    }
    Ok(())
}

async fn round(
    sender: &Sender,
    bodies: Vec<Vec<u8>>,
    alerts: u32,
    connections: usize,
    process: Process,
) -> anyhow::Result<Measured> {
    tokio::time::sleep(PAUSE).await;
    let total = f64::from(u32::try_from(bodies.len())? * alerts);
    let before = process.cpu()?;
    let time = sender.post_all(bodies, connections).await?;
    // With what follows an answer: the operator counts and publishes, Alertmanager groups.
    tokio::time::sleep(PAUSE).await;
    Ok(Measured { alerts_per_second: total / time.as_secs_f64(), cpu: 1e6 * (process.cpu()? - before) / total })
}

/// The Signals alone, over as many connections.
async fn raw_creates(
    world: &World,
    namespace: &str,
    bodies: Vec<Vec<u8>>,
    alerts: u32,
    connections: usize,
) -> anyhow::Result<f64> {
    tokio::time::sleep(PAUSE).await;
    let total = f64::from(u32::try_from(bodies.len())? * alerts);
    let written = super::load::write_with(&world.client, namespace, bodies, connections).await?;
    Ok(total / written.duration().as_secs_f64())
}
