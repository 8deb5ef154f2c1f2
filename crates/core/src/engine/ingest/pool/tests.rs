use super::*;
use crate::storm::fixtures::observation;
use crate::storm::{Opening, Report};

/// One Signal of so many reports, of a key of its own.
fn signal(namespace: &str, alert: usize, reports: usize) -> Observation {
    let reports = (0..).take(reports).map(|uid| Report { uid, firing: true, resource: None }).collect();
    let template = observation(reports, (5, 5), Severity::Info);
    let opening = Opening { object_namespace: namespace.into(), ..(*template.opening).clone() };
    Observation { key: StormKey::new(namespace, &alert.to_string()), opening: Arc::new(opening), ..template }
}

fn key_of(signal: Observation) -> OpeningKey {
    OpeningKey::new(0, signal.key, vec![signal], (vec![true], Vec::new()), None)
}

// Invariant 21: a tenant at his share has what comes beyond it read again, and nobody else's is let go.
#[test]
fn what_a_namespace_has_beyond_its_share_is_let_go_until_all_of_it_is_open() {
    let mut pool = OpeningPool::default();
    for alert in 0..3 {
        pool.add(key_of(signal("flood", alert, SHARE / 2)));
    }
    let keys: Vec<StormKey> = (0..3).map(|alert| signal("flood", alert, 1).key).collect();
    assert_eq!(keys.iter().map(|key| pool.has(*key)).collect::<Vec<_>>(), [true, true, false]);
    pool.add_more(signal("flood", 0, 1));
    pool.add(key_of(signal("other", 0, 1)));
    assert!(pool.has(signal("other", 0, 1).key) && pool.has_room());
    let first = pool.leaves(keys[0]);
    assert!(first.more.is_empty() && first.to_read_again.is_none(), "one of it still waits");
    assert_eq!(pool.leaves(keys[1]).to_read_again.as_deref(), Some("flood"));
    assert!(pool.leaves(signal("other", 0, 1).key).to_read_again.is_none());
    assert!(pool.is_empty() && pool.cost == 0 && pool.lanes.is_empty());
}

#[test]
fn no_chunk_is_asked_for_while_all_together_have_too_much() {
    let mut pool = OpeningPool::default();
    for tenant in 0..4 {
        assert!(pool.has_room());
        pool.add(key_of(signal(&format!("tenant-{tenant}"), 0, SHARE)));
    }
    assert!(!pool.has_room());
    pool.leaves(signal("tenant-0", 0, 1).key);
    assert!(pool.has_room());
}

#[test]
fn what_came_of_a_key_meanwhile_leaves_with_it_and_may_make_it_more_urgent() {
    let mut pool = OpeningPool::default();
    pool.add(key_of(signal("prod", 0, 1)));
    pool.add(key_of(signal("prod", 1, 1)));
    pool.add_more(Observation { severity: Severity::Critical, ..signal("prod", 1, 1) });
    let next = pool.next().map(|opening| opening.key());
    assert_eq!(next, Some(signal("prod", 1, 1).key));
    assert_eq!(pool.leaves(signal("prod", 1, 1).key).more.len(), 1);
}
