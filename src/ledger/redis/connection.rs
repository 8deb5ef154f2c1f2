//! The one way to the server: a connection that is rebuilt, never trusted to be the same, and bounded in time.
//!
//! The client's own `ConnectionManager` is not used: it would hide a failover, it stays with a primary that became a replica, and it
//! never tries again after a password that was wrong once.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, Value};
use stormfold_core::engine::resync::ResyncReason;
use tokio::time::Instant;

use super::endpoint::RedisSettings;
use super::failure::{Failure, Remedy};
use super::reply::{CommandReply, read};
use super::scripts;
use super::server::{Config, Info};
use crate::ledger::{LedgerError, ResyncSender};
use crate::metrics::{LedgerOperation, Metrics};

/// The longest that one pipeline may take. Longer than the client's own 500 ms: the largest pipeline and the close of the largest storm
/// must fit, or they would be tried again for ever.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that a connection may take to be made, the first questions included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// For so long after a connection could not be made, the answer is the same without trying.
const REST: Duration = Duration::from_millis(200);

/// The connection to the server, rebuilt after each failure.
pub(super) struct Connection {
    settings: RedisSettings,
    /// Asked once when the server is another than at `begin`.
    resync: ResyncSender,
    metrics: Metrics,
    /// Held while a connection is made: whoever else needs one waits for that one, or for its error.
    link: tokio::sync::Mutex<ConnectionState>,
    begun: Mutex<BegunServer>,
}

#[derive(Default)]
struct ConnectionState {
    live: Option<Live>,
    failed: Option<(Instant, LedgerError)>,
    /// How many connections were made.
    made: u64,
    /// What the log said of the loss, so that it says it once.
    said: Option<Discriminant<LedgerError>>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    number: u64,
    /// Which run of which server: another one may have another memory.
    server: Arc<str>,
}

/// The server of the last `begin`.
#[derive(Default)]
struct BegunServer {
    server: Option<Arc<str>>,
    /// Whether somebody was told that it is gone.
    told: bool,
    /// Whether it took the place of another one since the ledger last began.
    another: bool,
}

impl Connection {
    pub(super) fn new(settings: RedisSettings, resync: ResyncSender, metrics: Metrics) -> Self {
        metrics.ledger.begin();
        Self { settings, resync, metrics, link: tokio::sync::Mutex::default(), begun: Mutex::default() }
    }

    /// From now on the server that answers is the one that is meant. True when it is another than before.
    pub(super) async fn begin(&self) -> Result<bool, LedgerError> {
        let server = self.live().await?.server;
        let mut begun = self.begun();
        let another = begun.another || begun.server.as_ref().is_some_and(|before| *before != server);
        *begun = BegunServer { server: Some(server), told: false, another };
        Ok(another)
    }

    /// The ledger has begun: that another server took the place of the one before was said. Not earlier: a begin that fails halfway
    /// and is tried again at the same server must still say so.
    pub(super) fn has_begun(&self) {
        self.begun().another = false;
    }

