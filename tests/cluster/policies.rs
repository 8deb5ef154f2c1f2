//! Policies on a real API server: what they match, how they group, what an edit changes. Each test has a policy of its own, for its own namespace.

use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stormfold::api::{OccurrenceState, RemediationRequest, Signal, StormPolicy};

use super::operator::Operator;
use super::signals::{as_of, firing, labelled, occurrence, signal, table};
use super::wait::eventually;
use super::world::{World, affected, facts, is_open};

/// The policy of one test. Dropped, it is deleted: it would be in the way of nobody, but it is not of the cluster's others.
pub struct PolicyOf {
    api: Api<StormPolicy>,
    name: String,
}

impl PolicyOf {
    /// For the Signals of this namespace, with these further fields.
    pub async fn create(world: &World, spec: Value) -> Self {
        let mut spec = spec;
        spec["match"] =
            json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": world.namespace } } });
        let policy = json!({
            "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": world.namespace }, "spec": spec,
        });
        let api: Api<StormPolicy> = Api::all(world.client.clone());
        let policy: StormPolicy = serde_json::from_value(policy).unwrap();
        api.create(&PostParams::default(), &policy).await.unwrap();
        Self { api, name: world.namespace.clone() }
    }

    /// Changes fields of its spec, and waits until the operator says that it is in force.
    pub async fn edit(&self, spec: Value) {
        let edited =
            self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
        self.in_force(edited.metadata.generation).await;
    }

    async fn in_force(&self, generation: Option<i64>) {
        self.status("the policy is in force", |status| status["observedGeneration"] == json!(generation)).await;
    }

    /// Waits for its status.
    pub async fn status(&self, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            let policy = self.api.get(&self.name).await.unwrap();
            let status = serde_json::to_value(&policy.status).unwrap();
            if expected(&status) { Ok(status) } else { Err(status.to_string()) }
        })
        .await
    }

    pub async fn delete(self) {
        self.api.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

/// Sets an annotation of a RemediationRequest.
async fn annotate(world: &World, object: &RemediationRequest, annotation: &str, value: Value) {
    let change = json!({ "metadata": { "annotations": { annotation: value } } });
    world.requests().patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
}

/// The engine reports an outcome.
pub async fn finish(world: &World, object: &RemediationRequest, outcome: &str) {
    let status = json!({ "status": { "remediation": { "outcome": outcome } } });
    let params = PatchParams { field_manager: Some("engine".into()), ..PatchParams::default() };
    world.requests().patch_status(&object.name_any(), &params, &Patch::Merge(&status)).await.unwrap();
}

/// Waits until a Signal's condition of this type has this reason; gives its message.
pub async fn told(world: &World, name: &str, type_: &str, reason: &str) -> String {
    eventually(&format!("{name} is told {reason}"), || async {
        let signal: Signal = world.signals().get(name).await.unwrap();
        let conditions = signal.status.unwrap_or_default().conditions;
        let found = conditions.iter().find(|condition| condition.type_ == type_ && condition.reason == reason);
        found.map(|condition| condition.message.clone()).ok_or_else(|| format!("{conditions:?}"))
    })
    .await
}

// A26, A29: a policy of its own per namespace, grouping by what matters there.
#[tokio::test]
async fn a_policy_groups_by_label_and_a_signal_without_it_says_so() {
    let world = World::new("policy-groups").await;
    let policy =
        PolicyOf::create(&world, json!({ "groupBy": ["label:team"], "storm": { "alerts": 2, "resources": 9 } })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&labelled("one", "Disk", 1, &[("team", "a")])).await;
    world.create(&labelled("two", "Cpu", 2, &[("team", "a")])).await;
    world.create(&labelled("other", "Cpu", 3, &[("team", "b")])).await;
    world.create(&labelled("without", "Cpu", 4, &[])).await;
    world.receipts(4).await;
    let mut storms: Vec<(String, i64, String)> = world
        .storms()
        .await
        .iter()
        .map(|object| {
            (object.spec.pattern.clone(), facts(object).unwrap().alert_count, object.spec.policy_ref.name.clone())
        })
        .collect();
    storms.sort();
    let expected =
        |pattern: &str, alerts| (format!("any alert anywhere {{team={pattern}}}"), alerts, world.namespace.clone());
    assert_eq!(storms, [expected("\"a\"", 2), expected("\"b\"", 1), expected("-", 1)]);
    let message = told(&world, "without", "Grouped", "LabelsMissing").await;
    assert_eq!(message, "its policy groups by labels that it lacks: team");
    let status = policy.status("three storms are open", |status| status["openStorms"] == 3).await;
    assert_eq!(status["conditions"][0]["reason"], "Compiled");
    assert!(status["lastMatch"].is_string());
    policy.delete().await;
}

// B1, B2: where namespaces share a storm, one name in two of them is two resources.
#[tokio::test]
async fn a_storm_that_spans_namespaces_tells_its_resources_apart() {
    let world = World::new("policy-spans").await;
    let policy = PolicyOf::create(&world, json!({ "groupBy": ["name"] })).await;
    let _operator = Operator::start(&[&world], &[&format!("--cross-namespace={}", world.namespace)]).await;
    for (n, namespace) in [(1, "web"), (2, "api"), (3, "")] {
        let mut signal = signal(&format!("s{n}"), "Spans");
        signal.spec.namespace = Some(namespace.into());
        signal.spec.occurrences = Some(vec![occurrence(&format!("fp{n}"), OccurrenceState::Firing, "pod")]);
        world.create(&signal).await;
    }
    let object = world.one_storm("three", |storm| storm.alert_count == 3 && storm.affected_count == 3).await;
    assert_eq!((object.spec.namespace.as_str(), object.spec.pattern.as_str()), ("", "Spans (any namespace)"));
    assert_eq!(affected(&object), ["Pod/pod", "/namespaces/api/Pod/pod", "/namespaces/web/Pod/pod"]);
    policy.delete().await;
}

// An edit: thresholds and times of what is open follow it, the grouping does not.
#[tokio::test]
async fn an_edit_applies_to_open_storms_but_for_their_grouping() {
    let world = World::new("policy-edit").await;
    let policy = PolicyOf::create(&world, json!({ "storm": { "alerts": 50, "resources": 50 } })).await;
    let operator = Operator::start(&[&world], &[]).await;
    world.create(&table("first", "Edited", 0..6)).await;
    let object = world.one_storm("six", |storm| storm.alert_count == 6).await;
    policy.edit(json!({ "storm": { "alerts": 5 }, "groupBy": ["name", "namespace", "severity"] })).await;
    let is_storm = |object: &RemediationRequest| {
        let conditions = &object.status.as_ref().unwrap().conditions;
        conditions.iter().any(|condition| condition.type_ == "Storm" && condition.status == "True")
    };
    eventually("the new threshold is reached", || async {
        let object = world.requests().get(&object.name_any()).await.unwrap();
        if is_storm(&object) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // A repeat and something new join what is open, also after a restart.
    world.create(&table("second", "Edited", 4..8)).await;
    world.one_storm("eight, in the same storm", |storm| storm.alert_count == 8).await;
    world.receipts(2).await;
    operator.sigkill();
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("third", "Edited", 7..10)).await;
    world.one_storm("ten, in the same storm", |storm| storm.alert_count == 10).await;
    policy.edit(json!({ "quietPeriod": "1s" })).await;
    world.one_storm("it ends by the new time", |storm| !is_open(storm)).await;
    policy.edit(json!({ "quietPeriod": "10m" })).await;
    world.create(&table("fourth", "Edited", 20..22)).await;
    let storms = world.storms_until("the next one", 2, |storm| storm.alert_count == 2).await;
    assert!(storms[1].spec.pattern.ends_with("{severity=error}"), "{}", storms[1].spec.pattern);
    policy.delete().await;
}

// C3, C4, C5: the outcome of the engine holds back what comes next, visibly, through a restart, until somebody has taken note of it.
#[tokio::test]
async fn a_cool_down_holds_back_the_successor_until_it_is_acknowledged() {
    let world = World::new("policy-cooldown").await;
    let policy = PolicyOf::create(&world, json!({ "cooldown": { "manualRequired": "1h" } })).await;
    let operator = Operator::start(&[&world], &[]).await;
    world.create(&table("first", "Cools", 0..3)).await;
    let object = world.one_storm("three", |storm| storm.alert_count == 3).await;
    let before = Timestamp::now();
    finish(&world, &object, "ManualRequired").await;
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    world.create(&as_of(Timestamp::now(), table("second", "Cools", 2..6))).await;
    let message = told(&world, "second", "Accepted", "CoolingDown").await;
    assert!(message.contains(&format!("{} ended as ManualRequired", object.name_any())), "{message}");
    // An echo of what the closed storm holds waits for nothing.
    world.create(&as_of(before, table("echo", "Cools", 0..3))).await;
    told(&world, "echo", "Accepted", "Merged").await;
    assert_eq!(operator.metric("stormfold_held_back_signals").await, 1.0);
    operator.sigkill();
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&as_of(Timestamp::now(), table("third", "Cools", 6..7))).await;
    told(&world, "third", "Accepted", "CoolingDown").await;
    assert_eq!(world.storms().await.len(), 1);
    annotate(&world, &object, "stormfold.dev/acknowledged", "true".into()).await;
    // One of them is of an alert of the closed storm: this source reports no ends, so the alert was over with its storm and is reported anew.
    let storms = world.storms_until("a successor with what waited", 2, |storm| storm.alert_count == 5).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, object.name_any());
    for name in ["second", "third"] {
        told(&world, name, "Accepted", "Merged").await;
    }
    policy.delete().await;
}

