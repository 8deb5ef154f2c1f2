//! What the log says of the way to Redis: once each time that it is lost or found, whatever the number of calls.

use std::io::Write;
use std::sync::{Arc, Mutex};

use stormfold::ledger::Ledger;
use tracing::subscriber::DefaultGuard;

use crate::redis_server::RedisServer;
use crate::redis_world::{World, until};

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// From now until the guard is dropped.
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.with_max_level(tracing::Level::DEBUG).finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines of this level have these words.
    fn count(&self, level: &str, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(level) && line.contains(words)).count()
    }
}

#[tokio::test]
async fn an_outage_is_two_lines_in_the_log_and_none_has_the_password() {
    let mut server = RedisServer::start(&["--requirepass", "hunter2-6174"]);
    let (log, _guard) = Log::start();
    let world = World::begun(server.url().replace("redis://", "redis://:hunter2-6174@")).await;
    assert_eq!(log.count("INFO", "connected to Redis"), 1, "{}", log.text());
    server.kill();
    for _ in 0..20 {
        world.write().await.unwrap_err();
    }
    server.start_again();
    until(async || world.ledger.begin().await).await;
    world.write().await.unwrap();
    assert_eq!(log.count("WARN", "cannot connect to Redis"), 1, "{}", log.text());
    assert_eq!(log.count("INFO", "connected to Redis"), 2, "{}", log.text());
    assert_eq!(log.count("WARN", "another server took its place"), 1, "{}", log.text());
    assert!(!log.text().contains("6174"), "{}", log.text());
}

#[tokio::test]
async fn a_server_as_it_is_advised_is_no_line_of_advice() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    let (log, _guard) = Log::start();
    World::begun(server.url()).await.write().await.unwrap();
    assert_eq!(log.count("WARN", ""), 0, "{}", log.text());
    assert_eq!(log.count("INFO", ""), 1, "{}", log.text());
}
