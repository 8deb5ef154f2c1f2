//! Objects of a file as what was reported: Signals, namespaces, and whatever else has a time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::lines::{FORM, webhook};
use super::{FilePlace, Happening, InputFault, Item, dump};
use crate::admission::admit_signal;
use crate::api::Signal;
use crate::replay::documents::{cut, objects};

/// When a recording begins that has no time in it: whenever it is played, it comes out the same.
const NO_TIME: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// What a file has, in order of time. What says no time comes with what is before it.
pub(super) fn items(file: &Arc<str>, text: &str) -> Result<Vec<Item>, InputFault> {
    let mut timed = Vec::new();
    for (place, value) in objects(file, text)? {
        read(&place, value, &mut timed)?;
    }
    let mut last = timed.iter().find_map(|(at, _)| *at).unwrap_or(NO_TIME);
    let with_time = |(at, mut item): (Option<Timestamp>, Item)| {
        last = at.unwrap_or(last);
        item.at = last;
        item
    };
    let mut items: Vec<_> = timed.into_iter().map(with_time).collect();
    let first = items.iter().map(|item| item.at).min().unwrap_or(NO_TIME);
    for item in &mut items {
        // A namespace is there before its Signals.
        if matches!(item.what, Happening::Namespace(..)) {
            item.at = first;
        }
    }
    items.sort_by_key(|item| (item.at, !matches!(item.what, Happening::Namespace(..))));
    Ok(items)
}

fn read(place: &FilePlace, value: Value, items: &mut Vec<(Option<Timestamp>, Item)>) -> Result<(), InputFault> {
    let kind = value.get("kind").and_then(Value::as_str).map(str::to_owned);
    let item = |what| Item { at: NO_TIME, place: place.clone(), what };
    match (kind.as_deref(), &value) {
        (Some("Signal"), _) => {
            let (at, signal) = signal(place, value)?;
            items.push((at, item(Happening::Signal(Box::new(signal)))));
        }
        (Some("Namespace"), _) => {
            let (name, labels) = namespace(place, &value)?;
            items.push((None, item(Happening::Namespace(name, labels))));
        }
        (Some(other), _) => {
            let wrong = format!("kind is {:?}: a recording has Signals and Namespaces", cut(other));
            let policy = if other == "StormPolicy" { "; give policies with --policies" } else { "" };
            return Err(InputFault::new(place, format!("{wrong}{policy}")));
        }
        (None, Value::Array(alerts)) => {
            let bodies = dump::items(place, alerts)?;
            items.extend(bodies.into_iter().map(|item| (Some(item.at), item)));
        }
        (None, Value::Object(fields)) if fields.contains_key("at") => {
            let read = webhook(&value.to_string(), place)?;
            items.push((Some(read.at), read));
        }
        (None, Value::Object(fields)) if fields.contains_key("alerts") => {
            let wrong = format!("this is a webhook without the time at which it came: write {FORM}");
            return Err(InputFault::new(place, wrong));
        }
        (None, _) => {
            let wrong = "neither a Signal (kind is missing), nor a webhook with its time, nor what /api/v2/alerts of \
                         Alertmanager says";
            return Err(InputFault::new(place, format!("{wrong}: {}", cut(&value.to_string()))));
        }
    }
    Ok(())
}

/// A Signal, and when it came: as it says to the microsecond, where that is within the second of its creation.
fn signal(place: &FilePlace, mut value: Value) -> Result<(Option<Timestamp>, Signal), InputFault> {
    let created = value.pointer("/metadata/creationTimestamp").cloned();
    let created = match created {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.parse::<Timestamp>().is_ok() => text.parse::<Timestamp>().ok(),
        Some(other) => {
            let wrong = format!(
                "metadata.creationTimestamp is {}: write a time such as 2026-01-02T15:04:05Z",
                cut(&other.to_string())
            );
            return Err(InputFault::new(place, wrong));
        }
    };
    // What the cluster and its operator made of it is made anew.
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| ["name", "namespace", "labels", "annotations"].contains(&name.as_str()));
    }
    let shown = value.clone();
    let signal = admit_signal(value).map_err(|faults| InputFault::refused(place, &shown, &faults))?;
    let reported = signal.spec.reported_at.as_ref().map(|time| time.0);
    let at = match (created, reported) {
        (Some(created), Some(reported)) => {
            let within = reported >= created && reported.duration_since(created) < SignedDuration::from_secs(1);
            Some(if within { reported } else { created })
        }
        (created, reported) => created.or(reported),
    };
    Ok((at, signal))
}

/// The name and the labels of a namespace.
pub(in crate::replay) fn namespace(
    place: &FilePlace,
    value: &Value,
) -> Result<(String, std::collections::BTreeMap<String, String>), InputFault> {
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    let name = name.ok_or_else(|| InputFault::new(place, "metadata.name is missing: give the Namespace its name"))?;
    let labels = value.pointer("/metadata/labels").cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let labels = serde_json::from_value(labels).map_err(|fault| {
        InputFault::new(place, format!("metadata.labels: {}: write a map of texts", cut(&fault.to_string())))
    })?;
    Ok((name.to_owned(), labels))
}
