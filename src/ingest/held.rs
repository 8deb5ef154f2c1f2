//! Signals that wait for a storm that may not open yet. Only a convenience: each of them was told to wait and has no receipt, so reading all
//! Signals again finds it.

use std::collections::HashMap;

use super::merge::Waiting;
use crate::storm::holding::HeldBack;
use crate::storm::{Observation, StormKey};

/// Reports that are kept, at some 100 bytes each. What comes beyond is let go, and all Signals are read again when something may open.
const MAX_REPORTS: usize = 200_000;

/// See the module.
#[derive(Default)]
pub(super) struct Held {
    by_key: HashMap<StormKey, HeldKey>,
    reports: usize,
    /// Whether some Signals were let go.
    let_go: bool,
}

struct HeldKey {
    part: usize,
    why: HeldBack,
    signals: Waiting,
}

/// What need not wait any longer, or waits for another reason.
pub(super) struct Ready {
    /// By part of the watch.
    pub(super) signals: Vec<(usize, Vec<Observation>)>,
    /// Whether there are more, which must be read again.
    pub(super) read_again: bool,
}

impl Held {
    /// These Signals wait.
    pub(super) fn add(&mut self, part: usize, key: StormKey, why: HeldBack, observations: Vec<Observation>) {
        let held =
            self.by_key.entry(key).or_insert_with(|| HeldKey { part, why: why.clone(), signals: Waiting::new() });
        held.why = why;
        for observation in observations {
            let reports = observation.reports.len();
            if self.reports + reports > MAX_REPORTS {
                self.let_go = true;
                continue;
            }
            // Delivered again, it takes its own place: also within one call.
            self.reports += reports;
            let before = held.signals.insert(observation.signal.clone(), observation);
            self.reports -= before.map_or(0, |before| before.reports.len());
        }
    }

    /// How many Signals wait.
    pub(super) fn len(&self) -> usize {
        self.by_key.values().map(|held| held.signals.len()).sum()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes out the keys for which `why` says something else than when they were held back.
    pub(super) fn take_changed(&mut self, why: impl Fn(StormKey, &Waiting) -> Option<HeldBack>) -> Ready {
        let changed =
            |(key, held): (&StormKey, &HeldKey)| (why(*key, &held.signals).as_ref() != Some(&held.why)).then_some(*key);
        let keys: Vec<StormKey> = self.by_key.iter().filter_map(changed).collect();
        let taken: Vec<HeldKey> = keys.iter().filter_map(|key| self.by_key.remove(key)).collect();
        let read_again = self.let_go && !taken.is_empty();
        self.let_go &= !read_again;
        let signals: Vec<_> = taken.into_iter().map(|held| (held.part, held.signals.into_values().collect())).collect();
        let reports =
            signals.iter().flat_map(|(_, signals): &(usize, Vec<Observation>)| signals).map(|o| o.reports.len());
        self.reports -= reports.sum::<usize>();
        Ready { signals, read_again }
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
        let mut held = Held::default();
        held.add(0, key, why(), twice());
        held.add(0, key, why(), twice());
        assert_eq!((held.len(), held.reports), (1, 2));
        assert!(held.take_changed(|_, _| Some(why())).signals.is_empty(), "it still waits");
        let ready = held.take_changed(|_, _| None);
        assert_eq!((ready.signals.len(), ready.signals[0].1.len()), (1, 1));
        assert!(held.is_empty() && held.reports == 0 && !ready.read_again);
    }
}
