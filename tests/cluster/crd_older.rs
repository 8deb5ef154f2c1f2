//! CRDs that are older than the operator: it says so, waits, and goes on by itself.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::operator::Operator;
use super::own_cluster::OwnCluster;
use super::running::not_ready;
use super::signals::firing;
use super::world::World;

/// Our CRD of this plural, as it is or was.
pub fn crd(plural: &str, change: impl FnOnce(&mut Value)) -> CustomResourceDefinition {
    let ours = stormfold::api::crds().into_iter().find(|crd| crd.spec.names.plural == plural).unwrap();
    let mut text = serde_json::to_value(&ours).unwrap();
    change(&mut text["spec"]["versions"][0]);
    serde_json::from_value(text).unwrap()
}

pub async fn replace(world: &World, crd: &CustomResourceDefinition) {
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let name = crd.metadata.name.as_deref().unwrap();
    let versions = json!({ "spec": { "versions": crd.spec.versions } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&versions)).await.unwrap();
}

// Day two: an upgrade of the operator alone.
#[tokio::test]
async fn a_crd_that_is_older_than_the_operator_is_named_with_its_field_and_the_operator_works_once_it_is_replaced() {
    let (cluster, world) = OwnCluster::up().await;
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let without_field = crd("remediationrequests", |version| {
        let storm =
            &mut version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["storm"]["properties"];
        storm.as_object_mut().unwrap().remove("incomplete").unwrap();
    });
    let not_served = crd("stormpolicies", |version| version["served"] = false.into());
    for crd in [&without_field, &not_served, &crd("signals", |_| ())] {
        api.create(&PostParams::default(), crd).await.unwrap();
    }
    let operator = Operator::launch_with(&cluster.kubeconfig(), &[], &[]);
    let lacks = "the CRD remediationrequests.stormfold.dev is older than this operator: it lacks the field status.storm.incomplete; kubectl apply -f crds/";
    not_ready(&operator, "crds", lacks).await;
    let lacks = "the CRD stormpolicies.stormfold.dev is older than this operator: it lacks the version v1alpha1; kubectl apply -f crds/";
    not_ready(&operator, "crds", lacks).await;
    world.create(&firing("Waiting", 0)).await;
    replace(&world, &crd("stormpolicies", |_| ())).await;
    // One is not enough.
    let lacks = "the CRD remediationrequests.stormfold.dev is older";
    not_ready(&operator, "crds", lacks).await;
    assert!(world.storms().await.is_empty(), "nothing is written into a CRD that would cut it");
    replace(&world, &crd("remediationrequests", |_| ())).await;
    operator.ready().await;
    world.one_storm("the Signal that waited counts", |storm| storm.alert_count == 1).await;
    assert!(!operator.log_text().contains("field not declared in schema"), "nothing was tried before");
    assert!(operator.sigterm().success());
}
