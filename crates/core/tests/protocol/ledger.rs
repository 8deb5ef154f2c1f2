//! The executor of the ledger: which commands `RedisLedger` sends for each call, in which order, and what it makes of their answers. Each arm names
//! what it mirrors in `src/ledger/redis`. No rule of the protocol is here: those that can be broken are how the ledger keeps its word.

use stormfold_core::ledger::{
    Begun, Closing, Durability, Holding, LedgerCall, LedgerReply, Merge, Snapshot, Version, any_held,
};
use stormfold_core::storm::alerts::Joined;
use stormfold_core::storm::decide::LedgerView;
use stormfold_core::storm::{AlertRegisters, DigestKey, HeldReports};

use super::case::{Case, LedgerRule};
use super::op::{At, Merging, Op, Piece, Progress};
use super::redis::{Answer, Epoch, Life, Staged};
use super::values::{epoch_of, facts, metadata, second, storm};

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

/// `KnownStorm`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub epoch: Epoch,
    last: Option<Epoch>,
    /// `None`: to be read.
    alerts: Option<AlertRegisters>,
    registers: bool,
    marked: bool,
}

use Progress::{Done, Next};

impl Ledger {
    /// `Known::opened`.
    fn opened(&mut self, epoch: Epoch, last: Option<Epoch>, alerts: AlertRegisters) {
        match &mut self.known {
            Some(known) if known.epoch == epoch => (known.alerts, known.last) = (Some(alerts), last),
            known => *known = Some(Known { epoch, last, alerts: Some(alerts), registers: false, marked: false }),
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

    /// A command has no answer: the server may not know what this process took in (`KnownStorms::doubt`).
    pub fn unanswered(&mut self, op: &Op) {
        if let (Op::Merge(_, At::Append(_) | At::Mark(_) | At::Registers(_) | At::End(_)), Some(known)) =
            (op, &mut self.known)
        {
            known.alerts = None;
        }
    }

    /// A call of the engine begins: what is done before the first command is sent.
    pub fn call(&mut self, call: &LedgerCall) -> Progress {
        match call {
            LedgerCall::Begin => Next(Op::Connect),
            LedgerCall::Merge { batches, .. } => {
                let [(_, observations)] = batches.as_slice() else { panic!("there is one key") };
                self.try_merge(Merging { signals: observations.clone(), ..Merging::default() })
            }
            LedgerCall::Open { id, .. } => Next(Op::Open(epoch_of(id.epoch))),
            LedgerCall::Hold(holdings) => Next(Op::Hold(holdings.clone(), 0)),
            LedgerCall::Dirty => Next(Op::Dirty),
            LedgerCall::DropUnknown { known, before } => {
                let known = known.iter().map(|id| epoch_of(id.epoch)).collect();
                Next(Op::Orphans(known, epoch_of(before.as_second())))
            }
            LedgerCall::Snapshot { id, .. } => Next(Op::SnapshotOpen(epoch_of(id.epoch))),
            LedgerCall::MarkPublished(id) => Next(Op::Published(epoch_of(id.epoch))),
            LedgerCall::Ack(id, snapshot) => {
                let LedgerView::Open { metadata, .. } = &snapshot.view else { return Done(LedgerReply::Done) };
                // `Known::acknowledges`.
                if let Some(known) = self.known.as_mut().filter(|_| snapshot.version.begun == self.begun) {
                    known.marked = false;
                }
                let Version { begun, mark, .. } = snapshot.version.clone();
                Next(Op::Ack(
                    epoch_of(id.epoch),
                    begun,
                    mark,
                    metadata.as_ref().map_or(0, |metadata| facts(metadata).alerts),
                ))
            }
            LedgerCall::Close { id, snapshot, reason, .. } => {
                let LedgerView::Open { metadata, .. } = &snapshot.view else { return changed() };
                let facts = metadata.as_ref().map(facts);
                let Version { begun, mark, .. } = snapshot.version.clone();
                Next(Op::Close(epoch_of(id.epoch), begun, mark, facts, *reason))
            }
            LedgerCall::Settle(id) => Next(Op::DropFacts(epoch_of(id.epoch))),
            LedgerCall::DropStorm(id) => {
                self.gone(epoch_of(id.epoch));
                Next(Op::Counter(epoch_of(id.epoch)))
            }
            LedgerCall::Note { reports, .. } => Next(Op::Note(reports.clone())),
            LedgerCall::TakeOver(id, _) => Next(Op::TakeOver(epoch_of(id.epoch))),
            LedgerCall::Forget(id, _) => panic!("storm {} is forgotten, and nobody deleted it", epoch_of(id.epoch)),
        }
    }

    /// `RedisLedger::try_merge`: `look_at_unknown`.
    fn try_merge(&mut self, merging: Merging) -> Progress {
        let merging = Merging { signals: merging.signals, ..Merging::default() };
        match &self.known {
            Some(Known { alerts: Some(_), .. }) => self.judge(merging),
            _ => Next(Op::Merge(merging, At::LookOpen)),
        }
    }

    /// `KnownStorms::last`, and `not_open`.
    fn judge(&mut self, merging: Merging) -> Progress {
        let Some(Known { alerts: Some(_), last, .. }) = &self.known else {
            let (last, alerts) = merging.closed.unwrap_or_default();
            return Done(LedgerReply::Merged(vec![Merge::not_open(&merging.signals, &alerts, last.map(second))]));
        };
        self.cut(Merging { last: *last, ..merging })
    }

    /// `RedisLedger::cut`: what the storm is not known to know.
    fn cut(&mut self, mut merging: Merging) -> Progress {
        let Some(known) = &mut self.known else { panic!("it is known") };
        let alerts = known.alerts.get_or_insert_default();
        let mut touched = false;
        let mut held = Vec::new();
        for signal in &merging.signals {
            let mut pasts = HeldReports::new();
            for (place, report) in (0..).zip(signal.says()) {
                let past = alerts.past(&report);
                touched |= past.is_none();
                pasts.extend(past.map(|past| (place, past)));
                if alerts.join(&report) != Joined::Nothing {
                    merging.journal.push(report);
                }
            }
            held.push(pasts);
        }
        merging.held = any_held(held);
        merging.last.take_if(|_| merging.held.is_empty());
        let registers = touched && !known.registers;
        let marks = (registers || !merging.journal.is_empty()) && !known.marked;
        let piece = Piece { epoch: known.epoch, marks, registers };
        let at = match (merging.journal.is_empty(), marks) {
            (false, _) => At::Append(piece),
            (true, true) => At::Mark(piece),
            (true, false) if registers => At::Registers(piece),
            (true, false) => At::End(piece),
        };
        Next(Op::Merge(merging, at))
    }

    fn merge_hears(&mut self, merging: Merging, at: At, answer: Answer, case: &Case) -> Progress {
        let next = |at| Next(Op::Merge(merging.clone(), at));
        match (at, answer) {
            (At::LookOpen, Answer::Epoch(open)) => next(At::LookClosed(open)),
            (At::LookClosed(open), Answer::Closed { last, alerts }) => {
                let Some(open) = open else { return self.judge(Merging { closed: Some((last, alerts)), ..merging }) };
                self.opened(open, last, alerts);
                self.judge(merging)
            }
            (At::Append(piece), _) if piece.marks => next(At::Mark(piece)),
            (At::Append(piece) | At::Mark(piece), _) if piece.registers => next(At::Registers(piece)),
            (At::Append(piece) | At::Mark(piece) | At::Registers(piece), _) => next(At::End(piece)),
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
        let (held, last) = (merging.held, merging.last.map(second));
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
            (Op::OpenLookClosed(open), Answer::Closed { last, alerts }) => {
                self.opened(open, last, alerts);
                Done(LedgerReply::Opened(Some(second(open))))
            }
            (Op::Hold(holdings, _), Answer::Left(left)) => self.is_held(holdings, left.unwrap_or_default()),
            (Op::Note(reports), _) => {
                if let Some(Known { alerts: Some(alerts), .. }) = &mut self.known {
                    alerts.note(&reports);
                }
                Done(LedgerReply::Done)
            }
            (Op::TakeOver(_), Answer::TakenOver(taken)) => {
                if let Some(Known { alerts: Some(alerts), .. }) = &mut self.known {
                    alerts.take_over();
                }
                Done(LedgerReply::TakenOver(taken))
            }
            (Op::Dirty, Answer::Marks(marks)) => self.sweep(marks, Vec::new()),
            // `RedisLedger::drop_orphans`: the counter is read with the epoch.
            (Op::Orphans(known, before), Answer::Counter(Some((open, counter))))
                if open < before && !known.contains(&open) && self.known.as_ref().is_none_or(|of| of.epoch != open) =>
            {
                Next(Op::Drop(open, counter))
            }
            (Op::Orphans(..), _) => Done(LedgerReply::Done),
            (Op::Sweep(mut marks, dirty), _) => {
                marks.remove(0);
                self.sweep(marks, dirty)
            }
            (op, answer) => self.hears_of_storm(op, answer, case),
        }
    }

    fn is_held(&mut self, mut holdings: Vec<Holding>, left: usize) -> Progress {
        let Holding { reports, end, key, epoch, .. } = holdings.remove(0);
        if let Some(Known { alerts: Some(alerts), last, epoch: open, .. }) = &mut self.known {
            *last = (*last).max(epoch.map(epoch_of));
            let of_open = epoch.map(epoch_of) == Some(*open);
            alerts.hold(&reports, end, of_open);
        }
        if holdings.is_empty() { Done(LedgerReply::Held(vec![(key, left)])) } else { Next(Op::Hold(holdings, left)) }
    }

    fn hears_of_storm(&mut self, op: Op, answer: Answer, case: &Case) -> Progress {
        match (op, answer) {
            (Op::SnapshotOpen(epoch), Answer::Epoch(open)) => Next(Op::SnapshotPage(epoch, self.begun, open)),
            (Op::SnapshotPage(epoch, begun, open), Answer::Page { .. }) if open == Some(epoch) => {
                Next(Op::SnapshotStage(epoch, begun))
            }
            (Op::SnapshotPage(epoch, ..), Answer::Page { last, facts, strays }) => {
                self.gone(epoch);
                let (metadata, reason) = facts.map(|(facts, reason)| (facts.map(metadata), reason)).unzip();
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
            (Op::Close(epoch, ..), Answer::Left(Some(left))) => {
                self.gone(epoch);
                Done(LedgerReply::Closing(Closing::Closed { left }))
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
    let Staged { mark, facts, published } = staged;
    let view = LedgerView::Open { metadata: facts.map(metadata), resolvable: false, published };
    let version = Version { mark, begun, ..Version::default() };
    Done(LedgerReply::Snapshot(Snapshot { view, version, dirty_since: None, firing: Vec::new() }))
}

fn changed() -> Progress {
    Done(LedgerReply::Closing(Closing::Changed))
}

fn not_open(view: LedgerView) -> Progress {
    Done(LedgerReply::Snapshot(Snapshot { view, version: Version::default(), dirty_since: None, firing: Vec::new() }))
}
