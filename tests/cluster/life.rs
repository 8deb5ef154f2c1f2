//! The end of a storm, with real seconds: each rule once. The exact boundaries are proved by pure tests.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use stormfold::api::{CLOSE, CloseReason, OccurrenceState};

use super::operator::Operator;
use super::signals::{as_of, firing, occurrence, signal, table};
use super::wait::eventually;
use super::world::{World, facts, is_open};

// A17, A20, C2: it ends as Quiet; what comes next is a successor that names it.
#[tokio::test]
async fn a_quiet_storm_closes_and_the_next_occurrence_opens_a_successor() {
    let world = World::new("quiet").await;
    let _operator = Operator::start(&[&world], &["--quiet-period=2s"]).await;
    world.create(&firing("Calm", 0)).await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    let storm = facts(&closed).unwrap();
    assert_eq!((storm.close_reason, storm.alert_count), (Some(CloseReason::Quiet), 1));
    assert!(storm.closed_at.is_some());
    assert_eq!(world.event("StormClosed").await, "closed: Quiet");
    world.create(&firing("Calm", 1)).await;
    let storms = world.storms_until("a successor opens", 2, |storm| storm.alert_count == 1).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, closed.name_any());
}

// A14: a storm that never rests ends by age, under load, and its successors count the rest: nothing is lost between them.
#[tokio::test]
async fn a_storm_that_never_rests_ends_by_age_and_its_successors_count_the_rest() {
    let world = World::new("age").await;
    let _operator =
        Operator::start(&[&world], &["--max-age=6s", "--quiet-period=5s", "--publish-interval=200ms"]).await;
    let mut created = 0;
    // Without a rest until the third storm is there; the bound only ends a test that has failed.
    while world.storms().await.len() < 3 && created < 20_000 {
        for n in created..created + 20 {
            world.create(&firing("Endless", n)).await;
        }
        created += 20;
    }
    eventually("all is counted", || async {
        let sum: i64 = world.storms().await.iter().filter_map(facts).map(|storm| storm.alert_count).sum();
        if sum == i64::try_from(created).unwrap() { Ok(()) } else { Err(format!("{sum} of {created}")) }
    })
    .await;
    for pair in world.storms().await.windows(2) {
        assert_eq!(facts(&pair[0]).unwrap().close_reason, Some(CloseReason::MaxAge));
        assert_eq!(pair[1].spec.previous_ref.as_ref().unwrap().name, pair[0].name_any());
    }
}

#[tokio::test]
async fn a_storm_where_nothing_fires_any_more_is_resolved() {
    let world = World::new("resolved").await;
    let _operator = Operator::start(&[&world], &["--settle-delay=1s"]).await;
    let mut fires = signal("fires", "Ends");
    fires.spec.resolvable = true;
    fires.spec.occurrences = Some(vec![occurrence("fp", OccurrenceState::Firing, "pod")]);
    world.create(&fires).await;
    world.one_storm("it fires", |storm| storm.firing_count == 1).await;
    let mut ends = fires.clone();
    ends.metadata.name = Some("ends".into());
    ends.spec.occurrences = Some(vec![occurrence("fp", OccurrenceState::Resolved, "pod")]);
    world.create(&ends).await;
    let object = world.one_storm("it closes", |storm| !is_open(storm)).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.close_reason, storm.alert_count, storm.firing_count), (Some(CloseReason::Resolved), 1, 0));
}

// The engine is another writer of the same status: each keeps to its part.
#[tokio::test]
async fn the_engines_outcome_closes_the_storm_and_stays_as_it_is() {
    let world = World::new("outcome").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("a", "Fixed", 0..3)).await;
    let object = world.one_storm("three", |storm| storm.alert_count == 3).await;
    let outcome = json!({ "status": { "remediation": { "outcome": "Succeeded", "observedRevision": 1, "message": "restarted" } } });
    let params = PatchParams { field_manager: Some("engine".into()), ..PatchParams::default() };
    world.requests().patch_status(&object.name_any(), &params, &Patch::Merge(&outcome)).await.unwrap();
    let object = world.one_storm("it closes", |storm| !is_open(storm)).await;
    assert_eq!(facts(&object).unwrap().close_reason, Some(CloseReason::RemediationFinished));
    assert_eq!(object.status.unwrap().remediation.unwrap().message.as_deref(), Some("restarted"));
}

