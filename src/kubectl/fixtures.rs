//! Objects for the tests of this room.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{CloseReason, RemediationRequest, Severity, Signal, SignalSpec, StormState, from_storm_metadata};
use crate::storm::name::storm_name;
use crate::storm::{Opening, StormMetadata};

/// So many seconds after the beginning of every test.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// An open storm of this alert in `shop`, with three alerts, that opened so many seconds after the beginning.
pub(super) fn request(alert: &str, second: i64) -> RemediationRequest {
    let facts = StormMetadata {
        pattern: format!("{alert} in shop"),
        alert_count: 3,
        firing: 2,
        affected_count: 2,
        affected_resources: vec!["Pod/a".into(), "Pod/b".into()],
        first_seen: at(second),
        last_seen: at(second),
        severity: Severity::Warning,
        incomplete: false,
    };
    let opening = Opening {
        object_namespace: "shop".into(),
        pattern: facts.pattern.clone(),
        signal_name: alert.into(),
        source_kind: None,
        namespace: "shop".into(),
        cluster: None,
        severity: Severity::Warning,
        group_labels: [("name".to_owned(), alert.to_owned()), ("namespace".to_owned(), "shop".to_owned())].into(),
        policy: "default".into(),
        said: Arc::default(),
    };
    let epoch = at(second).as_second();
    let mut object = from_storm_metadata(&facts, &opening, epoch, None);
    object.metadata.creation_timestamp = Some(Time(at(second)));
    object.metadata.resource_version = Some("7".into());
    object
}

/// The same, closed twenty seconds later.
pub(super) fn closed(mut object: RemediationRequest, reason: CloseReason) -> RemediationRequest {
    let closed_at = Timestamp::from_second(object.spec.epoch + 20).unwrap();
    if let Some(storm) = object.status.as_mut().and_then(|status| status.storm.as_mut()) {
        (storm.state, storm.close_reason, storm.closed_at) = (StormState::Closed, Some(reason), Some(Time(closed_at)));
    }
    object
}

/// Its name.
pub(super) fn name_of(object: &RemediationRequest) -> String {
    storm_name(&object.spec.pattern, object.spec.epoch)
}

/// A Signal of this alert in `shop` with this table, without a receipt.
pub(super) fn signal(alert: &str, table: &str) -> Signal {
    let spec = SignalSpec { name: alert.into(), table: Some(table.into()), ..SignalSpec::default() };
    let mut signal = Signal::new("it", spec);
    signal.metadata.namespace = Some("shop".into());
    signal.metadata.uid = Some("uid".into());
    signal.metadata.creation_timestamp = Some(Time(at(0)));
    signal
}
