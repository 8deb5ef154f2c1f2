//! Real Alertmanagers drive the operator: what it shows in the end is what their own API says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alertmanager::Alertmanager;
use super::forwarder::Forwarder;
use super::operator::{Operator, kubeconfig_of};
use super::wait::eventually;
use super::world::{World, affected, facts};

const NAMES: [&str; 4] = ["DiskFull", "HighLoad", "PodCrashLoop", "SlowQueries"];
const NAMESPACES: usize = 5;
/// Of each name in each namespace: 500 alerts in 20 groups.
const EACH: usize = 25;

/// Who fires, by alert name and namespace.
type Firing = BTreeMap<(String, String), BTreeSet<String>>;

/// How the API server is stopped.
enum Stop {
    /// On the wire, because other tests share the server.
    Wire(Forwarder),
    /// By SIGSTOP, where this test has the cluster for itself (variable STOP_API_SERVER).
    Process(String),
}

impl Stop {
    fn stop(&self) {
        match self {
            Self::Wire(wire) => wire.stall(),
            Self::Process(pid) => signal("-STOP", pid),
        }
    }

    fn go_on(&self) {
        match self {
            Self::Wire(wire) => wire.mend(),
            Self::Process(pid) => signal("-CONT", pid),
        }
    }
}

/// Nobody is left with a server that is stopped.
impl Drop for Stop {
    fn drop(&mut self) {
        self.go_on();
    }
}

fn signal(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success(), "kill {signal} {pid}");
}

struct Scene {
    worlds: Vec<World>,
    /// Two that know the same and do not know each other: both deliver everything.
    managers: [Alertmanager; 2],
    stop: Stop,
    kubeconfig: String,
    flags: [String; 2],
    begun: Timestamp,
}

impl Scene {
    async fn new() -> Self {
        let first = World::new("alertmanager").await;
        let mut worlds = Vec::new();
        for _ in 1..NAMESPACES {
            worlds.push(first.another_namespace("alertmanager").await);
        }
        worlds.push(first);
        let kubeconfig = kubeconfig_of(&worlds[0].client, "stormfold-system", "stormfold").await;
        let (stop, kubeconfig) = if std::env::var_os("STOP_API_SERVER").is_some() {
            let file =
                std::path::Path::new(&std::env::var_os("CLUSTER_DIR").expect("CLUSTER_DIR")).join("apiserver.pid");
            (Stop::Process(std::fs::read_to_string(file).unwrap().trim().to_owned()), kubeconfig)
        } else {
            let (wire, kubeconfig) = Forwarder::to(&kubeconfig).await;
            (Stop::Wire(wire), kubeconfig)
        };
        // Free now, and below the range of outgoing connections' ports a moment later: the operator comes back to it.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = config(&format!("http://{listen}/webhook/alertmanager"));
        let managers = [Alertmanager::start(&config).await, Alertmanager::start(&config).await];
        let flags = [format!("--gateway-listen={listen}"), "--gateway-timeout=1s".to_owned()];
        let begun = Timestamp::now() - SignedDuration::from_mins(1);
        Self { worlds, managers, stop, kubeconfig, flags, begun }
    }

    fn operator(&self) -> Operator {
        let worlds: Vec<_> = self.worlds.iter().collect();
        Operator::launch_with(&self.kubeconfig, &worlds, &self.flags.each_ref().map(String::as_str))
    }

    /// The `numbers`-th alerts of each group, as Prometheus sends them; `over`: they have ended.
    async fn raise(&self, numbers: std::ops::Range<usize>, summary: &str, over: bool) {
        let mut alerts = Vec::new();
        for (name, world) in NAMES.iter().flat_map(|name| self.worlds.iter().map(move |world| (name, world))) {
            for n in numbers.clone() {
                let starts_at = self.begun + SignedDuration::from_millis(i64::try_from(n * 7).unwrap());
                let mut alert = json!({
                    "labels": { "alertname": name, "namespace": world.namespace, "pod": format!("web-{n}"), "severity": "critical",
                        "job": "web", "instance": "10.0.0.1:9100", "service": "web" },
                    "annotations": { "summary": summary },
                    "startsAt": starts_at.to_string(), "generatorURL": "http://prometheus.example/graph",
                });
                if over {
                    alert["endsAt"] = Timestamp::now().to_string().into();
                }
                alerts.push(alert);
            }
        }
        for manager in &self.managers {
            manager.raise(&alerts).await;
        }
    }

