//! Of what a Signal may speak (invariant 22): of its own namespace, unless the administrator lets that one speak of others.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use stormfold::api::{Signal, SignalSpec};

use super::operator::Operator;
use super::signals::signal;
use super::wait::eventually;
use super::webhook::{FLAGS, body, firing, post};
use super::world::{World, accepted, affected};

/// A Signal with these fields of its spec.
fn speaking(name: &str, spec: &Value) -> Signal {
    let mut object = signal(name, "Speaks");
    let mut whole = serde_json::to_value(&object.spec).unwrap();
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object.spec = serde_json::from_value::<SignalSpec>(whole).unwrap();
    object
}

/// What speaks of others, with what each is told where it may not: reason, beginning of the message, occurrences that are refused.
fn crossing() -> Vec<(Signal, &'static str, &'static str, i64)> {
    let resource = |namespace: &str| json!({ "kind": "Pod", "namespace": namespace, "name": "a" });
    let here = json!({ "kind": "Pod", "name": "a" });
    let says = "CrossNamespace";
    vec![
        (
            speaking("another", &json!({ "namespace": "elsewhere", "table": "firing - a Pod/a" })),
            says,
            "spec.namespace is \"elsewhere\": ",
            1,
        ),
        (
            speaking("cluster", &json!({ "namespace": "", "table": "firing - a -\nfiring - b -" })),
            says,
            "spec.namespace is \"\" (cluster-scoped): ",
            2,
        ),
        (
            speaking("node", &json!({ "table": "firing - a Node/n1" })),
            says,
            "spec.table line 1: Node \"n1\" is cluster-scoped: ",
            1,
        ),
        (
            speaking("line", &json!({ "table": "firing - l1 Pod/a\nfiring - l2 /namespaces/elsewhere/Pod/a" })),
            "PartlyRejected",
            "1 occurrences rejected, the first: spec.table line 2: Pod \"a\" is in namespace elsewhere: ",
            1,
        ),
        (
            speaking(
                "item",
                &json!({ "occurrences": [{ "resource": here }, { "resource": resource("") }, { "resource": resource("elsewhere") }] }),
            ),
            "PartlyRejected",
            "2 occurrences rejected, the first: spec.occurrences[1].resource: Pod \"a\" is cluster-scoped: ",
            2,
        ),
    ]
}

