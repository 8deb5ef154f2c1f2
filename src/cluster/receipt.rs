//! A receipt as the status of its Signal.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde_json::json;
use stormfold_core::engine::receipts::{MAX_MESSAGE, Receipt, Verdict};

use crate::api::{
    ACCEPTED, FIELD_MANAGER, GROUPED, OccurrenceSummary, OtherStorm, REASON_COOLING_DOWN, REASON_LABELS_MISSING,
    REASON_LEDGER_FULL, REASON_MERGED, REASON_PARTLY_REJECTED, REASON_POLICY_SUSPENDED, REASON_REQUEST_REFUSED, Signal,
    SignalStatus, condition,
};
use crate::runtime::error::{ApiError, call};
use crate::storm::holding::HeldBack;
use crate::storm::places::write_places;
use crate::storm::{Past, SignalRef, cut};

/// Writes the receipt of a Signal.
pub(super) async fn write(client: &Client, receipt: &Receipt, now: Timestamp) -> Result<(), ApiError> {
    let SignalRef { namespace, name, uid } = receipt.signal.as_ref();
    // Metadata is all that is read of the answer: a Signal may be large, or one that this operator cannot read.
    let api: Api<PartialObjectMeta<Signal>> = Api::namespaced(client.clone(), namespace);
    // The UID makes the API server refuse (409) an object of the same name that came after this one.
    let mut body = json!({ "metadata": { "uid": uid }, "status": status(receipt, now) });
    if receipt.verdict.is_pending() {
        body["metadata"]["resourceVersion"] = json!(receipt.version);
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let what = || format!("write the receipt of Signal {namespace}/{name}");
    call(what, api.patch_status(name, &params, &Patch::Merge(&body))).await.map(drop)
}

/// A merge patch: what is absent is removed, for an earlier receipt may have said it.
fn summary(receipt: &Receipt) -> OccurrenceSummary {
    let Receipt { total, new, rejected, held, .. } = receipt;
    let of = |past| write_places(held.iter().filter(|(_, of)| *of == past).map(|(place, _)| *place));
    let (held, handled) = (of(Past::Over), of(Past::Handled));
    OccurrenceSummary { total: *total, new: *new, rejected: *rejected, held, handled }
}

fn other_storm((name, places): &(String, Vec<u16>)) -> Option<OtherStorm> {
    Some(OtherStorm { name: name.clone(), occurrences: write_places(places.iter().copied())? })
}

/// The status that says what a receipt says.
pub fn status(receipt: &Receipt, now: Timestamp) -> SignalStatus {
    let (status, reason) = match &receipt.verdict {
        Verdict::Merged => ("True", REASON_MERGED),
        Verdict::PartlyRejected(_) => ("True", REASON_PARTLY_REJECTED),
        Verdict::Rejected(rejection) => ("False", rejection.reason),
        Verdict::HeldBack(HeldBack::Suspended(_)) => ("Unknown", REASON_POLICY_SUSPENDED),
        Verdict::HeldBack(HeldBack::CoolingDown(..)) => ("Unknown", REASON_COOLING_DOWN),
        Verdict::NoRoom(_) => ("Unknown", REASON_LEDGER_FULL),
        Verdict::RequestRefused(_) => ("Unknown", REASON_REQUEST_REFUSED),
    };
    let waits = receipt.verdict.is_pending();
    let accepted = Condition { status: status.to_owned(), ..condition(ACCEPTED, true, reason, receipt.message(), now) };
    let lacks = |labels: &[String]| {
        let message = format!("its policy groups by labels that it lacks: {}", labels.join(", "));
        condition(GROUPED, false, REASON_LABELS_MISSING, cut(&message, MAX_MESSAGE).to_owned(), now)
    };
    let grouped = Some(receipt.missing_labels.as_slice()).filter(|labels| !labels.is_empty()).map(lacks);
    let observed = |condition| Condition { observed_generation: Some(1), ..condition };
    SignalStatus {
        conditions: [accepted].into_iter().chain(grouped).map(observed).collect(),
        storm: receipt.storm.clone(),
        other_storms: receipt.others.iter().filter_map(other_storm).collect(),
        occurrences: Some(summary(receipt)),
        // The spec is immutable, so there is one generation only.
        observed_generation: Some(1),
        merged_at: (!waits).then_some(Time(now)),
    }
}
