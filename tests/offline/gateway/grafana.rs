//! What Grafana's contact point sends: the same gateway, a body of its own.

use serde_json::{Value, json};
use stormfold::api::Severity;

use super::world::{Answer, World};

/// As Grafana writes it: one alert fires, one is over because its series is gone, and one rule cannot be evaluated.
const BODY: &str = include_str!("grafana.json");

async fn post(world: &World, body: &str) -> Answer {
    world.request("POST /webhook/grafana", "Content-Type: application/json\r\n", body.as_bytes()).await
}

#[tokio::test]
async fn a_webhook_of_grafana_becomes_signals_with_what_people_want_to_see() {
    let world = World::simple().await;
    let answer = post(&world, BODY).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(3)), "{answer:?}");
    let signals = world.api_server.signals();
    let of = |name: &str| signals.iter().find(|signal| signal.spec.name == name).unwrap();
    let memory = of("High memory usage");
    assert_eq!(memory.metadata.namespace.as_deref().or(memory.spec.namespace.as_deref()), Some("prod"));
    assert!(memory.metadata.name.as_ref().unwrap().starts_with("gf-"));
    assert_eq!(
        (memory.spec.severity, memory.spec.resolvable, memory.spec.incomplete),
        (Severity::Critical, true, true)
    );
    assert_eq!(
        memory.spec.table.as_deref(),
        Some(
            "resolved 2026-11-24T09:51:03Z bc97ff14869b13e3-ed757f146fd34413 Pod/web-1\n\
             firing 2026-11-24T09:56:00.157Z c6eadffa33fcdf37-05bf3c7bbbdfae0e Pod/web-0\n"
        )
    );
    let source = memory.spec.source.as_ref().unwrap();
    let source = (source.kind.as_str(), source.instance.as_deref(), source.url.as_deref());
    assert_eq!(source, ("grafana", Some("Stormfold"), Some("https://grafana.example/")));
    // What both alerts share; what each has for itself is of one of them.
    let annotations: Vec<_> = memory.spec.annotations.keys().map(String::as_str).collect();
    assert_eq!(annotations, ["dashboardURL", "panelURL", "runbook_url", "silenceURL"]);
    let page = world.metrics.encode(jiff::Timestamp::UNIX_EPOCH).unwrap();
    for line in [
        "stormfold_gateway_requests_total{source=\"Grafana\",answer=\"Ok\"} 1",
        "stormfold_gateway_alerts_total{source=\"Grafana\",result=\"Accepted\"} 3",
        "stormfold_gateway_alerts_without_target_total{source=\"Grafana\"} 1",
        "stormfold_gateway_truncated_alerts_total{source=\"Grafana\"} 2",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

// Nothing says that the Deployment is broken: Grafana could not ask.
#[tokio::test]
async fn a_rule_that_grafana_cannot_evaluate_is_an_alert_about_no_resource() {
    let world = World::simple().await;
    let mut body: Value = serde_json::from_str(BODY).unwrap();
    body["alerts"].as_array_mut().unwrap().drain(..2);
    let no_data = json!({ "status": "firing", "fingerprint": "7", "startsAt": "2026-11-24T09:59:00Z",
        "labels": { "alertname": "DatasourceNoData", "rulename": "Few replicas", "namespace": "prod", "deployment": "web" } });
    body["alerts"].as_array_mut().unwrap().push(no_data);
    assert_eq!(post(&world, &body.to_string()).await.status, 200);
    let mut tables: Vec<_> =
        world.api_server.signals().iter().map(|s| (s.spec.name.clone(), s.spec.table.clone().unwrap())).collect();
    tables.sort();
    let expected = [
        ("DatasourceError", "firing 2026-11-24T09:59:00Z 0d1f3b6a7c5e9284-81506be322cbe7a1 -\n"),
        ("DatasourceNoData", "firing 2026-11-24T09:59:00Z 7-f0dafbcc00972503 -\n"),
    ];
    assert_eq!(tables, expected.map(|(name, table)| (name.to_owned(), table.to_owned())));
}

#[tokio::test]
async fn what_grafana_sends_again_is_a_duplicate_and_each_path_takes_its_own_version() {
    let world = World::simple().await;
    assert_eq!(post(&world, BODY).await.body["accepted"], 3);
    assert_eq!(post(&world, BODY).await.body["duplicate"], 3);
    let detail = |answer: &Answer| answer.body["detail"].as_str().unwrap().to_owned();
    let elsewhere = world.post(BODY.as_bytes()).await;
    assert_eq!((elsewhere.status, detail(&elsewhere).as_str()), (400, "version is \"1\", not \"4\""));
    let other = post(&world, r#"{"version":"4","alerts":[]}"#).await;
    assert_eq!((other.status, detail(&other).as_str()), (400, "version is \"4\", not \"1\""));
    // Alerting before Grafana 9, and a payload of one's own.
    let old = post(&world, r#"{"evalMatches":[],"ruleName":"x","state":"alerting"}"#).await;
    assert_eq!((old.status, detail(&old).as_str()), (400, "version is missing: Grafana writes \"1\" there"));
    let large = post(&world, &format!("{BODY}{}", " ".repeat(64 * 1024))).await;
    assert_eq!(large.status, 413);
    assert!(detail(&large).contains("Max Alerts"), "{large:?}");
    let nowhere = world.request("POST /", "", b"").await;
    assert!(detail(&nowhere).contains("the webhooks of Grafana to /webhook/grafana"), "{nowhere:?}");
}
