//! `dashboard`: a page on this machine that shows storms as they are, with the rights of whoever opened it. It reads, and changes nothing.

mod board;
mod server;

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Screen;
use super::access::Access;
use super::fault::PluginError;
use crate::api::RemediationRequest;
use crate::settings::DashboardFlags;
use board::Board;
use server::DashboardPages;

/// The board, and a number that tells whoever looks at it that it changed.
#[derive(Clone)]
pub(super) struct SharedBoard {
    board: Arc<Mutex<Board>>,
    changed: watch::Sender<u64>,
}

impl SharedBoard {
    fn new() -> Self {
        Self { board: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// No method panics while it holds the lock, so a poisoned lock still guards a whole board.
    fn with<T>(&self, use_it: impl FnOnce(&mut Board) -> T) -> T {
        use_it(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves the page until it is interrupted.
pub(super) async fn dashboard(
    access: &Access,
    flags: &DashboardFlags,
    screen: &mut Screen<'_>,
) -> Result<(), PluginError> {
    let listener = TcpListener::bind(("127.0.0.1", flags.port)).await?;
    let address = listener.local_addr()?;
    let board = SharedBoard::new();
    let pages = DashboardPages::new(board.clone(), address);
    let scope = if access.is_all() { "all namespaces".to_owned() } else { format!("namespace {}", access.namespace()) };
    screen.say(&format!("{}\nshows the storms of {scope} until Ctrl-C ends this\n", pages.url()))?;
    tokio::select! {
        ended = follow(access, &board) => ended,
        served = server::serve(listener, pages) => Ok(served?),
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}

/// Keeps the board. Ends when an answer comes that nothing mends.
async fn follow(access: &Access, board: &SharedBoard) -> Result<(), PluginError> {
    let mut changes = access.changes::<RemediationRequest>();
    while let Some(event) = changes.next().await {
        let event = event?;
        let version = board.with(|board| board.apply(event));
        board.changed.send_if_modified(|last| std::mem::replace(last, version) != version);
    }
    Ok(())
}
