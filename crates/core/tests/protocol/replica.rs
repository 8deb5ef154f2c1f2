//! One process: the engine, and what its executors have under way for it. A crash loses all of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use stormfold_core::engine::call::{ApiReply, Call, Reply, Task};
use stormfold_core::engine::effect::{Delay, Effect, Fact, Timer};
use stormfold_core::ledger::{LedgerCall, LedgerReply};
use stormfold_core::storm::StormId;

use super::api::Api;
use super::case::Case;
use super::engine::{Heard, Protocol};
use super::ledger::Ledger;
use super::op::{Op, Progress};
use super::redis::{Epoch, Life};
use super::values::{epoch_of, rest_of, storm};
use super::watch::Watch;
use super::world::Object;

/// A timer that runs longer than this does not run off: nothing here takes so long.
const FAR: Duration = Duration::from_mins(1);

/// A call of the engine that is under way. Of the calls of one task, the last one is the one that the engine waits for.
#[derive(Clone, Debug, Hash)]
pub struct Running {
    pub task: Task,
    pub state: State,
}

#[derive(Clone, Debug, Hash)]
pub enum State {
    Ledger(LedgerRun),
    Api(Api),
    /// It had its effect, and its answer is on its way.
    Answered(Box<Answer>),
}

/// A call to the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LedgerRun {
    /// The names of the incarnation under which its first command was sent; `None` before that.
    pub life: Option<Life>,
    pub op: Op,
}

/// An answer, as far as it tells states apart.
#[derive(Clone, Debug)]
pub struct Answer(pub Reply);

impl Hash for Answer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Reply::Ledger(Ok(LedgerReply::Merged(merges))) => merges.hash(state),
            Reply::Ledger(Ok(LedgerReply::Snapshot(snapshot))) => snapshot.hash(state),
            Reply::Api(Ok(ApiReply::Object(object))) => object.hash(state),
            Reply::Api(Ok(ApiReply::Found(objects))) => objects.hash(state),
            reply => format!("{reply:?}").hash(state),
        }
    }
}

/// What a process is at, where it does one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    Ingest,
    Run(Epoch),
    Dirty,
    Receipts,
}

/// See the module.
#[derive(Clone, Default)]
pub struct Replica {
    /// `None` while the process is down.
    pub protocol: Option<Arc<Protocol>>,
    pub ledger: Ledger,
    /// In the order of their tasks.
    pub calls: Vec<Running>,
    pub timers: BTreeSet<Timer>,
    pub watch: Watch,
    /// Objects whose last change the watch has not brought yet.
    pub unheard: BTreeSet<Epoch>,
    /// After which `begin` the snapshots were read that runs still use.
    pub snapshots: BTreeMap<Epoch, u64>,
    pub turn: Option<Turn>,
}

impl Hash for Replica {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { protocol, ledger, calls, timers, watch, unheard, snapshots, turn } = self;
        protocol.as_ref().map(|protocol| protocol.digest).hash(state);
        (ledger, calls, timers, watch, unheard, snapshots, turn).hash(state);
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, ledger, calls, timers, watch, unheard, .. } = self;
        let up = protocol.is_some();
        write!(f, "up: {up}, {ledger:?}, {calls:?}, {timers:?}, {watch:?}, unheard: {unheard:?}")
    }
}

impl Turn {
    pub fn of(task: Task) -> Self {
        match task {
            Task::Run(id) => Self::Run(epoch_of(id.epoch)),
            Task::Dirty => Self::Dirty,
            Task::Receipt(_) => Self::Receipts,
            Task::Begin | Task::Holder(_) | Task::Hold | Task::Merge | Task::Open(_) | Task::Reread(_) => Self::Ingest,
        }
    }
}

impl Replica {
    pub fn is_up(&self) -> bool {
        self.protocol.is_some()
    }

