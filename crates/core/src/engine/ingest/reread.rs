//! The Signals of one namespace, read again: what was deleted, dropped or let go of one storm is among them, for all Signals of a
//! key are in one namespace. It costs that namespace's Signals and not all of them, and nobody else waits for it.
//!
//! To the namespace it is what a list of all Signals is to everybody: until it is complete, nothing of it ends, and what closed
//! storms may hold waits. A list of all Signals that begins makes it superfluous. One page is in memory for each reader, and the
//! next one is asked for when it is merged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::call::{ApiFault, ApiFaultKind, ListSignals, SignalsPage, Task};
use super::super::effect::{Delay, Effect, Fact, Part, Timer};
use super::super::input::Arrival;
use super::super::resync::{RereadReason, ResyncReason};
use super::Work;
use super::waiting::ListWaiting;
use crate::engine::Engine;
use crate::rules::Rule;
use crate::storm::{Observation, StormId};

/// Namespaces that are read at once: a page has up to 50 Signals of up to 300 KB.
const READERS: u8 = 4;

/// The namespaces that are read again, or will be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rereads {
    by_namespace: BTreeMap<Arc<str>, Reading>,
    /// Those that wait for a reader, in order.
    queue: VecDeque<Arc<str>>,
    readers: BTreeMap<u8, Arc<str>>,
}

/// How far one namespace is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reading {
    reason: RereadReason,
    stage: ReadingStage,
    pass: Pass,
    /// Somebody asked after it began, for such a reading: what he found may be on a page that was read by then.
    again: Option<Pass>,
    /// What waits for its end.
    waiting: ListWaiting,
    /// Where the page that is asked for begins.
    after: Option<String>,
    failures: u32,
}

/// What a reading of a namespace is to the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Pass {
    /// Signals that were let go for want of memory come as if they came now: what closed storms hold was told to the ledger before.
    Plain,
    /// What closed storms hold is to be found out: what they may hold waits.
    HoldsUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ReadingStage {
    /// It waits for a reader.
    Queued,
    /// Its pages are read.
    Pages,
    /// All are read, and what waited for that is merged.
    Rest,
}

impl Reading {
    /// Whether what closed storms may hold waits.
    fn holds_up(&self) -> bool {
        let holds_up = |pass| pass == Pass::HoldsUp;
        self.again.is_some_and(holds_up) || holds_up(self.pass) && self.stage != ReadingStage::Rest
    }
}

impl Rereads {
    pub(super) fn ask(&mut self, namespace: Arc<str>, reason: RereadReason, pass: Pass) {
        if let Some(reading) = self.by_namespace.get_mut(&namespace) {
            match reading.stage {
                ReadingStage::Queued => reading.pass = reading.pass.max(pass),
                ReadingStage::Pages | ReadingStage::Rest => reading.again = reading.again.max(Some(pass)),
            }
            return;
        }
        let (stage, waiting) = (ReadingStage::Queued, ListWaiting::default());
        let reading = Reading { reason, stage, pass, again: None, waiting, after: None, failures: 0 };
        self.by_namespace.insert(namespace.clone(), reading);
        self.queue.push_back(namespace);
    }

    fn of(&mut self, reader: u8) -> Option<(Arc<str>, &mut Reading)> {
        let namespace = self.readers.get(&reader)?.clone();
        let reading = self.by_namespace.get_mut(&namespace)?;
        Some((namespace, reading))
    }

    /// Whether this namespace is being read, or will be.
    pub(super) fn reads(&self, namespace: &str) -> bool {
        self.by_namespace.contains_key(namespace)
    }

    fn holds_up(&self, observation: &Observation) -> bool {
        self.by_namespace.get(observation.opening.object_namespace.as_str()).is_some_and(Reading::holds_up)
    }

    /// This observation waits for the end of the reading of its namespace.
    fn wait(&mut self, observation: Observation) {
        if let Some(reading) = self.by_namespace.get_mut(observation.opening.object_namespace.as_str()) {
            reading.waiting.add(observation);
        }
    }

