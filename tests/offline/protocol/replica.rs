//! What one process remembers. A crash loses all of it.

use std::collections::{BTreeMap, BTreeSet};

use stormfold::storm::decide::CloseReason;

use super::ingest::Ingest;
use super::publish::Run;
use super::redis::{Cmd, Epoch, Life};
use super::world::{Call, Mutation, Object, Receipt, Rules, Sig};

/// A Signal as an event showed it.
pub type Observed = (Sig, Option<Receipt>);

/// What the watch on Signals brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    ListBegins,
    Signal(Observed),
    ListEnds,
}

/// How far a receipt on the board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owed {
    Merged,
    Claimed,
    Ready,
}

/// `Known` of the Redis ledger: the open storm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub epoch: Epoch,
    pub held: bool,
    pub registers: bool,
    pub marked: bool,
}

/// `Behind`: the most alerts that were seen of a storm, and, when less was seen, whether no list was complete since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub alerts: u8,
    pub waits_for_list: Option<bool>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub up: bool,
    pub ingest: Ingest,
    /// `Listing` and its watch.
    pub inbox: Vec<Event>,
    pub listing: bool,
    pub waiting: BTreeMap<Sig, Option<Receipt>>,
    /// `Listed`.
    pub listed: bool,
    pub rewatch: bool,
    /// Runs under way, and storms that are due.
    pub runs: BTreeMap<Epoch, Run>,
    pub queue: BTreeSet<Epoch>,
    /// `Projections`, and the objects whose last change the watch has not brought yet.
    pub cache: BTreeMap<Epoch, Object>,
    pub unheard: BTreeSet<Epoch>,
    pub openings: BTreeSet<Epoch>,
    /// `Board`: by storm, and what waits for nothing.
    pub board: BTreeMap<(Sig, Epoch), Owed>,
    pub told: BTreeSet<(Sig, Receipt)>,
    pub behind: BTreeMap<Epoch, Seen>,
    /// `Drops`: storms that are over, and open in the ledger; whether no list was begun since.
    pub drops: BTreeMap<Epoch, bool>,
    /// The Redis ledger: its `begun`, `life` and `known`.
    pub server: Option<u8>,
    pub life: Option<Life>,
    /// `Memory` is not `Kept`: when the list is complete, every object is looked at.
    pub doubts: bool,
    pub known: Option<Known>,
}

impl Replica {
    pub fn down() -> Self {
        Self {
            up: false,
            ingest: Ingest::Connect,
            inbox: Vec::new(),
            listing: true,
            waiting: BTreeMap::new(),
            listed: false,
            rewatch: false,
            runs: BTreeMap::new(),
            queue: BTreeSet::new(),
            cache: BTreeMap::new(),
            unheard: BTreeSet::new(),
            openings: BTreeSet::new(),
            board: BTreeMap::new(),
            told: BTreeSet::new(),
            behind: BTreeMap::new(),
            drops: BTreeMap::new(),
            server: None,
            life: None,
            doubts: false,
            known: None,
        }
    }

    /// A start: the list of RemediationRequests comes before everything else.
    pub fn start(objects: &BTreeMap<Epoch, Object>) -> Self {
        let queue = objects.keys().copied().collect();
        Self { up: true, cache: objects.clone(), queue, ..Self::down() }
    }

    /// One that has been up for a while: it began with this incarnation, and there was nothing to list.
    pub fn settled_in(life: Life) -> Self {
        let (ingest, server, life) = (Ingest::Idle, Some(0), Some(life));
        Self { up: true, ingest, listing: false, listed: true, server, life, ..Self::down() }
    }

    /// A call to Redis, made now: to the server and with the names of the last `begin`.
    pub fn redis(&self, cmd: Cmd) -> Call {
        Call::Redis(self.server, self.life.unwrap_or_default(), cmd)
    }

    /// `Projections::put`: a watch that lags behind cannot bring back less.
    pub fn put(&mut self, epoch: Epoch, object: Object) {
        let slot = self.cache.entry(epoch).or_insert(object);
        if object.revision >= slot.revision {
            *slot = object;
        }
    }

    pub fn adoptable(&self) -> bool {
        self.cache.values().any(Object::is_open)
    }

    /// Whether closed storms may hold what is listed later.
    pub fn has_closed(&self) -> bool {
        let holds = |object: &Object| !object.is_open() && object.closed != Some(CloseReason::Superseded);
        self.cache.values().any(holds)
    }

    pub fn older_open(&self, epoch: Epoch) -> Option<Epoch> {
        self.cache.range(..epoch).find(|(_, object)| object.is_open()).map(|(older, _)| *older)
    }

    /// `Known::opened`.
    pub fn opened(&mut self, epoch: Epoch, held: bool) {
        match &mut self.known {
            Some(known) if known.epoch == epoch => known.held |= held,
            known => *known = Some(Known { epoch, held, registers: false, marked: false }),
        }
    }

    /// `Known::gone`.
    pub fn gone(&mut self, epoch: Epoch) {
        self.known.take_if(|known| known.epoch == epoch);
    }

    pub fn owe(&mut self, signal: Sig, epoch: Epoch, rules: &Rules) {
        let first = if rules.has(Mutation::ReceiptBeforePublish) { Owed::Ready } else { Owed::Merged };
        self.board.entry((signal, epoch)).or_insert(first);
    }

    fn promote(&mut self, epoch: Epoch, from: Owed, to: Owed) {
        let of_storm = self.board.iter_mut().filter(|((_, of), owed)| *of == epoch && **owed == from);
        of_storm.for_each(|(_, owed)| *owed = to);
    }

    pub fn claim(&mut self, epoch: Epoch) {
        self.promote(epoch, Owed::Merged, Owed::Claimed);
    }

    pub fn release(&mut self, epoch: Epoch) {
        self.promote(epoch, Owed::Claimed, Owed::Ready);
    }

    /// True when something was owed that may not be written.
    pub fn abandon(&mut self, epoch: Epoch) -> bool {
        let owed = self.board.len();
        self.board.retain(|(_, of), owed| *of != epoch || *owed == Owed::Ready);
        self.board.len() < owed
    }

    /// What was merged into a ledger that was lost is owed nothing: it is merged again.
    pub fn forget_owed(&mut self) {
        self.board.retain(|_, owed| *owed == Owed::Ready);
    }

    pub fn owes(&self, epoch: Epoch) -> bool {
        self.board.keys().any(|(_, of)| *of == epoch)
    }
}