    /// What both Alertmanagers say.
    async fn firing(&self) -> Firing {
        let [one, two] = [read(self.managers[0].firing().await), read(self.managers[1].firing().await)];
        assert_eq!(one, two, "the two Alertmanagers do not agree");
        one
    }

    /// Waits until each group has one RemediationRequest with these counts and resources.
    async fn shows(&self, what: &str, all: &Firing, firing: &Firing) {
        eventually(what, || async {
            for world in &self.worlds {
                let storms = world.storms().await;
                if storms.len() != NAMES.len() {
                    return Err(format!("{} storms in {}", storms.len(), world.namespace));
                }
                for object in &storms {
                    let group = (object.spec.signal.name.clone(), object.spec.namespace.clone());
                    let storm = facts(object).ok_or("no facts yet")?;
                    let resources: BTreeSet<_> = affected(object).into_iter().collect();
                    let shown = (storm.alert_count, storm.firing_count, &resources);
                    let count = |firing: &Firing| i64::try_from(firing.get(&group).map_or(0, BTreeSet::len)).unwrap();
                    if shown != (count(all), count(firing), &all[&group]) {
                        return Err(format!("{group:?}: {shown:?}, not {} of {}", count(firing), count(all)));
                    }
                }
            }
            Ok(())
        })
        .await;
    }
}

fn config(url: &str) -> String {
    format!(
        "global: {{resolve_timeout: 1h}}\n\
         route: {{receiver: stormfold, group_by: [alertname, namespace], group_wait: 1s, group_interval: 1s, repeat_interval: 5s}}\n\
         receivers: [{{name: stormfold, webhook_configs: [{{url: '{url}', send_resolved: true}}]}}]\n"
    )
}

fn read(alerts: Vec<Value>) -> Firing {
    let mut firing = Firing::new();
    for alert in alerts {
        let label = |name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        firing.entry((label("alertname"), label("namespace"))).or_default().insert(format!("Pod/{}", label("pod")));
    }
    firing
}

/// Waits until the gateway has answered 503 to somebody.
async fn refuses(operator: &Operator) {
    eventually("Alertmanager is told to retry", || async {
        let refused =
            operator.metric("stormfold_gateway_requests_total{source=\"Alertmanager\",answer=\"Unavailable\"}").await;
        if refused >= 1.0 { Ok(()) } else { Err(refused.to_string()) }
    })
    .await;
}

// C7, D3, D5, E1: fire, change, resolve; delivered twice, through a restart and an outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_alertmanagers_say_is_what_the_remediation_requests_show() {
    let scene = Scene::new().await;
    let operator = scene.operator();
    operator.ready().await;

    scene.raise(0..15, "it burns", false).await;
    let fired = scene.firing().await;
    assert_eq!((fired.len(), fired.values().map(BTreeSet::len).sum::<usize>()), (20, 300));
    scene.shows("the first 300 fire", &fired, &fired).await;

    scene.stop.stop();
    scene.raise(0..EACH, "it burns more", false).await;
    refuses(&operator).await;
    scene.stop.go_on();
    let all = scene.firing().await;
    assert_eq!(all.values().map(BTreeSet::len).sum::<usize>(), 500);
    scene.shows("all 500 fire, after the API server was stopped", &all, &all).await;

    operator.sigkill();
    scene.raise(0..5, "it burns more", true).await;
    let operator = scene.operator();
    operator.ready().await;
    scene.shows("100 are over, which was told while nobody listened", &all, &scene.firing().await).await;

    scene.stop.stop();
    scene.raise(5..12, "it burns more", true).await;
    refuses(&operator).await;
    let operator = {
        operator.sigkill();
        let operator = scene.operator();
        scene.stop.go_on();
        operator
    };
    operator.ready().await;
    let rest = scene.firing().await;
    assert_eq!(rest.values().map(BTreeSet::len).sum::<usize>(), 260);
    scene.shows("240 are over, after a restart while the API server was stopped", &all, &rest).await;

    scene.raise(0..EACH, "it burns more", true).await;
    let none = scene.firing().await;
    assert!(none.is_empty(), "{none:?}");
    scene.shows("nothing fires", &all, &none).await;
}

#[test]
fn alertmanager_takes_the_example_that_we_give() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/alertmanager/alertmanager.yml");
    let checked =
        Command::new("amtool").args(["check-config", example]).output().expect("amtool comes with Alertmanager");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
