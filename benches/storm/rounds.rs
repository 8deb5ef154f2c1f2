//! One storm, measured in alternating rounds without and with the operator, so that a machine that gets slower does so for both.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::load::{self, Shape, Written};
use super::operator::Operator;
use super::process::Process;
use super::redis_server::RedisServer;
use super::report::{Report, Target, median};
use super::witness::Witness;
use super::world::World;

/// Pairs of rounds. Odd, so that the median is one that was measured.
const PAIRS: usize = 3;
/// Signals written before the first round and not measured: connections, caches, the API server's own warm-up.
const WARM_UP: u32 = 200;
/// Between rounds: long enough for the API server to finish what it does after the last answer.
const PAUSE: Duration = Duration::from_millis(1_500);

/// Bytes.
const MIB: f64 = 1_048_576.0;

/// A storm to measure.
pub struct Storm {
    pub name: &'static str,
    pub shape: Shape,
    pub signals: u32,
    pub occurrences: u32,
}

/// What one round with the operator gave.
struct Round {
    creates_per_second: f64,
    exact_after: f64,
    occurrences_per_second: f64,
    writes: f64,
    paced_writes_per_second: f64,
    revision: f64,
    operator_cpu: Cpu,
    api_server_cpu: Option<Cpu>,
    resident_exact: f64,
    resident_end: f64,
    resident_peak: f64,
    redis: Option<Redis>,
}

/// What the storm cost the ledger's server.
#[derive(Clone, Copy)]
struct Redis {
    /// CPU seconds from the first write until exact.
    cpu: f64,
    /// MiB of the open storm when all is published.
    holds: f64,
    /// MiB of all rounds so far, at their most.
    peak: f64,
}

/// CPU seconds from the first write.
#[derive(Clone, Copy)]
struct Cpu {
    until_exact: f64,
    until_receipts: f64,
}

impl Storm {
    /// Measures, and reports.
    pub async fn measure(&self, world: &World, report: &mut Report) -> anyhow::Result<()> {
        let namespace = world.namespace("warmup").await?;
        let warm_up = WARM_UP.min(self.signals);
        load::write(&world.client, &namespace, load::bodies("WarmUp", self.shape, warm_up, self.occurrences)).await?;
        let mut without = Vec::new();
        let mut with = Vec::new();
        for _ in 0..PAIRS {
            tokio::time::sleep(PAUSE).await;
            without.push(self.rate(&self.round_without(world).await?));
            tokio::time::sleep(PAUSE).await;
            with.push(self.round_with(world).await?);
        }
        self.report(&without, &with, report);
        Ok(())
    }

    fn total(&self) -> u32 {
        self.signals * self.occurrences
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        load::bodies("CheckoutLatencyHigh", self.shape, self.signals, self.occurrences)
    }

    fn rate(&self, written: &Written) -> f64 {
        f64::from(self.signals) / written.duration().as_secs_f64()
    }

    async fn round_without(&self, world: &World) -> anyhow::Result<Written> {
        let namespace = world.namespace("without").await?;
        load::write(&world.client, &namespace, self.bodies()).await
    }

    async fn round_with(&self, world: &World) -> anyhow::Result<Round> {
        let namespace = world.namespace("with").await?;
        let bodies = self.bodies();
        let operator = Operator::start(world, &namespace).await?;
        let mut witness = Witness::begin(&world.client, &namespace).await?;
        let redis_before = world.redis.as_ref().map(redis_state).transpose()?;
        let cpu_before = (operator.process().cpu()?, api_server_cpu(world)?);
        let watching = tokio::spawn({
            let total = self.total();
            async move { witness.exact(total).await }
        });
        let written = load::write(&world.client, &namespace, bodies).await?;
        let exact = watching.await??;
        let cpu_exact = (operator.process().cpu()?, api_server_cpu(world)?);
        let redis_exact = world.redis.as_ref().map(redis_state).transpose()?;
        let memory_exact = operator.process().memory()?;
        operator.receipts_are_out().await?;
        let cpu_end = (operator.process().cpu()?, api_server_cpu(world)?);
        let memory_end = operator.process().memory()?;
        self.still_exact(world, &operator, &namespace).await?;
        let until_exact = exact.at.saturating_duration_since(written.first_write).as_secs_f64();
        let cpu = |before: f64, exact: f64, end: f64| Cpu { until_exact: exact - before, until_receipts: end - before };
        // Each write of facts raises the revision; the operator's own counter may lag behind the watch that showed it.
        let revision = f64::from(i32::try_from(exact.storm.revision)?);
        let creates = operator.writes("Create").await?;
        Ok(Round {
            creates_per_second: self.rate(&written),
            exact_after: seconds_after(exact.at, written.last_acknowledgement),
            occurrences_per_second: f64::from(self.total()) / until_exact,
            writes: creates + revision,
            // The first facts follow the create at once; the interval rules from there on.
            paced_writes_per_second: (revision - 1.0) / until_exact,
            revision,
            operator_cpu: cpu(cpu_before.0, cpu_exact.0, cpu_end.0),
            api_server_cpu: match (cpu_before.1, cpu_exact.1, cpu_end.1) {
                (Some(before), Some(exact), Some(end)) => Some(cpu(before, exact, end)),
                _ => None,
            },
            resident_exact: memory_exact.now,
            resident_end: memory_end.now,
            resident_peak: memory_end.peak,
            redis: match (&world.redis, redis_before, redis_exact) {
                (Some(server), Some(before), Some(exact)) => Some(redis_cost(server, before, exact)?),
                _ => None,
            },
        })
    }

