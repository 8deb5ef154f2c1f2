//! Many Signals at once: batches of one storm each, 64 of them per call and two calls in flight, on few storms and on very many in
//! random order. What counts is the server's whole CPU time, with parsing, queuing and I/O.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use redis::Pipeline;

use super::documents::Form;
use super::generator::{Resources, Storm, Telling, mix, shuffled, storms};
use super::json::Json;
use super::ours::{Batch, Changes, Ours};
use super::plan::Plan;
use super::report::{Report, Target};
use super::rounds::kept;
use super::server::Server;

/// Batches in one call.
const PER_CALL: usize = 64;
/// Occurrences of each storm before.
const SIZE: u32 = 15;
/// The storms of the hot cells: their keys stay in the processor's caches.
const HOT: u32 = 1_000;
/// Signals of one batch.
const BATCHES: [u32; 3] = [1, 8, 32];
/// What they are about: the first ones are what the other columns are compared with.
const RESOURCES: [Resources; 2] = [Resources::Distinct, Resources::Repeated];
/// Where the original's columns are in a round: behind ours.
const AFTER: usize = BATCHES.len() * RESOURCES.len();
/// See above.
const BEFORE: usize = AFTER + 1;
/// Calls that are made ready at a time; making them is not measured.
const READY: usize = 32;

/// What a round gave.
#[derive(Clone, Copy)]
struct Cost {
    /// Server CPU, microseconds per Signal.
    cpu: f64,
    /// Signals per second, client included.
    rate: f64,
}

/// What is merged: so many Signals, in batches of so many, into storms in random order or one after the other.
#[derive(Clone, Copy)]
struct Load {
    storms: u32,
    signals: u32,
    batch: u32,
    resources: Resources,
}

/// Measures, and reports.
pub async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(&[]).await?;
    for (name, count) in [("hot", HOT), ("cold", plan.cold_storms)] {
        let name = format!("{name}: {count} storms");
        let (mut units, mut rounds) = (Vec::new(), Vec::new());
        for _ in 0..plan.batch_rounds {
            units.push(hincrby(&server, count, plan.batch_signals).await?);
            rounds.push(measure_round(&server, plan, count).await?);
        }
        let kept = kept(&name, "HINCRBY", &units.iter().map(|unit| unit.cpu).collect::<Vec<f64>>());
        let kept: Vec<(&Cost, &[Cost])> =
            kept.iter().map(|round| (&units[*round], rounds[*round].as_slice())).collect();
        report_cells(report, &name, &kept);
    }
    Ok(())
}

async fn measure_round(server: &Server, plan: &Plan, count: u32) -> anyhow::Result<Vec<Cost>> {
    let load = |resources, batch| Load { storms: count, signals: plan.batch_signals, batch, resources };
    let mut round = Vec::new();
    for resources in RESOURCES {
        for batch in BATCHES {
            round.push(ours(server, load(resources, batch)).await?);
        }
    }
    let after = Load { signals: plan.batch_signals / 10, ..load(Resources::Distinct, 1) };
    round.push(baseline(server, Form::After, after).await?);
    let (storms, signals) = (count.min(plan.cold_storms_before), plan.batch_signals / 80);
    let before = Load { storms, signals, ..load(Resources::Distinct, 1) };
    round.push(baseline(server, Form::Before, before).await?);
    Ok(round)
}

fn report_cells(report: &mut Report, name: &str, rounds: &[(&Cost, &[Cost])]) {
    let of = |value: &dyn Fn(&Cost, &[Cost]) -> f64| -> Vec<f64> {
        rounds.iter().map(|(unit, round)| value(unit, round)).collect()
    };
    let cell = format!("{name}, raw HINCRBY, 64 in a pipeline");
    report.figure(&cell, "server_cpu", &of(&|unit, _| unit.cpu), "us/command", Target::None);
    report.figure(&cell, "rate", &of(&|unit, _| unit.rate), "1/s", Target::None);
    let cells = RESOURCES.into_iter().flat_map(|resources| BATCHES.map(|batch| (resources.name(), batch)));
    for (place, (resources, batch)) in cells.enumerate() {
        let cell = format!("{name}, ours, batches of {batch}, {resources}");
        report.figure(&cell, "server_cpu", &of(&|_, round| round[place].cpu), "us/Signal", Target::None);
        report.figure(&cell, "over_hincrby", &of(&|unit, round| round[place].cpu / unit.cpu), "ratio", Target::None);
        report.figure(&cell, "rate", &of(&|_, round| round[place].rate), "Signals/s", Target::None);
    }
    for (place, form) in [(AFTER, "after"), (BEFORE, "before")] {
        let cell = format!("{name}, {form}, one by one, 64 in a pipeline");
        report.figure(&cell, "server_cpu", &of(&|_, round| round[place].cpu), "us/Signal", Target::None);
        report.figure(&cell, "over_ours_at_1", &of(&|_, round| round[place].cpu / round[0].cpu), "ratio", Target::None);
        report.figure(
            &cell,
            "over_ours_at_32",
            &of(&|_, round| round[place].cpu / round[2].cpu),
            "ratio",
            Target::None,
        );
        report.figure(&cell, "rate", &of(&|_, round| round[place].rate), "Signals/s", Target::None);
    }
}