    /// A start: the list of RemediationRequests comes before everything else.
    pub fn start(objects: &BTreeMap<Epoch, Object>, clock: Epoch, case: &Case) -> Self {
        let mut replica = Self { protocol: Some(Protocol::new(case)), ..Self::default() };
        let listed = objects.iter().map(|(epoch, object)| Heard::Listed(*epoch, *object));
        let before = [Heard::PoliciesListed, Heard::ListBegins];
        for heard in before.into_iter().chain(listed).chain([Heard::ListEnds]) {
            replica.reacts(heard, clock, case);
        }
        replica
    }

    /// The engine reacts, and its effects begin. What it does at once is part of the same step.
    pub fn reacts(&mut self, heard: Heard, clock: Epoch, case: &Case) {
        let mut all = VecDeque::from([heard]);
        while let Some(heard) = all.pop_front() {
            let Some(protocol) = &self.protocol else { return };
            let (next, effects) = protocol.hears(&heard, clock, case);
            self.protocol = Some(next);
            effects.iter().for_each(|effect| self.begins(effect, &mut all));
        }
        self.turn = self.turn.filter(|turn| self.is_at(*turn));
    }

    fn begins(&mut self, effect: &Effect, then: &mut VecDeque<Heard>) {
        match effect {
            Effect::Call(id, Call::Ledger(call)) => {
                if matches!(call, LedgerCall::Begin) {
                    // What it would bring, the engine ignores; the list brings it again.
                    self.watch = Watch::default();
                }
                match self.ledger.call(call) {
                    Progress::Next(op) => {
                        self.call(Running { task: id.task, state: State::Ledger(LedgerRun { life: None, op }) });
                    }
                    Progress::Done(reply) => {
                        then.push_back(Heard::Reply(id.task, true, Box::new(Answer(Reply::Ledger(Ok(reply))))));
                    }
                    Progress::Wiped => unreachable!("nothing was sent"),
                }
            }
            Effect::Call(id, Call::Api(call)) => {
                self.call(Running { task: id.task, state: State::Api(Api::of(call)) });
            }
            Effect::Call(id, Call::Signals(list)) => {
                let rest = list.after.as_deref().map(rest_of);
                self.call(Running { task: id.task, state: State::Api(Api::ListSignals(rest)) });
            }
            Effect::SetTimer(timer, delay) => self.set_timer(*timer, *delay, then),
            Effect::CancelTimer(timer) => {
                self.timers.remove(timer);
            }
            Effect::ReadSignals { .. } => self.watch = Watch::to_list(),
            Effect::NextChunk => {
                self.watch.wanted = true;
                // What is being opened is part of the turn.
                let at_it = self.calls.iter().any(|running| Turn::of(running.task) == Turn::Ingest);
                if !self.watch.to_list && !at_it {
                    self.turn = self.turn.filter(|turn| *turn != Turn::Ingest);
                }
            }
            Effect::Fact(Fact::RunEnded(id, _)) => self.run_ended(*id),
            Effect::Gate(..) | Effect::Fact(_) => {}
        }
    }

    fn call(&mut self, running: Running) {
        let at = self.calls.partition_point(|other| other.task <= running.task);
        self.calls.insert(at, running);
    }

    /// What only puts off a call runs off at once, for that call may have its effect as late as it likes: the next try of a `begin` and of a
    /// receipt, and the end of a burst.
    fn set_timer(&mut self, timer: Timer, delay: Delay, then: &mut VecDeque<Heard>) {
        match timer {
            Timer::Begin | Timer::Receipt(_) | Timer::Reread(_) | Timer::Burst | Timer::Patience => {
                then.push_back(Heard::Timer(timer));
            }
            Timer::HeldBack => panic!("nothing is held back"),
            Timer::Room => panic!("there is room for everybody"),
            Timer::Storm(_) | Timer::Pause(_) | Timer::Merge | Timer::Open => {
                if !matches!(delay, Delay::After(delay) if delay >= FAR) {
                    self.timers.insert(timer);
                }
            }
        }
    }

