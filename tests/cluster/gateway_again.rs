//! An alert that is over and fires again within seconds, before a real API server: by hand, and as the real Alertmanager tells it.

use std::net::TcpListener;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use stormfold::api::Signal;

use super::alertmanager::Alertmanager;
use super::operator::Operator;
use super::wait::eventually;
use super::webhook::{Answer, FLAGS, body, firing, post};
use super::world::World;

/// Posts one alert of this namespace in this state.
async fn report(operator: &Operator, namespace: &str, state: &str) -> Answer {
    let mut alert = firing("HighLoad", namespace, "web-0");
    alert["status"] = state.into();
    let answer = post(operator, &body(vec![alert])).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn result(answer: &Answer) -> &str {
    answer.body["alerts"][0]["result"].as_str().unwrap()
}

/// The states of all Signals of one occurrence, in order of their reports.
async fn reported(world: &World) -> Vec<(Timestamp, String)> {
    let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
    let state = |signal: &Signal| signal.spec.table.as_deref().unwrap().split(' ').next().unwrap().to_owned();
    let mut reports: Vec<_> =
        signals.iter().map(|signal| (signal.spec.reported_at.as_ref().unwrap().0, state(signal))).collect();
    reports.sort();
    assert!(reports.windows(2).all(|pair| pair[0].0 < pair[1].0), "{reports:?}");
    reports
}

async fn states(world: &World) -> Vec<String> {
    reported(world).await.into_iter().map(|(_, state)| state).collect()
}

// F1, between replicas and over a restart.
#[tokio::test]
async fn an_alert_that_fires_again_within_seconds_is_one_more_signal_whichever_replica_hears_of_it() {
    let world = World::new("again").await;
    let flags = [FLAGS[0], &format!("--namespace={}", world.namespace)];
    let start = async || Operator::start(&[&world], &flags).await;
    let (one, other) = (start().await, start().await);
    let report = async |operator: &Operator, state: &str| {
        let answer = report(operator, &world.namespace, state).await;
        (result(&answer).to_owned(), answer.body["signals"][0]["name"].clone())
    };
    let (first, name) = report(&one, "firing").await;
    assert_eq!(first, "accepted");
    assert_eq!(report(&other, "firing").await, ("duplicate".to_owned(), name.clone()));
    assert_eq!(report(&other, "resolved").await.0, "accepted");
    let (again, later) = report(&one, "firing").await;
    assert!(again == "accepted" && later != name, "{again} {later}");
    assert_eq!(report(&other, "firing").await, ("duplicate".to_owned(), later.clone()));
    drop(one);
    let one = start().await;
    assert_eq!(report(&one, "firing").await, ("duplicate".to_owned(), later));
    assert_eq!(report(&one, "resolved").await.0, "accepted");
    assert_eq!(states(&world).await, ["firing", "resolved", "firing", "resolved"]);
}

// R10: one webhook at two replicas at once, and room for one Signal in its namespace. Whoever comes second finds no room, and a Signal there all
// the same: it stores none at home, where it would open a second request.
#[tokio::test]
async fn one_webhook_at_two_replicas_is_one_signal_when_it_uses_up_the_quota() {
    let home = World::new("again-quota-home").await;
    let flags = [FLAGS[0], &format!("--namespace={}", home.namespace)];
    let start = async |world: &World| Operator::start(&[&home, world], &flags).await;
    for round in 0..3 {
        let world = home.another_namespace(&format!("again-quota-{round}")).await;
        world.allow("signals", 1).await;
        let (one, other) = (start(&world).await, start(&world).await);
        let (here, there) =
            tokio::join!(report(&one, &world.namespace, "firing"), report(&other, &world.namespace, "firing"));
        assert_eq!(here.body["signals"][0]["name"], there.body["signals"][0]["name"]);
        assert_eq!(states(&world).await, ["firing"]);
        assert_eq!(states(&home).await, [""; 0], "{here:?} {there:?}");
        world.one_storm("one request", |storm| storm.alert_count == 1).await;
    }
}

#[tokio::test]
async fn an_alert_of_a_missing_namespace_that_fires_again_is_one_more_signal_at_home() {
    let world = World::new("again-home").await;
    let gone = format!("{}-gone", world.namespace);
    let flags = [FLAGS[0], &format!("--namespace={}", world.namespace), &format!("--watch-namespace={gone}")];
    let operator = Operator::start(&[&world], &flags).await;
    for state in ["firing", "resolved", "firing"] {
        assert_eq!(result(&report(&operator, &gone, state).await), "accepted");
        assert_eq!(result(&report(&operator, &gone, state).await), "duplicate");
    }
    assert_eq!(states(&world).await, ["firing", "resolved", "firing"]);
    let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
    assert!(signals.iter().all(|signal| signal.annotations()["stormfold.dev/origin-reason"] == "NamespaceMissing"));
}

fn config(url: &str) -> String {
    format!(
        "route: {{receiver: stormfold, group_by: [alertname, namespace], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: stormfold, webhook_configs: [{{url: '{url}', send_resolved: true}}]}}]\n"
    )
}

// F1: what Alertmanager sends when Prometheus stalls past the end time of an alert and comes back: the same start each time.
#[tokio::test]
async fn what_alertmanager_says_of_an_alert_that_fires_ends_and_fires_again_is_three_signals() {
    let world = World::new("again-alertmanager").await;
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let operator = Operator::start(&[&world], &[&format!("--gateway-listen={listen}")]).await;
    let manager = Alertmanager::start(&config(&format!("http://{listen}/webhook/alertmanager"))).await;
    let alert = |ends_at: Option<Timestamp>| -> Value {
        let mut alert = json!({
            "labels": { "alertname": "HighLoad", "namespace": world.namespace, "pod": "web-0" },
            "startsAt": "2026-01-02T15:04:05.678Z", "generatorURL": "http://prometheus.example/graph",
        });
        if let Some(time) = ends_at {
            alert["endsAt"] = time.to_string().into();
        }
        alert
    };
    let mut told = Vec::new();
    for (state, over) in [("firing", false), ("resolved", true), ("firing", false)] {
        manager.raise(&[alert(over.then(Timestamp::now))]).await;
        told.push(state);
        eventually(&format!("{told:?}"), || async {
            let states = states(&world).await;
            if states == told { Ok(()) } else { Err(format!("{states:?}\n{}", operator.log_text())) }
        })
        .await;
        let fires = i64::from(!over);
        world.one_storm("its storm says the same", |storm| (storm.alert_count, storm.firing_count) == (1, fires)).await;
    }
    let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
    let mut lines: Vec<_> = signals.iter().map(|signal| signal.spec.table.clone().unwrap()).collect();
    lines.sort();
    assert_eq!(lines[0], lines[1], "the first and the last report say the same");
}
