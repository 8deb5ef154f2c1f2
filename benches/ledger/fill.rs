//! A real server with `maxmemory` and no eviction, filled with published storms of 15 until it refuses.

use super::documents::Form;
use super::generator::{Resources, Storm, mix};
use super::json::Json;
use super::ours::{Changes, Filled, Ours};
use super::plan::Plan;
use super::process::Process;
use super::report::{Report, Target};
use super::server::Server;

/// Occurrences of each storm, each about a resource of its own.
const SIZE: u32 = 15;
/// Storms that are filled in at a time. Those of the step that the server refuses do not count.
const STEP: u32 = 512;
/// The design's figure, for a server of 512 MB.
const FIGURE: f64 = 700_000.0;
/// See above.
const FIGURE_MIB: f64 = 512.0;
/// The original design says that its server of 512 MB stays below so many.
const CLAIM_MIB: f64 = 500.0;
/// Storms that are read again from the full server.
const SAMPLE: u32 = 20_000;

/// How far a server was filled.
#[derive(Default)]
struct Count {
    /// Storms when it refused.
    storms: u32,
    /// Storms when it passed the claim's share of its memory.
    at_claim: u32,
    /// Its resident memory when it refused, in MiB.
    resident: f64,
    /// Whether it can still be read when it refuses to grow: what cannot be read cannot be published, and nothing ever makes room.
    readable: bool,
}

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let megabytes = plan.fill_mib;
    let share = f64::from(megabytes) / FIGURE_MIB;
    let scaled = if megabytes == 512 { "" } else { " (the design's figure, scaled)" };
    let cell = format!("a server of {megabytes} MB filled with storms of {SIZE}{scaled}");
    let (ours, client) = ours(megabytes).await?;
    report.figure(&cell, "ours_storms", &[ours.storms.into()], "storms", Target::AtLeast((FIGURE * share).floor()));
    let counts =
        [("after", baseline(Form::After, megabytes).await?), ("before", baseline(Form::Before, megabytes).await?)];
    for (figure, (_, count)) in ["after_storms", "before_storms"].into_iter().zip(&counts) {
        report.figure(&cell, figure, &[count.storms.into()], "storms", Target::None);
    }
    let names = ["ours_storms_below_500_of_512", "after_storms_below_500_of_512", "before_storms_below_500_of_512"];
    for (figure, count) in names.into_iter().zip([&ours, &counts[0].1, &counts[1].1]) {
        report.figure(&cell, figure, &[count.at_claim.into()], "storms", Target::None);
    }
    let names = ["ours_resident_when_full", "after_resident_when_full", "before_resident_when_full"];
    for (figure, count) in names.into_iter().zip([&ours, &counts[0].1, &counts[1].1]) {
        report.figure(&cell, figure, &[count.resident], "MiB", Target::None);
    }
    let readable = if ours.readable { 1.0 } else { 0.0 };
    report.figure(&cell, "ours_snapshots_when_full", &[readable], "of 1", Target::AtLeast(1.0));
    report.figure(&cell, "resident_of_the_filling_process", &[client], "MiB", Target::None);
    Ok(())
}

/// How far, and the resident memory of this process, which knows every one of these storms.
async fn ours(megabytes: u32) -> anyhow::Result<(Count, f64)> {
    let server = server(megabytes).await?;
    let ours = Ours::begin(&server, Resources::Distinct).await?;
    let mut count = Count::default();
    while ours.fill(&step(count.storms), Changes::Flushed).await? == Filled::All {
        count.storms += STEP;
        count.look(&server, megabytes).await?;
    }
    count.resident = server.memory_at_rest().await?.resident / f64::from(1 << 20);
    // Well above its limit, where a moment's buffers make no difference.
    let limit = server.memory().await?.used / 2.0;
    server.command::<()>(&format!("CONFIG SET maxmemory {limit:.0}")).await?;
    count.readable = ours.reads_when_full(Storm::new(0, SIZE)).await?;
    // What follows is about counts, whether or not a full server lets them be read.
    server.command::<()>("CONFIG SET maxmemory 0").await?;
    let sample: Vec<Storm> = (0..SAMPLE.min(count.storms))
        .map(|n| Storm::new(u32::try_from(mix(n.into()) % u64::from(count.storms)).unwrap_or_default(), SIZE))
        .collect();
    ours.right_all(&sample).await?;
    Ok((count, Process::new(std::process::id()).memory()?.now))
}

async fn baseline(form: Form, megabytes: u32) -> anyhow::Result<Count> {
    let server = server(megabytes).await?;
    let json = Json::begin(&server, form, Resources::Distinct).await?;
    let mut count = Count::default();
    while json.fill(&step(count.storms)).await? == Filled::All {
        count.storms += STEP;
        count.look(&server, megabytes).await?;
    }
    // Its last step counts as far as it came: for objects of 28 KB a step is much.
    count.storms = server.command("DBSIZE").await?;
    count.resident = server.memory_at_rest().await?.resident / f64::from(1 << 20);
    json.check(&step(0)).await?;
    Ok(count)
}

async fn server(megabytes: u32) -> anyhow::Result<Server> {
    Server::start(&["--maxmemory", &format!("{megabytes}mb"), "--maxmemory-policy", "noeviction"]).await
}

fn step(from: u32) -> Vec<Storm> {
    (from..from + STEP).map(|number| Storm::new(number, SIZE)).collect()
}

impl Count {
    async fn look(&mut self, server: &Server, megabytes: u32) -> anyhow::Result<()> {
        let below = f64::from(megabytes << 20) * CLAIM_MIB / FIGURE_MIB;
        if server.memory().await?.used < below {
            self.at_claim = self.storms;
        }
        Ok(())
    }
}
