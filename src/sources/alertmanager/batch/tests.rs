use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::body::read_body;
use super::*;
use crate::api;
use crate::sources::draft::{MAX_ANNOTATION, MAX_ANNOTATIONS, MAX_LABEL, MAX_LABELS};
use crate::sources::draft::{MAX_INSTANCE, MAX_KEY};

#[path = "tests/policies.rs"]
mod policies;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_485_300 + second).unwrap()
}

pub(super) fn alert(fingerprint: &str, labels: &Value) -> Value {
    json!({ "status": "firing", "labels": labels, "annotations": { "summary": "It burns", "value": fingerprint },
        "startsAt": "2026-11-24T10:00:00.123456Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": fingerprint })
}

pub(super) fn body(alerts: impl Into<Value>) -> Value {
    json!({ "version": "4", "receiver": "stormfold", "externalURL": "http://alertmanager-0:9093", "status": "firing",
        "groupLabels": { "alertname": "HighLoad" }, "alerts": alerts.into() })
}

pub(super) fn read(body: &Value, lines: usize, now: Timestamp) -> Webhook {
    let text = body.to_string();
    batch(&read_body(text.as_bytes(), 4 << 20).unwrap(), &TargetRules::default(), &PolicySet::default(), lines, now)
}

pub(super) fn pods(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let labels =
        |n| json!({ "alertname": "HighLoad", "namespace": "prod", "severity": "page", "pod": format!("web-{n}") });
    numbers.map(|n| alert(&format!("{n:016x}"), &labels(n))).collect()
}

pub(super) fn names(batch: &Webhook) -> Vec<&str> {
    batch.signals.iter().map(|draft| draft.name.as_str()).collect()
}

#[test]
fn alerts_of_one_name_namespace_and_severity_are_one_signal() {
    let batch = read(&body(pods(0..3)), 500, at(0));
    let [draft] = batch.signals.as_slice() else { panic!("{:?}", batch.signals) };
    let (Draft { name, namespace, .. }, spec) = (draft, draft.spec());
    assert_eq!(namespace.as_deref(), Some("prod"));
    assert!(name.starts_with("am-") && name.ends_with("-1795485300") && name.len() == 46, "{name}");
    assert_eq!((spec.name.as_str(), spec.severity, spec.resolvable), ("HighLoad", api::Severity::Critical, true));
    let table = spec.table.as_deref().unwrap();
    let first = table.lines().next().unwrap();
    assert!(
        first.starts_with("firing 2026-11-24T10:00:00.123Z 0000000000000000-") && first.ends_with(" Pod/web-0"),
        "{first}"
    );
    assert_eq!(table.lines().count(), 3);
    // What all of them share, and nothing of one of them.
    assert_eq!(spec.labels.keys().collect::<Vec<_>>(), ["alertname", "namespace", "severity"]);
    assert_eq!(spec.annotations.keys().collect::<Vec<_>>(), ["summary"]);
    let source = spec.source.as_ref().unwrap();
    assert_eq!((source.kind.as_str(), source.url.as_deref()), ("alertmanager", Some("http://alertmanager-0:9093")));
}

#[test]
fn each_namespace_name_severity_and_cluster_has_a_signal_of_its_own() {
    let mut alerts = vec![];
    for (name, namespace, severity, cluster) in [
        ("A", "prod", "page", ""),
        ("B", "prod", "page", ""),
        ("A", "web", "page", ""),
        ("A", "prod", "none", ""),
        ("A", "", "page", ""),
        ("A", "prod", "page", "east"),
    ] {
        let labels = json!({ "alertname": name, "namespace": namespace, "severity": severity, "cluster": cluster });
        alerts.extend([alert("1", &labels), alert("2", &labels)]);
    }
    let batch = read(&body(alerts), 500, at(0));
    assert_eq!(batch.signals.len(), 6);
    assert_eq!(batch.without_target, 12);
    assert!(batch.signals.iter().all(|draft| draft.table().lines().count() == 2));
    assert_eq!(batch.signals[4].namespace, None);
    assert_eq!(batch.signals[4].spec().namespace.as_deref(), Some(""));
}

