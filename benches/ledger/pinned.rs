//! Two processes on one core: a round trip across cores costs more in wake-ups than the whole merge, and varies.

use std::process::{Command, Stdio};

/// While it lives, this process and the server share one core, if `taskset` is there.
pub struct Pinned {
    before: Vec<(u32, String)>,
}

impl Pinned {
    /// Pins both to the last core that this process may use; says so when it cannot.
    pub fn together(server: u32) -> Self {
        let mut pinned = Self { before: Vec::new() };
        for process in [std::process::id(), server] {
            let Some(cores) = cores_of(process) else { break };
            let last = cores.rsplit([',', '-']).next().unwrap_or_default().to_owned();
            if set_cores(process, &last) {
                pinned.before.push((process, cores));
            }
        }
        if pinned.before.len() < 2 {
            println!(
                "taskset is missing or refuses: client and server are NOT on one core, round trips are long and vary"
            );
        }
        pinned
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for (process, cores) in &self.before {
            set_cores(*process, cores);
        }
    }
}

/// Such as `0-1`.
fn cores_of(process: u32) -> Option<String> {
    let output = Command::new("taskset").args(["-cp", &process.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.rsplit(": ").next()?.trim().to_owned()).filter(|cores| output.status.success() && !cores.is_empty())
}

fn set_cores(process: u32, cores: &str) -> bool {
    let mut command = Command::new("taskset");
    command.args(["-acp", cores, &process.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
