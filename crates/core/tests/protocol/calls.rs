//! How a call under way goes on: its effect, what the executor makes of the answer, and when the engine hears it.

use stormfold_core::engine::call::Reply;
use stormfold_core::ledger::{LedgerError, LedgerReply, Merge};

use super::api::{Api, no_answer};
use super::case::Case;
use super::ledger::Ledger;
use super::op::{Op, Progress};
use super::replica::{LedgerRun, Replica, State};
use super::steps::Fate;
use super::world::World;

/// What came of some commands.
#[allow(clippy::large_enum_variant, reason = "an answer lives for one step")]
enum Sent {
    /// There are more to send.
    More,
    Reply(Result<LedgerReply, LedgerError>),
    /// The server or the incarnation is another one.
    Lost,
}

impl World {
    /// A call goes on, or ends.
    pub fn call(&mut self, r: usize, index: usize, fate: Fate, case: &Case) {
        match fate {
            Fate::Answered => {}
            Fate::ReplyLost | Fate::SentTwice => self.left.lost_replies -= 1,
            Fate::Late | Fate::LateOfTheDead => self.left.late_effects -= 1,
        }
        let clock = self.clock;
        match self.replica(r).calls[index].state.clone() {
            State::Answered(_) => self.change(r, |replica| replica.hears(index, clock, case)),
            State::Api(api) => self.call_api(r, index, &api, fate, case),
            State::Ledger(call) => self.call_ledger(r, index, call, fate, case),
        }
    }

    fn call_api(&mut self, r: usize, index: usize, api: &Api, fate: Fate, case: &Case) {
        let reply = match fate {
            Fate::Late | Fate::LateOfTheDead => {
                self.late.push(api.clone());
                no_answer(api)
            }
            Fate::ReplyLost => {
                drop(self.exec_api(api, case));
                no_answer(api)
            }
            Fate::Answered | Fate::SentTwice => self.exec_api(api, case),
        };
        if fate == Fate::LateOfTheDead {
            self.left.crashes -= 1;
            return self.replace(r, Replica::default());
        }
        self.answered(r, index, reply, case);
    }

    fn call_ledger(&mut self, r: usize, index: usize, mut call: LedgerRun, fate: Fate, case: &Case) {
        let mut ledger = self.replica(r).ledger.clone();
        let sent = self.send(&mut ledger, &mut call, fate, case);
        let begins = matches!(sent, Sent::Reply(Ok(LedgerReply::Begun(_))));
        // A `begin` that is under way finds a loss by itself.
        let (another, begun) = (ledger.server != Some(self.redis.server), self.replica(r).is_beginning());
        let tells = matches!(sent, Sent::Lost) && !(another && ledger.told) && (case.answers_take_time || !begun);
        self.change(r, |replica| {
            replica.takes_turn(index, case);
            replica.ledger = ledger;
            replica.calls[index].state = State::Ledger(call);
            if begins {
                replica.began();
            }
        });
        let reply = match sent {
            Sent::More => return,
            Sent::Reply(reply) => reply,
            Sent::Lost => Err(LedgerError::Lost(String::new())),
        };
        let clock = self.clock;
        if tells {
            return self.change(r, |replica| {
                // A `begin` comes before all other calls.
                let behind = replica.calls.len() - index;
                replica.tell_of_loss(another, clock, case);
                let index = replica.calls.len() - behind;
                replica.answered(index, Reply::Ledger(reply), false, clock, case);
            });
        }
        self.answered(r, index, Reply::Ledger(reply), case);
    }

    /// Sends the next command, and those that run together with it. Of the last one, whose answer is lost, nothing is known here.
    fn send(&mut self, ledger: &mut Ledger, call: &mut LedgerRun, fate: Fate, case: &Case) -> Sent {
        loop {
            let mut after = ledger.clone();
            let progress = if matches!(call.op, Op::Connect) {
                after.connects(self.redis.server, case);
                Progress::Next(Op::Incarnation)
            } else if call.op.is_outdated(&after, case) {
                return Sent::Reply(Ok(call.op.outdated()));
            } else if after.server != Some(self.redis.server) {
                return Sent::Lost;
            } else {
                let life = *call.life.get_or_insert(after.life.unwrap_or_default());
                let (life, cmd) = call.op.cmd(life);
                if fate == Fate::SentTwice {
                    self.redis().exec(life, &cmd, case);
                }
                let answer = self.redis().exec(life, &cmd, case);
                after.hears(call.op.clone(), answer, case)
            };
            match progress {
                Progress::Next(next) if next.goes_on() && !case.command_by_command => {
                    (call.op, *ledger) = (next, after);
                }
                _ if fate == Fate::ReplyLost => {
                    ledger.unanswered(&call.op);
                    return Sent::Reply(Err(LedgerError::Unavailable(String::new())));
                }
                Progress::Next(next) => {
                    (call.op, *ledger) = (next, after);
                    return Sent::More;
                }
                Progress::Done(reply) => {
                    *ledger = after;
                    return Sent::Reply(Ok(reply));
                }
                Progress::Wiped => return Sent::Lost,
            }
        }
    }

    /// The executor has an answer. A merge has had its effect then, and the engine does not know it.
    fn answered(&mut self, r: usize, index: usize, reply: Reply, case: &Case) {
        let joined = |merges: &[Merge]| merges.iter().any(|merge| matches!(merge, Merge::Joined { .. }));
        let waits = matches!(&reply, Reply::Ledger(Ok(LedgerReply::Merged(merges))) if joined(merges));
        let (clock, waits) = (self.clock, waits || case.answers_take_time);
        self.change(r, |replica| replica.answered(index, reply, waits, clock, case));
    }
}
