//! Redis as the protocol sees it: one StormKey, one command or script at a time. Each arm of [`Redis::exec`] names what it mirrors.

use std::collections::{BTreeMap, BTreeSet};

use stormfold_core::ledger::TakenOver;
use stormfold_core::storm::alerts::StormEnd;
use stormfold_core::storm::decide::CloseReason;
use stormfold_core::storm::{AlertRegisters, AlertReport};

use super::case::{Case, LedgerRule};
use super::values::time;

/// Seconds since the search began; of a storm, of its opening.
pub type Epoch = u8;
/// What a storm shows: how many alerts, and how many of them fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Facts {
    pub alerts: u8,
    pub firing: u8,
}
/// Whose digests name a key: each incarnation has its own.
pub type Life = u8;

/// The server and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Redis {
    /// Run id and replication id.
    pub server: u8,
    pub data: Data,
    /// The last incarnation that anybody made, and the last counter: random numbers, so no two are alike.
    minted: Life,
    counters: u8,
}

/// What a restored copy brings back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data {
    pub incarnation: Option<Life>,
    /// Our StormKey under the digests of each incarnation.
    pub keys: BTreeMap<Life, Key>,
}

/// The keys of one StormKey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// `e` and its companions in `h`.
    pub open: Option<Open>,
    /// `l`; set with its expiry.
    pub last: Option<Epoch>,
    /// `a`.
    pub alerts: AlertRegisters,
    pub alerts_expire: bool,
    pub storms: BTreeMap<Epoch, Storm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    pub epoch: Epoch,
    /// `p`.
    pub counter: u8,
    /// `a`.
    pub shown: Option<u8>,
    /// Whether `h` expires: until something is known to be in this storm.
    pub expires: bool,
}

/// The keys of one storm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Storm {
    /// `j`; the order in which reports came is nothing that anybody can see.
    pub journal: BTreeSet<AlertReport>,
    /// Its mark in `q`.
    pub dirty: bool,
    /// Its registers in `h`.
    pub registers: bool,
    /// `f`; set with its expiry.
    pub facts: Option<(Option<Facts>, CloseReason)>,
}

/// `mark_of` of `alerts.lua`: what the storm has, the counter, and whether there are registers.
pub type Mark = Box<str>;

/// A command or a script, sent with the names of one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cmd {
    /// `RedisLedger::read_incarnation`.
    Incarnation,
    /// `ZSCORE h e`: of `look`, of the end of a piece, of a page, of `sweep`.
    OpenEpoch,
    /// `ZSCORE l m` and `GET a`, of `look`.
    LookClosed,
    /// `APPEND j`, `ZADD q`, `ZADD h`, of `Piece::commands`.
    Append(Epoch, Vec<AlertReport>),
    MarkDirty(Epoch),
    Registers(Epoch),
    /// `remove.lua` for the keys of `storm`, with its two other arguments.
    Remove {
        storm: Epoch,
        epoch: Epoch,
        counter: Option<u8>,
    },
    /// `open.lua`.
    Open(Epoch),
    /// `hold.lua`.
    Hold(Vec<AlertReport>, StormEnd, Option<Epoch>),
    /// The same, of reports that no storm takes in.
    Note(Vec<AlertReport>),
    /// `take_over.lua`.
    TakeOver(Epoch),
    /// The rest of `RedisLedger::page`.
    Page(Epoch),
    /// `stage.lua`.
    Stage(Epoch),
    /// `ack.lua`, with the alerts of the snapshot.
    Ack(Epoch, Mark, u8),
    /// `published.lua`.
    Published(Epoch),
    /// `close.lua`, with the final facts.
    Close(Epoch, Mark, Option<Facts>, CloseReason),
    /// `UNLINK f`, of `settle`.
    DropFacts(Epoch),
    /// `ZMSCORE h e p`, of `drop_open_storm`.
    Counter,
    /// `ZRANGE q` of all partitions: marks under the names of every incarnation.
    Dirty,
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Nothing,
    Flag(bool),
    Epoch(Option<Epoch>),
    /// The incarnation, and whether it was made just now.
    Life {
        life: Life,
        made: bool,
    },
    Closed {
        last: Option<Epoch>,
        alerts: AlertRegisters,
    },
    /// Of a close: how many alerts are left to the next storm; `None`: nothing was done.
    Left(Option<usize>),
    TakenOver(TakenOver),
    Wiped,
    Page {
        last: Option<Epoch>,
        facts: Option<(Option<Facts>, CloseReason)>,
        strays: bool,
    },
    Staged(Option<Staged>),
    Counter(Option<(Epoch, u8)>),
    Marks(Vec<(Life, Epoch)>),
}

