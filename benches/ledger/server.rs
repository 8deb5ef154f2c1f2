//! The private server, and what it says about itself.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd};

use super::redis_server::RedisServer;

/// The largest pipelines of the baselines take seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// After work, until the server has given back the buffers of its clients.
const REST: Duration = Duration::from_millis(700);

/// See the module.
pub struct Server {
    process: RedisServer,
    connection: MultiplexedConnection,
}

/// What one command was measured at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Command {
    pub calls: f64,
    pub microseconds: f64,
}

/// What INFO says of memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// `used_memory`, in bytes.
    pub used: f64,
    /// `used_memory` without the buffers of clients.
    pub data: f64,
    /// `used_memory_rss`, in bytes.
    pub resident: f64,
    /// `mem_fragmentation_ratio`.
    pub fragmentation: f64,
    /// `allocator_frag_ratio`.
    pub allocator_fragmentation: f64,
}

impl Server {
    /// Starts one with these further arguments.
    pub async fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let process = RedisServer::start(arguments);
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = Client::open(process.url())?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { process, connection })
    }

    pub fn url(&self) -> String {
        self.process.url()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Another handle of the one connection.
    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// One command, as typed.
    pub async fn command<T: redis::FromRedisValue>(&self, line: &str) -> anyhow::Result<T> {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().context("no command")?);
        words.for_each(|word| {
            command.arg(word);
        });
        self.ask(&command).await.with_context(|| line.to_owned())
    }

    /// One command.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> anyhow::Result<T> {
        Ok(command.query_async(&mut self.connection()).await?)
    }

    /// Deletes everything, and waits until it is gone.
    pub async fn empty(&self) -> anyhow::Result<()> {
        self.command("FLUSHALL SYNC").await
    }

    /// Sets all counters of commands to 0.
    pub async fn reset_statistics(&self) -> anyhow::Result<()> {
        self.command("CONFIG RESETSTAT").await
    }

    /// What each command was measured at since the last reset, by its name in lower case.
    pub async fn commands(&self) -> anyhow::Result<HashMap<String, Command>> {
        let info: String = self.command("INFO commandstats").await?;
        let mut commands = HashMap::new();
        for (name, fields) in info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':')) {
            let field = |name: &str| -> anyhow::Result<f64> {
                let value = fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                Ok(value.with_context(|| format!("no {name} in {fields}"))?.parse()?)
            };
            commands.insert(name.to_owned(), Command { calls: field("calls")?, microseconds: field("usec")? });
        }
        Ok(commands)
    }

    /// User and system time since its start, in microseconds.
    pub async fn cpu(&self) -> anyhow::Result<f64> {
        let info: String = self.command("INFO cpu").await?;
        Ok(1e6 * (field::<f64>(&info, "used_cpu_user")? + field::<f64>(&info, "used_cpu_sys")?))
    }

    /// What it says of its memory now.
    pub async fn memory(&self) -> anyhow::Result<Memory> {
        let info: String = self.command("INFO memory").await?;
        let used = field(&info, "used_memory")?;
        Ok(Memory {
            used,
            data: used - field::<f64>(&info, "mem_clients_normal")?,
            resident: field(&info, "used_memory_rss")?,
            fragmentation: field(&info, "mem_fragmentation_ratio")?,
            allocator_fragmentation: field(&info, "allocator_frag_ratio")?,
        })
    }

    /// The same when it has come to rest.
    pub async fn memory_at_rest(&self) -> anyhow::Result<Memory> {
        tokio::time::sleep(REST).await;
        self.memory().await
    }
}

fn field<T: FromStr>(info: &str, name: &str) -> anyhow::Result<T> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.with_context(|| format!("INFO has no {name}"))?;
    value.trim().parse().ok().with_context(|| format!("INFO says {name}:{value}"))
}
