//! A real Prometheus and a real Alertmanager say what `registers` says by hand: an alert that fires again, and one whose start moves.

use std::net::TcpListener;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};
use stormfold::api::CloseReason;

use super::alertmanager::Alertmanager;
use super::operator::Operator;
use super::prometheus::{Prometheus, rule};
use super::wait::eventually;
use super::world::{World, facts, is_open};

/// What the alert is, and since when, in order of the reports. What is said again is left out.
type Said = Vec<(String, String)>;

/// Needs no metrics: none that is scraped late, or not at all, can end the alert.
const FIRES: &str = "vector(1)";
const FIRES_NOT: &str = "vector(1) > 1";

struct Scene {
    world: World,
    alertmanager: Alertmanager,
    /// Ends after what it tells.
    prometheus: Prometheus,
    _operator: Operator,
}

/// The one rule of these tests.
fn rules(world: &World, expr: &str) -> [Value; 1] {
    [rule("HighLoad", expr, &json!({ "namespace": world.namespace, "pod": "web-0", "severity": "critical" }))]
}

/// An operator with its gateway, and an Alertmanager that tells it of every change within a second, and of all again every two.
async fn listening(test: &str, flags: &[&str]) -> (World, Operator, Alertmanager) {
    let world = World::new(test).await;
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = format!("--gateway-listen={listen}");
    let operator = Operator::start(&[&world], &[&[gateway.as_str()], flags].concat()).await;
    let config = json!({
        "route": {
            "receiver": "stormfold", "group_by": ["alertname", "namespace"],
            "group_wait": "100ms", "group_interval": "1s", "repeat_interval": "2s",
        },
        "receivers": [{
            "name": "stormfold",
            "webhook_configs": [{ "url": format!("http://{listen}/webhook/alertmanager"), "send_resolved": true }],
        }],
    });
    let alertmanager = Alertmanager::start(&config.to_string()).await;
    (world, operator, alertmanager)
}

impl Scene {
    async fn new(test: &str, flags: &[&str]) -> Self {
        let (world, operator, alertmanager) = listening(test, flags).await;
        let prometheus = Prometheus::start(&rules(&world, FIRES), &alertmanager.address(), None).await;
        let scene = Self { world, alertmanager, prometheus, _operator: operator };
        scene.shows("it fires", 1, 1).await;
        scene
    }

    /// Waits until there is one storm, open, of so many alerts, so many of which fire.
    async fn shows(&self, what: &str, alerts: i64, firing: i64) {
        let expected = (alerts, firing);
        self.world.one_storm(what, |storm| (storm.alert_count, storm.firing_count) == expected && is_open(storm)).await;
    }

    async fn said(&self) -> Said {
        said(&self.world).await
    }
}

/// What the operator was told of the one alert, as its Signals say.
async fn said(world: &World) -> Said {
    let signals = world.signals().list(&ListParams::default()).await.unwrap().items;
    let line = |table: &str| {
        let mut words = table.trim().split(' ').map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    };
    let mut reports: Vec<_> = signals
        .iter()
        .map(|signal| (signal.spec.reported_at.as_ref().unwrap().0, line(signal.spec.table.as_deref().unwrap())))
        .collect();
    reports.sort();
    let mut said: Said = reports.into_iter().map(|(_, said)| said).collect();
    said.dedup();
    said
}

/// Waits until something that was said satisfies `expected`, and gives all of it.
async fn said_until(world: &World, what: &str, expected: impl Fn(&Said) -> bool) -> Said {
    eventually(what, || async {
        let said = said(world).await;
        if expected(&said) { Ok(said) } else { Err(format!("{said:?}")) }
    })
    .await
}

/// What was said is (firing, T1), (resolved, T1), (firing, T1): it may be more than once, on a machine that stalls by itself.
fn fires_again(said: &Said) {
    let states: Vec<_> = said.iter().map(|(state, _)| state.as_str()).collect();
    assert!(states.len() >= 3 && states.iter().step_by(2).all(|state| *state == "firing"), "{said:?}");
    assert!(said.iter().all(|(_, start)| *start == said[0].1), "its start has not moved: {said:?}");
}

