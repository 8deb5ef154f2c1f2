//! What happened, line by line: openings, thresholds, ends, what waits, what was rejected.

use jiff::Timestamp;
use serde::Serialize;
use stormfold_core::engine::effect::Fact;
use stormfold_core::request::Request;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: TimelineKind,
    /// To what: namespace and name.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// More of it, in words.
    pub detail: String,
}

/// See [`TimelineEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TimelineKind {
    /// A RemediationRequest was created.
    Opened,
    /// It became a storm.
    Storm,
    /// It ended.
    Closed,
    /// What fires on may not open its successor yet.
    Waits,
    /// A Signal was rejected.
    Rejected,
}

/// `1 alert`, `2 alerts`.
pub(super) fn counted(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

/// What a timeline says of this, if anything.
pub(super) fn moment(at: Timestamp, fact: &Fact) -> Option<TimelineEntry> {
    let of = |object: &Request, what, detail: String| {
        let (namespace, name) = (object.namespace.clone(), object.name.clone());
        Some(TimelineEntry { at, what, namespace, name, detail })
    };
    match fact {
        Fact::Opened(object) => {
            let opening = &object.opening;
            of(object, TimelineKind::Opened, format!("{}, under policy {}", opening.pattern, opening.policy))
        }
        Fact::ThresholdReached(object, facts) => of(
            object,
            TimelineKind::Storm,
            format!("{}, {}", counted(facts.alert_count, "alert"), counted(facts.affected_count, "resource")),
        ),
        Fact::Closed(object, reason) => {
            let facts = object.shown.as_ref().map(|shown| &shown.facts);
            let counts = facts
                .map_or_else(String::new, |f| format!(": {}, {} firing", counted(f.alert_count, "alert"), f.firing));
            of(object, TimelineKind::Closed, format!("{reason:?}{counts}"))
        }
        Fact::SuccessorWaits(object, held) => of(object, TimelineKind::Waits, held.words()),
        Fact::Rejected(signal, rejection) => Some(TimelineEntry {
            at,
            what: TimelineKind::Rejected,
            namespace: signal.namespace.clone(),
            name: signal.name.clone(),
            detail: format!("{}: {}", rejection.reason, rejection.message),
        }),
        _ => None,
    }
}
