use std::collections::BTreeMap;

use rstest::rstest;

use super::super::explain::Told;
use super::file::{ExampleText, OneOrMany};
use super::*;

fn told(rules: &TargetRules, labels: &[(&str, &str)]) -> Told {
    let mut all: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all.entry("alertname".to_owned()).or_insert_with(|| "A".to_owned());
    rules.tell(&all).unwrap()
}

fn labels(text: &str) -> Vec<(&str, &str)> {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect()
}

/// As the examples of `targets.yaml` say it.
fn said(told: &Told) -> String {
    let Told { namespace, resource, drop, .. } = told;
    match (drop, resource, namespace) {
        (Some(_), ..) => "dropped".to_owned(),
        (None, Some(resource), Some(namespace)) => format!("{resource} in {namespace}"),
        (None, Some(resource), None) => resource.clone(),
        (None, None, Some(namespace)) => format!("in {namespace}"),
        (None, None, None) => "cluster-scoped".to_owned(),
    }
}

fn example(rules: &TargetRules, example: &ExampleText) -> Told {
    let value = |OneOrMany(texts): &OneOrMany| texts.first().cloned().unwrap();
    let labels: Vec<_> = example.labels.iter().map(|(label, texts)| (label.clone(), value(texts))).collect();
    let labels: Vec<_> = labels.iter().map(|(label, text)| (label.as_str(), text.as_str())).collect();
    told(rules, &labels)
}

