//! All there is: the API server, Redis, and replicas; and what may still happen to them.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stormfold_core::storm::Says;
use stormfold_core::storm::decide::CloseReason;

use super::api::Api;
use super::case::{Budget, Case, LedgerRule};
use super::redis::{Data, Epoch, Facts, Redis, number};
use super::replica::Replica;
use super::search::digest;

/// Index of a Signal; also its place in a list, which the API server sorts by name.
pub type Sig = u8;
/// What the receipt of a Signal names: a storm, or none; and which of its reports no storm took in, one bit each.
pub type Receipt = (Option<Epoch>, u8);

/// A RemediationRequest. Its resourceVersion is told by `revision` and `finished`: each write changes one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    pub revision: u8,
    /// The engine reported an outcome.
    pub finished: bool,
    /// `alertCount` and `firingCount`; `None` before the first status.
    pub shown: Option<Facts>,
    pub closed: Option<CloseReason>,
}

impl Object {
    pub fn is_open(self) -> bool {
        self.closed.is_none()
    }
}

/// One state of everything.
#[derive(Clone, Debug)]
pub struct World {
    pub clock: Epoch,
    pub redis: Arc<Redis>,
    /// What a rollback brings back.
    pub saved: Option<Arc<Data>>,
    /// Signals that exist, and their receipts.
    pub signals: Arc<BTreeMap<Sig, Option<Receipt>>>,
    pub objects: Arc<BTreeMap<Epoch, Object>>,
    pub replicas: Vec<Slot>,
    /// Calls to the API server that are on their way, and whose caller waits no longer.
    pub late: Vec<Api>,
    pub left: Budget,
    /// What must never happen, and did.
    pub violated: Option<&'static str>,
}

/// A process, with what tells its state from others.
#[derive(Clone, Debug)]
pub struct Slot {
    pub digest: u128,
    replica: Arc<Replica>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { clock, redis, saved, signals, objects, late, left, violated, .. } = self;
        (clock, redis, saved, signals, objects, late, left, violated).hash(state);
        self.replicas.iter().for_each(|slot| slot.digest.hash(state));
    }
}

impl Slot {
    fn new(replica: Replica) -> Self {
        Self { digest: digest(&replica), replica: Arc::new(replica) }
    }
}

impl World {
    /// Where a search begins.
    pub fn new(case: &Case) -> Self {
        let mut world = Self::empty(case).at_rest_again(case);
        for step in &case.before {
            world = world.after(*step, case).at_rest_again(case);
        }
        Self { left: case.budget, ..world }
    }

    /// Nothing has happened, and the processes start.
    fn empty(case: &Case) -> Self {
        let up = || Slot::new(Replica::start(&BTreeMap::new(), 1, case));
        Self {
            clock: 1,
            redis: Arc::default(),
            saved: None,
            signals: Arc::default(),
            objects: Arc::default(),
            replicas: (0..case.replicas).map(|_| up()).collect(),
            late: Vec::new(),
            left: Budget::default(),
            violated: None,
        }
    }

    fn at_rest_again(mut self, case: &Case) -> Self {
        while let Some(next) = self.moves(case).into_iter().find(|next| next.step.is_of_the_system()) {
            self = next.world;
        }
        self
    }

    /// A process.
    pub fn replica(&self, r: usize) -> &Replica {
        &self.replicas[r].replica
    }

    /// Something happens to a process.
    pub fn change(&mut self, r: usize, happens: impl FnOnce(&mut Replica)) {
        let mut replica = Replica::clone(&self.replicas[r].replica);
        happens(&mut replica);
        self.replicas[r] = Slot::new(replica);
    }

    /// Another process takes the place of this one.
    pub fn replace(&mut self, r: usize, replica: Replica) {
        self.replicas[r] = Slot::new(replica);
    }

    /// Redis, for a command.
    pub fn redis(&mut self) -> &mut Redis {
        Arc::make_mut(&mut self.redis)
    }

    /// The RemediationRequests that are open.
    pub fn open(&self) -> Vec<Epoch> {
        self.objects.iter().filter(|(_, object)| object.is_open()).map(|(epoch, _)| *epoch).collect()
    }

