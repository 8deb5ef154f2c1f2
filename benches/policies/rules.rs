//! The policies that are looked up, and Signals that they match early, late and never.

use std::sync::Arc;

use jiff::Timestamp;
use stormfold::storm::Policy;
use stormfold::storm::matching::{Criteria, LabelRequirement, LabelSelector, PolicyRule};

use super::Case;

/// Policies, and what is looked up in them.
pub struct Rules {
    pub rules: Vec<PolicyRule>,
    pub cases: Vec<Case>,
}

/// Each policy asks for one exact name.
pub fn exact(count: usize) -> Rules {
    let rules = (0..count).map(|n| rule(n, named(format!("Alert{n:04}High")))).collect();
    let name = |n: usize| format!("Alert{n:04}High");
    Rules { rules, cases: by_name(count, name, "AlertOfNobody".to_owned()) }
}

/// Each policy asks for names that begin with something: the commonest glob.
pub fn prefixes(count: usize) -> Rules {
    let rules = (0..count).map(|n| rule(n, named(format!("Team{n:04}*")))).collect();
    let name = |n: usize| format!("Team{n:04}DiskWillFill");
    Rules { rules, cases: by_name(count, name, "NobodysDiskWillFill".to_owned()) }
}

/// Each policy asks for names with something in their middle: no table finds these, only reading them.
pub fn middles(count: usize) -> Rules {
    let rules = (0..count).map(|n| rule(n, named(format!("*Team{n:04}?Disk*")))).collect();
    let name = |n: usize| format!("ProductionTeam{n:04}-DiskWillFill");
    Rules { rules, cases: by_name(count, name, "ProductionNobodys-DiskWillFill".to_owned()) }
}

/// Each policy asks for a label and for no name, so that each has to be looked at.
pub fn selectors(count: usize) -> Rules {
    let rules = (0..count).map(|n| rule(n, labelled(n))).collect();
    Rules { rules, cases: by_label(count) }
}

/// Each policy asks that a label is absent, and for nothing else: no table finds these either. One such policy is seen; a thousand are not.
pub fn absences(count: usize) -> Rules {
    let absent = |n: usize| LabelRequirement::DoesNotExist(format!("team-{n:04}"));
    let criteria = |n| Criteria {
        labels: Some(LabelSelector(vec![LabelRequirement::Exists("team".to_owned()), absent(n)])),
        ..Criteria::default()
    };
    let rules = (0..count).map(|n| rule(n, criteria(n))).collect();
    let unlabelled = Case { label: None, ..never("Unnamed".to_owned()) };
    Rules { rules, cases: vec![case("look_up_early", "Unnamed".into(), Some(0), 0), unlabelled] }
}

/// A third of each, in turn.
pub fn mixed(count: usize) -> Rules {
    let of_kind = |n: usize| match n % 3 {
        0 => named(format!("Alert{n:04}High")),
        1 => named(format!("Team{n:04}*")),
        _ => labelled(n),
    };
    let rules = (0..count).map(|n| rule(n, of_kind(n))).collect();
    let last = (count - 1) / 3 * 3;
    let cases = vec![
        case("look_up_exact_early", "Alert0000High".into(), None, 0),
        case("look_up_exact_late", format!("Alert{last:04}High"), None, last),
        case("look_up_glob", "Team0001DiskWillFill".into(), None, 1),
        case("look_up_label_early", "Unnamed".into(), Some(2), 2),
        case("look_up_label_late", "Unnamed".into(), Some(last - 1), last - 1),
        never("Unnamed".to_owned()),
    ];
    Rules { rules, cases }
}

fn by_name(count: usize, name: impl Fn(usize) -> String, never_named: String) -> Vec<Case> {
    vec![
        case("look_up_early", name(0), None, 0),
        case("look_up_late", name(count - 1), None, count - 1),
        never(never_named),
    ]
}

fn by_label(count: usize) -> Vec<Case> {
    vec![
        case("look_up_early", "Unnamed".into(), Some(0), 0),
        case("look_up_late", "Unnamed".into(), Some(count - 1), count - 1),
        never("Unnamed".to_owned()),
    ]
}

fn case(what: &'static str, name: String, team: Option<usize>, expected: usize) -> Case {
    Case { what, name, label: team.map(|n| ("team", team_of(n))), expected: policy_of(expected) }
}

/// It has the label that policies ask for, and none of their values.
fn never(name: String) -> Case {
    let label = Some(("team", "nobody".to_owned()));
    Case { what: "look_up_never", name, label, expected: Policy::BUILT_IN.to_owned() }
}

fn named(name: String) -> Criteria {
    Criteria { names: Some(vec![name]), ..Criteria::default() }
}

fn labelled(n: usize) -> Criteria {
    let value = LabelRequirement::In("team".to_owned(), [team_of(n)].into());
    Criteria { labels: Some(LabelSelector(vec![value])), ..Criteria::default() }
}

fn rule(n: usize, criteria: Criteria) -> PolicyRule {
    let policy = Arc::new(Policy { name: policy_of(n), ..Policy::default() });
    // The lower its number, the sooner it counts.
    let priority = -i32::try_from(n).unwrap_or(i32::MAX);
    PolicyRule { priority, created: Timestamp::UNIX_EPOCH, criteria, policy }
}

fn policy_of(n: usize) -> String {
    format!("policy-{n:04}")
}

fn team_of(n: usize) -> String {
    format!("team-{n:04}")
}
