//! Every step that can be taken in a state: of the processes, of the world around them, and faults.

use std::sync::Arc;

use stormfold_core::engine::call::Task;
use stormfold_core::engine::effect::Timer;

use super::case::Case;
use super::engine::Heard;
use super::op::Op;
use super::redis::{Data, Epoch};
use super::replica::{Replica, Running, State, Turn};
use super::search::digest;
use super::values::epoch_of;
use super::watch::Event;
use super::world::{Object, Sig, World};

/// How a call ends for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// With its answer.
    Answered,
    /// It had its effect; the caller hears nothing, and tries again.
    ReplyLost,
    /// It had its effect; the connection broke, and it was sent a second time at once.
    SentTwice,
    /// The caller hears nothing, and the effect may still come.
    Late,
    /// The caller dies with the call on its way.
    LateOfTheDead,
}

/// One step. Calls, timers and late effects by their place among those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Of a process: system steps, which are taken sooner or later.
    Start(u8),
    Call(u8, u8, Fate),
    List(u8),
    TakeChunk(u8, u8),
    Timer(u8, u8),
    Hear(u8, Epoch),
    CheckServer(u8),
    /// Of the world.
    Signal(Sig),
    Outcome(Epoch),
    Tick,
    /// Faults.
    Crash(u8),
    ArriveLate(u8),
    Flush,
    Wipe,
    Save,
    Rollback,
    Relist(u8),
    Repeat(u8, Epoch),
}

/// A step and the state after it, which is another.
pub struct Move {
    pub step: Step,
    pub world: World,
    pub digest: u128,
}

impl Step {
    /// Whether it is taken sooner or later, if nothing else happens.
    pub fn is_of_the_system(self) -> bool {
        match self {
            Self::Call(_, _, fate) => fate == Fate::Answered,
            Self::Start(_)
            | Self::List(_)
            | Self::TakeChunk(..)
            | Self::Timer(..)
            | Self::Hear(..)
            | Self::CheckServer(_) => true,
            _ => false,
        }
    }
}

impl World {
    /// The steps that change anything.
    pub fn moves(&self, case: &Case) -> Vec<Move> {
        let before = digest(self);
        let after = |step| {
            let world = self.after(step, case);
            Move { step, digest: digest(&world), world }
        };
        self.steps(case).into_iter().map(after).filter(|next| next.digest != before).collect()
    }

    /// What can happen now.
    fn steps(&self, case: &Case) -> Vec<Step> {
        let mut steps = Vec::new();
        for r in 0..case.replicas {
            if self.replica(r.into()).is_up() {
                self.steps_of(r, case, &mut steps);
            } else {
                steps.push(Step::Start(r));
            }
        }
        for signal in (0..).take(case.signals.len()).filter(|signal| !self.signals.contains_key(signal)) {
            steps.push(Step::Signal(signal));
        }
        let left = &self.left;
        let mut may = |left: u8, step: Step| steps.extend((left > 0).then_some(step));
        for (epoch, object) in self.objects.iter() {
            if object.is_open() && !object.finished && object.shown.is_some() {
                may(left.outcomes, Step::Outcome(*epoch));
            }
        }
        may(left.ticks, Step::Tick);
        may(left.flushes, Step::Flush);
        may(left.wipes, Step::Wipe);
        match &self.saved {
            None => may(left.rollbacks, Step::Save),
            Some(saved) if **saved != self.redis.data => may(left.rollbacks, Step::Rollback),
            Some(_) => {}
        }
        for (index, _) in (0..).zip(&self.late) {
            may(1, Step::ArriveLate(index));
        }
        steps
    }