    /// At rest the count is what was written, in one storm, and in the operator's own books.
    async fn still_exact(&self, world: &World, operator: &Operator, namespace: &str) -> anyhow::Result<()> {
        let total = i64::from(self.total());
        let storms = world.storms(namespace).await?;
        let [storm] = storms.as_slice() else { bail!("WRONG COUNT: {} storms where one was written", storms.len()) };
        let counts = [storm.alert_count, storm.firing_count, storm.affected_count];
        ensure!(counts == [total; 3], "WRONG COUNT: {counts:?} at rest where {total} were written");
        let merged = operator.metric("stormfold_occurrences_total{result=\"Merged\"").await?;
        ensure!(
            (merged - f64::from(self.total())).abs() < 0.5,
            "WRONG COUNT: the operator merged {merged}, not {total}"
        );
        let receipts = operator.writes("Receipt").await?;
        ensure!(
            (receipts - f64::from(self.signals)).abs() < 0.5,
            "WRONG COUNT: {receipts} receipts for {} Signals",
            self.signals
        );
        Ok(())
    }

    fn report(&self, without: &[f64], with: &[Round], report: &mut Report) {
        report.figure(self.name, "creates_per_second_without", without, "1/s", Target::None);
        let mut figure = |name, of: &dyn Fn(&Round) -> f64, unit, target| {
            report.figure(self.name, name, &with.iter().map(of).collect::<Vec<f64>>(), unit, target);
        };
        let (bulk, small) = (matches!(self.shape, Shape::Table), self.occurrences == 1);
        let base = median(without);
        figure(
            "create_rate_ratio",
            &|r| r.creates_per_second / base,
            "ratio",
            if small { Target::AtLeast(0.85) } else { Target::None },
        );
        figure("creates_per_second_with", &|r| r.creates_per_second, "1/s", Target::None);
        figure("exact_after_last_write", &|r| r.exact_after, "s", Target::AtMost(1.5));
        let rate = if bulk { Target::AtLeast(60_000.0) } else { Target::None };
        figure("occurrences_per_second", &|r| r.occurrences_per_second, "1/s", rate);
        figure("writes_per_storm", &|r| r.writes, "writes", Target::None);
        figure("paced_writes_per_second", &|r| r.paced_writes_per_second, "1/s", Target::AtMost(1.0));
        figure("revision_at_exact", &|r| r.revision, "", Target::None);
        figure("operator_cpu_until_exact", &|r| r.operator_cpu.until_exact, "s", Target::None);
        figure("operator_cpu_until_receipts", &|r| r.operator_cpu.until_receipts, "s", Target::None);
        if with.iter().all(|round| round.api_server_cpu.is_some()) {
            let server = |r: &Round| r.api_server_cpu.unwrap_or(r.operator_cpu);
            figure("api_server_cpu_until_exact", &|r| server(r).until_exact, "s", Target::None);
            figure("api_server_cpu_until_receipts", &|r| server(r).until_receipts, "s", Target::None);
            let until_exact = |r: &Round| 100.0 * r.operator_cpu.until_exact / server(r).until_exact;
            let until_receipts = |r: &Round| 100.0 * r.operator_cpu.until_receipts / server(r).until_receipts;
            figure("operator_cpu_share_until_exact", &until_exact, "% of API server", Target::AtMost(10.0));
            figure("operator_cpu_share_until_receipts", &until_receipts, "% of API server", Target::None);
        }
        figure("resident_at_exact", &|r| r.resident_exact, "MiB", Target::None);
        figure("resident_after_receipts", &|r| r.resident_end, "MiB", Target::None);
        figure("resident_peak", &|r| r.resident_peak, "MiB", Target::None);
        let redis: Vec<Redis> = with.iter().filter_map(|round| round.redis).collect();
        if !redis.is_empty() {
            let mut figure = |name, of: fn(&Redis) -> f64, unit| {
                report.figure(self.name, name, &redis.iter().map(of).collect::<Vec<f64>>(), unit, Target::None);
            };
            figure("redis_cpu_until_exact", |redis| redis.cpu, "s");
            figure("redis_holds_after_receipts", |redis| redis.holds, "MiB");
            figure("redis_peak_of_all_rounds_so_far", |redis| redis.peak, "MiB");
        }
    }
}

fn api_server_cpu(world: &World) -> anyhow::Result<Option<f64>> {
    world.api_server.map(Process::cpu).transpose()
}

/// CPU seconds so far, and bytes of data.
fn redis_state(server: &RedisServer) -> anyhow::Result<(f64, f64)> {
    Ok((Process::new(server.pid()).cpu()?, bytes(server, "used_memory")? - bytes(server, "mem_clients_normal")?))
}

/// Nothing may have been refused or thrown away: a count that is right all the same was luck.
fn redis_cost(server: &RedisServer, before: (f64, f64), exact: (f64, f64)) -> anyhow::Result<Redis> {
    let lost = (server.info("evicted_keys"), server.info("maxmemory") >> 20, server.errors("OOM"));
    ensure!(lost == (0, 512, 0), "evicted keys, MiB at most, and refusals of Redis: {lost:?}");
    let holds = (redis_state(server)?.1 - before.1) / MIB;
    Ok(Redis { cpu: exact.0 - before.0, holds, peak: bytes(server, "used_memory_peak")? / MIB })
}

fn bytes(server: &RedisServer, field: &str) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(server.info(field))?))
}

/// Zero when `at` came first: a watch can be faster than the answer to the last create.
pub fn seconds_after(at: Instant, start: Instant) -> f64 {
    at.saturating_duration_since(start).as_secs_f64()
}
