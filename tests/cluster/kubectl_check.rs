//! `kubectl storm check` and what else the plugin says on clusters that are not as they should be.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use stormfold::api::StormPolicy;

use super::crd_older::{crd, replace};
use super::kubectl_plugin::Plugin;
use super::own_cluster::OwnCluster;
use super::signals::{labelled, table};
use super::wait::eventually;

#[tokio::test]
async fn a_cluster_without_crds_with_older_ones_and_with_policies_that_never_count_is_told_what_it_lacks() {
    let (cluster, world) = OwnCluster::up().await;
    let plugin = Plugin::with(&cluster.kubeconfig(), "default");
    let none = plugin.ask(&["list"]);
    assert!(none.code == Some(1) && none.err.contains("does not know remediationrequests.stormfold.dev"), "{none:?}");
    let check = plugin.ask(&["check"]);
    assert!(check.code == Some(5) && check.out.contains("not installed: kubectl apply -f crds/"), "{check:?}");

    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    let older = crd("signals", |version| {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        status.as_object_mut().unwrap().remove("otherStorms").unwrap();
    });
    for crd in [&older, &crd("remediationrequests", |_| ()), &crd("stormpolicies", |_| ())] {
        api.create(&PostParams::default(), crd).await.unwrap();
    }
    eventually("they are served", || async {
        let listed = plugin.ask(&["list"]);
        if listed.out == "no storms\n" { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    // With a CRD of an earlier version the answers are what that knows, and `check` names what it lacks.
    eventually("Signals are served", || async {
        let listed = plugin.ask(&["report"]);
        if listed.code == Some(0) { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    world.create(&labelled("secret", "Older", 1, &[("token", "SECRET")])).await;
    world.create(&table("old", "Older", 0..2)).await;
    let why = plugin.why("old");
    assert!(why["answer"].as_str().unwrap().contains("it would open a storm of \"Older in default\""), "{why:#}");
    let check = plugin.ask(&["check"]);
    assert!(check.code == Some(5) && check.out.contains("it lacks the field status.otherStorms"), "{check:?}");

    replace(&world, &crd("signals", |_| ())).await;
    eventually("nothing is wrong", || async {
        let check = plugin.ask(&["check"]);
        if check.code == Some(0) { Ok(()) } else { Err(format!("{check:?}")) }
    })
    .await;
    let policies: Api<StormPolicy> = Api::all(world.client.clone());
    for (name, priority) in [("first", 2), ("second", 1)] {
        let policy = json!({
            "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": name },
            "spec": { "priority": priority, "match": { "names": ["Older"] } },
        });
        policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    }
    let check = plugin.ask(&["check"]);
    assert!(check.code == Some(5) && check.out.contains("never counts: first comes before it"), "{check:?}");
    let why = plugin.why("old");
    assert_eq!(why["policy"]["name"], "first");
    assert_eq!(
        why["policy"]["others"][0]["because"],
        "it matches, too, and comes after first: its priority is 1, not 2"
    );
    let report = plugin.ask(&["report"]);
    assert!(report.code == Some(0) && report.out.contains("token: (left out)"), "{report:?}");
    assert!(!report.out.contains("SECRET"), "{report:?}");
}