#[tokio::test]
async fn a_cool_down_ends_by_itself() {
    let world = World::new("policy-cools").await;
    let policy = PolicyOf::create(&world, json!({ "cooldown": { "failed": "4s" } })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("first", "Cools", 0..3)).await;
    let object = world.one_storm("three", |storm| storm.alert_count == 3).await;
    finish(&world, &object, "Failed").await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    world.create(&table("second", "Cools", 3..5)).await;
    told(&world, "second", "Accepted", "CoolingDown").await;
    let storms = world.storms_until("a successor", 2, |storm| storm.alert_count == 2).await;
    let ended = facts(&closed).unwrap().closed_at.as_ref().unwrap().0.as_second();
    assert!(storms[1].spec.epoch >= ended + 4, "{} after {ended}", storms[1].spec.epoch);
    policy.delete().await;
}

// M2: what fires on after an outcome opens a successor when its cool-down is over, and nobody has to report again.
#[tokio::test]
async fn what_fires_on_after_an_outcome_opens_a_successor_when_the_cool_down_is_over() {
    let world = World::new("policy-fires-on").await;
    let policy = PolicyOf::create(&world, json!({ "cooldown": { "failed": "3s" } })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let mut fires = table("first", "Fires on", 0..3);
    fires.spec.resolvable = true;
    world.create(&fires).await;
    let object = world.one_storm("three", |storm| storm.alert_count == 3).await;
    finish(&world, &object, "Failed").await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    let note = world.event("SuccessorHeldBack").await;
    assert!(note.contains("no storm opens before") && note.contains("Failed"), "{note}");
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (3, 3)).await;
    let ended = facts(&closed).unwrap().closed_at.as_ref().unwrap().0.as_second();
    assert!(storms[1].spec.epoch >= ended + 3, "{} after {ended}", storms[1].spec.epoch);
    policy.delete().await;
}

