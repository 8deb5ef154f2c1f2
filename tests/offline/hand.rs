//! An engine that a test drives by hand: step by step, with a memory ledger and a scripted API server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use stormfold::cluster::Cluster;
use stormfold::driver::{Gates, Reporter, Timers};
use stormfold::ledger::execute;
use stormfold::ledger::memory::MemoryLedger;
use stormfold::metrics::Metrics;
use stormfold::policies::Policies;
use stormfold::runtime::clock::Clock;
use stormfold::runtime::events::events;
use stormfold::runtime::part_gate::PartGate;
use stormfold::runtime::readiness::Readiness;
use stormfold::storm::{Policy, StormId};
use stormfold_core::engine::call::{ApiCall, ApiReply, Call, CallId, Reply};
use stormfold_core::engine::effect::{Effect, Fact, Next, Timer};
use stormfold_core::engine::input::Input;
use stormfold_core::engine::receipts::Receipt;
use stormfold_core::engine::{Engine, Settings};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::press::at;

/// What becomes of receipts where no writer sends them.
#[derive(Default)]
pub struct Slips {
    owed: AtomicUsize,
    asked: AtomicUsize,
    written: AtomicUsize,
    left: AtomicUsize,
    /// Writes are not answered.
    pub slow: AtomicBool,
}

impl Slips {
    /// How many were asked to be written.
    pub fn released(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many are owed no more, and were not written.
    pub fn abandoned(&self) -> usize {
        let [owed, written, left] = [&self.owed, &self.written, &self.left].map(|count| count.load(Ordering::Relaxed));
        owed - written - left
    }
}

/// A reporter whose metrics and readiness a test looks at.
pub fn reporter(client: Client, metrics: &Metrics, policies: &Arc<Policies>, readiness: &Readiness) -> Reporter {
    let gates = Gates {
        signals: readiness.open_gate("signals"),
        requests: readiness.open_gate("requests"),
        ledger: readiness.open_gate("ledger"),
        merge: readiness.open_gate("merge"),
        room: readiness.notice("ledger memory"),
        receipts: readiness.open_gate("receipts"),
        publish: PartGate::new(readiness.open_gate("publish")),
    };
    Reporter { gates, events: events(client, metrics).0, metrics: metrics.clone(), policies: policies.clone() }
}

/// See the module.
pub struct Hand {
    pub engine: Engine,
    pub ledger: Arc<MemoryLedger>,
    pub cluster: Cluster,
    pub metrics: Metrics,
    pub policies: Arc<Policies>,
    /// Receipts end here. `None`: they are written.
    pub slips: Option<Arc<Slips>>,
    reporter: Reporter,
    timers: Timers,
    calls: JoinSet<(CallId, Reply)>,
    unanswered: Vec<CallId>,
    ended: Vec<(StormId, Next)>,
    seconds: Arc<AtomicI64>,
}

impl Hand {
    pub fn new(client: &Client) -> Self {
        let metrics = Metrics::default();
        let policies = Arc::new(Policies::built_in_only(client.clone(), Policy::default()));
        Self {
            engine: Engine::new(Settings::default(), policies.view().set),
            ledger: Arc::default(),
            cluster: Cluster::new(client.clone(), metrics.clone()),
            slips: None,
            reporter: reporter(client.clone(), &metrics, &policies, &Readiness::default()),
            metrics,
            policies,
            timers: Timers::default(),
            calls: JoinSet::new(),
            unanswered: Vec::new(),
            ended: Vec::new(),
            seconds: Arc::default(),
        }
    }

    /// It is that many seconds after the storm opened.
    pub fn set_clock(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::Relaxed);
    }

    pub fn clock(&self) -> Clock {
        let seconds = self.seconds.clone();
        Clock::new(move || at(seconds.load(Ordering::Relaxed)))
    }

