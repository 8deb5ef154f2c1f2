//! The rights of the manifests: every one is used, and no other is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stormfold::api::RemediationRequest;
use stormfold::storm::name::storm_name;

use super::manifests::{objects, read, rendered};
use super::operator::{Operator, kubeconfig_of};
use super::policies::PolicyOf;
use super::recorder::{Recorder, Right};
use super::redis_server::RedisServer;
use super::signals::{firing, signal, table};
use super::wait::eventually;
use super::webhook;
use super::world::{World, is_open};

/// Makes the account and its rights as these manifests have them, for a namespace of the test; gives the rights.
async fn install(world: &World, manifests: &str) -> BTreeSet<Right> {
    let mut granted = BTreeSet::new();
    for mut object in objects(manifests) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        if !["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"].contains(&kind.as_str()) {
            continue;
        }
        if kind.starts_with("Cluster") {
            // Others are there, for other namespaces.
            object["metadata"]["name"] =
                json!(format!("{}-{}", object["metadata"]["name"].as_str().unwrap(), world.namespace));
        } else {
            object["metadata"]["namespace"] = json!(world.namespace);
        }
        if object["roleRef"]["kind"] == "ClusterRole" {
            object["roleRef"]["name"] =
                json!(format!("{}-{}", object["roleRef"]["name"].as_str().unwrap(), world.namespace));
        }
        for subject in object["subjects"].as_array_mut().into_iter().flatten() {
            subject["namespace"] = json!(world.namespace);
        }
        granted.extend(object["rules"].as_array().into_iter().flatten().flat_map(rights));
        match kind.as_str() {
            "ServiceAccount" => namespaced::<ServiceAccount>(world, object).await,
            "Role" => namespaced::<Role>(world, object).await,
            "RoleBinding" => namespaced::<RoleBinding>(world, object).await,
            "ClusterRole" => create(Api::<ClusterRole>::all(world.client.clone()), object).await,
            _ => create(Api::<ClusterRoleBinding>::all(world.client.clone()), object).await,
        }
    }
    granted
}

async fn namespaced<K>(world: &World, object: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    create(Api::<K>::namespaced(world.client.clone(), &world.namespace), object).await;
}

