//! The composition root: wires the rooms together and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Pages};
use crate::gateway::{self, Creator, Gateway, GatewaySettings, Places};
use crate::ingest::Ingest;
use crate::ingest::receipt::{Board, write_receipts};
use crate::ledger::memory::MemoryLedger;
use crate::ledger::redis::RedisLedger;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{Metrics, WatchedResource};
use crate::publish::{Apply, Behind, Openings, Projections, Publisher, requests, watch_projections};
use crate::runtime::clock::Clock;
use crate::runtime::events::events;
use crate::runtime::link::Link;
use crate::runtime::readiness::Readiness;
use crate::runtime::watch::Watch;
use crate::settings::RunSettings;

/// A connection that is silent for longer than this is dead. Longer than a watch, which the API server ends after 290 s at the
/// latest; shorter calls have a bound of their own.
const READ_TIMEOUT: Duration = Duration::from_secs(330);
/// How often the server of the ledger is looked at.
const LOOK_AT_SERVER: Duration = Duration::from_secs(10);
/// How long the loops may take to end what they are at. Shorter than the 30 s that a kubelet waits.
const GRACE: Duration = Duration::from_secs(15);

/// Runs the operator until `stop`.
pub async fn run(settings: RunSettings, stop: CancellationToken) -> anyhow::Result<()> {
    // The one TLS provider of the process. A second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer()
        .await
        .context("no way to reach a cluster: set KUBECONFIG, or run in a pod with a ServiceAccount")?;
    let api_server = config.cluster_url.to_string();
    config.read_timeout = Some(READ_TIMEOUT);
    let client = Client::try_from(config.clone()).context("the kubeconfig cannot be used")?;
    let listener = TcpListener::bind(settings.admin_listen)
        .await
        .with_context(|| format!("cannot listen on --admin-listen {}", settings.admin_listen))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        api_server,
        admin = %listener.local_addr().context("the admin socket has no address")?,
        ledger = ?settings.ledger,
        namespaces = ?settings.namespaces(),
        "stormfold starts"
    );
    let (mut loops, metrics) = (JoinSet::new(), Metrics::default());
    #[expect(clippy::disallowed_methods, reason = "the one clock of the process")]
    let clock = Clock::new(Timestamp::now);
    if let Some(gateway) = settings.gateway() {
        start_gateway(&gateway, &settings, config, (&metrics, &clock), &mut loops, &stop).await?;
    }
    start(&settings, &client, listener, (metrics, clock), &mut loops, &stop);
    let ended_early = tokio::select! {
        // Told to stop, the loops end, too: that is not early.
        biased;
        () = stop.cancelled() => None,
        // Each loop runs until it is told to stop. One that ends by itself panicked: what is left would look alive and do nothing.
        Some(ended) = loops.join_next() => Some(ended),
    };
    tracing::info!("stopping");
    stop.cancel();
    if tokio::time::timeout(GRACE, async { while loops.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(
            "some loops did not end in {} s; what they left will be done after the next start",
            GRACE.as_secs()
        );
    }
    match ended_early {
        None => Ok(()),
        Some(ended) => {
            ended.context("a loop of the operator panicked")?;
            anyhow::bail!("a loop of the operator ended by itself")
        }
    }
}

