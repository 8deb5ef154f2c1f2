//! RemediationRequests and timelines as tables: the columns of `kubectl get rr`, with times in the place of ages.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::Table;
use crate::api::{RemediationRequest, STORM, StormState};
use crate::replay::TimelineEntry;
use crate::storm::metadata::whole_seconds;

/// One line for each.
pub fn request_table(requests: &[&RemediationRequest]) -> Table {
    let mut table = Table::new(&[
        "NAMESPACE",
        "NAME",
        "PATTERN",
        "STATE",
        "STORM",
        "ALERTS",
        "FIRING",
        "AFFECTED",
        "SEVERITY",
        "POLICY",
        "OPENED",
        "LAST SEEN",
        "CLOSED",
        "REASON",
    ]);
    for object in requests {
        table.push(row(object));
    }
    table
}

fn row(object: &RemediationRequest) -> Vec<String> {
    let status = object.status.as_ref();
    let storm = status.and_then(|status| status.storm.as_ref());
    let is_storm = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == STORM));
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| whole_seconds(time).to_string());
    let state = storm.map_or("", |storm| match storm.state {
        StormState::Open => "Open",
        StormState::Closed => "Closed",
    });
    vec![
        object.namespace().unwrap_or_default(),
        object.name_any(),
        object.spec.pattern.clone(),
        state.to_owned(),
        is_storm.map_or_else(String::new, |condition| condition.status.clone()),
        number(storm.map(|storm| storm.alert_count)),
        number(storm.map(|storm| storm.firing_count)),
        number(storm.map(|storm| storm.affected_count)),
        storm.map_or_else(String::new, |storm| storm.severity.as_str().to_owned()),
        object.spec.policy_ref.name.clone(),
        time(object.creation_timestamp().map(|time| time.0)),
        time(storm.map(|storm| storm.last_seen.0)),
        time(storm.and_then(|storm| storm.closed_at.as_ref()).map(|time| time.0)),
        storm.and_then(|storm| storm.close_reason).map_or_else(String::new, |reason| format!("{reason:?}")),
    ]
}

/// One line for each moment.
pub fn timeline_table(moments: &[TimelineEntry]) -> Table {
    let mut table = Table::new(&["TIME", "WHAT", "NAMESPACE", "NAME", "DETAIL"]);
    for TimelineEntry { at, what, namespace, name, detail } in moments {
        table.push(vec![format!("{at:.3}"), format!("{what:?}"), namespace.clone(), name.clone(), detail.clone()]);
    }
    table
}
