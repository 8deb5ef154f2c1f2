//! Flags and environment: read here, checked here, and nowhere else (but RUST_LOG, which belongs to the log filter).

mod gateway;
mod kubectl;
mod policy_tests;
mod redis;
mod replay;
mod sources;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

pub use gateway::{GatewayFlags, TargetFlags};
pub use kubectl::{
    ClusterFlags, CompleteFlags, DashboardFlags, FinishFlags, HoldFlags, ListFlags, ObjectFlags, OutputFormat,
    RequestFlags, StormCommand, StormFlags, storm_command,
};
pub use policy_tests::{TestFlags, TestOutput};
pub use redis::RedisFlags;
pub use replay::{ReplayFlags, ReplayOutput, RuleFlags};
pub use sources::SourceFlags;

use crate::ledger::redis::RedisSettings;
use crate::runtime::leader::LeaseDuration;
use crate::sources::GatewaySettings;
use crate::sources::alertmanager::poll::PollSettings;
use crate::storm::resource::is_dns_label;
use crate::storm::{Policy, Reach};

/// Folds an alert storm into one `RemediationRequest`.
#[derive(Parser, Debug)]
#[command(name = "stormfold", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunSettings,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the operator (the default).
    Run(Box<RunSettings>),
    /// Print every CRD as YAML.
    Crds,
    /// Print what alerts are about, and which rule says so; without a file, the rules.
    Targets(TargetFlags),
    /// Ask a cluster about its storms, with your own rights: `kubectl storm`.
    Storm(Box<StormFlags>),
    /// Print what the operator would have made of a recording, without a cluster.
    Replay(Box<ReplayFlags>),
    /// Test policies: alerts over time in files, and what they must come to.
    Test(TestFlags),
}

impl Cli {
    /// Reads the arguments of the process. Called as `kubectl-storm`, by which name kubectl finds it, it is `stormfold storm`; as
    /// `kubectl_complete-storm` it says what can be typed next. Bad usage ends here, with exit code 2.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Command {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let called = arguments.first().and_then(|name| Path::new(name).file_stem()).and_then(OsStr::to_str);
        match called {
            Some("kubectl-storm") => Command::Storm(Box::new(kubectl::Plugin::parse_from(arguments).flags)),
            Some("kubectl_complete-storm") => {
                let (name, typed) = arguments.split_at(1);
                let asked = name.iter().cloned().chain(["complete", "--"].map(OsString::from)).chain(typed.to_vec());
                Command::Storm(Box::new(kubectl::Plugin::parse_from(asked).flags))
            }
            Some(_) | None => Self::parse_from(arguments).command(),
        }
    }

    /// The command, `run` when none is named.
    pub fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Run(Box::new(self.run)))
    }
}

/// Where storm state is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LedgerKind {
    /// In this process: one replica, rebuilt after a restart.
    Memory,
    /// In Redis 7.0 or newer: shared by replicas, survives restarts.
    Redis,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Settings of `stormfold run`.
#[derive(Args, Debug, Clone)]
pub struct RunSettings {
    /// Where storm state is merged.
    #[arg(long, env = "STORMFOLD_LEDGER", default_value = "memory")]
    pub ledger: LedgerKind,
    /// What the ledger in memory may take: bytes, or as Kubernetes writes it, 1Mi to 1024Gi. When it is full, Signals of the largest namespaces
    /// wait. The container needs some 120Mi more.
    #[arg(long, env = "STORMFOLD_LEDGER_MEMORY_LIMIT", default_value = "128Mi", value_parser = ledger_memory)]
    pub ledger_memory_limit: usize,
    /// Where Redis is, when it keeps the ledger.
    #[command(flatten)]
    redis: RedisFlags,
    /// Watch this namespace; repeat it for more. Default: all.
    #[arg(long = "watch-namespace", env = "STORMFOLD_WATCH_NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    watch_namespaces: Vec<String>,
    /// Let Signals of this namespace speak of other namespaces and of what is cluster-scoped, as those of the operator's own namespace do;
    /// repeat it for more, `*` is all. Default: none, a Signal speaks of its own namespace.
    #[arg(long = "cross-namespace", env = "STORMFOLD_CROSS_NAMESPACE", value_delimiter = ',', value_parser = namespace_or_all)]
    cross_namespaces: Vec<String>,
    /// The operator's own namespace: for the Lease, and for Signals of the gateway that cannot be in the namespace of their trouble. Default:
    /// that of the kubeconfig, or of the pod.
    #[arg(long, env = "STORMFOLD_NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
    /// Work only while this replica holds the Lease `stormfold` in the operator's own namespace; the gateway works on every replica.
    #[arg(long, env = "STORMFOLD_LEADER_ELECT")]
    pub leader_elect: bool,
    /// For so long nobody works after a leader that was killed; one that cannot renew the Lease gives up after two thirds of it. 2s to 1h.
    #[arg(long, env = "STORMFOLD_LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: LeaseDuration,
    /// Begins the identity of this replica in the Lease: the name of the pod.
    #[arg(long, env = "HOSTNAME", default_value = "stormfold", hide = true)]
    hostname: String,
    /// Read no StormPolicies: the built-in policy, which the flags below describe, rules alone. Needs no right on what belongs to the whole cluster.
    #[arg(long, env = "STORMFOLD_BUILT_IN_POLICY_ONLY")]
    pub built_in_policy_only: bool,
    /// The built-in policy: at most one write per storm in this time.
    #[arg(long, env = "STORMFOLD_PUBLISH_INTERVAL", default_value = "1s", value_parser = publish_interval)]
    publish_interval: Duration,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "STORMFOLD_ADMIN_LISTEN", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// How logs are written; RUST_LOG chooses what.
    #[arg(long, env = "STORMFOLD_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Where webhooks are taken.
    #[command(flatten)]
    gateway: GatewayFlags,
    /// Where else alerts come from.
    #[command(flatten)]
    pub sources: SourceFlags,
    /// What the built-in policy says about the end of a storm.
    #[command(flatten)]
    timers: PolicyTimers,
}

