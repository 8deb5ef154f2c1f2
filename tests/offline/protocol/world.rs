//! All there is: the API server, Redis, and replicas; and what may still happen to them.

use std::collections::BTreeMap;

use stormfold::storm::decide::CloseReason;

use super::redis::{Answer, Cmd, Data, Epoch, Life, Redis, Uids, count};
use super::replica::Replica;
use super::steps::Step;

/// Index of a Signal; also its place in a list, which the API server sorts by name.
pub type Sig = u8;
/// What the receipt of a Signal names: a storm, or none.
pub type Receipt = Option<Epoch>;

/// A rule of the protocol that is broken on purpose, to see the search find out.
#[allow(
    dead_code,
    reason = "the tests name those that a quick search finds; the others are for whoever asks what a rule is there for"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A merge does not look at its end whether its storm is still open.
    MergeIgnoresItsEnd,
    /// A close does not look whether anything changed since the snapshot.
    CloseIgnoresChanges,
    /// A closed storm does not hold its occurrences.
    CloseHoldsNothing,
    /// A status is applied whatever the object is by now.
    ApplyWithoutVersion,
    /// After a loss of the ledger, Signals are not read again.
    NoWatchAgain,
    /// A receipt may be written as soon as its Signal is merged.
    ReceiptBeforePublish,
    /// Storms are closed while Signals are being listed.
    CloseBeforeListed,
    /// A storm is opened on the word of the cache.
    OpenWithoutLook,
    /// Strays are left where they are.
    StraysStay,
    /// What was written under the names of an incarnation that was lost stays when the next one is made.
    StraysOfTheLostStay,
    /// The snapshot is taken before receipts are claimed.
    ClaimAfterSnapshot,
    /// Receipts of what was merged into a ledger that was lost stay owed.
    ReceiptsOutliveLoss,
    /// Whether a storm that a receipt names is over is not looked at again before another one is joined.
    HoldersAreLookedAtOnce,
    /// Whatever became of a storm that is over, its receipts are written.
    ReceiptsOfTheUnknown,
    /// A Signal that closed storms hold is told the name of the open one.
    HeldNamesTheOpen,
    /// A storm that was opened and that nothing joined stays.
    EmptyStormsStay,
    /// After a loss of the ledger, only open objects are looked at.
    ClosedAreNotLookedAt,
    /// A ledger that knows less of a storm is rebuilt first, also when the storm is over.
    ClosedAreRebuilt,
    /// What was read before a `begin` is acted on after it.
    OldSnapshots,
    /// The end of a storm is written before the list of Signals is complete.
    EndsBeforeListed,
    /// The end of a storm is written although a merge has had its effect and its receipts are not on the board.
    EndsDuringJoin,
    /// The end of a storm does not wait for the receipts of Signals that it holds.
    EndsBeforeHeldAreTold,
    /// A storm that is over in the cluster is dropped from the ledger although the Signals were not read since.
    DropsBeforeListed,
    /// While Signals are listed, those of a key with an open storm join it, whatever closed storms hold.
    JoinsWhileListed,
}

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The engine reports an outcome: the storm is to be closed.
    pub outcomes: u8,
    /// The clock goes on by a second.
    pub ticks: u8,
    /// A process dies.
    pub crashes: u8,
    /// A call has its effect and no answer.
    pub lost_replies: u8,
    /// A call has no answer, and its effect later or never.
    pub late_effects: u8,
    /// Redis is emptied, and goes on running.
    pub flushes: u8,
    /// Redis is restarted without its data.
    pub wipes: u8,
    /// Redis falls back to what it was at some earlier moment.
    pub rollbacks: u8,
    /// A watch of Signals expires, and lists them again.
    pub relists: u8,
    /// A watch of RemediationRequests repeats an event.
    pub repeats: u8,
}

/// What does not change during a search.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The occurrences of each Signal; all of them fire.
    pub signals: Vec<Uids>,
    pub replicas: u8,
    pub budget: Budget,
    /// What has happened before the search begins: after each of these, everything came to rest.
    pub before: Vec<Step>,
    /// The commands of one pipeline run one by one, with anything in between; else together.
    pub command_by_command: bool,
    /// A process ends what it began before it begins anything else: ingest, or the run of one storm. What others do still comes in between.
    pub one_thing_at_a_time: bool,
    /// A loss of Redis takes a second: what opens after it has another epoch than what opened before.
    pub losses_take_a_second: bool,
    pub mutations: Vec<Mutation>,
    pub most_states: usize,
}

