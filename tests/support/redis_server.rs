//! A `redis-server` of one's own: on a free port of the loopback, in a folder of its own, ended by its process id.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest that a server of ours may take to answer. It takes some 20 ms; the rest is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module. Dropped, the server is killed.
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk unless these further arguments, such as `["--maxmemory", "64mb"]`, say so, and waits
    /// until it answers.
    pub fn start(arguments: &[&str]) -> Self {
        let own = ["--save", ""];
        let arguments: Vec<String> = own.iter().chain(arguments).map(ToString::to_string).collect();
        let folder = TempDir::new().expect("a folder for the server");
        let port = free_port();
        let child = spawn(port, &folder, &arguments);
        let server = Self { child, port, folder, arguments };
        server.answers();
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its files are.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// SIGKILL.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again after `kill`, with what it had on disk, and waits until it answers.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.arguments);
        self.answers();
    }

    /// Sends it a signal, such as `STOP`.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// One command by hand, as typed; the first line of its answer.
    pub fn command(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }

    /// The bulk text that answers one command by hand.
    pub fn text(&self, line: &str) -> std::io::Result<String> {
        let mut reader = BufReader::new(TcpStream::connect(("127.0.0.1", self.port))?);
        reader.get_ref().set_read_timeout(Some(PATIENCE))?;
        reader.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        let mut length = String::new();
        reader.read_line(&mut length)?;
        let length = length.trim_end().trim_start_matches('$').parse().map_err(std::io::Error::other)?;
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        String::from_utf8(text).map_err(std::io::Error::other)
    }

    /// A number of its `INFO`, such as `used_memory`.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn info(&self, field: &str) -> usize {
        self.find(field, ":").expect("a number of INFO")
    }

    /// How often it answered with an error of this code, such as `OOM`.
    #[allow(dead_code, reason = "not every user of this file needs every part")]
    pub fn errors(&self, code: &str) -> usize {
        self.find(&format!("errorstat_{code}"), ":count=").unwrap_or_default()
    }

    fn find(&self, field: &str, separator: &str) -> Option<usize> {
        let info = self.text("INFO everything").expect("the server answers");
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(separator));
        value.and_then(|value| value.trim().parse().ok())
    }

    fn answers(&self) {
        let start = Instant::now();
        // An error is an answer, too: a server that wants a password is up.
        while !self
            .command("PING")
            .is_ok_and(|answer| answer.starts_with(['+', '-']) && !answer.starts_with("-LOADING"))
        {
            assert!(start.elapsed() < PATIENCE, "redis-server on port {} does not answer", self.port);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Ended already when a test ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--daemonize", "no", "--dir"])
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is missing: apt-get install redis-server")
}

/// Somebody else may take it before the server does: then the server ends, and the test fails loudly, which has not been seen.
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
