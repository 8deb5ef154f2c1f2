//! A run of one storm: `publish/{reconcile,carry_out}.rs` over `ledger/redis/storm.rs`, call by call. What comes next is asked of the
//! real `decide`.

use jiff::Timestamp;
use stormfold::storm::decide::{CloseReason, Decision, DropReason, LedgerView, Projection, Wish, decide};
use stormfold::storm::{Policy, Severity, StormMetadata};

use super::ingest::Ingest;
use super::redis::{Answer, Cmd, Epoch, Mark};
use super::replica::Replica;
use super::world::{Call, Context, Mutation, Object, Reply};

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub wrote: bool,
    /// After a conflict, it decides once more at once.
    pub again: bool,
    /// A `begin` came after the snapshot.
    pub outdated: bool,
    /// Of this storm; while its older sibling is looked at, of that one.
    pub view: View,
    older: Option<Epoch>,
    pub at: At,
    pub call: Call,
}

/// A snapshot, as far as it goes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum View {
    Unread,
    Open { alerts: Option<u8>, published: bool, mark: Mark },
    Closed { facts: Option<(Option<u8>, CloseReason)> },
    Unknown,
}

/// The call that a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum At {
    OpenEpoch,
    Page(Option<Epoch>),
    Strays(View),
    Stage,
    ReadAgain,
    /// After a conflict.
    ReadAfterConflict,
    Create,
    ReadExisting,
    Adopt,
    AdoptLook(Epoch),
    AdoptLookClosed(Epoch),
    AdoptPublished,
    Apply(Option<CloseReason>),
    Ack {
        wrote: bool,
    },
    Close,
    Settle,
    SettleStrays,
    DropCounter,
    Drop,
}

impl Run {
    pub fn is_outdated(&mut self) {
        self.outdated = true;
    }

    /// Whether the call belongs to a call of the ledger that an earlier one began.
    pub fn is_within_pipeline(&self) -> bool {
        matches!(
            self.at,
            At::Page(_)
                | At::Stage
                | At::Strays(_)
                | At::AdoptLook(_)
                | At::AdoptLookClosed(_)
                | At::SettleStrays
                | At::Drop
        )
    }
}

const START: i64 = 1_800_000_000;

fn time(epoch: Epoch) -> Timestamp {
    Timestamp::from_second(START + i64::from(epoch)).unwrap()
}

fn metadata(alerts: u8) -> StormMetadata {
    StormMetadata {
        pattern: "X in prod".to_owned(),
        alert_count: usize::from(alerts),
        firing: usize::from(alerts),
        affected_count: 0,
        affected_resources: Vec::new(),
        first_seen: time(0),
        last_seen: time(0),
        severity: Severity::Warning,
        incomplete: false,
    }
}

impl View {
    fn real(&self) -> LedgerView {
        match self {
            Self::Open { alerts, published, .. } => {
                LedgerView::Open { metadata: alerts.map(metadata), resolvable: false, published: *published }
            }
            Self::Closed { facts } => LedgerView::Closed {
                metadata: facts.and_then(|(alerts, _)| alerts).map(metadata),
                reason: facts.map(|(_, reason)| reason),
            },
            Self::Unknown | Self::Unread => LedgerView::Unknown,
        }
    }
}

impl Replica {
    /// `Publisher::run` from its beginning.
    pub fn start_run(&mut self, epoch: Epoch, context: Context<'_>) {
        self.queue.remove(&epoch);
        self.next_step(epoch, false, false, context);
    }

    /// A turn of the loop in `run`.
    pub fn next_step(&mut self, epoch: Epoch, wrote: bool, again: bool, context: Context<'_>) {
        if !context.rules.has(Mutation::ClaimAfterSnapshot) {
            self.claim(epoch);
        }
        let call = self.redis(Cmd::OpenEpoch);
        self.runs.insert(
            epoch,
            Run { wrote, again, outdated: false, view: View::Unread, older: None, at: At::OpenEpoch, call },
        );
    }

    pub fn run_asks(&mut self, epoch: Epoch, run: Run, at: At, cmd: Cmd) {
        let call = self.redis(cmd);
        self.run_waits(epoch, run, at, call);
    }

    pub fn run_waits(&mut self, epoch: Epoch, run: Run, at: At, call: Call) {
        self.runs.insert(epoch, Run { at, call, ..run });
    }

    /// The run is over, and the storm is due again: shortly, after the interval, or after a back-off.
    pub fn due_again(&mut self, epoch: Epoch) {
        self.queue.insert(epoch);
    }

