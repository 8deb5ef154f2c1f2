//! The join, against a model that remembers everything.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::storm::fixtures::observation;
use crate::storm::{Observation, Report};

fn report() -> impl Strategy<Value = Report> {
    (0..40i64, prop::bool::weighted(0.7), prop::option::of(0..15i64)).prop_map(|(uid, firing, resource)| Report {
        uid,
        firing,
        resource: resource.map(|n| (n, format!("Pod/p{n}").into())),
    })
}

fn history() -> impl Strategy<Value = Vec<Observation>> {
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]);
    let one = (prop::collection::vec(report(), 1..12), 0..1000i64, 0..1000i64, severity)
        .prop_map(|(reports, first, more, severity)| observation(reports, (first, first + more), severity));
    prop::collection::vec(one, 1..20)
}

fn merged(history: &[Observation]) -> StormSets {
    let mut state = StormSets::default();
    for observation in history {
        state.merge(observation, |_| false);
    }
    state
}

proptest! {
    // A1, A2, A9, A11, A27: counts are cardinalities, times are extremes, whatever the order and however often.
    #[test]
    fn a_merge_is_a_join(history in history(), seed in any::<u64>()) {
        let straight = merged(&history);
        let mut shuffled: Vec<_> = history.iter().chain(&history[..history.len() / 2]).cloned().collect();
        // A cheap shuffle that proptest can replay.
        shuffled.sort_by_key(|o| o.last_seen.as_second().wrapping_mul(seed.cast_signed() | 1));
        prop_assert_eq!(&merged(&shuffled), &straight, "commutative, associative, idempotent");

        let firing = |o: &Observation| o.reports.iter().filter(|r| r.firing).map(|r| r.uid).collect::<Vec<_>>();
        let seen: BTreeSet<_> = history.iter().flat_map(firing).collect();
        let over = history.iter().flat_map(|o| &o.reports).filter(|r| !r.firing && seen.contains(&r.uid));
        let over: BTreeSet<_> = over.map(|r| r.uid).collect();
        let resources: BTreeSet<_> = history.iter().flat_map(|o| &o.reports)
            .filter(|r| r.firing).filter_map(|r| r.resource.as_ref().map(|(digest, _)| *digest)).collect();
        let metadata = straight.metadata("X in prod").unwrap();
        prop_assert_eq!(metadata.alert_count, seen.len());
        prop_assert_eq!(metadata.firing, seen.len() - over.len());
        prop_assert_eq!(metadata.affected_count, resources.len());
        prop_assert_eq!(metadata.first_seen, history.iter().map(|o| o.first_seen).min().unwrap());
        prop_assert_eq!(metadata.last_seen, history.iter().map(|o| o.last_seen).max().unwrap());
        prop_assert_eq!(metadata.severity, history.iter().map(|o| o.severity).max().unwrap());
    }

    #[test]
    fn the_second_delivery_of_anything_is_not_new(history in history()) {
        let mut state = merged(&history);
        let mark = state.mark();
        for observation in &history {
            prop_assert_eq!(state.merge(observation, |_| false).count(), 0);
        }
        prop_assert_eq!(state.mark(), mark);
    }

    // C1: what a closed storm holds is never counted again.
    #[test]
    fn held_occurrences_do_not_count(history in history()) {
        let mut state = StormSets::default();
        for observation in &history {
            prop_assert_eq!(state.merge(observation, |_| true).count(), 0);
        }
        prop_assert_eq!(state, StormSets::default());
    }
}

// B4: the highest severity stays when a milder one comes later.
#[test]
fn severity_is_the_highest_seen() {
    let report = |uid| vec![Report { uid, firing: true, resource: None }];
    let history =
        [observation(report(1), (5, 5), Severity::Critical), observation(report(2), (6, 6), Severity::Warning)];
    assert_eq!(merged(&history).metadata("p").unwrap().severity, Severity::Critical);
}
