//! One tenant's trouble is that tenant's (invariant 21), and a deletion counts from its timestamp (invariant 20).

use std::sync::Arc;

use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stormfold::api::Signal;

use super::operator::Operator;
use super::policies::PolicyOf;
use super::redis_server::RedisServer;
use super::signals::firing;
use super::wait::eventually;
use super::world::{World, is_open};

/// Sets the finalizers of an object.
async fn finalizers<K>(api: &Api<K>, name: &str, finalizers: &[&str])
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let change = json!({ "metadata": { "finalizers": finalizers } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

/// The condition `Accepted` of a Signal.
async fn accepted(world: &World, name: &str) -> Value {
    let signal: Signal = world.signals().get(name).await.unwrap();
    let conditions = serde_json::to_value(signal.status.unwrap_or_default().conditions).unwrap();
    conditions[0].clone()
}

// C14: an engine's finalizer holds a request that somebody has deleted. What comes then would be counted into it and go with it.
#[tokio::test]
async fn a_deletion_counts_from_its_timestamp_whatever_finalizer_holds_the_object() {
    let world = World::new("tenant-deleting").await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&firing("Dying", 1)).await;
    let first = world.one_storm("it is open", |storm| storm.alert_count == 1).await;
    world.receipts(1).await;
    finalizers(&world.requests(), &first.name_any(), &["example.org/engine"]).await;
    world.requests().delete(&first.name_any(), &DeleteParams::default()).await.unwrap();
    world.create(&firing("Dying", 2)).await;
    let storms = world.storms_until("a successor", 2, |storm| is_open(storm) && storm.alert_count == 1).await;
    assert!(storms[0].metadata.deletion_timestamp.is_some(), "the first one is still held");
    assert_eq!(storms[0].status.as_ref().unwrap().storm.as_ref().unwrap().alert_count, 1, "nothing is added to it");
    let receipt = eventually("the new Signal names the successor", || async {
        let signal = world.signals().get("dying-2").await.unwrap();
        signal.status.and_then(|status| status.storm).ok_or_else(|| "no receipt".to_owned())
    });
    assert_eq!(receipt.await, storms[1].name_any());
    finalizers(&world.requests(), &first.name_any(), &[]).await;
}

// R3: a quota for RemediationRequests is one tenant's trouble: the operator is ready, his Signals say why they wait, and everybody
// else is served.
#[tokio::test]
async fn a_quota_for_requests_is_told_to_its_tenant_and_closes_no_gate() {
    let world = World::new("tenant-quota").await;
    let other = world.another_namespace("tenant-quota-other").await;
    let operator = Operator::start(&[&world, &other], &[]).await;
    let quotas = world.allow("remediationrequests", 0).await;
    world.create(&firing("Quota", 1)).await;
    eventually("the Signal says why it waits", || async {
        let condition = accepted(&world, "quota-1").await;
        let message = condition["message"].as_str().unwrap_or_default();
        let told = condition["reason"] == "RequestRefused" && message.contains("exceeded quota");
        assert!(!message.contains("Status {"), "no debug text for people: {message}");
        if told { Ok(()) } else { Err(condition.to_string()) }
    })
    .await;
    assert!(world.event("RequestRefused").await.contains("exceeded quota"));
    assert_eq!(operator.metric("stormfold_refused_storms").await, 1.0);
    let (code, page) = operator.get("/readyz").await.unwrap();
    assert_eq!(code, 200, "{page}");
    other.create(&firing("Quota", 1)).await;
    other.one_storm("everybody else is served", |storm| storm.alert_count == 1).await;
    quotas.delete("few", &DeleteParams::default()).await.unwrap();
    world.one_storm("it opens when the quota allows", |storm| storm.alert_count == 1).await;
    eventually("the receipt replaces what it was told", || async {
        let condition = accepted(&world, "quota-1").await;
        if condition["reason"] == "Merged" { Ok(()) } else { Err(condition.to_string()) }
    })
    .await;
    assert_eq!(operator.metric("stormfold_refused_storms").await, 0.0);
}

// R4: a tenant's finalizer on a Signal whose retention is over: asked once, and everybody else's are deleted.
#[tokio::test]
async fn a_finalizer_on_a_signal_is_asked_once_and_holds_up_nobody() {
    let world = World::new("tenant-finalizer").await;
    let other = world.another_namespace("tenant-finalizer-other").await;
    let spec = json!({ "quietPeriod": "1s", "retention": "1s" });
    let (policy, another) = (PolicyOf::create(&world, spec.clone()).await, PolicyOf::create(&other, spec).await);
    let operator = Operator::start(&[&world, &other], &[]).await;
    world.create(&firing("Stuck", 1)).await;
    finalizers(&world.signals(), "stuck-1", &["example.org/tenant"]).await;
    let deletes = "stormfold_api_writes_total{write=\"DeleteSignal\",result=\"Done\"";
    eventually("it is asked to go", || async {
        let signal = world.signals().get("stuck-1").await.unwrap();
        signal.metadata.deletion_timestamp.ok_or_else(|| "not deleted".to_owned())
    })
    .await;
    for n in 1..=3 {
        other.create(&firing("Free", n)).await;
        eventually("everybody else's are deleted", || async {
            let left = other.signals().list(&ListParams::default()).await.unwrap().items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
        })
        .await;
    }
    eventually("each was asked once", || async {
        let asked = operator.metric(deletes).await;
        if asked == 4.0 { Ok(()) } else { Err(format!("{asked} deletes")) }
    })
    .await;
    finalizers(&world.signals(), "stuck-1", &[]).await;
    policy.delete().await;
    another.delete().await;
}

// R2: a policy asks for the labels of namespaces; while Redis stands still, a Signal's namespace is deleted, and what the watch has of it is read
// afterwards. Nobody else waits for labels that nobody has any more.
#[tokio::test]
async fn a_signal_of_a_namespace_that_is_gone_holds_up_no_other_one() {
    let world = World::new("tenant-gone").await;
    let redis = Arc::new(RedisServer::start(&["--maxmemory", "64mb"]));
    let world = World { redis: Some(redis.clone()), ..world };
    let gone = world.another_namespace("tenant-gone-soon").await;
    let policy = PolicyOf::create(&world, json!({})).await;
    let operator = Operator::start(&[&world, &gone], &[]).await;
    policy.status("the policy is in force", |status| status["conditions"][0]["reason"] == "Compiled").await;
    redis.signal("STOP");
    // The first one waits for Redis, and so is read; the others stay where they are.
    world.create(&firing("Waits", 1)).await;
    eventually("the first one waits for Redis", || async {
        let (code, page) = operator.get("/readyz").await?;
        if code == 503 && page.contains("merge: ") { Ok(()) } else { Err(format!("{code} {page}")) }
    })
    .await;
    for n in 0..20 {
        gone.create(&firing("Goes", n)).await;
    }
    gone.delete_namespace().await;
    world.create(&firing("Waits", 2)).await;
    redis.signal("CONT");
    world.one_storm("everybody else is served", |storm| storm.alert_count == 2).await;
    operator.ready().await;
    world.create(&firing("Waits", 3)).await;
    world.one_storm("and goes on to be", |storm| storm.alert_count == 3).await;
    let log = operator.log_text();
    assert!(log.contains("a Signal is in a namespace that is gone"), "the situation is not what it should be: {log}");
    assert!(!log.contains("is forbidden"), "{log}");
    policy.delete().await;
}
