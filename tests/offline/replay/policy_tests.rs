//! `stormfold test`: the tests of the repository's own policies, and what is said of tests that fail.

use std::path::PathBuf;

use clap::Parser as _;
use rstest::rstest;
use serde_json::Value;
use stormfold::cli::{self, CommandResult, Exit};
use stormfold::policy_tests::schema;
use stormfold::settings::{Cli, Command};

use super::recordings::Files;
use crate::guards::root;

fn test(words: &[&str]) -> CommandResult {
    match Cli::parse_from(["stormfold", "test"].iter().chain(words)).command() {
        Command::Test(flags) => cli::test(&flags),
        other => panic!("{other:?}"),
    }
}

fn own_tests() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("manifests/tests")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_policies_of_this_repository_pass_their_tests() {
    let files = own_tests();
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let result = test(&files);
    assert_eq!(result.exit, Exit::Fine, "{}{:?}", result.output, result.remarks);
    assert!(result.output.ends_with("7 passed, 0 failed\n"), "{}", result.output);
    assert_eq!(result, test(&files), "twice the same");
}

#[test]
fn every_policy_of_this_repository_has_tests() {
    let tests: String = own_tests().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(tests.contains("../policy.yaml"));
    for entry in std::fs::read_dir(root().join("manifests/policies")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("../policies/{name}")), "{name} has no tests in manifests/tests");
    }
}

// What the README shows is what is tested.
#[test]
fn the_policies_of_the_readme_are_those_of_the_manifests() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let block = readme
        .split("```")
        .find(|block| block.starts_with("yaml\napiVersion: stormfold.dev/v1alpha1\nkind: StormPolicy"));
    let shown = block.unwrap().strip_prefix("yaml\n").unwrap();
    let file = std::fs::read_to_string(root().join("manifests/policies/nodes.yaml")).unwrap();
    assert!(file.ends_with(shown), "{shown}");
}

#[test]
fn the_schema_of_a_test_file_is_current() {
    let file = std::fs::read_to_string(root().join("docs/test-file.schema.json")).unwrap_or_default();
    assert!(file == schema(), "run `make schema`");
    assert_eq!(test(&["--schema"]).output, file);
}

const WRONG: &str = "
tests:
  - name: too much is expected
    alerts: [{name: Down, count: 2, labels: {namespace: shop, pod: \"p{n}\"}, series: \"firing, resolved\"}]
    expect:
      - at: 1m
        requests:
          - {pattern: Down in shop, alerts: 3, firing: 0}
          - {pattern: Down in pay}
        receipts: [{signal: Down, reason: CoolingDown}]
  - name: too little is <expected>
    alerts: [{name: Down, labels: {namespace: shop}, series: firing}]
    expect: [{requests: []}]
  - name: this is right
    alerts: [{name: Down, labels: {namespace: shop}, series: firing}]
    expect: [{requests: [{pattern: Down in shop}]}]
";

#[test]
fn what_is_expected_and_what_is_seen_are_told_side_by_side() {
    let result = Files::new(&[("wrong.yaml", WRONG)]).run("test wrong.yaml");
    assert_eq!(result.exit, Exit::Failed);
    let wanted = "\
FAIL wrong.yaml: too much is expected
       after 1m, request \"Down in shop\"
                 expected       seen
       pattern   Down in shop   Down in shop
     ! alerts    3              2
       firing    0              0
       after 1m, request \"Down in pay\"
                 expected      seen
     ! pattern   Down in pay   -
       after 1m, receipts of \"Down\"
                expected           seen
     ! reason   some CoolingDown   2 Merged
FAIL wrong.yaml: too little is <expected>
       after 0s, request \"Down in shop\"
                 expected   seen
     ! pattern   -          Down in shop
ok   wrong.yaml: this is right
1 passed, 2 failed
";
    assert_eq!(result.output, wanted, "{}", result.output);
}

#[test]
fn results_are_told_to_ci_systems_and_to_programs() {
    let files = Files::new(&[("wrong.yaml", WRONG)]);
    let junit = files.run("test wrong.yaml --output junit").output;
    assert!(junit.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"3\" failures=\"2\">\n"));
    assert!(junit.contains("    <testcase classname=\"wrong.yaml\" name=\"this is right\"/>\n"), "{junit}");
    assert!(
        junit.contains(
            "name=\"too little is &lt;expected&gt;\">\n      <failure message=\"after 0s, request &quot;Down"
        )
    );
    let json: Value = serde_json::from_str(&files.run("test wrong.yaml --output json").output).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &2.into()));
    let row = &json["files"][0]["tests"][0]["differences"][0]["rows"][1];
    assert_eq!(*row, serde_json::json!({ "field": "alerts", "expected": "3", "seen": "2" }));
}

#[rstest]
#[case("tests: [", "error: t.yaml:1: ")]
#[case("tests: []\n", "error: t.yaml: tests is empty: there is nothing to run")]
#[case(
    "tests:\n  - name: a\n    expects: []\n",
    "error: t.yaml:3: unknown field `expects`, expected one of name, alerts"
)]
#[case(
    "tests:\n  - name: a\n    expect: [{at: soon}]\n",
    "error: t.yaml:3: \"soon\" is no time: write 30s, 10m or 1h30m"
)]
#[case(
    "policies: [gone.yaml]\ntests: [{name: a, expect: []}]\n",
    "error: t.yaml: policies: gone.yaml: cannot be read: No such file"
)]
#[case(
    "tests: [{name: a, alerts: [{name: A, series: fires}], expect: []}]\n",
    "error: t.yaml: test \"a\": alerts[0]: series \"fires\": step \"fires\": \"fires\" is neither firing nor resolved"
)]
#[case(
    "tests: [{name: a, alerts: [{series: firing}], expect: []}]\n",
    "error: t.yaml: test \"a\": alerts[0]: give it a name, or the label alertname"
)]
#[case(
    "tests: [{name: a, signals: [{namespace: shop, spec: {name: A}}], expect: []}]\n",
    "error: t.yaml: test \"a\": signals[0]: a cluster would refuse it: spec: give the occurrences as spec.occurrences or spec.table"
)]
#[case(
    "tests: [{name: a, actions: [{at: 1m, pattern: A in b, delete: true}], expect: []}]\n",
    "error: t.yaml: test \"a\": actions: after 1m there is no RemediationRequest of \"A in b\""
)]
fn a_test_file_that_cannot_be_run_is_told_with_what_to_do(#[case] text: &str, #[case] wanted: &str) {
    let result = Files::new(&[("t.yaml", text)]).run("test t.yaml");
    assert_eq!((result.exit, result.output.as_str()), (Exit::BadInput, ""));
    assert!(result.remarks.len() == 1 && result.remarks[0].starts_with(wanted), "{:?}", result.remarks);
}
