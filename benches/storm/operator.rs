//! The operator that is measured: the release binary as a process of its own, with the rights of manifests/base/rbac.yaml.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::process::Process;
use super::world::World;

/// Longer than a start or the receipts of a storm take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A running operator. Dropped, it is ended by its process id.
pub struct Operator {
    child: Child,
    log: PathBuf,
    _files: TempDir,
}

impl Operator {
    /// Starts one that watches this namespace, and waits until it is ready.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn start(world: &World, namespace: &str) -> anyhow::Result<Self> {
        Self::start_with(world, &[format!("--watch-namespace={namespace}")]).await
    }

    /// Starts one with these arguments, and waits until it is ready.
    pub async fn start_with(world: &World, arguments: &[String]) -> anyhow::Result<Self> {
        let files = TempDir::new()?;
        let kubeconfig = files.path().join("kubeconfig");
        std::fs::write(&kubeconfig, restricted_kubeconfig(world).await?)?;
        let log = files.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_stormfold"))
            .args(["run", "--admin-listen=127.0.0.1:0", "--log-format=json"])
            .args(match &world.redis {
                None => vec!["--ledger=memory".to_owned()],
                Some(redis) => vec!["--ledger=redis".to_owned(), format!("--redis-url={}", redis.url())],
            })
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .process_group(0)
            .spawn()
            .context("the operator does not start")?;
        let operator = Self { child, log, _files: files };
        let ready = || async { Ok(operator.get("/readyz").await?.starts_with("HTTP/1.1 200")) };
        operator.until("it is ready", LIMIT, ready).await?;
        Ok(operator)
    }

    /// For CPU and memory.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Waits until every merged Signal has its receipt.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn receipts_are_out(&self) -> anyhow::Result<()> {
        let none_owed = || async { Ok(self.metric("stormfold_owed_receipts").await? == 0.0) };
        self.until("no receipt is owed", LIMIT, none_owed).await
    }

    /// Waits until it has written this many receipts: so many Signals are shown by their storms.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn wrote_receipts(&self, receipts: u32, limit: Duration) -> anyhow::Result<()> {
        let expected = f64::from(receipts);
        self.until("all receipts are written", limit, || async { Ok(self.writes("Receipt").await? >= expected) }).await
    }

    /// Waits until it has received this many occurrences.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn received(&self, occurrences: u32) -> anyhow::Result<()> {
        let expected = f64::from(occurrences);
        let name = "stormfold_occurrences_received_total";
        self.until("all occurrences are received", LIMIT, || async { Ok(self.metric(name).await? >= expected) }).await
    }

    /// The sum of the samples whose line begins with `prefix`.
    pub async fn metric(&self, prefix: &str) -> anyhow::Result<f64> {
        let page = self.get("/metrics").await?;
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        Ok(page.lines().filter(|line| line.starts_with(prefix)).filter_map(value).sum())
    }

    /// Writes of one kind that the API server accepted.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub async fn writes(&self, kind: &str) -> anyhow::Result<f64> {
        self.metric(&format!("stormfold_api_writes_total{{write=\"{kind}\",result=\"Done\"")).await
    }

    async fn until<F>(&self, what: &str, limit: Duration, look: impl Fn() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let end = Instant::now() + limit;
        loop {
            let seen = look().await;
            if matches!(seen, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("gave up waiting until {what} ({seen:?}); the operator's log:\n{log}");
            }
            // Rare enough to cost the operator nothing that shows.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let address = self.admin().context("no admin address in the log yet")?;
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn admin(&self) -> Option<String> {
        self.logged("admin")
    }

    /// The first text that it has logged under this name, such as an address that it listens on.
    pub fn logged(&self, field: &str) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).ok()?;
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find_map(|line| line[field].as_str().map(str::to_owned))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Ended already when it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The administrator's kubeconfig with a token of the operator's ServiceAccount in place of the administrator's certificate.
async fn restricted_kubeconfig(world: &World) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "stormfold-system");
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let answer = accounts.create_token_request("stormfold", &PostParams::default(), &request).await;
    let answer = answer.context("no ServiceAccount stormfold: kubectl apply -f manifests/install.yaml")?;
    let token = answer.status.context("no token")?.token;
    let admin = std::fs::read_to_string(std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?)?;
    let mut config: serde_json::Value =
        serde_saphyr::from_str(&admin).context("KUBECONFIG is not one kubeconfig file")?;
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    Ok(config.to_string())
}
