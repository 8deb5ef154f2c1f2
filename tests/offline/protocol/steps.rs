//! Every step that can be taken in a state: of the processes, of the world around them, and faults.

use super::ingest::Ingest;
use super::redis::Epoch;
use super::replica::{Owed, Replica};
use super::world::{Call, Context, Mutation, Receipt, Reply, Rules, Sig, World};

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    Ingest,
    Run(Epoch),
}

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

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Of a process: system steps, which are taken sooner or later.
    Start(u8),
    Call(u8, Task, Fate),
    Joined(u8),
    TakeChunk(u8, u8),
    ReadAgain(u8),
    StartRun(u8, Epoch),
    Hear(u8, Epoch),
    WriteReceipt(u8, Sig, Receipt),
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

impl Step {
    /// Whether it is taken sooner or later, if nothing else happens.
    pub fn is_of_the_system(self) -> bool {
        match self {
            Self::Call(_, _, fate) => fate == Fate::Answered,
            Self::Start(_)
            | Self::Joined(_)
            | Self::TakeChunk(..)
            | Self::ReadAgain(_)
            | Self::StartRun(..)
            | Self::Hear(..)
            | Self::WriteReceipt(..)
            | Self::CheckServer(_) => true,
            _ => false,
        }
    }

    /// The same step of the other process, for a trace in which nobody changes names.
    pub fn renamed(self, rename: impl Fn(u8) -> u8) -> Self {
        match self {
            Self::Start(r) => Self::Start(rename(r)),
            Self::Call(r, task, fate) => Self::Call(rename(r), task, fate),
            Self::Joined(r) => Self::Joined(rename(r)),
            Self::TakeChunk(r, most) => Self::TakeChunk(rename(r), most),
            Self::ReadAgain(r) => Self::ReadAgain(rename(r)),
            Self::StartRun(r, epoch) => Self::StartRun(rename(r), epoch),
            Self::Hear(r, epoch) => Self::Hear(rename(r), epoch),
            Self::WriteReceipt(r, signal, receipt) => Self::WriteReceipt(rename(r), signal, receipt),
            Self::CheckServer(r) => Self::CheckServer(rename(r)),
            Self::Crash(r) => Self::Crash(rename(r)),
            Self::Relist(r) => Self::Relist(rename(r)),
            Self::Repeat(r, epoch) => Self::Repeat(rename(r), epoch),
            other => other,
        }
    }
}

impl Replica {
    fn call(&self, task: Task) -> Option<Call> {
        match task {
            Task::Ingest => self.ingest_call(),
            Task::Run(epoch) => self.runs.get(&epoch).map(|run| run.call.clone()),
        }
    }

    fn hears(&mut self, task: Task, reply: Reply, context: Context<'_>) {
        match task {
            Task::Ingest => self.ingest_hears(reply, context),
            Task::Run(epoch) => self.run_hears(epoch, reply, context),
        }
    }

    fn is_within_pipeline(&self, task: Task) -> bool {
        match task {
            Task::Ingest => self.ingest_is_within_pipeline(),
            Task::Run(epoch) => self.runs.get(&epoch).is_some_and(super::publish::Run::is_within_pipeline),
        }
    }

    fn tasks(&self) -> impl Iterator<Item = Task> {
        let ingest = self.ingest_call().map(|_| Task::Ingest);
        ingest.into_iter().chain(self.runs.keys().map(|epoch| Task::Run(*epoch)))
    }

    /// What it began and did not end.
    fn busy_with(&self) -> Option<Task> {
        let ingests = (self.ingest != Ingest::Idle).then_some(Task::Ingest);
        ingests.or_else(|| self.runs.keys().next().map(|epoch| Task::Run(*epoch)))
    }

    /// `watch_server` would find another ledger than the one that was begun.
    fn would_notice(&self, world: &World) -> bool {
        let begins = matches!(self.ingest, Ingest::Connect | Ingest::Incarnation(_));
        let another = self.server != Some(world.redis.server) || self.life != world.redis.data.incarnation;
        self.life.is_some() && another && !begins && !self.rewatch
    }
}

