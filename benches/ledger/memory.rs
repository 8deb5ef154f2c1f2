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
/// Beyond the 16,384 members up to which a set is an array of integers: what it costs is stated, nothing is promised.
const HUGE: u32 = 100_000;
/// Redis's own limit of integers in such an array, if nobody raises it.
const DEFAULT_LIMIT: u32 = 512;
/// The limit that the ledger asks for.
const LIMIT: u32 = 16_384;
/// The design's figure: bytes of a storm, and of each occurrence and each resource.
const FIGURE: (f64, f64) = (420.0, 8.4);

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    for resources in [Resources::Distinct, Resources::Repeated] {
        for size in SIZES.into_iter().chain([HUGE]) {
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
    let target = FIGURE.0 + FIGURE.1 * f64::from(size + resources.affected(size));
    let target = if size == HUGE { Target::None } else { Target::AtMost(target) };
    report.figure(&cell, "ours_published", &[flushed], "bytes", target);
    report.figure(&cell, "ours_pending", &[pending], "bytes", Target::None);
    if size > DEFAULT_LIMIT && size <= LIMIT && resources == Resources::Distinct {
        server.command::<()>(&format!("CONFIG SET set-max-intset-entries {DEFAULT_LIMIT}")).await?;
        let [_, flushed] = ours(server, count, size, resources).await?;
        server.command::<()>(&format!("CONFIG SET set-max-intset-entries {LIMIT}")).await?;
        report.figure(&cell, "ours_published_at_default_intset_limit", &[flushed], "bytes", Target::None);
    }
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
