//! Receipts: the status of a Signal that was merged or rejected. Written after the RemediationRequest shows what the Signal
//! brought, at low priority: a status write costs the API server as much as the create, so during a burst they wait.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Notify, RwLock, RwLockReadGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{
    ACCEPTED, ACKNOWLEDGED, FIELD_MANAGER, GROUPED, OccurrenceSummary, REASON_COOLING_DOWN, REASON_LABELS_MISSING,
    REASON_MERGED, REASON_PARTLY_REJECTED, REASON_POLICY_SUSPENDED, Signal, SignalStatus, condition,
};
use crate::metrics::{ApiWrite, Loop, Metrics, WriteResult};
use crate::publish::Receipts;
use crate::runtime::backoff::delay;
use crate::runtime::error::{ApiError, Disposition, call};
use crate::runtime::events::cut;
use crate::runtime::readiness::Gate;
use crate::storm::holding::HeldBack;
use crate::storm::metadata::count;
use crate::storm::{Rejection, SignalRef, StormId};

/// Writers at work: enough to use the API server's idle time, few enough to leave it to the Signals.
const WRITERS: usize = 4;
/// A burst is over when nothing was merged for this long.
const BURST_GAP: Duration = Duration::from_millis(300);
/// A receipt waits no longer than this for the end of a burst.
const PATIENCE: Duration = Duration::from_secs(15);
/// A receipt that the API server refused this often, over about a minute, no longer holds up the end of its storm. It is still tried.
const REFUSALS: u32 = 8;
/// Conditions may have messages of 32 KB; nobody reads that.
const MAX_MESSAGE: usize = 1_024;

/// What a Signal is told.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The Signal.
    pub signal: Arc<SignalRef>,
    /// Name of the RemediationRequest, if one holds its occurrences.
    pub storm: Option<String>,
    /// What became of its occurrences.
    pub occurrences: OccurrenceSummary,
    /// The verdict.
    pub verdict: Verdict,
    /// Labels by which its policy groups and which it lacks.
    pub missing_labels: Vec<String>,
}

/// How intake ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All of it is in.
    Merged,
    /// Some of it is in; why the rest is not.
    PartlyRejected(String),
    /// None of it is in.
    Rejected(Rejection),
    /// It waits for a storm that may not open yet. No receipt: written only onto this version of the Signal, so that it never comes after one.
    HeldBack(HeldBack, Option<String>),
}

/// All receipts that are owed.
pub struct Board {
    /// Closed while receipts cannot be written.
    gate: Gate,
    state: Mutex<State>,
    /// Read-locked from before a merge until its Signals are owed.
    joining: RwLock<()>,
    wake: Notify,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    /// Waiting for a publish, by storm.
    storms: HashMap<StormId, Owed>,
    /// The Signals of all of them: one that is delivered again before its receipt is written is owed one receipt.
    signals: HashSet<(Arc<SignalRef>, StormId)>,
    /// To be written first: rejections, and what the end of a storm waits for.
    urgent: VecDeque<Task>,
    /// To be written when the burst is over.
    ready: VecDeque<Task>,
    last_merge: Option<Instant>,
}

impl State {
    /// Lets go what may not be written yet. True when there was some.
    fn abandon(&mut self, id: StormId, metrics: &Metrics) -> bool {
        let Some(owed) = self.storms.get_mut(&id) else { return false };
        let mut waiting = std::mem::take(&mut owed.merged);
        waiting.append(&mut owed.claimed);
        if owed.writing == 0 {
            self.storms.remove(&id);
        }
        metrics.owed_receipts.dec_by(count(waiting.len()));
        for receipt in &waiting {
            self.signals.remove(&(receipt.signal.clone(), id));
        }
        !waiting.is_empty()
    }

    fn push(&mut self, task: Task) {
        let rejected = matches!(task.receipt.verdict, Verdict::Rejected(_));
        let queue = if rejected { &mut self.urgent } else { &mut self.ready };
        queue.push_back(task);
    }
}

#[derive(Default)]
struct Owed {
    merged: Vec<Receipt>,
    claimed: Vec<Receipt>,
    writing: usize,
}

impl Owed {
    fn count(&self) -> usize {
        self.merged.len() + self.claimed.len() + self.writing
    }
}

struct Task {
    receipt: Receipt,
    storm: Option<StormId>,
    failures: u32,
    since: Instant,
}

impl Board {
    /// An empty board.
    pub fn new(gate: Gate, metrics: Metrics) -> Self {
        Self { gate, state: Mutex::default(), joining: RwLock::default(), wake: Notify::new(), metrics }
    }

