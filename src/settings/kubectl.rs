//! Flags of `kubectl storm`, which is `stormfold storm`.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::storm::Outcome;

/// Ask a cluster about its alert storms, and tell it what you did about them, with your own rights.
#[derive(Parser, Debug)]
#[command(name = "kubectl-storm", bin_name = "kubectl storm", version)]
pub(super) struct Plugin {
    #[command(flatten)]
    pub(super) flags: StormFlags,
}

/// What to ask, and of which cluster.
#[derive(Args, Debug, Clone)]
pub struct StormFlags {
    /// Which cluster, and how to show what it says.
    #[command(flatten)]
    pub at: ClusterFlags,
    /// What to ask.
    #[command(subcommand)]
    pub command: StormCommand,
}

/// Which cluster, as kubectl finds it, and how its answers are shown.
#[derive(Args, Debug, Clone)]
pub struct ClusterFlags {
    /// This kubeconfig. Default: the one that kubectl would take.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// This context of the kubeconfig.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// This namespace. Default: that of the context.
    #[arg(long, short, global = true)]
    pub namespace: Option<String>,
    /// All namespaces.
    #[arg(long, short = 'A', global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How answers are written.
    #[arg(long, short, global = true, default_value = "text")]
    pub output: OutputFormat,
    /// No colours, whatever the terminal can do.
    #[arg(long, global = true, env = "NO_COLOR", num_args = 0..=1, default_missing_value = "1", hide_env_values = true)]
    no_color: Option<String>,
}

impl ClusterFlags {
    /// Whether colours are welcome on a terminal.
    pub fn colours(&self) -> bool {
        self.no_color.as_deref().is_none_or(str::is_empty)
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// For people, with more columns.
    Wide,
    /// Kinds and names.
    Name,
    /// For machines.
    Json,
    /// For machines and people.
    Yaml,
}

/// What to ask, or to say.
#[derive(Subcommand, Debug, Clone)]
pub enum StormCommand {
    /// List storms: open ones first, then by severity, then by age.
    List(ListFlags),
    /// Say why a Signal is where it is, or why a storm is as it is: by the operator's own rules, on what the cluster has now.
    Why(ObjectFlags),
    /// Show a storm: its facts, what it affects, what came before and after it, its Events.
    Show(RequestFlags),
    /// Show what happened to a storm, in order.
    Timeline(RequestFlags),
    /// Show which storm followed which.
    Tree,
    /// End a storm now. Its alerts count as handled until they end.
    Close(RequestFlags),
    /// Keep a storm open, whatever its policy says.
    Hold(HoldFlags),
    /// Take note of an outcome: its cool-down ends, and the next storm may open.
    Ack(RequestFlags),
    /// Report the outcome of a remediation, as a remediation engine does.
    Finish(FinishFlags),
    /// Show where the storms are: by namespace and policy.
    Top,
    /// Look whether everything is there: CRDs, rights, policies that never count. Exit code 5: something is wrong.
    Check,
    /// Write what somebody needs who helps from afar, as YAML; what alerts say in labels and annotations is left out.
    Report,
    /// Serve a page on this machine that shows storms as they are, until Ctrl-C. It reads, and changes nothing.
    Dashboard(DashboardFlags),
    /// Say what can be typed next, for `kubectl_complete-storm`.
    #[command(hide = true)]
    Complete(CompleteFlags),
}

/// Which storms.
#[derive(Args, Debug, Clone)]
pub struct ListFlags {
    /// Open storms only.
    #[arg(long)]
    pub open: bool,
    /// Go on, with a line for each change.
    #[arg(long, short)]
    pub watch: bool,
}

/// Where the page is.
#[derive(Args, Debug, Clone)]
pub struct DashboardFlags {
    /// Port of the loopback. Default: a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// A Signal or a RemediationRequest.
#[derive(Args, Debug, Clone)]
pub struct ObjectFlags {
    /// `NAME`, `signal/NAME` or `rr/NAME`.
    pub object: String,
}

/// A RemediationRequest.
#[derive(Args, Debug, Clone)]
pub struct RequestFlags {
    /// Name of the RemediationRequest.
    pub name: String,
}

/// A storm that is to stay open.
#[derive(Args, Debug, Clone)]
pub struct HoldFlags {
    /// Name of the RemediationRequest.
    pub name: String,
    /// The other way round: its policy decides again.
    #[arg(long)]
    pub release: bool,
}

/// The outcome of a remediation.
#[derive(Args, Debug, Clone)]
pub struct FinishFlags {
    /// Name of the RemediationRequest.
    pub name: String,
    /// Succeeded, Failed, NoActionNeeded, ManualRequired or Ineffective.
    #[arg(long, value_parser = outcome)]
    pub outcome: Outcome,
    /// The status.storm.revision that was remediated. Default: the one that is shown now.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    pub observed_revision: Option<i64>,
    /// For people: what was done.
    #[arg(long)]
    pub message: Option<String>,
    /// Replace an outcome that is there.
    #[arg(long)]
    pub overwrite: bool,
}

/// A line that is being typed.
#[derive(Args, Debug, Clone)]
pub struct CompleteFlags {
    /// The words behind `kubectl storm`; the last one is being typed, and may be empty.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// The commands and their flags, as a value.
pub fn storm_command() -> Command {
    Plugin::command()
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let all = Outcome::ALL;
    let found = all.into_iter().find(|outcome| format!("{outcome:?}").eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("not an outcome: one of {}", all.map(|outcome| format!("{outcome:?}")).join(", ")))
}
