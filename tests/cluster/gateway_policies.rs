//! Webhooks under policies that group by labels: whatever Alertmanager puts into one body, and whichever replica takes it.

use serde_json::{Value, json};
use stormfold::api::RemediationRequest;

use super::operator::Operator;
use super::policies::PolicyOf;
use super::replicas::allow_lease;
use super::wait::eventually;
use super::webhook::{FLAGS, body, firing, post};
use super::world::{World, facts};

fn about_nodes(namespace: &str, nodes: &[&str]) -> Vec<Value> {
    let about = |node: &&str| {
        let mut alert = firing("KubeletDown", namespace, &format!("probe-of-{node}"));
        alert["labels"]["node"] = (*node).into();
        alert
    };
    nodes.iter().map(about).collect()
}

// The policy of the README: several nodes in one webhook, at the leader and at a standby.
#[tokio::test]
async fn alerts_of_one_webhook_are_grouped_by_a_label_in_which_they_differ() {
    let world = World::new("gateway-labels").await;
    let _policy = PolicyOf::create(&world, json!({ "groupBy": ["label:node"], "storm": { "alerts": 3 } })).await;
    allow_lease(&world.client, &world.namespace).await;
    let flags = [FLAGS[0], "--leader-elect", &format!("--namespace={}", world.namespace)];
    let replicas = [Operator::start(&[&world], &flags).await, Operator::start(&[&world], &flags).await];
    let webhook = body(about_nodes(&world.namespace, &["n1", "n2", "n1", "n3"]));
    let mut answers = Vec::new();
    for replica in &replicas {
        let answer = post(replica, &webhook).await;
        assert_eq!((answer.status, &answer.body["rejected"]), (200, &json!(0)), "{answer:?}");
        let mut names: Vec<String> =
            answer.body["signals"].as_array().unwrap().iter().map(|signal| signal["name"].to_string()).collect();
        names.sort();
        answers.push(names);
    }
    // Both cut it the same way: a pair of Alertmanagers at two replicas makes no more Signals than one.
    assert_eq!((answers[0].len(), &answers[0]), (3, &answers[1]));
    // Alone, and with others: where an alert belongs does not depend on who it comes with.
    post(&replicas[1], &body(about_nodes(&world.namespace, &["n2"]))).await;
    let node = |n: u8| (format!("any alert anywhere {{node=\"n{n}\"}}"), Some(1));
    eventually("a storm for each node", || async {
        let storms = world.storms().await;
        let pattern =
            |object: &RemediationRequest| (object.spec.pattern.clone(), facts(object).map(|storm| storm.alert_count));
        let mut patterns: Vec<_> = storms.iter().map(pattern).collect();
        patterns.sort();
        if patterns == [node(1), node(2), node(3)] { Ok(()) } else { Err(format!("{patterns:?}")) }
    })
    .await;
}