    /// Held while a merge is on its way and its Signals are not owed yet.
    pub async fn joining(&self) -> RwLockReadGuard<'_, ()> {
        self.joining.read().await
    }

    /// The ledger may have lost what was merged and not published: those Signals are read again, and owed again.
    pub fn forget_unpublished(&self) {
        let mut state = self.lock();
        let ids: Vec<StormId> = state.storms.keys().copied().collect();
        for id in ids {
            state.abandon(id, &self.metrics);
        }
    }

    /// This Signal adds nothing to a storm that is over; its end waits for the receipt.
    pub fn write_for(&self, id: StormId, receipt: Receipt) {
        let mut state = self.lock();
        if !state.signals.insert((receipt.signal.clone(), id)) {
            return;
        }
        self.metrics.owed_receipts.inc();
        state.storms.entry(id).or_default().writing += 1;
        state.push(Task { receipt, storm: Some(id), failures: 0, since: Instant::now() });
        self.wake.notify_one();
    }

    /// These Signals were merged into a storm; their receipts wait for its publication.
    pub fn owe(&self, id: StormId, mut receipts: Vec<Receipt>) {
        let mut state = self.lock();
        receipts.retain(|receipt| state.signals.insert((receipt.signal.clone(), id)));
        self.metrics.owed_receipts.inc_by(count(receipts.len()));
        if !receipts.is_empty() {
            state.storms.entry(id).or_default().merged.extend(receipts);
        }
    }

    /// This Signal waits for nothing: it was rejected, or a closed storm holds it.
    pub fn write_now(&self, receipt: Receipt) {
        self.metrics.owed_receipts.inc();
        self.lock().push(Task { receipt, storm: None, failures: 0, since: Instant::now() });
        self.wake.notify_one();
    }

    /// Something was merged: a burst goes on.
    pub fn merged_something(&self) {
        self.lock().last_merge = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The storm of this task need not wait for it any more.
    fn release_storm(&self, task: &mut Task) {
        let Some(id) = task.storm.take() else { return };
        let mut state = self.lock();
        state.signals.remove(&(task.receipt.signal.clone(), id));
        if let Some(owed) = state.storms.get_mut(&id) {
            owed.writing -= 1;
            if owed.count() == 0 {
                state.storms.remove(&id);
            }
        }
    }

    /// The next receipt to write, or how long to wait for one.
    fn next(&self) -> Result<Task, Option<Duration>> {
        let mut state = self.lock();
        if let Some(task) = state.urgent.pop_front() {
            return Ok(task);
        }
        let Some(first) = state.ready.front() else { return Err(None) };
        let burst = state.last_merge.map_or(Duration::ZERO, |last| BURST_GAP.saturating_sub(last.elapsed()));
        let wait = burst.min(PATIENCE.saturating_sub(first.since.elapsed()));
        if wait > Duration::ZERO {
            return Err(Some(wait));
        }
        state.ready.pop_front().ok_or(None)
    }
}

#[async_trait]
impl Receipts for Board {
    fn claim(&self, id: StormId) {
        if let Some(owed) = self.lock().storms.get_mut(&id) {
            let merged = std::mem::take(&mut owed.merged);
            owed.claimed.extend(merged);
        }
    }

