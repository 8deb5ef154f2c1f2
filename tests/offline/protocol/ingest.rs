//! Ingest of one process: `ingest/{stream,beginning,merge,opening}.rs` over `ledger/redis/{merge,look,piece}.rs`, call by call.
//!
//! What happens between two calls is one step with the answer of the first. The one exception is `Joined`: a merge has had its effect,
//! and the receipt is not on the board yet.

use super::redis::{Answer, Cmd, Epoch, Uids};
use super::replica::{Event, Observed, Replica, Seen};
use super::world::{Call, Context, Mutation, Object, Receipt, Reply, Sig};
use stormfold::storm::decide::CloseReason;

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

/// A chunk that is being merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Merging {
    /// What is not done yet.
    batch: Vec<Observed>,
    then: Then,
    /// Within `open_and_merge`.
    opening: bool,
    /// Of the batch, what closed storms hold.
    held: Uids,
    last: Option<Epoch>,
    at: At,
    /// `None`: a step of this process alone.
    call: Option<Call>,
    /// When it began.
    now: Epoch,
}

/// What follows a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    NextChunk,
    ListEnds,
    ListIsComplete,
}

/// The call that a merge waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    Holders,
    Hold(Option<Epoch>),
    HoldExpires(Option<Epoch>),
    HoldLast(Epoch),
    LookOpen,
    LookClosed,
    Meet,
    /// A piece: its storm, and whether a mark and registers are still to come.
    Piece { epoch: Epoch, marks: bool, registers: bool },
    End { epoch: Epoch, marks: bool, registers: bool },
    Stray,
    Joined(Epoch),
    Find,
    /// With the objects that were there.
    Open(Epoch, Vec<Epoch>),
    OpenLook(Epoch, Vec<Epoch>),
    OpenLookClosed(Epoch, Vec<Epoch>),
    Published(Epoch),
}

impl Merging {
    fn uids(&self, context: Context<'_>) -> Uids {
        self.batch.iter().fold(0, |all, (signal, _)| all | context.rules.signals[usize::from(*signal)])
    }
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
            || matches!(merging.call, Some(Call::Redis(_, Cmd::MarkDirty(_) | Cmd::Registers(_))))
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

    /// `Merger::merge`, from its beginning.
    fn merge(&mut self, batch: Vec<Observed>, then: Then, context: Context<'_>) {
        let at = At::Holders;
        let now = context.clock;
        let mut merging = Merging { batch, then, opening: false, held: 0, last: None, at, call: None, now };
        // A list that is begun again, or whose end was merged, brings a Signal twice.
        merging.batch.sort_unstable();
        merging.batch.dedup_by_key(|(signal, _)| *signal);
        let unknown = |(_, receipt): &Observed| matches!(receipt, Some(Some(epoch)) if !self.cache.contains_key(epoch));
        if merging.batch.iter().any(unknown) {
            return self.merge_waits(merging, At::Holders, Call::Find);
        }
        self.hold(merging, context);
    }

    fn merge_waits(&mut self, merging: Merging, at: At, call: Call) {
        self.ingest = Ingest::Merge(Merging { at, call: Some(call), ..merging });
    }

    fn merge_asks(&mut self, merging: Merging, at: At, cmd: Cmd) {
        let call = self.redis(cmd);
        self.merge_waits(merging, at, call);
    }

    /// `Merger::holder`: `Some` when the storm that a receipt names is over.
    fn holder(&self, receipt: Option<Option<Epoch>>) -> Option<Option<Epoch>> {
        let epoch = receipt??;
        match self.cache.get(&epoch) {
            Some(object) if object.is_open() || object.closed == Some(CloseReason::Superseded) => None,
            Some(_) => Some(Some(epoch)),
            None => Some(None),
        }
    }

    /// `hold_what_closed_storms_hold`, storm by storm; then `try_merge`.
    fn hold(&mut self, merging: Merging, context: Context<'_>) {
        let Some(holder) = merging.batch.iter().find_map(|(_, receipt)| self.holder(*receipt)) else {
            return if merging.batch.is_empty() { self.merge_ends(&merging, context) } else { self.look(merging, context) };
        };
        let of_holder = merging.batch.iter().filter(|(_, receipt)| self.holder(*receipt) == Some(holder));
        let uids = of_holder.fold(0, |all, (signal, _)| all | context.rules.signals[usize::from(*signal)]);
        self.merge_asks(merging, At::Hold(holder), Cmd::Hold(uids));
    }

    fn is_held(&mut self, mut merging: Merging, holder: Option<Epoch>, context: Context<'_>) {
        if let Some(known) = &mut self.known {
            known.held = true;
        }
        merging.batch.retain(|(_, receipt)| self.holder(*receipt) != Some(holder));
        self.hold(merging, context);
    }

    /// `look_at_unknown`.
    fn look(&mut self, merging: Merging, context: Context<'_>) {
        if self.known.is_none() {
            return self.merge_asks(merging, At::LookOpen, Cmd::OpenEpoch);
        }
        self.meet(Merging { last: None, ..merging }, context);
    }

