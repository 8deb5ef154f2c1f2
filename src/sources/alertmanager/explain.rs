//! What alerts come to, in words: the answer of `stormfold targets` to "why this one?".

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;

use super::rules::{SignMemo, TargetRules};
use crate::sources::draft::LabelPairs;
use crate::sources::text::clean;
use crate::storm::Severity;

/// Of a label's value, in characters.
const MAX_SHOWN: usize = 200;

/// What the labels of an alert come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The alert's name.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// The namespace of the trouble; `None`: cluster-scoped.
    pub namespace: Option<String>,
    /// The cluster, where a label tells it.
    pub cluster: Option<String>,
    /// `Kind/Name`, where the alert names a resource.
    pub resource: Option<String>,
    /// Its API version, where it is not one of Kubernetes' own old kinds.
    pub api_version: Option<String>,
    /// The rule that says so, and where it is from.
    pub rule: Option<(String, String)>,
    /// Why such alerts are dropped.
    pub drop: Option<String>,
}

impl TargetRules {
    /// What these labels come to. `None`: there is no alert name.
    pub fn tell(&self, labels: &BTreeMap<String, String>) -> Option<Told> {
        let labels: LabelPairs<'_> =
            labels.iter().map(|(label, value)| (Cow::from(label.as_str()), Cow::from(value.as_str()))).collect();
        let mut memo = SignMemo::default();
        let about = self.about(&labels, &mut memo)?;
        let text = |text: &str| clean(text, MAX_SHOWN).into_owned();
        Some(Told {
            name: text(&about.name),
            severity: about.severity,
            namespace: about.namespace.map(str::to_owned),
            cluster: about.cluster.as_deref().map(str::to_owned),
            resource: about.target.as_ref().map(|target| format!("{}/{}", target.kind, target.name)),
            api_version: about.target.as_ref().and_then(|target| target.api_version.as_deref()).map(str::to_owned),
            rule: about.rule.map(|(rule, of)| (rule.to_owned(), of.to_owned())),
            drop: about.drop.map(str::to_owned),
        })
    }

    /// The rules in force, in the order in which they are tried: the name of each, and where it is from.
    pub fn in_force(&self) -> String {
        let line = |(name, of): (&str, &str)| format!("{name:32} {of}").trim_end().to_owned() + "\n";
        self.rule_names().map(line).collect()
    }

    /// What a webhook's body, or a file of labels, comes to. The message says what was expected.
    pub fn explain(&self, text: &str) -> Result<String, String> {
        let mut said = String::new();
        for labels in label_sets(text)? {
            let told = self.tell(&labels).map_or_else(
                || "an alert without the label alertname, which is rejected\n".to_owned(),
                |told| told.to_string(),
            );
            let _ = write!(said, "{told}");
        }
        Ok(said)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        match (&self.drop, &self.resource) {
            (Some(why), _) => writeln!(f, "  is dropped  {why}")?,
            (None, Some(resource)) => {
                let version = self.api_version.as_deref().map(|version| format!(" ({version})")).unwrap_or_default();
                writeln!(f, "  is about    {resource}{version}")?;
            }
            (None, None) => writeln!(f, "  is about    no resource that its labels name")?,
        }
        writeln!(f, "  namespace   {}", self.namespace.as_deref().unwrap_or("none: cluster-scoped"))?;
        if let Some(cluster) = &self.cluster {
            writeln!(f, "  cluster     {cluster}")?;
        }
        writeln!(f, "  severity    {}", self.severity.as_str())?;
        match &self.rule {
            Some((rule, of)) => writeln!(f, "  rule        {rule}: {of}"),
            None => writeln!(f, "  rule        none is for it"),
        }
    }
}

/// The label sets of a webhook, of a list of alerts, of one alert, or of labels alone: JSON, YAML, or as Prometheus shows them.
fn label_sets(text: &str) -> Result<Vec<BTreeMap<String, String>>, String> {
    let read = serde_saphyr::from_str::<Value>(text).ok().and_then(|value| of_value(&value));
    read.or_else(|| Some(vec![pairs(text)?])).ok_or_else(|| {
        "expected a webhook's body, an alert, a list of them, labels (JSON or YAML), or label=\"value\" pairs; a label has a text, a \
         number, true or false"
            .to_owned()
    })
}

fn of_value(value: &Value) -> Option<Vec<BTreeMap<String, String>>> {
    match value {
        Value::Array(alerts) => alerts.iter().map(of_alert).collect(),
        Value::Object(body) => match body.get("alerts") {
            Some(Value::Array(alerts)) => alerts.iter().map(of_alert).collect(),
            _ => Some(vec![of_alert(value)?]),
        },
        _ => None,
    }
}

fn of_alert(alert: &Value) -> Option<BTreeMap<String, String>> {
    let labels = alert.get("labels").unwrap_or(alert).as_object()?;
    let text = |(label, value): (&String, &Value)| match value {
        Value::String(text) => Some((label.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Some((label.clone(), value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    labels.iter().map(text).collect()
}

/// `{alertname="A", pod="b"}`, with or without what is around the pairs.
fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("=\"") {
        let name = before.rsplit(|c: char| c.is_whitespace() || "{,".contains(c)).next()?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (place, '"') => break place,
                (_, '\\') => value.push(letters.next()?.1),
                (_, letter) => value.push(letter),
            }
        };
        labels.insert(name.trim_matches('"').to_owned(), value);
        rest = &after[end + 1..];
    }
    (!labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SAID: &str = "A
  is about    Certificate/shop-tls (cert-manager.io/v1)
  namespace   shop
  severity    warning
  rule        cert-manager-certificate: cert-manager-mixin, and certmanager_certificate_* of cert-manager
";

    #[rstest]
    #[case(r#"{"version":"4","alerts":[{"labels":{"alertname":"A","job":"cert-manager","name":"shop-tls","namespace":"shop"}}]}"#)]
    #[case(r#"[{"labels":{"alertname":"A","job":"cert-manager","name":"shop-tls","namespace":"shop"}}]"#)]
    #[case("alertname: A\njob: cert-manager\nname: shop-tls\nnamespace: shop\n")]
    #[case("labels:\n  alertname: A\n  job: cert-manager\n  name: shop-tls\n  namespace: shop\n")]
    #[case(r#"ALERTS{alertname="A", job="cert-manager", name="shop-tls", namespace="shop"} 1"#)]
    #[case(r#"{alertname="A",job="cert-manager",name="shop-tls",namespace="shop",note="a \"b\""}"#)]
    fn bodies_alerts_and_labels_are_explained(#[case] text: &str) {
        assert_eq!(TargetRules::default().explain(text).as_deref(), Ok(SAID));
    }

    #[rstest]
    #[case("")]
    #[case("nothing")]
    #[case("[1]")]
    #[case("{alertname: [A]}")]
    #[case("x=\"")]
    fn what_has_no_labels_is_told(#[case] text: &str) {
        assert!(TargetRules::default().explain(text).unwrap_err().starts_with("expected a webhook's body"));
    }

    #[test]
    fn what_is_dropped_rejected_or_about_nothing_is_said() {
        let said = |text| TargetRules::default().explain(text).unwrap();
        assert!(said("{alertname: Watchdog}").contains("is dropped  it fires by design"));
        assert!(said("{alertname: A, cluster: east, replicas: 3}").contains("cluster     east"));
        assert!(said("{alertname: A}").contains("rule        none is for it"));
        assert!(said("{severity: page}").contains("without the label alertname"));
        let rules = TargetRules::default().in_force();
        assert!(rules.starts_with("watchdog ") && rules.contains("\nargocd-application "), "{rules}");
    }
}
