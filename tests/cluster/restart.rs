//! The operator dies, sleeps, or runs twice; the counts stay.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use stormfold::api::RemediationRequest;

use super::operator::Operator;
use super::signals::{as_of, firing, table};
use super::world::{World, facts, is_open};

// D3, D4, D5, invariants 9 and 12: killed between storms, it adopts what is open and doubles nothing.
#[tokio::test]
async fn a_storm_that_is_open_in_the_cluster_is_adopted_after_a_kill_and_not_doubled() {
    let world = World::new("adopt").await;
    let operator = Operator::start(&[&world], &[]).await;
    for n in 0..12 {
        world.create(&firing("Kill", n)).await;
    }
    let before = world.one_storm("twelve", |storm| storm.alert_count == 12).await;
    world.receipts(12).await;
    operator.sigkill();
    let _operator = Operator::start(&[&world], &[]).await;
    for n in 10..20 {
        let mut repeat = firing("Kill", n);
        repeat.metadata.name = Some(format!("second-{n}"));
        world.create(&repeat).await;
    }
    let after = world.one_storm("twenty", |storm| storm.alert_count == 20).await;
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert!(facts(&after).unwrap().revision > facts(&before).unwrap().revision);
}

// D5, A5: killed again and again in the middle of a storm, and everything counts once.
#[tokio::test]
async fn kills_within_a_storm_lose_and_double_nothing() {
    let world = World::new("kills").await;
    for round in 0..4 {
        let operator = Operator::launch(&[&world], &[]).await;
        for n in 0..25 {
            world.create(&firing("Within", round * 25 + n)).await;
        }
        operator.sigkill();
    }
    let _operator = Operator::start(&[&world], &[]).await;
    let object = world.one_storm("all hundred", |storm| storm.alert_count == 100).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.firing_count, storm.affected_count), (100, 100));
    for signal in world.receipts(100).await {
        assert_eq!(signal.status.unwrap().storm, object.metadata.name);
    }
}

// A5, D5, invariant 12: what arrives while nobody is there is found by listing.
#[tokio::test]
async fn signals_that_arrive_while_the_operator_is_down_are_counted_when_it_starts() {
    let world = World::new("down").await;
    for n in 0..40 {
        world.create(&firing("Asleep", n)).await;
    }
    world.create(&table("bulk", "Asleep", 20..600)).await;
    let operator = Operator::start(&[&world], &[]).await;
    let object = world.one_storm("six hundred", |storm| storm.alert_count == 600).await;
    assert_eq!(facts(&object).unwrap().affected_count, 600);
    assert!(operator.sigterm().success());
}

// Invariant 8, C1, C16: a closed storm holds its occurrences over a restart; only a new one opens a successor.
#[tokio::test]
async fn after_a_restart_an_echo_of_a_closed_storm_opens_nothing_and_a_new_alert_does() {
    let world = World::new("held").await;
    let flags = ["--quiet-period=2s"];
    let operator = Operator::start(&[&world], &flags).await;
    let before = Timestamp::now();
    world.create(&table("first", "Again", 0..5)).await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    operator.sigkill();
    let _operator = Operator::start(&[&world], &flags).await;
    // This source reports no ends: what it reports after the close would be news.
    world.create(&as_of(before, table("echo", "Again", 0..5))).await;
    world.receipts(2).await;
    assert_eq!(world.storms().await.len(), 1, "an echo opens nothing");
    world.create(&as_of(before, table("more", "Again", 3..8))).await;
    let storms = world.storms_until("the successor has the new ones", 2, |storm| storm.alert_count == 3).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().map(|p| &p.name), closed.metadata.name.as_ref());
    assert!(storms[1].spec.epoch > storms[0].spec.epoch);
    assert_eq!(facts(&storms[0]).unwrap(), facts(&closed).unwrap(), "a closed storm does not change");
}

// C7, C20, invariants 3 and 4: two operators by mistake; the name is the lock, the resourceVersion the referee.
#[tokio::test]
async fn two_operators_at_once_make_one_object_and_never_lower_it() {
    let world = World::new("two").await;
    let one = Operator::start(&[&world], &[]).await;
    let two = Operator::start(&[&world], &[]).await;
    let mut highest = 0;
    for n in 0..100 {
        world.create(&firing("Twice", n)).await;
        let open: Vec<_> = world.storms().await;
        let open: Vec<_> = open.iter().filter_map(facts).filter(|storm| is_open(storm)).collect();
        let count = open.iter().map(|storm| storm.alert_count).max().unwrap_or_default();
        assert!(count >= highest, "{count} after {highest}");
        highest = count;
    }
    let is_exact = |storm: &stormfold::api::StormStatus| storm.alert_count == 100 && storm.firing_count == 100;
    world.one_open_storm("hundred", is_exact).await;
    drop((one, two));
}

