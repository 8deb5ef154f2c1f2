//! Fragmentation: storms of all sizes come until the server is at 80 % of its memory, a random half of them goes, and again.

use std::collections::HashSet;

use super::documents::Form;
use super::generator::{Resources, Storm, mix};
use super::json::Json;
use super::ours::{Changes, Ours};
use super::plan::Plan;
use super::report::{Report, Target};
use super::server::{Memory, Server};

/// How often it fills up.
const CYCLES: u64 = 4;
/// To which share of its memory.
const LOAD: f64 = 0.8;
/// The most occurrences of a storm.
const MOST: u64 = 2_000;

/// Who fills it.
enum Contender {
    Json(Json),
    Ours(Box<Ours>),
}

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for form in [None, Some(Form::After), Some(Form::Before)] {
        let megabytes = plan.churn_mib;
        // The limit is out of reach: this is about what the allocator makes of coming and going.
        let server = Server::start(&["--maxmemory", &format!("{megabytes}mb")]).await?;
        let (name, contender, step) = match form {
            None => ("ours", Contender::Ours(Box::new(Ours::begin(&server, Resources::Distinct).await?)), 1_024),
            Some(form) => {
                let json = Json::begin(&server, form, Resources::Distinct).await?;
                let step = if form == Form::Before { 64 } else { 1_024 };
                (json.name(), Contender::Json(json), step)
            }
        };
        let cell = format!("fragmentation of {megabytes} MB, {name}");
        let loaded = contender.cycles(&server, megabytes, step).await?;
        let of = |value: &dyn Fn(&Memory) -> f64| loaded.iter().map(value).collect::<Vec<f64>>();
        report.figure(&cell, "at_80_%: mem_fragmentation_ratio", &of(&|m| m.fragmentation), "ratio", Target::None);
        report.figure(
            &cell,
            "at_80_%: allocator_frag_ratio",
            &of(&|m| m.allocator_fragmentation),
            "ratio",
            Target::None,
        );
        server.empty().await?;
        let empty = server.memory_at_rest().await?;
        report.figure(&cell, "emptied: mem_fragmentation_ratio", &[empty.fragmentation], "ratio", Target::None);
        report.figure(&cell, "emptied: allocator_frag_ratio", &[empty.allocator_fragmentation], "ratio", Target::None);
        report.figure(&cell, "emptied: resident", &[empty.resident / f64::from(1 << 20)], "MiB", Target::None);
    }
    Ok(())
}

impl Contender {
    /// What the server says of its memory each time it is loaded.
    async fn cycles(&self, server: &Server, megabytes: u32, step: u32) -> anyhow::Result<Vec<Memory>> {
        let (mut live, mut next, mut loaded) = (Vec::new(), 0, Vec::new());
        for cycle in 0..CYCLES {
            while server.memory().await?.used < LOAD * f64::from(megabytes << 20) {
                let new: Vec<Storm> = (next..next + step).map(storm).collect();
                next += step;
                self.fill(&new).await?;
                live.extend(new);
            }
            loaded.push(server.memory_at_rest().await?);
            if cycle + 1 < CYCLES {
                let goes = |storm: &Storm| mix(u64::from(storm.number) ^ cycle << 40) & 1 == 1;
                let (gone, stays): (Vec<Storm>, Vec<Storm>) = live.iter().partition(|storm| goes(storm));
                self.drop_storms(&gone).await?;
                live = stays;
            }
        }
        self.check(&live).await?;
        Ok(loaded)
    }

    async fn fill(&self, storms: &[Storm]) -> anyhow::Result<()> {
        match self {
            Self::Json(json) => json.fill(storms).await.map(drop),
            Self::Ours(ours) => ours.fill(storms, Changes::Flushed).await.map(drop),
        }
    }

    async fn drop_storms(&self, storms: &[Storm]) -> anyhow::Result<()> {
        match self {
            Self::Json(json) => json.drop_storms(storms).await,
            Self::Ours(ours) => ours.drop_storms(storms).await,
        }
    }

    async fn check(&self, storms: &[Storm]) -> anyhow::Result<()> {
        match self {
            Self::Json(json) => json.check(storms).await,
            Self::Ours(ours) => ours.check(storms, &HashSet::new()).await,
        }
    }
}

/// Half of the storms have one or two occurrences, a quarter up to four, and so on: few are large.
fn storm(number: u32) -> Storm {
    let spread = 1_000_000 / (1_000_000 - mix(number.into()) % 1_000_000);
    Storm::new(number, u32::try_from(spread.min(MOST)).unwrap_or(1))
}
