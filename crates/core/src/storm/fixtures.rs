//! Values for tests, here and in the crates that build on this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{DEDUP_HORIZON, Observation, Opening, Refused, Report, Severity, SignalRef};

/// What a Signal of the pattern `X in prod` brings, with its earliest start and its latest report in seconds since 1970. It was reported at the latter.
///
/// # Panics
///
/// With times that are none.
#[must_use]
#[allow(clippy::unwrap_used, reason = "a value for tests, with the times that they name")]
pub fn observation(reports: Vec<Report>, seconds: (i64, i64), severity: Severity) -> Observation {
    let opening = Opening {
        object_namespace: "prod".into(),
        pattern: "X in prod".into(),
        signal_name: "X".into(),
        source_kind: None,
        namespace: "prod".into(),
        cluster: None,
        severity,
        group_labels: BTreeMap::new(),
        policy: "default".into(),
        said: Arc::default(),
    };
    Observation {
        signal: Arc::new(SignalRef { namespace: "prod".into(), name: "s".into(), uid: "u".into() }),
        key: opening.key(),
        opening: Arc::new(opening),
        scope: "prod".into(),
        severity,
        resolvable: false,
        incomplete: false,
        first_seen: Timestamp::from_second(seconds.0).unwrap(),
        last_seen: Timestamp::from_second(seconds.1).unwrap(),
        reported_at: Timestamp::from_second(seconds.1).unwrap(),
        reports,
        told: Vec::new(),
        held: Vec::new(),
        refused: Refused::default(),
        clamped: 0,
        groupings: Vec::new(),
        missing_labels: Vec::new(),
        resource_version: None,
        has_receipt: false,
        dedup_horizon: DEDUP_HORIZON,
        pending_message: None,
        receipt: None,
        receipt_others: Vec::new(),
        share: None,
        namespace_made: None,
    }
}
