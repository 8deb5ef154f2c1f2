//! The flags of the gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use crate::sources::http::SecuritySettings;
use crate::sources::{GatewaySettings, Limits};

/// Where webhooks are taken, and from whom.
#[derive(Args, Debug, Clone)]
pub struct GatewayFlags {
    /// Take the webhooks of Alertmanager (/webhook/alertmanager) and Grafana (/webhook/grafana) on this address. Default: nowhere.
    #[arg(long = "gateway-listen", env = "STORMFOLD_GATEWAY_LISTEN")]
    listen: Option<SocketAddr>,
    /// At most so many occurrences in one Signal.
    #[arg(long = "gateway-batch", env = "STORMFOLD_GATEWAY_BATCH", default_value = "500", value_parser = batch)]
    batch: usize,
    /// Refuse larger webhooks: bytes, or with a unit as in 512KiB or 4Mi.
    #[arg(long = "gateway-max-body", env = "STORMFOLD_GATEWAY_MAX_BODY", default_value = "4MiB", value_parser = bytes)]
    max_body: usize,
    /// Answer within this time, whatever the API server does.
    #[arg(long = "gateway-timeout", env = "STORMFOLD_GATEWAY_TIMEOUT", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Ask for one of the bearer tokens in this file, one a line. It may change; give two while a token is replaced.
    #[arg(long = "gateway-token-file", env = "STORMFOLD_GATEWAY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Speak TLS with this certificate, PEM; with --gateway-tls-key-file. It may change.
    #[arg(long = "gateway-tls-cert-file", env = "STORMFOLD_GATEWAY_TLS_CERT_FILE", requires = "tls_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long = "gateway-tls-key-file", env = "STORMFOLD_GATEWAY_TLS_KEY_FILE", requires = "tls_cert_file")]
    tls_key_file: Option<PathBuf>,
    /// Ask clients for a certificate of these authorities, PEM.
    #[arg(long = "gateway-client-ca-file", env = "STORMFOLD_GATEWAY_CLIENT_CA_FILE")]
    client_ca_file: Option<PathBuf>,
    /// Take webhooks from anybody, also on an address that is open to others.
    #[arg(long = "gateway-allow-anonymous", env = "STORMFOLD_GATEWAY_ALLOW_ANONYMOUS")]
    allow_anonymous: bool,
    /// Take webhooks unencrypted, also on an address that is open to others.
    #[arg(long = "gateway-allow-plaintext", env = "STORMFOLD_GATEWAY_ALLOW_PLAINTEXT")]
    allow_plaintext: bool,
    /// Further rules about what alerts are about, words for severities and names of exporters: YAML, see the README.
    #[arg(long = "gateway-settings-file", env = "STORMFOLD_GATEWAY_SETTINGS_FILE")]
    settings_file: Option<PathBuf>,
}

/// What `stormfold targets` reads.
#[derive(Args, Debug, Clone)]
pub struct TargetFlags {
    /// A webhook's body, an alert, or labels (JSON, YAML, or label="value" as Prometheus shows them); - is the standard input.
    pub file: Option<PathBuf>,
    /// The settings file of the gateway, whose rules come first.
    #[arg(long = "gateway-settings-file", env = "STORMFOLD_GATEWAY_SETTINGS_FILE")]
    settings_file: Option<PathBuf>,
}

impl TargetFlags {
    /// The settings file, where there is one.
    pub fn settings_file(&self) -> Option<&Path> {
        Self::not_empty(self.settings_file.as_deref())
    }

    /// An empty name is none, as with the gateway.
    pub(super) fn not_empty(file: Option<&Path>) -> Option<&Path> {
        file.filter(|file| !file.as_os_str().is_empty())
    }
}

impl GatewayFlags {
    /// As the gateway takes them; `None` when it is not wanted.
    pub(super) fn settings(&self) -> Option<GatewaySettings> {
        // An empty one is none, so that a template with an optional value may leave it empty.
        let file = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        Some(GatewaySettings {
            listen: self.listen?,
            limits: self.limits(),
            security: SecuritySettings {
                token_file: file(&self.token_file),
                cert_file: file(&self.tls_cert_file),
                key_file: file(&self.tls_key_file),
                client_ca_file: file(&self.client_ca_file),
                allow_anonymous: self.allow_anonymous,
                allow_plaintext: self.allow_plaintext,
            },
            settings_file: self.settings_file(),
        })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { batch: self.batch, max_body: self.max_body, timeout: self.timeout }
    }

    pub(super) fn settings_file(&self) -> Option<PathBuf> {
        self.settings_file.clone().filter(|file| !file.as_os_str().is_empty())
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        self.settings().map_or(Ok(()), |gateway| gateway.security.validate(gateway.listen.ip()))
    }
}

/// As many lines as a table may have.
fn batch(text: &str) -> Result<usize, String> {
    let lines = text.parse().ok().filter(|lines| (1..=2_000).contains(lines));
    lines.ok_or_else(|| "out of range: 1 to 2000".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes = super::size(text)?;
    // One alert with long annotations must fit; and four of the largest are in memory at once.
    let fits = (1024..=64 * 1024 * 1024).contains(&bytes);
    if fits { Ok(bytes) } else { Err("out of range: 1KiB to 64MiB".to_owned()) }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "not a duration: write it as 500ms or 10s".to_owned())?;
    Duration::try_from(duration)
        .ok()
        .filter(|d| *d >= Duration::from_millis(100) && *d <= Duration::from_mins(5))
        .ok_or_else(|| "out of range: 100ms to 5m".to_owned())
}
