//! Reading alone: a body in memory becomes Signals in memory, on one thread, without a network.

use std::time::Instant;

use jiff::Timestamp;
use stormfold::sources::Limits;
use stormfold::sources::alertmanager::{TargetRules, read};

use super::alerts::{delivered, raised, webhook};
use super::report::{Report, Target, median};

const ALERTS: u32 = 10_000;
const NAMESPACES: u32 = 20;
const ROUNDS: usize = 15;

/// Measures, and reports.
pub fn measure(report: &mut Report) -> anyhow::Result<()> {
    let body = webhook(
        &(0..ALERTS).map(|n| delivered(raised(&format!("namespace-{}", n % NAMESPACES), n), n)).collect::<Vec<_>>(),
    );
    let (rules, now) = (TargetRules::default(), Timestamp::from_second(1_795_485_465)?);
    let limits = Limits { batch: 500, max_body: 4 << 20, timeout: std::time::Duration::from_secs(10) };
    let mut microseconds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let (signals, bytes, rejected) = read(&body, &rules, &limits, now)?;
        microseconds.push(1e6 * begin.elapsed().as_secs_f64() / f64::from(ALERTS));
        anyhow::ensure!(
            signals == 20 && rejected == 0 && bytes > 600_000,
            "WRONG COUNT: {signals} Signals, {rejected} rejected"
        );
    }
    let size = f64::from(u32::try_from(body.len())?) / 1024.0 / 1024.0;
    report.figure("reading 10,000 alerts", "body", &[size], "MiB", Target::None);
    report.figure("reading 10,000 alerts", "per_alert", &[median(&microseconds)], "us", Target::None);
    Ok(())
}
