//! What Alertmanager's API says (`/api/v2/alerts`) as webhooks: each alert fires when it began, and is over when it ended, as of the last
//! update in the answer. What is silenced or inhibited is told by no webhook.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{FilePlace, Happening, InputFault, Item};
use crate::replay::documents::cut;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DumpedAlert {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
    fingerprint: Option<String>,
    status: Option<DumpedState>,
}

#[derive(Deserialize)]
struct DumpedState {
    state: String,
}

impl DumpedAlert {
    fn is_told(&self) -> bool {
        self.status.as_ref().is_none_or(|status| status.state == "active")
    }

    fn as_webhook(&self, status: &str) -> Value {
        let Self { labels, annotations, starts_at, fingerprint, .. } = self;
        json!({ "status": status, "labels": labels, "annotations": annotations, "startsAt": starts_at, "fingerprint": fingerprint })
    }
}

/// One webhook for each instant at which something began or ended.
pub(super) fn items(place: &FilePlace, alerts: &[Value]) -> Result<Vec<Item>, InputFault> {
    let mut read = Vec::new();
    for (number, alert) in (1..).zip(alerts) {
        let place = FilePlace { item: Some(number), ..place.clone() };
        let alert: DumpedAlert = DumpedAlert::deserialize(alert).map_err(|fault| {
            let wrong = format!("{}: an alert of /api/v2/alerts has labels and startsAt", cut(&fault.to_string()));
            InputFault::new(&place, wrong)
        })?;
        read.push(alert);
    }
    let as_of = read.iter().filter_map(|alert| alert.updated_at).max();
    let mut by_time: BTreeMap<Timestamp, Vec<Value>> = BTreeMap::new();
    for alert in read.iter().filter(|alert| alert.is_told()) {
        by_time.entry(alert.starts_at).or_default().push(alert.as_webhook("firing"));
        if let Some(end) = alert.ends_at.filter(|end| as_of.is_some_and(|as_of| *end <= as_of)) {
            by_time.entry(end).or_default().push(alert.as_webhook("resolved"));
        }
    }
    let item = |(at, alerts): (Timestamp, Vec<Value>)| {
        let body = json!({ "version": "4", "status": "firing", "alerts": alerts });
        let body = RawValue::from_string(body.to_string())
            .map_err(|fault| InputFault::new(place, format!("cannot be written as a webhook: {fault}")))?;
        let what = Happening::Body { path: "/webhook/alertmanager".to_owned(), body };
        Ok(Item { at, place: place.clone(), what })
    };
    by_time.into_iter().map(item).collect()
}
