//! The join, against a model that remembers everything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
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
    let one = (prop::collection::vec(report(), 1..12), 0..1000i64, 0..1000i64, severity, 0..30i64, any::<bool>());
    let one = one.prop_map(|(reports, first, more, severity, at, resolvable)| {
        let observed = observation(reports, (first, first + more), severity);
        Observation { reported_at: observed.first_seen + SignedDuration::from_micros(at), resolvable, ..observed }
    });
    prop::collection::vec(one, 1..20)
}

fn merged(history: &[Observation]) -> (AlertRegisters, StormExtent) {
    let (mut alerts, mut extent) = <(AlertRegisters, StormExtent)>::default();
    for observation in history {
        join(&mut alerts, &mut extent, observation);
    }
    (alerts, extent)
}

proptest! {
    // A1, A2, A9, A11, A27: counts are cardinalities, times are extremes, whatever the order and however often. Invariant 18: an alert fires if its
    // latest report does.
    #[test]
    fn a_merge_is_a_join(history in history(), seed in any::<u64>()) {
        let straight = merged(&history);
        let mut shuffled: Vec<_> = history.iter().chain(&history[..history.len() / 2]).cloned().collect();
        // A cheap shuffle that proptest can replay.
        shuffled.sort_by_key(|o| o.last_seen.as_second().wrapping_mul(seed.cast_signed() | 1));
        prop_assert_eq!(&merged(&shuffled), &straight, "commutative, associative, idempotent");

        let reports = || history.iter().flat_map(|o| o.reports.iter().map(move |report| (o, report)));
        let seen: BTreeSet<_> = reports().filter(|(_, r)| r.firing).map(|(_, r)| r.uid).collect();
        // Of two reports at one instant the resolved one counts.
        let mut latest = BTreeMap::new();
        for (o, report) in reports() {
            let says = (o.reported_at, !report.firing);
            latest.entry(report.uid).and_modify(|latest| *latest = says.max(*latest)).or_insert(says);
        }
        let firing = latest.values().filter(|(_, over)| !over).count();
        let resources: BTreeSet<_> = reports()
            .filter(|(_, r)| r.firing).filter_map(|(_, r)| r.resource.as_ref().map(|(digest, _)| *digest)).collect();
        let (alerts, extent) = straight;
        let metadata = extent.metadata("X in prod", &alerts).unwrap();
        prop_assert_eq!(metadata.alert_count, seen.len());
        prop_assert_eq!(metadata.firing, firing);
        prop_assert_eq!(metadata.affected_count, resources.len());
        prop_assert_eq!(metadata.first_seen, history.iter().map(|o| o.first_seen).min().unwrap());
        prop_assert_eq!(metadata.last_seen, history.iter().map(|o| o.last_seen).max().unwrap());
        prop_assert_eq!(metadata.severity, history.iter().map(|o| o.severity).max().unwrap());
    }

    #[test]
    fn the_second_delivery_of_anything_is_not_new(history in history()) {
        let (mut alerts, mut extent) = merged(&history);
        let before = (alerts.clone(), extent.clone());
        for observation in &history {
            let news = join(&mut alerts, &mut extent, observation);
            prop_assert_eq!((news.reports, news.changed), (0, false));
        }
        prop_assert_eq!((alerts, extent), before);
    }
}

// B4: the highest severity stays when a milder one comes later.
#[test]
fn severity_is_the_highest_seen() {
    let report = |uid| vec![Report { uid, firing: true, resource: None }];
    let history =
        [observation(report(1), (5, 5), Severity::Critical), observation(report(2), (6, 6), Severity::Warning)];
    let (alerts, extent) = merged(&history);
    assert_eq!(extent.metadata("p", &alerts).unwrap().severity, Severity::Critical);
}
