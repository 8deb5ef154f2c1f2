//! What the memory ledger knows of one key.

use std::sync::Arc;

use jiff::Timestamp;

use super::room::{Grant, KEY_BYTES, Room, UNPUBLISHED_BYTES};
use crate::ledger::{DedupWindow, Merge, TakenOver, any_held, namespace_made};
use crate::storm::alerts::{ALERT_BYTES, StormEnd};
use crate::storm::decide::CloseReason;
use crate::storm::merge::{News, RESOURCE_BYTES, StormExtent, join, join_known};
use crate::storm::{AlertRegisters, AlertReport, Digest, Epoch, Observation, StormMetadata};

/// All that is known of one key.
#[derive(Default)]
pub(super) struct KeyRecord {
    /// The namespace of its Signals, once it is known.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) open: Option<OpenStorm>,
    /// Closed in the ledger, end not yet in the cluster.
    pub(super) closing: Vec<ClosedStorm>,
    pub(super) last_closed: Option<Epoch>,
    pub(super) alerts: AlertRegisters,
    /// When it was last told of reports that no open storm takes in.
    pub(super) told: Option<Timestamp>,
    /// When something of it was met last, and how long what is in no storm is remembered from then on.
    pub(super) last_met: Option<DedupWindow>,
    /// What it was last found to take.
    pub(super) counted: usize,
}

pub(super) struct OpenStorm {
    pub(super) epoch: Epoch,
    pub(super) pattern: String,
    pub(super) extent: StormExtent,
    /// Of the last change.
    pub(super) version: u64,
    /// When the first change came that is not published.
    pub(super) dirty_since: Option<Timestamp>,
    pub(super) published: bool,
    /// Alerts that joined with a version that is not acknowledged: what no object shows yet.
    pub(super) unpublished: Vec<Unpublished>,
}

/// The alerts that joined with one version.
pub(super) struct Unpublished {
    pub(super) version: u64,
    pub(super) alerts: Box<[Digest]>,
}

pub(super) struct ClosedStorm {
    pub(super) epoch: Epoch,
    pub(super) metadata: Option<StormMetadata>,
    pub(super) reason: CloseReason,
}

impl OpenStorm {
    /// It is another one than before, by these alerts among others.
    pub(super) fn changed(&mut self, version: u64, alerts: Vec<Digest>, now: Timestamp) {
        self.version = version;
        self.dirty_since.get_or_insert(now);
        if !alerts.is_empty() {
            self.unpublished.push(Unpublished { version, alerts: alerts.into() });
        }
    }

    fn bytes(&self) -> usize {
        let unpublished: usize = self.unpublished.iter().map(|joined| joined.alerts.len()).sum();
        self.pattern.len() + self.extent.bytes() + unpublished * UNPUBLISHED_BYTES
    }
}

impl KeyRecord {
    pub(super) fn merge(
        &mut self,
        observations: &[Observation],
        version: &mut u64,
        grant: Grant,
        now: Timestamp,
    ) -> Merge {
        self.expire(now);
        if let Some(made) = namespace_made(observations) {
            self.leave_to_namespace(made);
        }
        let waits = self.waits(observations, &grant);
        if !waits.contains(&true) {
            return self.merge_all(&observations.iter().collect::<Vec<_>>(), version, now);
        }
        let those =
            |wait: bool| observations.iter().zip(&waits).filter(move |(_, waits)| **waits == wait).map(|(o, _)| o);
        let others = Box::new(self.merge_all(&those(false).collect::<Vec<_>>(), version, now));
        self.merge_known(those(true), version, now);
        Merge::NoRoom { waits, others, why: grant.why }
    }

    /// What is of another namespace of this name goes with it.
    fn leave_to_namespace(&mut self, made: Timestamp) {
        let of_another = match &self.open {
            Some(storm) => storm.epoch < made.as_second(),
            None => self.last_closed.is_none_or(|last| last < made.as_second()) && self.told.is_none_or(|at| at < made),
        };
        if of_another {
            let ended = self.open.take().map(|storm| storm.epoch);
            self.last_closed = self.last_closed.max(ended);
            self.alerts = AlertRegisters::default();
        }
    }

    /// Which of these observations take more than is granted.
    fn waits(&self, observations: &[Observation], grant: &Grant) -> Vec<bool> {
        let reports: usize = observations.iter().map(|observation| observation.reports.len()).sum();
        if reports * (ALERT_BYTES + UNPUBLISHED_BYTES + RESOURCE_BYTES) <= grant.bytes {
            return vec![false; observations.len()];
        }
        let mut room = grant.bytes;
        let waits = |observation: &Observation| match room.checked_sub(self.takes(observation)) {
            Some(left) => {
                room = left;
                false
            }
            None => true,
        };
        observations.iter().map(waits).collect()
    }

    /// How much more memory it takes to merge an observation. What no storm takes in takes none, unless only its receipt tells of it.
    fn takes(&self, observation: &Observation) -> usize {
        let extent = self.open.as_ref().map(|storm| &storm.extent);
        let mut bytes = 0;
        for (report, says) in observation.reports.iter().zip(observation.says()) {
            let known = self.alerts.get(report.uid).is_some();
            if self.alerts.holds(&says) {
                bytes += if known { 0 } else { ALERT_BYTES };
                continue;
            }
            if !known {
                bytes += ALERT_BYTES + UNPUBLISHED_BYTES;
            }
            let resource = report.resource.as_ref().filter(|_| report.firing);
            if resource.is_some_and(|(digest, _)| extent.is_none_or(|extent| !extent.has(*digest))) {
                bytes += RESOURCE_BYTES;
            }
        }
        bytes
    }

