//! The flags of sources that are not told by webhooks.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use clap::Args;
use jiff::SignedDuration;

use crate::sources::Limits;
use crate::sources::alertmanager::poll::PollSettings;
use crate::sources::alertmanager::poll::peer::PeerSettings;

/// Where else alerts come from.
#[derive(Args, Debug, Clone)]
pub struct SourceFlags {
    /// Make Signals of Kubernetes' own Events of the type Warning, on the replica that works. Needs list and watch on them: component
    /// events-source.
    #[arg(long, env = "STORMFOLD_EVENTS_SOURCE")]
    pub events_source: bool,
    /// Ask this Alertmanager what it has, and tell what no webhook has told: the end of an alert that is silenced. Repeat it for every one
    /// whose webhooks come here, and for each peer of a cluster: what none of them has is over. Default: nobody is asked.
    #[arg(long = "alertmanager-url", env = "STORMFOLD_ALERTMANAGER_URL", value_delimiter = ',', value_parser = url)]
    alertmanager_urls: Vec<Option<Uri>>,
    /// Show it the bearer token in this file. It may change.
    #[arg(long, env = "STORMFOLD_ALERTMANAGER_TOKEN_FILE")]
    alertmanager_token_file: Option<PathBuf>,
    /// Trust certificates of these authorities, PEM, and no others. It may change. Default: those of the system.
    #[arg(long, env = "STORMFOLD_ALERTMANAGER_CA_FILE")]
    alertmanager_ca_file: Option<PathBuf>,
    /// The receiver that sends here; repeat it for more. Alerts of others are not told.
    #[arg(
        long = "alertmanager-receiver",
        env = "STORMFOLD_ALERTMANAGER_RECEIVER",
        value_delimiter = ',',
        default_value = "stormfold"
    )]
    alertmanager_receivers: Vec<String>,
    /// How often to ask: what two polls in a row find is told.
    #[arg(long, env = "STORMFOLD_ALERTMANAGER_INTERVAL", default_value = "30s", value_parser = interval)]
    alertmanager_interval: Duration,
}

impl SourceFlags {
    /// Whom to ask; `None`: nobody. The rest is the gateway's.
    pub(super) fn poll(&self, limits: Limits, settings_file: Option<PathBuf>) -> Option<PollSettings> {
        // An empty one is none, so that a template with an optional value may leave it empty.
        let file = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        let urls: Vec<_> = self.alertmanager_urls.iter().flatten().cloned().collect();
        let peers = PeerSettings {
            urls,
            token_file: file(&self.alertmanager_token_file),
            ca_file: file(&self.alertmanager_ca_file),
            receivers: self.alertmanager_receivers.iter().filter(|name| !name.is_empty()).cloned().collect(),
        };
        let Limits { batch, max_body, .. } = limits;
        let is_wanted = !peers.urls.is_empty();
        is_wanted.then_some(PollSettings { peers, every: self.alertmanager_interval, batch, max_body, settings_file })
    }
}

fn url(text: &str) -> Result<Option<Uri>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url: Uri = text.parse().map_err(|fault| format!("not a URL: {fault}"))?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    match url.authority() {
        Some(authority) if is_http && !authority.as_str().contains('@') => Ok(Some(url)),
        Some(_) if is_http => Err("has credentials in it: give --alertmanager-token-file".to_owned()),
        _ => Err("not a URL: write it as http://HOST:9093 or https://HOST:9093".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "not a duration: write it as 30s or 2m".to_owned())?;
    Duration::try_from(duration)
        .ok()
        .filter(|d| *d >= Duration::from_millis(100) && *d <= Duration::from_mins(10))
        .ok_or_else(|| "out of range: 100ms to 10m".to_owned())
}
