//! Counting on a real API server.

use super::operator::Operator;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, accepted, facts};

// A1, A4, A5, A6, B7: fifteen Signals, one object from the first on, exact at rest.
#[tokio::test]
async fn the_first_signal_of_a_storm_gives_its_remediation_request_at_once() {
    let world = World::new("first-signal").await;
    let operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("HighLoad", 0)).await;
    let first = world.one_storm("the first Signal shows", |storm| storm.alert_count == 1).await;
    assert_eq!(first.spec.pattern, format!("HighLoad in {}", world.namespace));
    for n in 1..15 {
        world.create(&firing("HighLoad", n)).await;
    }
    let last = world.one_storm("all fifteen are counted", |storm| storm.alert_count == 15).await;
    assert_eq!(last.metadata.uid, first.metadata.uid);
    let storm = facts(&last).unwrap();
    assert_eq!((storm.firing_count, storm.affected_count, storm.affected_resources.len()), (15, 15, 15));
    for signal in world.receipts(15).await {
        assert_eq!(accepted(&signal), Some("Merged"));
        assert_eq!(signal.status.unwrap().storm, last.metadata.name);
    }
    assert_eq!(operator.metric("stormfold_occurrences_total{result=\"Merged\"}").await, 15.0);
    eventually("no receipt is owed", || async {
        let owed = operator.metric("stormfold_owed_receipts").await;
        if owed == 0.0 { Ok(()) } else { Err(owed.to_string()) }
    })
    .await;
    assert!(operator.sigterm().success());
}