impl World {
    /// What can happen now.
    pub fn steps(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        for (r, replica) in (0..).zip(&self.replicas) {
            if replica.up {
                self.steps_of(r, replica, rules, &mut steps);
            } else {
                steps.push(Step::Start(r));
            }
        }
        for signal in (0..).take(rules.signals.len()).filter(|signal| !self.signals.contains_key(signal)) {
            steps.push(Step::Signal(signal));
        }
        let left = &self.left;
        let mut may = |left: u8, step: Step| steps.extend((left > 0).then_some(step));
        for (epoch, object) in &self.objects {
            if object.is_open() && !object.finished && object.shown.is_some() {
                may(left.outcomes, Step::Outcome(*epoch));
            }
        }
        may(left.ticks, Step::Tick);
        may(left.flushes, Step::Flush);
        may(left.wipes, Step::Wipe);
        match &self.saved {
            None => may(left.rollbacks, Step::Save),
            Some(saved) if *saved != self.redis.data => may(left.rollbacks, Step::Rollback),
            Some(_) => {}
        }
        for (index, _) in (0..).zip(&self.late) {
            may(1, Step::ArriveLate(index));
        }
        steps
    }

    fn steps_of(&self, r: u8, replica: &Replica, rules: &Rules, steps: &mut Vec<Step>) {
        let left = &self.left;
        let busy = replica.busy_with().filter(|_| rules.one_thing_at_a_time);
        let mut may = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        may(replica.has_joined(), Step::Joined(r));
        may(left.crashes > 0, Step::Crash(r));
        for task in replica.tasks().filter(|task| busy.is_none_or(|busy| busy == *task)) {
            may(true, Step::Call(r, task, Fate::Answered));
            may(left.lost_replies > 0, Step::Call(r, task, Fate::ReplyLost));
            let to_redis = matches!(replica.call(task), Some(Call::Redis(..)));
            may(left.lost_replies > 0 && to_redis, Step::Call(r, task, Fate::SentTwice));
            may(left.late_effects > 0 && !to_redis, Step::Call(r, task, Fate::Late));
            may(left.late_effects > 0 && !to_redis && left.crashes > 0, Step::Call(r, task, Fate::LateOfTheDead));
        }
        if busy.is_none() {
            self.beginnings_of(r, replica, rules, steps);
        }
    }

    /// What a process can begin.
    fn beginnings_of(&self, r: u8, replica: &Replica, rules: &Rules, steps: &mut Vec<Step>) {
        let left = &self.left;
        let mut may = |possible: bool, step: Step| steps.extend(possible.then_some(step));
        if replica.ingest == Ingest::Idle {
            let events = u8::try_from(replica.inbox.len()).unwrap();
            may(replica.rewatch && !replica.listing, Step::ReadAgain(r));
            may(events > 0, Step::TakeChunk(r, 1));
            may(events > 1, Step::TakeChunk(r, events));
        }
        // Before the first `begin` a run fails at once and is due again.
        for epoch in replica.queue.iter().filter(|epoch| replica.life.is_some() && !replica.runs.contains_key(epoch)) {
            may(true, Step::StartRun(r, *epoch));
        }
        for epoch in &replica.unheard {
            may(true, Step::Hear(r, *epoch));
        }
        for ((signal, epoch), _) in replica.board.iter().filter(|(_, owed)| **owed == Owed::Ready) {
            may(true, Step::WriteReceipt(r, *signal, Some(*epoch)));
        }
        for (signal, receipt) in &replica.told {
            may(true, Step::WriteReceipt(r, *signal, *receipt));
        }
        may(replica.would_notice(self) && !rules.has(Mutation::NoWatchAgain), Step::CheckServer(r));
        let lists = matches!(replica.ingest, Ingest::Connect | Ingest::Incarnation(_) | Ingest::List);
        may(left.relists > 0 && !lists && replica.inbox.is_empty(), Step::Relist(r));
        for epoch in replica.cache.keys() {
            may(left.repeats > 0 && !replica.queue.contains(epoch), Step::Repeat(r, *epoch));
        }
    }

    /// The state after a step.
    pub fn after(&self, step: Step, rules: &Rules) -> Self {
        let mut world = self.clone();
        let context = Context { rules, clock: self.clock };
        match step {
            Step::Call(r, task, fate) => world.call(usize::from(r), task, fate, context),
            Step::Start(r) => world.replicas[usize::from(r)] = Replica::start(&self.objects),
            Step::Joined(r) => world.replicas[usize::from(r)].ingest_hears(Reply::Done, context),
            Step::TakeChunk(r, most) => world.replicas[usize::from(r)].take_chunk(usize::from(most), context),
            Step::ReadAgain(r) => world.replicas[usize::from(r)].begin(context),
            Step::StartRun(r, epoch) => world.replicas[usize::from(r)].start_run(epoch, context),
            Step::Hear(r, epoch) => {
                let replica = &mut world.replicas[usize::from(r)];
                replica.unheard.remove(&epoch);
                replica.put(epoch, self.objects[&epoch]);
                replica.queue.insert(epoch);
            }
            Step::WriteReceipt(r, signal, receipt) => {
                world.exec(&Call::WriteReceipt(signal, receipt), rules);
                let replica = &mut world.replicas[usize::from(r)];
                let ready = receipt.and_then(|epoch| replica.board.remove(&(signal, epoch)));
                if ready.is_none() {
                    replica.told.remove(&(signal, receipt));
                }
            }
            Step::CheckServer(r) => world.replicas[usize::from(r)].rewatch = true,
            Step::Repeat(r, epoch) => {
                world.left.repeats -= 1;
                world.replicas[usize::from(r)].queue.insert(epoch);
            }
            Step::Crash(r) => {
                world.left.crashes -= 1;
                world.replicas[usize::from(r)] = Replica::down();
            }
            Step::Relist(r) => {
                world.left.relists -= 1;
                let signals = self.signals.iter().map(|(signal, receipt)| (*signal, *receipt)).collect();
                world.replicas[usize::from(r)].list(signals);
            }
            other => world.happen(other, rules),
        }
        match step {
            Step::StartRun(r, epoch) => world.first_call(r, Task::Run(epoch), context),
            Step::TakeChunk(r, _) | Step::ReadAgain(r) => world.first_call(r, Task::Ingest, context),
            _ => {}
        }
        world
    }

