//! What a body becomes under policies that group, or match, by labels.

use super::*;
use crate::storm::matching::{Criteria, LabelRequirement, LabelSelector, PolicyRule};
use crate::storm::{GroupBy, Policy};

/// Policies that ask for this label of all alerts, and group those of these names by that one.
fn policies(asks_for: &str, names: &str, groups_by: &str) -> PolicySet {
    let requirement = LabelRequirement::In(asks_for.into(), ["a".to_owned()].into());
    let asking = Criteria { labels: Some(LabelSelector(vec![requirement])), ..Criteria::default() };
    let by_name = Criteria { names: Some(vec![names.into()]), ..Criteria::default() };
    let by_label: GroupBy =
        [format!("label:{groups_by}")].iter().filter_map(|attribute| attribute.parse().ok()).collect();
    let rule = |criteria, group_by| PolicyRule {
        priority: 0,
        created: at(0),
        criteria,
        policy: Arc::new(Policy { group_by, ..Policy::default() }),
    };
    let rules = vec![rule(asking, GroupBy::default()), rule(by_name, by_label)];
    PolicySet::new(rules, Arc::default(), HashMap::new())
}

// What batching must not decide: alone, each of these would have its labels.
#[test]
fn alerts_that_differ_in_a_label_that_their_storm_depends_on_are_signals_of_their_own() {
    let alerts = [
        ("KubeletDown", "n1", "a"),
        ("KubeletDown", "n2", "a"),
        ("KubeletDown", "n1", "b"),
        ("KubeletDown", "n1", "a"),
        // Nobody groups these by their node.
        ("DiskFull", "n1", "a"),
        ("DiskFull", "n2", "a"),
    ];
    let alert = |(n, (name, node, team)): (usize, &(&str, &str, &str))| {
        let many: serde_json::Map<_, _> = (0..70).map(|n| (format!("a{n:02}"), json!("x"))).collect();
        let mut labels = json!({ "alertname": name, "node": node, "team": team, "pod": format!("p-{n}") });
        labels.as_object_mut().unwrap().extend(many);
        alert(&format!("{n:016x}"), &labels)
    };
    let mut webhook = body(alerts.iter().enumerate().map(alert).collect::<Vec<_>>());
    webhook["groupLabels"] = json!({});
    let text = webhook.to_string();
    let cut = |policies: &PolicySet| {
        batch(&read_body(text.as_bytes(), 4 << 20).unwrap(), &TargetRules::default(), policies, 500, at(0))
    };
    let batch = cut(&policies("team", "Kubelet*", "node"));
    let mut signals: Vec<_> = batch.signals.iter().map(|draft| (draft.spec(), draft.table().lines().count())).collect();
    signals.sort_by_key(|(spec, _)| (spec.name.clone(), spec.labels.clone()));
    let seen: Vec<_> = signals
        .iter()
        .map(|(spec, count)| {
            // However many others there are: they make room for it.
            assert_eq!(spec.labels.len(), 64);
            (spec.name.as_str(), spec.labels.get("node").map(String::as_str), spec.labels["team"].as_str(), *count)
        })
        .collect();
    let node = |node| Some(node);
    let expected = [
        ("DiskFull", None, "a", 2),
        ("KubeletDown", node("n1"), "a", 2),
        ("KubeletDown", node("n2"), "a", 1),
        ("KubeletDown", node("n1"), "b", 1),
    ];
    for signal in expected {
        assert!(seen.contains(&signal), "{signal:?} of {seen:?}");
    }
    assert_eq!(seen.len(), expected.len());
    let series: BTreeSet<_> = batch.signals.iter().map(|draft| &draft.series).collect();
    assert_eq!(series.len(), expected.len(), "each is about something else");
    assert_eq!(cut(&PolicySet::default()).signals.len(), 2);
}
