//! The unit: `EVALSHA` of a script that does nothing, with the keys and arguments of a merge.

use anyhow::ensure;
use redis::Cmd;

use super::generator::{PATTERN, Resources, START, base36, mix};
use super::server::Server;

/// Whose keys and arguments it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The ledger's: 4 keys and 6 arguments.
    Ours,
    /// A script's that keeps one value: 1 key and 5 arguments.
    OneKey,
}

/// See the module.
pub struct Empty {
    shape: Shape,
    script: String,
}

impl Empty {
    pub async fn begin(server: &Server, shape: Shape) -> anyhow::Result<Self> {
        Ok(Self { shape, script: server.ask(redis::cmd("SCRIPT").arg("LOAD").arg("return 1")).await? })
    }

    /// The call in place of a merge. Texts are as long as those of the merge.
    pub fn merge(&self, storm: u32, occurrence: u32) -> Cmd {
        let (partition, sid) = (mix(storm.into()) % 256, base36(mix(storm.into()), 9));
        let name = |kind: char| format!("{{{partition:02x}}}{kind}{sid}");
        let pod = format!("Pod/{}", Resources::Distinct.pod(storm, occurrence));
        let second = START + i64::from(occurrence);
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.script);
        match self.shape {
            Shape::Ours => {
                command.arg(4).arg(name('h')).arg(name('u')).arg(name('n')).arg(format!("{{{partition:02x}}}q"));
                command.arg(START).arg(mix(occurrence.into()) >> 1).arg(pod).arg(second).arg(second * 1_000);
                command.arg(format!("{sid}{sid}"));
            }
            Shape::OneKey => {
                command.arg(1).arg(name('h')).arg(3_600_000).arg(PATTERN).arg(mix(occurrence.into()) >> 1);
                command.arg(second).arg(pod);
            }
        }
        command
    }

    pub fn check(replies: &[i64]) -> anyhow::Result<()> {
        ensure!(replies.iter().all(|reply| *reply == 1), "the empty script said {replies:?}");
        Ok(())
    }
}
