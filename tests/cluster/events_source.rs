//! Kubernetes' own Events are storms, without any Prometheus.

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event as CoreEvent;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::operator::Operator;
use super::signals::{as_of, signal};
use super::wait::eventually;
use super::world::{World, affected};

const FLAG: &[&str] = &["--events-source"];

/// What the component events-source gives, in one namespace.
pub async fn allow_events(client: &Client, namespace: &str) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "stormfold-events" },
        "rules": [{ "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["list", "watch"] }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "stormfold-events" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "stormfold-events" },
        "subjects": [{ "kind": "ServiceAccount", "name": "stormfold", "namespace": "stormfold-system" }],
    });
    let (params, name) = (PatchParams::apply("test"), "stormfold-events");
    Api::<Role>::namespaced(client.clone(), namespace).patch(name, &params, &Patch::Apply(role)).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.patch(name, &params, &Patch::Apply(binding)).await.unwrap();
}

/// An operator that reads the Events of this world.
async fn start(world: &World) -> Operator {
    allow_events(&world.client, &world.namespace).await;
    Operator::start(&[world], FLAG).await
}

/// As a kubelet writes it.
async fn told_by_kubelet(world: &World, name: &str, type_: &str, reason: &str, pod: &str) {
    let event = json!({
        "metadata": { "name": name }, "type": type_, "reason": reason, "message": format!("{reason} of {pod}"),
        "involvedObject": { "kind": "Pod", "namespace": world.namespace, "name": pod, "apiVersion": "v1" },
        "source": { "component": "kubelet", "host": "n1" }, "count": 1,
        "firstTimestamp": "2026-01-02T15:04:05Z", "lastTimestamp": "2026-01-02T15:04:05Z",
    });
    let events: Api<CoreEvent> = Api::namespaced(world.client.clone(), &world.namespace);
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
}

/// As the scheduler and controllers write it.
async fn told_by_controller(
    client: &Client,
    namespace: &str,
    name: &str,
    controller: &str,
    reason: &str,
    regarding: Value,
) {
    let event = json!({
        "metadata": { "name": name }, "type": "Warning", "reason": reason, "action": "Acting", "note": "0/3 nodes are available",
        "regarding": regarding, "eventTime": Timestamp::now().to_string(),
        "reportingController": controller, "reportingInstance": format!("{controller}-0"),
    });
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
}

