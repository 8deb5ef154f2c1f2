//! An Alertmanager of one's own: on a free port of the loopback, in a folder of its own, ended by its process id.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
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
        let server = Self { child: spawn(port, &folder), port, folder };
        server.answers().await;
        server
    }

    /// SIGTERM: what it has told, and its silences, are on disk when it ends. Alerts never are.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn stop(&mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(told.expect("kill runs").success());
        assert!(self.child.wait().expect("it is ours").success(), "Alertmanager ends as it should: {}", self.log());
    }

    /// Starts it again after `stop`, where it was and with what it had on disk, and waits until it answers.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder);
        self.answers().await;
    }

    async fn answers(&self) {
        let end = Instant::now() + PATIENCE;
        while self.get("/-/ready").await.is_err() {
            assert!(Instant::now() < end, "Alertmanager does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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
        self.ask("POST /api/v2/alerts", &Value::from(alerts.to_vec()).to_string()).await;
    }

    /// Silences the alerts of this name; gives the silence.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn silence(&self, alert: &str) -> String {
        let silence = json!({
            "matchers": [{ "name": "alertname", "value": alert, "isRegex": false, "isEqual": true }],
            "startsAt": "2026-01-02T15:04:05Z", "endsAt": "2126-01-02T15:04:05Z", "createdBy": "test", "comment": "a test",
        });
        let said: Value = serde_json::from_str(&self.ask("POST /api/v2/silences", &silence.to_string()).await).unwrap();
        said["silenceID"].as_str().expect("an id").to_owned()
    }

    /// Ends this silence.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn end_silence(&self, id: &str) {
        self.ask(&format!("DELETE /api/v2/silence/{id}"), "").await;
    }

    /// The alerts that fire, as its API says.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn firing(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/api/v2/alerts").await.expect("Alertmanager answers"))
            .expect("a list of alerts")
    }

    /// One request that must succeed; gives the answer.
    async fn ask(&self, line: &str, body: &str) -> String {
        let headers = "Content-Type: application/json\r\n";
        let (status, said) =
            super::http::exchange(&self.address(), line, headers, body.as_bytes()).await.expect("Alertmanager answers");
        assert_eq!(status, 200, "{line}: {said}");
        said
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

fn spawn(port: u16, folder: &TempDir) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    Command::new("prometheus-alertmanager")
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
        .expect("prometheus-alertmanager is installed: the Makefile's target `alertmanager` says how")
}