#[rstest]
#[case(500, 1_200, &[500, 500, 200])]
#[case(1_000, 1_000, &[1_000])]
#[case(1, 3, &[1, 1, 1])]
fn a_signal_has_at_most_so_many_occurrences(#[case] most: usize, #[case] alerts: usize, #[case] lines: &[usize]) {
    let batch = read(&body(pods(0..alerts)), most, at(0));
    let counts: Vec<_> = batch.signals.iter().map(|draft| draft.table().lines().count()).collect();
    assert_eq!(counts, lines);
}

// A retry, or the second Alertmanager of a pair: another order, other annotations, another address, the same names.
#[test]
fn the_same_alerts_within_five_minutes_have_the_same_names() {
    let one = read(&body(pods(0..1_200)), 500, at(0));
    let mut alerts = pods(0..1_200);
    alerts.reverse();
    alerts[7]["annotations"] = json!({ "summary": "It burns more" });
    let mut other = body(alerts);
    other["externalURL"] = "http://alertmanager-1:9093".into();
    other["receiver"] = "again".into();
    let two = read(&other, 500, at(299));
    assert_eq!(names(&one), names(&two));
    // Each says when it was received.
    let reported = |webhook: &Webhook| webhook.signals[0].spec().reported_at.unwrap().0;
    assert_eq!((reported(&one), reported(&two)), (at(0), at(299)));
}

#[test]
fn hours_later_or_with_a_change_they_have_other_names() {
    let before = read(&body(pods(0..3)), 500, at(0));
    let later = read(&body(pods(0..3)), 500, at(4 * 3_600));
    assert_ne!(names(&before), names(&later));
    let spec = later.signals[0].spec();
    assert_eq!(before.signals[0].spec(), api::SignalSpec { reported_at: Some(at(0).into()), ..spec });
    let mut resolved = pods(0..3);
    resolved[1]["status"] = "resolved".into();
    assert_ne!(names(&before), names(&read(&body(resolved), 500, at(0))));
    let mut truncated = body(pods(0..3));
    truncated["truncatedAlerts"] = 7.into();
    let truncated = read(&truncated, 500, at(0));
    assert_ne!(names(&before), names(&truncated));
    assert!(truncated.signals[0].spec().incomplete && truncated.truncated == 7 && !before.signals[0].spec().incomplete);
}

// What is new comes last: the Signals before it are those of the last delivery.
#[test]
fn a_new_alert_changes_the_last_signal_only() {
    let before = read(&body(pods(0..1_100)), 500, at(0));
    let mut alerts = pods(0..1_101);
    alerts[1_100]["startsAt"] = "2026-11-24T10:03:00Z".into();
    alerts.swap(3, 1_100);
    let after = read(&body(alerts), 500, at(10));
    assert_eq!(names(&before)[..2], names(&after)[..2]);
    assert_ne!(names(&before)[2], names(&after)[2]);
}

#[test]
fn what_alerts_share_is_found_in_whatever_order_it_is_written() {
    let text = r#"{"version":"4","alerts":[{"labels":{"zone":"east","pod":"a","alertname":"A","tier":"web"}},
        {"labels":{"alertname":"A","tier":"web","pod":"b","zone":"east"}}]}"#;
    let batch =
        batch(&read_body(text.as_bytes(), 4096).unwrap(), &TargetRules::default(), &PolicySet::default(), 500, at(0));
    assert_eq!(batch.signals[0].spec().labels.keys().collect::<Vec<_>>(), ["alertname", "tier", "zone"]);
}

// Policies group by them, and there may be more shared labels than a Signal holds.
#[test]
fn the_labels_that_alertmanager_grouped_by_are_kept_before_all_others() {
    let mut labels = json!({ "alertname": "A", "zone": "east" });
    for n in 0..300 {
        labels[format!("label{n}")] = "v".into();
    }
    let mut body = body([alert("1", &labels)]);
    body["groupLabels"] = json!({ "zone": "east" });
    let batch = read(&body, 500, at(0));
    let kept = batch.signals[0].spec().labels.clone();
    assert_eq!((kept.len(), kept.get("zone").map(String::as_str)), (MAX_LABELS, Some("east")));
}

