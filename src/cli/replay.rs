//! `stormfold replay`: recordings and policies in, requests out.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde_json::json;

use super::files::{policies, recording};
use super::{CommandResult, Exit};
use crate::api::RemediationRequest;
use crate::replay::diff::{Side, changes};
use crate::replay::output::{request_table, timeline_table};
use crate::replay::{PlayFault, PlaySettings, Player, PolicyFiles};
use crate::settings::{ReplayFlags, ReplayOutput};
use crate::sources::alertmanager::rules_of;

/// Reports between two lines of progress.
const PROGRESS: usize = 50_000;

/// Why there is no result.
enum Fault {
    /// What was given cannot be used.
    Input(String),
    /// This program is at fault.
    Own(String),
}

/// Plays recordings, and says what became of them.
pub fn replay(flags: &ReplayFlags) -> CommandResult {
    if let [old, new] = flags.diff.as_slice() {
        return diff(flags, old, new);
    }
    let played = play(flags, &flags.policies).and_then(|player| {
        let remarks = remarks(&player);
        render(flags, &player).map(|output| CommandResult { output, remarks, exit: Exit::Fine })
    });
    played.unwrap_or_else(Fault::outcome)
}

impl Fault {
    fn outcome(self) -> CommandResult {
        match self {
            Self::Input(error) => CommandResult::bad_input(&error),
            Self::Own(error) => CommandResult::failed(&error),
        }
    }
}

/// Plays them twice, and says what the edit of the policies changes.
fn diff(flags: &ReplayFlags, old: &PathBuf, new: &PathBuf) -> CommandResult {
    if flags.recordings.iter().any(|path| path.as_os_str() == "-") {
        return CommandResult::bad_input(
            &"--diff reads the recording twice: give it as a file, not as the standard input",
        );
    }
    let side = |path: &PathBuf| play(flags, std::slice::from_ref(path)).map(|player| Side::of(&player));
    let changes = side(old).and_then(|old| Ok(changes(&old, &side(new)?)));
    let changes = match changes {
        Ok(changes) => changes,
        Err(fault) => return fault.outcome(),
    };
    let output = match flags.output {
        ReplayOutput::Table => Ok(changes.as_text()),
        ReplayOutput::Json => Ok(format!("{:#}\n", json!(changes))),
        ReplayOutput::Yaml => serde_saphyr::to_string(&changes),
    };
    let exit = if changes.is_empty() { Exit::Fine } else { Exit::Failed };
    match output {
        Ok(output) => CommandResult { output, remarks: Vec::new(), exit },
        Err(fault) => CommandResult::failed(&fault),
    }
}

fn play(flags: &ReplayFlags, files: &[PathBuf]) -> Result<Player, Fault> {
    let files: PolicyFiles = policies(files).map_err(Fault::Input)?;
    let settings = PlaySettings {
        built_in: flags.built_in(),
        home: flags.namespace.clone(),
        reach: flags.reach(),
        rules: rules_of(flags.rules.settings_file()).map_err(Fault::Input)?,
        timeline: flags.timeline,
        storms_of_reports: !flags.diff.is_empty(),
        keep_signals: false,
    };
    let recording = recording(&flags.recordings).map_err(Fault::Input)?;
    let start =
        recording.start().ok_or_else(|| Fault::Input("the recording is empty: nothing was reported".to_owned()))?;
    let mut player = Player::new(&settings, &files, start);
    let mut told = 0;
    let told_to = std::io::stderr().is_terminal();
    let fault = |fault: PlayFault| match fault {
        PlayFault::Input(fault) => Fault::Input(fault.to_string()),
        PlayFault::NeverRests(fault) => Fault::Own(fault.to_string()),
    };
    for item in recording {
        let item = item.map_err(|fault| Fault::Input(fault.to_string()))?;
        let at = item.at;
        player.play(item).map_err(fault)?;
        if told_to && player.played().reports >= told + PROGRESS {
            told = player.played().reports;
            progress(&format!("{told} reports, until {at:.0}"));
        }
    }
    player.run_for(flags.run_on).map_err(|fault| Fault::Own(fault.to_string()))?;
    Ok(player)
}

#[expect(clippy::print_stderr, reason = "for whoever waits at a terminal")]
fn progress(line: &str) {
    eprintln!("{line}");
}

fn remarks(player: &Player) -> Vec<String> {
    let sums = player.played();
    let mut remarks: Vec<String> = player.warnings().iter().map(|warning| format!("warning: {warning}")).collect();
    let requests = player.requests().len();
    remarks.push(format!(
        "{} reports in {} webhooks became {} Signals and {requests} RemediationRequests; {} repeats, {} rejected",
        sums.reports, sums.bodies, sums.signals, sums.repeats, sums.rejected
    ));
    remarks
}

fn render(flags: &ReplayFlags, player: &Player) -> Result<String, Fault> {
    let requests = player.requests();
    let list = || json!({ "apiVersion": "v1", "kind": "List", "items": requests, "metadata": {} });
    let with_timeline = || {
        let mut list = list();
        if flags.timeline {
            list["timeline"] = json!(player.timeline());
        }
        list
    };
    Ok(match flags.output {
        ReplayOutput::Table => tables(flags, player, &requests),
        ReplayOutput::Json => format!("{:#}\n", with_timeline()),
        ReplayOutput::Yaml => {
            serde_saphyr::to_string(&with_timeline()).map_err(|fault| Fault::Own(fault.to_string()))?
        }
    })
}

fn tables(flags: &ReplayFlags, player: &Player, requests: &[&RemediationRequest]) -> String {
    let requests = request_table(requests);
    let table = if requests.is_empty() { "no RemediationRequests\n".to_owned() } else { requests.render() };
    if flags.timeline { format!("{}\n{table}", timeline_table(player.timeline()).render()) } else { table }
}