// F1.
#[tokio::test]
async fn an_alert_whose_prometheus_stalled_past_its_end_fires() {
    let scene = Scene::new("stalled", &[]).await;
    scene.prometheus.signal("STOP");
    scene.shows("Alertmanager takes it for ended", 1, 0).await;
    scene.prometheus.signal("CONT");
    scene.shows("it fires again", 1, 1).await;
    fires_again(&scene.said().await);
}

// F1, where the storm is closed before Prometheus goes on.
#[tokio::test]
async fn an_alert_whose_prometheus_stalled_until_its_storm_was_closed_opens_a_successor() {
    let scene = Scene::new("stalled-long", &["--settle-delay=1s"]).await;
    let (world, prometheus) = (&scene.world, &scene.prometheus);
    prometheus.signal("STOP");
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    let storm = facts(&closed).unwrap();
    assert_eq!((storm.close_reason, storm.alert_count, storm.firing_count), (Some(CloseReason::Resolved), 1, 0));
    prometheus.signal("CONT");
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (1, 1)).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, closed.name_any());
    fires_again(&scene.said().await);
}

// F2: one Prometheus forgets since when the alert fires, and so does Alertmanager. The new start is the later one.
#[tokio::test]
async fn an_alert_whose_start_moved_by_restarts_of_prometheus_and_alertmanager_is_one_and_ends() {
    let mut scene = Scene::new("restarted", &[]).await;
    let (state, first) = scene.said().await[0].clone();
    assert_eq!(state, "firing");
    scene.prometheus.stop();
    scene.alertmanager.stop();
    scene.alertmanager.start_again().await;
    scene.prometheus.start_again().await;
    let moved = |said: &Said| said.last().is_some_and(|(state, start)| state == "firing" && *start != first);
    let second = said_until(&scene.world, "its start has moved", moved).await.pop().unwrap().1;
    scene.prometheus.set_rules(&rules(&scene.world, FIRES_NOT)).await;
    let ended = Some(&("resolved".to_owned(), second.clone()));
    let said = said_until(&scene.world, "its end is told", |said| said.last() == ended).await;
    assert!(said.iter().all(|(_, start)| [&first, &second].contains(&start)), "{said:?}");
    scene.shows("it is over", 1, 0).await;
}

// F2: of a pair of Prometheus servers one was restarted during the alert, and Alertmanager hears it first. The new start is the earlier one.
#[tokio::test]
async fn an_alert_whose_start_moved_back_as_alertmanager_heard_the_other_prometheus_of_a_pair_is_one_and_ends() {
    let (world, operator, mut alertmanager) = listening("pair", &[]).await;
    let address = alertmanager.address();
    let rules = |expr| rules(&world, expr);
    let older = Prometheus::start(&rules(FIRES), &address, None).await;
    let earlier = said_until(&world, "it fires", |said| said.len() == 1).await.pop().unwrap().1;
    let mut younger = Prometheus::start(&rules(FIRES), &address, None).await;
    older.signal("STOP");
    younger.stop();
    alertmanager.stop();
    alertmanager.start_again().await;
    younger.start_again().await;
    let other = |said: &Said| said.last().is_some_and(|(state, start)| state == "firing" && *start != earlier);
    let later = said_until(&world, "it fires since later", other).await.pop().unwrap().1;
    older.signal("CONT");
    let again = |said: &Said| said.last() == Some(&("firing".to_owned(), earlier.clone()));
    said_until(&world, "it fires since earlier again", again).await;
    assert!(earlier.parse::<Timestamp>().unwrap() < later.parse().unwrap(), "{earlier} {later}");
    younger.stop();
    older.set_rules(&rules(FIRES_NOT)).await;
    let ended = Some(&("resolved".to_owned(), earlier.clone()));
    let said = said_until(&world, "its end is told", |said| said.last() == ended).await;
    assert!(said.iter().all(|(_, start)| [&earlier, &later].contains(&start)), "{said:?}");
    world.one_storm("it is over", |storm| (storm.alert_count, storm.firing_count) == (1, 0) && is_open(storm)).await;
    drop(operator);
}
