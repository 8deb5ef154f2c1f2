//! The page, its two files, and the stream of what changes. On the loopback, under a path that nobody else of this machine can guess, and for no name but
//! that of the loopback: a web site that points its own name here gets nothing.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use futures::stream::unfold;
use tokio::net::TcpListener;

use super::SharedBoard;

/// BoardChanges that come together are told together: people do not read faster.
const PACE: Duration = Duration::from_millis(500);
/// The page loads what it is made of, and asks its own server; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// See the module.
#[derive(Clone)]
pub(super) struct DashboardPages {
    board: SharedBoard,
    address: SocketAddr,
    secret: String,
}

impl DashboardPages {
    pub(super) fn new(board: SharedBoard, address: SocketAddr) -> Self {
        // Each `RandomState` is keyed from the operating system's random source.
        let half = || RandomState::new().hash_one(());
        Self { board, address, secret: format!("{:016x}{:016x}", half(), half()) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.secret)
    }
}

pub(super) async fn serve(listener: TcpListener, pages: DashboardPages) -> std::io::Result<()> {
    let file = |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
    let path = |name: &str| format!("/{}/{name}", pages.secret);
    let router = Router::new()
        .route(&path(""), file("text/html; charset=utf-8", include_str!("page.html")))
        .route(&path("page.css"), file("text/css; charset=utf-8", include_str!("page.css")))
        .route(&path("page.js"), file("text/javascript; charset=utf-8", include_str!("page.js")))
        .route(&path("changes"), get(changes))
        .layer(from_fn_with_state(pages.clone(), guard))
        .with_state(pages);
    axum::serve(listener, router).await
}

/// Answers to the loopback's own names only, and says what the browser may do with the answer.
async fn guard(State(pages): State<DashboardPages>, request: Request, next: Next) -> Response {
    let port = pages.address.port();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host != pages.address.to_string() && host != format!("localhost:{port}") {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Everything, and then what changes, for as long as the page is open.
async fn changes(State(pages): State<DashboardPages>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changed = pages.board.changed.subscribe();
    let stream = unfold((pages.board, changed, 0), async |(board, mut changed, seen)| {
        loop {
            changed.borrow_and_update();
            if let Some(changes) = board.with(|board| board.since(seen)) {
                // A row that cannot be written would be a defect of ours; the page begins anew.
                let event = Event::default().json_data(&changes).ok()?;
                return Some((Ok(event), (board, changed, changes.version)));
            }
            changed.changed().await.ok()?;
            tokio::time::sleep(PACE).await;
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