impl Load {
    /// The storms of one batch after the other.
    fn order(self) -> Vec<u32> {
        let numbers = if self.storms > HOT { shuffled(self.storms) } else { (0..self.storms).collect() };
        numbers.into_iter().cycle().take((self.signals / self.batch) as usize).collect()
    }

    /// Per Signal, of this server CPU and time for so many batches.
    fn cost(self, batches: usize, cpu: f64, took: Duration) -> anyhow::Result<Cost> {
        let signals = f64::from(u32::try_from(batches)? * self.batch);
        Ok(Cost { cpu: cpu / signals, rate: signals / took.as_secs_f64() })
    }
}

async fn ours(server: &Server, load: Load) -> anyhow::Result<Cost> {
    server.empty().await?;
    let ours = Ours::begin(server, load.resources).await?;
    let mut storms = storms(load.storms, SIZE);
    ours.fill(&storms, Changes::Pending).await?;
    let order = load.order();
    let (before, mut took) = (server.cpu().await?, Duration::ZERO);
    for numbers in order.chunks(PER_CALL * READY) {
        let calls: Vec<Vec<Batch>> = numbers
            .chunks(PER_CALL)
            .map(|numbers| numbers.iter().map(|number| next(&ours, &mut storms, *number, load.batch)).collect())
            .collect();
        let start = Instant::now();
        let (left, right) = calls.split_at(calls.len() / 2);
        let merge = async |calls: &[Vec<Batch>]| {
            for call in calls {
                ours.merge(call, Telling::First).await?;
            }
            anyhow::Ok(())
        };
        futures::future::try_join(merge(left), merge(right)).await?;
        took += start.elapsed();
    }
    let cpu = server.cpu().await? - before;
    let dirty: HashSet<u32> = storms.iter().map(|storm| storm.number).collect();
    ours.check(&storms, &dirty).await?;
    load.cost(order.len(), cpu, took)
}

fn next(ours: &Ours, storms: &mut [Storm], number: u32, batch: u32) -> Batch {
    let storm = &mut storms[number as usize];
    storm.occurrences += batch;
    ours.signals(number, storm.occurrences - batch..storm.occurrences)
}

async fn baseline(server: &Server, form: Form, load: Load) -> anyhow::Result<Cost> {
    server.empty().await?;
    let json = Json::begin(server, form, load.resources).await?;
    let mut storms = storms(load.storms, SIZE);
    json.fill(&storms).await?;
    let order = load.order();
    let command = |number: &u32| {
        let storm = &mut storms[*number as usize];
        storm.occurrences += 1;
        json.merge(*number, storm.occurrences - 1)
    };
    let commands: Vec<redis::Cmd> = order.iter().map(command).collect();
    let (cpu, took) = pipelined(server, &commands).await?;
    json.check(&storms).await?;
    load.cost(order.len(), cpu, took)
}

async fn hincrby(server: &Server, count: u32, signals: u32) -> anyhow::Result<Cost> {
    server.empty().await?;
    let load = Load { storms: count, signals, batch: 1, resources: Resources::Distinct };
    let name = |number: u32| format!("{{{:02x}}}counter{number}", mix(number.into()) % 256);
    let order = load.order();
    let command = |number: &u32| redis::cmd("HINCRBY").arg(name(*number)).arg("n").arg(1).to_owned();
    let commands: Vec<redis::Cmd> = order.iter().map(command).collect();
    let (cpu, took) = pipelined(server, &commands).await?;
    let first: u32 = server.ask(redis::cmd("HGET").arg(name(0)).arg("n")).await?;
    let expected = order.iter().filter(|number| **number == 0).count();
    ensure!(first as usize == expected, "WRONG COUNT: HINCRBY counted {first} instead of {expected}");
    load.cost(order.len(), cpu, took)
}

/// Sends commands, 64 in a pipeline and two pipelines in flight; the server's CPU and the time.
async fn pipelined(server: &Server, commands: &[redis::Cmd]) -> anyhow::Result<(f64, Duration)> {
    let pipeline = |commands: &[redis::Cmd]| {
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        pipeline
    };
    let pipelines: Vec<Pipeline> = commands.chunks(PER_CALL).map(pipeline).collect();
    let send = async |pipelines: &[Pipeline]| {
        for pipeline in pipelines {
            pipeline.query_async::<redis::Value>(&mut server.connection()).await?;
        }
        anyhow::Ok(())
    };
    let (before, start) = (server.cpu().await?, Instant::now());
    let (left, right) = pipelines.split_at(pipelines.len() / 2);
    futures::future::try_join(send(left), send(right)).await?;
    let took = start.elapsed();
    Ok((server.cpu().await? - before, took))
}
