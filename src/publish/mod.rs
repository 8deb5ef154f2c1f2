//! Storms out: one run per storm at a time, decide → render → apply. The only writer of `RemediationRequest`.

mod apply;
mod behind;
mod carry_out;
mod drops;
mod follow;
mod news;
mod openings;
mod projections;
mod queue;
mod reconcile;
pub mod render;

pub use apply::Apply;
pub use behind::Behind;
pub use drops::Drops;
pub use follow::follow_policies;
pub use openings::Openings;
pub use projections::{Projections, is_asked, is_open, is_superseded, watch_projections};
pub use queue::{PublishQueue, Requests, requests};
pub use reconcile::{Listed, Next, Publisher, Rewatch};

use async_trait::async_trait;

use crate::storm::StormId;

/// Receipts of merged Signals, as the publisher sees them: claimed before a snapshot, released when the snapshot is in the cluster.
#[async_trait]
pub trait Receipts: Send + Sync {
    /// Takes those whose Signals are merged: any snapshot taken after this includes them.
    fn claim(&self, id: StormId);
    /// The claimed ones may be written.
    fn release(&self, id: StormId);
    /// The end of this storm waits for those that may be written: they go first.
    fn hurry(&self, id: StormId);
    /// The storm is gone: its Signals will come again, or count as handled. True when there were some.
    fn abandon(&self, id: StormId) -> bool;
    /// Waits until the Signals of every merge that the ledger has done by now are owed.
    async fn joined(&self);
    /// How many are not written yet.
    fn owed(&self, id: StormId) -> usize;
}
