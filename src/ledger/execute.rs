//! The calls of the engine, carried out on any ledger.

use super::{Ledger, LedgerCall, LedgerError, LedgerReply};
use crate::storm::decide::LedgerView;

/// Makes one call.
pub async fn execute(ledger: &dyn Ledger, call: LedgerCall) -> Result<LedgerReply, LedgerError> {
    let done = |()| LedgerReply::Done;
    match call {
        LedgerCall::Begin => ledger.begin().await.map(LedgerReply::Begun),
        LedgerCall::Merge { batches, now } => ledger.merge(&batches, now).await.map(LedgerReply::Merged),
        LedgerCall::Open { id, pattern, now } => ledger.open(id, &pattern, now).await.map(LedgerReply::Opened),
        LedgerCall::Hold(holdings) => {
            let (mut left, mut refused) = (Vec::with_capacity(holdings.len()), Vec::new());
            for holding in holdings {
                match ledger.hold(&holding).await {
                    Ok(alerts) => left.push((holding.key, alerts)),
                    Err(LedgerError::NoRoom(why)) => refused.push((holding.key, why)),
                    Err(error) => return Err(error),
                }
            }
            Ok(if refused.is_empty() { LedgerReply::Held(left) } else { LedgerReply::HeldInPart { left, refused } })
        }
        LedgerCall::Note { key, reports, at } => ledger.note(key, &reports, at).await.map(done),
        LedgerCall::TakeOver(id, now) => ledger.take_over(id, now).await.map(LedgerReply::TakenOver),
        LedgerCall::Dirty => ledger.dirty().await.map(LedgerReply::Dirty),
        LedgerCall::DropUnknown { known, before } => ledger.drop_unknown(&known, before).await.map(done),
        LedgerCall::Snapshot { id, which } => {
            let mut snapshot = ledger.snapshot(id).await?;
            if !which.is_empty() && matches!(snapshot.view, LedgerView::Open { .. }) {
                snapshot.firing = ledger.firing_of(id, &which).await?;
            }
            Ok(LedgerReply::Snapshot(snapshot))
        }
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
