//! The writers: Signals made before the clock starts, and created over 16 connections with as little work here as possible,
//! because writers, operator and API server share the processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use http::Request;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Requests in flight, each on a connection of its own: the client speaks HTTP/1.1.
const WRITERS: usize = 16;

/// How the occurrences of a Signal are written.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub enum Shape {
    /// `spec.occurrences`.
    Items,
    /// `spec.table`.
    Table,
}

/// What one storm's writing took.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub first_write: Instant,
    pub last_acknowledgement: Instant,
}

impl Written {
    /// The time from the first write to the last acknowledgement.
    pub fn duration(&self) -> Duration {
        self.last_acknowledgement - self.first_write
    }
}

/// The bodies of `signals` Signals with `each` occurrences about as many resources: nothing repeats, so that everything counts.
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub fn bodies(alert: &str, shape: Shape, signals: u32, each: u32) -> Vec<Vec<u8>> {
    (0..signals)
        .map(|signal| body(alert, &format!("signal-{signal}"), shape, signal * each..(signal + 1) * each))
        .collect()
}

/// The body of one Signal. Names are as long as those of a real cluster: their length is part of the cost.
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub fn body(alert: &str, name: &str, shape: Shape, numbers: std::ops::Range<u32>) -> Vec<u8> {
    // A start within the last day, and before the Signal's creation, whatever the clock says: absent means "now".
    let fingerprint = |n: u32| format!("{:016x}", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let pod = |n: u32| format!("checkout-{:08x}-{n:05}", n.wrapping_mul(0x9e37_79b9));
    let mut spec = json!({ "name": alert, "severity": "critical", "source": { "kind": "alertmanager" } });
    match shape {
        Shape::Items => {
            let item = |n| json!({ "fingerprint": fingerprint(n), "state": "firing", "resource": { "kind": "Pod", "name": pod(n) } });
            spec["occurrences"] = numbers.map(item).collect::<Vec<Value>>().into();
        }
        Shape::Table => {
            let line = |n| format!("firing - {} Pod/{}\n", fingerprint(n), pod(n));
            spec["table"] = numbers.map(line).collect::<String>().into();
        }
    }
    let object =
        json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": { "name": name }, "spec": spec });
    object.to_string().into_bytes()
}

/// The body of a Signal of one occurrence that begins at this time: a storm whose quiet period runs from then.
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub fn beginning_at(alert: &str, n: u32, starts_at: jiff::Timestamp) -> Vec<u8> {
    let table = format!("firing {starts_at} {n:016x} Pod/checkout-{n:05}\n");
    let spec = json!({ "name": alert, "severity": "critical", "source": { "kind": "alertmanager" }, "table": table });
    let metadata = json!({ "name": format!("signal-{n}") });
    json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": metadata, "spec": spec })
        .to_string()
        .into_bytes()
}

/// Creates all of them over [`WRITERS`] connections; fails if one is refused.
#[allow(dead_code, reason = "not every user of this file needs every part")]
pub async fn write(client: &Client, namespace: &str, bodies: Vec<Vec<u8>>) -> anyhow::Result<Written> {
    write_with(client, namespace, bodies, WRITERS).await
}

/// The same over this many connections.
pub async fn write_with(
    client: &Client,
    namespace: &str,
    bodies: Vec<Vec<u8>>,
    writers: usize,
) -> anyhow::Result<Written> {
    let bodies = Arc::new(bodies);
    let next = Arc::new(AtomicUsize::new(0));
    let first_write = Instant::now();
    let writers: Vec<_> = (0..writers)
        .map(|_| {
            let (client, namespace, bodies, next) =
                (client.clone(), namespace.to_owned(), bodies.clone(), next.clone());
            tokio::spawn(async move {
                let mut last = first_write;
                while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    last = create(&client, &namespace, body.clone()).await?;
                }
                anyhow::Ok(last)
            })
        })
        .collect();
    let mut last_acknowledgement = first_write;
    for writer in writers {
        last_acknowledgement = last_acknowledgement.max(writer.await.context("a writer stopped")??);
    }
    Ok(Written { first_write, last_acknowledgement })
}

/// Creates one Signal and gives the moment of its acknowledgement. The answer is not parsed: that would be the writer's work.
pub async fn create(client: &Client, namespace: &str, body: Vec<u8>) -> anyhow::Result<Instant> {
    let request = Request::post(format!("/apis/stormfold.dev/v1alpha1/namespaces/{namespace}/signals"))
        .header("content-type", "application/json")
        .body(Body::from(body))?;
    let response = client.send(request).await.context("cannot create a Signal")?;
    let acknowledged = Instant::now();
    let status = response.status();
    // Read to its end, so that the connection can be used again.
    let answer = response.into_body().collect().await.context("the answer to a create broke off")?.to_bytes();
    anyhow::ensure!(status.is_success(), "create answered {status}: {}", String::from_utf8_lossy(&answer));
    Ok(acknowledged)
}
