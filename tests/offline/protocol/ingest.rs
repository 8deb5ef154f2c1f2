//! Ingest of one process: `ingest/{stream,beginning,merge,opening}.rs` over `ledger/redis/{merge,look,piece}.rs`, call by call.
//!
//! What happens between two calls is one step with the answer of the first. The one exception is `Joined`: a merge has had its effect,
//! and the receipt is not on the board yet.

use super::merging::{At, Merging, Then};
use super::publish::Run;
use super::redis::{Answer, Cmd, Epoch};
use super::replica::{Event, Observed, Replica, Seen};
use super::world::{Call, Context, Mutation, Reply};

/// Where ingest is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ingest {
    /// `Ingest::begin`: which server, which incarnation; then the list.
    Connect,
    Incarnation(Call),
    List,
    /// Waits for events.
    Idle,
    /// `Merger::merge`.
    Merge(Merging),
    /// `dirty_storms`, and `sweep` of the marks that nobody knows.
    Dirty(Call),
    Sweep(Vec<(u8, Epoch)>, Call),
}

impl Replica {
    /// The call that ingest waits for.
    pub fn ingest_call(&self) -> Option<Call> {
        match &self.ingest {
            Ingest::Connect => Some(Call::Connect),
            Ingest::List => Some(Call::ListSignals),
            Ingest::Incarnation(call) | Ingest::Dirty(call) | Ingest::Sweep(_, call) => Some(call.clone()),
            Ingest::Idle => None,
            Ingest::Merge(merging) => merging.call.clone(),
        }
    }

    /// Whether the call belongs to a pipeline that an earlier one began.
    pub fn ingest_is_within_pipeline(&self) -> bool {
        let Ingest::Merge(merging) = &self.ingest else { return matches!(self.ingest, Ingest::Incarnation(_)) };
        let within = matches!(merging.at, At::HoldExpires(_) | At::HoldLast(_) | At::LookClosed | At::End { .. });
        within
            || matches!(merging.at, At::OpenLook(..) | At::OpenLookClosed(..))
            || matches!(merging.call, Some(Call::Redis(_, _, Cmd::MarkDirty(_) | Cmd::Registers(_))))
    }

    /// Whether the merge is done and its receipts are not on the board.
    pub fn has_joined(&self) -> bool {
        matches!(&self.ingest, Ingest::Merge(Merging { at: At::Joined(_), .. }))
    }

    /// All Signals again.
    pub fn begin(&mut self, context: Context<'_>) {
        self.rewatch = false;
        self.ingest = Ingest::Connect;
        if context.rules.has(Mutation::NoWatchAgain) && !self.listing {
            return;
        }
        self.listed = false;
        self.listing = true;
        self.inbox.clear();
        self.waiting.clear();
        for seen in self.behind.values_mut() {
            seen.waits_for_list = seen.waits_for_list.map(|_| false);
        }
        self.drops.values_mut().for_each(|waits| *waits = false);
    }

    /// An answer for ingest.
    pub fn ingest_hears(&mut self, reply: Reply, context: Context<'_>) {
        match (std::mem::replace(&mut self.ingest, Ingest::Idle), reply) {
            (Ingest::Connect, Reply::Server(server)) => {
                let another = self.server.replace(server).is_some_and(|before| before != server);
                self.doubts |= another;
                self.ingest = Ingest::Incarnation(self.redis(Cmd::Incarnation));
            }
            (Ingest::Incarnation(_), Reply::Redis(Answer::Life(life))) => {
                self.doubts |= self.life.replace(life).is_some_and(|before| before != life);
                self.known = None;
                self.runs.values_mut().for_each(Run::is_outdated);
                if self.doubts && !context.rules.has(Mutation::ReceiptsOutliveLoss) {
                    self.forget_owed();
                }
                self.ingest = if self.listing { Ingest::List } else { Ingest::Idle };
            }
            (Ingest::Connect | Ingest::Incarnation(_), _) => self.begin(context),
            (Ingest::List, Reply::Signals(signals)) => self.list(signals),
            (Ingest::List, _) => self.ingest = Ingest::List,
            (Ingest::Dirty(_), Reply::Redis(Answer::Marks(marks))) => self.dirty(marks),
            (Ingest::Sweep(marks, call), Reply::Redis(answer)) => self.sweep(marks, &call, &answer),
            // `list_is_complete` goes on without it.
            (Ingest::Dirty(_) | Ingest::Sweep(..) | Ingest::Idle, _) => {}
            (Ingest::Merge(merging), Reply::Lost | Reply::Redis(Answer::Wiped)) => {
                self.begin(context);
                if !self.listing {
                    self.inbox.splice(..0, merging.batch.into_iter().map(Event::Signal));
                }
            }
            (Ingest::Merge(merging), Reply::Failed) => self.merge(merging.batch, merging.then, context),
            (Ingest::Merge(merging), reply) => self.merge_hears(merging, reply, context),
        }
    }

