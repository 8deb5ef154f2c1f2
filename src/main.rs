//! Arguments → [`stormfold::app::run`] → exit code: 0 stopped on request, 1 failed, 2 bad usage.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use stormfold::api::crds;
use stormfold::kubectl::{self, Screen};
use stormfold::runtime::clock::Clock;
use stormfold::settings::{Cli, Command, RunSettings, StormFlags, TargetFlags};
use stormfold::sources::alertmanager::rules_of;
use stormfold::{app, cli, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Bad usage ends inside `read`, with exit code 2.
    let result = match Cli::read(std::env::args_os()) {
        Command::Crds => print_crds(),
        Command::Targets(flags) => print_targets(&flags),
        Command::Storm(flags) => return storm(&flags),
        Command::Replay(flags) => return told(&cli::replay(&flags)),
        Command::Test(flags) => return told(&cli::test(&flags)),
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

/// `kubectl storm`.
#[tokio::main(flavor = "current_thread")]
async fn storm(flags: &StormFlags) -> ExitCode {
    // The one TLS provider of the process. A second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "the one clock of this process")]
    let clock = Clock::new(Timestamp::now);
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    let (done, notes) = kubectl::run(flags, &mut Screen::new(&mut out, flags, terminal, clock)).await;
    for note in notes {
        eprintln_line(&format!("note: {note}"));
    }
    done.map_or_else(
        |error| {
            // Whoever reads no further, such as `head`, wants no complaint.
            if error.exit_code() != 0 {
                eprintln_line(&format!("error: {error}"));
            }
            ExitCode::from(error.exit_code())
        },
        ExitCode::from,
    )
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

/// Prints what a command has to say: its result as it is, then its remarks.
#[expect(clippy::print_stderr, reason = "the output of a command")]
fn told(outcome: &cli::CommandResult) -> ExitCode {
    use std::io::Write as _;
    // Whoever reads it may stop reading, as `head` does.
    let written = std::io::stdout().lock().write_all(outcome.output.as_bytes());
    outcome.remarks.iter().for_each(|remark| eprintln!("{remark}"));
    let exit = if written.is_err() { cli::Exit::Failed } else { outcome.exit };
    ExitCode::from(exit.code())
}

#[expect(clippy::print_stderr, reason = "the last word of a failed process, whatever the log filter is")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}
