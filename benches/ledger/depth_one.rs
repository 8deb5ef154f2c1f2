//! Merges one by one: one new Signal of one occurrence per call, one call in flight, into storms that have so many already.

use std::collections::HashMap;

use super::contender::Kind;
use super::generator::{Resources, Telling};
use super::ours::Changes;
use super::pinned::Pinned;
use super::plan::Plan;
use super::report::{Report, Target, median};
use super::round::{Cell, Measured, PARTS};
use super::rounds::{kept, rotated};
use super::server::Server;

/// How many occurrences the storms have before.
const SIZES: [u32; 5] = [1, 15, 100, 1_000, 10_000];
/// The design's figures by size: ours against the empty script, after against ours, before against ours.
const FIGURES: [(u32, f64, f64, f64); 3] =
    [(15, 1.3, 5.0, 100.0), (1_000, 1.5, 100.0, 500.0), (10_000, 1.7, 1_000.0, 4_000.0)];
/// The same for repeats and ends, at each of these sizes.
const AGAIN: f64 = 4.0;
/// The growth exponent is taken from this size on.
const GROWTH_FROM: u32 = 10;
/// What it may be.
const GROWTH: f64 = 0.1;
/// Merges in one pipeline of the ledger.
const PIPELINE: usize = 64;

/// One value per round, by contender.
type Rounds = HashMap<Kind, Vec<Measured>>;

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    let _pinned = Pinned::together(server.pid());
    for resources in [Resources::Distinct, Resources::Repeated] {
        let mut curve = Vec::new();
        for size in SIZES.into_iter().chain((resources == Resources::Distinct).then_some(GROWTH_FROM)) {
            let cell = Cell { size, resources, changes: Changes::Pending, telling: Telling::First, together: 1 };
            let all: &[Kind] = if size == GROWTH_FROM { &[Kind::Ours, Kind::Empty] } else { &Kind::ALL };
            let rounds = measure_rounds(&server, cell, all, plan.merge_rounds).await?;
            let name = format!("merge into a storm of {size}, {}", resources.name());
            let kept = kept(&name, "empty script", &server_times(&rounds[&Kind::Empty]));
            report_cell(report, &name, cell, &rounds, &kept);
            if size >= GROWTH_FROM {
                curve.push((f64::from(size), median(&of(&rounds, Kind::Ours, &kept, |measured| measured.server))));
            }
        }
        let target = if resources == Resources::Distinct { Target::AtMost(GROWTH) } else { Target::None };
        let name = format!("growth of server time with the storm, {}", resources.name());
        report.figure(&name, "exponent_to_10000", &[slope(&curve)], "", target);
    }
    just_published(&server, plan, report).await?;
    again(&server, plan, report).await?;
    together(&server, plan, report).await
}

/// The same where merges of many storms are sent together, as the ledger does while more Signals come than it has calls in flight. What a
/// processor pays for having served somebody else before is paid once then, and not with each merge.
async fn together(server: &Server, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut curve = Vec::new();
    for size in SIZES.into_iter().chain([GROWTH_FROM]) {
        let cell = Cell { together: PIPELINE, ..one_by_one(size, Telling::First) };
        let all: &[Kind] = if size == GROWTH_FROM { &[Kind::Ours, Kind::Empty] } else { &Kind::ALL };
        let rounds = measure_rounds(server, cell, all, plan.merge_rounds).await?;
        let name = format!("{PIPELINE} merges together into storms of {size}, distinct resources");
        let kept = kept(&name, "empty script", &server_times(&rounds[&Kind::Empty]));
        report_cell(report, &name, cell, &rounds, &kept);
        if size >= GROWTH_FROM {
            curve.push((f64::from(size), median(&of(&rounds, Kind::Ours, &kept, |measured| measured.server))));
        }
    }
    let name = format!("growth of server time with the storm, {PIPELINE} merges together");
    report.figure(&name, "exponent_to_10000", &[slope(&curve)], "", Target::AtMost(GROWTH));
    Ok(())
}

