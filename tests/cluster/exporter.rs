//! Metrics that a test sets, and a real Prometheus reads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Who burns, by the name of the alert and the pod. All that are known are shown: 0 is an end, a gap none.
pub type Burning = BTreeMap<(String, String), bool>;

/// See the module. Needs a runtime that runs while the test waits.
#[derive(Clone)]
pub struct Exporter {
    namespace: String,
    burning: Arc<Mutex<Burning>>,
}

impl Exporter {
    /// One whose pods are in this namespace, and its address.
    pub async fn start(namespace: &str) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let exporter = Self { namespace: namespace.to_owned(), burning: Arc::default() };
        let own = exporter.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, own.clone()));
            }
        });
        (exporter, address)
    }

    /// The expression of the rule of this alert. It looks past a scrape that fails, as the first one after a stall does: else the alert
    /// would end there, and fire again with another start.
    pub fn expr(alert: &str) -> String {
        format!("max by (namespace, pod) (last_over_time(burns{{alert=\"{alert}\"}}[1m])) == 1")
    }

    /// From now on, or no longer.
    pub fn set(&self, alert: &str, pod: &str, burns: bool) {
        self.burning.lock().unwrap().insert((alert.to_owned(), pod.to_owned()), burns);
    }

    pub fn burning(&self) -> Burning {
        self.burning.lock().unwrap().clone()
    }

    fn page(&self) -> String {
        let line = |((alert, pod), burns): (&(String, String), &bool)| {
            let labels = format!("alert=\"{alert}\",namespace=\"{}\",pod=\"{pod}\"", self.namespace);
            format!("burns{{{labels}}} {}\n", u8::from(*burns))
        };
        self.burning.lock().unwrap().iter().map(line).collect()
    }
}

async fn answer(mut stream: TcpStream, exporter: Exporter) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => head.extend(&buffer[..count]),
            // It has gone, as when it was stopped.
            _ => return,
        }
    }
    let page = exporter.page();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n", page.len());
    let answer = format!("{head}Content-Type: text/plain; version=0.0.4\r\n\r\n{page}");
    let _ = stream.write_all(answer.as_bytes()).await;
}
