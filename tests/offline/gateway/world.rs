//! A gateway, its API server, and a client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, body::Bytes};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use stormfold::api::Signal;
use stormfold::metrics::Metrics;
use stormfold::policies::Policies;
use stormfold::runtime::clock::Clock;
use stormfold::sources::alertmanager::Alertmanager;
use stormfold::sources::grafana;
use stormfold::sources::http::{Gateway, SecuritySettings, listen, serve};
use stormfold::sources::writer::{Places, SignalWriter};
use stormfold::sources::{GatewaySettings, Limits};
use stormfold::storm::Policy;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The clock of all gateways goes on by a microsecond with each look at it.
static READINGS: AtomicI64 = AtomicI64::new(0);

/// What the API server has, and how it misbehaves.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<Inner>>, Arc<Notify>);

#[derive(Default)]
pub struct Inner {
    pub signals: BTreeMap<(String, String), Signal>,
    pub missing: BTreeSet<&'static str>,
    /// Refuses what comes for these namespaces with this code.
    pub refused: BTreeMap<&'static str, u16>,
    /// Answers everything with this code.
    pub broken: Option<u16>,
    /// Takes this time for each answer.
    pub slow: Duration,
    /// Answers nothing until it is told to.
    pub silent: bool,
    /// Refuses lists of all namespaces.
    pub one_namespace_only: bool,
    pub calls: usize,
    pub lists: usize,
}

impl ApiServer {
    pub fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.0.lock().unwrap());
        self.1.notify_waiters();
    }

    pub fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    pub fn lists(&self) -> usize {
        self.0.lock().unwrap().lists
    }

    /// All Signals, by namespace and name.
    pub fn signals(&self) -> Vec<Signal> {
        self.0.lock().unwrap().signals.values().cloned().collect()
    }

    pub fn client(&self) -> Client {
        let router = Router::new()
            .route("/apis/stormfold.dev/v1alpha1/namespaces/{namespace}/signals", post(create).get(list))
            .route("/apis/stormfold.dev/v1alpha1/signals", get(list_all))
            .with_state(self.clone());
        Client::new(router, "default")
    }

    fn answer(&self, namespace: &str, body: &[u8]) -> Option<(StatusCode, Value)> {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        if inner.silent {
            return None;
        }
        let failure = |code: u16, reason: &str, kind: &str| {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
                "message": format!("scripted\n\u{1b}[31m{}", "x".repeat(9_000)), "details": { "kind": kind } });
            Some((StatusCode::from_u16(code).unwrap(), status))
        };
        if let Some(code) = inner.broken {
            return failure(code, "Scripted", "signals");
        }
        if inner.missing.contains(namespace) {
            return failure(404, "NotFound", "namespaces");
        }
        if let Some(code) = inner.refused.get(namespace) {
            return failure(*code, "Scripted", "signals");
        }
        let signal: Signal = serde_json::from_slice(body).unwrap();
        let name = signal.metadata.name.clone().unwrap();
        if inner.signals.contains_key(&(namespace.to_owned(), name.clone())) {
            return failure(409, "AlreadyExists", "signals");
        }
        inner.signals.insert((namespace.to_owned(), name), signal);
        Some((StatusCode::CREATED, json!({ "metadata": {} })))
    }
}

/// The Signals of a namespace, or of all, that the selectors ask for; as many as are asked for.
fn listed(server: &ApiServer, namespace: Option<&str>, query: &str) -> (StatusCode, Json<Value>) {
    let query = Query::of(query);
    let mut inner = server.0.lock().unwrap();
    inner.lists += 1;
    if namespace.is_none() && inner.one_namespace_only {
        let status =
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden" });
        return (StatusCode::FORBIDDEN, Json(status));
    }
    let there = inner
        .signals
        .iter()
        .filter(|((of, _), signal)| namespace.is_none_or(|wanted| wanted == of) && query.selects(signal));
    let items = there.map(|((of, _), signal)| {
        let mut metadata = serde_json::to_value(&signal.metadata).unwrap();
        metadata["namespace"] = of.as_str().into();
        json!({ "metadata": metadata })
    });
    let (begin, most) = (query.number("continue").unwrap_or(0), query.number("limit").unwrap_or(usize::MAX));
    let mut items: Vec<_> = items.skip(begin).collect();
    let more = items.len() > most;
    items.truncate(most);
    let next = if more { (begin + most).to_string() } else { String::new() };
    let list = json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
        "metadata": { "continue": next }, "items": items });
    (StatusCode::OK, Json(list))
}

/// What a list asks for.
struct Query(BTreeMap<String, String>);

impl Query {
    fn of(query: &str) -> Self {
        let decoded = |text: &str| {
            let mut parts = text.split('%');
            let first = parts.next().unwrap().replace('+', " ");
            parts.fold(first, |all, part| {
                let byte = u8::from_str_radix(&part[..2], 16).unwrap();
                all + &char::from(byte).to_string() + &part[2..].replace('+', " ")
            })
        };
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (decoded(key), decoded(value))).collect())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.parse().ok()
    }

    fn selects(&self, signal: &Signal) -> bool {
        let metadata = &signal.metadata;
        let name = self.0.get("fieldSelector").map(|selector| selector.strip_prefix("metadata.name=").unwrap());
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let chosen = self.0.get("labelSelector").is_none_or(|selector| {
            let (received, series) = selector.split_once(',').unwrap_or((selector, ""));
            let (key, value) = received.split_once('=').unwrap();
            let of_series = series.is_empty() || {
                let (key, values) = series.split_once(" in (").unwrap();
                label(key).is_some_and(|label| values.trim_end_matches(')').split(',').any(|value| value == label))
            };
            label(key) == Some(value) && of_series
        });
        chosen && name.is_none_or(|name| metadata.name.as_deref() == Some(name))
    }
}

