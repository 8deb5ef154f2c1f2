//! Where alerts come from: each source is a folder that makes Signals, on every replica, leader or not: nothing here needs the ledger.
//!
//! What no source owns: a [`draft`] is a Signal in bounds, with its name; the [`writer`] stores drafts, whatever they are of; [`http`] takes
//! webhooks and hands their bodies to the source of their path; `text` bounds what is hostile. A new source is one folder and one line in
//! `app`.

pub mod alertmanager;
mod draft;
pub mod grafana;
pub mod http;
pub mod kube_events;
mod text;
pub mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alertmanager::{BodyReader, TargetRules};
use http::SecuritySettings;

/// What the flags of the gateway say.
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

/// What the gateway does unless its flags say otherwise: occurrences in one Signal.
pub const MAX_LINES: usize = 500;
/// The same: bytes of a body.
pub const MAX_BODY: usize = 4 << 20;

/// Reads webhooks without a server: a reader for each path.
pub fn body_readers(rules: &Arc<TargetRules>, batch: usize, max_body: usize) -> Vec<BodyReader> {
    let dialects = [&alertmanager::ALERTMANAGER, &grafana::GRAFANA];
    dialects.into_iter().map(|dialect| BodyReader::new(dialect, rules.clone(), batch, max_body)).collect()
}
