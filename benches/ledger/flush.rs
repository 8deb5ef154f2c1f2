//! A publish of a large storm: how long the server is busy with the snapshot and the acknowledgement that take its journal in. It serves
//! nobody else meanwhile.

use anyhow::Context as _;

use super::generator::{Resources, Telling, storms};
use super::ours::{Changes, Ours};
use super::plan::Plan;
use super::report::{Report, Target, median};
use super::server::Server;

/// How many alerts the storms have.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// How many reports came since the last publish.
const REPORTS: [u32; 2] = [1, 1_000];
/// Storms of a round.
const STORMS: u32 = 4;

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    for size in SIZES {
        for reports in REPORTS {
            for (telling, what) in [(Telling::First, "new alerts"), (Telling::Repeat, "repeats")] {
                let cell = format!("a publish of {reports} {what} of a storm of {size}");
                let mut rounds = Vec::new();
                for _ in 0..plan.merge_rounds {
                    rounds.push(round(&server, size, reports, telling).await?);
                }
                let all = |value: fn(&[f64; 2]) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
                report.figure(&cell, "snapshot_server_time", &all(|round| round[0]), "ms", Target::None);
                report.figure(&cell, "ack_server_time", &all(|round| round[1]), "ms", Target::None);
            }
        }
    }
    Ok(())
}

/// Milliseconds of the scripts of one publish: the snapshot's, and the acknowledgement's.
async fn round(server: &Server, size: u32, reports: u32, telling: Telling) -> anyhow::Result<[f64; 2]> {
    server.empty().await?;
    let ours = Ours::begin(server, Resources::Distinct).await?;
    let mut storms = storms(STORMS, size);
    ours.fill(&storms, Changes::Flushed).await?;
    let (mut snapshots, mut acks) = (Vec::new(), Vec::new());
    for storm in &mut storms {
        for report in 0..reports {
            let at = size + report;
            let batch = match telling {
                Telling::First => ours.signals(storm.number, at..at + 1),
                Telling::Repeat | Telling::End => ours.again(storm.number, report, at, telling),
            };
            ours.merge(&[batch], telling).await?;
            storm.tell(telling);
        }
        server.reset_statistics().await?;
        let snapshot = ours.right(*storm).await?;
        snapshots.push(script_time(server).await?);
        server.reset_statistics().await?;
        ours.ack(*storm, &snapshot).await?;
        acks.push(script_time(server).await?);
    }
    Ok([median(&snapshots), median(&acks)])
}

async fn script_time(server: &Server) -> anyhow::Result<f64> {
    let commands = server.commands().await?;
    let scripts = commands.get("evalsha").context("a publish is scripts")?;
    Ok(scripts.microseconds / 1_000.0)
}
