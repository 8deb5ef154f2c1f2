//! Logs.

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise. kube logs each 5xx at ERROR by itself, once per retry; our own error path says
/// it once.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=warn";

/// Writes logs to standard error from here on.
pub fn start(format: LogFormat) {
    let chosen = EnvFilter::try_from_default_env();
    // Unset is no fault; anything else is told once there is a log to tell it in.
    let fault = chosen.as_ref().err().filter(|_| std::env::var_os("RUST_LOG").is_some()).map(ToString::to_string);
    let filter = chosen.unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if let Some(fault) = fault {
        tracing::warn!("RUST_LOG is no log filter, {DEFAULT_FILTER} is used: {fault}");
    }
}