    /// An answer for the run of a storm.
    pub fn run_hears(&mut self, epoch: Epoch, reply: Reply, context: Context<'_>) {
        let run = self.runs.remove(&epoch).unwrap();
        let subject = run.older.unwrap_or(epoch);
        match (run.at.clone(), reply) {
            (At::Apply(_), Reply::Conflict) if !run.again => {
                self.run_waits(epoch, run, At::ReadAfterConflict, Call::Get(epoch));
            }
            (at, reply @ (Reply::Failed | Reply::Lost | Reply::Conflict | Reply::Redis(Answer::Wiped))) => {
                self.run_fails(epoch, &at, &reply, context);
            }
            (At::OpenEpoch, Reply::Redis(Answer::Epoch(open))) => {
                self.run_asks(epoch, run, At::Page(open), Cmd::Page(subject));
            }
            (At::Page(open), Reply::Redis(Answer::Page { .. })) if open == Some(subject) => {
                self.run_asks(epoch, run, At::Stage, Cmd::Stage(subject));
            }
            (At::Page(_), Reply::Redis(Answer::Page { last, facts, strays })) => {
                self.gone(subject);
                let is_closed = last.is_some_and(|last| subject <= last);
                let view = if is_closed { View::Closed { facts } } else { View::Unknown };
                if strays && !context.rules.has(Mutation::StraysStay) {
                    let cmd = Cmd::Remove { storm: subject, epoch: subject, counter: None };
                    return self.run_asks(epoch, run, At::Strays(view), cmd);
                }
                self.snapshot(epoch, run, view, context);
            }
            (At::Strays(view), _) => self.snapshot(epoch, run, view, context),
            (At::Stage, Reply::Redis(Answer::Staged(None))) => {
                self.run_asks(epoch, run, At::OpenEpoch, Cmd::OpenEpoch);
            }
            (At::Stage, Reply::Redis(Answer::Staged(Some(staged)))) => {
                let view = View::Open { alerts: staged.alerts, published: staged.published, mark: staged.mark };
                self.snapshot(epoch, run, view, context);
            }
            (At::ReadAgain, Reply::Object(object)) => {
                self.replace(epoch, object);
                self.look_at_older(epoch, run, context);
            }
            (At::ReadAfterConflict, Reply::Object(object)) => {
                self.replace(epoch, object);
                self.next_step(epoch, false, true, context);
            }
            (_, reply) => self.carried_out(epoch, run, reply, context),
        }
    }

    /// `Publisher::reconcile` with an error.
    fn run_fails(&mut self, epoch: Epoch, at: &At, reply: &Reply, context: Context<'_>) {
        let drops = matches!(at, At::DropCounter | At::Drop);
        if drops {
            self.abandon(epoch);
        }
        // Whoever finds another server first tells it; a `begin` that is under way has found it already.
        let lost = matches!(reply, Reply::Lost) && self.ingest != Ingest::Connect;
        if drops || lost || matches!(reply, Reply::Redis(Answer::Wiped)) {
            self.ask_rewatch(context);
        }
        self.due_again(epoch);
    }

    pub fn ask_rewatch(&mut self, context: Context<'_>) {
        self.rewatch |= !context.rules.has(Mutation::NoWatchAgain);
    }

    /// Nobody can say whether the storm has what these receipts are about: their Signals are merged again.
    pub fn let_go(&mut self, epoch: Epoch, context: Context<'_>) {
        if self.abandon(epoch) {
            self.ask_rewatch(context);
        }
    }

    fn replace(&mut self, epoch: Epoch, object: Option<Object>) {
        match object {
            Some(object) => drop(self.cache.insert(epoch, object)),
            None => drop(self.cache.remove(&epoch)),
        }
    }

    /// A snapshot is read: of the storm, or of its older sibling.
    fn snapshot(&mut self, epoch: Epoch, run: Run, view: View, context: Context<'_>) {
        if let Some(older) = run.older {
            if matches!(view, View::Closed { .. }) {
                // Its end is not written yet, and comes first.
                self.queue.insert(older);
                return self.due_again(epoch);
            }
            return self.decide(epoch, run, true, context);
        }
        if context.rules.has(Mutation::ClaimAfterSnapshot) {
            self.claim(epoch);
        }
        let was_there = matches!(view, View::Open { published: true, .. } | View::Closed { facts: Some((Some(_), _)) });
        let run = Run { view, ..run };
        if was_there && !self.cache.contains_key(&epoch) {
            if !self.openings.contains(&epoch) {
                self.ask_rewatch(context);
                return self.due_again(epoch);
            }
            return self.run_waits(epoch, run, At::ReadAgain, Call::Get(epoch));
        }
        self.look_at_older(epoch, run, context);
    }

    /// The second half of `Publisher::projection`.
    fn look_at_older(&mut self, epoch: Epoch, run: Run, context: Context<'_>) {
        let may_be_younger = self.cache.get(&epoch).is_none_or(Object::is_open);
        if let Some(older) = self.older_open(epoch).filter(|_| may_be_younger) {
            let run = Run { older: Some(older), ..run };
            return self.run_asks(epoch, run, At::OpenEpoch, Cmd::OpenEpoch);
        }
        self.decide(epoch, run, false, context);
    }

    fn decide(&mut self, epoch: Epoch, run: Run, superseded: bool, context: Context<'_>) {
        let run = Run { older: None, ..run };
        let object = self.cache.get(&epoch).copied();
        let projection = match object {
            None => Projection::Absent { superseded },
            Some(object) if !object.is_open() => Projection::Closed,
            Some(Object { shown, finished, .. }) => Projection::Open {
                metadata: shown.map(metadata),
                is_storm: false,
                finished,
                wish: Wish::None,
                superseded,
            },
        };
        if let View::Open { alerts, .. } = &run.view
            && (projection != Projection::Closed || context.rules.has(Mutation::ClosedAreRebuilt))
            && self.is_behind(epoch, alerts.unwrap_or_default(), context)
        {
            return;
        }
        let epoch_number = START + i64::from(epoch);
        let decision = decide(&run.view.real(), &projection, &Policy::default(), epoch_number, time(context.clock));
        let shown = object.is_some_and(|object| object.shown.is_some());
        let waits = match decision {
            Decision::Close(_) => !context.rules.has(Mutation::CloseBeforeListed),
            Decision::WriteClosed(..) => !context.rules.has(Mutation::EndsBeforeListed),
            Decision::Write(..) | Decision::Keep(_) => shown,
            _ => false,
        };
        if waits && !self.listed {
            return;
        }
        if matches!(decision, Decision::Drop(DropReason::ClosedInCluster)) && !self.may_drop(epoch, context) {
            return self.due_again(epoch);
        }
        if run.wrote && matches!(decision, Decision::Write(..)) {
            return self.due_again(epoch);
        }
        self.carry_out(epoch, run, decision, context);
    }
}
