//! Which policy counts, by a reading of the rules that is slow and plain.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn rule(name: &str, priority: i32, created: i64, criteria: Criteria) -> PolicyRule {
    let policy = Arc::new(Policy { name: name.into(), ..Policy::default() });
    PolicyRule { priority, created: Timestamp::from_second(created).unwrap(), criteria, policy }
}

fn named(names: &[&str]) -> Criteria {
    Criteria { names: Some(names.iter().map(|name| (*name).to_owned()).collect()), ..Criteria::default() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn chosen(rules: Vec<PolicyRule>, name: &str) -> String {
    let none = Labels::new();
    let subject = Subject { name, severity: Severity::Error, source: Some("probe"), namespace: &none, labels: &none };
    PolicySet::new(rules, Arc::default(), HashMap::new()).of(&subject).name.clone()
}

#[rstest]
#[case("Node*", "NodeNotReady", true)]
#[case("Node*", "node", false)]
#[case("Node*", "MyNode", false)]
#[case("*", "", true)]
#[case("Disk?", "Disk1", true)]
#[case("Disk?", "Disk", false)]
#[case("a*b*c", "a/b/c", true)]
#[case("[a]{b,c}\\", "[a]{b,c}\\", true)]
#[case("[a]", "a", false)]
#[case("{a,b}", "a", false)]
#[case("温*", "温度", true)]
fn in_a_name_a_star_is_any_text_and_a_question_mark_one_character(
    #[case] glob: &str,
    #[case] name: &str,
    #[case] matches: bool,
) {
    assert_eq!(chosen(vec![rule("it", 0, 0, named(&[glob]))], name) == "it", matches);
}

// The highest priority wins, then the more specific, then the older.
#[test]
fn priority_comes_before_criteria_and_criteria_before_age() {
    let any = Criteria::default;
    let severe = || Criteria { severities: Some(vec![Severity::Error]), ..named(&["A"]) };
    let rules = vec![rule("old", 0, 1, any()), rule("young", 0, 2, any())];
    assert_eq!(chosen(rules, "A"), "old");
    let rules = vec![rule("old", 0, 1, any()), rule("named", 0, 2, named(&["A"])), rule("severe", 0, 3, severe())];
    assert_eq!(chosen(rules, "A"), "severe");
    let rules = vec![rule("severe", 0, 1, severe()), rule("high", 1, 2, any())];
    assert_eq!(chosen(rules, "A"), "high");
    let rules = vec![rule("b", 0, 1, any()), rule("a", 0, 1, any())];
    assert_eq!(chosen(rules, "A"), "a", "of twins the name decides, whoever compiles them");
    assert_eq!(chosen(vec![rule("named", 0, 1, named(&["A"]))], "B"), Policy::BUILT_IN);
}

#[rstest]
#[case(LabelRequirement::In("team".into(), ["a".into()].into()), true, false, false)]
#[case(LabelRequirement::NotIn("team".into(), ["a".into()].into()), false, true, true)]
#[case(LabelRequirement::Exists("team".into()), true, true, false)]
#[case(LabelRequirement::DoesNotExist("team".into()), false, false, true)]
fn a_requirement_reads_labels_as_kubernetes_does(
    #[case] requirement: LabelRequirement,
    #[case] team_a: bool,
    #[case] team_b: bool,
    #[case] no_team: bool,
) {
    for (have, holds) in
        [(labels(&[("team", "a")]), team_a), (labels(&[("team", "b")]), team_b), (labels(&[]), no_team)]
    {
        assert_eq!(requirement.holds(&have), holds, "{have:?}");
    }
}

#[test]
fn a_policy_that_is_gone_leaves_its_storms_to_the_default() {
    let set = PolicySet::new(vec![rule("mine", 0, 0, Criteria::default())], Arc::default(), HashMap::new());
    assert_eq!((set.named("mine").name.as_str(), set.named("gone").name.as_str()), ("mine", "default"));
    let object = Arc::new(Policy { storm_alerts: 3, ..Policy::default() });
    let default = PolicyRule { policy: object, ..rule("default", 0, 0, Criteria::default()) };
    let set = PolicySet::new(vec![default], Arc::default(), HashMap::new());
    assert_eq!(set.named("gone").storm_alerts, 3, "the object takes the place of the built-in policy");
}

fn criteria() -> impl Strategy<Value = Criteria> {
    let names = prop::option::of(prop::collection::vec(prop::sample::select(vec!["A", "A*", "*B", "?", "AB"]), 1..3));
    let severities =
        prop::option::of(prop::sample::select(vec![vec![Severity::Error], vec![Severity::Info, Severity::Critical]]));
    let source = prop::option::of(prop::sample::select(vec!["probe", "other"]));
    (names, severities, source, selector(), selector()).prop_map(|(names, severities, source, namespace, labels)| {
        Criteria {
            names: names.map(|names| names.into_iter().map(str::to_owned).collect()),
            severities,
            sources: source.map(|source| [source.to_owned()].into()),
            namespace,
            labels,
        }
    })
}

fn selector() -> impl Strategy<Value = Option<LabelSelector>> {
    let values = || prop::sample::subsequence(vec!["a".to_owned(), "b".to_owned()], 0..3).prop_map(BTreeSet::from_iter);
    let key = || prop::sample::select(vec!["team".to_owned(), "site".to_owned()]);
    let requirement = prop_oneof![
        (key(), values()).prop_map(|(key, values)| LabelRequirement::In(key, values)),
        (key(), values()).prop_map(|(key, values)| LabelRequirement::NotIn(key, values)),
        key().prop_map(LabelRequirement::Exists),
        key().prop_map(LabelRequirement::DoesNotExist),
    ];
    prop::option::of(prop::collection::vec(requirement, 0..3).prop_map(LabelSelector))
}

fn some_labels() -> impl Strategy<Value = Labels> {
    let pair = (prop::sample::select(vec!["team", "site", "other"]), prop::sample::select(vec!["a", "b", "c"]));
    prop::collection::vec(pair, 0..4).prop_map(|pairs| labels(&pairs))
}

proptest! {
    // The compiled set chooses what reading all rules one after the other would.
    #[test]
    fn the_set_chooses_as_a_plain_reading_does(
        rules in prop::collection::vec((0..3i32, 0..4i64, criteria()), 0..12),
        name in prop::sample::select(vec!["A", "AB", "B", "CB", "D"]),
        have in some_labels(),
        namespace in some_labels(),
    ) {
        let rules: Vec<PolicyRule> =
            rules.into_iter().enumerate().map(|(n, (priority, created, criteria))| rule(&format!("p{n}"), priority, created, criteria)).collect();
        let subject = Subject { name, severity: Severity::Error, source: Some("probe"), namespace: &namespace, labels: &have };
        let glob = |glob: &str| match glob {
            "?" => name.chars().count() == 1,
            "A*" => name.starts_with('A'),
            "*B" => name.ends_with('B'),
            exact => name == exact,
        };
        let fits = |rule: &&PolicyRule| {
            rule.criteria.names.as_ref().is_none_or(|names| names.iter().any(|name| glob(name))) && rule.criteria.hold(&subject)
        };
        let plain = rules.iter().filter(fits).min_by_key(|rule| {
            (-rule.priority, 5 - rule.criteria.specificity(), rule.created, rule.policy.name.clone())
        });
        let expected = plain.map_or(Policy::BUILT_IN, |rule| rule.policy.name.as_str()).to_owned();
        let set = PolicySet::new(rules.clone(), Arc::default(), HashMap::new());
        prop_assert_eq!(&set.of(&subject).name, &expected);
        // What is explained to people is what counts.
        let explained = set.explain(&subject).find(|(_, missed)| missed.is_empty());
        prop_assert_eq!(explained.map_or(Policy::BUILT_IN, |(rule, _)| rule.policy.name.as_str()), &expected);
    }
}
