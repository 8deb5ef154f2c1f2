//! A cluster of a test's own, for what belongs to a whole cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

use super::world::World;

/// A cluster of its own. Dropped, it is down.
pub struct OwnCluster {
    folder: PathBuf,
    _parent: TempDir,
}

impl OwnCluster {
    /// Starts it; a world in its namespace `default`, with the rights of its administrator.
    pub async fn up() -> (Self, World) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let start = || {
            let parent = TempDir::new().unwrap();
            let cluster = Self { folder: parent.path().join("cluster"), _parent: parent };
            assert!(cluster.tool("up"), "hack/cluster/cluster up");
            cluster
        };
        let cluster = tokio::task::spawn_blocking(start).await.unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let world = World { client: Client::try_from(config).unwrap(), namespace: "default".into(), redis: None };
        (cluster, world)
    }

    /// Its administrator's.
    pub fn kubeconfig(&self) -> String {
        std::fs::read_to_string(self.folder.join("kubeconfig")).unwrap()
    }

    fn tool(&self, verb: &str) -> bool {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/cluster/cluster");
        let mut command = Command::new(tool);
        // The port of the cluster that the other tests use is not free.
        command.arg(verb).env("CLUSTER_DIR", &self.folder).env_remove("CLUSTER_PORT").env_remove("KUBECONFIG");
        command.stdout(std::process::Stdio::null()).status().unwrap().success()
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        self.tool("down");
    }
}
