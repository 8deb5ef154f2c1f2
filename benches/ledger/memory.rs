//! Bytes per storm: the growth of `used_memory` without the buffers of clients, over thousands of storms, divided by their number.

use std::collections::HashSet;

use super::documents::Form;
use super::generator::{Resources, storms};
use super::json::Json;
use super::ours::{Changes, Ours};
use super::plan::Plan;
use super::report::{Report, Target};
use super::server::Server;

/// How many occurrences the storms have, each about a resource of its own.
const SIZES: [u32; 5] = [1, 15, 100, 1_000, 10_000];
/// The largest storm, and the design's figure for it in bytes.
const HUGE: (u32, f64) = (100_000, 5_000_000.0);
/// The design's figures: bytes of a storm, of each alert, and of each resource.
const FIGURES: (f64, f64, f64) = (450.0, 17.0, 8.4);

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    for resources in [Resources::Distinct, Resources::Repeated] {
        for size in SIZES.into_iter().chain([HUGE.0]) {
            let is_like_distinct = resources == Resources::Repeated && resources.affected(size) == size;
            if !is_like_distinct {
                measure_cell(&server, plan, report, size, resources).await?;
            }
        }
    }
    Ok(())
}

async fn measure_cell(
    server: &Server,
    plan: &Plan,
    report: &mut Report,
    size: u32,
    resources: Resources,
) -> anyhow::Result<()> {
    let cell = format!("memory of a storm of {size}, {}", resources.name());
    let count = (plan.memory_occurrences / size).clamp(20, plan.memory_storms);
    let [pending, flushed] = ours(server, count, size, resources).await?;
    let (storm, alert, resource) = FIGURES;
    let target = storm + alert * f64::from(size) + resource * f64::from(resources.affected(size));
    let target = Target::AtMost(if size == HUGE.0 { HUGE.1 } else { target });
    report.figure(&cell, "ours_published", &[flushed], "bytes", target);
    report.figure(&cell, "ours_pending", &[pending], "bytes", Target::None);
    for (form, figure) in [(Form::Before, "before"), (Form::After, "after")] {
        // One is 33 KB at least: thousands tell as much as tens of thousands.
        let count =
            if form == Form::Before { (plan.memory_occurrences / (size + 500)).clamp(10, 3_000) } else { count };
        let bytes = baseline(server, form, count, size, resources).await?;
        report.figure(&cell, figure, &[bytes], "bytes", Target::None);
    }
    Ok(())
}

async fn ours(server: &Server, count: u32, size: u32, resources: Resources) -> anyhow::Result<[f64; 2]> {
    server.empty().await?;
    let ours = Ours::begin(server, resources).await?;
    let empty = server.memory_at_rest().await?.data;
    let storms = storms(count, size);
    ours.fill(&storms, Changes::Pending).await?;
    let pending = server.memory_at_rest().await?.data;
    ours.flush(&storms).await?;
    let flushed = server.memory_at_rest().await?.data;
    ours.check(&storms, &HashSet::new()).await?;
    Ok([pending, flushed].map(|bytes| (bytes - empty) / f64::from(count)))
}

async fn baseline(server: &Server, form: Form, count: u32, size: u32, resources: Resources) -> anyhow::Result<f64> {
    server.empty().await?;
    let json = Json::begin(server, form, resources).await?;
    let empty = server.memory_at_rest().await?.data;
    let storms = storms(count, size);
    json.fill(&storms).await?;
    let full = server.memory_at_rest().await?.data;
    json.check(&storms).await?;
    Ok((full - empty) / f64::from(count))
}
