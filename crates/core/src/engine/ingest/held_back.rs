//! Signals that wait for a storm that may not open yet. Only a convenience: each of them was told to wait and has no receipt, so
//! a resync finds it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::effect::{Delay, Timer};
use super::super::lineage::why_held_back;
use super::super::receipts::{Receipt, Verdict};
use super::super::resync::ResyncReason;
use super::{BySignal, Work, place_in_line};
use crate::engine::Engine;
use crate::storm::holding::HeldBack;
use crate::storm::{Observation, Opening, StormKey};

/// How often Signals that are held back are looked at: a cool-down ends within this time.
const LOOK: Duration = Duration::from_secs(1);
/// Reports that are kept, at some 100 bytes each. What comes beyond is not kept, and all Signals are read again when something
/// may open.
const MAX_REPORTS: usize = 200_000;

/// What is held back, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HeldBackSignals {
    by_key: BTreeMap<StormKey, HeldKey>,
    /// How many Signals, and how many reports they have: asked for with each step.
    signals: usize,
    reports: usize,
    /// Some Signals were not kept.
    overflowed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HeldKey {
    part: usize,
    why: HeldBack,
    signals: BySignal,
}

/// What need not wait any longer, or waits for another reason.
struct Ready {
    /// By part of the watch.
    signals: Vec<(usize, Vec<Observation>)>,
    /// There are more, which must be read again.
    overflowed: bool,
}

impl HeldBackSignals {
    fn add(&mut self, part: usize, key: StormKey, why: HeldBack, observations: Vec<Observation>) {
        let held =
            self.by_key.entry(key).or_insert_with(|| HeldKey { part, why: why.clone(), signals: BySignal::new() });
        held.why = why;
        for observation in observations {
            let reports = observation.weight();
            if self.reports + reports > MAX_REPORTS {
                self.overflowed = true;
                continue;
            }
            // Delivered again, it takes its own place: also within one call.
            self.reports += reports;
            self.signals += 1;
            let before = held.signals.insert(place_in_line(&observation), observation);
            if let Some(before) = before {
                self.reports -= before.weight();
                self.signals -= 1;
            }
        }
    }

    /// Whether some of this key wait.
    pub(super) fn has(&self, key: StormKey) -> bool {
        self.by_key.contains_key(&key)
    }

    /// How many Signals wait.
    pub(super) fn len(&self) -> usize {
        self.signals
    }

    fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes out the keys for which `why` says something else than when they were held back.
    fn take_changed(&mut self, why: impl Fn(StormKey, &BySignal) -> Option<HeldBack>) -> Ready {
        let changed =
            |(key, held): (&StormKey, &HeldKey)| (why(*key, &held.signals).as_ref() != Some(&held.why)).then_some(*key);
        let keys: Vec<StormKey> = self.by_key.iter().filter_map(changed).collect();
        let taken: Vec<HeldKey> = keys.iter().filter_map(|key| self.by_key.remove(key)).collect();
        let overflowed = self.overflowed && !taken.is_empty();
        self.overflowed &= !overflowed;
        self.signals -= taken.iter().map(|held| held.signals.len()).sum::<usize>();
        let signals: Vec<_> = taken.into_iter().map(|held| (held.part, held.signals.into_values().collect())).collect();
        let reports = signals.iter().flat_map(|(_, signals): &(usize, Vec<Observation>)| signals);
        self.reports -= reports.map(Observation::weight).sum::<usize>();
        Ready { signals, overflowed }
    }
}

impl Engine {
    /// Tells Signals that they wait, unless they were told just that.
    pub(super) fn hold_back(&mut self, part: usize, key: StormKey, why: HeldBack, observations: Vec<Observation>) {
        for observation in observations.iter().filter(|observation| !observation.is_silent()) {
            let mut told = Receipt::of(observation, None, 0);
            told.verdict = Verdict::HeldBack(why.clone());
            if observation.pending_message.as_ref() != Some(&told.message()) {
                self.receipts.write_now(told);
            }
        }
        self.ingest.held_back.add(part, key, why, observations);
        self.look_later();
    }

    pub(in crate::engine) fn held_back_are_due(&mut self) {
        self.ingest.look_runs = false;
        self.ingest.successors.look_again();
        if !self.ingest.held_back.is_empty() {
            self.ingest.look_due = true;
        }
    }

    /// Merges what was held back and need not be any more.
    pub(super) fn look_at_held_back(&mut self) {
        let mut held_back = std::mem::take(&mut self.ingest.held_back);
        let ready = held_back.take_changed(|key, signals| {
            let opening = &self.opening_signal(signals.values())?.opening;
            self.held_back_now(key, opening)
        });
        self.ingest.held_back = held_back;
        if ready.overflowed {
            self.resync.ask(ResyncReason::HeldBackOverflow);
        }
        let work = ready.signals.into_iter().map(|(part, signals)| Work::Merge(part, signals));
        self.ingest.work.extend(work);
        self.look_later();
        self.ingest_goes_on();
    }

    pub(super) fn look_later(&mut self) {
        let some_wait = !self.ingest.held_back.is_empty() || self.ingest.successors.wait();
        if !self.ingest.look_runs && some_wait {
            self.ingest.look_runs = true;
            self.timer(Timer::HeldBack, Delay::After(LOOK));
        }
    }

    /// Why no storm of `key` may open now, as far as the store tells. `None`: one may, or one is open.
    fn held_back_now(&self, key: StormKey, opening: &Opening) -> Option<HeldBack> {
        if self.store.has_open(key) {
            return None;
        }
        why_held_back(&self.store.of_key(key), self.policies.named(&opening.policy), self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::fixtures::observation;
    use crate::storm::{Report, Severity};

    // A list that is read again may bring a Signal twice in one chunk, or once more: it waits once.
    #[test]
    fn a_signal_that_comes_again_waits_once() {
        let twice = || {
            let report = |uid| Report { uid, firing: true, resource: None };
            let signal = observation(vec![report(1), report(2)], (5, 5), Severity::Info);
            vec![signal.clone(), signal]
        };
        let key = twice()[0].key;
        let why = || HeldBack::Suspended("p".into());
        let mut held = HeldBackSignals::default();
        held.add(0, key, why(), twice());
        held.add(0, key, why(), twice());
        assert_eq!((held.len(), held.reports), (1, 2));
        assert!(held.take_changed(|_, _| Some(why())).signals.is_empty(), "it still waits");
        let ready = held.take_changed(|_, _| None);
        assert_eq!((ready.signals.len(), ready.signals[0].1.len()), (1, 1));
        assert!(held.is_empty() && (held.len(), held.reports) == (0, 0) && !ready.overflowed);
    }
}
