//! Where a call to the ledger is: its next command, and what it has learnt by then.

use stormfold_core::ledger::{Closing, Holding, LedgerReply};
use stormfold_core::storm::decide::{CloseReason, LedgerView};
use stormfold_core::storm::{AlertRegisters, AlertReport, HeldReports, Observation};

use super::case::{Case, LedgerRule};
use super::ledger::Ledger;
use super::redis::{Cmd, Epoch, Facts, Life};
use super::values::epoch_of;

/// What a call does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `Connection::begin`: no command, but which server is there.
    Connect,
    Incarnation,
    Merge(Merging, At),
    Open(Epoch),
    OpenLook(Epoch),
    OpenLookClosed(Epoch),
    /// What is still to hold; how many alerts are left by key, as far as is known.
    Hold(Vec<Holding>, usize),
    Note(Vec<AlertReport>),
    TakeOver(Epoch),
    Dirty,
    Sweep(Vec<(Life, Epoch)>, Vec<Epoch>),
    /// `drop_orphans`: all but these, if they opened before.
    Orphans(Vec<Epoch>, Epoch),
    /// `read_storm`, from its second read on after this `begin`.
    SnapshotOpen(Epoch),
    SnapshotPage(Epoch, u64, Option<Epoch>),
    SnapshotStage(Epoch, u64),
    SnapshotStrays(Epoch, LedgerView),
    Published(Epoch),
    /// With a snapshot that was read after this `begin`.
    Ack(Epoch, u64, Box<str>, u8),
    Close(Epoch, u64, Box<str>, Option<Facts>, CloseReason),
    DropFacts(Epoch),
    SettleStrays(Epoch),
    Counter(Epoch),
    Drop(Epoch, u8),
}

/// A batch that is being merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Merging {
    pub signals: Vec<Observation>,
    /// What `look` said of a key without an open storm.
    pub closed: Option<(Option<Epoch>, AlertRegisters)>,
    /// For each Signal its reports that are no part of the storm, and the last storm that was closed.
    pub held: Vec<HeldReports>,
    pub last: Option<Epoch>,
    /// What the piece under way tells its storm.
    pub journal: Vec<AlertReport>,
}

/// Where a merge is: its next command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    LookOpen,
    LookClosed(Option<Epoch>),
    Append(Piece),
    Mark(Piece),
    Registers(Piece),
    End(Piece),
    Stray(Epoch),
}

/// `Piece`: its storm, and what it leaves there beside the occurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    pub epoch: Epoch,
    pub marks: bool,
    pub registers: bool,
}

/// What follows an answer.
pub enum Progress {
    Next(Op),
    Done(LedgerReply),
    /// The incarnation is not there any more.
    Wiped,
}

impl Op {
    /// The command, and under the names of which incarnation it is sent by a call that began under this one.
    pub fn cmd(&self, life: Life) -> (Life, Cmd) {
        let cmd = match *self {
            Self::Connect => panic!("this is not a command"),
            Self::Incarnation => Cmd::Incarnation,
            Self::Merge(ref merging, at) => merging.cmd(at),
            Self::Open(epoch) => Cmd::Open(epoch),
            Self::OpenLook(_) | Self::SnapshotOpen(_) => Cmd::OpenEpoch,
            Self::OpenLookClosed(_) => Cmd::LookClosed,
            Self::Hold(ref holdings, _) => {
                let Holding { reports, end, epoch, .. } = &holdings[0];
                Cmd::Hold(reports.clone(), *end, epoch.map(epoch_of))
            }
            Self::Note(ref reports) => Cmd::Note(reports.clone()),
            Self::TakeOver(epoch) => Cmd::TakeOver(epoch),
            Self::Dirty => Cmd::Dirty,
            // The names are those of the mark.
            Self::Sweep(ref marks, _) => {
                return (marks[0].0, Cmd::Remove { storm: marks[0].1, epoch: 0, counter: None });
            }
            Self::SnapshotPage(epoch, ..) => Cmd::Page(epoch),
            Self::SnapshotStage(epoch, _) => Cmd::Stage(epoch),
            Self::SnapshotStrays(epoch, _) | Self::SettleStrays(epoch) => {
                Cmd::Remove { storm: epoch, epoch, counter: None }
            }
            Self::Published(epoch) => Cmd::Published(epoch),
            Self::Ack(epoch, _, ref mark, alerts) => Cmd::Ack(epoch, mark.clone(), alerts),
            Self::Close(epoch, _, ref mark, facts, reason) => Cmd::Close(epoch, mark.clone(), facts, reason),
            Self::DropFacts(epoch) => Cmd::DropFacts(epoch),
            Self::Counter(_) | Self::Orphans(..) => Cmd::Counter,
            Self::Drop(epoch, counter) => Cmd::Remove { storm: epoch, epoch, counter: Some(counter) },
        };
        (life, cmd)
    }

    /// It acts on what was read before another `begin`: nothing is sent.
    pub fn is_outdated(&self, ledger: &Ledger, case: &Case) -> bool {
        match self {
            Self::Ack(_, begun, ..) => *begun != ledger.begun,
            Self::Close(_, begun, ..) => *begun != ledger.begun && !case.breaks(LedgerRule::OldSnapshots),
            _ => false,
        }
    }

    /// What is answered then.
    pub fn outdated(&self) -> LedgerReply {
        if matches!(self, Self::Close(..)) { LedgerReply::Closing(Closing::Changed) } else { LedgerReply::Done }
    }

    /// Whether it runs together with what came before it, unless commands are searched one by one.
    pub fn goes_on(&self) -> bool {
        match self {
            Self::Merge(merging, At::End(piece)) => !merging.journal.is_empty() || piece.marks || piece.registers,
            Self::Merge(_, at) => !matches!(at, At::LookOpen | At::Append(_) | At::Stray(_)),
            Self::Hold(..) | Self::Note(_) | Self::TakeOver(_) | Self::Connect | Self::Open(_) | Self::Dirty => false,
            Self::SnapshotOpen(_) | Self::Published(_) | Self::Ack(..) | Self::Close(..) => false,
            Self::DropFacts(_) | Self::Counter(_) | Self::Orphans(..) => false,
            _ => true,
        }
    }
}

impl Merging {
    fn cmd(&self, at: At) -> Cmd {
        match at {
            At::LookOpen | At::End(_) => Cmd::OpenEpoch,
            At::LookClosed(_) => Cmd::LookClosed,
            At::Append(piece) => Cmd::Append(piece.epoch, self.journal.clone()),
            At::Mark(piece) => Cmd::MarkDirty(piece.epoch),
            At::Registers(piece) => Cmd::Registers(piece.epoch),
            At::Stray(epoch) => Cmd::Remove { storm: epoch, epoch, counter: None },
        }
    }
}
