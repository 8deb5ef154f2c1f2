//! An Alertmanager of one's own: on a free port of the loopback, in a folder of its own, ended by its process id.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The longest that it may take to answer. It takes some 100 ms; the rest is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module. Dropped, it is killed.
pub struct Alertmanager {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Alertmanager {
    /// Starts one with this configuration, and waits until it answers. Each stands alone: none joins a cluster.
    pub async fn start(config: &str) -> Self {
        let folder = TempDir::new().expect("a folder for Alertmanager");
        std::fs::write(folder.path().join("alertmanager.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--cluster.listen-address=", "--log.level=debug"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("prometheus-alertmanager is installed: the Makefile's target `alertmanager` says how");
        let server = Self { child, port, folder };
        let end = Instant::now() + PATIENCE;
        while server.get("/-/ready").await.is_err() {
            assert!(Instant::now() < end, "Alertmanager does not answer: {}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// HOST:PORT.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Raises these alerts, as Prometheus does.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn raise(&self, alerts: &[Value]) {
        let (address, body) = (self.address(), Value::from(alerts.to_vec()).to_string());
        let headers = "Content-Type: application/json\r\n";
        let (status, said) = super::http::exchange(&address, "POST /api/v2/alerts", headers, body.as_bytes())
            .await
            .expect("Alertmanager answers");
        assert_eq!(status, 200, "{said}");
    }

    /// The alerts that fire, as its API says.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn firing(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/api/v2/alerts").await.expect("Alertmanager answers"))
            .expect("a list of alerts")
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        match super::http::exchange(&self.address(), &format!("GET {path}"), "", b"").await? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{status} {body}")),
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the last of Alertmanager's log, backwards:\n{}", tail.join("\n"));
        }
        // Ended already when it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
