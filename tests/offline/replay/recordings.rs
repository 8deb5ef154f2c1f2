//! `stormfold replay`: what goes in, what comes out, and what is refused.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};
use stormfold::cli::{self, CommandResult, Exit};
use stormfold::replay::recording::{FilePlace, Happening, Item};
use stormfold::replay::{PlaySettings, Player, PolicyFiles};
use stormfold::settings::{Cli, Command};
use tempfile::TempDir;

use super::start;

/// Files of one test.
pub struct Files(TempDir);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command line whose file names are in this folder; the folder is left out of what it says.
    pub fn run(&self, line: &str) -> CommandResult {
        let argument = |word: &str| {
            if Path::new(word).extension().is_some() { self.path(word).display().to_string() } else { word.to_owned() }
        };
        let words = std::iter::once("stormfold".to_owned()).chain(line.split(' ').map(argument));
        let mut outcome = match Cli::parse_from(words).command() {
            Command::Replay(flags) => cli::replay(&flags),
            Command::Test(flags) => cli::test(&flags),
            other => panic!("{other:?}"),
        };
        let folder = format!("{}/", self.0.path().display());
        outcome.output = outcome.output.replace(&folder, "");
        outcome.remarks.iter_mut().for_each(|remark| *remark = remark.replace(&folder, ""));
        outcome
    }
}

/// A webhook of these alerts, so many seconds after the start.
fn line(second: i64, status: &str, pods: &[&str]) -> String {
    let at = start() + SignedDuration::from_secs(second);
    let alert = |pod: &&str| json!({ "status": status, "startsAt": start(), "labels": { "alertname": "Down", "namespace": "shop", "pod": pod } });
    let alerts: Vec<Value> = pods.iter().map(alert).collect();
    let body = json!({ "version": "4", "receiver": "r", "groupLabels": {}, "alerts": alerts });
    format!("{}\n", json!({ "at": at, "path": "/webhook/alertmanager", "body": body }))
}

fn night() -> String {
    [
        line(0, "firing", &["a", "b"]),
        // The other Alertmanager of the pair.
        line(1, "firing", &["a", "b"]),
        line(60, "resolved", &["a"]),
        line(70, "firing", &["a"]),
        line(80, "resolved", &["a", "b"]),
    ]
    .concat()
}

#[test]
fn webhooks_become_the_requests_of_the_operator_and_a_repeat_counts_once() {
    let files = Files::new(&[("night.jsonl", &night())]);
    let outcome = files.run("replay night.jsonl --run-on 10m --timeline");
    let lines: Vec<&str> = outcome.output.lines().collect();
    let wanted = [
        "TIME                       WHAT     NAMESPACE   NAME                                         DETAIL",
        "2027-01-15T08:00:00.000Z   Opened   shop        storm-down-in-shop-c0b42bac2da4-1800000000   Down in shop, under policy default",
        "2027-01-15T08:06:20.001Z   Closed   shop        storm-down-in-shop-c0b42bac2da4-1800000000   Resolved: 2 alerts, 0 firing",
        "",
        "NAMESPACE   NAME                                         PATTERN        STATE    STORM   ALERTS   FIRING   AFFECTED   SEVERITY   POLICY    OPENED                 LAST SEEN              CLOSED                 REASON",
        "shop        storm-down-in-shop-c0b42bac2da4-1800000000   Down in shop   Closed   False   2        0        2          warning    default   2027-01-15T08:00:00Z   2027-01-15T08:01:20Z   2027-01-15T08:06:20Z   Resolved",
    ];
    assert_eq!(lines, wanted);
    let said = "8 reports in 5 webhooks became 4 Signals and 1 RemediationRequests; 1 repeats, 0 rejected";
    assert_eq!((outcome.remarks.as_slice(), outcome.exit), ([said.to_owned()].as_slice(), Exit::Fine));
}

#[test]
fn two_runs_are_byte_equal() {
    let more: String =
        (0..400).map(|n| line(n * 7, ["firing", "resolved"][usize::try_from(n % 2).unwrap()], &["a", "c"])).collect();
    let files = Files::new(&[("night.jsonl", &night()), ("more.jsonl", &more)]);
    for output in ["table --timeline", "json --timeline", "yaml"] {
        let line = format!("replay night.jsonl more.jsonl --run-on 20m --output {output}");
        let first = files.run(&line);
        assert_eq!(first, files.run(&line));
        assert!(first.output.contains("Down in shop"), "{}", first.output);
    }
}

const SIGNALS: &str = "
apiVersion: stormfold.dev/v1alpha1
kind: Signal
metadata: {name: one, namespace: shop, creationTimestamp: 2027-01-15T08:00:00Z}
spec:
  name: Down
  table: |
    firing - a Pod/a