async fn list(
    State(server): State<ApiServer>,
    Path(namespace): Path<String>,
    RawQuery(query): RawQuery,
) -> (StatusCode, Json<Value>) {
    listed(&server, Some(&namespace), &query.unwrap())
}

async fn list_all(State(server): State<ApiServer>, RawQuery(query): RawQuery) -> (StatusCode, Json<Value>) {
    listed(&server, None, &query.unwrap())
}

async fn create(
    State(server): State<ApiServer>,
    Path(namespace): Path<String>,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let slow = server.0.lock().unwrap().slow;
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    loop {
        let changed = server.1.notified();
        match server.answer(&namespace, &body) {
            Some((code, body)) => return (code, Json(body)),
            None => changed.await,
        }
    }
}

/// A gateway that runs as long as this value lives.
pub struct World {
    pub api_server: ApiServer,
    pub address: SocketAddr,
    pub metrics: Metrics,
    stop: CancellationToken,
    serving: Option<AbortOnDropHandle<()>>,
}

/// Settings that ask for nothing.
pub fn settings() -> GatewaySettings {
    GatewaySettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        limits: Limits { batch: 500, max_body: 64 * 1024, timeout: Duration::from_secs(5) },
        security: SecuritySettings::default(),
        settings_file: None,
    }
}

impl World {
    /// One that watches these namespaces; none: all.
    #[allow(clippy::unused_async, reason = "it needs a runtime")]
    pub async fn new(settings: GatewaySettings, watched: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::before(ApiServer::default(), &settings, watched)
    }

    /// One before this API server, beside others perhaps.
    pub fn before(api_server: ApiServer, settings: &GatewaySettings, watched: &[&str]) -> Self {
        let (metrics, stop) = (Metrics::default(), CancellationToken::new());
        let places = Places::new("home", watched.iter().map(ToString::to_string).collect());
        let writer = Arc::new(SignalWriter::new(api_server.client(), places, metrics.gateway.clone()));
        let policies = Arc::new(Policies::built_in_only(api_server.client(), Policy::default()));
        let alertmanager =
            Alertmanager::open(settings, policies.clone(), writer.clone(), metrics.gateway.clone()).unwrap();
        let grafana = grafana::open(settings, policies, writer, metrics.gateway.clone()).unwrap();
        let clock = Clock::new(|| {
            Timestamp::from_microsecond(1_795_485_465_000_000 + READINGS.fetch_add(1, Ordering::Relaxed)).unwrap()
        });
        let gateway = Gateway::open(settings, vec![alertmanager, grafana], clock, metrics.gateway.clone()).unwrap();
        let listener = listen(settings.listen).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve((listener, gateway), stop.clone()));
        Self { api_server, address, metrics, stop, serving: Some(AbortOnDropHandle::new(serving)) }
    }

    pub async fn simple() -> Self {
        Self::new(settings(), &[]).await
    }

    /// Posts this as Alertmanager does.
    pub async fn post(&self, body: &[u8]) -> Answer {
        self.request("POST /webhook/alertmanager", "Content-Type: application/json\r\n", body).await
    }

    pub async fn request(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}\r\n{headers}", body.len());
        exchange(TcpStream::connect(self.address).await.unwrap(), line, &length, body).await.unwrap()
    }

    /// Lets what is being answered be answered, and no more.
    pub async fn end(mut self) {
        self.stop.cancel();
        self.serving.take().unwrap().await.unwrap();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Value,
}

/// One request on this connection, and what comes back until its end.
pub async fn exchange(
    stream: impl AsyncRead + AsyncWrite,
    line: &str,
    headers: &str,
    body: &[u8],
) -> Result<Answer, String> {
    let head = format!("{line} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n{headers}\r\n");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let send = async {
        // The answer may come before all is sent, and the connection end.
        let _ = writer.write_all(head.as_bytes()).await;
        let _ = writer.write_all(body).await;
        let _ = writer.flush().await;
    };
    tokio::join!(send, async { drop(reader.read_to_end(&mut answer).await) });
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    Ok(Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or_default() })
}

/// A body of one alert per namespace; the empty one for none.
pub fn body(namespaces: &[&str]) -> Value {
    let alert = |namespace: &&str| {
        json!({ "status": "firing", "labels": { "alertname": "HighLoad", "namespace": namespace, "pod": "web-0" },
            "startsAt": "2026-11-24T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "1" })
    };
    let alerts: Vec<Value> = namespaces.iter().map(alert).collect();
    json!({ "version": "4", "status": "firing", "groupLabels": {}, "truncatedAlerts": 0, "alerts": alerts })
}