    /// These Signals were merged into a storm.
    pub fn owe(&mut self, id: StormId, receipts: Vec<Receipt>) {
        let before = self.engine.receipts().count();
        self.engine.owe(id, receipts);
        if let Some(slips) = &self.slips {
            slips.owed.fetch_add(self.engine.receipts().count() - before, Ordering::Relaxed);
        }
        self.count_receipts();
    }

    /// The writes of receipts that were asked for are done.
    pub fn answer_receipts(&mut self) {
        for id in std::mem::take(&mut self.unanswered) {
            if let Some(slips) = &self.slips {
                slips.written.fetch_add(1, Ordering::Relaxed);
            }
            self.step(Input::Reply(id, Reply::Api(Ok(ApiReply::Written))));
        }
    }

    /// One run of this storm, and what follows from it at once.
    pub async fn run(&mut self, id: StormId) -> Next {
        self.ended.clear();
        // The pause of an earlier run does not defer it. One that failed runs again by itself.
        self.step(Input::Timer(Timer::Pause(id)));
        if self.calls.is_empty() {
            self.step(Input::Storm(id));
        }
        while let Some(answered) = self.calls.join_next().await {
            let (id, reply) = answered.unwrap();
            self.step(Input::Reply(id, reply));
        }
        let ended: BTreeSet<StormId> = self.ended.iter().map(|(id, _)| *id).collect();
        assert_eq!(ended.len(), self.ended.len(), "a storm ran twice: {:?}", self.ended);
        self.ended.iter().find(|(ended, _)| *ended == id).expect("the run ends").1
    }

    /// Whatever is due within this time.
    pub async fn work(&mut self, time: Duration) {
        let mut end = Box::pin(sleep(time));
        // Nothing happens, but for what the test did.
        self.step(Input::Timer(Timer::Begin));
        loop {
            let input = tokio::select! {
                biased;
                Some(answered) = self.calls.join_next() => {
                    let (id, reply) = answered.unwrap();
                    Input::Reply(id, reply)
                }
                Some(timer) = self.timers.next() => Input::Timer(timer),
                () = &mut end => return,
            };
            self.step(input);
        }
    }

    fn step(&mut self, input: Input) {
        let now = self.clock().now();
        for effect in self.engine.step(input, now) {
            match effect {
                Effect::Call(id, call) => self.call(id, call),
                Effect::SetTimer(timer, delay) => self.timers.set(timer, delay),
                Effect::CancelTimer(timer) => self.timers.cancel(timer),
                Effect::Gate(gate, reason) => self.reporter.gate(gate, reason),
                Effect::Fact(Fact::RunEnded(id, next)) => self.ended.push((id, next)),
                Effect::Fact(fact) => self.reporter.report(fact, now),
                Effect::ReadSignals { .. } | Effect::NextChunk => panic!("no Signals are read here: {effect:?}"),
            }
        }
        self.count_receipts();
        if self.slips.as_ref().is_some_and(|slips| !slips.slow.load(Ordering::Relaxed)) {
            self.answer_receipts();
        }
    }

    fn call(&mut self, id: CallId, call: Call) {
        match (call, &self.slips) {
            (Call::Api(ApiCall::WriteReceipt(receipt, _)), Some(slips)) => {
                // What a Signal is told while it waits is no receipt.
                slips.asked.fetch_add(usize::from(!receipt.verdict.is_pending()), Ordering::Relaxed);
                self.unanswered.push(id);
            }
            (Call::Api(call), _) => {
                let cluster = self.cluster.clone();
                self.calls.spawn(async move { (id, Reply::Api(cluster.execute(call).await)) });
            }
            (Call::Signals(_), _) => panic!("no Signals are read here"),
            (Call::Ledger(call), _) => {
                let ledger = self.ledger.clone();
                self.calls.spawn(async move { (id, Reply::Ledger(execute(ledger.as_ref(), call).await)) });
            }
        }
    }

    fn count_receipts(&self) {
        if let Some(slips) = &self.slips {
            slips.left.store(self.engine.receipts().count(), Ordering::Relaxed);
        }
    }
}
