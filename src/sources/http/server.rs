//! Connections: who gets one, TLS, and how long it may last.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::any;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::request::{Gateway, nothing, webhook};

/// For the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For the header of a request, and between two requests of a connection.
const HEADER: Duration = Duration::from_secs(5);
/// Of a connection. Who asks on and reads no answer has no other end, and needs no token for it.
const LIFETIME: Duration = Duration::from_mins(5);
/// For what is left to write to a connection that ends, beyond the time of a request.
const FAREWELL: Duration = Duration::from_secs(5);
/// Of a header.
const HEADER_BYTES: usize = 64 * 1024;

/// What is behind the connections.
fn router(gateway: &Arc<Gateway>) -> Router {
    let routes = Router::new().fallback(nothing).with_state(gateway.clone());
    gateway.sources().iter().fold(routes, |routes, source| {
        let state = (gateway.clone(), source.clone());
        routes.route(source.path(), any(webhook).with_state(state))
    })
}

/// Serves until `stop`; what is being answered then is answered.
pub async fn serve((listener, gateway): (TcpListener, Gateway), stop: CancellationToken) {
    let gateway = Arc::new(gateway);
    let router = router(&gateway);
    let places = Connections::new(gateway.evicted_connections());
    let connections = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // Such as too many open files: it passes, and a loop would not help it.
                tracing::warn!(%error, "the gateway cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = stop.run_until_cancelled(places.enter(peer.ip())).await else { break };
        let place = Arc::new(place);
        let router = router.clone().layer(Extension(place.clone()));
        let (gateway, stop) = (gateway.clone(), stop.clone());
        connections.spawn(async move {
            tokio::select! {
                () = connection(stream, &gateway, router, stop) => {}
                // Whoever connects can make this happen as often as he likes.
                () = place.lost() => tracing::debug!(%peer, "a connection to the gateway gives way to another one"),
            }
        });
    }
    // Who comes now is for another replica.
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, gateway: &Gateway, router: Router, stop: CancellationToken) {
    // An answer is one write: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let end = gateway.timeout() + FAREWELL;
    let Some(tls) = gateway.tls() else {
        return speak(stream, router, stop, end).await;
    };
    match timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => speak(stream, router, stop, end).await,
        // Whoever connects can make this happen as often as he likes.
        Ok(Err(error)) => tracing::debug!(%error, "a client of the gateway failed the TLS handshake"),
        Err(_) => tracing::debug!("a client of the gateway does not finish its TLS handshake"),
    }
}

/// Speaks HTTP until the client ends, or its time is over; then what is being answered has until `end`.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
    stop: CancellationToken,
    end: Duration,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        _ = timeout(LIFETIME, stop.cancelled()) => {
            connection.as_mut().graceful_shutdown();
            timeout(end, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the gateway ended"),
        Err(_) => tracing::debug!("a client of the gateway does not read its answers, and is cut off"),
    }
}