    fn merge_all(&mut self, observations: &[&Observation], version: &mut u64, now: Timestamp) -> Merge {
        let Self { open, alerts, last_met, last_closed, .. } = self;
        let Some(storm) = open else {
            return Merge::not_open(observations, alerts, *last_closed);
        };
        for observation in observations {
            last_met.replace(DedupWindow { now, horizon: observation.dedup_horizon });
        }
        let mut news: Vec<News> = observations.iter().map(|o| join(alerts, &mut storm.extent, o)).collect();
        let (new, held) = news.iter_mut().map(|news| (news.reports, std::mem::take(&mut news.held))).unzip();
        let (epoch, held) = (storm.epoch, any_held(held));
        let last = last_closed.filter(|_| !held.is_empty());
        self.changed(news, version, now);
        Merge::Joined { epoch, new, held, last }
    }

    /// Takes in what these observations report of alerts that are known.
    fn merge_known<'a>(
        &mut self,
        observations: impl Iterator<Item = &'a Observation>,
        version: &mut u64,
        now: Timestamp,
    ) {
        let Self { open: Some(storm), alerts, .. } = self else { return };
        let news = observations.map(|o| join_known(alerts, &mut storm.extent, o)).collect();
        self.changed(news, version, now);
    }

    fn changed(&mut self, news: Vec<News>, version: &mut u64, now: Timestamp) {
        let Some(storm) = self.open.as_mut().filter(|_| news.iter().any(|news| news.changed)) else { return };
        *version += 1;
        storm.changed(*version, news.into_iter().flat_map(|news| news.alerts).collect(), now);
    }

    /// Remembers as much of these reports as is granted. Whether that was all.
    pub(super) fn hold(&mut self, reports: &[AlertReport], end: StormEnd, of_open: bool, grant: &Grant) -> bool {
        let mut room = grant.bytes / ALERT_BYTES;
        if reports.len() <= room {
            self.alerts.hold(reports, end, of_open);
            return true;
        }
        let mut all = true;
        for report in reports {
            if self.alerts.get(report.uid).is_none() {
                let Some(left) = room.checked_sub(1) else {
                    all = false;
                    continue;
                };
                room = left;
            }
            self.alerts.hold(std::slice::from_ref(report), end, of_open);
        }
        all
    }

    /// Opens a storm of this epoch: see `Ledger::open`.
    pub(super) fn open(&mut self, epoch: Epoch, pattern: &str, version: &mut u64, now: Timestamp) -> Option<Epoch> {
        *version += 1;
        if let Some(open) = &self.open {
            return Some(open.epoch);
        }
        if self.last_closed.is_some_and(|last| epoch <= last) {
            return None;
        }
        self.expire(now);
        self.open = Some(OpenStorm {
            epoch,
            pattern: pattern.to_owned(),
            extent: StormExtent::default(),
            version: *version,
            dirty_since: None,
            published: false,
            unpublished: Vec::new(),
        });
        Some(epoch)
    }

    /// The open storm takes over what is left of those before.
    pub(super) fn take_over(&mut self, epoch: Epoch, version: &mut u64, now: Timestamp) -> TakenOver {
        let Self { open: Some(storm), alerts, .. } = self else { return TakenOver::default() };
        if storm.epoch != epoch {
            return TakenOver::default();
        }
        let taken = alerts.take_over();
        let over = TakenOver { taken: taken.len(), firing: alerts.firing() };
        if over.taken > 0 {
            *version += 1;
            storm.changed(*version, taken, now);
        }
        over
    }

    /// Takes the open storm out if it is the one of this epoch.
    pub(super) fn take_open(&mut self, epoch: Epoch) -> Option<OpenStorm> {
        self.open.take_if(|storm| storm.epoch == epoch)
    }

    /// The storm that was taken out has ended so.
    pub(super) fn retire(&mut self, epoch: Epoch, end: StormEnd, at: DedupWindow) {
        self.last_closed = self.last_closed.max(Some(epoch));
        // What storms before this one left. What this one had, the next one may be asked about, however long ago it ended.
        self.alerts.expire(at.earliest());
        self.alerts.end(end);
        self.last_met = Some(at);
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let over = |met: DedupWindow| now.duration_since(met.now) > met.horizon;
        if self.open.is_none() && self.last_met.is_some_and(over) {
            self.alerts = AlertRegisters::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closing.is_empty() && self.alerts.is_empty()
    }

    /// Counts what it takes by now.
    pub(super) fn count(&mut self, room: &mut Room) {
        let (before, after) = (self.counted, self.bytes());
        room.count(self.namespace.as_ref(), before, after);
        self.counted = after;
    }

    /// It is about to go.
    pub(super) fn leaves(&mut self, room: &mut Room) {
        room.count(self.namespace.as_ref(), std::mem::take(&mut self.counted), 0);
    }

    /// What it takes in memory.
    fn bytes(&self) -> usize {
        let texts = |storm: &ClosedStorm| {
            let texts = storm.metadata.iter().flat_map(|metadata| &metadata.affected_resources);
            texts.map(|text| size_of::<String>() + text.len()).sum::<usize>()
        };
        let closing: usize = self.closing.iter().map(texts).sum();
        KEY_BYTES + self.alerts.bytes() + self.open.as_ref().map_or(0, OpenStorm::bytes) + closing
    }
}
