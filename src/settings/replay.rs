//! The flags of `stormfold replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::{PolicyTimers, TargetFlags};
use crate::storm::{Policy, Reach};

/// What the operator would have made of a recording.
#[derive(Args, Debug, Clone)]
pub struct ReplayFlags {
    /// What was reported, and when: Signals (YAML, JSON, a list of kubectl), webhooks as JSON lines, or what Alertmanager says at
    /// /api/v2/alerts. Several are one recording; - is the standard input.
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
    /// StormPolicies (and Namespaces, for their labels): files, or folders of them. Default: the built-in policy alone.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub policies: Vec<PathBuf>,
    /// What changes for the requests when the policies of OLD become those of NEW. The exit code is 1 when anything does.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "policies")]
    pub diff: Vec<PathBuf>,
    /// How to print the requests.
    #[arg(short, long, default_value = "table")]
    pub output: ReplayOutput,
    /// Print before them what happened, line by line.
    #[arg(long)]
    pub timeline: bool,
    /// How long the clock goes on after the last report.
    #[arg(long, default_value = "10s", value_parser = run_on)]
    pub run_on: SignedDuration,
    /// The operator's own namespace: its Signals may speak of others, and the gateway puts there what is cluster-scoped.
    #[arg(long, env = "STORMFOLD_NAMESPACE", default_value = "stormfold-system", value_parser = super::namespace)]
    pub namespace: String,
    /// Let Signals of this namespace speak of other namespaces, as with the operator; repeat it for more, `*` is all.
    #[arg(long = "cross-namespace", env = "STORMFOLD_CROSS_NAMESPACE", value_delimiter = ',', value_parser = super::namespace_or_all)]
    cross_namespaces: Vec<String>,
    /// The settings file of the gateway, whose rules come first.
    #[command(flatten)]
    pub rules: RuleFlags,
    /// The built-in policy.
    #[command(flatten)]
    timers: PolicyTimers,
}

/// How requests are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayOutput {
    /// For people.
    Table,
    /// A list of objects.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Which rules say what alerts are about.
#[derive(Args, Debug, Clone)]
pub struct RuleFlags {
    /// The settings file of the gateway, whose rules come first.
    #[arg(long = "gateway-settings-file", env = "STORMFOLD_GATEWAY_SETTINGS_FILE")]
    settings_file: Option<PathBuf>,
}

impl RuleFlags {
    /// The settings file, where there is one.
    pub fn settings_file(&self) -> Option<&std::path::Path> {
        TargetFlags::not_empty(self.settings_file.as_deref())
    }
}

impl ReplayFlags {
    /// Whose Signals may speak of others.
    pub fn reach(&self) -> Reach {
        Reach::of(self.cross_namespaces.iter().filter(|name| !name.is_empty()).cloned()).and(&self.namespace)
    }

    /// The built-in policy.
    pub fn built_in(&self) -> Policy {
        self.timers.policy()
    }
}

fn run_on(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "not a duration: write it as 30s, 10m or 6h".to_owned())?;
    let fits = !duration.is_negative() && duration <= SignedDuration::from_hours(24 * 31);
    if fits { Ok(duration) } else { Err("out of range: 0s to 31 days".to_owned()) }
}
