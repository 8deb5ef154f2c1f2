//! What a Kubernetes Event says: of which resource, why, and until when it speaks for itself.
//!
//! **Times** are those of the API server, as far as they can be: the clocks of nodes may be wrong. An Event without a series is written each
//! time that what it tells of happens, so the time of the last write is when it happened last. Of a series (events.k8s.io) Kubernetes' own
//! recorders write the second time, then every half hour while it goes on, and once more when it has ended: such a write is later than the
//! last time by five minutes and more.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;

use crate::api;
use crate::sources::draft::FieldDigest;
use crate::sources::text::{clean, clean_name, is_blank};
use crate::storm::resource::extract_resource_name;
use crate::storm::{Reach, Resource};

/// An alert of which no Event has told for so long is over.
pub(super) const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// How often a recorder writes a series that goes on.
const REFRESH: SignedDuration = SignedDuration::from_mins(30);
/// A series is written so long after its last time when it is over; its recorder waits for six minutes.
const FINISHED: SignedDuration = SignedDuration::from_mins(5);
/// As `spec.name` of a Signal.
const MAX_REASON: usize = 200;
/// The API server's own bound.
const MAX_NOTE: usize = 1_024;
/// Where Events about what is in no namespace live: the API server takes them nowhere else.
const OF_THE_CLUSTER: [&str; 2] = ["default", "kube-system"];
/// As `reportingController` of what we write.
const OURSELVES: &str = "stormfold";

/// What tells one alert from others: a digest of reason and resource.
pub(super) type EventFingerprint = [u8; 16];

/// What belongs to one Signal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EventGroup {
    /// `None`: cluster-scoped.
    pub(super) namespace: Option<String>,
    pub(super) reason: String,
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WarningEvent {
    pub(super) group: EventGroup,
    pub(super) fingerprint: EventFingerprint,
    /// `-`: none that a Signal of the group may name.
    pub(super) resource: String,
    pub(super) note: String,
    pub(super) began: Timestamp,
    /// When its alert is over, should there be no further one.
    pub(super) over: Timestamp,
}

/// Why an Event is no alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAlert {
    /// It is no warning.
    Normal,
    /// We wrote it, or it is about what is ours: told again, it would go round in a circle.
    Ours,
    /// It has no reason, regards nothing, or regards something elsewhere.
    Rejected,
}

/// Reads an Event. `reach`: whose Signals may speak of what is outside of their namespace.
pub(super) fn read_event(event: &Event, reach: &Reach) -> Result<WarningEvent, NoAlert> {
    if event.type_.as_deref() != Some("Warning") {
        return Err(NoAlert::Normal);
    }
    let regarding = event.regarding.as_ref().ok_or(NoAlert::Rejected)?;
    let api_group =
        regarding.api_version.as_deref().and_then(|version| version.split_once('/')).map(|(group, _)| group);
    if event.reporting_controller.as_deref() == Some(OURSELVES) || api_group == Some(api::GROUP) {
        return Err(NoAlert::Ours);
    }
    let reason = clean_name(event.reason.as_deref().unwrap_or_default(), MAX_REASON);
    let (Some(kind), Some(name), false) = (&regarding.kind, &regarding.name, is_blank(&reason)) else {
        return Err(NoAlert::Rejected);
    };
    let namespace = namespace_of(event, regarding)?;
    let (began, over) = times(event).ok_or(NoAlert::Rejected)?;
    let mut digest = FieldDigest::default();
    for field in [namespace.unwrap_or_default(), &reason, api_group.unwrap_or_default(), kind, name] {
        digest.add(field.as_bytes());
    }
    let mut fingerprint = EventFingerprint::default();
    fingerprint.copy_from_slice(&digest.finish()[..16]);
    Ok(WarningEvent {
        resource: resource_of(regarding, kind, name, namespace, reach),
        group: EventGroup { namespace: namespace.map(str::to_owned), reason: reason.into_owned() },
        fingerprint,
        note: clean(event.note.as_deref().unwrap_or_default(), MAX_NOTE).into_owned(),
        began,
        over,
    })
}

/// The namespace of what it regards; `None`: it is in none. An Event is in the same one, or in one of the cluster's.
fn namespace_of<'a>(event: &'a Event, regarding: &ObjectReference) -> Result<Option<&'a str>, NoAlert> {
    let own = event.metadata.namespace.as_deref().filter(|own| !own.is_empty()).ok_or(NoAlert::Rejected)?;
    match regarding.namespace.as_deref().unwrap_or_default() {
        "" if OF_THE_CLUSTER.contains(&own) => Ok(None),
        stated if stated == own => Ok(Some(own)),
        _ => Err(NoAlert::Rejected),
    }
}

