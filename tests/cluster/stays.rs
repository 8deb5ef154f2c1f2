//! An alert is in at most one open storm, whatever policies come, change and go (invariant 19): it stays where it is until that ends.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use serde_json::json;
use stormfold::api::{CloseReason, OccurrenceState, Signal};

use super::operator::Operator;
use super::policies::PolicyOf;
use super::signals::{occurrence, signal};
use super::world::{World, facts, is_open};

/// A Signal of a source that reports ends: of these alerts of one node that they fire, or are over.
fn cert(name: &str, node: &str, alerts: std::ops::Range<usize>, state: OccurrenceState) -> Signal {
    let mut signal = signal(name, "KubeletCert");
    signal.spec.resolvable = true;
    signal.spec.labels = BTreeMap::from([("node".into(), node.into())]);
    signal.spec.occurrences =
        Some(alerts.map(|n| occurrence(&format!("fp-{n}"), state, &format!("pod-{n}"))).collect());
    signal
}

const BY_NODE: [&str; 2] = ["label:node", "name"];
const FLAGS: [&str; 2] = ["--settle-delay=1s", "--quiet-period=2s"];

// G1, G2: a policy comes while a storm is open under the default one: then a repeat, a restart, and the ends.
#[tokio::test]
async fn an_alert_stays_in_its_storm_when_a_policy_comes_and_its_ends_reach_it() {
    let world = World::new("stays-comes").await;
    let operator = Operator::start(&[&world], &FLAGS).await;
    world.create(&cert("fires", "n4", 0..2, OccurrenceState::Firing)).await;
    let storm = world.one_storm("two", |storm| storm.firing_count == 2).await;
    let policy = PolicyOf::create(&world, json!({ "groupBy": BY_NODE })).await;
    policy.status("it is in force", |status| status["observedGeneration"] == json!(1)).await;
    world.create(&cert("repeat", "n4", 0..2, OccurrenceState::Firing)).await;
    world.receipts(2).await;
    assert_eq!(world.storms().await.len(), 1, "a repeat opens nothing");
    world.create(&cert("an-end", "n4", 0..1, OccurrenceState::Resolved)).await;
    world.storm_named(&storm, |storm| storm.firing_count == 1).await;
    operator.sigkill();
    // What comes meanwhile is listed before the Signals whose receipts say where its alert is: by name.
    world.create(&cert("another-repeat", "n4", 1..2, OccurrenceState::Firing)).await;
    let _operator = Operator::start(&[&world], &FLAGS).await;
    world.receipts(4).await;
    assert_eq!(world.storms().await.len(), 1, "a restart opens nothing");
    let shown = world.storm_named(&storm, is_open).await;
    assert_eq!((shown.alert_count, shown.firing_count), (2, 1));
    // Another alert is the policy's.
    world.create(&cert("other", "n5", 2..3, OccurrenceState::Firing)).await;
    world.storms_until("one of the policy's", 2, |storm| storm.alert_count == 1).await;
    world.create(&cert("the-end", "n4", 1..2, OccurrenceState::Resolved)).await;
    let shown = world.storm_named(&storm, |storm| !is_open(storm)).await;
    assert_eq!((shown.close_reason, shown.firing_count), (Some(CloseReason::Resolved), 0));
    // Fired anew, it is grouped as the policy says.
    world.create(&cert("again", "n4", 0..1, OccurrenceState::Firing)).await;
    let storms = world.storms_until("a storm of the policy's", 3, |storm| storm.firing_count == 1).await;
    assert!(storms[2].spec.pattern.contains("n4"), "{}", storms[2].spec.pattern);
    policy.delete().await;
}

// The other way round: the policy goes, and what comes next has no label in common.
#[tokio::test]
async fn an_alert_stays_in_its_storm_when_its_policy_goes() {
    let world = World::new("stays-goes").await;
    let policy = PolicyOf::create(&world, json!({ "groupBy": BY_NODE })).await;
    let operator = Operator::start(&[&world], &FLAGS).await;
    policy.status("it is in force", |status| status["observedGeneration"] == json!(1)).await;
    world.create(&cert("fires", "n1", 0..2, OccurrenceState::Firing)).await;
    let storm = world.one_storm("two", |storm| storm.firing_count == 2).await;
    policy.delete().await;
    // Nothing tells when the operator has heard of it: the repeat is told where its alerts are before and after.
    let mut repeat = cert("repeat", "n1", 0..2, OccurrenceState::Firing);
    repeat.spec.labels.clear();
    world.create(&repeat).await;
    world.receipts(2).await;
    operator.sigkill();
    let _operator = Operator::start(&[&world], &FLAGS).await;
    let mut end = cert("end", "n1", 0..2, OccurrenceState::Resolved);
    end.spec.labels.clear();
    world.create(&end).await;
    let shown = world.storm_named(&storm, |storm| !is_open(storm)).await;
    assert_eq!((shown.close_reason, shown.alert_count), (Some(CloseReason::Resolved), 2));
    let storms = world.storms().await;
    assert_eq!(
        storms.len(),
        1,
        "{:?}",
        storms.iter().map(|storm| (storm.name_any(), facts(storm))).collect::<Vec<_>>()
    );
}