#[tokio::test]
async fn under_a_suspended_policy_nothing_opens_and_what_is_open_goes_on() {
    let world = World::new("policy-suspended").await;
    let policy = PolicyOf::create(&world, json!({})).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("open", "GoesOn", 0..2)).await;
    world.one_storm("two", |storm| storm.alert_count == 2).await;
    policy.edit(json!({ "suspended": true })).await;
    world.create(&table("more", "GoesOn", 2..4)).await;
    world.one_storm("four", |storm| storm.alert_count == 4).await;
    world.create(&table("new", "Waits", 0..2)).await;
    let message = told(&world, "new", "Accepted", "PolicySuspended").await;
    assert!(message.contains("is suspended"), "{message}");
    assert_eq!(world.storms().await.len(), 1);
    policy.edit(json!({ "suspended": false })).await;
    world.storms_until("the other one opens", 2, |_| true).await;
    told(&world, "new", "Accepted", "Merged").await;
    policy.delete().await;
}

#[tokio::test]
async fn a_person_may_hold_a_storm_open_and_end_it() {
    let world = World::new("policy-person").await;
    let policy = PolicyOf::create(&world, json!({ "quietPeriod": "2s" })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("held", "Held", 0..2)).await;
    let held = world.one_storm("two", |storm| storm.alert_count == 2).await;
    annotate(&world, &held, "stormfold.dev/hold-open", "true".into()).await;
    // Another storm of the same age ends, and this one does not.
    world.create(&table("ends", "Ends", 0..2)).await;
    eventually("the other one ends", || async {
        let storms = world.storms().await;
        let ended =
            storms.iter().find(|object| object.spec.signal.name == "Ends").and_then(facts).is_some_and(|s| !is_open(s));
        if ended { Ok(()) } else { Err(format!("{storms:?}")) }
    })
    .await;
    let storm = world.storm_named(&held, |_| true).await;
    assert!(is_open(&storm), "{storm:?}");
    annotate(&world, &held, "stormfold.dev/close", "true".into()).await;
    let storm = world.storm_named(&held, |storm| !is_open(storm)).await;
    assert_eq!(storm.close_reason, Some(stormfold::api::CloseReason::Requested));
    policy.delete().await;
}

