//! The executor of the ledger: which commands `RedisLedger` sends for each call, in which order, and what it makes of their answers. Each arm names
//! what it mirrors in `src/ledger/redis`. No rule of the protocol is here: those that can be broken are how the ledger keeps its word.

use stormfold_core::ledger::{Begun, Closing, Durability, LedgerCall, LedgerReply, Merge, Snapshot, Version};
use stormfold_core::storm::DigestKey;
use stormfold_core::storm::decide::LedgerView;

use super::case::{Case, LedgerRule};
use super::op::{At, Merging, Op, Piece, Progress};
use super::redis::{Answer, Epoch, Life, Staged, Uids};
use super::values::{alerts, epoch_of, metadata, second, storm, uids};

/// What one process remembers of the ledger: `RedisLedger`, its `Connection` and its `Known`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// The server of the last `begin`, and whether somebody was told that it is gone.
    pub server: Option<u8>,
    pub told: bool,
    /// Another server took the place of the one before, and no `begin` has said so.
    pub replaced: bool,
    pub life: Option<Life>,
    /// Tells this `begin` from those that a snapshot which is still in use was read after.
    pub begun: u64,
    pub known: Option<Known>,
}

/// `OpenStorm`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub epoch: Epoch,
    held: bool,
    registers: bool,
    marked: bool,
}

use Progress::{Done, Next};

impl Ledger {
    /// `Known::opened`.
    fn opened(&mut self, epoch: Epoch, held: bool) {
        match &mut self.known {
            Some(known) if known.epoch == epoch => known.held |= held,
            known => *known = Some(Known { epoch, held, registers: false, marked: false }),
        }
    }

    /// `Known::gone`.
    fn gone(&mut self, epoch: Epoch) {
        self.known.take_if(|known| known.epoch == epoch);
    }

    /// `Connection::begin`: from now on the server that answers is the one that is meant.
    pub fn connects(&mut self, server: u8, case: &Case) {
        let another = self.server.replace(server).is_some_and(|before| before != server);
        self.replaced = another || self.replaced && !case.breaks(LedgerRule::ReplacedIsForgotten);
        self.told = false;
    }

    /// A call of the engine begins: what is done before the first command is sent.
    pub fn call(&mut self, call: &LedgerCall) -> Progress {
        match call {
            LedgerCall::Begin => Next(Op::Connect),
            LedgerCall::Merge { batches, .. } => {
                let [(_, observations)] = batches.as_slice() else { panic!("there is one key") };
                let of = |reports: &[stormfold_core::storm::Report]| uids(reports.iter().map(|report| report.uid));
                let signals = observations.iter().map(|observation| of(&observation.reports)).collect();
                self.try_merge(Merging { signals, closed: None, held: 0, last: None })
            }
            LedgerCall::Open { id, .. } => Next(Op::Open(epoch_of(id.epoch))),
            LedgerCall::Hold(holdings) => {
                let held = holdings.iter().map(|of| (of.epoch.map(epoch_of), uids(of.uids.iter().copied())));
                Next(Op::Hold(held.collect()))
            }
            LedgerCall::Dirty => Next(Op::Dirty),
            LedgerCall::Snapshot(id) => Next(Op::SnapshotOpen(epoch_of(id.epoch))),
            LedgerCall::MarkPublished(id) => Next(Op::Published(epoch_of(id.epoch))),
            LedgerCall::Ack(id, snapshot) => {
                let LedgerView::Open { metadata, .. } = &snapshot.view else { return Done(LedgerReply::Done) };
                // `Known::acknowledges`.
                if let Some(known) = self.known.as_mut().filter(|_| snapshot.version.begun == self.begun) {
                    known.marked = false;
                }
                let Version { begun, mark, .. } = snapshot.version.clone();
                Next(Op::Ack(epoch_of(id.epoch), begun, mark, metadata.as_ref().map_or(0, alerts)))
            }
            LedgerCall::Close { id, snapshot, reason, .. } => {
                let LedgerView::Open { metadata, .. } = &snapshot.view else { return changed() };
                let facts = metadata.as_ref().map(alerts);
                let Version { begun, mark, .. } = snapshot.version.clone();
                Next(Op::Close(epoch_of(id.epoch), begun, mark, facts, *reason))
            }
            LedgerCall::Settle(id) => Next(Op::DropFacts(epoch_of(id.epoch))),
            LedgerCall::DropStorm(id) => {
                self.gone(epoch_of(id.epoch));
                Next(Op::Counter(epoch_of(id.epoch)))
            }
            LedgerCall::NoteResolved { .. } => panic!("nothing is resolved"),
            LedgerCall::Forget(id, _) => panic!("storm {} is forgotten, and nobody deleted it", epoch_of(id.epoch)),
        }
    }