#[test]
fn each_built_in_rule_says_where_it_is_from_and_decides_its_example() {
    let built_in: BuiltInText = serde_saphyr::from_str(BUILT_IN).unwrap();
    let rules = TargetRules::parse("{}").unwrap();
    let mut wrong = Vec::new();
    for rule in &built_in.rules {
        assert!(!rule.of.is_empty(), "{} does not say where it is from", rule.rule);
        let wanted = rule.example.as_ref().unwrap_or_else(|| panic!("{} has no example", rule.rule));
        let told = example(&rules, wanted);
        let by = told.rule.as_ref().map_or("none", |(rule, _)| rule.as_str());
        if by != rule.rule || said(&told) != wanted.is {
            wrong.push(format!("{}: {} by {by}, not {}", rule.rule, said(&told), wanted.is));
        }
    }
    assert!(built_in.rules.len() > 50 && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_rule_about_clusters_decides_its_example() {
    let built_in: BuiltInText = serde_saphyr::from_str(BUILT_IN).unwrap();
    let rules = TargetRules::default();
    for rule in &built_in.clusters {
        let wanted = rule.example.as_ref().unwrap();
        let cluster = example(&rules, wanted).cluster.unwrap_or_else(|| "none".to_owned());
        assert_eq!(cluster, wanted.is, "{}", rule.rule);
    }
}

#[rstest]
#[case("critical", Severity::Critical)]
#[case("page", Severity::Critical)]
#[case("Page ", Severity::Critical)]
#[case("warn", Severity::Warning)]
#[case("none", Severity::Info)]
#[case("P0", Severity::Critical)]
#[case("P1", Severity::Critical)]
#[case("p2", Severity::Error)]
#[case("P3", Severity::Warning)]
#[case("P4", Severity::Info)]
#[case("P5", Severity::Info)]
#[case("sev0", Severity::Critical)]
#[case("SEV-1", Severity::Critical)]
#[case("Sev 2", Severity::Error)]
#[case("sev_3", Severity::Warning)]
#[case("sev4", Severity::Info)]
#[case("sev5", Severity::Info)]
#[case("Blocker", Severity::Critical)]
#[case("urgent", Severity::Critical)]
#[case("Major", Severity::Error)]
#[case("minor", Severity::Warning)]
#[case("error", Severity::Error)]
#[case("", Severity::Warning)]
#[case("whatever", Severity::Warning)]
fn a_severity_is_what_its_word_stands_for_else_warning(#[case] word: &str, #[case] severity: Severity) {
    assert_eq!(TargetRules::default().severity(word), severity);
}

#[test]
fn a_settings_file_adds_to_the_tables_and_comes_first() {
    let rules = TargetRules::parse(
        "targets:\n  - {label: rollout, apiVersion: argoproj.io/v1alpha1, kind: Rollout}\n  - {label: node, kind: Machine}\n\
         severities: {Sev0: critical, page: error}\nexporters: [my-reporter]\n",
    )
    .unwrap();
    let is = |text: &str| said(&told(&rules, &labels(text)));
    assert_eq!(is("exported_rollout=cart exported_namespace=shop namespace=x pod=p"), "Rollout/cart in shop");
    assert_eq!(is("rollout=cart namespace=shop pod=web-0"), "Rollout/cart in shop");
    assert_eq!(is("node=n1 namespace=shop"), "Machine/n1 in shop");
    assert_eq!((rules.severity("sev0"), rules.severity("page")), (Severity::Critical, Severity::Error));
    assert_eq!(is("job=my-reporter namespace=shop pod=my-reporter-0 server=db"), "in shop");
    assert_eq!(is("job=node-exporter namespace=shop pod=node-exporter-0"), "cluster-scoped");
}

// An exporter that nobody has heard of, by settings alone.
#[test]
fn rules_of_a_settings_file_come_before_all_others_and_can_take_them_away() {
    let text = labels("job=frobnicator frob=f1 frob_ns=shop namespace=tools pod=frobnicator-0 name=OSD_DOWN");
    assert_eq!(said(&told(&TargetRules::default(), &text)), "Pod/frobnicator-0 in tools");
    let rules = TargetRules::parse(
        "rules:\n  - rule: frobs\n    of: our frobnicator\n    jobs: frobnicat*\n    target: {label: frob, kind: Frob, apiVersion: example.com/v1}\n\
         \x20   namespace: [frob_ns, namespace]\n\
         \x20 - {rule: quiet, labels: {team: nobody}, drop: nobody wants them}\n\
         \x20 - {rule: racks, labels: {rack: '*'}, target: {label: rack, kind: Rack, clusterScoped: true}}\n\
         clusters: [{rule: regions, jobs: frobnicator, cluster: region}]\nremoveRules: [watchdog, plain]\n",
    )
    .unwrap();
    let frob = told(&rules, &text);
    assert_eq!(said(&frob), "Frob/f1 in shop");
    assert_eq!(frob.api_version.as_deref(), Some("example.com/v1"));
    assert_eq!(frob.rule, Some(("frobs".to_owned(), "our frobnicator".to_owned())));
    let is = |text: &str| said(&told(&rules, &labels(text)));
    assert_eq!(is("team=nobody namespace=shop pod=p"), "dropped");
    assert_eq!(is("rack=r1 namespace=shop pod=p"), "Rack/r1");
    assert_eq!(is("alertname=Watchdog"), "cluster-scoped");
    assert_eq!(is("namespace=shop pod=web-0"), "in shop");
    assert_eq!(told(&rules, &labels("job=frobnicator region=north cluster=x")).cluster.as_deref(), Some("north"));
}

#[rstest]
#[case("targets: [{label: service, kind: Service}]", "exported_service")]
#[case("targets: [{label: x, kind: widget}]", "targets[0] (x): kind")]
#[case(
    "targets: [{label: x, kind: X, apiVersion: a/b/c}]",
    "apiVersion is an API version such as v1 or apps/v1, not \"a/b/c\""
)]
#[case("targets: [{label: '', kind: X}]", "empty")]
#[case("targets: [{label: cluster, kind: Cluster}]", "cluster")]
#[case("targets: [{label: exported_namespace, kind: Namespace}]", "exported_namespace")]
#[case("exporters: ['']", "empty")]
#[case("severities: {x: awful}", "awful")]
#[case("target: []", "target")]
#[case(
    "rules: [{rule: a, jobs: x, target: {label: b, kind: widget}}]",
    "rules[0] (a): target.kind: resource kind \"widget\""
)]
#[case(
    "rules: [{rule: a, jobs: x, target: {label: b, kind: B, apiVersion: b/c/d}}]",
    "rules[0] (a): target.apiVersion"
)]
#[case("rules: [{rule: a, jobs: x, target: {label: b}}]", "target.kind is missing: say the kind, or in kindLabel")]
#[case("rules: [{rule: a, jobs: x, target: {kind: B}}]", "target.label is missing: name the label")]
#[case("rules: [{rule: a, jobs: x, target: {label: b, kind: B, kindLabel: c}}]", "both kind and kindLabel: give one")]
#[case("rules: [{jobs: x, target: {label: b, kind: B}}]", "rules[0] (): rule is empty: give the rule a name")]
#[case(
    "rules: [{rule: a, target: {label: instance, kind: Node}}]",
    "target.label is \"instance\", which tells who was scraped"
)]
#[case("rules: [{rule: a}]", "names nothing: give it jobs, alerts or labels")]
#[case("rules: [{rule: plain, jobs: x}]", "two rules \"plain\"; give yours another name")]
#[case("rules: [{rule: a, job: x}]", "unknown field `job`")]
#[case("rules: [{rule: a, jobs: {x: y}}]", "a text or a list of texts")]
#[case("clusters: [{jobs: x, cluster: y}]", "clusters[0] (): rule is empty")]
#[case("removeRules: [plane]", "there is no built-in rule \"plane\"; `stormfold targets` prints")]
fn a_settings_file_that_cannot_be_meant_is_refused(#[case] yaml: &str, #[case] says: &str) {
    let fault = TargetRules::parse(yaml).unwrap_err();
    assert!(fault.contains(says), "{fault}");
}
