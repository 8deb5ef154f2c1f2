//! What anybody else writes into `status.storm` is put right within the publish interval, and an Event names who wrote it (invariant 20).

use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use rstest::rstest;
use serde_json::{Value, json};
use stormfold::api::RemediationRequest;

use super::operator::Operator;
use super::policies::PolicyOf;
use super::signals::firing;
use super::world::{World, facts, is_open};

/// A remediation engine that writes what is not its own.
async fn writes(world: &World, object: &RemediationRequest, status: Value) {
    let params = PatchParams { field_manager: Some("careless-engine".into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "status": status }));
    world.requests().patch_status(&object.name_any(), &params, &patch).await.unwrap();
}

// C11: an engine replaces the whole status, or lowers what is ours.
#[rstest]
#[case::all_of_it(json!({ "storm": null, "conditions": null, "remediation": { "message": "at work" } }))]
#[case::a_count(json!({ "storm": { "alertCount": 1, "firingCount": 1, "revision": 1 } }))]
#[case::a_count_upwards(json!({ "storm": { "alertCount": 1000 } }))]
#[tokio::test]
async fn what_others_write_into_an_open_storm_is_put_right(#[case] status: Value) {
    let world = World::new("overwritten").await;
    let _operator = Operator::start(&[&world], &[]).await;
    for n in 1..=4 {
        world.create(&firing("Overwritten", n)).await;
    }
    let before = world.one_storm("four are counted", |storm| storm.alert_count == 4).await;
    world.receipts(4).await;
    let revision = facts(&before).unwrap().revision;
    writes(&world, &before, status).await;
    let exact = |storm: &stormfold::api::StormStatus| {
        is_open(storm) && storm.alert_count == 4 && storm.firing_count == 4 && storm.revision > revision
    };
    let after = world.one_storm("it is put right", exact).await;
    assert_eq!(facts(&after).unwrap().affected_resources, facts(&before).unwrap().affected_resources);
    let note = world.event("StatusOverwritten").await;
    assert!(note.contains("careless-engine"), "{note}");
}

// The CRD lets nobody reopen a storm: an end that somebody else writes is one, and what comes then opens a successor.
#[tokio::test]
async fn an_end_that_others_write_is_an_end() {
    let world = World::new("overwritten-closed").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("Taken", 1)).await;
    let first = world.one_storm("it is open", |storm| storm.alert_count == 1).await;
    world.receipts(1).await;
    writes(&world, &first, json!({ "storm": { "state": "Closed" } })).await;
    world.create(&firing("Taken", 2)).await;
    world.storms_until("a successor", 2, |storm| is_open(storm) && storm.alert_count == 1).await;
}

// The same with a PUT of the whole object, as generic tools do.
#[tokio::test]
async fn a_status_that_is_replaced_is_put_right() {
    let world = World::new("overwritten-put").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("Replaced", 1)).await;
    let mut object = world.one_storm("it is open", |storm| storm.alert_count == 1).await;
    world.receipts(1).await;
    let revision = facts(&object).unwrap().revision;
    object.status = serde_json::from_value(json!({ "remediation": { "message": "mine" } })).unwrap();
    object.metadata.managed_fields = None;
    let params = PostParams { field_manager: Some("careless-engine".into()), ..PostParams::default() };
    world.requests().replace_status(&object.name_any(), &params, &object).await.unwrap();
    let after = world.one_storm("it is put right", |storm| storm.alert_count == 1 && storm.revision > revision).await;
    let remediation = after.status.unwrap().remediation.unwrap();
    assert_eq!(remediation.message.as_deref(), Some("mine"), "the engine's part is the engine's");
}

// A closed storm is never reopened, whoever writes: the API server refuses it.
#[tokio::test]
async fn an_end_cannot_be_overwritten() {
    let world = World::new("overwritten-end").await;
    let policy = PolicyOf::create(&world, json!({ "quietPeriod": "1s" })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("Ended", 1)).await;
    let closed = world.one_storm("it is quiet", |storm| !is_open(storm)).await;
    for storm in [json!(null), json!({ "state": "Open" }), json!({ "alertCount": 7 })] {
        let patch = Patch::Merge(json!({ "status": { "storm": storm } }));
        let refused = world.requests().patch_status(&closed.name_any(), &PatchParams::default(), &patch).await;
        assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422), "{storm}: {refused:?}");
    }
    policy.delete().await;
}
