//! What waits for the end of a list, or of the reading of one namespace. Bounded: what a namespace has beyond its share is let go, and
//! the Signals are read once more when that end is there. Then nothing waits any more: all that closed storms hold is known by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{BySignal, in_order, place_in_line};
use crate::storm::Observation;

/// What one namespace may have here, in reports of some 100 bytes.
const SHARE: usize = 50_000;
/// What all may have: 20 MB.
const ROOM: usize = 200_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ListWaiting {
    by_signal: BySignal,
    /// Reports by namespace, and in all.
    reports: BTreeMap<Arc<str>, usize>,
    all: usize,
    let_go: BTreeSet<Arc<str>>,
}

impl ListWaiting {
    /// Takes one in, or lets it go.
    pub(super) fn add(&mut self, observation: Observation) {
        let (reports, namespace) = (observation.weight(), observation.opening.object_namespace.as_str());
        // A list that is begun again brings it again.
        let before = self.by_signal.get(&place_in_line(&observation)).map_or(0, Observation::weight);
        let has = self.reports.get(namespace).copied().unwrap_or_default();
        if has - before + reports > SHARE || self.all - before + reports > ROOM {
            self.let_go.insert(namespace.into());
            return;
        }
        self.reports.insert(namespace.into(), has - before + reports);
        self.all = self.all - before + reports;
        self.by_signal.insert(place_in_line(&observation), observation);
    }

    /// What has waited, in the order in which it was reported, and the namespaces of what was let go.
    pub(super) fn into_parts(self) -> (Vec<Observation>, BTreeSet<Arc<str>>) {
        (in_order(self.by_signal), self.let_go)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::fixtures::observation;
    use crate::storm::{Opening, Report, Severity, SignalRef};

    fn signal(namespace: &str, name: usize, reports: usize) -> Observation {
        let reports = (0..).take(reports).map(|uid| Report { uid, firing: true, resource: None }).collect();
        let template = observation(reports, (5, 5), Severity::Info);
        let opening = Opening { object_namespace: namespace.into(), ..(*template.opening).clone() };
        let signal = SignalRef { name: name.to_string(), namespace: namespace.into(), ..(*template.signal).clone() };
        Observation { opening: Arc::new(opening), signal: Arc::new(signal), ..template }
    }

    // Row R8: what a list holds back of one tenant is bounded, and nobody else's is let go for it.
    #[test]
    fn what_a_namespace_has_beyond_its_share_is_let_go_to_be_read_once_more() {
        let mut waiting = ListWaiting::default();
        for name in 0..SHARE / 1_000 + 7 {
            waiting.add(signal("flood", name, 1_000));
        }
        // Delivered again, it takes its own place.
        waiting.add(signal("flood", 0, 1_000));
        waiting.add(signal("other", 0, 1));
        let (waited, let_go) = waiting.into_parts();
        assert_eq!(waited.len(), SHARE / 1_000 + 1);
        assert_eq!(let_go.into_iter().collect::<Vec<_>>(), ["flood".into()]);
    }

    #[test]
    fn many_namespaces_together_have_no_more_than_all_may_have() {
        let mut waiting = ListWaiting::default();
        for tenant in 0..9 {
            waiting.add(signal(&format!("tenant-{tenant}"), 0, SHARE));
        }
        let (waited, let_go) = waiting.into_parts();
        assert_eq!((waited.len(), let_go.len()), (ROOM / SHARE, 9 - ROOM / SHARE));
    }
}
