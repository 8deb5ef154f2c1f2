//! `stormfold replay --diff`: what an edit of policies changes.

use rstest::rstest;
use serde_json::{Value, json};
use stormfold::cli::Exit;

use super::recordings::Files;

fn policy(spec: &Value) -> String {
    json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "StormPolicy", "metadata": { "name": "p" }, "spec": spec })
        .to_string()
}

/// Alerts of two names and two severities in one namespace: minute, status, name, severity.
fn recording() -> String {
    let reports = [
        (0, "firing", "A", "critical"),
        (1, "firing", "A", "warning"),
        (2, "firing", "B", "critical"),
        (5, "resolved", "A", "critical"),
        (5, "resolved", "A", "warning"),
        (5, "resolved", "B", "critical"),
    ];
    let line = |(minute, status, name, severity): &(i64, &str, &str, &str)| {
        let labels = json!({ "alertname": name, "severity": severity, "namespace": "shop", "pod": format!("{name}-{severity}") });
        let alert = json!({ "status": status, "labels": labels, "startsAt": "2027-01-15T08:00:00Z" });
        let body = json!({ "version": "4", "alerts": [alert] });
        let at = format!("2027-01-15T08:{minute:02}:00Z");
        format!("{}\n", json!({ "at": at, "path": "/webhook/alertmanager", "body": body }))
    };
    reports.iter().map(line).collect()
}

#[rstest]
#[case::nothing(json!({}), json!({}), &["2 requests become 2; 2 of them do not change"])]
#[case::merge(json!({}), json!({ "groupBy": ["namespace"] }),
    &["2 requests merge into one", "  - shop/storm-a-in-shop-", "  - shop/storm-b-in-shop-", "  + shop/storm-shop-any-alert-", "2 requests become 1; 0 of them do not change"])]
#[case::split(json!({}), json!({ "groupBy": ["name", "severity"] }),
    &["one request splits into 2", "  - shop/storm-a-in-shop-", "  + shop/storm-a-", "  + shop/storm-a-", "is another one", "  - shop/storm-b", "  + shop/storm-b", "2 requests become 3; "])]
#[case::regroup(json!({}), json!({ "groupBy": ["severity"] }), &["2 requests become 2 others", "  - ", "  - ", "  + ", "  + ", "2 requests become 2; 0 "])]
#[case::ends(json!({}), json!({ "settleDelay": "1m" }),
    &["ends otherwise", "  - shop/storm-a", "  + shop/storm-a", "ends otherwise", "  - shop/storm-b", "  + shop/storm-b", "2 requests become 2; 0 "])]
#[case::vanish(json!({}), json!({ "suspended": true }), &["vanishes", "  - shop/storm-a", "vanishes", "  - shop/storm-b", "2 requests become 0; 0 "])]
#[case::appear(json!({ "suspended": true, "match": { "names": ["A"] } }), json!({ "match": { "names": ["A"] } }),
    &["appears", "  + shop/storm-a", "1 request become 2; 1 of them do not change"])]
fn what_changes_is_told_request_by_request(#[case] old: Value, #[case] new: Value, #[case] wanted: &[&str]) {
    let files = Files::new(&[("r.jsonl", &recording()), ("old.json", &policy(&old)), ("new.json", &policy(&new))]);
    let result = files.run("replay r.jsonl --run-on 10m --diff old.json new.json");
    let lines: Vec<&str> = result.output.lines().collect();
    let fits = lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, wanted)| line.starts_with(wanted));
    assert!(fits, "{}{:?}", result.output, result.remarks);
    assert_eq!(result.exit, if old == new { Exit::Fine } else { Exit::Failed });
    let json = files.run("replay r.jsonl --run-on 10m --diff old.json new.json --output json");
    assert!(serde_json::from_str::<Value>(&json.output).unwrap()["all"].is_array());
}

#[test]
fn the_standard_input_cannot_be_read_twice() {
    let files = Files::new(&[("old.json", ""), ("new.json", "")]);
    let result = files.run("replay - --diff old.json new.json");
    assert_eq!(
        result.remarks,
        ["error: --diff reads the recording twice: give it as a file, not as the standard input"]
    );
    assert_eq!(result.exit, Exit::BadInput);
}
