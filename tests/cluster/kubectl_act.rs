//! `kubectl storm close`, `hold`, `ack` and `finish` on a real API server: what is said reaches the operator, and no write is lost.

use kube::ResourceExt;
use serde_json::json;

use super::kubectl_plugin::{May, Plugin};
use super::operator::Operator;
use super::policies::{PolicyOf, told};
use super::signals::table;
use super::world::{World, facts, is_open};

#[tokio::test]
async fn a_storm_is_held_and_closed_by_command() {
    let world = World::new("act-close").await;
    let _operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Act).await;
    world.create(&table("two", "Acted", 0..2)).await;
    let object = world.one_storm("two", |storm| storm.alert_count == 2).await;
    let name = object.name_any();
    let held = plugin.ask(&["hold", &name]);
    assert_eq!(held.out, format!("remediationrequest.stormfold.dev/{name} is held open\n"), "{held:?}");
    let why = plugin.why(&name);
    assert!(why["end"]["because"].as_str().unwrap().contains("hold-open"), "{why:#}");
    assert!(plugin.ask(&["hold", &name]).out.contains("already"));
    assert!(plugin.ask(&["hold", &name, "--release"]).out.contains("no longer"));
    let refused = plugin.ask(&["ack", &name]);
    assert!(refused.code == Some(1) && refused.err.contains("no outcome"), "{refused:?}");
    assert_eq!(plugin.ask(&["close", &name]).code, Some(0));
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    assert!(plugin.ask(&["close", &name]).out.contains("closed already"));
    assert_eq!(plugin.ask(&["hold", &name]).code, Some(1));
}

#[tokio::test]
async fn an_outcome_that_is_reported_by_command_ends_the_storm_and_an_acknowledgement_its_cool_down() {
    let world = World::new("act-finish").await;
    let policy = PolicyOf::create(&world, json!({ "cooldown": { "manualRequired": "1h" } })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Act).await;
    world.create(&table("two", "Acted", 0..2)).await;
    let object = world.one_storm("two", |storm| storm.alert_count == 2).await;
    let (name, revision) = (object.name_any(), facts(&object).unwrap().revision);
    let ahead = (revision + 100).to_string();
    let ahead = plugin.ask(&["finish", &name, "--outcome", "ManualRequired", "--observed-revision", &ahead]);
    assert!(ahead.code == Some(1) && ahead.err.contains("nobody can have seen"), "{ahead:?}");
    let seen = revision.to_string();
    let done = plugin.ask(&[
        "finish",
        &name,
        "--outcome",
        "manualrequired",
        "--observed-revision",
        &seen,
        "--message",
        "look at n1",
    ]);
    assert!(done.out.contains("has the outcome ManualRequired"), "{done:?}");
    world.one_storm("it closes", |storm| !is_open(storm)).await;
    let other = plugin.ask(&["finish", &name, "--outcome", "Succeeded"]);
    assert!(other.code == Some(1) && other.err.contains("ManualRequired already"), "{other:?}");
    let closed = world.requests().get(&name).await.unwrap();
    let remediation = closed.status.unwrap().remediation.unwrap();
    assert_eq!((remediation.observed_revision, remediation.message.as_deref()), (Some(revision), Some("look at n1")));
    world.create(&table("again", "Acted", 5..7)).await;
    told(&world, "again", "Accepted", "CoolingDown").await;
    assert!(plugin.ask(&["ack", &name]).out.contains("is acknowledged"));
    told(&world, "again", "Accepted", "Merged").await;
    let tree = plugin.ask(&["tree"]);
    assert!(tree.out.lines().nth(1).is_some_and(|line| line.starts_with("└─ storm-acted")), "{tree:?}");
    policy.delete().await;
}

// Whoever else writes the same object: the operator its facts, an engine its outcome, people their annotations.
#[tokio::test]
async fn what_many_write_at_once_is_all_there() {
    let world = World::new("act-races").await;
    let policy = PolicyOf::create(&world, json!({ "closeOnOutcome": false, "publishInterval": "100ms" })).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Act).await;
    world.create(&table("first", "Raced", 0..2)).await;
    let object = world.one_storm("two", |storm| storm.alert_count == 2).await;
    let name = object.name_any();
    std::thread::scope(|threads| {
        let command = |arguments: &'static [&'static str]| {
            let (plugin, name) = (&plugin, &name);
            threads.spawn(move || {
                let mut all = vec![arguments[0], name.as_str()];
                all.extend(&arguments[1..]);
                plugin.ask(&all)
            })
        };
        let asked = [command(&["hold"]), command(&["finish", "--outcome", "Failed"]), command(&["hold"])];
        for answer in asked.map(|thread| thread.join().unwrap()) {
            assert_eq!(answer.code, Some(0), "{answer:?}");
        }
    });
    for n in 1..6 {
        world.create(&table(&format!("more-{n}"), "Raced", n * 10..n * 10 + 2)).await;
    }
    let object = world.one_storm("twelve", |storm| storm.alert_count == 12).await;
    assert_eq!(object.annotations().get("stormfold.dev/hold-open").map(String::as_str), Some("true"));
    assert!(object.status.unwrap().remediation.unwrap().outcome.is_some());
    policy.delete().await;
}

#[tokio::test]
async fn who_may_only_look_is_told_which_right_is_missing() {
    let world = World::new("act-rights").await;
    let operator = Operator::start(&[&world], &[]).await;
    let plugin = Plugin::of(&world, May::Look).await;
    world.create(&table("two", "Looked", 0..2)).await;
    let name = world.one_storm("two", |storm| storm.alert_count == 2).await.name_any();
    for (arguments, right) in [
        (vec!["close", &name], "patch remediationrequests.stormfold.dev in namespace"),
        (vec!["finish", &name, "--outcome", "Failed"], "patch remediationrequests.stormfold.dev/status in namespace"),
    ] {
        let refused = plugin.ask(&arguments);
        assert!(refused.code == Some(3) && refused.err.contains(right), "{refused:?}");
    }
    drop(operator);
}
