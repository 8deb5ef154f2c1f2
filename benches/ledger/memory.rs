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
    for size in SIZES.into_iter().chain([HUGE]) {
        let cell = format!("memory of a storm of {size}, distinct resources");
        let count = (plan.memory_occurrences / size).clamp(20, plan.memory_storms);
        let [pending, flushed] = ours(&server, count, size).await?;
        let target = FIGURE.0 + 2.0 * FIGURE.1 * f64::from(size);
        let target = if size == HUGE { Target::None } else { Target::AtMost(target) };
        report.figure(&cell, "ours_published", &[flushed], "bytes", target);
        report.figure(&cell, "ours_pending", &[pending], "bytes", Target::None);
        if size > DEFAULT_LIMIT && size <= LIMIT {
            server.command::<()>(&format!("CONFIG SET set-max-intset-entries {DEFAULT_LIMIT}")).await?;
            let [_, flushed] = ours(&server, count, size).await?;
            server.command::<()>(&format!("CONFIG SET set-max-intset-entries {LIMIT}")).await?;
            report.figure(&cell, "ours_published_at_default_intset_limit", &[flushed], "bytes", Target::None);
        }
        for (form, figure) in [(Form::Before, "before"), (Form::After, "after")] {
            // One is 33 KB at least: thousands tell as much as tens of thousands.
            let count =
                if form == Form::Before { (plan.memory_occurrences / (size + 500)).clamp(10, 3_000) } else { count };
            report.figure(&cell, figure, &[baseline(&server, form, count, size).await?], "bytes", Target::None);
        }
    }
    let cell = "memory of a storm of 1000, 50 resources";
    let count = plan.memory_occurrences / 1_000;
    let flushed = repeated(&server, count).await?;
    let target = Target::AtMost(FIGURE.0 + FIGURE.1 * 1_050.0);
    report.figure(cell, "ours_published", &[flushed], "bytes", target);
    Ok(())
}

async fn ours(server: &Server, count: u32, size: u32) -> anyhow::Result<[f64; 2]> {
    server.empty().await?;
    let ours = Ours::begin(server, Resources::Distinct).await?;
    let empty = server.memory_at_rest().await?.data;
    let storms = storms(count, size);
    ours.fill(&storms, Changes::Pending).await?;
    let pending = server.memory_at_rest().await?.data;
    ours.flush(&storms).await?;
    let flushed = server.memory_at_rest().await?.data;
    ours.check(&storms, &HashSet::new()).await?;
    Ok([pending, flushed].map(|bytes| (bytes - empty) / f64::from(count)))
}

async fn repeated(server: &Server, count: u32) -> anyhow::Result<f64> {
    server.empty().await?;
    let ours = Ours::begin(server, Resources::Repeated).await?;
    let empty = server.memory_at_rest().await?.data;
    let storms = storms(count, 1_000);
    ours.fill(&storms, Changes::Flushed).await?;
    let flushed = server.memory_at_rest().await?.data;
    ours.check(&storms, &HashSet::new()).await?;
    Ok((flushed - empty) / f64::from(count))
}

async fn baseline(server: &Server, form: Form, count: u32, size: u32) -> anyhow::Result<f64> {
    server.empty().await?;
    let json = Json::begin(server, form, Resources::Distinct).await?;
    let empty = server.memory_at_rest().await?.data;
    let storms = storms(count, size);
    json.fill(&storms).await?;
    let full = server.memory_at_rest().await?.data;
    json.check(&storms).await?;
    Ok((full - empty) / f64::from(count))
}
