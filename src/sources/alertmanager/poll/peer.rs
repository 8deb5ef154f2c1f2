//! One Alertmanager, asked by its API (v2): which alerts it has, since when it runs, and who else is in its cluster.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{Request, Uri};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sources::text::{clean, text};

/// For both answers of one Alertmanager together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer: some ten thousand alerts with long annotations. It is in memory at once.
const MAX_ANSWER: usize = 48 * 1024 * 1024;
/// Of the words of a fault, in characters.
const MAX_FAULT: usize = 300;

/// How to ask.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Every Alertmanager whose webhooks come here.
    pub urls: Vec<Uri>,
    /// A bearer token, read at each poll.
    pub token_file: Option<PathBuf>,
    /// Authorities of their certificates, PEM, read at each poll. `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The receivers that send here.
    pub receivers: Vec<String>,
}

/// What one Alertmanager says.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerAnswer {
    pub(super) alerts: Vec<PolledAlert>,
    /// When it was started; it has no alerts then.
    pub(super) started: Option<Timestamp>,
    /// What it is called in its cluster; `None`: it is in none.
    pub(super) name: Option<String>,
    /// All of its cluster, itself as well.
    pub(super) cluster: Vec<String>,
}

/// An alert that it has: silenced, inhibited or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolledAlert {
    pub(super) fingerprint: String,
    /// As a webhook would say it. `None`: no webhook would, or nobody wants to know.
    pub(super) told: Option<String>,
}

#[derive(Deserialize)]
struct StatusText {
    uptime: Option<Timestamp>,
    cluster: Option<PeersText>,
}

#[derive(Deserialize)]
struct PeersText {
    name: Option<String>,
    #[serde(default)]
    peers: Vec<PeerText>,
}

#[derive(Deserialize)]
struct PeerText {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlertText<'a> {
    #[serde(borrow, deserialize_with = "text")]
    fingerprint: Cow<'a, str>,
    #[serde(borrow)]
    labels: &'a RawValue,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "generatorURL")]
    generator_url: Option<&'a RawValue>,
    #[serde(borrow)]
    starts_at: &'a RawValue,
    status: StateText,
    #[serde(default)]
    receivers: Vec<PeerText>,
}

#[derive(Deserialize)]
struct StateText {
    state: String,
}

impl PeerSettings {
    /// Asks one. `wants`: whether an alert of this fingerprint is wanted in the words of a webhook. The message says what is wrong.
    pub(super) async fn ask(&self, url: &Uri, wants: impl Fn(&str) -> bool) -> Result<PeerAnswer, String> {
        let client = self.client(url)?;
        let asked = async {
            // Before the alerts: one that was started in between has none.
            let status = get(&client, "/api/v2/status").await?;
            let alerts = get(&client, "/api/v2/alerts").await?;
            Ok::<_, String>((status, alerts))
        };
        let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
        let (status, alerts) = tokio::time::timeout(PATIENCE, asked).await.map_err(late)??;
        read_answer(&status, &alerts, &self.receivers, wants)
    }

    /// Made anew for each poll: files may have changed, and a connection every half minute costs nothing.
    fn client(&self, url: &Uri) -> Result<Client, String> {
        let mut config = Config::new(url.clone());
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE);
        let wrong = |file: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file).map_err(|error| wrong(file, &error))?;
            config.auth_info = AuthInfo { token: Some(token.trim().to_owned().into()), ..AuthInfo::default() };
        }
        if let Some(file) = &self.ca_file {
            let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = certificates.map_err(|error| wrong(file, &error))?;
            if certificates.is_empty() {
                return Err(wrong(file, &"has no certificate"));
            }
            config.root_cert = Some(certificates.into_iter().map(|certificate| certificate.to_vec()).collect());
        }
        Client::try_from(config).map_err(|error| told(&error))
    }
}

async fn get(client: &Client, path: &str) -> Result<Vec<u8>, String> {
    let request = Request::get(path).body(Body::empty()).map_err(|error| told(&error))?;
    let response = client.send(request).await.map_err(|error| told(&error))?;
    if !response.status().is_success() {
        return Err(format!("{path} is answered with {}", response.status()));
    }
    let mut body = axum::body::Body::new(response.into_body()).into_data_stream();
    let mut answer = Vec::new();
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| told(&error))?;
        if answer.len() + part.len() > MAX_ANSWER {
            return Err(format!("{path} is answered with more than {} MiB", MAX_ANSWER >> 20));
        }
        answer.extend_from_slice(&part);
    }
    Ok(answer)
}

/// An error with its causes: that of a connection says nothing by itself.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<_> = causes.map(ToString::to_string).collect();
    words.dedup();
    clean(&words.join(": "), MAX_FAULT).into_owned()
}

fn read_answer(
    status: &[u8],
    alerts: &[u8],
    receivers: &[String],
    wants: impl Fn(&str) -> bool,
) -> Result<PeerAnswer, String> {
    let wrong = |what: &'static str| move |fault: serde_json::Error| format!("{what} cannot be read: {}", told(&fault));
    let status: StatusText = serde_json::from_slice(status).map_err(wrong("its status"))?;
    let texts: Vec<AlertText<'_>> = serde_json::from_slice(alerts).map_err(wrong("its alerts"))?;
    let mut answer = PeerAnswer { started: status.uptime, ..PeerAnswer::default() };
    if let Some(cluster) = status.cluster {
        answer.name = cluster.name.filter(|name| !name.is_empty());
        answer.cluster = cluster.peers.into_iter().map(|peer| peer.name).collect();
    }
    answer.alerts = texts
        .into_iter()
        .map(|alert| {
            let is_told =
                alert.status.state == "active" && alert.receivers.iter().any(|one| is_one_of(receivers, &one.name));
            let told = (is_told && wants(&alert.fingerprint)).then(|| as_webhook(&alert));
            PolledAlert { fingerprint: clean(&alert.fingerprint, 64).into_owned(), told }
        })
        .collect();
    Ok(answer)
}

