//! The process: how it is started, what it says while it cannot work, how it ends.

use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;
use stormfold::api::Signal;
use tempfile::TempDir;

use super::bounds::{object, raw};
use super::forwarder::Forwarder;
use super::operator::{Operator, kubeconfig_of};
use super::own_cluster::OwnCluster;
use super::signals::firing;
use super::wait::{LIMIT, eventually};
use super::world::World;

/// Runs the program to its end: exit code and standard error.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stormfold"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("the program ends").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Waits until /readyz says 503 and a line that begins with `gate` and contains `words`; /livez is fine all the while.
pub async fn not_ready(operator: &Operator, gate: &str, words: &str) {
    eventually(&format!("/readyz says of {gate}: {words}"), || async {
        let (status, page) = operator.get("/readyz").await?;
        let said = page.lines().any(|line| line.starts_with(&format!("{gate}: ")) && line.contains(words));
        if status == 503 && said { Ok(()) } else { Err(format!("{status} {page}")) }
    })
    .await;
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
}

#[tokio::test]
async fn running_with_a_wrong_flag_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["storms"], "storms"),
        (&["crds", "--all"], "--all"),
        (&["run", "--ledger=etcd"], "--ledger"),
        (&["--ledger", "etcd"], "--ledger"),
        (&["run", "--publish-interval=10ms"], "--publish-interval"),
        (&["run", "--watch-namespace=Not_One"], "--watch-namespace"),
        (&["run", "--watch-namespace=*"], "--watch-namespace"),
        (&["run", "--cross-namespace=ops,Not_One"], "--cross-namespace"),
        (&["run", "--admin-listen=nowhere"], "--admin-listen"),
        (&["run", "--log-format=xml"], "--log-format"),
        (&["run", "--quiet-period=soon"], "--quiet-period"),
        (&["run", "--stale-after=-1h"], "--stale-after"),
        (&["run", "--settle-delay=0s"], "--settle-delay"),
        (&["run", "--max-age=2y"], "--max-age"),
        (&["run", "--lease-duration=1s"], "--lease-duration"),
        (&["run", "--lease-duration=2500ms"], "--lease-duration"),
    ] {
        let (code, said) = run(arguments, &[]).await;
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(named), "{arguments:?}: {said}");
    }
    let (code, said) = run(&["run"], &[("STORMFOLD_QUIET_PERIOD", "soon")]).await;
    assert!(code == Some(2) && said.contains("--quiet-period"), "{code:?} {said}");
}

// A16, A23: what cannot be meant is refused at the start, and does not become a default.
#[tokio::test]
async fn running_with_a_max_age_that_no_quiet_period_fits_in_exits_2() {
    for ages in [["--max-age=10m", "--quiet-period=10m"], ["--max-age=5m", "--quiet-period=1h"]] {
        let (code, said) = run(&ages, &[]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--max-age") && said.contains("--quiet-period"), "{said}");
    }
}

#[tokio::test]
async fn running_without_a_usable_kubeconfig_exits_1_and_says_what_to_do() {
    let files = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(files.path().join(name), text).unwrap();
        files.path().join(name).display().to_string()
    };
    let home = files.path().display().to_string();
    let no_context = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "gone" }).to_string();
    for environment in [
        ("HOME", home.clone()),
        ("KUBECONFIG", format!("{home}/not-there")),
        ("KUBECONFIG", file("garbage", "\u{7}: [")),
        ("KUBECONFIG", file("no-context", &no_context)),
    ] {
        let (code, said) = run(&["run"], &[(environment.0, &environment.1)]).await;
        assert_eq!(code, Some(1), "{environment:?}: {said}");
        assert!(said.contains("error: ") && said.contains("set KUBECONFIG"), "{environment:?}: {said}");
    }
}

#[tokio::test]
async fn running_on_an_admin_address_that_is_taken_exits_1_and_names_the_flag() {
    let files = TempDir::new().unwrap();
    let kubeconfig = files.path().join("kubeconfig");
    std::fs::write(&kubeconfig, unreachable()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--admin-listen={}", taken.local_addr().unwrap());
    let (code, said) = run(&["run", &flag], &[("KUBECONFIG", kubeconfig.to_str().unwrap())]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--admin-listen"), "{said}");
}

/// A kubeconfig of a server that nobody runs: port 1 is reserved.
fn unreachable() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } }],
        "users": [{ "name": "c", "user": { "token": "t" } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
    })
    .to_string()
}

#[tokio::test]
async fn running_without_an_api_server_stays_alive_is_not_ready_and_stops_when_told() {
    let operator = Operator::launch_with(&unreachable(), &[], &[]);
    not_ready(&operator, "remediationrequests", "is the API server of this kubeconfig running?").await;
    assert!(operator.sigterm().success());
}

// D3, D7: an outage shows in readiness, and so does its end, even when nothing happens in the cluster afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_through_an_outage_of_the_api_server_it_is_ready_again_afterwards() {
    let world = World::new("outage").await;
    let kubeconfig = kubeconfig_of(&world.client, "stormfold-system", "stormfold").await;
    let (wire, kubeconfig) = Forwarder::to(&kubeconfig).await;
    let operator = Operator::launch_with(&kubeconfig, &[&world], &[]);
    operator.ready().await;
    wire.cut();
    not_ready(&operator, "signals", "cannot watch signals").await;
    not_ready(&operator, "remediationrequests", "cannot watch remediationrequests").await;
    wire.mend();
    operator.ready().await;
    world.create(&firing("AfterTheOutage", 0)).await;
    world.one_storm("what comes after the outage counts", |storm| storm.alert_count == 1).await;
}

