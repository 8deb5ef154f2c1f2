//! Redis as the protocol sees it: one StormKey, one command or script at a time. Each arm of [`Redis::exec`] names what it mirrors.

use std::collections::BTreeMap;

use stormfold_core::storm::decide::CloseReason;

use super::case::{Case, LedgerRule};

/// Seconds since the search began; of a storm, of its opening.
pub type Epoch = u8;
/// A set of occurrences, one bit each.
pub type Uids = u8;
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
    /// `c`.
    pub held: Uids,
    pub held_expires: bool,
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
    /// `u`.
    pub seen: Uids,
    /// Its mark in `q`.
    pub dirty: bool,
    /// Its registers in `h`.
    pub registers: bool,
    /// `f`; set with its expiry.
    pub facts: Option<(Option<u8>, CloseReason)>,
}

/// `mark_of` of `prelude.lua`: how many are seen, the counter, and whether there are registers.
pub type Mark = Box<str>;

/// A command or a script, sent with the names of one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cmd {
    /// `RedisLedger::read_incarnation`.
    Incarnation,
    /// `ZSCORE h e`: of `look`, of the end of a piece, of a page, of `sweep`.
    OpenEpoch,
    /// `ZSCORE l m` and `EXISTS c`, of `look`.
    LookClosed,
    /// `SMISMEMBER c` and `ZSCORE l m`, of `meet`.
    Meet(Uids),
    /// `SADD u`, `ZADD q`, `ZADD h`, of `Piece::commands`.
    Add(Epoch, Uids),
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
    /// `SADD c`, `EXPIREAT c`, `ZADD l` with its expiry, of `RedisLedger::hold`.
    Hold(Uids),
    HoldExpires,
    HoldLast(Epoch),
    /// The rest of `RedisLedger::page`.
    Page(Epoch),
    /// `stage.lua`.
    Stage(Epoch),
    /// `ack.lua`, with the alerts of the snapshot.
    Ack(Epoch, Mark, u8),
    /// `published.lua`.
    Published(Epoch),
    /// `close.lua`, with the final facts.
    Close(Epoch, Mark, Option<u8>, CloseReason),
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
        held: bool,
    },
    Met {
        held: Uids,
        last: Option<Epoch>,
    },
    Wiped,
    Page {
        last: Option<Epoch>,
        facts: Option<(Option<u8>, CloseReason)>,
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
    pub alerts: Option<u8>,
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
        format!("{}.{counter}.{}", storm.seen.count_ones(), u8::from(storm.registers)).into()
    }

    fn edit(&mut self, epoch: Epoch) -> &mut Storm {
        self.storms.entry(epoch).or_default()
    }

    /// `UNLINK h`: with it go the registers of whomever.
    fn unlink_registers(&mut self) {
        self.open = None;
        self.storms.values_mut().for_each(|storm| storm.registers = false);
    }

    fn close(&mut self, epoch: Epoch, facts: (Option<u8>, CloseReason), case: &Case) {
        let storm = self.edit(epoch);
        storm.facts = Some(facts);
        let seen = std::mem::take(&mut storm.seen);
        storm.dirty = false;
        self.unlink_registers();
        self.last = self.last.max(Some(epoch));
        if !case.breaks(LedgerRule::CloseHoldsNothing) {
            self.held |= seen;
            self.held_expires = true;
        }
    }

    fn remove(&mut self, storm: Epoch, epoch: Epoch, counter: Option<u8>) -> bool {
        match &self.open {
            Some(open) if open.epoch == epoch && Some(open.counter) != counter => return false,
            Some(open) if open.epoch != epoch && open.epoch == storm => return false,
            Some(open) if open.epoch != epoch => self.edit(storm).registers = false,
            _ => self.unlink_registers(),
        }
        let storm = self.edit(storm);
        (storm.seen, storm.dirty) = (0, false);
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
    let is_open = |key: &Key, epoch: Epoch| key.open_epoch() == Some(epoch);
    match *cmd {
        Cmd::OpenEpoch => return Answer::Epoch(key.open_epoch()),
        Cmd::LookClosed => return Answer::Closed { last: key.last, held: key.held != 0 },
        Cmd::Meet(uids) => return Answer::Met { held: key.held & uids, last: key.last },
        Cmd::Add(epoch, uids) => key.edit(epoch).seen |= uids,
        Cmd::MarkDirty(epoch) => key.edit(epoch).dirty = true,
        Cmd::Registers(epoch) => key.edit(epoch).registers = true,
        Cmd::Remove { storm, epoch, counter } => return Answer::Flag(key.remove(storm, epoch, counter)),
        Cmd::Hold(uids) => key.held |= uids,
        Cmd::HoldExpires => key.held_expires = true,
        Cmd::HoldLast(epoch) => key.last = key.last.max(Some(epoch)),
        Cmd::Page(epoch) => {
            let storm = key.storm(epoch);
            return Answer::Page { last: key.last, facts: storm.facts, strays: storm.seen != 0 || storm.dirty };
        }
        Cmd::Stage(epoch) => {
            let storm = key.storm(epoch);
            let mark = key.mark(epoch);
            let Some(open) = key.open.as_mut().filter(|open| open.epoch == epoch) else { return Answer::Staged(None) };
            open.expires &= storm.seen == 0;
            let alerts = storm.registers.then_some(count(storm.seen));
            return Answer::Staged(Some(Staged { mark, alerts, published: open.shown.is_some() }));
        }
        Cmd::Ack(epoch, ref mark, alerts) if is_open(key, epoch) => {
            let same = key.mark(epoch) == *mark;
            if let Some(open) = &mut key.open {
                open.shown = open.shown.max(Some(alerts));
            }
            key.edit(epoch).dirty &= !same;
        }
        Cmd::Published(epoch) if is_open(key, epoch) => {
            if let Some(open) = &mut key.open {
                open.shown.get_or_insert(0);
                open.expires = false;
            }
        }
        Cmd::Close(epoch, ref mark, facts, reason) => {
            let same = key.mark(epoch) == *mark || case.breaks(LedgerRule::CloseIgnoresChanges);
            let closes = is_open(key, epoch) && same;
            if closes {
                key.close(epoch, (facts, reason), case);
            }
            return Answer::Flag(closes);
        }
        Cmd::DropFacts(epoch) => key.edit(epoch).facts = None,
        Cmd::Counter => return Answer::Counter(key.open.as_ref().map(|open| (open.epoch, open.counter))),
        Cmd::Ack(..) | Cmd::Published(_) | Cmd::Open(_) | Cmd::Incarnation | Cmd::Dirty => {}
    }
    Answer::Nothing
}

/// How many.
pub fn count(uids: Uids) -> u8 {
    u8::try_from(uids.count_ones()).unwrap()
}
