//! The replay benchmark: a day of 1,000,000 reports as JSON lines of webhooks, through the whole operator on its virtual clock.
//!
//! Prints one line per figure (`bench-replay {…}`) and a table at the end. A missed figure is printed as missed and is not a failure; a
//! wrong count is one. `make bench-replay` runs it; it needs nothing but this machine. REPORTS=100000 plays fewer.

#![allow(unreachable_pub, reason = "the modules of one benchmark")]
#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod day;
#[path = "../support/report.rs"]
#[allow(dead_code, reason = "the other benchmarks need the rest")]
mod report;

use std::io::BufReader;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use jiff::SignedDuration;
use stormfold::replay::recording::Recording;
use stormfold::replay::{PlaySettings, Player, PolicyFiles};

use day::{ALERTS, Day};
use report::{Report, Target};

/// Seconds for 1,000,000 reports.
const SECONDS: f64 = 20.0;
/// Mebibytes.
const PEAK: f64 = 512.0;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("bench-replay failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "how much to play is told by the environment")]
    let reports = std::env::var("REPORTS").ok().and_then(|reports| reports.parse().ok()).unwrap_or(1_000_000);
    let day = Day::of(reports);
    let (webhooks, storms) = (day.webhooks(), day.storms());
    let began = Instant::now();
    let mut recording = Recording::default();
    recording.add("day", Box::new(BufReader::new(day)))?;
    let start = recording.start().context("the day is empty")?;
    let mut player = Player::new(&PlaySettings::default(), &PolicyFiles::default(), start);
    for item in recording {
        player.play(item?)?;
    }
    player.run_for(SignedDuration::from_mins(10))?;
    let seconds = began.elapsed().as_secs_f64();
    let peak = peak_mib()?;
    let sums = player.played();
    let requests = player.requests();
    ensure!(sums.bodies == webhooks && sums.reports == webhooks * ALERTS, "not all was played: {sums:?}");
    ensure!(requests.len() == storms, "{} requests, not {storms}", requests.len());
    let counts =
        requests.iter().filter_map(|object| object.status.as_ref()?.storm.as_ref()).map(|storm| storm.alert_count);
    ensure!(
        counts.clone().count() == storms && counts.clone().all(|count| usize::try_from(count) == Ok(ALERTS)),
        "a wrong count"
    );
    let cell = &format!("{} reports in {webhooks} webhooks over a day, {storms} storms", sums.reports);
    let mut report = Report::new("bench-replay");
    report.figure(cell, "seconds", &[seconds], "s", Target::AtMost(SECONDS));
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    report.figure(cell, "reports_per_second", &[sums.reports as f64 / seconds], "1/s", Target::None);
    report.figure(cell, "peak_memory", &[peak], "MiB", Target::AtMost(PEAK));
    #[allow(clippy::cast_precision_loss, reason = "a figure")]
    let left = player.replay().cluster().signals().count() as f64;
    report.figure(cell, "signals_left", &[left], "", Target::None);
    report.print_table();
    Ok(())
}

/// The most memory that this process had (VmHWM).
fn peak_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status cannot be read")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("there is no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
