//! The cluster that is measured: one client, a namespace for each round, and the process id of its API server.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use stormfold::api::{RemediationRequest, StormStatus};

use super::process::Process;
use super::redis_server::RedisServer;

/// See the module.
pub struct World {
    pub client: Client,
    /// The API server, when it runs on this machine and `cluster with` told where its process id is.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub api_server: Option<Process>,
    /// The server of the ledger, when that is measured (variable LEDGER).
    pub redis: Option<RedisServer>,
    namespaces: Mutex<Vec<String>>,
}

impl World {
    /// Connects to the cluster of KUBECONFIG.
    pub async fn connect() -> anyhow::Result<Self> {
        // A second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_default().await.context("KUBECONFIG cannot be used")?;
        client.apiserver_version().await.context("the API server does not answer")?;
        let file = std::env::var_os("CLUSTER_DIR").map(|dir| PathBuf::from(dir).join("apiserver.pid"));
        let pid = file.and_then(|file| std::fs::read_to_string(file).ok()).and_then(|pid| pid.trim().parse().ok());
        let redis = match std::env::var_os("LEDGER").unwrap_or_default().to_str() {
            Some("" | "memory") => None,
            Some("redis") => Some(RedisServer::start(&["--maxmemory", "512mb"])),
            other => bail!("LEDGER is {other:?}: memory or redis"),
        };
        Ok(Self { client, api_server: pid.map(Process::new), redis, namespaces: Mutex::default() })
    }

    /// A namespace that nobody else uses.
    pub async fn namespace(&self, round: &str) -> anyhow::Result<String> {
        let number = self.namespaces.lock().map_or(0, |namespaces| namespaces.len());
        let name = format!("bench-{}-{number}-{round}", std::process::id());
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() })
            .await
            .with_context(|| format!("cannot create namespace {name}"))?;
        if let Ok(mut namespaces) = self.namespaces.lock() {
            namespaces.push(name.clone());
        }
        Ok(name)
    }

    /// The facts of every storm of a namespace.
    pub async fn storms(&self, namespace: &str) -> anyhow::Result<Vec<StormStatus>> {
        let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
        let items = api.list(&ListParams::default()).await.context("cannot list RemediationRequests")?.items;
        Ok(items.into_iter().filter_map(|object| object.status?.storm).collect())
    }

    /// The size of the largest RemediationRequest of these namespaces as JSON, in KiB.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn largest_request(&self, namespaces: &[String]) -> anyhow::Result<f64> {
        let mut largest = 0;
        for namespace in namespaces {
            let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
            for object in api.list(&ListParams::default()).await.context("cannot list RemediationRequests")?.items {
                largest = largest.max(serde_json::to_vec(&object)?.len());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "an object is some kilobytes")]
        Ok(largest as f64 / 1024.0)
    }

    /// Asks for the deletion of every namespace of ours, after the last figure: deleting costs the API server as much as a storm.
    pub async fn clean_up(&self) {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespaces = self.namespaces.lock().map(|namespaces| namespaces.clone()).unwrap_or_default();
        for name in namespaces {
            if let Err(error) = api.delete(&name, &DeleteParams::background()).await {
                println!("namespace {name} is left behind: {error}");
            }
        }
    }
}
