//! The HTTP side: connections, bounds, and the way of one request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response};
use axum::routing::any;
use axum::{Extension, Router};
use futures::StreamExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Problem, Results};
use super::arrivals::Arrivals;
use super::batch::{Webhook, batch};
use super::body::{BodyFault, read_body};
use super::connections::{ConnectionPlace, Connections};
use super::create::{Creator, told};
use super::rules::TargetRules;
use super::security::Security;
use super::{GatewaySettings, Limits};
use crate::metrics::{AlertResult, GatewayAnswer, GatewayMetrics};
use crate::runtime::clock::Clock;

/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For the header of a request, and between two requests of a connection.
const HEADER: Duration = Duration::from_secs(5);
/// Of a connection. Who asks on and reads no answer has no other end, and needs no token for it.
const LIFETIME: Duration = Duration::from_mins(5);
/// For what is left to write to a connection that ends, beyond the time of a request.
const FAREWELL: Duration = Duration::from_secs(5);
/// Of a header.
const HEADER_BYTES: usize = 64 * 1024;
/// Bodies of the largest size that may be in memory at once; so many more small ones.
const LARGE_BODIES: usize = 4;
/// Requests that wait for memory. One more is told to come back.
const WAITING: usize = 64;
/// Reading a larger body takes longer than others should wait for their turn on a thread.
const LONG_READ: usize = 64 * 1024;
/// How memory is counted.
const KIB: usize = 1024;

/// Takes webhooks.
pub struct Gateway {
    limits: Limits,
    rules: Arc<TargetRules>,
    security: Security,
    creator: Creator,
    clock: Clock,
    metrics: GatewayMetrics,
    /// KiB of bodies.
    memory: Arc<Semaphore>,
    /// Requests that wait for it.
    queue: Semaphore,
    arrivals: Arrivals,
}