    /// Sends a pipeline to the server that was there at `begin`, and gives every reply. An error among them fails it as a whole.
    /// It may be sent twice: every pipeline of the ledger leaves the state that it would have left once.
    pub(super) async fn send(
        &self,
        operation: LedgerOperation,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, LedgerError> {
        self.send_each(operation, pipeline).await?.into_iter().collect()
    }

    /// The same, where what a full server refuses does not take back what it did before.
    pub(super) async fn send_each(
        &self,
        operation: LedgerOperation,
        pipeline: &Pipeline,
    ) -> Result<Vec<CommandReply>, LedgerError> {
        self.call(operation, pipeline, true).await
    }

    /// What the server says of itself now. One that must not be used is left, and every call is refused until it is mended.
    pub(super) async fn look(&self) -> Result<Info, LedgerError> {
        let mut question = redis::pipe();
        question.cmd("INFO");
        let replies = self.call(LedgerOperation::Check, &question, false).await?;
        let info = Info::parse(&read::<String>(&replies.into_iter().collect::<Result<Vec<_>, _>>()?, 0)?);
        let live = self.live().await?;
        if let Err(error) = self.judge(&info) {
            self.lose(&live, &error).await;
            return Err(error);
        }
        // A primary that was a replica for a moment keeps its connections, and has the data of another.
        if info.identity() != live.server {
            self.lose(&live, &lost()).await;
            return Ok(info);
        }
        Ok(info)
    }

    /// Whether the server may be used. What it has thrown away is told either way.
    fn judge(&self, info: &Info) -> Result<(), LedgerError> {
        self.metrics.ledger.server.evicted(info.number("evicted_keys"));
        info.verdict()
    }

    async fn call(
        &self,
        operation: LedgerOperation,
        pipeline: &Pipeline,
        as_begun: bool,
    ) -> Result<Vec<CommandReply>, LedgerError> {
        let mut live = self.live().await?;
        let first = live.server.clone();
        let mut repeated = false;
        loop {
            if as_begun {
                self.compare(&live.server)?;
            }
            let failure = match self.attempt(operation, pipeline, &live).await {
                Ok(replies) => return Ok(replies),
                Err(failure) => failure,
            };
            match failure.remedy {
                Remedy::Keep => return Err(failure.error),
                Remedy::Rebuild => {
                    self.lose(&live, &failure.error).await;
                    return Err(failure.error);
                }
                Remedy::RebuildAndRepeat => self.lose(&live, &failure.error).await,
                Remedy::LoadScripts => {
                    tracing::info!("Redis lost its script cache; the scripts are loaded again");
                    let loaded = self.attempt(LedgerOperation::Check, &load_scripts(), &live).await;
                    loaded.map_err(|failure| failure.error)?;
                }
            }
            if repeated {
                return Err(failure.error);
            }
            repeated = true;
            live = self.live().await?;
            // Even if somebody began with the other server meanwhile: this call was made of what the first one said.
            if as_begun && live.server != first {
                self.compare(&live.server)?;
                return Err(lost());
            }
        }
    }

    async fn attempt(
        &self,
        operation: LedgerOperation,
        pipeline: &Pipeline,
        live: &Live,
    ) -> Result<Vec<CommandReply>, Failure> {
        let mut connection = live.connection.clone();
        let started = Instant::now();
        let replies = connection.req_packed_commands(pipeline, 0, pipeline.len());
        let replies = tokio::time::timeout(CALL_TIMEOUT, replies).await;
        self.metrics.ledger.took(operation, started.elapsed());
        let understood = |error: RedisError| Failure::from(&error);
        let replies = replies.map_err(|_| Failure::timeout(CALL_TIMEOUT))?.map_err(understood)?;
        let understood = |reply: Value| match reply.extract_error().map_err(understood) {
            Ok(value) => Ok(Ok(value)),
            Err(Failure { error: full @ LedgerError::Full(_), .. }) => Ok(Err(full)),
            Err(failure) => Err(failure),
        };
        // The first error is the cause.
        replies.into_iter().map(understood).collect()
    }

    /// The server must be the one of `begin`. Whoever finds another first, tells it.
    fn compare(&self, server: &Arc<str>) -> Result<(), LedgerError> {
        let mut begun = self.begun();
        match &begun.server {
            Some(before) if before == server => Ok(()),
            Some(before) => {
                if !begun.told {
                    tracing::warn!(%before, now = %server, "Redis was restarted, or another server took its place");
                    begun.told = true;
                    // The receiver ends only with the process.
                    let _ = self.resync.send(ResyncReason::LedgerReplaced);
                }
                Err(lost())
            }
            None => Err(LedgerError::Lost("no Signals have been read yet".to_owned())),
        }
    }

    fn begun(&self) -> MutexGuard<'_, BegunServer> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn live(&self) -> Result<Live, LedgerError> {
        let mut link = self.link.lock().await;
        if let Some(live) = &link.live {
            return Ok(live.clone());
        }
        if let Some((at, error)) = &link.failed
            && at.elapsed() < REST
        {
            return Err(error.clone());
        }
        match self.connect(link.made + 1).await {
            Ok(live) => {
                if link.said.take().is_some() || link.made == 0 {
                    tracing::info!(redis = self.settings.address(), "connected to Redis");
                }
                *link = ConnectionState { live: Some(live.clone()), failed: None, made: live.number, said: None };
                self.metrics.ledger.server.connected(true);
                // At once and not with the next call, which may be long in coming. Its result is for whoever sends something.
                let _ = self.compare(&live.server);
                Ok(live)
            }
            Err(error) => {
                let error = self.about(error);
                self.say_lost(&mut link, &error);
                link.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The error, with the address that was tried: `/readyz` shows no more than its words.
    fn about(&self, error: LedgerError) -> LedgerError {
        let about = |words: String| format!("Redis at {}: {words}", self.settings.address());
        match error {
            LedgerError::Unavailable(words) => LedgerError::Unavailable(about(words)),
            LedgerError::Refused(words) => LedgerError::Refused(about(words)),
            other @ (LedgerError::Full(_) | LedgerError::NoRoom(_) | LedgerError::Lost(_)) => other,
        }
    }

    /// Lets a connection go. Only that one: somebody else may have made another meanwhile.
    async fn lose(&self, live: &Live, error: &LedgerError) {
        let mut link = self.link.lock().await;
        if link.live.as_ref().is_some_and(|current| current.number == live.number) {
            link.live = None;
            self.metrics.ledger.server.connected(false);
            self.say_lost(&mut link, error);
        }
    }

    /// Once for each kind of trouble, not for each call.
    fn say_lost(&self, link: &mut ConnectionState, error: &LedgerError) {
        let kind = std::mem::discriminant(error);
        if link.said.replace(kind) != Some(kind) {
            tracing::warn!(redis = self.settings.address(), %error, "cannot connect to Redis; retrying");
        }
    }

    async fn connect(&self, number: u64) -> Result<Live, LedgerError> {
        let client = self.settings.client()?;
        // The bounds are ours: the client's would each begin anew with the next step.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let made = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut questions = load_scripts();
            questions.cmd("INFO");
            questions.cmd("CONFIG").arg("GET").arg("save");
            let replies = connection.req_packed_commands(&questions, 0, questions.len()).await?;
            Ok((connection, replies))
        });
        let understood = |error: RedisError| Failure::from(&error).error;
        let (connection, mut replies) =
            made.await.map_err(|_| Failure::timeout(CONNECT_TIMEOUT).error)?.map_err(understood)?;
        // Forbidden to many a user, and only good to know.
        let config = replies.pop().and_then(|reply| reply.extract_error().ok());
        let config = config.and_then(|reply| redis::from_redis_value::<HashMap<String, String>>(reply).ok());
        let config = config.map(|values| Config::of(&values));
        let info = replies.pop().unwrap_or(Value::Nil).extract_error().map_err(understood)?;
        let info = Info::parse(&read::<String>(&[info], 0)?);
        // Before the scripts: why this server takes none.
        self.judge(&info)?;
        for reply in replies {
            reply.extract_error().map_err(understood)?;
        }
        info.tell(config.as_ref());
        tracing::debug!(version = info.version(), server = %info.identity(), "a connection to Redis");
        Ok(Live { connection, number, server: info.identity() })
    }
}

/// With each new connection, too: a restart and a failover lose them.
fn load_scripts() -> Pipeline {
    let mut pipeline = redis::pipe();
    for script in scripts::all() {
        pipeline.load_script(script);
    }
    pipeline
}

fn lost() -> LedgerError {
    LedgerError::Lost("Redis was restarted, or another server took its place".to_owned())
}