    /// `RedisLedger::held`.
    fn meet(&mut self, merging: Merging, context: Context<'_>) {
        let uids = merging.uids(context);
        if self.known.as_ref().is_none_or(|known| known.held) {
            return self.merge_asks(merging, At::Meet, Cmd::Meet(uids));
        }
        self.cut(Merging { held: 0, ..merging }, context);
    }

    /// `RedisLedger::cut`, and the first command of the piece.
    fn cut(&mut self, merging: Merging, context: Context<'_>) {
        let Some(known) = &self.known else { return self.not_open(merging, context) };
        let (epoch, fresh) = (known.epoch, merging.uids(context) & !merging.held);
        let (marks, registers) = (!known.marked && fresh != 0, !known.registers && fresh != 0);
        if fresh == 0 {
            return self.merge_asks(merging, At::End { epoch, marks, registers }, Cmd::OpenEpoch);
        }
        self.merge_asks(merging, At::Piece { epoch, marks, registers }, Cmd::Add(epoch, fresh));
    }

    /// The next command of a piece, after this one.
    fn piece(&mut self, merging: Merging, epoch: Epoch, (marks, registers): (bool, bool)) {
        let at = At::Piece { epoch, marks, registers };
        match merging.call {
            Some(Call::Redis(_, Cmd::Add(..))) if marks => self.merge_asks(merging, at, Cmd::MarkDirty(epoch)),
            Some(Call::Redis(_, Cmd::Add(..) | Cmd::MarkDirty(_))) if registers => {
                self.merge_asks(merging, at, Cmd::Registers(epoch));
            }
            _ => self.merge_asks(merging, At::End { epoch, marks, registers }, Cmd::OpenEpoch),
        }
    }

    fn merge_hears(&mut self, mut merging: Merging, reply: Reply, context: Context<'_>) {
        match (merging.at.clone(), reply) {
            (At::Holders, Reply::Objects(objects)) => {
                objects.into_iter().for_each(|(epoch, object)| self.put(epoch, object));
                self.hold(merging, context);
            }
            (At::Hold(holder), _) => self.merge_asks(merging, At::HoldExpires(holder), Cmd::HoldExpires),
            (At::HoldExpires(Some(epoch)), _) => self.merge_asks(merging, At::HoldLast(epoch), Cmd::HoldLast(epoch)),
            (At::HoldExpires(None), _) => self.is_held(merging, None, context),
            (At::HoldLast(epoch), _) => self.is_held(merging, Some(epoch), context),
            (At::LookOpen, Reply::Redis(Answer::Epoch(open))) => {
                merging.last = open;
                self.merge_asks(merging, At::LookClosed, Cmd::LookClosed);
            }
            (At::LookClosed, Reply::Redis(Answer::Closed { last, held })) => {
                if let Some(open) = merging.last {
                    self.opened(open, held);
                }
                self.meet(Merging { last, ..merging }, context);
            }
            (At::Meet, Reply::Redis(Answer::Met { held, last })) => self.cut(Merging { held, last, ..merging }, context),
            (At::Piece { epoch, marks, registers }, _) => self.piece(merging, epoch, (marks, registers)),
            (At::End { epoch, marks, registers }, Reply::Redis(Answer::Epoch(open))) => {
                self.piece_ends(merging, (epoch, open), (marks, registers), context);
            }
            (At::Stray, _) => self.look(merging, context),
            (At::Joined(epoch), _) => self.joined(&merging, epoch, context),
            (At::Find, Reply::Objects(objects)) => {
                objects.into_iter().for_each(|(epoch, object)| self.put(epoch, object));
                self.choose_epoch(merging);
            }
            (At::Open(_, there), Reply::Redis(Answer::Epoch(Some(open)))) => {
                self.merge_asks(merging, At::OpenLook(open, there), Cmd::OpenEpoch);
            }
            // Closed in the ledger a moment ago.
            (At::Open(epoch, there), _) => self.merge_asks(merging, At::Open(epoch + 1, there), Cmd::Open(epoch + 1)),
            (At::OpenLook(open, there), _) => {
                self.merge_asks(merging, At::OpenLookClosed(open, there), Cmd::LookClosed);
            }
            (At::OpenLookClosed(open, there), Reply::Redis(Answer::Closed { held, .. })) => {
                self.opened(open, held);
                if there.contains(&open) {
                    return self.merge_asks(merging, At::Published(open), Cmd::Published(open));
                }
                self.opened_in_ledger(merging, open, context);
            }
            (At::Published(open), _) => self.opened_in_ledger(merging, open, context),
            (at, reply) => panic!("{at:?} got {reply:?}"),
        }
    }

