//! Webhooks in: one server for all sources that are told by them. Knows no source.
//!
//! `connections` gives a client a place, `server` speaks TLS and HTTP with it, `request` bounds what it sends and asks who it is from
//! (`security`, with `files` that may change), `arrivals` says when it came, and the [`WebhookSource`] of its path answers it, or an
//! [`answer`] says why not. A server of our own, not axum's or axum-server's: none of them bounds connections by who has them, the time of
//! a header, and the life of a connection.

pub mod answer;
mod arrivals;
mod connections;
mod files;
mod request;
mod security;
mod server;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use jiff::Timestamp;

pub use connections::listen;
pub use request::Gateway;
pub use security::SecuritySettings;
pub use server::serve;

use answer::Problem;

use crate::metrics::SourceLabel;

/// A source that is told by webhooks.
#[async_trait]
pub trait WebhookSource: Send + Sync {
    /// Where they come.
    fn path(&self) -> &'static str;

    /// Who sends them.
    fn sender(&self) -> &'static str;

    /// The same, as metrics call it.
    fn label(&self) -> SourceLabel;

    /// What to do at the sender about a body that is too large, as an order.
    fn how_to_send_less(&self) -> &'static str;

    /// Stores what this body says, which came at `received`: no two come at one time. Answered is what is stored.
    async fn take(&self, body: Vec<u8>, received: Timestamp) -> Result<Response<Body>, Problem>;
}