#[test]
fn an_alert_counts_however_many_labels_it_has() {
    let mut labels = json!({ "alertname": "A" });
    for n in 0..300 {
        labels[format!("label{n}")] = "v".into();
    }
    let batch = read(&body([alert("1", &labels)]), 500, at(0));
    assert_eq!(batch.alerts[0].verdict, AlertVerdict::In(0));
    assert_eq!(batch.signals[0].spec().labels.len(), MAX_LABELS);
}

// C18, E7, E9: each alert by itself.
#[test]
fn one_bad_alert_is_rejected_with_its_reason_and_the_others_count() {
    let good = alert("1", &json!({ "alertname": "A" }));
    let mut bad =
        vec![json!(7), json!({ "labels": { "severity": "page" } }), json!({ "labels": { "alertname": "\u{7}" } })];
    for (field, value) in [("status", "pending"), ("startsAt", "yesterday")] {
        let mut alert = good.clone();
        alert[field] = value.into();
        bad.push(alert);
    }
    let batch = read(&body([vec![good], bad].concat()), 500, at(0));
    assert_eq!(batch.alerts[0].verdict, AlertVerdict::In(0));
    let whys: Vec<_> = batch.alerts[1..]
        .iter()
        .map(|fate| match &fate.verdict {
            AlertVerdict::Rejected(why) => why.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    for (why, says) in whys.iter().zip([
        "cannot be read",
        "alertname",
        "alertname",
        "status is \"pending\"",
        "startsAt is \"yesterday\"",
    ]) {
        assert!(why.contains(says), "{why}");
    }
    assert_eq!(batch.signals.len(), 1);
}

#[rstest]
#[case(json!(null), "-")]
#[case(json!(""), "-")]
#[case(json!("0001-01-01T00:00:00Z"), "-")]
#[case(json!("2026-11-24T11:00:00+01:00"), "2026-11-24T10:00:00Z")]
#[case(json!("9999-01-01T00:00:00Z"), "9999-01-01T00:00:00Z")] // clamped, and counted, by intake
#[case(json!("9999-12-31T23:59:59Z"), "9999-12-30T22:00:00.999999999Z")] // the end of all days, a little later than a time can be
#[case(json!("9999-12-31T23:59:59.5-23:59"), "9999-12-30T22:00:00.999999999Z")]
fn zero_time_is_none_and_every_other_time_is_passed_on(#[case] starts_at: Value, #[case] written: &str) {
    let mut alert = alert("1", &json!({ "alertname": "A" }));
    alert["startsAt"] = starts_at;
    let batch = read(&body(vec![alert]), 500, at(0));
    assert_eq!(batch.signals[0].table(), format!("firing {written} 1-d2c6efc389df0927 -\n"));
}

#[rstest]
#[case("FIRING", "firing")]
#[case(" Resolved ", "resolved")]
fn a_status_is_read_in_any_case(#[case] status: &str, #[case] state: &str) {
    let mut alert = alert("1", &json!({ "alertname": "A" }));
    alert["status"] = status.into();
    assert!(read(&body(vec![alert]), 500, at(0)).signals[0].table().starts_with(state));
}

// Whoever sends one fingerprint for all of its alerts is not Alertmanager: what differs in a label is another alert.
#[test]
fn alerts_that_share_a_fingerprint_and_have_different_labels_are_several() {
    let labels = |probe: &str| json!({ "alertname": "ProbeFailed", "instance": probe });
    let three: Vec<_> = ["a", "b", "c", "a"].map(|probe| alert("1", &labels(probe))).into();
    let batch = read(&body(three), 500, at(0));
    assert_eq!(batch.signals[0].table().lines().count(), 3);
    assert_eq!(batch.alerts.iter().map(|fate| &*fate.fingerprint).collect::<Vec<_>>(), ["1"; 4]);
    // One alone is the same one.
    let one = read(&body(vec![alert("1", &labels("b"))]), 500, at(0));
    let line = one.signals[0].table().to_owned();
    assert!(batch.signals[0].table().contains(&line), "{line}");
    // And Alertmanager's own is told as it is.
    let own = format!("{:016x}", label_fingerprint(&vec![("alertname".into(), "A".into())]));
    let told = read(&body(vec![alert(&own, &json!({ "alertname": "A" }))]), 500, at(0));
    assert_eq!(told.signals[0].table(), format!("firing 2026-11-24T10:00:00.123Z {own} -\n"));
}

#[test]
fn one_annotation_that_is_no_text_takes_no_other_one_with_it() {
    let mut alerts = pods(0..2);
    alerts[0]["annotations"]["threshold"] = json!(90);
    alerts[0]["annotations"]["odd"] = json!({ "a": 1 });
    alerts[1]["annotations"]["threshold"] = json!(90);
    let spec = read(&body(alerts), 500, at(0)).signals[0].spec();
    assert_eq!(
        spec.annotations,
        [("summary", "It burns"), ("threshold", "90")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

#[test]
fn an_alert_that_fires_by_design_is_in_no_signal() {
    let alerts = ["Watchdog", "A", "InfoInhibitor"].map(|name| alert("1", &json!({ "alertname": name })));
    let batch = read(&body(alerts.to_vec()), 500, at(0));
    let dropped =
        |fate: &AlertFate| matches!(&fate.verdict, AlertVerdict::Dropped(why) if why.starts_with("by rule watchdog: "));
    assert_eq!(batch.alerts.iter().map(dropped).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!((batch.signals.len(), batch.signals[0].own.name.as_str(), batch.rejected()), (1, "A", None));
}

// As Prometheus' own tests have it: the empty label set, and one label.
#[test]
fn an_alert_without_fingerprint_gets_the_one_of_alertmanager() {
    assert_eq!(label_fingerprint(&Vec::new()), 14_695_981_039_346_656_037);
    let labels = vec![("fear".into(), "love is not enough".into()), ("name".into(), "garland, briggs".into())];
    assert_eq!(label_fingerprint(&labels), 5_799_056_148_416_392_346);
    for odd in ["", "-", "a b", "a\nb", &"f".repeat(65)] {
        let batch = read(&body(vec![alert(odd, &json!({ "alertname": "A" }))]), 500, at(0));
        assert_eq!(batch.alerts[0].fingerprint.len(), 16, "{odd}");
    }
}

#[test]
fn the_same_alert_twice_in_a_body_is_one_occurrence() {
    let alerts = [pods(0..2), pods(0..2)].concat();
    let batch = read(&body(alerts), 1, at(0));
    let verdicts: Vec<_> = batch.alerts.iter().map(|fate| &fate.verdict).collect();
    assert_eq!(batch.signals.len(), 2);
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, AlertVerdict::Again(_))).count(), 2);
}

#[test]
fn a_table_is_within_its_bound_however_long_its_names_are() {
    let labels = |n: usize| json!({ "alertname": "A", "namespace": "n".repeat(63), "pod": format!("{n:0>253}") });
    let alerts: Vec<_> = (0..2_000).map(|n| alert(&n.to_string(), &labels(n))).collect();
    let batch = read(&body(alerts), 2_000, at(0));
    assert!(batch.signals.len() > 1);
    assert!(batch.signals.iter().all(|draft| draft.table().len() <= MAX_TABLE));
}

/// Labels and annotations of any size and script.
fn texts() -> impl Strategy<Value = Vec<(String, String)>> {
    let key = prop_oneof![
        prop::sample::select(vec!["alertname", "namespace", "severity", "cluster", "pod", "node"])
            .prop_map(String::from),
        "\\PC{1,20}",
        "(?s:.){0,20}",
        ("\\PC", 250..260usize).prop_map(|(c, n)| c.repeat(n)),
    ];
    let value = prop_oneof!["[a-z]{1,8}", "(?s:.){0,20}", ("\\PC", 1_020..4_200usize).prop_map(|(c, n)| c.repeat(n))];
    (prop::collection::vec((key, value), 0..8), 0..80usize).prop_map(|(mut texts, more)| {
        texts.extend((0..more).map(|n| (format!("key{n}"), "v".to_owned())));
        texts
    })
}

fn fits(map: &BTreeMap<String, String>, entries: usize, value: usize) -> bool {
    map.len() <= entries
        && map.iter().all(|(k, v)| k.chars().count() <= MAX_KEY && v.chars().count() <= value)
        && map.iter().all(|(k, v)| !k.chars().chain(v.chars().filter(|c| *c != '\n')).any(char::is_control))
}

proptest! {
    // Hostile text: bounded, without control characters, and never in a name.
    #[test]
    fn every_signal_is_within_the_bounds_of_its_schema(sets in prop::collection::vec((texts(), texts()), 1..4), group in texts()) {
        let map = |texts: &[(String, String)]| -> Value { texts.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect::<serde_json::Map<_, _>>().into() };
        let alerts: Vec<_> = sets.iter().map(|(labels, annotations)| json!({ "labels": map(labels), "annotations": map(annotations) })).collect();
        let mut body = body(alerts);
        body["groupLabels"] = map(&group);
        body["receiver"] = group.first().map(|(_, text)| text.clone()).into();
        let batch = read(&body, 500, at(0));
        prop_assert_eq!(batch.alerts.len(), sets.len());
        for draft in &batch.signals {
            let (name, spec) = (&draft.name, draft.spec());
            prop_assert!(name.len() == 46 && name.chars().all(|c| c.is_ascii_hexdigit() || "am-".contains(c)), "{}", name);
            prop_assert!((1..=200).contains(&spec.name.chars().count()) && !spec.name.chars().any(char::is_control));
            prop_assert!(!spec.labels.values().any(|value| value.contains('\n')));
            prop_assert!(fits(&spec.labels, MAX_LABELS, MAX_LABEL) && fits(&spec.annotations, MAX_ANNOTATIONS, MAX_ANNOTATION));
            prop_assert!(spec.source.as_ref().unwrap().instance.as_ref().is_none_or(|text| text.chars().count() <= MAX_INSTANCE));
            prop_assert!(spec.table.as_ref().is_some_and(|table| !table.is_empty()));
        }
        let in_signals = batch.alerts.iter().filter(|fate| !matches!(fate.verdict, AlertVerdict::Rejected(_))).count();
        let lines: usize = batch.signals.iter().map(|draft| draft.table().lines().count()).sum();
        let again = batch.alerts.iter().filter(|fate| matches!(fate.verdict, AlertVerdict::Again(_))).count();
        prop_assert_eq!(in_signals, lines + again);
    }

    #[test]
    fn any_bytes_are_a_webhook_or_are_told_why_not(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read_body(&bytes, 4096).map(|body| batch(&body, &TargetRules::default(), &PolicySet::default(), 500, at(0)));
    }

    // What begins as a webhook and is then broken anywhere, in any way.
    #[test]
    fn a_damaged_webhook_is_one_or_is_told_why_not(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), end in any::<prop::sample::Index>()) {
        let mut bytes = body(pods(0..3)).to_string().into_bytes();
        for (index, byte) in cuts {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(end.index(bytes.len() + 1).max(1));
        if let Ok(body) = read_body(&bytes, 4096) {
            let batch = batch(&body, &TargetRules::default(), &PolicySet::default(), 500, at(0));
            prop_assert_eq!(batch.alerts.len(), body.alerts.len());
        }
    }
}

// Deep nesting is a fault of the body or of nothing, and no end of the stack.
#[test]
fn a_body_that_is_as_deep_as_it_is_long_is_answered() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let mut text = "{\"version\":\"4\",\"alerts\":[],\"x\":".to_owned();
        let _ = write!(text, "{}0{}}}", open.repeat(200_000), close.repeat(200_000));
        let _ = read_body(text.as_bytes(), 4 << 20);
        let alert = format!("{{\"version\":\"4\",\"alerts\":[{}0{}]}}", open.repeat(200_000), close.repeat(200_000));
        if let Ok(body) = read_body(alert.as_bytes(), 4 << 20) {
            assert!(matches!(
                batch(&body, &TargetRules::default(), &PolicySet::default(), 500, at(0)).alerts[0].verdict,
                AlertVerdict::Rejected(_)
            ));
        }
    }
}