---
apiVersion: stormfold.dev/v1alpha1
kind: Signal
metadata: {name: two, namespace: shop}
spec: {name: Down, occurrences: [{fingerprint: b}]}
";

// The same two Signals, as people write them and as kubectl gives them.
#[test]
fn signals_are_read_as_yaml_as_json_and_as_a_list_of_kubectl() {
    let signal = |name: &str, table: &str| {
        json!({ "apiVersion": "stormfold.dev/v1alpha1", "kind": "Signal", "spec": { "name": "Down", "table": table },
            "metadata": { "name": name, "namespace": "shop", "creationTimestamp": "2027-01-15T08:00:00Z", "uid": "u", "generation": 1 },
            "status": { "storm": "storm-down-in-shop-c0b42bac2da4-1700000000", "occurrences": { "total": 1 } } })
    };
    let both = [signal("one", "firing - a Pod/a"), signal("two", "firing - b -")];
    let list = json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": both });
    let (list, lines) = (format!("{list:#}"), format!("{}\n{}\n", both[0], both[1]));
    let files = Files::new(&[("signals.yaml", SIGNALS), ("list.json", &list), ("lines.json", &lines)]);
    let wanted = files.run("replay signals.yaml");
    assert!(wanted.output.contains("Down in shop   Open"), "{wanted:?}");
    assert_eq!(
        wanted.remarks,
        ["2 reports in 0 webhooks became 2 Signals and 1 RemediationRequests; 0 repeats, 0 rejected"]
    );
    assert_eq!(files.run("replay list.json"), wanted);
    assert_eq!(files.run("replay lines.json"), wanted);
}

#[test]
fn what_alertmanagers_api_says_is_a_recording() {
    let alert = |pod: &str, state: &str, ends: &str| {
        json!({ "labels": { "alertname": "Down", "namespace": "shop", "pod": pod }, "annotations": {}, "startsAt": start(),
            "endsAt": ends, "updatedAt": "2027-01-15T08:10:00Z", "fingerprint": format!("fp{pod}"), "receivers": [{ "name": "r" }],
            "status": { "state": state, "silencedBy": [], "inhibitedBy": [] } })
    };
    let later = "2027-01-15T08:14:00Z";
    let dump = json!([
        alert("a", "active", later),
        alert("b", "active", "2027-01-15T08:03:00Z"),
        alert("c", "suppressed", later)
    ]);
    let files = Files::new(&[("alerts.json", &dump.to_string())]);
    let outcome = files.run("replay alerts.json --output json");
    let list: Value = serde_json::from_str(&outcome.output).unwrap();
    let storm = &list["items"][0]["status"]["storm"];
    assert_eq!((&storm["alertCount"], &storm["firingCount"]), (&json!(2), &json!(1)), "{list:#}");
}

#[test]
fn policies_rule_and_the_labels_of_namespaces_count() {
    let policies = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: web}}
---
apiVersion: stormfold.dev/v1alpha1
kind: StormPolicy
metadata: {name: web}
spec: {match: {namespaceSelector: {matchLabels: {team: web}}}, groupBy: [severity], settleDelay: 1m}
";
    let files = Files::new(&[("night.jsonl", &night()), ("policies.yaml", policies)]);
    let outcome = files.run("replay night.jsonl --run-on 2m --policies policies.yaml");
    assert!(outcome.output.contains("any alert anywhere {severity=warning}"), "{}", outcome.output);
    assert!(outcome.output.contains("2027-01-15T08:02:20Z   Resolved"), "{}", outcome.output);
}

