//! `kubectl storm why` on a real API server, with an account that may only look.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use stormfold::api::OccurrenceState;

use super::kubectl_plugin::{May, Plugin};
use super::operator::Operator;
use super::policies::{PolicyOf, finish, told};
use super::signals::{firing, occurrence, signal, table};
use super::wait::eventually;
use super::world::{World, is_open};

fn became(answer: &Value) -> Vec<String> {
    let all = answer["occurrences"].as_array().unwrap();
    all.iter().map(|of| of["became"].as_str().unwrap().to_owned()).collect()
}

fn says(answer: &Value, text: &str) {
    assert!(answer["answer"].as_str().unwrap().contains(text), "{text} in {answer:#}");
}

/// Asks until the answer is about what a Signal was told.
async fn told_why(world: &World, plugin: &Plugin, name: &str, reason: &str) -> Value {
    told(world, name, "Accepted", reason).await;
    let answer = plugin.why(&format!("signal/{name}"));
    assert_eq!(answer["told"]["reason"], reason, "{answer:#}");
    answer
}

#[tokio::test]
async fn a_signal_without_a_receipt_is_told_what_would_become_of_it() {
    let world = World::new("why-untold").await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("waiting", "Untold", 0..2)).await;
    let answer = plugin.why("waiting");
    says(&answer, "has told it nothing yet");
    says(&answer, &format!("would open a storm of \"Untold in {}\"", world.namespace));
    assert_eq!(became(&answer), ["Untold", "Untold"]);
}

#[tokio::test]
async fn every_receipt_of_a_real_operator_is_answered() {
    let world = World::new("why-receipts").await;
    let spec = json!({ "cooldown": { "manualRequired": "1h" } });
    let policy = PolicyOf::create(&world, spec).await;
    let operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("counted", "Counts", 0..3)).await;
    let object = world.one_storm("three", |storm| storm.alert_count == 3).await;
    let answer = told_why(&world, &plugin, "counted", "Merged").await;
    says(&answer, &format!("3 of its 3 occurrences are in {} (Open)", object.name_any()));
    assert_eq!(answer["policy"]["name"], world.namespace, "{answer:#}");
    assert_eq!(became(&answer), ["Counted"; 3]);

    let mut partly = signal("partly", "Counts");
    partly.spec.table = Some("firing - x Pod/x\nfiring\n".into());
    world.create(&partly).await;
    let answer = told_why(&world, &plugin, "partly", "PartlyRejected").await;
    assert_eq!(became(&answer), ["Counted", "Refused"]);

    let mut nothing = signal("nothing", "Bad");
    nothing.spec.table = Some("firing\n".into());
    world.create(&nothing).await;
    let answer = told_why(&world, &plugin, "nothing", "NoValidOccurrence").await;
    assert_eq!(became(&answer), ["Refused"]);
    assert!(answer["occurrences"][0]["because"].as_str().unwrap().contains("spec.table line 1"), "{answer:#}");

    let mut long = signal("long", "Bad");
    long.spec.table = Some("firing - x -\n".repeat(2_001));
    world.create(&long).await;
    says(&told_why(&world, &plugin, "long", "TooManyLines").await, "2001 lines");

    let mut elsewhere = signal("elsewhere", "Bad");
    elsewhere.spec.table = Some("firing - x Node/n1".into());
    world.create(&elsewhere).await;
    let answer = told_why(&world, &plugin, "elsewhere", "CrossNamespace").await;
    assert_eq!(became(&answer), ["Refused"]);
    assert!(answer["occurrences"][0]["because"].as_str().unwrap().contains("cluster-scoped"), "{answer:#}");

    let mut end = signal("end", "Ends");
    end.spec.occurrences = Some(vec![occurrence("e", OccurrenceState::Resolved, "e")]);
    world.create(&end).await;
    let answer = told_why(&world, &plugin, "end", "Merged").await;
    says(&answer, "nothing in it fires");
    assert_eq!(became(&answer), ["NoStorm"]);

    finish(&world, &object, "ManualRequired").await;
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    world.create(&table("cools", "Counts", 10..12)).await;
    let answer = told_why(&world, &plugin, "cools", "CoolingDown").await;
    assert_eq!(answer["waits"]["endsBy"], format!("kubectl storm ack {}", object.name_any()), "{answer:#}");
    assert!(answer["waits"]["until"].is_string(), "{answer:#}");
    assert_eq!(became(&answer), ["Waits"; 2]);
    let closed = plugin.why(&object.name_any());
    says(&closed, "it was closed as RemediationFinished: an engine reported its outcome");
    assert_eq!(closed["waits"]["until"], answer["waits"]["until"], "{closed:#}");

    policy.edit(json!({ "suspended": true })).await;
    world.create(&table("suspended", "Suspended", 0..1)).await;
    let answer = told_why(&world, &plugin, "suspended", "PolicySuspended").await;
    assert!(answer["waits"]["endsBy"].as_str().unwrap().contains(&world.namespace), "{answer:#}");
    drop(operator);
    policy.delete().await;
}

