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
use crate::ingest::Ingest;
use crate::ingest::receipt::{Board, write_receipts};
use crate::ledger::memory::MemoryLedger;
use crate::ledger::redis::RedisLedger;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{Metrics, WatchedResource};
use crate::policies::{Policies, watch_namespaces, watch_policies, write_statuses};
use crate::publish::{Apply, Behind, Openings, Projections, Publisher, follow_policies, requests, watch_projections};
use crate::retention::Retention;
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
    let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
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
    let mut loops = JoinSet::new();
    start(&settings, &client, listener, &mut loops, &stop);
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
    loops: &mut JoinSet<()>,
    stop: &CancellationToken,
) {
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let rewatch = Arc::new(Notify::new());
    let watch = |resource| watch(resource, settings, &readiness, &metrics);
    #[expect(clippy::disallowed_methods, reason = "the one clock of the process")]
    let clock = Clock::new(Timestamp::now);
    let ledger: Arc<dyn Ledger> = match settings.redis() {
        None => Arc::new(MemoryLedger::default()),
        Some(redis) => {
            let ledger = Arc::new(RedisLedger::new(redis, rewatch.clone(), metrics.clone()));
            watch_server(ledger.clone(), &readiness, &clock, loops, stop);
            ledger
        }
    };
    let policies = policies(settings, client, &watch, loops, stop);
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
        policies: policies.clone(),
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
        policies: policies.clone(),
        merge_gate: readiness.open_gate("merge"),
        ledger_gate: readiness.open_gate("ledger"),
        clock: clock.clone(),
        events,
        metrics: metrics.clone(),
    };
    let retention = Retention {
        projections: projections.clone(),
        policies: policies.clone(),
        client: client.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    let signals = watch(WatchedResource::Signals);
    let objects = watch(WatchedResource::RemediationRequests);
    loops.spawn(write_statuses(
        policies.clone(),
        client.clone(),
        {
            let projections = projections.clone();
            move || projections.open_by_policy()
        },
        {
            let clock = clock.clone();
            move || clock.now()
        },
        metrics.clone(),
        stop.clone(),
    ));
    let pages = Pages::new(readiness.clone(), metrics, projections.clone());
    loops.spawn(retention.run(stop.clone()));
    loops.spawn(follow_policies(policies, projections.clone(), requests.clone(), stop.clone()));
    loops.spawn(admin::serve(listener, pages, stop.clone()));
    loops.spawn(event_writer.run(stop.clone()));
    loops.spawn(write_receipts(board, client.clone(), move || clock.now(), stop.clone()));
    loops.spawn(watch_projections(client.clone(), objects, projections, requests.clone(), stop.clone()));
    loops.spawn(queue.run(publisher, requests, stop.clone()));
    loops.spawn(ingest.run(client.clone(), signals, stop.clone()));
}

/// The policies, kept by watches of their own unless the built-in one rules alone.
fn policies(
    settings: &RunSettings,
    client: &Client,
    watch: &impl Fn(WatchedResource) -> Watch,
    loops: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Arc<Policies> {
    if settings.built_in_policy_only {
        return Arc::new(Policies::built_in_only(client.clone(), settings.policy()));
    }
    let policies = Arc::new(Policies::new(client.clone(), settings.policy()));
    let (objects, namespaces) = (watch(WatchedResource::StormPolicies), watch(WatchedResource::Namespaces));
    loops.spawn(watch_policies(client.clone(), objects, policies.clone(), stop.clone()));
    loops.spawn(watch_namespaces(client.clone(), namespaces, policies.clone(), stop.clone()));
    policies
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