/// What `stage.lua` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Staged {
    pub mark: Mark,
    /// `None` while the registers are missing: then there is no metadata.
    pub facts: Option<Facts>,
    pub published: bool,
}

impl Key {
    pub fn storm(&self, epoch: Epoch) -> Storm {
        self.storms.get(&epoch).cloned().unwrap_or_default()
    }

    fn open_epoch(&self) -> Option<Epoch> {
        self.open.as_ref().map(|open| open.epoch)
    }

    fn mark(&self, epoch: Epoch) -> Mark {
        let storm = self.storm(epoch);
        let counter = self.open.as_ref().map_or(0, |open| open.counter);
        let Facts { alerts, firing } = self.facts();
        format!("{alerts}.{firing}.{counter}.{}", u8::from(storm.registers)).into()
    }

    fn edit(&mut self, epoch: Epoch) -> &mut Storm {
        self.storms.entry(epoch).or_default()
    }

    /// `UNLINK h`: with it go the registers of whomever.
    fn unlink_registers(&mut self) {
        self.open = None;
        self.storms.values_mut().for_each(|storm| storm.registers = false);
    }

    /// `fold` of `alerts.lua`.
    fn fold(&mut self, epoch: Epoch) {
        for report in std::mem::take(&mut self.edit(epoch).journal) {
            self.alerts.join(&report);
        }
    }

    fn is_open(&self, epoch: Epoch) -> bool {
        self.open_epoch() == Some(epoch)
    }

    fn stage(&mut self, epoch: Epoch) -> Answer {
        if !self.is_open(epoch) {
            return Answer::Staged(None);
        }
        self.fold(epoch);
        let (mark, facts) = (self.mark(epoch), self.facts());
        let facts = self.storm(epoch).registers.then_some(facts);
        let joined = self.alerts.in_storm() > 0;
        self.alerts_expire &= !joined;
        let Some(open) = &mut self.open else { return Answer::Staged(None) };
        open.expires &= !joined;
        Answer::Staged(Some(Staged { mark, facts, published: open.shown.is_some() }))
    }

    fn close_as_of(&mut self, epoch: Epoch, mark: &Mark, end: (Option<Facts>, CloseReason), case: &Case) -> Answer {
        if !self.is_open(epoch) {
            return Answer::Left(None);
        }
        self.fold(epoch);
        if self.mark(epoch) != *mark && !case.breaks(LedgerRule::CloseIgnoresChanges) {
            return Answer::Left(None);
        }
        self.close(epoch, end, StormEnd::of(end.1, time(epoch)), case);
        Answer::Left(Some(self.alerts.left()))
    }

    fn take_over(&mut self, epoch: Epoch) -> TakenOver {
        if !self.is_open(epoch) {
            return TakenOver::default();
        }
        self.fold(epoch);
        let taken = self.alerts.take_over().len();
        if taken > 0 {
            self.edit(epoch).dirty = true;
            self.alerts_expire = false;
            self.open.iter_mut().for_each(|open| open.expires = false);
        }
        TakenOver { taken, firing: self.alerts.firing() }
    }

    fn facts(&self) -> Facts {
        Facts { alerts: number(self.alerts.in_storm()), firing: number(self.alerts.firing()) }
    }

    fn close(&mut self, epoch: Epoch, facts: (Option<Facts>, CloseReason), end: StormEnd, case: &Case) {
        let storm = self.edit(epoch);
        storm.facts = Some(facts);
        storm.dirty = false;
        self.unlink_registers();
        self.last = self.last.max(Some(epoch));
        if case.breaks(LedgerRule::CloseHoldsNothing) {
            self.alerts.drop_storm();
        } else {
            self.alerts.end(end);
        }
        self.alerts_expire = true;
    }

    fn remove(&mut self, storm: Epoch, epoch: Epoch, counter: Option<u8>) -> bool {
        match &self.open {
            Some(open) if open.epoch == epoch && Some(open.counter) != counter => return false,
            Some(open) if open.epoch != epoch && open.epoch == storm => return false,
            Some(open) if open.epoch != epoch => self.edit(storm).registers = false,
            open => {
                if open.is_some() {
                    self.alerts.drop_storm();
                    self.alerts_expire = true;
                }
                self.unlink_registers();
            }
        }
        let storm = self.edit(storm);
        storm.journal.clear();
        storm.dirty = false;
        true
    }
}