// What is kept no longer goes, Signals first; what a storm that is open needs stays.
#[tokio::test]
async fn signals_and_requests_are_deleted_after_their_retention() {
    let world = World::new("policy-retention").await;
    let spec = json!({ "quietPeriod": "1s", "retention": "1s", "requestRetention": "2s" });
    let policy = PolicyOf::create(&world, spec).await;
    let operator = Operator::start(&[&world], &[]).await;
    let before = Timestamp::now();
    for n in 0..30 {
        world.create(&firing("Kept", n)).await;
    }
    eventually("all is deleted", || async {
        let (signals, requests) = (world.signals().list(&ListParams::default()).await.unwrap(), world.storms().await);
        if signals.items.is_empty() && requests.is_empty() {
            Ok(())
        } else {
            Err(format!("{} Signals", signals.items.len()))
        }
    })
    .await;
    assert_eq!(operator.metric("stormfold_api_writes_total{write=\"DeleteSignal\",result=\"Done\"").await, 30.0);
    // An echo of what it held opens nothing, although its Signals and its object are gone. What the source reports after the end is news.
    world.create(&as_of(before, firing("Kept", 3))).await;
    world.receipts(1).await;
    assert!(world.storms().await.is_empty());
    policy.delete().await;
}

// A10, invariant 16: the policy says how many resources are listed; the counts are exact.
#[tokio::test]
async fn a_policy_caps_the_list_of_resources_and_not_their_count() {
    let world = World::new("policy-cap").await;
    let policy = PolicyOf::create(&world, json!({ "affectedCap": 7 })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    world.create(&table("many", "Capped", 0..50)).await;
    let shown = |cap: usize| {
        move |storm: &stormfold::api::StormStatus| {
            storm.alert_count == storm.affected_count && storm.affected_resources.len() == cap && storm.truncated
        }
    };
    world.one_storm("seven are listed", shown(7)).await;
    policy.edit(json!({ "affectedCap": 3 })).await;
    let object = world.one_storm("three are listed", shown(3)).await;
    assert_eq!(facts(&object).unwrap().affected_count, 50);
    policy.delete().await;
}

// A flapping alert: the settle delay holds a hundred rounds of it in one request, and it is one alert.
#[tokio::test]
async fn a_hundred_rounds_of_fire_and_resolve_are_one_request() {
    let world = World::new("policy-flaps").await;
    let policy = PolicyOf::create(&world, json!({ "settleDelay": "3s", "quietPeriod": "5m" })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    for round in 0..100 {
        for (state, name) in [(OccurrenceState::Firing, "fires"), (OccurrenceState::Resolved, "ends")] {
            let mut signal = signal(&format!("{name}-{round}"), "Flaps");
            signal.spec.resolvable = true;
            signal.spec.occurrences = Some(vec![occurrence("fp", state, "pod")]);
            world.create(&as_of(Timestamp::now(), signal)).await;
        }
    }
    let object = world.one_storm("it is resolved", |storm| !is_open(storm)).await;
    let storm = facts(&object).unwrap();
    assert_eq!((storm.alert_count, storm.firing_count, storm.affected_count), (1, 0, 1));
    assert_eq!(storm.close_reason, Some(stormfold::api::CloseReason::Resolved));
    policy.delete().await;
}

// R1, invariant 17: what alone tells that an alert fires on stays, and its request with it; what was reported first goes first.
#[tokio::test]
async fn the_signal_of_what_fires_stays_whatever_the_retention() {
    let world = World::new("policy-retention-fires").await;
    let policy = PolicyOf::create(&world, json!({ "retention": "1s", "requestRetention": "2s" })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let reported = |name: &str, reports: &[(&str, OccurrenceState)]| {
        let mut signal = signal(name, "Burns");
        signal.spec.resolvable = true;
        signal.spec.occurrences =
            Some(reports.iter().map(|(fingerprint, state)| occurrence(fingerprint, *state, "pod")).collect());
        signal
    };
    world.create(&reported("burns", &[("burns", OccurrenceState::Firing)])).await;
    world.create(&reported("begins", &[("ends", OccurrenceState::Firing)])).await;
    world.one_storm("two fire", |storm| storm.firing_count == 2).await;
    world.create(&reported("ends", &[("ends", OccurrenceState::Resolved)])).await;
    let request = world.one_storm("one fires", |storm| storm.firing_count == 1).await;
    world.receipts(3).await;
    annotate(&world, &request, "stormfold.dev/close", "true".into()).await;
    eventually("what ended is deleted", || async {
        let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
        let names: Vec<_> = signals.iter().map(kube::ResourceExt::name_any).collect();
        if names == ["burns"] { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    // It is older than what went, and handled by a person: not even its request went.
    let storm = world.one_storm("its request stays", |storm| !is_open(storm)).await;
    assert_eq!(facts(&storm).unwrap().close_reason, Some(stormfold::api::CloseReason::Requested));
    policy.delete().await;
}
