//! The operator as a process of its own, with the rights of manifests/base/rbac.yaml and no others.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::wait::eventually;
use super::world::World;

/// A running operator. Dropped, it is killed by its process id.
pub struct Operator {
    child: Child,
    files: TempDir,
    /// Shown when a test fails.
    pub log: PathBuf,
}

impl Operator {
    /// Starts one for the namespaces of these worlds, with further arguments, and waits until it is ready.
    pub async fn start(worlds: &[&World], arguments: &[&str]) -> Self {
        let operator = Self::launch(worlds, arguments).await;
        operator.ready().await;
        operator
    }

    /// Starts one and does not wait.
    pub async fn launch(worlds: &[&World], arguments: &[&str]) -> Self {
        let kubeconfig = kubeconfig_of(&worlds[0].client, "stormfold-system", "stormfold").await;
        Self::launch_with(&kubeconfig, worlds, arguments)
    }

    /// Starts one that has only this kubeconfig to go by, and does not wait.
    pub fn launch_with(kubeconfig: &str, worlds: &[&World], arguments: &[&str]) -> Self {
        let files = TempDir::new().unwrap();
        let path = files.path().join("kubeconfig");
        File::create(&path).unwrap().write_all(kubeconfig.as_bytes()).unwrap();
        let log = files.path().join("log");
        let namespaces = worlds.iter().map(|world| format!("--watch-namespace={}", world.namespace));
        let url = worlds.first().and_then(|world| world.redis.as_ref()).map(|redis| redis.url());
        let ledger = url.into_iter().flat_map(|url| ["--ledger=redis".to_owned(), format!("--redis-url={url}")]);
        let child = Command::new(env!("CARGO_BIN_EXE_stormfold"))
            .args(["run", "--admin-listen=127.0.0.1:0", "--log-format=json"])
            .args(namespaces)
            .args(ledger)
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &path)
            .env("RUST_LOG", "info,stormfold=debug,kube_client=off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .process_group(0)
            .spawn()
            .expect("the operator starts");
        Self { child, files, log }
    }

    /// Waits until /readyz says ok.
    pub async fn ready(&self) {
        eventually("the operator is ready", || async {
            match self.get("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log_text())),
            }
        })
        .await;
    }

    /// GET of an admin page: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let (head, body) = self.page(path).await?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
        Ok((status, body))
    }

    /// GET of an admin page: header and body.
    pub async fn page(&self, path: &str) -> Result<(String, String), String> {
        page(&self.admin().ok_or("no admin address in the log yet")?, path).await
    }

    /// The sum of all samples whose line begins with `prefix`, such as `stormfold_api_writes_total{write="Status"`.
    pub async fn metric(&self, prefix: &str) -> f64 {
        metric(&self.admin().expect("the address of the admin pages"), prefix).await.expect("the metrics page")
    }

    /// The most memory that it had since its start, in KiB.
    pub fn resident_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs, on Linux");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the peak");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Where its admin pages are, once it has said so.
    pub fn admin(&self) -> Option<String> {
        let started = self.log_lines().into_iter().find(|line| line["message"] == "stormfold starts")?;
        started["admin"].as_str().map(str::to_owned)
    }

    /// Log lines that are whole.
    pub fn log_lines(&self) -> Vec<serde_json::Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it has logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends this signal, such as STOP.
    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap().success()
        );
    }

    /// SIGKILL: nothing is finished, nothing is told. It may be dead already.
    pub fn sigkill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit status.
    pub fn sigterm(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("operator log in {}:\n{}", self.files.path().display(), self.log_text());
        }
        // Ended already when a test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GET of an admin page at this address: header and body.
pub async fn page(address: &str, path: &str) -> Result<(String, String), String> {
    let mut stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no end of the header")?;
    Ok((head.to_owned(), body.to_owned()))
}

/// The sum of all samples of the operator at this address whose line begins with `prefix`.
pub async fn metric(address: &str, prefix: &str) -> Result<f64, String> {
    let (_, page) = page(address, "/metrics").await?;
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    Ok(page.lines().filter(|line| line.starts_with(prefix)).filter_map(value).sum())
}

/// The administrator's kubeconfig with a token of this ServiceAccount in place of the administrator's certificate.
pub async fn kubeconfig_of(client: &Client, namespace: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .expect("manifests/base/rbac.yaml is applied")
        .status
        .expect("a token")
        .token;
    let admin = std::fs::read_to_string(std::env::var_os("KUBECONFIG").unwrap()).unwrap();
    let mut config: serde_json::Value = serde_saphyr::from_str(&admin).unwrap();
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    config.to_string()
}
