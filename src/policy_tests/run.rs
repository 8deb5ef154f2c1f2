//! One test, played.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::compare::{Difference, compare};
use super::file::{Expectation, PolicyTest, TestAction, TestFile};
use super::series;
use crate::admission::admit_signal;
use crate::api::RemediationStatus;
use crate::replay::recording::{Happening, Item};
use crate::replay::{FilePlace, PlaySettings, Player, PolicyFiles, name_of};

/// When every test begins.
pub(super) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// For what was reported to be published, and for its receipts.
const PUBLISHED: SignedDuration = SignedDuration::from_secs(5);

/// What became of a test.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// What was not as expected; empty: it passed.
    pub differences: Vec<Difference>,
}

/// What happens at one time, in this order.
enum TestStep<'a> {
    Report(Item),
    Act(&'a TestAction),
    Look(&'a Expectation),
}

/// Plays a test. The message says why it cannot be.
pub fn run_test(file: &TestFile, test: &PolicyTest, files: &PolicyFiles) -> Result<TestResult, String> {
    let settings = PlaySettings { keep_signals: true, ..PlaySettings::default() };
    let mut player = Player::new(&settings, files, START);
    for (name, labels) in &file.namespaces {
        player.replay().label_namespace(name, labels.clone());
    }
    let mut differences = Vec::new();
    for (at, step) in steps(file, test)? {
        player.run_until(START + at).map_err(|fault| fault.to_string())?;
        match step {
            TestStep::Report(item) => player.play(item).map_err(|fault| fault.to_string())?,
            TestStep::Act(action) => act(&mut player, action)?,
            TestStep::Look(expectation) => {
                let told = expectation.at.map_or(at - PUBLISHED, |time| time.0);
                differences.extend(compare(expectation, told, &mut player));
            }
        }
    }
    Ok(TestResult { name: test.name.clone(), differences })
}

fn steps<'a>(file: &TestFile, test: &'a PolicyTest) -> Result<Vec<(SignedDuration, TestStep<'a>)>, String> {
    let mut steps: Vec<(SignedDuration, TestStep<'a>)> = Vec::new();
    for (at, item) in bodies(file, test)? {
        steps.push((at, TestStep::Report(item)));
    }
    for (number, created) in (1..).zip(&test.signals) {
        let metadata = json!({ "name": format!("signal-{number}"), "namespace": created.namespace });
        let signal = json!({ "kind": "Signal", "metadata": metadata, "spec": created.spec });
        let signal = admit_signal(signal).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            format!("signals[{}]: a cluster would refuse it: {}", number - 1, faults.join("; "))
        })?;
        let what = Happening::Signal(Box::new(signal));
        steps.push((created.at.0, TestStep::Report(Item { at: START + created.at.0, place: nowhere(), what })));
    }
    steps.extend(test.actions.iter().map(|action| (action.at.0, TestStep::Act(action))));
    let last = steps.iter().map(|(at, _)| *at).max().unwrap_or_default();
    let looks = test
        .expect
        .iter()
        .map(|expectation| (expectation.at.map_or(last, |at| at.0) + PUBLISHED, TestStep::Look(expectation)));
    steps.extend(looks);
    // Stable: reports come before what is done at the same time.
    steps.sort_by_key(|(at, _)| *at);
    Ok(steps)
}

/// What Alertmanager sends: at each time one webhook for each of its groups.
fn bodies(file: &TestFile, test: &PolicyTest) -> Result<Vec<(SignedDuration, Item)>, String> {
    let mut groups: BTreeMap<(SignedDuration, BTreeMap<String, String>), Vec<Value>> = BTreeMap::new();
    for (index, alerts) in test.alerts.iter().enumerate() {
        let reports = series::parse(&alerts.series).map_err(|fault| format!("alerts[{index}]: {fault}"))?;
        let count = alerts.count.unwrap_or(1);
        if !(1..=10_000).contains(&count) {
            return Err(format!("alerts[{index}]: count is {count}: 1 to 10000"));
        }
        for n in 1..=count {
            let mut labels = alerts.labels.clone();
            labels.extend(alerts.name.iter().map(|name| ("alertname".to_owned(), name.clone())));
            if !labels.contains_key("alertname") {
                return Err(format!("alerts[{index}]: give it a name, or the label alertname"));
            }
            for value in labels.values_mut() {
                *value = value.replace("{n}", &n.to_string());
            }
            let of_group = |(name, _): &(&String, &String)| file.alertmanager_group_by.contains(name);
            let group: BTreeMap<_, _> =
                labels.iter().filter(of_group).map(|(name, value)| (name.clone(), value.clone())).collect();
            for report in &reports {
                let status = if report.fires { "firing" } else { "resolved" };
                let alert = json!({ "status": status, "labels": labels, "startsAt": START + report.since });
                groups.entry((report.at, group.clone())).or_default().push(alert);
            }
        }
    }
    let item = |((at, group), alerts): ((SignedDuration, BTreeMap<String, String>), Vec<Value>)| {
        let body = json!({ "version": "4", "receiver": "stormfold", "groupLabels": group, "alerts": alerts });
        let body = to_raw_value(&body).map_err(|fault| fault.to_string())?;
        let what = Happening::Body { path: "/webhook/alertmanager".to_owned(), body };
        Ok((at, Item { at: START + at, place: nowhere(), what }))
    };
    groups.into_iter().map(item).collect()
}

fn nowhere() -> FilePlace {
    FilePlace { file: Arc::from("alerts"), line: 1, document: None, item: None }
}

fn act(player: &mut Player, action: &TestAction) -> Result<(), String> {
    let fits = |object: &&crate::api::RemediationRequest| {
        let namespace = object.namespace();
        object.spec.pattern == action.pattern
            && action.namespace.as_ref().is_none_or(|own| namespace.as_ref() == Some(own))
    };
    let newest = player.requests().into_iter().rev().find(fits).map(name_of);
    let after = action.at.0;
    let newest = newest
        .ok_or_else(|| format!("actions: after {after:#} there is no RemediationRequest of {:?}", action.pattern))?;
    let now = player.replay().now();
    if action.delete {
        player.replay().delete_request(&newest);
        return Ok(());
    }
    player.replay().edit_request(&newest, |object| {
        object.annotations_mut().extend(action.annotations.clone());
        if let Some(outcome) = action.outcome {
            let finished = RemediationStatus {
                outcome: Some(outcome),
                finished_at: Some(Time(now)),
                ..RemediationStatus::default()
            };
            object.status.get_or_insert_default().remediation = Some(finished);
        }
    });
    Ok(())
}
