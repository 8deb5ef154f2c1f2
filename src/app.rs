//! The composition root: wires the rooms together and decides nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use kube::{Client, Config};
use stormfold_core::engine::Engine;
use stormfold_core::engine::resync::ResyncReason;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Pages};
use crate::cluster::Cluster;
use crate::driver::{Driver, Gates, Reporter};
use crate::inbox::{Inbox, Want, inbox};
use crate::ledger::memory::MemoryLedger;
use crate::ledger::redis::RedisLedger;
use crate::ledger::{Ledger, LedgerError, ResyncSender};
use crate::metrics::{Metrics, SourceLabel, WatchedResource};
use crate::policies::{Policies, tell_policies, watch_namespaces, watch_policies, write_statuses};
use crate::retention::Retention;
use crate::runtime::clock::Clock;
use crate::runtime::crds::CrdCheck;
use crate::runtime::events::{Events, events};
use crate::runtime::leader::Election;
use crate::runtime::part_gate::PartGate;
use crate::runtime::readiness::Readiness;
use crate::runtime::watch::Watch;
use crate::settings::RunSettings;
use crate::sources::GatewaySettings;
use crate::sources::alertmanager::Alertmanager;
use crate::sources::alertmanager::poll::Poller;
use crate::sources::grafana;
use crate::sources::http::{self, Gateway, WebhookSource};
use crate::sources::kube_events::EventSource;
use crate::sources::writer::{Places, SignalWriter};
use crate::storm::Reach;
use crate::watch::signals::SignalReader;
use crate::watch::{SignalLister, says, watch_requests};

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
    let home = settings.namespace().unwrap_or(&config.default_namespace).to_owned();
    let mut app = App::new(&settings, client, home, &stop);
    app.poller = app.poller().map_err(anyhow::Error::msg)?;
    let mut loops = JoinSet::new();
    loops.spawn(admin::serve(listener, app.pages(), stop.clone()));
    if let Some(gateway) = settings.gateway() {
        loops.spawn(http::serve(app.gateway(&gateway, config)?, stop.clone()));
    }
    let ended = app.work(&mut loops).await;
    tracing::info!("stopping");
    stop_all(&mut loops, &stop, GRACE).await;
    ended
}

/// Tells every loop to stop, waits for these, and ends those that do not end by themselves.
async fn stop_all(loops: &mut JoinSet<()>, stop: &CancellationToken, grace: Duration) {
    stop.cancel();
    if tokio::time::timeout(grace, async { while loops.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("some loops did not stop within {} s; the next start does what they left", grace.as_secs_f64());
        loops.shutdown().await;
    }
}

/// What several loops share, made once.
struct App<'a> {
    settings: &'a RunSettings,
    client: Client,
    /// The operator's own namespace.
    home: String,
    stop: &'a CancellationToken,
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock,
    policies: Arc<Policies>,
    /// Who asks Alertmanagers, when somebody should.
    poller: Option<Poller>,
}

