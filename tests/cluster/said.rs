//! What alerts say, from a webhook to the RemediationRequest.

use serde_json::{Value, json};
use stormfold::api::{RemediationRequest, StormExample};

use super::operator::Operator;
use super::webhook::{FLAGS, body, firing, post};
use super::world::{World, facts};

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

/// The examples of a storm: each by its Pod, with what it says.
fn examples(object: &RemediationRequest) -> Vec<(String, String)> {
    let examples = facts(object).map(|storm| storm.examples.clone()).unwrap_or_default();
    let pod = |example: &StormExample| example.resource.as_ref().map(|pod| pod.name.clone()).unwrap_or_default();
    examples.iter().map(|example| (pod(example), example.summary.clone().unwrap_or_default())).collect()
}

// Each says what is wrong with it; what has ended is no example any more.
#[tokio::test]
async fn examples_say_what_fires_and_go_with_their_ends() {
    let world = World::new("said-examples").await;
    let operator = Operator::start(&[&world], FLAGS).await;
    let mut alerts: Vec<_> = (0..3).map(|pod| speaking(&world, pod)).collect();
    assert_eq!(post(&operator, &body(alerts.clone())).await.status, 200);
    let object = world.one_storm("three", |storm| storm.alert_count == 3 && storm.examples.len() == 3).await;
    // The alerts differ in their summaries: the storm says one of them, with what all say.
    let alert = object.spec.alert.clone().expect("spec.alert");
    assert!(alert.annotations["summary"].ends_with("is slow") && !alert.labels.contains_key("pod"), "{alert:?}");
    let mut told = examples(&object);
    told.sort();
    assert_eq!(told, (0..3).map(|n| (format!("web-{n}"), format!("web-{n} is slow"))).collect::<Vec<_>>());
    let storm = facts(&object).unwrap();
    let first = &storm.examples[0];
    assert_eq!(first.labels.keys().collect::<Vec<_>>(), ["pod"], "{first:?}");
    assert!(first.fingerprint.is_some() && first.starts_at.is_some(), "{first:?}");
    let resource = first.resource.as_ref().unwrap();
    assert_eq!((resource.kind.as_str(), resource.namespace.as_deref()), ("Pod", Some(world.namespace.as_str())));
    // A later one comes in, and one that is over goes.
    alerts[1]["status"] = "resolved".into();
    alerts[1]["endsAt"] = "2026-01-02T16:00:00Z".into();
    alerts.push(speaking(&world, 3));
    assert_eq!(post(&operator, &body(alerts)).await.status, 200);
    let pods = |object: &RemediationRequest| {
        let mut pods: Vec<_> = examples(object).into_iter().map(|(pod, _)| pod).collect();
        pods.sort();
        pods
    };
    // One that came while a publish was under way is shown by the next one: no write is made for it.
    let among = |object: &RemediationRequest, newest: &str| {
        let mut pods = pods(object);
        pods.retain(|pod| pod != newest);
        pods
    };
    let object = world.one_storm("one is over", |storm| storm.alert_count == 4 && storm.firing_count == 3).await;
    assert_eq!(among(&object, "web-3"), ["web-0", "web-2"]);
    // A restart reads the Signals again. What is shown then fires, and what is shown next is of all of them.
    drop(operator);
    let operator = Operator::start(&[&world], FLAGS).await;
    assert_eq!(post(&operator, &body(vec![speaking(&world, 4)])).await.status, 200);
    let object = world.one_storm("one more", |storm| storm.alert_count == 5 && storm.firing_count == 4).await;
    assert!(!pods(&object).contains(&"web-1".to_owned()), "{object:?}");
    assert_eq!(post(&operator, &body(vec![speaking(&world, 5)])).await.status, 200);
    let object = world.one_storm("and another", |storm| storm.alert_count == 6 && storm.firing_count == 5).await;
    assert_eq!(among(&object, "web-5"), ["web-0", "web-2", "web-3", "web-4"]);
}

// Invariant 16: ten thousand alerts that say four thousand bytes each are a request of less than 100 KB.
#[tokio::test]
async fn what_ten_thousand_alerts_say_stays_below_a_hundred_kilobytes() {
    let world = World::new("said-many").await;
    let operator = Operator::start(&[&world], &[FLAGS[0], "--gateway-max-body=32MiB"]).await;
    let long = "x".repeat(1_000);
    let alert = |n: usize| {
        let mut alert = speaking(&world, n);
        alert["labels"]["long"] = format!("{n}-{long}").into();
        alert["annotations"]["description"] = format!("{n}: {}", long.repeat(3)).into();
        alert
    };
    for from in [0, 2_500, 5_000, 7_500] {
        let alerts: Vec<_> = (from..from + 2_500).map(alert).collect();
        assert_eq!(post(&operator, &body(alerts)).await.status, 200);
    }
    let object = world.one_storm("all", |storm| storm.alert_count == 10_000 && storm.firing_count == 10_000).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.examples.len(), storm.affected_resources.len(), storm.truncated), (10, 100, true));
    let size = serde_json::to_string(&object).unwrap().len();
    assert!(size < 100_000, "{size} bytes");
}
