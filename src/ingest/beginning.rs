//! Before all Signals are read: is the ledger there, and does it still know what it was told?

use futures::FutureExt;
use kube::Resource;
use kube::runtime::events::EventType;
use tokio_util::sync::CancellationToken;

use super::stream::{Ingest, LONGEST_WAIT};
use crate::ledger::{Begun, Memory};
use crate::metrics::Loop;
use crate::runtime::backoff::Backoff;
use crate::storm::DigestKey;

impl Ingest {
    /// The key for the digests of what is read from now on, and what the ledger still knows. Waits for it; `None`: stopped.
    pub(super) async fn begin(&self, stop: &CancellationToken) -> Option<(DigestKey, Memory)> {
        let mut backoff = Backoff::default();
        loop {
            // Whoever asked to read all Signals again asked for what begins now.
            let _ = self.rewatch.notified().now_or_never();
            match self.ledger.begin().await {
                Ok(Begun { key, memory }) => {
                    self.tell(memory);
                    if memory != Memory::Kept {
                        self.board.forget_unpublished();
                    }
                    return Some((key, memory));
                }
                Err(error) => {
                    let disposition = error.disposition();
                    self.metrics.failed(Loop::Ingest, disposition);
                    self.ledger_gate.close(&error.to_string());
                    tracing::warn!(?disposition, %error, "the Signals are not read before the ledger answers");
                    let wait = tokio::time::sleep(backoff.failed(()).min(LONGEST_WAIT));
                    stop.run_until_cancelled(wait).await?;
                }
            }
        }
    }

    /// Says what became of the ledger, where it matters: in readiness, and on the storms that it is rebuilt for.
    fn tell(&self, memory: Memory) {
        let open = self.projections.open();
        let (gate, note) = match memory {
            Memory::Empty if !open.is_empty() => (
                "the ledger was empty: it is being rebuilt from the Signals",
                "The ledger has lost this storm. Its Signals are read again; until then its counts stay as they are.",
            ),
            Memory::Doubtful => (
                "the ledger was restarted: all Signals are being read again",
                "The ledger was restarted, and may have lost what it was told last. The Signals are read again.",
            ),
            Memory::Kept | Memory::Empty => return self.ledger_gate.open(),
        };
        tracing::warn!(open_storms = open.len(), ?memory, "the Signals are read again to rebuild the ledger");
        self.ledger_gate.close(gate);
        for object in open.into_iter().filter_map(|id| self.projections.get(id)) {
            self.events.tell(object.object_ref(&()), EventType::Warning, "LedgerRebuilt", "Merge", note);
        }
    }
}
