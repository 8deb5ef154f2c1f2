//! Requests over connections that are kept, with as little work here as possible: sender and servers share the processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where to, and what a request begins with.
#[derive(Clone, Debug)]
pub struct Sender {
    pub address: String,
    pub path: &'static str,
}

impl Sender {
    /// Posts each body once, over this many connections; gives the time from the first byte to the last answer.
    pub async fn post_all(&self, bodies: Vec<Vec<u8>>, connections: usize) -> anyhow::Result<Duration> {
        let (bodies, next) = (Arc::new(bodies), Arc::new(AtomicUsize::new(0)));
        let begin = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let (sender, bodies, next) = (self.clone(), bodies.clone(), next.clone());
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(&sender.address).await?;
                    stream.set_nodelay(true)?;
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        sender.post(&mut stream, body).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await.context("a sender stopped")??;
        }
        Ok(begin.elapsed())
    }

    async fn post(&self, stream: &mut TcpStream, body: &[u8]) -> anyhow::Result<()> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        let mut answer = Vec::with_capacity(4096);
        let (head, length) = loop {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection ended without an answer");
            if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(Ok(0), str::parse::<usize>)?;
                break (head, end + 4 + length);
            }
        };
        while answer.len() < length {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the answer broke off");
        }
        ensure!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
