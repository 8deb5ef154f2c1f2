use super::*;
use crate::storm::Severity;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_485_300 + second).unwrap()
}

fn alert(name: &str, namespace: Option<&str>, number: usize) -> RecalledAlert {
    let namespace = namespace.map(str::to_owned);
    RecalledAlert {
        key: Arc::new(DraftKey {
            namespace,
            cluster: None,
            name: name.into(),
            severity: Severity::Critical,
            telling: [].into(),
        }),
        starts_at: Some(at(0)),
        fingerprint: format!("{number:016x}"),
        resource: format!("Pod/web-{number}"),
        reported_at: at(60),
    }
}

#[test]
fn ends_are_signals_of_the_alerts_that_signals_told_of() {
    let mut ends: Vec<_> = (0..5).map(|number| alert("HighLoad", Some("prod"), number)).collect();
    ends.push(alert("NodeDown", None, 7));
    let drafts = drafts_of_ends(ends, 2, at(90));
    let told: Vec<_> = drafts.iter().map(|draft| (draft.own.name.as_str(), draft.table().lines().count())).collect();
    assert_eq!(told, [("NodeDown", 1), ("HighLoad", 2), ("HighLoad", 2), ("HighLoad", 1)]);
    let spec = drafts[1].spec();
    assert_eq!(
        spec.table.as_deref().unwrap().lines().next(),
        Some("resolved 2026-11-24T01:55:00Z 0000000000000000 Pod/web-0")
    );
    assert_eq!((spec.namespace.as_deref(), spec.severity, spec.resolvable), (Some("prod"), Severity::Critical, true));
    assert_eq!(spec.reported_at.unwrap().0, at(90));
    let source = spec.source.unwrap();
    assert_eq!((source.kind.as_str(), source.instance.as_deref()), ("alertmanager", Some("poll")));
    assert_eq!(drafts[0].spec().namespace.as_deref(), Some(""));
}

#[test]
fn what_begins_is_a_body_that_the_reader_of_webhooks_reads_and_none_is_too_large() {
    let text = |n: usize| {
        let labels = format!(r#"{{"alertname":"HighLoad","namespace":"prod","pod":"web-{n}"}}"#);
        format!(
            r#"{{"status":"firing","labels":{labels},"annotations":{{}},"startsAt":"2026-11-24T10:00:00Z","fingerprint":"{n}"}}"#
        )
    };
    let fires: BTreeMap<_, _> = (0..20).map(|n| (n.to_string(), text(n))).collect();
    let bodies = bodies(fires, 1_024);
    assert!(bodies.len() > 2 && bodies.iter().all(|(_, body)| body.len() <= 1_024), "{bodies:?}");
    let mut lines = 0;
    for (fingerprints, body) in &bodies {
        let webhook = batch(
            &read_body(body.as_bytes(), usize::MAX).unwrap(),
            &TargetRules::default(),
            &crate::storm::PolicySet::default(),
            500,
            at(0),
        );
        assert_eq!(webhook.alerts.len(), fingerprints.len());
        assert!(webhook.alerts.iter().zip(fingerprints).all(|(fate, fingerprint)| *fate.fingerprint == **fingerprint));
        lines += webhook.signals.iter().map(|draft| draft.table().lines().count()).sum::<usize>();
    }
    assert_eq!(lines, 20);
}