impl Gateway {
    /// Reads the files that the settings name; the message says which cannot be used.
    pub fn open(
        settings: &GatewaySettings,
        creator: Creator,
        clock: Clock,
        metrics: GatewayMetrics,
    ) -> Result<Self, String> {
        let rules = match &settings.settings_file {
            None => TargetRules::default(),
            Some(file) => {
                let wrong = |fault: String| format!("--gateway-settings-file {}: {fault}", file.display());
                let yaml = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
                TargetRules::parse(&yaml).map_err(wrong)?
            }
        };
        let limits = settings.limits;
        Ok(Self {
            limits,
            rules: Arc::new(rules.reaching(creator.reach())),
            security: Security::open(&settings.security, &metrics)?,
            creator,
            clock,
            metrics,
            memory: Arc::new(Semaphore::new(LARGE_BODIES * limits.max_body.div_ceil(KIB))),
            queue: Semaphore::new(WAITING),
            arrivals: Arrivals::default(),
        })
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Problem> {
        let received = self.arrivals.at(self.clock.now());
        let (head, body) = request.into_parts();
        let announced = text(&head.headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        let mut parts = body.into_data_stream();
        if let Err(problem) = self.check(&head, announced) {
            self.let_go(&mut parts).await;
            return Err(problem);
        }
        // What comes before this is anybody's, and gives way to others.
        let place = head.extensions.get::<Arc<ConnectionPlace>>().cloned();
        let _held = place.as_deref().map(ConnectionPlace::hold);
        let _memory = self.room_for(announced.unwrap_or(self.limits.max_body)).await?;
        let bytes = self.read(&mut parts, announced.unwrap_or_default()).await?;
        let batch = self.batch(bytes, received).await?;
        self.store(&batch).await
    }

    /// What the header alone can tell.
    fn check(&self, head: &Parts, announced: Option<usize>) -> Result<(), Problem> {
        if !self.security.admits(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return Err(Problem::Unauthorized);
        }
        if head.method != Method::POST {
            return Err(Problem::Method);
        }
        is_json(&head.headers)?;
        if announced.is_some_and(|length| length > self.limits.max_body) { Err(self.too_large()) } else { Ok(()) }
    }

    /// Reads what nobody wants: a connection that is closed on it is reset, and the answer may be lost, which Alertmanager takes for
    /// an outage. What is longer than this is cut off all the same.
    async fn let_go(&self, parts: &mut BodyDataStream) {
        let mut left = LARGE_BODIES * self.limits.max_body;
        let read = async {
            while let Some(Ok(part)) = parts.next().await
                && let Some(rest) = left.checked_sub(part.len())
            {
                left = rest;
            }
        };
        // In half of the time: the other half is for the answer, which says more than that the time is over.
        let _ = timeout(self.limits.timeout / 2, read).await;
    }

    fn too_large(&self) -> Problem {
        Problem::TooLarge(format!(
            "the body is over {} bytes: let the receiver send fewer alerts (max_alerts), group by more labels, or raise --gateway-max-body",
            self.limits.max_body
        ))
    }

    /// Waits until a body of this size may be in memory.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
        let busy = || Problem::Unavailable("too many alerts at once: retry later".to_owned());
        if let Ok(permit) = self.memory.clone().try_acquire_many_owned(kib) {
            return Ok(permit);
        }
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        self.memory.clone().acquire_many_owned(kib).await.map_err(|_| busy())
    }

    async fn read(&self, parts: &mut BodyDataStream, announced: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(announced);
        while let Some(part) = parts.next().await {
            let part: Bytes = part.map_err(|_| Problem::Unavailable("the body broke off".to_owned()))?;
            if bytes.len() + part.len() > self.limits.max_body {
                self.let_go(parts).await;
                return Err(self.too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    async fn batch(&self, bytes: Vec<u8>, received: Timestamp) -> Result<Webhook, Problem> {
        let (limits, rules) = (self.limits, self.rules.clone());
        let long = bytes.len() > LONG_READ;
        let work = move || read_body(&bytes, limits.max_body).map(|body| batch(&body, &rules, limits.batch, received));
        let made = if long {
            let task = tokio::task::spawn_blocking(work).await;
            task.map_err(|_| Problem::Unavailable("the body could not be read".to_owned()))?
        } else {
            work()
        };
        made.map_err(|fault| match fault {
            BodyFault::NotAWebhook(_) => Problem::BadBody(fault.to_string()),
            BodyFault::TooManyAlerts(..) => Problem::TooLarge(fault.to_string()),
        })
    }

    async fn store(&self, batch: &Webhook) -> Result<Response<Body>, Problem> {
        let mut stored = Vec::with_capacity(batch.signals.len());
        let mut failed = Vec::new();
        for result in self.creator.store(&batch.signals).await {
            match result {
                Ok(signal) => stored.push(signal),
                Err(error) => failed.push(error),
            }
        }
        if let Some(first) = failed.first() {
            let (failed, all) = (failed.len(), batch.signals.len());
            let error = told(first);
            tracing::warn!(error, failed, all, "Signals could not be stored; Alertmanager will send them again");
            return Err(Problem::Unavailable(format!("{failed} of {all} Signals are not stored: {error}")));
        }
        let results = Results::of(&batch.alerts, &stored);
        self.metrics.alerts(AlertResult::Accepted, results.accepted);
        self.metrics.alerts(AlertResult::Duplicate, results.duplicate);
        self.metrics.alerts(AlertResult::Rejected, results.rejected);
        self.metrics.without_target.inc_by(batch.without_target);
        self.metrics.truncated_alerts.inc_by(batch.truncated);
        if let Some(why) = batch.rejected() {
            tracing::warn!(
                why,
                rejected = results.rejected,
                "alerts of a webhook can be in no Signal; the first of them says why"
            );
        }
        tracing::debug!(
            accepted = results.accepted,
            duplicate = results.duplicate,
            rejected = results.rejected,
            signals = stored.len(),
            "a webhook is stored"
        );
        Ok(results.response())
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::MediaType("the body is encoded: send it as it is".to_owned()));
    }
    let media_type = text(headers, CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::MediaType("the body is not application/json".to_owned()))
}

async fn webhook(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response<Body> {
    let begun = Instant::now();
    let answer = timeout(gateway.limits.timeout, gateway.answer(request)).await.unwrap_or_else(|_| {
        let seconds = gateway.limits.timeout.as_secs_f64();
        tracing::warn!(seconds, "a webhook is not stored in time; Alertmanager will send it again");
        Err(Problem::Unavailable(format!("not everything was stored within {seconds} s: retry")))
    });
    let answered = answer.as_ref().map_or_else(Problem::answer, |_| GatewayAnswer::Ok);
    gateway.metrics.answered(answered, begun.elapsed());
    answer.unwrap_or_else(|problem| problem.response())
}

/// What is behind the connections.
fn router(gateway: Arc<Gateway>) -> Router {
    let nothing = async |State(gateway): State<Arc<Gateway>>| {
        gateway.metrics.answered(GatewayAnswer::NotFound, Duration::ZERO);
        Problem::NotFound.response()
    };
    Router::new().route("/webhook/alertmanager", any(webhook)).fallback(nothing).with_state(gateway)
}

/// Serves until `stop`; what is being answered then is answered.
pub async fn serve((listener, gateway): (TcpListener, Gateway), stop: CancellationToken) {
    let gateway = Arc::new(gateway);
    let router = router(gateway.clone());
    let places = Connections::new(gateway.metrics.evicted_connections.clone());
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // Such as too many open files: it passes, and a loop would not help it.
                tracing::warn!(%error, "the gateway cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = stop.run_until_cancelled(places.enter(peer.ip())).await else { break };
        let place = Arc::new(place);
        let router = router.clone().layer(Extension(place.clone()));
        let (gateway, stop) = (gateway.clone(), stop.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, &gateway, router, stop) => {}
                // Whoever connects can make this happen as often as he likes.
                () = place.lost() => tracing::debug!(%peer, "a connection to the gateway gives way to another one"),
            }
        });
    }
    // Who comes now is for another replica.
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, gateway: &Gateway, router: Router, stop: CancellationToken) {
    // An answer is one write: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let end = gateway.limits.timeout + FAREWELL;
    let Some(tls) = gateway.security.tls() else {
        return speak(stream, router, stop, end).await;
    };
    match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, router, stop, end).await,
        // Whoever connects can make this happen as often as he likes.
        Ok(Err(error)) => tracing::debug!(%error, "a client of the gateway failed the TLS handshake"),
        Err(_) => tracing::debug!("a client of the gateway does not finish its TLS handshake"),
    }
}

/// Speaks HTTP until the client ends, or its time is over; then what is being answered has until `end`.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    stop: CancellationToken,
    end: Duration,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        _ = timeout(LIFETIME, stop.cancelled()) => {
            connection.as_mut().graceful_shutdown();
            timeout(end, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the gateway ended"),
        Err(_) => tracing::debug!("a client of the gateway does not read its answers, and is cut off"),
    }
}