    /// Unless commands are searched one by one, what a process does by itself and its next call are one step.
    fn first_call(&mut self, r: u8, task: Task, context: Context<'_>) {
        let r = usize::from(r);
        if !context.rules.command_by_command && self.replicas[r].call(task).is_some() {
            self.call(r, task, Fate::Answered, context);
        }
    }

    /// A call ends.
    fn call(&mut self, r: usize, task: Task, fate: Fate, context: Context<'_>) {
        let call = self.replicas[r].call(task).unwrap();
        let reply = match fate {
            Fate::Answered => self.exec(&call, context.rules),
            Fate::SentTwice => {
                self.left.lost_replies -= 1;
                self.exec(&call, context.rules);
                self.exec(&call, context.rules)
            }
            Fate::ReplyLost => {
                self.left.lost_replies -= 1;
                self.exec(&call, context.rules);
                Reply::Failed
            }
            Fate::Late | Fate::LateOfTheDead => {
                self.left.late_effects -= 1;
                self.late.push(call);
                Reply::Failed
            }
        };
        if fate == Fate::LateOfTheDead {
            self.left.crashes -= 1;
            self.replicas[r] = Replica::down();
            return;
        }
        self.replicas[r].hears(task, reply, context);
        let together = fate == Fate::Answered && !context.rules.command_by_command;
        if together && self.replicas[r].is_within_pipeline(task) {
            self.call(r, task, fate, context);
        }
    }

    /// What happens to all.
    fn happen(&mut self, step: Step, rules: &Rules) {
        match step {
            Step::Signal(signal) => {
                self.signals.insert(signal, None);
                for replica in self.replicas.iter_mut().filter(|replica| replica.up) {
                    // Before its list a process has no watch, and finds the Signal in the list.
                    if !matches!(replica.ingest, Ingest::Connect | Ingest::Incarnation(_) | Ingest::List) {
                        replica.inbox.push(super::replica::Event::Signal((signal, None)));
                    }
                }
            }
            Step::Outcome(epoch) => {
                self.left.outcomes -= 1;
                let object = self.objects[&epoch];
                self.write(epoch, super::world::Object { finished: true, ..object });
            }
            Step::Tick => {
                self.left.ticks -= 1;
                self.clock += 1;
            }
            Step::Flush => {
                self.left.flushes -= 1;
                self.clock += u8::from(rules.losses_take_a_second);
                self.redis.data = super::redis::Data::default();
            }
            Step::Wipe => {
                self.left.wipes -= 1;
                self.replace_redis(super::redis::Data::default());
            }
            Step::Save => self.saved = Some(self.redis.data.clone()),
            Step::Rollback => {
                self.left.rollbacks -= 1;
                let saved = self.saved.take().unwrap();
                self.replace_redis(saved);
            }
            Step::ArriveLate(index) => {
                let call = self.late.remove(usize::from(index));
                self.exec(&call, rules);
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// Another server takes the place of this one.
    fn replace_redis(&mut self, data: super::redis::Data) {
        self.redis.server += 1;
        self.redis.data = data;
    }

    /// A step in words, for a trace.
    pub fn tell(&self, step: Step, name: impl Fn(u8) -> u8) -> String {
        let told = match step {
            Step::Call(r, task, _) => {
                self.replicas[usize::from(r)].call(task).map(|call| format!("{call:?}")).unwrap_or_default()
            }
            Step::ArriveLate(index) => format!("{:?}", self.late[usize::from(index)]),
            _ => String::new(),
        };
        format!("{:?} {told}", step.renamed(name))
    }
}
