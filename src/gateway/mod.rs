//! Alertmanager in: its webhook becomes a few durable Signals. On every replica, leader or not: nothing here needs the ledger.
//!
//! Pure first: [`body`] reads the webhook with bounds, `target` with [`rules`] tells what an alert is about, `batch` makes Signals, each a `draft`, of
//! it. `create` stores them, `series` tells repeats from news, `answer` says what became of each alert, `security` who may ask, and [`server`] holds it together.

mod answer;
mod arrivals;
mod batch;
pub mod body;
mod connections;
mod create;
mod draft;
mod files;
mod known;
pub mod rules;
mod security;
mod series;
mod server;
mod target;
mod text;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use connections::listen;
pub use create::{Creator, Places};
pub use rules::TargetRules;
pub use security::SecuritySettings;
pub use server::{Gateway, serve};

use body::read_body;
use jiff::Timestamp;

/// What the flags say.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Bounds.
    pub limits: Limits,
    /// Who may report.
    pub security: SecuritySettings,
    /// Further rules.
    pub settings_file: Option<PathBuf>,
}

/// What bounds a request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Occurrences in one Signal.
    pub batch: usize,
    /// Bytes of a body.
    pub max_body: usize,
    /// From the first byte to the answer.
    pub timeout: Duration,
}

/// What reading a body comes to, for tests and benchmarks of the reader alone: how many Signals it makes, of how many bytes, and how many alerts it rejects.
pub fn read(
    bytes: &[u8],
    rules: &TargetRules,
    limits: &Limits,
    now: Timestamp,
) -> Result<(usize, usize, usize), body::BodyFault> {
    let batch = batch::batch(&read_body(bytes, limits.max_body)?, rules, limits.batch, now);
    let bytes = batch.signals.iter().map(|draft| draft.table().len()).sum();
    let rejected = batch.alerts.iter().filter(|fate| matches!(fate.verdict, batch::AlertVerdict::Rejected(_))).count();
    Ok((batch.signals.len(), bytes, rejected))
}
