//! Open storms follow the edits of their policies.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::projections::Projections;
use super::queue::Requests;
use crate::policies::Policies;

/// Asks for a run of every open storm after each edit of a policy, until `stop`.
pub async fn follow_policies(
    policies: Arc<Policies>,
    projections: Arc<Projections>,
    requests: Requests,
    stop: CancellationToken,
) {
    let mut changes = policies.changes();
    // The sender lives as long as `policies`.
    while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
        projections.open().into_iter().for_each(|id| requests.now(id));
    }
}
