//! What a real operator exports is what the documentation, the alerts and the dashboard say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::events_source::allow_events;
use super::operator::Operator;
use super::redis_server::RedisServer;
use super::signals::table;
use super::wait::eventually;
use super::world::World;

/// Type and labels, each with its values.
type Shape = (String, BTreeMap<String, BTreeSet<String>>);
type Shapes = BTreeMap<String, Shape>;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Labels of a sample: `{a="b",c="d"}`. Values of ours have neither quotes nor commas.
fn labels(sample: &str) -> Vec<(String, String)> {
    let Some((_, rest)) = sample.split_once('{') else { return Vec::new() };
    let inner = rest.split_once('}').expect("the labels end").0;
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a label has a value");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    inner.split(',').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// What a page shows.
fn exported(page: &str) -> Shapes {
    let mut shapes = Shapes::new();
    let mut family = (String::new(), String::new());
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            family = (name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (name, kind) = &family;
            assert!(line.starts_with(name.as_str()), "{line} is not of {name}");
            let name = if kind == "counter" { format!("{name}_total") } else { name.clone() };
            let shape = shapes.entry(name).or_insert_with(|| (kind.clone(), BTreeMap::new()));
            for (label, value) in labels(line).into_iter().filter(|(label, _)| label != "le") {
                shape.1.entry(label).or_default().insert(value);
            }
        }
    }
    shapes
}

/// What the table of docs/metrics.md says.
fn documented() -> Shapes {
    let text = file("docs/metrics.md");
    let mut shapes = Shapes::new();
    for line in text.lines().filter(|line| line.starts_with("| `stormfold_")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, _] = cells[..] else { panic!("five columns: {line}") };
        assert!(!meaning.is_empty(), "{line}");
        let label = |text: &str| {
            let (name, values) = text.split_once(':').expect("a label and its values");
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            (name.trim().trim_matches('`').to_owned(), values)
        };
        let labels = labels.split(';').filter(|text| !text.is_empty()).map(label).collect();
        let before = shapes.insert(name.trim_matches('`').to_owned(), (kind.to_owned(), labels));
        assert!(before.is_none(), "twice: {line}");
    }
    shapes
}

/// An operator with everything that exports something, that has published a storm; its page.
async fn a_working_operator() -> String {
    let (mut world, redis) = (World::new("metrics").await, RedisServer::start(&["--maxmemory", "64mb"]));
    world.redis = None;
    let url = format!("--redis-url={}", redis.url());
    let flags = [
        "--ledger=redis",
        url.as_str(),
        "--gateway-listen=127.0.0.1:0",
        "--events-source",
        "--alertmanager-url=http://127.0.0.1:9",
    ];
    allow_events(&world.client, &world.namespace).await;
    let operator = Operator::start(&[&world], &flags).await;
    world.create(&table("some", "Measured", 0..12)).await;
    world.one_storm("twelve", |storm| storm.alert_count == 12).await;
    world.receipts(1).await;
    eventually("the server of the ledger was looked at", || async {
        let (_, page) = operator.get("/metrics").await?;
        let told = page.contains("\nstormfold_ledger_oldest_dirty_seconds ");
        // The watch may be a moment behind the list that the test has seen.
        let seen = page.contains("\nstormfold_requests 1\n") && page.contains("\nstormfold_request_alerts 12\n");
        if told && seen { Ok(page) } else { Err(page) }
    })
    .await
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_real_operator_exports() {
    let page = a_working_operator().await;
    let (exported, documented) = (exported(&page), documented());
    for (name, shape) in &exported {
        assert_eq!(documented.get(name), Some(shape), "{name} is exported: see docs/metrics.md");
    }
    for name in documented.keys() {
        assert!(exported.contains_key(name), "{name} is in docs/metrics.md and not exported");
    }
    assert!(page.contains("\nstormfold_leading 1\n") && page.contains("\nstormfold_open_storms 1\n"), "{page}");
}

/// The names that begin with `stormfold_` in an expression, and the label values that it asks of each.
fn asked(expression: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut rest = expression;
    let mut asked = Vec::new();
    while let Some(at) = rest.find("stormfold_") {
        let end =
            rest[at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(rest.len(), |end| at + end);
        let name = rest[at..end].to_owned();
        rest = &rest[end..];
        let labels = if rest.starts_with('{') { labels(&rest.replace("=~", "=")) } else { Vec::new() };
        asked.push((name, labels));
    }
    asked
}

/// Ends the test when an expression asks for what nobody exports.
fn must_be_exported(place: &str, expression: &str, exported: &Shapes) {
    let asked = asked(expression);
    assert!(!asked.is_empty(), "{place}: {expression} asks for nothing of ours");
    for (name, labels) in asked {
        let family = name.strip_suffix("_bucket").unwrap_or(&name);
        let shape = exported.get(family).unwrap_or_else(|| panic!("{place}: nobody exports {name}"));
        assert_eq!(family != name, shape.0 == "histogram", "{place}: {name}");
        // Prometheus itself adds `namespace` and `job`.
        for (label, values) in labels.iter().filter(|(label, _)| label != "namespace" && label != "job") {
            let known = shape.1.get(label).unwrap_or_else(|| panic!("{place}: {name} has no label {label}"));
            for value in values.split('|') {
                assert!(known.contains(value), "{place}: {label} of {name} is never {value}");
            }
        }
    }
}

fn expressions_of_the_dashboard() -> Vec<(String, String)> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("manifests/components/monitoring/stormfold.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let targets = |panel: &serde_json::Value| {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().unwrap();
        targets.iter().map(|target| (title.clone(), text(&target["expr"]))).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = panels.iter().flat_map(targets).collect();
    all.push(("variable namespace".into(), text(&dashboard["templating"]["list"][1]["query"])));
    all
}

fn expressions_of_the_alerts() -> Vec<(String, String)> {
    let rules: serde_json::Value =
        serde_saphyr::from_str(&file("manifests/components/monitoring/prometheusrule.yaml")).unwrap();
    let rules = rules["spec"]["groups"][0]["rules"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    rules.iter().map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

#[tokio::test]
async fn every_metric_that_the_dashboard_and_the_alerts_ask_for_is_exported_by_a_real_operator() {
    let exported = exported(&a_working_operator().await);
    for (place, expression) in expressions_of_the_dashboard().iter().chain(&expressions_of_the_alerts()) {
        must_be_exported(place, expression, &exported);
    }
}