#[tokio::test]
async fn what_a_quota_refuses_and_what_a_person_handled_is_answered() {
    let world = World::new("why-quota").await;
    let quotas = world.allow("remediationrequests", 0).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("refused", "Refused", 0..2)).await;
    let answer = told_why(&world, &plugin, "refused", "RequestRefused").await;
    says(&answer, "exceeded quota");
    assert!(answer["waits"]["endsBy"].as_str().unwrap().contains("quota"), "{answer:#}");
    assert_eq!(became(&answer), ["Waits"; 2]);
    quotas.delete("few", &DeleteParams::default()).await.unwrap();
    let object = world.one_storm("it opens", |storm| storm.alert_count == 2).await;
    told(&world, "refused", "Accepted", "Merged").await;
    let mut lasting = firing("Refused", 7);
    lasting.spec.resolvable = true;
    world.create(&lasting).await;
    world.one_storm("three", |storm| storm.alert_count == 3).await;
    world.receipts(2).await;
    let close = json!({ "metadata": { "annotations": { "stormfold.dev/close": "true" } } });
    world.requests().patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&close)).await.unwrap();
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    // Reported again after somebody closed its storm, it is handled until it ends.
    let mut again = firing("Refused", 7);
    (again.metadata.name, again.spec.resolvable) = (Some("again".into()), true);
    world.create(&again).await;
    let answer = told_why(&world, &plugin, "again", "Merged").await;
    assert_eq!(became(&answer), ["Handled"], "{answer:#}");
    says(&plugin.why(&object.name_any()), "it was closed as Requested");
}

/// What the operator says where the test cannot bring it to say it: written as the operator writes it.
#[tokio::test]
async fn receipts_that_no_test_brings_about_are_answered() {
    let world = World::new("why-rare").await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("rare", "Rare", 0..1)).await;
    for (status, reason, text) in [
        ("Unknown", "LedgerFull", "no room"),
        ("False", "Malformed", "cannot read"),
        ("Unknown", "FromTheFuture", "does not know"),
    ] {
        let condition = json!({
            "type": "Accepted", "status": status, "reason": reason, "message": "words \u{1b}[31m",
            "lastTransitionTime": "2026-01-02T15:04:05Z",
        });
        let body = json!({ "status": { "conditions": [condition] } });
        world.signals().patch_status("rare", &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
        let answer = plugin.why("rare");
        says(&answer, text);
        let shown = plugin.ask(&["why", "rare"]);
        assert!(shown.out.contains("words \\u{1b}[31m") && !shown.out.contains('\u{1b}'), "{shown:?}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let world = World::new("why-rights").await;
    world.create(&table("seen", "Seen", 0..1)).await;
    let nobody = Plugin::of(&world, May::Nothing).await.ask(&["why", "signal/seen"]);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    let right = format!("get signals.stormfold.dev in namespace {}", world.namespace);
    assert!(nobody.err.contains(&right), "{nobody:?}");
    let here = Plugin::of(&world, May::LookHere).await;
    let answer = here.why("seen");
    assert_eq!(
        answer["unknown"],
        json!([
            "you lack the right to list stormpolicies.stormfold.dev in the whole cluster: what depends on it is left out"
        ]),
    );
    assert!(answer["policy"].is_null() && answer["occurrences"].as_array().unwrap().len() == 1, "{answer:#}");
    let gone = here.ask(&["why", "gone"]);
    assert_eq!((gone.code, gone.out.as_str()), (Some(4), ""), "{gone:?}");
    assert_eq!(here.ask(&["why"]).code, Some(2));
    assert_eq!(here.ask_all(&["why", "seen", "-A"]).code, Some(2));
    let all = here.ask_all(&["list", "-A"]);
    assert_eq!(all.code, Some(3), "{all:?}");
}

// As people call it, with the real kubectl; and what it prints is what it shows.
#[tokio::test]
async fn kubectl_finds_the_plugin_and_shows_storms() {
    let world = World::new("why-kubectl").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("twelve", "Shown", 0..12)).await;
    let object = world.one_storm("twelve", |storm| storm.alert_count == 12).await;
    world.receipts(1).await;
    let name = object.name_any();
    let why = plugin.ask_kubectl(&["why", "twelve"]);
    assert_eq!(why.code, Some(0), "{why:?}");
    assert!(why.out.contains(&format!("12 of its 12 occurrences are in {name} (Open)")), "{why:?}");
    let offered = plugin.complete(&["why", "--namespace", &world.namespace, "tw"]);
    assert!(offered.out.starts_with("twelve\tSignal of Shown\n:4\n"), "{offered:?}");
    let offered = plugin.complete(&["finish", &name, "--outcome", "S"]);
    assert!(offered.out.starts_with("Succeeded\n:4\n"), "{offered:?}");
    let list = plugin.ask_kubectl(&["list"]);
    let line = list.out.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with(&name) && line.contains("Open") && line.contains("12"), "{list:?}");
    assert_eq!(plugin.ask(&["list", "-o", "name"]).out, format!("remediationrequest.stormfold.dev/{name}\n"));
    assert_eq!(plugin.ask(&["list", "-o", "json"]).json()["items"][0]["metadata"]["name"], name);
    let yaml: Value = serde_saphyr::from_str(&plugin.ask(&["show", &name, "-o", "yaml"]).out).unwrap();
    assert_eq!(yaml["request"]["status"]["storm"]["alertCount"], 12);
    let show = eventually("the Event of its opening is there", || async {
        let show = plugin.ask(&["show", &name]);
        if show.out.contains("ThresholdReached") || show.out.contains("Opened") { Ok(show) } else { Err(show.out) }
    })
    .await;
    assert!(show.out.contains("└─ Pod: pod-0, pod-1"), "{}", show.out);
    let timeline = plugin.ask(&["timeline", &name]);
    for what in ["Opened", "Storm reached", "Signal counted", "Last report"] {
        assert!(timeline.out.contains(what), "{what} in {timeline:?}");
    }
    let top = plugin.ask(&["top"]);
    assert!(top.out.contains("12 to 1"), "{top:?}");
    let tree = plugin.ask(&["tree"]);
    assert!(tree.out.starts_with(&format!("{name} (Open, 12 alerts, 12 fire")), "{tree:?}");
}
