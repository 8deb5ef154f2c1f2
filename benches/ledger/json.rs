//! The original design: one JSON value per storm, merged by a script.

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use super::documents::{Form, time};
use super::generator::{Resources, Storm, base36, mix};
use super::ours::Filled;
use super::server::Server;

/// How long a storm lives after its last merge, in milliseconds.
const TIME_TO_LIVE: u32 = 3_600_000;
/// The most that one pipeline of values weighs, in bytes.
const PIPELINE: usize = 4 << 20;

/// See the module.
pub struct Json {
    pub form: Form,
    resources: Resources,
    script: String,
    first: String,
    connection: MultiplexedConnection,
}

impl Json {
    pub async fn begin(server: &Server, form: Form, resources: Resources) -> anyhow::Result<Self> {
        let source = match form {
            Form::Before => include_str!("baselines/before.lua"),
            Form::After => include_str!("baselines/after.lua"),
        };
        let script = server.ask(redis::cmd("SCRIPT").arg("LOAD").arg(source)).await?;
        let first = form.document(0, 1, resources);
        Ok(Self { form, resources, script, first, connection: server.connection() })
    }

    pub const fn name(&self) -> &'static str {
        match self.form {
            Form::Before => "before",
            Form::After => "after",
        }
    }

    pub fn key(storm: u32) -> String {
        format!("storm:aggregated:HighCPUUsage:prod-payments:{}", base36(mix(storm.into()), 11))
    }

    /// The command that merges one occurrence.
    pub fn merge(&self, storm: u32, occurrence: u32) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.script).arg(1).arg(Self::key(storm)).arg(TIME_TO_LIVE).arg(&self.first);
        command.arg(time(occurrence)).arg(self.form.resource(storm, occurrence, self.resources));
        command
    }

    /// Writes the values of these storms as the script would have left them.
    pub async fn fill(&self, storms: &[Storm]) -> anyhow::Result<Filled> {
        let (mut pipeline, mut weight) = (redis::pipe(), 0);
        for storm in storms {
            let document = self.form.document(storm.number, storm.occurrences, self.resources);
            weight += document.len();
            pipeline.cmd("SET").arg(Self::key(storm.number)).arg(document).arg("PX").arg(TIME_TO_LIVE);
            if weight > PIPELINE {
                if !self.send(&pipeline).await? {
                    return Ok(Filled::Full);
                }
                (pipeline, weight) = (redis::pipe(), 0);
            }
        }
        if pipeline.is_empty() || self.send(&pipeline).await? { Ok(Filled::All) } else { Ok(Filled::Full) }
    }

    /// False: the server is full.
    async fn send(&self, pipeline: &Pipeline) -> anyhow::Result<bool> {
        match pipeline.query_async::<Value>(&mut self.connection.clone()).await {
            Ok(_) => Ok(true),
            Err(error) => {
                let refused = |errors: &[(usize, redis::ServerError)]| errors.iter().all(|(_, e)| e.code() == "OOM");
                match error.clone().into_server_errors() {
                    Some(errors) if refused(&errors) => Ok(false),
                    _ => Err(error.into()),
                }
            }
        }
    }

    pub async fn drop_storms(&self, storms: &[Storm]) -> anyhow::Result<()> {
        for storms in storms.chunks(500) {
            let mut command = redis::cmd("DEL");
            for storm in storms {
                command.arg(Self::key(storm.number));
            }
            command.query_async::<Value>(&mut self.connection.clone()).await?;
        }
        Ok(())
    }

    /// Fails unless each of these storms counts what it should.
    pub async fn check(&self, storms: &[Storm]) -> anyhow::Result<()> {
        for storm in storms {
            let document: Option<String> =
                redis::cmd("GET").arg(Self::key(storm.number)).query_async(&mut self.connection.clone()).await?;
            let counts = document.as_deref().and_then(|document| self.form.counts(document));
            let counts = counts.with_context(|| format!("{}: storm {} cannot be read", self.name(), storm.number))?;
            let expected = (storm.occurrences.into(), self.resources.affected(storm.occurrences) as usize);
            ensure!(counts == expected, "WRONG COUNT: {} has {counts:?} instead of {expected:?}", self.name());
        }
        Ok(())
    }
}