    /// `RedisLedger::try_merge`: `look_at_unknown`, then `held`.
    fn try_merge(&self, merging: Merging) -> Progress {
        let merging = Merging { closed: None, held: 0, last: None, ..merging };
        match self.known {
            None => Next(Op::Merge(merging, At::LookOpen)),
            Some(_) => self.meet(merging),
        }
    }

    fn meet(&self, merging: Merging) -> Progress {
        match &self.known {
            Some(known) if !known.held => self.cut(merging),
            _ => Next(Op::Merge(merging, At::Meet)),
        }
    }

    /// `RedisLedger::cut`, and `not_open`.
    fn cut(&self, merging: Merging) -> Progress {
        let Some(known) = &self.known else {
            let opens = merging.signals.iter().map(|uids| uids & !merging.held != 0).collect();
            return Done(LedgerReply::Merged(vec![Merge::NotOpen { opens, last: merging.closed.map(second) }]));
        };
        let fresh = merging.fresh() != 0;
        let (marks, registers) = (fresh && !known.marked, fresh && !known.registers);
        let piece = Piece { epoch: known.epoch, marks, registers };
        Next(Op::Merge(merging, if fresh { At::Add(piece) } else { At::End(piece) }))
    }

    fn merge_hears(&mut self, merging: Merging, at: At, answer: Answer, case: &Case) -> Progress {
        let next = |at| Next(Op::Merge(merging.clone(), at));
        match (at, answer) {
            (At::LookOpen, Answer::Epoch(open)) => next(At::LookClosed(open)),
            (At::LookClosed(open), Answer::Closed { last, held }) => {
                let closed = if open.is_none() { last } else { None };
                if let Some(open) = open {
                    self.opened(open, held);
                }
                self.meet(Merging { closed, ..merging })
            }
            (At::Meet, Answer::Met { held, last }) => self.cut(Merging { held, last, ..merging }),
            (At::Add(piece), _) if piece.marks => next(At::Mark(piece)),
            (At::Add(piece) | At::Mark(piece), _) if piece.registers => next(At::Registers(piece)),
            (At::Add(piece) | At::Mark(piece) | At::Registers(piece), _) => next(At::End(piece)),
            (At::End(piece), Answer::Epoch(open)) => self.piece_done(merging, piece, open, case),
            (At::Stray(_), _) => self.try_merge(merging),
            (at, answer) => panic!("{at:?} got {answer:?}"),
        }
    }

    /// `RedisLedger::piece_done`; a stray is removed, and merged again.
    fn piece_done(&mut self, merging: Merging, piece: Piece, open: Option<Epoch>, case: &Case) -> Progress {
        let Piece { epoch, marks, registers } = piece;
        if open != Some(epoch) && !case.breaks(LedgerRule::MergeIgnoresItsEnd) {
            self.gone(epoch);
            if case.breaks(LedgerRule::StraysStay) {
                return self.try_merge(merging);
            }
            return Next(Op::Merge(merging, At::Stray(epoch)));
        }
        if let Some(known) = self.known.as_mut().filter(|known| known.epoch == epoch) {
            known.marked |= marks;
            known.registers |= registers;
        }
        let whole: Vec<bool> = merging.signals.iter().map(|uids| uids & !merging.held == 0).collect();
        let held = if whole.contains(&true) { whole } else { Vec::new() };
        let last = merging.last.filter(|_| !held.is_empty()).map(second);
        // How many were new is only told to people.
        let new = vec![0; merging.signals.len()];
        Done(LedgerReply::Merged(vec![Merge::Joined { epoch: second(epoch), new, held, last }]))
    }

    /// `RedisLedger::begin`, once the incarnation is known.
    fn began(&mut self, life: Life, made: bool) -> Progress {
        let wiped = self.life.replace(life).is_some_and(|before| before != life) || made;
        self.known = None;
        let durability = match (wiped, std::mem::take(&mut self.replaced)) {
            (true, _) => Durability::Lost,
            (false, true) => Durability::Suspect,
            (false, false) => Durability::Intact,
        };
        Done(LedgerReply::Begun(Begun { key: DigestKey::new([life; 16]), durability }))
    }

    /// `dirty_storms` and `sweep`: marks that nobody here knows are swept.
    fn sweep(&self, mut marks: Vec<(Life, Epoch)>, mut dirty: Vec<Epoch>) -> Progress {
        let known = self.known.as_ref().map(|known| known.epoch);
        marks.retain(|(life, epoch)| {
            let ours = self.life == Some(*life) && known == Some(*epoch);
            dirty.extend(ours.then_some(*epoch));
            !ours
        });
        if marks.is_empty() {
            return Done(LedgerReply::Dirty(dirty.into_iter().map(storm).collect()));
        }
        Next(Op::Sweep(marks, dirty))
    }

