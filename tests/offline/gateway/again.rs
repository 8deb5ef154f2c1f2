//! What says the same as before: a repeat, or an alert that fires again.

use serde_json::{Value, json};

use super::world::{Answer, ApiServer, World, body, settings};

/// Posts what is true of the alerts of these namespaces.
async fn report(world: &World, namespaces: &[&str], state: &str) -> Answer {
    let mut webhook = body(namespaces);
    for alert in webhook["alerts"].as_array_mut().unwrap() {
        alert["status"] = state.into();
    }
    let answer = world.post(webhook.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// Results of the alerts, in order.
fn results(answer: &Answer) -> Vec<&str> {
    let alerts = answer.body["alerts"].as_array().unwrap();
    alerts.iter().map(|alert| alert["result"].as_str().unwrap()).collect()
}

fn name(answer: &Answer) -> &Value {
    &answer.body["signals"][0]["name"]
}

/// The states of all Signals of one occurrence in order of their reports, which differ.
fn reported(server: &ApiServer) -> Vec<String> {
    let mut reports: Vec<_> = server
        .signals()
        .into_iter()
        .map(|signal| {
            let state = signal.spec.table.as_deref().unwrap().split(' ').next().unwrap().to_owned();
            (signal.spec.reported_at.unwrap().0, state)
        })
        .collect();
    reports.sort();
    assert!(reports.windows(2).all(|pair| pair[0].0 < pair[1].0), "{reports:?}");
    reports.into_iter().map(|(_, state)| state).collect()
}

// F1: Prometheus stalled for longer than an alert's end time, and came back.
#[tokio::test]
async fn an_alert_that_fires_again_within_seconds_is_reported_again_and_its_repeats_are_duplicates() {
    let world = World::simple().await;
    let mut names = Vec::new();
    for state in ["firing", "resolved", "firing", "resolved", "firing"] {
        let answer = report(&world, &["prod"], state).await;
        assert_eq!(results(&answer), ["accepted"], "{answer:?}");
        let again = report(&world, &["prod"], state).await;
        assert_eq!((results(&again), name(&again)), (vec!["duplicate"], name(&answer)), "{again:?}");
        names.push(name(&answer).clone());
    }
    assert_eq!(reported(&world.api_server), ["firing", "resolved", "firing", "resolved", "firing"]);
    names.dedup();
    assert_eq!(names.len(), 5);
}

#[tokio::test]
async fn what_another_replica_or_an_earlier_process_stored_counts_as_well() {
    let one = World::simple().await;
    let server = one.api_server.clone();
    let other = || World::before(server.clone(), &settings(), &[]);
    assert_eq!(results(&report(&one, &["prod"], "firing").await), ["accepted"]);
    assert_eq!(results(&report(&other(), &["prod"], "firing").await), ["duplicate"]);
    assert_eq!(results(&report(&other(), &["prod"], "resolved").await), ["accepted"]);
    // It knows its own first report, and not that it is over.
    let answer = report(&one, &["prod"], "firing").await;
    assert_eq!(results(&answer), ["accepted"]);
    let again = report(&other(), &["prod"], "firing").await;
    assert_eq!((results(&again), name(&again)), (vec!["duplicate"], name(&answer)));
    assert_eq!(reported(&server), ["firing", "resolved", "firing"]);
}

#[tokio::test]
async fn in_the_fallback_namespace_it_is_the_same() {
    let world = World::simple().await;
    world.api_server.set(|server| {
        server.missing.insert("gone");
    });
    for state in ["firing", "resolved", "firing"] {
        assert_eq!(results(&report(&world, &["gone"], state).await), ["accepted"]);
        let other = World::before(world.api_server.clone(), &settings(), &[]);
        assert_eq!(results(&report(&other, &["gone"], state).await), ["duplicate"]);
    }
    assert_eq!(reported(&world.api_server), ["firing", "resolved", "firing"]);
}

// R10: the second of two replicas is refused by a quota that the first one used up with the same report.
#[tokio::test]
async fn an_alert_that_fires_again_is_one_signal_when_it_uses_up_a_quota() {
    let world = World::simple().await;
    for state in ["firing", "resolved", "firing"] {
        report(&world, &["full"], state).await;
    }
    world.api_server.set(|server| {
        server.refused.insert("full", 403);
    });
    let other = World::before(world.api_server.clone(), &settings(), &[]);
    let answer = report(&other, &["full"], "firing").await;
    assert_eq!((results(&answer), &answer.body["signals"][0]["namespace"]), (vec!["duplicate"], &json!("full")));
    // What finds no room there is at home, once.
    assert_eq!(results(&report(&other, &["full"], "resolved").await), ["accepted"]);
    assert_eq!(results(&report(&world, &["full"], "resolved").await), ["duplicate"]);
    assert_eq!(reported(&world.api_server), ["firing", "resolved", "firing", "resolved"]);
}

// Three Signals of one group, of which one changes and changes back.
#[tokio::test]
async fn the_signals_of_one_body_are_no_news_to_each_other() {
    let limits = stormfold::sources::Limits { batch: 1, ..settings().limits };
    let world = World::new(stormfold::sources::GatewaySettings { limits, ..settings() }, &[]).await;
    let mut webhook = body(&["prod", "prod", "prod"]);
    for n in 0..3 {
        webhook["alerts"][n]["fingerprint"] = n.to_string().into();
    }
    let mut post = async |state: &str| {
        webhook["alerts"][1]["status"] = state.into();
        let answer = world.post(webhook.to_string().as_bytes()).await;
        results(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(post("firing").await, ["accepted"; 3]);
    assert_eq!(post("firing").await, ["duplicate"; 3]);
    assert_eq!(post("resolved").await, ["duplicate", "accepted", "duplicate"]);
    assert_eq!(post("resolved").await, ["duplicate"; 3]);
    assert_eq!(post("firing").await[1], "accepted");
    assert_eq!(post("firing").await, ["duplicate"; 3]);
}

// C15: a namespace is deleted and made again.
#[tokio::test]
async fn what_is_no_longer_there_is_stored_again() {
    let world = World::simple().await;
    report(&world, &["prod"], "firing").await;
    world.api_server.set(|server| server.signals.clear());
    assert_eq!(results(&report(&world, &["prod"], "firing").await), ["accepted"]);
    assert_eq!(world.api_server.signals().len(), 1);
}

// Alertmanager sends a body that took too long again: looking up what is stored of it must not take as long.
#[tokio::test]
async fn a_repeated_body_of_many_signals_is_looked_up_by_one_list_or_one_for_each_of_few_namespaces() {
    let world = World::simple().await;
    let names: Vec<_> = (0..150).map(|n| format!("web-{n}")).collect();
    let many: Vec<_> = names.iter().map(String::as_str).collect();
    report(&world, &many, "firing").await;
    assert_eq!(world.api_server.lists(), 0);
    assert_eq!(results(&report(&world, &many, "firing").await), ["duplicate"; 150]);
    assert_eq!(world.api_server.lists(), 1);
    assert_eq!(results(&report(&world, &many[..2], "resolved").await), ["accepted"; 2]);
    assert_eq!(results(&report(&world, &many[..3], "firing").await), ["accepted", "accepted", "duplicate"]);
    assert_eq!(world.api_server.lists(), 1 + 3);
    // Whoever may not list all namespaces lists each.
    world.api_server.set(|server| server.one_namespace_only = true);
    assert_eq!(results(&report(&world, &many[..10], "firing").await), ["duplicate"; 10]);
    assert_eq!(world.api_server.lists(), 4 + 1 + 10);
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end() {
    let world = World::simple().await;
    let mut webhook = body(&["prod"; 250]);
    let mut post = async |state: &str| {
        for (n, alert) in webhook["alerts"].as_array_mut().unwrap().iter_mut().enumerate() {
            alert["labels"]["alertname"] = format!("Alert{n}").into();
            alert["status"] = state.into();
        }
        let answer = world.post(webhook.to_string().as_bytes()).await;
        results(&answer).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for state in ["firing", "resolved", "firing"] {
        assert_eq!(post(state).await, ["accepted"; 250]);
    }
    assert_eq!(post("firing").await, ["duplicate"; 250]);
    assert!(world.api_server.lists() > 2, "{}", world.api_server.lists());
}
