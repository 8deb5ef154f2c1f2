//! What a decision does: `publish/carry_out.rs`, call by call.

use stormfold::storm::StormMetadata;
use stormfold::storm::decide::{CloseReason, Decision};

use super::publish::{At, Run, View};
use super::redis::{Answer, Cmd, Epoch};
use super::replica::Replica;
use super::world::{Call, Context, Mutation, Reply};

impl Replica {
    pub fn carry_out(&mut self, epoch: Epoch, run: Run, decision: Decision, context: Context<'_>) {
        let alerts = |metadata: &StormMetadata| u8::try_from(metadata.alert_count).unwrap();
        match decision {
            Decision::Create if !self.openings.contains(&epoch) => {
                self.ask_rewatch(context);
                self.due_again(epoch);
            }
            Decision::Create => self.run_waits(epoch, run, At::Create, Call::Create(epoch)),
            Decision::Adopt => {
                self.openings.insert(epoch);
                self.run_asks(epoch, run, At::Adopt, Cmd::Open(epoch));
            }
            Decision::Write(_, facts) => self.apply(epoch, run, alerts(&facts), None),
            Decision::Keep(_) => self.acknowledge(epoch, run, false, context),
            Decision::Close(_) if run.outdated && !context.rules.has(Mutation::OldSnapshots) => self.due_again(epoch),
            Decision::Close(reason) => {
                let View::Open { alerts, mark, .. } = run.view.clone() else {
                    unreachable!("only an open storm is closed")
                };
                self.run_asks(epoch, run, At::Close, Cmd::Close(epoch, mark, alerts, reason));
            }
            Decision::WriteClosed(reason, facts) => {
                if matches!(run.view, View::Closed { facts: Some(_) })
                    || context.rules.has(Mutation::ReceiptsOfTheUnknown)
                {
                    self.release(epoch);
                } else {
                    self.let_go(epoch, context);
                }
                let joins = self.has_joined() && !context.rules.has(Mutation::EndsDuringJoin);
                if self.owes(epoch) || joins {
                    return self.due_again(epoch);
                }
                self.apply(epoch, run, alerts(&facts), Some(reason));
            }
            Decision::Drop(_) => {
                self.gone(epoch);
                self.run_asks(epoch, run, At::DropCounter, Cmd::Counter);
            }
            Decision::Settled => self.run_asks(epoch, run, At::Settle, Cmd::DropFacts(epoch)),
            Decision::Forget => panic!("storm {epoch} is forgotten, and nobody deleted it"),
        }
    }

    fn apply(&mut self, epoch: Epoch, run: Run, alerts: u8, ending: Option<CloseReason>) {
        let from = self.cache[&epoch];
        self.run_waits(epoch, run, At::Apply(ending), Call::Apply { epoch, from, alerts, ending });
    }

    fn acknowledge(&mut self, epoch: Epoch, run: Run, wrote: bool, context: Context<'_>) {
        match run.view.clone() {
            View::Open { alerts, mark, .. } => {
                // `Known::acknowledges`.
                if let Some(known) = &mut self.known {
                    known.marked = false;
                }
                let cmd = Cmd::Ack(epoch, mark, alerts.unwrap_or_default());
                self.run_asks(epoch, run, At::Ack { wrote }, cmd);
            }
            // A closed storm has nothing to acknowledge.
            _ => {
                self.release(epoch);
                self.next_step(epoch, true, run.again, context);
            }
        }
    }

    /// The rest of `carry_out`: what its calls answer.
    pub fn carried_out(&mut self, epoch: Epoch, run: Run, reply: Reply, context: Context<'_>) {
        let (wrote, again) = (run.wrote, run.again);
        match (run.at.clone(), reply) {
            (At::Create, Reply::AlreadyExists) => self.run_waits(epoch, run, At::ReadExisting, Call::Get(epoch)),
            (At::Create | At::ReadExisting, Reply::Object(Some(object))) => {
                self.put(epoch, object);
                self.next_step(epoch, wrote, again, context);
            }
            (At::Adopt, Reply::Redis(Answer::Epoch(None))) => self.next_step(epoch, wrote, again, context),
            (At::Adopt, Reply::Redis(Answer::Epoch(Some(open)))) => {
                self.run_asks(epoch, run, At::AdoptLook(open), Cmd::OpenEpoch);
            }
            (At::AdoptLook(open), _) => self.run_asks(epoch, run, At::AdoptLookClosed(open), Cmd::LookClosed),
            (At::AdoptLookClosed(open), Reply::Redis(Answer::Closed { held, .. })) => {
                self.opened(open, held);
                if open == epoch {
                    return self.run_asks(epoch, run, At::AdoptPublished, Cmd::Published(epoch));
                }
                // Another storm of this key is open in the ledger: whichever is younger will see that it is superseded.
                self.queue.insert(open);
                self.due_again(epoch);
            }
            (At::AdoptPublished, _) => self.next_step(epoch, wrote, again, context),
            (At::Apply(ending), Reply::Object(Some(object))) => {
                self.put(epoch, object);
                match ending {
                    None => self.acknowledge(epoch, run, true, context),
                    Some(_) => self.run_asks(epoch, run, At::Settle, Cmd::DropFacts(epoch)),
                }
            }
            (At::Ack { wrote: true }, _) => {
                self.release(epoch);
                self.next_step(epoch, true, again, context);
            }
            // The next ending is far away.
            (At::Ack { wrote: false }, _) => self.release(epoch),
            (At::Close, Reply::Redis(Answer::Flag(true))) => {
                self.gone(epoch);
                self.next_step(epoch, wrote, again, context);
            }
            (At::Close, _) => self.due_again(epoch),
            (At::Settle, _) => {
                let cmd = Cmd::Remove { storm: epoch, epoch, counter: None };
                self.run_asks(epoch, run, At::SettleStrays, cmd);
            }
            (At::SettleStrays, _) => {
                if !matches!(run.view, View::Open { .. }) {
                    self.settled(epoch, context);
                }
            }
            (At::DropCounter, Reply::Redis(Answer::Counter(open))) => match open.filter(|(open, _)| *open == epoch) {
                Some((_, counter)) => {
                    let cmd = Cmd::Remove { storm: epoch, epoch, counter: Some(counter) };
                    self.run_asks(epoch, run, At::Drop, cmd);
                }
                None => self.dropped(epoch, &run, context),
            },
            (At::Drop, Reply::Redis(Answer::Flag(true))) => self.dropped(epoch, &run, context),
            (At::Drop, _) => self.run_asks(epoch, run, At::DropCounter, Cmd::Counter),
            (at, reply) => panic!("{at:?} got {reply:?}"),
        }
    }

    /// `Publisher::drop_storm` after the ledger did it.
    fn dropped(&mut self, epoch: Epoch, run: &Run, context: Context<'_>) {
        self.abandon(epoch);
        self.queue.extend(self.older_open(epoch));
        self.ask_rewatch(context);
        self.next_step(epoch, run.wrote, run.again, context);
    }

    /// `Publisher::settled`.
    fn settled(&mut self, epoch: Epoch, context: Context<'_>) {
        if context.rules.has(Mutation::ReceiptsOfTheUnknown) {
            self.release(epoch);
        } else {
            self.let_go(epoch, context);
        }
        self.openings.remove(&epoch);
        self.behind.remove(&epoch);
        self.drops.remove(&epoch);
    }
}