#[rstest]
#[case("a.jsonl", "", "error: the recording is empty: nothing was reported")]
#[case(
    "a.jsonl",
    r#"{"at":"noon","path":"/webhook/alertmanager","body":{}}"#,
    r#"error: a.jsonl:1: at is "noon", which is no time: a webhook is one line such as {"at": "#
)]
#[case(
    "a.jsonl",
    r#"{"at":"2027-01-15T08:00:00Z","path":"/webhook","body":{}}"#,
    r#"error: a.jsonl:1: path is "/webhook": webhooks come to /webhook/alertmanager and /webhook/grafana"#
)]
#[case(
    "a.jsonl",
    r#"{"at":"2027-01-15T08:00:00Z","path":"/webhook/alertmanager","body":{"alerts":[]}}"#,
    "error: a.jsonl:1: body: version is missing: Alertmanager writes \"4\" there"
)]
#[case(
    "a.jsonl",
    "{\"at\":\"2027-01-15T08:00:01Z\",\"path\":\"/webhook/alertmanager\",\"body\":{\"version\":\"4\",\"alerts\":[]}}\n{\"at\":\"2027-01-15T08:00:00Z\",\"path\":\"/webhook/alertmanager\",\"body\":{}}",
    "error: a.jsonl:2: at is 2027-01-15T08:00:00Z, earlier than the line before: sort the file by it"
)]
#[case(
    "a.json",
    r#"{"version":"4","alerts":[]}"#,
    "error: a.json:1: this is a webhook without the time at which it came: write {\"at\": "
)]
#[case(
    "a.json",
    r#"[{"labels":{}}]"#,
    "error: a.json:1 (item 1): missing field `startsAt`: an alert of /api/v2/alerts has labels and startsAt"
)]
#[case(
    "a.yaml",
    "a: 1\n---\nb: 2\n",
    "error: a.yaml:1 (document 1): neither a Signal (kind is missing), nor a webhook with its time"
)]
#[case("a.yaml", "kind: Pod\n", "error: a.yaml:1: kind is \"Pod\": a recording has Signals and Namespaces")]
#[case(
    "a.yaml",
    "# x\n---\nkind: Signal\nmetadata: {name: a}\nspec: {name: A, tables: x}\n",
    "error: a.yaml:3: a cluster would refuse this Signal, a:\n  spec.tables is \"x\": a Signal has no such field there; there are "
)]
#[case(
    "a.yaml",
    "kind: Signal\nmetadata: {name: a, creationTimestamp: today}\nspec: {name: A, table: x}\n",
    "error: a.yaml:1: metadata.creationTimestamp is \"today\": write a time such as "
)]
#[case("gone.yaml", "", "error: gone.yaml: cannot be read: No such file")]
fn bad_input_is_told_with_its_place_and_what_to_do(#[case] file: &str, #[case] text: &str, #[case] wanted: &str) {
    let files = Files::new(&[("x", ""), (file, text)]);
    if file == "gone.yaml" {
        std::fs::remove_file(files.path(file)).unwrap();
    }
    let outcome = files.run(&format!("replay {file}"));
    assert_eq!((outcome.exit, outcome.output.as_str()), (Exit::BadInput, ""));
    assert!(outcome.remarks.len() == 1 && outcome.remarks[0].starts_with(wanted), "{:?}", outcome.remarks);
}

#[rstest]
#[case("kind: Signal\n", "kind is \"Signal\": a file of policies has StormPolicies and Namespaces")]
#[case("apiVersion: v1\nkind: StormPolicy\n", "apiVersion is \"v1\": write stormfold.dev/v1alpha1")]
#[case("# nothing\n", "there is no StormPolicy in it")]
fn bad_policies_are_told_with_their_place(#[case] text: &str, #[case] wanted: &str) {
    let files = Files::new(&[("night.jsonl", &night()), ("p.yaml", text)]);
    let outcome = files.run("replay night.jsonl --policies p.yaml");
    assert_eq!(outcome.remarks, [format!("error: p.yaml:1: {wanted}")]);
    assert_eq!(outcome.exit, Exit::BadInput);
}

fn at(second: i64) -> Timestamp {
    start() + SignedDuration::from_secs(second)
}

// The virtual cluster keeps no more than the operator lets a cluster keep.
#[test]
fn signals_go_after_their_retention_but_those_that_alone_tell_what_fires() {
    let mut player = Player::new(&PlaySettings::default(), &PolicyFiles::default(), start());
    let place = FilePlace { file: "f".into(), line: 1, document: None, item: None };
    let webhooks = [line(0, "firing", &["a"]), line(10, "resolved", &["a"]), line(20, "firing", &["b"])];
    for text in webhooks {
        let line: Value = serde_json::from_str(&text).unwrap();
        let body = serde_json::value::to_raw_value(&line["body"]).unwrap();
        let what = Happening::Body { path: "/webhook/alertmanager".into(), body };
        player.play(Item { at: line["at"].as_str().unwrap().parse().unwrap(), place: place.clone(), what }).unwrap();
    }
    player.run_until(at(100)).unwrap();
    assert_eq!(player.replay().cluster().signals().count(), 3);
    // Nobody reports again: the storm is stale after five hours, and its Signals have an hour more.
    player.run_until(at(5 * 3600 + 3500)).unwrap();
    assert_eq!(player.replay().cluster().signals().count(), 3);
    player.run_until(at(7 * 3600)).unwrap();
    let left: Vec<_> = player.replay().cluster().signals().map(|signal| signal.spec.table.clone().unwrap()).collect();
    assert!(left.iter().all(|table| table.starts_with("firing") && table.contains("Pod/b")), "{left:?}");
    assert_eq!(left.len(), 1, "what fires goes on in a successor, for which no new Signal speaks: {left:?}");
    assert_eq!(player.requests().len(), 2);
}