    fn run_ended(&mut self, id: StormId) {
        let epoch = epoch_of(id.epoch);
        self.snapshots.remove(&epoch);
        self.turn = self.turn.filter(|turn| *turn != Turn::Run(epoch));
    }

    /// The executor has the answer to a call; the engine hears it at once, unless it waits.
    pub fn answered(&mut self, index: usize, reply: Reply, waits: bool, clock: Epoch, case: &Case) {
        let Running { task, state } = &mut self.calls[index];
        // What a run has read is in use until it ends.
        if let State::Ledger(LedgerRun { op: Op::SnapshotStage(epoch, begun), .. }) = *state
            && *task == Task::Run(storm(epoch))
        {
            self.snapshots.insert(epoch, begun);
        }
        *state = State::Answered(Box::new(Answer(reply)));
        self.takes_turn(index, case);
        if !waits {
            self.hears(index, clock, case);
        }
    }

    /// The engine hears an answer.
    pub fn hears(&mut self, index: usize, clock: Epoch, case: &Case) {
        self.takes_turn(index, case);
        let Running { task, state } = self.calls.remove(index);
        let is_last = self.calls.get(index).is_none_or(|next| next.task != task);
        if let State::Answered(answer) = state {
            self.reacts(Heard::Reply(task, is_last, answer), clock, case);
        }
    }

    pub fn takes_chunk(&mut self, most: usize, clock: Epoch, case: &Case) {
        let chunk = self.watch.chunk(most);
        self.turn = case.one_thing_at_a_time.then_some(Turn::Ingest);
        self.reacts(Heard::Signals(chunk), clock, case);
    }

    pub fn timer_ends(&mut self, index: usize, clock: Epoch, case: &Case) {
        let timer = *self.timers.iter().nth(index).unwrap();
        self.timers.remove(&timer);
        self.reacts(Heard::Timer(timer), clock, case);
    }

    /// The ledger asks for all Signals to be read.
    pub fn tell_of_loss(&mut self, another_server: bool, clock: Epoch, case: &Case) {
        self.ledger.told |= another_server;
        self.reacts(Heard::Resync, clock, case);
    }

    /// The ledger began: with the least number that no snapshot bears which is still in use.
    pub fn began(&mut self) {
        let used = |number: &u64| self.snapshots.values().any(|of| of == number);
        self.ledger.begun = (0..=u64::MAX).find(|number| !used(number)).unwrap();
    }

    /// Whether this call can go on. Before the first `begin` the ledger refuses every other one at once, and the run of a storm is tried again
    /// after a second: what waits for the `begin` stands for that.
    pub fn can_go_on(&self, running: &Running) -> bool {
        let State::Ledger(LedgerRun { op, .. }) = &running.state else { return true };
        self.ledger.life.is_some() || matches!(op, Op::Connect | Op::Incarnation)
    }

    /// Where a process does one thing at a time: this is what it is at.
    pub fn takes_turn(&mut self, index: usize, case: &Case) {
        self.turn = case.one_thing_at_a_time.then_some(Turn::of(self.calls[index].task));
    }

    /// Whether a `begin` is under way.
    pub fn is_beginning(&self) -> bool {
        self.calls.iter().any(|running| running.task == Task::Begin)
    }

    /// Whether what failed of ingest waits for a back-off.
    fn retries_ingest(&self) -> bool {
        self.timers.contains(&Timer::Merge) || self.timers.contains(&Timer::Open)
    }

    /// Whether it can go on with what it is at.
    fn is_at(&self, turn: Turn) -> bool {
        let of_turn = |running: &Running| Turn::of(running.task) == turn && self.can_go_on(running);
        let ingest = turn == Turn::Ingest && (self.watch.to_list || self.retries_ingest());
        ingest || turn != Turn::Receipts && self.calls.iter().any(of_turn)
    }
}