async fn create<K: DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug>(api: Api<K>, object: Value) {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// What one rule gives.
fn rights(rule: &Value) -> Vec<Right> {
    let words = |key: &str| -> Vec<String> {
        let words: Vec<String> =
            rule[key].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        assert!(!words.iter().any(|word| word == "*"), "a rule names what it gives: {rule}");
        words
    };
    let (groups, resources, verbs) = (words("apiGroups"), words("resources"), words("verbs"));
    let mut all = Vec::new();
    for group in &groups {
        for resource in &resources {
            all.extend(verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
        }
    }
    all
}

/// An operator that has the account of the test, seen by a recorder.
async fn operator(world: &World, flags: &[&str]) -> (Operator, Recorder) {
    let kubeconfig = kubeconfig_of(&world.client, &world.namespace, "stormfold").await;
    let (recorder, kubeconfig) = Recorder::before(&kubeconfig).await;
    let home = format!("--namespace={}", world.namespace);
    let mut all = vec!["--leader-elect", &home];
    all.extend(webhook::FLAGS);
    all.extend(flags);
    let operator = Operator::launch_with(&kubeconfig, &[world], &all);
    operator.ready().await;
    (operator, recorder)
}

/// A world whose ledger is a Redis, which can be wiped.
async fn world(test: &str) -> World {
    let world = World::new(test).await;
    World { redis: Some(Arc::new(RedisServer::start(&["--maxmemory", "64mb"]))), ..world }
}

/// The life of a storm, and what happens to those that live with it.
async fn everything(world: &World, operator: &Operator) {
    // A webhook, a Signal by hand, one that is refused.
    let alerts: Vec<Value> =
        (0..12).map(|pod| webhook::firing("Reported", &world.namespace, &format!("pod-{pod}"))).collect();
    assert_eq!(webhook::post(operator, &webhook::body(alerts)).await.status, 200);
    world.one_storm("the webhook counts", |storm| storm.alert_count == 12).await;
    let mut bad = signal("bad", "Bad");
    bad.spec.table = Some("firing\n".into());
    world.create(&bad).await;
    world.event("SignalRejected").await;
    // The ledger is lost twice: the second Event about it is the first one, once more.
    for times in 1..3 {
        world.redis.as_ref().unwrap().command("FLUSHALL").unwrap();
        eventually("the storm hears that its ledger was lost", || heard(world, times)).await;
        operator.ready().await;
    }
    // Somebody deletes the object: whether it is gone is asked before it is believed.
    let object = world.one_storm("it is still the same", |storm| storm.alert_count == 12).await;
    world.requests().delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    world.create(&table("more", "Reported", 20..25)).await;
    world.one_storm("a new one", |storm| storm.alert_count == 5).await;
    world.receipts(world.signals().list(&ListParams::default()).await.unwrap().items.len()).await;
}

/// The built-in policy keeps Signals for an hour after the end of their storm, and a closed storm does not change: another one, like this one, ended
/// long ago, and a Signal is of that one.
async fn kept_too_long(world: &World, ended: &RemediationRequest) {
    let mut status = serde_json::to_value(&ended.status).unwrap();
    status["storm"]["closedAt"] = json!("2026-01-02T15:04:05Z");
    let (params, status) = (PatchParams::default(), Patch::Merge(json!({ "status": status })));
    // The operator takes one without a status for a storm that is quiet, and may be the first to end it: then it is another one's turn.
    for minutes in 1..50 {
        let mut older = ended.clone();
        older.spec.epoch -= 60 * minutes;
        let name = storm_name(&older.spec.pattern, older.spec.epoch);
        older.metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        older.status = None;
        world.requests().create(&PostParams::default(), &older).await.unwrap();
        match world.requests().patch_status(&name, &params, &status).await {
            Ok(_) => {
                let receipt = Patch::Merge(json!({ "status": { "storm": name } }));
                world.signals().patch_status("bad", &params, &receipt).await.unwrap();
                return;
            }
            Err(kube::Error::Api(refused)) if refused.code == 422 => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the operator was always faster");
}

/// How often the Event about a lost ledger was told.
async fn heard(world: &World, times: i32) -> Result<(), String> {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let told = events.iter().filter(|event| event.reason.as_deref() == Some("LedgerRebuilt"));
    let counts: Vec<i32> = told.map(|event| event.series.as_ref().map_or(1, |series| series.count)).collect();
    if counts.contains(&times) { Ok(()) } else { Err(format!("{counts:?}")) }
}

/// Waits until this Signal is deleted, which comes last: a right that is missing would be asked for by then.
async fn deleted(world: &World, signal: &str, recorder: &Recorder) {
    eventually(&format!("{signal} is deleted"), || async {
        assert!(recorder.refused().is_empty(), "refused: {:?}", recorder.refused());
        let there = world.signals().get_opt(signal).await.unwrap().is_some();
        if there { Err("it is there".to_owned()) } else { Ok(()) }
    })
    .await;
}

/// Waits until the rights that were used are those that are granted.
async fn all_are_used(granted: &BTreeSet<Right>, recorder: &Recorder) {
    let used = eventually("every right is used", || async {
        let used = recorder.used();
        let idle: Vec<_> = granted.difference(&used).collect();
        if idle.is_empty() { Ok(used) } else { Err(format!("never used: {idle:?}")) }
    })
    .await;
    assert!(recorder.refused().is_empty(), "refused: {:?}", recorder.refused());
    assert_eq!(
        used.difference(granted).collect::<Vec<_>>(),
        Vec::<&Right>::new(),
        "given by others than the manifests"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_of_the_manifests_is_used_and_no_other_is_asked_for() {
    let world = world("rights").await;
    let granted = install(&world, &rendered("manifests/base")).await;
    let (operator, recorder) = operator(&world, &[]).await;
    everything(&world, &operator).await;
    // A policy that ends storms, and keeps nothing.
    let policy =
        PolicyOf::create(&world, json!({ "quietPeriod": "1s", "retention": "1s", "requestRetention": "2s" })).await;
    world.create(&firing("Passing", 0)).await;
    deleted(&world, "passing-0", &recorder).await;
    eventually("its RemediationRequest is deleted", || async {
        assert!(recorder.refused().is_empty(), "refused: {:?}", recorder.refused());
        let there = world.storms().await.iter().any(|object| object.spec.signal.name == "Passing");
        if there { Err("it is there".to_owned()) } else { Ok(()) }
    })
    .await;
    all_are_used(&granted, &recorder).await;
    policy.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_of_the_namespaced_manifests_is_used_and_no_other_is_asked_for() {
    let world = world("rights-here").await;
    let granted = install(&world, &rendered("manifests/overlays/namespaced")).await;
    assert!(granted.iter().all(|(_, resource, _)| resource != "namespaces" && !resource.starts_with("stormpolicies")));
    let (operator, recorder) = operator(&world, &["--built-in-policy-only", "--quiet-period=3s"]).await;
    everything(&world, &operator).await;
    let ended = world.storms_until("it ends", 1, |storm| !is_open(storm)).await;
    kept_too_long(&world, &ended[0]).await;
    deleted(&world, "bad", &recorder).await;
    all_are_used(&granted, &recorder).await;
}

// Beside everything else: what the component gives, and what reads Events asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_of_the_component_for_events_is_used_and_no_other_is_asked_for() {
    let world = world("rights-events").await;
    let rights = read("manifests/components/events-source/rights.yaml");
    install(&world, &rendered("manifests/overlays/namespaced")).await;
    let granted = install(&world, &rights).await;
    let (_operator, recorder) = operator(&world, &["--built-in-policy-only", "--events-source"]).await;
    eventually("every right is used", || async {
        let used = recorder.used();
        let idle: Vec<_> = granted.difference(&used).collect();
        if idle.is_empty() { Ok(()) } else { Err(format!("never used: {idle:?}")) }
    })
    .await;
    assert!(recorder.refused().is_empty(), "refused: {:?}", recorder.refused());
}
