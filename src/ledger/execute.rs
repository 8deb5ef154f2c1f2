//! The calls of the engine, carried out on any ledger.

use super::{Holding, Ledger, LedgerCall, LedgerError, LedgerReply};

/// Makes one call.
pub async fn execute(ledger: &dyn Ledger, call: LedgerCall) -> Result<LedgerReply, LedgerError> {
    let done = |()| LedgerReply::Done;
    match call {
        LedgerCall::Begin => ledger.begin().await.map(LedgerReply::Begun),
        LedgerCall::Merge { batches, now } => ledger.merge(&batches, now).await.map(LedgerReply::Merged),
        LedgerCall::Open { id, pattern, now } => ledger.open(id, &pattern, now).await.map(LedgerReply::Opened),
        LedgerCall::Hold(holdings) => {
            for Holding { key, epoch, uids, at } in holdings {
                ledger.hold(key, epoch, &uids, at).await?;
            }
            Ok(LedgerReply::Done)
        }
        LedgerCall::NoteResolved { key, uids, at } => ledger.note_resolved(key, &uids, at).await.map(done),
        LedgerCall::Dirty => ledger.dirty().await.map(LedgerReply::Dirty),
        LedgerCall::Snapshot(id) => ledger.snapshot(id).await.map(LedgerReply::Snapshot),
        LedgerCall::MarkPublished(id) => ledger.mark_published(id).await.map(done),
        LedgerCall::Ack(id, snapshot) => ledger.ack(id, &snapshot).await.map(|_| LedgerReply::Done),
        LedgerCall::Close { id, snapshot, reason, at } => {
            ledger.close(id, &snapshot, reason, at).await.map(LedgerReply::Closing)
        }
        LedgerCall::Settle(id) => ledger.settle(id).await.map(done),
        LedgerCall::Forget(id, at) => ledger.forget(id, at).await.map(LedgerReply::Forgotten),
        LedgerCall::DropStorm(id) => ledger.drop_storm(id).await.map(done),
    }
}