// C16, C17, invariant 8: deleted by hand is forgotten; what it held counts as handled until it ends, the next new alert opens a new one. Of a source
// that reports ends: of another one nobody would ever know that an alert ended, and it would be handled for ever.
#[tokio::test]
async fn a_remediation_request_deleted_by_hand_is_a_storm_forgotten() {
    let world = World::new("deleted").await;
    let operator = Operator::start(&[&world], &[]).await;
    let fires = async |name: &str, numbers: std::ops::Range<usize>| {
        let mut signal = table(name, "Gone", numbers);
        signal.spec.resolvable = true;
        world.create(&signal).await;
    };
    fires("a", 0..4).await;
    let first = world.one_storm("four", |storm| storm.alert_count == 4).await;
    world.receipts(1).await;
    world.requests().delete(&first.name_any(), &DeleteParams::default()).await.unwrap();
    eventually("the operator has forgotten it", || async {
        let forgotten = operator.log_text().contains("the storm is forgotten");
        if forgotten { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    fires("repeat", 0..4).await;
    world.receipts(2).await;
    assert!(world.storms().await.is_empty(), "a repeat opens nothing");
    fires("new", 2..6).await;
    let second = world.one_storm("the two new ones", |storm| storm.alert_count == 2).await;
    assert_ne!(second.name_any(), first.name_any());
}

// An alert of a source that reports no ends is over with its storm, however that ended: what is reported after the end is news, what was reported
// before it is an echo. To the microsecond, where the source says when.
#[tokio::test]
async fn what_a_source_without_ends_reports_after_the_end_is_news_and_before_it_an_echo() {
    let world = World::new("news").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let report = async |name: &str, at| world.create(&as_of(at, table(name, "Goes on", 0..3))).await;
    report("a", Timestamp::now()).await;
    let first = world.one_storm("three", |storm| storm.alert_count == 3).await;
    let before = Timestamp::now();
    let annotation = Patch::Merge(json!({ "metadata": { "annotations": { CLOSE: "true" } } }));
    world.requests().patch(&first.name_any(), &PatchParams::default(), &annotation).await.unwrap();
    world.one_storm("it closes", |storm| storm.close_reason == Some(CloseReason::Requested)).await;
    report("late", before).await;
    let told = world.receipts(2).await;
    assert!(told.iter().all(|signal| signal.status.as_ref().unwrap().storm == first.metadata.name), "{told:?}");
    assert_eq!(world.storms().await.len(), 1, "an echo opens nothing");
    report("again", Timestamp::now()).await;
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (3, 3)).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, first.name_any());
}

// Reports of ends that come before, or without, what they end: the latest report counts, whichever comes first.
#[tokio::test]
async fn an_end_without_a_beginning_opens_nothing_and_is_remembered() {
    let world = World::new("early-end").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let now = Timestamp::now();
    let one = |name: &str, state, seconds_ago| {
        let mut signal = signal(name, "Backwards");
        signal.spec.occurrences = Some(vec![occurrence("fp", state, "pod")]);
        as_of(now - SignedDuration::from_secs(seconds_ago), signal)
    };
    world.create(&one("end", OccurrenceState::Resolved, 10)).await;
    world.receipts(1).await;
    assert!(world.storms().await.is_empty());
    world.create(&one("beginning", OccurrenceState::Firing, 20)).await;
    world.one_storm("one, which is over", |storm| storm.alert_count == 1 && storm.firing_count == 0).await;
}