    /// The answer of the server to the command that this was about.
    pub fn hears(&mut self, op: Op, answer: Answer, case: &Case) -> Progress {
        match (op, answer) {
            (_, Answer::Wiped) => Progress::Wiped,
            (Op::Connect, _) => panic!("this is not a command"),
            (Op::Incarnation, Answer::Life { life, made }) => self.began(life, made),
            (Op::Merge(merging, at), answer) => self.merge_hears(merging, at, answer, case),
            (Op::Open(_), Answer::Epoch(Some(open))) => Next(Op::OpenLook(open)),
            (Op::Open(_), _) => Done(LedgerReply::Opened(None)),
            (Op::OpenLook(open), _) => Next(Op::OpenLookClosed(open)),
            (Op::OpenLookClosed(open), Answer::Closed { held, .. }) => {
                self.opened(open, held);
                Done(LedgerReply::Opened(Some(second(open))))
            }
            (Op::Hold(holdings), _) => Next(Op::HoldExpires(holdings)),
            (Op::HoldExpires(holdings), _) if holdings[0].0.is_some() => Next(Op::HoldLast(holdings)),
            (Op::HoldExpires(holdings) | Op::HoldLast(holdings), _) => self.is_held(holdings),
            (Op::Dirty, Answer::Marks(marks)) => self.sweep(marks, Vec::new()),
            (Op::Sweep(mut marks, dirty), _) => {
                marks.remove(0);
                self.sweep(marks, dirty)
            }
            (op, answer) => self.hears_of_storm(op, answer, case),
        }
    }

    fn is_held(&mut self, mut holdings: Vec<(Option<Epoch>, Uids)>) -> Progress {
        if let Some(known) = &mut self.known {
            known.held = true;
        }
        holdings.remove(0);
        if holdings.is_empty() { Done(LedgerReply::Done) } else { Next(Op::Hold(holdings)) }
    }

    fn hears_of_storm(&mut self, op: Op, answer: Answer, case: &Case) -> Progress {
        match (op, answer) {
            (Op::SnapshotOpen(epoch), Answer::Epoch(open)) => Next(Op::SnapshotPage(epoch, self.begun, open)),
            (Op::SnapshotPage(epoch, begun, open), Answer::Page { .. }) if open == Some(epoch) => {
                Next(Op::SnapshotStage(epoch, begun))
            }
            (Op::SnapshotPage(epoch, ..), Answer::Page { last, facts, strays }) => {
                self.gone(epoch);
                let (metadata, reason) = facts.map(|(alerts, reason)| (alerts.map(metadata), reason)).unzip();
                let closed = LedgerView::Closed { metadata: metadata.flatten(), reason };
                let view = if last.is_some_and(|last| epoch <= last) { closed } else { LedgerView::Unknown };
                if strays && !case.breaks(LedgerRule::StraysStay) {
                    return Next(Op::SnapshotStrays(epoch, view));
                }
                not_open(view)
            }
            (Op::SnapshotStrays(_, view), _) => not_open(view),
            // Another was at it: read again.
            (Op::SnapshotStage(epoch, _), Answer::Staged(None)) => Next(Op::SnapshotOpen(epoch)),
            (Op::SnapshotStage(_, begun), Answer::Staged(Some(staged))) => snapshot_of(staged, begun),
            (Op::Close(epoch, ..), Answer::Flag(true)) => {
                self.gone(epoch);
                Done(LedgerReply::Closing(Closing::Closed))
            }
            (Op::Close(..), _) => changed(),
            (Op::DropFacts(epoch), _) => Next(Op::SettleStrays(epoch)),
            (Op::Counter(epoch), Answer::Counter(Some((open, counter)))) if open == epoch => {
                Next(Op::Drop(epoch, counter))
            }
            (Op::Drop(epoch, _), Answer::Flag(false)) => Next(Op::Counter(epoch)),
            (Op::Published(_) | Op::Ack(..) | Op::SettleStrays(_) | Op::Counter(_) | Op::Drop(..), _) => {
                Done(LedgerReply::Done)
            }
            (op, answer) => panic!("{op:?} got {answer:?}"),
        }
    }
}

/// `RedisLedger::snapshot_of`.
fn snapshot_of(staged: Staged, begun: u64) -> Progress {
    let Staged { mark, alerts, published } = staged;
    let view = LedgerView::Open { metadata: alerts.map(metadata), resolvable: false, published };
    let version = Version { mark, begun, ..Version::default() };
    Done(LedgerReply::Snapshot(Snapshot { view, version, dirty_since: None }))
}

fn changed() -> Progress {
    Done(LedgerReply::Closing(Closing::Changed))
}

fn not_open(view: LedgerView) -> Progress {
    Done(LedgerReply::Snapshot(Snapshot { view, version: Version::default(), dirty_since: None }))
}
