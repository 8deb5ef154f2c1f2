//! What the kernel says about a process: CPU time and resident memory.

use anyhow::Context;

/// Clock ticks per second of /proc/PID/stat: 100 on every Linux that Rust and Kubernetes run on (USER_HZ is fixed for programs).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Process(u32);

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now (VmRSS).
    pub now: f64,
    /// The most since the start (VmHWM).
    pub peak: f64,
}

impl Process {
    pub fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// User and system time since its start, in seconds.
    pub fn cpu(self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).context("the process is gone")?;
        // The second field is the name in parentheses and may have spaces; utime and stime are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / TICKS_PER_SECOND)
    }

    /// Its resident memory.
    pub fn memory(self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).context("the process is gone")?;
        let mib = |field: &str| -> anyhow::Result<f64> {
            let line = status.lines().find(|line| line.starts_with(field)).context("a field of /proc/PID/status")?;
            Ok(line.split_whitespace().nth(1).context("no number")?.parse::<f64>()? / 1_024.0)
        };
        Ok(Memory { now: mib("VmRSS:")?, peak: mib("VmHWM:")? })
    }
}