    /// A list, as of one moment, in the inbox.
    pub fn list(&mut self, signals: Vec<Observed>) {
        self.inbox = if self.listing { Vec::new() } else { vec![Event::ListBegins] };
        self.inbox.extend(signals.into_iter().map(Event::Signal));
        self.inbox.push(Event::ListEnds);
    }

    /// `Ingest::take`: a chunk of at most so many events.
    pub fn take_chunk(&mut self, most: usize, context: Context<'_>) {
        let (mut pending, mut ends) = (Vec::new(), false);
        for _ in 0..most {
            if ends || self.inbox.is_empty() {
                break;
            }
            match self.inbox.remove(0) {
                Event::ListBegins => self.listing = true,
                Event::ListEnds => ends = true,
                // A changed Signal with a receipt is not news; a listed one is (`arrive`).
                Event::Signal((_, Some(_))) if !self.listing => {}
                Event::Signal(observed) => pending.push(observed),
            }
        }
        self.merge(pending, if ends { Then::ListEnds } else { Then::NextChunk }, context);
    }

    fn dirty(&mut self, mut marks: Vec<(u8, Epoch)>) {
        let ours = self.known.as_ref().map(|known| (self.life.unwrap_or_default(), known.epoch));
        if let Some(ours) = ours.filter(|ours| marks.contains(ours)) {
            self.queue.insert(ours.1);
            marks.retain(|mark| *mark != ours);
        }
        self.sweep_next(marks);
    }

    /// `RedisLedger::sweep`: the names are those of the mark.
    fn sweep_next(&mut self, marks: Vec<(u8, Epoch)>) {
        let Some((life, _)) = marks.first().copied() else {
            self.ingest = Ingest::Idle;
            return;
        };
        let call = Call::Redis(self.server, life, Cmd::OpenEpoch);
        self.ingest = Ingest::Sweep(marks, call);
    }

    fn sweep(&mut self, mut marks: Vec<(u8, Epoch)>, call: &Call, answer: &Answer) {
        let (life, storm) = marks[0];
        if let (Call::Redis(_, _, Cmd::OpenEpoch), Answer::Epoch(open)) = (call, answer)
            && !(*open == Some(storm) && self.life == Some(life))
        {
            let cmd = Cmd::Remove { storm, epoch: open.unwrap_or_default(), counter: None };
            self.ingest = Ingest::Sweep(marks, Call::Redis(self.server, life, cmd));
            return;
        }
        marks.remove(0);
        self.sweep_next(marks);
    }

    /// `Publisher::may_drop`.
    pub fn may_drop(&mut self, epoch: Epoch, context: Context<'_>) -> bool {
        if context.rules.has(Mutation::DropsBeforeListed) {
            return true;
        }
        if !self.listed {
            return false;
        }
        if !self.drops.contains_key(&epoch) {
            self.ask_rewatch(context);
        }
        !*self.drops.entry(epoch).or_insert(true)
    }

    /// `Behind::look`. True: all Signals must be read again first.
    pub fn is_behind(&mut self, epoch: Epoch, alerts: u8, context: Context<'_>) -> bool {
        if !self.listed {
            return false;
        }
        let seen = self.behind.entry(epoch).or_insert(Seen { alerts, waits_for_list: None });
        match seen.waits_for_list {
            None if alerts < seen.alerts => {
                seen.waits_for_list = Some(true);
                self.ask_rewatch(context);
                true
            }
            Some(true) if alerts < seen.alerts => true,
            _ => {
                *seen = Seen { alerts, waits_for_list: None };
                false
            }
        }
    }
}
