//! The one way to the server: a connection that is rebuilt, never trusted to be the same, and bounded in time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Pipeline, ServerErrorKind, Value};

use tokio::time::Instant;

use super::scripts;
use crate::ledger::LedgerError;
use crate::metrics::{LedgerOperation, Metrics};

/// The longest that one pipeline may take. Longer than the client's own 500 ms: the largest pipeline and the close of the largest storm
/// must fit, or they would be tried again for ever.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the server is.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, host, port and database.
    pub url: String,
}

/// See the module.
pub(super) struct Connection {
    settings: RedisSettings,
    metrics: Metrics,
    live: tokio::sync::Mutex<Option<Live>>,
    begun: Mutex<Option<Arc<str>>>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    /// Which run of which server: another one may have another memory.
    server: Arc<str>,
}

impl Connection {
    pub(super) fn new(settings: RedisSettings, metrics: Metrics) -> Self {
        Self { settings, metrics, live: tokio::sync::Mutex::default(), begun: Mutex::default() }
    }

    /// From now on the server that answers is the one that is meant. True when it is another than before.
    pub(super) async fn begin(&self) -> Result<bool, LedgerError> {
        let live = self.live().await?;
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let another = begun.as_ref().is_some_and(|server| *server != live.server);
        *begun = Some(live.server);
        Ok(another)
    }

    /// Sends a pipeline to the server that was there at `begin`, and gives every reply. An error among them fails it as a whole.
    pub(super) async fn send(
        &self,
        operation: LedgerOperation,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, LedgerError> {
        let live = self.live().await?;
        if self.begun.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(&live.server) {
            return Err(LedgerError::Lost("Redis was restarted, or another server took its place".to_owned()));
        }
        let mut connection = live.connection;
        let started = Instant::now();
        let replies = connection.req_packed_commands(pipeline, 0, pipeline.len());
        let outcome = match tokio::time::timeout(CALL_TIMEOUT, replies).await {
            Ok(outcome) => outcome.and_then(|replies| replies.into_iter().map(Value::extract_error).collect()),
            Err(_) => Err((redis::ErrorKind::Io, "no answer in time").into()),
        };
        self.metrics.ledger.took(operation, started.elapsed());
        match outcome {
            Ok(replies) => Ok(replies),
            Err(error) => {
                self.rebuild_after(&error).await;
                Err(ledger_error(&error))
            }
        }
    }

    async fn rebuild_after(&self, _error: &redis::RedisError) {
        *self.live.lock().await = None;
    }

    async fn live(&self) -> Result<Live, LedgerError> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref() {
            return Ok(live.clone());
        }
        let new = self.connect().await.map_err(|error| ledger_error(&error))?;
        Ok(live.insert(new).clone())
    }

    async fn connect(&self) -> redis::RedisResult<Live> {
        let client = Client::open(self.settings.url.as_str())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CALL_TIMEOUT));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut hello = redis::pipe();
        hello.cmd("INFO").arg("server").arg("replication");
        for script in scripts::all() {
            hello.load_script(script).ignore();
        }
        let (info,): (String,) = hello.query_async(&mut connection).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        let server = format!("{} {}", field("run_id:"), field("master_replid:")).into();
        Ok(Live { connection, server })
    }
}

fn ledger_error(error: &redis::RedisError) -> LedgerError {
    match error.code() {
        Some("OOM") => LedgerError::Full(error.to_string()),
        _ if error.kind() == redis::ErrorKind::Server(ServerErrorKind::ExecAbort) => {
            LedgerError::Full(error.to_string())
        }
        _ => LedgerError::Unavailable(error.to_string()),
    }
}