impl Rules {
    pub fn has(&self, mutation: Mutation) -> bool {
        self.mutations.contains(&mutation)
    }
}

/// What a step of a process depends on beside itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub rules: &'a Rules,
    pub clock: Epoch,
}

/// A RemediationRequest. Its resourceVersion is told by `revision` and `finished`: each write changes one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    pub revision: u8,
    /// The engine reported an outcome.
    pub finished: bool,
    /// `alertCount`; `None` before the first status.
    pub shown: Option<u8>,
    pub closed: Option<CloseReason>,
}

impl Object {
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }
}

/// A call to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// To this server, with the names of this incarnation.
    Redis(Option<u8>, Life, Cmd),
    /// `Connection::begin`: which Redis is there.
    Connect,
    ListSignals,
    /// `Apply::find`: all RemediationRequests of the key.
    Find,
    Get(Epoch),
    Create(Epoch),
    /// `Apply::status`: made from this object.
    Apply {
        epoch: Epoch,
        from: Object,
        alerts: u8,
        ending: Option<CloseReason>,
    },
    WriteReceipt(Sig, Receipt),
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Redis(Answer),
    Server(u8),
    /// Those that exist, and their receipts.
    Signals(Vec<(Sig, Option<Receipt>)>),
    Objects(BTreeMap<Epoch, Object>),
    Object(Option<Object>),
    AlreadyExists,
    Conflict,
    Done,
    /// No answer in time.
    Failed,
    /// `LedgerError::Lost`: another Redis than at `begin`.
    Lost,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub clock: Epoch,
    pub redis: Redis,
    /// What a rollback brings back.
    pub saved: Option<Data>,
    /// Signals that exist, and their receipts.
    pub signals: BTreeMap<Sig, Option<Receipt>>,
    pub objects: BTreeMap<Epoch, Object>,
    pub replicas: Vec<Replica>,
    /// Calls on their way whose caller waits no longer.
    pub late: Vec<Call>,
    pub left: Budget,
    /// What must never happen, and did.
    pub violated: Option<&'static str>,
}

impl World {
    /// Where a search begins.
    pub fn new(rules: &Rules) -> Self {
        let mut world = Self::empty(rules);
        for step in &rules.before {
            world = world.after(*step, rules);
            while let Some(step) = world.steps(rules).into_iter().find(|step| step.is_of_the_system()) {
                world = world.after(step, rules);
            }
        }
        Self { left: rules.budget, ..world }
    }

    /// Processes are up, Redis has its incarnation, and nothing has happened.
    fn empty(rules: &Rules) -> Self {
        let mut redis = Redis::default();
        redis.exec(0, &Cmd::Incarnation, rules);
        let life = redis.data.incarnation.unwrap();
        Self {
            clock: 1,
            redis,
            saved: None,
            signals: BTreeMap::new(),
            objects: BTreeMap::new(),
            replicas: (0..rules.replicas).map(|_| Replica::settled_in(life)).collect(),
            late: Vec::new(),
            left: rules.budget,
            violated: None,
        }
    }

    /// One atomic step of a server.
    pub fn exec(&mut self, call: &Call, rules: &Rules) -> Reply {
        match *call {
            Call::Redis(server, ..) if server != Some(self.redis.server) => Reply::Lost,
            Call::Redis(_, life, ref cmd) => Reply::Redis(self.redis.exec(life, cmd, rules)),
            Call::Connect => Reply::Server(self.redis.server),
            Call::ListSignals => Reply::Signals(self.signals.iter().map(|(s, receipt)| (*s, *receipt)).collect()),
            Call::Find => Reply::Objects(self.objects.clone()),
            Call::Get(epoch) => Reply::Object(self.objects.get(&epoch).copied()),
            Call::Create(epoch) => {
                if self.objects.contains_key(&epoch) {
                    return Reply::AlreadyExists;
                }
                Reply::Object(Some(self.write(epoch, Object::default())))
            }
            Call::Apply { epoch, from, alerts, ending } => {
                let Some(now) = self.objects.get(&epoch).copied() else { return Reply::Object(None) };
                let same = (now.revision, now.finished) == (from.revision, from.finished);
                if !same && !rules.has(Mutation::ApplyWithoutVersion) {
                    return Reply::Conflict;
                }
                if now.closed.is_some() {
                    self.violated = Some("a closed RemediationRequest was written (invariant 4)");
                }
                if now.shown > Some(alerts) {
                    self.violated = Some("a published count went down (invariant 3)");
                }
                let revision = from.revision + 1;
                Reply::Object(Some(self.write(epoch, Object { revision, shown: Some(alerts), closed: ending, ..now })))
            }
            Call::WriteReceipt(signal, receipt) => {
                self.signals.insert(signal, Some(receipt));
                Reply::Done
            }
        }
    }