// Pods that crash: before and after a restart, and whatever else is told.
#[tokio::test]
async fn warnings_are_a_storm_without_any_prometheus_and_a_restart_doubles_nothing() {
    let world = World::new("events").await;
    let operator = start(&world).await;
    for pod in 0..12 {
        told_by_kubelet(&world, &format!("web-{pod}.1"), "Warning", "BackOff", &format!("web-{pod}")).await;
    }
    told_by_kubelet(&world, "web-3.2", "Warning", "BackOff", "web-3").await;
    told_by_kubelet(&world, "web-4.2", "Normal", "Pulling", "web-4").await;
    // Our own, and about what is ours: a Signal that is refused is no alert.
    let mut bad = signal("bad", "Bad");
    bad.spec.table = Some("firing\n".into());
    world.create(&bad).await;
    world.event("SignalRejected").await;
    let object = world.one_storm("twelve", |storm| storm.alert_count == 12 && storm.affected_count == 12).await;
    assert_eq!(object.spec.pattern, format!("BackOff in {}", world.namespace));
    let ours = "stormfold_events_total{result=\"Ours\"}";
    eventually("our own Events are seen", || async {
        let seen = operator.metric(ours).await;
        if seen >= 1.0 { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!(operator.metric("stormfold_events_open_alerts").await, 12.0);
    operator.sigkill();

    told_by_kubelet(&world, "web-12.1", "Warning", "BackOff", "web-12").await;
    let operator = Operator::start(&[&world], FLAG).await;
    let again = world.one_storm("thirteen", |storm| storm.alert_count == 13 && storm.firing_count == 13).await;
    assert_eq!(again.metadata.uid, object.metadata.uid);
    // What Signals say of the twelve is recalled: the list of Events begins one alert.
    assert_eq!(operator.metric("stormfold_events_total{result=\"Began\"}").await, 1.0);
    assert_eq!(operator.metric("stormfold_events_total{result=\"GoesOn\"}").await, 13.0);
}

// Events are gone after an hour, and whoever leads then may be another one.
#[tokio::test]
async fn an_alert_of_which_no_event_speaks_any_more_is_over_after_a_restart() {
    let world = World::new("events-over").await;
    let operator = Operator::start(&[&world], &[]).await;
    let mut told = as_of(Timestamp::now() - SignedDuration::from_mins(20), signal("ke-1", "FailedMount"));
    told.spec.resolvable = true;
    told.spec.source = Some(serde_json::from_value(json!({ "kind": "kubernetes-events" })).unwrap());
    told.metadata.labels = Some([("stormfold.dev/source".to_owned(), "kubernetes-events".to_owned())].into());
    let line = |n: usize| format!("firing 2026-01-02T15:04:05Z 0123456789abcdef0123456789abcde{n} Pod/web-{n}\n");
    told.spec.table = Some((0..3).map(line).collect());
    world.create(&told).await;
    world.one_storm("three fire", |storm| storm.firing_count == 3).await;
    operator.sigkill();
    let _operator = start(&world).await;
    world.one_storm("they are over", |storm| storm.firing_count == 0 && storm.alert_count == 3).await;
}

// A Node is in no namespace, and its Events are in `default`: what they say goes to the operator's own namespace.
#[tokio::test]
async fn an_event_about_a_node_is_a_signal_in_the_operators_own_namespace() {
    let world = World::new("events-node").await;
    allow_events(&world.client, &world.namespace).await;
    allow_events(&world.client, "default").await;
    let home = format!("--namespace={}", world.namespace);
    let _operator = Operator::start(&[&world], &["--events-source", "--watch-namespace=default", &home]).await;
    // Others have left theirs there.
    let (name, reason) = (format!("{}.1", world.namespace), format!("DiskPressure{}", std::process::id()));
    let node = json!({ "kind": "Node", "name": world.namespace });
    told_by_controller(&world.client, "default", &name, "node-controller", &reason, node).await;
    eventually("the Node", || async {
        let storms = world.storms().await;
        let storm = storms.iter().find(|object| object.spec.signal.name == reason).ok_or("no storm yet")?;
        assert_eq!(storm.spec.pattern, format!("{reason} (cluster-scoped)"));
        let resources = affected(storm);
        if resources == [format!("Node/{}", world.namespace)] { Ok(()) } else { Err(format!("{resources:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_events_is_a_few_signals_with_all_of_them() {
    let world = World::new("events-burst").await;
    let _operator = start(&world).await;
    let begun = Timestamp::now();
    let pods = (0..1_000).map(|pod| format!("web-{pod}"));
    let tell = |pod: String| {
        let (world, regarding) =
            (&world, json!({ "kind": "Pod", "namespace": world.namespace, "name": pod, "apiVersion": "v1" }));
        async move {
            let name = format!("{pod}.1");
            let reason = "FailedScheduling";
            told_by_controller(&world.client, &world.namespace, &name, "default-scheduler", reason, regarding).await;
        }
    };
    stream::iter(pods).map(tell).buffer_unordered(16).collect::<Vec<_>>().await;
    world.one_storm("a thousand", |storm| storm.alert_count == 1_000 && storm.affected_count == 1_000).await;
    let seconds = Timestamp::now().duration_since(begun).as_secs();
    let signals = world.signals().list(&kube::api::ListParams::default()).await.unwrap().items.len();
    assert!(i64::try_from(signals).unwrap() <= seconds + 2, "{signals} Signals in {seconds} s");
}