/// Lets the account `nobody` do what this role says, in the namespace of this world.
async fn bind(world: &World, kind: &str, role: &str) {
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    let binding = RoleBinding {
        metadata: ObjectMeta { name: Some(format!("{role}-{}", kind.to_lowercase())), ..ObjectMeta::default() },
        role_ref: RoleRef { api_group: "rbac.authorization.k8s.io".into(), kind: kind.into(), name: role.into() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: "nobody".into(),
            namespace: Some(world.namespace.clone()),
            ..Subject::default()
        }]),
    };
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}

// E11: a right that is missing is named, with what gives it; nobody has to restart anything.
#[tokio::test]
async fn running_without_rights_it_names_them_and_works_once_it_has_them() {
    let world = World::new("no-rights").await;
    let named = |name: &str| ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), &world.namespace);
    let account = ServiceAccount { metadata: named("nobody"), ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let kubeconfig = kubeconfig_of(&world.client, &world.namespace, "nobody").await;
    let operator = Operator::launch_with(&kubeconfig, &[&world], &[]);
    for resource in ["remediationrequests", "stormpolicies", "namespaces"] {
        not_ready(&operator, resource, "kubectl apply -f manifests/install.yaml").await;
    }
    // CRDs belong to the whole cluster: they stay unknown, which is said, and no reason not to work.
    let unknown = "whether the CRDs are as new as this operator cannot be told";
    assert!(operator.log_text().contains(unknown), "{}", operator.log_text());
    drop(operator);
    // Rights within one namespace are enough for the built-in policy.
    let operator = Operator::launch_with(&kubeconfig, &[&world], &["--built-in-policy-only"]);
    not_ready(&operator, "remediationrequests", "kubectl apply -f manifests/install.yaml").await;
    let roles: Api<Role> = Api::namespaced(world.client.clone(), &world.namespace);
    let half = PolicyRule {
        api_groups: Some(vec!["stormfold.dev".into()]),
        resources: Some(vec!["remediationrequests".into()]),
        verbs: vec!["list".into(), "watch".into()],
        ..PolicyRule::default()
    };
    let role = Role { metadata: named("half"), rules: Some(vec![half]) };
    roles.create(&PostParams::default(), &role).await.unwrap();
    bind(&world, "Role", "half").await;
    not_ready(&operator, "signals", "needs list and watch on signals.stormfold.dev").await;
    not_ready(&operator, "signals", "kubectl apply -f manifests/install.yaml").await;
    bind(&world, "ClusterRole", "stormfold").await;
    operator.ready().await;
    assert!(!operator.log_text().contains(unknown), "{}", operator.log_text());
}

// B8: CRDs that are not there are named, with what installs them; nobody has to restart anything. An object that newer CRDs let in
// and this operator cannot read is told so, and blocks no other.
#[tokio::test]
async fn running_without_the_crds_or_with_newer_ones_it_says_what_to_apply_and_works() {
    let (cluster, world) = OwnCluster::up().await;
    let operator = Operator::launch_with(&cluster.kubeconfig(), &[], &[]);
    not_ready(&operator, "remediationrequests", "the CRD is not installed: kubectl apply -f crds/").await;
    not_ready(&operator, "crds", "the CRD signals.stormfold.dev is not installed: kubectl apply -f crds/").await;
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    for crd in stormfold::api::crds() {
        let newer = serde_json::to_string(&crd).unwrap().replace("\"critical\",", "\"critical\",\"fatal\",");
        api.create(&PostParams::default(), &serde_json::from_str(&newer).unwrap()).await.unwrap();
    }
    operator.ready().await;
    let unknown = json!({
        "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": { "name": "newer" },
        "spec": { "name": "A", "severity": "fatal", "table": "firing - - -" },
    });
    raw::<Signal>(&world).create(&PostParams::default(), &object(&unknown)).await.unwrap();
    world.create(&firing("Known", 0)).await;
    world.one_storm("the Signal that can be read counts", |storm| storm.alert_count == 1).await;
    let message = eventually("the Signal that cannot be read is told", || async {
        let signal = raw::<Signal>(&world).get("newer").await.unwrap();
        let condition = &signal.data["status"]["conditions"][0];
        let told = condition["reason"] == "Malformed" && condition["status"] == "False";
        if told { Ok(condition["message"].to_string()) } else { Err(signal.data.to_string()) }
    })
    .await;
    assert!(message.contains("fatal") && message.contains("kubectl apply -f crds/"), "{message}");
    // Invariant 14: our own receipt on it comes back, and is no news.
    let version = async || raw::<Signal>(&world).get("newer").await.unwrap().metadata.resource_version;
    let before = version().await;
    world.create(&firing("Later", 0)).await;
    eventually("all receipts are out", || async {
        let written = operator.metric("stormfold_api_writes_total{write=\"Receipt\",result=\"Done\"").await;
        if written == 3.0 { Ok(()) } else { Err(written.to_string()) }
    })
    .await;
    assert_eq!(version().await, before);
    assert_eq!(operator.metric("stormfold_signals_total{result=\"Rejected\"").await, 1.0);
    assert!(operator.sigterm().success());
}

#[tokio::test]
async fn running_it_serves_openmetrics_logs_json_and_exits_0_on_sigterm() {
    let world = World::new("running").await;
    let operator = Operator::start(&[&world], &[]).await;
    let (head, page) = operator.page("/metrics").await.unwrap();
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.to_lowercase().lines().any(|line| line == content_type), "{head}");
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    assert_eq!(operator.get("/readyz").await.unwrap(), (200, "ok\n".into()));
    assert_eq!(operator.get("/nothing").await.unwrap().0, 404);
    let lines = operator.log_text();
    assert!(lines.lines().count() > 1);
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    let begun = std::time::Instant::now();
    assert_eq!(operator.sigterm().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "a kubelet waits no longer than 30 s");
}
