//! What alerts say for people, as Signals have it.

use serde_json::json;

use super::tests::{at, body, pods, read};
use crate::sources::draft::MAX_ANNOTATIONS;

#[test]
fn what_alerts_say_keeps_its_line_breaks_and_the_link_to_their_rule() {
    let mut alerts = pods(0..3);
    for alert in &mut alerts {
        alert["annotations"]["description"] = "One.\r\nTwo.\tThree.\u{1b}[31m".into();
        alert["labels"]["note"] = "a\nb".into();
    }
    alerts[0]["generatorURL"] = "javascript:alert(1)".into();
    alerts[1]["generatorURL"] = "http://prometheus.example/graph?g0.expr=up".into();
    let spec = read(&body(alerts), 500, at(0)).signals[0].spec();
    assert_eq!(spec.annotations["description"], "One.\nTwo. Three.[31m");
    assert_eq!(spec.labels["note"], "a b");
    assert_eq!(spec.generator_url.as_deref(), Some("http://prometheus.example/graph?g0.expr=up"));
}

#[test]
fn of_too_many_annotations_those_that_people_look_for_are_kept() {
    let mut alerts = pods(0..1);
    alerts[0]["annotations"] =
        (0..40).map(|n| (format!("a{n:02}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    alerts[0]["annotations"]["summary"] = "It burns".into();
    let spec = read(&body(alerts), 500, at(0)).signals[0].spec();
    assert_eq!((spec.annotations.len(), spec.annotations["summary"].as_str()), (MAX_ANNOTATIONS, "It burns"));
}