    /// The next namespace, with a reader of its own.
    fn start(&mut self) -> Option<(u8, Arc<str>, RereadReason, Pass)> {
        let reader = (0..READERS).find(|reader| !self.readers.contains_key(reader))?;
        let namespace = self.queue.pop_front()?;
        let reading = self.by_namespace.get_mut(&namespace)?;
        reading.stage = ReadingStage::Pages;
        self.readers.insert(reader, namespace.clone());
        Some((reader, namespace, reading.reason, reading.pass))
    }
}

#[cfg(any(test, feature = "fixtures"))]
impl super::Ingest {
    /// Which namespaces are to be read again, and why.
    pub(in crate::engine) fn take_rereads(&mut self) -> Vec<(Arc<str>, RereadReason)> {
        let readings = std::mem::take(&mut self.rereads).by_namespace;
        readings.into_iter().map(|(namespace, reading)| (namespace, reading.reason)).collect()
    }
}

impl Engine {
    /// The Signals of this namespace are to be read again. Where nobody knows which one it is, all Signals are.
    pub(in crate::engine) fn reread(&mut self, namespace: Option<Arc<str>>, reason: RereadReason) {
        match namespace {
            Some(namespace) => self.ingest.rereads.ask(namespace, reason, Pass::HoldsUp),
            None => self.resync.ask(ResyncReason::OpeningUnknown),
        }
    }

    /// Whether all Signals of the key of this storm were read that had to be.
    pub(in crate::engine) fn is_listed(&self, id: StormId) -> bool {
        let rereads = &self.ingest.rereads.by_namespace;
        let is_reread = || self.namespace_of(id).is_some_and(|namespace| rereads.contains_key(&namespace));
        self.resync.is_listed() && !(self.rereads_hold_up() && is_reread())
    }

    fn rereads_hold_up(&self) -> bool {
        !self.ingest.rereads.by_namespace.is_empty() && self.settings.rules.keep(Rule::RereadHoldsUp)
    }

    /// Whether anything of this part of the watch is being listed.
    pub(super) fn anything_is_listed(&self, part: usize) -> bool {
        self.ingest.incomplete.contains(&part) || self.rereads_hold_up()
    }

    /// Whether the Signals of this one's key are being listed.
    pub(super) fn is_being_listed(&self, part: usize, observation: &Observation) -> bool {
        let is_reread = || self.rereads_hold_up() && self.ingest.rereads.holds_up(observation);
        self.ingest.incomplete.contains(&part) || is_reread()
    }

    /// These wait until the Signals of their key are listed.
    pub(super) fn wait_for_list(&mut self, part: usize, observations: Vec<Observation>) {
        if !self.ingest.incomplete.contains(&part) {
            return observations.into_iter().for_each(|observation| self.ingest.rereads.wait(observation));
        }
        let waiting = self.ingest.waiting.entry(part).or_default();
        for observation in observations {
            waiting.add(observation);
        }
    }

    /// Begins to read as many namespaces as may be read at once. While all Signals are listed, none is: what is found meanwhile
    /// may be about a Signal that the list has brought before.
    pub(super) fn start_rereads(&mut self) {
        if !self.ingest.incomplete.is_empty() {
            return;
        }
        while let Some((reader, namespace, reason, pass)) = self.ingest.rereads.start() {
            if pass == Pass::HoldsUp {
                self.ingest.crowds.holds_again(&namespace);
            }
            self.fact(Fact::RereadBegins(namespace, reason));
            self.ask_page(reader);
        }
    }

    fn ask_page(&mut self, reader: u8) {
        let Some(digests) = self.digests else { return };
        let Some((namespace, reading)) = self.ingest.rereads.of(reader) else { return };
        let (part, after) = (self.settings.part_of(&namespace), reading.after.clone());
        self.ask_signals(Task::Reread(reader), ListSignals { namespace, part, digests, after });
    }

