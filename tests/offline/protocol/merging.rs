//! The merge of one chunk: `ingest/{merge,opening}.rs` over `ledger/redis/{merge,look,piece}.rs`, call by call.

use stormfold::storm::decide::CloseReason;

use super::ingest::Ingest;
use super::redis::{Answer, Cmd, Epoch, Uids};
use super::replica::{Observed, Owed, Replica};
use super::world::{Call, Context, Mutation, Object, Receipt, Reply, Sig};

/// A chunk that is being merged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Merging {
    /// What is not done yet.
    pub batch: Vec<Observed>,
    pub then: Then,
    /// Within `open_and_merge`.
    opening: bool,
    /// Of the batch, what closed storms hold.
    held: Uids,
    last: Option<Epoch>,
    pub at: At,
    /// `None`: a step of this process alone.
    pub call: Option<Call>,
    /// When it began.
    now: Epoch,
}

/// What follows a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    NextChunk,
    ListEnds,
    ListIsComplete,
}

/// The call that a merge waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum At {
    Holders,
    Hold(Option<Epoch>),
    HoldExpires(Option<Epoch>),
    HoldLast(Epoch),
    LookOpen,
    LookClosed,
    Meet,
    /// A piece: its storm, and whether a mark and registers are still to come.
    Piece {
        epoch: Epoch,
        marks: bool,
        registers: bool,
    },
    End {
        epoch: Epoch,
        marks: bool,
        registers: bool,
    },
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
    /// `Merger::merge`, from its beginning.
    pub fn merge(&mut self, batch: Vec<Observed>, then: Then, context: Context<'_>) {
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
            if self.listing && self.has_closed() && !context.rules.has(Mutation::JoinsWhileListed) {
                self.waiting.extend(merging.batch.iter().copied());
                return self.merge_ends(&merging, context);
            }
            return if merging.batch.is_empty() {
                self.merge_ends(&merging, context);
            } else {
                self.look(merging, context);
            };
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
            Some(Call::Redis(_, _, Cmd::Add(..))) if marks => self.merge_asks(merging, at, Cmd::MarkDirty(epoch)),
            Some(Call::Redis(_, _, Cmd::Add(..) | Cmd::MarkDirty(_))) if registers => {
                self.merge_asks(merging, at, Cmd::Registers(epoch));
            }
            _ => self.merge_asks(merging, At::End { epoch, marks, registers }, Cmd::OpenEpoch),
        }
    }

    pub fn merge_hears(&mut self, mut merging: Merging, reply: Reply, context: Context<'_>) {
        match (merging.at.clone(), reply) {
            (At::Holders, Reply::Objects(objects)) => {
                for (epoch, object) in objects {
                    self.put(epoch, object);
                }
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
            (At::Meet, Reply::Redis(Answer::Met { held, last })) => {
                self.cut(Merging { held, last, ..merging }, context);
            }
            (At::Piece { epoch, marks, registers }, _) => self.piece(merging, epoch, (marks, registers)),
            (At::End { epoch, marks, registers }, Reply::Redis(Answer::Epoch(open))) => {
                self.piece_ends(merging, (epoch, open), (marks, registers), context);
            }
            (At::Stray, _) => self.look(merging, context),
            (At::Joined(epoch), _) => self.joined(&merging, epoch, context),
            (At::Find, Reply::Objects(objects)) => {
                for (epoch, object) in objects {
                    self.put(epoch, object);
                }
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
                self.tell_held(*signal, *receipt, merging.last, context);
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
                self.tell_held(*signal, *receipt, merging.last, context);
            }
            return self.merge_ends(&merging, context);
        }
        let merging = Merging { opening: true, ..merging };
        if self.open_epoch(merging.last).is_none() && !context.rules.has(Mutation::OpenWithoutLook) {
            return self.merge_waits(merging, At::Find, Call::Find);
        }
        self.choose_epoch(merging);
    }

    /// Nothing of this Signal joins anything. The end of the storm that it is told waits for that.
    fn tell_held(&mut self, signal: Sig, receipt: Option<Receipt>, last: Option<Epoch>, context: Context<'_>) {
        if receipt.is_some() {
            return;
        }
        match last {
            Some(last) if !context.rules.has(Mutation::EndsBeforeHeldAreTold) => {
                self.board.insert((signal, last), Owed::Ready);
            }
            _ => drop(self.told.insert((signal, last))),
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
}