    /// Writes an object; every replica that is up will hear of it.
    pub fn write(&mut self, epoch: Epoch, object: Object) -> Object {
        self.objects.insert(epoch, object);
        for replica in self.replicas.iter_mut().filter(|replica| replica.up) {
            replica.unheard.insert(epoch);
        }
        object
    }

    /// The RemediationRequests that are open.
    pub fn open(&self) -> Vec<Epoch> {
        self.objects.iter().filter(|(_, object)| object.is_open()).map(|(epoch, _)| *epoch).collect()
    }

    /// What is wrong when nothing is under way.
    pub fn at_rest(&self, rules: &Rules) -> Option<String> {
        if let Some(owed) = self.signals.iter().find(|(_, receipt)| receipt.is_none()) {
            return Some(format!("Signal {} has no receipt (invariant 13)", owed.0));
        }
        let occurrences = self.signals.keys().fold(0, |all, signal| all | rules.signals[usize::from(*signal)]);
        let counted: u8 = self
            .objects
            .values()
            .filter(|object| object.closed != Some(CloseReason::Superseded))
            .map(|object| object.shown.unwrap_or_default())
            .sum();
        if counted != count(occurrences) {
            return Some(format!("{} occurrences, {counted} are counted (invariant 1)", count(occurrences)));
        }
        let open = self.open();
        if open.len() > 1 {
            return Some(format!("RemediationRequests {open:?} are open (invariant 4)"));
        }
        if self.replicas.iter().any(|replica| !replica.board.is_empty()) {
            return Some("a receipt is owed for ever (invariant 13)".to_owned());
        }
        self.ledger_at_rest(open.first().copied(), rules)
    }

    fn ledger_at_rest(&self, open: Option<Epoch>, rules: &Rules) -> Option<String> {
        for (life, key) in &self.redis.data.keys {
            let current = self.redis.data.incarnation == Some(*life);
            let in_ledger = key.open.as_ref().map(|open| open.epoch);
            if current && open.is_some() && in_ledger != open {
                return Some(format!("RemediationRequest {open:?} is open, {in_ledger:?} in the ledger (invariant 3)"));
            }
            let expires = key.open.as_ref().is_some_and(|open| open.expires) && !rules.has(Mutation::EmptyStormsStay);
            let empty = in_ledger.is_some_and(|epoch| key.storm(epoch).seen == 0);
            if in_ledger.is_some() && !(current && in_ledger == open) && !(expires && empty) {
                return Some(format!("storm {in_ledger:?} is open in the ledger only (invariant 15)"));
            }
            for (epoch, storm) in &key.storms {
                if in_ledger == Some(*epoch) {
                    let shown = self.objects.get(epoch).and_then(|object| object.shown);
                    if shown != Some(count(storm.seen)) {
                        return Some(format!("{shown:?} shown, the ledger has {storm:?} (invariant 3)"));
                    }
                } else if storm.seen != 0 || storm.dirty || storm.registers {
                    return Some(format!("storm {epoch} is not open, and has keys that never expire (invariant 15)"));
                }
            }
            if key.held != 0 && !key.held_expires {
                return Some("what closed storms hold never expires (invariant 15)".to_owned());
            }
        }
        let known = self.redis.data.incarnation.and_then(|life| self.redis.data.keys.get(&life));
        (open.is_some() && known.is_none()).then(|| format!("RemediationRequest {open:?} is unknown (invariant 3)"))
    }
}