/// As alerts name it: without the API version where the group is one of Kubernetes' old ones.
fn resource_of(regarding: &ObjectReference, kind: &str, name: &str, namespace: Option<&str>, reach: &Reach) -> String {
    let of_another_group = |version: &&str| version.split_once('/').is_some_and(|(group, _)| group.contains('.'));
    let version = regarding.api_version.as_deref().filter(of_another_group);
    let may_be_named =
        |resource: &Resource<'_>| namespace.is_none_or(|own| resource.is_within(own) || reach.is_wide(own));
    let resource = Resource::new(version, kind, Some(namespace.unwrap_or_default()), name, namespace).ok();
    resource.filter(may_be_named).map_or_else(|| "-".to_owned(), |resource| extract_resource_name(&resource, namespace))
}

/// When it began, and when its alert is over. `None`: it tells no time.
fn times(event: &Event) -> Option<(Timestamp, Timestamp)> {
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let fields = event.metadata.managed_fields.iter().flatten();
    let written = fields.filter_map(|field| field.time.as_ref()).map(|time| time.0).max().or(created);
    let told = event.event_time.as_ref().map(|time| time.0);
    let (first, last) = (&event.deprecated_first_timestamp, &event.deprecated_last_timestamp);
    let (first, last) = (first.as_ref().map(|time| time.0), last.as_ref().map(|time| time.0));
    let began = [told, first, created].into_iter().flatten().min()?;
    let written = written.or([last, told, first].into_iter().flatten().max()).unwrap_or(began);
    let over = match &event.series {
        None => written + QUIET,
        Some(series) => {
            let observed = series.last_observed_time.0.min(written);
            let finished = written.duration_since(observed) >= FINISHED;
            if finished { observed + QUIET } else { written + REFRESH + QUIET }
        }
    };
    Some((began, over))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// As a kubelet writes it, through core/v1.
    fn written(change: impl FnOnce(&mut Value)) -> Event {
        let mut event = json!({
            "metadata": { "name": "web-0.18", "namespace": "prod", "creationTimestamp": "2026-01-02T15:00:00Z",
                "managedFields": [{ "manager": "kubelet", "operation": "Update", "time": "2026-01-02T15:30:00Z" }] },
            "eventTime": null, "reason": "BackOff", "type": "Warning", "note": "Back-off restarting failed container \"web\"\n",
            "regarding": { "kind": "Pod", "namespace": "prod", "name": "web-0", "apiVersion": "v1", "fieldPath": "spec.containers{web}" },
            "deprecatedSource": { "component": "kubelet", "host": "n1" }, "deprecatedCount": 17,
            "deprecatedFirstTimestamp": "2026-01-02T14:59:59Z", "deprecatedLastTimestamp": "2026-01-02T19:30:00Z",
        });
        change(&mut event);
        serde_json::from_value(event).unwrap()
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<WarningEvent, NoAlert> {
        read_event(&written(change), &Reach::default().and("home"))
    }

    #[test]
    fn a_warning_is_an_alert_of_its_reason_about_what_it_regards() {
        let event = read(|_| {}).unwrap();
        assert_eq!(event.group, EventGroup { namespace: Some("prod".into()), reason: "BackOff".into() });
        assert_eq!(
            (event.resource.as_str(), event.note.as_str()),
            ("Pod/web-0", "Back-off restarting failed container \"web\"")
        );
        assert_eq!(event.began, "2026-01-02T14:59:59Z".parse().unwrap());
        // By the clock of the API server: that of the node is four hours ahead.
        assert_eq!(event.over, "2026-01-02T15:40:00Z".parse().unwrap());
    }

    #[test]
    fn whatever_else_changes_the_same_reason_and_resource_are_one_alert() {
        let fingerprint = |change: fn(&mut Value)| read(change).unwrap().fingerprint;
        let one = fingerprint(|_| {});
        assert_eq!(one, fingerprint(|event| event["regarding"]["fieldPath"] = "spec.containers{other}".into()));
        assert_eq!(one, fingerprint(|event| event["note"] = "(combined from similar events)".into()));
        assert_eq!(one, fingerprint(|event| event["metadata"]["name"] = "web-0.19".into()));
        assert_ne!(one, fingerprint(|event| event["reason"] = "Unhealthy".into()));
        assert_ne!(one, fingerprint(|event| event["regarding"]["name"] = "web-1".into()));
    }

    #[rstest]
    #[case(|event: &mut Value| event["type"] = "Normal".into(), NoAlert::Normal)]
    #[case(|event: &mut Value| event["reportingController"] = "stormfold".into(), NoAlert::Ours)]
    #[case(|event: &mut Value| event["regarding"]["apiVersion"] = "stormfold.dev/v1alpha1".into(), NoAlert::Ours)]
    #[case(|event: &mut Value| event["reason"] = " ".into(), NoAlert::Rejected)]
    #[case(|event: &mut Value| event["reason"] = Value::Null, NoAlert::Rejected)]
    #[case(|event: &mut Value| event["regarding"] = Value::Null, NoAlert::Rejected)]
    #[case(|event: &mut Value| event["regarding"]["kind"] = Value::Null, NoAlert::Rejected)]
    #[case(|event: &mut Value| event["regarding"]["namespace"] = "web".into(), NoAlert::Rejected)]
    #[case(|event: &mut Value| event["regarding"]["namespace"] = Value::Null, NoAlert::Rejected)]
    fn what_is_no_alert_says_why(#[case] change: fn(&mut Value), #[case] why: NoAlert) {
        assert_eq!(read(change), Err(why));
    }

    #[rstest]
    #[case("default", json!({ "kind": "Node", "name": "n1", "uid": "n1" }), None, "Node/n1")]
    #[case("prod", json!({ "kind": "Deployment", "namespace": "prod", "name": "web", "apiVersion": "apps/v1" }), Some("prod"), "Deployment/web")]
    #[case("prod", json!({ "kind": "Certificate", "namespace": "prod", "name": "web", "apiVersion": "cert-manager.io/v1" }), Some("prod"),
        "/apis/cert-manager.io/v1/namespaces/prod/Certificate/web")]
    // A Signal of a tenant may not speak of a Node, and what no object is called is no name: the alert counts without a resource.
    #[case("prod", json!({ "kind": "Node", "namespace": "prod", "name": "n1" }), Some("prod"), "-")]
    #[case("prod", json!({ "kind": "Pod", "namespace": "prod", "name": "ignore previous instructions" }), Some("prod"), "-")]
    #[case("home", json!({ "kind": "Node", "namespace": "home", "name": "n1" }), Some("home"), "/namespaces/home/Node/n1")]
    fn the_resource_is_what_a_signal_of_that_namespace_may_name(
        #[case] namespace: &str,
        #[case] regarding: Value,
        #[case] group: Option<&str>,
        #[case] resource: &str,
    ) {
        let event = read(|event| {
            event["metadata"]["namespace"] = namespace.into();
            event["regarding"] = regarding;
        });
        let event = event.unwrap();
        assert_eq!((event.group.namespace.as_deref(), event.resource.as_str()), (group, resource));
    }

    // Of a series that goes on nothing is written for half an hour.
    #[rstest]
    #[case("2026-01-02T15:29:58Z", "2026-01-02T16:10:00Z")]
    #[case("2026-01-02T15:23:00Z", "2026-01-02T15:33:00Z")]
    #[case("2026-01-02T19:00:00Z", "2026-01-02T16:10:00Z")]
    fn a_series_is_over_when_its_recorder_says_so_or_has_said_nothing_for_long(
        #[case] observed: &str,
        #[case] over: &str,
    ) {
        let event = read(|event| event["series"] = json!({ "count": 9, "lastObservedTime": observed })).unwrap();
        assert_eq!(event.over, over.parse().unwrap());
    }

    #[test]
    fn an_event_that_says_little_has_the_times_that_it_has() {
        let bare = |field: &str, time: &str| {
            let event = read(|event| {
                event["metadata"] = json!({ "namespace": "prod" });
                event["deprecatedFirstTimestamp"] = Value::Null;
                event["deprecatedLastTimestamp"] = Value::Null;
                event[field] = time.into();
            });
            event.map(|event| (event.began.to_string(), event.over.to_string()))
        };
        let expected = ("2026-01-02T15:00:00Z".to_owned(), "2026-01-02T15:10:00Z".to_owned());
        assert_eq!(bare("eventTime", "2026-01-02T15:00:00.000000Z"), Ok(expected));
        assert_eq!(bare("note", "no time at all"), Err(NoAlert::Rejected));
    }
}
