//! `report`: what somebody needs who helps from afar, in one document. What alerts say in labels and annotations is left out: secrets have been
//! seen there.

use std::collections::BTreeMap;

use kube::api::ListParams;
use serde::Serialize;
use serde_json::{Value, json};

use super::Screen;
use super::access::Access;
use super::check::findings;
use super::fault::PluginError;
use super::history::all_events;
use super::scene::Scene;
use crate::api::Signal;
use crate::settings::OutputFormat;

/// Signals that are told one by one.
const MOST_SIGNALS: usize = 500;
/// What stands where something was left out.
const LEFT_OUT: &str = "(left out)";

/// The document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SupportReport {
    version: &'static str,
    at: String,
    namespace: String,
    findings: Value,
    policies: Vec<Value>,
    remediation_requests: Vec<Value>,
    signals: Vec<Value>,
    signals_left_out: usize,
    signals_by_reason: BTreeMap<String, usize>,
    events: Vec<Value>,
    missing_rights: Vec<String>,
}

/// Writes the document; YAML, unless JSON is asked for.
pub(super) async fn report(access: &Access, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let (found, _) = findings(access, screen.style.now).await?;
    let mut scene = Scene::look(access, screen.style.now, None).await?;
    scene.signals = scene.seen(access.list::<Signal>(ListParams::default()).await)?;
    let events = scene.seen(all_events(access).await)?.unwrap_or_default();
    let signals = scene.signals.take().unwrap_or_default();
    let report = SupportReport {
        version: env!("CARGO_PKG_VERSION"),
        at: format!("{:.0}", screen.style.now),
        namespace: if access.is_all() { "all".to_owned() } else { access.namespace().to_owned() },
        findings: json!(found),
        policies: scene.policy_objects.iter().map(|policy| without_text(json!(policy))).collect(),
        remediation_requests: scene.requests.iter().flatten().map(|request| without_text(json!(request))).collect(),
        signals: signals.iter().take(MOST_SIGNALS).map(|signal| without_text(json!(signal))).collect(),
        signals_left_out: signals.len().saturating_sub(MOST_SIGNALS),
        signals_by_reason: by_reason(&signals),
        events: events.iter().map(|event| json!(event)).collect(),
        missing_rights: scene.missing.iter().map(ToString::to_string).collect(),
    };
    if matches!(screen.output, OutputFormat::Json | OutputFormat::Yaml) {
        return screen.machine(&report).map(drop);
    }
    screen.output = OutputFormat::Yaml;
    screen.machine(&report).map(drop)
}

fn by_reason(signals: &[Signal]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for signal in signals {
        let conditions = signal.status.iter().flat_map(|status| &status.conditions);
        let told = conditions.into_iter().find(|condition| condition.type_ == crate::api::ACCEPTED);
        *counts.entry(told.map_or_else(|| "not told".to_owned(), |told| told.reason.clone())).or_default() += 1;
    }
    counts
}

/// The object without what nobody needs, and without what an author of alerts may have put a secret into: the values of labels and annotations,
/// URLs, and messages of engines.
fn without_text(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| key != "managedFields");
        for texts in ["annotations", "labels"] {
            hide_values(metadata.get_mut(texts), |key| key.contains("stormfold.dev/"));
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        hide_values(spec.get_mut("labels"), |_| false);
        hide_values(spec.get_mut("annotations"), |_| false);
        if let Some(url) = spec.get_mut("source").and_then(|source| source.get_mut("url")) {
            *url = json!(LEFT_OUT);
        }
    }
    if let Some(message) = object.pointer_mut("/status/remediation/message") {
        *message = json!(LEFT_OUT);
    }
    object
}

/// The values of a map, but for these keys.
fn hide_values(map: Option<&mut Value>, keep: impl Fn(&str) -> bool) {
    for (key, value) in map.and_then(Value::as_object_mut).into_iter().flatten() {
        if !keep(key) {
            *value = json!(LEFT_OUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;
    use crate::kubectl::fixtures::{request, signal};

    #[test]
    fn what_may_be_a_secret_is_left_out() {
        let mut told = signal("A", "firing - a Pod/a");
        told.annotations_mut().insert("kubectl.kubernetes.io/last-applied-configuration".into(), "SECRET".into());
        told.spec.labels.insert("token".into(), "SECRET".into());
        told.spec.annotations.insert("description".into(), "SECRET".into());
        told.spec.source =
            Some(crate::api::Source { kind: "probe".into(), instance: None, url: Some("SECRET".into()) });
        let mut storm = request("A", 0);
        let remediation = crate::api::RemediationStatus { message: Some("SECRET".into()), ..Default::default() };
        storm.status.as_mut().unwrap().remediation = Some(remediation);
        for object in [json!(told), json!(storm)] {
            assert!(object.to_string().contains("SECRET"));
            let shown = without_text(object);
            assert!(!shown.to_string().contains("SECRET") && shown["metadata"]["name"].is_string(), "{shown}");
        }
        let shown = without_text(json!(told));
        assert!(shown["spec"]["labels"]["token"] == LEFT_OUT && shown["spec"]["table"].is_string());
    }
}
