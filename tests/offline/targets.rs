//! What alerts of real rule sets are about. `tests/targets/rule-sets.json` has what is known to be right; `others.json` beside it has further
//! exporters, and some that nobody has heard of.

use std::collections::BTreeMap;

use serde_json::Value;
use stormfold::sources::alertmanager::TargetRules;

fn wrong(text: &str) -> (usize, Vec<String>) {
    let alerts: Vec<Value> = serde_json::from_str(text).unwrap();
    let rules = TargetRules::default();
    let mut wrong = Vec::new();
    for alert in &alerts {
        let labels: BTreeMap<String, String> = serde_json::from_value(alert["labels"].clone()).unwrap();
        let told = rules.tell(&labels).unwrap();
        let is = (told.namespace.clone().unwrap_or_default(), told.resource.clone());
        let wanted: (String, Option<String>) =
            (alert["namespace"].as_str().unwrap().to_owned(), alert["resource"].as_str().map(str::to_owned));
        if is != wanted {
            wrong.push(format!("{}: {is:?} by {:?}, not {wanted:?}", alert["id"], told.rule));
        }
    }
    (alerts.len(), wrong)
}

#[test]
fn alerts_of_real_rule_sets_are_about_what_is_broken() {
    let (alerts, wrong) = wrong(include_str!("../targets/rule-sets.json"));
    assert!(alerts == 25 && wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn alerts_of_other_exporters_are_about_what_they_report() {
    let (alerts, wrong) = wrong(include_str!("../targets/others.json"));
    assert!(alerts > 80 && wrong.is_empty(), "{wrong:#?}");
}
