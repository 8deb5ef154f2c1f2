//! A namespace that is made again is another one, whatever the ledger remembers of the one before (C15, invariant 20).

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use serde_json::json;
use stormfold::api::{RemediationRequest, Signal};

use super::operator::Operator;
use super::signals::table;
use super::world::{World, is_open};

async fn make_again(world: &World) {
    let metadata = ObjectMeta { name: Some(world.namespace.clone()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
}

/// Three alerts of a source that reports ends.
fn alerts() -> Signal {
    let mut signal = table("same", "Again", 0..3);
    signal.spec.resolvable = true;
    signal
}

async fn three(world: &World) -> RemediationRequest {
    world.create(&alerts()).await;
    let request = world.one_storm("three fire", |storm| storm.alert_count == 3 && storm.firing_count == 3).await;
    world.receipts(1).await;
    request
}

/// The same alerts in the namespace that was made again are a storm of its own.
async fn same_again(world: &World, before: &RemediationRequest) {
    make_again(world).await;
    let after = three(world).await;
    assert!(after.spec.epoch > before.spec.epoch);
    let told = world.receipts(1).await.remove(0).status.unwrap();
    assert_eq!((told.storm, told.occurrences.unwrap().new), (Some(after.name_any()), 3));
}

#[tokio::test]
async fn a_namespace_that_is_made_again_has_a_request_of_its_own() {
    let world = World::new("made-again").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let before = three(&world).await;
    world.delete_namespace().await;
    same_again(&world, &before).await;
}

#[tokio::test]
async fn a_namespace_that_is_made_again_while_no_operator_runs_has_a_request_of_its_own() {
    let world = World::new("made-again-down").await;
    let operator = Operator::start(&[&world], &[]).await;
    let before = three(&world).await;
    operator.sigkill();
    world.delete_namespace().await;
    make_again(&world).await;
    world.create(&alerts()).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let after = world.one_storm("three fire", |storm| storm.alert_count == 3 && storm.firing_count == 3).await;
    assert!(after.spec.epoch > before.spec.epoch);
    let told = world.receipts(1).await.remove(0).status.unwrap();
    assert_eq!((told.storm, told.occurrences.unwrap().new), (Some(after.name_any()), 3));
}

// What a person has handled is handled where it was.
#[tokio::test]
async fn what_a_person_handled_in_a_namespace_is_not_handled_in_the_one_that_is_made_again() {
    let world = World::new("made-again-handled").await;
    let operator = Operator::start(&[&world], &[]).await;
    let before = three(&world).await;
    let close = json!({ "metadata": { "annotations": { "stormfold.dev/close": "true" } } });
    world.requests().patch(&before.name_any(), &PatchParams::default(), &Patch::Merge(&close)).await.unwrap();
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    world.delete_namespace().await;
    same_again(&world, &before).await;
    assert!(operator.sigterm().success());
}
