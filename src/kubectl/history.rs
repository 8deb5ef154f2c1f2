//! What happened to a storm, in order: from the object, its Signals, its Events and its neighbours.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use super::Screen;
use super::access::{Access, full_name};
use super::fault::{ApiRight, PluginError};
use super::list::{created, storm_of};
use super::show::{request_of, seen};
use super::text::{Cell, Paint, Style, many, table};
use crate::api::{CLOSED, RemediationRequest, STORM, Signal};
use crate::settings::OutputFormat;

/// An Event about a storm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct StormEvent {
    pub(super) at: Timestamp,
    pub(super) reason: String,
    pub(super) note: String,
    pub(super) count: i32,
}

/// The Events about a storm, the oldest first.
pub(super) async fn events_of(access: &Access, request: &RemediationRequest) -> Result<Vec<StormEvent>, PluginError> {
    let of = format!("regarding.kind=RemediationRequest,regarding.name={}", request.name_any());
    let found: Vec<Event> = access.list(ListParams::default().fields(&of)).await?;
    let mut events: Vec<StormEvent> = found.iter().filter_map(event).collect();
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// All Events about storms and Signals, the oldest first.
pub(super) async fn all_events(access: &Access) -> Result<Vec<StormEvent>, PluginError> {
    let found: Vec<Event> = access.list(ListParams::default()).await?;
    let ours = found.iter().filter(|event| {
        let about = event.regarding.as_ref().and_then(|about| about.api_version.as_deref());
        about.is_some_and(|version| version.starts_with(crate::api::GROUP))
    });
    let mut events: Vec<StormEvent> = ours.filter_map(event).collect();
    events.sort_by_key(|event| event.at);
    Ok(events)
}

fn event(event: &Event) -> Option<StormEvent> {
    let first = event.event_time.as_ref().map(|time| time.0).or_else(|| event.creation_timestamp().map(|time| time.0));
    let series = event.series.as_ref();
    Some(StormEvent {
        at: series.map(|series| series.last_observed_time.0).or(first)?,
        reason: event.reason.clone().unwrap_or_default(),
        note: event.note.clone().unwrap_or_default(),
        count: series.map_or(1, |series| series.count),
    })
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Moment {
    at: Timestamp,
    /// Of equal times, what comes first.
    #[serde(skip)]
    order: u8,
    what: String,
    details: String,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Timeline {
    name: String,
    moments: Vec<Moment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

/// Shows what happened to a storm.
pub(super) async fn timeline(access: &Access, name: &str, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let request = request_of(access, name).await?;
    if screen.output == OutputFormat::Name {
        return screen.say(&format!("{}\n", full_name(&request)));
    }
    let mut missing: Vec<ApiRight> = Vec::new();
    let of_storm = ListParams::default().fields(&format!("status.storm={}", request.name_any()));
    let signals = seen(access.list::<Signal>(of_storm).await, &mut missing)?;
    let of_key = ListParams::default().fields(&format!("spec.stormKey={}", request.spec.storm_key));
    let family = seen(access.list::<RemediationRequest>(of_key).await, &mut missing)?;
    let events = seen(events_of(access, &request).await, &mut missing)?;
    let timeline = Timeline {
        name: request.name_any(),
        moments: moments(&request, &signals, &family, &events),
        unknown: missing.iter().map(|right| format!("you lack the right to {right}")).collect(),
    };
    if screen.machine(&timeline)? {
        return Ok(());
    }
    screen.say(&text(&timeline, screen.style))
}

/// All that happened, in order.
fn moments(
    request: &RemediationRequest,
    signals: &[Signal],
    family: &[RemediationRequest],
    events: &[StormEvent],
) -> Vec<Moment> {
    let moment = |at, order, what: &str, details: String| Moment { at, order, what: what.to_owned(), details };
    let mut all = vec![moment(created(request), 1, "Opened", format!("by alert {}", request.spec.signal.name))];
    let status = request.status.as_ref();
    if let Some(storm) = storm_of(request) {
        all.push(moment(storm.first_seen.0, 0, "First alert began", String::new()));
        let facts = format!("{}, {} fire", many(storm.alert_count, "alert"), storm.firing_count);
        all.push(moment(storm.last_seen.0, 3, "Last report", facts));
    }
    for condition in status.iter().flat_map(|status| &status.conditions) {
        let what = match (condition.type_.as_str(), condition.status.as_str()) {
            (STORM, "True") => "Storm reached",
            (CLOSED, "True") => "Closed",
            _ => continue,
        };
        all.push(moment(
            condition.last_transition_time.0,
            6,
            what,
            format!("{}: {}", condition.reason, condition.message),
        ));
    }
    if let Some(remediation) = status.and_then(|status| status.remediation.as_ref()) {
        all.extend(remediation.started_at.as_ref().map(|at| moment(at.0, 4, "Remediation began", String::new())));
        let outcome = remediation.outcome.map(|outcome| format!("{outcome:?}")).unwrap_or_default();
        all.extend(remediation.finished_at.as_ref().map(|at| moment(at.0, 5, "Remediation finished", outcome.clone())));
    }
    for signal in signals {
        let status = signal.status.as_ref();
        let told = status.and_then(|status| Some((status.merged_at.as_ref()?.0, status.occurrences.as_ref())));
        if let Some((at, occurrences)) = told {
            let new = occurrences.map(|of| format!(", {} of {} were news", of.new, of.total)).unwrap_or_default();
            all.push(moment(at, 2, "Signal counted", format!("{}{new}", signal.name_any())));
        }
    }
    for other in family.iter().filter(|other| other.spec.epoch > request.spec.epoch) {
        all.push(moment(created(other), 7, "Successor opened", other.name_any()));
    }
    all.extend(events.iter().map(|event| moment(event.at, 8, &event.reason, format!("Event: {}", event.note))));
    all.sort();
    all
}

fn text(timeline: &Timeline, style: Style) -> String {
    let row = |moment: &Moment| {
        let at = format!("{:.0}", moment.at);
        vec![Cell::from(at), Cell::from(style.age(moment.at)), Cell::from(&moment.what), Cell::from(&moment.details)]
    };
    let rows: Vec<Vec<Cell>> = timeline.moments.iter().map(row).collect();
    let unknown: String =
        timeline.unknown.iter().map(|what| format!("{}\n", style.paint(Paint::Caution, what))).collect();
    format!("{}{unknown}", table(style, &["TIME", "AGO", "WHAT", "DETAILS"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CloseReason;
    use crate::kubectl::fixtures::{at, closed, request, signal};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn what_happened_is_told_in_order() {
        let object = closed(request("HighLatency", 10), CloseReason::Quiet);
        let mut counted = signal("HighLatency", "firing - a -");
        let receipt = crate::api::SignalStatus { merged_at: Some(Time(at(12))), ..Default::default() };
        counted.status = Some(receipt);
        let events = [StormEvent { at: at(31), reason: "StormClosed".into(), note: "over".into(), count: 1 }];
        let family = [object.clone(), request("HighLatency", 50)];
        let moments = moments(&object, &[counted], &family, &events);
        let told: Vec<&str> = moments.iter().map(|moment| moment.what.as_str()).collect();
        assert_eq!(
            told,
            ["First alert began", "Opened", "Last report", "Signal counted", "StormClosed", "Successor opened"]
        );
    }
}