async fn all_are_merged(world: &World) {
    eventually(&format!("all are merged in {}", world.namespace), || async {
        let signals = world.receipts(crossing().len()).await;
        let told: Vec<_> =
            signals.iter().map(|signal| (signal.name_any(), accepted(signal).unwrap().to_owned())).collect();
        if told.iter().all(|(_, reason)| reason == "Merged") { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_signal_speaks_of_its_own_namespace_unless_that_may_speak_of_others() {
    let tenant = World::new("reach-tenant").await;
    let (ops, home) = (tenant.another_namespace("reach-ops").await, tenant.another_namespace("reach-home").await);
    let worlds = [&tenant, &ops, &home];
    let flags = [format!("--namespace={}", home.namespace), format!("--cross-namespace={}", ops.namespace)];
    let operator = Operator::start(&worlds, &[&flags[0], &flags[1]]).await;
    for world in worlds {
        for (signal, ..) in crossing() {
            world.create(&signal).await;
        }
    }
    all_are_merged(&ops).await;
    all_are_merged(&home).await;
    let signals = tenant.receipts(crossing().len()).await;
    for (expected, reason, says, refused) in crossing() {
        let signal = signals.iter().find(|signal| signal.name_any() == expected.name_any()).unwrap();
        let status = signal.status.as_ref().unwrap();
        let message = &status.conditions[0].message;
        assert_eq!(
            (status.conditions[0].reason.as_str(), status.occurrences.clone().unwrap().rejected),
            (reason, refused),
            "{message}"
        );
        assert!(message.starts_with(says), "{message}");
        assert!(
            message.contains(&format!("the administrator for --cross-namespace={}", tenant.namespace)),
            "{message}"
        );
    }
    // What he says of his own counts, and nobody else's storms are touched.
    let storm = tenant.one_storm("two of his own", |storm| storm.alert_count == 2 && storm.affected_count == 1).await;
    assert_eq!(storm.spec.namespace, tenant.namespace);
    assert_eq!(tenant.event("SignalRejected").await.matches("--cross-namespace").count(), 1);
    // Once his namespace may speak of others, what was rejected counts, and is told so.
    assert!(operator.sigterm().success());
    let _operator = Operator::start(&worlds, &[&flags[0], "--cross-namespace=*"]).await;
    tenant.storms_until("three scopes", 3, |_| true).await;
    for name in ["another", "cluster", "node"] {
        eventually(&format!("{name} is merged"), || async {
            let signal = tenant.signals().get(name).await.unwrap();
            if accepted(&signal) == Some("Merged") { Ok(()) } else { Err(format!("{:?}", accepted(&signal))) }
        })
        .await;
    }
}

// Whatever the gateway writes is accepted: trouble of a namespace in that namespace, without what it may not speak of; all else in the
// operator's own, which may speak of everything.
#[tokio::test]
async fn what_the_gateway_writes_is_never_rejected_for_what_it_speaks_of() {
    let home = World::new("reach-gateway").await;
    let tenant = home.another_namespace("reach-alerts").await;
    let gone = format!("{}-gone", home.namespace);
    let flags = [FLAGS[0], &format!("--namespace={}", home.namespace), &format!("--watch-namespace={gone}")];
    let operator = Operator::start(&[&home, &tenant], &flags).await;
    let on_node = |alert: &str, labels: Value| {
        let mut all = json!({ "alertname": alert, "node": "n1" });
        all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
        json!({ "status": "firing", "labels": all })
    };
    let alerts = [
        firing("OfAPod", &tenant.namespace, "web-0"),
        on_node("OfATenantOnANode", json!({ "namespace": tenant.namespace })),
        on_node("OfTheKubelet", json!({ "namespace": tenant.namespace, "job": "kubelet" })),
        on_node("OfANode", json!({})),
        on_node("OfTheOperatorOnANode", json!({ "namespace": home.namespace })),
        firing("OfWhatIsGone", &gone, "web-0"),
        on_node("OfWhatIsGoneOnANode", json!({ "namespace": gone })),
    ];
    let answer = post(&operator, &body(alerts.to_vec())).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(alerts.len())), "{answer:?}");
    let shown = async |world: &World, count: usize| {
        for signal in world.receipts(count).await {
            assert_eq!(accepted(&signal), Some("Merged"), "{:?}", signal.status);
        }
        let mut shown: Vec<_> = world
            .storms_until("each has its storm", count, |storm| storm.alert_count == 1)
            .await
            .into_iter()
            .map(|object| (object.spec.pattern.clone(), affected(&object).join(" ")))
            .collect();
        shown.sort();
        shown
    };
    let pair = |pattern: String, resource: &str| (pattern, resource.to_owned());
    assert_eq!(
        shown(&tenant, 2).await,
        [
            pair(format!("OfAPod in {}", tenant.namespace), "Pod/web-0"),
            pair(format!("OfATenantOnANode in {}", tenant.namespace), "")
        ]
    );
    assert_eq!(
        shown(&home, 5).await,
        [
            pair("OfANode (cluster-scoped)".into(), "Node/n1"),
            pair("OfTheKubelet (cluster-scoped)".into(), "Node/n1"),
            pair(format!("OfTheOperatorOnANode in {}", home.namespace), "Node/n1"),
            pair(format!("OfWhatIsGone in {gone}"), "Pod/web-0"),
            pair(format!("OfWhatIsGoneOnANode in {gone}"), ""),
        ]
    );
}

// Where the operator's own namespace is not watched, the first one takes what the gateway can put nowhere else, and may say so.
#[tokio::test]
async fn the_first_watched_namespace_may_speak_of_others_where_it_takes_the_place_of_the_operators_own() {
    let first = World::new("reach-first").await;
    let second = first.another_namespace("reach-second").await;
    let operator = Operator::start(&[&first, &second], &[FLAGS[0], "--namespace=stormfold-system"]).await;
    let alert = json!({ "status": "firing", "labels": { "alertname": "NodeDown", "node": "n1" } });
    assert_eq!(post(&operator, &body(vec![alert])).await.status, 200);
    let object = first.one_storm("the node counts", |storm| storm.affected_count == 1).await;
    assert_eq!(object.spec.pattern, "NodeDown (cluster-scoped)");
    second.create(&speaking("node", &json!({ "table": "firing - a Node/n1" }))).await;
    assert_eq!(accepted(&second.receipts(1).await[0]), Some("CrossNamespace"));
}
