//! Writes receipts: rejections at once, the others when the burst is over, a few at a time.

use std::time::Duration;

use super::registry::{ReceiptKey, ReceiptTask};
use crate::disposition::Disposition;
use crate::engine::Engine;
use crate::engine::call::{self, ApiCall, ApiFault, ApiFaultKind, ApiReply, ObjectName};
use crate::engine::effect::{Delay, Effect, Fact, GateId, Part, Timer};

/// Writers at work: enough to use the API server's idle time, few enough to leave it to the Signals.
const WRITERS: u8 = 4;
/// A burst is over when nothing was merged for this long.
const BURST_GAP: Duration = Duration::from_millis(300);
/// A receipt waits no longer than this for the end of a burst.
const PATIENCE: Duration = Duration::from_secs(15);
/// A receipt that the API server refused this often, over about a minute, no longer holds up the end of its storm. It is still
/// tried.
const REFUSALS: u32 = 8;

impl Engine {
    /// Something is about to be merged: a burst goes on.
    pub(in crate::engine) fn burst_goes_on(&mut self) {
        self.receipts.bursting = true;
        self.effect(Effect::SetTimer(Timer::Burst, Delay::After(BURST_GAP)));
    }

    pub(in crate::engine) fn burst_ended(&mut self) {
        self.receipts.bursting = false;
    }

    pub(in crate::engine) fn patience_ended(&mut self) {
        self.receipts.patience_runs = false;
        self.receipts.all_overdue();
    }

    pub(in crate::engine) fn receipt_is_due(&mut self, key: ReceiptKey) {
        if let Some(task) = self.receipts.retrying.remove(&key) {
            self.receipts.push(task);
        }
    }

    /// Keeps the writers at work.
    pub(in crate::engine) fn write_receipts(&mut self) {
        for writer in 0..WRITERS {
            if self.receipts.writing.contains_key(&writer) {
                continue;
            }
            let Some(task) = self.receipts.next() else { break };
            let call = ApiCall::WriteReceipt(Box::new(task.receipt.clone()), self.now);
            self.receipts.writing.insert(writer, task);
            self.ask_api(call::Task::Receipt(writer), call);
        }
        if self.receipts.waits() && self.receipts.bursting && !self.receipts.patience_runs {
            self.receipts.patience_runs = true;
            self.effect(Effect::SetTimer(Timer::Patience, Delay::After(PATIENCE)));
        }
    }

    /// A writer has its answer.
    pub(in crate::engine) fn receipt_heard(&mut self, writer: u8, reply: Result<ApiReply, ApiFault>) {
        let Some(task) = self.receipts.writing.remove(&writer) else { return };
        match reply {
            Ok(_) => {}
            // Not found: deleted. Conflict: another object has its name now, with a receipt of its own to come.
            Err(fault) if matches!(fault.kind, ApiFaultKind::NotFound | ApiFaultKind::Conflict) => {}
            Err(fault) => return self.receipt_failed(task, fault),
        }
        if std::mem::take(&mut self.receipts.failing) {
            self.effect(Effect::Gate(GateId::Receipts, None));
        }
        self.receipts.done(task);
    }

    fn receipt_failed(&mut self, mut task: ReceiptTask, fault: ApiFault) {
        let ApiFault { disposition, message, .. } = fault;
        task.failures = task.failures.saturating_add(1);
        self.receipts.failing = true;
        self.effect(Effect::Gate(GateId::Receipts, Some(format!("receipts wait: {message}"))));
        let signal = &task.receipt.signal;
        let object = Some(ObjectName { namespace: signal.namespace.clone(), name: signal.name.clone() });
        self.fact(Fact::Failed { part: Part::Receipts, disposition, object, message });
        if disposition == Disposition::Terminal && task.failures >= REFUSALS {
            self.receipts.release_storm(&mut task);
        }
        let free = |key: &ReceiptKey| !self.receipts.retrying.contains_key(key);
        let key = (0..=ReceiptKey::MAX).find(free).unwrap_or_default();
        let delay = Delay::Backoff { failures: task.failures, at_most: Duration::MAX };
        self.receipts.retrying.insert(key, task);
        self.effect(Effect::SetTimer(Timer::Receipt(key), delay));
    }
}
