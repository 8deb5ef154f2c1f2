//! What `kubectl apply -k manifests/overlays/local` made: pods, the Lease, and how to disturb them.

use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::wait::eventually;

const NAMESPACE: &str = "stormfold-system";
const OPERATOR: &str = "app.kubernetes.io/name=stormfold";
/// The one pod of Redis.
const REDIS: &str = "stormfold-redis-0";

/// See the module.
pub struct Installation {
    pods: Api<Pod>,
    deployments: Api<Deployment>,
    leases: Api<Lease>,
}

impl Installation {
    /// Waits until all of it works: three replicas, of which one leads, and Redis.
    pub async fn at_rest(client: &Client) -> Self {
        let new = Self {
            pods: Api::namespaced(client.clone(), NAMESPACE),
            deployments: Api::namespaced(client.clone(), NAMESPACE),
            leases: Api::namespaced(client.clone(), NAMESPACE),
        };
        new.rolled_out().await;
        eventually("Redis is ready", || async { new.is_ready(REDIS).await }).await;
        new.leader().await;
        new
    }

    /// Waits until three replicas of the newest kind are ready, and no others are left.
    pub async fn rolled_out(&self) {
        eventually("three replicas are ready", || async {
            let deployment = self.deployments.get("stormfold").await.unwrap();
            let status = deployment.status.clone().unwrap_or_default();
            let seen = status.observed_generation == deployment.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            if seen && counts == [Some(3); 3] { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        eventually("no others are left", || async {
            let pods = self.operators().await;
            if pods.len() == 3 { Ok(()) } else { Err(format!("{}", pods.len())) }
        })
        .await;
    }

    /// `kubectl rollout restart`.
    pub async fn restart(&self, why: &str) {
        let template = json!({ "metadata": { "annotations": { "e2e/restarted-for": why } } });
        let change = Patch::Merge(json!({ "spec": { "template": template } }));
        self.deployments.patch("stormfold", &PatchParams::default(), &change).await.unwrap();
    }

    /// The pods of the operator.
    pub async fn operators(&self) -> Vec<Pod> {
        self.pods.list(&ListParams::default().labels(OPERATOR)).await.unwrap().items
    }

    /// Waits until one of the pods that are there holds the Lease; gives its name.
    pub async fn leader(&self) -> String {
        eventually("a replica leads", || async {
            let holder = self.leases.get("stormfold").await.map_err(|error| error.to_string())?.spec;
            let holder = holder.and_then(|spec| spec.holder_identity).unwrap_or_default();
            // The name of the pod, and eight digits of the process.
            let pod = holder.rsplit_once('-').map(|(pod, _)| pod.to_owned()).unwrap_or_default();
            let there = self.operators().await.iter().any(|operator| operator.name_any() == pod);
            if there { Ok(pod) } else { Err(format!("the Lease is held by {holder:?}")) }
        })
        .await
    }

    /// Waits until another pod than this one leads.
    pub async fn leader_other_than(&self, old: &str) -> String {
        eventually(&format!("another replica than {old} leads"), || async {
            let leader = self.leader().await;
            if leader == old { Err(leader) } else { Ok(leader) }
        })
        .await
    }

    /// Takes a pod away at once, as `kubectl delete --now --force` does: its successor does not wait for its end.
    pub async fn delete_now(&self, pod: &str) {
        self.pods.delete(pod, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    /// SIGKILL to the container of this pod, from the node, behind the back of Kubernetes; waits until the kubelet has started it again.
    pub async fn sigkill(&self, pod: &str) {
        let (container, before) = self.container(pod).await.expect("it runs");
        // Empty: the node is this machine.
        let node = std::env::var("E2E_NODE").unwrap_or_default();
        let mut words: Vec<&str> = node.split_whitespace().collect();
        words.extend(["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", &container]);
        let output = Command::new(words[0]).args(&words[1..]).output().expect("ctr is on the node");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        eventually(&format!("{pod} is started again"), || async {
            let (_, restarts) = self.container(pod).await?;
            if restarts > before { self.is_ready(pod).await } else { Err(format!("{restarts} restarts")) }
        })
        .await;
    }

    /// Takes Redis and all its data away; waits until there is another one.
    pub async fn lose_redis(&self) {
        let old = self.pods.get(REDIS).await.unwrap().metadata.uid;
        self.delete_now(REDIS).await;
        eventually("there is another Redis", || async {
            let new = self.pods.get(REDIS).await.map_err(|error| error.to_string())?.metadata.uid;
            if new == old { Err("the old one".to_owned()) } else { self.is_ready(REDIS).await }
        })
        .await;
    }

    /// SIGKILL to Redis, which keeps its file.
    pub async fn sigkill_redis(&self) {
        self.sigkill(REDIS).await;
    }

    async fn is_ready(&self, pod: &str) -> Result<(), String> {
        let pod = self.pods.get(pod).await.map_err(|error| error.to_string())?;
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready { Ok(()) } else { Err(format!("{conditions:?}")) }
    }

    /// The id of the pod's one container, as containerd has it, and how often it was started again.
    async fn container(&self, pod: &str) -> Result<(String, i32), String> {
        let pod = self.pods.get(pod).await.map_err(|error| error.to_string())?;
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let [status] = statuses.as_slice() else { return Err(format!("{} containers", statuses.len())) };
        let id = status.container_id.as_deref().and_then(|id| id.strip_prefix("containerd://"));
        Ok((id.ok_or("no container")?.to_owned(), status.restart_count))
    }
}
