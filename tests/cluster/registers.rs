//! An alert is a register: the latest report wins, whatever its start and in whatever order reports come. On a real API server.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use stormfold::api::{CloseReason, OccurrenceState, Signal};

use super::operator::Operator;
use super::signals::{as_of, occurrence, signal};
use super::webhook::{FLAGS, body, firing, post};
use super::world::{World, facts, is_open};

use OccurrenceState::{Firing, Resolved};

/// All orders in which three reports can come.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The times of three reports, and of two starts before them.
struct Times {
    starts: [Timestamp; 2],
    reports: [Timestamp; 3],
}

impl Times {
    fn before_now() -> Self {
        let ago = |seconds| Timestamp::now() - SignedDuration::from_secs(seconds);
        Self { starts: [ago(90), ago(60)], reports: [ago(30), ago(20), ago(10)] }
    }
}

/// A Signal that says this of the one alert of its name, from a source that reports ends.
fn report(name: &str, alert: &str, state: OccurrenceState, starts_at: Timestamp, reported_at: Timestamp) -> Signal {
    let mut occurrence = occurrence("fp", state, "web-0");
    occurrence.starts_at = Some(Time(starts_at));
    let mut signal = signal(name, alert);
    signal.spec.resolvable = true;
    signal.spec.occurrences = Some(vec![occurrence]);
    as_of(reported_at, signal)
}

/// Creates three reports in each order, each order for an alert of its own; gives what each storm shows at rest: alerts, and firing ones.
async fn in_every_order(test: &str, said: [(OccurrenceState, usize); 3]) -> Vec<(String, i64, i64)> {
    let world = World::new(test).await;
    let _operator = Operator::start(&[&world], &[]).await;
    let Times { starts, reports } = Times::before_now();
    for (number, order) in ORDERS.iter().enumerate() {
        for place in order {
            let (state, start) = said[*place];
            let alert = format!("Order{number}");
            world.create(&report(&format!("s{number}-{place}"), &alert, state, starts[start], reports[*place])).await;
        }
    }
    // A receipt comes after a publish that has its Signal in it.
    world.receipts(3 * ORDERS.len()).await;
    let storms = world.storms().await;
    storms
        .iter()
        .map(|object| {
            let storm = facts(object).unwrap();
            (object.spec.signal.name.clone(), storm.alert_count, storm.firing_count)
        })
        .collect()
}

// F1: what Alertmanager sends when Prometheus stalled past the alert's end time. The start is the same each time.
#[tokio::test]
async fn an_alert_that_fires_ends_and_fires_again_is_one_that_fires_in_any_order() {
    let storms = in_every_order("fires-again", [(Firing, 0), (Resolved, 0), (Firing, 0)]).await;
    assert_eq!(storms.len(), ORDERS.len(), "{storms:?}");
    assert!(storms.iter().all(|(_, alerts, firing)| (*alerts, *firing) == (1, 1)), "{storms:?}");
}

// F2: Prometheus and Alertmanager are restarted during an alert, which moves its start; the end speaks of the new one.
#[tokio::test]
async fn an_alert_whose_start_moves_is_one_alert_and_its_end_is_its_end_in_any_order() {
    let storms = in_every_order("moved-start", [(Firing, 1), (Firing, 0), (Resolved, 0)]).await;
    assert_eq!(storms.len(), ORDERS.len(), "{storms:?}");
    assert!(storms.iter().all(|(_, alerts, firing)| (*alerts, *firing) == (1, 0)), "{storms:?}");
}

