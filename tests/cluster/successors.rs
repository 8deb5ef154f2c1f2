//! What fires is open (invariant 17): what a storm leaves when it closes goes on in the next one, and nobody has to report again for it.

use jiff::Timestamp;
use kube::ResourceExt as _;
use stormfold::api::{CloseReason, OccurrenceState, Signal};

use super::operator::Operator;
use super::signals::{occurrence, signal};
use super::world::{World, facts, is_open};

/// A Signal of a source that reports ends: of these alerts that they fire, or are over.
fn says(name: &str, alerts: std::ops::Range<usize>, state: OccurrenceState) -> Signal {
    let mut signal = signal(name, "Goes on");
    signal.spec.resolvable = true;
    let of = |n| occurrence(&format!("fp-{n}"), state, &format!("pod-{n}"));
    signal.spec.occurrences = Some(alerts.map(of).collect());
    signal
}

// M1: an alert that fires for longer than maxAge.
#[tokio::test]
async fn what_fires_longer_than_the_maximum_age_goes_on_in_a_successor_without_a_new_report() {
    let world = World::new("fires-on").await;
    let _operator = Operator::start(&[&world], &["--max-age=4s", "--quiet-period=3s", "--settle-delay=1s"]).await;
    world.create(&says("fires", 0..3, OccurrenceState::Firing)).await;
    world.one_storm("three", |storm| storm.firing_count == 3).await;
    world.create(&says("ends", 0..1, OccurrenceState::Resolved)).await;
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (2, 2)).await;
    assert_eq!(facts(&storms[0]).unwrap().close_reason, Some(CloseReason::MaxAge));
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, storms[0].name_any());
    assert_eq!(facts(&storms[1]).unwrap().affected_count, 2, "{:?}", storms[1]);
    world.create(&says("all-end", 1..3, OccurrenceState::Resolved)).await;
    world.storms_until("all is over", 2, |storm| storm.close_reason == Some(CloseReason::Resolved)).await;
}

// M1, with a process that dies between the end of the one and the beginning of the other: a restart tells as much.
#[tokio::test]
async fn what_fires_goes_on_in_one_successor_after_a_restart() {
    let world = World::new("fires-on-restart").await;
    let operator = Operator::start(&[&world], &["--max-age=2s", "--quiet-period=1s"]).await;
    world.create(&says("fires", 0..2, OccurrenceState::Firing)).await;
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    operator.sigkill();
    let before = world.storms().await.len();
    let _operator = Operator::start(&[&world], &["--max-age=1h"]).await;
    // It may have opened before the process died.
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (2, 2)).await;
    assert!(before <= 2 && storms.len() == 2, "{before} before, {} now", storms.len());
    let opened = Timestamp::from_second(storms[1].spec.epoch).unwrap();
    assert!(opened >= Timestamp::from_second(storms[0].spec.epoch).unwrap());
}