/// The timers of the built-in policy, which counts where no StormPolicy matches.
#[derive(Args, Debug, Clone)]
pub struct PolicyTimers {
    /// Close a storm as Quiet when no Signal came for longer than this.
    #[arg(long, env = "STORMFOLD_QUIET_PERIOD", default_value = "10m", value_parser = duration)]
    quiet_period: SignedDuration,
    /// The same for storms whose source reports ends (spec.resolvable).
    #[arg(long, env = "STORMFOLD_STALE_AFTER", default_value = "5h", value_parser = duration)]
    stale_after: SignedDuration,
    /// Close a storm as Resolved when nothing fires and no Signal came for longer than this.
    #[arg(long, env = "STORMFOLD_SETTLE_DELAY", default_value = "5m", value_parser = duration)]
    settle_delay: SignedDuration,
    /// Close a storm as MaxAge when it is open for longer than this.
    #[arg(long, env = "STORMFOLD_MAX_AGE", default_value = "6h", value_parser = duration)]
    max_age: SignedDuration,
}

impl PolicyTimers {
    fn policy(&self) -> Policy {
        let Self { quiet_period, stale_after, settle_delay, max_age } = *self;
        Policy { quiet_period, stale_after, settle_delay, max_age, ..Policy::default() }
    }
}

impl RunSettings {
    /// What one flag alone cannot check. The message names the flags.
    pub fn validate(&self) -> Result<(), String> {
        let PolicyTimers { quiet_period, max_age, .. } = &self.timers;
        if max_age <= quiet_period {
            return Err(format!(
                "--max-age {max_age:#} is not longer than --quiet-period {quiet_period:#}: no storm could end as Quiet"
            ));
        }
        self.gateway.validate()?;
        self.redis().map_or(Ok(()), |redis| redis.validate())
    }

    /// Where Redis is, when it keeps the ledger.
    pub fn redis(&self) -> Option<RedisSettings> {
        self.redis.settings().filter(|_| self.ledger == LedgerKind::Redis)
    }

    /// The gateway, when it is wanted.
    pub fn gateway(&self) -> Option<GatewaySettings> {
        self.gateway.settings()
    }

    /// Which Alertmanagers to ask; `None`: nobody.
    pub fn poll(&self) -> Option<PollSettings> {
        self.sources.poll(self.gateway.limits(), self.gateway.settings_file())
    }

    /// Whether anything but people makes Signals.
    pub fn has_sources(&self) -> bool {
        self.gateway().is_some() || self.sources.events_source || self.poll().is_some()
    }

    /// The operator's own namespace, where it is stated. An empty one is none, as with the others.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// Of the machine, or of the pod.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The namespaces to watch; none: all. An empty name is none, so that a template with an optional value may leave it empty.
    pub fn namespaces(&self) -> Vec<String> {
        self.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect()
    }

    /// Whose Signals may speak of other namespaces. `own`: the operator's.
    pub fn reach(&self, own: &str) -> Reach {
        Reach::of(self.cross_namespaces.iter().filter(|name| !name.is_empty()).cloned()).and(own)
    }

    /// The built-in policy with these timers.
    pub fn policy(&self) -> Policy {
        Policy { publish_interval: self.publish_interval, ..self.timers.policy() }
    }
}

/// A size in bytes as Kubernetes writes it (128Mi, 1G), or with a B behind a binary unit.
fn size(text: &str) -> Result<usize, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match &text[number.len()..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        _ => return Err("not a size: write it as 134217728, 128Mi or 1Gi".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "not a size: write it as 134217728, 128Mi or 1Gi".to_owned())?;
    Ok(number.saturating_mul(unit))
}

fn ledger_memory(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    let fits = (1 << 20..=1 << 40).contains(&bytes);
    if fits { Ok(bytes) } else { Err("out of range: 1Mi to 1024Gi".to_owned()) }
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "not a duration: write it as 30s, 10m or 6h".to_owned())?;
    let year = SignedDuration::from_hours(24 * 365);
    if duration >= SignedDuration::from_secs(1) && duration <= year {
        Ok(duration)
    } else {
        Err("out of range: 1s to one year".to_owned())
    }
}

fn lease_duration(text: &str) -> Result<LeaseDuration, String> {
    let seconds = duration(text)?;
    if seconds.subsec_nanos() != 0 {
        return Err("not whole seconds".to_owned());
    }
    let duration = u16::try_from(seconds.as_secs()).ok().and_then(LeaseDuration::from_secs);
    duration.ok_or_else(|| "out of range: 2s to 1h".to_owned())
}

fn publish_interval(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "not a duration: write it as 500ms or 1s".to_owned())?;
    Duration::try_from(duration)
        .ok()
        .filter(|d| *d >= Duration::from_millis(100) && *d <= Duration::from_mins(1))
        .ok_or_else(|| "out of range: 100ms to 1m".to_owned())
}

fn namespace_or_all(text: &str) -> Result<String, String> {
    if text == Reach::ALL {
        return Ok(text.to_owned());
    }
    namespace(text).map_err(|fault| format!("{fault}, or * for all"))
}

fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() || is_dns_label(text) {
        Ok(text.to_owned())
    } else {
        Err("not a namespace: lower-case letters, digits and hyphens".to_owned())
    }
}