    /// What is wrong when nothing is under way.
    pub fn at_rest(&self, case: &Case) -> Option<String> {
        if let Some(owed) = self.signals.iter().find(|(_, receipt)| receipt.is_none()) {
            return Some(format!("Signal {} has no receipt (invariant 13)", owed.0));
        }
        let open = self.open();
        if let Some(wrong) = self.counts_at_rest(case).or_else(|| self.what_fires(open.first().copied(), case)) {
            return Some(wrong);
        }
        if open.len() > 1 {
            return Some(format!("RemediationRequests {open:?} are open (invariant 4)"));
        }
        let engines =
            || self.replicas.iter().filter_map(|slot| slot.replica.protocol.as_ref()).map(|protocol| &protocol.engine);
        if engines().any(|engine| engine.receipts().count() > 0) {
            return Some("a receipt is owed for ever (invariant 13)".to_owned());
        }
        if engines().any(|engine| !engine.resync().is_listed()) {
            return Some("the Signals are read for ever (invariant 13)".to_owned());
        }
        self.ledger_at_rest(open.first().copied(), case)
    }

    /// Alerts of sources that report no ends are counted by one storm each. The others, by each storm that they fire in.
    fn counts_at_rest(&self, case: &Case) -> Option<String> {
        let said = || self.signals.keys().map(|signal| case.signals[usize::from(*signal)]);
        let seen = said().filter(|said| said.says != Says::Resolved).fold(0, |all, said| all | said.alerts);
        let storms = self.objects.values().filter(|object| object.closed != Some(CloseReason::Superseded));
        let counted: u8 = storms.map(|object| object.shown.unwrap_or_default().alerts).sum();
        let once = said().all(|said| said.says == Says::Firing { resolvable: false });
        let right =
            if once { u32::from(counted) == seen.count_ones() } else { u32::from(counted) >= seen.count_ones() };
        (!right).then(|| format!("{} alerts, {counted} are counted (invariant 1)", seen.count_ones()))
    }

    /// Every alert whose latest report fires, of a source that reports ends, is in the open storm, and nothing else fires there.
    fn what_fires(&self, open: Option<Epoch>, case: &Case) -> Option<String> {
        let mut latest: BTreeMap<u8, (u8, bool)> = BTreeMap::new();
        for said in self.signals.keys().map(|signal| case.signals[usize::from(*signal)]) {
            if said.says == (Says::Firing { resolvable: false }) {
                return None;
            }
            let says = (said.at, said.says == Says::Resolved);
            for alert in (0..8).filter(|alert| said.alerts & (1 << alert) != 0) {
                latest.entry(alert).and_modify(|latest| *latest = says.max(*latest)).or_insert(says);
            }
        }
        let fire = latest.values().filter(|(_, over)| !over).count();
        let shown = open.and_then(|open| self.objects[&open].shown).unwrap_or_default();
        (usize::from(shown.firing) != fire)
            .then(|| format!("{fire} alerts fire, {} in the open storm {open:?} (invariants 17 and 18)", shown.firing))
    }

    fn ledger_at_rest(&self, open: Option<Epoch>, case: &Case) -> Option<String> {
        for (life, key) in &self.redis.data.keys {
            let current = self.redis.data.incarnation == Some(*life);
            let in_ledger = key.open.as_ref().map(|open| open.epoch);
            if current && open.is_some() && in_ledger != open {
                return Some(format!("RemediationRequest {open:?} is open, {in_ledger:?} in the ledger (invariant 3)"));
            }
            let expires =
                key.open.as_ref().is_some_and(|open| open.expires) && !case.breaks(LedgerRule::EmptyStormsStay);
            let empty = key.alerts.in_storm() == 0;
            if in_ledger.is_some() && !(current && in_ledger == open) && !(expires && empty) {
                return Some(format!("storm {in_ledger:?} is open in the ledger only (invariant 15)"));
            }
            for (epoch, storm) in &key.storms {
                if in_ledger == Some(*epoch) {
                    let shown = self.objects.get(epoch).and_then(|object| object.shown);
                    if shown.map(|shown| shown.alerts) != Some(number(key.alerts.in_storm())) {
                        return Some(format!("{shown:?} shown, the ledger has {:?} (invariant 3)", key.alerts));
                    }
                } else if !storm.journal.is_empty() || storm.dirty || storm.registers {
                    return Some(format!("storm {epoch} is not open, and has keys that never expire (invariant 15)"));
                }
            }
            if !key.alerts.is_empty() && in_ledger.is_none() && !key.alerts_expire {
                return Some("what closed storms left never expires (invariant 15)".to_owned());
            }
        }
        let known = self.redis.data.incarnation.and_then(|life| self.redis.data.keys.get(&life));
        (open.is_some() && known.is_none()).then(|| format!("RemediationRequest {open:?} is unknown (invariant 3)"))
    }
}
