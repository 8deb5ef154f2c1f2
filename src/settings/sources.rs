//! The flags of sources that are not told by webhooks.

use clap::Args;

/// Where else alerts come from.
#[derive(Args, Debug, Clone)]
pub struct SourceFlags {
    /// Make Signals of Kubernetes' own Events of the type Warning, on the replica that works. Needs list and watch on them: component
    /// events-source.
    #[arg(long, env = "STORMFOLD_EVENTS_SOURCE")]
    pub events_source: bool,
}
