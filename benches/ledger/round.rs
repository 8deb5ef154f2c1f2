//! One round of one contender: fresh storms, merges one by one, the server's own counters, and the check of every count.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::contender::{Call, Contender, Kind};
use super::generator::{Resources, Storm, Telling, storms};
use super::ours::Changes;
use super::report::median;
use super::server::{Command, Server};

/// The longest that one round merges.
const LIMIT: Duration = Duration::from_secs(6);
/// A round is read in so many windows at least, and the middle one counts: when the machine gives the core to somebody else in the
/// middle of a command, the server's clock goes on, and one such pause is more than a hundred merges.
const WINDOWS: usize = 8;
/// The commands of a merge of ours, and the figures of what they take each.
pub const PARTS: [(&str, &str); 4] =
    [("zrank", "ours_zrank"), ("append", "ours_append"), ("rpush", "ours_rpush"), ("zadd", "ours_zadd_both")];

/// What is merged into what.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub size: u32,
    pub resources: Resources,
    pub changes: Changes,
    pub telling: Telling,
    /// Merges that are sent together: 1, or as many as the ledger puts into one pipeline.
    pub together: usize,
}

/// What a round gave; microseconds per merge.
#[derive(Clone, Debug)]
pub struct Measured {
    pub server: f64,
    pub p50: f64,
    pub p99: f64,
    /// By command, for ours.
    pub parts: HashMap<String, f64>,
}

/// The server's time per merge in one window, and by command.
type Window = (f64, HashMap<String, f64>);

impl Cell {
    pub async fn measure(self, server: &Server, kind: Kind) -> anyhow::Result<Measured> {
        server.empty().await?;
        let contender = Contender::begin(server, kind, self.resources).await?;
        // Those that are sent together are of different storms.
        let mut storms = storms(kind.storms(self.size).max(u32::try_from(self.together)?), self.size);
        contender.fill(&storms, self.changes).await?;
        // A storm grows by a twentieth at most; one that was just published has one first merge only.
        let each = if self.changes == Changes::Flushed { 1 } else { (self.size / 20).clamp(1, 100) };
        let merges: Vec<(u32, u32)> = (0..each)
            .flat_map(|more| storms.iter().map(move |storm| (storm.number, self.size + more)))
            .take(kind.calls(self.size).max(self.together))
            .collect();
        let calls: Vec<(&[(u32, u32)], Call)> = merges
            .chunks(self.together)
            .map(|merges| (merges, contender.call(merges, self.telling, self.size)))
            .collect();
        let mut dirty = HashSet::new();
        if self.changes == Changes::Pending {
            dirty.extend(storms.iter().map(|storm| storm.number));
        }
        let (mut windows, mut round_trips) = (Vec::new(), Vec::with_capacity(calls.len()));
        let mut connection = server.connection();
        let start = Instant::now();
        let window_calls = if self.together == 1 { (calls.len() / WINDOWS).clamp(5, 100) } else { 1 };
        for calls in calls.chunks(window_calls) {
            server.reset_statistics().await?;
            for (merges, call) in calls {
                let sent = Instant::now();
                contender.send(call, &mut connection).await?;
                round_trips.push(sent.elapsed());
                for (storm, _) in *merges {
                    grow(&mut storms, *storm, self.telling)?;
                    dirty.insert(*storm);
                }
            }
            let merges = calls.iter().map(|(merges, _)| merges.len()).sum();
            windows.push(window(&server.commands().await?, kind, merges)?);
            if start.elapsed() > LIMIT {
                break;
            }
        }
        contender.check(&storms, &dirty).await.with_context(|| format!("{kind:?} at {self:?}"))?;
        round_trips.sort();
        let percentile = |percent: usize| {
            1e6 * round_trips[(round_trips.len() * percent).div_ceil(100).saturating_sub(1)].as_secs_f64()
        };
        let middle = |of: &dyn Fn(&Window) -> f64| median(&windows.iter().map(of).collect::<Vec<f64>>());
        let part = |name: &str| (name.to_owned(), middle(&|(_, parts)| parts.get(name).copied().unwrap_or_default()));
        Ok(Measured {
            server: middle(&|(total, _)| *total),
            p50: percentile(50),
            p99: percentile(99),
            parts: PARTS.iter().map(|(command, _)| part(command)).collect(),
        })
    }
}

fn grow(storms: &mut [Storm], number: u32, telling: Telling) -> anyhow::Result<()> {
    storms.get_mut(number as usize).context("a storm of this round")?.tell(telling);
    Ok(())
}

/// What a merge of ours sends. There is no MULTI, so nothing is counted twice.
const COMMANDS: [&str; 4] = ["append", "rpush", "zadd", "zrank"];

/// The server's time per merge: of its commands for ours, of EVALSHA for a script. Nothing else may have run.
fn window(commands: &HashMap<String, Command>, kind: Kind, merges: usize) -> anyhow::Result<Window> {
    let (main, expected, within): (&str, &[&str], &[&str]) = match kind {
        Kind::Ours => ("zrank", &COMMANDS, &[]),
        _ => ("evalsha", &["evalsha"], &["get", "set"]),
    };
    let others = ["config|resetstat", "info"];
    let strange = commands.keys().find(|name| ![expected, within, &others].concat().contains(&name.as_str()));
    ensure!(strange.is_none(), "{kind:?} sent {strange:?} as well: its server time would be wrong");
    let calls = f64::from(u32::try_from(merges)?);
    let main = commands.get(main).map_or(0.0, |command| command.calls);
    ensure!((main - calls).abs() < 0.5, "WRONG COUNT: {main} calls instead of {merges}");
    let part = |name: &&str| Some(((*name).to_owned(), commands.get(*name)?.microseconds / calls));
    let parts: HashMap<String, f64> = expected.iter().filter_map(part).collect();
    Ok((parts.values().sum(), if kind == Kind::Ours { parts } else { HashMap::new() }))
}