    pub(in crate::engine) fn page_came(&mut self, reader: u8, reply: Result<SignalsPage, ApiFault>) {
        let Some((namespace, reading)) = self.ingest.rereads.of(reader) else { return };
        let SignalsPage { arrivals, next } = match reply {
            Ok(page) => page,
            Err(fault) => return self.page_failed(reader, fault),
        };
        reading.failures = 0;
        let mut observations = Vec::new();
        for arrival in arrivals {
            match arrival {
                Arrival::Observed(_, observation) => observations.push(*observation),
                Arrival::Rejected(signal, rejection) => self.reject(signal, rejection),
                // A page is no list of a part.
                Arrival::ListBegins(_) | Arrival::ListEnds(_) => {}
            }
        }
        self.ingest.work.push_back(Work::Merge(self.settings.part_of(&namespace), observations));
        self.ingest.work.push_back(Work::PageIsMerged(reader, next));
    }

    fn page_failed(&mut self, reader: u8, fault: ApiFault) {
        let Some((namespace, reading)) = self.ingest.rereads.of(reader) else { return };
        let ApiFault { kind, disposition, message } = fault;
        reading.failures = reading.failures.saturating_add(1);
        if kind == ApiFaultKind::Expired {
            // The rest of the list is gone: from the beginning.
            reading.after = None;
        }
        let delay = Delay::Backoff { failures: reading.failures, at_most: Duration::MAX };
        let message = format!("the Signals of namespace {namespace} wait to be read again: {message}");
        self.fact(Fact::Failed { part: Part::Ingest, disposition, object: None, message });
        self.effect(Effect::SetTimer(Timer::Reread(reader), delay));
    }

    pub(in crate::engine) fn page_is_due(&mut self, reader: u8) {
        let asked = self.calls.contains_key(&Task::Reread(reader));
        let failed = self.ingest.rereads.of(reader).is_some_and(|(_, reading)| reading.failures > 0);
        if failed && !asked {
            self.ask_page(reader);
        }
    }

    pub(super) fn page_is_merged(&mut self, reader: u8, next: Option<String>) {
        let Some((namespace, reading)) = self.ingest.rereads.of(reader) else { return };
        reading.after = next;
        if reading.after.is_some() {
            return self.ask_page(reader);
        }
        self.ingest.rereads.readers.remove(&reader);
        let Some(reading) = self.ingest.rereads.by_namespace.get_mut(&namespace) else { return };
        reading.stage = ReadingStage::Rest;
        let mut waited = Vec::new();
        if reading.again != Some(Pass::HoldsUp) {
            let (waiting, let_go) = std::mem::take(&mut reading.waiting).into_parts();
            waited = waiting;
            reading.again = reading.again.max((!let_go.is_empty()).then_some(Pass::Plain));
        }
        let part = self.settings.part_of(&namespace);
        self.ingest.work.push_front(Work::RereadIsMerged(namespace));
        self.ingest.work.push_front(Work::Merge(part, waited));
    }

    /// The namespace is read, unless somebody has asked for it meanwhile: then it is read once more, in its turn.
    pub(super) fn reread_is_merged(&mut self, namespace: &Arc<str>) {
        let rereads = &mut self.ingest.rereads;
        if let Some(reading) = rereads.by_namespace.get_mut(namespace)
            && let Some(pass) = reading.again.take()
        {
            (reading.stage, reading.pass) = (ReadingStage::Queued, pass);
            rereads.queue.push_back(namespace.clone());
            return;
        }
        rereads.by_namespace.remove(namespace);
        self.crowd_is_read(namespace);
        // What waits for room is merged after another reading, and belongs to the storm that took it over until then.
        if !self.ingest.crowds.has(namespace) {
            self.ingest.successors.reread(namespace);
        }
        for id in self.resync.waiting() {
            if self.namespace_of(id).is_none_or(|of| of == *namespace) {
                self.resync.waits_no_longer(id);
                self.request(id);
            }
        }
    }
}
