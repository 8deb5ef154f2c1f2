//! What fires is open (invariant 17): what a storm leaves when it closes goes on in the next one, and nobody has to report again for it.

use jiff::Timestamp;
use kube::ResourceExt;
use stormfold::api::{CloseReason, OccurrenceState, Signal};

use super::operator::Operator;
use super::signals::{as_of, occurrence, signal};
use super::wait::eventually;
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
    let _operator = Operator::start(&[&world], &["--max-age=8s", "--quiet-period=3s", "--settle-delay=1s"]).await;
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

// Else each successor of an alert that flaps would write the receipts of all its past anew.
#[tokio::test]
async fn what_a_storm_had_that_left_nothing_is_not_read_into_a_successor() {
    let world = World::new("left-nothing").await;
    let _operator = Operator::start(&[&world], &["--max-age=6s", "--quiet-period=3s", "--settle-delay=1s"]).await;
    let say = async |name: &str, state| world.create(&as_of(Timestamp::now(), says(name, 0..1, state))).await;
    say("first", OccurrenceState::Firing).await;
    say("over", OccurrenceState::Resolved).await;
    let first = world.one_storm("it closes", |storm| storm.close_reason == Some(CloseReason::Resolved)).await;
    say("again", OccurrenceState::Firing).await;
    let last = eventually("what fires is in the second successor, with its Signal", || async {
        let storms = world.storms().await;
        let last = storms.last().map(ResourceExt::name_any).unwrap_or_default();
        let (count, named) = (storms.len(), holder(&world, "again").await);
        if count >= 3 && named == last { Ok(last) } else { Err(format!("{count} storms, {named}, {last}")) }
    })
    .await;
    for name in ["first", "over"] {
        assert_eq!(holder(&world, name).await, first.name_any(), "and not {last}");
    }
}

/// The storm that this Signal's receipt names.
async fn holder(world: &World, signal: &str) -> String {
    world.signals().get(signal).await.unwrap().status.and_then(|status| status.storm).unwrap_or_default()
}

// M1, with a process that dies about when the one ends and the next one begins, on a busy machine a few storms later.
#[tokio::test]
async fn what_fires_goes_on_in_one_successor_after_a_restart() {
    let world = World::new("fires-on-restart").await;
    let operator = Operator::start(&[&world], &["--max-age=2s", "--quiet-period=1s"]).await;
    world.create(&says("fires", 0..2, OccurrenceState::Firing)).await;
    eventually("the first one closes", || async {
        let storms = world.storms().await;
        let first = storms.first().and_then(facts);
        first.filter(|storm| !is_open(storm)).map(|_| ()).ok_or(format!("{first:?}"))
    })
    .await;
    operator.sigkill();
    let before = world.storms().await.len();
    let _operator = Operator::start(&[&world], &["--max-age=1h"]).await;
    world.one_open_storm("a successor", |storm| (storm.alert_count, storm.firing_count) == (2, 2)).await;
    let storms = world.storms().await;
    assert!(storms.len() <= before + 1, "{before} before, {} now", storms.len());
    assert!(storms.last().and_then(facts).is_some_and(is_open), "{storms:?}");
    for pair in storms.windows(2) {
        assert_eq!(pair[1].spec.previous_ref.as_ref().map(|of| &of.name), Some(&pair[0].name_any()));
    }
}