/// The Prometheus operator calls a receiver NAMESPACE/NAME/RECEIVER.
fn is_one_of(receivers: &[String], name: &str) -> bool {
    receivers
        .iter()
        .any(|one| name.strip_suffix(one.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
}

fn as_webhook(alert: &AlertText<'_>) -> String {
    let annotations = alert.annotations.map_or("{}", RawValue::get);
    let generator_url = alert.generator_url.map_or("null", RawValue::get);
    let fingerprint = serde_json::Value::from(alert.fingerprint.as_ref());
    format!(
        r#"{{"status":"firing","labels":{},"annotations":{annotations},"generatorURL":{generator_url},"startsAt":{},"fingerprint":{fingerprint}}}"#,
        alert.labels.get(),
        alert.starts_at.get()
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// As Alertmanager 0.25 writes it.
    const ALERTS: &str = r#"[
        {"annotations":{"s":"t"},"endsAt":"2026-11-27T18:02:14.835Z","fingerprint":"93da304f09fddf6a","receivers":[{"name":"stormfold"}],
         "startsAt":"2026-11-27T17:57:14.835Z","status":{"inhibitedBy":[],"silencedBy":[],"state":"active"},
         "updatedAt":"2026-11-27T17:57:14.835Z","labels":{"alertname":"A","pod":"x"}},
        {"fingerprint":"b","receivers":[{"name":"stormfold"}],"startsAt":"2026-11-27T17:57:14.835Z","labels":{},
         "status":{"inhibitedBy":[],"silencedBy":["s"],"mutedBy":[],"state":"suppressed"}},
        {"fingerprint":"c","receivers":[{"name":"mail"}],"startsAt":"2026-11-27T17:57:14.835Z","labels":{},"status":{"state":"active"}},
        {"fingerprint":"d","receivers":[{"name":"mail"},{"name":"monitoring/stormfold/stormfold"}],"startsAt":"2026-11-27T17:57:14.835Z",
         "labels":{},"status":{"state":"active"}},
        {"fingerprint":"e","receivers":[{"name":"notstormfold"}],"startsAt":"2026-11-27T17:57:14.835Z","labels":{},"status":{"state":"active"}}]"#;
    const STATUS: &str = r#"{"cluster":{"name":"01J","status":"ready","peers":[{"address":"10.0.0.1:9094","name":"01J"},
        {"address":"10.0.0.2:9094","name":"01K"}]},"config":{"original":""},"uptime":"2026-11-27T17:57:11.566Z","versionInfo":{}}"#;

    fn receivers() -> Vec<String> {
        vec!["stormfold".to_owned()]
    }

    #[test]
    fn what_is_silenced_is_there_and_only_what_is_active_for_our_receiver_is_told() {
        let answer = read_answer(STATUS.as_bytes(), ALERTS.as_bytes(), &receivers(), |_| true).unwrap();
        let told: Vec<_> =
            answer.alerts.iter().map(|alert| (alert.fingerprint.as_str(), alert.told.is_some())).collect();
        assert_eq!(told, [("93da304f09fddf6a", true), ("b", false), ("c", false), ("d", true), ("e", false)]);
        assert_eq!(
            answer.alerts[0].told.as_deref(),
            Some(concat!(
                r#"{"status":"firing","labels":{"alertname":"A","pod":"x"},"annotations":{"s":"t"},"#,
                r#""generatorURL":null,"startsAt":"2026-11-27T17:57:14.835Z","fingerprint":"93da304f09fddf6a"}"#
            ))
        );
        assert_eq!((answer.name.as_deref(), answer.cluster.len(), answer.started.is_some()), (Some("01J"), 2, true));
        let known =
            read_answer(STATUS.as_bytes(), ALERTS.as_bytes(), &receivers(), |fingerprint| fingerprint == "d").unwrap();
        assert_eq!(known.alerts.iter().filter(|alert| alert.told.is_some()).count(), 1);
    }

    #[test]
    fn one_that_is_in_no_cluster_has_no_name() {
        let status = r#"{"cluster":{"peers":[],"status":"disabled"},"uptime":"2026-11-27T17:57:11.566Z"}"#;
        let answer = read_answer(status.as_bytes(), b"[]", &receivers(), |_| true).unwrap();
        assert_eq!((answer.name, answer.cluster, answer.alerts), (None, vec![], vec![]));
    }

    // Whoever cannot be read has not said that anything is over.
    #[rstest]
    #[case("{}", "null", "its alerts cannot be read")]
    #[case("{}", "<html>", "its alerts cannot be read")]
    #[case("{}", r#"[{"fingerprint":"a"}]"#, "its alerts cannot be read")]
    #[case("[]", "[]", "its status cannot be read")]
    #[case("", "[]", "its status cannot be read")]
    fn an_answer_that_cannot_be_read_is_no_answer(#[case] status: &str, #[case] alerts: &str, #[case] says: &str) {
        let fault = read_answer(status.as_bytes(), alerts.as_bytes(), &receivers(), |_| true).unwrap_err();
        assert!(fault.starts_with(says), "{fault}");
    }
}
