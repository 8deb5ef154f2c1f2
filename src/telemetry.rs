//! Logs.

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise. kube logs each 5xx at ERROR by itself, once per retry; our own error path says
/// it once.
const DEFAULT_FILTER: &str = "info,kube_client=off,kube_runtime=warn";

/// Writes logs to standard error from here on.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
