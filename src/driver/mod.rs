//! Drives the engine: feeds it what happens, and carries out what it wants. It decides nothing.

mod facts;
mod timers;

use std::sync::Arc;

use stormfold_core::engine::Engine;
use stormfold_core::engine::call::{Call, CallId, Reply};
use stormfold_core::engine::effect::Effect;
use stormfold_core::engine::input::Input;
use stormfold_core::engine::resync::ResyncReason;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use facts::{Gates, Reporter};
pub use timers::Timers;

use crate::cluster::Cluster;
use crate::inbox::{Mailbox, Message, Want};
use crate::ledger::{Ledger, execute};
use crate::runtime::clock::Clock;
use crate::watch::SignalLister;

/// Drives one engine.
pub struct Driver {
    /// The protocol.
    pub engine: Engine,
    /// Where storms are merged.
    pub ledger: Arc<dyn Ledger>,
    /// The API server.
    pub cluster: Cluster,
    /// The API server, for the Signals of one namespace.
    pub lister: SignalLister,
    /// What the ledger asks for by itself.
    pub resyncs: UnboundedReceiver<ResyncReason>,
    /// The reader of Signals.
    pub wants: UnboundedSender<Want>,
    /// Tells people and machines.
    pub reporter: Reporter,
    /// The time.
    pub clock: Clock,
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    calls: JoinSet<(CallId, Reply)>,
    timers: Timers,
    /// How many lists of Signals were begun.
    list: u64,
}

impl Driver {
    /// Drives until `stop`, and then until the runs under way have ended.
    pub async fn run(mut self, mut mailbox: Mailbox, stop: CancellationToken) {
        let mut under_way = UnderWay::default();
        while let Some(input) = self.next(&mut mailbox, &mut under_way, &stop).await {
            self.step(input, &mut under_way);
        }
        self.step(Input::Stop, &mut under_way);
        while let Some(answer) = under_way.calls.join_next().await {
            self.step(answered(answer), &mut under_way);
        }
    }

    /// What happens next. `None`: told to stop.
    async fn next(
        &mut self,
        mailbox: &mut Mailbox,
        under_way: &mut UnderWay,
        stop: &CancellationToken,
    ) -> Option<Input> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return None,
                Some(answer) = under_way.calls.join_next() => return Some(answered(answer)),
                Some(timer) = under_way.timers.next() => return Some(Input::Timer(timer)),
                Some(reason) = self.resyncs.recv() => return Some(Input::Resync(reason)),
                message = mailbox.next() => match message? {
                    Message::Input(input) => return Some(*input),
                    Message::Chunk(list, arrivals) if list == under_way.list => return Some(Input::Signals(arrivals)),
                    // Of a list that another one has replaced.
                    Message::Chunk(..) => {}
                    Message::Look(look) => look(&self.engine),
                },
            }
        }
    }

    fn step(&mut self, input: Input, under_way: &mut UnderWay) {
        let now = self.clock.now();
        for effect in self.engine.step(input, now) {
            match effect {
                Effect::Call(id, call) => self.call(id, call, &mut under_way.calls),
                Effect::SetTimer(timer, delay) => under_way.timers.set(timer, delay),
                Effect::CancelTimer(timer) => under_way.timers.cancel(timer),
                Effect::ReadSignals { digests, groupings } => {
                    under_way.list += 1;
                    self.want(Want::List(under_way.list, digests, groupings));
                }
                Effect::NextChunk => self.want(Want::Chunk),
                Effect::Gate(gate, reason) => self.reporter.gate(gate, reason),
                Effect::Fact(fact) => self.reporter.report(fact, now),
            }
        }
    }

    fn call(&self, id: CallId, call: Call, calls: &mut JoinSet<(CallId, Reply)>) {
        match call {
            Call::Ledger(call) => {
                let ledger = self.ledger.clone();
                calls.spawn(async move { (id, Reply::Ledger(execute(ledger.as_ref(), call).await)) });
            }
            Call::Api(call) => {
                let cluster = self.cluster.clone();
                calls.spawn(async move { (id, Reply::Api(cluster.execute(call).await)) });
            }
            Call::Signals(list) => {
                let lister = self.lister.clone();
                calls.spawn(async move { (id, Reply::Signals(lister.page(list).await)) });
            }
        }
    }

    fn want(&self, want: Want) {
        // The reader ends only with the process.
        let _ = self.wants.send(want);
    }
}

fn answered(answer: Result<(CallId, Reply), tokio::task::JoinError>) -> Input {
    match answer {
        Ok((id, reply)) => Input::Reply(id, reply),
        // No call is ever aborted. One that panics ends the process, as any loop that does.
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
