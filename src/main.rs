//! Arguments → [`stormfold::app::run`] → exit code: 0 stopped on request, 1 failed, 2 bad usage.

use std::process::ExitCode;

use clap::Parser;
use stormfold::api::crds;
use stormfold::settings::{Cli, Command, RunSettings};
use stormfold::{app, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Bad usage ends inside `parse`, with exit code 2.
    let result = match Cli::parse().command() {
        Command::Crds => print_crds(),
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

#[expect(clippy::print_stderr, reason = "the last word of a failed process, whatever the log filter is")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}