    fn steps_of(&self, r: u8, case: &Case, steps: &mut Vec<Step>) {
        let (replica, left) = (self.replica(r.into()), &self.left);
        let turn = replica.turn.filter(|_| case.one_thing_at_a_time);
        let mut may = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        may(left.crashes > 0, Step::Crash(r));
        for (index, running) in (0..).zip(&replica.calls) {
            if !replica.can_go_on(running) || turn.is_some_and(|turn| turn != Turn::of(running.task)) {
                continue;
            }
            let (ledger, writes) = match &running.state {
                State::Ledger(..) => (true, false),
                State::Api(api) => (false, api.writes()),
                State::Answered(_) => {
                    may(true, Step::Call(r, index, Fate::Answered));
                    continue;
                }
            };
            may(true, Step::Call(r, index, Fate::Answered));
            may(left.lost_replies > 0, Step::Call(r, index, Fate::ReplyLost));
            may(left.lost_replies > 0 && ledger, Step::Call(r, index, Fate::SentTwice));
            may(left.late_effects > 0 && writes, Step::Call(r, index, Fate::Late));
            may(left.late_effects > 0 && writes && left.crashes > 0, Step::Call(r, index, Fate::LateOfTheDead));
        }
        for (index, timer) in (0..).zip(&replica.timers) {
            let ingest = turn == Some(Turn::Ingest) && matches!(timer, Timer::Merge | Timer::Open);
            may(turn.is_none() || ingest, Step::Timer(r, index));
        }
        may(replica.watch.to_list && turn.is_none_or(|turn| turn == Turn::Ingest), Step::List(r));
        if turn.is_none() {
            self.beginnings_of(r, case, steps);
        }
    }

    /// What a process can begin.
    fn beginnings_of(&self, r: u8, case: &Case, steps: &mut Vec<Step>) {
        let (replica, left) = (self.replica(r.into()), &self.left);
        let mut may = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        let (watch, events) = (&replica.watch, u8::try_from(replica.watch.inbox.len()).unwrap());
        may(watch.wanted && events > 0, Step::TakeChunk(r, 1));
        may(watch.wanted && events > 1, Step::TakeChunk(r, events));
        for epoch in &replica.unheard {
            may(true, Step::Hear(r, *epoch));
        }
        let notices = case.answers_take_time || !replica.is_beginning();
        may(notices && self.is_another_ledger(replica), Step::CheckServer(r));
        may(left.relists > 0 && watch.is_live && events == 0, Step::Relist(r));
        for epoch in self.objects.keys().filter(|epoch| !replica.unheard.contains(epoch)) {
            may(left.repeats > 0, Step::Repeat(r, *epoch));
        }
    }

    /// `watch_server` finds another ledger than the one that was begun. Another server is told of once.
    fn is_another_ledger(&self, replica: &Replica) -> bool {
        let ledger = &replica.ledger;
        let another = ledger.server != Some(self.redis.server);
        ledger.life.is_some() && if another { !ledger.told } else { ledger.life != self.redis.data.incarnation }
    }

    /// The state after a step.
    pub fn after(&self, step: Step, case: &Case) -> Self {
        let (mut world, clock) = (self.clone(), self.clock);
        match step {
            Step::Call(r, index, fate) => world.call(r.into(), index.into(), fate, case),
            Step::Start(r) => world.replace(r.into(), Replica::start(&self.objects, self.clock, case)),
            Step::List(r) => world.list(r.into()),
            Step::TakeChunk(r, most) => {
                world.change(r.into(), |replica| replica.takes_chunk(most.into(), clock, case));
            }
            Step::Timer(r, index) => {
                world.change(r.into(), |replica| replica.timer_ends(index.into(), clock, case));
            }
            Step::Hear(r, epoch) => world.hear(r.into(), epoch, case),
            Step::CheckServer(r) => {
                let another = self.replica(r.into()).ledger.server != Some(self.redis.server);
                world.change(r.into(), |replica| replica.tell_of_loss(another, clock, case));
            }
            Step::Repeat(r, epoch) => {
                world.left.repeats -= 1;
                world.hear(r.into(), epoch, case);
            }
            Step::Crash(r) => {
                world.left.crashes -= 1;
                world.replace(r.into(), Replica::default());
            }
            Step::Relist(r) => {
                world.left.relists -= 1;
                world.list(r.into());
            }
            other => world.happen(other, case),
        }
        world.look_for_dirty(case);
        world
    }

    /// What a list that ended asks for, the dirty storms, is answered at once, unless every answer takes its time: it brings runs that find
    /// nothing to do, and removes what strays left in steps that change nothing else.
    fn look_for_dirty(&mut self, case: &Case) {
        for r in 0..self.replicas.len() {
            while !case.answers_take_time
                && !case.command_by_command
                && let Some(index) = self.replica(r).calls.iter().position(|call| call.task == Task::Dirty)
            {
                self.call(r, index, Fate::Answered, case);
            }
        }
    }

