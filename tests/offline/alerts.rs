//! The alerts: each fires when it must and is silent when it must, has a runbook, and is in the table of metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn rule_object() -> Value {
    serde_saphyr::from_str(&text("manifests/components/monitoring/prometheusrule.yaml")).unwrap()
}

fn rules() -> Vec<Value> {
    let groups = rule_object()["spec"]["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

/// Runs promtool in this folder. A promtool that is missing is a failure: these tests prove nothing without it.
fn promtool(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.expect("promtool is missing: apt-get install prometheus (or brew install prometheus)");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The rules as Prometheus reads them, in a folder of their own.
fn folder(spec: &Value) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yaml"), spec.to_string()).unwrap();
    folder
}

/// Without their annotations, whose texts have values in them: the tests are about when.
fn bare_spec() -> Value {
    let mut spec = rule_object()["spec"].clone();
    for group in spec["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("annotations").expect("annotations");
        }
    }
    spec
}

const FILES: [&str; 2] = ["ledger.yaml", "operator.yaml"];

#[test]
fn prometheus_takes_the_rules_as_they_are() {
    let folder = folder(&rule_object()["spec"]);
    let (success, said) = promtool(folder.path(), &["check", "rules", "--lint-fatal", "rules.yaml"]);
    assert!(success && said.contains(&format!("{} rules found", rules().len())), "{said}");
}

#[test]
fn each_alert_fires_when_it_must_and_is_silent_when_it_must() {
    let folder = folder(&bare_spec());
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for file in FILES {
        std::fs::copy(path("tests/alerts").join(file), folder.path().join(file)).unwrap();
        let tests: Value = serde_saphyr::from_str(&text(&format!("tests/alerts/{file}"))).unwrap();
        for test in tests["tests"].as_array().unwrap() {
            for check in test["alert_rule_test"].as_array().unwrap() {
                let fires = !check["exp_alerts"].as_array().unwrap().is_empty();
                seen.entry(string(&check["alertname"]).to_owned()).or_default().insert(fires);
            }
        }
        let (success, said) = promtool(folder.path(), &["test", "rules", file]);
        assert!(success && said.contains("SUCCESS"), "{file}: {said}");
    }
    let both: BTreeMap<_, _> =
        rules().iter().map(|rule| (string(&rule["alert"]).to_owned(), BTreeSet::from([false, true]))).collect();
    assert_eq!(seen, both, "every alert is tested firing and silent, and no other is");
}

// The harness itself: a rule that never fires, and one that always does, are found.
#[test]
fn a_rule_that_says_something_else_fails_its_tests() {
    for expression in ["vector(0) > 1", "max by (namespace, job) (stormfold_leading) >= 0"] {
        let mut spec = bare_spec();
        spec["groups"][0]["rules"][0]["expr"] = expression.into();
        let folder = folder(&spec);
        std::fs::copy(path("tests/alerts/operator.yaml"), folder.path().join("operator.yaml")).unwrap();
        let (success, said) = promtool(folder.path(), &["test", "rules", "operator.yaml"]);
        assert!(!success && said.contains("StormfoldNoLeader"), "{expression}: {said}");
    }
}

/// The anchors of a page, as GitHub makes them of plain headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-")).collect()
}

#[test]
fn each_alert_has_a_severity_a_text_and_a_runbook_that_exists() {
    let anchors = anchors(&text("docs/operations.md"));
    let mut used = BTreeSet::new();
    for rule in rules() {
        let (name, annotations) = (string(&rule["alert"]), &rule["annotations"]);
        assert!(["critical", "warning"].contains(&string(&rule["labels"]["severity"])), "{name}");
        assert!(
            !string(&annotations["summary"]).is_empty() && !string(&annotations["description"]).is_empty(),
            "{name}"
        );
        let anchor = string(&annotations["runbook_url"]).strip_prefix("docs/operations.md#");
        let anchor = anchor.unwrap_or_else(|| panic!("{name}: a runbook of docs/operations.md"));
        assert!(anchors.contains(anchor), "{name}: docs/operations.md has no section {anchor}");
        used.insert(anchor.to_owned());
    }
    let page = text("docs/operations.md");
    let (_, runbooks) = page.split_once("\n## Runbooks\n").expect("the runbooks");
    assert_eq!(self::anchors(runbooks), used, "every runbook is somebody's");
}

#[test]
fn links_within_the_operations_page_lead_somewhere() {
    let page = text("docs/operations.md");
    let anchors = anchors(&page);
    for link in page.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
        assert!(anchors.contains(link), "#{link}");
    }
}

#[test]
fn the_table_of_metrics_names_the_alerts_that_ask_for_each() {
    let names = |expression: &str| -> BTreeSet<String> {
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words
            .filter(|word| word.starts_with("stormfold_"))
            .map(|word| word.trim_end_matches("_bucket").to_owned())
            .collect()
    };
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in rules() {
        for name in names(string(&rule["expr"])) {
            asked.entry(name).or_default().insert(string(&rule["alert"]).to_owned());
        }
    }
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text("docs/metrics.md").lines().filter(|line| line.starts_with("| `stormfold_")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let alerts: BTreeSet<_> =
            cells[4].split(',').map(|alert| alert.trim().to_owned()).filter(|alert| !alert.is_empty()).collect();
        if !alerts.is_empty() {
            told.insert(cells[0].trim_matches('`').to_owned(), alerts);
        }
    }
    assert_eq!(told, asked);
}

// What Grafana asks for is PromQL: its variables aside, each expression is one that Prometheus takes.
#[test]
fn every_expression_of_the_dashboard_is_one_that_prometheus_takes() {
    let dashboard: Value = serde_json::from_str(&text("manifests/components/monitoring/stormfold.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let plain =
        |expr: &str| expr.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$namespace", ".*");
    let records: Vec<_> = targets
        .enumerate()
        .map(|(n, target)| json!({ "record": format!("panel:{n}"), "expr": plain(string(&target["expr"])) }))
        .collect();
    assert!(records.len() >= panels.len() && panels.len() > 8);
    let folder = folder(&json!({ "groups": [{ "name": "dashboard", "rules": records }] }));
    let (success, said) = promtool(folder.path(), &["check", "rules", "rules.yaml"]);
    assert!(success, "{said}");
    let titles: BTreeSet<_> = panels.iter().map(|panel| string(&panel["title"])).collect();
    assert_eq!(titles.len(), panels.len(), "no two panels have one title");
}
