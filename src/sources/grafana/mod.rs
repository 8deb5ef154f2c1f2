//! The webhook of a contact point of Grafana's becomes Signals: Grafana has an Alertmanager in it, and sends a [`Dialect`] of its body.
//!
//! Two things are its own. Links that people want stand beside the annotations of an alert, not among them, and what Grafana computes of it
//! is in `values`. What it raises in the place of a rule that it cannot evaluate is a rule of the table of targets.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::GatewaySettings;
use super::alertmanager::{Alertmanager, Dialect};
use super::draft::LabelPairs;
use super::writer::SignalWriter;
use crate::metrics::{GatewayMetrics, SourceLabel};
use crate::policies::Policies;

pub(super) static GRAFANA: Dialect = Dialect {
    sender: "Grafana",
    path: "/webhook/grafana",
    version: "1",
    prefix: "gf",
    kind: "grafana",
    label: SourceLabel::Grafana,
    how_to_send_less: "let the contact point send fewer alerts (Max Alerts), group by more labels",
    links,
};

/// Takes the webhooks of Grafana's contact points. The message says what is wrong with the settings file.
pub fn open(
    settings: &GatewaySettings,
    policies: Arc<Policies>,
    writer: Arc<SignalWriter>,
    metrics: GatewayMetrics,
) -> Result<Arc<Alertmanager>, String> {
    Alertmanager::speaking(&GRAFANA, settings, policies, writer, metrics)
}

/// What an alert has beside what Alertmanager's have. Each may be missing, null or of another type.
#[derive(Deserialize)]
struct GrafanaLinks<'a> {
    #[serde(borrow, rename = "dashboardURL")]
    dashboard: Option<&'a RawValue>,
    #[serde(borrow, rename = "panelURL")]
    panel: Option<&'a RawValue>,
    #[serde(borrow, rename = "silenceURL")]
    silence: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow, rename = "valueString")]
    value_string: Option<&'a RawValue>,
}

fn links(alert: &RawValue) -> LabelPairs<'_> {
    let Ok(beside) = serde_json::from_str::<GrafanaLinks<'_>>(alert.get()) else { return Vec::new() };
    let text = |raw: Option<&RawValue>| serde_json::from_str::<String>(raw?.get()).ok();
    // As it is written: a map of numbers.
    let values = beside.values.map(RawValue::get).filter(|values| values.starts_with('{') && *values != "{}");
    let pairs = [
        ("dashboardURL", text(beside.dashboard)),
        ("panelURL", text(beside.panel)),
        ("silenceURL", text(beside.silence)),
        ("valueString", text(beside.value_string)),
        ("values", values.map(str::to_owned)),
    ];
    let told = pairs.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
    told.map(|(name, text)| (Cow::Borrowed(name), Cow::Owned(text))).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"dashboardURL":"http://g/d/1","panelURL":"","silenceURL":null,"values":{"B":44.2},"valueString":"[ v=1 ]"}"#,
        &[("dashboardURL", "http://g/d/1"), ("valueString", "[ v=1 ]"), ("values", r#"{"B":44.2}"#)])]
    #[case(r#"{"dashboardURL":7,"values":[1],"valueString":{}}"#, &[])]
    #[case(r#"{"values":null}"#, &[])]
    #[case(r#"{"values":{}}"#, &[])]
    #[case("7", &[])]
    fn what_people_want_beside_the_annotations_is_told_as_far_as_it_can_be_read(
        #[case] alert: &str,
        #[case] told: &[(&str, &str)],
    ) {
        let raw: Box<RawValue> = serde_json::from_str(alert).unwrap();
        let links = links(&raw);
        let links: Vec<_> = links.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
        assert_eq!(links, told);
    }
}
