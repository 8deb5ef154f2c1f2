//! Several replicas of one installation, as a Deployment keeps them: one that ends is replaced.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::operator::{Operator, metric};
use super::wait::eventually;
use super::world::World;

/// Short, so that a test need not wait long, and long enough that two busy cores do not lose it.
pub const LEASE: Duration = Duration::from_secs(3);

/// How long a page may take: one of a process that is stopped never comes.
const PAGE: Duration = Duration::from_millis(500);

/// See the module. The Lease is in the namespace of the test: others have theirs.
pub struct Replicas<'a> {
    world: &'a World,
    flags: Vec<String>,
    pub running: Vec<Operator>,
    /// How many lost the Lease and ended by themselves.
    pub gave_up: usize,
}

impl<'a> Replicas<'a> {
    /// Starts three of them, with further arguments.
    pub async fn start(world: &'a World, flags: &[String]) -> Self {
        allow_lease(&world.client, &world.namespace).await;
        let mut all = vec![
            "--leader-elect".to_owned(),
            format!("--lease-duration={}s", LEASE.as_secs()),
            format!("--namespace={}", world.namespace),
        ];
        all.extend_from_slice(flags);
        let mut replicas = Self { world, flags: all, running: Vec::new(), gave_up: 0 };
        for _ in 0..3 {
            replicas.add().await;
        }
        replicas
    }

    /// Starts one more, and does not wait for it.
    pub async fn add(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        self.running.push(Operator::launch(&[self.world], &flags).await);
    }

    /// Replaces those that ended by themselves.
    async fn replace(&mut self) {
        let before = self.running.len();
        self.running.retain_mut(|replica| replica.ended().is_none());
        for _ in self.running.len()..before {
            self.gave_up += 1;
            self.add().await;
        }
    }

    /// Those that say that they lead.
    pub async fn leading(&self) -> Vec<usize> {
        let mut leading = Vec::new();
        for (index, replica) in self.running.iter().enumerate() {
            let Some(address) = replica.admin() else { continue };
            let says = tokio::time::timeout(PAGE, metric(&address, "stormfold_leading")).await;
            if says.is_ok_and(|says| says == Ok(1.0)) {
                leading.push(index);
            }
        }
        leading
    }

    /// Waits until one leads, and takes it out: to be killed.
    pub async fn take_leader(&mut self) -> Operator {
        let replicas = tokio::sync::Mutex::new(self);
        let index = eventually("one replica leads", || async {
            let mut replicas = replicas.lock().await;
            replicas.replace().await;
            let leading = replicas.leading().await;
            assert!(leading.len() < 2, "two lead: {leading:?}");
            leading.first().copied().ok_or_else(|| "none leads".to_owned())
        })
        .await;
        replicas.into_inner().running.remove(index)
    }
}

/// Gives the operator's account what it needs for a Lease in this namespace, as manifests/base/rbac.yaml does in its own.
pub async fn allow_lease(client: &Client, namespace: &str) {
    let metadata = || ObjectMeta { name: Some("lease".into()), ..ObjectMeta::default() };
    let may = |verbs: &[&str], names: Option<&str>| PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".into()]),
        resources: Some(vec!["leases".into()]),
        resource_names: names.map(|name| vec![name.into()]),
        verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
        ..PolicyRule::default()
    };
    let allowed = vec![may(&["create"], None), may(&["get", "update"], Some("stormfold"))];
    let api: Api<Role> = Api::namespaced(client.clone(), namespace);
    let role = Role { metadata: metadata(), rules: Some(allowed) };
    api.create(&PostParams::default(), &role).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef { api_group: "rbac.authorization.k8s.io".into(), kind: "Role".into(), name: "lease".into() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: "stormfold".into(),
            namespace: Some("stormfold-system".into()),
            ..Subject::default()
        }]),
    };
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}