    fn piece_ends(
        &mut self,
        merging: Merging,
        (epoch, open): (Epoch, Option<Epoch>),
        (marks, registers): (bool, bool),
        context: Context<'_>,
    ) {
        if open == Some(epoch) || context.rules.has(Mutation::MergeIgnoresItsEnd) {
            if let Some(known) = self.known.as_mut().filter(|known| known.epoch == epoch) {
                known.marked |= marks;
                known.registers |= registers;
            }
            self.ingest = Ingest::Merge(Merging { at: At::Joined(epoch), call: None, ..merging });
            return;
        }
        self.gone(epoch);
        if context.rules.has(Mutation::StraysStay) {
            return self.look(merging, context);
        }
        self.merge_asks(merging, At::Stray, Cmd::Remove { storm: epoch, epoch, counter: None });
    }

    /// `Merger::joined`.
    fn joined(&mut self, merging: &Merging, epoch: Epoch, context: Context<'_>) {
        self.openings.insert(epoch);
        for (signal, receipt) in &merging.batch {
            let fresh = context.rules.signals[usize::from(*signal)] & !merging.held;
            if fresh == 0 && !context.rules.has(Mutation::HeldNamesTheOpen) {
                self.tell_held(*signal, *receipt, merging.last);
            } else if *receipt != Some(Some(epoch)) {
                self.owe(*signal, epoch, context.rules);
            }
        }
        self.queue.insert(epoch);
        self.merge_ends(merging, context);
    }

    /// `Merge::NotOpen`.
    fn not_open(&mut self, merging: Merging, context: Context<'_>) {
        if self.listing && !merging.opening && !self.adoptable() {
            self.waiting.extend(merging.batch.iter().copied());
            return self.merge_ends(&merging, context);
        }
        if merging.uids(context) & !merging.held == 0 {
            // `nothing_opens`.
            for (signal, receipt) in &merging.batch {
                self.tell_held(*signal, *receipt, merging.last);
            }
            return self.merge_ends(&merging, context);
        }
        let merging = Merging { opening: true, ..merging };
        if self.open_epoch(merging.last).is_none() && !context.rules.has(Mutation::OpenWithoutLook) {
            return self.merge_waits(merging, At::Find, Call::Find);
        }
        self.choose_epoch(merging);
    }

    /// Nothing of this Signal joins anything.
    fn tell_held(&mut self, signal: Sig, receipt: Option<Receipt>, last: Option<Epoch>) {
        if receipt.is_none() {
            self.told.insert((signal, last));
        }
    }

    /// `opening::open_epoch`.
    fn open_epoch(&self, last: Option<Epoch>) -> Option<Epoch> {
        let open = |(_, object): &(&Epoch, &Object)| object.is_open();
        self.cache.iter().filter(open).map(|(epoch, _)| *epoch).find(|epoch| last.is_none_or(|last| *epoch > last))
    }

    /// The middle of `Opener::open`.
    fn choose_epoch(&mut self, merging: Merging) {
        let there: Vec<Epoch> = self.cache.keys().copied().collect();
        let latest = there.last().copied().max(merging.last);
        let next = merging.now.max(latest.map_or(0, |latest| latest + 1));
        let epoch = self.open_epoch(merging.last).unwrap_or(next);
        self.merge_asks(merging, At::Open(epoch, there), Cmd::Open(epoch));
    }

    /// The rest of `Opener::open`; and a storm that a receipt names may have ended since the batch was looked at.
    fn opened_in_ledger(&mut self, merging: Merging, open: Epoch, context: Context<'_>) {
        self.openings.insert(open);
        let ended = merging.batch.iter().any(|(_, receipt)| self.holder(*receipt).is_some());
        if ended && !context.rules.has(Mutation::HoldersAreLookedAtOnce) {
            return self.merge(merging.batch, merging.then, context);
        }
        self.look(merging, context);
    }

    fn merge_ends(&mut self, merging: &Merging, context: Context<'_>) {
        match merging.then {
            Then::NextChunk => self.ingest = Ingest::Idle,
            Then::ListEnds => {
                self.listing = false;
                let waited = std::mem::take(&mut self.waiting).into_iter().collect();
                self.merge(waited, Then::ListIsComplete, context);
            }
            Then::ListIsComplete => {
                self.listed = true;
                let doubts = std::mem::take(&mut self.doubts) && !context.rules.has(Mutation::ClosedAreNotLookedAt);
                let open = self.cache.iter().filter(|(_, object)| doubts || object.is_open());
                self.queue.extend(open.map(|(epoch, _)| *epoch));
                self.ingest = Ingest::Dirty(self.redis(Cmd::Dirty));
            }
        }
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
        let call = Call::Redis(life, Cmd::OpenEpoch);
        self.ingest = Ingest::Sweep(marks, call);
    }

    fn sweep(&mut self, mut marks: Vec<(u8, Epoch)>, call: &Call, answer: &Answer) {
        let (life, storm) = marks[0];
        if let (Call::Redis(_, Cmd::OpenEpoch), Answer::Epoch(open)) = (call, answer)
            && !(*open == Some(storm) && self.life == Some(life))
        {
            let cmd = Cmd::Remove { storm, epoch: open.unwrap_or_default(), counter: None };
            self.ingest = Ingest::Sweep(marks, Call::Redis(life, cmd));
            return;
        }
        marks.remove(0);
        self.sweep_next(marks);
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