    fn release(&self, id: StormId) {
        let mut state = self.lock();
        let Some(owed) = state.storms.get_mut(&id) else { return };
        let claimed = std::mem::take(&mut owed.claimed);
        owed.writing += claimed.len();
        let since = Instant::now();
        state.ready.extend(claimed.into_iter().map(|receipt| Task { receipt, storm: Some(id), failures: 0, since }));
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    fn hurry(&self, id: StormId) {
        let mut state = self.lock();
        let (urgent, ready) = std::mem::take(&mut state.ready).into_iter().partition(|task| task.storm == Some(id));
        state.ready = ready;
        let mut urgent: VecDeque<Task> = urgent;
        state.urgent.append(&mut urgent);
        self.wake.notify_waiters();
    }

    fn abandon(&self, id: StormId) -> bool {
        self.lock().abandon(id, &self.metrics)
    }

    async fn joined(&self) {
        drop(self.joining.write().await);
    }

    fn owed(&self, id: StormId) -> usize {
        self.lock().storms.get(&id).map_or(0, Owed::count)
    }
}

/// Writes receipts until `stop`.
pub async fn write_receipts(board: Arc<Board>, client: Client, now: impl Fn() -> Timestamp, stop: CancellationToken) {
    let writer = || async {
        while !stop.is_cancelled() {
            match board.next() {
                Ok(task) => write_one(&board, &client, task, now()).await,
                Err(wait) => {
                    // Another writer may take what this one was woken for; looking again each second costs nothing.
                    let wait = wait.unwrap_or(Duration::from_secs(1));
                    tokio::select! {
                        () = board.wake.notified() => {}
                        () = tokio::time::sleep(wait) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(|_| writer())).await;
}

async fn write_one(board: &Arc<Board>, client: &Client, mut task: Task, now: Timestamp) {
    let result = match write(client, &task.receipt, now).await {
        Ok(()) => WriteResult::Done,
        // 404: deleted. 409: another object has its name now, with a receipt of its own to come.
        Err(error) if matches!(error.code(), Some(404 | 409)) => WriteResult::Gone,
        Err(error) => {
            let disposition = error.disposition();
            board.metrics.wrote(ApiWrite::Receipt, WriteResult::Failed);
            board.metrics.failed(Loop::Receipts, disposition);
            task.failures += 1;
            let wait = delay(task.failures);
            tracing::warn!(?disposition, %error, failures = task.failures, "a receipt is not written yet");
            let board = board.clone();
            board.gate.close(&format!("receipts wait: {error}"));
            if disposition == Disposition::Terminal && task.failures >= REFUSALS {
                board.release_storm(&mut task);
            }
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                board.lock().push(task);
                board.wake.notify_one();
            });
            return;
        }
    };
    board.gate.open();
    board.metrics.wrote(ApiWrite::Receipt, result);
    board.metrics.owed_receipts.dec();
    board.release_storm(&mut task);
}

async fn write(client: &Client, receipt: &Receipt, now: Timestamp) -> Result<(), ApiError> {
    let SignalRef { namespace, name, uid } = receipt.signal.as_ref();
    // Metadata is all that is read of the answer: a Signal may be large, or one that this operator cannot read.
    let api: Api<PartialObjectMeta<Signal>> = Api::namespaced(client.clone(), namespace);
    // The UID makes the API server refuse (409) an object of the same name that came after this one.
    let mut body = json!({ "metadata": { "uid": uid }, "status": status(receipt, now) });
    if let Verdict::HeldBack(_, version) = &receipt.verdict {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let what = || format!("write the receipt of Signal {namespace}/{name}");
    call(what, api.patch_status(name, &params, &Patch::Merge(&body))).await.map(drop)
}

impl Receipt {
    /// What the condition `Accepted` says, for people.
    pub fn message(&self) -> String {
        match &self.verdict {
            Verdict::Merged if self.storm.is_some() => "counted".to_owned(),
            Verdict::Merged => "nothing in it fires, and no storm is open".to_owned(),
            Verdict::PartlyRejected(first) => {
                let message = format!("{} occurrences rejected, the first: {first}", self.occurrences.rejected);
                cut(&message, MAX_MESSAGE).to_owned()
            }
            Verdict::Rejected(rejection) => cut(&rejection.message, MAX_MESSAGE).to_owned(),
            Verdict::HeldBack(HeldBack::Suspended(policy), _) => {
                format!("StormPolicy {policy} is suspended: no storm opens under it, and this Signal waits")
            }
            Verdict::HeldBack(HeldBack::CoolingDown(before, until), _) => format!(
                "no storm opens before {until}: {} ended as {:?}; the annotation {ACKNOWLEDGED}=true on it ends the wait",
                before.name, before.outcome
            ),
        }
    }
}

/// The status that says what a receipt says.
pub fn status(receipt: &Receipt, now: Timestamp) -> SignalStatus {
    let (status, reason) = match &receipt.verdict {
        Verdict::Merged => ("True", REASON_MERGED),
        Verdict::PartlyRejected(_) => ("True", REASON_PARTLY_REJECTED),
        Verdict::Rejected(rejection) => ("False", rejection.reason),
        Verdict::HeldBack(HeldBack::Suspended(_), _) => ("Unknown", REASON_POLICY_SUSPENDED),
        Verdict::HeldBack(HeldBack::CoolingDown(..), _) => ("Unknown", REASON_COOLING_DOWN),
    };
    let waits = status == "Unknown";
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
        occurrences: Some(receipt.occurrences),
        // The spec is immutable, so there is one generation only.
        observed_generation: Some(1),
        merged_at: (!waits).then_some(Time(now)),
    }
}