// F1, where the storm was closed in between: what comes late of it is an echo, what comes anew is news.
#[tokio::test]
async fn an_alert_that_fires_again_after_its_storm_was_resolved_opens_a_successor() {
    let world = World::new("fires-after-close").await;
    let _operator = Operator::start(&[&world], &["--settle-delay=1s"]).await;
    let Times { starts: [start, _], reports: [first, second, third] } = Times::before_now();
    let say = |name: &str, state, at| report(name, "Again", state, start, at);
    world.create(&say("fires", Firing, first)).await;
    world.create(&say("ends", Resolved, second)).await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    let storm = facts(&closed).unwrap();
    assert_eq!((storm.close_reason, storm.alert_count, storm.firing_count), (Some(CloseReason::Resolved), 1, 0));
    world.create(&say("echo", Firing, first)).await;
    world.receipts(3).await;
    assert_eq!(world.storms().await.len(), 1, "the same report from the other Alertmanager of a pair opens nothing");
    world.create(&say("again", Firing, third)).await;
    let storms = world.storms_until("a successor opens", 2, |storm| storm.firing_count == 1).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, closed.name_any());
    assert_eq!(facts(&storms[1]).unwrap().alert_count, 1);
    assert!(!is_open(facts(&storms[0]).unwrap()), "a closed one is never opened again");
}

/// Posts one alert in this state, since this time.
async fn webhook(operator: &Operator, world: &World, state: &str, starts_at: &str) {
    let mut alert: Value = firing("HighLoad", &world.namespace, "web-0");
    (alert["status"], alert["startsAt"]) = (state.into(), starts_at.into());
    let answer = post(operator, &body(vec![alert])).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(1)), "{answer:?}");
}

const EARLIER: &str = "2026-01-02T15:00:00.123Z";
const LATER: &str = "2026-01-02T15:04:05.678Z";

// F1, through the gateway.
#[tokio::test]
async fn a_webhook_of_an_alert_that_fires_again_makes_its_storm_fire_again() {
    let world = World::new("webhook-again").await;
    let operator = Operator::start(&[&world], FLAGS).await;
    for (state, fires) in [("firing", 1), ("resolved", 0), ("firing", 1)] {
        webhook(&operator, &world, state, LATER).await;
        let what = format!("{state} is taken in");
        world.one_storm(&what, |storm| (storm.alert_count, storm.firing_count) == (1, fires) && is_open(storm)).await;
    }
    world.receipts(3).await;
    world.one_storm("it fires at rest", |storm| (storm.alert_count, storm.firing_count) == (1, 1)).await;
}

// F1, through the gateway, where the storm was closed in between.
#[tokio::test]
async fn a_webhook_of_an_alert_that_fires_again_after_its_storm_was_resolved_opens_a_successor() {
    let world = World::new("webhook-after-close").await;
    let operator = Operator::start(&[&world], &[FLAGS[0], "--settle-delay=1s"]).await;
    webhook(&operator, &world, "firing", LATER).await;
    world.one_storm("it fires", |storm| storm.firing_count == 1).await;
    webhook(&operator, &world, "resolved", LATER).await;
    let closed = world.one_storm("it closes", |storm| !is_open(storm)).await;
    assert_eq!(facts(&closed).unwrap().close_reason, Some(CloseReason::Resolved));
    webhook(&operator, &world, "firing", LATER).await;
    let storms = world.storms_until("a successor", 2, |storm| (storm.alert_count, storm.firing_count) == (1, 1)).await;
    assert_eq!(storms[1].spec.previous_ref.as_ref().unwrap().name, closed.name_any());
}

// F2, through the gateway.
#[tokio::test]
async fn a_webhook_of_an_alert_whose_start_moved_is_no_second_alert() {
    let world = World::new("webhook-moved").await;
    let operator = Operator::start(&[&world], FLAGS).await;
    webhook(&operator, &world, "firing", LATER).await;
    webhook(&operator, &world, "firing", EARLIER).await;
    world.receipts(2).await;
    world.one_storm("one fires", |storm| (storm.alert_count, storm.firing_count) == (1, 1)).await;
    webhook(&operator, &world, "resolved", EARLIER).await;
    world.one_storm("none fires", |storm| (storm.alert_count, storm.firing_count) == (1, 0)).await;
}