/// Starts every loop.
fn start(
    settings: &RunSettings,
    client: &Client,
    listener: TcpListener,
    (metrics, clock): (Metrics, Clock),
    loops: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let readiness = Readiness::default();
    let rewatch = Arc::new(Notify::new());
    let watch = |resource| watch(resource, settings, &readiness, &metrics);
    let signals = watch(WatchedResource::Signals);
    let objects = watch(WatchedResource::RemediationRequests);
    let ledger: Arc<dyn Ledger> = match settings.redis() {
        None => Arc::new(MemoryLedger::default()),
        Some(redis) => {
            let ledger = Arc::new(RedisLedger::new(redis, rewatch.clone(), metrics.clone()));
            watch_server(ledger.clone(), &readiness, &clock, loops, stop);
            ledger
        }
    };
    let (events, event_writer) = events(client.clone(), &metrics);
    let (requests, queue) = requests();
    let (listed_sender, listed) = watch::channel(None);
    let (projections, openings) = (Arc::<Projections>::default(), Arc::<Openings>::default());
    let board = Arc::new(Board::new(readiness.open_gate("receipts"), metrics.clone()));
    let publisher = Arc::new(Publisher {
        ledger: ledger.clone(),
        projections: projections.clone(),
        openings: openings.clone(),
        receipts: board.clone(),
        apply: Apply::new(client.clone()),
        policy: settings.policy(),
        interval: settings.publish_interval,
        requests: requests.clone(),
        listed,
        rewatch: rewatch.clone(),
        link: Link::new(readiness.open_gate("publish")),
        clock: clock.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
        behind: Behind::default(),
    });
    let ingest = Ingest {
        ledger,
        projections: projections.clone(),
        openings,
        board: board.clone(),
        requests: requests.clone(),
        rewatch,
        listed: listed_sender,
        policy: settings.policy(),
        merge_gate: readiness.open_gate("merge"),
        ledger_gate: readiness.open_gate("ledger"),
        clock: clock.clone(),
        events,
        metrics: metrics.clone(),
    };
    let pages = Pages::new(readiness, metrics, projections.clone());
    loops.spawn(admin::serve(listener, pages, stop.clone()));
    loops.spawn(event_writer.run(stop.clone()));
    loops.spawn(write_receipts(board, client.clone(), move || clock.now(), stop.clone()));
    loops.spawn(watch_projections(client.clone(), objects, projections, requests.clone(), stop.clone()));
    loops.spawn(queue.run(publisher, requests, stop.clone()));
    loops.spawn(ingest.run(client.clone(), signals, stop.clone()));
}

/// Takes webhooks, whatever else this process does.
async fn start_gateway(
    gateway: &GatewaySettings,
    settings: &RunSettings,
    mut config: Config,
    (metrics, clock): (&Metrics, &Clock),
    loops: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let own = gateway.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let places = Places::new(&own, settings.namespaces());
    // The sender of a webhook tries again, and waits for the answer meanwhile.
    config.default_retry = false;
    let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
    let listener = TcpListener::bind(gateway.listen)
        .await
        .with_context(|| format!("cannot listen on --gateway-listen {}", gateway.listen))?;
    let address = listener.local_addr().context("the gateway's socket has no address")?;
    tracing::info!(gateway = %address, home = places.home(), "the gateway takes webhooks at /webhook/alertmanager");
    let creator = Creator::new(client, places, metrics.gateway.clone());
    let gateway =
        Gateway::open(gateway, creator, clock.clone(), metrics.gateway.clone()).map_err(anyhow::Error::msg)?;
    loops.spawn(gateway::serve(listener, gateway, stop.clone()));
    Ok(())
}

/// Looks at the server of the ledger, and is not ready while it must not be used.
fn watch_server(
    ledger: Arc<RedisLedger>,
    readiness: &Readiness,
    clock: &Clock,
    loops: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let (gate, clock) = (readiness.open_gate("ledger server"), clock.clone());
    let tell = move |state| match state {
        Ok(()) => gate.open(),
        Err(error) => gate.close(&LedgerError::to_string(&error)),
    };
    loops.spawn(ledger.watch_server(LOOK_AT_SERVER, move || clock.now(), tell, stop.clone()));
}

/// A watch on this resource, with its gates.
fn watch(resource: WatchedResource, settings: &RunSettings, readiness: &Readiness, metrics: &Metrics) -> Watch {
    Watch {
        resource,
        namespaces: settings.namespaces(),
        gate: readiness.gate(resource.first_list(), "not complete yet"),
        link: Link::new(readiness.open_gate(resource.plural())),
        metrics: metrics.clone(),
    }
}
