//! Webhooks as Alertmanager writes them, and a client that posts them.

use serde_json::{Value, json};

use super::http::exchange;
use super::operator::Operator;
use super::wait::eventually;

/// What turns the gateway on.
pub const FLAGS: &[&str] = &["--gateway-listen=127.0.0.1:0"];

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// A body of these alerts.
pub fn body(alerts: impl Into<Value>) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "stormfold", "groupLabels": {},
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://127.0.0.1:9093", "alerts": alerts.into(),
    })
}

/// A firing alert about this Pod.
pub fn firing(name: &str, namespace: &str, pod: &str) -> Value {
    json!({
        "status": "firing",
        "labels": { "alertname": name, "namespace": namespace, "pod": pod, "severity": "critical" },
        "annotations": { "summary": "It burns" }, "startsAt": "2026-01-02T15:04:05.678Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "", "fingerprint": "",
    })
}

/// Where the gateway of this operator listens.
pub async fn address(operator: &Operator) -> String {
    eventually("the gateway listens", || async {
        let line = operator.log_lines().into_iter().find(|line| line["gateway"].is_string());
        line.and_then(|line| line["gateway"].as_str().map(str::to_owned)).ok_or_else(|| operator.log_text())
    })
    .await
}

/// Posts a body as Alertmanager does.
pub async fn post(operator: &Operator, body: &Value) -> Answer {
    let (address, text) = (address(operator).await, body.to_string());
    let headers = "Content-Type: application/json\r\n";
    let (status, body) =
        exchange(&address, "POST /webhook/alertmanager", headers, text.as_bytes()).await.expect("an answer");
    Answer { status, body: serde_json::from_str(&body).unwrap_or_default() }
}
