//! What alerts say, from a webhook to the RemediationRequest.

use serde_json::{Value, json};

use super::operator::Operator;
use super::webhook::{FLAGS, body, firing, post};
use super::world::World;

/// An alert about this Pod that says what is wrong with it.
fn speaking(world: &World, pod: usize) -> Value {
    let mut alert = firing("HighLoad", &world.namespace, &format!("web-{pod}"));
    alert["labels"]["job"] = "api".into();
    alert["annotations"] = json!({
        "summary": format!("web-{pod} is slow"), "description": "Requests wait.\r\nSome fail.\u{7}",
        "runbook_url": "https://runbooks.example/load",
    });
    alert["generatorURL"] = "http://prometheus.example/graph?g0.expr=load".into();
    alert
}

// What is known of the first alert is there at once, and stays what it was.
#[tokio::test]
async fn the_opening_alert_is_told_and_does_not_follow_later_ones() {
    let world = World::new("said-opening").await;
    let operator = Operator::start(&[&world], FLAGS).await;
    assert_eq!(post(&operator, &body(vec![speaking(&world, 0)])).await.status, 200);
    let object = world.one_storm("one", |storm| storm.alert_count == 1).await;
    let alert = object.spec.alert.clone().expect("spec.alert");
    assert_eq!((alert.labels["pod"].as_str(), alert.labels["job"].as_str()), ("web-0", "api"));
    assert_eq!(alert.annotations["summary"], "web-0 is slow");
    assert_eq!(alert.annotations["description"], "Requests wait.\nSome fail.");
    assert_eq!(alert.annotations["runbook_url"], "https://runbooks.example/load");
    assert_eq!(alert.generator_url.as_deref(), Some("http://prometheus.example/graph?g0.expr=load"));
    assert_eq!(post(&operator, &body((0..3).map(|pod| speaking(&world, pod)).collect::<Vec<_>>())).await.status, 200);
    let later = world.one_storm("three", |storm| storm.alert_count == 3).await;
    assert_eq!(later.spec, object.spec);
}
