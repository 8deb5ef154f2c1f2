//! The alerts: the same ones as Prometheus sends them to Alertmanager, as Alertmanager sends them on, and as Signals.

use serde_json::{Value, json};

/// Numbers of alerts; each has a pod of its own, so that everything counts.
pub type Numbers = std::ops::Range<u32>;

/// They began within the last day, and before everything here.
pub const STARTS_AT: &str = "2026-01-02T15:04:05.678Z";

fn labels(namespace: &str, n: u32) -> Value {
    json!({ "alertname": "CheckoutLatencyHigh", "namespace": namespace, "severity": "critical",
        "pod": format!("checkout-{:08x}-{n:05}", n.wrapping_mul(0x9e37_79b9)) })
}

/// As Prometheus posts it to `/api/v2/alerts`.
pub fn raised(namespace: &str, n: u32) -> Value {
    json!({ "labels": labels(namespace, n), "annotations": {}, "startsAt": STARTS_AT, "generatorURL": "" })
}

/// The same with so many bytes of text in a label, and as many in an annotation. They differ between alerts.
pub fn raised_with_text(namespace: &str, n: u32, bytes: usize) -> Value {
    let mut alert = raised(namespace, n);
    if bytes > 0 {
        let word = |word: u32| format!("{:08x} ", (n + word).wrapping_mul(0x9e37_79b9));
        let text: String = (0..).map(word).take(bytes / 9).collect();
        alert["labels"]["details"] = text.as_str().into();
        alert["annotations"]["description"] = text.into();
    }
    alert
}

/// As Alertmanager writes what was raised into a webhook.
pub fn delivered(mut raised: Value, n: u32) -> Value {
    raised["status"] = "firing".into();
    raised["endsAt"] = "0001-01-01T00:00:00Z".into();
    raised["fingerprint"] = fingerprint(n).into();
    raised
}

/// A webhook of these alerts.
pub fn webhook(alerts: &[Value]) -> Vec<u8> {
    let body = json!({ "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": "firing", "receiver": "stormfold",
        "groupLabels": { "alertname": "CheckoutLatencyHigh" }, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093", "alerts": alerts });
    body.to_string().into_bytes()
}

/// The Signal that a webhook of these alerts becomes.
pub fn signal(namespace: &str, name: &str, numbers: Numbers) -> Vec<u8> {
    let line = |n: u32| {
        let pod = labels(namespace, n)["pod"].as_str().unwrap_or_default().to_owned();
        format!("firing {STARTS_AT} {} Pod/{pod}\n", fingerprint(n))
    };
    let spec = json!({ "name": "CheckoutLatencyHigh", "severity": "critical", "namespace": namespace, "resolvable": true,
        "source": { "kind": "alertmanager" }, "table": numbers.map(line).collect::<String>() });
    let object =
        json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "metadata": { "name": name }, "spec": spec });
    object.to_string().into_bytes()
}

fn fingerprint(n: u32) -> String {
    format!("{:016x}", u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
