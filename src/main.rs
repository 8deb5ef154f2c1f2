//! Arguments → [`stormfold::app::run`] → exit code: 0 stopped on request, 1 failed, 2 bad usage.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use stormfold::api::crds;
use stormfold::settings::{Cli, Command, RunSettings, TargetFlags};
use stormfold::sources::alertmanager::rules_of;
use stormfold::{app, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Bad usage ends inside `parse`, with exit code 2.
    let result = match Cli::parse().command() {
        Command::Crds => print_crds(),
        Command::Targets(flags) => print_targets(&flags),
        Command::Run(settings) => match settings.validate() {
            Ok(()) => run(*settings),
            Err(message) => {
                eprintln_line(&format!("error: {message}"));
                return ExitCode::from(2);
            }
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(settings: RunSettings) -> anyhow::Result<()> {
    telemetry::start(settings.log_format);
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    app::run(settings, stop).await
}

#[expect(clippy::print_stdout, reason = "the output of `stormfold crds`")]
fn print_crds() -> anyhow::Result<()> {
    for crd in crds() {
        print!("---\n{}", serde_saphyr::to_string(&crd)?);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the output of `stormfold targets`")]
fn print_targets(flags: &TargetFlags) -> anyhow::Result<()> {
    let rules = rules_of(flags.settings_file()).map_err(anyhow::Error::msg)?;
    let Some(file) = &flags.file else {
        print!("{}", rules.in_force());
        return Ok(());
    };
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read the standard input")?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    print!("{}", rules.explain(&text).map_err(|fault| anyhow::anyhow!("{}: {fault}", file.display()))?);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the last word of a failed process, whatever the log filter is")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}
