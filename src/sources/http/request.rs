//! The way of one request: who asks, how much, and then the source of its path.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response};
use futures::StreamExt as _;
use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::WebhookSource;
use super::answer::Problem;
use super::arrivals::Arrivals;
use super::connections::ConnectionPlace;
use super::security::Security;
use crate::metrics::{GatewayAnswer, GatewayMetrics, SourceLabel};
use crate::runtime::clock::Clock;
use crate::sources::{GatewaySettings, Limits};

/// Bodies of the largest size that may be in memory at once; so many more small ones.
const LARGE_BODIES: usize = 4;
/// Requests that wait for memory. One more is told to come back.
const WAITING: usize = 64;
/// How memory is counted.
const KIB: usize = 1024;

/// Takes webhooks.
pub struct Gateway {
    limits: Limits,
    sources: Vec<Arc<dyn WebhookSource>>,
    security: Security,
    clock: Clock,
    metrics: GatewayMetrics,
    /// KiB of bodies.
    memory: Arc<Semaphore>,
    /// Requests that wait for it.
    queue: Semaphore,
    arrivals: Arrivals,
}

impl Gateway {
    /// For these sources. Reads the files that the settings name; the message says which cannot be used.
    pub fn open(
        settings: &GatewaySettings,
        sources: Vec<Arc<dyn WebhookSource>>,
        clock: Clock,
        metrics: GatewayMetrics,
    ) -> Result<Self, String> {
        let limits = settings.limits;
        Ok(Self {
            limits,
            sources,
            security: Security::open(&settings.security, &metrics)?,
            clock,
            metrics,
            memory: Arc::new(Semaphore::new(LARGE_BODIES * limits.max_body.div_ceil(KIB))),
            queue: Semaphore::new(WAITING),
            arrivals: Arrivals::default(),
        })
    }

    pub(super) fn sources(&self) -> &[Arc<dyn WebhookSource>] {
        &self.sources
    }

    /// For a request.
    pub(super) fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// How to speak TLS with the next connection, if at all.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.security.tls()
    }

    pub(super) fn evicted_connections(&self) -> Counter {
        self.metrics.evicted_connections.clone()
    }

    async fn answer(&self, source: &dyn WebhookSource, request: Request<Body>) -> Result<Response<Body>, Problem> {
        let received = self.arrivals.at(self.clock.now());
        let (head, body) = request.into_parts();
        let announced = text(&head.headers, CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        let mut parts = body.into_data_stream();
        if let Err(problem) = self.check(source, &head, announced) {
            self.let_go(&mut parts).await;
            return Err(problem);
        }
        // What comes before this is anybody's, and gives way to others.
        let place = head.extensions.get::<Arc<ConnectionPlace>>().cloned();
        let _held = place.as_deref().map(ConnectionPlace::hold);
        let _memory = self.room_for(announced.unwrap_or(self.limits.max_body)).await?;
        let bytes = self.read(source, &mut parts, announced.unwrap_or_default()).await?;
        source.take(bytes, received).await
    }

    /// What the header alone can tell.
    fn check(&self, source: &dyn WebhookSource, head: &Parts, announced: Option<usize>) -> Result<(), Problem> {
        if !self.security.admits(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            return Err(Problem::Unauthorized);
        }
        if head.method != Method::POST {
            return Err(Problem::Method);
        }
        is_json(&head.headers)?;
        if announced.is_some_and(|length| length > self.limits.max_body) { Err(self.too_large(source)) } else { Ok(()) }
    }

    /// Reads what nobody wants: a connection that is closed on it is reset, and the answer may be lost, which a sender takes for an
    /// outage. What is longer than this is cut off all the same.
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

    fn too_large(&self, source: &dyn WebhookSource) -> Problem {
        Problem::TooLarge(format!(
            "the body is over {} bytes: {}, or raise --gateway-max-body",
            self.limits.max_body,
            source.how_to_send_less()
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

    async fn read(
        &self,
        source: &dyn WebhookSource,
        parts: &mut BodyDataStream,
        announced: usize,
    ) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(announced);
        while let Some(part) = parts.next().await {
            let part: Bytes = part.map_err(|_| Problem::Unavailable("the body broke off".to_owned()))?;
            if bytes.len() + part.len() > self.limits.max_body {
                self.let_go(parts).await;
                return Err(self.too_large(source));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(|encoding| !plain(encoding)) {
        return Err(Problem::MediaType("the body is encoded: send it as it is".to_owned()));
    }
    let media_type = text(headers, CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::MediaType("the body is not application/json".to_owned()))
}

/// Answers a webhook.
pub(super) async fn webhook(
    State((gateway, source)): State<(Arc<Gateway>, Arc<dyn WebhookSource>)>,
    request: Request<Body>,
) -> Response<Body> {
    let begun = Instant::now();
    let answer = timeout(gateway.limits.timeout, gateway.answer(source.as_ref(), request)).await.unwrap_or_else(|_| {
        let seconds = gateway.limits.timeout.as_secs_f64();
        tracing::warn!(seconds, "a webhook is not stored in time; {} will send it again", source.sender());
        Err(Problem::Unavailable(format!("not everything was stored within {seconds} s: retry")))
    });
    let answered = answer.as_ref().map_or_else(Problem::answer, |_| GatewayAnswer::Ok);
    gateway.metrics.of(source.label()).answered(answered, begun.elapsed());
    answer.unwrap_or_else(|problem| problem.response())
}

/// Answers what is no webhook.
pub(super) async fn nothing(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    gateway.metrics.of(SourceLabel::None).answered(GatewayAnswer::NotFound, Duration::ZERO);
    let to = |source: &Arc<dyn WebhookSource>| format!("the webhooks of {} to {}", source.sender(), source.path());
    let paths: Vec<_> = gateway.sources.iter().map(to).collect();
    Problem::NotFound(format!("POST {}: there is nothing else here", paths.join(", "))).response()
}