impl<'a> App<'a> {
    fn new(settings: &'a RunSettings, client: Client, home: String, stop: &'a CancellationToken) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one clock of the process")]
        let clock = Clock::new(Timestamp::now);
        let (metrics, readiness) = (Metrics::default(), Readiness::default());
        let policies = if settings.built_in_policy_only {
            Policies::built_in_only(client.clone(), settings.policy())
        } else {
            Policies::new(client.clone(), settings.policy())
        };
        Self { settings, client, home, stop, metrics, readiness, clock, policies: Arc::new(policies), poller: None }
    }

    /// Works until told to stop: at once, or when this replica leads.
    async fn work(&self, loops: &mut JoinSet<()>) -> anyhow::Result<()> {
        // Nothing has a gate of its own yet: without this one a process that has not begun would look ready.
        let begins = self.readiness.gate("start", "the CRDs are looked at first");
        // Before the Lease: in an update without its CRDs the replicas of the version before go on.
        let mut crds = self.crds();
        tokio::select! {
            held = crds.hold(self.stop) => if held.is_none() { return Ok(()) },
            ended = self.until_stopped(loops) => return ended,
        }
        loops.spawn(crds.watch(self.stop.clone()));
        self.follow_policies(loops);
        let Some(election) = self.election() else {
            self.metrics.leading.set(1);
            self.start(loops);
            begins.open();
            return self.until_stopped(loops).await;
        };
        // A standby is ready to take over.
        begins.open();
        let term = tokio::select! {
            term = election.win(self.stop) => term,
            ended = self.until_stopped(loops) => return ended,
        };
        let Some(mut term) = term else { return Ok(()) };
        self.metrics.leading.set(1);
        // Of their own: the gateway may have a webhook to answer for seconds, and the next leader does not wait for that.
        let mut duties = JoinSet::new();
        self.start(&mut duties);
        let ended = tokio::select! {
            why = term.keep() => {
                stop_all(&mut duties, self.stop, self.settings.lease_duration.margin()).await;
                // A clean start is the safe way back: nothing of this term is left.
                anyhow::bail!("this replica does not lead any more: {why}")
            }
            ended = self.until_stopped(loops) => ended,
            ended = self.until_stopped(&mut duties) => ended,
        };
        stop_all(&mut duties, self.stop, GRACE).await;
        term.release().await;
        ended
    }

    /// Ends when told to stop, or when a loop ends by itself: what is left would look alive and do nothing.
    async fn until_stopped(&self, loops: &mut JoinSet<()>) -> anyhow::Result<()> {
        tokio::select! {
            // Told to stop, the loops end, too: that is not early.
            biased;
            () = self.stop.cancelled() => Ok(()),
            Some(ended) = loops.join_next() => {
                ended.context("a loop of the operator panicked")?;
                anyhow::bail!("a loop of the operator ended by itself")
            }
        }
    }

    /// The check of the CRDs; of none for an operator without rights on anything of the whole cluster: it would be refused for ever.
    fn crds(&self) -> CrdCheck {
        let mut crds = crate::api::crds();
        if self.settings.built_in_policy_only {
            tracing::info!("--built-in-policy-only: the version of the CRDs is not checked");
            crds.clear();
        }
        CrdCheck::new(self.client.clone(), crds, self.readiness.open_gate("crds"))
    }

    fn election(&self) -> Option<Election> {
        let identity = || format!("{}-{:08x}", self.settings.hostname(), process_number());
        self.settings.leader_elect.then(|| {
            Election::new(self.client.clone(), &self.home, identity(), self.settings.lease_duration, self.clock.clone())
        })
    }

    fn pages(&self) -> Pages {
        Pages::new(self.readiness.clone(), self.metrics.clone(), self.clock.clone())
    }

    /// Where the gateway's Signals go.
    fn places(&self) -> Places {
        Places::new(&self.home, self.settings.namespaces())
    }

    /// Whose Signals may speak of others: also those of the namespace into which the gateway puts what can be nowhere else.
    fn reach(&self) -> Reach {
        let reach = self.settings.reach(&self.home);
        if self.settings.has_sources() { reach.and(self.places().home()) } else { reach }
    }

    /// Takes webhooks, whatever else this process does.
    fn gateway(&self, gateway: &GatewaySettings, mut config: Config) -> anyhow::Result<(TcpListener, Gateway)> {
        // The sender of a webhook tries again, and waits for the answer meanwhile.
        config.default_retry = false;
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        let listener = http::listen(gateway.listen)
            .with_context(|| format!("cannot listen on --gateway-listen {}", gateway.listen))?;
        let address = listener.local_addr().context("the gateway's socket has no address")?;
        let (writer, home) = (self.writer(client), self.places().home().to_owned());
        let sources = self.webhook_sources(gateway, &writer).map_err(anyhow::Error::msg)?;
        self.metrics.gateway.begin(sources.iter().map(|source| source.label()));
        let paths = sources.iter().map(|source| source.path()).collect::<Vec<_>>().join(", ");
        tracing::info!(gateway = %address, home, "the gateway takes webhooks at {paths}");
        let gateway = Gateway::open(gateway, sources, self.clock.clone(), self.metrics.gateway.clone());
        Ok((listener, gateway.map_err(anyhow::Error::msg)?))
    }

    /// Every source that is told by webhooks: a line for each.
    fn webhook_sources(
        &self,
        gateway: &GatewaySettings,
        writer: &Arc<SignalWriter>,
    ) -> Result<Vec<Arc<dyn WebhookSource>>, String> {
        let (policies, metrics) = (|| self.policies.clone(), || self.metrics.gateway.clone());
        Ok(vec![
            Alertmanager::open(gateway, policies(), writer.clone(), metrics())?,
            grafana::open(gateway, policies(), writer.clone(), metrics())?,
        ])
    }

    /// Starts every loop that only one replica should run.
    fn start(&self, loops: &mut JoinSet<()>) {
        let (client, stop) = (|| self.client.clone(), || self.stop.clone());
        let (inbox, mailbox) = inbox();
        let (events, event_writer) = events(client(), &self.metrics);
        let (wants, wanted) = unbounded_channel();
        let signals = self.watch(WatchedResource::Signals);
        let objects = self.watch(WatchedResource::RemediationRequests);
        let (resync, resyncs) = unbounded_channel();
        let ledger = self.ledger(resync, loops);
        let reporter = self.reporter(&signals, &objects, events);
        let driver = self.driver(wants, reporter, ledger.clone(), resyncs);
        let (policies, watch) = (self.policies.clone(), signals);
        let reach = self.reach();
        let reader = SignalReader { client: client(), watch, policies: policies.clone(), reach, inbox: inbox.clone() };
        self.start_policies(&inbox, loops);
        self.start_sources(loops);
        loops.spawn(event_writer.run(stop()));
        loops.spawn(watch_requests(client(), objects, inbox.clone(), stop()));
        loops.spawn(tell_policies(policies, inbox.clone(), stop()));
        loops.spawn(driver.run(mailbox, stop()));
        loops.spawn(reader.run(wanted, stop()));
        loops.spawn(self.retention(inbox, ledger).run(stop()));
    }

    fn driver(
        &self,
        wants: UnboundedSender<Want>,
        reporter: Reporter,
        ledger: Arc<dyn Ledger>,
        resyncs: UnboundedReceiver<ResyncReason>,
    ) -> Driver {
        let settings =
            stormfold_core::engine::Settings { namespaces: self.settings.namespaces(), ..Default::default() };
        Driver {
            engine: Engine::new(settings, self.policies.view().set),
            ledger,
            cluster: Cluster::new(self.client.clone(), self.metrics.clone()),
            lister: SignalLister::new(self.client.clone(), self.policies.clone(), self.reach()),
            resyncs,
            wants,
            reporter,
            clock: self.clock.clone(),
        }
    }

    fn reporter(&self, signals: &Watch, requests: &Watch, events: Events) -> Reporter {
        let gates = Gates {
            signals: signals.gate.clone(),
            requests: requests.gate.clone(),
            ledger: self.readiness.open_gate("ledger"),
            merge: self.readiness.open_gate("merge"),
            room: self.readiness.notice("ledger memory"),
            receipts: self.readiness.open_gate("receipts"),
            publish: PartGate::new(self.readiness.open_gate("publish")),
        };
        Reporter { gates, events, metrics: self.metrics.clone(), policies: self.policies.clone() }
    }

    fn ledger(&self, resync: ResyncSender, loops: &mut JoinSet<()>) -> Arc<dyn Ledger> {
        let Some(redis) = self.settings.redis() else {
            return Arc::new(MemoryLedger::new(self.settings.ledger_memory_limit, self.metrics.memory_ledger.clone()));
        };
        let ledger = Arc::new(RedisLedger::new(redis, resync, self.metrics.clone()));
        // Looked at all the time; not ready while it must not be used.
        let (gate, clock) = (self.readiness.open_gate("ledger server"), self.clock.clone());
        let tell = move |state| match state {
            Ok(()) => gate.open(),
            Err(error) => gate.close(&LedgerError::to_string(&error)),
        };
        loops.spawn(ledger.clone().watch_server(LOOK_AT_SERVER, move || clock.now(), tell, self.stop.clone()));
        ledger
    }

    /// Every replica takes webhooks, and cuts them into Signals by what the policies group by.
    fn follow_policies(&self, loops: &mut JoinSet<()>) {
        if !self.settings.built_in_policy_only {
            let watch = self.watch(WatchedResource::StormPolicies);
            loops.spawn(watch_policies(self.client.clone(), watch, self.policies.clone(), self.stop.clone()));
        }
    }

    /// What the one that leads needs of policies beside them, unless the built-in one rules alone.
    fn start_policies(&self, inbox: &Inbox, loops: &mut JoinSet<()>) {
        if self.settings.built_in_policy_only {
            return;
        }
        let (client, policies, stop) = (|| self.client.clone(), || self.policies.clone(), || self.stop.clone());
        let namespaces = self.watch(WatchedResource::Namespaces);
        let clock = self.clock.clone();
        loops.spawn(watch_namespaces(client(), namespaces, policies(), stop()));
        let (inbox, metrics) = (inbox.clone(), self.metrics.clone());
        loops.spawn(write_statuses(policies(), client(), inbox, move || clock.now(), metrics, stop()));
    }

    /// The sources that are told by nobody: they look for themselves.
    fn start_sources(&self, loops: &mut JoinSet<()>) {
        if self.settings.sources.events_source {
            let metrics = self.metrics.clone();
            metrics.events.begin();
            metrics.gateway.of(SourceLabel::KubernetesEvents).begin_storing();
            let (client, watch, clock) = (self.client.clone(), self.watch(WatchedResource::Events), self.clock.clone());
            let source = EventSource { client, watch, writer: self.writer(self.client.clone()), clock, metrics };
            loops.spawn(source.run(self.stop.clone()));
        }
        if let Some(poller) = self.poller.clone() {
            loops.spawn(poller.run(self.stop.clone()));
        }
    }

    /// The message says what is wrong with the settings.
    fn poller(&self) -> Result<Option<Poller>, String> {
        let Some(poll) = self.settings.poll() else { return Ok(None) };
        let (clock, notice) = (self.clock.clone(), self.readiness.notice("alertmanager"));
        let writer = self.writer(self.client.clone());
        Poller::open(poll, self.policies.clone(), writer, clock, self.metrics.clone(), notice).map(Some)
    }

    /// Stores what sources report.
    fn writer(&self, client: Client) -> Arc<SignalWriter> {
        let places = self.places().reaching(self.reach());
        Arc::new(SignalWriter::new(client, places, self.metrics.gateway.clone()))
    }

    fn retention(&self, inbox: Inbox, ledger: Arc<dyn Ledger>) -> Retention {
        Retention {
            inbox,
            ledger,
            says,
            policies: self.policies.clone(),
            client: self.client.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// A watch on this resource, with its gates.
    fn watch(&self, resource: WatchedResource) -> Watch {
        Watch {
            resource,
            namespaces: self.settings.namespaces(),
            gate: self.readiness.gate(resource.first_list(), "not complete yet"),
            health: PartGate::new(self.readiness.open_gate(resource.plural())),
            metrics: self.metrics.clone(),
        }
    }
}

/// Tells this process from another one of the same host.
fn process_number() -> u32 {
    // Each `RandomState` is keyed from the operating system's random source.
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
