//! What alerts say for people, as Signals have it.

use serde_json::json;

use super::tests::{at, body, names, pods, read};
use super::*;
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
fn a_signal_tells_what_some_of_its_alerts_say_beyond_the_others() {
    let mut alerts = pods(0..14);
    for (n, alert) in alerts.iter_mut().enumerate() {
        alert["annotations"]["summary"] = format!("web-{n} is\nslow").into();
        alert["annotations"]["description"] = "All the same".into();
    }
    alerts[3]["status"] = "resolved".into();
    let batch = read(&body(alerts.clone()), 6, at(0));
    let specs: Vec<_> = batch.signals.iter().map(Draft::spec).collect();
    assert_eq!((specs.len(), specs.iter().map(|spec| spec.examples.len()).sum::<usize>()), (3, 10));
    for spec in &specs {
        let table = spec.table.as_deref().unwrap();
        for example in &spec.examples {
            let line = table.lines().find(|line| line.contains(&example.fingerprint)).expect("an alert of this Signal");
            let pod = line.rsplit_once("Pod/").unwrap().1;
            assert!(line.starts_with("firing "), "{line}");
            assert_eq!(example.labels, [("pod".to_owned(), pod.to_owned())].into());
            assert_eq!(example.summary.as_deref(), Some(format!("{pod} is slow").as_str()));
            assert_eq!(example.description, None, "all say it");
        }
    }
    alerts.reverse();
    let told = |batch: &Webhook| {
        let all = batch.signals.iter().flat_map(|draft| draft.spec().examples);
        all.map(|example| example.fingerprint).collect::<std::collections::BTreeSet<_>>()
    };
    let backwards = read(&body(alerts), 6, at(0));
    assert_eq!((names(&batch), told(&batch)), (names(&backwards), told(&backwards)));
    let alone = read(&body(pods(0..1)), 6, at(0));
    assert!(alone.signals[0].spec().examples.is_empty(), "it shares all with itself");
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
