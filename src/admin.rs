//! `/livez`, `/readyz` and `/metrics`.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::runtime::clock::Clock;
use crate::runtime::readiness::Readiness;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    readiness: Readiness,
    metrics: Metrics,
    clock: Clock,
}

impl Pages {
    /// Pages that show these.
    pub fn new(readiness: Readiness, metrics: Metrics, clock: Clock) -> Self {
        Self { readiness, metrics, clock }
    }
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) {
    let router = Router::new()
        // The process serves: that is all that liveness means. A Redis or an API server that is down does not restart pods.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(pages);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
        tracing::error!(%error, "the admin server ended");
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let (closed, notices) = (pages.readiness.closed(), pages.readiness.notices());
    let (status, mut text) = if closed.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, String::new())
    };
    for (gate, reason) in closed.into_iter().chain(notices) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{gate}: {reason}");
    }
    (status, text).into_response()
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    match pages.metrics.encode(pages.clock.now()) {
        Ok(text) => {
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, openmetrics)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
