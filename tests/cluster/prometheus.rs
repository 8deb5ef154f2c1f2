//! A Prometheus of one's own: on a free port of the loopback, in a folder of its own, ended by its process id.
//!
//! It evaluates its rules and tells Alertmanager of what fires once a second, and each time says that the alert is over in four seconds
//! unless it is told again: four times the longer of the interval of evaluation and that of telling.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::exchange;
use super::wait::eventually;

/// See the module. Dropped, it is killed.
pub struct Prometheus {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one with these rules, which tells the Alertmanager at this address what fires and reads the metrics of the exporter at
    /// that one, and waits until it answers.
    pub async fn start(rules: &[Value], alertmanager: &str, exporter: Option<&str>) -> Self {
        let folder = TempDir::new().expect("a folder for Prometheus");
        let targets = |address: &str| json!([{ "targets": [address] }]);
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": ["rules.yml"],
            "alerting": { "alertmanagers": [{ "static_configs": targets(alertmanager) }] },
            "scrape_configs": exporter
                .map(|address| json!({ "job_name": "exporter", "static_configs": targets(address) }))
                .into_iter()
                .collect::<Value>(),
        });
        std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
        write_rules(&folder, rules);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { child: spawn(port, &folder), port, folder };
        server.answers().await;
        server
    }

    /// Goes by these rules from now on.
    pub async fn set_rules(&self, rules: &[Value]) {
        write_rules(&self.folder, rules);
        let (status, said) = self.ask("POST /-/reload").await.expect("Prometheus answers");
        assert_eq!(status, 200, "{said}");
    }

    /// Sends it this signal, such as STOP.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(told.expect("kill runs").success());
    }

    /// SIGTERM. What fired, and since when, it forgets; its samples are on disk.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.child.wait().expect("it is ours").success(), "Prometheus ends as it should: {}", self.log());
    }

    /// Starts it again after `stop`, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder);
        self.answers().await;
    }

    async fn ask(&self, line: &str) -> Result<(u16, String), String> {
        exchange(&format!("127.0.0.1:{}", self.port), line, "", b"").await
    }

    async fn answers(&self) {
        eventually("Prometheus answers", || async {
            match self.ask("GET /-/ready").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}: {}", self.log())),
            }
        })
        .await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the last of Prometheus' log, backwards:\n{}", tail.join("\n"));
        }
        // Ended already when it failed. SIGKILL ends one that is stopped, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A rule by which this alert, of these labels, fires while the expression gives anything.
pub fn rule(alert: &str, expr: &str, labels: &Value) -> Value {
    json!({ "alert": alert, "expr": expr, "labels": labels, "annotations": { "summary": "It burns" } })
}

fn write_rules(folder: &TempDir, rules: &[Value]) {
    let groups = json!({ "groups": [{ "name": "test", "rules": rules }] });
    std::fs::write(folder.path().join("rules.yml"), groups.to_string()).unwrap();
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    Command::new("prometheus")
        .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-lifecycle", "--rules.alert.resend-delay=1s"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("prometheus is installed: the Makefile's target `prometheus` says how")
}