impl Redis {
    /// One step of the server.
    pub fn exec(&mut self, life: Life, cmd: &Cmd, case: &Case) -> Answer {
        let current = self.data.incarnation;
        if *cmd == Cmd::Incarnation {
            let life = current.unwrap_or_else(|| {
                // What a merge under way left under the names of the one that was lost.
                if !case.breaks(LedgerRule::StraysOfTheLostStay) {
                    self.data.keys.clear();
                }
                self.minted += 1;
                self.minted
            });
            self.data.incarnation = Some(life);
            return Answer::Life { life, made: current.is_none() };
        }
        if *cmd == Cmd::Dirty {
            let of = |(life, key): (&Life, &Key)| {
                let life = *life;
                let dirty = key.storms.iter().filter(|(_, storm)| storm.dirty).map(move |(epoch, _)| (life, *epoch));
                dirty.collect::<Vec<_>>()
            };
            return Answer::Marks(self.data.keys.iter().flat_map(of).collect());
        }
        let counters = &mut self.counters;
        let key = self.data.keys.entry(life).or_default();
        let answer = match *cmd {
            Cmd::Open(_) | Cmd::Page(_) if current != Some(life) => Answer::Wiped,
            Cmd::Open(epoch) => open(key, epoch, counters),
            _ => exec(key, cmd, case),
        };
        key.storms.retain(|_, storm| *storm != Storm::default());
        if *key == Key::default() {
            self.data.keys.remove(&life);
        }
        answer
    }
}

fn open(key: &mut Key, epoch: Epoch, counters: &mut u8) -> Answer {
    if let Some(open) = key.open_epoch() {
        return Answer::Epoch(Some(open));
    }
    if key.last.is_some_and(|last| last >= epoch) {
        return Answer::Epoch(None);
    }
    key.unlink_registers();
    *counters += 1;
    key.open = Some(Open { epoch, counter: *counters, shown: None, expires: true });
    Answer::Epoch(Some(epoch))
}

fn exec(key: &mut Key, cmd: &Cmd, case: &Case) -> Answer {
    match *cmd {
        Cmd::OpenEpoch => return Answer::Epoch(key.open_epoch()),
        Cmd::LookClosed => return Answer::Closed { last: key.last, alerts: key.alerts.clone() },
        Cmd::Append(epoch, ref reports) => key.edit(epoch).journal.extend(reports),
        Cmd::MarkDirty(epoch) => key.edit(epoch).dirty = true,
        Cmd::Registers(epoch) => key.edit(epoch).registers = true,
        Cmd::Remove { storm, epoch, counter } => return Answer::Flag(key.remove(storm, epoch, counter)),
        Cmd::Hold(ref reports, end, epoch) => {
            let of_open = epoch.is_some() && key.open_epoch() == epoch;
            key.alerts.hold(reports, end, of_open);
            key.alerts_expire |= key.alerts.in_storm() == 0;
            key.last = key.last.max(epoch);
            return Answer::Left(Some(key.alerts.left() + key.alerts.firing_of(reports)));
        }
        Cmd::Note(ref reports) => {
            key.alerts.note(reports);
            key.alerts_expire |= key.alerts.in_storm() == 0;
        }
        Cmd::TakeOver(epoch) => return Answer::TakenOver(key.take_over(epoch)),
        Cmd::Page(epoch) => {
            let storm = key.storm(epoch);
            return Answer::Page {
                last: key.last,
                facts: storm.facts,
                strays: !storm.journal.is_empty() || storm.dirty,
            };
        }
        Cmd::Stage(epoch) => {
            return key.stage(epoch);
        }
        Cmd::Ack(epoch, ref mark, alerts) if key.is_open(epoch) => {
            key.fold(epoch);
            let same = key.mark(epoch) == *mark;
            if let Some(open) = &mut key.open {
                open.shown = open.shown.max(Some(alerts));
            }
            key.edit(epoch).dirty &= !same;
        }
        Cmd::Published(epoch) if key.is_open(epoch) => {
            if let Some(open) = &mut key.open {
                open.shown.get_or_insert(0);
                open.expires = false;
            }
            key.alerts_expire = false;
        }
        Cmd::Close(epoch, ref mark, facts, reason) => {
            return key.close_as_of(epoch, mark, (facts, reason), case);
        }
        Cmd::DropFacts(epoch) => key.edit(epoch).facts = None,
        Cmd::Counter => return Answer::Counter(key.open.as_ref().map(|open| (open.epoch, open.counter))),
        Cmd::Ack(..) | Cmd::Published(_) | Cmd::Open(_) | Cmd::Incarnation | Cmd::Dirty => {}
    }
    Answer::Nothing
}

/// How many, in a byte.
pub fn number(count: usize) -> u8 {
    u8::try_from(count).unwrap()
}