// Invariant 12, D5: the time to close came and went while nobody was there; nothing comes that could remind anybody.
#[tokio::test]
async fn nothing_depends_on_an_in_memory_timer() {
    let world = World::new("timer").await;
    let operator = Operator::start(&[&world], &["--quiet-period=3s"]).await;
    world.create(&table("only", "Forgotten", 0..3)).await;
    world.one_storm("three", |storm| storm.alert_count == 3).await;
    operator.sigkill();
    let _operator = Operator::start(&[&world], &["--quiet-period=3s"]).await;
    let object = world.one_storm("it closes", |storm| !is_open(storm)).await;
    assert_eq!(facts(&object).unwrap().alert_count, 3);
}

// Invariants 1 and 4: an older open object of the same key appears. The younger one gives way, all Signals are listed again,
// and the older one has them all, once.
#[tokio::test]
async fn a_younger_storm_gives_way_to_an_older_one_and_a_relist_counts_everything_once() {
    let world = World::new("superseded").await;
    let _operator = Operator::start(&[&world], &[]).await;
    for n in 0..30 {
        world.create(&firing("Both", n)).await;
    }
    let younger = world.one_storm("thirty", |storm| storm.alert_count == 30).await;
    world.receipts(30).await;
    let mut older = younger.clone();
    older.spec.epoch -= 60;
    let name = stormfold::storm::name::storm_name(&older.spec.pattern, older.spec.epoch);
    older.metadata = kube::core::ObjectMeta { name: Some(name), ..Default::default() };
    older.status = None;
    world.requests().create(&kube::api::PostParams::default(), &older).await.unwrap();
    let storm = world.storm_named(&older, |storm| storm.alert_count == 30 && storm.firing_count == 30).await;
    assert!(is_open(&storm));
    let ended = world.storm_named(&younger, |storm| !is_open(storm)).await;
    assert_eq!(ended.close_reason, Some(stormfold::api::CloseReason::Superseded));
    world.create(&firing("Both", 30)).await;
    world.storm_named(&older, |storm| storm.alert_count == 31).await;
}

/// A storm that was closed and had alerts 0 and 1, and its successor, which has 2: of one Signal that reports all three.
async fn successor_of_a_signal_with_old_and_new_alerts(world: &World) -> RemediationRequest {
    let before = Timestamp::now();
    world.create(&table("first", "Mixed", 0..2)).await;
    let closed = world.one_storm("two", |storm| storm.alert_count == 2).await;
    world.receipts(1).await;
    let close = json!({ "metadata": { "annotations": { "stormfold.dev/close": "true" } } });
    world.requests().patch(&closed.name_any(), &PatchParams::default(), &Patch::Merge(&close)).await.unwrap();
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    // Late, from another Alertmanager: of what is over it is an echo.
    let mut both = table("both", "Mixed", 0..3);
    both.spec.reported_at = Some(MicroTime(before));
    world.create(&both).await;
    world.storms_until("one of three is new", 2, |storm| storm.alert_count == 1).await;
    let told = world.receipts(2).await.into_iter().find(|signal| signal.name_any() == "both").unwrap();
    assert_eq!(told.status.unwrap().occurrences.unwrap().held.as_deref(), Some("0-1"));
    closed
}

/// After a restart one more alert is one more, and nothing else is.
async fn one_more_is_one_more_after_a_restart(world: &World, operator: Operator, count: usize) {
    operator.sigkill();
    let _operator = Operator::start(&[world], &[]).await;
    world.create(&firing("Mixed", 7)).await;
    let storms = world.storms_until("one more", count, |storm| storm.alert_count > 1).await;
    assert_eq!(storms.last().and_then(facts).unwrap().alert_count, 2);
}

// R1, invariant 1: the Signals of a closed storm went by retention, and nobody else knows what it had.
#[tokio::test]
async fn no_count_depends_on_a_restart_when_the_signals_of_a_closed_storm_are_gone() {
    let world = World::new("held-retention").await;
    let operator = Operator::start(&[&world], &[]).await;
    successor_of_a_signal_with_old_and_new_alerts(&world).await;
    world.signals().delete("first", &DeleteParams::default()).await.unwrap();
    one_more_is_one_more_after_a_restart(&world, operator, 2).await;
}

// The same when its request was deleted by hand: then nothing says that closed storms hold anything, and no Signal waits for others of the list.
#[tokio::test]
async fn no_count_depends_on_a_restart_when_the_request_of_a_closed_storm_was_deleted_by_hand() {
    let world = World::new("held-deleted").await;
    let operator = Operator::start(&[&world], &[]).await;
    let closed = successor_of_a_signal_with_old_and_new_alerts(&world).await;
    world.requests().delete(&closed.name_any(), &DeleteParams::default()).await.unwrap();
    one_more_is_one_more_after_a_restart(&world, operator, 1).await;
}