/// Reports of alerts that the storm has: that they fire on, and that they are over.
async fn again(server: &Server, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for (size, ..) in FIGURES {
        for (telling, what) in [(Telling::Repeat, "repeats"), (Telling::End, "ends")] {
            let cell = one_by_one(size, telling);
            let rounds = measure_rounds(server, cell, &[Kind::Ours, Kind::Empty], plan.merge_rounds).await?;
            let name = format!("{what} of alerts of a storm of {size}");
            let kept = kept(&name, "empty script", &server_times(&rounds[&Kind::Empty]));
            report_cell(report, &name, cell, &rounds, &kept);
        }
    }
    Ok(())
}

fn one_by_one(size: u32, telling: Telling) -> Cell {
    Cell { size, resources: Resources::Distinct, changes: Changes::Pending, telling, together: 1 }
}

/// The same where each storm was published just before its only merge, so that the merge creates its list and its dirty mark anew.
async fn just_published(server: &Server, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for size in [15, 1_000] {
        let cell = Cell { changes: Changes::Flushed, ..one_by_one(size, Telling::First) };
        let rounds = measure_rounds(server, cell, &[Kind::Ours, Kind::Empty], plan.merge_rounds).await?;
        let name = format!("first merge after a publish into a storm of {size}, distinct resources");
        let kept = kept(&name, "empty script", &server_times(&rounds[&Kind::Empty]));
        report_cell(report, &name, cell, &rounds, &kept);
    }
    Ok(())
}

async fn measure_rounds(server: &Server, cell: Cell, kinds: &[Kind], count: usize) -> anyhow::Result<Rounds> {
    let mut rounds: Rounds = HashMap::new();
    for round in 0..count {
        for place in rotated(kinds.len(), round) {
            let measured = cell.measure(server, kinds[place]).await?;
            rounds.entry(kinds[place]).or_default().push(measured);
        }
    }
    Ok(rounds)
}

fn server_times(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(|measured| measured.server).collect()
}

fn of(rounds: &Rounds, kind: Kind, kept: &[usize], value: impl Fn(&Measured) -> f64) -> Vec<f64> {
    rounds.get(&kind).map(|all| kept.iter().map(|round| value(&all[*round])).collect()).unwrap_or_default()
}

fn report_cell(report: &mut Report, name: &str, cell: Cell, rounds: &Rounds, kept: &[usize]) {
    let times = |kind| of(rounds, kind, kept, |measured| measured.server);
    let ratios = |over: Kind, under: Kind| -> Vec<f64> {
        times(over).into_iter().zip(times(under)).map(|(over, under)| over / under).collect()
    };
    let figures = FIGURES.iter().find(|(size, ..)| {
        *size == cell.size && cell.resources == Resources::Distinct && cell.changes == Changes::Pending
    });
    let [empty, after, before] = figures.map_or([Target::None; 3], |(_, empty, after, before)| match cell.telling {
        Telling::First => [Target::AtMost(*empty), Target::AtLeast(*after), Target::AtLeast(*before)],
        Telling::Repeat | Telling::End => [Target::AtMost(AGAIN), Target::None, Target::None],
    });
    let mut figure = |figure, values: &[f64], unit, target| {
        // Not every contender is in every cell.
        if !values.is_empty() {
            report.figure(name, figure, values, unit, target);
        }
    };
    figure("ours_over_empty", &ratios(Kind::Ours, Kind::Empty), "ratio", empty);
    figure("ours_over_empty_of_1_key", &ratios(Kind::Ours, Kind::EmptyOneKey), "ratio", Target::None);
    figure("after_over_ours", &ratios(Kind::After, Kind::Ours), "ratio", after);
    figure("before_over_ours", &ratios(Kind::Before, Kind::Ours), "ratio", before);
    figure("before_over_after", &ratios(Kind::Before, Kind::After), "ratio", Target::None);
    for kind in Kind::ALL {
        figure(kind.figure(), &times(kind), "us", Target::None);
    }
    for (command, part) in PARTS {
        let times = of(rounds, Kind::Ours, kept, |measured| measured.parts.get(command).copied().unwrap_or_default());
        figure(part, &times, "us", Target::None);
    }
    // Of many merges together, a round trip is nobody's.
    for kind in Kind::ALL.into_iter().filter(|_| cell.together == 1) {
        let [half, most] = kind.round_trips();
        figure(half, &of(rounds, kind, kept, |measured| measured.p50), "us", Target::None);
        figure(most, &of(rounds, kind, kept, |measured| measured.p99), "us", Target::None);
    }
}

/// The slope of the line through the logarithms, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    covariance / logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>()
}