    fn list(&mut self, r: usize) {
        let signals = self.signals.clone();
        self.change(r, |replica| {
            replica.watch.listed(signals.iter().map(|(signal, receipt)| (*signal, *receipt)));
            replica.turn = None;
        });
    }

    fn hear(&mut self, r: usize, epoch: Epoch, case: &Case) {
        let (object, clock) = (self.objects[&epoch], self.clock);
        self.change(r, |replica| {
            replica.unheard.remove(&epoch);
            replica.reacts(Heard::Changed(epoch, object), clock, case);
        });
    }

    /// What happens to all.
    fn happen(&mut self, step: Step, case: &Case) {
        match step {
            Step::Signal(signal) => self.new_signal(signal),
            Step::Outcome(epoch) => {
                self.left.outcomes -= 1;
                let object = self.objects[&epoch];
                self.write(epoch, Object { finished: true, ..object });
            }
            Step::Tick => {
                self.left.ticks -= 1;
                self.clock += 1;
            }
            Step::Flush => {
                self.left.flushes -= 1;
                self.clock += u8::from(case.losses_take_a_second);
                self.redis().data = Data::default();
            }
            Step::Wipe => {
                self.left.wipes -= 1;
                self.replace_redis(Data::default());
            }
            Step::Save => self.saved = Some(Arc::new(self.redis.data.clone())),
            Step::Rollback => {
                self.left.rollbacks -= 1;
                let saved = self.saved.take().unwrap();
                self.replace_redis(Data::clone(&saved));
            }
            Step::ArriveLate(index) => {
                let late = self.late.remove(usize::from(index));
                drop(self.exec_api(&late, case));
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Before its list a process has no watch, and finds the Signal in the list.
    fn new_signal(&mut self, signal: Sig) {
        Arc::make_mut(&mut self.signals).insert(signal, None);
        for r in 0..self.replicas.len() {
            if self.replica(r).watch.is_live {
                let event = Event::Signal((signal, None));
                self.change(r, |replica| replica.watch.inbox.push(event));
            }
        }
    }

    /// Another server takes the place of this one.
    fn replace_redis(&mut self, data: Data) {
        let redis = self.redis();
        redis.server += 1;
        redis.data = data;
    }

    /// A step in words, for a trace.
    pub fn tell(&self, step: Step, name: impl Fn(u8) -> u8) -> String {
        let process = |r: u8| if self.replicas.len() > 1 { format!("{}: ", name(r)) } else { String::new() };
        match step {
            Step::Call(r, index, fate) => {
                let running = &self.replica(r.into()).calls[usize::from(index)];
                let fate = if fate == Fate::Answered { String::new() } else { format!(", {fate:?}") };
                format!("{}{}{fate}", process(r), tell_call(running))
            }
            Step::Timer(r, index) => {
                let timer = self.replica(r.into()).timers.iter().nth(index.into()).copied().unwrap();
                let of = match timer {
                    Timer::Storm(id) => format!("storm {} is looked at again", epoch_of(id.epoch)),
                    Timer::Pause(id) => format!("the back-off of storm {} is over", epoch_of(id.epoch)),
                    _ => "the back-off of a merge is over".to_owned(),
                };
                format!("{}{of}", process(r))
            }
            Step::Start(r) => format!("{}Start", process(r)),
            Step::List(r) => format!("{}ListSignals", process(r)),
            Step::TakeChunk(r, most) => format!("{}TakeChunk({most})", process(r)),
            Step::Hear(r, epoch) => format!("{}Hear({epoch})", process(r)),
            Step::CheckServer(r) => format!("{}CheckServer", process(r)),
            Step::Crash(r) => format!("{}Crash", process(r)),
            Step::Relist(r) => format!("{}Relist", process(r)),
            Step::Repeat(r, epoch) => format!("{}Repeat({epoch})", process(r)),
            Step::ArriveLate(index) => format!("late: {:?}", self.late[usize::from(index)]),
            other => format!("{other:?}"),
        }
    }
}

/// What a call does next.
fn tell_call(running: &Running) -> String {
    let turn = Turn::of(running.task);
    match &running.state {
        State::Ledger(call) if matches!(call.op, Op::Connect) => format!("{turn:?} Connect"),
        State::Ledger(call) => format!("{turn:?} {:?}", call.op.cmd(0).1),
        State::Api(api) => format!("{turn:?} {api:?}"),
        State::Answered(_) => format!("{turn:?} has its answer"),
    }
}
