//! An Alertmanager behind TLS that asks for a token, before an API server that is a router of this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use stormfold::metrics::Metrics;
use stormfold::policies::Policies;
use stormfold::runtime::clock::Clock;
use stormfold::runtime::readiness::Readiness;
use stormfold::sources::alertmanager::poll::peer::PeerSettings;
use stormfold::sources::alertmanager::poll::{PollSettings, Poller};
use stormfold::sources::writer::{Places, SignalWriter};
use stormfold::storm::Policy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::tls::Authority;
use super::world::ApiServer;

const ALERTS: &str = r#"[{"annotations":{"summary":"It burns"},"endsAt":"2026-11-27T18:02:14.835Z","fingerprint":"7b4742bf1c0038f6",
    "receivers":[{"name":"stormfold"}],"startsAt":"2026-11-24T10:00:00Z","status":{"state":"active"},
    "labels":{"alertname":"HighLoad","namespace":"prod","pod":"web-0"}},
    {"fingerprint":"7","receivers":[{"name":"stormfold"}],"startsAt":"2026-11-24T10:00:00Z","status":{"state":"active"},"labels":{}}]"#;
const STATUS: &str = r#"{"cluster":{"status":"disabled","peers":[]},"uptime":"2026-01-02T15:04:05Z"}"#;

/// Serves these two pages under /am to whoever shows the token; HOST:PORT.
async fn alertmanager(authority: &Authority) -> (String, AbortOnDropHandle<()>) {
    let key = PrivateKeyDer::from_pem_file(authority.path("am.key")).unwrap();
    let certificates = vec![authority.certificate("am.crt")];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let (code, page) = match head.split(' ').nth(1) {
                _ if !head.contains("authorization: bearer secret\r\n") => ("401 Unauthorized", "who are you?"),
                Some("/am/api/v2/status") => ("200 OK", STATUS),
                Some("/am/api/v2/alerts") => ("200 OK", ALERTS),
                _ => ("404 Not Found", ""),
            };
            let answer =
                format!("HTTP/1.1 {code}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serve)))
}

/// A poller in front of it; and what it has stored, measured and noticed.
struct Polling {
    api_server: ApiServer,
    metrics: Metrics,
    readiness: Readiness,
    _poller: AbortOnDropHandle<()>,
}

impl Polling {
    fn start(address: &str, token_file: PathBuf, ca_file: PathBuf) -> Self {
        let (api_server, metrics, readiness) = (ApiServer::default(), Metrics::default(), Readiness::default());
        let writer = SignalWriter::new(api_server.client(), Places::new("home", vec![]), metrics.gateway.clone());
        let peers = PeerSettings {
            urls: vec![format!("https://{address}/am").parse().unwrap()],
            token_file: Some(token_file),
            ca_file: Some(ca_file),
            receivers: vec!["stormfold".into()],
        };
        let every = Duration::from_millis(20);
        let settings = PollSettings { peers, every, batch: 500, max_body: 64 * 1024, settings_file: None };
        let clock = Clock::new(|| Timestamp::from_second(1_795_485_465).unwrap());
        let notice = readiness.notice("alertmanager");
        let policies = Arc::new(Policies::built_in_only(api_server.client(), Policy::default()));
        let poller = Poller::open(settings, policies, Arc::new(writer), clock, metrics.clone(), notice).unwrap();
        let poller = AbortOnDropHandle::new(tokio::spawn(poller.run(CancellationToken::new())));
        Self { api_server, metrics, readiness, _poller: poller }
    }

    /// Waits until the page of metrics has this line.
    async fn measured(&self, line: &str) {
        let there = async {
            while !self.metrics.encode(Timestamp::UNIX_EPOCH).unwrap().contains(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), there).await.unwrap_or_else(|_| panic!("never: {line}"));
    }
}

fn authority(token: &str) -> Authority {
    let authority = Authority::new();
    authority.sign("am");
    std::fs::write(authority.path("token"), token).unwrap();
    authority
}

#[tokio::test]
async fn an_alertmanager_behind_tls_is_asked_with_the_token_and_what_it_has_is_told_once() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = authority("secret\n");
    let (address, _serving) = alertmanager(&authority).await;
    let polling = Polling::start(&address, authority.path("token"), authority.path("ca.crt"));
    polling.measured("stormfold_alertmanager_polls_total{result=\"Done\"} 5").await;
    let signals = polling.api_server.signals();
    let tables: Vec<_> = signals.iter().map(|signal| signal.spec.table.as_deref().unwrap()).collect();
    assert_eq!(tables, ["firing 2026-11-24T10:00:00Z 7b4742bf1c0038f6 Pod/web-0\n"]);
    assert_eq!(signals[0].spec.annotations["summary"], "It burns");
    assert!(polling.readiness.notices().is_empty());
}

// Whatever is wrong: the operator is ready, people are told, and nothing is taken for over.
#[tokio::test]
async fn what_keeps_an_alertmanager_from_answering_is_a_notice_and_mended_without_a_restart() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (ours, others) = (authority("wrong"), authority("secret"));
    let (address, _serving) = alertmanager(&ours).await;
    let noticed = |polling: &Polling| polling.readiness.notices().get("alertmanager").cloned().unwrap_or_default();
    for (token, ca, says) in [
        (ours.path("token"), ours.path("ca.crt"), "/api/v2/status is answered with 401"),
        (others.path("token"), others.path("ca.crt"), "certificate"),
        (ours.path("absent"), ours.path("ca.crt"), "absent: No such file"),
        (others.path("token"), ours.path("token"), "token: has no certificate"),
    ] {
        let polling = Polling::start(&address, token, ca);
        polling.measured("stormfold_alertmanager_polls_total{result=\"NoAnswer\"} 2").await;
        let notice = noticed(&polling);
        assert!(notice.contains("Alertmanager does not answer") && notice.contains(says), "{notice}");
        assert!(polling.readiness.closed().is_empty() && polling.api_server.signals().is_empty());
    }
    let polling = Polling::start(&address, ours.path("token"), ours.path("ca.crt"));
    polling.measured("stormfold_alertmanager_polls_total{result=\"NoAnswer\"} 2").await;
    std::fs::write(ours.path("token"), "secret").unwrap();
    polling.measured("stormfold_alertmanager_polls_total{result=\"Done\"} 2").await;
    assert_eq!(noticed(&polling), "");
}
