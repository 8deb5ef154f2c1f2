//! Alerts on the way that they take in a cluster: a real Alertmanager in a pod, the name of our Service, TLS, a token.

use http::Request;
use serde_json::{Value, json};

use super::installation::Installation;
use super::storm::alerts;
use super::world::{World, facts, is_storm};

/// Hands alerts to the Alertmanager in the cluster, through the API server's proxy for its Service.
async fn report(world: &World, alerts: &[Value]) {
    let path = "/api/v1/namespaces/alerting/services/alertmanager:web/proxy/api/v2/alerts";
    let request = Request::post(path).header("Content-Type", "application/json");
    let request = request.body(json!(alerts).to_string().into_bytes()).unwrap();
    world.client.request_text(request).await.expect("Alertmanager takes them");
}

fn alert(world: &World, name: &str, pod: usize) -> Value {
    json!({ "labels": { "alertname": name, "namespace": world.namespace, "pod": format!("web-{pod}"), "severity": "critical" } })
}

#[tokio::test]
async fn what_alertmanager_reports_to_the_service_by_its_name_is_one_storm_per_alert_with_exact_counts() {
    let world = World::new("alertmanager").await;
    Installation::at_rest(&world.client).await;
    let mut all: Vec<Value> = (0..40).map(|pod| alert(&world, "PodCrashLoop", pod)).collect();
    all.extend((0..3).map(|pod| alert(&world, "HighLatency", pod)));
    report(&world, &all).await;
    let object = alerts(&world, "PodCrashLoop", 40).await;
    let storm = facts(&object).unwrap();
    assert!((storm.firing_count, storm.affected_count) == (40, 40) && is_storm(&object), "{storm:?}");
    let object = alerts(&world, "HighLatency", 3).await;
    assert!(!is_storm(&object), "three alerts are no storm");
}
