//! A real Alertmanager that is asked: what its webhooks have not told is told, and what it does not say is no end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::alertmanager::Alertmanager;
use super::alertmanager_scene::{Scene, a_minute_ago, alert};
use super::http::exchange;
use super::operator::Operator;
use super::wait::eventually;
use super::webhook::{FLAGS, address};
use super::world::{World, facts};

const NAMES: [&str; 4] = ["DiskFull", "HighLoad", "PodCrashLoop", "SlowQueries"];

/// Between Alertmanager and the gateway: answers every webhook with 200, and hands on seven of ten.
#[derive(Clone)]
struct Lossy {
    gateway: Arc<str>,
    seen: Arc<AtomicUsize>,
}

impl Lossy {
    async fn before(gateway: String) -> (Self, SocketAddr) {
        let lossy = Self { gateway: gateway.into(), seen: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(hand_on)).with_state(lossy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (lossy, address)
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

async fn hand_on(State(lossy): State<Lossy>, body: Bytes) -> StatusCode {
    if [2, 5, 8].contains(&(lossy.seen.fetch_add(1, Ordering::Relaxed) % 10)) {
        return StatusCode::OK;
    }
    let headers = "Content-Type: application/json\r\n";
    let answer = exchange(&lossy.gateway, "POST /webhook/alertmanager", headers, &body).await;
    answer.map_or(StatusCode::BAD_GATEWAY, |(status, _)| StatusCode::from_u16(status).unwrap())
}

/// What is not told at once is not told again: nothing repairs a loss but a poll.
fn config(url: &str) -> String {
    format!(
        "global: {{resolve_timeout: 1h}}\n\
         route: {{receiver: stormfold, group_by: [alertname, namespace], group_wait: 1s, group_interval: 1s, repeat_interval: 4h}}\n\
         receivers: [{{name: stormfold, webhook_configs: [{{url: '{url}', send_resolved: true}}]}}]\n"
    )
}

/// An operator that takes webhooks and asks these, ten times a second nearly.
async fn start(world: &World, managers: &[&Alertmanager]) -> Operator {
    let urls: Vec<_> = managers.iter().map(|one| format!("--alertmanager-url=http://{}", one.address())).collect();
    let mut flags = vec!["--alertmanager-interval=200ms", "--settle-delay=1s"];
    flags.extend(FLAGS);
    flags.extend(urls.iter().map(String::as_str));
    Operator::start(&[world], &flags).await
}

impl Scene {
    async fn raise(&self, name: &str, pods: std::ops::Range<usize>, over: bool) {
        let alert = |pod: usize| self.alert(name, &about(pod), over);
        self.manager.raise(&pods.map(alert).collect::<Vec<_>>()).await;
    }
}

fn about(pod: usize) -> Value {
    json!({ "pod": format!("web-{pod}") })
}

fn alerts(world: &World, name: &str, pods: std::ops::Range<usize>, begun: Timestamp, over: bool) -> Vec<Value> {
    pods.map(|pod| alert(world, name, &about(pod), begun, over)).collect()
}

/// Which Pods fire, by alert name, as its API says.
async fn firing(manager: &Alertmanager) -> BTreeMap<String, BTreeSet<String>> {
    let mut firing = BTreeMap::<_, BTreeSet<_>>::new();
    for alert in manager.firing().await {
        let label = |name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        firing.entry(label("alertname")).or_default().insert(label("pod"));
    }
    firing
}

/// Waits until the open requests are what its API says.
async fn agree(world: &World, manager: &Alertmanager) {
    eventually("the requests are what Alertmanager says", || async {
        let said = firing(manager).await;
        let said: BTreeMap<_, _> = said.iter().map(|(name, pods)| (name.clone(), pods.len())).collect();
        let mut shown = BTreeMap::new();
        for object in world.storms().await {
            let count = facts(&object).map_or(0, |storm| usize::try_from(storm.firing_count).unwrap());
            if count > 0 {
                *shown.entry(object.spec.signal.name.clone()).or_default() += count;
            }
        }
        if shown == said { Ok(()) } else { Err(format!("{shown:?}, not {said:?}")) }
    })
    .await;
}

/// Waits for so many more polls of this result.
pub async fn polls(operator: &Operator, result: &str, more: f64) {
    let metric = format!("stormfold_alertmanager_polls_total{{result=\"{result}\"}}");
    let before = operator.metric(&metric).await;
    eventually("it is asked again", || async {
        let polls = operator.metric(&metric).await;
        if polls >= before + more { Ok(()) } else { Err(format!("{polls} after {before}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_three_of_ten_webhooks_lost_the_requests_are_what_alertmanager_says() {
    let world = World::new("polls").await;
    // The manager is told of the proxy, the proxy of the gateway, and the operator of the manager.
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (lossy, proxy) = Lossy::before(listen.clone()).await;
    let manager = Alertmanager::start(&config(&format!("http://{proxy}/"))).await;
    let (listen, url) =
        (format!("--gateway-listen={listen}"), format!("--alertmanager-url=http://{}", manager.address()));
    let operator = Operator::start(&[&world], &[&listen, &url, "--alertmanager-interval=200ms"]).await;
    let begun = a_minute_ago();
    // Each step is a webhook for each group at least, and most are several.
    for step in 0..5 {
        for name in NAMES {
            manager.raise(&alerts(&world, name, step * 5..step * 5 + 5, begun, false)).await;
        }
        agree(&world, &manager).await;
    }
    for name in NAMES {
        manager.raise(&alerts(&world, name, 0..12, begun, true)).await;
    }
    agree(&world, &manager).await;
    manager.raise(&alerts(&world, NAMES[0], 12..25, begun, true)).await;
    agree(&world, &manager).await;
    assert!(lossy.seen() >= 10, "{} webhooks: some were lost", lossy.seen());
    let told = |what: &'static str| {
        let operator = &operator;
        async move { operator.metric(&format!("stormfold_alertmanager_poll_alerts_total{{what=\"{what}\"}}")).await }
    };
    assert!(told("Fires").await > 0.0 && told("Ends").await > 0.0);
    assert_eq!(world.storms().await.iter().filter_map(facts).map(|storm| storm.alert_count).sum::<i64>(), 100);
}

/// Silences all alerts of this name.
async fn silence(manager: &Alertmanager, name: &str) {
    manager.silence(name).await;
    eventually("the alerts are silenced", || async {
        let alerts = manager.firing().await;
        let silenced = alerts.iter().filter(|alert| alert["status"]["state"] == "suppressed").count();
        if silenced > 0 { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
}

// Over a restart, too: which alerts fire is in the Signals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_is_silenced_and_ends_is_over_and_one_that_is_silenced_fires_on() {
    let scene = Scene::new("silenced", config).await;
    let operator = scene.operator(&[]).await;
    scene.raise("HighLoad", 0..12, false).await;
    let object = scene.world.one_storm("twelve fire", |storm| storm.firing_count == 12).await;
    silence(&scene.manager, "HighLoad").await;
    operator.sigkill();
    let url = format!("--alertmanager-url=http://{}", scene.manager.address());
    let operator = scene.operator(&[&url, "--alertmanager-interval=200ms"]).await;
    polls(&operator, "Done", 4.0).await;
    scene.world.storm_named(&object, |storm| storm.firing_count == 12).await;
    assert_eq!(operator.metric("stormfold_alertmanager_poll_alerts_total").await, 0.0);
    scene.raise("HighLoad", 0..12, true).await;
    scene.world.storm_named(&object, |storm| storm.close_reason.is_some()).await;
    let storm = scene.world.storm_named(&object, |storm| storm.firing_count == 0).await;
    assert_eq!((storm.alert_count, storm.close_reason), (12, Some(stormfold::api::CloseReason::Resolved)));
    assert_eq!(operator.metric("stormfold_alertmanager_poll_alerts_total{what=\"Ends\"}").await, 12.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_that_does_not_answer_ends_nothing_and_is_told_by_a_page_that_is_ready() {
    let world = World::new("no-answer").await;
    let silent = "route: {receiver: stormfold}\nreceivers: [{name: stormfold}]\n";
    let (one, other) = (Alertmanager::start(silent).await, Alertmanager::start(silent).await);
    let operator = start(&world, &[&one, &other]).await;
    assert!(!address(&operator).await.is_empty());
    let begun = a_minute_ago();
    let fire = |pods| alerts(&world, "HighLoad", pods, begun, false);
    // Nobody sends webhooks: each has alerts of its own.
    one.raise(&fire(0..3)).await;
    other.raise(&fire(3..5)).await;
    let object = world.one_storm("five fire", |storm| storm.firing_count == 5).await;
    polls(&operator, "Done", 3.0).await;
    drop(other);
    polls(&operator, "NoAnswer", 3.0).await;
    let (code, page) = operator.get("/readyz").await.unwrap();
    assert!(code == 200 && page.contains("alertmanager: Alertmanager does not answer"), "{code} {page}");
    // Nor does one that answers tell an end while the other is silent; a beginning it does.
    one.raise(&alerts(&world, "HighLoad", 0..1, begun, true)).await;
    one.raise(&fire(5..6)).await;
    world.storm_named(&object, |storm| storm.firing_count == 6 && storm.alert_count == 6).await;
}
